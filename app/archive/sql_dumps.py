"""SQL dumps for people and for a first start: plain text, newest first, and never of a database that has lost its rows.

The most rows that were ever dumped are noted beside the dumps; a database that has far fewer is not dumped, since its
dump would push the good ones out.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from dataclasses import dataclass
from datetime import datetime

from app.archive.database import COMPLETE, TAIL_BYTES, Database
from app.archive.listing import TEMPORARY
from app.archive.packs import leave_nothing, only_one
from app.archive.snapshots import name_after
from app.store.errors import RecorderError, StorageError
from app.store.files import DurableFiles, wrap_os_errors
from app.store.plain import read_plain

_NAME = re.compile(r"pantry_pirate_radio_\d{4}-\d{2}-\d{2}_\d{2}-\d{2}-\d{2}\.sql")
_PREFIX, _SUFFIX = "pantry_pirate_radio_", ".sql"
_LATEST = "latest.sql"
_MARK = ".most-rows.json"
_CHUNK_BYTES = 1024**2


class TooFewRowsError(RecorderError):
    """The database has so few rows that its dump would be worth less than the last one."""


@dataclass(frozen=True, slots=True)
class Safeguards:
    """How many rows a database must have to be dumped."""

    min_rows: int
    ratchet: float
    allow_any: bool

    def check(self, rows: int, most_ever: int) -> None:
        """Raise `TooFewRowsError` when there are too few."""
        if self.allow_any:
            return
        said = f"the database has {rows:,} rows, {{}}: not dumped"
        hint = "if that is right, set ALLOW_EMPTY_SQL_DUMP=true for one dump"
        if rows < self.min_rows:
            raise TooFewRowsError(said.format(f"fewer than {self.min_rows:,}"), hint=hint)
        if rows < most_ever * self.ratchet:
            raise TooFewRowsError(said.format(f"and had {most_ever:,} once"), hint=hint)


@dataclass(frozen=True, slots=True)
class Dumped:
    """What came of a dump."""

    path: str
    rows: int
    size: int
    removed: list[str]


@wrap_os_errors
def dump(database: Database, folder: str, safeguards: Safeguards, now: datetime, keep: int) -> Dumped:
    """Write a dump, point ``latest.sql`` to it, and remove the oldest ones beyond `keep`.

    Raises `TooFewRowsError`, `LockedError` while another one is made, and what the database raises.
    """
    files = DurableFiles(folder, f"dump-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with only_one(f"{folder}/.lock", folder):
            for name in os.listdir(folder):
                if TEMPORARY.fullmatch(name):
                    os.unlink(f"{folder}/{name}")  # of one that was killed
            rows, most_ever = database.rows(), _most_rows(folder)
            safeguards.check(rows, most_ever)
            if os.path.lexists(latest := f"{folder}/{_LATEST}") and not os.path.islink(latest):
                raise StorageError(
                    "latest.sql is no link, and may be all that there is of a dump",
                    path=latest,
                    hint="give it another name",
                )
            last = [one.removeprefix(_PREFIX).removesuffix(_SUFFIX) for one in _names(folder)[-1:]]
            name = f"{_PREFIX}{name_after(now, last)}{_SUFFIX}"
            with files.draft(folder) as draft:
                database.dump(draft.file.write)
                size = draft.file.tell()
                files.finish(draft, f"{folder}/{name}")
            files.link(latest, name)
            mark = rows if safeguards.allow_any else max(rows, most_ever)
            files.write(f"{folder}/{_MARK}", json.dumps({"rows": mark, "of": name}).encode())
            old = _names(folder)[:-keep]
            for one in old:
                os.unlink(f"{folder}/{one}")
    finally:
        files.close()
        leave_nothing(files, folder)
    return Dumped(f"{folder}/{name}", rows, size, old)


def newest(folder: str) -> str | None:
    """The newest dump: where ``latest.sql`` leads, else by name."""
    latest = f"{folder}/{_LATEST}"
    if os.path.isfile(latest):
        return latest
    names = _names(folder)
    return f"{folder}/{names[-1]}" if names else None


@wrap_os_errors
def fill_if_empty(database: Database, path: str) -> bool:
    """Run a dump in a database without rows; False, and nothing is done, if it has some.

    Raises `RecorderError` for one that was cut short: psql would take what there is of a table for all of it.
    """
    if database.rows():
        return False
    with open(path, "rb") as file:
        file.seek(-min(TAIL_BYTES, os.path.getsize(path)), os.SEEK_END)
        if COMPLETE not in file.read():
            hint = "remove it; if latest.sql leads to it, point that to an older one"
            raise RecorderError("the dump is cut short", path=os.path.realpath(path), hint=hint)
        file.seek(0)
        database.fill(iter(lambda: file.read(_CHUNK_BYTES), b""))
    return True


def _names(folder: str) -> list[str]:
    return sorted(name for name in os.listdir(folder) if _NAME.fullmatch(name)) if os.path.isdir(folder) else []


def _most_rows(folder: str) -> int:
    try:
        return int(json.loads(read_plain(f"{folder}/{_MARK}")[0])["rows"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0
