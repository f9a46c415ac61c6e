"""Mutates payloads in units that mean something: a pickle by its opcodes, JSON by its tokens."""

from __future__ import annotations

import pickle
import pickletools
import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from random import Random

from app.recorder.decode import RECORD_FUNCTION
from app.recorder.pickled import _VALUE_TYPES

_TEXTS = [
    "job_id", "job", "created_at", "metadata", "scraper_id", "completed_at", "data", "result", "status", "error", "int",
    "__dict__", "__pydantic_extra__", "__pydantic_private__", "__pydantic_fields_set__", "__class__", "__setstate__",
    "_args", "_kwargs", "_items", "_pairs", "_state", "_make", "_unpickle", "args", "self", "cls", "key", "tzinfo",
    "latin1", "utf-8", "rot13", "2025-08-08T01:02:03Z", "2025-08-08 01:02:03-05:00", "9999-12-31T23:59:59-23:59",
    "1e999999999", "NaN", "-1", "UTC", "Europe/Berlin", "posix/UTC", "tzdata.zi", "../../etc/passwd", "a/../b", "/etc",
    "..", ".", "", "a\0b", "\ud800", "\udc00", "ü" * 90, "x" * 300, "$numberDouble", "os.system", RECORD_FUNCTION,
]  # fmt: skip
_NAMES = [
    *_VALUE_TYPES, ("x", "Y"), ("uuid", "UUID"), ("pathlib", "PosixPath"), ("pathlib._local", "PosixPath"),
    ("zoneinfo", "ZoneInfo"), ("__builtin__", "set"), ("copy_reg", "_reconstructor"), ("builtins", "object"),
    ("os", "system"), ("builtins", "eval"), ("builtins", "__import__"), ("app.recorder.pickled", "StandIn"),
    ("app.recorder.pickled", "_Constructor"), ("sys", "modules"), ("decimal", "getcontext"), ("a.b", "c.d"), ("", ""),
    ("m\0", "n\0"), ("enum", "Flag"), ("fractions", "Fraction"), ("builtins", "slice"), ("builtins", "map"),
]  # fmt: skip
_SINGLE = [op.code.encode("latin1") for op in pickletools.opcodes if op.arg is None]
_TOKENS = [
    b"null", b"true", b"NaN", b"-Infinity", b"1e999", b"9" * 25, b"9" * 5000, b'"\\ud800"', b'"job_id"', b'{"a":',
    b"[[[[[[", b"]", b"}", b",", b":", b'"', b"\xff", b"\\u0000", b'{"job_id": "a", "job": {"created_at": 0}}', b"-0.0",
    b"[" * 300, b"[]," * 300, b'{"job_id": 1, "job_id": "b"}', b'"../../x"',
]  # fmt: skip


def mutate(payload: bytes, max_size: int, seed: int, raw: Callable[[bytes, int], bytes]) -> bytes:
    """A payload like another; `raw` mutates bytes of which nothing is known."""
    random = Random(seed)
    packed = payload[:1] == b"x" and _unpacked(payload)
    if packed:
        mutated = mutate(packed, max_size, seed + 1, raw)
        return zlib.compress(mutated) if random.random() < 0.8 else mutated
    if random.random() < 0.1:
        return raw(payload, max_size)
    if random.random() < 0.02:
        return zlib.compress(payload)[:max_size]
    units = _json_units(payload) if payload[:1] in (b"[", b"{") else units_of(payload)
    new = (lambda: random.choice(_TOKENS)) if payload[:1] in (b"[", b"{") else (lambda: _anything(random))
    for _ in range(random.choice((1, 1, 2, 3, 6))):
        _change(random, units, new)
    mutated = b"".join(units)
    if random.random() < 0.05:
        mutated = as_job(_value(random, 4))
    return mutated[:max_size]


def units_of(payload: bytes) -> list[bytes]:
    """A pickle, opcode by opcode, as far as it is one."""
    starts: list[int] = []
    with suppress(ValueError, IndexError, struct.error):
        starts.extend(at for _, _, at in pickletools.genops(payload) if at is not None)
    ends = [*starts[1:], len(payload)]
    return [payload[start:end] for start, end in zip(starts, ends, strict=False)] or [payload]


def as_job(value: bytes) -> bytes:
    """The payload of a job of which the opcodes `value` make the result."""
    return b"\x80\x04(" + _text(RECORD_FUNCTION) + b"N(" + value + b"t}t."


def _change(random: Random, units: list[bytes], new: Callable[[], bytes]) -> None:
    at = random.randrange(len(units) + 1)
    size = random.choice((0, 1, 1, 2, 5))
    some = units[at : at + size]
    match random.randrange(6):
        case 0:
            units[at:at] = [new()]
        case 1:
            units[at : at + size] = [new()]
        case 2:
            del units[at : at + size]
        case 3:
            units[at:at] = some * random.choice((1, 1, 2, 20))
        case 4:
            other = random.randrange(len(units) + 1)
            units[other:other] = some
        case _:
            other = random.randrange(len(units) + 1)
            start, end = min(at, other), max(at, other)
            units[start:end] = reversed(units[start:end])


def _json_units(payload: bytes) -> list[bytes]:
    spaced = payload
    for mark in (b"[", b"]", b"{", b"}", b",", b":"):
        spaced = spaced.replace(mark, b"\n" + mark + b"\n")
    return [unit for unit in spaced.split(b"\n") if unit] or [payload]


