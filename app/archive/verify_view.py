"""What `verify` shows: its progress on standard error, its report on standard output.

Names and contents may be anybody's: nothing is printed that a terminal could take for a command.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.text import Text

from app.archive.audit import Result
from app.archive.findings import MEANINGS, REPAIRABLE, Findings, Kind

_LINE_INTERVAL_S = 5.0
_BAR_INTERVAL_S = 0.1
_CHECKED = ("days", "recordings", "superseded", "quarantined")


class Progress:
    """How many files were looked at, and how fast: a bar on a terminal, a line every few seconds elsewhere."""

    def __init__(self, *, silent: bool) -> None:
        self._silent = silent
        self._done = 0
        self._total = 0
        self._started = self._said_at = time.monotonic()
        console = Console(stderr=True)
        columns = (TextColumn("verifying"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
        self._bar = Bar(*columns, TimeElapsedColumn(), console=console, transient=True, disable=not console.is_terminal)
        self._interval_s = _LINE_INTERVAL_S if self._bar.disable else _BAR_INTERVAL_S
        self._task = self._bar.add_task("verifying", total=None, rate="")

    def __enter__(self) -> Self:
        if not self._silent:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def expect(self, total: int) -> None:
        """About so many files there are."""
        self._total = total
        self._bar.update(self._task, total=total)

    def advance(self) -> None:
        """One more is done."""
        self._done += 1
        if time.monotonic() - self._said_at >= self._interval_s and not self._silent:
            self._say()

    def _say(self) -> None:
        self._said_at = time.monotonic()
        rate = f"{self._done / (self._said_at - self._started):,.0f} files/s"
        total = max(self._total, self._done)
        if self._bar.disable:
            print(f"verifying: {self._done:,} of {total:,} files, {rate}", file=sys.stderr, flush=True)
        else:
            self._bar.update(self._task, completed=self._done, total=total, rate=rate)


def say_report(folder: str, result: Result, seconds: float, *, repair: bool) -> None:
    """The report for a reader."""
    console = Console(highlight=False, soft_wrap=True)
    for line in _lines(folder, result, seconds, repair):
        console.print(line)


def report_document(folder: str, result: Result, seconds: float) -> str:
    """The report as one JSON document."""
    findings = result.findings
    problems = {
        kind.value: {
            "count": findings.problems[kind],
            "examples": [example._asdict() for example in findings.examples.get(kind, [])],
        }
        for kind in Kind
        if findings.problems[kind]
    }
    document = {
        "output_dir": folder,
        "holds": result.holds,
        "checked": {what: findings.checked[what] for what in _CHECKED},
        "problems": problems,
        "repaired": result.repaired,
        "not_repaired": result.not_repaired,
        "seconds": round(seconds, 3),
    }
    return json.dumps(document, indent=2)


def _lines(folder: str, result: Result, seconds: float, repair: bool) -> Iterator[Text]:
    findings = result.findings
    counts = ", ".join(f"{what} {findings.checked[what]:,}" for what in _CHECKED)
    yield Text(f"{printable(folder)}: {counts}; checked in {seconds:.1f} s")
    yield from (Text(f"repaired: {printable(what)}") for what in result.repaired)
    yield from (Text(f"not repaired: {printable(why)}") for why in result.not_repaired)
    if result.holds:
        yield Text("all holds" if findings.checked.total() else "nothing is recorded here", style="green")
    elif findings.problems:
        yield Text("")
        yield from _table(findings)
        for kind in Kind:
            yield from _examples(kind, findings)
        yield from _advice(result, repair)


def _table(findings: Findings) -> Iterator[Text]:
    rows = [(kind.value, f"{findings.problems[kind]:,}", MEANINGS[kind]) for kind in Kind if findings.problems[kind]]
    header = ("PROBLEM", "COUNT", "WHAT IT COUNTS")
    width, digits = (max(len(row[column]) for row in [header, *rows]) for column in (0, 1))
    for number, (kind, count, meaning) in enumerate([header, *rows]):
        yield Text(f"{kind:{width}}  {count:>{digits}}  {meaning}", style="" if number else "bold")


def _examples(kind: Kind, findings: Findings) -> Iterator[Text]:
    examples = findings.examples.get(kind)
    if examples:
        yield Text("")
        yield Text(kind.value, style="bold")
        yield from (Text(f"  {printable(path)}: {printable(detail)}") for path, detail in examples)
        if (more := findings.problems[kind] - len(examples)) > 0:
            yield Text(f"  and {more:,} more")


def _advice(result: Result, repair: bool) -> Iterator[Text]:
    yield Text("")
    if not repair and result.findings.problems.keys() & (REPAIRABLE | {Kind.LATEST_WRONG}):
        yield Text("--repair makes summaries and latest true to the files that there are")
        if gone := result.findings.problems[Kind.MISSING_FILE]:
            yield Text(
                f"it takes {gone:,} jobs without a file off their summaries: keep a copy of those if they matter"
            )
    yield Text("docs/verify.md says what to do about each")


def printable(text: str) -> str:
    """A text without what a terminal could take for a command, or what no encoding knows: those as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
