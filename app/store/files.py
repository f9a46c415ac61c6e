"""The one durable write: nobody else renames, links or syncs a recording, a summary or the `latest` link.

A file is written under a temporary name in its own folder, synced, and only then given its real name; its folder is
synced before anybody is told. So a reader sees all of a file or none of it, and what was reported survives a power cut.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import wraps
from itertools import count
from typing import BinaryIO, ParamSpec, TypeVar, cast

from app.store.errors import NameTooLongError, NoRoomError, StorageError

P = ParamSpec("P")
T = TypeVar("T")

SYNC_THREADS = 16
"""Syncs in flight at once: a disk finishes many together almost as fast as one."""

_SHARE = 50
"""Files that are written before their syncs begin: meanwhile the next are written."""

_MOST_OPEN = 200
"""Files open at once, well below the 1,024 that a process may have as a rule."""

MIN_FREE_INODES = 2_000
"""Twice the largest batch."""


@dataclass(slots=True, eq=False)
class Staged:
    """A file on its way to its name, by way of a temporary one."""

    path: str
    temporary: str
    content: bytes
    """Empty once it is written."""
    synced: Future[None] | None = None
    """Its sync, once begun."""
    error: OSError | None = None
    """Why it couldn't be written or synced, if so; known when `synced` is done."""
    sync_s: float = 0.0
    """How long its sync took."""


@dataclass(slots=True)
class Draft:
    """A file that is written piece by piece, under a temporary name."""

    file: BinaryIO
    temporary: str
    named: bool = False


