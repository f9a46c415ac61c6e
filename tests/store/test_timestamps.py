from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.store.timestamps import EARLIEST, format_timestamp, parse_timestamp, plausible, sort_key

MOMENT = datetime(2025, 2, 17, 6, 46, 23, tzinfo=UTC)
MOMENTS = st.datetimes(timezones=st.just(UTC))
OFFSETS = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: timezone(timedelta(minutes=minutes)))
EPOCH = MOMENT.timestamp()


class Broken(tzinfo):
    """A zone that knows nothing."""

    def utcoffset(self, moment: datetime | None) -> timedelta | None:
        return None

    def dst(self, moment: datetime | None) -> timedelta | None:
        return None

    def tzname(self, moment: datetime | None) -> str | None:
        return None


@pytest.mark.parametrize(
    "value",
    [
        "2025-02-17T06:46:23Z",
        "2025-02-17 06:46:23Z",
        "2025-02-17T06:46:23",
        "2025-02-17 06:46:23",
        "2025-02-17T06:46:23+00:00",
        "2025-02-17T07:46:23+01:00",
        "2025-02-17 01:46:23-05:00",
        "2025-02-17T12:16:23+05:30",
        "2025-02-17T06:46:23.000000Z",
        "  2025-02-17T06:46:23Z\n",
        MOMENT,
        MOMENT.replace(tzinfo=None),
        MOMENT.astimezone(ZoneInfo("America/New_York")),
        MOMENT.astimezone(timezone(timedelta(hours=14))),
        EPOCH,
        int(EPOCH),
        str(EPOCH),
        str(int(EPOCH)),
        f"{EPOCH:.9e}",
    ],
    ids=repr,
)
def test_every_form_of_a_time_names_the_same_instant(value: Any) -> None:
    moment = parse_timestamp(value)
    assert moment == MOMENT
    assert moment is not None
    assert moment.tzinfo is UTC


def test_a_day_without_a_time_is_its_first_moment() -> None:
    first = datetime(2025, 2, 17, tzinfo=UTC)
    assert parse_timestamp(date(2025, 2, 17)) == first
    assert parse_timestamp("2025-02-17") == first


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        False,
        "",
        " ",
        "yesterday",
        "2025-02-30T00:00:00Z",
        "2025-02-17T25:00:00Z",
        "2025-02-17T06:46:23+99:00",
        "0000-01-01T00:00:00Z",
        "10000-01-01T00:00:00Z",
        "2025-02-17T06:46:23Z; rm -rf /",
        "\ud800",
        "\0",
        "9" * 5000,
        "nan",
        "inf",
        "-inf",
        float("nan"),
        float("inf"),
        1e300,
        -1e300,
        1 << 64,
        10**5000,
        -(10**5000),
        b"2025-02-17T06:46:23Z",
        [],
        {},
        {"$date": "2025-02-17"},
        object(),
        timedelta(days=1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_nonsense_is_no_time(value: Any) -> None:
    assert parse_timestamp(value) is None


@pytest.mark.parametrize("offset", ["+00:00", "+14:00", "-12:00", "+23:59", "-23:59", "Z", ""])
@pytest.mark.parametrize("year", ["0001-01-01T00:00:00", "9999-12-31T23:59:59"])
def test_the_first_and_the_last_year_are_read_or_refused_but_never_raise(year: str, offset: str) -> None:
    moment = parse_timestamp(year + offset)
    if offset in ("+00:00", "Z", ""):
        assert moment == datetime.fromisoformat(year).replace(tzinfo=UTC)
    assert moment is None or moment.tzinfo is UTC


def test_a_zone_that_shifts_a_time_out_of_the_calendar_gives_none() -> None:
    assert parse_timestamp(datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1)))) is None
    assert parse_timestamp(datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-2)))) is None


def test_a_zone_without_an_offset_is_taken_as_utc_or_as_unknown() -> None:
    moment = parse_timestamp(datetime(2025, 2, 17, tzinfo=Broken()))
    assert moment is None or moment.tzinfo is UTC


