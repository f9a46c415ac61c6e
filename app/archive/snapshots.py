"""A backup's folder: packs of days, dumps of the database, and the snapshots that say which of them belong together.

A snapshot is written last. Its name has a part of its own sum; what is in a backup and in no snapshot doesn't count.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta

from app.archive.listing import TEMPORARY
from app.archive.manifest import DamagedArchiveError, is_plain_name
from app.archive.packs import PackFolder
from app.store.errors import RecorderError, UsageError
from app.store.files import DurableFiles
from app.store.layout import is_date
from app.store.plain import read_plain

_VERSION = 1
_NAME_FORMAT = "%Y-%m-%d_%H-%M-%S"
_DUMP = re.compile(r"[0-9a-f]{12}\.sql\.zst")
_NAME = re.compile(r"(\d{4}-\d{2}-\d{2}_\d{2}-\d{2}-\d{2})\.([0-9a-f]{12})\.json")


@dataclass(frozen=True, slots=True)
class DatabaseDump:
    """The dump of the database in a backup."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What belonged together at one time: packs, by date."""

    made_at: str
    days: dict[str, str] = field(default_factory=dict)
    quarantine: dict[str, str] = field(default_factory=dict)
    archives: dict[str, str] = field(default_factory=dict)
    database: DatabaseDump | None = None
    name: str = ""

    def needed(self) -> set[str]:
        """All packs that it needs."""
        return {*self.days.values(), *self.quarantine.values(), *self.archives.values()}


class Repository:
    """A backup's folder."""

    def __init__(self, folder: str) -> None:
        self.folder = os.path.abspath(folder)
        self.packs = PackFolder(f"{self.folder}/packs", by_name=True)

    @property
    def dumps(self) -> str:
        """The folder of the database's dumps."""
        return f"{self.folder}/database"

    @property
    def folders(self) -> tuple[str, str]:
        """The folders beside that of the packs."""
        return self._snapshots, self.dumps

    def is_one(self) -> bool:
        """Whether there is a backup here."""
        return os.path.isdir(self._snapshots)

    def names(self) -> list[str]:
        """The snapshots' names, oldest first."""
        try:
            found = [match[1] for name in os.listdir(self._snapshots) if (match := _NAME.fullmatch(name))]
        except FileNotFoundError:
            return []
        return sorted(found)

    def newest(self) -> Snapshot | None:
        """The newest snapshot that can be read."""
        for name in reversed(self.names()):
            with suppress(DamagedArchiveError):
                return self.read(name)
        return None

    def newest_with(self, day: str) -> str | None:
        """The name of the newest snapshot that has a day, which may be gone from OUTPUT_DIR since."""
        for name in reversed(self.names()):
            with suppress(RecorderError):
                snapshot = self.read(name)
                if day in snapshot.days | snapshot.quarantine | snapshot.archives:
                    return name
        return None

    def read(self, name: str) -> Snapshot:
        """One snapshot. Raises `UsageError` if there is none of this name, and `DamagedArchiveError`."""
        path = self._path_of(name)
        try:
            content, _ = read_plain(path)
            match = _NAME.fullmatch(os.path.basename(path))
            if match is None or hashlib.sha256(content).hexdigest()[:12] != match[2]:
                raise ValueError("its bytes aren't those that were written")
            return _decode(content, match[1])
        except OSError as error:
            raise RecorderError(f"the snapshot can't be read ({error.strerror})", path=path) from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            hint = "use another snapshot, or make a new backup"
            raise DamagedArchiveError(f"the snapshot is damaged ({error})", path=path, hint=hint) from error

    def write(self, files: DurableFiles, snapshot: Snapshot) -> Snapshot:
        """Add a snapshot, of which everything is in place."""
        content = json.dumps({"version": _VERSION} | asdict(snapshot), indent=1, sort_keys=True).encode()
        name = name_after(datetime.fromisoformat(snapshot.made_at), self.names()[-1:])
        files.write(f"{self._snapshots}/{name}.{hashlib.sha256(content).hexdigest()[:12]}.json", content)
        return _decode(content, name)

    def sweep(self) -> None:
        """Remove what no snapshot needs and the others have, as a backup that was killed leaves it.

        The caller holds the lock. Without any snapshot all stays: they may be lost, with nothing else to bring back.
        Raises `DamagedArchiveError` where a snapshot doesn't tell what it needs: then all stays.
        """
        snapshots = [self.read(name) for name in self.names()]
        dumps = {snapshot.database.name for snapshot in snapshots if snapshot.database}
        for folder in self.folders:
            for name in os.listdir(folder) if os.path.isdir(folder) else ():
                spare = folder == self.dumps and dumps and _DUMP.fullmatch(name) and name not in dumps
                if TEMPORARY.fullmatch(name) or spare:
                    os.unlink(f"{folder}/{name}")
        self.packs.remove_spare({key for snapshot in snapshots for key in snapshot.needed()})

    @property
    def _snapshots(self) -> str:
        return f"{self.folder}/snapshots"

    def _path_of(self, name: str) -> str:
        found = sorted(entry for entry in os.listdir(self._snapshots) if entry.startswith(f"{name}."))
        if name not in self.names() or not found:
            known = ", ".join(self.names()[-5:]) or "none"
            raise UsageError(f"no such snapshot: {name}", path=self.folder, hint=f"the last ones: {known}")
        return f"{self._snapshots}/{found[0]}"


def name_after(now: datetime, last: list[str]) -> str:
    """A name by the time of now; after the last one, whatever a clock that jumped says: the newest comes last."""
    moment = now.astimezone(UTC).replace(tzinfo=None)
    for name in last:
        with suppress(ValueError):  # a person's
            moment = max(moment, datetime.strptime(name, _NAME_FORMAT) + timedelta(seconds=1))
    return moment.strftime(_NAME_FORMAT)


def stamp(now: datetime) -> str:
    """A time as it stands in a snapshot."""
    return now.astimezone(UTC).replace(microsecond=0).isoformat()


def _decode(content: bytes, name: str) -> Snapshot:
    data = json.loads(content)
    if data["version"] != _VERSION:
        raise ValueError(f"it is of version {data['version']!r}, this program knows {_VERSION}")
    days, quarantine, archives = (data[part] for part in ("days", "quarantine", "archives"))
    for part in (days, quarantine, archives):
        for date, key in part.items():
            if not (is_date(date) and is_plain_name(key) and "/" not in key):
                raise ValueError("it names what can't be used")
    database = data["database"] and DatabaseDump(**data["database"])
    if database and not (is_plain_name(database.name) and "/" not in database.name):
        raise ValueError("it names what can't be used")
    return Snapshot(data["made_at"], days, quarantine, archives, database, name)
