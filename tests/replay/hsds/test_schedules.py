from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from app.replay.hsds.hours import clock_time, days_of, in_order, ordinals_of, time_range
from tests.replay.hsds.making import PANTRY, at, mapped, only, reasons, rows

OPEN: dict[str, Any] = {"opens_at": "09:00", "closes_at": "12:00"}


def schedule(value: Any, record: Any = None) -> dict[str, Any]:
    """The fields of a location's only schedule, without its parent."""
    row = only(at({}, {"name": "Hall", "schedules": value}, record), "schedule")
    return {name: field for name, field in row.items() if name != "location_id"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("09:00", "09:00:00"),
        ("9:00 AM", "09:00:00"),
        ("9am", "09:00:00"),
        ("9 a.m.", "09:00:00"),
        ("12:30 pm", "12:30:00"),
        ("12am", "00:00:00"),
        ("13:00:30", "13:00:30"),
        ("09:00:00Z", "09:00:00"),
        ("09:00-05:00", "09:00:00"),
        ("2025-08-13T13:00:00-04:00", "13:00:00"),
        ("2025-08-13 13:00", "13:00:00"),
        ("T09:00", "09:00:00"),
        ("noon", "12:00:00"),
        ("Midnight", "00:00:00"),
        ("24:00", "00:00:00"),
        ("13:00 PM", "13:00:00"),
    ],
)
def test_times_of_day_are_read(given: str, expected: str) -> None:
    assert clock_time(given) == expected


@pytest.mark.parametrize(
    "given", ["", None, "9", 9, "25:00", "24:30", "09:60", "Closed", "2025-08-13", "9-5", True, [], "9" * 99, "13 am"]
)
def test_what_is_no_time_is_none(given: object) -> None:
    assert clock_time(given) is None


def test_ranges_are_read_where_both_halves_are_times() -> None:
    assert time_range("9:00 AM - 1 PM") == time_range("09:00\u201313:00") == ("09:00:00", "13:00:00")
    assert time_range("9-1 pm") is time_range("closed") is time_range("9:00-10:00-11:00") is None


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("Monday", "MO"),
        ("Mondays", "MO"),
        ("mo", "MO"),
        ("Tues.", "TU"),
        ("TU,TH", "TU,TH"),
        ("TH, TU", "TU,TH"),
        ("2TU,-1FR", "2TU,-1FR"),
        (["Monday", {"day": "Friday"}], "MO,FR"),
        ("Mon-Fri", "MO,TU,WE,TH,FR"),
        ("Friday through Sunday", "FR,SA,SU"),
        ("Sat to Mon", "MO,SA,SU"),
        ("weekdays", "MO,TU,WE,TH,FR"),
        ("daily", "MO,TU,WE,TH,FR,SA,SU"),
        ("1st and 3rd Tuesday", "1TU,3TU"),
        ("Last Thursday", "-1TH"),
        ("https://schema.org/Monday", "MO"),
        ("FREQ=WEEKLY;BYDAY=TU,TH", "TU,TH"),
    ],
)
def test_days_are_read(given: Any, expected: str) -> None:
    assert in_order(days_of(given)) == expected


@pytest.mark.parametrize("given", ["1", 1, [1, 2], "1,2", None, {}, "", "by appointment", {"day": 1}, [[["MO"]]]])
def test_what_names_no_day_names_none(given: Any) -> None:
    assert in_order(days_of(given)) is None


def test_weeks_of_a_month_are_read() -> None:
    assert ordinals_of("2nd") == ordinals_of(2) == ordinals_of("2") == ["2"]
    assert ordinals_of(["first", "4TH", "last"]) == ["1", "4", "-1"]
    assert ordinals_of(9) == ordinals_of("often") == ordinals_of(None) == []


@pytest.mark.parametrize(
    "value",
    [
        [OPEN],
        OPEN,
        {"start_time": "9 AM", "end_time": "12 PM"},
        {"time_open": "09:00", "time_close": "12:00"},
        {"open_time": "9am", "close_time": "noon"},
        {"open": "09:00", "close": "12:00"},
        {"times": [{"opens": "09:00", "closes": "12:00"}]},
        {"times": ["09:00-12:00"]},
        {"time_slots": [{"start": "09:00", "end": "12:00"}]},
        {"hours": "9:00 AM - 12:00 PM"},
    ],
)
def test_a_window_is_found_in_any_form(value: Any) -> None:
    assert schedule(value) == {"opens_at": "09:00:00", "closes_at": "12:00:00"}


