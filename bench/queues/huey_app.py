"""The bare file as a Huey task."""

from __future__ import annotations

import os
from typing import Any

from huey import RedisHuey

from bench.queues.bare import write_file

huey = RedisHuey("bench", url=os.environ["REDIS_URL"])


@huey.task()
def record(data: dict[str, Any]) -> None:
    """Write one result."""
    write_file(data)


def send(data: dict[str, Any]) -> None:
    """Enqueue one result."""
    record(data)
