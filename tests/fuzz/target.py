"""What must hold for every payload, whatever its bytes: `check` raises where it doesn't.

Shared by the fuzzer and by the tests that run its seeds; needs nothing but the recorder itself.
"""

from __future__ import annotations

import importlib.util
import os
import pickletools
import re
import resource
import shutil
import sys
import tempfile
import threading
import types
import zlib
import zoneinfo
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from app.recorder.decode import decode_result, loads, uses_json
from app.recorder.write import RecordWriter
from app.store import record
from app.store.encode import load_exactly
from app.store.errors import UnrecordableError
from app.store.layout import Layout

MAX_BYTES = 1_000_000
"""The decoder's limit while fuzzing, and the encoder's."""

MAX_TUPLE = 100_000
"""Payloads with larger tuples, shared parts counted each time, are passed over: hashing one as a key can take hours.

That is known, and ended by the recorder's watchdog (docs/decisions/0009). A fuzzer would find nothing else.
"""

WRITE_EACH = 200
"""One recordable payload in so many is really written to a disk."""

NOW = datetime(2025, 8, 9, 12, tzinfo=UTC)
ENQUEUED = datetime(2025, 8, 9, 11, 59, tzinfo=UTC)

_HARMLESS = frozenset({"builtins.id", "gc.get_referents", "resource.setrlimit", "sys.unraisablehook"})
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_ZONES = importlib.util.find_spec("tzdata")
_READ_BY_THE_DECODER = (
    "/proc/self/statm",
    *(f"{folder}/" for folder in zoneinfo.TZPATH),
    *(f"{folder}/zoneinfo/" for folder in (_ZONES and _ZONES.submodule_search_locations) or []),
)
_KNOWN_ZONES = zoneinfo.available_timezones()
_HEAP_TYPE = 1 << 9
_CODE = (types.FunctionType, types.BuiltinFunctionType, types.ModuleType, types.CodeType, types.FrameType)


class BrokenPromise(Exception):  # noqa: N818 - it is one
    """A payload did what no payload may."""


class _Watch:
    """Python's audit hook, which can't be taken away again: it does nothing unless told to look."""

    def __init__(self) -> None:
        self._thread: int | None = None
        self._root: str | None = None
        self._seen: list[str] = []
        sys.addaudithook(self._hook)
        sys.meta_path.insert(0, self)  # what importlib looks for, the audit hook isn't told

    def find_spec(self, name: str, *_: Any) -> None:
        """Find no module, but notice that one is looked for."""
        if self._thread == threading.get_ident():
            self._seen.append(f"import of {name:.200}")

    @contextmanager
    def decoding(self) -> Iterator[None]:
        """Nothing may be opened, imported or run meanwhile by this thread."""
        self._thread = threading.get_ident()
        try:
            yield
        finally:
            self._thread = None
            self._report()

    @contextmanager
    def writing_below(self, root: str) -> Iterator[None]:
        """No thread may change a file elsewhere meanwhile."""
        self._root = root
        try:
            yield
        finally:
            self._root = None
            self._report()

    def _report(self) -> None:
        if self._seen:
            seen, self._seen = self._seen, []
            raise BrokenPromise(f"it caused: {seen[:5]}")

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if self._root is not None and not _stays_below(self._root, event, args):
            self._seen.append(f"{event} {args!r:.300}")
        if self._thread == threading.get_ident() and event not in _HARMLESS and not _expected(event, args):
            self._seen.append(f"{event} {args!r:.300}")


def _expected(event: str, args: tuple[Any, ...]) -> bool:
    """Whether the decoder itself does this: it asks for its own size, and for a zone by its name."""
    if event == "sys.excepthook":  # how CPython tells of a bytearray that found no memory; harmless
        return isinstance(args[2], SystemError) and "deallocated bytearray" in str(args[2])
    if event == "object.__setattr__":  # told before it fails, as it does for instances of types written in C
        return not type(args[0]).__flags__ & _HEAP_TYPE
    if event != "open" or not isinstance(args[0], str):
        return False
    path = args[0]
    for folder in _READ_BY_THE_DECODER[1:]:
        if path.startswith(folder) and path.removeprefix(folder) not in _KNOWN_ZONES:
            return False
    return path.startswith(_READ_BY_THE_DECODER) and not args[2] & _WRITING


