"""Putting right what dead writers left: their temporary files, and the days that they had open."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field

from app.store import scan
from app.store.errors import StorageError
from app.store.files import sweep, wrap_os_errors
from app.store.layout import Layout
from app.store.ledger import DeadWriter, dead_writers


@dataclass(frozen=True, slots=True)
class Recovery:
    """What came of it."""

    recovered: list[str] = field(default_factory=list)
    """The writers whose leftovers are gone and whose days are exact."""
    problems: list[StorageError] = field(default_factory=list)
    """Why others are to be tried again."""


def put_right(layout: Layout, settle: Callable[[str], None]) -> Recovery:
    """Sweep what each dead writer left, and have `settle` make each of its days exact, by date.

    What can't be put right now, since the disk refuses, holds up nothing else, and is there for the next time.
    """
    recovery = Recovery()
    for dead in dead_writers(layout.state):
        problems = [*_attempt(_sweep, layout, dead)]
        for folder in dead.folders:
            root, _, date = folder.partition("/")
            if root == "daily" and os.path.isdir(layout.day(date)):
                problems += _attempt(settle, date)
        if not problems:
            problems += _attempt(dead.forget)
        recovery.problems.extend(problems)
        if not problems:
            recovery.recovered.append(dead.name)
    return recovery


def _sweep(layout: Layout, dead: DeadWriter) -> None:
    for folder in dead.folders:
        sweep(scan.all_folders(f"{layout.root}/{folder}"), dead.name)
    sweep([layout.root], dead.name)


def _attempt(step: Callable[..., None], *arguments: object) -> list[StorageError]:
    try:
        wrap_os_errors(step)(*arguments)
    except StorageError as error:
        return [error]
    return []
