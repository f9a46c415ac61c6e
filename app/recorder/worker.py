"""The recorder's loop: one process, no fork, batches.

Take a batch, record it, make it durable, acknowledge it; when there is nothing to take, bring the summaries up to date.
When Redis or the disk fails, wait and try again: whatever isn't acknowledged is still in Redis.
"""

from __future__ import annotations

import faulthandler
import signal
import threading
import time
from base64 import b64encode
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog
from redis import Redis
from redis.exceptions import RedisError
from rq.defaults import DEFAULT_RESULT_TTL
from rq.worker.base import WorkerStatus

from app.recorder.acknowledge import Acknowledger, Batch, Owed
from app.recorder.bookkeeping import Bookkeeper
from app.recorder.client import unavailable
from app.recorder.decode import decode_result
from app.recorder.intake import RENEW_INTERVAL_S, Intake, SuspendedError, TakenJob, look_at
from app.recorder.metrics import Done, Metrics
from app.recorder.report import Reporter
from app.recorder.rqworker import RQWorker
from app.recorder.trouble import Part
from app.recorder.vitals import Vitals
from app.recorder.write import Kind, Outcome, Pending, RecordWriter
from app.store.errors import LockedError, RecorderError, StorageError, UnrecordableError
from app.store.proven import proven_restore_at
from app.store.timestamps import parse_timestamp

log = structlog.get_logger("recorder")

_WAIT_S = 1.0
"""Longest wait for a job before looking whether to stop."""

_RECOVER_INTERVAL_S = 5.0
_BACKOFF_S = (0.1, 0.5, 1.0, 2.0)
_MOST_DEATHS = 3
_READING_LIMIT_S = 60.0
"""Most processor time that reading a payload may take. A hostile one can keep the interpreter busy for ever, out of
reach of any signal handler; then this process ends, and the job is tried alone, and at last put into quarantine unread.
Time in which we are frozen, or wait for a disk, doesn't count."""

_MAX_STAGED_BYTES = 64 * 1024 * 1024
"""Unpacked results held in memory at once; what is taken together may unpack to far more."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a recorder works."""

    queue: str = "recorder"
    batch_size: int = 100
    max_payload_bytes: int = 256 * 1024 * 1024
    allowed_callbacks: frozenset[str] = frozenset()
    default_result_ttl_s: int = DEFAULT_RESULT_TTL


