from __future__ import annotations

import hashlib
import json
import math
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, StrEnum
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.store import encode
from app.store.errors import UnrecordableError
from app.store.layout import Layout
from app.store.record import FILLED, Record, build, completed_at, read_entry, same_result

NOW = datetime(2025, 8, 8, 12, tzinfo=UTC)
ENQUEUED = datetime(2025, 8, 8, 11, 59, 30, tzinfo=UTC)
CREATED = "2025-02-17T06:46:23Z"

SPEC_EXAMPLE: dict[str, Any] = {
    "job_id": "unique-job-id",
    "job": {
        "created_at": "2025-02-17T06:46:23Z",
        "metadata": {"scraper_id": "nyc_efap_programs", "source_url": "https://example.com/page"},
    },
    "status": "completed",
    "result": {
        "text": "processed content",
        "model": "model name",
        "usage": {"total_tokens": 150},
        "validation_details": {
            "hallucination_detected": False,
            "mismatched_fields": [],
            "suggested_corrections": {},
        },
    },
    "retry_count": 0,
    "completed_at": "2025-02-17T06:47:23Z",
    "processing_time": 60.0,
}

# No text in which two surrogates meet: JSON can't tell the pair from the character that it makes.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(["\ud800", "a\udfff", ""])
TIMES = st.one_of(
    st.none(),
    st.text(max_size=8),
    st.sampled_from([CREATED, "2025-08-08 01:02:03", "2025-08-09T11:00:00-05:00", "1999-01-01", "9999-12-31", "0"]),
    st.datetimes(),
    st.datetimes(datetime(2000, 1, 1), datetime(2025, 8, 8), timezones=st.timezones()),
    st.integers(-(10**18), 10**18),
    st.floats(),
    st.dates(),
    st.booleans(),
    st.sampled_from([b"2025-07-23T00:00:00Z", Decimal("1753228800"), timedelta(seconds=1753228800)]),
)
SCALARS = st.one_of(TEXTS, st.none(), st.integers(), st.floats(), st.booleans(), st.uuids(), st.binary(max_size=3))
METADATA = st.one_of(SCALARS, st.fixed_dictionaries({}, optional={"scraper_id": SCALARS}))
JOBS = st.one_of(SCALARS, st.fixed_dictionaries({}, optional={"created_at": TIMES, "metadata": METADATA}))
RESULTS = st.fixed_dictionaries(
    {"job_id": TEXTS.filter(bool) | st.uuids()},
    optional={
        "job": JOBS,
        "result": SCALARS | st.lists(SCALARS, max_size=3),
        "completed_at": TIMES,
        "status": SCALARS,
        "error": SCALARS,
        "extra": SCALARS,
    },
)
VALUES = st.recursive(
    SCALARS | TIMES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner, inner),
        st.dictionaries(SCALARS, inner, max_size=4),
        st.frozensets(SCALARS, max_size=3),
    ),
    max_leaves=12,
)
WHOLE_RESULTS = st.builds(
    lambda fields, result: {**fields, **result}, st.dictionaries(TEXTS, VALUES, max_size=4), RESULTS
)


class Name(StrEnum):
    ID = "named-id"


class Plain(Enum):
    ID = "plain-id"


def built(data: Any, *, enqueued_at: datetime | None = None, now: datetime = NOW) -> Record:
    return build(data, enqueued_at=enqueued_at, now=now)


def content(record: Record) -> dict[str, Any]:
    loaded = encode.load_exactly(record.content)
    assert isinstance(loaded, dict)
    return loaded


def result(**fields: Any) -> dict[str, Any]:
    return {"job_id": "job-1", "job": {"created_at": CREATED}, "result": {"text": "t"}, **fields}


def test_the_example_of_the_specification_is_recorded_to_the_letter() -> None:
    record = built(SPEC_EXAMPLE)
    assert content(record) == SPEC_EXAMPLE
    assert list(content(record)) == list(SPEC_EXAMPLE)
    assert record.filled == frozenset()
    assert record.warnings == ()
    assert Layout("outputs").recording(record.place) == (
        "outputs/daily/2025-02-17/scrapers/nyc_efap_programs/unique-job-id.json"
    )
    assert record.entry == {"job_id": "unique-job-id", "scraper_id": "nyc_efap_programs", "timestamp": CREATED}


