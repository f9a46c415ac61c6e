"""How a program that has no registry in Redis says that it has finished a job: one more byte in a file.

That costs a microsecond and no round trip, whichever thread or process does it. Standard library only.
"""

from __future__ import annotations

import os
from functools import cache

VARIABLE = "BENCH_TICKS"


def tick(count: int = 1) -> None:
    """Say that so many more jobs are finished."""
    os.write(_file(os.getpid()), b"." * count)


@cache
def _file(pid: int) -> int:
    return os.open(os.environ[VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
