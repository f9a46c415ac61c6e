"""Who is writing below OUTPUT_DIR and in which days, so that what a dead writer left can be put right by a live one.

Each writer holds a lock on a file of its own in ``OUTPUT_DIR/.recorder/`` for as long as it lives, and notes there
every folder before it first writes into it. A file that nobody holds is a dead writer's.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from app.store.errors import StorageError
from app.store.files import storage_error, sync_folder

_SUFFIX = ".writer"
_NEW = ".new"
_FOLDER = re.compile(r"(daily|quarantine)/\d{4}-\d{2}-\d{2}\n")


@dataclass(frozen=True, slots=True)
class DeadWriter:
    """A writer that ended without closing its ledger, and the folders (inside the root) that it had open."""

    name: str
    folders: tuple[str, ...]
    ledger: str = field(compare=False)
    """Its ledger's path."""

    def forget(self) -> None:
        """Remove its ledger: all that it left is put right."""
        with suppress(FileNotFoundError):  # it was only slow to close
            os.unlink(self.ledger)


class Ledger:
    """This writer's own note of the folders that it has open."""

    def __init__(self, state_folder: str, writer: str) -> None:
        self._folder = state_folder
        self._path = f"{state_folder}/{writer}{_SUFFIX}"
        self._noted: set[str] = set()
        self._open()

    def note(self, folder: str) -> None:
        """Make it known, durably, that this writer is about to write into `folder`."""
        if folder in self._noted:
            return
        # A line of its own, whatever a full disk has left of the one before.
        line = f"\n{folder}\n".encode()
        try:
            written = os.write(self._handle, line)
            os.fsync(self._handle)
        except OSError as error:
            raise storage_error("can't note an open folder", self._path, error) from error
        if written < len(line):
            raise StorageError("can't note an open folder (no space left)", path=self._path, hint="free some space")
        self._noted.add(folder)

    def keep(self) -> None:
        """Make the ledger again where somebody has removed it, with OUTPUT_DIR perhaps.

        Raises `StorageError` when OUTPUT_DIR's disk isn't there: what is written under its mount point is hidden later.
        """
        try:
            os.stat(self._path)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise storage_error("can't look at the note of an open writer", self._path, error) from error
        else:
            return
        if _device(self._folder) != self._device:
            hint = "mount the same disk again; if another is to take its place, stop the recorder and start it again"
            raise StorageError("OUTPUT_DIR's disk is gone", path=os.path.dirname(self._folder), hint=hint)
        before = self._handle
        self._open()
        os.close(before)
        noted, self._noted = self._noted, set()
        try:
            for folder in noted:
                self.note(folder)
        except StorageError:
            os.unlink(self._path)  # to be made again, with all of them
            self._noted = noted
            raise

    def close(self, *, in_order: bool) -> None:
        """Let go of the ledger: and of its file too, if everything this writer had open is in order."""
        if in_order:
            with suppress(FileNotFoundError):
                os.unlink(self._path)
        os.close(self._handle)

    def _open(self) -> None:
        try:
            os.makedirs(self._folder, exist_ok=True)
            self._handle = self._make()
            sync_folder(self._folder)
            self._device = _device(self._folder)
        except OSError as error:
            raise storage_error("can't note an open writer", self._path, error) from error

    def _make(self) -> int:
        """The file, locked before it has its name, so that it never looks like a dead writer's."""
        hidden = f"{self._path}{_NEW}"
        while True:
            handle = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                os.rename(hidden, self._path)
            except FileNotFoundError:
                os.close(handle)  # taken for a dead writer's before it was locked
            except OSError:
                os.close(handle)
                raise
            else:
                return handle


def _device(folder: str) -> int:
    """The disk that a folder is on, or would be."""
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return os.stat(folder).st_dev


@contextmanager
def _held(path: str) -> Iterator[int | None]:
    """A ledger's handle while nobody else has its lock; None for one that is held, or isn't for us to see."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        yield None
        return
    try:
        yield handle if stat.S_ISREG(os.fstat(handle).st_mode) and _locked(handle) else None
    finally:
        os.close(handle)


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def dead_writers(state_folder: str) -> Iterator[DeadWriter]:
    """Each writer that died, held, until the caller comes back for the next, so that nobody else puts it right."""
    try:
        names = sorted(os.listdir(state_folder))
    except FileNotFoundError:
        return
    for name in names:
        path = f"{state_folder}/{name}"
        if name.endswith(_SUFFIX + _NEW):
            with _held(path) as handle, suppress(FileNotFoundError):
                if handle is not None:
                    os.unlink(path)  # its writer died before it had noted anything
            continue
        if not name.endswith(_SUFFIX):
            continue
        with _held(path) as handle:
            if handle is None:
                continue
            with open(handle, closefd=False, encoding="utf-8", errors="replace") as ledger:
                folders = tuple(dict.fromkeys(line.strip() for line in ledger if _FOLDER.fullmatch(line)))
            yield DeadWriter(name.removesuffix(_SUFFIX), folders, path)


def is_alive(state_folder: str, writer: str) -> bool:
    """Whether the writer of this name lives; so it seems where its ledger can't be asked."""
    return _folders_of_living(f"{state_folder}/{writer}{_SUFFIX}") is not None


def anyone_lives(state_folder: str) -> bool:
    """Whether there is a living writer."""
    return any(_folders_of_living(ledger) is not None for ledger in _ledgers(state_folder))


def open_folders(state_folder: str, writer: str) -> set[str]:
    """The folders that a living writer has open, as far as can be seen."""
    return _folders_of_living(f"{state_folder}/{writer}{_SUFFIX}") or set()


def is_open(state_folder: str, folder: str) -> bool:
    """Whether a living writer has this folder (such as ``daily/2025-08-08``) open."""
    return any(folder in (_folders_of_living(ledger) or ()) for ledger in _ledgers(state_folder))


def _ledgers(state_folder: str) -> list[str]:
    try:
        return [f"{state_folder}/{name}" for name in os.listdir(state_folder) if name.endswith(_SUFFIX)]
    except OSError:
        return []


def _folders_of_living(ledger: str) -> set[str] | None:
    """What a writer has noted, or None when it is gone.

    A shared lock, taken and let go at once: it can't be had while the writer lives, and two that ask don't take each
    other for one.
    """
    try:
        handle = os.open(ledger, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError:
        return set()
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        with open(handle, encoding="utf-8", errors="replace") as lines:
            return {line.strip() for line in lines}
    os.close(handle)
    return None
