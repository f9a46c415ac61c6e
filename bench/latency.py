"""How long a result takes from its producer to where it is kept.

Measured from before the producer sends a job (packed already) until XREAD BLOCK, waiting on the job's stream of
results, returns: RQ adds to it when the job is finished, which for this recorder means durable, and for the textbook
does not. Idle: one job at a time. Half load: a steady stream at half of what the contender can do, of which a sample
is watched.
"""

from __future__ import annotations

import time
from pathlib import Path
from threading import Thread
from typing import Any

from redis import Redis

from app.store.errors import RecorderError
from bench.contenders import Contender
from bench.figures import Latency
from bench.trial import Bench
from bench.workload import QUEUE_KEY, PackedJob, put

_PAUSE_S = 0.02
"""Between two jobs on an idle queue, so that the contender has nothing left to do."""

_TIMEOUT_S = 30
_SAMPLES = 500


def idle(bench: Bench, contender: Contender, output_dir: Path, count: int) -> Latency:
    """The latency of so many jobs, one at a time."""
    connection = bench.lab.connection
    seconds = []
    jobs = _packed(bench, contender, count + 1)
    with bench.running(contender, output_dir):
        for job in jobs:
            sent_at = time.perf_counter()
            put(connection, [job], QUEUE_KEY)
            _await_finished(connection, job)
            seconds.append(time.perf_counter() - sent_at)
            time.sleep(_PAUSE_S)
    return Latency.of(seconds[1:])  # the first one finds a contender that has just started


def half_load(bench: Bench, contender: Contender, output_dir: Path, count: int, rate_per_s: float) -> Latency:
    """The latency within a steady stream of so many jobs."""
    connection = bench.lab.connection
    jobs = _packed(bench, contender, count)
    sent_at = [0.0] * count
    seconds = []

    def send() -> None:
        begun_at = time.perf_counter()
        for number, job in enumerate(jobs):
            time.sleep(max(0.0, begun_at + number / rate_per_s - time.perf_counter()))
            sent_at[number] = time.perf_counter()
            put(connection, [job], QUEUE_KEY)

    with bench.running(contender, output_dir):
        producer = Thread(target=send, daemon=True)
        producer.start()
        for number in range(0, count, max(1, count // _SAMPLES)):
            _await_finished(connection, jobs[number])
            seconds.append(time.perf_counter() - sent_at[number])
        producer.join()
        _await_finished(connection, jobs[-1])
    return Latency.of(seconds, rate_per_s)


def _packed(bench: Bench, contender: Contender, count: int) -> list[PackedJob]:
    if contender.packing is None:
        raise ValueError(f"{contender.name} has no jobs of RQ")
    bench.lab.connection.flushall()
    return bench.workload.packed(contender.packing, 0, count, bench.lab.connection)


def _await_finished(connection: Redis, job: PackedJob) -> None:
    streams: dict[Any, Any] = {f"rq:results:{job.id}": "0"}
    if not connection.xread(streams, count=1, block=_TIMEOUT_S * 1000):
        raise RecorderError(f"a job wasn't finished within {_TIMEOUT_S} s")
