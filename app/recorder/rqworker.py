"""The recorder as RQ sees it: an ordinary worker, from birth to death, and RQ's own path for the jobs that need it.

Nothing outside app.recorder imports rq's internals. Verified against RQ 3.0.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import structlog
from redis import Redis
from redis.exceptions import ConnectionError, DataError, OutOfMemoryError, RedisError, ResponseError  # noqa: A004
from rq.defaults import DEFAULT_FAILURE_TTL, DEFAULT_RESULT_TTL
from rq.executions import Execution, ExecutionRegistry
from rq.job import Job, JobStatus
from rq.queue import Queue
from rq.utils import current_timestamp
from rq.worker import SimpleWorker
from rq.worker_registration import clean_worker_registry

from app.recorder.decode import uses_json
from app.recorder.intake import TakenJob
from app.recorder.rqjob import PickleData, RecordedJob
from app.store.errors import UnrecordableError, UsageError

log = structlog.get_logger("recorder")

_WORKER_TTL_S = 15  # RQ lengthens the connection's time-out to suit it: to 11 s with this
_MIN_REDIS = (6, 2, 0)  # for LMOVE
_TRIES = 3
_JOBS_OWN_FAULT = ("WRONGTYPE", "wrong kind of value", "not an integer", "not a float", "not a valid", "invalid expire")
"""What Redis says of a job's key or field that holds something odd. All else that it refuses, it refuses for now."""


class TakenOverError(Exception):
    """Another recorder has the job now."""