@given(MOMENTS)
@example(datetime.min.replace(tzinfo=UTC))
@example(datetime.max.replace(tzinfo=UTC))
def test_what_is_written_is_read_back(moment: datetime) -> None:
    text = format_timestamp(moment)
    assert text.endswith("Z")
    assert "+" not in text
    assert parse_timestamp(text) == moment
    assert format_timestamp(datetime.fromisoformat(text)) == text


@given(st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31), timezones=OFFSETS))
def test_any_offset_is_written_in_utc(moment: datetime) -> None:
    assert parse_timestamp(format_timestamp(moment)) == moment
    assert parse_timestamp(moment.isoformat()) == moment
    assert parse_timestamp(moment.isoformat(" ")) == moment


@given(st.integers(946_684_800, 4_102_444_800))
def test_seconds_since_1970_mean_the_same_as_text_and_as_a_number(seconds: int) -> None:
    expected = datetime.fromtimestamp(seconds, UTC)
    assert parse_timestamp(seconds) == expected
    assert parse_timestamp(str(seconds)) == expected
    assert parse_timestamp(float(seconds)) == expected
    assert parse_timestamp(f"{seconds}.25") == expected + timedelta(milliseconds=250)


@given(MOMENTS, MOMENTS)
@example(MOMENT, MOMENT + timedelta(microseconds=1))
@example(MOMENT, MOMENT + timedelta(seconds=1))
def test_sort_keys_are_ordered_as_the_times_are(one: datetime, other: datetime) -> None:
    keys = sort_key(format_timestamp(one)), sort_key(format_timestamp(other))
    assert (keys[0] < keys[1]) == (one < other)
    assert (keys[0] == keys[1]) == (one == other)


@given(st.text(st.characters(), max_size=40))
def test_no_text_makes_the_reader_raise(text: str) -> None:
    moment = parse_timestamp(text)
    assert moment is None or moment.tzinfo is UTC


@given(st.from_regex(r"\d{1,5}-\d{1,3}-\d{1,3}[T ]?[\d:.,]{0,20}(Z|z|[+-][\d:.]{1,12})?", fullmatch=True))
@example("2025-02-17T06:46:23.1234567890123Z")
@example("2025-W08-1T06:46:23")
def test_no_text_that_looks_like_a_time_makes_the_reader_raise(text: str) -> None:
    moment = parse_timestamp(text)
    assert moment is None or moment.tzinfo is UTC


@given(
    st.one_of(
        st.floats(), st.integers(), st.decimals(), st.fractions(), st.complex_numbers(), st.binary(max_size=30),
        st.times(timezones=st.timezones()), st.timedeltas(), st.lists(st.integers()), st.uuids(), st.dates(),
    )
)  # fmt: skip
def test_no_value_makes_the_reader_raise(value: Any) -> None:
    moment = parse_timestamp(value)
    assert moment is None or moment.tzinfo is UTC


@given(st.datetimes(timezones=st.timezones(), allow_imaginary=True))
@example(datetime(2025, 11, 2, 1, 30, fold=1, tzinfo=ZoneInfo("America/New_York")))
@example(datetime(2025, 3, 9, 2, 30, tzinfo=ZoneInfo("America/New_York")))
@example(datetime(1900, 1, 1, tzinfo=ZoneInfo("Europe/Amsterdam")))
def test_a_time_of_any_zone_is_read_written_and_read_back_as_one_instant(moment: datetime) -> None:
    read = parse_timestamp(moment)
    if read is None:
        assert moment.year in (1, 9999)
    else:
        assert read == moment.astimezone(UTC)
        assert parse_timestamp(format_timestamp(moment)) == read


def test_only_times_from_2000_to_a_day_ahead_are_plausible() -> None:
    now = datetime(2025, 2, 17, tzinfo=UTC)
    tick = timedelta(microseconds=1)
    assert plausible(EARLIEST, now)
    assert not plausible(EARLIEST - tick, now)
    assert plausible(now + timedelta(days=1), now)
    assert not plausible(now + timedelta(days=1) + tick, now)
