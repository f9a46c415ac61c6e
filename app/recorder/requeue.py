"""Putting failed jobs back into the queue: what would be done, with a reason each, and doing it.

From Redis as `rq requeue` does it, or from quarantine where Redis has forgotten the job, under its old id. Each job in
one step, so that it is never in neither place, and only if it is still as it was when that was decided. Its file stays.
"""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from redis import Redis
from rq.job import Job
from rq.queue import Queue
from rq.utils import utcformat

from app.recorder.decode import RECORD_FUNCTION
from app.recorder.failed import GONE, NO_JOB, Failure, Failures, Matches, job_key, member
from app.recorder.intake import Intake
from app.recorder.quarantine import DamagedError, Kept, contents
from app.store import encode

_REQUEUE = """
-- KEYS: job, its dependents, its dependencies, failed registry, queue, queues, deaths, requeued
-- ARGV: id, status that it must have, now, name of its quarantine file, seconds since 1970, default timeout,
--       then fields and their values
local status = ''
if redis.call('EXISTS', KEYS[1]) == 1 then status = redis.call('HGET', KEYS[1], 'status') or 'unknown' end
if status ~= ARGV[2] then return status == '' and 'gone' or status end
redis.call('RPUSH', KEYS[5], ARGV[1])
for index = 7, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[index], ARGV[index + 1]) end
redis.call('HSETNX', KEYS[1], 'enqueued_at', ARGV[3])
redis.call('HSETNX', KEYS[1], 'timeout', ARGV[6])
local ttl = tonumber(redis.call('HGET', KEYS[1], 'ttl') or 0) or 0
for index = 1, 3 do
    -- Whatever time RQ gives a failed job must not run out while it waits again.
    local limited = ttl > 0 and tonumber(redis.pcall('EXPIRE', KEYS[index], ttl))
    if not limited then redis.call('PERSIST', KEYS[index]) end
end
redis.call('ZREM', KEYS[4], ARGV[1])
redis.call('SADD', KEYS[6], KEYS[5])
redis.call('HDEL', KEYS[7], ARGV[1])
if ARGV[4] ~= '' then redis.call('HSET', KEYS[8], ARGV[4], ARGV[5]) end
return false
"""

_LEFT_BEHIND = (b"result", b"worker_name", b"last_heartbeat", b"rate_limit_key", b"rate_limit_concurrency")
"""What a restored job doesn't take over: what is of the run that failed, and a rate limit, which has forgotten it."""

_DIRECT_CALL = "direct-call"
"""What `record_result` calls its job when a person calls it."""


class How(Enum):
    """What is to be done to a failed job."""

    REQUEUE = "from Redis"
    RESTORE = "from quarantine, "
    NOTHING = "nothing to do"
    REFUSE = "can't be requeued"


@dataclass(frozen=True, slots=True)
class Step:
    """What is to be done to one failed job."""

    failure: Failure
    how: How
    why: str = ""
    job_id: str = ""
    """The id under which it is enqueued."""
    fields: Mapping[bytes, Any] = field(default_factory=dict)
    """What its hash is to have, where it isn't in Redis."""


