"""How fast results can be handed over: this recorder's client beside RQ's own, with nobody at work on the queue."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from redis import Redis
from rq import Queue

from app.recorder.client import QUEUE, enqueue_result, enqueue_results
from app.recorder.decode import RECORD_FUNCTION
from bench.figures import Spread
from bench.trial import Bench

Results = list[dict[str, Any]]


def _one_by_one(results: Results, connection: Redis) -> None:
    for result in results:
        enqueue_result(result, connection=connection)


def _in_bulk(results: Results, connection: Redis) -> None:
    list(enqueue_results(results, connection=connection))


def _enqueue_call(results: Results, connection: Redis) -> None:
    queue = Queue(QUEUE, connection=connection)
    for result in results:
        queue.enqueue_call(RECORD_FUNCTION, args=(result,))


def _enqueue_many(results: Results, connection: Redis) -> None:
    queue = Queue(QUEUE, connection=connection)
    queue.enqueue_many([Queue.prepare_data(RECORD_FUNCTION, args=(result,)) for result in results])


PRODUCERS: dict[str, Callable[[Results, Redis], None]] = {
    "enqueue_result": _one_by_one,
    "enqueue_results": _in_bulk,
    "RQ enqueue_call": _enqueue_call,
    "RQ enqueue_many": _enqueue_many,
}


def measure_producers(bench: Bench, count: int, runs: int) -> dict[str, Spread]:
    """Jobs enqueued a second, by each producer."""
    results = bench.workload.results(0, count)
    rates: dict[str, list[float]] = {name: [] for name in PRODUCERS}
    for _ in range(runs):
        for name, produce in PRODUCERS.items():
            bench.lab.connection.flushall()
            begun_at = time.perf_counter()
            produce(results, bench.lab.connection)
            rates[name].append(count / (time.perf_counter() - begun_at))
    return {name: Spread.of(values) for name, values in rates.items()}