class RecorderWorker(RQWorker):
    """Records what is on a queue, as one of any number of recorders."""

    def __init__(
        self,
        connection: Redis,
        writer: RecordWriter,
        options: Options,
        stop: threading.Event | None = None,
        vitals: Vitals | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        super().__init__(
            connection, options.queue, writer.name, options.default_result_ttl_s, options.allowed_callbacks
        )
        self._options = options
        self._writer = writer
        self._intake = Intake(connection, options.queue, self.name, options.batch_size)
        bookkeeper = Bookkeeper(connection, options.queue, self.name, self.key, self._intake)
        self._acknowledger = Acknowledger(self, self._intake, bookkeeper, options.default_result_ttl_s)
        self._stop = stop or threading.Event()
        self._recover_at = 0.0
        self._vitals = vitals or Vitals()
        self._vitals.name = self.name
        self._trouble = self._vitals.trouble
        self._reporter = Reporter(self._vitals, metrics)
        self._alone = 0
        """How many jobs more to take one at a time, since the disk refused something. If it is only one job's folder,
        the others go on, and that job goes to the end of the queue."""
        self._ahead: list[TakenJob] = []
        """Jobs taken while those before them were being worked on."""
        self._owed: Owed | None = None
        """A batch that is on disk, and is acknowledged while the next one is being worked on."""
        self._absent: deque[str] = deque()
        """Recorders whose lease has run out: they died, or are frozen."""

    def run(self, *, burst: bool = False) -> None:
        """Record until told to stop; with `burst`, until the queue is empty."""
        faulthandler.register(signal.SIGPROF, file=2, chain=True)  # for _watchdog: say where, then end as it does
        self._announce(wait=not burst)
        pulse = threading.Thread(target=self._keep_alive, name="pulse", daemon=True)
        pulse.start()
        try:
            self._loop(burst=burst)
        finally:
            self._stop.set()
            pulse.join(timeout=RENEW_INTERVAL_S)
            self._leave()

    def _loop(self, *, burst: bool) -> None:
        failures = 0
        while not self._stop.is_set():
            self._vitals.step_began_at = time.monotonic()
            jobs: list[TakenJob] = []
            try:
                self._recover_if_due()
                self._writer.check()
                jobs, self._ahead = self._ahead or self._take(wait=not burst), []
                if jobs:
                    self._record(jobs)
                self._alone = max(0, self._alone - 1) if jobs else 0
                self._flush(idle=not jobs)
                if burst and not jobs:
                    return
                failures = 0
                if not self._alone:
                    self._trouble.over()
            except SuspendedError:
                self._give_back()
                self._trouble.wait_for("suspended", Part.QUEUE, hint="run `rq resume` to go on")
                if burst:
                    return
                self._stop.wait(_WAIT_S)
            except StorageError as error:
                self._give_back(to_the_end=self._alone > 0)
                if jobs:
                    self._alone = self._options.batch_size
                if burst:
                    raise
                self._trouble.wait_for_disk(error)
                self._flush(idle=True)
                self._back_off(failures)
                failures += 1
            except RedisError as error:
                if burst:
                    raise unavailable(error) from error
                self._ahead, self._owed = [], None  # all that is in our hand comes again
                self._intake.forget_ahead()
                self._trouble.wait_for_redis(error, hint="jobs stay in Redis; trying again")
                self._back_off(failures)
                failures += 1
            except RecorderError:
                raise
            except Exception as error:  # a mistake of ours: jobs in hand must not be lost, nor others kept waiting
                if burst:
                    raise
                what = f"unexpected {type(error).__name__}: {error}"
                if self._trouble.wait_for(what, Part.LOOP, hint="report it, with this log"):
                    log.exception("unexpected")
                self._give_back()
                self._back_off(failures)
                failures += 1

    def _flush(self, *, idle: bool) -> None:
        self._writer.flush(idle=idle)
        self._vitals.note_dirty(self._writer.dirty)
        self._trouble.report_behind("summary is behind", self._writer.summary_problem)
        self._trouble.report_behind("latest is behind", self._writer.latest_problem)

    def _take(self, *, wait: bool) -> list[TakenJob]:
        if not wait or self._alone:
            return self._intake.take(None, most=1 if self._alone else None)
        jobs = self._intake.take(None) if self._writer.dirty else self._intake.take(_WAIT_S)
        if jobs:
            return jobs
        if self._writer.dirty:
            self._flush(idle=True)
            return self._intake.take(0.05 if self._writer.dirty else _WAIT_S)
        return []

    def _record(self, jobs: list[TakenJob]) -> None:
        self._state = WorkerStatus.BUSY
        if len(jobs) == self._options.batch_size and not self._alone:
            self._intake.begin_to_take(known=len(jobs))  # more of them, while we are busy with these
        waiting = iter(jobs)
        while batch := self._stage_some(waiting):
            try:
                self._writer.begin()
                self._pay()
                self._ahead += self._taken_ahead(jobs)
            except BaseException:
                self._writer.abandon(batch.pending)
                raise
            self._complete(batch)
            self._writer.check()
        self._state = WorkerStatus.IDLE

    def _taken_ahead(self, jobs: list[TakenJob]) -> list[TakenJob]:
        try:
            ahead = self._intake.taken_ahead()
        except SuspendedError:
            return []  # the loop meets it too, when these are done
        known = {job.id for job in jobs}
        return [job for job in ahead if job.id not in known]

    def _stage_some(self, jobs: Iterator[TakenJob]) -> Batch | None:
        """Begin to write as many of these as may be in memory together; None when there are no more."""
        batch = Batch()
        for job in jobs:
            if not job.fields:
                batch.gone.append(job)
                continue
            try:
                with self._intake.reading(job):
                    pending, json_serializer = self._stage(job)
            except BaseException:
                self._writer.abandon(batch.pending)
                raise
            if isinstance(pending, Outcome):
                batch.known.append((job, json_serializer, pending))
                continue
            batch.jobs.append(job)
            batch.pending.append(pending)
            batch.json_serializer.append(json_serializer)
            batch.staged_bytes += pending.size
            if batch.staged_bytes > _MAX_STAGED_BYTES:
                break
        return batch if batch.jobs or batch.gone or batch.known else None

    def _complete(self, batch: Batch) -> None:
        """Make a batch durable, and only then acknowledge it."""
        self._vitals.step_began_at = time.monotonic()
        outcomes = self._writer.commit(batch.pending)
        batch.durable_at = datetime.now(UTC)
        for job, json_serializer, outcome in batch.known:
            batch.jobs.append(job)
            batch.json_serializer.append(json_serializer)
            outcomes.append(outcome)
        self._owed = self._acknowledger.begin(batch, outcomes)
        if not self._ahead:
            self._pay()

    def _pay(self) -> None:
        """See to it that the batch that is on disk is acknowledged, if there is one."""
        if self._owed is None:
            return
        owed, self._owed = self._owed, None
        batch, outcomes = owed.batch, owed.outcomes
        refusal = self._acknowledger.end(owed)
        self._reporter.report(Done(batch.jobs, batch.pending, outcomes, batch.started_at, batch.durable_at))
        if refusal is not None:
            raise refusal
        if outcomes and all(outcome.kind is Kind.POSTPONED for outcome in outcomes):
            raise LockedError(outcomes[0].reason or "", hint="another recorder is frozen: end it, or let it go on")

    def _stage(self, job: TakenJob) -> tuple[Pending | Outcome, bool]:
        """Prepare to write a job's result, if that is still to be done; and whether RQ's JSON serializer packed it."""
        enqueued_at = parse_timestamp(job.text("enqueued_at"))
        try:
            if job.deaths >= _MOST_DEATHS:
                raise UnrecordableError(f"{job.deaths} recorders have died with this job in hand; it was not read")
            with _watchdog():
                decoded = decode_result(job.data, self._options.max_payload_bytes)
                if decoded.recorded_in is not None:
                    return self._writer.find(decoded.recorded_in), decoded.json_serializer
                built = self._writer.build(
                    decoded.data,
                    enqueued_at=enqueued_at,
                    payload_bytes=decoded.payload_bytes,
                    simple=decoded.simple,
                )
            return self._writer.stage_built(built), decoded.json_serializer
        except UnrecordableError as error:
            reason = error.message
        except StorageError:
            raise
        except Exception as error:  # noqa: BLE001 - a hostile payload must not stop the others
            reason = f"unexpected {type(error).__name__}: {error}"
        fields = {
            "job": {name.decode("latin-1"): _readable(value) for name, value in job.fields.items() if name != b"data"}
        }
        return self._writer.stage_quarantine(job.id, reason, job.data, fields, enqueued_at=enqueued_at), False

    def _announce(self, *, wait: bool) -> None:
        """Be known in Redis, as a worker and as a holder of jobs; wait for Redis if need be and allowed."""
        failures = 0
        while not self._stop.is_set():
            self._vitals.step_began_at = time.monotonic()
            try:
                self._renew()
                self._report_taken_back()
                self.appear()
                self._trouble.over()
            except RedisError as error:
                if not wait:
                    raise unavailable(error) from error
                self._trouble.wait_for_redis(error, hint="is it running, and REDIS_URL right? Trying again")
                self._back_off(failures)
                failures += 1
            else:
                self._vitals.announced = True
                root, endpoint = self._writer.layout.root, self._vitals.endpoint
                log.info("ready", queue=self.queue.name, worker=self.name, output_dir=root, metrics=endpoint)
                return

    def _keep_alive(self) -> None:
        """Every second: renew the lease, tell RQ that we live, and take over from recorders that don't."""
        while not self._stop.wait(RENEW_INTERVAL_S):
            try:
                self._renew()
                self._report_taken_back()
                self.show_life()
                self._vitals.note_pulse(look_at(self.connection, self._options.queue))
            except RedisError:
                continue  # the main loop says so
            except Exception:  # without a lease the jobs in hand go to others, so nothing may end this loop
                log.exception("pulse failed")

    def _renew(self) -> None:
        self._vitals.free_bytes = self._writer.free_bytes
        self._intake.renew(hostname=self.hostname, pid=self.pid, **self._vitals.state())

    def _report_taken_back(self) -> None:
        for recorder, count in self._intake.take_back().items():
            log.warning("taken back from a dead recorder", recorder=recorder, jobs=count)
            self._absent.append(recorder)

    def _recover_if_due(self) -> None:
        if time.monotonic() >= self._recover_at:
            for dead in self._writer.recover():
                log.warning("put right what a dead recorder left", recorder=dead)
                self._intake.end_lease(dead)
                self._report_taken_back()
            self._trouble.report_behind("what a dead recorder left remains", self._writer.recovery_problem)
            for _ in range(len(self._absent)):
                absent = self._absent.popleft()
                if not self._writer.stand_in_for(absent):
                    self._absent.append(absent)
            self._vitals.proven_restore_at = proven_restore_at(self._writer.layout)
            self._recover_at = time.monotonic() + _RECOVER_INTERVAL_S

    def _give_back(self, *, to_the_end: bool = False) -> None:
        self._ahead = []
        try:
            with suppress(StorageError):
                self._pay()
            self._intake.give_back(to_the_end=to_the_end)
        except RedisError as error:
            self._trouble.wait_for_redis(error, hint="jobs stay in Redis; trying again")

    def _back_off(self, failures: int) -> None:
        self._stop.wait(_BACKOFF_S[min(failures, len(_BACKOFF_S) - 1)])

    def _leave(self) -> None:
        """Give back what is in hand and be gone from Redis, if Redis is there."""
        if self._trouble.redis_is_away:
            log.warning("left without telling Redis", reason=self._trouble.waiting_for)
            return
        try:
            with suppress(StorageError):
                self._pay()
            self._intake.leave()
            self.disappear()
        except RedisError as error:
            log.warning("left without telling Redis", reason=str(error))


@contextmanager
def _watchdog() -> Iterator[None]:
    """End this process, with a traceback, when what is done here takes too much processor time."""
    signal.setitimer(signal.ITIMER_PROF, _READING_LIMIT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _readable(value: bytes) -> Any:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": b64encode(value).decode()}
