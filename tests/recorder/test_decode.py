from __future__ import annotations

import copy
import importlib
import json
import math
import pickle
import pickletools
import struct
import subprocess
import sys
import tracemalloc
import types
import zlib
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rq.serializers import DefaultSerializer, JSONSerializer

from app.recorder.decode import RECORD_FUNCTION, decode_call, decode_result, loads, uses_json
from app.store import encode
from app.store.errors import UnrecordableError
from app.store.record import build

dateutil_tz: Any = importlib.import_module("dateutil.tz")  # a dependency of rq's
REPOSITORY = Path(__file__).resolve().parents[2]
PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)

HONEST: dict[str, Any] = {
    "job_id": "unique-job-id",
    "job": {
        "created_at": datetime(2025, 2, 17, 6, 46, 23, tzinfo=UTC),
        "metadata": {"scraper_id": "nyc", "ids": {1, 2}, "uuid": UUID(int=7)},
    },
    "result": {"text": "ü", "usage": OrderedDict(total_tokens=150), "raw": b"\xff", "ratio": 0.5, "none": None},
    "when": date(2025, 2, 17),
    "price": Decimal("1.10"),
}

PRODUCER = """
import dataclasses, enum, collections, typing, pydantic

class ByValue:  # as all but the first releases of Python 3.11 pickle a member
    def __reduce_ex__(self, protocol):
        return type(self), (self._value_,)

class Colour(ByValue, enum.Enum):
    RED = "red"

class Level(ByValue, enum.IntEnum):
    HIGH = 3

class Word(ByValue, enum.StrEnum):
    HELLO = "hello"

class Flag(ByValue, enum.Flag):
    A = 1
    B = 2

@dataclasses.dataclass
class Usage:
    total_tokens: int
    colour: Colour = Colour.RED

@dataclasses.dataclass(slots=True)
class Slotted:
    a: int
    b: typing.Any = None

class Plain:
    def __init__(self, **fields):
        self.__dict__.update(fields)

class Slots:
    __slots__ = ("x", "y", "__dict__")

class Inner(pydantic.BaseModel):
    total_tokens: int

class Response(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    text: str
    usage: Inner
    at: typing.Any = None
    _secret: int = pydantic.PrivateAttr(5)

class MyDict(dict):
    pass

class MyList(list):
    pass

class MySet(set):
    pass

class MyText(str):
    pass

class MyNumber(int):
    pass

class MyBytes(bytes):
    pass

class MyOrdered(collections.OrderedDict):
    pass

class MyDefault(collections.defaultdict):
    pass

Pair = collections.namedtuple("Pair", "a b")
Pair.__module__ = __name__

class Point(typing.NamedTuple):
    x: int
    y: int

class Failure(Exception):
    def __init__(self, message, code):
        super().__init__(message, code)
        self.code = code

class Getter:
    def __init__(self, value):
        self.value = value
    def __getstate__(self):
        return (1, self.value)
    def __setstate__(self, state):
        raise SystemExit("code was run")

class Reduced:
    def __reduce__(self):
        return (Reduced, (1, 2), {"a": 3}, iter([4, 5]), iter([("k", 6)]))
    def append(self, item): ...
    def extend(self, items): ...
    def __setitem__(self, key, value): ...
    def __init__(self, *args): ...

class Keyworded:
    def __new__(cls, *, a, b):
        return object.__new__(cls)
    def __getnewargs_ex__(self):
        return ((), {"a": 1, "b": 2})
"""


@pytest.fixture
def producer() -> Iterator[Any]:
    """A producer's module, which the recorder can't import once `vanish` was called."""
    name = "a_producer_that_is_not_installed_here"
    module = types.ModuleType(name)
    sys.modules[name] = module
    exec(compile(PRODUCER, name, "exec", dont_inherit=True), vars(module))  # noqa: S102
    yield module
    sys.modules.pop(name, None)


def vanish(producer: Any) -> None:
    del sys.modules[producer.__name__]


def job(data: Any, protocol: int = pickle.HIGHEST_PROTOCOL) -> bytes:
    """What a producer's RQ stores."""
    return zlib.compress(pickle.dumps((RECORD_FUNCTION, None, (data,), {}), protocol))


def decoded(data: Any, protocol: int = pickle.HIGHEST_PROTOCOL) -> Any:
    return decode_result(job(data, protocol)).data


def refused(stored: bytes, *, max_bytes: int = 10_000_000) -> str:
    with pytest.raises(UnrecordableError) as error:
        decode_result(stored, max_bytes)
    assert len(str(error.value)) < 400
    return error.value.message


# Pickles by hand


def text(value: str) -> bytes:
    data = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(data)) + data


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def named(module: str, name: str) -> bytes:
    return text(module) + text(name) + b"\x93"


def call(function: bytes, *args: bytes) -> bytes:
    return function + b"(" + b"".join(args) + b"tR"


def frame(value: bytes) -> bytes:
    """A whole job of which `value` makes the result."""
    return b"\x80\x04(" + text(RECORD_FUNCTION) + b"N(" + value + b"t}t."