class RQWorker(SimpleWorker):
    """A worker of one queue to everybody who looks. Its methods may raise redis-py's errors; making it doesn't."""

    job_class: type[RecordedJob] = RecordedJob

    def __init__(
        self, connection: Redis, queue: str, name: str, result_ttl_s: int, callbacks_allowed: frozenset[str]
    ) -> None:
        class OurJob(RecordedJob):
            allowed_callbacks = callbacks_allowed

        self.job_class = OurJob
        self.queue = Queue(queue, connection=connection, job_class=OurJob, serializer=PickleData)
        super().__init__(
            [self.queue],
            name=name,
            connection=connection,
            job_class=OurJob,
            serializer=PickleData,
            worker_ttl=_WORKER_TTL_S,
            default_result_ttl=result_ttl_s,
        )
        self._failure: str | None = None
        self._still_ours: Callable[[], bool] = lambda: True

    def appear(self) -> None:
        """Be known to RQ, and listen to its commands. Raises `UsageError` when this Redis is too old for us."""
        version = self.get_redis_server_version()
        if version < _MIN_REDIS:
            have, need = (".".join(map(str, numbers)) for numbers in (version, _MIN_REDIS))
            raise UsageError(f"this Redis is {have}; the recorder needs {need}")
        super()._set_ip_address(self.connection)
        if not self.connection.exists(self.key):
            with suppress(OutOfMemoryError):  # show_life() registers us later; what fills Redis may be our backlog
                self.register_birth()
        self.subscribe()

    def show_life(self) -> None:
        """Tell RQ that we live, and in which state; now and then forget what has expired."""
        if self.should_run_maintenance_tasks:
            self._clean_up()
        with self.connection.pipeline(transaction=False) as pipeline:
            self.heartbeat(pipeline=pipeline)
            pipeline.hset(self.key, "state", self._state)
            new_field, *_ = pipeline.execute()
        if new_field:  # Redis lost us
            self.connection.delete(self.key)
            self.register_birth()

    def disappear(self) -> None:
        """Be no longer known to RQ."""
        try:
            self.register_death()
        finally:
            if self.pubsub_thread is not None:
                self.unsubscribe()

    def finish_with_rq(self, taken: TakenJob, value: Any, failure: str | None, still_ours: Callable[[], bool]) -> None:
        """RQ's own path: for jobs that failed, and for those with callbacks, dependents, repeats and the like.

        `value` is what the job returns; with a `failure`, it fails for that reason instead. Raises redis-py's errors
        when Redis can't work at present, or breaks off: then nothing is lost by doing it again. `still_ours` is asked
        before each step, for others may take the job over while this process is frozen.
        """
        job = self.job_class.of(taken, self.connection, self.queue.name, uses_json(taken.data))
        if job.refused_callbacks:
            hint = "name them in RECORDER_ALLOWED_CALLBACKS"
            log.warning("callbacks not run", job_id=taken.id, callbacks=job.refused_callbacks, hint=hint)
        self._failure, self._still_ours = failure, still_ours
        job.outcome = _outcome(value, failure)
        try:
            has_dependents = self.connection.exists(job.dependents_key)
            self._forget_executions(job)
            execution = self.prepare_execution(job)
            self.perform_job(job, self.queue, execution)
            self._check_noted(job)
            if has_dependents:
                self.enqueue_ready_dependents()
        except TakenOverError:
            return
        except Exception as error:
            if _is_outage(error):
                raise
            # A hash, a key or an id that RQ can't work with. What there was to keep is on disk.
            log.error("RQ can't finish a job", job_id=taken.id, reason=str(error))
            self._finish_without_rq(taken, failed=failure is not None)

    def _finalize_failure(self, job: Any, queue: Any, execution: Any, exc_info: Any) -> None:
        """RQ's own, unless it was Redis that failed while a recorded job was being finished: then it comes again."""
        if isinstance(exc_info[1], TakenOverError) or (self._failure is None and _is_outage(exc_info[1])):
            raise exc_info[1]
        super()._finalize_failure(job, queue, execution, exc_info)

    def enqueue_ready_dependents(self) -> None:
        """Enqueue, in whatever queue, the dependents that RQ was cut off from enqueuing when their job was finished."""
        try:
            for queue in Queue.all(connection=self.connection, job_class=self.job_class, serializer=PickleData):
                registry = queue.ready_job_registry
                for _ in range(_TRIES):  # it goes on when it is cut off
                    registry.cleanup()
                    if not self.connection.exists(registry.key):
                        break
        except ResponseError as error:
            if _is_outage(error):
                raise
            log.error("RQ can't enqueue dependents", reason=str(error))

    def _finish_without_rq(self, taken: TakenJob, *, failed: bool) -> None:
        """Leave a job that RQ can't work with as what it is, finished or failed, and not as one that runs."""
        key = Job.redis_job_namespace_prefix.encode() + taken.member
        if self.connection.type(key) != b"hash":
            return
        status, registry, ttl = JobStatus.FINISHED, self.queue.finished_job_registry, DEFAULT_RESULT_TTL
        if failed:
            status, registry, ttl = JobStatus.FAILED, self.queue.failed_job_registry, DEFAULT_FAILURE_TTL
        started = self.queue.started_job_registry.key
        with self.connection.pipeline(transaction=False) as pipeline:
            for execution, _ in self.connection.zscan_iter(started):
                if execution.rpartition(b":")[0] == taken.member:
                    pipeline.zrem(started, execution)
            pipeline.delete(ExecutionRegistry.key_template.format("").encode() + taken.member)
            pipeline.hset(key, "status", status.value)
            pipeline.expire(key, ttl)
            pipeline.zadd(registry.key, {taken.member: current_timestamp() + ttl})
            pipeline.execute(raise_on_error=False)

    def _forget_executions(self, job: RecordedJob) -> None:
        """Forget the executions that recorders died in, or were cut off in; RQ would hold the job for running."""
        with self.connection.pipeline() as pipeline:
            for execution_id in ExecutionRegistry(job.id, self.connection).get_execution_ids():
                Execution(execution_id, job.id, self.connection).delete(job, pipeline)
            pipeline.execute()

    def _check_noted(self, job: RecordedJob) -> None:
        """RQ goes on when it could not note what became of a job that failed; then the job still looks started."""
        if self.connection.hget(job.key, "status") == JobStatus.STARTED.encode():
            raise ConnectionError("RQ could not note what became of a job")

    def prepare_job_execution(self, *args: Any, **kwargs: Any) -> None:
        """RQ's own, for a job that is still ours."""
        self._check_ours()
        super().prepare_job_execution(*args, **kwargs)

    def handle_job_success(self, *args: Any, **kwargs: Any) -> None:
        """RQ's own, for a job that is still ours."""
        self._check_ours()
        super().handle_job_success(*args, **kwargs)

    def _check_ours(self) -> None:
        if not self._still_ours():
            raise TakenOverError

    def handle_exception(self, job: Any, *exc_info: Any) -> None:
        """The batch's report says what happened; RQ would log a traceback."""

    def handle_job_failure(
        self, job: Any, queue: Any, started_job_registry: Any = None, exc_string: str = "", execution: Any = None
    ) -> None:
        """RQ's own, with the reason in words instead of a traceback."""
        self._check_ours()
        reason, self._failure = self._failure, None
        super().handle_job_failure(job, queue, started_job_registry, reason or exc_string, execution)

    def _clean_up(self) -> None:
        """Forget expired jobs and dead workers. The rest of RQ's maintenance fails jobs or runs callbacks."""
        for registry in (self.queue.finished_job_registry, self.queue.failed_job_registry):
            registry.cleanup()
        self.queue.ready_job_registry.cleanup()
        clean_worker_registry(self.queue)
        self.last_cleaned_at = datetime.now(UTC)  # type: ignore[assignment]

    def _set_ip_address(self, connection: Redis) -> None:
        self.ip_address = "unknown"  # RQ asks Redis for it while the worker is made; we ask once Redis is there

    def _pubsub_exception_handler(self, exc: Exception, pubsub: Any, pubsub_thread: Any) -> None:
        if isinstance(exc, RedisError):
            time.sleep(1.0)
        else:
            log.warning("unreadable command", reason=str(exc), hint="somebody published nonsense to this worker")


def _is_outage(error: BaseException) -> bool:
    """Whether it is Redis that can't work at present, and not the job that Redis can't work with."""
    if not isinstance(error, RedisError) or isinstance(error, DataError):
        return False
    said = str(error).rpartition("caused error: ")[2]  # what comes before may quote a job's id
    return not isinstance(error, ResponseError) or not any(words in said for words in _JOBS_OWN_FAULT)


def _outcome(value: Any, failure: str | None) -> Callable[[], Any]:
    def outcome() -> Any:
        if failure is not None:
            raise UnrecordableError(failure)
        return value

    return outcome
