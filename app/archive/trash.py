"""The trash: days that `clean` took out of OUTPUT_DIR, until they are purged or put back.

Each day that goes has an entry ``.trash/TIME-DATE-RANDOM/``: ``note.json`` (written first: which files it is about),
``day/`` (the day's folder, moved here in one step) and, until that is moved into the day's place, ``thin/``: what stays
of a day of which the summary is kept. Whoever dies on the way leaves an entry that tells how far it came.

A result that came between the proof and the move is found by the note, and goes back: only what was proven is purged.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from app.archive.listing import Listing, Stamp, list_day
from app.archive.pack import SUMMARY
from app.archive.packs import only_one
from app.archive.placing import Placed, place_files, read_folder
from app.archive.repair import rebuild_summary, writing
from app.store import scan
from app.store.errors import StorageError
from app.store.files import DurableFiles, sync_folder, wrap_os_errors
from app.store.layout import Layout, is_date
from app.store.plain import read_plain
from app.store.recovery import put_right
from app.store.summary import Day

KEPT_FOR = timedelta(hours=24)
_NAME = re.compile(r"(\d{8}T\d{6}Z)-(\d{4}-\d{2}-\d{2})-[0-9a-f]{8}")
_PURGING = ".purging-"


@dataclass(frozen=True, slots=True)
class Entry:
    """A day in the trash."""

    folder: str
    date: str
    moved_at: datetime
    files: Mapping[str, Stamp]
    for_good: bool = False
    """Whether it isn't kept here, but on its way out."""

    @property
    def day(self) -> str:
        """The day's folder as it was."""
        return f"{self.folder}/day"

    @property
    def thin(self) -> str:
        """What is to take its place."""
        return f"{self.folder}/thin"