CODE_RUNNERS = {
    "os.system": call(named("os", "system"), text("touch {marker}")),
    "posix.system": call(named("posix", "system"), text("touch {marker}")),
    "subprocess": call(named("subprocess", "check_output"), text("touch {marker}")),
    "Popen": call(named("subprocess", "Popen"), text("touch {marker}")),
    "builtins.exec": call(named("builtins", "exec"), text("open({marker!r}, 'w')")),
    "builtins.eval": call(named("builtins", "eval"), text("open({marker!r}, 'w')")),
    "__builtin__.eval": b"c__builtin__\neval\n(" + text("open({marker!r}, 'w')") + b"tR",
    "open": call(named("builtins", "open"), text("{marker}"), text("w")),
    "io.open": call(named("io", "open"), text("{marker}"), text("w")),
    "FileIO": call(named("_io", "FileIO"), text("{marker}"), text("w")),
    "__import__": call(named("builtins", "__import__"), text("antigravity")),
    "importlib": call(named("importlib", "import_module"), text("antigravity")),
    "a module by its name": named("antigravity", "webbrowser"),
    "dotted": call(named("os", "path.os.system"), text("touch {marker}")),
    "getattr of a module": call(call(named("builtins", "getattr"), named("os", "path"), text("os")), text("x")),
    "getattr chain": call(
        call(
            named("builtins", "getattr"),
            call(named("builtins", "getattr"), named("builtins", "dict"), text("__class__")),
            text("__subclasses__"),
        )
    ),
    "getattr of globals": call(named("builtins", "getattr"), named("builtins", "getattr"), text("__globals__")),
    "getattr of a constructor": call(named("builtins", "getattr"), named("builtins", "list"), text("_make")),
    "getattr of a stand-in": call(call(named("builtins", "getattr"), named("x", "Y"), text("__subclasses__"))),
    "getattr of mro": call(call(named("builtins", "getattr"), named("x", "Y"), text("mro"))),
    "inst": b"(" + text("touch {marker}") + b"ios\nsystem\n",
    "obj": b"(" + named("os", "system") + text("touch {marker}") + b"o",
    "newobj": named("os", "system") + b"(" + text("touch {marker}") + b"t\x81",
    "newobj_ex": named("os", "system") + b"(" + text("touch {marker}") + b"t}\x92",
    "__newobj__": call(named("copyreg", "__newobj__"), named("os", "system"), text("touch {marker}")),
    "__newobj_ex__": call(
        named("copyreg", "__newobj_ex__"), named("os", "system"), b"(" + text("touch {marker}") + b"t", b"}"
    ),
    "reconstructor": call(
        named("copyreg", "_reconstructor"), named("os", "system"), named("builtins", "str"), text("touch {marker}")
    ),
    "partial": call(call(named("functools", "partial"), named("os", "system"), text("touch {marker}"))),
    "operator": call(call(named("operator", "attrgetter"), text("system")), named("os", "path")),
    "map": call(named("builtins", "list"), call(named("builtins", "map"), named("os", "system"), b"](X\x01\0\0\0ae")),
    "defaultdict": call(named("collections", "defaultdict"), named("os", "system"))
    + b"("
    + text("touch")
    + text("x")
    + b"u",
    "state": named("x", "Y") + b")\x81}(" + text("__class__") + named("os", "system") + text("__reduce__") + b"Nub",
    "pickle.loads": call(named("pickle", "loads"), b"C\x05cos\n."),
    "our own code": call(named("app.recorder.pickled", "_data"), named("os", "system")),
    "our own unpickler": call(named("app.recorder.decode", "_Unpickler"), b"C\x01."),
    "ctypes": call(named("ctypes", "string_at"), number(0)),
    "code": call(named("types", "CodeType"), number(0)),
    "codecs": call(named("_codecs", "encode"), text("x"), text("rot13")),
    "codecs.lookup": call(named("_codecs", "lookup"), text("antigravity")),
    "an encoding that is a module": call(named("_codecs", "encode"), text("x"), text("antigravity")),
    "bytes of an encoding": call(named("builtins", "bytes"), text("x"), text("antigravity")),
    "a zone that is a module": call(named("zoneinfo", "ZoneInfo._unpickle"), text("this/antigravity")),
    "a zone that is a path": call(
        call(named("builtins", "getattr"), named("zoneinfo", "ZoneInfo"), text("_unpickle")), text("../../etc/passwd")
    ),
    "a zone that is absolute": call(
        call(named("builtins", "getattr"), named("zoneinfo", "ZoneInfo"), text("_unpickle")), text("/etc/passwd")
    ),
    "zone from a file": call(
        call(named("builtins", "getattr"), named("zoneinfo", "ZoneInfo"), text("from_file")), text("/etc/passwd")
    ),
    "clearing the zones' cache": call(
        call(named("builtins", "getattr"), named("zoneinfo", "ZoneInfo"), text("clear_cache"))
    ),
}

POISONS = {
    # BUILD with a dict of attributes, or with (None, slots): on what find_class and the constructors hand out.
    f"{kind} of {module}.{name}": made + state
    for module, name in [
        ("builtins", "dict"),
        ("builtins", "list"),
        ("builtins", "getattr"),
        ("collections", "OrderedDict"),
        ("datetime", "datetime"),
        ("datetime", "timezone"),
        ("decimal", "Decimal"),
        ("uuid", "UUID"),
        ("copyreg", "_reconstructor"),
        ("app.recorder.pickled", "StandIn"),
        ("x", "Y"),
    ]
    for made in (named(module, name),)
    for kind, state in {
        "attributes": b"}(" + text("__call__") + b"N" + text("_make") + b"N" + text("__new__") + b"Nub",
        "slots": b"N}(" + text("__setstate__") + b"N" + text("_make") + b"N" + text("__new__") + b"Nu\x86b",
        "a partial's state": b"(" + named("os", "system") + b")}}tb",
        "itself as its function": b"q\x05(h\x05)}}tbh\x05)R",
        "hash": b"N}(" + text("__hash__") + b"N" + text("__eq__") + b"Nu\x86b",
    }.items()
}

