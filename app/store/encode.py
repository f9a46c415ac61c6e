"""Data to JSON text and back, losing nothing: the fast way for what JSON knows, the careful way for the rest.

What JSON can't say is written so that it can be read back, in the notation of MongoDB's Extended JSON v2
(https://www.mongodb.com/docs/manual/reference/mongodb-extended-json/): ``{"$numberDouble": "NaN"}`` for numbers that
aren't finite and ``{"$binary": {"base64": ..., "subType": "00"}}`` for bytes that aren't UTF-8 text.
"""

from __future__ import annotations

import base64
import dataclasses
import gc
import json
import math
import sys
from collections import Counter, deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import PurePath
from typing import Any
from uuid import UUID

import orjson

from app.store.errors import UnrecordableError

MAX_DEPTH = 200
"""Deepest nesting recorded; orjson's own limit is 254."""

MAX_NODES = 20_000_000
"""Most values in one record, counting a shared one each time it is used."""

MAX_CAREFUL_NODES = 5_000_000
"""The same where a record holds what JSON doesn't know, and is therefore copied value by value."""

_OPTIONS = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE | orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z
_CONTAINERS = frozenset({dict, list, tuple})
_LEAN = _CONTAINERS | {str, int, float, bool, type(None), datetime, date}
_FAST = _LEAN | {UUID}
_BITS_AS_HEX = 10_000  # well below the 4,300 digits that Python turns into text


def encode(
    content: dict[str, Any], *, payload_bytes: int = 0, simple: bool = False, max_bytes: int = sys.maxsize
) -> bytes:
    """A record's content as indented JSON in UTF-8, ending in a newline.

    `payload_bytes` is the size of the payload that the content was decoded from: an upper bound for its longest
    text. `simple` says that it is known to hold only what orjson writes as it is, or refuses. Raises
    `UnrecordableError` for what is nested too deep, contains itself, has no data, or would be larger than `max_bytes`
    once its shared parts are written out.
    """
    if _survey(content, payload_bytes, max_bytes, simple=simple):
        try:
            return orjson.dumps(content, option=_OPTIONS)
        except orjson.JSONEncodeError:  # an integer over 64 bits, a lone surrogate, a key that isn't text
            pass
    return dump(_Plain(max_bytes).value(content, 0))


def scalar(value: Any) -> Any:
    """What a single value is recorded as, so that it means the same now and when read back; None for collections."""
    if isinstance(value, dict | list | tuple | set | frozenset):
        return None
    try:
        return _Plain(sys.maxsize).value(value, 0)
    except UnrecordableError:
        return None


def dump(plain: object) -> bytes:
    """Plain data (dict, list, str, int, float, bool, None) as indented JSON in UTF-8, ending in a newline."""
    try:
        return orjson.dumps(plain, option=_OPTIONS)
    except orjson.JSONEncodeError:
        text = json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False)
        return (text + "\n").encode("utf-8", "backslashreplace")  # a lone surrogate becomes its JSON escape


