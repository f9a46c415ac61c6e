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
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import wait
from typing import Any, cast

from app.replay.database import Database
from app.replay.hsds.mapping import VERSION
from app.replay.plan import Found, Item, read
from app.replay.records import Prepared, prepare
from app.replay.tree import Refused
from app.store.errors import RecorderError

_CHUNK_FILES = 250
_FIRST_CHUNK_FILES = 20
"""The first tells soon whether there is anything to map."""
_CHUNK_BYTES = 16 * 1024 * 1024
_KNOWN_CHUNKS = 20
"""So many that hold nothing to map are read in about the time that other processes take to start."""

_AHEAD = 2
"""How many chunks, beside those that are worked on, may be in memory."""

_IN_ARCHIVE = re.compile(r"(?:^|/)(\d{4}-\d{2}-\d{2}/(?:superseded/)?(?:scrapers/[^/]+|processed)/[^/]+)$")


class WorkerLostError(RecorderError):
    """A process that maps recordings has ended before its work."""

    exit_code = 3  # 1 says that all but some files were loaded


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

    Those others are started once there is something to map, or many files: a replay of what is known needs none.
    Raises what `Database` does when a worker can't reach the database.
    """
    chunks = _in_chunks(items)
    with Database(url) as ledger:
        for number, files in enumerate(chunks, 1):
            chunk = read_chunk(files, ledger)
            others = workers > 1 and (chunk.prepared or number == _KNOWN_CHUNKS)
            if others:
                _start_forkserver()
            yield chunk
            if others:
                yield from _by_others(chunks, url, workers)


def _start_forkserver() -> None:
    """Start what forks the others; it never hears of Ctrl-C, which a terminal sends to all."""
    forkserver.set_forkserver_preload([__name__])
    resource_tracker.ensure_running()  # else the forkserver starts it, which lets the signal through
    with _uninterrupted():
        forkserver.ensure_running()


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Keep Ctrl-C back: a process that is only half started would live on, and show a traceback."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _by_others(chunks: Iterator[list[Item]], url: str, workers: int) -> Iterator[Chunk]:
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(workers, context, initializer=_begin) as pool:
        running: deque[Future[Chunk]] = deque()
        try:
            for chunk in chunks:
                with _uninterrupted():  # submitting starts processes
                    running.append(pool.submit(_work, chunk, url))
                if len(running) > workers + _AHEAD:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        except BrokenProcessPool:
            raise WorkerLostError(
                "a process that maps recordings was killed, perhaps because memory ran out",
                hint="what was loaded stays; run this again to go on, with fewer --workers",
            ) from None
        finally:
            if running:  # given up: what they still read is for nobody, and the pool's end waits for them
                for process in multiprocessing.active_children():
                    process.terminate()
                # Until Python 3.11.5 the pool's end also waits to hand over work that nobody is left to read.
                cast(Any, pool)._call_queue._reader.close()


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
    size, most = 0, _FIRST_CHUNK_FILES
    for item in items:
        chunk.append(item)
        size += item.size if isinstance(item, Found) else 0
        if len(chunk) >= most or size >= _CHUNK_BYTES:
            yield chunk
            chunk, size, most = [], 0, _CHUNK_FILES
    if chunk:
        yield chunk


@cache
def _ledger(url: str) -> Database:
    """A worker process's own connection. Made by its first work: what went wrong in `_begin` would not reach us."""
    return Database(url)


def _begin() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that we work for
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End when the process that we work for was killed; the pool's own queues would let us wait for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _work(items: list[Item], url: str) -> Chunk:
    return read_chunk(items, _ledger(url))