POISONS |= {
    "the utc zone": call(named("pytz", "_UTC")) + b"}" + text("utcoffset") + b"Nsb",
    "the utc zone's slots": call(named("pytz", "_UTC")) + b"N}" + text("utcoffset") + b"Ns\x86b",
    "a named zone": call(
        call(named("builtins", "getattr"), named("zoneinfo", "ZoneInfo"), text("_unpickle")), text("UTC")
    )
    + b"}"
    + text("key")
    + text("poison")
    + b"sb",
    "a stand-in's class by its instance": named("x", "Y")
    + b")\x81N}"
    + text("__class__")
    + named("os", "system")
    + b"s\x86b",
    "a stand-in's methods": named("x", "Y")
    + b")\x81}("
    + text("append")
    + b"N"
    + text("_args")
    + b"N"
    + text("__setstate__")
    + b"Nub",
    "a stand-in's items": named("x", "Y") + b")\x81(" + text("__setstate__") + b"N" + text("_args") + b"Nu",
    "a stand-in's keywords": named("x", "Y")
    + b")}("
    + text("_args")
    + b"N"
    + text("cls")
    + b"N"
    + text("self")
    + b"Nu\x92",
    "a stand-in's class": named("x", "Y") + b")\x81" + b"(" + b"N}" + text("__dict__") + b"Nstb",
    "a decimal": call(named("decimal", "Decimal"), text("1")) + b"}" + text("x") + b"Nsb",
    "the decimal context": call(named("decimal", "getcontext")) + b"}" + text("prec") + b"K\x01sb",
    "setcontext": call(named("decimal", "setcontext"), call(named("decimal", "Context"), number(1))),
    "copyreg.pickle": call(named("copyreg", "add_extension"), text("os"), text("system"), number(1)),
    "the dispatch table": named("copyreg", "dispatch_table") + text("x") + text("y") + b"s",
    "sys.modules": named("sys", "modules") + text("json") + b"Ns",
    "setattr": call(named("builtins", "setattr"), named("json", "loads"), text("x"), b"N"),
}

BOMBS = {
    "bytearray(10**12)": frame(call(named("builtins", "bytearray"), b"\x8a\x06" + (10**12).to_bytes(6, "little"))),
    "bytes(10**12)": frame(call(named("builtins", "bytes"), b"\x8a\x06" + (10**12).to_bytes(6, "little"))),
    "BYTEARRAY8": b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b"x.",
    "BYTEARRAY8 of all there is": b"\x80\x05\x96" + struct.pack("<Q", (1 << 63) - 1) + b"x.",
    "BYTEARRAY8 of more": b"\x80\x05\x96" + struct.pack("<Q", (1 << 64) - 1) + b"x.",
    "BINBYTES8": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b"x.",
    "BINUNICODE8": b"\x80\x04\x8d" + struct.pack("<Q", 1 << 40) + b"x.",
    "LONG4": b"\x80\x04\x8b" + struct.pack("<i", (1 << 31) - 1) + b"x.",
    "LONG4 below nothing": b"\x80\x04\x8b" + struct.pack("<i", -1) + b"x.",
    "a frame": b"\x80\x04\x95" + struct.pack("<Q", 1 << 40) + b"N.",
    "LONG_BINPUT": b"\x80\x04Nr" + struct.pack("<I", (1 << 32) - 1) + b".",
    "LONG_BINPUT again and again": b"\x80\x04N"
    + b"".join(b"r" + struct.pack("<I", 1 << n) for n in range(20, 32))
    + b".",
    "PUT": b"Np99999999999\n.",
    "PUT below nothing": b"Np-1\n.",
    "marks": b"\x80\x04" + b"(" * 5_000_000 + b"N.",
    "lists": b"\x80\x04" + b"]" * 5_000_000 + b".",
    "dicts": b"\x80\x04" + b"}" * 5_000_000 + b".",
    "sets": b"\x80\x04" + b"\x8f" * 2_000_000 + b".",
    "copies": b"\x80\x04("
    + named("builtins", "list")
    + b"q\x00("
    + b"N" * 500_000
    + b"tq\x01"
    + b"h\x00h\x01\x85R" * 50_000
    + b"t.",
    "copies of bytes": b"\x80\x04("
    + named("_codecs", "encode")
    + b"q\x00"
    + text("x" * 1_000_000)
    + b"q\x01"
    + b"h\x00h\x01\x85R" * 50_000
    + b"t.",
    "classes": b"\x80\x04" + b"".join(named("m", f"c{n}") + b"0" for n in range(100_000)) + b"N.",
    "an integer of many digits": b"I" + b"9" * 1_000_000 + b"\n.",
    "a long of many digits": b"L" + b"9" * 1_000_000 + b"L\n.",
    "json lists": b"[" + b"[]," * 1_000_000 + b"[" * 2_000_000,
    "json deep": b"[" * 5_000_000,
    "json objects deep": b'{"a":' * 1_000_000,
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_honest_result_is_decoded_as_it_was(protocol: int) -> None:
    plain: dict[str, Any] = {
        "a": [1, -1, 2**70, 1.5, None, True, "ü\ud800", "", {}, [], {"b": {"c": ["d"]}}],
        "big": "x" * 100_000,
    }
    assert decoded(plain, protocol) == plain


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_value_type_is_decoded_in_every_protocol(protocol: int) -> None:
    assert encoded(decoded(HONEST, protocol)) == encoded(HONEST)


def encoded(data: Any) -> Any:
    return encode.load_exactly(encode.encode({"data": data}))["data"]


def test_what_rq_stores_is_decoded_whichever_serializer_made_it() -> None:
    data = {"job_id": "a", "text": "ü", "list": [1, None, {"x": 0.5}]}
    for serializer in (DefaultSerializer, JSONSerializer):
        payload = serializer.dumps((RECORD_FUNCTION, None, (data,), {}))
        assert decode_result(payload).data == data
        assert decode_result(zlib.compress(payload)).data == data
        assert decode_result(zlib.compress(payload)).payload_bytes == len(payload)
        assert uses_json(zlib.compress(payload)) is uses_json(payload) is (serializer is JSONSerializer)


def test_the_result_may_be_given_by_its_name() -> None:
    for args, kwargs in [((HONEST,), {}), ((), {"data": HONEST})]:
        payload = pickle.dumps((RECORD_FUNCTION, None, args, kwargs))
        assert encoded(decode_result(payload).data) == encoded(HONEST)
        assert decode_call(payload).function == RECORD_FUNCTION
    assert decode_result(json.dumps([RECORD_FUNCTION, None, [], {"data": 5}]).encode()).data == 5


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        (("os.system", None, ("true",), {}), "the job's function is os.system, not app.recorder.utils.record_result"),
        (("app.recorder.utils.load_settings", None, (), {}), "the job's function is app.recorder.utils.load_settings"),
        (("x" * 5000, None, (1,), {}), "the job's function is xxx"),
        ((RECORD_FUNCTION, None, (), {}), "the job gives 0 positional and 0 named arguments"),
        ((RECORD_FUNCTION, None, (1, 2), {}), "the job gives 2 positional and 0 named arguments"),
        ((RECORD_FUNCTION, None, (1,), {"data": 2}), "the job gives 1 positional and 1 named arguments"),
        ((RECORD_FUNCTION, None, (), {"other": 2}), "the job gives 0 positional and 1 named arguments"),
        ((RECORD_FUNCTION, None, (), {"data": 2, "more": 3}), "the job gives 0 positional and 2 named arguments"),
        ((RECORD_FUNCTION, "instance", (1,), {}), "on an object, or with unusable arguments"),
        ((RECORD_FUNCTION, None, None, {}), "on an object, or with unusable arguments"),
        ((RECORD_FUNCTION, None, "ab", {}), "on an object, or with unusable arguments"),
        ((RECORD_FUNCTION, None, (1,), None), "on an object, or with unusable arguments"),
        ((RECORD_FUNCTION, None, (1,), []), "on an object, or with unusable arguments"),
        ((None, None, (1,), {}), "the payload is not a job"),
        ((RECORD_FUNCTION, None, (1,)), "the payload is not a job"),
        ((RECORD_FUNCTION, None, (1,), {}, 1), "the payload is not a job"),
        ([], "the payload is not a job"),
        ({}, "the payload is not a job"),
    ],
    ids=lambda value: "",
)
def test_what_is_not_a_call_of_record_result_is_refused_by_both_serializers(parts: Any, reason: str) -> None:
    for payload in (pickle.dumps(parts), json.dumps(parts).encode()):
        assert reason in refused(payload)
        assert reason in refused(zlib.compress(payload))


