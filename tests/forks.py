"""Our programs as processes of their own, forked from one that has loaded them: as if started anew, but at once."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    ["__main__", "app.archive.cli", "app.bouy.cli", "tests.faults.fleet", "tests.faults.steps"]
)


def start_forked(
    main: Callable[[], int],
    arguments: Sequence[str],
    environ: Mapping[str, str],
    *,
    stderr: Path,
    stdout: Path | None = None,
) -> ForkServerProcess:
    """A process that calls `main` with these arguments and in this environment, and ends with its exit code."""
    process = FORKS.Process(target=_live, args=(main, list(arguments), dict(environ), stdout, stderr))
    process.start()
    return process


def _live(
    main: Callable[[], int], arguments: list[str], environ: dict[str, str], stdout: Path | None, stderr: Path
) -> None:
    os.environ.clear()
    os.environ.update(environ)
    for number, path in ((1, stdout), (2, stderr)):
        if path is not None:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.dup2(handle, number)
            os.close(handle)
    sys.argv = ["program", *arguments]
    raise SystemExit(main())