@pytest.mark.parametrize(
    "days",
    [
        {"byday": "TU"},
        {"by_day": ["Tuesday"]},
        {"day_of_week": "tue"},
        {"days": [{"day": "Tuesday"}]},
        {"weekday": "Tuesdays"},
        {"rrule": "FREQ=WEEKLY;BYDAY=TU"},
    ],
)
def test_days_are_found_in_any_form(days: dict[str, Any]) -> None:
    assert schedule({**OPEN, **days})["byday"] == "TU"
    assert schedule({**days, "times": [OPEN]})["byday"] == "TU"


def test_days_may_be_names_of_parts() -> None:
    found = at(
        {},
        {"name": "Hall", "hours": {"monday": "9:00 AM - 12:00 PM", "tuesday": OPEN, "friday": [], "sunday": "closed"}},
    )
    assert [row["byday"] for row in rows(found, "schedule")] == ["MO", "TU"]


def test_each_window_is_a_row_and_each_row_is_there_once() -> None:
    found = at(
        {}, {"name": "Hall", "schedules": [OPEN, OPEN, {**OPEN, "description": "x"}, {**OPEN, "closes_at": "13:00"}]}
    )
    assert [row["closes_at"] for row in rows(found, "schedule")] == ["12:00:00", "13:00:00"]


def test_a_window_inherits_the_nearest() -> None:
    value = {"freq": "MONTHLY", "byday": "MO", "periods": [{"byday": "TU", "times": [OPEN]}, OPEN]}
    found = rows(at({}, {"name": "Hall", "schedules": value}), "schedule")
    assert [(row["freq"], row["byday"]) for row in found] == [("MONTHLY", "TU"), ("MONTHLY", "MO")]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("WEEKLY", {"freq": "WEEKLY"}),
        ("monthly", {"freq": "MONTHLY"}),
        ("BIWEEKLY", {"freq": "WEEKLY", "interval": 2}),
        ("BI_WEEKLY", {"freq": "WEEKLY", "interval": 2}),
        ("ONCE", {"freq": "WEEKLY", "count": 1}),
        ("DAILY", {"freq": "WEEKLY", "byday": "MO,TU,WE,TH,FR,SA,SU"}),
    ],
)
def test_frequencies_become_those_of_hsds(given: str, expected: dict[str, Any]) -> None:
    assert schedule({**OPEN, "freq": given}) == {**expected, "opens_at": "09:00:00", "closes_at": "12:00:00"}


def test_daily_with_days_keeps_them() -> None:
    assert schedule({**OPEN, "freq": "DAILY", "byday": "SA"})["byday"] == "SA"


def test_another_frequency_is_noted() -> None:
    found = at({}, {"name": "Hall", "schedules": [{**OPEN, "freq": "QUARTERLY"}]})
    assert "freq" not in only(found, "schedule")
    assert reasons(found) == ["freq_not_hsds"]


@pytest.mark.parametrize(
    ("given", "hours"),
    [(-5, "-5"), ("-05:00", "-5"), ("UTC+5:30", "5.5"), ("GMT", "0"), ("-0430", "-4.5"), ("5.75", "5.75"), (14, "14")],
)
def test_a_time_zone_is_hours_from_utc(given: Any, hours: str) -> None:
    assert schedule({**OPEN, "timezone": given})["timezone"] == Decimal(hours)


@pytest.mark.parametrize("given", ["America/New_York", "EST", "99", "1e9", "-05:99"])
def test_another_time_zone_is_noted(given: str) -> None:
    found = at({}, {"name": "Hall", "schedules": [{**OPEN, "timezone": given}]})
    assert "timezone" not in only(found, "schedule")
    assert reasons(found) == ["timezone_not_an_offset"]


def test_the_week_of_a_month_goes_with_the_day() -> None:
    assert schedule({**OPEN, "freq": "MONTHLY", "day_of_week": "FR", "occurrence": "4TH"})["byday"] == "4FR"
    assert schedule({**OPEN, "byday": "TU", "week_of_month": [1, 3]})["byday"] == "1TU,3TU"