@pytest.mark.parametrize("value", [None, 5, "text", b"bytes", [1], {"a": 1}, 10**5000, {10**5000: 1}], ids=type)
def test_a_payload_that_is_not_a_job_is_refused(value: Any) -> None:
    assert "the payload is not a job" in refused(pickle.dumps(value))


def test_odd_names_of_arguments_make_no_long_or_broken_reason() -> None:
    inner: frozenset[Any] = frozenset({1})
    for _ in range(60):
        inner = frozenset({inner, (inner,)})
    for key in (10**5000, "x" * 100_000, "\ud800", (1, 2), inner):
        assert "1 named arguments" in refused(pickle.dumps((RECORD_FUNCTION, None, (), {key: 1})))


@pytest.mark.parametrize(
    "stored",
    [
        b"", b"garbage", b"\x80", b"\x80\x04", b"\x80\x05garbage", b"\x80\xff.", b".", b"N", b"0.", b"N.", b"[",
        b"[]", b"{",
        b"{}", b"[1, 2", b"{]", b'["a", null, [1], {}', b"[NaN", b"\x00" * 100, b"\xff" * 100, b"x\x9c",
        zlib.compress(b""),
        zlib.compress(b"garbage"), zlib.compress(b"[" * 100), zlib.compress(b"x" * 1000)[:-3],
        zlib.compress(bytes(range(256)) * 4)[:200],
        b"P1\n.", b"N" + b"Q.", b"\x80\x04\x82\x01.", b"\x80\x04\x83\x01\x00.",
        b"\x80\x04\x84\x01\x00\x00\x00.", b"(lp0\n.", b"c\n\n.", b"cos\n", b"cos\nsystem\n.", b"(i\n\n.",
        b"\x80\x05\x97.",
        b"\x80\x05N\x98.", b"g99\n.", b"h\x63.", b"j\xff\xff\xff\xff.", b"a.", b"e.", b"(e.", b"s.", b"u.", b"b.",
        b"R.",
        b"\x81.", b"\x92.", b"\x93.", b"\x80\x04" + text("\ud800") + text("x") + b"\x93.",
        b"\x80\x04" + text("m\0m") + text("n\0n") + b"\x93.", b"\x80\x04K\x01K\x02\x93.",
        b"[\x00]\x00", b"\xef\xbb\xbf[]", b"[\xff]", b"[\"\\ud800\"]", b"[1e999]",
    ],
    ids=repr,
)  # fmt: skip
def test_garbage_is_refused(stored: bytes) -> None:
    assert refused(stored)


def test_a_payload_cut_anywhere_is_refused() -> None:
    whole = job(HONEST)
    payload = pickle.dumps((RECORD_FUNCTION, None, (HONEST,), {}))
    for cut in range(len(whole)):
        refused(whole[:cut])
    for cut in range(len(payload)):
        refused(payload[:cut])


