"""The bare file as a Dramatiq actor."""

from __future__ import annotations

import os
from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from bench.queues.bare import write_file

dramatiq.set_broker(RedisBroker(url=os.environ["REDIS_URL"]))


@dramatiq.actor
def record(data: dict[str, Any]) -> None:
    """Write one result."""
    write_file(data)


def send(data: dict[str, Any]) -> None:
    """Enqueue one result."""
    record.send(data)
