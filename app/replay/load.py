"""Loading prepared recordings: a chunk in one transaction, the ledger with it, so that whatever is cut off goes on.

The rows of the HSDS tables are a function of all accepted recordings that were ever loaded, in whatever order: of one
source the latest recording counts, and of several sources that speak of one row the latest says each field. So a chunk
first enters what its recordings say into ``record_source``, and then the rows that this touches are made anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from app.replay.database import Database, DataRefusedError
from app.replay.hsds.mapping import VERSION
from app.replay.hsds.tables import DEFAULTS, TABLES
from app.replay.records import COLUMNS, Prepared, refused


@dataclass(slots=True)
class Loaded:
    """What loading some recordings has come to."""

    accepted: int = 0
    superseded: int = 0
    """Those of the accepted that a later recording of the same source has replaced."""
    replaced: int = 0
    """Recordings of earlier replays that these have replaced."""
    rejected: Counter[str] = field(default_factory=Counter)
    """By reason."""
    unchanged: int = 0
    """Those that were there: they came twice, or another replay loads the same files."""
    rows: dict[str, Counter[str]] = field(default_factory=dict)
    """By table: how many rows were ``inserted``, ``updated`` and ``deleted``."""
    refused: list[tuple[str, str]] = field(default_factory=list)
    """The paths of those that the database wouldn't take, and what it said."""

    def add(self, other: Loaded) -> None:
        """Count another one's too."""
        self.accepted += other.accepted
        self.superseded += other.superseded
        self.replaced += other.replaced
        self.rejected += other.rejected
        self.unchanged += other.unchanged
        self.refused += other.refused
        for table, counts in other.rows.items():
            self.rows.setdefault(table, Counter()).update(counts)


class Loader:
    """Loads chunks of recordings into one database."""

    def __init__(self, database: Database, loaded: Loaded, notify: Callable[[str], None]) -> None:
        self.loaded = loaded
        self._database = database
        self._notify = notify
        self._replayed_at = datetime.now(UTC)
        database.run("prefer_indexes")

    def load(self, chunk: Sequence[Prepared], moved: Sequence[tuple[bytes, str]] = ()) -> None:
        """Load recordings, all or none, and note where known ones (SHA-256, path) are now.

        One that the database refuses is noted with what can be had of it, and the others are loaded.
        """
        try:
            with self._database.transaction():
                loaded = self._load(chunk, moved)
        except DataRefusedError as error:
            self._load_apart(chunk, moved, error)
        else:
            self.loaded.add(loaded)

    def _load_apart(
        self, chunk: Sequence[Prepared], moved: Sequence[tuple[bytes, str]], error: DataRefusedError
    ) -> None:
        if len(chunk) > 1:
            middle = len(chunk) // 2
            self.load(chunk[:middle], moved)
            self.load(chunk[middle:])
            return
        (one,) = chunk
        self.loaded.refused.append((one.path, error.message))
        try:
            with self._database.transaction():
                loaded = self._load([refused(one, error.message, keep_result=True)], ())
        except DataRefusedError:
            with self._database.transaction():
                loaded = self._load([refused(one, error.message, keep_result=False)], ())
        self.loaded.add(loaded)

    def _load(self, chunk: Sequence[Prepared], moved: Sequence[tuple[bytes, str]]) -> Loaded:
        database = self._database
        database.lock_for_loading(self._notify)
        database.run("create_touched")
        database.run("clear_touched")
        for file, path in moved:
            for statement in ("move", "move_result", "move_quarantine"):
                database.run(statement, {"file": file, "path": path})
        new, outdated = self._sift(chunk)
        if outdated:
            self._forget(outdated)
        loaded = Loaded(unchanged=len(chunk) - len(new))
        if new:
            self._enter(new, loaded)
            changed = self._supersede(new, loaded)
            self._rebuild(loaded, also_drop=changed or bool(outdated))
        return loaded

    def _sift(self, chunk: Sequence[Prepared]) -> tuple[list[Prepared], list[bytes]]:
        """Those that aren't there yet, each once; and which of them were loaded by other rules than today's."""
        known = {
            file: version for file, *_, version in self._database.run("known", {"files": [one.sha256 for one in chunk]})
        }
        new = {one.sha256: one for one in chunk if known.get(one.sha256) != VERSION}
        return list(new.values()), [file for file in new if file in known]

    def _forget(self, files: Collection[bytes]) -> None:
        for statement in ("touch", "forget_sources", "forget_quarantine", "forget_records"):
            self._database.run(statement, {"files": list(files)})

    def _enter(self, new: Sequence[Prepared], loaded: Loaded) -> None:
        self._add_formats({one.schema.sha256: one.schema.written for one in new if one.schema})
        stored = {file for (file,) in self._database.run("stored_results", {"files": [one.sha256 for one in new]})}
        now = b"\t" + self._replayed_at.isoformat().encode()
        for table, columns in COLUMNS.items():
            content = [
                lines + now if table == "replay_record" else lines
                for one in new
                if (lines := one.lines.get(table)) and (table != "job_result" or one.sha256 not in stored)
            ]
            self._database.copy(table, columns, content)
        loaded.accepted = sum(one.reason is None for one in new)
        loaded.rejected = Counter(one.reason for one in new if one.reason is not None)
        self._database.run("touch", {"files": [one.sha256 for one in new]})

    def _add_formats(self, schemas: dict[bytes, bytes]) -> None:
        for (known,) in self._database.run("stored_formats", {"hashes": list(schemas)}):
            del schemas[known]
        for digest, schema in schemas.items():  # as an array's elements, megabytes become gigabytes
            self._database.run("add_format", {"hash": digest, "schema": schema.decode()})

    def _supersede(self, new: Sequence[Prepared], loaded: Loaded) -> bool:
        """Let the latest recording of each source count; whether that changed which ones do."""
        sources = list({one.source_id for one in new if one.source_id is not None})
        changes = self._database.run("supersede", {"sources": sources, "replayed_at": self._replayed_at})
        if changes:
            self._database.run("touch", {"files": [file for file, _, _ in changes]})
        for _, outcome, of_this_replay in changes:
            step = 1 if outcome == "superseded" else -1
            if of_this_replay:
                loaded.superseded += step
            else:
                loaded.replaced += step
        return bool(changes)

    def _rebuild(self, loaded: Loaded, *, also_drop: bool) -> None:
        touched = {table for (table,) in self._database.run("touched_tables")}
        tables = [table for table in TABLES if table in touched]
        for table in tables:
            inserted, updated = self._database.merge(table, DEFAULTS.get(table, {}))
            loaded.rows[table] = Counter(inserted=inserted, updated=updated)
        if also_drop:
            for table in reversed(tables):
                loaded.rows[table]["deleted"] += self._database.drop_unsaid(table)
