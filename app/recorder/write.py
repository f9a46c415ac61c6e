"""A batch of results -> files, journal, summary and `latest`, durably; and what can't be recorded -> quarantine.

Nothing here knows of Redis. `stage` prepares a result's file, `begin` has all that are prepared written at once, and
`commit` ends a whole batch; when `commit` returns, every outcome that it names is on disk.
"""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
import socket
import sys
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Self

from app.store import encode, record
from app.store.errors import LockedError, NameTooLongError, StorageError, UnrecordableError
from app.store.files import DurableFiles, Staged, check_writable, wrap_os_errors
from app.store.latest import LatestLink, exclusive
from app.store.layout import Layout
from app.store.ledger import Ledger, open_folders
from app.store.record import Record
from app.store.recovery import put_right
from app.store.summary import Day, Entry
from app.store.timestamps import format_timestamp, plausible

_OPEN_DAYS, _OPEN_ENTRIES = 16, 100_000
"""Days, and results in them, kept in memory; with more of both, a job of another day closes the one longest unused."""

_CONFLICT_TIMEOUT_S = 1.0
"""Settling takes milliseconds; only a recorder that is frozen can make anybody wait so long."""


class Kind(Enum):
    """What became of a result."""

    RECORDED = "recorded"
    DUPLICATE = "duplicate"
    """The same result was there already."""
    REPLACED = "replaced"
    """It took the place of an older result of the same job, which is kept."""
    SUPERSEDED = "superseded"
    """A newer result of the same job was there already, or took its place before; this one is kept beside it."""
    QUARANTINED = "quarantined"
    POSTPONED = "postponed"
    """Another result of the job is being settled by a recorder that doesn't come to an end; this one isn't kept yet."""


_BESIDE = (Kind.SUPERSEDED, Kind.QUARANTINED, Kind.POSTPONED)
"""What adds nothing to the day's recordings."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where a result went."""

    kind: Kind
    path: str
    job_id: str
    scraper_id: str | None = None
    reason: str | None = None
    """Why it was quarantined, or postponed."""
    warnings: tuple[str, ...] = ()
    date: str | None = None
    """The day that it is recorded under."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A result that is on its way to the disk."""

    staged: Staged
    record: Record | None
    outcome: Outcome
    """What it will be, if nothing is there already."""
    size: int
    """Bytes of the file."""


