"""Reading and mapping files in as many processes as there are cores: a chunk at a time, in the plan's order."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from hashlib import sha256
from multiprocessing.connection import wait
from typing import cast

from app.replay.database import Database
from app.replay.hsds.mapping import VERSION
from app.replay.plan import Found, Item, read
from app.replay.records import Prepared, prepare
from app.replay.tree import Refused
from app.store.errors import RecorderError

_CHUNK_FILES = 250
_CHUNK_BYTES = 16 * 1024 * 1024
_AHEAD = 2
"""How many chunks, beside those that are worked on, may be in memory."""

_IN_ARCHIVE = re.compile(r"(?:^|/)(\d{4}-\d{2}-\d{2}/(?:superseded/)?(?:scrapers/[^/]+|processed)/[^/]+)$")


@dataclass(frozen=True, slots=True)
class Known:
    """A file that the ledger has."""

    outcome: str
    reason: str | None
    path: str


@dataclass(slots=True)
class Chunk:
    """What came of some files."""

    files: int = 0
    """How many were read."""
    refused: list[Refused] = field(default_factory=list)
    known: list[Known] = field(default_factory=list)
    moved: list[tuple[bytes, str]] = field(default_factory=list)
    """Those of the known ones that are elsewhere now: SHA-256 and path."""
    prepared: list[Prepared] = field(default_factory=list)


def archive_path(path: str) -> str:
    """A recording's path as the database knows it: from the folder ``daily/`` on, wherever that is."""
    inside = _IN_ARCHIVE.search(path)
    text = f"daily/{inside[1]}" if inside else path
    return text.encode(errors="backslashreplace").decode()  # a name that isn't UTF-8


def chunks_of(items: Iterable[Item], url: str, workers: int) -> Iterator[Chunk]:
    """The files of a plan, read and mapped. With one worker in this process, else in as many others.

    Raises what `Database` does when a worker can't reach the database.
    """
    if workers == 1:
        with Database(url) as ledger:
            yield from (read_chunk(chunk, ledger) for chunk in _in_chunks(items))
        return
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(url,)) as pool:
        running: deque[Future[Chunk]] = deque()
        try:
            for chunk in _in_chunks(items):
                running.append(pool.submit(_work, chunk))
                if len(running) > workers + _AHEAD:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        except BrokenProcessPool:
            raise RecorderError(
                "a process that maps recordings was killed, perhaps because memory ran out",
                hint="what was loaded stays; run this again to go on, with fewer --workers",
            ) from None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def read_chunk(items: Sequence[Item], ledger: Database) -> Chunk:
    """Read some files, and map those that the ledger doesn't have, or has by other rules."""
    chunk = Chunk()
    contents: list[tuple[bytes, str, bytes]] = []
    for item in items:
        content = read(item) if isinstance(item, Found) else item
        if isinstance(content, Refused):
            chunk.refused.append(content)
        elif isinstance(item, Found):
            chunk.files += 1
            contents.append((sha256(content).digest(), archive_path(item.path), content))
    known = _known(ledger, [digest for digest, _, _ in contents])
    for digest, path, content in contents:
        if digest not in known:
            chunk.prepared.append(prepare(content, path, digest))
            continue
        outcome, reason, last_path = known[digest]
        chunk.known.append(Known(outcome, reason, path))
        if path != last_path:
            chunk.moved.append((digest, path))
    return chunk


def _known(ledger: Database, digests: list[bytes]) -> dict[bytes, tuple[str, str | None, str]]:
    if not ledger.has_table("replay_record"):  # a dry run makes the tables where only it can see them
        return {}
    found = ledger.run("known", {"files": digests})
    return {digest: (outcome, reason, path) for digest, outcome, reason, path, version in found if version == VERSION}


def _in_chunks(items: Iterable[Item]) -> Iterator[list[Item]]:
    chunk: list[Item] = []
    size = 0
    for item in items:
        chunk.append(item)
        size += item.size if isinstance(item, Found) else 0
        if len(chunk) >= _CHUNK_FILES or size >= _CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


_ledger: Database | None = None
"""A worker process's own connection."""


def _begin(url: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that we work for
    threading.Thread(target=_end_with_parent, daemon=True).start()
    global _ledger  # noqa: PLW0603 - a process pool has no other place for what its processes keep
    _ledger = Database(url)


def _end_with_parent() -> None:
    """End when the process that we work for was killed; the pool's own queues would let us wait for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _work(items: list[Item]) -> Chunk:
    return read_chunk(items, cast(Database, _ledger))
