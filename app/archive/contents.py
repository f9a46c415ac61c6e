"""What a file must hold and where that belongs, told from its bytes. Touches no disk.

Each function raises ValueError, with the reason, for bytes that aren't what they must be.
"""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from itertools import product

from app.store import encode
from app.store.layout import Place
from app.store.record import read_entry
from app.store.summary import Entry
from app.store.timestamps import parse_timestamp, plausible


def check_recording(day: str, name: str, content: bytes, modified_at: float) -> tuple[Entry, str | None]:
    """A recording's line for the summary, and the path that its content asks for if that is another one.

    `name` is its path inside the day's folder, `modified_at` when it was last written, in seconds since 1970.
    """
    place, entry = read_entry(day, content)
    date = place.date
    if entry["timestamp"] == f"{day}T00:00:00Z":
        date = _date_of_unusable_times(day, content, modified_at)
    if date == day and (name == place.name or name in _earlier_names(place)):
        return entry, None
    return entry, f"daily/{date}/{place.name}"


def check_superseded(day: str, name: str, content: bytes, modified_at: float) -> tuple[str, str | None]:
    """The recording (inside the day) that an older result is of by its name, and by its content if that is another.

    `name` is its path inside ``superseded/``.
    """
    stem, _, digest = name.removesuffix(".json").rpartition(".")
    if digest != hashlib.sha256(content).hexdigest()[:16]:
        raise ValueError("its bytes aren't those that it was named after")
    recording = f"{stem}.json"
    return recording, check_recording(day, recording, content, modified_at)[1]


def check_quarantined(name: str, content: bytes) -> None:
    """Make sure that a file in quarantine has a job_id, the reason, and the payload that it was named after."""
    data = encode.load(content)
    payload = data.get("payload") if isinstance(data, dict) else None
    encoded = payload.get("base64") if isinstance(payload, dict) else None
    if not (isinstance(encoded, str) and isinstance(data.get("reason"), str) and isinstance(data.get("job_id"), str)):
        raise ValueError("it lacks a payload, a reason or a job_id")
    digest = name.removesuffix(".json").rpartition(".")[2]
    if digest != hashlib.sha256(base64.b64decode(encoded)).hexdigest()[:16]:
        raise ValueError("its payload isn't the one that it was named after")


def _date_of_unusable_times(day: str, content: bytes, modified_at: float) -> str:
    """The day of a recording whose times are after the day that it is in.

    The recorder puts it in the day of recording when its times lie ahead of that. So it belongs where it is if it was
    written on that day, however its times look by now; else somebody has moved it.
    """
    data = encode.load(content)
    job = data.get("job")
    values = (job.get("created_at") if isinstance(job, dict) else None, data.get("completed_at"))
    now = datetime.now(UTC)
    moments = [moment for value in values if (moment := parse_timestamp(value)) and plausible(moment, now)]
    dates = [moment.date().isoformat() for moment in moments]
    written = parse_timestamp(modified_at)
    if not dates or day in dates or (written and written.date().isoformat() == day):
        return day
    return dates[0]


def _earlier_names(place: Place) -> set[str]:
    """Other names for the same place: earlier recorders used a job_id and a scraper_id as they were."""
    scraper, _, job = place.name.rpartition("/")
    folders = {scraper, scraper if place.scraper_id is None else f"scrapers/{place.scraper_id}"}
    return {f"{folder}/{name}" for folder, name in product(folders, (job, f"{place.job_id}.json"))}