@pytest.mark.parametrize("name", CODE_RUNNERS)
def test_a_payload_runs_no_code_and_imports_nothing(name: str, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    payload = frame(CODE_RUNNERS[name]).replace(b"{marker}", b"marker").replace(b"{marker!r}", b"'marker'")
    before = dict(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        with suppress(UnrecordableError):
            encode.encode({"data": decode_result(payload).data})
    assert not marker.exists()
    assert list(tmp_path.iterdir()) == []
    assert sys.modules == before
    assert "antigravity" not in sys.modules
    assert_honest_payloads_decode()


@pytest.mark.parametrize("name", POISONS)
def test_a_payload_changes_nothing_for_those_after_it(name: str) -> None:
    with suppress(UnrecordableError):
        decode_result(frame(POISONS[name]))
    assert_honest_payloads_decode()


def assert_honest_payloads_decode() -> None:
    assert encoded(decoded(HONEST)) == encoded(HONEST)
    assert encoded(decoded(HONEST, 0)) == encoded(HONEST)
    assert datetime.now(UTC).utcoffset() == timedelta(0)
    assert Decimal(1) / 3 == Decimal("0.3333333333333333333333333333")


def test_each_hostile_payload_is_a_whole_pickle_or_else_the_tests_above_would_prove_nothing() -> None:
    for payload in [*CODE_RUNNERS.values(), *POISONS.values()]:
        assert list(pickletools.genops(frame(payload)))


BOMB_CODE = """
import resource, sys
from app.recorder.decode import decode_result
from app.store import encode
from app.store.errors import UnrecordableError
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
resource.setrlimit(resource.RLIMIT_CPU, (10, 10))
payload = sys.stdin.buffer.read()
try:
    print(encode.encode({"data": decode_result(payload).data}, payload_bytes=len(payload), max_bytes=50_000_000))
except UnrecordableError as error:
    print(error.message)
grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 - len(payload)
assert grown < 64 * 1024 * 1024 + 41 * len(payload) + 32 * 1024 * 1024, f"grew by {grown:,}"
soft, hard = resource.getrlimit(resource.RLIMIT_AS)
assert soft == resource.RLIM_INFINITY or soft == hard, "the limit stayed"
"""


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_neither_crashes_the_recorder_nor_takes_its_memory_or_time(name: str) -> None:
    process = subprocess.run([sys.executable, "-c", BOMB_CODE], input=BOMBS[name], capture_output=True, cwd=REPOSITORY)
    complaint = b"SystemError: deallocated bytearray object has exported buffers\n"  # CPython's own, and harmless
    assert (process.returncode, process.stderr.replace(complaint, b"")) == (0, b"")
    assert process.stdout


PICKLED = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.binary().map(bytearray)
    | st.sampled_from(
        [0.5, math.nan, -math.inf, datetime(2025, 2, 17), UUID(int=7), Decimal("0.1"), {1}, frozenset("a")]
    ),
    lambda inner: (
        st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text() | st.integers() | st.floats(), inner)
    ),
)


@given(PICKLED, st.sampled_from(PROTOCOLS))
def test_what_is_taken_for_simple_is_written_like_all_else(value: Any, protocol: int) -> None:
    found = decode_result(pickle.dumps((RECORD_FUNCTION, None, (value,), {}), protocol))
    quick, careful = (
        encode.encode({"value": found.data}, payload_bytes=found.payload_bytes, simple=simple)
        for simple in (found.simple, False)
    )
    assert quick == careful


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_plain_values_are_taken_for_simple_and_nothing_else(protocol: int) -> None:
    plain = {"text": "ü" * 300, "numbers": [1, -1, 2**70, 0.5, -1e300], "none": [None, True], "bytes": b"\xff"}
    others = (math.nan, math.inf, -math.inf, datetime(2025, 2, 17), UUID(int=7), Decimal("0.1"), OrderedDict(a=1))

    def simple(value: Any) -> bool:
        return decode_result(pickle.dumps((RECORD_FUNCTION, None, (value,), {}), protocol)).simple

    assert simple({**plain, "bytes": None} if protocol < 3 else plain) is (protocol > 1)
    assert [simple([plain, other]) for other in others] == [False] * len(others)


def test_only_so_many_classes_are_made_for_a_payload() -> None:
    for count, accepted in [(1000, True), (1001, False)]:
        payload = frame(b"]" + b"".join(named("m", f"c{n}") + b"0" for n in range(count)))
        if accepted:
            assert decode_result(payload).data == []
        else:
            assert "names more than 1,000 classes" in refused(payload)


@pytest.mark.parametrize("kind", ["bytes", "bytearray"])
def test_a_number_of_zero_bytes_is_not_made(kind: str) -> None:
    assert "a bytes object of an unusual kind" in refused(frame(call(named("builtins", kind), number(1000))))


def test_a_zip_bomb_is_unpacked_no_further_than_the_limit() -> None:
    packed = zlib.compress(b"\x00" * 300_000_000, 9)
    assert len(packed) < 400_000
    tracemalloc.start()
    try:
        assert "larger than 1,000,000 bytes when unpacked" in refused(packed, max_bytes=1_000_000)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_the_limit_counts_the_unpacked_bytes_exactly() -> None:
    payload = pickle.dumps((RECORD_FUNCTION, None, ("x" * 1000,), {}))
    for stored in (payload, zlib.compress(payload)):
        assert decode_result(stored, len(payload)).payload_bytes == len(payload)
        assert "when unpacked" in refused(stored, max_bytes=len(payload) - 1)


def test_a_large_honest_result_is_decoded() -> None:
    data = {
        "job_id": "a",
        "text": "ü" * 10_000_000,
        "rows": [{"id": n, "at": datetime(2025, 1, 1)} for n in range(50_000)],
    }
    assert decoded(data) == data


def test_nesting_beyond_any_stack_is_refused_or_left_to_the_encoder(producer: Any) -> None:
    deep_list: list[Any] = []
    deep_object = producer.Plain()
    payloads = [b"\x80\x04" + b"]" * 100_000 + b"a" * 99_999 + b"."]
    payloads.append(b"\x80\x04" + b"N" + b"\x85" * 100_000 + b".")
    payloads.append(
        b"\x80\x04" + (named("x", "Y") + b")\x81") + (b"q\x000" + named("x", "Y") + b")\x81h\x00b") * 20_000 + b"."
    )
    for payload in payloads:
        value = framed(payload)
        try:
            data = decode_result(value).data
        except UnrecordableError as error:
            assert "nested" in error.message
        else:
            with pytest.raises(UnrecordableError, match="nested deeper"):
                encode.encode({"data": data})
    deep_list.append(deep_list)
    deep_object.itself = deep_object
    for cycle in (deep_list, deep_object, {"a": [deep_object]}):
        payload = job(cycle)
        with pytest.raises(UnrecordableError, match="contains itself"):
            encode.encode({"data": decode_result(payload).data})