class Trash:
    """The trash of one OUTPUT_DIR; used under `changing`."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    @contextmanager
    def changing(self) -> Iterator[None]:
        """One command at a time, once what a killed one left is put right. Raises `LockedError`."""
        with only_one(f"{self._layout.state}/changing.lock", self._layout.root):
            put_right(self._layout, self._settle_day)
            self._settle_all()
            yield

    def entries(self) -> list[Entry]:
        """What is in the trash, oldest first."""
        return [entry for name in self._names() if (entry := self._read(name)) is not None]

    @wrap_os_errors
    def put(self, date: str, proven: Mapping[str, Stamp], now: datetime, *, keep_summary: bool, for_good: bool) -> None:
        """Move a day here, with the note of what was proven; what came since goes back.

        With `for_good` it isn't kept: the space is free when this returns.
        """
        name = f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{date}-{secrets.token_hex(4)}"
        entry = Entry(f"{self._layout.trash}/{name}", date, now, proven, for_good)
        with writing(self._layout, f"daily/{date}") as files:
            if keep_summary:
                self._prepare_thin(files, entry)
            note = {
                "date": date,
                "moved_at": now.isoformat(),
                "for_good": for_good,
                "files": {name: [stamp.size, stamp.modified_ns] for name, stamp in proven.items()},
            }
            files.write(f"{entry.folder}/note.json", json.dumps(note).encode())
            files.move(self._layout.day(date), entry.day)
        self._settle(entry)

    def put_back(self, entry: Entry) -> Placed:
        """Put a day back where it was; into what is there by now, if there is something."""
        live = self._layout.day(entry.date)
        result = Placed(placed=len(entry.files))
        there = list_day(live, self._layout.state) if os.path.isdir(live) else Listing()
        if there.recordings or there.odd or there.hidden:
            result = place_files(
                self._layout, f"daily/{entry.date}", read_folder(entry.day, self._layout.state), settle=True
            )
            if result.differing:
                return result  # the entry stays: it has what can't be put back
        else:
            with writing(self._layout, f"daily/{entry.date}") as files:
                if os.path.isdir(live):
                    files.move(live, entry.thin)
                files.move(entry.day, live)
            self._put_late_back(entry)
        self._remove(entry.folder)
        return result

    def purge(self, before: datetime) -> list[Entry]:
        """Remove for good what was moved here before that time; returns what that was."""
        gone = [entry for entry in self.entries() if entry.moved_at < before]
        for entry in gone:
            self._put_strays_back(entry)
            self._remove(entry.folder)
        return gone

    @wrap_os_errors
    def _settle_all(self) -> None:
        for name in self._names(hidden=True):
            folder = f"{self._layout.trash}/{name}"
            if name.startswith(_PURGING):
                shutil.rmtree(folder)
            elif name[0] != ".":
                entry = self._read(name)
                if entry is not None and os.path.isdir(entry.day):
                    self._settle(entry)
                elif entry is not None:  # nothing was moved yet, or all is back
                    self._put_late_back(entry)
                    self._remove(folder)

    def _settle_day(self, date: str) -> None:
        if os.path.exists(self._layout.journal(date)):  # a day of an earlier recorder keeps the summary that it has
            rebuild_summary(self._layout, date)

    def _settle(self, entry: Entry) -> None:
        """Go on where `put` or `put_back` may have been killed."""
        if os.path.isdir(entry.thin):
            with writing(self._layout, f"daily/{entry.date}") as files:
                self._place_thin(files, entry)
        self._put_strays_back(entry)
        if entry.for_good:
            self._remove(entry.folder)

    def _prepare_thin(self, files: DurableFiles, entry: Entry) -> None:
        day = Day(self._layout, files, entry.date)  # makes the journal, where an earlier recorder wrote none
        if not os.path.exists(self._layout.summary(entry.date)):
            day.flush()
        names = entry.files.keys() - {SUMMARY} | scan.cleaned_names(self._layout, entry.date)  # those of last time, too
        files.write(f"{entry.thin}/.cleaned", json.dumps(sorted(names)).encode())
        for path in (self._layout.summary(entry.date), self._layout.journal(entry.date)):
            with suppress(FileNotFoundError):
                files.write(f"{entry.thin}/{os.path.basename(path)}", read_plain(path)[0])

    def _place_thin(self, files: DurableFiles, entry: Entry) -> None:
        if not os.path.isdir(self._layout.day(entry.date)):
            files.move(entry.thin, self._layout.day(entry.date))
            return
        # A result came just now: its day is there again, and gets the others' lines.
        files.write(self._layout.cleaned(entry.date), read_plain(f"{entry.thin}/.cleaned")[0])
        day = Day(self._layout, files, entry.date)
        day.append({name: line for name, line in _lines(f"{entry.thin}/.journal") if name not in day.entries})
        day.close()
        shutil.rmtree(entry.thin)

    def _put_strays_back(self, entry: Entry) -> None:
        there = list_day(entry.day, self._layout.state).files
        strays = {name for name, stamp in there.items() if name != SUMMARY and entry.files.get(name) != stamp}
        if strays:
            members = ((name, read_plain(f"{entry.day}/{name}")[0]) for name in sorted(strays))
            placed = place_files(self._layout, f"daily/{entry.date}", members, settle=True)
            if placed.differing:
                raise StorageError("can't be put back", path=placed.differing[0], hint=f"it is in {entry.day}")
            for name in strays:
                os.unlink(f"{entry.day}/{name}")

    def _put_late_back(self, entry: Entry) -> None:
        """Put back what was recorded into the thin day while the whole one took its place again."""
        if os.path.isdir(entry.thin):
            members = read_folder(entry.thin, self._layout.state)
            place_files(self._layout, f"daily/{entry.date}", members, settle=True)

    @wrap_os_errors
    def _remove(self, folder: str) -> None:
        """Remove an entry: it is none any more before its first file goes."""
        doomed = f"{os.path.dirname(folder)}/{_PURGING}{os.path.basename(folder)}"
        with writing(self._layout) as files:
            files.move(folder, doomed)
        shutil.rmtree(doomed)
        sync_folder(os.path.dirname(doomed))

    def _names(self, *, hidden: bool = False) -> list[str]:
        try:
            names = os.listdir(self._layout.trash)
        except FileNotFoundError:
            return []
        return sorted(name for name in names if hidden or name[0] != ".")

    def _read(self, name: str) -> Entry | None:
        """An entry; None for what is none. One whose note can't be read proves nothing: all of its day goes back."""
        match = _NAME.fullmatch(name)
        if match is None or not is_date(match[2]):
            return None
        folder = f"{self._layout.trash}/{name}"
        unproven = Entry(folder, match[2], datetime.strptime(match[1], "%Y%m%dT%H%M%S%z"), {})
        try:
            note = json.loads(read_plain(f"{folder}/note.json")[0])
            files = {name: Stamp(*stamp) for name, stamp in note["files"].items()}
            moved_at = datetime.fromisoformat(note["moved_at"])
            entry = Entry(folder, note["date"], moved_at, files, note["for_good"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return unproven
        return entry if entry.date == match[2] else unproven


def _lines(journal: str) -> Iterator[tuple[str, dict[str, str]]]:
    with suppress(FileNotFoundError):
        for line in read_plain(journal)[0].splitlines():
            with suppress(ValueError, KeyError, TypeError):
                entry = json.loads(line)
                yield entry.pop("name"), {key: entry[key] for key in ("job_id", "scraper_id", "timestamp")}