def _unpacked(payload: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(payload, 100_000)
    except zlib.error:
        return b""


def _anything(random: Random) -> bytes:
    """An opcode, or a few that belong together."""
    match random.randrange(8):
        case 0 | 1:
            return random.choice(_SINGLE)
        case 2:
            return _memo(random)
        case 3:
            return _named(random)
        case 4:
            return _oddity(random)
        case _:
            return _value(random, random.randrange(4))


def _value(random: Random, depth: int) -> bytes:
    """Opcodes that push one value, of any kind."""
    if depth <= 0:
        return _leaf(random)
    some = [_value(random, depth - 1) for _ in range(random.randrange(4))]
    pairs = b"".join(_leaf(random) + value for value in some)
    match random.randrange(13):
        case 0:
            return b"](" + b"".join(some) + b"e"
        case 1:
            return b"}(" + pairs + b"u"
        case 2:
            return b"(" + b"".join(some) + b"t"
        case 3:
            return b"\x8f(" + b"".join(_leaf(random) for _ in some) + b"\x90"
        case 4:
            return b"(" + b"".join(_leaf(random) for _ in some) + b"\x91"
        case 5 | 6:
            return _named(random) + b"(" + b"".join(some) + b"tR"
        case 7:
            return _named(random) + b"(" + b"".join(some) + b"t\x81" + _value(random, depth - 1) + b"b"
        case 8:
            return _named(random) + b"(" + b"".join(some) + b"t}(" + pairs + b"u\x92"
        case 9:
            return _named(random) + b")\x81(" + random.choice((pairs + b"u", b"".join(some) + b"e"))
        case 10:
            return _zoned(random)
        case 11:
            return _named(random) + b")\x81" + random.choice((b"}(" + pairs + b"ub", b"N}(" + pairs + b"u\x86b"))
        case _:
            return b"}" + _value(random, depth - 1) + _leaf(random) + b"s"


def _zoned(random: Random) -> bytes:
    """A time in a zone that has a name, as pickles have it."""
    unpickle = _text("builtins") + _text("getattr") + b"\x93(" + _text("zoneinfo") + _text("ZoneInfo") + b"\x93"
    zone = unpickle + _text("_unpickle") + b"tR" + _text(random.choice(_TEXTS)) + b"\x85R"
    moment = _text("datetime") + _text("datetime") + b"\x93C\x0a\x07\xe9\x07\x01\x00\x00\x00\x00\x00\x00"
    return random.choice((zone, moment + zone + b"\x86R"))


def _leaf(random: Random) -> bytes:
    match random.randrange(11):
        case 0 | 1 | 2:
            return _text(random.choice(_TEXTS))
        case 3:
            return b"J" + struct.pack("<i", random.choice((0, 1, -1, 5, 1000, 2**31 - 1, -(2**31))))
        case 4:
            number = random.choice((2**64, 10**20, -(2**70), 10**30, 2**61 - 1, 10**400))
            return pickle.dumps(number, 2)[2:-1]
        case 5:
            return b"G" + struct.pack(">d", random.choice((0.0, -0.0, 1.5, 1e300, float("nan"), float("inf"))))
        case 6:
            some = random.choice(
                (b"", b"\xff", b"x", b"\x07\xe9\x07\x01\x00\x00\x00\x00\x00\x00", b"\x18\x00\x00\x00\x00\x00")
            )
            return random.choice((b"C" + bytes([len(some)]) + some, b"\x96" + struct.pack("<Q", len(some)) + some))
        case 7:
            return random.choice((b"N", b"\x88", b"\x89", b")", b"]", b"}", b"\x8f"))
        case 8:
            return _memo(random)
        case 9:
            return _named(random)
        case _:
            return _named(random) + b")R"


def _memo(random: Random) -> bytes:
    index = random.randrange(5)
    return random.choice((b"q", b"h", b"h", b"h")) + bytes([index]) if random.random() < 0.9 else b"\x94"


def _named(random: Random) -> bytes:
    module, name = random.choice(_NAMES)
    way = random.randrange(10)
    if way == 0:
        return b"(i" + module.encode() + b"\n" + name.encode() + b"\n"
    if way == 1:
        return b"c" + module.encode() + b"\n" + name.encode() + b"\n"
    return _text(module) + _text(name) + b"\x93"


def _oddity(random: Random) -> bytes:
    return random.choice(
        (
            b"\x80" + bytes([random.randrange(7)]),
            b"\x95" + struct.pack("<Q", random.choice((0, 5, 100, 2**40))),
            b"r" + struct.pack("<I", random.choice((0, 300, 10**6, 2**31, 2**32 - 1))),
            b"j" + struct.pack("<I", random.choice((0, 2**31))),
            b"p-1\n", b"p99999999\n", b"g0\n", b"Pid\n", b"I01\n", b"I9_9\n", b"L99L\n", b"F1e999\n", b"Vx\\ud800\n",
            b"S'x'\n", b"I" + b"9" * 5000 + b"\n", b"\x82\x01", b"\x8b" + struct.pack("<i", -1),
            b"\x8a\xff" + b"\xff" * 255,
            b"\x8d" + struct.pack("<Q", 2**62), b"\x96" + struct.pack("<Q", 2**40), b"\x97", b"\x98",
            b"K\x01" * 200, b"(" * 300, b"]" * 300, b"N\x85" + b"\x85" * 300, b"2\x86" * random.randrange(15),
        )
    )  # fmt: skip


def _text(value: str) -> bytes:
    data = value.encode("utf-8", "surrogatepass")
    if len(data) < 256:
        return b"\x8c" + bytes([len(data)]) + data
    return b"X" + struct.pack("<I", len(data)) + data
