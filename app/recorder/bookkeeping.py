"""RQ's bookkeeping of finished jobs, a whole batch in one step, left as RQ's own worker leaves it: but for the payload,
whose memory is given back (see receipt).

This covers jobs that only ask to be run. A job that uses more of RQ is given back to the caller, for RQ's own path.
Verified against RQ 3.0; the tests compare every key and field with those of a stock worker.
"""

from __future__ import annotations

import json
import pickle
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Any, cast
from uuid import uuid4

from redis import Redis
from rq.defaults import RQ_KEY_PREFIX
from rq.job import JobStatus
from rq.registry import FinishedJobRegistry
from rq.results import Result
from rq.utils import current_timestamp, utcformat

from app.recorder.intake import Intake, TakenJob
from app.recorder.line import Call
from app.recorder.receipt import receipt

_BEYOND_PLAIN = (b"success_callback_name", b"webhooks", b"repeats_left", b"rate_limit_key")
"""Fields that make RQ do more when a job succeeds."""

_ALWAYS_SAVED = (b"success_callback_name", b"failure_callback_name", b"stopped_callback_name", b"group_id")
"""Fields that RQ 3 writes for every job, and an older client's job may lack."""

_MOST_TTL_S = 10**10
"""Longest time to live, some 300 years; Redis refuses what overflows its clock."""

_FINISH = """
-- KEYS: worker, taken, finished registry, deaths
-- ARGV: key prefix, status, type of result, worker name, seconds worked, now, names of fields to complete (as JSON),
--       then for each job: id, result_ttl, started_at, ended_at, execution id, its start, its end, return value,
--       whether fields must be completed, whether it belongs to a group, its receipt, and of the payload that was
--       recorded: when it was enqueued, and its length
redis.call('PERSIST', KEYS[2])  -- see intake: work off a backlog that has filled Redis
local prefix, status, result_type, worker = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local outcomes, finished = {}, 0
local has_deaths = redis.call('EXISTS', KEYS[4]) == 1
local function finish(first)
    local id, ttl = ARGV[first], tonumber(ARGV[first + 1])
    local key = prefix .. ':job:' .. id
    local results = prefix .. ':results:' .. id
    local dependencies = prefix .. ':job::' .. id .. ':dependencies'
    local kind = redis.call('TYPE', key).ok
    if not redis.call('LPOS', KEYS[2], id) then
        return 0
    elseif kind == 'none' then
        redis.call('LREM', KEYS[2], 1, id)
        return 3
    elseif redis.call('EXISTS', key .. ':dependents') == 1 or (ttl == 0 and ARGV[first + 9] == '1') then
        return 2
    elseif ttl == 0 then
        redis.call('DEL', key, dependencies, results)
    else
        -- First what another's key of the wrong type can refuse; then nothing is left half done.
        local stream = redis.call('TYPE', results).ok
        if kind ~= 'hash' or (stream ~= 'none' and stream ~= 'stream') then return 2 end
        redis.call('HSET', key, 'status', status, 'started_at', ARGV[first + 2], 'ended_at', ARGV[first + 3],
                   'last_heartbeat', ARGV[first + 3], 'worker_name', worker)
        -- Its producer may have enqueued another payload under the same id meanwhile, which waits in the queue.
        if (redis.call('HGET', key, 'enqueued_at') or '') == ARGV[first + 11]
                and redis.call('HSTRLEN', key, 'data') == tonumber(ARGV[first + 12]) then
            redis.call('HSET', key, 'data', ARGV[first + 10])
        end
        if ARGV[first + 8] == '1' then
            for _, name in ipairs(cjson.decode(ARGV[7])) do redis.call('HSETNX', key, name, '') end
        end
        redis.call('XADD', results, 'MAXLEN', '~', 10, '*', 'type', result_type, 'worker_name', worker,
                   'return_value', ARGV[first + 7], 'execution_id', ARGV[first + 4],
                   'execution_started_at', ARGV[first + 5], 'execution_ended_at', ARGV[first + 6])
        if ttl > 0 then
            redis.call('EXPIRE', key, ttl)
            redis.call('EXPIRE', dependencies, ttl)
            redis.call('EXPIRE', results, ttl)
            redis.call('ZADD', KEYS[3], ARGV[6] + ttl, id)
        else
            redis.call('PERSIST', key)
            redis.call('PERSIST', results)
            redis.call('ZADD', KEYS[3], '+inf', id)
        end
    end
    redis.call('LREM', KEYS[2], 1, id)
    if has_deaths then redis.call('HDEL', KEYS[4], id) end
    finished = finished + 1
    return 1
end
for first = 8, #ARGV, 13 do outcomes[#outcomes + 1] = finish(first) end
if finished > 0 then
    redis.call('HINCRBY', KEYS[1], 'successful_job_count', finished)
    redis.call('HINCRBYFLOAT', KEYS[1], 'total_working_time', ARGV[5])
end
return outcomes
"""


