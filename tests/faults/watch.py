"""Watches a traced recorder: finds where jobs are acknowledged, and holds against it what must be on disk by then."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.faults.durability import Disk, File, Moment
from tests.faults.trace import Call, descriptor, texts

TAKEN = b"rq:recorder:recorder:taken:"
_REGISTRIES = (b"rq:finished:recorder", b"rq:failed:recorder")
_ENDS = (b"finished", b"failed")


@dataclass(frozen=True, slots=True)
class Sent:
    """A result on its way to the recorder."""

    rq_id: str
    payload: bytes
    """As RQ packed it."""
    data: dict[str, Any]

    @property
    def day(self) -> str:
        return str(self.data["job"]["created_at"])[:10]

    @property
    def folder(self) -> str:
        scraper = self.data["job"].get("metadata", {}).get("scraper_id")
        return f"scrapers/{scraper}" if scraper else "processed"

    @property
    def recordable(self) -> bool:
        return "job_id" in self.data

    @property
    def path(self) -> str:
        """Where it is recorded, inside OUTPUT_DIR."""
        return f"daily/{self.day}/{self.folder}/{self.data['job_id']}.json"

    def is_in(self, content: bytes) -> bool:
        """Whether a file has it: all that was sent."""
        try:
            found = json.loads(content)
            if self.recordable:
                return all(found[key] == self.data[key] for key in self.data)
            return base64.b64decode(found["payload"]["base64"]) == self.payload
        except (ValueError, KeyError):
            return False

    def places(self, disk: Disk, output: str) -> list[str]:
        """Every path inside the disk's base at which it may be."""
        if not self.recordable:
            days = disk.names(f"{output}/quarantine")
            folders = [f"{output}/quarantine/{day}" for day in days]
            return [f"{folder}/{name}" for folder in folders for name in disk.names(folder)]
        superseded = f"{output}/daily/{self.day}/superseded/{self.folder}"
        beside = [name for name in disk.names(superseded) if name.startswith(f"{self.data['job_id']}.")]
        return [f"{output}/{self.path}", *(f"{superseded}/{name}" for name in beside)]

    def lasts(self, disk: Disk, output: str) -> bool:
        """Whether it is there after any power cut."""
        return any(disk.lasts(path, self.is_in) for path in self.places(disk, output))


@dataclass(slots=True)
class Command:
    """A command to Redis, and when its first and its last byte began to be sent."""

    words: list[bytes]
    first_at: int
    last_at: int


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """The first command that tells Redis that jobs are done with."""

    command: bytes
    rq_ids: frozenset[str]
    first_at: int
    last_at: int


def acknowledgements(found: Sequence[Moment], rq_ids: Collection[str]) -> list[Acknowledgement]:
    """Every acknowledgement of these jobs, in order; a job is in one only, its first."""
    left = {rq_id.encode() for rq_id in rq_ids}
    acknowledged = []
    for command in sorted(_commands(found), key=lambda command: command.first_at):
        if ids := _finishes(command.words) & left:
            left -= ids
            names = frozenset(rq_id.decode() for rq_id in ids)
            acknowledged.append(Acknowledgement(command.words[0], names, command.first_at, command.last_at))
    return acknowledged


def _finishes(words: list[bytes]) -> set[bytes]:
    """The words among which are the ids of the jobs that a command says are done with."""
    name, *arguments = words
    taken = any(word.startswith(TAKEN) for word in arguments)
    if name.upper().startswith(b"EVAL"):
        return set(arguments) if taken and any(registry in arguments for registry in _REGISTRIES) else set()
    if name == b"LREM":
        return set(arguments) if taken else set()
    if name == b"ZADD":
        return set(arguments) if arguments[0] in _REGISTRIES else set()
    if name in (b"HSET", b"HMSET") and any(end in arguments for end in _ENDS):
        return {arguments[0].removeprefix(b"rq:job:")}
    return {arguments[0].removeprefix(b"rq:job:")} if name in (b"DEL", b"UNLINK") else set()


def _commands(found: Sequence[Moment]) -> Iterator[Command]:
    """What was sent to Redis, by connection, in RESP."""
    streams: dict[str, _Stream] = {}
    for moment in found:
        call = moment.call
        if moment.starts and call.name in ("sendto", "sendmsg", "write") and "socket:" in _named(call):
            stream = streams.setdefault("".join(descriptor(call.args[0])), _Stream())
            yield from stream.add(call)