class DurableFiles:
    """Durable writes below one root, by one writer.

    `writer` is the writer's name, part of its temporary names, so that what a dead one left can be told from what a
    live one is writing. Every method raises `StorageError` when the file system refuses. Not for several threads.
    """

    def __init__(self, root: str, writer: str) -> None:
        self.root = root
        self.writer = writer
        self._pool = ThreadPoolExecutor(SYNC_THREADS, thread_name_prefix="sync")
        self._numbers = count()
        self._safe_folders: set[str] = set()
        self._unsynced: set[str] = set()
        self._staged: list[Staged] = []
        """What waits for its write to begin."""
        self._left: set[str] = set()
        """Temporary files of failed batches."""
        self.free_bytes: int | None = None
        """What the disk had left when it was last asked."""
        self._make_root()

    def stage(self, path: str, content: bytes) -> Staged:
        """Have `content` written for `path` with the next `begin`; it has no name there until `place` or `replace`."""
        folder = os.path.dirname(path)
        self._make_folder(folder)
        staged = Staged(path, self._temporary(folder), content)
        self._staged.append(staged)
        return staged

    def begin(self) -> None:
        """Write all that is staged, and begin to sync it.

        One thread writes, a share at a time, and a pool syncs the share before it. Beside work that keeps the
        interpreter busy, as reading payloads does, the pool would cost more than it saves.
        """
        staged, self._staged = self._staged, []
        for first in range(0, len(staged), _SHARE):
            if first >= _MOST_OPEN:
                earlier = staged[first - _MOST_OPEN : first - _MOST_OPEN + _SHARE]
                wait(cast(Future[None], one.synced) for one in earlier)
            self._begin(staged[first : first + _SHARE])

    def _begin(self, some: list[Staged]) -> None:
        handles = [_write(staged) for staged in some]
        for first in range(min(SYNC_THREADS, len(some))):
            share = slice(first, None, SYNC_THREADS)
            synced = self._pool.submit(_sync, some[share], handles[share])
            for staged in some[share]:
                staged.synced = synced

    def place(self, staged: Staged) -> bool:
        """Give a staged file its name, unless that name is taken: then False, and it stays staged."""
        self._wait(staged)
        try:
            os.link(staged.temporary, staged.path)
        except FileExistsError:
            # Whoever made it may have died before its folder was synced; our caller relies on it being there.
            self._unsynced.add(os.path.dirname(staged.path))
            return False
        except OSError as error:
            raise storage_error("can't name a recording", staged.path, error) from error
        self._unsynced.add(os.path.dirname(staged.path))
        self.discard(staged)
        return True

    def replace(self, staged: Staged) -> None:
        """Give a staged file its name, in the place of whatever had it."""
        self._wait(staged)
        self._rename(staged.temporary, staged.path)

    def keep_as(self, path: str, kept: str) -> None:
        """Give the file at `path` a second name, `kept`, unless it has it already."""
        self._make_folder(os.path.dirname(kept))
        try:
            os.link(path, kept)
        except FileExistsError:
            pass
        except OSError as error:
            raise storage_error("can't keep a superseded recording", kept, error) from error
        self._unsynced.add(os.path.dirname(kept))

    def keep(self, staged: Staged) -> None:
        """Leave the file that has a staged one's name already, with the time of now as the last that it was kept."""
        self.discard(staged)
        with suppress(OSError):
            os.utime(staged.path)

    def discard(self, staged: Staged) -> None:
        """Remove a staged file's temporary name; for good with the next `sync_folders`."""
        self._unsynced.add(os.path.dirname(staged.temporary))
        try:
            os.unlink(staged.temporary)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise storage_error("can't remove a temporary file", staged.temporary, error) from error

    def abandon(self, staged: list[Staged]) -> None:
        """Remove what a failed batch left: what the disk doesn't let us remove now, when it does."""
        self._staged = [one for one in self._staged if one not in staged]
        for one in staged:
            if one.synced is not None:
                one.synced.result()  # wait for the thread to be done with it
                self._left.add(one.temporary)
        with suppress(OSError):
            self.tidy()
        self._safe_folders.clear()  # a folder may have been removed under us

    def tidy(self) -> None:
        """Remove, durably, what failed batches left. Raises OSError."""
        removed = set()
        for path in self._left:
            try:
                os.unlink(path)
            except FileNotFoundError:
                if not os.path.isdir(os.path.dirname(path)):
                    continue  # its disk may be away; and back later, with the file
            removed.add(path)
        for folder in {os.path.dirname(path) for path in removed}:
            sync_folder(folder)
        self._left -= removed

    def sync_folders(self) -> None:
        """Make every name given since the last call durable."""
        with suppress(OSError):
            self.tidy()
        folders, self._unsynced = self._unsynced, set()
        try:
            list(self._pool.map(sync_folder, folders))
        except OSError as error:
            self._unsynced = {folder for folder in folders if os.path.isdir(folder)}  # a removed one needs no sync
            raise storage_error("can't sync a folder", str(error.filename or self.root), error) from error

    def write(self, path: str, content: bytes) -> None:
        """Write one whole file durably, in the place of whatever had its name."""
        staged = self.stage(path, content)
        try:
            self.replace(staged)
        except StorageError:
            self.abandon([staged])
            raise
        self.sync_folders()

    @contextmanager
    def draft(self, folder: str) -> Iterator[Draft]:
        """A file to be written piece by piece in `folder`; it is gone afterwards, unless `finish` gave it its name."""
        self._make_folder(folder)
        temporary = self._temporary(folder)
        try:
            with open(temporary, "xb") as file:
                draft = Draft(file, temporary)
                try:
                    yield draft
                finally:
                    if not draft.named:
                        os.unlink(temporary)
        except OSError as error:
            raise storage_error("can't write a file", temporary, error) from error

    def finish(self, draft: Draft, path: str) -> None:
        """Give a draft its name durably, in the place of whatever had it."""
        draft.file.flush()
        os.fsync(draft.file.fileno())
        self._rename(draft.temporary, path)
        draft.named = True
        self.sync_folders()

    def move(self, path: str, target: str) -> None:
        """Give a file or a whole folder another name durably, in one step; nothing may be at `target`, or one file."""
        self._make_folder(os.path.dirname(target))
        try:
            os.rename(path, target)
        except OSError as error:
            raise storage_error("can't move", f"{path} -> {target}", error) from error
        self._safe_folders.clear()  # what was below `path` is somewhere else
        self._unsynced |= {os.path.dirname(path), os.path.dirname(target)}
        self.sync_folders()

    def link(self, path: str, target: str) -> None:
        """Make `path` a symbolic link to `target`, durably and in one step."""
        folder = os.path.dirname(path)
        temporary = self._temporary(folder)
        try:
            os.symlink(target, temporary)
        except OSError as error:
            raise storage_error("can't make a link", path, error) from error
        try:
            self._rename(temporary, path)
        except StorageError:
            with suppress(OSError):
                os.unlink(temporary)
            raise
        self.sync_folders()

    def check_room(self, min_free_bytes: int) -> None:
        """Raise `StorageError` when the disk has less left than is to be kept free, or hardly any inodes."""
        folder = self.root
        while not os.path.isdir(folder):
            folder = os.path.dirname(folder)
        try:
            disk = os.statvfs(folder)
        except OSError as error:
            raise storage_error("can't ask how much is free", folder, error) from error
        self.free_bytes = disk.f_bavail * disk.f_frsize
        if self.free_bytes < min_free_bytes:
            least, left = (count // 1024**2 for count in (min_free_bytes, self.free_bytes))
            hint = f"free some space; {left} MiB are left, and RECORDER_MIN_FREE_MB says how many to keep"
            raise NoRoomError(f"less than {least} MiB are free", path=self.root, hint=hint)
        if min_free_bytes and disk.f_files and disk.f_favail < MIN_FREE_INODES:  # some file systems don't count them
            hint = "remove files that nobody needs, or move to a file system with more"
            raise NoRoomError(f"fewer than {MIN_FREE_INODES} inodes are free", path=self.root, hint=hint)

    def close(self) -> None:
        """Stop the sync threads."""
        self._pool.shutdown()

    def _wait(self, staged: Staged) -> None:
        if staged.synced is None:
            self.begin()
        cast(Future[None], staged.synced).result()
        if staged.error is not None:
            raise storage_error("can't write a recording", staged.path, staged.error) from staged.error

    def _rename(self, temporary: str, path: str) -> None:
        try:
            os.replace(temporary, path)
        except OSError as error:
            raise storage_error("can't name a file", path, error) from error
        self._unsynced.add(os.path.dirname(path))

    def _temporary(self, folder: str) -> str:
        return f"{folder}/.{self.writer}.{next(self._numbers)}.tmp"

    def _make_root(self) -> None:
        missing = []
        folder = os.path.abspath(self.root)
        while not os.path.isdir(folder):
            missing.append(folder)
            folder = os.path.dirname(folder)
        if not missing:
            with suppress(OSError):  # its maker may have died before syncing its name; we may not be allowed to
                sync_folder(os.path.dirname(folder))
        try:
            for folder in reversed(missing):
                os.makedirs(folder, exist_ok=True)
                sync_folder(os.path.dirname(folder))
        except OSError as error:
            raise storage_error("can't make a folder", folder, error) from error

    def _make_folder(self, folder: str) -> None:
        """Make sure of a folder and of its name in each folder above it, up to the root.

        A folder that is there already may have been made by somebody who died before syncing its name, so each is
        synced once by every writer.
        """
        if folder in self._safe_folders:
            return
        try:
            os.makedirs(folder, exist_ok=True)
            while folder != self.root and folder not in self._safe_folders:
                self._safe_folders.add(folder)
                folder = os.path.dirname(folder)
                sync_folder(folder)
        except OSError as error:
            self._safe_folders.clear()
            raise storage_error("can't make a folder", folder, error) from error


def check_writable(folder: str) -> None:
    """Raise `StorageError` when a folder is there and may not be written."""
    if os.path.isdir(folder) and not os.access(folder, os.W_OK):
        read_only = os.statvfs(folder).f_flag & os.ST_RDONLY
        code = errno.EROFS if read_only else errno.EACCES
        raise storage_error("OUTPUT_DIR isn't writable", folder, OSError(code, os.strerror(code)))


def sweep(folders: Iterable[str], writer: str) -> int:
    """Remove the temporary files that a dead writer left in these folders; returns how many there were."""
    swept = 0
    for folder in folders:
        names = [name for name in os.listdir(folder) if name.startswith(f".{writer}.") and name.endswith(".tmp")]
        for name in names:
            os.unlink(f"{folder}/{name}")
        sync_folder(folder)  # else these, and those it removed itself, could be back after a power cut
        swept += len(names)
    return swept


def _write(staged: Staged) -> int | None:
    """Write a file's bytes, not yet durably: its handle, or None if there is none."""
    handle = None
    try:
        handle = os.open(staged.temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        rest = memoryview(staged.content)
        while rest:
            rest = rest[os.write(handle, rest) :]
    except OSError as error:
        staged.error = error
    staged.content = b""
    return handle


def _sync(some: list[Staged], handles: list[int | None]) -> None:
    for staged, handle in zip(some, handles, strict=True):
        if handle is None:
            continue
        try:
            if staged.error is None:
                began_at = time.perf_counter()
                os.fsync(handle)
                staged.sync_s = time.perf_counter() - began_at
        except OSError as error:
            staged.error = error
        finally:
            os.close(handle)


def sync_folder(folder: str) -> None:
    """Make the names in a folder durable. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


_HINTS = {
    errno.ENOSPC: "the disk is full: free some space",
    errno.EDQUOT: "the disk quota is used up: raise it or free some space",
    errno.EROFS: "the file system is read-only: remount it writable",
    errno.EACCES: "permission denied: let the recorder's user write there",
    errno.EPERM: "not permitted: let the recorder's user write there",
    errno.EIO: "the disk reports an error: check its health",
    errno.EISDIR: "a folder stands where a file is needed: move it away",
    errno.ENOENT: "it was removed meanwhile, or is a link to nowhere",
    errno.ENAMETOOLONG: "move OUTPUT_DIR to a file system that allows longer names, or to a shorter path",
    errno.EEXIST: "a file stands where a folder is needed: move it away",
    errno.EXDEV: "OUTPUT_DIR must be on one disk",
    errno.ENOTDIR: "a file stands where a folder is needed: move it away",
}


def storage_error(what: str, path: str, error: OSError) -> StorageError:
    """What the file system said, as an error that names the path and says what to do."""
    cause = error.strerror or str(error)
    kind = NameTooLongError if error.errno == errno.ENAMETOOLONG else StorageError
    return kind(f"{what} ({cause})", path=path, hint=_HINTS.get(error.errno or 0, "see the system's log"))


def wrap_os_errors(method: Callable[P, T]) -> Callable[P, T]:
    """Turn what the file system says, wherever in a method, into a `StorageError`."""

    @wraps(method)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return method(*args, **kwargs)
        except OSError as error:
            raise storage_error("the disk refuses", str(error.filename or "OUTPUT_DIR"), error) from error

    return wrapped
