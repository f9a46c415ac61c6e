"""Whatever a result says, mapping it neither fails nor makes a row that a database would refuse."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.replay.hsds.mapping import map_recording
from tests.replay.hsds.making import PANTRY, at, recording
from tests.replay.hsds.validity import COLUMNS, assert_valid

OTHER_NAMES = """
    id name addresss addresses address locations location services service programs program phones phone number contacts
    schedules schedule hours times languages service_at_locations organization organizations schema data coordinates
    events date dates rrule start_time monday service_areas required_documents urls fundings organization_identifiers
    accessibilitys week_of_month
"""
NAMES = sorted({name for columns in (*COLUMNS.values(), OTHER_NAMES) for name in columns.split()})
ODD = [
    "", "org_1", "loc_1", "Hall", "1 Main St", "12180", "NY", "25:00", "24:00", "09:00", "9-5", "2025-02-30",
    "0000-00-00",
    "9999-12-31T23:59:59+14:00", "0001-01-01T00:00:00-14:00", "MO", "2TU", "MONTHLY",
    "FREQ=DAILY;UNTIL=99999999;COUNT=1",
    "a\x00b", "\ud800", "\udfff\x00", "413-592-9528 ext 999999999999", "1e400", "NaN", "9" * 400, "x" * 700, "a@b",
    "www.a.org", "javascript:1", "active", "physical", "\u0663\u0664", "\u00bd", "***", "\U0001f600", "string",
]  # fmt: skip
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(ODD)
    | st.text(st.characters(), max_size=8)
    | st.sampled_from([0, -1, 42.7284, -73.6918, 1e308, 10**30, 4689967.66, -8559199.79, float("nan")])
)
JSON = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=3), inner, max_size=5)
    ),
    max_leaves=20,
)
NODES = st.dictionaries(st.sampled_from(NAMES), JSON, max_size=8)


@given(JSON)
@settings(max_examples=40, deadline=None)
def test_any_json_is_mapped_without_an_error(value: Any) -> None:
    assert_valid(map_recording(value))
    assert_valid(map_recording(recording("", job=value)))
    assert_valid(map_recording(recording("", result=value)))


@given(NODES, NODES | JSON)
@settings(max_examples=40, deadline=None)
def test_any_answer_makes_rows_that_a_database_takes(answer: Any, record: Any) -> None:
    run = recording("", record)
    run["result"] = {**answer, "name": answer.get("name") or "Hall"}
    found = map_recording(run)
    assert_valid(found)
    again = map_recording(run)
    assert (again.rows, again.notes, again.source_key) == (found.rows, found.notes, found.source_key)
    try:
        run["result"] = json.dumps(run["result"], allow_nan=False)
    except ValueError:
        return
    assert_valid(map_recording(run))


@given(st.lists(NODES, min_size=1, max_size=3), st.lists(NODES, max_size=3), st.lists(NODES, max_size=2))
@settings(max_examples=40, deadline=None)
def test_any_parts_make_rows_that_a_database_takes(places: Any, services: Any, schedules: Any) -> None:
    answer = {**PANTRY, "locations": places, "services": services, "schedules": schedules}
    assert_valid(map_recording({**recording("", {"latitude": 42.7284, "longitude": -73.6918}), "result": answer}))


@pytest.mark.parametrize("name", NAMES)
def test_each_name_may_hold_anything(name: str) -> None:
    values: list[Any] = [*ODD, 7, -1.5, True, None, [], {}, [[]], [{}], [None, 7, "x", []], {"x": {"y": 1}}, 10**40]
    for value in values:
        for place in ({name: value}, {"name": "Hall", name: value, "schedules": [{name: value, "opens_at": "09:00"}]}):
            assert_valid(map_recording(recording({**PANTRY, "locations": [place], "services": [place], name: value})))


@pytest.mark.parametrize("text", ["\\u0000", "\\\\u0000", "\x00", "\\\x00", "\ud800", float("nan"), [float("inf")]])
def test_what_is_set_aside_is_json_that_a_database_takes(text: Any) -> None:
    run = recording("")
    run["result"] = {**PANTRY, "phones": [{"number": f"x{text}"}], "locations": [{"name": "Hall", "coordinates": text}]}
    found = map_recording(run)
    assert found.notes
    assert_valid(found)


def deep(depth: int, part: str) -> dict[str, Any]:
    value: dict[str, Any] = {"opens_at": "09:00"}
    for _ in range(depth):
        value = {part: value}
    return value


@pytest.mark.parametrize(
    "part", ["schedules", "locations", "organization", "data", "location", "address", "events", "byday"]
)
def test_depth_fails_nothing(part: str) -> None:
    run = recording(PANTRY, {"latitude": 1, "longitude": 1})
    run["result"] = {**PANTRY, part: deep(20_000, part), "locations": [deep(20_000, part)]}
    assert_valid(map_recording(run))
    run["result"] = deep(20_000, part)
    assert_valid(map_recording(run))


@pytest.mark.parametrize("part", ["a.", "a@", "<", "1 ", "mon ", "{", "[}", "```", "&#", ", "])
def test_a_huge_text_takes_no_time_that_grows_with_its_square(part: str, in_full: bool) -> None:
    """What grows with the square takes an hour in full, and is seen here too."""
    text = part * (500_000 if in_full else 10_000)
    place = {"name": "Hall", **dict.fromkeys(NAMES, text)}
    assert_valid(at({}, place, {"hours": text, "notes": text, "events": [{"event_details": text}]}))
    map_recording(recording(text))
    map_recording(recording("{" + text))
