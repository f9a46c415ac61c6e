"""A job's payload -> plain data. A payload is data: nothing in it is imported or run, and its size is bounded.

RQ's pickle and JSON serializers are told apart by the payload itself. A pickled object of a class that isn't one of a
few value types becomes a stand-in that only keeps what it is given, and then its fields.
"""

from __future__ import annotations

import io
import json
import mmap
import os
import pickle
import re
import resource
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from isal import isal_zlib

from app.recorder.pickled import StandIn, plain, value_type
from app.store.errors import UnrecordableError

RECORD_FUNCTION = "app.recorder.utils.record_result"
"""The only function that a job of the recorder's queue may name."""

RECEIPT_ARGUMENT = "recorded_in"
"""Its argument in a receipt, which a recorded job has in the place of its payload."""

_JSON_BEGINS = (b"[", b"{")

_NOT_FINITE = re.compile(rb"G[\x7f\xff][\xf0-\xff]")

_MAX_CLASSES = 1_000
"""Most classes that one payload may name."""

_MEMORY_BASE = 64 * 1024 * 1024
_MEMORY_PER_BYTE = 40
_MEMORY_MOST = 1024 * 1024 * 1024
"""What reading a payload may take: a base, and this much for each of its bytes up to a limit. An empty dict is two
bytes of pickle and 80 of memory; honest payloads stay far below."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """The result that a job asks to be recorded."""

    data: Any
    payload_bytes: int
    """Size of the unpacked payload."""
    json_serializer: bool
    """Whether RQ's JSON serializer made the payload."""
    simple: bool = False
    """See `Call`."""
    recorded_in: str | None = None
    """The file that the result is in already, where there is only a receipt; then there is no data."""


@dataclass(frozen=True, slots=True)
class Call:
    """What a job asks for: a function's name and its arguments."""

    function: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    payload_bytes: int
    """Size of the unpacked payload."""
    json_serializer: bool
    simple: bool
    """Whether it is known to hold no object of any class, and no number that isn't finite: what orjson writes as it is,
    or refuses."""


def decode_result(stored: bytes, max_bytes: int = sys.maxsize) -> Decoded:
    """The result that a job asks to be recorded.

    `stored` is the job's `data` as it is in Redis. Raises `UnrecordableError`.
    """
    call = decode_call(stored, max_bytes)
    if call.function != RECORD_FUNCTION:
        raise UnrecordableError(f"the job's function is {_shown(call.function)}, not {RECORD_FUNCTION}")
    if len(call.args) == 1 and not call.kwargs:
        return Decoded(call.args[0], call.payload_bytes, call.json_serializer, call.simple)
    if not call.args and list(call.kwargs) == ["data"]:
        return Decoded(call.kwargs["data"], call.payload_bytes, call.json_serializer, call.simple)
    match call.kwargs:
        case {"recorded_in": str(path)} if not call.args and len(call.kwargs) == 1:
            return Decoded(None, call.payload_bytes, call.json_serializer, recorded_in=path)
    given = f"{len(call.args)} positional and {len(call.kwargs)} named arguments"
    raise UnrecordableError(f"record_result takes one argument, data; the job gives {given}")


def decode_call(stored: bytes, max_bytes: int = sys.maxsize) -> Call:
    """A job's `data` as it is in Redis -> function name and arguments. Raises `UnrecordableError`."""
    payload = _unpack(stored, max_bytes)
    parts, simple = _read(payload)
    match parts:
        case (str(function), None, [*args] | (*args,), dict(kwargs)):
            return Call(function, tuple(args), kwargs, len(payload), payload[:1] in _JSON_BEGINS, simple)
        case (str(function), _, _, _) | [str(function), _, _, _]:
            raise UnrecordableError(f"the job calls {_shown(function)} on an object, or with unusable arguments")
        case _:
            raise UnrecordableError("the payload is not a job: function, instance, arguments, keyword arguments")


def loads(payload: bytes) -> Any:
    """An RQ serializer's output as plain data, whichever of the two it was. Raises `UnrecordableError`."""
    return _read(payload)[0]


