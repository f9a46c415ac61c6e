"""Instants as producers write them, read into UTC; and the one way in which we write them."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
"""Nothing was recorded before; an earlier time is a mistake of the producer's."""

_AHEAD = timedelta(days=1)


def parse_timestamp(value: object) -> datetime | None:
    """The instant that a value names, in UTC, or None.

    Takes datetimes and dates, ISO 8601 text with ``T`` or a space and with ``Z``, an offset or neither (then UTC),
    and seconds since 1970 as a number or as text.
    """
    if isinstance(value, datetime):
        return _to_utc(value)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return _from_epoch(value)
    if isinstance(value, str):
        return _from_text(value.strip())
    return None


def plausible(moment: datetime, now: datetime) -> bool:
    """Whether something can have happened then: not before 2000, nor more than a day ahead."""
    return EARLIEST <= moment <= now + _AHEAD


def _from_text(text: str) -> datetime | None:
    try:
        return _to_utc(datetime.fromisoformat(text))
    except ValueError:
        pass
    try:
        return _from_epoch(float(text))
    except ValueError:
        return None


def _from_epoch(seconds: float) -> datetime | None:
    try:
        return datetime.fromtimestamp(seconds, UTC) if math.isfinite(seconds) else None
    except (OverflowError, OSError, ValueError):
        return None


def _to_utc(moment: datetime) -> datetime | None:
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except (OverflowError, ValueError):  # the years 1 and 9999, shifted by an offset
        return None


def format_timestamp(moment: datetime) -> str:
    """ISO 8601 in UTC with ``Z``, and microseconds where there are any: ``2025-07-23T00:15:00Z``."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def sort_key(timestamp: str) -> str:
    """A key that orders the texts of `format_timestamp` in time (``.`` would sort before ``Z``)."""
    return timestamp.removesuffix("Z")
