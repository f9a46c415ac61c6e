"""What the scraped record behind an answer says: which source it is, where it lies, when it is open."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from functools import cached_property
from typing import Any

from app.replay.hsds.coordinates import Coordinate, close, from_pair
from app.replay.hsds.hours import weekday
from app.replay.hsds.identity import norm, norm_address, row_id
from app.replay.hsds.nodes import Node
from app.replay.hsds.text import day, first, text

ID_NAMES = ("id", "Entity_Id", "site_id")
NAME_NAMES = ("name", "Name")
ADDRESS_NAMES = ("address", "Address", "address_1", "full_address")
ZIP_NAMES = ("zip", "Zip", "zip_code", "postal_code")
HOURS_NAMES = ("hours", "Hours_of_Operation", "hours_of_operation", "hours_notes", "regular_schedule", "schedule")
PROSE_NAMES = ("notes", "description", "More_Information", "details")
"""Prose that may say when a place is open; it is quoted where it names a day or a time."""

LATITUDES = ("latitude", "Latitude", "lat", "Lat")
LONGITUDES = ("longitude", "Longitude", "lng", "lon", "long", "Lng", "Lon")

_MARKER = "Input Data:\n"
_MAX_DEPTH = 8
_MOST_COORDINATES = 200
_TAG = re.compile(r"<[^>]{0,200}>")
_MOST_READ = 20_000
_SPACE = re.compile(r"\s+")
_WEEKDAY = re.compile(r"(?i)\b(?:mon|tues?|wed(?:nes)?|thu(?:rs?)?|fri|sat(?:ur)?|sun)(?:days?)?\b")
_DAY_OR_TIME = re.compile(
    r"(?i)\b(?:(?:mon|tues?|wed(?:nes)?|thu(?:rs?)?|fri|sat(?:ur)?|sun)(?:days?)?|daily|weekdays?|weekends?|weekly|monthly)\b"
    r"|\d\s*(?:a\.?m|p\.?m)\b|\d:\d\d"
)
_TOO_LONG = 1000


def input_text(prompt: object) -> str | None:
    """The scraped record in a prompt, as the text that `content_hash` was made of."""
    if not isinstance(prompt, str):
        return None
    _, marker, said = prompt.rpartition(_MARKER)
    return said if marker else None


class Source:
    """The input record of a job. Whatever is asked of it is found out once, and only then."""

    def __init__(self, record: Any) -> None:
        self.record: Node = record if isinstance(record, dict) else {}

    def key(self, scraper: str, content_hash: str | None, job_id: str) -> str:
        """What the job is an answer about, as the text of an id."""
        parts: tuple[str, ...]
        if identifier := first(self.record, ID_NAMES):
            parts = ("id", identifier)
        elif name := first(self.record, NAME_NAMES):
            address = self._address()
            parts = ("name", norm(name), norm_address(address) if address else "", first(self._place, ZIP_NAMES) or "")
        elif content_hash:
            parts = ("hash", content_hash)
        else:
            parts = ("job", job_id)
        return str(row_id("source", scraper, *parts))

    @cached_property
    def _place(self) -> Node:
        inner: Node = next((self.record[name] for name in ADDRESS_NAMES if isinstance(self.record.get(name), dict)), {})
        return {**self.record, **inner}

    def _address(self) -> str | None:
        return first(self._place, ADDRESS_NAMES) or first(self._place, ("address_1",))

    def coordinates_at(self, street: str) -> list[Coordinate]:
        """The coordinates that it gives for a street, as that counts in keys."""
        return self._by_street.get(street, []) if street else []

    @cached_property
    def coordinates(self) -> list[Coordinate]:
        """The distinct coordinates that it gives, in degrees."""
        found: list[Coordinate] = []
        for _, point in self._points:
            if len(found) < _MOST_COORDINATES and not any(close(point, other) for other in found):
                found.append(point)
        return found

    @cached_property
    def _points(self) -> list[tuple[Node, Coordinate]]:
        found = []
        for node in _objects(self.record, 0):
            latitude = next((node[name] for name in LATITUDES if name in node), None)
            longitude = next((node[name] for name in LONGITUDES if name in node), None)
            if latitude is not None and longitude is not None and (point := from_pair(latitude, longitude)):
                found.append((node, point))
        return found

    @cached_property
    def _by_street(self) -> dict[str, list[Coordinate]]:
        found: dict[str, list[Coordinate]] = {}
        for node, point in self._points:
            if street := first(node, ADDRESS_NAMES):
                found.setdefault(norm_address(street), []).append(point)
        return found

    @cached_property
    def hours_text(self) -> str | None:
        """What it says about hours, for a person to read."""
        said = [told for name in HOURS_NAMES if (told := _told(self.record.get(name)))]
        events = self.record.get("events")
        said += [told for told in map(_event, events if isinstance(events, list) else []) if told]
        if not any(_DAY_OR_TIME.search(told) for told in said) or not any(_names_a_day(told) for told in said):
            prose = [told for name in PROSE_NAMES if (told := _told(self.record.get(name)))]
            said += [told for told in prose if _DAY_OR_TIME.search(told)]
        joined = "; ".join(dict.fromkeys(said))
        return (joined if len(joined) <= _TOO_LONG else joined[: _TOO_LONG - 1] + "\u2026") or None

    @cached_property
    def names_a_weekday(self) -> bool:
        """Whether what it says about hours names a day of the week."""
        return bool(self.hours_text and _WEEKDAY.search(self.hours_text))


def _objects(value: Any, depth: int) -> Iterator[Node]:
    if isinstance(value, dict):
        yield value
        value = value.values()
    for part in value:
        if isinstance(part, dict | list) and depth < _MAX_DEPTH:
            yield from _objects(part, depth + 1)


def _names_a_day(told: str) -> bool:
    found = _DAY_OR_TIME.search(told)
    while found and not found.group()[0].isalpha():
        found = _DAY_OR_TIME.search(told, found.end())
    return found is not None


def _told(value: Any) -> str | None:
    """A text, or the texts of an object or list of objects, in one line."""
    if isinstance(value, dict):
        value = " ".join(said for part in value.values() if (said := text(part)))
    elif isinstance(value, list):
        value = ", ".join(dict.fromkeys(said for part in value[:50] if (said := _told(part))))
    said = text(value)
    if said is None:
        return None
    return _SPACE.sub(" ", _TAG.sub(" ", html.unescape(said[:_MOST_READ])).replace("\\n", ", ")).strip() or None


def _event(event: Any) -> str | None:
    """One event of a record that lists them with their dates: what it says, and its dates by their times."""
    if not isinstance(event, dict):
        return None
    times: dict[str, list[str]] = {}
    dates = event.get("event_dates")
    for each in dates if isinstance(dates, list) else []:
        if isinstance(each, dict) and (on := text(each.get("date"))):
            window = f"{text(each.get('start_time')) or '?'} to {text(each.get('end_time')) or '?'}"
            times.setdefault(window, []).append(f"{on} ({weekday(known)})" if (known := day(on)) else on)
    said = [f"{window} on {', '.join(sorted(set(on)))}" for window, on in sorted(times.items())]
    details = _told(event.get("event_details"))
    if details and (said or _DAY_OR_TIME.search(details)):
        said.append(details)
    return ": ".join(part for part in (text(event.get("name")), "; ".join(said)) if part) if said else None
