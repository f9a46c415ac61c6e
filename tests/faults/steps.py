"""Ending a process before any step that it takes on the disk, or having the disk refuse from there on."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from itertools import count
from multiprocessing.connection import Connection
from typing import Any

from app.store.errors import RecorderError
from tests.forks import FORKS

STEPS = ("open", "write", "fsync", "link", "replace", "rename", "unlink", "mkdir", "rmdir", "symlink", "utime")

_REFUSED = ("write", "fsync", "link", "replace", "rename", "mkdir", "symlink")
"""What a full or failing disk refuses; it still lets go of files."""

_OUR_ERROR = 70

Action = Callable[..., Any]


def count_steps(action: Action, *arguments: Any) -> int:
    """How many steps an action takes, which is done by that."""
    receiver, sender = FORKS.Pipe(duplex=False)
    process = FORKS.Process(target=_run, args=(0, action, arguments, sender))
    process.start()
    sender.close()  # so that a child that dies is an error and no silence
    steps = receiver.recv()
    process.join()
    return int(steps)


def killed_before(step: int, action: Action, *arguments: Any) -> bool:
    """Do an action in a process of its own that is killed before such a step; False if it took fewer.

    The action must not raise.
    """
    process = FORKS.Process(target=_run, args=(step, action, arguments))
    process.start()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL), f"exit code {process.exitcode}"
    return process.exitcode != 0


def refused_from(step: int, code: int, action: Action, *arguments: Any) -> bool:
    """Do an action in a process of its own to which, from a step on, the disk says nothing but `code`.

    Returns whether it ended with one of our errors, which it must if a step of its own was refused.
    """
    process = FORKS.Process(target=_run, args=(step, action, arguments, None, code))
    process.start()
    process.join()
    assert process.exitcode in (0, _OUR_ERROR), f"exit code {process.exitcode}"
    return process.exitcode == _OUR_ERROR


def _run(
    step: int, action: Action, arguments: tuple[Any, ...], counted: Connection | None = None, code: int = 0
) -> None:
    numbers = count(1)

    def watched(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            number = next(numbers)
            if code and number >= step > 0 and name in _REFUSED:
                raise OSError(code, os.strerror(code))
            if not code and number == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **options)

        return call

    for name in STEPS:
        setattr(os, name, watched(name, getattr(os, name)))
    try:
        action(*arguments)
    except RecorderError:
        os._exit(_OUR_ERROR)
    if counted is not None:
        counted.send(next(numbers) - 1)
