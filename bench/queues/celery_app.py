"""The bare file as a Celery task."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from celery.signals import worker_ready

from bench.queues.bare import write_file

app = Celery("bench", broker=os.environ["REDIS_URL"])


@app.task(ignore_result=True)
def record(data: dict[str, Any]) -> None:
    """Write one result."""
    write_file(data)


@worker_ready.connect
def _say_ready(**_: Any) -> None:
    print("ready", flush=True)


def send(data: dict[str, Any]) -> None:
    """Enqueue one result."""
    record.delay(data)