def _stays_below(root: str, event: str, args: tuple[Any, ...]) -> bool:
    if event == "open":
        paths = [args[0]] if args[2] & _WRITING else []
    elif event in ("os.link", "os.rename", "os.symlink"):
        paths = [args[1]]  # a link's text is relative to where it is
    elif event in ("os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.chmod", "os.chown", "os.utime"):
        paths = [args[0]]
    else:
        return not event.startswith(("subprocess", "os.system", "os.exec", "os.posix_spawn", "os.fork", "ctypes"))
    return all(
        isinstance(path, int) or f"{os.path.abspath(os.fsdecode(path))}/".startswith(f"{root}/") for path in paths
    )


_watch: _Watch | None = None
_written = 0

_FLOAT_AS_TEXT = re.compile(rb"F[+-]?(?:nan|inf)", re.IGNORECASE)


def check(stored: bytes) -> str:
    """Take `stored` as a job's data through the recorder. Returns what became of it; raises for a broken promise."""
    global _watch  # noqa: PLW0603 - one hook for a process
    if _watch is None:
        for zone in _KNOWN_ZONES:
            zoneinfo.ZoneInfo(zone)  # some are in a package, which this imports
        _watch = _Watch()
    if largest_tuple(_unpacked(stored)) > MAX_TUPLE:
        return "passed over"
    modules = set(sys.modules)
    limits = resource.getrlimit(resource.RLIMIT_AS)
    built: record.Record | None = None
    try:
        with _watch.decoding():
            uses_json(stored)
            data, payload_bytes, simple = _decoded(stored)
            _assert_inert(data)
            built = _built(data, payload_bytes, simple=simple)
            if simple and built.content != _built(data, payload_bytes, simple=False).content:
                _assert_float_as_text(stored)
    except UnrecordableError as error:
        if not error.message or len(error.message) > 1000:
            raise BrokenPromise(f"an unusual reason: {error.message:.2000}") from error
        error.message.encode("utf-8", "backslashreplace")
    if set(sys.modules) != modules:
        raise BrokenPromise(f"it imported {set(sys.modules) ^ modules}")
    if resource.getrlimit(resource.RLIMIT_AS) != limits:
        raise BrokenPromise("the limit of memory stayed")
    if built is None:
        return "refused"
    _assert_sound(built)
    return "recorded"


def _decoded(stored: bytes) -> tuple[Any, int, bool]:
    """The result that a payload holds, its size, and whether it is known to be simple.

    Where it is no job, its whole value, so that the encoder sees that too.
    """
    try:
        found = decode_result(stored, MAX_BYTES)
    except UnrecordableError as error:
        if "not a job" not in error.message and "the job" not in error.message:
            raise
        payload = _unpacked(stored)
        return loads(payload), len(payload), False
    return found.data, found.payload_bytes, found.simple


def _built(data: Any, payload_bytes: int, *, simple: bool) -> record.Record:
    """A record of the result, or of one that carries it in every place where records look."""
    limits: dict[str, Any] = {"payload_bytes": payload_bytes, "simple": simple, "max_bytes": MAX_BYTES}
    try:
        return record.build(data, enqueued_at=ENQUEUED, now=NOW, **limits)
    except UnrecordableError:
        pass
    job = data if isinstance(data, dict) else {"created_at": data, "metadata": {"scraper_id": data}}
    wrapped = {"job_id": "fuzz", "job": job, "result": data, "completed_at": data}
    return record.build(wrapped, enqueued_at=ENQUEUED, now=NOW, **limits)


def _assert_float_as_text(stored: bytes) -> None:
    """The one thing that what is taken for simple may be wrong about; no pickler writes it."""
    if not _FLOAT_AS_TEXT.search(_unpacked(stored)):
        raise BrokenPromise("what was taken for simple is written as something else")


