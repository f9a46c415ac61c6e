"""A day's journal and its summary: the journal says what was recorded, in order; the summary is a fold over it.

The journal is shared by all recorders of a day: each appends whole chunks, and reads what the others appended. It is a
cache, not a record: it needs no sync, because after a crash `Day.reconcile` puts it right from the files themselves.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator
from typing import Any

from app.store import encode, scan
from app.store.errors import StorageError
from app.store.files import DurableFiles, storage_error
from app.store.layout import UNKNOWN_SCRAPER, Layout, Place
from app.store.plain import read_plain
from app.store.record import read_entry
from app.store.timestamps import sort_key

FLUSH_INTERVAL_S = 1.0
"""The summary is at most this far behind under load, on a day that isn't huge."""

FLUSH_SHARE = 0.05
"""Writing the summary may take this share of the time. When the queue is idle it is written at once, else every second;
less often where that would take more, under load even if it is then further behind."""

_LAST_FLUSHES = 5
"""Flushes at the end, one after another while others append; if they still do, the last word is theirs to write."""

Entry = dict[str, str]
"""A summary's line: job_id, scraper_id, timestamp."""


class Day:
    """One day's recordings as the journal knows them."""

    def __init__(self, layout: Layout, files: DurableFiles, date: str) -> None:
        self._layout = layout
        self._files = files
        self.date = date
        self.entries: dict[str, Entry] = {}
        """By the recording's name inside the day, in the order recorded."""
        self._scrapers: dict[str, dict[str, Any]] | None = {}
        """The summary's part about scrapers; None when it is to be counted anew."""
        self._read_to = 0
        self._inode = 0
        self._dirty = False
        self._lost = False
        """Whether somebody took the journal away while we knew it."""
        self._contested: set[str] = set()
        """Recordings that the journal says two things of: the last word may be that of a slow recorder."""
        self._flushed_at = 0.0
        self._flush_cost_s = 0.0
        if os.path.exists(layout.journal(date)):
            self.catch_up()
        else:
            self.reconcile()  # a new day, or one that an earlier recorder wrote

    def append(self, entries: dict[str, Entry]) -> None:
        """Add recordings to the journal, by their names inside the day."""
        self._append([{"name": name, **entry} for name, entry in entries.items()])

    def catch_up(self) -> None:
        """Read what was appended to the journal, by this process or another, since the last time."""
        chunk = self._read_new()
        end = chunk.rfind(b"\n") + 1
        self._read_to += end
        for line in chunk[:end].split(b"\n"):
            if line:
                self._apply(line)

    def reconcile(self) -> None:
        """Make the journal agree with the day's files: after a crash, or where there was none."""
        self.catch_up()
        self._contested |= scan.superseded_names(self._layout, self.date) & self.entries.keys()
        known = set(self.entries)
        present = set(scan.recording_names(self._layout, self.date))
        cleaned = scan.cleaned_names(self._layout, self.date)
        lines: list[dict[str, Any]] = [{"name": name, "gone": True} for name in sorted(known - present - cleaned)]
        found = [(name, entry) for name in present - known if (entry := self._read_recording(name)) is not None]
        found.sort(key=lambda item: (sort_key(item[1]["timestamp"]), item[0]))
        lines.extend(self._told(cleaned - known - present))
        lines.extend({"name": name, **entry} for name, entry in found)
        if lines:
            self._append(lines)
            self.catch_up()
        self._verify_contested()
        self._dirty = self._dirty or bool(self.entries) or os.path.exists(self._layout.summary(self.date))

    def _told(self, gone: set[str]) -> Iterator[dict[str, Any]]:
        """The lines of recordings that `clean` took out, by the summary: a restored day comes without a journal."""
        try:
            jobs = encode.load(read_plain(self._layout.summary(self.date))[0])["jobs"] if gone else []
            for job in jobs:
                entry = {key: job[key] for key in ("job_id", "scraper_id", "timestamp")}
                scrapers = (job["scraper_id"], *((None,) if job["scraper_id"] == UNKNOWN_SCRAPER else ()))
                names = {Place(self.date, scraper, job["job_id"]).name for scraper in scrapers}
                yield from ({"name": name, **entry} for name in names & gone)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return  # it tells of nothing that can be used

    def rebuild(self) -> None:
        """Make the journal say what the files say, every one of which is read, and have the summary written anew."""
        self.catch_up()
        self._contested |= self.entries.keys()
        self.reconcile()

    def flush_if_due(self, *, idle: bool) -> None:
        """Write the summary if it is out of date and its time has come."""
        if not self._dirty:
            return
        pause = self._flush_cost_s / FLUSH_SHARE
        pause = min(FLUSH_INTERVAL_S, pause) if idle else max(FLUSH_INTERVAL_S, pause)
        if time.monotonic() - self._flushed_at >= pause:
            self.flush()

    def flush(self) -> None:
        """Write the summary, if it is out of date.

        Another recorder may have written a newer one between our reading and our writing; then the journal has
        grown, and ours is written again when its time comes.
        """
        if not self._dirty:
            return
        started = time.monotonic()
        self.catch_up()
        if self._lost:
            self._lost = False
            self.entries.clear()
            self._scrapers = None
            self._read_to = 0
            self.reconcile()
        try:
            os.stat(self._layout.day(self.date))
        except FileNotFoundError:  # removed, and with it all that there was to say
            self._dirty = False
            return
        self._verify_contested()
        self._files.write(self._layout.summary(self.date), self.render())
        self._dirty = False
        self.catch_up()
        self._flushed_at = time.monotonic()
        self._flush_cost_s = self._flushed_at - started

    def close(self) -> None:
        """Make the summary exact, and the journal as durable as the recordings: nobody will reconcile the two."""
        self.catch_up()
        for _ in range(_LAST_FLUSHES):
            self.flush()
        try:
            handle = os.open(self._layout.journal(self.date), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    @property
    def dirty(self) -> bool:
        """Whether the summary may be behind the journal."""
        return self._dirty

    def render(self) -> bytes:
        """The summary file's bytes."""
        if self._scrapers is None:
            self._scrapers = {}
            for entry in self.entries.values():
                _count(self._scrapers, entry)
        return _render(self.date, self.entries.values(), self._scrapers)

    def _append(self, lines: list[dict[str, Any]]) -> None:
        # One write, so that several recorders' chunks never mix; it begins on a line of its own, in case a chunk
        # before it was cut short by a crash.
        chunk = ("\n" + "".join(json.dumps(line) + "\n" for line in lines)).encode()
        path = self._layout.journal(self.date)
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
            try:
                self._notice(os.fstat(handle))
                written = os.write(handle, chunk)
            finally:
                os.close(handle)
        except OSError as error:
            raise storage_error("can't append to the journal", path, error) from error
        if written < len(chunk):
            raise StorageError("can't append to the journal (no space left)", path=path, hint="free some space")
        self._dirty = True

    def _read_new(self) -> bytes:
        try:
            with open(self._layout.journal(self.date), "rb") as journal:
                self._notice(os.fstat(journal.fileno()))
                journal.seek(self._read_to)
                return journal.read()
        except FileNotFoundError:
            self._lost = self._lost or self._inode != 0
            self._read_to = self._inode = 0
            return b""

    def _notice(self, journal: os.stat_result) -> None:
        if journal.st_size < self._read_to or self._inode not in (0, journal.st_ino):
            self._read_to = 0
            self._lost = True
        self._inode = journal.st_ino

    def _verify_contested(self) -> None:
        """Let the files decide: another recorder may have replaced a recording before the first was entered."""
        found = [(name, self._read_recording(name)) for name in sorted(self._contested)]
        self._contested.clear()
        lines = [{"name": name, **entry} for name, entry in found if entry and entry != self.entries.get(name)]
        if lines:
            self._append(lines)
            self.catch_up()

    def _apply(self, line: bytes) -> None:
        try:
            change = encode.load(line)
            name = change.pop("name")
            if change.pop("gone", False):
                self._dirty = self.entries.pop(name, None) is not None or self._dirty
                self._scrapers = None
            elif self.entries.get(name) != change:
                entry = {key: change[key] for key in ("job_id", "scraper_id", "timestamp")}
                if not all(type(text) is str for text in (name, *entry.values())):
                    return
                if name in self.entries:
                    self._contested.add(name)
                    self._scrapers = None
                elif self._scrapers is not None:
                    _count(self._scrapers, entry)
                self.entries[name] = entry
                self._dirty = True
        except (ValueError, KeyError, TypeError, AttributeError):
            return  # a line cut short by a crash: its file is found by reconcile()

    def _read_recording(self, name: str) -> Entry | None:
        try:
            with open(f"{self._layout.day(self.date)}/{name}", "rb") as recording:
                _, entry = read_entry(self.date, recording.read())
        except (OSError, ValueError):
            return None  # damaged: it is no recording, and `verify` names it
        return entry


def render(date: str, entries: Iterable[Entry]) -> bytes:
    """A summary file's bytes, from its lines."""
    entries = list(entries)
    scrapers: dict[str, dict[str, Any]] = {}
    for entry in entries:
        _count(scrapers, entry)
    return _render(date, entries, scrapers)


def _render(date: str, entries: Iterable[Entry], scrapers: dict[str, dict[str, Any]]) -> bytes:
    jobs = list(entries)
    return encode.dump({"date": date, "total_jobs": len(jobs), "scrapers": scrapers, "jobs": jobs})


def _count(scrapers: dict[str, dict[str, Any]], entry: Entry) -> None:
    timestamp = entry["timestamp"]
    scraper = scrapers.get(entry["scraper_id"])
    if scraper is None:
        scrapers[entry["scraper_id"]] = {"count": 1, "first_job": timestamp, "last_job": timestamp}
        return
    scraper["count"] += 1
    scraper["first_job"] = min(scraper["first_job"], timestamp, key=sort_key)
    scraper["last_job"] = max(scraper["last_job"], timestamp, key=sort_key)
