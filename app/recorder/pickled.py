"""What a pickle may build: a few kinds of values, and stand-ins for objects of every other class.

Each constructor here gets its arguments from a hostile payload: it makes plain data, however it is called, and nothing
else. None is a class that a pickle could change for the rest of the process.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo, available_timezones

from app.store.encode import MAX_DEPTH, free_name
from app.store.errors import UnrecordableError

_MAX_KEY_NODES = 1_000_000
"""Most values in those dict keys of one payload that are objects or tuples, counting each use of a shared one."""

_MOST_DECIMAL_BITS = 100_000

_ZONES = frozenset(available_timezones())
"""The zones of this machine. ZoneInfo would look for any other name too: as a file, and as a module of `tzdata`."""


class StandIn:
    """In the place of an object whose class we don't import: keeps what the pickle gives it, and does nothing."""

    _args: tuple[Any, ...]
    _kwargs: dict[str, Any]
    _items: list[Any]
    _pairs: list[tuple[Any, Any]]
    _state: Any

    def __new__(cls, *args: Any, **kwargs: Any) -> StandIn:
        """Keep the arguments."""
        self = object.__new__(cls)
        self.__dict__.update(_args=args, _kwargs=kwargs, _items=[], _pairs=[], _state=None)
        return self

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    def __setstate__(self, state: Any) -> None:
        self._state = state

    def append(self, item: Any) -> None:
        """Keep an item of a list."""
        self._items.append(item)

    def extend(self, items: list[Any]) -> None:
        """Keep items of a list."""
        self._items.extend(items)

    def add(self, item: Any) -> None:
        """Keep an item of a set."""
        self._items.append(item)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._pairs.append((key, value))

    def __hash__(self) -> int:
        return id(self)


def plain(value: Any) -> Any:
    """What a pickle built, with each stand-in as its data."""
    return _Plain().value(value, 0)


class _Plain:
    """Keeps what is shared shared, so that it takes no longer than the payload is large."""

    def __init__(self) -> None:
        self._done: dict[int, tuple[Any, Any]] = {}
        """By id: the value, held so that its id isn't given to another, and what was made of it."""
        self._key_nodes = 0

    def value(self, value: Any, depth: int) -> Any:
        if not isinstance(value, dict | list | tuple | set | frozenset | StandIn):
            return value
        if id(value) in self._done:
            return self._done[id(value)][1]
        if depth > MAX_DEPTH:
            raise UnrecordableError(f"nested deeper than {MAX_DEPTH} levels, or contains itself")
        made = self._made(value, depth + 1)
        self._done[id(value)] = (value, made)
        return made

    def _made(self, value: Any, depth: int) -> Any:
        if isinstance(value, dict):
            return self._mapping(value, depth)
        if isinstance(value, StandIn):
            return self.value(_data(value), depth)
        return [self.value(item, depth) for item in value]

    def _mapping(self, value: dict[Any, Any], depth: int) -> dict[Any, Any]:
        made: dict[Any, Any] = {}
        clashes: Counter[str] = Counter()
        for key, item in value.items():
            name = self._hashable(self.value(key, depth))
            if name in made:  # two objects with the same data
                name = free_name(made, f"{name} ({type(key).__name__})", clashes)
            made[name] = self.value(item, depth)
        return made

    def _hashable(self, made: Any) -> Any:
        """A key that was a tuple, or an object, is a list or a dict by now. Hashing it takes as long as it is large."""
        if not isinstance(made, list | dict):
            return made
        self._key_nodes += 1 + len(made)
        if self._key_nodes > _MAX_KEY_NODES:
            raise UnrecordableError(f"unreadable payload: more than {_MAX_KEY_NODES:,} values in objects that are keys")
        if isinstance(made, list):
            return tuple(map(self._hashable, made))
        return tuple((key, self._hashable(item)) for key, item in made.items())


