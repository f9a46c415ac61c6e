"""The spec's entry, `record_result`: what a job of the recorder's queue names, and what a person may call directly."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Any

import structlog
from rq import get_current_job

from app.recorder.job_counter import count_jobs, share_counts
from app.recorder.write import Kind, Outcome, RecordWriter
from app.service.settings import load_settings
from app.store import encode
from app.store.errors import RecorderError, StorageError, UnrecordableError
from app.store.timestamps import parse_timestamp

log = structlog.get_logger("recorder")


def record_result(data: dict[str, Any]) -> dict[str, Any]:
    """Record one job's result durably, with the day's summary and `latest`, below OUTPUT_DIR.

    Returns ``{"status": "completed", "error": None, "output_file": path}``. A result that can't be recorded is kept in
    quarantine and gives ``{"status": "failed", "error": reason, "output_file": None}``; in a job of a stock RQ worker
    it raises instead, so that the job fails. For many results use the queue: this reads the whole day each time.
    """
    job = get_current_job()
    scraper_id = None
    try:
        outcome = _record(data, job.id if job is not None else "direct-call")
        error, scraper_id = outcome.reason, outcome.scraper_id
    except RecorderError as failure:
        error = str(failure)
    _count(scraper_id, success=error is None)
    if error is None:
        return {"status": "completed", "error": None, "output_file": outcome.path}
    if job is not None:
        raise UnrecordableError(error)
    return {"status": "failed", "error": error, "output_file": None}


def _count(scraper_id: str | None, *, success: bool) -> None:
    """Count the result: in PROMETHEUS_MULTIPROC_DIR where that is set, else in this process's memory."""
    try:
        if folder := load_settings().prometheus_multiproc_dir:
            share_counts(folder)
        count_jobs(scraper_id, success=success)
    except (RecorderError, OSError, ValueError, RuntimeError, struct.error) as error:  # a full disk, a damaged file
        log.warning("not counted", reason=str(error), hint="see PROMETHEUS_MULTIPROC_DIR")


def _record(data: Any, job_id: str) -> Outcome:
    settings = load_settings()
    job = get_current_job()
    with RecordWriter(str(settings.output_dir)) as writer:
        try:
            pending = writer.stage(data, enqueued_at=parse_timestamp(job and job.enqueued_at))
        except UnrecordableError as error:
            pending = writer.stage_quarantine(job_id, error.message, _best_effort(data), {"origin": "record_result"})
        (outcome,) = writer.commit([pending])
    if outcome.kind is Kind.POSTPONED:
        raise StorageError(outcome.reason or "")
    if outcome.kind is Kind.QUARANTINED:
        return replace(outcome, reason=f"{outcome.reason}; kept in {outcome.path}")
    return outcome


def _best_effort(data: Any) -> bytes:
    try:
        return encode.encode({"data": data})
    except (UnrecordableError, ValueError, TypeError):
        return repr(data).encode("utf-8", "backslashreplace")