def _read(payload: bytes) -> tuple[Any, bool]:
    """The data, and whether it is simple (see `Call`)."""
    try:
        with _bounded_memory(_MEMORY_BASE + min(_MEMORY_PER_BYTE * len(payload), _MEMORY_MOST)):
            if payload[:1] in _JSON_BEGINS:
                text = payload.decode("utf-8", "surrogatepass")  # json.loads would guess at UTF-16 and import its codec
                return json.loads(text, parse_int=_whole_number), False
            data, has_classes = _Unpickler(payload).load_data()  # not kept: a bomb's must be gone when it has failed
            return data, not has_classes and not _has_odd_number(payload)
    except UnrecordableError:
        raise
    except RecursionError:
        raise UnrecordableError("unreadable payload: nested too deep") from None
    except MemoryError:
        raise UnrecordableError("unreadable payload: it asks for more memory than there is") from None
    except Exception as error:  # a hostile pickle can make the unpickler raise anything
        raise UnrecordableError(f"unreadable payload: {type(error).__name__}: {_shown(error)}") from error


def uses_json(stored: bytes) -> bool:
    """Whether a job's `data` was made by RQ's JSON serializer; no pickle begins as its text does."""
    try:
        first = zlib.decompressobj().decompress(stored, 1)
    except zlib.error:
        first = stored[:1]
    return first in _JSON_BEGINS


def _unpack(stored: bytes, max_bytes: int) -> bytes:
    most = min(max_bytes, sys.maxsize - 1) + 1
    try:
        unpacker = isal_zlib.decompressobj()
        payload = unpacker.decompress(stored, most)
        whole = unpacker.eof
    except isal_zlib.error:  # type: ignore[misc]  # its stub errs; what ISA-L refuses is for zlib to judge
        payload, whole = _unpack_slowly(stored, most)
    if not whole and len(payload) <= max_bytes:
        raise UnrecordableError("unreadable payload: it is cut short")
    if len(payload) > max_bytes:
        raise UnrecordableError(f"the payload is larger than {max_bytes:,} bytes when unpacked")
    return payload


def _unpack_slowly(stored: bytes, most: int) -> tuple[bytes, bool]:
    unpacker = zlib.decompressobj()
    try:
        return unpacker.decompress(stored, most), unpacker.eof
    except zlib.error:
        return stored, True  # older RQ clients can be told not to compress


def _whole_number(digits: str) -> int | str:
    try:
        return int(digits)
    except ValueError:  # more digits than Python converts: kept as text
        return digits


def _has_odd_number(pickled: bytes) -> bool:
    """Whether a pickle may hold a number that isn't finite.

    From protocol 2 on Python's pickler writes a float as ``G`` and its eight bytes. (It could be written as text too;
    whoever does that with a NaN gets null.)
    """
    return pickled[:1] != pickle.PROTO or _NOT_FINITE.search(pickled) is not None


class _Unpickler(pickle.Unpickler):
    """Builds only data. Whatever it hands to the pickle is made for this one payload or can't be changed."""

    def __init__(self, payload: bytes) -> None:
        super().__init__(io.BytesIO(payload))
        self._classes: dict[tuple[str, str], Any] = {}
        self._has_stand_ins = False

    def load_data(self) -> tuple[Any, bool]:
        """The payload as plain data, and whether it has named any class or function."""
        loaded = self.load()
        return plain(loaded) if self._has_stand_ins else loaded, bool(self._classes)

    def find_class(self, module: str, name: str, /) -> Any:
        """A value type's constructor, or a stand-in for any other class or function."""
        found = self._classes.get((module, name))
        if found is None:
            if len(self._classes) >= _MAX_CLASSES:
                raise UnrecordableError(f"unreadable payload: it names more than {_MAX_CLASSES:,} classes")
            found = None if "." in name else value_type(module, name)
            if found is None:
                found = type(name[:100], (StandIn,), {"__module__": module[:100]})
                self._has_stand_ins = True
            self._classes[module, name] = found
        return found


@contextmanager
def _bounded_memory(extra_bytes: int) -> Iterator[None]:
    """Let this process grow by so much and no more meanwhile: a few bytes of pickle can ask for gigabytes."""
    used = _address_space_bytes()
    if used is None:
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = used + extra_bytes
    if soft != resource.RLIM_INFINITY:
        limit = min(limit, soft)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _address_space_bytes() -> int | None:
    statm = _open_statm(os.getpid())
    return None if statm is None else int(os.pread(statm, 32, 0).split(None, 1)[0]) * mmap.PAGESIZE


@lru_cache(maxsize=1)
def _open_statm(_pid: int) -> int | None:
    try:
        return os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:  # not Linux: no cheap way to know
        return None


def _shown(value: object) -> str:
    text = str(value)
    return text if len(text) <= 200 else text[:197] + "..."