def _data(stand_in: StandIn) -> Any:
    """What a stand-in was given, in the simplest shape that keeps all of it."""
    known = vars(stand_in)
    named: dict[Any, Any] = {**known["_kwargs"], **dict(known["_pairs"])}
    given = [arg for arg in known["_args"] if not isinstance(arg, type | _Constructor)]  # as a defaultdict's factory
    loose: list[Any] = [*given, *known["_items"]]
    state = known["_state"]
    converted = _converted(type(stand_in), loose, state)
    if converted is not None:
        return converted
    if isinstance(state, tuple) and len(state) == 2 and isinstance(state[1], dict):  # an object with slots
        named.update(state[1])
        state = state[0]
    if isinstance(state, dict) and isinstance(state.get("__dict__"), dict):  # a pydantic model
        for part in ("__dict__", "__pydantic_extra__", "__pydantic_private__"):
            if isinstance(state.get(part), dict):
                named.update(state[part])
    elif isinstance(state, dict):
        named.update(state)
    elif state is not None:
        loose.append(state)
    if not named:
        return loose[0] if len(loose) == 1 else loose
    return {**named, free_name(named, "args", Counter()): loose} if loose else named


def _converted(kind: type, args: list[Any], state: Any) -> Any:
    """The values of a few classes of the standard library, which are Python code and so aren't built for real."""
    name = f"{kind.__module__}.{kind.__name__}"
    if name == "uuid.UUID" and isinstance(state, dict) and isinstance(state.get("int"), int):
        number = state["int"]
        return UUID(int=number) if 0 <= number < 1 << 128 else number
    if name.startswith("pathlib") and name.endswith("Path") and all(isinstance(part, str) for part in args):
        root, *rest = args or ["."]
        return root + "/".join(rest) if root.endswith("/") else "/".join([root, *rest])
    return None


class _Constructor:
    """Makes values of one type. A pickle can call it, but not change it as it could a function or a `partial`."""

    __slots__ = ("_make",)
    _make: Callable[..., Any]

    def __init__(self, make: Callable[..., Any]) -> None:
        object.__setattr__(self, "_make", make)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._make(*args, **kwargs)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("a value type can't be changed")


def value_type(module: str, name: str) -> Callable[..., Any] | None:
    """The constructor for a class or function that pickles name, or None where a stand-in must do."""
    make = _VALUE_TYPES.get((_RENAMED.get(module, module), name))
    return None if make is None else _Constructor(make)


_RENAMED = {"__builtin__": "builtins", "copy_reg": "copyreg"}  # as pickle protocols up to 2 call them


def _bytes(*args: Any) -> bytes:
    match args:
        case ():
            return b""
        case (bytes() | bytearray() as value, *_):
            return bytes(value)
        case (list() as value,):
            return bytes(value)
        case (str() as value, str() as encoding, *_):
            return _encoded(value, encoding)
        case _:  # a bare number would ask for that many bytes
            raise UnrecordableError("unreadable payload: a bytes object of an unusual kind")


def _encoded(text: Any, encoding: Any = "latin1", *_: Any) -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1", "utf-8", "utf8"):
        raise UnrecordableError("unreadable payload: a bytes object of an unusual kind")
    return text.encode("latin-1" if encoding.startswith("latin") else "utf-8")  # neither needs its codec's module


def _list(items: Any = (), *_: Any) -> list[Any]:
    return list(items) if isinstance(items, list | tuple | set | frozenset | dict) else []


def _set(items: Any = (), *_: Any) -> set[Any]:
    return set(_list(items))


def _dict(items: Any = (), *_: Any) -> dict[Any, Any]:
    return dict(items) if isinstance(items, dict | list | tuple) else {}


def _decimal(value: Any = "0", *_: Any) -> Any:
    # Python turns a binary number of a megabyte into a decimal one in minutes; as it is, it says the same.
    return value if isinstance(value, int) and value.bit_length() > _MOST_DECIMAL_BITS else Decimal(value)


