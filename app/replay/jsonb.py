"""Data as JSON text that a jsonb column takes."""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal
from typing import Any

import orjson

_REFUSED = re.compile(rb"\\u0000|\\u[dD][89a-fA-F]|[:\[,]\s*-?(?:NaN|Infinity|\d+(?:\.\d+)?[eE][+-]?\d{4})|\d{5000}")
"""What jsonb refuses: NUL, lone surrogates, NaN, numbers of thousands of digits. What only looks so is kept too."""

_NUL = b"\\u0000"
_MOST_DIGITS = 4000
"""A number with more, before its point or after it, may be too long for jsonb."""


class Json(bytes):
    """JSON text for a jsonb column."""


def for_jsonb(value: Any) -> Json | None:
    """Data for a jsonb column, unless jsonb might refuse it."""
    try:
        written = orjson.dumps(value, default=_fragment)
    except orjson.JSONEncodeError:
        written = compact(value)
        return None if _REFUSED.search(written) else Json(written)
    return None if _NUL in written else Json(written)


def compact(value: Any, *, sort: bool = False) -> bytes:
    """Data as JSON of one line; what JSON has no word for is written as Python does."""
    try:
        return orjson.dumps(value, default=_fragment, option=orjson.OPT_SORT_KEYS if sort else 0)
    except orjson.JSONEncodeError:  # an integer over 64 bits, a lone surrogate, a number of too many digits
        return json.dumps(value, separators=(",", ":"), sort_keys=sort, default=_as_float).encode()


def _fragment(value: object) -> orjson.Fragment:
    if isinstance(value, Decimal) and _is_short(value):
        return orjson.Fragment(str(value))
    raise TypeError(f"not data: {type(value).__name__}")


def _as_float(value: Decimal) -> float:
    return float(value) if _is_short(value) else math.nan


def _is_short(number: Decimal) -> bool:
    _, digits, exponent = number.as_tuple()
    return isinstance(exponent, int) and len(digits) + abs(exponent) <= _MOST_DIGITS
