"""A recording's text as data, its schema apart: job.format, the same few texts in every recording, is most of it.

A schema whose text was met before is cut out of the next recording's text unread.
"""

from __future__ import annotations

import hashlib
import json
import math
import secrets
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import orjson

from app.replay.jsonb import compact, for_jsonb

_MOST_KNOWN = 32
_LONGEST_KNOWN = 200_000
"""Longer texts are read each time: so many of them would fill the memory."""

_NAME = '"format":'
_STAND_IN = secrets.token_hex()
"""What stands in a text for a schema that was cut out. Nobody can have written it, so where it turns up is certain."""


@dataclass(frozen=True, slots=True)
class Schema:
    """What a recording has as job.format."""

    sha256: bytes
    """Of its compact JSON with sorted keys."""
    written: bytes
    """As jsonb takes it."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording's data."""

    data: Any
    """Without the schema, if that was set apart."""
    schema: Schema | None
    """None where there is none, or one that jsonb would refuse."""
    exact: bool
    """Whether these two say all that the text does, to the last digit."""


_known: dict[str, Schema] = {}
"""Schemas by their text, which they say all of."""


def read_recording(text: str) -> Recording:
    """Read a recording. Raises ValueError when it isn't JSON."""
    start = _start_of_schema(text)
    known = next((known for known in _known if text.startswith(known, start)), None) if start else None
    if known is not None:
        with suppress(ValueError):  # reading all of it says what is wrong
            data, exact = _read(f'{text[:start]}"{_STAND_IN}"{text[start + len(known) :]}')
            job = data.get("job") if isinstance(data, dict) else None
            if isinstance(job, dict) and job.get("format") == _STAND_IN:
                del job["format"]
                return Recording(data, _known[known], exact)
    data, exact = _read(text)
    rest, schema = _apart(data)
    if schema and exact and len(_known) < _MOST_KNOWN:
        _remember(text, start, data["job"]["format"], schema)
    return Recording(rest, schema, exact)


def _remember(text: str, start: int, data: Any, schema: Schema) -> None:
    try:
        found, end = json.JSONDecoder().raw_decode(text, start)
    except (ValueError, RecursionError):
        return  # what begins there is something else
    if found == data and end - start <= _LONGEST_KNOWN:
        _known[text[start:end]] = schema


def _start_of_schema(text: str) -> int:
    """Where the schema may begin; 0 if there is none."""
    found = text.find(_NAME) + len(_NAME)
    if found < len(_NAME):
        return 0
    return found + (text[found : found + 1] == " ")


def _read(text: str) -> tuple[Any, bool]:
    """A text's data, and whether that says all that the text does."""
    try:
        data = orjson.loads(text)
    except orjson.JSONDecodeError:  # an escaped lone surrogate, NaN: the careful way knows
        return _read_carefully(text)
    return _read_carefully(text) if _has_float(data) else (data, True)


def _read_carefully(text: str) -> tuple[Any, bool]:
    exact = True

    def check(digits: str) -> float:
        nonlocal exact
        number = float(digits)
        exact = exact and math.isfinite(number) and Decimal(digits) == Decimal(repr(number))
        return number

    try:
        return json.loads(text, parse_float=check, parse_constant=check), exact
    except RecursionError:
        raise ValueError("nested too deep") from None


def _apart(data: Any) -> tuple[Any, Schema | None]:
    job = data.get("job") if isinstance(data, dict) else None
    if not isinstance(job, dict) or job.get("format") is None:
        return data, None
    written = for_jsonb(job["format"])
    if written is None:
        return data, None
    schema = Schema(hashlib.sha256(compact(job["format"], sort=True)).digest(), written)
    return {**data, "job": {name: value for name, value in job.items() if name != "format"}}, schema


def _has_float(value: object) -> bool:
    """Whether a number in it may have lost digits: integers of over 64 bits are read as floats too."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
        elif isinstance(one, float):
            return True
    return False