class Acknowledged(IntEnum):
    """What became of a job's acknowledgement."""

    NOT_OURS = 0
    """Another recorder has taken the job over; it will acknowledge it."""
    FINISHED = 1
    NEEDS_RQ = 2
    """Another job depends on it, or a key of its own is not what RQ makes: RQ's own path decides. Still in hand."""
    GONE = 3
    """The job was deleted or expired in Redis meanwhile. No longer in hand."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A job whose result is on disk."""

    job: TakenJob
    return_value: dict[str, Any]
    json_serializer: bool
    """Whether the producer uses RQ's JSON serializer, and so expects its return value in JSON."""


def is_plain(job: TakenJob) -> bool:
    """Whether finishing a job takes no more of RQ than is done here."""
    return not any(job.fields.get(name) for name in _BEYOND_PLAIN)


class Bookkeeper:
    """Finishes jobs in the name of one worker."""

    def __init__(self, connection: Redis, queue: str, worker: str, worker_key: str, intake: Intake) -> None:
        self._line = intake.line
        self._worker = worker
        registry = FinishedJobRegistry(queue, connection=connection)
        self._keys = [worker_key, intake.taken_key, registry.key, intake.deaths_key]
        self._finish = connection.register_script(_FINISH)

    def begin_to_finish(
        self, jobs: Sequence[Finished], started_at: datetime, ended_at: datetime, default_ttl: int
    ) -> Call:
        """Have jobs marked finished that are still ours, all in one step; see `finished`."""
        worked_s = (ended_at - started_at).total_seconds()
        args: list[Any] = [
            RQ_KEY_PREFIX,
            JobStatus.FINISHED.value,
            Result.Type.SUCCESSFUL.value,
            self._worker,
            repr(worked_s),
            current_timestamp(),
            json.dumps([name.decode() for name in _ALWAYS_SAVED]),
        ]
        started, ended = utcformat(started_at), utcformat(ended_at)
        for finished in jobs:
            fields = finished.job.fields
            args += (
                finished.job.member,
                _whole(fields.get(b"result_ttl"), default_ttl),
                started,
                ended,
                uuid4().hex,
                started_at.timestamp(),
                ended_at.timestamp(),
                _serialized(finished),
                int(any(name not in fields for name in _ALWAYS_SAVED)),
                int(bool(fields.get(b"group_id"))),
                receipt(finished.return_value["output_file"], json_serializer=finished.json_serializer),
                fields.get(b"enqueued_at", b""),
                len(finished.job.data),
            )
        return self._line.call(self._finish, self._keys, args)

    def finished(self, call: Call) -> list[Acknowledged]:
        """What became of each of these jobs. Raises redis-py's errors; then all of it may be repeated."""
        return [Acknowledged(outcome) for outcome in cast(list[int], self._line.answer(call))]


def _serialized(finished: Finished) -> bytes:
    value = finished.return_value
    if finished.json_serializer:
        return b64encode(json.dumps(value).encode())
    return b64encode(pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL))


def _whole(value: bytes | None, default: int) -> int:
    try:
        return max(-1, min(int(value), _MOST_TTL_S)) if value else default
    except ValueError:
        return default
