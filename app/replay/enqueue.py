"""Recordings back into a queue: each becomes a job of another RQ queue, once, however often the run is interrupted.

How far a run has got is kept in Redis, and moves in the same transaction that enqueues a batch: so whatever is killed
at whatever moment, the jobs that are in the queue are those up to that place, and a resumed run begins behind it.
"""

from __future__ import annotations

import json
import keyword
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from redis import Redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.client import Pipeline
from redis.exceptions import RedisError, ResponseError, WatchError
from redis.retry import Retry
from rq import Queue

from app.replay.plan import Found, Item, Plan, Refused, read
from app.store import encode
from app.store.errors import RunInterruptedError, ServiceUnavailableError, UsageError
from app.store.timestamps import format_timestamp

RECORDER_QUEUE = "recorder"
RECORD_FUNCTION = "app.recorder.utils.record_result"

_BATCH, _BATCH_BYTES = 100, 8 * 1024 * 1024
"""Jobs enqueued in one step, and bytes of their files."""

_STEPS_PER_S = 10
"""With a rate, how often a share of it is enqueued."""

_FINISHED_TTL_S = 30 * 86_400
"""How long a finished run is remembered, so that resuming it enqueues nothing again."""


_RESUME = "the same command with --resume goes on from there"
_IS_IT_THERE = "is it running, and REDIS_URL right?"


@dataclass(frozen=True, slots=True)
class Target:
    """The queue, and the function that its jobs call. Raises `UsageError` for what can't be either.

    The function is known to the queue's workers only, so that its form alone can be checked here. Recorded results
    don't go back to recorders (`to_recorders` allows it), and no other function ever does: recorders refuse it.
    """

    queue: str
    function: str
    to_recorders: bool = False

    def __post_init__(self) -> None:
        if not self.queue or not self.queue.isprintable() or self.queue != self.queue.strip():
            raise UsageError(f"--to-queue {self.queue!r} is no name of a queue")
        names = self.function.split(".")
        if len(names) < 2 or not all(name.isidentifier() and not keyword.iskeyword(name) for name in names):
            hint = "give its dotted name, such as consumer.tasks.reconcile"
            raise UsageError(f"--function {self.function!r} is no function in a module", hint=hint)
        if self.queue == RECORDER_QUEUE and self.function != RECORD_FUNCTION:
            hint = "name your consumer's queue"
            raise UsageError(f"recorders take no job that calls {self.function}: it would be quarantined", hint=hint)
        if self.queue == RECORDER_QUEUE and not self.to_recorders:
            hint = "for recorders with another OUTPUT_DIR, add --force"
            raise UsageError("these results are recorded already: recorders would write each again", hint=hint)


@dataclass(slots=True)
class EnqueueReport:
    """What a run has come to so far."""

    enqueued: int = 0
    """Jobs in the queue by this run; for a dry run, that would be."""
    enqueued_before: int = 0
    """Jobs in the queue by the runs that this one resumes."""
    bytes: int = 0
    """Of the files of `enqueued`."""
    refused: Counter[str] = field(default_factory=Counter)
    """Files that can't be read or are no recordings, by reason."""
    finished_before: str | None = None
    """When the run that was to be resumed had finished; then there was nothing to do."""


@dataclass(frozen=True, slots=True)
class _Position:
    """How far a run has got. `run` says which one it is: its source and selection."""

    run: dict[str, Any]
    started_at: str
    after: tuple[str, ...] = ()
    found: int = 0
    enqueued: int = 0
    finished_at: str | None = None

    def dump(self) -> str:
        return json.dumps({name: getattr(self, name) for name in self.__slots__})

    @classmethod
    def load(cls, text: bytes) -> _Position:
        try:
            fields = json.loads(text)
            return cls(**{**fields, "after": tuple(fields["after"])})
        except (ValueError, TypeError, KeyError):
            message = "what Redis remembers of an earlier run can't be read"
            raise UsageError(message, hint="--restart begins from the first") from None


