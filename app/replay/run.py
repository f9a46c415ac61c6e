"""A whole replay: a plan's files into a database, and what came of them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from app.replay.database import Database
from app.replay.load import Loaded, Loader
from app.replay.plan import Item
from app.replay.records import is_damaged
from app.replay.workers import Chunk, chunks_of

UNREADABLE = "unreadable"
"""The reason of files that were not read."""

_MOST_DAMAGED = 100
"""How many damaged files are named."""


@dataclass(slots=True)
class Report:
    """What a replay has come to so far. Each file found was loaded now, was known, or could not be read."""

    found: int = 0
    known: int = 0
    """Files that the ledger has already."""
    loaded: Loaded = field(default_factory=Loaded)
    unreadable: int = 0
    """Files that were not read: links, too large, no right to."""
    damaged: int = 0
    """Files that are no recordings or can't be read; also those among the known."""
    damaged_files: list[tuple[str, str]] = field(default_factory=list)
    """The first of these: path and reason."""
    migrations: list[str] = field(default_factory=list)
    """The steps by which the schema was made, or brought up to date."""
    seconds: float = 0.0

    @property
    def unchanged(self) -> int:
        """Files for which nothing was to be done."""
        return self.known + self.loaded.unchanged

    @property
    def rejected(self) -> Counter[str]:
        """How many files were not loaded, by reason."""
        return self.loaded.rejected + Counter({UNREADABLE: self.unreadable})

    def note_damaged(self, path: str, reason: str) -> None:
        """One more file is damaged."""
        self.damaged += 1
        if len(self.damaged_files) < _MOST_DAMAGED:
            self.damaged_files.append((path, reason))


def replay(
    items: Iterable[Item],
    url: str,
    *,
    workers: int,
    dry_run: bool,
    report: Report,
    notify: Callable[[str], None],
    advance: Callable[[Chunk], None],
) -> None:
    """Load the files of a plan; `report` grows meanwhile, and is exact when this raises or returns.

    A dry run does all of it in one transaction, and takes that back. Raises what `Database` does.
    """
    started = time.monotonic()
    chunks = chunks_of(items, url, workers)
    with Database(url) as database:
        if dry_run:
            with database.transaction(discard=True):
                _replay(chunks, database, report, notify, advance)
        else:
            _replay(chunks, database, report, notify, advance)
    report.seconds = time.monotonic() - started


def _replay(
    chunks: Iterable[Chunk],
    database: Database,
    report: Report,
    notify: Callable[[str], None],
    advance: Callable[[Chunk], None],
) -> None:
    report.migrations = database.migrate(notify)
    loader = Loader(database, report.loaded, notify)
    for chunk in chunks:
        if chunk.prepared or chunk.moved:
            loader.load(chunk.prepared, chunk.moved)
        report.found += chunk.files + len(chunk.refused)
        report.known += len(chunk.known)
        report.unreadable += len(chunk.refused)
        for refused in chunk.refused:
            report.note_damaged(refused.path, refused.reason)
        verdicts = [(one.path, one.reason) for one in chunk.prepared] + [(one.path, one.reason) for one in chunk.known]
        for path, reason in verdicts:
            if reason is not None and is_damaged(reason):
                report.note_damaged(path, reason)
        advance(chunk)
