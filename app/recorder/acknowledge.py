"""A batch that is on disk -> its jobs finished in Redis: begun at once, and seen to when Redis has had time for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

import structlog
from redis.exceptions import ResponseError
from rq.job import JobStatus

from app.recorder.bookkeeping import Acknowledged, Bookkeeper, Finished, is_plain
from app.recorder.intake import Intake, TakenJob
from app.recorder.line import Call
from app.recorder.rqworker import RQWorker
from app.recorder.write import Kind, Outcome, Pending

log = structlog.get_logger("recorder")


@dataclass(slots=True)
class Batch:
    """Jobs on their way through together."""

    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    jobs: list[TakenJob] = field(default_factory=list)
    pending: list[Pending] = field(default_factory=list)
    json_serializer: list[bool] = field(default_factory=list)
    """Which of them were packed by RQ's JSON serializer."""
    gone: list[TakenJob] = field(default_factory=list)
    known: list[tuple[TakenJob, bool, Outcome]] = field(default_factory=list)
    """Jobs that come with a receipt, for they were recorded before; and what `json_serializer` says of the others."""
    staged_bytes: int = 0
    durable_at: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(slots=True)
class Owed:
    """A batch that is on disk, on its way to be acknowledged."""

    batch: Batch
    outcomes: list[Outcome]
    plain: list[tuple[TakenJob, Outcome]] = field(default_factory=list)
    """Those that are finished together."""
    others: list[tuple[TakenJob, Outcome]] = field(default_factory=list)
    """Those that RQ finishes, one by one."""
    call: Call | None = None
    """What finishes the plain ones."""


class Acknowledger:
    """Finishes jobs in the name of one worker. Methods may raise redis-py's errors; then all of it may be repeated."""

    def __init__(self, worker: RQWorker, intake: Intake, bookkeeper: Bookkeeper, default_result_ttl_s: int) -> None:
        self._worker = worker
        self._intake = intake
        self._bookkeeper = bookkeeper
        self._default_result_ttl_s = default_result_ttl_s

    def begin(self, batch: Batch, outcomes: list[Outcome]) -> Owed:
        """Have the jobs finished that only ask to be run; the others wait for `end`."""
        owed = Owed(batch, outcomes)
        finished: list[Finished] = []
        for job, outcome, json_serializer in zip(batch.jobs, outcomes, batch.json_serializer, strict=True):
            if outcome.kind is Kind.POSTPONED:
                self._intake.postpone(job)
                continue
            was_finished = job.text("status") == JobStatus.FINISHED  # by RQ's own path, which was cut off afterwards
            by_rq = outcome.kind is Kind.QUARANTINED or was_finished or not is_plain(job)
            if by_rq:
                owed.others.append((job, outcome))
            else:
                owed.plain.append((job, outcome))
                finished.append(Finished(job, _return_value(outcome), json_serializer))
        if finished:
            owed.call = self._bookkeeper.begin_to_finish(
                finished, batch.started_at, datetime.now(UTC), self._default_result_ttl_s
            )
        return owed

    def end(self, owed: Owed) -> ResponseError | None:
        """End what `begin` began. A job that Redis refuses to finish at present goes to the end of the queue.

        Returns the refusal when it held for the whole batch.
        """
        acknowledged = self._bookkeeper.finished(owed.call) if owed.call else []
        pairs = list(zip(owed.plain, acknowledged, strict=True))
        refusals = []
        for job, outcome in owed.others + [pair for pair, result in pairs if result is Acknowledged.NEEDS_RQ]:
            if self._intake.holds(job):  # else another recorder has taken it over
                try:
                    self._finish_with_rq(job, outcome)
                    self._intake.drop(job)
                except ResponseError as error:
                    self._intake.postpone(job)
                    refusals.append(error)
        for job in owed.batch.gone:
            log.warning("job is gone", job_id=job.id, hint="it was deleted or it expired before it could be recorded")
            self._intake.drop(job)
        for (job, outcome), result in pairs:
            if result is Acknowledged.GONE:
                log.warning("job is gone", job_id=job.id, hint="it was deleted meanwhile", path=outcome.path)
        return refusals[0] if refusals and len(refusals) == len(owed.batch.jobs) else None

    def _finish_with_rq(self, job: TakenJob, outcome: Outcome) -> None:
        status, failure = JobStatus.FINISHED, None
        if outcome.kind is Kind.QUARANTINED:
            status = JobStatus.FAILED
            # `failed` finds the file by the end of this text.
            failure = f"UnrecordableError: {outcome.reason}; the payload is kept in {outcome.path}"
            failure = failure.encode("utf-8", "backslashreplace").decode()
        # Else that was done (it may be to be repeated), and only our letting go of it was cut off.
        if job.text("status") not in (status, JobStatus.SCHEDULED):
            with self._intake.reading(job):  # a callback can end this process as a payload can
                self._worker.finish_with_rq(job, _return_value(outcome), failure, partial(self._intake.holds, job))
        else:
            self._worker.enqueue_ready_dependents()


def _return_value(outcome: Outcome) -> dict[str, Any]:
    return {"status": "completed", "error": None, "output_file": outcome.path}
