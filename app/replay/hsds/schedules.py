"""Schedules: one row for each window of time found at any depth, with the nearest days, dates and frequency."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date
from itertools import islice
from typing import Any

from app.replay.hsds.hours import DAY_NAMES, DAYS, clock_time, days_of, in_order, ordinals_of, time_range, weekday
from app.replay.hsds.nodes import Node
from app.replay.hsds.rows import Value
from app.replay.hsds.text import day, first, text, utc_offset, whole

OPENS = ("opens_at", "opens", "open", "open_time", "time_open", "opening_time", "start_time", "start", "begin_time",
         "time_start", "from", "starts_at", "startTime", "dtstart", "start_at")  # fmt: skip
CLOSES = ("closes_at", "closes", "close", "close_time", "time_close", "closing_time", "end_time", "end", "finish_time",
          "time_end", "to", "ends_at", "endTime", "dtend", "end_at", "until_time")  # fmt: skip
DAY_FIELDS = ("byday", "by_day", "days", "day", "weekdays", "weekday", "day_of_week", "days_of_week", "dayOfWeek",
              "week_days", "rrule")  # fmt: skip
WEEK_FIELDS = ("week_of_month", "weeks_of_month", "occurrence", "week_number", "bysetpos", "ordinal")
DATE_FIELDS = ("date", "dates", "event_date", "event_dates")
EVENT_DATES = ("dtstart", "start_time", "start")
"""Names of the day of an event, which is a day of the week; a `start_date` may be that of a season."""
FIRST_DATES = (*EVENT_DATES, "start_date", "starts_on")
LAST_DATES = ("until", "end_date", "ends_on")
FREQUENCIES: dict[str, dict[str, Value]] = {
    "weekly": {"freq": "WEEKLY"},
    "every week": {"freq": "WEEKLY"},
    "monthly": {"freq": "MONTHLY"},
    "every month": {"freq": "MONTHLY"},
    "biweekly": {"freq": "WEEKLY", "interval": 2},
    "bi weekly": {"freq": "WEEKLY", "interval": 2},
    "fortnightly": {"freq": "WEEKLY", "interval": 2},
    "every other week": {"freq": "WEEKLY", "interval": 2},
    "daily": {"freq": "WEEKLY"},
    "every day": {"freq": "WEEKLY"},
    "once": {"freq": "WEEKLY", "count": 1},
}
"""Frequencies, in lower case, as HSDS knows them."""

_SKIPPED = frozenset(
    {"attributes", "attribute", "metadata", "phones", "languages", "contacts", "addresses", "location"}
)
_RULE_PART = re.compile(r"(FREQ|INTERVAL|COUNT|UNTIL|WKST|BYMONTHDAY|BYWEEKNO|BYYEARDAY)=([^;\s]+)")
_NUMBERS = re.compile(r"-?\d{1,3}(?:,-?\d{1,3})*", re.ASCII)
_HOURS = frozenset({"hours", "time", "times"})
_CLOSED = ("closed", "close")
_CLOSED_FLAGS = ("closed", "is_closed")
_SAYING_NOTHING_ALONE = frozenset({"timezone", "interval", "count", "attending_type"})
_MAX_DEPTH = 8
_MAX_WINDOWS = 1000


@dataclass(frozen=True, slots=True)
class Window:
    """A time when something is open, with all that is said of when it recurs."""

    days: tuple[str, ...] = ()
    weeks: tuple[str, ...] = ()
    on: date | None = None
    wkst: str | None = None
    frequency: str | None = None
    opens_at: str | None = None
    closes_at: str | None = None
    fields: dict[str, Value] = field(default_factory=dict)
    refs: dict[str, Any] = field(default_factory=dict)

    @property
    def timed(self) -> bool:
        """Whether it says a time of day."""
        return bool(self.opens_at or self.closes_at)

    @property
    def says_anything(self) -> bool:
        """Whether a person could use it: the prompt's defaults alone are nothing."""
        return self.timed or bool(self.days or self.on or self.fields.keys() - _SAYING_NOTHING_ALONE)

    @property
    def only_days(self) -> bool:
        """Whether it says days and nothing else."""
        return bool(self.days) and not replace(self, days=()).says_anything


