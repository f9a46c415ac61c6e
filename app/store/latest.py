"""The `latest` link: it names the newest date that has records, is swapped in one step, and never moves back."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from app.store import scan
from app.store.errors import LockedError, StorageError
from app.store.files import DurableFiles, storage_error, wrap_os_errors
from app.store.layout import Layout

_LOCK_TIMEOUT_S = 0.05
"""Moving the link takes milliseconds; whoever holds its lock for longer may be frozen, and recording can't wait."""

_PAUSE_S = 1.0
"""Until a lock that wasn't to be had is tried again."""


class LatestLink:
    """The link as one recorder keeps it."""

    def __init__(self, layout: Layout, files: DurableFiles) -> None:
        self._layout = layout
        self._files = files
        self._newest = ""
        self._locked: LockedError | None = None
        self._retry_at = 0.0

    @wrap_os_errors
    def advance(self, date: str) -> None:
        """Make `latest` name `date`, unless it names that or a newer date already."""
        if date <= self._newest and os.path.islink(self._layout.latest):
            return
        if self._locked is not None and time.monotonic() < self._retry_at:
            raise self._locked
        try:
            self._advance(date)
            self._locked = None
        except LockedError as error:
            self._locked, self._retry_at = error, time.monotonic() + _PAUSE_S
            raise

    def _advance(self, date: str) -> None:
        if not os.path.islink(self._layout.latest) and os.path.exists(self._layout.latest):
            raise StorageError("latest is not a link", path=self._layout.latest, hint="move it away")
        with exclusive(f"{self._layout.state}/latest.lock", _LOCK_TIMEOUT_S):
            newest = max(date, self._named() or self._newest_with_records())
            if newest != self._named():
                self._files.link(self._layout.latest, self._layout.latest_target(newest))
            self._newest = newest

    def _named(self) -> str:
        try:
            day = self._layout.day_of_target(os.readlink(self._layout.latest))
            led_there = day is not None and os.path.samefile(self._layout.latest, self._layout.day(day))
        except OSError:
            return ""
        return day or "" if led_there else ""

    def _newest_with_records(self) -> str:
        days = reversed(scan.days(self._layout))
        return next((day for day in days if any(scan.recording_names(self._layout, day))), "")


@contextmanager
def exclusive(path: str, timeout_s: float) -> Iterator[None]:
    """Hold the lock of a file among all recorders of an OUTPUT_DIR, or raise `StorageError` after `timeout_s`.

    The lock ends with its holder; only a holder that is frozen, not dead, can make anybody wait so long.
    """
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise storage_error("can't open a lock", path, error) from error
    try:
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise LockedError("another recorder holds a lock too long", path=path) from None
                time.sleep(0.005)
        yield
    finally:
        os.close(handle)
