"""How far a long command is, on standard error: a bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

_LINE_INTERVAL_S = 5.0
_BAR_INTERVAL_S = 0.1


class Progress:
    """How many units (such as files) are done, how fast, and how long the rest will take."""

    def __init__(self, doing: str, unit: str = "files", *, silent: bool) -> None:
        self._doing = doing
        self._unit = unit
        self._silent = silent
        self._done = 0
        self._total = 0
        self._started = self._said_at = time.monotonic()
        console = Console(stderr=True)
        columns = (TextColumn(doing), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
        times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
        self._bar = Bar(*columns, *times, console=console, transient=True, disable=not console.is_terminal)
        self._interval_s = _LINE_INTERVAL_S if self._bar.disable else _BAR_INTERVAL_S
        self._task = self._bar.add_task(doing, total=None, rate="")

    def __enter__(self) -> Self:
        if not self._silent:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def expect(self, total: int) -> None:
        """About so many units there are."""
        self._total = total
        self._bar.update(self._task, total=total)

    def advance(self, count: int = 1) -> None:
        """So many more are done."""
        self._done += count
        if time.monotonic() - self._said_at >= self._interval_s and not self._silent:
            self._say()

    def _say(self) -> None:
        self._said_at = time.monotonic()
        rate = f"{self._done / (self._said_at - self._started):,.0f} {self._unit}/s"
        total = max(self._total, self._done)
        if self._bar.disable:
            of = f" of {total:,}" if self._total else ""
            print(f"{self._doing}: {self._done:,}{of} {self._unit}, {rate}", file=sys.stderr, flush=True)
        else:
            self._bar.update(self._task, completed=self._done, total=total if self._total else None, rate=rate)