def windows(value: Any) -> list[Window]:
    """The windows in whatever an answer has for hours; of an entry that has none, one without times.

    Beside entries with times, one that names a day and no time says that it is closed then.
    """
    entries = value if isinstance(value, list) else [value]
    found = list(islice((window for entry in entries for window in _windows(entry, Window(), 0)), _MAX_WINDOWS))
    if any(window.timed for window in found):
        found = [window for window in found if not window.only_days]
    return found


def _windows(value: Any, above: Window, depth: int) -> Iterator[Window]:
    if depth > _MAX_DEPTH:
        return
    if isinstance(value, list):
        for part in value:
            yield from _windows(part, above, depth + 1)
    elif isinstance(value, str):
        if times := time_range(value):
            yield replace(above, opens_at=times[0], closes_at=times[1])
        elif (said := text(value)) and not said.lower().startswith(_CLOSED):
            yield replace(above, fields={**above.fields, "description": said})
    elif isinstance(value, dict):
        yield from _in_object(value, above, depth)


def _in_object(node: Node, above: Window, depth: int) -> Iterator[Window]:
    if any(node.get(name) is True for name in _CLOSED_FLAGS) or _says_closed(node):
        return
    here = _inherited(node, above)
    dated = [on for name in DATE_FIELDS for on in _dates(node.get(name))]
    found = False
    opens, closes = _time(node, OPENS), _time(node, CLOSES)
    if opens or closes:
        found = True
        open_then = replace(here, opens_at=opens, closes_at=closes)
        yield from [replace(open_then, on=on) for on in dated] or [open_then]
    elif len(dated) == 1:
        here = replace(here, on=dated[0])
    for name, part in node.items():
        if not isinstance(part, dict | list | str) or not part or name in _SKIPPED or name in DAY_FIELDS:
            continue
        named = DAY_NAMES.get(name.lower())
        below = replace(here, days=(named,)) if named else here
        hours = part if named or name in _HOURS else _without_texts(part)
        for window in _windows(hours, below, depth + 1):
            found = True
            yield window
    if not found and depth == 0:
        yield here


def _without_texts(part: Any) -> Any:
    """What can hold windows under a name that may be of anything: no texts, which need not be about hours."""
    if isinstance(part, list):
        return [each for each in part if not isinstance(each, str)]
    return None if isinstance(part, str) else part


def _says_closed(node: Node) -> bool:
    said = [text(node[name]) for name in ("opens_at", "opens", "open", "status") if name in node]
    return any(each and each.lower() in _CLOSED for each in said)


def _inherited(node: Node, above: Window) -> Window:
    """What holds inside an object: its own days, dates and frequency, or else those around it."""
    days = [found for name in DAY_FIELDS if name in node for found in days_of(node[name])]
    weeks = [week for name in WEEK_FIELDS if name in node for week in ordinals_of(node[name])]
    fields: dict[str, Value] = {**above.fields, **_recurrence(node)}
    frequency = first(node, ("freq", "frequency", "recurrence")) or _rule(node).get("FREQ")
    if not days and not above.days and (frequency or "").upper() != "DAILY":
        days = [weekday(on) for name in EVENT_DATES if name in node and (on := day(node[name]))][:1]
    wkst = (first(node, ("wkst",)) or _rule(node).get("WKST") or "").upper()
    refs = {name: node[name] for name in ("location_id", "service_id", "service_at_location_id") if node.get(name)}
    return Window(
        tuple(days) or above.days,
        tuple(weeks) or above.weeks,
        above.on,
        wkst if wkst in DAYS else above.wkst,
        frequency or above.frequency,
        None,
        None,
        fields,
        {**above.refs, **refs},
    )