def enqueue_recordings(
    plan: Plan,
    connection: Redis,
    target: Target,
    *,
    rate: float | None = None,
    dry_run: bool = False,
    resume: bool = False,
    restart: bool = False,
    report: EnqueueReport | None = None,
    advance: Callable[[Item], object] = lambda _: None,
) -> EnqueueReport:
    """Enqueue a plan's recordings in its order, each as a job that calls the target's function with the data.

    `rate` is the most jobs a second. A dry run reads and checks every file, and changes nothing. `resume` goes on
    behind where an interrupted run of the same plan to the same target ended. Without it such a run is an error, unless
    `restart` has it forgotten. `report` may be handed in to be looked at meanwhile; `advance` is called with each file
    that is enqueued for good, or refused. Raises `UsageError`, `ServiceUnavailableError` when Redis takes no more, and
    `RunInterruptedError` for Ctrl-C: these two say how far it got.
    """
    if rate is not None and not 0 < rate < float("inf"):
        raise UsageError(f"--rate is {rate:g}", hint="give the most jobs a second, more than 0")
    report = EnqueueReport() if report is None else report
    run = _Run(connection, target)
    try:
        position = run.begin(_identity(plan), resume=resume, restart=restart)
    except RedisError as error:
        raise ServiceUnavailableError(f"{_said(error)}; nothing was enqueued", hint=_IS_IT_THERE) from error
    report.enqueued_before = position.enqueued
    report.finished_before = position.finished_at
    if position.finished_at is not None:
        return report
    pace = _Pace(None if dry_run else rate)
    try:
        for batch in _batches(plan, position, pace.batch, report, advance):
            position = batch.moved(position)
            if not dry_run:
                pace.wait(len(batch.results))
                run.enqueue(batch, position)
            report.enqueued += len(batch.results)
            report.bytes += batch.bytes
            for found in batch.files:
                advance(found)
        if not dry_run:
            run.finish(position)
    except KeyboardInterrupt:
        if dry_run:
            raise
        raise RunInterruptedError(f"interrupted; {_so_far(report)}", hint=_RESUME) from None
    except RedisError as error:
        raise ServiceUnavailableError(f"{_said(error)}; {_so_far(report)}", hint=_RESUME) from error
    return report


def connect(url: str) -> Redis:
    """A Redis client for this URL. Connects on first use. Raises `UsageError` for what is no such URL."""
    try:
        return Redis.from_url(
            url,
            socket_timeout=10.0,
            socket_connect_timeout=5.0,
            retry=Retry(ExponentialWithJitterBackoff(base=0.05, cap=1.0), 3),
        )
    except ValueError as error:
        raise UsageError(f"REDIS_URL can't be used: {error}") from None


@dataclass(slots=True)
class _Batch:
    """What is enqueued in one step; `last` is the place of the last file looked at, refused ones too."""

    results: list[dict[str, Any]] = field(default_factory=list)
    files: list[Found] = field(default_factory=list)
    last: tuple[str, ...] = ()
    found: int = 0
    bytes: int = 0

    def moved(self, position: _Position) -> _Position:
        """The position behind it."""
        return _Position(
            position.run,
            position.started_at,
            self.last,
            position.found + self.found,
            position.enqueued + len(self.results),
        )


def _batches(
    plan: Plan, position: _Position, most: int, report: EnqueueReport, advance: Callable[[Item], object]
) -> Iterator[_Batch]:
    def refuse(refused: Refused) -> None:
        report.refused[refused.reason] += 1
        advance(refused)

    batch = _Batch()
    for item in plan.items(position.after, position.found):
        if isinstance(item, Refused):
            refuse(item)
            continue
        batch.last = item.order
        batch.found += 1
        result = _result(item)
        if isinstance(result, Refused):
            refuse(result)
            continue
        batch.results.append(result)
        batch.files.append(item)
        batch.bytes += item.size
        if len(batch.results) >= most or batch.bytes >= _BATCH_BYTES:
            yield batch
            batch = _Batch()
    if batch.found:
        yield batch


def _result(found: Found) -> dict[str, Any] | Refused:
    content = read(found)
    if isinstance(content, Refused):
        return content
    try:
        data = encode.load_exactly(content)
    except ValueError:
        return Refused(found.path, "it is no JSON")
    if not isinstance(data, dict) or not isinstance(data.get("job_id"), str):
        return Refused(found.path, "it is no recording: an object with a job_id")
    return data


