"""What a recording is: a job's result with the spec's fields complete, and its place. Touches no disk."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from app.store import encode
from app.store.errors import UnrecordableError
from app.store.layout import Place
from app.store.timestamps import EARLIEST, format_timestamp, parse_timestamp, plausible

FILLED = ("status", "retry_count", "completed_at", "processing_time")
"""The spec's fields that are filled in where the producer sent none."""

_ORDER = ("job_id", "job", "status", "result", *FILLED[1:])


@dataclass(frozen=True, slots=True)
class Record:
    """One result, ready to be written."""

    place: Place
    timestamp: str
    """When the job was created, as the summary says it; see `format_timestamp`."""
    content: bytes
    """The file's bytes."""
    filled: frozenset[str]
    """The fields that weren't the producer's."""
    warnings: tuple[str, ...] = ()

    @property
    def entry(self) -> dict[str, str]:
        """The summary's line on this recording."""
        return _entry(self.place, self.timestamp)


def build(
    data: Any,
    *,
    enqueued_at: datetime | None,
    now: datetime,
    payload_bytes: int = 0,
    simple: bool = False,
    max_bytes: int = sys.maxsize,
) -> Record:
    """A record of what a producer sent: all of it, and the spec's fields where they were missing.

    `data` is the result as a dict; `enqueued_at` is when RQ took the job, if it came through a queue; for
    `payload_bytes`, `simple` and `max_bytes` see `encode.encode`. Raises `UnrecordableError` when `data` isn't a dict,
    has no usable job_id, or isn't data.
    """
    job_id = _job_id(data)
    completed_at = enqueued_at if enqueued_at is not None and plausible(enqueued_at, now) else now
    content = {"status": _status(data), "retry_count": 0, "completed_at": format_timestamp(completed_at), **data}
    content["job_id"] = job_id
    content.setdefault("processing_time", _processing_time(content))
    ordered = {key: content[key] for key in _ORDER if key in content} | content
    warnings: list[str] = []
    moment = _moment(ordered, now, warnings)
    scraper_id = _scraper_id(data, warnings)
    return Record(
        place=Place(moment.date().isoformat(), scraper_id, job_id),
        timestamp=format_timestamp(moment),
        content=encode.encode(ordered, payload_bytes=payload_bytes, simple=simple, max_bytes=max_bytes),
        filled=frozenset(field for field in FILLED if field not in data),
        warnings=tuple(warnings),
    )


def read_entry(day: str, content: bytes) -> tuple[Place, dict[str, str]]:
    """A recording's place and summary line, from its file's bytes. Raises ValueError when it is damaged.

    `day` is the folder that the file was found in; it dates a recording whose own times are unusable.
    """
    data = encode.load(content)
    try:
        job_id = _job_id(data)
    except UnrecordableError as error:
        raise ValueError(error.message) from error
    start = datetime.fromisoformat(day).replace(tzinfo=UTC)
    read = (parse_timestamp(_job_field(data, "created_at")), parse_timestamp(data.get("completed_at")))
    times = [moment for moment in read if moment is not None and EARLIEST <= moment < start + timedelta(days=1)]
    moment = (*times, start)[0]
    place = Place(moment.date().isoformat(), _scraper_id(data, []), job_id)
    return place, _entry(place, format_timestamp(moment))


def same_result(record: Record, existing: bytes) -> bool:
    """Whether a file's bytes hold the same result as `record`, whatever was filled in when each was written."""
    if existing == record.content:
        return True
    try:
        ours, theirs = encode.load_exactly(record.content), encode.load_exactly(existing)
    except ValueError:
        return False
    if not isinstance(theirs, dict):
        return False
    for field in record.filled:
        ours.pop(field, None)
        theirs.pop(field, None)
    return encode.canonical(ours) == encode.canonical(theirs)


def completed_at(content: bytes) -> datetime:
    """When a result was completed, from its file's bytes; the distant past when the file doesn't say."""
    try:
        data = encode.load(content)
    except ValueError:
        data = None
    moment = parse_timestamp(data.get("completed_at")) if isinstance(data, dict) else None
    return moment or EARLIEST


def _entry(place: Place, timestamp: str) -> dict[str, str]:
    return {"job_id": place.job_id, "scraper_id": place.scraper_label, "timestamp": timestamp}


def _job_id(data: Any) -> str:
    if not isinstance(data, dict):
        raise UnrecordableError(f"the result is a {type(data).__name__}, not an object with a job_id")
    if "job_id" not in data:
        raise UnrecordableError("the result has no job_id")
    job_id = data["job_id"]
    if isinstance(job_id, UUID):
        return str(job_id)
    if not isinstance(job_id, str):
        raise UnrecordableError(f"job_id is a {type(job_id).__name__}, not text")
    if not job_id:
        raise UnrecordableError("job_id is empty")
    return str.__str__(job_id)  # a text enum's value, not its name


def _job_field(data: dict[str, Any], name: str) -> Any:
    job = data.get("job")
    return job.get(name) if isinstance(job, dict) else None


def _scraper_id(data: dict[str, Any], warnings: list[str]) -> str | None:
    metadata = _job_field(data, "metadata")
    scraper_id = metadata.get("scraper_id") if isinstance(metadata, dict) else None
    name = scraper_id if type(scraper_id) is str else encode.scalar(scraper_id)
    if isinstance(name, str) and name:
        return name
    if scraper_id is not None:
        warnings.append(f"job.metadata.scraper_id is {_shown(scraper_id)}: recorded under processed/")
    return None


def _moment(data: dict[str, Any], now: datetime, warnings: list[str]) -> datetime:
    """The time that dates the recording: created_at, else completed_at, else today."""
    created_at = _job_field(data, "created_at")
    moment = _time(created_at)
    if moment is not None and plausible(moment, now):
        return moment
    fallback = _time(data.get("completed_at"))
    if fallback is None or not plausible(fallback, now):
        fallback = datetime(now.year, now.month, now.day, tzinfo=UTC)  # its file couldn't tell the hour again
    warnings.append(f"job.created_at is {_shown(created_at)}: recorded under {fallback.date()}")
    return fallback


def _time(value: Any) -> datetime | None:
    return parse_timestamp(value if type(value) in (str, datetime) else encode.scalar(value))


def _status(data: dict[str, Any]) -> str:
    return "failed" if data.get("error") or data.get("result") is None else "completed"


def _processing_time(content: dict[str, Any]) -> float | None:
    start, end = _time(_job_field(content, "created_at")), _time(content["completed_at"])
    return None if start is None or end is None else (end - start).total_seconds()


def _shown(value: object) -> str:
    if value is None:
        return "missing"
    if isinstance(value, int) and value.bit_length() > 200:  # beyond 4,300 digits it has no repr
        return "a huge number"
    text = repr(value) if isinstance(value, str | int | float) else f"a {type(value).__name__}"
    return text if len(text) <= 60 else text[:57] + "..."