class Requeue:
    """Requeues failed jobs of one queue. Methods may raise redis-py's errors."""

    def __init__(self, connection: Redis, queue: str, failures: Failures) -> None:
        self._connection = connection
        self._failures = failures
        self._queue = Queue(queue, connection=connection)
        self._deaths_key = Intake(connection, queue, "", 0).deaths_key
        self._requeue = connection.register_script(_REQUEUE)

    def plan(self, matches: Matches) -> Iterator[Step]:
        """A step for each failed job that matches."""
        # Redis first: what is requeued from there and fails again at once is then known to be there.
        done: set[str | None] = set()
        for failure in self._failures.in_redis():
            lost = failure.kept is None and failure.redis is not None and failure.redis.status != GONE
            if (failure.from_redis or lost) and matches(failure):
                done.add(self._failures.foreign_name(failure))
                yield self.step(failure)
        for failure in self._failures.in_quarantine():
            if not (failure.alive or failure.requeued or failure.from_redis or failure.kept_name in done) and matches(
                failure
            ):
                yield self.step(failure)

    def plan_one(self, job_id: str) -> list[Step]:
        """What to do for one id: from Redis if the job is there, else from each of its files; none if it is unknown."""
        found = self._failures.of(job_id)
        there = [failure for failure in found if failure.from_redis or failure.alive][:1]
        waiting = [failure for failure in found if not failure.requeued]
        return [self.step(failure) for failure in there or waiting or found[:1]]

    def step(self, failure: Failure) -> Step:
        """What is to be done to a failed job."""
        redis = failure.redis
        if redis is not None and failure.alive:
            return Step(failure, How.NOTHING, f"it is {redis.status} already")
        if redis is not None and redis.status == NO_JOB:
            return Step(failure, How.REFUSE, "its key in Redis holds something that is no job")
        if redis is not None and redis.rate_limited:
            return Step(failure, How.REFUSE, "it has a rate limit, which RQ alone can keep: `rq requeue`")
        if failure.from_redis:
            return Step(failure, How.REQUEUE, job_id=failure.job_id)
        if failure.kept is None:
            return Step(failure, How.REFUSE, "its payload has expired in Redis, and no file in quarantine has it")
        try:
            job_id, fields = self._restored(failure.kept)
        except DamagedError as error:
            return Step(failure, How.REFUSE, f"its file can't be used: {error}")
        return Step(failure, How.RESTORE, failure.kept.path, job_id, fields)

    def apply(self, step: Step) -> Step:
        """Do what a step says; returns what came of it."""
        if step.how not in (How.REQUEUE, How.RESTORE):
            return step
        now = datetime.now(UTC)
        anew = {"status": "queued", "started_at": "", "ended_at": "", "exc_info": zlib.compress(b"")}
        fields = {**step.fields, **{name.encode(): value for name, value in anew.items()}}
        fields[b"origin"] = self._queue.name
        key = job_key(step.job_id)
        status = GONE if step.failure.redis is None else step.failure.redis.status
        was = self._requeue(
            keys=[
                key,
                key + b":dependents",
                job_key(":" + step.job_id) + b":dependencies",
                self._failures.registry_key,
                self._queue.key,
                Queue.redis_queues_keys,
                self._deaths_key,
                self._failures.requeued_key,
            ],
            args=[
                member(step.job_id),
                status if step.job_id == step.failure.job_id else GONE,
                utcformat(now),
                os.fsencode(step.failure.kept_name or ""),
                time.time(),
                Queue.DEFAULT_TIMEOUT,
                *(part for pair in fields.items() for part in pair),
            ],
        )
        if was is None:
            return step
        return Step(step.failure, How.NOTHING, f"it is {was.decode(errors='replace')} by now")

    def _restored(self, kept: Kept) -> tuple[str, Mapping[bytes, Any]]:
        """The id and the fields of a job that does again what the one in a file did."""
        if kept.damage is not None:
            raise DamagedError(kept.damage, path=kept.path)
        payload, fields = contents(kept)
        if kept.origin is None:
            if not fields:
                raise DamagedError("it lacks the job's fields", path=kept.path)
            return kept.job_id, {
                **{name: fields[name] for name in fields if name not in _LEFT_BEHIND},
                b"data": payload,
            }
        try:
            data = encode.load_exactly(payload)
            if kept.origin == "record_result":
                data = data["data"]
        except (ValueError, TypeError, KeyError):
            raise DamagedError("it holds a description of the result only, not its data", path=kept.path) from None
        keeps_id = kept.origin == "record_result" and kept.job_id != _DIRECT_CALL
        job_id = kept.job_id if keeps_id else f"requeued-{kept.name.split('.')[-2]}"
        job = Job.create(
            RECORD_FUNCTION, args=(data,), connection=self._connection, description="requeued from quarantine"
        )
        job.enqueued_at = kept.at
        return job_id, {name.encode(): value for name, value in job.to_dict().items()}
