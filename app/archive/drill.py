"""A fire drill: bring everything back from a backup, in a scratch folder and scratch databases, and compare.

Two ways lead to a database: its dump, and a replay of the recordings. Both are gone, and both must end in the same
rows. Replay is run as the program that it is.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from app.archive import database_backup
from app.archive.audit import audit
from app.archive.database import Database
from app.archive.findings import Kind
from app.archive.restore import Restore, Wanted, plan
from app.archive.sources import Source
from app.archive.verify import Verifier
from app.store.errors import RecorderError
from app.store.layout import Layout

_BROKEN = {Kind.DAMAGED, Kind.UNREADABLE, Kind.UNREADABLE_FOLDER, Kind.TEMPORARY, Kind.ORPHAN}
"""What a restore must not bring back; wrong summaries come back as wrong as they were."""

_DAMAGED_FILES = 1
"""Replay's exit code when some recordings couldn't be read: as in the database that is compared with."""


class DrillError(RecorderError):
    """What was brought back isn't what there was."""


@dataclass(slots=True)
class Drill:
    """How it went."""

    files: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    """How long each part took."""
    from_dump: str | None = None
    """The digest of the database that was filled from the dump, and then had the recordings replayed into it."""
    from_files: str | None = None
    live: str | None = None
    problems: list[str] = field(default_factory=list)

    @property
    def proven(self) -> bool:
        """Whether everything came back."""
        return not self.problems

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """How long a part takes."""
        started = time.monotonic()
        yield
        self.seconds[part] = round(time.monotonic() - started, 3)


def run(source: Source, scratch: str, database: Database | None, advance: Callable[[], object]) -> Drill:
    """Do it all in a scratch folder, which must be there and empty; the live data are only read."""
    drill = Drill()
    layout = Layout(f"{scratch}/outputs")
    with drill.timed("restore"):
        every_day = Wanted(frozenset(source.days | source.archives | source.quarantine))  # cleaned ones as well
        steps = plan(source, every_day)
        work = Restore(layout, f"{scratch}/archives", source, advance)
        work.check(steps, merge=False)
        work.run(steps, every_day)
        drill.files = sum(step.files for step in steps)
    if not steps:
        raise DrillError("there is nothing in the backup", hint="back up something first")
    with drill.timed("verify"):
        found = audit(Verifier(layout.root, most_examples=3)).findings
        for kind in sorted(_BROKEN & found.problems.keys()):
            path, detail = found.examples[kind][0]
            drill.problems.append(f"{kind}: {found.problems[kind]:,}, such as {path}: {detail}")
    if database is not None:
        _compare(drill, source, layout, database)
    return drill


def _compare(drill: Drill, source: Source, layout: Layout, database: Database) -> None:
    with _scratch_database(database) as scratch:
        with drill.timed("replay"):
            _replay(scratch, "--directory", layout.root)
        drill.from_files = _digest(scratch)
    if source.dump is not None:
        with _scratch_database(database) as scratch:
            with drill.timed("dump"):
                database_backup.give_back(scratch, source.dump, source.dump_path)
            with drill.timed("replay beside the dump"):
                _replay(scratch, "--directory", layout.root)  # what came after the database's last replay
            drill.from_dump = _digest(scratch)
    with suppress(RecorderError):  # lost, or never replayed into: there is nothing to compare with
        drill.live = _digest(database)
    name, other = ("its dump", drill.from_dump) if source.dump else ("what is live", drill.live)
    if other is not None and drill.from_files != other:
        hint = "replay into the live database, back up, and drill again; if that doesn't help, recordings are missing"
        drill.problems.append(f"the recordings lead to other rows in the database than {name}: {hint}")


@contextmanager
def _scratch_database(database: Database) -> Iterator[Database]:
    name = f"drill_{secrets.token_hex(6)}"
    database.query(f"CREATE DATABASE {name} TEMPLATE template0")
    try:
        yield database.called(name)
    finally:
        database.query(f"DROP DATABASE {name} WITH (FORCE)")


def _digest(database: Database) -> str:
    return str(json.loads(_replay(database, "--digest"))["digest"])


def _replay(database: Database, *arguments: str) -> str:
    """What replay prints. Its connection is in its environment: arguments can be seen by anybody."""
    url = f"postgresql:///{database.variables.get('PGDATABASE', '')}"
    words = [sys.executable, "-P", "-m", "app.replay", *arguments, *(() if "--digest" in arguments else ("--quiet",))]
    done = subprocess.run(
        words, env={**database.variables, "DATABASE_URL": url}, capture_output=True, text=True, check=False
    )
    if done.returncode not in (0, _DAMAGED_FILES) or (done.returncode and "--digest" in arguments):
        said = done.stderr.strip().splitlines()
        raise DrillError(f"replay failed: {said[-1] if said else f'exit code {done.returncode}'}")
    return done.stdout


def scratch_folder(parent: str) -> str:
    """A new folder for a drill, in one that has room for all recordings."""
    path = f"{parent}/drill-{secrets.token_hex(6)}"
    os.mkdir(path, 0o700)
    return path