def load(data: bytes) -> Any:
    """JSON text as data. Raises ValueError. Integers over 64 bits come back whole only from `load_exactly`."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return load_exactly(data)  # an escaped lone surrogate


def load_exactly(data: bytes) -> Any:
    """JSON text as data, with integers of any size. Raises ValueError."""
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("nested too deep") from None


def _survey(root: object, payload_bytes: int, max_bytes: int, *, simple: bool) -> bool:
    """Whether orjson may write `root`: all of it plain and finite. Raises when it is too deep or too large.

    A few hundred bytes of pickle can share one list a thousand times over on each of ten levels, so the values are
    counted as often as they would be written, a level at a time, before any of them is.
    """
    if _is_lean(root, payload_bytes, max_bytes, simple=simple):
        return True
    kinds: set[type] = set()
    level: list[Any] = [root]
    nodes = weight = 0
    for depth in range(MAX_DEPTH):
        containers = [value for value in level if type(value) in _CONTAINERS]
        if not containers:
            return kinds <= _FAST
        nodes += sum(map(len, containers))
        if nodes > MAX_NODES:
            raise UnrecordableError(f"more than {MAX_NODES:,} values")
        level = gc.get_referents(*containers)
        kinds.update(map(type, level))
        if _has_odd(level, kinds):
            kinds.add(object)
        weight += _line_bytes(depth) * sum(map(len, containers))
        if nodes * payload_bytes > max_bytes:
            weight += sum(len(value) for value in level if type(value) in (str, bytes))
            weight += sum(len(key) for value in containers if type(value) is dict for key in value if type(key) is str)
        if weight > max_bytes:
            raise UnrecordableError(f"larger than {max_bytes:,} bytes when written out")
    raise UnrecordableError(f"nested deeper than {MAX_DEPTH} levels, or contains itself")


def _is_lean(root: object, payload_bytes: int, max_bytes: int, *, simple: bool) -> bool:
    """Whether orjson may write `root`, seen at a fraction of a survey's price: no limit is anywhere near. Else False.

    A level has at most as many values for each above it as the payload has bytes. Only of kinds whose referents are
    what they contain does it go on to the next level.
    """
    if not payload_bytes:
        return False  # nothing is known that bounds it
    level: list[Any] = [root]
    bound = 0
    for depth in range(MAX_DEPTH):
        if len(level) * payload_bytes > MAX_NODES:
            return False
        level = gc.get_referents(*level)
        if not level:
            return True
        bound += len(level) * (_line_bytes(depth) + payload_bytes)
        if bound > max_bytes or not (simple or _all_lean(level)):
            return False
    return False


def _all_lean(level: list[Any]) -> bool:
    kinds = set(map(type, level))
    return kinds <= _LEAN and (kinds.isdisjoint(_ODD) or not _has_odd(level, kinds))


def _has_odd(level: list[Any], kinds: set[type]) -> bool:
    return any(
        kind in kinds and any(type(value) is kind and odd(value) for value in level) for kind, odd in _ODD.items()
    )


class _Plain:
    """Turns values of any kind into what JSON knows, counting them."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._nodes = 0
        self._weight = 0

    def value(self, value: Any, depth: int) -> Any:
        self._nodes += 1
        if depth > MAX_DEPTH:
            raise UnrecordableError(f"nested deeper than {MAX_DEPTH} levels, or contains itself")
        if self._nodes > MAX_CAREFUL_NODES:
            raise UnrecordableError(f"more than {MAX_CAREFUL_NODES:,} values, some of them not plain JSON")
        self._weigh(_line_bytes(depth))
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, Enum):
            return self.value(value.value, depth + 1)
        if isinstance(value, str):
            return self._weighed(str.__str__(value))
        if isinstance(value, int):
            return self._integer(value)
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else {"$numberDouble": _not_finite(value)}
        if isinstance(value, bytes | bytearray | memoryview):
            return self._binary(bytes(value))
        if isinstance(value, date | time | timedelta):
            return _moment(value)
        if isinstance(value, UUID | Decimal | PurePath | Fraction | complex):
            return self._weighed(str(value))
        return self._collection(value, depth)

    def _collection(self, value: Any, depth: int) -> Any:
        if isinstance(value, Mapping):
            return self._mapping(value, depth)
        if isinstance(value, tuple) and hasattr(value, "_asdict"):
            return self._mapping(value._asdict(), depth)
        if isinstance(value, list | tuple | deque):
            return [self.value(item, depth + 1) for item in value]
        if isinstance(value, set | frozenset):
            return sorted((self.value(item, depth + 1) for item in value), key=canonical)
        fields = _fields(value)
        return self._mapping(fields, depth) if isinstance(fields, Mapping) else self.value(fields, depth + 1)

    def _mapping(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        plain: dict[str, Any] = {}
        clashes: Counter[str] = Counter()
        for key, item in value.items():
            name = self._key(key, depth)
            if name in plain:  # 1 and "1" are two keys in Python and one in JSON
                name = free_name(plain, f"{name} ({type(key).__name__})", clashes)
            plain[name] = self.value(item, depth + 1)
        return plain

    def _key(self, key: Any, depth: int) -> str:
        if isinstance(key, str) and not isinstance(key, Enum):
            return self._weighed(str.__str__(key))
        plain = self.value(key, depth + 1)
        return plain if isinstance(plain, str) else canonical(plain)

    def _binary(self, value: bytes) -> Any:
        try:
            return self._weighed(value.decode("utf-8"))
        except UnicodeDecodeError:
            return {"$binary": {"base64": self._weighed(base64.b64encode(value).decode()), "subType": "00"}}

    def _integer(self, value: int) -> Any:
        bits = value.bit_length()
        self._weigh(bits // 3)
        return int(value) if bits <= _BITS_AS_HEX else {"$numberHex": hex(value)}

    def _weighed(self, text: str) -> str:
        self._weigh(len(text))
        return text

    def _weigh(self, size: int) -> None:
        self._weight += size
        if self._weight > self._max_bytes:
            raise UnrecordableError(f"larger than {self._max_bytes:,} bytes when written out")


def canonical(plain: object) -> str:
    """Plain data as a text that only the same data has: ``1``, ``1.0`` and ``true`` are three things."""
    return json.dumps(plain, sort_keys=True)


def free_name(taken: Mapping[Any, Any], name: str, clashes: Counter[str]) -> str:
    """`name`, with a number where it is taken; `clashes` makes a million of the same name no slower than one."""
    free = name
    while free in taken:
        clashes[name] += 1
        free = f"{name} {clashes[name] + 1}"
    return free


def _line_bytes(depth: int) -> int:
    """What a value at this depth takes beside its text: indentation, comma, end of line."""
    return 2 * depth + 2


def _offset_has_seconds(value: datetime) -> bool:
    return bool((value.utcoffset() or timedelta()) % timedelta(minutes=1))


def _offset_is_lost(value: datetime) -> bool:
    """Whether Python would read the offset back as none: one of less than a second."""
    offset = value.utcoffset() or timedelta()
    return offset != timedelta() and abs(offset) < timedelta(seconds=1)


_ODD: dict[type, Callable[[Any], bool]] = {
    float: lambda value: not math.isfinite(value),
    datetime: _offset_has_seconds,
}
"""Values of types that orjson writes, which it would write as something else: null, another instant."""


def _not_finite(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _moment(value: date | time | timedelta) -> Any:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, datetime) and value.tzinfo is None:
        value = value.replace(tzinfo=UTC)
    if isinstance(value, datetime) and _offset_is_lost(value):
        with suppress(OverflowError):  # in the years 1 and 9999
            value = value.astimezone(UTC)  # Python would read such an offset back as none
    text = value.isoformat()
    return text.removesuffix("+00:00") + "Z" if text.endswith("+00:00") else text


def _fields(value: Any) -> Any:
    """The data of an object: a pydantic model's, a dataclass's, an exception's, or any instance's attributes."""
    if not isinstance(value, type):
        if callable(getattr(type(value), "model_dump", None)):
            return value.model_dump()
        if dataclasses.is_dataclass(value):
            names = [field.name for field in dataclasses.fields(value)]
            return {name: getattr(value, name) for name in names if hasattr(value, name)}
        if isinstance(value, BaseException):
            return {"type": type(value).__name__, "args": value.args, **vars(value)}
        state = object.__getstate__(value)
        fields, slots = state if isinstance(state, tuple) else (state, None)
        if (fields or slots) and not callable(value):
            return {**(slots or {}), **(fields or {})}
    raise UnrecordableError(f"a {type(value).__name__} has no data to record")
