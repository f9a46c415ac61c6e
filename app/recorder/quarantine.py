"""Reading quarantine files back: what each says of its job, and the payload. Whatever lies there is only reported.

A file is cheap to look at: its payload comes last, and is read only when it is asked for.
"""

from __future__ import annotations

import hashlib
import os
import stat
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import BinaryIO

from app.store import encode
from app.store.errors import RecorderError
from app.store.layout import Layout, is_date
from app.store.timestamps import parse_timestamp

_PAYLOAD = b',\n  "payload": {'
_END = b'"\n  }\n}\n'
_MOST_HEAD_BYTES = 16 * 1024 * 1024
_MOST_BYTES = 1024 * 1024 * 1024
"""More than the largest value that Redis takes, 512 MiB, as base64."""

_MOST_REASON = 64 * 1024
_CHUNK_BYTES = 64 * 1024


class DamagedError(RecorderError):
    """A quarantine file doesn't say what it should."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A file in quarantine, without its payload."""

    path: str
    job_id: str
    reason: str
    at: datetime | None
    """When its job failed."""
    origin: str | None = None
    """Where its payload comes from, unless from a job in Redis."""
    modified_at: float = 0.0
    size: int = 0
    damage: str | None = None
    """Why it can't be used."""

    @property
    def name(self) -> str:
        """The file's name: the same for the same job and payload, on whatever date."""
        return os.path.basename(self.path)


def kept_files(layout: Layout, job_id: str | None = None) -> Iterator[Kept]:
    """What is in quarantine, oldest date first; with an id, that job's only."""
    stem = None if job_id is None else os.path.basename(layout.quarantine("", job_id, "")).removesuffix(".json")
    dates: list[str] = []
    for entry in _entries(layout.quarantined):
        if isinstance(entry, Kept):
            yield entry
        elif is_date(entry.name) and entry.is_dir(follow_symlinks=False):
            dates.append(entry.name)
    for date in sorted(dates):
        for entry in _entries(f"{layout.quarantined}/{date}"):
            if isinstance(entry, Kept):
                yield entry
            elif entry.name.endswith(".json") and not entry.name.startswith("."):
                if stem is None:
                    yield look(entry.path)
                elif entry.name.startswith(stem) and (kept := look(entry.path)).job_id in (job_id, kept.name):
                    yield kept


def look(path: str) -> Kept:
    """What a file says; its `damage` where it says nothing usable."""
    at: datetime | None = None
    try:
        status = os.lstat(path)
        at = datetime.fromtimestamp(status.st_mtime, UTC)
        if not stat.S_ISREG(status.st_mode):
            raise DamagedError("it is no plain file")
        with _opened(path) as file:
            head = encode.load(_head(file))
        if not isinstance(head, dict) or not isinstance(job_id := head.get("job_id"), str):
            raise DamagedError("it names no job")
        origin = head.get("origin")
        return Kept(
            path,
            job_id,
            str(head.get("reason"))[:_MOST_REASON],
            parse_timestamp(head.get("quarantined_at")) or at,
            None if origin is None else str(origin),
            status.st_mtime,
            status.st_size,
        )
    except (DamagedError, ValueError, OSError, OverflowError) as error:
        return _damaged(path, _why(error), at)


def contents(kept: Kept) -> tuple[bytes, dict[bytes, bytes]]:
    """The payload, exactly as it was in Redis (or as `origin` says), and the other fields of the job's hash.

    Raises `DamagedError`.
    """
    try:
        with _opened(kept.path) as file:
            raw = file.read(_MOST_BYTES + 1)
        if len(raw) > _MOST_BYTES:
            raise DamagedError("it is larger than any payload")
        content = encode.load(raw)
        payload = b64decode(content["payload"]["base64"], validate=True)
        fields = {
            name.encode("latin-1"): value.encode() if isinstance(value, str) else b64decode(value["base64"])
            for name, value in content.get("job", {}).items()
        }
    except (DamagedError, AttributeError, ValueError, TypeError, KeyError, OSError) as error:
        raise DamagedError(_why(error), path=kept.path) from None
    if hashlib.sha256(payload).hexdigest()[:16] != kept.name.split(".")[-2]:
        raise DamagedError("its payload is not the one that it is named after", path=kept.path)
    return payload, fields


def _entries(folder: str) -> Iterator[os.DirEntry[str] | Kept]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except FileNotFoundError:
        return
    except OSError as error:
        yield _damaged(folder, _why(error), None)


def _damaged(path: str, why: str, at: datetime | None) -> Kept:
    return Kept(path, os.path.basename(path), f"damaged: {why}", at, damage=why)


def _why(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"it can't be read ({error.strerror})"
    return error.message if isinstance(error, DamagedError) else "it isn't what the recorder writes"


@contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    """A file, to be read. Never follows a link, and never waits as a pipe would."""
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        yield file


def _head(file: BinaryIO) -> bytes:
    """The file without its payload, which comes last."""
    file.seek(max(0, os.fstat(file.fileno()).st_size - len(_END)))
    if file.read(len(_END)) != _END:
        raise DamagedError("its end is missing")
    file.seek(0)
    head = bytearray()
    while chunk := file.read(_CHUNK_BYTES):
        head += chunk
        cut = head.find(_PAYLOAD, max(0, len(head) - len(chunk) - len(_PAYLOAD)))
        if cut >= 0:
            return bytes(head[:cut]) + b"}"
        if len(head) > _MOST_HEAD_BYTES:
            break
    raise DamagedError("it has no payload")
