"""The record stage: what a recording is an answer to, and whether it is one to load."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from app.replay.hsds.answer import NotAnAnswerError, read_json
from app.replay.hsds.source import Source, input_text
from app.replay.hsds.text import text
from app.store.timestamps import parse_timestamp

TEST_WORDS = frozenset({"sample", "test", "tests", "testing"})
"""A scraper whose name has one of these words is no scraper of real data."""

SUMMARY_FIELD = "total_jobs_created"
"""What the record has that a scraper enqueues about its own run."""

_LONGEST_NAME = 500
"""Characters of a job's or scraper's name; the end of a longer one becomes a hash, so that an index can hold it."""

_WORD = re.compile(r"[a-z0-9]+")


@dataclass(slots=True)
class Envelope:
    """What surrounds a result, read as far as it can be."""

    job_id: str | None = None
    scraper_id: str | None = None
    created_at: datetime | None = None
    completed_at: datetime | None = None
    content_hash: str | None = None
    input: Any = None
    result: Any = None
    reason: str | None = None

    @property
    def source(self) -> Source:
        """The input record."""
        return Source(self.input)


def read_envelope(recording: object) -> Envelope:
    """A recording's envelope, with the first reason to reject it, if any."""
    found = Envelope()
    if not isinstance(recording, dict):
        found.reason = "envelope_not_an_object"
        return found
    found.job_id = _identifier(recording.get("job_id"))
    found.completed_at = _moment(recording.get("completed_at"))
    found.result = recording.get("result")
    job = recording.get("job")
    if not isinstance(job, dict):
        found.reason = "envelope_no_job"
        return found
    found.created_at = _moment(job.get("created_at"))
    metadata = job.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    found.scraper_id = _identifier(metadata.get("scraper_id"))
    _read_input(found, job.get("prompt"), text(metadata.get("content_hash")))
    found.reason = "envelope_no_job_id" if found.job_id is None else _reason(found, recording.get("error"))
    return found


def _reason(found: Envelope, error: object) -> str | None:
    if found.scraper_id is None:
        return "no_scraper_id"
    if TEST_WORDS.intersection(_WORD.findall(found.scraper_id.lower())):
        return "test_scraper"
    if error or found.result is None:
        return "llm_error"
    if found.created_at is None:
        return "bad_created_at"
    if isinstance(found.input, dict) and SUMMARY_FIELD in found.input:
        return "scraper_run_summary"
    return None


def _read_input(found: Envelope, prompt: object, content_hash: str | None) -> None:
    said = input_text(prompt)
    if said is not None:
        try:
            found.input = read_json(said)
        except NotAnAnswerError:
            found.input = said
        content_hash = content_hash or sha256(said.encode("utf-8", "surrogatepass")).hexdigest()
    found.content_hash = content_hash


def _identifier(value: object) -> str | None:
    """A name as text: not through `text`, whose placeholders would make names of nothing (``test``, ``none``)."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value) if value.bit_length() < 256 else None
    if not isinstance(value, str):
        return None
    name = value.replace("\x00", "").encode("utf-8", "ignore").decode().strip()
    if len(name) > _LONGEST_NAME:
        name = f"{name[: _LONGEST_NAME - 33]}~{sha256(name.encode()).hexdigest()[:32]}"
    return name or None


def _moment(value: object) -> datetime | None:
    return parse_timestamp(value) if isinstance(value, str | int | float | datetime) else None