def test_missing_fields_are_completed_and_named() -> None:
    record = built(result(), enqueued_at=datetime(2025, 2, 17, 6, 47, 23, tzinfo=UTC))
    assert content(record) == {
        "job_id": "job-1",
        "job": {"created_at": CREATED},
        "status": "completed",
        "result": {"text": "t"},
        "retry_count": 0,
        "completed_at": "2025-02-17T06:47:23Z",
        "processing_time": 60.0,
    }
    assert record.filled == set(FILLED)


@pytest.mark.parametrize("field", FILLED)
@pytest.mark.parametrize("value", [None, "as sent", 7, {"a": 1}])
def test_a_field_that_was_sent_is_never_changed(field: str, value: Any) -> None:
    record = built(result(**{field: value}))
    assert content(record)[field] == value
    assert record.filled == set(FILLED) - {field}


def test_unknown_fields_are_kept_behind_the_known_ones() -> None:
    record = built({"zebra": [1], "result": None, "error": "no", "ähm": {"x": None}, "job_id": "a"})
    assert list(content(record)) == [
        "job_id", "status", "result", "retry_count", "completed_at", "processing_time", "zebra", "error", "ähm",
    ]  # fmt: skip
    assert content(record)["zebra"] == [1]
    assert content(record)["ähm"] == {"x": None}


def test_what_the_producer_gave_is_not_changed() -> None:
    data = result()
    before = json.dumps(data)
    built(data)
    assert json.dumps(data) == before


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"result": {"text": "t"}}, "completed"),
        ({"result": ""}, "completed"),
        ({"result": []}, "completed"),
        ({"result": 0}, "completed"),
        ({"result": "t", "error": None}, "completed"),
        ({"result": "t", "error": ""}, "completed"),
        ({"result": "t", "error": "boom"}, "failed"),
        ({"result": None}, "failed"),
        ({"result": None, "error": "boom"}, "failed"),
        ({"result": None, "status": "completed"}, "completed"),
        ({"result": "t", "status": "odd"}, "odd"),
    ],
)
def test_the_status_follows_from_error_and_result_unless_it_was_sent(fields: dict[str, Any], status: str) -> None:
    assert content(built(result(**fields)))["status"] == status


def test_a_result_that_says_nothing_of_a_result_has_failed() -> None:
    assert content(built({"job_id": "a", "job": {"created_at": CREATED}}))["status"] == "failed"


@pytest.mark.parametrize(
    ("created_at", "fields", "expected"),
    [
        (CREATED, {"completed_at": "2025-02-17T06:47:23Z"}, 60.0),
        (CREATED, {"completed_at": "2025-02-17T07:47:23.5+01:00"}, 60.5),
        (CREATED, {}, (ENQUEUED - datetime(2025, 2, 17, 6, 46, 23, tzinfo=UTC)).total_seconds()),
        (CREATED, {"completed_at": "2025-02-17T06:46:22Z"}, -1.0),
        (CREATED, {"completed_at": "never"}, None),
        (CREATED, {"completed_at": None}, None),
        ("never", {}, None),
        (None, {}, None),
    ],
)
def test_the_processing_time_is_what_the_two_times_say(created_at: Any, fields: Any, expected: float | None) -> None:
    record = built(result(job={"created_at": created_at}, **fields), enqueued_at=ENQUEUED)
    assert content(record)["processing_time"] == expected


def test_a_result_is_completed_when_its_job_was_enqueued_or_else_now() -> None:
    assert content(built(result(), enqueued_at=ENQUEUED))["completed_at"] == "2025-08-08T11:59:30Z"
    assert content(built(result()))["completed_at"] == "2025-08-08T12:00:00Z"
    for odd in (datetime(1970, 1, 1, tzinfo=UTC), NOW + timedelta(days=2)):
        assert content(built(result(), enqueued_at=odd))["completed_at"] == "2025-08-08T12:00:00Z"


