"""Opening what anybody may have put into a folder: plain files of a size that we can hold, never by way of a link."""

from __future__ import annotations

import errno
import os
import stat

MAX_BYTES = 1024**3
"""A larger file is not read unless asked for: its data would take many times its size in memory."""

_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe can't hang us
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def read_plain(path: str, max_bytes: int = MAX_BYTES) -> tuple[bytes, float]:
    """A plain file's bytes, and when it was last written. Raises OSError; for what is no plain file without a look."""
    return _read(os.open(path, _FILE), max_bytes)


def read_beneath(root: str, name: str, max_bytes: int = MAX_BYTES) -> bytes:
    """The bytes of a plain file beneath the folder `root`. Raises OSError, also when a folder on the way is a link."""
    folder = open_beneath(root, os.path.dirname(name))
    try:
        handle = os.open(os.path.basename(name), _FILE, dir_fd=folder)
    finally:
        os.close(folder)
    return _read(handle, max_bytes)[0]


def open_beneath(root: str, name: str) -> int:
    """The handle of the folder `name` beneath the folder `root`; of `root` itself if it is empty.

    Each folder is opened from within the one before, so that none of them can be made a link meanwhile. Raises
    OSError for a link, and for ``..``.
    """
    handle = os.open(root, _FOLDER)
    for part in name.split("/") if name else ():
        try:
            if part == "..":
                raise OSError(errno.EINVAL, "a path with .. in it", name)
            below = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=handle)
        finally:
            os.close(handle)
        handle = below
    return handle


def _read(handle: int, max_bytes: int) -> tuple[bytes, float]:
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is no plain file")
        if status.st_size > max_bytes:
            raise OSError(errno.EFBIG, f"it has more than {max_bytes:,} bytes")
        content = os.read(handle, status.st_size)
        while len(content) < status.st_size and (more := os.read(handle, status.st_size - len(content))):
            content += more
        return content, status.st_mtime
    finally:
        os.close(handle)
