"""The database's dump in a backup: compressed, named by a part of its sum, and checked before it is run."""

from __future__ import annotations

import os
from collections.abc import Iterator

import zstandard

from app.archive.database import Database
from app.archive.manifest import DamagedArchiveError
from app.archive.pack import sum_of
from app.archive.snapshots import DatabaseDump
from app.store.files import DurableFiles

_LEVEL = 6
_CHUNK_BYTES = 1024**2


def take(database: Database, files: DurableFiles, folder: str) -> DatabaseDump:
    """Dump a database into a backup's folder of dumps, and read the file back."""
    with files.draft(folder) as draft:
        compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
        with compressor.stream_writer(draft.file, closefd=False) as frame:
            database.dump(frame.write)
        draft.file.flush()
        digest = sum_of(draft.temporary)
        size = os.path.getsize(draft.temporary)
        for _ in _unpacked(draft.temporary):
            pass
        name = f"{digest[:12]}.sql.zst"
        files.finish(draft, f"{folder}/{name}")
    return DatabaseDump(name, size, digest)


def give_back(database: Database, dump: DatabaseDump, path: str) -> bool:
    """Run a dump in a database without rows; False if it has some, which stay. Raises `DamagedArchiveError`."""
    if database.rows():
        return False
    try:
        if sum_of(path) != dump.sha256:
            raise DamagedArchiveError("the dump's bytes aren't those that were written", path=path)
    except OSError as error:
        raise DamagedArchiveError(f"the dump can't be read ({error.strerror})", path=path) from error
    database.fill(_unpacked(path))
    return True


def _unpacked(path: str) -> Iterator[bytes]:
    with open(path, "rb") as file:
        try:
            yield from zstandard.ZstdDecompressor().read_to_iter(file, read_size=_CHUNK_BYTES)
        except zstandard.ZstdError as error:
            raise DamagedArchiveError(f"the dump is damaged ({error})", path=path) from error
