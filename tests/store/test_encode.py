from __future__ import annotations

import base64
import dataclasses
import json
import math
import re
import tracemalloc
from collections import Counter, OrderedDict, UserDict, defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from fractions import Fraction
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, RootModel

from app.store import encode
from app.store.encode import dump, load, load_exactly
from app.store.errors import UnrecordableError

WORDS = st.text(st.characters(codec="utf-8"), max_size=20)
NUMBERS = st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False))
JSON_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, WORDS),
    lambda children: st.one_of(st.lists(children, max_size=5), st.dictionaries(WORDS, children, max_size=5)),
    max_leaves=20,
)
JSON_OBJECTS = st.dictionaries(WORDS, JSON_VALUES, max_size=5)
ANY_KEYS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.binary(max_size=3), st.dates(),
    st.tuples(st.integers(0, 2), st.text(max_size=1)),
)  # fmt: skip


class Colour(Enum):
    RED = "red"
    NUMBER = 7
    BOTH = ("a", 1)


class Level(IntEnum):
    HIGH = 3


class Word(StrEnum):
    HELLO = "hello"


class Loud(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "not what was sent"


class Point(NamedTuple):
    x: int
    y: str


@dataclasses.dataclass
class Usage:
    total_tokens: int
    at: datetime


@dataclasses.dataclass(slots=True, frozen=True)
class Slotted:
    model: str
    usage: Usage
    unset: int = dataclasses.field(init=False)


class Mixed:
    __slots__ = ("__dict__", "__private", "named", "never_set")

    def __init__(self) -> None:
        self.named = 1
        self.__private = 2
        self.loose = 3


class OneSlot:
    __slots__ = "data"

    def __init__(self) -> None:
        self.data = 1


class Inner(BaseModel):
    total_tokens: int
    ratio: float = math.nan


class Response(BaseModel):
    text: str
    usage: Inner
    tags: set[str] = Field(default_factory=set)
    at: datetime | None = None


class Ids(RootModel[list[int]]):
    pass


class Silent:
    pass


class Callback:
    def __init__(self) -> None:
        self.url = "https://example.com"

    def __call__(self) -> None: ...


def written(value: Any, **limits: Any) -> Any:
    """What a reader of the file finds where `value` was recorded."""
    data = encode.encode({"value": value}, **limits)
    assert data.endswith(b"}\n")
    assert b" object at 0x" not in data
    return load_exactly(data)["value"]


@contextmanager
def little_memory(limit: int = 100 * 1024 * 1024) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()


@given(JSON_OBJECTS)
@example(
    {"": {"a": [], "b": {}, "c": [[]]}, "\x00\x1f\x7f\u2028": "\U0001f600", "n": [-0.0, 5e-324, 1.7976931348623157e308]}
)
@example({"big": [2**64 - 1, -(2**63), 2**64, -(2**63) - 1, 10**400]})
def test_json_data_is_read_back_as_it_was(data: dict[str, Any]) -> None:
    text = encode.encode(data)
    assert encode.canonical(load_exactly(text)) == encode.canonical(data)
    assert list(load_exactly(text)) == list(data)
    assert text == encode.encode(data)


@given(JSON_OBJECTS)
def test_the_fast_and_the_careful_way_write_the_same(data: dict[str, Any]) -> None:
    fast = encode.encode({"data": data, "other": 1})
    careful = encode.encode({"data": data, "other": Level.HIGH})
    assert careful.replace(b'"other": 3', b'"other": 1') == fast


def test_the_text_is_indented_utf8_that_ends_in_a_newline() -> None:
    expected = '{\n  "a": [\n    "ü",\n    1\n  ],\n  "b": {}\n}\n'.encode()
    assert encode.encode({"a": ["ü", 1], "b": {}}) == expected
    assert encode.encode({"a": ("ü", Level.HIGH), "b": {}}) == expected.replace(b"1\n", b"3\n")
    assert json.loads(encode.encode({"a": "\ud800ü"})) == {"a": "\ud800ü"}


@pytest.mark.parametrize(("value", "name"), [(math.nan, "NaN"), (math.inf, "Infinity"), (-math.inf, "-Infinity")])
def test_a_number_that_is_not_finite_keeps_its_name(value: float, name: str) -> None:
    assert written([{"deep": [value]}]) == [{"deep": [{"$numberDouble": name}]}]


@pytest.mark.parametrize("value", [2**63, 2**64 - 1, 2**64, -(2**63) - 1, 10**400, -(10**3000)], ids=hex)
def test_an_integer_of_any_usual_size_is_written_in_full(value: int) -> None:
    assert written([value]) == [value]


@pytest.mark.parametrize("value", [10**4300, -(10**5000), 1 << 100_000], ids=["long", "negative", "binary"])
def test_an_integer_too_long_to_be_printed_keeps_its_value(value: int) -> None:
    assert int(written(value)["$numberHex"], 16) == value


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb", "\udc80\udc81", "ok \ud83d end", 'quote" back\\slash \ud800\n'])
def test_a_lone_surrogate_survives_in_values_and_in_keys(text: str) -> None:
    assert written(text) == text
    assert written({text: [text]}) == {text: [text]}
    assert load(dump({text: text})) == {text: text}


def test_keys_that_are_not_text_become_text() -> None:
    keys = {1: "a", None: "b", 2.5: "d", (1, "x"): "e", b"raw": "f", Word.HELLO: "g", date(2025, 2, 17): "h"}
    expected = {"1": "a", "null": "b", "2.5": "d", '[1, "x"]': "e", "raw": "f", "hello": "g", "2025-02-17": "h"}
    assert written(keys) == expected
    assert written({True: 1, Colour.RED: 2, UUID(int=5): 3}) == {"true": 1, "red": 2, str(UUID(int=5)): 3}


def test_keys_that_would_become_one_all_stay() -> None:
    assert written({"1": "text", 1: "number", b"1": "bytes"}) == {
        "1": "text",
        "1 (int)": "number",
        "1 (bytes)": "bytes",
    }
    assert sorted(written({1: "a", "1": "b", "1 (str)": "c"}).values()) == ["a", "b", "c"]
    assert sorted(written({"1 (int)": "a", "1": "b", 1: "c"}).values()) == ["a", "b", "c"]


@given(st.dictionaries(ANY_KEYS, st.integers(), max_size=8))
def test_no_key_costs_another_its_value(data: dict[Any, int]) -> None:
    assert sorted(written(data).values()) == sorted(data.values())


def test_a_hundred_thousand_keys_of_one_name_take_no_longer_than_others() -> None:
    keys = {float("nan"): index for index in range(100_000)}
    assert len(keys) == 100_000
    assert sorted(written(keys).values()) == list(range(100_000))


@given(st.binary(max_size=50))
def test_bytes_are_kept_whole(value: bytes) -> None:
    for kind in (bytes, bytearray, memoryview):
        found = written(kind(value))
        kept = found.encode() if isinstance(found, str) else base64.b64decode(found["$binary"]["base64"])
        assert kept == value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({3, 1, 2}, [1, 2, 3]),
        (frozenset({"b", "a"}), ["a", "b"]),
        ({None, 1, "a", (2, "x")}, ["a", 1, [2, "x"], None]),
        (Decimal("1.10"), "1.10"),
        (Decimal("NaN"), "NaN"),
        (Decimal("1E+999999"), "1E+999999"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Fraction(1, 3), "1/3"),
        (1 + 2j, "(1+2j)"),
        (PurePosixPath("/a/b"), "/a/b"),
        (Colour.RED, "red"),
        (Colour.NUMBER, 7),
        (Colour.BOTH, ["a", 1]),
        (Level.HIGH, 3),
        (Word.HELLO, "hello"),
        (Loud("sent"), "sent"),
        (Point(1, "a"), {"x": 1, "y": "a"}),
        (deque([1, 2], maxlen=2), [1, 2]),
        (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (defaultdict(list, {"a": [1]}), {"a": [1]}),
        (Counter("aab"), {"a": 2, "b": 1}),
        (UserDict({"a": 1}), {"a": 1}),
        (MappingProxyType({"a": 1}), {"a": 1}),
        (timedelta(minutes=1, milliseconds=500), 60.5),
        (time(6, 46), "06:46:00"),
        (date(2025, 2, 17), "2025-02-17"),
        (datetime(2025, 2, 17), "2025-02-17T00:00:00Z"),
        (datetime(2025, 2, 17, tzinfo=UTC), "2025-02-17T00:00:00Z"),
        (datetime(2025, 2, 17, 1, 2, 3, 4, tzinfo=timezone(timedelta(hours=-5))), "2025-02-17T01:02:03.000004-05:00"),
        (datetime(2025, 7, 1, tzinfo=ZoneInfo("America/New_York")), "2025-07-01T00:00:00-04:00"),
        (datetime(1, 1, 1), "0001-01-01T00:00:00Z"),
        (ValueError("no", 1), {"type": "ValueError", "args": ["no", 1]}),
        (Usage(5, datetime(2025, 1, 1)), {"total_tokens": 5, "at": "2025-01-01T00:00:00Z"}),
        (
            Slotted("m", Usage(5, datetime(2025, 1, 1))),
            {"model": "m", "usage": {"total_tokens": 5, "at": "2025-01-01T00:00:00Z"}},
        ),
        (Mixed(), {"named": 1, "_Mixed__private": 2, "loose": 3}),
        (OneSlot(), {"data": 1}),
        (Ids([1, 2]), [1, 2]),
        (
            Response(text="t", usage=Inner(total_tokens=1), tags={"b", "a"}, at=datetime(2025, 1, 1)),
            {
                "text": "t",
                "usage": {"total_tokens": 1, "ratio": {"$numberDouble": "NaN"}},
                "tags": ["a", "b"],
                "at": "2025-01-01T00:00:00Z",
            },
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_that_json_does_not_know_are_written_as_their_data(value: Any, expected: Any) -> None:
    assert written(value) == expected
    assert written({"deep": [(value,)]}) == {"deep": [[expected]]}
    assert written([value, {1, 2}]) == [expected, [1, 2]]


def test_an_exception_keeps_what_was_added_to_it() -> None:
    error = RuntimeError("failed")
    error.code = 5  # type: ignore[attr-defined]
    assert written(error) == {"type": "RuntimeError", "args": ["failed"], "code": 5}


@given(st.datetimes(timezones=st.timezones() | st.none()))
@example(datetime(1900, 1, 1, tzinfo=ZoneInfo("Europe/Amsterdam")))
@example(datetime(2025, 1, 1, tzinfo=timezone(timedelta(seconds=1172, microseconds=5))))
def test_a_datetime_is_the_same_instant_when_read_back(moment: datetime) -> None:
    expected = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    for found in (written(moment), written([moment, {1}])[0]):
        assert datetime.fromisoformat(found) - expected == timedelta(0)
        assert datetime.fromisoformat(found).utcoffset() == expected.utcoffset()


@pytest.mark.parametrize(
    "value",
    [
        object(),
        Silent(),
        print,
        len,
        lambda: 1,
        Callback(),
        Usage,
        int,
        iter([1]),
        (i for i in [1]),
        math,
        ...,
        range(3),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_has_no_data_is_refused_and_never_written_as_its_name(value: Any) -> None:
    with pytest.raises(UnrecordableError, match="has no data to record") as refused:
        written(value)
    assert not re.search("0x[0-9a-f]{6}", str(refused.value))


def test_what_contains_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    ring: dict[str, Any] = {"inner": {}}
    ring["inner"]["outer"] = ring
    thing = OneSlot()
    thing.data = [thing]  # type: ignore[assignment]
    for value in (loop, ring, thing, [loop, {1}], [ring, {1}]):
        with pytest.raises(UnrecordableError, match=r"contains itself|values"):
            written(value)


@pytest.mark.parametrize("odd", [False, True])
@pytest.mark.parametrize("wrap", [lambda value: [value], lambda value: {"a": value}, lambda value: (value,)])
def test_deep_nesting_is_written_up_to_its_limit_and_refused_beyond(wrap: Any, odd: bool) -> None:
    value: Any = {1} if odd else 1
    for _ in range(190):
        value = wrap(value)
    found = written(value)
    for _ in range(190):
        found = found["a"] if isinstance(found, dict) else found[0]
    assert found == ([1] if odd else 1)
    for _ in range(10_000):
        value = wrap(value)
    with pytest.raises(UnrecordableError, match="nested deeper than 200"):
        written(value)


def test_objects_nested_to_the_limit_need_no_more_stack_than_there_is() -> None:
    value: Any = 1
    for _ in range(150):
        value = Point(0, value)
    assert written(value)["x"] == 0
    for _ in range(5_000):
        value = Point(0, value)
    with pytest.raises(UnrecordableError, match="nested deeper"):
        written(value)


def bomb(leaf: Any, width: int, levels: int) -> Any:
    for _ in range(levels):
        leaf = [leaf] * width
    return leaf


BOMBS = {
    "values": bomb(1, 1000, 10),
    "empty lists": bomb([], 1000, 10),
    "dicts": bomb({"a": 1}, 1000, 10),
    "values that need care": bomb({1}, 1000, 10),
    "long text": bomb("x" * 1_000_000, 100, 2),
    "long text that needs care": [bomb("x" * 1_000_000, 100, 2), {1}],
    "long keys": bomb({"k" * 1_000_000: 1}, 100, 2),
    "long keys that need care": bomb({b"k" * 1_000_000: 1}, 100, 2),
    "long bytes": bomb(b"\xff" * 1_000_000, 100, 2),
    "long numbers": bomb(1 << 9_000, 1000, 2),
    "very long numbers": bomb(1 << 1_000_000, 1000, 2),
    "indentation": bomb(bomb(1, 1000, 2), 1, 190),
    "indentation that needs care": bomb(bomb(Level.HIGH, 1000, 2), 1, 150),
    "indentation in what only care looks into": deque([bomb(bomb(1, 1000, 2), 1, 150)]),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_little_data_that_would_be_written_out_at_great_length_is_refused(name: str) -> None:
    with (
        little_memory(),
        pytest.raises(
            UnrecordableError, match=r"more than [\d,]+ values|larger than 30,000,000 bytes when written out"
        ),
    ):
        encode.encode({"value": BOMBS[name]}, payload_bytes=2_000_000, max_bytes=30_000_000)


def test_honest_data_near_the_limit_is_written() -> None:
    text = "x" * 60_000_000
    assert written({"text": text}, payload_bytes=60_000_100, max_bytes=60_000_100) == {"text": text}
    rows = [{"id": index, "tags": ["a", "b"]} for index in range(20_000)]
    assert written(rows, payload_bytes=len(json.dumps(rows)), max_bytes=20_000_000) == rows


def test_a_shared_value_is_written_wherever_it_is_used() -> None:
    shared = {"a": [1, 2]}
    assert written([shared, shared, {"again": shared}]) == [shared, shared, {"again": shared}]


def test_reading_refuses_what_is_not_json() -> None:
    for data in (b"", b"{", b'{"a": 1', b"\x80\x04", b'{"a": 1}}', b"[" * 100_000, b"\xff\xfe"):
        with pytest.raises(ValueError, match=r"."):
            load(data)
        with pytest.raises(ValueError, match=r"."):
            load_exactly(data)


def test_canonical_texts_tell_apart_what_python_calls_equal() -> None:
    texts = {encode.canonical(value) for value in (1, 1.0, True, "1", [1], {"a": 1})}
    assert len(texts) == 6
    assert encode.canonical({"a": 1, "b": 2}) == encode.canonical({"b": 2, "a": 1})