def _default_dict(_factory: Any = None, items: Any = (), *_: Any) -> dict[Any, Any]:
    return _dict(items)


def _datetime(*args: Any) -> Any:
    if len(args) == 2 and isinstance(args[1], StandIn):  # a zone of a class that we don't know
        return StandIn(datetime=_datetime(args[0]), tzinfo=args[1])
    return dt.datetime(*args).replace()  # which checks what a pickle's bytes may say, such as a minute 255


def _date(*args: Any) -> dt.date:
    return dt.date(*args).replace()


def _time(*args: Any) -> dt.time:
    return dt.time(*args).replace()


def _fixed_zone(seconds: Any = 0, *_: Any) -> dt.timezone:
    return dt.timezone(dt.timedelta(seconds=float(seconds or 0)))


def _pytz_zone(_name: Any, seconds: Any = 0, *_: Any) -> dt.timezone:
    return _fixed_zone(seconds)


def _utc(*_: Any) -> dt.timezone:
    return dt.UTC


def _named_zone(key: Any, *_: Any) -> Any:
    return ZoneInfo(key) if isinstance(key, str) and key in _ZONES else StandIn(key)


def _attribute(owner: Any, name: Any = None, *_: Any) -> Any:
    """`getattr`, as the pickles of some enums and zones use it: the member by its name."""
    if not isinstance(name, str):
        return owner
    constructor = value_type(owner.__module__, f"{owner.__name__}.{name}") if _is_stand_in(owner) else None
    return name if constructor is None else constructor


def _new(cls: Any, *args: Any) -> Any:
    return cls.__new__(cls, *args) if _is_stand_in(cls) else cls(*args)


def _new_with_names(cls: Any, args: Any, kwargs: Any) -> Any:
    return cls.__new__(cls, *args, **kwargs) if _is_stand_in(cls) else cls(*args)


def _rebuilt(cls: Any, _base: Any = None, state: Any = None, *_: Any) -> Any:
    """copyreg's way for the oldest pickle protocols."""
    if not _is_stand_in(cls):
        return cls() if state is None else cls(state)
    return cls.__new__(cls) if state is None else cls.__new__(cls, state)


def _is_stand_in(cls: Any) -> bool:
    return isinstance(cls, type) and issubclass(cls, StandIn)


_VALUE_TYPES: dict[tuple[str, str], Callable[..., Any]] = {
    ("_codecs", "encode"): _encoded,
    ("builtins", "bytearray"): _bytes,
    ("builtins", "bytes"): _bytes,
    ("builtins", "complex"): complex,
    ("builtins", "dict"): _dict,
    ("builtins", "frozenset"): _set,
    ("builtins", "getattr"): _attribute,
    ("builtins", "list"): _list,
    ("builtins", "set"): _set,
    ("builtins", "tuple"): _list,
    ("collections", "Counter"): _dict,
    ("collections", "OrderedDict"): _dict,
    ("collections", "defaultdict"): _default_dict,
    ("collections", "deque"): _list,
    ("copyreg", "__newobj__"): _new,
    ("copyreg", "__newobj_ex__"): _new_with_names,
    ("copyreg", "_reconstructor"): _rebuilt,
    ("datetime", "date"): _date,
    ("datetime", "datetime"): _datetime,
    ("datetime", "time"): _time,
    ("datetime", "timedelta"): dt.timedelta,
    ("datetime", "timezone"): dt.timezone,
    ("dateutil.tz.tz", "tzutc"): _utc,
    ("decimal", "Decimal"): _decimal,
    ("pydantic_core._pydantic_core", "TzInfo"): _fixed_zone,
    ("pytz", "_UTC"): _utc,
    ("pytz", "_p"): _pytz_zone,
    ("zoneinfo", "ZoneInfo._unpickle"): _named_zone,
}
"""No fractions, which ``1e999999999`` keeps busy for hours; no UUIDs and paths, whose classes could be changed."""