@pytest.mark.parametrize(
    ("created_at", "day"),
    [
        ("2025-07-23T23:59:59Z", "2025-07-23"),
        ("2025-07-23 23:59:59", "2025-07-23"),
        ("2025-07-23T23:59:59-05:00", "2025-07-24"),
        ("2025-07-24T00:30:00+01:00", "2025-07-23"),
        (datetime(2025, 7, 23), "2025-07-23"),
        (date(2025, 7, 23), "2025-07-23"),
        (1753228800, "2025-07-23"),
        (b"2025-07-23T00:00:00Z", "2025-07-23"),
        (Decimal("1753228800.5"), "2025-07-23"),
        (timedelta(seconds=1753228800), "2025-07-23"),
        ("1753228800.5", "2025-07-23"),
        ("2000-01-01T00:00:00Z", "2000-01-01"),
        ("2025-08-09T12:00:00Z", "2025-08-09"),
    ],
)
def test_the_day_is_the_utc_date_of_created_at(created_at: Any, day: str) -> None:
    record = built(result(job={"created_at": created_at}))
    assert record.place.date == day
    assert record.timestamp.startswith(day)
    assert record.warnings == ()
    assert read_entry(day, record.content) == (record.place, record.entry)


@pytest.mark.parametrize(
    "created_at",
    [
        None, "", "nonsense", "1999-12-31T23:59:59Z", "2025-08-09T12:00:01Z", "9999-12-31T23:59:59Z",
        "0001-01-01T00:00:00Z", datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59), 0, -1, 1e300, math.nan, math.inf,
        10**5000, -(10**5000), True, [], {}, b"2025", "\ud800", "x" * 1_000_000, 1753228800000,
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_without_a_usable_time_the_day_is_that_of_the_recording_and_there_is_a_warning(created_at: Any) -> None:
    record = built(result(job={"created_at": created_at}))
    assert record.place.date == "2025-08-08"
    assert record.timestamp == "2025-08-08T12:00:00Z"
    (warning,) = record.warnings
    assert warning.startswith("job.created_at is ")
    assert warning.endswith("recorded under 2025-08-08")
    assert len(warning) < 200
    assert read_entry("2025-08-08", record.content) == (record.place, record.entry)


def test_a_usable_completed_at_dates_what_has_no_created_at() -> None:
    record = built({"job_id": "a", "completed_at": "2025-07-01T00:00:00Z"})
    assert record.place.date == "2025-07-01"
    assert len(record.warnings) == 1
    assert built({"job_id": "a"}, enqueued_at=datetime(2025, 8, 7, tzinfo=UTC)).place.date == "2025-08-07"
    assert built({"job_id": "a", "completed_at": "1990-01-01"}).place.date == "2025-08-08"


@pytest.mark.parametrize("job", [None, "text", 5, [], [1], True, b"x", {}, {"metadata": None}, {"metadata": "x"}])
def test_a_job_or_metadata_that_is_no_object_is_recorded_under_processed(job: Any) -> None:
    record = built({"job_id": "a", "job": job, "result": 1})
    assert record.place.name == "processed/a.json"
    assert record.entry["scraper_id"] == "unknown"
    assert content(record)["job"] == content(built({"job_id": "a", "x": job}))["x"]


@pytest.mark.parametrize("scraper_id", ["", 5, True, [], {}, b"\xff", 1.5, 10**5000, ["a"]], ids=type)
def test_an_odd_scraper_id_is_recorded_under_processed_with_a_warning(scraper_id: Any) -> None:
    record = built(result(job={"created_at": CREATED, "metadata": {"scraper_id": scraper_id}}))
    assert record.place.folder == "processed"
    assert len(record.warnings) == 1
    assert record.warnings[0].startswith("job.metadata.scraper_id is ")
    assert len(record.warnings[0]) < 200


@pytest.mark.parametrize(
    ("scraper_id", "expected"), [(UUID(int=1), str(UUID(int=1))), (Plain.ID, "plain-id"), (b"raw", "raw")]
)
def test_a_scraper_id_that_is_recorded_as_text_is_that_text(scraper_id: Any, expected: str) -> None:
    record = built(result(job={"created_at": CREATED, "metadata": {"scraper_id": scraper_id}}))
    assert record.place.scraper_id == record.entry["scraper_id"] == expected
    assert read_entry(record.place.date, record.content) == (record.place, record.entry)


@pytest.mark.parametrize("scraper_id", ["../../x", "a/b", "\0", "x" * 5000, ".hidden", "...", "\ud800", Name.ID])
def test_any_text_is_a_scraper_id(scraper_id: str) -> None:
    record = built(result(job={"created_at": CREATED, "metadata": {"scraper_id": scraper_id}}))
    assert record.place.scraper_id == scraper_id
    assert type(record.place.scraper_id) is str
    assert record.entry["scraper_id"] == scraper_id
    assert record.warnings == ()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({}, "the result has no job_id"),
        ({"job": {"job_id": "a"}}, "the result has no job_id"),
        ({"job_id": None}, "job_id is a NoneType, not text"),
        ({"job_id": 5}, "job_id is a int, not text"),
        ({"job_id": b"raw"}, "job_id is a bytes, not text"),
        ({"job_id": ["a"]}, "job_id is a list, not text"),
        ({"job_id": True}, "job_id is a bool, not text"),
        ({"job_id": ""}, "job_id is empty"),
        (None, "the result is a NoneType, not an object with a job_id"),
        ([{"job_id": "a"}], "the result is a list, not an object with a job_id"),
        ("text", "the result is a str, not an object with a job_id"),
    ],
)
def test_without_a_job_id_there_is_a_clear_reason(data: Any, reason: str) -> None:
    with pytest.raises(UnrecordableError) as refused:
        built(data)
    assert refused.value.message == reason