class _Run:
    """One target's runs in Redis. Methods may raise redis-py's errors."""

    def __init__(self, connection: Redis, target: Target) -> None:
        self._connection = connection
        self._target = target
        self._queue = Queue(target.queue, connection=connection)
        self._key = f"rq:recorder:replay:{target.queue}:{target.function}"
        self._known: bytes | None = None

    def begin(self, run: dict[str, Any], *, resume: bool, restart: bool) -> _Position:
        """Where to begin: at the first, or behind where the run that is resumed ended."""
        self._known = self._connection.get(self._key)  # type: ignore[assignment]
        anew = _Position(run, format_timestamp(datetime.now(UTC)))
        if self._known is None or restart:
            return anew
        before = _Position.load(self._known)
        if resume:
            if before.run != run:
                raise UsageError(
                    f"the run to {self._to} that --resume would go on with has other arguments: {_shown(before.run)}",
                    hint="give the same ones, or start anew with --restart",
                )
            return before
        if before.finished_at is None:
            message = f"a run to {self._to} of {before.started_at} ended after {before.enqueued:,} jobs, unfinished"
            hint = f"--resume goes on with it ({_shown(before.run)}), --restart enqueues all again"
            raise UsageError(message, hint=hint)
        return anew

    def enqueue(self, batch: _Batch, position: _Position) -> None:
        """Enqueue a batch and move the position, both or neither; neither when somebody else has moved it."""
        jobs = [
            Queue.prepare_data(self._target.function, args=(data,), description=_description(data))
            for data in batch.results
        ]
        self._commit(position, lambda pipeline: self._queue.enqueue_many(jobs, pipeline=pipeline) if jobs else None)

    def finish(self, position: _Position) -> None:
        """Remember that all is enqueued."""
        done = _Position(
            position.run,
            position.started_at,
            position.after,
            position.found,
            position.enqueued,
            format_timestamp(datetime.now(UTC)),
        )
        self._commit(done, lambda pipeline: pipeline.expire(self._key, _FINISHED_TTL_S))

    def _commit(self, position: _Position, more: Callable[[Pipeline], object]) -> None:
        text = position.dump().encode()
        with self._connection.pipeline() as pipeline:
            # Watched, redis-py doesn't send the transaction again after a broken connection: it may have been done.
            pipeline.watch(self._key)
            if pipeline.get(self._key) != self._known:
                raise WatchError("the position was moved")
            pipeline.multi()
            pipeline.set(self._key, text)
            more(pipeline)
            pipeline.execute()
        self._known = text

    @property
    def _to(self) -> str:
        return f"queue {self._target.queue} with {self._target.function}"


class _Pace:
    """Keeps to a rate: what is due is enqueued in small shares, and what was late is not made up for."""

    def __init__(self, rate: float | None) -> None:
        self._rate = rate
        self._due = time.monotonic()
        self.batch = _BATCH if rate is None else max(1, min(_BATCH, int(rate / _STEPS_PER_S)))

    def wait(self, jobs: int) -> None:
        """Until so many more jobs may be enqueued."""
        if self._rate is not None:
            time.sleep(max(0.0, self._due - time.monotonic()))
            self._due = max(self._due, time.monotonic()) + jobs / self._rate


def _identity(plan: Plan) -> dict[str, Any]:
    """What makes two runs the same one: with another source or selection, a position means something else."""
    chosen = plan.selection
    return {
        "source": plan.source,
        "since": None if chosen.since is None else chosen.since.isoformat(),
        "until": None if chosen.until is None else chosen.until.isoformat(),
        "scrapers": sorted(chosen.scrapers),
        "pattern": chosen.pattern,
        "limit": chosen.limit,
    }


def _shown(run: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in run.items() if value)


def _so_far(report: EnqueueReport) -> str:
    total = report.enqueued_before + report.enqueued
    return f"at least {total:,} jobs are enqueued"


def _said(error: RedisError) -> str:
    if isinstance(error, WatchError):  # redis-py says so too when the connection broke before the answer came
        return "the connection broke, or another run to this queue is at work"
    return f"Redis refuses: {error}" if isinstance(error, ResponseError) else f"can't reach Redis: {error}"


def _description(data: dict[str, Any]) -> str:
    return f"replay of job {data['job_id'][:100]!r}"
