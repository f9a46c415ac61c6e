"""What a replay shows: its report as tables or as JSON, and files by name where that is asked for.

Names and contents may be anybody's: nothing is printed that a terminal could take for a command.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

from app.replay.run import Report
from app.replay.workers import Chunk
from app.store.printable import printable

_DAMAGED_SHOWN = 20


def say(text: str) -> None:
    """A line on standard error."""
    print(f"replay: {printable(text)}", file=sys.stderr, flush=True)


def say_files(chunk: Chunk, stream: TextIO) -> None:
    """Each file of a chunk, and what it was found to be."""
    files: list[tuple[str, str, str | None]] = [("unreadable", one.path, one.reason) for one in chunk.refused]
    files += [("unchanged", one.path, one.reason) for one in chunk.known]
    files += [("rejected" if one.reason else "accepted", one.path, one.reason) for one in chunk.prepared]
    for what, path, reason in files:
        print(printable(f"{what}: {path}: {reason}" if reason else f"{what}: {path}"), file=stream)


def report_lines(report: Report, *, dry_run: bool) -> Iterator[str]:
    """The report for a reader."""
    would = "would be " if dry_run else ""
    loaded = report.loaded
    rate = f", {report.found / report.seconds:,.0f} files/s" if report.seconds else ""
    if dry_run:
        yield "dry run: all of this was done, and taken back"
    if report.migrations:
        yield f"schema {would}made or brought up to date: {', '.join(report.migrations)}"
    yield f"{report.found:,} files found in {report.seconds:.1f} s{rate}"
    yield f"  {loaded.accepted - loaded.superseded:>9,}  {would}loaded"
    yield f"  {loaded.superseded:>9,}  superseded: a later recording of the same source is there"
    yield f"  {report.unchanged:>9,}  unchanged: replayed before"
    yield f"  {report.rejected.total():>9,}  rejected"
    yield from (f"  {count:>11,}  {reason}" for reason, count in report.rejected.most_common())
    if loaded.replaced > 0:
        yield f"they {'would ' if dry_run else ''}replace {loaded.replaced:,} recordings of earlier replays"
    yield ""
    yield from _rows(report)
    yield from _damaged(report)


def _rows(report: Report) -> Iterator[str]:
    counts = report.loaded.rows
    total = {what: sum(rows[what] for rows in counts.values()) for what in ("inserted", "updated", "deleted")}
    if not any(total.values()):
        yield "no row changed"
        return
    table = [(name, *(rows[what] for what in total)) for name, rows in counts.items() if any(rows.values())]
    cells: list[Sequence[Any]] = [("TABLE", "INSERTED", "UPDATED", "DELETED"), *table, ("all", *total.values())]
    for name, *numbers in cells:
        yield f"{name:<24}" + "".join(f"{n:>10,}" if isinstance(n, int) else f"{n:>10}" for n in numbers)


def _damaged(report: Report) -> Iterator[str]:
    if report.damaged:
        yield ""
        yield f"{report.damaged:,} files are damaged or can't be read:"
        yield from (
            f"  {printable(path)}: {printable(reason)}" for path, reason in report.damaged_files[:_DAMAGED_SHOWN]
        )
        if (more := report.damaged - min(len(report.damaged_files), _DAMAGED_SHOWN)) > 0:
            yield f"  and {more:,} more"
    if refused := report.loaded.refused:
        yield ""
        yield f"{len(refused):,} recordings have a value that the database refuses; only job_result has them:"
        yield from (f"  {printable(path)}: {printable(why)}" for path, why in refused[:_DAMAGED_SHOWN])
        if (more := len(refused) - _DAMAGED_SHOWN) > 0:
            yield f"  and {more:,} more"


def report_document(report: Report, database: str, *, dry_run: bool) -> str:
    """The report as one JSON document."""
    loaded = report.loaded
    document = {
        "database": database,
        "dry_run": dry_run,
        "found": report.found,
        "loaded": loaded.accepted - loaded.superseded,
        "superseded": loaded.superseded,
        "replaced": loaded.replaced,
        "unchanged": report.unchanged,
        "rejected": dict(report.rejected.most_common()),
        "rows": {table: dict(counts) for table, counts in loaded.rows.items()},
        "damaged": report.damaged,
        "damaged_files": [{"path": path, "reason": reason} for path, reason in report.damaged_files],
        "refused_by_database": [{"path": path, "reason": why} for path, why in loaded.refused],
        "migrations": report.migrations,
        "seconds": round(report.seconds, 3),
    }
    return json.dumps(document, indent=2)
