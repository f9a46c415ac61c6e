"""Closed days into ARCHIVE_DIR: one pack a day, made anew when results came late."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from app.archive.listing import Listing, list_day
from app.archive.manifest import Manifest, is_result
from app.archive.members import ChangedError, covers, joined, members, missing_from, sums
from app.archive.pack import Members, read_pack
from app.archive.packs import PackFolder
from app.archive.retention import oldest_date
from app.store.errors import LockedError, RecorderError, StorageError
from app.store.files import DurableFiles, storage_error
from app.store.layout import Layout

CLOCK_GRAIN_NS = 50_000_000
"""A file may bear a time that is so much earlier than when it was written."""


class Action(StrEnum):
    """What came of a day."""

    ARCHIVED = "archived"
    ARCHIVED_ANEW = "archived anew"
    UNCHANGED = "unchanged"
    LEFT = "left for the next run"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Archived:
    """One day, and what came of it."""

    date: str
    action: Action
    name: str | None = None
    """The archive's."""
    size: int = 0
    files: int = 0
    unpacked: int = 0
    reason: str = ""


def closed_days(days: Iterable[str], today: date, older_than_days: int = 0) -> list[str]:
    """The days before today, and so many days before it."""
    before = oldest_date(today, older_than_days).isoformat()
    return [day for day in days if day < min(before, today.isoformat())]


class Archiver:
    """Archives days of one OUTPUT_DIR. `advance` is called for each file read."""

    def __init__(self, layout: Layout, folder: str, advance: Callable[[], object]) -> None:
        self.packs = PackFolder(folder)
        self._layout = layout
        self._advance = advance

    def count_files(self, days: Iterable[str]) -> int:
        """About how many files there are to read, if all of these days are."""
        return sum(len(files) for day in days for _, _, files in os.walk(self._layout.day(day)))

    def run(self, days: Iterable[str], tell: Callable[[Archived], object]) -> list[Archived]:
        """Archive these days, one after another; one that can't be is no reason to leave out the others.

        Raises `LockedError` while another command writes there, and `StorageError` where nothing can be written.
        """
        done = []
        with self.packs.writing() as files:
            for day in days:
                try:
                    outcome = self._archive(files, day)
                except ChangedError as error:
                    outcome = Archived(day, Action.LEFT, reason=str(error))
                except LockedError:
                    raise
                except RecorderError as error:
                    outcome = Archived(day, Action.FAILED, reason=str(error))
                tell(outcome)
                done.append(outcome)
        return done

    def _archive(self, files: DurableFiles, day: str) -> Archived:
        seen_ns = time.time_ns() - CLOCK_GRAIN_NS
        listing = self._list(day)
        if listing.being_written:
            return Archived(day, Action.LEFT, reason="a recorder is writing into it")
        if listing.odd:
            hint = "replace it by what it leads to, or move it away"
            raise StorageError("what is no plain file can't be archived", path=self._inside(day, listing), hint=hint)
        before = self.packs.manifest(day)
        if not listing.recordings:
            return Archived(day, Action.UNCHANGED, reason="there are no recordings")
        kept = before is not None and self.packs.has(before)
        if before is not None and kept and covers(before, self.packs.made_ns(day), listing):
            return _archived(Action.UNCHANGED, before)
        if before is not None and (missing_from(listing, before) or self._lacks(day, listing, before)):
            packed = read_pack(self.packs.path(before), before)
            content = joined(self._layout.day(day), day, listing, packed, self._advance)
        else:
            content = members(self._layout.day(day), day, listing, being_written=False, advance=self._advance)
        manifest = self.packs.put(files, day, self._unchanging(day, listing, content), seen_ns=seen_ns)
        if before is None:
            return _archived(Action.ARCHIVED, manifest)
        if kept and before.name == manifest.name:  # its files were too new to be told from changed ones by their times
            return _archived(Action.UNCHANGED, manifest)
        if before.name != manifest.name:
            os.unlink(self.packs.path(before))
        return _archived(Action.ARCHIVED_ANEW, manifest)

    def _lacks(self, day: str, listing: Listing, before: Manifest) -> bool:
        """Whether the archive has a result that is no longer here as it was: cut short by a crash, or rotten."""
        here = sums(self._layout.day(day), listing)
        return any(one.sha256 not in here for name, one in before.files.items() if is_result(name))

    def _unchanging(self, day: str, listing: Listing, content: Iterable[tuple[str, bytes]]) -> Members:
        yield from content
        if self._list(day) != listing:
            raise ChangedError("it was written into meanwhile", path=self._layout.day(day))

    def _list(self, day: str) -> Listing:
        folder = self._layout.day(day)
        try:
            return list_day(folder, self._layout.state)
        except FileNotFoundError as error:
            raise ChangedError("it was removed meanwhile", path=folder) from error
        except OSError as error:
            raise storage_error("can't look into a folder", str(error.filename or folder), error) from error

    def _inside(self, day: str, listing: Listing) -> str:
        return f"{self._layout.day(day)}/{listing.odd[0]}"


def _archived(action: Action, manifest: Manifest) -> Archived:
    return Archived(manifest.date, action, manifest.name, manifest.size, len(manifest.files), manifest.total_bytes)