def framed(payload: bytes) -> bytes:
    return frame(payload.removeprefix(b"\x80\x04").removesuffix(b"."))


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda p: p.Colour.RED, "red"),
        (lambda p: p.Level.HIGH, 3),
        (lambda p: p.Word.HELLO, "hello"),
        (lambda p: p.Flag.A, 1),
        (lambda p: p.Usage(5), {"total_tokens": 5, "colour": "red"}),
        (lambda p: p.Plain(a=1, b={"c": p.Plain(d=2)}), {"a": 1, "b": {"c": {"d": 2}}}),
        (lambda p: p.Plain(args=1, type="x"), {"args": 1, "type": "x"}),
        (lambda p: p.Plain(_args=1, _state=2, __setstate__=3), {"_args": 1, "_state": 2, "__setstate__": 3}),
        (lambda p: p.MyDict(a=1), {"a": 1}),
        (lambda p: p.MyList([1, 2]), [1, 2]),
        (lambda p: p.MySet([1]), [1]),
        (lambda p: p.MyText("t"), "t"),
        (lambda p: p.MyNumber(5), 5),
        (lambda p: p.MyBytes(b"raw"), "raw"),
        (lambda p: p.MyOrdered(b=1, a=2), {"b": 1, "a": 2}),
        (lambda p: p.Pair(1, 2), [1, 2]),
        (lambda p: p.Point(1, 2), [1, 2]),
        (
            lambda p: [p.Usage(1), p.Usage(2)],
            [{"total_tokens": 1, "colour": "red"}, {"total_tokens": 2, "colour": "red"}],
        ),
        (lambda p: {p.Colour.RED: 1}, {"red": 1}),
        (lambda p: {p.Point(1, 2): 1}, {"[1, 2]": 1}),
        (lambda p: {p.Point(p.Point(1, 2), 3): 1}, {"[[1, 2], 3]": 1}),
        (lambda p: {p.Level.HIGH: 1, 3.5: p.Colour.RED}, {"3": 1, "3.5": "red"}),
        (lambda p: {1: p.Colour.RED, "1": 2}, {"1": "red", "1 (str)": 2}),
        (lambda p: {p.Colour.RED}, ["red"]),
        (lambda p: (p.Colour.RED, p.Colour.RED), ["red", "red"]),
    ],
    ids=lambda value: "",
)
def test_objects_of_classes_that_we_do_not_have_come_out_as_their_data(
    producer: Any, make: Callable[[Any], Any], expected: Any, protocol: int
) -> None:
    payload = job({"value": make(producer)}, protocol)
    vanish(producer)
    found = encoded(decode_result(payload).data)["value"]
    assert found == expected


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_objects_that_only_newer_protocols_know_come_out_as_their_data(producer: Any, protocol: int) -> None:
    slots = producer.Slots()
    slots.x, slots.y, slots.z = 1, [producer.Colour.RED], 3
    attributed = producer.MyDict(a=1)
    attributed.note = "n"
    failure = producer.Failure("message", 7)
    data = {
        "slots": slots,
        "slotted": producer.Slotted(1, producer.Usage(2)),
        "attributed": attributed,
        "failure": failure,
        "getter": producer.Getter("value"),
        "reduced": producer.Reduced(),
        "default": producer.MyDefault(list, {"a": [1]}),
        "response": producer.Response(
            text="t", usage={"total_tokens": 5}, at=datetime(2025, 1, 1, tzinfo=UTC), more=[1]
        ),
    }
    keyworded = decoded(producer.Keyworded(a=1, b=2), max(protocol, 4))
    payload = job(data, protocol)
    vanish(producer)
    found = encoded(decode_result(payload).data)
    assert found["slots"] == {"x": 1, "y": ["red"], "z": 3}
    assert found["slotted"] in (
        [1, {"total_tokens": 2, "colour": "red"}],
        {"a": 1, "b": {"total_tokens": 2, "colour": "red"}},
    )
    assert found["attributed"] == {"a": 1, "note": "n"}
    assert found["failure"] == {"code": 7, "args": ["message", 7]}
    assert found["getter"] == [1, "value"]
    assert found["reduced"] == {"k": 6, "a": 3, "args": [1, 2, 4, 5]}
    assert encoded(keyworded) == {"a": 1, "b": 2}
    assert found["default"] == {"a": [1]}
    response = found["response"]
    assert response.pop("_secret") == 5
    assert response == {"text": "t", "usage": {"total_tokens": 5}, "at": "2025-01-01T00:00:00Z", "more": [1]}


def test_an_object_whose_attribute_is_called_args_loses_nothing(producer: Any) -> None:
    failure = producer.Failure("message", 7)
    failure.args_given = 1
    failure.__dict__["args"] = "an attribute"
    payload = job(failure)
    vanish(producer)
    found = encoded(decode_result(payload).data)
    assert found["args"] == "an attribute"
    assert ["message", 7] in found.values()


def test_keys_that_become_the_same_lose_nothing(producer: Any) -> None:
    data = {producer.Colour.RED: 1, "red": 2, producer.Word.HELLO: 3, producer.MyText("red"): 4}
    data[producer.Plain(a=1)] = 5
    data[producer.Plain(a=1)] = 6
    payload = job(data)
    expected = sorted(data.values())
    vanish(producer)
    assert sorted(encoded(decode_result(payload).data).values()) == expected


