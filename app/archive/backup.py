"""A snapshot of OUTPUT_DIR and ARCHIVE_DIR into a backup's folder, beside recorders at work.

What hasn't changed since the last snapshot is only named again. A day's files are whole whenever one looks, and a day
that is being written gets the summary of the very files that are taken.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from app.archive.archiving import CLOCK_GRAIN_NS
from app.archive.listing import Listing, list_day
from app.archive.manifest import CLEANED, DamagedArchiveError, Manifest
from app.archive.members import ChangedError, Member, covers, members, missing_from
from app.archive.packs import PackFolder, leave_nothing
from app.archive.snapshots import DatabaseDump, Repository, Snapshot, stamp
from app.store import ledger, scan
from app.store.errors import RecorderError, UsageError
from app.store.files import DurableFiles, wrap_os_errors
from app.store.layout import Layout, is_date
from app.store.plain import read_plain

_ATTEMPTS = 3
_QUARANTINE = "quarantine-"


@dataclass(slots=True)
class BackedUp:
    """What came of a backup."""

    snapshot: Snapshot
    written: int = 0
    """Packs that were written or copied."""
    unchanged: int = 0
    problems: list[str] = field(default_factory=list)
    """What couldn't be taken; the rest was."""


class Backup:
    """Backs up one OUTPUT_DIR and its ARCHIVE_DIR. `advance` is called for each file read."""

    def __init__(self, layout: Layout, archives: str, repository: Repository, advance: Callable[[], object]) -> None:
        self._layout = layout
        self._archives = PackFolder(archives)
        self._repository = repository
        self._advance = advance
        self._before = Snapshot("")
        self._result = BackedUp(self._before)

    @wrap_os_errors
    def run(self, now: datetime, dump: Callable[[DurableFiles], DatabaseDump | None]) -> BackedUp:
        """Make a snapshot; `dump` takes the database first, so that every row's recording is in it.

        Raises `LockedError` while another backup goes there, and `StorageError` where it can't be written.
        """
        self._check_apart()
        with self._repository.packs.writing() as packs:
            files = DurableFiles(self._repository.folder, packs.writer)
            try:
                self._sweep()
                self._before = self._repository.newest() or self._before
                self._check_there()
                database = dump(files)
                days = self._take_all(packs, scan.days(self._layout), self._take_day)
                quarantine = self._take_all(packs, self._quarantined(), self._take_quarantine)
                archives = self._take_all(packs, self._archives.listed(), self._take_archive)
                snapshot = Snapshot(stamp(now), days, quarantine, archives, database)
                self._result.snapshot = self._repository.write(files, snapshot)
            finally:
                files.close()
                leave_nothing(files, *self._repository.folders)
        return self._result

    def _sweep(self) -> None:
        try:
            self._repository.sweep()
        except DamagedArchiveError as error:
            self._result.problems.append(str(error))

    def _check_apart(self) -> None:
        """A backup inside of what it backs up would be lost with it."""
        folder = os.path.realpath(self._repository.folder)
        for place in (self._layout.root, self._archives.folder):
            if f"{folder}/".startswith(f"{os.path.realpath(place)}/"):
                hint = "name a folder elsewhere, best on another disk or host"
                raise UsageError(f"the backup would be inside {place}", path=folder, hint=hint)

    def _check_there(self) -> None:
        """A snapshot of a disk that isn't mounted would be the newest, and empty."""
        before = len(self._before.days) + len(self._before.archives)
        if before and not scan.days(self._layout) and not self._archives.listed():
            hint = "is the disk mounted? If all that was recorded is gone on purpose, begin a new backup elsewhere"
            raise UsageError(
                f"nothing is here of {before:,} days in the last snapshot", path=self._layout.root, hint=hint
            )

    def _take_all(
        self, packs: DurableFiles, dates: Iterable[str], take: Callable[[DurableFiles, str], str | None]
    ) -> dict[str, str]:
        taken = {}
        for date in dates:
            try:
                key = take(packs, date)
            except (DamagedArchiveError, ChangedError) as error:
                self._result.problems.append(str(error))
                continue
            if key is not None:
                taken[date] = key
        return taken

    def _take_day(self, packs: DurableFiles, date: str) -> str | None:
        return self._take_folder(packs, self._layout.day(date), date, "", self._before.days.get(date))

    def _take_quarantine(self, packs: DurableFiles, date: str) -> str | None:
        folder = f"{self._layout.quarantined}/{date}"
        return self._take_folder(packs, folder, date, _QUARANTINE, self._before.quarantine.get(date))

    def _take_archive(self, packs: DurableFiles, date: str) -> str | None:
        for _ in range(_ATTEMPTS):
            manifest = self._archives.manifest(date)
            if manifest is None:
                return None
            with suppress(DamagedArchiveError):  # it may have been archived anew since
                return self._adopt(packs, manifest)
        return self._adopt(packs, manifest)

    def _take_folder(self, packs: DurableFiles, folder: str, date: str, prefix: str, last: str | None) -> str | None:
        for attempt in range(_ATTEMPTS):
            seen_ns = time.time_ns() - CLOCK_GRAIN_NS
            try:
                listing = list_day(folder, self._layout.state)
            except FileNotFoundError:
                return None  # it was cleaned meanwhile
            if not listing.files:
                return None
            if last is not None and self._is_same(self._repository.packs, last, listing):
                self._result.unchanged += 1
                return last
            if not prefix and not listing.cleaned and self._is_same(self._archives, date, listing):
                return self._adopt(packs, self._archives.manifest(date))
            try:
                content = self._members(folder, date, listing, prefix)
                manifest = self._repository.packs.put(packs, date, content, seen_ns=seen_ns, prefix=prefix)
            except ChangedError:
                if attempt + 1 < _ATTEMPTS:
                    continue
                raise
            self._note_odd(folder, listing)
            self._result.written += 1
            return manifest.key
        return None

    def _members(self, folder: str, date: str, listing: Listing, prefix: str) -> Iterator[Member]:
        being_written = not prefix and (listing.being_written or ledger.is_open(self._layout.state, f"daily/{date}"))
        yield from members(folder, date, listing, being_written=being_written, advance=self._advance)
        if listing.cleaned and not prefix:
            yield CLEANED, read_plain(f"{folder}/{CLEANED}")[0]

    def _adopt(self, packs: DurableFiles, manifest: Manifest | None) -> str | None:
        if manifest is None:
            return None
        key = manifest.key
        if self._has(manifest):
            self._result.unchanged += 1
        else:
            made_ns = self._archives.made_ns(manifest.date)
            self._repository.packs.adopt(packs, self._archives, manifest, seen_ns=made_ns)
            self._result.written += 1
        return key

    def _has(self, manifest: Manifest) -> bool:
        packs = self._repository.packs
        try:
            return packs.manifest(manifest.key) == manifest and packs.has(manifest)
        except DamagedArchiveError:
            return False  # it is written anew

    def _is_same(self, packs: PackFolder, key: str, listing: Listing) -> bool:
        """Whether a pack holds just what is in a folder, as far as names, sizes and times tell, and is there."""
        try:
            manifest = packs.manifest(key)
            return (
                manifest is not None
                and covers(manifest, packs.made_ns(key), listing)
                and not missing_from(listing, manifest)
                and listing.cleaned == (CLEANED in manifest.files)
                and packs.has(manifest)
            )
        except (RecorderError, OSError):
            return False

    def _note_odd(self, folder: str, listing: Listing) -> None:
        self._result.problems += [f"not taken, since it is no plain file: {folder}/{name}" for name in listing.odd]

    def _quarantined(self) -> list[str]:
        try:
            return sorted(name for name in os.listdir(self._layout.quarantined) if is_date(name))
        except FileNotFoundError:
            return []
