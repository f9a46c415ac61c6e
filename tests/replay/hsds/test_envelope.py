from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

import pytest

from app.replay.hsds.mapping import map_recording
from tests.replay.hsds.making import PANTRY, mapped, recording


def reason(**fields: Any) -> str | None:
    return map_recording({**recording(PANTRY, {"id": 1}), **fields}).reason


@pytest.mark.parametrize("value", [None, 3, "x", [], [recording(PANTRY)]])
def test_a_recording_is_an_object(value: object) -> None:
    assert map_recording(value).reason == "envelope_not_an_object"


def test_a_recording_has_a_job_and_a_job_id() -> None:
    assert reason(job=None) == "envelope_no_job"
    assert reason(job_id=None) == reason(job_id=" ") == reason(job_id=["x"]) == "envelope_no_job_id"
    assert reason(job_id="x" * 501) is None


def test_a_long_name_is_cut_and_stays_another_than_its_like() -> None:
    cut = [map_recording(recording(PANTRY, job_id="x" * 600 + end)).job_id for end in ("a", "b")]
    assert cut[0] != cut[1]
    assert [len(str(name)) for name in cut] == [500, 500]
    assert map_recording(recording(PANTRY, job_id="x" * 500)).job_id == "x" * 500
    assert map_recording({**recording(PANTRY), "job_id": 7}).job_id == "7"


def test_what_names_no_scraper_is_test_traffic() -> None:
    assert map_recording(recording(PANTRY, scraper=None)).reason == "no_scraper_id"


@pytest.mark.parametrize("scraper", ["sample", "test", "sample_pantries", "nyc-test", "Test"])
def test_a_test_scraper_is_rejected(scraper: str) -> None:
    assert map_recording(recording(PANTRY, scraper=scraper)).reason == "test_scraper"


@pytest.mark.parametrize("scraper", ["greatest_pantries", "contest", "testament_church"])
def test_a_scraper_that_only_contains_the_word_is_not(scraper: str) -> None:
    assert mapped(PANTRY, scraper=scraper).scraper_id == scraper


def test_a_failed_job_has_no_answer() -> None:
    assert reason(error="rate limit") == reason(result=None) == "llm_error"


@pytest.mark.parametrize("value", [None, "yesterday", "", True, {}])
def test_a_job_without_a_date_is_rejected(value: object) -> None:
    assert reason(job={**recording(PANTRY)["job"], "created_at": value}) == "bad_created_at"


def test_a_naive_time_is_utc_and_an_offset_is_heeded() -> None:
    assert mapped(PANTRY).created_at == datetime(2025, 8, 8, 8, 27, 14, 335069, UTC)
    job = {**recording(PANTRY)["job"], "created_at": "2025-08-08 10:27:14+02:00"}
    assert map_recording({**recording(PANTRY), "job": job}).created_at == datetime(2025, 8, 8, 8, 27, 14, tzinfo=UTC)


def test_the_record_of_a_scraper_about_its_own_run_is_no_source() -> None:
    assert map_recording(recording(PANTRY, {"total_jobs_created": 7})).reason == "scraper_run_summary"


def test_the_reasons_come_in_order() -> None:
    run = recording("no JSON", {"total_jobs_created": 7}, scraper="sample", error="x")
    for expected, fixed in [
        ("test_scraper", {}),
        ("llm_error", {"metadata": {"scraper_id": "nyc"}}),
        ("bad_created_at", {"created_at": "x"}),
        ("scraper_run_summary", {"created_at": "2025-08-08"}),
        ("result_not_json", {"prompt": ""}),
    ]:
        run["job"].update(fixed)
        run["error"] = None if expected not in ("test_scraper", "llm_error") else "x"
        assert map_recording(run).reason == expected


@pytest.mark.parametrize(
    "answer", [{}, [], {"name": "N/A"}, {"services": [{"name": "Pantry"}]}, [[PANTRY]], {"name": {}}]
)
def test_an_answer_without_a_named_organization_is_rejected(answer: object) -> None:
    assert map_recording(recording(answer)).reason == "no_organization"


def test_the_input_comes_back_as_data_with_its_hash() -> None:
    text = '{"id": 1, "latitude": 39.5}'
    run = recording(PANTRY)
    run["job"]["prompt"] = "Input Data:\nnot this one\nInput Data:\n" + text
    found = map_recording(run)
    assert str(found.input) == "{'id': 1, 'latitude': Decimal('39.5')}"
    assert found.content_hash == hashlib.sha256(text.encode()).hexdigest()


def test_an_input_that_is_not_json_comes_back_as_text() -> None:
    run = recording(PANTRY)
    run["job"]["prompt"] = "Input Data:\nMain St 5"
    assert map_recording(run).input == "Main St 5"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"id": 7, "name": "a"}, {"id": "7", "name": "b"}),
        ({"Entity_Id": 97, "Name": "a"}, {"Entity_Id": 97, "Name": "b"}),
        ({"site_id": "X1"}, {"site_id": "X1", "phone": "1"}),
        (
            {"id": None, "name": "A's", "address": "1 Main Street", "zip": "1"},
            {"name": "as", "address": "1 main st", "zip": "1"},
        ),
        (
            {"name": "A", "address": {"address_1": "1 Main Street", "postal_code": "1"}},
            {"name": "a", "address": "1 Main St", "zip": "1"},
        ),
    ],
)
def test_one_source_has_one_key(one: object, other: object) -> None:
    assert mapped(PANTRY, one).source_key == mapped(PANTRY, other).source_key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"id": 7}, {"id": 8}),
        ({"name": "a", "zip": "1"}, {"name": "a", "zip": "2"}),
        ({"name": "a", "address": "1 Main St"}, {"name": "a", "address": "2 Main St"}),
        ({"x": 1}, {"x": 2}),
        (["x"], ["y"]),
        ({"id": "a"}, {"name": "a"}),
    ],
)
def test_two_sources_have_two_keys(one: object, other: object) -> None:
    assert mapped(PANTRY, one).source_key != mapped(PANTRY, other).source_key


def test_a_source_belongs_to_its_scraper() -> None:
    assert mapped(PANTRY, {"id": 7}).source_key != mapped(PANTRY, {"id": 7}, scraper="ohio").source_key


def test_without_any_record_each_job_is_a_source_of_its_own() -> None:
    assert mapped(PANTRY).source_key != mapped(PANTRY, job_id="job-2").source_key