def test_a_date_is_a_day() -> None:
    expected = {"byday": "SA", "dtstart": "2025-08-16", "until": "2025-08-16"}
    assert {**schedule({**OPEN, "date": "2025-08-16"}), **expected} == schedule({**OPEN, "date": "2025-08-16"})
    found = rows(at({}, {"name": "Hall", "schedules": {**OPEN, "dates": ["2025-08-16", "2025-08-17"]}}), "schedule")
    assert [row["byday"] for row in found] == ["SA", "SU"]
    found_day = schedule({**OPEN, "valid_from": "2025-08-16", "valid_to": "2025-08-16"})
    assert (found_day["byday"], found_day["valid_to"]) == ("SA", "2025-08-16")


def test_iso_instants_are_a_date_and_times() -> None:
    found = schedule({"dtstart": "2025-08-13T13:00:00", "dtend": "2025-08-13T15:00:00"})
    assert found == {"dtstart": "2025-08-13", "byday": "WE", "opens_at": "13:00:00", "closes_at": "15:00:00"}
    assert found == schedule({"start_time": "2025-08-13T13:00:00", "end_time": "2025-08-13T15:00:00"})
    assert schedule({"dtstart": "2025-08-13", **OPEN, "freq": "DAILY"})["byday"] == "MO,TU,WE,TH,FR,SA,SU"


def test_a_range_of_dates_names_no_day() -> None:
    found = schedule({**OPEN, "valid_from": "2025-08-14", "valid_to": "2025-09-04", "freq": "WEEKLY"})
    assert "byday" not in found


@pytest.mark.parametrize("wkst", ["MO", None, "", "monday", "8"])
def test_monday_is_never_invented(wkst: object) -> None:
    found = schedule({**OPEN, "freq": "WEEKLY", "wkst": wkst}, {"hours": "Tuesdays 9 to 12"})
    assert "byday" not in found
    assert found["notes"] == "source hours text: Tuesdays 9 to 12"


def test_another_first_day_of_the_week_is_a_day_and_flagged() -> None:
    found = at({}, {"name": "Hall", "schedules": [{**OPEN, "wkst": "SA"}]}, {"hours": "Sat 9-12"})
    assert (only(found, "schedule")["byday"], only(found, "schedule")["wkst"]) == ("SA", "SA")
    assert only(found, "schedule")["notes"] == "source hours text: Sat 9-12"
    assert reasons(found) == ["byday_from_wkst"]


def test_a_day_that_is_said_needs_no_quotation() -> None:
    assert "notes" not in schedule({**OPEN, "byday": "MO", "wkst": "SA"}, {"hours": "Mon 9-12"})


@pytest.mark.parametrize(
    ("record", "quoted"),
    [
        ({"Hours_of_Operation": "Tues 10-11\\n Wed 6-7"}, "Tues 10-11, Wed 6-7"),
        ({"hours": "12:00 pm", "notes": "Distribution Day: Wednesday"}, "12:00 pm; Distribution Day: Wednesday"),
        ({"notes": "Sundays from 4 pm"}, "Sundays from 4 pm"),
        ({"notes": "Bring a bag"}, None),
        ({"hours": "<tr><td>Monday</td><td>9&ndash;5</td></tr>"}, "Monday 9\u20135"),
        (
            {"regular_schedule": [{"weekday": "Tuesday", "opens_at": "11 a.m.", "closes_at": "1 p.m."}]},
            "Tuesday 11 a.m. 1 p.m.",
        ),
        (
            {
                "events": [
                    {
                        "name": "Pantry",
                        "event_dates": [{"date": "2025-08-13", "start_time": "1 PM", "end_time": "4 PM"}],
                    }
                ]
            },
            "Pantry: 1 PM to 4 PM on 2025-08-13 (WE)",
        ),
        ({"events": [7, {}], "hours": []}, None),
    ],
)
def test_the_source_s_own_words_are_quoted(record: dict[str, Any], quoted: str | None) -> None:
    assert schedule([OPEN], record).get("notes") == (quoted and f"source hours text: {quoted}")


def test_an_entry_without_times_says_something_only_if_the_source_names_a_day() -> None:
    """As where a pantry says: Wednesdays. Call for hours."""
    empty = {"freq": "WEEKLY", "wkst": "MO", "opens_at": "", "closes_at": None}
    assert not rows(at({}, {"name": "Hall", "schedules": [empty]}, {"hours": "9 to 5"}), "schedule")
    assert schedule([empty], {"hours": "Wednesdays. Call."})["notes"] == "source hours text: Wednesdays. Call."
    assert schedule([{**empty, "description": "By appointment"}])["description"] == "By appointment"


