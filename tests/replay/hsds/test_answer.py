from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.replay.hsds.answer import NotAnAnswerError, balance, read_answer, read_json
from app.replay.hsds.mapping import map_recording
from tests.replay.hsds.making import PANTRY, recording

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ('{"name": "A"}', "as_is"),
        (' \n{"name": "A"}\n', "as_is"),
        ('\ufeff{"name": "A"}', "as_is"),
        ('Here it is:\n```json\n{"name": "A"}\n```\nEnjoy', "fenced"),
        ('```\n{"name": "A"}', "fenced"),
        ('Sure! {"name": "A"} Anything else?', "balanced"),
        ('{"name": "A"', "balanced"),
        ('{"name": "A"}}', "balanced"),
        ('{"name": "A', "balanced"),
        ('{"name": "A",}', "balanced"),
        ('{"name": "A", ', "balanced"),
        ('As [1] says: {"name": "A"}', "balanced"),
        ('```json\n{"name": "A"\n```\nEnjoy', "balanced"),
        ({"text": '{"name": "A"}', "model": "m", "usage": {}}, "as_is"),
        ({"text": '```json\n{"name": "A"}\n```', "model": "m"}, "fenced"),
        ({"text": {"name": "A"}}, "structured"),
        ({"name": "A"}, "structured"),
    ],
)
def test_a_result_becomes_data(result: Any, expected: str) -> None:
    assert read_answer(result) == ({"name": "A"}, expected)
    assert map_recording({**recording(PANTRY), "result": result}).parse_mode == expected


def test_an_organization_with_a_text_of_its_own_is_no_envelope() -> None:
    assert read_answer({"name": "A", "text": "{}"}) == ({"name": "A", "text": "{}"}, "structured")


@pytest.mark.parametrize(
    "result", ["Invalid JSON response", "", "7", '"name"', "null", 7, True, {"text": ""}, '{"a": NaN}', "{'a': 1}"]
)
def test_what_is_no_json_object_is_no_answer(result: object) -> None:
    with (
        pytest.raises(NotAnAnswerError)
        if not isinstance(result, dict) or result["text"] == ""
        else pytest.raises(ValueError)
    ):
        read_answer(result)


def test_deep_nesting_is_no_answer() -> None:
    for text in ("[" * 100_000, '{"a":' * 100_000, "[}" * 50_000 + "x"):
        with pytest.raises(NotAnAnswerError):
            read_answer(text)


def test_brackets_that_were_never_closed_are_closed_where_the_next_one_out_is() -> None:
    assert json.loads(balance('{"a": [{"b": 1, "c": [2], "d": {}}')) == {"a": [{"b": 1, "c": [2], "d": {}}]}
    assert json.loads(balance('{"a": [1, 2}')) == {"a": [1, 2]}


def test_a_bracket_too_many_is_dropped() -> None:
    assert json.loads(balance('{"a": [1]], "b": 2}')) == {"a": [1], "b": 2}


def test_a_bracket_of_the_wrong_kind_is_the_right_one() -> None:
    assert json.loads(balance('{"a": {"b": [1] ], "c": 2}')) == {"a": {"b": [1]}, "c": 2}


def test_parts_that_unclosed_brackets_swallowed_come_out_again() -> None:
    text = '{"name": "A", "organization_identifiers": [{"identifier": "7", "locations": [{"name": "Hall"}]}'
    assert read_answer(text)[0]["locations"] == [{"name": "Hall"}]


def test_brackets_in_texts_are_text() -> None:
    assert json.loads(balance(r'{"a": "[{\"", "b": [1}')) == {"a": '[{"', "b": [1]}


@given(JSON.filter(lambda value: isinstance(value, dict | list)))
def test_balancing_leaves_what_is_balanced(value: Any) -> None:
    assert json.loads(balance(json.dumps(value))) == value


def test_of_a_name_given_twice_the_last_value_that_says_something_counts() -> None:
    assert read_json('{"a": 1, "a": 2, "a": "", "a": [], "a": null, "b": null, "b": null}') == {"a": 2, "b": None}


def test_numbers_keep_their_digits() -> None:
    assert read_json("[39.0920863529160001, 1e400]") == [Decimal("39.0920863529160001"), Decimal("1e400")]
    assert read_json("9" * 5000) == Decimal("9" * 5000)
