"""Restoring: days, quarantine and archives back to where they were; what is there already is never overwritten.

A day that isn't there appears whole, in one step. Into one that is there, files are put one by one, and its summary is
made true to all of them.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

from app.archive.manifest import Manifest, select
from app.archive.pack import SUMMARY, VIEWS
from app.archive.packs import PackFolder
from app.archive.placing import Placed, in_batches, place_files, set_time
from app.archive.repair import point_latest, rebuild_summary, writing
from app.archive.sources import Source
from app.archive.trash import Trash
from app.store import scan
from app.store.errors import StorageError, UsageError
from app.store.files import DurableFiles, Staged, wrap_os_errors
from app.store.layout import Layout


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be restored: all of it, or of these days, or of these scrapers."""

    days: frozenset[str] = frozenset()
    scrapers: frozenset[str] = frozenset()

    @property
    def whole(self) -> bool:
        """Whether nothing is left out."""
        return not self.days and not self.scrapers


@dataclass(frozen=True, slots=True)
class Step:
    """A day, or a day's quarantine or archive, to be restored."""

    kind: str
    """daily, quarantine or archive"""
    date: str
    key: str
    """Of its pack."""
    files: int
    size: int
    """The bytes that it takes."""

    @property
    def folder(self) -> str:
        """Where it goes, inside OUTPUT_DIR."""
        return f"{self.kind}/{self.date}"


@dataclass(slots=True)
class Restored:
    """What came of it, by the kind of step."""

    placed: dict[str, int] = field(default_factory=dict)
    present: int = 0
    differing: list[str] = field(default_factory=list)
    database: str | None = None
    """What became of the database, in words."""


def plan(source: Source, wanted: Wanted) -> list[Step]:
    """What is to be restored. Raises `UsageError` when a day or a scraper that is asked for isn't there."""
    unknown = wanted.days - source.days.keys() - source.archives.keys() - source.quarantine.keys()
    if unknown:
        day = min(unknown)
        other = source.repository.newest_with(day) if source.repository else None
        hint = f"--snapshot {other} has it" if other else _span(source.archives | source.days)
        raise UsageError(f"no such day there: {day}", hint=hint)
    steps = [*_steps(source, "daily", source.days, wanted)]
    if not wanted.whole:  # what was cleaned is in the archives only
        others = {date: key for date, key in source.archives.items() if source.days.get(date) != key}
        steps += _steps(source, "daily", others, wanted)
    if wanted.scrapers and not steps:
        raise UsageError(f"no recording of {', '.join(sorted(wanted.scrapers))} is there")
    if not wanted.scrapers:
        steps += _steps(source, "quarantine", source.quarantine, wanted)
    if wanted.whole:
        steps += _steps(source, "archive", source.archives, wanted)
    return steps


def _steps(source: Source, kind: str, keys: Mapping[str, str], wanted: Wanted) -> Iterator[Step]:
    for date, key in sorted(keys.items()):
        if not wanted.days or date in wanted.days:
            manifest = source.manifest(key)
            names = select(manifest.files, wanted.scrapers)
            size = manifest.size if kind == "archive" else sum(manifest.files[name].size for name in names)
            if names - VIEWS or (names and not wanted.scrapers):
                yield Step(kind, manifest.date, key, len(names), size)


def _span(days: Mapping[str, str]) -> str:
    count = f"{len(days)} days" if len(days) > 1 else "one day"
    return f"it has {count}, {min(days)} to {max(days)}" if days else "it has none"