def _recurrence(node: Node) -> dict[str, Value]:
    """The fields that HSDS and the answer share, where they hold something."""
    rule = _rule(node)
    found: dict[str, Value | None] = {
        "valid_from": _iso(node.get("valid_from")),
        "valid_to": _iso(node.get("valid_to")),
        "dtstart": next((on for name in FIRST_DATES if (on := _iso(node.get(name)))), None),
        "until": next((on for name in LAST_DATES if (on := _iso(node.get(name)))), None) or _iso(_dashed(rule)),
        "timezone": text(node.get("timezone")),
        "interval": whole(node.get("interval", rule.get("INTERVAL")), 1, 1000),
        "count": whole(node.get("count", rule.get("COUNT")), 1, 100_000),
        "bymonthday": _numbers(node.get("bymonthday", rule.get("BYMONTHDAY"))),
        "byweekno": _numbers(node.get("byweekno", rule.get("BYWEEKNO"))),
        "byyearday": _numbers(node.get("byyearday", rule.get("BYYEARDAY"))),
        "description": first(node, ("description", "note", "notes")),
        "schedule_link": text(node.get("schedule_link")),
        "attending_type": text(node.get("attending_type")),
    }
    return {name: value for name, value in found.items() if value is not None}


def _rule(node: Node) -> dict[str, str]:
    rule = node.get("rrule")
    return dict(_RULE_PART.findall(rule[:500].upper())) if isinstance(rule, str) else {}


def _dashed(rule: dict[str, str]) -> str | None:
    until = rule.get("UNTIL", "")
    return f"{until[:4]}-{until[4:6]}-{until[6:8]}" if until[:8].isdigit() else until or None


def _iso(value: object) -> str | None:
    on = day(value) if value else None
    return on.isoformat() if on else None


def _dates(value: Any) -> list[date]:
    listed = value[:400] if isinstance(value, list) else [value]
    return [on for part in listed if part and (on := day(part.get("date") if isinstance(part, dict) else part))]


def _numbers(value: Any) -> str | None:
    if isinstance(value, list):
        value = ",".join(said for part in value[:31] if (said := text(part)))
    said = text(value)
    return said if said and _NUMBERS.fullmatch(said.replace(" ", "")) else None


def _time(node: Node, names: tuple[str, ...]) -> str | None:
    for name in names:
        if node.get(name) and (found := clock_time(node[name])):
            return found
    return None


def unread_times(value: Any) -> list[str]:
    """The texts that stand where a time should, and are none; ``Closed`` is no time either, but needs no reading."""
    if isinstance(value, list):
        return [said for part in value[:50] if isinstance(part, dict) for said in unread_times(part)]
    if not isinstance(value, dict):
        return []
    found = [text(value[name]) for name in ("opens_at", "closes_at", *OPENS[3:7], *CLOSES[3:7]) if name in value]
    return [said for said in found if said and said.lower() not in _CLOSED and not clock_time(said) and not day(said)]


def row_fields(window: Window) -> tuple[dict[str, Value | None], list[str]]:
    """A window's fields, and what about it is to be noted."""
    fields: dict[str, Value | None] = {**window.fields, "opens_at": window.opens_at, "closes_at": window.closes_at}
    fields["timezone"] = utc_offset(window.fields.get("timezone"))
    notes: list[str] = []
    days = list(window.days)
    _add_frequency(window, fields, days, notes)
    if window.on:
        fields["dtstart"] = fields["until"] = window.on.isoformat()
        days = days or [weekday(window.on)]
    elif not days and fields.get("valid_from") and fields.get("valid_from") == fields.get("valid_to"):
        days = [weekday(date.fromisoformat(str(fields["valid_from"])))]
    if not days and window.wkst not in (None, "MO"):
        days = [str(window.wkst)]
        notes.append("byday_from_wkst")
    if window.weeks:
        days = [f"{week}{name}" if len(name) == 2 else name for name in days for week in window.weeks]
    fields["byday"] = in_order(days)
    fields["wkst"] = window.wkst
    return fields, notes


def _add_frequency(window: Window, fields: dict[str, Value | None], days: list[str], notes: list[str]) -> None:
    if window.frequency is None:
        return
    said = window.frequency.lower().replace("_", " ").replace("-", " ").strip()
    if (known := FREQUENCIES.get(said)) is None:
        notes.append("freq_not_hsds")
        return
    for name, value in known.items():
        if name == "freq" or fields.get(name) is None:
            fields[name] = value
    if said in ("daily", "every day") and not days:
        days += DAYS
