"""What can be restored from: a backup's snapshot, a folder of archives, or one archive."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from app.archive.manifest import PACK_SUFFIX, DamagedArchiveError, Manifest
from app.archive.pack import read_pack
from app.archive.packs import PackFolder
from app.archive.snapshots import DatabaseDump, Repository
from app.store.errors import UsageError
from app.store.layout import is_date

Content = Iterator[tuple[str, bytes]]


@dataclass(slots=True)
class Source:
    """Packs, by the dates of what they hold, and the database's dump, if there is one.

    Manifests are read when they are needed, one at a time: those of years would fill the memory.
    """

    packs: PackFolder
    days: dict[str, str]
    """The key of each day's pack."""
    quarantine: dict[str, str] = field(default_factory=dict)
    archives: dict[str, str] = field(default_factory=dict)
    dump: DatabaseDump | None = None
    dump_path: str = ""
    repository: Repository | None = None
    """The backup that it is a snapshot of."""

    def manifest(self, key: str) -> Manifest:
        """The manifest of a pack. Raises `DamagedArchiveError`."""
        manifest = self.packs.manifest(key)
        if manifest is None:
            raise DamagedArchiveError("the manifest is missing", path=self.packs.manifest_path(key))
        return manifest

    def read(self, manifest: Manifest, names: Collection[str]) -> Content:
        """These files of a pack, of which every byte is checked. Raises `DamagedArchiveError`."""
        path = self.packs.path(manifest)
        try:
            for name, content in read_pack(path, manifest):
                if name in names:
                    yield name, content
        except OSError as error:
            raise self.packs.unreadable(path, error) from error


def open_source(path: str, snapshot: str | None) -> Source:
    """What is at a path. Raises `UsageError` when nothing can be restored from there, and `DamagedArchiveError`."""
    repository = Repository(path)
    if repository.is_one():
        return _from_backup(repository, snapshot)
    if snapshot is not None:
        raise UsageError("only a backup has snapshots", path=path)
    if os.path.isdir(path):
        packs = PackFolder(path)
        days = packs.listed()
        if days and not all(map(is_date, days)):
            raise UsageError("these are a backup's packs", path=path, hint="name the backup's folder, or one of them")
        if days:
            return Source(packs, {day: day for day in days})
        raise UsageError("neither a backup nor a folder of archives", path=path)
    if not os.path.exists(path):
        raise UsageError("there is no such backup, folder or archive", path=path)
    return _from_archive(path)


def _from_backup(repository: Repository, name: str | None) -> Source:
    names = repository.names()
    if name is None and not names:
        raise UsageError("no backup was finished here", path=repository.folder)
    snapshot = repository.read(name or names[-1])
    dump = f"{repository.dumps}/{snapshot.database.name}" if snapshot.database else ""
    parts = (snapshot.days, snapshot.quarantine, snapshot.archives, snapshot.database)
    return Source(repository.packs, *parts, dump, repository)


def _from_archive(path: str) -> Source:
    """One archive, whose manifest is beside it."""
    folder, name = os.path.split(os.path.abspath(path))
    packs = PackFolder(folder, by_name=os.path.exists(PackFolder(folder).manifest_path(name.removesuffix(PACK_SUFFIX))))
    for key in packs.listed():
        if name.startswith(key) and (manifest := packs.manifest(key)) is not None and manifest.name == name:
            return Source(packs, {manifest.date: key})
    hint = "keep the two together; without it, tar --zstd -xf unpacks the archive as it is"
    raise UsageError("no manifest beside it tells of this archive", path=path, hint=hint)
