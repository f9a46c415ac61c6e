"""What is recorded: real results or generated ones, each made distinct and all of one day, packed once by RQ."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from statistics import mean
from typing import Any, cast

import orjson
from redis import Redis
from rq import Queue
from rq.serializers import DefaultSerializer, JSONSerializer

from app.bouy.demo import load_recordings, recordings
from app.bouy.generator import generate_results
from app.recorder.client import QUEUE
from app.recorder.decode import RECORD_FUNCTION
from app.store.errors import UsageError

QUEUE_KEY = f"rq:queue:{QUEUE}"
DAY = "2025-08-08"
"""The day that every result is of, so that all come into one folder."""

MOST = 2_737
"""As many distinct results as a real day had."""

_LAST_SECOND = datetime.fromisoformat(DAY).replace(hour=23, minute=59, tzinfo=UTC)
_SEED = 20250808
_PIPELINE = 200


@dataclass(frozen=True, slots=True)
class Packing:
    """How a producer packs a result: the function that the job names, and RQ's serializer."""

    function: str
    serializer: Any = DefaultSerializer


RECORDER = Packing(RECORD_FUNCTION)
RECORDER_JSON = Packing(RECORD_FUNCTION, JSONSerializer)
TEXTBOOK = Packing("bench.textbook.record")
TEXTBOOK_COUNTER = Packing("bench.textbook_counter.record")
BARE = Packing("bench.queues.bare.write_file")


@dataclass(frozen=True, slots=True)
class PackedJob:
    """An RQ job as its producer leaves it in Redis."""

    id: str
    fields: dict[bytes, bytes]

    @property
    def key(self) -> str:
        """The key of its hash."""
        return f"rq:job:{self.id}"


class Workload:
    """Any number of distinct results, made of a few thousand."""

    def __init__(self, results: Sequence[dict[str, Any]], source: str) -> None:
        self.source = source
        self.distinct = len(results)
        self._results = results
        self._packed: dict[Packing, list[PackedJob | None]] = {}
        self.mean_bytes = mean(len(orjson.dumps(result, option=orjson.OPT_INDENT_2)) for result in results)

    def results(self, start: int, count: int) -> list[dict[str, Any]]:
        """Results by their number; each number has its own job_id."""
        return [self._result(number) for number in range(start, start + count)]

    def packed(self, packing: Packing, start: int, count: int, connection: Redis) -> list[PackedJob]:
        """The same, as RQ jobs. Redis, which packs them, is empty before and after."""
        known = self._packed.setdefault(packing, [])
        known += [None] * (start + count - len(known))
        for number in range(start, start + count):
            if known[number] is None:
                known[number] = _pack(packing, self._result(number), connection)
        connection.flushall()
        return cast(list[PackedJob], known[start : start + count])

    def _result(self, number: int) -> dict[str, Any]:
        result = self._results[number % self.distinct]
        job_id, created_at = f"job-{number:06}", f"{DAY}{str(result['job'].get('created_at'))[10:] or 'T00:00:00'}"
        return {**result, "job_id": job_id, "job": {**result["job"], "id": job_id, "created_at": created_at}}


def load_workload(folder: Path | None, most: int = MOST) -> Workload:
    """The recordings in a folder, or generated results, at most so many. Raises `UsageError` when there are none."""
    if folder is None:
        generated = generate_results(most, _SEED, _LAST_SECOND)
        return Workload([result for result in generated if "job_id" in result], "generated")
    found = load_recordings(recordings(folder), skip=lambda _: None)
    usable = (result for result in found if isinstance(result["job"], dict) and "job_id" in result)
    results = list(islice(usable, most))
    if not results:
        raise UsageError("none of its files is a recording", path=str(folder))
    return Workload(results, str(folder))


def put(connection: Redis, jobs: Iterable[PackedJob], list_key: str) -> None:
    """Leave jobs in Redis, their ids in the given list."""
    jobs = list(jobs)
    for first in range(0, len(jobs), _PIPELINE):
        with connection.pipeline(transaction=False) as pipeline:
            for job in jobs[first : first + _PIPELINE]:
                pipeline.hset(job.key, mapping=cast(Any, job.fields))
                pipeline.rpush(list_key, job.id)
            pipeline.execute()


def _pack(packing: Packing, result: dict[str, Any], connection: Redis) -> PackedJob:
    queue = Queue(QUEUE, connection=connection, serializer=packing.serializer)
    job = queue.enqueue_call(packing.function, args=(result,), description=f"record the result of {result['job_id']}")
    fields = cast(dict[bytes, bytes], connection.hgetall(job.key))
    connection.delete(job.key)
    return PackedJob(job.id, fields)
