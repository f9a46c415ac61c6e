"""Taking jobs off the queue, safely: what a recorder has in hand is in Redis too, under its name and a lease.

A job moves from the queue to its recorder's own list in one step, and leaves that list in the step that acknowledges
it (see bookkeeping). A recorder renews its lease every second; when one's lease has run out, any other puts the jobs of
its list back to the front of the queue. The lists are ours: RQ's clean-up of its intermediate queue would fail them.

The scripts work in a Redis that is out of memory too, else a backlog that has filled it could never be worked off:
Redis lets a script that has written something go on, and PERSIST, which is always allowed, changes nothing here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from redis import Redis
from redis.exceptions import ResponseError
from rq.defaults import RQ_KEY_PREFIX
from rq.job import Job
from rq.queue import Queue
from rq.registry import FailedJobRegistry
from rq.suspension import WORKERS_SUSPENDED

from app.recorder.line import Call, Line
from app.store.timestamps import parse_timestamp

LEASE_S = 5.0
"""How long a recorder that says nothing keeps its jobs."""

RENEW_INTERVAL_S = 1.0

_HOLDERS, _LEASE = ":holders", ":lease:"

_REMEMBER_DEATHS_S = 7 * 24 * 3600

MAX_BATCH_BYTES = 32 * 1024 * 1024
"""Packed payload in one batch; a single larger job is a batch of its own."""

_TAKE = """
-- KEYS: queue, taken, suspended, deaths    ARGV: most jobs, most bytes, job key prefix, how many on our list are known
redis.call('PERSIST', KEYS[2])
if redis.call('EXISTS', KEYS[3]) == 1 then return {'suspended'} end
local jobs, bytes, suspect = {}, 0, false
local has_deaths = redis.call('EXISTS', KEYS[4]) == 1
-- Add a job to the batch, unless it doesn't fit. One that was in hand when a recorder died comes alone, so that if it
-- is to blame, no other is blamed with it.
local function add(id)
    local key = ARGV[3] .. id
    local deaths = has_deaths and tonumber(redis.call('HGET', KEYS[4], id) or 0) or 0
    if #jobs > 0 then
        local size = redis.pcall('HSTRLEN', key, 'data')
        if suspect or deaths > 0 or (type(size) == 'number' and bytes + size > tonumber(ARGV[2])) then return false end
    end
    suspect = deaths > 0
    local fields = redis.pcall('HGETALL', key)
    if fields.err then fields = {} end  -- not a hash
    for _, text in ipairs(fields) do bytes = bytes + #text end
    jobs[#jobs + 1] = id
    jobs[#jobs + 1] = fields
    jobs[#jobs + 1] = deaths
    return true
end
-- Whatever is on our list and not known came with an answer that never reached us.
for _, id in ipairs(redis.call('LRANGE', KEYS[2], ARGV[4], ARGV[4] + ARGV[1] - 1)) do
    if not add(id) then return jobs end
end
local room = ARGV[1] - #jobs / 3
for _, id in ipairs(room > 0 and redis.call('LRANGE', KEYS[1], 0, room - 1) or {}) do
    if not add(id) then break end
    redis.call('LMOVE', KEYS[1], KEYS[2], 'LEFT', 'RIGHT')
end
return jobs
"""

_GIVE_BACK = """
-- KEYS: queue, taken    ARGV: the end to take from, the end to put to
redis.call('PERSIST', KEYS[2])
local given = 0
while redis.call('LMOVE', KEYS[2], KEYS[1], ARGV[1], ARGV[2]) do given = given + 1 end
return given
"""

_POSTPONE = """
-- KEYS: queue, taken    ARGV: job
redis.call('PERSIST', KEYS[2])
if redis.call('LREM', KEYS[2], 1, ARGV[1]) == 1 then redis.call('RPUSH', KEYS[1], ARGV[1]) end
"""

_RENEW = """
-- KEYS: holders, lease    ARGV: recorder, its state, milliseconds
redis.call('PERSIST', KEYS[1])
redis.call('SADD', KEYS[1], ARGV[1])
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
"""

_TAKE_BACK = """
-- A death counts for every job that was in hand, once; from then on the job comes alone, and a further one counts only
-- if it was being read.
-- KEYS: queue, holders, deaths, reading    ARGV: prefix of taken lists, prefix of leases, own name, seconds to remember
redis.call('PERSIST', KEYS[2])
local taken_back = {}
for _, holder in ipairs(redis.call('SMEMBERS', KEYS[2])) do
    if holder ~= ARGV[3] and redis.call('EXISTS', ARGV[2] .. holder) == 0 then
        local count = 0
        local id = redis.call('LMOVE', ARGV[1] .. holder, KEYS[1], 'RIGHT', 'LEFT')
        while id do
            count = count + 1
            if redis.call('SREM', KEYS[4], id) == 1 or redis.call('HEXISTS', KEYS[3], id) == 0 then
                redis.call('HINCRBY', KEYS[3], id, 1)
                redis.call('EXPIRE', KEYS[3], ARGV[4])
            end
            id = redis.call('LMOVE', ARGV[1] .. holder, KEYS[1], 'RIGHT', 'LEFT')
        end
        redis.call('SREM', KEYS[2], holder)
        taken_back[#taken_back + 1] = holder
        taken_back[#taken_back + 1] = count
    end
end
return taken_back
"""


class SuspendedError(Exception):
    """The operator has told all workers to pause (`rq suspend`)."""


@dataclass(frozen=True, slots=True)
class TakenJob:
    """A job in hand: its id and its hash, as they are in Redis."""

    id: str
    fields: dict[bytes, bytes]
    """Empty when the job was deleted or expired while it waited."""
    deaths: int = 0
    """Recorders that died with it in hand, or, after the first, while they read it."""

    @property
    def member(self) -> bytes:
        """The id's bytes, as the lists in Redis hold them."""
        return self.id.encode("utf-8", "surrogateescape")

    @property
    def data(self) -> bytes:
        """The payload, as its producer's RQ packed it."""
        return self.fields.get(b"data", b"")

    def text(self, name: str) -> str:
        """A field's text, empty when it is absent."""
        return self.fields.get(name.encode(), b"").decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class QueueState:
    """What a look at a queue shows."""

    waiting: int
    failed: int
    oldest_age_s: float
    """How long ago the job that is next was enqueued; 0 when none waits."""


class Intake:
    """One recorder's hand in the queue. Every method may raise redis-py's errors."""

    def __init__(self, connection: Redis, queue: str, recorder: str, batch_size: int) -> None:
        prefix = _prefix(queue)
        self._connection = connection
        self.line = Line(connection)
        self._recorder = recorder
        self._batch_size = batch_size
        self._queue_key = Queue.redis_queue_namespace_prefix + queue
        self._taken_prefix, self._lease_prefix = f"{prefix}:taken:", prefix + _LEASE
        self._holders_key = prefix + _HOLDERS
        self.taken_key = self._taken_prefix + recorder
        self.deaths_key = f"{prefix}:deaths"
        self._reading_key = f"{prefix}:reading"
        self._take = connection.register_script(_TAKE)
        self._give_back = connection.register_script(_GIVE_BACK)
        self._postpone = connection.register_script(_POSTPONE)
        self._renew = connection.register_script(_RENEW)
        self._take_back = connection.register_script(_TAKE_BACK)
        self._ahead: Call | None = None

    def take(self, wait_s: float | None, *, most: int | None = None) -> list[TakenJob]:
        """The next batch of waiting jobs, at most so many: none if there are none, after up to `wait_s` seconds.

        What is in this recorder's hand already comes again.
        """
        jobs = self._take_waiting(most or self._batch_size)
        if jobs or wait_s is None:
            return jobs
        if not self._connection.blmove(self._queue_key, self.taken_key, cast(int, wait_s), "LEFT", "RIGHT"):
            return []
        return self._take_waiting(most or self._batch_size)

    def begin_to_take(self, known: int) -> None:
        """Have the next batch taken, while the first so many jobs in hand are being worked on."""
        self._ahead = self.line.call(self._take, self._take_keys, self._take_args(self._batch_size, known))

    def taken_ahead(self) -> list[TakenJob]:
        """The batch that `begin_to_take` has had taken, if it was called. Some of it may be known all the same."""
        if self._ahead is None:
            return []
        ahead, self._ahead = self._ahead, None
        return _jobs(self.line.answer(ahead))

    def forget_ahead(self) -> None:
        """Don't wait for what `begin_to_take` has had taken, nor for any other answer on the line: it comes again."""
        self._ahead = None
        self.line.hang_up()

    def give_back(self, *, to_the_end: bool = False) -> int:
        """Put everything in hand back to the front of the queue, or to its end, in its old order."""
        with suppress(SuspendedError):
            self.taken_ahead()  # else it might be taken only after this
        ends = ("LEFT", "RIGHT") if to_the_end else ("RIGHT", "LEFT")
        return cast(int, self._give_back(keys=[self._queue_key, self.taken_key], args=ends))

    def postpone(self, job: TakenJob) -> None:
        """Put one job in hand back to the end of the queue."""
        self._postpone(keys=[self._queue_key, self.taken_key], args=[job.member])

    def holds(self, job: TakenJob) -> bool:
        """Whether a job is still in this recorder's hand, not taken back by another."""
        return self._connection.execute_command("LPOS", self.taken_key, job.member) is not None

    def drop(self, job: TakenJob) -> None:
        """Let go of a job that is done with."""
        with self._connection.pipeline() as pipeline:
            pipeline.execute_command("LREM", self.taken_key, 1, job.member)
            pipeline.execute_command("HDEL", self.deaths_key, job.member)
            pipeline.execute()

    @contextmanager
    def reading(self, job: TakenJob) -> Iterator[None]:
        """Note that what may end this process is done with a job, if a recorder has died with it in hand before."""
        if not job.deaths:
            yield
            return
        self._connection.sadd(self._reading_key, job.member)
        try:
            yield
        finally:
            self._connection.srem(self._reading_key, job.member)

    def renew(self, **state: str | int | None) -> None:
        """Say that this recorder lives, and in which state (see `leases`)."""
        self._renew(
            keys=[self._holders_key, self._lease_prefix + self._recorder],
            args=[self._recorder, json.dumps(state), int(LEASE_S * 1000)],
        )

    def end_lease(self, recorder: str) -> None:
        """Let the jobs of a recorder that is known to be dead be taken back at once."""
        self._connection.delete(self._lease_prefix + recorder)

    def take_back(self) -> dict[str, int]:
        """Put the jobs of recorders that no longer live back into the queue: how many, by recorder."""
        flat = cast(
            list[Any],
            self._take_back(
                keys=[self._queue_key, self._holders_key, self.deaths_key, self._reading_key],
                args=[self._taken_prefix, self._lease_prefix, self._recorder, _REMEMBER_DEATHS_S],
            ),
        )
        return {name.decode(): count for name, count in zip(flat[::2], flat[1::2], strict=True)}

    def leave(self) -> None:
        """Give back what is in hand and be no longer known as a recorder."""
        self.give_back()
        with self._connection.pipeline(transaction=False) as pipeline:
            pipeline.srem(self._holders_key, self._recorder)
            pipeline.delete(self._lease_prefix + self._recorder)
            pipeline.execute()

    def _take_waiting(self, most: int) -> list[TakenJob]:
        return _jobs(self._take(self._take_keys, self._take_args(most, 0)))

    @property
    def _take_keys(self) -> list[str]:
        return [self._queue_key, self.taken_key, WORKERS_SUSPENDED, self.deaths_key]

    @staticmethod
    def _take_args(most: int, known: int) -> list[str | int]:
        return [most, MAX_BATCH_BYTES, Job.redis_job_namespace_prefix, known]


def look_at(connection: Redis, queue: str) -> QueueState:
    """How a queue stands. Changes nothing."""
    key = Queue.redis_queue_namespace_prefix + queue
    with connection.pipeline(transaction=False) as pipeline:
        pipeline.llen(key)
        pipeline.zcard(FailedJobRegistry.key_template.format(queue))
        pipeline.lindex(key, 0)
        waiting, failed, first = pipeline.execute()
    enqueued_at = None
    if first is not None:
        with suppress(ResponseError):  # it is no hash
            said = connection.hget(Job.redis_job_namespace_prefix.encode() + first, "enqueued_at")
            enqueued_at = parse_timestamp((cast(bytes | None, said) or b"").decode("utf-8", "replace"))
    age_s = (datetime.now(UTC) - enqueued_at).total_seconds() if enqueued_at else 0.0
    return QueueState(waiting, failed, max(0.0, age_s))


def leases(connection: Redis, queue: str) -> dict[str, dict[str, Any]]:
    """The recorders of a queue that live, and the state that each gave when it last renewed its lease."""
    prefix = _prefix(queue)
    names = sorted(name.decode() for name in cast(set[bytes], connection.smembers(prefix + _HOLDERS)))
    if not names:
        return {}
    states = cast(list[bytes | None], connection.mget([f"{prefix}{_LEASE}{name}" for name in names]))
    return {name: json.loads(state) for name, state in zip(names, states, strict=True) if state}


def _prefix(queue: str) -> str:
    return f"{RQ_KEY_PREFIX}:recorder:{queue}"


def _jobs(flat: list[Any]) -> list[TakenJob]:
    """What the script that takes has returned. Raises `SuspendedError`."""
    if flat == [b"suspended"]:
        raise SuspendedError
    return [
        TakenJob(job_id.decode("utf-8", "surrogateescape"), _hash(fields), deaths)
        for job_id, fields, deaths in zip(flat[::3], flat[1::3], flat[2::3], strict=True)
    ]


def _hash(flat: list[bytes] | dict[bytes, bytes]) -> dict[bytes, bytes]:
    return flat if isinstance(flat, dict) else dict(zip(flat[::2], flat[1::2], strict=True))