def test_an_object_as_a_key_is_refused_when_its_hash_would_take_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.recorder.pickled._MAX_KEY_NODES", 10_000)
    doubled = b"N" + b"2\x86" * 60
    for key in (named("x", "Y") + doubled + b"\x81", named("x", "Y") + b")\x81" + doubled + b"b"):
        assert "10,000 values in objects that are keys" in refused(frame(b"}" + key + b"Ns"))


def test_plain_keys_beside_an_object_are_not_counted(producer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.recorder.pickled._MAX_KEY_NODES", 10)
    payload = job([producer.Plain(a=1), dict.fromkeys(range(100)), {(1, 2): 3}])
    vanish(producer)
    assert decode_result(payload).data == [{"a": 1}, dict.fromkeys(range(100)), {(1, 2): 3}]


def test_shared_objects_stay_shared_and_are_decoded_once(producer: Any) -> None:
    inner: Any = producer.Plain(a=1)
    for _ in range(50):
        inner = producer.Plain(left=inner, right=inner)
    payload = job(inner)
    vanish(producer)
    data = decode_result(payload).data
    assert data["left"] is data["right"]
    with pytest.raises(UnrecordableError, match="values"):
        encode.encode({"data": data})


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "value",
    [
        datetime(2025, 2, 17, 6, 46, 23, 5), datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999),
        datetime(2025, 11, 2, 1, 30, fold=1, tzinfo=ZoneInfo("America/New_York")),
        datetime(2025, 7, 1, tzinfo=ZoneInfo("Europe/Berlin")), datetime(2025, 7, 1, tzinfo=UTC),
        datetime(2025, 7, 1, tzinfo=timezone(timedelta(hours=-5, minutes=-30))),
        datetime(2025, 7, 1, tzinfo=timezone(timedelta(hours=1), "named")), datetime(2025, 7, 1,
        tzinfo=dateutil_tz.tzutc()),
        date(2025, 2, 17), time(6, 46, 23, 5), time(6, 46, tzinfo=UTC), timedelta(days=1, microseconds=5),
        timedelta(-1),
        UUID(int=7), UUID("ffffffff-ffff-ffff-ffff-ffffffffffff"), Decimal("1.10"), Decimal("-Infinity"),
        Decimal("1E+5"),
        1 + 2j, PurePosixPath("/a/b"), PurePosixPath("a/b"), PurePosixPath("/"), PurePosixPath("."),
        Path("/a/x"), OrderedDict(b=1, a=2), defaultdict(list, {"a": [1]}), Counter("aab"), deque([1, 2], 5), {1, 2},
        set(),
        frozenset({"a"}), b"", b"raw", b"\x00\xff" * 100, bytearray(b"\xff"), (1, (2,)), (), 2**70, -(2**70), 10**400,
        1e300, math.inf, "\ud800", "\x00", True, [None],
    ],
    ids=repr,
)  # fmt: skip
def test_values_of_the_standard_library_come_out_as_they_would_be_recorded_directly(value: Any, protocol: int) -> None:
    if protocol < 4 and getattr(value, "fold", False):
        value = value.replace(fold=0)  # which of the two hours it was is only in newer protocols
    assert encoded(decoded({"value": value}, protocol)) == encoded({"value": value})
    assert encoded(decoded({"value": [value, value]}, protocol)) == encoded({"value": [value, value]})


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        ("datetime", b"\x07\xe9\x07\x01\x00\xff\x00\x00\x00\x00"),
        ("datetime", b"\x07\xe9\x02\x1f\x00\x00\x00\x00\x00\x00"),
        ("datetime", b"\x00\x00\x01\x01\x00\x00\x00\x00\x00\x00"),
        ("datetime", b"\x07\xe9\x07\x01\x00\x00\x00\xff\xff\xff"),
        ("date", b"\x07\xe9\x02\x1f"),
        ("time", b"\x17\x3c\x00\x00\x00\x00"),
    ],
)
def test_a_time_that_no_calendar_has_is_refused(kind: str, state: bytes) -> None:
    moment = named("datetime", kind) + b"C" + bytes([len(state)]) + state
    assert "must be in" in refused(frame(moment + b"\x85R")) or "out of range" in refused(frame(moment + b"\x85R"))
    if kind == "datetime":
        assert "unreadable payload: ValueError" in refused(frame(moment + named("x", "Zone") + b")R\x86R"))


def test_a_fraction_is_not_worked_out() -> None:
    assert encoded(decoded(Fraction(1, 3))) in ([1, 3], "1/3")
    assert (
        encoded(decode_result(frame(call(named("fractions", "Fraction"), text("1e999999999")))).data) == "1e999999999"
    )


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_integer_too_long_to_become_a_decimal_soon_stays_what_it_is(protocol: int) -> None:
    assert decoded(Decimal(10**400), protocol) == Decimal(10**400)
    number = (1 << 8_000_000) - 1
    assert decode_result(frame(call(named("decimal", "Decimal"), pickle.dumps(number, 2)[2:-1]))).data == number


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_exceptions_keep_their_arguments(protocol: int) -> None:
    assert encoded(decoded(ValueError("no", 1), protocol)) == ["no", 1]
    assert encoded(decoded(RuntimeError("no"), protocol)) == "no"
    assert encoded(decoded(OSError(2, "No such file"), protocol)) == [2, "No such file"]


def test_pydantic_s_own_zones_are_zones(producer: Any) -> None:
    pydantic = pytest.importorskip("pydantic")
    for given_text in ("2025-07-01T00:00:00Z", "2025-07-01T00:00:00-05:30"):
        moment = pydantic.TypeAdapter(datetime).validate_python(given_text)
        for protocol in PROTOCOLS:
            assert decoded(moment, protocol) == moment


