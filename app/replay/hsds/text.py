"""Values as answers give them, to the values that a field can hold; what says nothing is None."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any

from app.store.timestamps import parse_timestamp

PLACEHOLDERS = frozenset(
    {
        "", "-", "--", "---", ".", "?", "n/a", "na", "n.a.", "n\\a", "nil", "none", "null", "undefined", "unknown",
        "unspecified",
        "not provided", "not specified", "not available", "not applicable", "not listed", "not stated", "not given",
        "not known", "no information", "no data", "information not available", "tbd", "tba", "to be determined",
        "to be announced", "string", "text", "empty", "{}", "[]", "nan", "missing", "not found", "none provided",
        "none listed", "none specified", "unavailable",
    }
)  # fmt: skip
"""Texts, in lower case, that stand for nothing."""

_LONGEST_PLACEHOLDER = max(map(len, PLACEHOLDERS))
_NEVER_STORED = re.compile("[\x00\ud800-\udfff]")
_EMAIL = re.compile(r"[^\s@<>,;]+@[^\s@<>,;]+")
_WEBSITE = re.compile(r"(?i)(?:https?://)?[^\s/@:]+\.[^\s/@:]+(?:[:/?#]\S*)?")
_OFFSET = re.compile(
    r"(?:UTC|GMT)?\s*([+\u2212-]?)\s*(\d{1,2}(?:\.\d{1,2})?)(?::?([0-5]\d))?(?:\s*hours?)?", re.ASCII | re.I
)
_FARTHEST_ZONE = 14
_NUMBER = re.compile(r"[+-]?\d{1,20}(?:\.\d{1,30})?")
_DATE = re.compile(r"(\d{4})-(\d{2})-(\d{2})(?!\d)")
_US_DATE = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})")
_MANY_DIGITS = 40
_LONGEST_ADDRESS = 600
"""Characters of a mail or web address; the patterns take time that grows with the square of it."""


def text(value: object) -> str | None:
    """A text without what no database stores, or None for a placeholder and for what is no text."""
    if not isinstance(value, str):
        digits = plain_number(value) if isinstance(value, int | float | Decimal) else None
        if digits is None or isinstance(value, bool):
            return None
        value = digits
    if not value.isascii():
        value = unicodedata.normalize("NFC", _NEVER_STORED.sub("", value))
    elif "\x00" in value:
        value = value.replace("\x00", "")
    value = value.strip()
    if len(value) <= _LONGEST_PLACEHOLDER and value.lower() in PLACEHOLDERS:
        return None
    return value


def plain_number(value: float | Decimal) -> str | None:
    """A number's digits without an exponent; None if it isn't finite or is absurdly long."""
    if isinstance(value, int):
        return str(value) if value.bit_length() < _MANY_DIGITS * 3 else None
    number = Decimal(repr(value)) if isinstance(value, float) else value
    if not number.is_finite() or abs(number.adjusted()) > _MANY_DIGITS:
        return None
    digits = f"{number:f}"
    return (digits.rstrip("0").rstrip(".") if "." in digits else digits)[:_MANY_DIGITS]


def first(node: dict[str, Any], names: Iterable[str]) -> str | None:
    """The first text that stands under one of `names`."""
    for name in names:
        if name in node and (found := text(node[name])) is not None:
            return found
    return None


def number(value: object) -> Decimal | None:
    """A finite number of at most 20 digits before the point and 30 after it, from a number or its text."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        return Decimal(value.strip()) if _NUMBER.fullmatch(value.strip()) and value.isascii() else None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    digits = plain_number(value) if isinstance(value, int | float | Decimal) else None
    try:
        return Decimal(digits) if digits is not None else None
    except InvalidOperation:
        return None


def whole(value: object, least: int, most: int) -> int | None:
    """A whole number within bounds."""
    found = number(value)
    return int(found) if found is not None and found == found.to_integral_value() and least <= found <= most else None


def email(value: object) -> str | None:
    """A mail address: needs an @ with something on either side."""
    found = _EMAIL.search(said) if (said := text(value)) and "@" in said and len(said) <= _LONGEST_ADDRESS else None
    return found.group().rstrip(".") if found else None


def website(value: object) -> str | None:
    """A web address with its scheme; what has none gets https."""
    said = text(value)
    if said is None or len(said) > _LONGEST_ADDRESS or not _WEBSITE.fullmatch(said):
        return None
    return said if said.lower().startswith(("http://", "https://")) else f"https://{said}"


def day(value: object) -> date | None:
    """A calendar date from ISO text, with or without a time, or from ``month/day/year``."""
    said = text(value)
    if said is None:
        return None
    if found := _DATE.match(said):
        year, month, number_of_day = map(int, found.groups())
    elif found := _US_DATE.fullmatch(said):
        month, number_of_day, year = map(int, found.groups())
    else:
        return None
    try:
        return date(year, month, number_of_day)
    except ValueError:
        return None


def moment(value: object) -> str | None:
    """A date with an optional time as ISO text in UTC, which PostgreSQL takes for a timestamp."""
    said = text(value)
    found = parse_timestamp(said) if said and day(said) else None
    return found.isoformat() if found else None


def utc_offset(value: object) -> Decimal | None:
    """Hours from UTC: a number, or text such as ``-05:00`` and ``UTC-5``. A zone's name has two a year."""
    said = text(value)
    if said is None:
        return None
    if said.upper() in ("UTC", "GMT", "Z"):
        return Decimal(0)
    found = _OFFSET.fullmatch(said)
    if found is None:
        return None
    hours = Decimal(found[2]) + Decimal(found[3] or 0) / 60
    return (-hours if found[1] in ("-", "\u2212") else hours) if hours <= _FARTHEST_ZONE else None