def _named(call: Call) -> str:
    return descriptor(call.args[0])[1]


@dataclass(slots=True)
class _Stream:
    rest: bytes = b""
    first_at: int = -1

    def add(self, call: Call) -> Iterator[Command]:
        if not self.rest:
            self.first_at = call.start
        self.rest += texts(" ".join(call.args))[0]
        while (parsed := _read_command(self.rest)) is not None:
            words, end = parsed
            yield Command(words, self.first_at, call.start)
            self.rest, self.first_at = self.rest[end:], call.start


def _read_command(data: bytes) -> tuple[list[bytes], int] | None:
    """The first command in RESP and where it ends; None when it isn't whole yet."""
    line, found, _ = data.partition(b"\r\n")
    if not found:
        return None
    assert line[:1] == b"*", f"not RESP: {line[:80]!r}"
    words, place = [], len(line) + 2
    for _ in range(int(line[1:])):
        end = data.find(b"\r\n", place)
        if end < 0:
            return None
        begin, size = end + 2, int(data[place + 1 : end])
        if len(data) < begin + size + 2:
            return None
        words.append(data[begin : begin + size])
        place = begin + size + 2
    return words, place


@dataclass(slots=True)
class Watcher:
    """Holds the promises against what was done, call by call."""

    disk: Disk
    output: str
    """OUTPUT_DIR inside the disk's base."""
    jobs: dict[str, Sent]
    problems: list[str] = field(default_factory=list)
    acknowledged: set[str] = field(default_factory=set)

    def watch(self, found: Sequence[Moment]) -> list[Acknowledgement]:
        """Follow a program to its end."""
        acknowledgements_of = acknowledgements(found, self.jobs.keys())
        waiting = acknowledgements_of[::-1]
        for moment in found:
            if moment.starts:
                while waiting and waiting[-1].first_at <= moment.at:
                    self._acknowledge(waiting.pop())
                self._before(moment.call)
            self.disk.follow(moment)
            if not moment.starts and moment.call.name.startswith(("link", "rename", "unlink")):
                self._still_there()
        return acknowledgements_of

    def _acknowledge(self, acknowledgement: Acknowledgement) -> None:
        for rq_id in sorted(acknowledgement.rq_ids):
            if not self.jobs[rq_id].lasts(self.disk, self.output):
                self.problems.append(f"acknowledged before it lasts: {rq_id}")
        self.acknowledged |= acknowledgement.rq_ids

    def _still_there(self) -> None:
        lost = [rq_id for rq_id in self.acknowledged if not self.jobs[rq_id].lasts(self.disk, self.output)]
        self.problems += [f"no longer lasts: {rq_id}" for rq_id in sorted(lost)]

    def _before(self, call: Call) -> None:
        if call.name not in ("openat", "link", "linkat", "rename", "renameat", "renameat2"):
            return
        path = self.disk.path(call)
        if path is None:
            return
        if call.name == "openat":
            if "O_CREAT" in call.args[2] and self.disk.find(path) is None:
                self._before_creating(path)
        elif path.endswith(".json"):
            old = self.disk.path(call, last=False)
            node = self.disk.find(old) if old is not None else None
            if not isinstance(node, File) or node.lasting is None:
                self.problems.append(f"named before its bytes last: {path}")

    def _before_creating(self, path: str) -> None:
        kind, _, below = path.removeprefix(f"{self.output}/").partition("/")
        if kind not in ("daily", "quarantine"):
            return
        line = f"{kind}/{below[:10]}\n".encode()
        state = f"{self.output}/.recorder"
        ledgers = [name for name in self.disk.names(state) if name.endswith(".writer")]
        if not any(_notes(self.disk, f"{state}/{name}", line) for name in ledgers):
            self.problems.append(f"created before a ledger says so: {os.path.basename(path)}")


def _notes(disk: Disk, ledger: str, line: bytes) -> bool:
    """Whether a ledger has a line, after any power cut; it is only ever added to."""
    return all(isinstance(node, File) and line in node.synced for node in disk.possible(ledger))