class Restore:
    """Restores into one OUTPUT_DIR and its ARCHIVE_DIR. `advance` is called for each file."""

    def __init__(self, layout: Layout, archives: str, source: Source, advance: Callable[[], object]) -> None:
        self._layout = layout
        self._archives = PackFolder(archives)
        self._source = source
        self._advance = advance

    def check(self, steps: list[Step], *, merge: bool) -> None:
        """Raise `UsageError` where something is already and `merge` isn't asked for; `StorageError` without room."""
        there = scan.days(self._layout) or _listed(self._layout.quarantined)
        if any(step.kind == "archive" for step in steps):
            there = there or self._archives.listed()
        if there and not merge:
            hint = "name an empty folder (--into), or add --merge: what is there stays as it is"
            raise UsageError("something is recorded there already", path=self._layout.root, hint=hint)
        _check_room(self._layout.root, sum(step.size for step in steps))

    @wrap_os_errors
    def run(self, steps: list[Step], wanted: Wanted) -> Restored:
        """Restore what is planned; nothing else may clean or restore there meanwhile."""
        result = Restored()
        with ExitStack() as held:
            held.enter_context(Trash(self._layout).changing())
            has_archives = any(step.kind == "archive" for step in steps)
            archiver = held.enter_context(self._archives.writing()) if has_archives else None
            shutil.rmtree(self._layout.restoring, ignore_errors=True)  # of one that was killed
            held.callback(shutil.rmtree, self._layout.restoring, ignore_errors=True)
            for step in steps:
                placed = (
                    self._archive(archiver, step) if archiver and step.kind == "archive" else self._day(step, wanted)
                )
                result.placed[step.kind] = result.placed.get(step.kind, 0) + placed.placed
                result.present += placed.present
                result.differing += placed.differing
            if any(step.kind == "daily" for step in steps):
                point_latest(self._layout)
        return result

    def _day(self, step: Step, wanted: Wanted) -> Placed:
        manifest = self._source.manifest(step.key)
        names = frozenset(select(manifest.files, wanted.scrapers))
        if os.path.isdir(f"{self._layout.root}/{step.folder}"):
            return place_files(self._layout, step.folder, self._read(manifest, names - VIEWS))
        draft = f"{self._layout.restoring}/{secrets.token_hex(4)}/{step.date}"
        with writing(self._layout, step.folder) as files:
            self._write(files, draft, manifest, names)
            appeared = self._appear(files, draft, f"{self._layout.root}/{step.folder}")
        if not appeared:
            return place_files(self._layout, step.folder, self._source.read(manifest, names - VIEWS))
        if step.kind == "daily" and SUMMARY not in names and names:
            rebuild_summary(self._layout, step.date)
        return Placed(placed=len(names))

    def _write(self, files: DurableFiles, folder: str, manifest: Manifest, names: frozenset[str]) -> None:
        def stage(member: tuple[str, bytes]) -> Staged:
            return files.stage(f"{folder}/{member[0]}", member[1])

        for batch in in_batches(self._read(manifest, names), stage):
            files.begin()
            for staged in batch:
                files.replace(staged)
                set_time(staged.path, manifest.date)
            files.sync_folders()

    def _appear(self, files: DurableFiles, draft: str, target: str) -> bool:
        """Give a whole day its name; False if it is there by now: a result of that day was recorded just then."""
        try:
            files.move(draft, target)
        except StorageError:
            if not os.path.isdir(target):
                raise
            return False
        return True

    def _archive(self, files: DurableFiles, step: Step) -> Placed:
        manifest = self._source.manifest(step.key)
        there = self._archives.manifest(step.date)
        if there is not None:
            same = there == manifest
            return Placed(present=int(same), differing=[] if same else [self._archives.manifest_path(step.date)])
        self._archives.adopt(files, self._source.packs, manifest, seen_ns=self._source.packs.made_ns(step.key))
        return Placed(placed=1)

    def _read(self, manifest: Manifest, names: frozenset[str]) -> Iterator[tuple[str, bytes]]:
        for member in self._source.read(manifest, names):
            self._advance()
            yield member


def _listed(folder: str) -> list[str]:
    return os.listdir(folder) if os.path.isdir(folder) else []


def _check_room(folder: str, size: int) -> None:
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    disk = os.statvfs(folder)
    if disk.f_bavail * disk.f_frsize < size:
        free, needed = (count // 1024**2 for count in (disk.f_bavail * disk.f_frsize, size))
        raise StorageError(f"{needed:,} MiB are needed, {free:,} are free", path=folder, hint="make room first")