@pytest.mark.parametrize(
    ("job_id", "expected"),
    [(UUID(int=1), "00000000-0000-0000-0000-000000000001"), (Name.ID, "named-id"), ("../../x", "../../x"), (" ", " ")],
)
def test_a_job_id_is_kept_as_text(job_id: Any, expected: str) -> None:
    record = built(result(job_id=job_id))
    assert record.place.job_id == content(record)["job_id"] == record.entry["job_id"] == expected
    assert type(record.place.job_id) is str


@given(RESULTS)
@example({"job_id": "a", "job": {"created_at": 10**5000, "metadata": {"scraper_id": 10**5000}}})
@example({"job_id": "a", "job": {"created_at": "2025-08-09T11:59:59-05:00"}})
@example({"job_id": "a", "completed_at": NOW + timedelta(hours=20)})
@example({"job_id": "a", "job": {"created_at": timedelta(1)}})
def test_a_recording_read_back_is_where_it_was_put(data: dict[str, Any]) -> None:
    record = built(data, enqueued_at=ENQUEUED)
    place, entry = read_entry(record.place.date, record.content)
    assert place == record.place
    assert entry == record.entry


@given(WHOLE_RESULTS)
def test_all_that_was_sent_is_in_the_file_and_beside_it_only_what_was_filled_in(data: dict[str, Any]) -> None:
    record = built(data, enqueued_at=ENQUEUED)
    found = content(record)
    assert set(found) == set(data) | record.filled
    assert record.filled.isdisjoint(data)
    for field in set(data) - {"job_id"}:
        alone = encode.load_exactly(encode.encode({"value": data[field]}))["value"]
        assert encode.canonical(found[field]) == encode.canonical(alone)


@given(WHOLE_RESULTS)
def test_a_file_s_own_data_recorded_again_makes_the_same_file(data: dict[str, Any]) -> None:
    first = built(data, enqueued_at=ENQUEUED)
    again = built(content(first), now=NOW + timedelta(hours=1))
    assert again.content == first.content
    assert (again.place, again.timestamp) == (first.place, first.timestamp)
    assert same_result(first, first.content)
    assert same_result(again, first.content)


@given(RESULTS, st.booleans())
def test_a_result_given_again_later_is_the_same_result(data: dict[str, Any], queued: bool) -> None:
    first = built(data, enqueued_at=ENQUEUED if queued else None)
    again = built(data, enqueued_at=ENQUEUED if queued else None, now=NOW + timedelta(hours=1))
    assert same_result(again, first.content)
    assert same_result(first, again.content)


