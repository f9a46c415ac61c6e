"""Who is measured, as data: how each is started, what its jobs are, and how one sees that they are finished."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from enum import StrEnum

from app.recorder.client import QUEUE
from bench.floors import LEVELS
from bench.workload import BARE, QUEUE_KEY, RECORDER, RECORDER_JSON, TEXTBOOK, TEXTBOOK_COUNTER, Packing


class Family(StrEnum):
    """What kind of contender one is."""

    RECORDER = "this recorder"
    FLOOR = "floor"
    QUEUE = "task queue, bare file"
    TEXTBOOK = "textbook"


class Pace(StrEnum):
    """How many jobs one is given, so that a run ends in time."""

    FAST = "fast"
    SLOW = "slow"
    STOCK = "stock"


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to record results."""

    name: str
    family: Family
    title: str
    arguments: tuple[str, ...]
    """What Python is started with; ``{url}`` is the Redis."""
    ready: str
    """What its log says once it waits for jobs."""
    packing: Packing | None = None
    """How its jobs are packed by RQ; None if it has a client of its own."""
    workers: int = 1
    pace: Pace = Pace.FAST
    has_registry: bool = False
    """Whether finished jobs are in RQ's registry; otherwise it ticks."""
    client: str = ""
    """The module that sends to a queue which isn't RQ's."""
    queue_key: str = QUEUE_KEY
    """The list that its worker takes jobs from."""


def _recorder(
    name: str, title: str, module: str = "app.recorder", packing: Packing = RECORDER, workers: int = 1
) -> Contender:
    arguments = ("-m", module)
    return Contender(name, Family.RECORDER, title, arguments, "ready", packing, workers, has_registry=True)


def _floor(name: str, title: str, *arguments: str) -> Contender:
    return Contender(f"floor-{name}", Family.FLOOR, title, ("-m", "bench.floors", *arguments), "ready", RECORDER)


def _rq(name: str, family: Family, title: str, packing: Packing, pace: Pace, *options: str) -> Contender:
    arguments = ("-m", "rq.cli", "worker", "--url", "{url}", *options, QUEUE)
    return Contender(name, family, title, arguments, "Listening on", packing, pace=pace, has_registry=True)


def _other(name: str, title: str, arguments: tuple[str, ...], ready: str, queue_key: str) -> Contender:
    client = f"bench.queues.{name}_app"
    return Contender(name, Family.QUEUE, title, ("-m", *arguments), ready, client=client, queue_key=queue_key)


_SIMPLE = ("--worker-class", "rq.worker.SimpleWorker")

CONTENDERS = (
    _recorder("recorder", "one process"),
    _recorder("recorder-x2", "two processes", workers=2),
    _recorder("recorder-quiet", "one process, no metrics, no log", "bench.quiet"),
    _recorder("recorder-unsynced", "one process, fsync off", "bench.unsynced"),
    _recorder("recorder-json", "one process, RQ's JSON serializer", packing=RECORDER_JSON),
    *(
        _floor(
            level,
            ("" if level == "fetch" else "+ ") + {"sync": "fsync", "write": "write, rename"}.get(level, level),
            level,
        )
        for level in LEVELS
    ),
    _floor("zlib", "all of it, with zlib instead of ISA-L", "sync", "zlib"),
    _rq("stock", Family.TEXTBOOK, "stock RQ worker (forks)", TEXTBOOK, Pace.STOCK),
    _rq("stock-counter", Family.TEXTBOOK, "the same, counting jobs", TEXTBOOK_COUNTER, Pace.STOCK),
    _rq("simple", Family.TEXTBOOK, "RQ SimpleWorker", TEXTBOOK, Pace.SLOW, *_SIMPLE),
    _rq("simple-bare", Family.QUEUE, "RQ SimpleWorker", BARE, Pace.SLOW, *_SIMPLE),
)

OTHER_QUEUES = (
    _other(
        "huey",
        "Huey, one thread",
        ("huey.bin.huey_consumer", "bench.queues.huey_app.huey", "-w", "1"),
        "Huey consumer started",
        "huey.redis.bench",
    ),
    _other(
        "dramatiq",
        "Dramatiq, 8 threads",
        ("dramatiq", "bench.queues.dramatiq_app", "--processes", "1", "--threads", "8"),
        "Worker process is ready for action",
        "dramatiq:default",
    ),
    _other(
        "celery",
        "Celery, solo pool",
        ("celery", "-A", "bench.queues.celery_app", "worker", "--pool", "solo"),
        "ready",
        "celery",
    ),
)


def command(contender: Contender, url: str, python: str = sys.executable) -> list[str]:
    """How one of its workers is started."""
    return [python, "-P", *(argument.format(url=url) for argument in contender.arguments)]
