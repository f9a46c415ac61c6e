"""What archive, clean, backup and restore show of their results."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from app.archive.archiving import Action, Archived
from app.archive.backup import BackedUp
from app.archive.clean import Step
from app.archive.drill import Drill
from app.archive.restore import Restored
from app.archive.restore import Step as RestoreStep
from app.store.printable import printable

_UNITS = ("bytes", "KB", "MB", "GB", "TB")


def say(*lines: str) -> None:
    """Lines for a reader; what names hold can't command a terminal."""
    console = Console(highlight=False, soft_wrap=True)
    for line in lines:
        console.print(Text(printable(line)))


def document(value: Any) -> None:
    """The command's one JSON document."""
    print(json.dumps(value, indent=2))


def days(count: int) -> str:
    """A number of days in words."""
    return f"{count:,} day" + ("s" if count != 1 else "")


def size(count: int) -> str:
    """A number of bytes as a person reads it: 1.4 MB."""
    number, unit = float(count), 0
    while number >= 1000 and unit < len(_UNITS) - 1:
        number, unit = number / 1000, unit + 1
    return f"{number:.1f} {_UNITS[unit]}" if unit else f"{count} bytes"


def say_archived(outcome: Archived) -> None:
    """One day of `archive`."""
    detail = outcome.reason
    if outcome.action in (Action.ARCHIVED, Action.ARCHIVED_ANEW):
        detail = f"{outcome.files:,} files, {size(outcome.unpacked)} in {size(outcome.size)}: {outcome.name}"
    if outcome.action is not Action.UNCHANGED:
        say(f"{outcome.date} {outcome.action}: {detail}")


def say_archived_in_all(outcomes: Sequence[Archived], folder: str) -> None:
    """The sum of `archive`."""
    counts = Counter(outcome.action for outcome in outcomes)
    said = ", ".join(f"{counts[action]:,} {action}" for action in Action if counts[action])
    say(f"{folder}: {said}" if said else f"{folder}: no closed day to archive")


def archived_document(outcomes: Iterable[Archived], folder: str) -> dict[str, Any]:
    """The same as data."""
    days = [
        {
            "date": one.date,
            "action": one.action.value,
            "archive": one.name,
            "bytes": one.size or None,
            "reason": one.reason or None,
        }
        for one in outcomes
    ]
    return {"archive_dir": folder, "days": days}


def say_plan(steps: Iterable[Step], *, keep_summaries: bool) -> None:
    """What `clean` is about to do, and why."""
    rows = [("DATE", "PLAN", "FILES", "SIZE", "WHY")]
    for step in steps:
        remove = step.decision.remove
        what = ("keep its summary only" if keep_summaries else "remove") if remove else "keep"
        known = remove or step.refused
        figures = (f"{step.files:,}", size(step.size)) if known else ("", "")
        where = f"; it is in {step.proof.where}" if remove and step.proof and step.proof.where else ""
        rows.append((step.date, what, *figures, step.decision.reason + where))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    say(*("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows))


def plan_document(steps: Iterable[Step]) -> list[dict[str, Any]]:
    """The same as data."""
    return [
        {
            "date": step.date,
            "remove": step.decision.remove,
            "reason": step.decision.reason,
            "refused": step.refused,
            "files": step.files,
            "bytes": step.size,
            "proven_in": (step.proof and step.proof.where) or None,
        }
        for step in steps
    ]


def say_backed_up(result: BackedUp, folder: str, seconds: float) -> None:
    """The result of `backup`."""
    snapshot = result.snapshot
    database = "with the database" if snapshot.database else "without a database"
    say(
        f"{folder}: snapshot {snapshot.name}, {days(len(snapshot.days))}, {len(snapshot.archives):,} archives, "
        f"{database}; {result.written:,} packs written, {result.unchanged:,} unchanged, {seconds:.1f} s",
        *(f"problem: {problem}" for problem in result.problems),
    )


def backed_up_document(result: BackedUp, folder: str, seconds: float) -> dict[str, Any]:
    """The same as data."""
    snapshot = result.snapshot
    return {
        "backup": folder,
        "snapshot": snapshot.name,
        "days": len(snapshot.days),
        "archives": len(snapshot.archives),
        "database": snapshot.database is not None,
        "written": result.written,
        "unchanged": result.unchanged,
        "problems": result.problems,
        "seconds": round(seconds, 3),
    }


def say_restore_plan(steps: Iterable[RestoreStep]) -> None:
    """What `restore` would do."""
    say(*(f"{step.folder}: {step.files:,} files, {size(step.size)}" for step in steps))


def say_restored(result: Restored, folder: str, seconds: float) -> None:
    """What `restore` has done."""
    placed = ", ".join(f"{kind} {count:,}" for kind, count in result.placed.items()) or "nothing"
    say(f"{folder}: restored {placed}; {result.present:,} were there already; {seconds:.1f} s")
    if result.database:
        say(f"database: {result.database}")
    if result.differing:
        say(
            f"{len(result.differing):,} differ from what is there, which stays:",
            *(f"  {path}" for path in result.differing[:10]),
        )


def restored_document(result: Restored, folder: str, seconds: float) -> dict[str, Any]:
    """The same as data."""
    return {
        "output_dir": folder,
        "restored": result.placed,
        "present": result.present,
        "differing": result.differing,
        "database": result.database,
        "seconds": round(seconds, 3),
    }


def say_drill(drill: Drill) -> None:
    """How a drill went."""
    parts = ", ".join(f"{part} {seconds:.1f} s" for part, seconds in drill.seconds.items())
    say(f"{drill.files:,} files came back; {parts}; {sum(drill.seconds.values()):.1f} s in all")
    if drill.from_files is not None:
        same = "the same" if drill.live == drill.from_files else "other" if drill.live else "no"
        say(f"a replay of them makes rows of digest {drill.from_files[:16]}; the live database has {same} rows")
    say(*(f"problem: {problem}" for problem in drill.problems))
    say("the restore is proven" if drill.proven else "the restore is not proven")


def drill_document(drill: Drill) -> dict[str, Any]:
    """The same as data."""
    digests = {"files": drill.from_files, "dump": drill.from_dump, "live": drill.live}
    return {
        "proven": drill.proven,
        "files": drill.files,
        "seconds": drill.seconds,
        "digests": digests,
        "problems": drill.problems,
    }
