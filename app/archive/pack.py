"""A pack: one day's files as a compressed tar, made and read as streams. Knows nothing of where packs are kept.

The same files give the same bytes: sorted, without owners, modes or times of their own. Whatever a pack holds that its
manifest doesn't name, to the byte, is refused: a pack can be anybody's.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import stat
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import BinaryIO

import zstandard

from app.archive.manifest import CLEANED, REPLACE, DamagedArchiveError, Manifest, PackedFile
from app.store import encode

LEVEL = 12
WINDOW_BITS = 24
"""docs/data-management.md has the measurements behind these two."""

SUMMARY = "summary.json"
VIEWS = frozenset({SUMMARY, CLEANED})
"""What tells of a day's recordings and is none."""

_MOST_WINDOW_BYTES = 2**27
"""What `zstd` takes without being asked to; a hostile frame could demand more memory."""

_LONGEST_HEADER_BYTES = 64 * 1024
_CHUNK_BYTES = 1024**2

Members = Iterable[tuple[str, bytes]]
"""Names inside the day, and what they hold."""


class _Summed:
    """A file that is written to, and the sum and size of what was."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.sum = hashlib.sha256()
        self.size = 0

    def write(self, content: bytes) -> int:
        self.sum.update(content)
        self.size += len(content)
        return self._file.write(content)


def write_pack(file: BinaryIO, date: str, members: Members) -> Manifest:
    """Write a pack of these members, in their order; its manifest lacks the name that the file will have."""
    sink = _Summed(file)
    files: dict[str, PackedFile] = {}
    summary: bytes = b""
    parameters = zstandard.ZstdCompressionParameters.from_level(LEVEL, window_log=WINDOW_BITS, write_checksum=True)
    compressor = zstandard.ZstdCompressor(compression_params=parameters)
    midnight = int(datetime.fromisoformat(date).replace(tzinfo=UTC).timestamp())
    with (
        compressor.stream_writer(sink, closefd=False) as frame,  # type: ignore[arg-type]  # a write() is all it needs
        tarfile.open(fileobj=frame, mode="w|", format=tarfile.GNU_FORMAT) as tar,
    ):
        for name, content in members:
            info = tarfile.TarInfo(f"{date}/{name}")
            info.size, info.mtime = len(content), midnight  # of that day, as recordings there must be
            tar.addfile(info, io.BytesIO(content))
            files[name] = PackedFile(len(content), hashlib.sha256(content).hexdigest())
            if name == SUMMARY:
                summary = content
    return Manifest(date, "", sink.size, sink.sum.hexdigest(), files, _head(summary))


def read_pack(path: str, manifest: Manifest) -> Iterator[tuple[str, bytes]]:
    """Each file of a pack, checked against the manifest. Raises `DamagedArchiveError` and OSError."""
    left = dict(manifest.files)
    with open_plain(path) as file, _damage_of(path):
        if os.fstat(file.fileno()).st_size != manifest.size or _sum(file) != manifest.sha256:
            raise ValueError("its bytes aren't those that the manifest tells of")
        file.seek(0)
        stream = zstandard.ZstdDecompressor(max_window_size=_MOST_WINDOW_BYTES).stream_reader(file)
        with tarfile.open(fileobj=stream, mode="r|", tarinfo=_Member) as tar:
            for info in tar:
                tar.members.clear()  # type: ignore[attr-defined]  # else it keeps them all
                name = info.name.removeprefix(f"{manifest.date}/")
                expected = left.pop(name, None)
                if not info.isreg() or info.issparse() or expected is None or info.name == name:
                    raise ValueError(f"it holds {info.name[:100]!r}, which the manifest doesn't name as a file")
                content = _read_member(tar, info, expected.size)
                if hashlib.sha256(content).hexdigest() != expected.sha256:
                    raise ValueError(f"{name} isn't what the manifest tells of")
                yield name, content
        if left:
            raise ValueError(f"it lacks {next(iter(left))!r} and {len(left) - 1:,} more")


def sums_in(path: str) -> Iterator[tuple[str, str]]:
    """Each file of a pack that has no manifest, and its SHA-256. Raises `DamagedArchiveError` and OSError."""
    with open_plain(path) as file, _damage_of(path):
        stream = zstandard.ZstdDecompressor(max_window_size=_MOST_WINDOW_BYTES).stream_reader(file)
        with tarfile.open(fileobj=stream, mode="r|", tarinfo=_Member) as tar:
            for info in tar:
                tar.members.clear()  # type: ignore[attr-defined]  # else it keeps them all
                member = tar.extractfile(info) if info.isreg() else None
                if member is None:
                    raise ValueError(f"it holds {info.name[:100]!r}, which is no file")
                yield info.name.partition("/")[2], hashlib.file_digest(member, "sha256").hexdigest()  # type: ignore[arg-type]


def check_pack(path: str, manifest: Manifest) -> bytes | None:
    """Read all of a pack; returns its summary's bytes. Raises `DamagedArchiveError` and OSError."""
    summary = None
    for name, content in read_pack(path, manifest):
        if name == SUMMARY:
            summary = content
    return summary


class _Member(tarfile.TarInfo):
    """A header that can't have memory filled with a name of gigabytes."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Member:
        member = super().frombuf(buf, encoding, errors)
        if member.type not in tarfile.SUPPORTED_TYPES or member.type in tarfile.REGULAR_TYPES:
            return member
        if member.size > _LONGEST_HEADER_BYTES:
            raise ValueError("a header is too long")
        return member


def _read_member(tar: tarfile.TarFile, info: tarfile.TarInfo, size: int) -> bytes:
    if info.size != size:
        raise ValueError(f"{info.name[:100]!r} has {info.size:,} bytes, the manifest says {size:,}")
    file = tar.extractfile(info)
    content = file.read() if file else b""
    if len(content) != size:
        raise ValueError(f"{info.name[:100]!r} is cut short")
    return content


def open_plain(path: str) -> BinaryIO:
    """A plain file, to be read: whoever opens a pipe waits for good. Raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "no plain file", path)
    return os.fdopen(handle, "rb")


def _sum(file: BinaryIO) -> str:
    total = hashlib.sha256()
    while chunk := file.read(_CHUNK_BYTES):
        total.update(chunk)
    return total.hexdigest()


def sum_of(path: str) -> str:
    """A file's SHA-256, as hex. Raises OSError."""
    with open_plain(path) as file:
        return _sum(file)


@contextmanager
def _damage_of(path: str) -> Iterator[None]:
    """Turn what is wrong inside a pack into an error that names it."""
    try:
        yield
    except (ValueError, tarfile.TarError, zstandard.ZstdError, EOFError) as error:
        raise DamagedArchiveError(f"the archive is damaged ({error})", path=path, hint=REPLACE) from error


def _head(summary: bytes) -> dict[str, object]:
    try:
        data = encode.load(summary)
    except ValueError:
        return {}
    return {key: value for key, value in data.items() if key != "jobs"} if isinstance(data, dict) else {}
