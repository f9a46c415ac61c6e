"""What `verify` shows of its result.

Names and contents may be anybody's: nothing is printed that a terminal could take for a command.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

from app.archive.audit import Result
from app.archive.findings import MEANINGS, REPAIRABLE, Findings, Kind
from app.store.printable import printable

_CHECKED = ("days", "recordings", "superseded", "quarantined")
_PACKED = ("archives", "snapshots")


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
        "checked": {what: findings.checked[what] for what in (*_CHECKED, *_PACKED)},
        "problems": problems,
        "repaired": result.repaired,
        "not_repaired": result.not_repaired,
        "seconds": round(seconds, 3),
    }
    return json.dumps(document, indent=2)


def _lines(folder: str, result: Result, seconds: float, repair: bool) -> Iterator[Text]:
    findings = result.findings
    packed = [what for what in _PACKED if what in findings.checked]
    shown = packed if packed and "days" not in findings.checked else [*_CHECKED, *packed]
    counts = ", ".join(f"{what} {findings.checked[what]:,}" for what in shown)
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
