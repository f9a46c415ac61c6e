"""Times and days as people and models write them, to ``HH:MM:SS`` and to the days of RFC 5545 (``TU``, ``2TU``)."""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache
from typing import Any

from app.replay.hsds.text import text

DAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")

DAY_NAMES = {
    "mo": "MO", "mon": "MO", "monday": "MO", "tu": "TU", "tue": "TU", "tues": "TU", "tuesday": "TU",
    "we": "WE", "wed": "WE", "weds": "WE", "wednesday": "WE", "th": "TH", "thu": "TH", "thur": "TH", "thurs": "TH",
    "thursday": "TH", "fr": "FR", "fri": "FR", "friday": "FR", "sa": "SA", "sat": "SA", "saturday": "SA",
    "su": "SU", "sun": "SU", "sunday": "SU",
}  # fmt: skip
DAY_NAMES |= {f"{name}s": code for name, code in DAY_NAMES.items() if name.endswith("day")}
DAY_GROUPS = {
    "daily": DAYS, "everyday": DAYS, "weekday": DAYS[:5], "weekdays": DAYS[:5],
    "weekend": DAYS[5:], "weekends": DAYS[5:],
}  # fmt: skip
ORDINALS = {
    "1st": "1", "first": "1", "2nd": "2", "second": "2", "3rd": "3", "third": "3", "4th": "4", "fourth": "4",
    "5th": "5", "fifth": "5", "last": "-1",
}  # fmt: skip
WORD_TIMES = {"noon": "12:00:00", "midday": "12:00:00", "midnight": "00:00:00"}

_TIME = re.compile(
    r"(?:\d{4}-\d\d-\d\d[T ]|T)?(\d{1,2})(?::(\d\d))?(?::(\d\d)(?:\.\d+)?)?"
    r"\s*([ap])?\.?\s*m?\.?\s*(?:Z|[+-]\d\d:?\d\d)?",
    re.IGNORECASE | re.ASCII,
)
_RANGE = re.compile(r"\s*(?:-|\u2013|\u2014|\bto\b|\buntil\b)\s*", re.IGNORECASE)
_DAY_WORD = re.compile(r"[a-z0-9]+|[-\u2013\u2014]")
_RULE_DAY = re.compile(r"([+-]?[1-5])?(MO|TU|WE|TH|FR|SA|SU)", re.ASCII)


@lru_cache(maxsize=4096)
def _clock(said: str) -> str | None:
    if said.lower() in WORD_TIMES:
        return WORD_TIMES[said.lower()]
    found = _TIME.fullmatch(said)
    if not found or not (found[2] or found[4]):
        return None
    hour, minute, second = int(found[1]), int(found[2] or 0), int(found[3] or 0)
    if found[4] and found[4] in "aA" and hour > 12:
        return None
    if found[4] and hour <= 12:
        hour = hour % 12 + (12 if found[4] in "pP" else 0)
    if (hour, minute, second) == (24, 0, 0):
        hour = 0
    return f"{hour:02}:{minute:02}:{second:02}" if hour < 24 and minute < 60 and second < 60 else None


def clock_time(value: object) -> str | None:
    """A time of day as ``HH:MM:SS``; midnight as 24:00 is 00:00:00, as PostgreSQL's 24:00 has no equal elsewhere."""
    said = text(value)
    return _clock(said) if said and len(said) < 40 else None


def time_range(value: object) -> tuple[str, str] | None:
    """The two times of ``9:00 AM - 1 PM``; ``9-1 pm`` is not read, for its first half may be either."""
    said = text(value)
    if not said or len(said) > 60:
        return None
    halves = _RANGE.split(said)
    if len(halves) != 2:
        return None
    opens, closes = clock_time(halves[0]), clock_time(halves[1])
    return (opens, closes) if opens and closes else None


def weekday(on: date) -> str:
    """The day of the week of a date."""
    return DAYS[on.weekday()]


def in_order(days: list[str]) -> str | None:
    """Days as one text, as RFC 5545 writes them, in the order of the week."""
    return ",".join(sorted(set(days), key=lambda day: (DAYS.index(day[-2:]), day))) or None


def days_of(value: Any) -> list[str]:
    """The days that a text, an object or a list names; bare digits may count from anywhere, so they name none."""
    if isinstance(value, list):
        return [day for part in value[:60] if not isinstance(part, list) for day in days_of(part)]
    if isinstance(value, dict):
        return [day for name in ("day", "weekday", "name", "byday", "day_of_week") for day in days_of(value.get(name))]
    said = text(value) if isinstance(value, str) else None
    return list(_days(said)) if said and len(said) < 200 else []


@lru_cache(maxsize=2048)
def _days(said: str) -> tuple[str, ...]:
    said = said.rsplit("schema.org/", 1)[-1]
    if "BYDAY=" in said.upper():
        said = said.upper().split("BYDAY=", 1)[1].split(";")[0]
    ruled = [part.strip() for part in said.upper().split(",")]
    if all(_RULE_DAY.fullmatch(part) for part in ruled):
        return tuple(part.lstrip("+") for part in ruled)
    return tuple(_named_days(_DAY_WORD.findall(said.lower())))


def _named_days(words: list[str]) -> list[str]:
    """The days in a run of words, with the ordinals that stand before them: ``1st & 3rd tuesday`` is 1TU and 3TU."""
    found: list[str] = []
    ordinals: list[str] = []
    through: str | None = None
    for place, word in enumerate(words):
        if word in ORDINALS:
            ordinals.append(ORDINALS[word])
        elif word in DAY_GROUPS:
            found += DAY_GROUPS[word]
        elif day := DAY_NAMES.get(word):
            if through:
                found += _between(through, day)
            else:
                found += [f"{ordinal}{day}" for ordinal in ordinals] or [day]
            through, ordinals = None, []
        if word in ("-", "\u2013", "\u2014", "to", "through", "thru") and place and words[place - 1] in DAY_NAMES:
            through = DAY_NAMES[words[place - 1]]
    return found


def _between(start: str, end: str) -> list[str]:
    one, other = DAYS.index(start), DAYS.index(end)
    return [DAYS[index % 7] for index in range(one, (other if other >= one else other + 7) + 1)]


def ordinals_of(value: Any) -> list[str]:
    """The weeks of a month that a value names: ``2``, ``"2nd"``, ``"last"``, or a list of such."""
    if isinstance(value, list):
        return [week for part in value[:10] if not isinstance(part, list) for week in ordinals_of(part)]
    said = text(value)
    if said is None or len(said) > 60:
        return []
    if said.lstrip("-") in ("1", "2", "3", "4", "5"):
        return [said] if said in ("-1", "1", "2", "3", "4", "5") else []
    return [ORDINALS[word] for word in re.findall(r"[a-z0-9]+", said.lower()) if word in ORDINALS]
