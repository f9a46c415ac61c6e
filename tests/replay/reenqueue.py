"""Enqueues a directory's recordings as a process of its own, to be killed: says "ready", then a line for each file.

With ``--die-before N`` or ``--die-after N`` it kills itself at its N-th transaction: before Redis has seen it, or when
Redis has done it and nobody here knows yet.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from typing import Any

from redis.client import Pipeline

from app.replay.enqueue import Target, connect, enqueue_recordings
from app.replay.plan import Item, Selection, directory_plan
from app.store.errors import RecorderError


def die_at(transaction: int, *, before: bool) -> None:
    execute: Any = Pipeline.execute
    seen = 0

    def dying(pipeline: Any, *arguments: Any, **named: Any) -> Any:
        nonlocal seen
        seen += 1
        if seen == transaction and before:
            os.kill(os.getpid(), signal.SIGKILL)
        answer = execute(pipeline, *arguments, **named)
        if seen == transaction:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    setattr(Pipeline, "execute", dying)  # noqa: B010 - mypy knows that one doesn't


def say(item: Item) -> None:
    print(item.path, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("redis_url")
    parser.add_argument("directory")
    parser.add_argument("--rate", type=float)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--die-before", type=int)
    parser.add_argument("--die-after", type=int)
    options = parser.parse_args()
    if number := options.die_before or options.die_after:
        die_at(number, before=bool(options.die_before))
    print("ready", flush=True)
    try:
        with connect(options.redis_url) as connection:
            plan = directory_plan(options.directory, Selection())
            target = Target("reconciler", "consumer.reconcile")
            enqueue_recordings(plan, connection, target, rate=options.rate, resume=options.resume, advance=say)
    except RecorderError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