@pytest.mark.parametrize(
    "other",
    [
        result(result={"text": "other"}),
        result(result={"text": "t", "more": None}),
        result(extra=None),
        result(job={"created_at": CREATED, "metadata": {}}),
        result(status="failed"),
        result(retry_count=1),
        result(completed_at="2025-02-17T06:47:23Z"),
    ],
    ids=repr,
)
def test_a_result_with_anything_else_in_it_is_another_result(other: dict[str, Any]) -> None:
    assert not same_result(built(other), built(result()).content)


@pytest.mark.parametrize(("one", "other"), [(1, True), (1, 1.0), (0, False), ("1", 1), (0.0, -0.0), (None, "null")])
def test_what_python_calls_equal_but_json_does_not_is_another_result(one: Any, other: Any) -> None:
    assert not same_result(built(result(result={"valid": [one]})), built(result(result={"valid": [other]})).content)


def test_the_order_of_keys_makes_no_other_result() -> None:
    assert same_result(built(result(a={"x": 1, "y": 2}, b=1)), built(result(b=1, a={"y": 2, "x": 1})).content)


@pytest.mark.parametrize("existing", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"job_id": "job-1"}'])
def test_a_damaged_or_foreign_file_is_never_the_same_result(existing: bytes) -> None:
    assert not same_result(built(result()), existing)
    completed_at(existing)  # does not raise


def test_the_completion_of_a_file_is_read_or_long_ago() -> None:
    assert completed_at(built(SPEC_EXAMPLE).content) == datetime(2025, 2, 17, 6, 47, 23, tzinfo=UTC)
    for unusable in (b"", b"[]", b"{}", b'{"completed_at": "x"}', b'{"completed_at": null}'):
        assert completed_at(unusable) == datetime(2000, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "damaged", [b"", b"{", b"\x00" * 100, b"null", b"[]", b"5", b"{}", b'{"job_id": 5}', b'{"job_id": ""}']
)
def test_a_damaged_file_raises_only_value_error(damaged: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_entry("2025-08-08", damaged)


def test_the_recordings_of_an_earlier_recorder_are_read() -> None:
    old = {
        "job_id": "abc",
        "job": {"created_at": "2025-08-08 06:46:23.123456", "metadata": {"scraper_id": "nyc"}},
        "result": {"text": "t"},
        "error": None,
        "retry_count": 0,
    }
    place, entry = read_entry("2025-08-08", json.dumps(old).encode())
    assert place.name == "scrapers/nyc/abc.json"
    assert entry == {"job_id": "abc", "scraper_id": "nyc", "timestamp": "2025-08-08T06:46:23.123456Z"}


@pytest.mark.parametrize("job", [None, {}, {"created_at": "nonsense"}, {"created_at": "2031-01-01T00:00:00Z"}])
def test_an_old_recording_without_a_usable_time_gets_that_of_its_folder(job: Any) -> None:
    place, entry = read_entry("2025-08-08", json.dumps({"job_id": "a", "job": job}).encode())
    assert place.date == "2025-08-08"
    assert entry["timestamp"] == "2025-08-08T00:00:00Z"


def test_a_payload_larger_than_allowed_is_unrecordable() -> None:
    shared = ["x" * 1000] * 1000
    with pytest.raises(UnrecordableError, match="larger than 100,000 bytes"):
        build(result(shared=shared), enqueued_at=None, now=NOW, payload_bytes=2_000, max_bytes=100_000)


def test_the_content_is_the_same_bytes_each_time() -> None:
    digests = {hashlib.sha256(built(SPEC_EXAMPLE).content).hexdigest() for _ in range(3)}
    assert len(digests) == 1


@pytest.mark.parametrize("offset", [timedelta(microseconds=99), timedelta(microseconds=-1)])
def test_an_offset_of_microseconds_is_read_back_as_the_same_instant(offset: timedelta) -> None:
    created = datetime(2025, 2, 17, 6, 46, 23, tzinfo=timezone(offset))
    built = build({"job_id": "a", "job": {"created_at": created}, "result": 1}, enqueued_at=None, now=NOW)
    assert read_entry(built.place.date, built.content) == (built.place, built.entry)