class RecordWriter:
    """Records results below one OUTPUT_DIR, as one of any number of writers.

    Raises `StorageError` when the disk refuses: then nothing of the batch may be acknowledged, and all of it can be
    given again. Not for several threads.
    """

    def __init__(
        self, output_dir: str, *, name: str | None = None, max_bytes: int = sys.maxsize, min_free_bytes: int = 0
    ) -> None:
        self.layout = Layout(os.path.abspath(output_dir))
        self.name = name or writer_name()
        self._max_bytes = max_bytes
        self._min_free_bytes = min_free_bytes
        self._files = DurableFiles(self.layout.root, self.name)
        self._ledger = Ledger(self.layout.state, self.name)
        self._latest = LatestLink(self.layout, self._files)
        self._days: OrderedDict[str, Day] = OrderedDict()
        self._suspect: set[str] = set()
        """Days whose journal may lack files: their batch failed after some had their names."""
        self._newest = ""
        self.latest_problem: StorageError | None = None
        """Why `latest` is behind, if it is."""
        self.summary_problem: StorageError | None = None
        """Why a summary is behind, if one is."""
        self.recovery_problem: StorageError | None = None
        """Why not all is put right that dead writers left, if so."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @wrap_os_errors
    def check(self) -> None:
        """Raise `StorageError` when the disk is nearly full, so that what is begun now may not fit, or read-only.

        To be called before each batch: it also sees to it that this writer's ledger is still there.
        """
        self._ledger.keep()
        self._files.check_room(self._min_free_bytes)
        check_writable(self.layout.daily)

    def stage(self, data: Any, *, enqueued_at: datetime | None = None, payload_bytes: int = 0) -> Pending:
        """Prepare to write a result; see `record.build`, whose `UnrecordableError` it passes on."""
        return self.stage_built(self.build(data, enqueued_at=enqueued_at, payload_bytes=payload_bytes))

    def build(
        self, data: Any, *, enqueued_at: datetime | None = None, payload_bytes: int = 0, simple: bool = False
    ) -> Record:
        """The record of a result, within this writer's limits. Touches no disk."""
        return record.build(
            data,
            enqueued_at=enqueued_at,
            now=datetime.now(UTC),
            payload_bytes=payload_bytes,
            simple=simple,
            max_bytes=self._max_bytes,
        )

    @wrap_os_errors
    def stage_built(self, built: Record) -> Pending:
        """Prepare to write a record. Raises `UnrecordableError` when the file system can't hold its name."""
        place = built.place
        self._ledger.note(f"daily/{place.date}")
        path = self.layout.recording(place)
        outcome = Outcome(Kind.RECORDED, path, place.job_id, place.scraper_id, warnings=built.warnings, date=place.date)
        try:
            staged = self._files.stage(path, built.content)
        except NameTooLongError as error:
            raise UnrecordableError(f"{error.message}: {error.path}") from error
        return Pending(staged, built, outcome, len(built.content))

    def find(self, path: str) -> Outcome:
        """The outcome of a result that was recorded before, in this file. Raises `UnrecordableError` if it is gone."""
        if os.path.normpath(path) != path or not path.startswith(f"{self.layout.daily}/") or not os.path.isfile(path):
            raise UnrecordableError(f"there is only a receipt, and no recording where it says: {path}")
        return Outcome(Kind.DUPLICATE, path, os.path.basename(path).removesuffix(".json"))

    @wrap_os_errors
    def stage_quarantine(
        self, job: str, reason: str, payload: bytes, fields: dict[str, Any], *, enqueued_at: datetime | None = None
    ) -> Pending:
        """Prepare to keep a payload that can't be recorded, with the reason and what else is known of its job.

        A given job and payload has one place, however often it comes.
        """
        now = datetime.now(UTC)
        moment = enqueued_at if enqueued_at is not None and plausible(enqueued_at, now) else now
        date = moment.date().isoformat()
        self._ledger.note(f"quarantine/{date}")
        path = self.layout.quarantine(date, job, hashlib.sha256(payload).hexdigest())
        content = encode.dump(
            {
                "reason": reason,
                "job_id": job,
                "quarantined_at": format_timestamp(now),
                **fields,
                "payload": {"base64": base64.b64encode(payload).decode()},
            }
        )
        outcome = Outcome(Kind.QUARANTINED, path, job, reason=reason)
        return Pending(self._files.stage(path, content), None, outcome, len(content))

    def begin(self) -> None:
        """Begin to write all that is prepared; the caller's time is free until `commit`, which waits for it."""
        self._files.begin()

    @wrap_os_errors
    def commit(self, batch: Sequence[Pending]) -> list[Outcome]:
        """Make a batch durable: every file, its name, its folders; then the journal and `latest`."""
        try:
            outcomes = [self._settle(pending) for pending in batch]
            self._files.sync_folders()
            self._enter(batch, outcomes)
        except (StorageError, OSError):
            self._suspect.update(pending.record.place.date for pending in batch if pending.record is not None)
            self.abandon(batch)
            raise
        return outcomes

    def abandon(self, batch: Sequence[Pending]) -> None:
        """Give up a batch that can't be committed; its results are still the caller's."""
        self._files.abandon([pending.staged for pending in batch])

    def flush(self, *, idle: bool) -> None:
        """Write the summaries that are due; all that are out of date when the queue is idle.

        A summary that can't be written is no reason to stop recording, nor to leave out the other days'.
        """
        self.summary_problem = None
        for date in [*self._suspect, *self._days.keys()]:
            try:
                self._flush_day(date, idle=idle)
            except StorageError as error:
                self.summary_problem = error
        if self.latest_problem is not None:
            self._advance_latest(self._newest)

    @property
    def free_bytes(self) -> int | None:
        """What OUTPUT_DIR's disk had left at the last `check`."""
        return self._files.free_bytes

    @property
    def dirty(self) -> bool:
        """Whether a summary is out of date."""
        return any(day.dirty for day in self._days.values())

    @wrap_os_errors
    def recover(self) -> list[str]:
        """Put right what dead writers left: temporary files, journals, summaries. Returns their names.

        What can't be put right now is no reason to stop recording.
        """
        recovery = put_right(self.layout, self._settle_day)
        self.recovery_problem = recovery.problems[0] if recovery.problems else None
        return recovery.recovered

    def stand_in_for(self, writer: str) -> bool:
        """See to the summaries of the days that another writer has open: it may be frozen, and owe them.

        Returns False where that is to be tried again.
        """
        for folder in open_folders(self.layout.state, writer):
            root, _, date = folder.partition("/")
            if root == "daily" and os.path.isdir(self.layout.day(date)):
                try:
                    self._ledger.note(folder)
                    self._day(date).catch_up()
                except (StorageError, OSError):
                    return False
        return True

    @wrap_os_errors
    def close(self) -> None:
        """Make every summary exact and forget what was open. If that fails, the next recorder to start does it."""
        in_order = False
        try:
            for date in list(self._suspect):
                self._reconcile_suspect(date)
            for day in self._days.values():
                day.close()
            self._files.tidy()
            in_order = True
        finally:
            self._days.clear()
            self._files.close()
            self._ledger.close(in_order=in_order)

    def _settle_day(self, date: str) -> None:
        self._ledger.note(f"daily/{date}")
        day = self._day(date)
        day.reconcile()
        day.flush()
        if day.entries:
            self._advance_latest(date)

    @wrap_os_errors
    def _flush_day(self, date: str, *, idle: bool) -> None:
        self._reconcile_suspect(date)
        self._day(date).flush_if_due(idle=idle)

    def _reconcile_suspect(self, date: str) -> None:
        if date in self._suspect:
            self._day(date).reconcile()
            self._advance_latest(date)
            self._suspect.discard(date)

    def _settle(self, pending: Pending) -> Outcome:
        try:
            if self._files.place(pending.staged):
                return pending.outcome
        except NameTooLongError as error:
            return self._put_away(pending, error)
        if pending.record is None:  # in quarantine already
            self._files.keep(pending.staged)
            return pending.outcome
        if not os.path.isfile(pending.staged.path):
            obstacle = StorageError("something that is no file stands in its place", path=pending.staged.path)
            return self._put_away(pending, obstacle)
        try:
            with exclusive(self.layout.conflict_lock(pending.record.place), _CONFLICT_TIMEOUT_S):
                kind = self._settle_conflict(pending.staged, pending.record)
        except LockedError as error:
            self._files.discard(pending.staged)
            return replace(pending.outcome, kind=Kind.POSTPONED, reason=str(error))
        except NameTooLongError as error:
            return self._put_away(pending, error)
        path = pending.outcome.path
        if kind is Kind.SUPERSEDED:
            path = self._superseded_path(pending.record, pending.record.content)
        return replace(pending.outcome, kind=kind, path=path)

    def _put_away(self, pending: Pending, error: StorageError) -> Outcome:
        """The recording can't have its name, now or later: keep the result where nothing stands in its way."""
        staged, incoming = pending.staged, pending.record
        if incoming is None:
            raise error
        self._files.discard(staged)
        reason = f"{error.message}: {error.path}"
        kept = self.stage_quarantine(incoming.place.job_id, reason, incoming.content, {"origin": staged.path})
        try:
            if not self._files.place(kept.staged):
                self._files.keep(kept.staged)
        except StorageError:
            self.abandon([kept])
            raise
        return kept.outcome

    def _settle_conflict(self, staged: Staged, incoming: Record) -> Kind:
        """Decide between a result and the one that has its place: the newer stays there, the older is kept."""
        try:
            with open(staged.path, "rb") as file:
                existing = file.read()
                os.fsync(file.fileno())  # somebody else may have put it there, who syncs nothing
        except OSError as error:
            raise StorageError(f"can't read a recording ({error.strerror})", path=staged.path) from error
        if record.same_result(incoming, existing):
            self._files.discard(staged)
            return Kind.DUPLICATE
        kept = self._superseded_path(incoming, incoming.content)
        if os.path.exists(kept) or record.completed_at(existing) > record.completed_at(incoming.content):
            self._files.keep_as(staged.temporary, kept)
            self._files.discard(staged)
            return Kind.SUPERSEDED
        self._files.keep_as(staged.path, self._superseded_path(incoming, existing))
        self._files.sync_folders()  # the older result has its second name before it loses its first
        self._files.replace(staged)
        return Kind.REPLACED

    def _superseded_path(self, incoming: Record, content: bytes) -> str:
        return self.layout.superseded(incoming.place, hashlib.sha256(content).hexdigest())

    def _enter(self, batch: Sequence[Pending], outcomes: Sequence[Outcome]) -> None:
        """Enter what was recorded in the journals of its days."""
        entries: dict[str, dict[str, Entry]] = {}
        for pending, outcome in zip(batch, outcomes, strict=True):
            if pending.record is not None and outcome.kind not in _BESIDE:
                place = pending.record.place
                entry = pending.record.entry
                new = entries.setdefault(place.date, {})
                if outcome.kind is Kind.DUPLICATE:
                    day = self._day(place.date)
                    day.catch_up()
                    if day.entries.get(place.name) == entry:
                        continue
                new[place.name] = entry
        for date, new in entries.items():
            if new:
                self._day(date).append(new)
            self._advance_latest(date)

    def _advance_latest(self, date: str) -> None:
        """Move `latest` on. A link that can't be moved is no reason to stop recording: it is tried again."""
        self._newest = max(self._newest, date)
        try:
            self._latest.advance(self._newest)
            self.latest_problem = None
        except StorageError as error:
            self.latest_problem = error

    def _day(self, date: str) -> Day:
        day = self._days.get(date)
        if day is None:
            while (
                len(self._days) >= _OPEN_DAYS and sum(len(day.entries) for day in self._days.values()) > _OPEN_ENTRIES
            ):
                oldest = next(iter(self._days))
                self._days[oldest].close()
                del self._days[oldest]
            day = self._days[date] = Day(self.layout, self._files, date)
        self._days.move_to_end(date)
        return day


def writer_name() -> str:
    """A name that no other writer has: host, process and a random part."""
    host = "".join(c if c.isalnum() or c == "-" else "-" for c in socket.gethostname())[:40]
    return f"{host}-{os.getpid()}-{secrets.token_hex(4)}"