@pytest.mark.parametrize("module", ["pytz", "pytz.tzinfo"])
def test_the_zones_of_pytz_are_zones(module: str) -> None:
    state = b"\x07\xe9\x07\x01\x00\x00\x00\x00\x00\x00"
    moment = b"cdatetime\ndatetime\n" + b"C\x0a" + state
    utc = frame(moment + named("pytz", "_UTC") + b")R\x86R")
    new_york = frame(
        moment
        + call(named("pytz", "_p"), text("America/New_York"), number(-14400), number(3600), text("EDT"))
        + b"\x86R"
    )
    assert decode_result(utc).data == datetime(2025, 7, 1, tzinfo=UTC)
    assert decode_result(new_york).data == datetime(2025, 7, 1, tzinfo=timezone(timedelta(hours=-4)))


def test_a_zone_that_this_machine_does_not_know_keeps_its_name() -> None:
    berlin = pickle.dumps(datetime(2025, 7, 1, tzinfo=ZoneInfo("Europe/Berlin")))
    payload = framed(berlin.replace(b"Europe/Berlin", b"Europe/Nowhre").replace(berlin[2:11], b"", 1))
    assert encoded(decode_result(payload).data) == {"datetime": "2025-07-01T00:00:00Z", "tzinfo": "Europe/Nowhre"}


@pytest.mark.parametrize("key", ["antigravity/x", "x", "America", "tzdata.zi", "../UTC", "/etc/passwd", "a\0b", ""])
def test_a_zone_s_name_is_looked_for_among_the_known_ones_only(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded(HONEST)
    decoded(datetime(2025, 7, 1, tzinfo=ZoneInfo("Europe/Berlin")))
    looked_for: list[str] = []

    class Finder:
        @staticmethod
        def find_spec(name: str, *_: Any) -> None:
            looked_for.append(name)

    monkeypatch.setattr(sys, "meta_path", [Finder, *sys.meta_path])
    unpickle = call(named("builtins", "getattr"), named("zoneinfo", "ZoneInfo"), text("_unpickle"))
    assert decode_result(frame(call(unpickle, text(key)))).data == key
    assert looked_for == []


def test_a_zone_of_a_class_that_we_do_not_know_keeps_its_data() -> None:
    moment = datetime(2025, 7, 1, tzinfo=dateutil_tz.tzoffset("EDT", -14400))
    found = encoded(decoded(moment))
    assert "2025-07-01T00:00:00" in json.dumps(found)
    assert "EDT" in json.dumps(found)


def test_out_of_band_data_and_persistent_objects_are_refused() -> None:
    refused(pickle.dumps(pickle.PickleBuffer(b"x"), 5, buffer_callback=lambda _: False))
    assert "persistent" in refused(b"\x80\x04N" + b"Q.")


def test_json_is_data_whatever_is_in_it() -> None:
    data = {"__class__": "os.system", "py/object": "os.system", "$type": "x", "a": [math.nan, math.inf, 10**30]}
    found = decode_result(json.dumps([RECORD_FUNCTION, None, [data], {}]).encode()).data
    assert encoded(found) == encoded(data)
    digits = b'["%s", null, [%s], {}]' % (RECORD_FUNCTION.encode(), b"9" * 5000)
    assert decode_result(digits).data == "9" * 5000
    assert decode_result(b'["%s", null, ["\\ud800"], {}]' % RECORD_FUNCTION.encode()).data == "\ud800"


# Fuzzing


@given(st.binary(max_size=200))
@example(b"\x80\x04\x95")
def test_random_bytes_raise_only_unrecordable_errors(stored: bytes) -> None:
    for payload in (stored, b"\x80\x04" + stored, b"(" + stored, zlib.compress(stored)):
        try:
            decode_result(payload, 1_000_000)
        except UnrecordableError:
            continue


SEEDS = [frame(value) for value in [*CODE_RUNNERS.values(), *POISONS.values()]]
SEEDS += [pickle.dumps((RECORD_FUNCTION, None, (HONEST,), {}), protocol) for protocol in PROTOCOLS]
OPCODES = st.sampled_from([opcode.code.encode("latin1") for opcode in pickletools.opcodes])


@given(st.data())
def test_mutated_pickles_raise_only_unrecordable_errors_and_change_nothing(data: st.DataObject) -> None:
    payload = bytearray(data.draw(st.sampled_from(SEEDS)))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(payload)))
        size = data.draw(st.integers(0, 3))
        payload[at : at + size] = data.draw(OPCODES | st.binary(max_size=4))
    modules = set(sys.modules)
    with suppress(UnrecordableError):
        found = loads(bytes(payload))
        encode.encode({"data": found}, payload_bytes=len(payload), max_bytes=10_000_000)
    assert set(sys.modules) == modules
    assert encoded(decoded(HONEST)) == encoded(HONEST)


@given(
    st.lists(OPCODES | st.sampled_from([text("x"), number(5), named("x", "Y"), named("builtins", "dict")]), max_size=40)
)
def test_random_programs_raise_only_unrecordable_errors(program: list[bytes]) -> None:
    with suppress(UnrecordableError):
        encode.encode({"data": loads(b"\x80\x04" + b"".join(program) + b".")}, payload_bytes=400, max_bytes=1_000_000)


def test_what_was_decoded_is_recorded(producer: Any) -> None:
    data = copy.deepcopy(HONEST)
    data["result"] = producer.Response(text="t", usage={"total_tokens": 5})
    data["job"] = producer.Plain(**HONEST["job"])
    payload = job(data)
    vanish(producer)
    found = decode_result(payload)
    record = build(
        found.data, enqueued_at=None, now=datetime(2025, 2, 18, tzinfo=UTC), payload_bytes=found.payload_bytes
    )
    assert record.place.name == "scrapers/nyc/unique-job-id.json"
    assert json.loads(record.content)["result"]["usage"] == {"total_tokens": 5}
