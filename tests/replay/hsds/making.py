"""Recordings made by hand, as the recorder writes them."""

from __future__ import annotations

import json
from typing import Any

from app.replay.hsds.mapping import map_recording
from app.replay.hsds.rows import Mapped, Value

PANTRY = {"name": "St. Mark's Pantry"}


def recording(answer: Any, record: Any = None, *, scraper: str | None = "nyc", **fields: Any) -> dict[str, Any]:
    """A recording of an answer, given as data or as text, to a scraped record."""
    prompt = "" if record is None else "Do it.\n\nInput Data:\n" + json.dumps(record)
    metadata = {} if scraper is None else {"scraper_id": scraper}
    job = {"created_at": "2025-08-08 08:27:14.335069", "prompt": prompt, "metadata": metadata}
    result = answer if isinstance(answer, str) else json.dumps(answer)
    return {"job_id": "job-1", "job": job, "result": result, "error": None, **fields}


def mapped(answer: Any, record: Any = None, **fields: Any) -> Mapped:
    """What a recording of an answer comes to; it has to be accepted."""
    found = map_recording(recording(answer, record, **fields))
    assert found.accepted, found.reason
    return found


def rows(found: Mapped, table: str) -> list[dict[str, Value]]:
    """The fields of a table's rows."""
    return [row.fields for row in found.rows if row.table == table]


def only(found: Mapped, table: str) -> dict[str, Value]:
    """The fields of a table's only row."""
    (row,) = rows(found, table)
    return row


def reasons(found: Mapped) -> list[str]:
    """Why what was set aside was."""
    return [note.reason for note in found.notes]


def at(answer: Any, place: Any, record: Any = None, **fields: Any) -> Mapped:
    """What an answer with one location comes to."""
    return mapped({**PANTRY, "locations": [place], **answer}, record, **fields)