def _unpacked(stored: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(stored, MAX_BYTES)
    except zlib.error:
        return stored


def _assert_inert(data: Any) -> None:
    """Nothing that was decoded is code, or an object of a class that isn't data."""
    seen: dict[int, Any] = {}
    waiting = [data]
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen[id(value)] = value
        if isinstance(value, _CODE):
            raise BrokenPromise(f"it was decoded to code: {value!r:.200}")
        kind = value if isinstance(value, type) else type(value)
        home = type(kind).__module__ if isinstance(value, type) else kind.__module__
        if home not in ("builtins", "datetime", "decimal", "uuid", "zoneinfo", "app.recorder.pickled"):
            raise BrokenPromise(f"it was decoded to a {kind}")
        if isinstance(value, dict):
            waiting.extend(value)
            waiting.extend(value.values())
        elif isinstance(value, list | tuple | set | frozenset):
            waiting.extend(value)


def _assert_sound(built: record.Record) -> None:
    """The record is JSON that says the same when read back, and has a place inside its day."""
    global _written  # noqa: PLW0603 - a count for a process
    if len(built.content) > 4 * MAX_BYTES:
        raise BrokenPromise(f"written out it takes {len(built.content):,} bytes")
    data = load_exactly(built.content)
    read = record.read_entry(built.place.date, built.content)
    if read != (built.place, built.entry) and not _surrogates_meet(built.content):
        raise BrokenPromise(f"read back it is elsewhere: {built.place}")
    if not record.same_result(built, built.content) or not isinstance(data, dict):
        raise BrokenPromise("it isn't the same as itself")
    path = Layout("/out").recording(built.place)
    parts = path.split("/")
    if os.path.normpath(path) != path or parts[:3] != ["", "out", "daily"] or len(parts) > 7:
        raise BrokenPromise(f"it has a place outside: {path}")
    _written += 1
    if _written % WRITE_EACH == 1:
        _assert_written_below(built, data)


def _surrogates_meet(content: bytes) -> bool:
    """Whether two lone surrogates stand beside each other: JSON can't tell the pair from the one character."""
    return b"\\ud" in content


def _assert_written_below(built: record.Record, data: dict[str, Any]) -> None:
    assert _watch is not None
    parent = tempfile.mkdtemp()
    root = f"{parent}/a/b/out"
    os.makedirs(root)
    try:
        with _watch.writing_below(root), RecordWriter(root, name="fuzz") as writer:
            (outcome,) = writer.commit([writer.stage(data)])
        if not outcome.path.startswith(f"{root}/daily/") or os.path.realpath(outcome.path) != outcome.path:
            raise BrokenPromise(f"written to {outcome.path}")
        if sorted(os.listdir(f"{parent}/a/b")) != ["out"] or os.listdir(parent) != ["a"]:
            raise BrokenPromise("a file outside")
    finally:
        shutil.rmtree(parent)


def largest_tuple(payload: bytes) -> int:
    """How many values the largest tuple of a pickle holds, each shared one counted as often as it is used."""
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[Any, int] = {}
    largest = 1
    try:
        for opcode, arg, _ in pickletools.genops(payload):
            name = opcode.name
            if name == "MARK":
                marks.append(len(stack))
            elif name == "DUP":
                stack.append(stack[-1])
            elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
                memo[arg] = stack[-1]
            elif name == "MEMOIZE":
                memo[len(memo)] = stack[-1]
            elif name in ("GET", "BINGET", "LONG_BINGET"):
                stack.append(memo[arg])
            elif name == "POP" and marks and marks[-1] == len(stack):
                marks.pop()
            else:
                weight = _take(opcode, stack, marks)
                if opcode.stack_after:
                    weight = 1 + weight if "TUPLE" in name else 1
                    stack.append(weight)
                    largest = max(largest, weight)
    except (ValueError, IndexError, KeyError):
        pass  # the unpickler ends here too
    return largest


def _take(opcode: Any, stack: list[int], marks: list[int]) -> int:
    """Pop what an opcode takes, and say how heavy it was."""
    before = opcode.stack_before
    size = len(before)
    if pickletools.markobject in before:
        size = len(stack) - marks.pop() + before.index(pickletools.markobject)
    if size > len(stack):
        raise IndexError
    taken = stack[len(stack) - size :]
    del stack[len(stack) - size :]
    return sum(taken)
