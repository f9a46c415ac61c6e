"""Who is writing below OUTPUT_DIR and in which days, so that what a dead writer left can be put right by a live one.

Each writer holds a lock on a file of its own in ``OUTPUT_DIR/.recorder/`` for as long as it lives, and notes there
every folder before it first writes into it. A file that nobody holds is a dead writer's.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from app.store.errors import StorageError
from app.store.files import sync_folder

_SUFFIX = ".writer"
_NEW = ".new"
_FOLDER = re.compile(r"(daily|quarantine)/\d{4}-\d{2}-\d{2}\n")


@dataclass(frozen=True, slots=True)
class DeadWriter:
    """A writer that ended without closing its ledger, and the folders (inside the root) that it had open."""

    name: str
    folders: tuple[str, ...]


class Ledger:
    """This writer's own note of the folders that it has open."""

    def __init__(self, state_folder: str, writer: str) -> None:
        self._path = f"{state_folder}/{writer}{_SUFFIX}"
        self._noted: set[str] = set()
        try:
            os.makedirs(state_folder, exist_ok=True)
            self._handle = self._make()
            sync_folder(state_folder)
        except OSError as error:
            raise StorageError(f"can't note an open writer ({error.strerror})", path=self._path) from error

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
            raise StorageError(f"can't note an open folder ({error.strerror})", path=self._path) from error
        if written < len(line):
            raise StorageError("can't note an open folder (no space left)", path=self._path, hint="free some space")
        self._noted.add(folder)

    def close(self, *, in_order: bool) -> None:
        """Let go of the ledger: and of its file too, if everything this writer had open is in order."""
        if in_order:
            with suppress(FileNotFoundError):
                os.unlink(self._path)
        os.close(self._handle)

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


@contextmanager
def _held(path: str) -> Iterator[int | None]:
    try:
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        yield None
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield handle
    except BlockingIOError:
        yield None
    finally:
        os.close(handle)


def dead_writers(state_folder: str) -> Iterator[DeadWriter]:
    """Each writer that died, held so that nobody else puts it right meanwhile.

    Its ledger is removed when the caller comes back for the next one, and stays when the caller fails.
    """
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
            yield DeadWriter(name.removesuffix(_SUFFIX), folders)
            with suppress(FileNotFoundError):  # its writer was only slow to close, or another put it right
                os.unlink(path)