def test_a_text_where_a_time_should_be_is_set_aside() -> None:
    found = at({}, {"name": "Hall", "schedules": [{"opens_at": "25:00", "closes_at": "12:00"}, {"opens_at": "Closed"}]})
    assert only(found, "schedule") == {"location_id": only(found, "schedule")["location_id"], "closes_at": "12:00:00"}
    assert reasons(found) == ["not_a_time"]


def test_recurrence_fields_pass_if_they_can_be_meant() -> None:
    given = {
        **OPEN,
        "interval": "2",
        "count": 5,
        "until": "2025-12-31",
        "bymonthday": [1, 15],
        "timezone": "-05:00",
    }
    found = schedule({**given, "byweekno": "x", "valid_from": "soon"})
    assert (found["interval"], found["count"], found["until"], found["bymonthday"]) == (2, 5, "2025-12-31", "1,15")
    assert found["timezone"] == -5
    assert not found.keys() & {"byweekno", "valid_from"}
    assert schedule({**OPEN, "interval": -1, "count": 10**30, "until": "0000-00-00"}) == schedule(OPEN)


@pytest.mark.parametrize(
    ("answer", "column"),
    [
        ({"locations": [{"name": "Hall", "schedules": [OPEN]}], "services": [{"name": "S"}]}, "location_id"),
        ({"locations": [{"name": "Hall"}], "services": [{"name": "S", "schedules": [OPEN]}]}, "service_at_location_id"),
        ({"services": [{"name": "S", "schedules": [OPEN]}]}, "service_id"),
        ({"services": [{"name": "S", "locations": [{"name": "Hall", "schedules": [OPEN]}]}]}, "service_at_location_id"),
        (
            {"locations": [{"name": "Hall"}, {"name": "Yard"}], "services": [{"name": "S", "schedules": [OPEN]}]},
            "service_id",
        ),
        (
            {
                "locations": [{"id": "l1", "name": "Hall"}, {"name": "Yard"}],
                "services": [{"name": "S", "schedules": [{**OPEN, "location_id": "l1"}]}],
            },
            "service_at_location_id",
        ),
        ({"locations": [{"name": "Hall"}], "schedules": [OPEN]}, "location_id"),
        ({"locations": [{"name": "Hall"}], "programs": [{"name": "P", "schedules": [OPEN]}]}, "service_at_location_id"),
        ({"services": [{"name": "S"}], "schedules": [OPEN]}, "service_id"),
    ],
)
def test_a_schedule_has_the_nearest_parent(answer: dict[str, Any], column: str) -> None:
    row = only(mapped({**PANTRY, **answer}), "schedule")
    assert [name for name in row if name.endswith("_id")] == [column]


def test_a_closed_day_is_no_schedule() -> None:
    days = {"monday": OPEN, "tuesday": "Closed", "wednesday": {"closed": True}, "thursday": {"opens_at": "closed"}}
    listed = [{"day": "Friday", "opens_at": None}, {"day": "Saturday", "is_closed": True}, {"day": "Sunday", **OPEN}]
    assert only(at({}, {"name": "Hall", "hours": days}), "schedule")["byday"] == "MO"
    assert only(at({}, {"name": "Hall", "hours": listed}), "schedule")["byday"] == "SU"


def test_days_without_any_times_are_kept() -> None:
    assert schedule([{"byday": "TU"}, {"freq": "WEEKLY", "timezone": "EST"}]) == {"byday": "TU"}


def test_hours_that_are_no_times_are_a_description() -> None:
    assert schedule("Tues 9-12, closed Mondays") == {"description": "Tues 9-12, closed Mondays"}
    assert schedule({"friday": "9-5"}) == {"description": "9-5", "byday": "FR"}
    assert not rows(at({}, {"name": "Hall", "hours": "Closed for the season"}), "schedule")


def test_hours_of_nowhere_are_set_aside() -> None:
    found = mapped({**PANTRY, "schedules": [OPEN], "locations": [{"name": "Hall"}, {"name": "Yard"}]})
    assert not rows(found, "schedule")
    assert reasons(found) == ["schedule_without_place"]


def test_a_day_of_windows_without_end_ends() -> None:
    found = at(
        {}, {"name": "Hall", "schedules": [{**OPEN, "description": str(n), "count": n + 1} for n in range(5000)]}
    )
    assert len(rows(found, "schedule")) == 1000
