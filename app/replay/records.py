"""A recording's file made ready for the database: its verdict, and its lines for COPY. Touches nothing."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any
from uuid import UUID

import orjson

from app.replay.hsds.mapping import VERSION, map_recording
from app.replay.hsds.rows import Mapped, Note

COLUMNS = {
    "job_result": (
        "sha256, job_id, scraper_id, status, created_at, completed_at, processing_time_s, retry_count, error,"
        " size_bytes, path, format_sha256, document, raw"
    ),
    "replay_record": (
        "sha256, job_id, scraper_id, content_hash, created_at, completed_at, path, outcome, reason, parse_mode, shape,"
        " source_key, source_id, input, mapping_version, replayed_at"
    ),
    "record_source": "recording, table_name, row_id, job_id, fields",
    "quarantine": "recording, number, job_id, path, entity, reason, raw",
}
"""The tables that a recording has lines for, in the order to load them, and their columns."""

NOT_UTF8 = "envelope_not_utf8"
NOT_JSON = "envelope_not_json"
REFUSED = "refused_by_database"
_DAMAGED = "envelope_"
"""How the reasons begin that say that a file is damaged."""

_RAW_LIMIT = 100_000
"""Longest text that is kept of something quarantined; all of it is in job_result, unless the file is damaged."""

_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\0": ""})
_NOT_FOR_JSONB = re.compile(
    rb"\\u0000|\\u[dD][89a-fA-F]|[:\[,]\s*-?(?:NaN|Infinity|\d+(?:\.\d+)?[eE][+-]?\d{4})|\d{5000}"
)
"""What jsonb refuses: NUL, lone surrogates, NaN, numbers of thousands of digits. What only looks so is kept too."""

_NUL = b"\\u0000"
_MOST_DIGITS = 4000
"""A number with more, before its point or after it, may be too long for jsonb."""

_CACHED_SCHEMAS = 32
_CACHED_LENGTH = 200_000
"""A longer schema is worked on each time; so many of them would fill the memory."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """One recording, ready to be loaded."""

    sha256: bytes
    path: str
    reason: str | None
    """Why it is rejected; None if it is accepted."""
    source_id: UUID | None
    lines: dict[str, bytes] = field(default_factory=dict)
    """Its lines for COPY by table, without the last one's end; in ``replay_record`` without the last column."""
    schema: tuple[bytes, bytes] | None = None
    """job.format: its SHA-256, and its JSON."""

    @property
    def damaged(self) -> bool:
        """Whether its file is no recording at all."""
        return is_damaged(self.reason)


def is_damaged(reason: str | None) -> bool:
    """Whether a reason says that the file is no recording, rather than one that has nothing for us."""
    return reason is not None and reason.startswith(_DAMAGED)


@dataclass(frozen=True, slots=True)
class _Schema:
    """job.format, which is the same in thousands of recordings."""

    sha256: bytes
    """Of its compact JSON with sorted keys."""
    written: bytes | None
    """None if jsonb would refuse it."""
    has_float: bool


def prepare(content: bytes, path: str, digest: bytes) -> Prepared:
    """A file's content, whose SHA-256 is `digest`, as rows; whatever is wrong with it becomes a reason."""
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        return _damaged(digest, path, NOT_UTF8, str(error), content)
    try:
        data, exact = _read(content, text)
    except ValueError as error:
        return _damaged(digest, path, NOT_JSON, str(error), content)
    mapped = map_recording(data)
    source_id = None if mapped.source_key is None or not mapped.accepted else _hashed(mapped.source_key)
    schema, document = _apart(data)
    written = _jsonb(document)
    kept = text if written is None or not exact else None
    cut = (schema.sha256, schema.written) if schema and schema.written is not None else None
    lines = {
        "job_result": _result(digest, path, data, mapped, len(content), cut and cut[0], written, kept),
        "replay_record": _record(digest, path, mapped, source_id),
        "record_source": _sources(digest, mapped),
        "quarantine": _notes(digest, path, mapped.job_id, mapped.notes),
    }
    return Prepared(digest, path, mapped.reason, source_id, lines, cut)


def refused(prepared: Prepared, why: str, *, keep_result: bool) -> Prepared:
    """A recording that the database would not take, with its words; `keep_result`: its rows alone are left out."""
    mapped = Mapped(None, None, None, None, None, REFUSED)
    lines = {
        "job_result": prepared.lines["job_result"] if keep_result else b"",
        "replay_record": _record(prepared.sha256, prepared.path, mapped, None),
        "quarantine": _notes(prepared.sha256, prepared.path, None, [Note("recording", REFUSED, why)]),
    }
    return Prepared(prepared.sha256, prepared.path, REFUSED, None, lines, prepared.schema if keep_result else None)


def _damaged(digest: bytes, path: str, reason: str, why: str, content: bytes) -> Prepared:
    mapped = Mapped(None, None, None, None, None, reason)
    raw = content[:_RAW_LIMIT].decode(errors="backslashreplace")
    lines = {
        "replay_record": _record(digest, path, mapped, None),
        "quarantine": _notes(digest, path, None, [Note("recording", f"{reason}: {why}", raw)]),
    }
    return Prepared(digest, path, reason, None, lines)


def _record(digest: bytes, path: str, mapped: Mapped, source_id: UUID | None) -> bytes:
    return _line(
        digest,
        mapped.job_id,
        mapped.scraper_id,
        mapped.content_hash,
        mapped.created_at,
        mapped.completed_at,
        path,
        "loaded" if mapped.accepted else "rejected",
        mapped.reason,
        mapped.parse_mode,
        mapped.shape,
        mapped.source_key,
        source_id,
        None if mapped.input is None else _jsonb(mapped.input),
        VERSION,
    )


def _sources(digest: bytes, mapped: Mapped) -> bytes:
    recording, job_id = _field(digest), _field(mapped.job_id)
    return b"\n".join(
        [
            b"\t".join(
                (
                    recording,
                    row.table.encode(),
                    str(row.id).encode(),
                    job_id,
                    _field(_Json(_compact(row.fields))),
                )
            )
            for row in mapped.rows
        ]
    )


def _notes(digest: bytes, path: str, job_id: str | None, notes: Iterable[Note]) -> bytes:
    return b"\n".join(
        [
            _line(digest, number, job_id, path, note.entity, note.reason, note.raw[:_RAW_LIMIT])
            for number, note in enumerate(notes)
        ]
    )


def _read(content: bytes, text: str) -> tuple[Any, bool]:
    """A file's data, and whether it says all that the file does. Raises ValueError."""
    try:
        data = orjson.loads(content)
    except orjson.JSONDecodeError:  # an escaped lone surrogate, NaN: the careful way knows
        pass
    else:
        schema, document = _apart(data)
        if not (_has_float(document) or (schema and schema.has_float)):
            return data, True
    exact = True

    def check(digits: str) -> float:
        nonlocal exact
        number = float(digits)
        exact = exact and math.isfinite(number) and Decimal(digits) == Decimal(repr(number))
        return number

    try:
        return json.loads(text, parse_float=check, parse_constant=check), exact
    except RecursionError:
        raise ValueError("nested too deep") from None


def _has_float(value: object) -> bool:
    """Whether a number in it may have lost digits: integers of over 64 bits are read as floats too."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
        elif isinstance(one, float):
            return True
    return False


def _apart(data: Any) -> tuple[_Schema | None, Any]:
    """A recording's schema, and the rest: all of it where there is no schema, or none that jsonb takes."""
    job = data.get("job") if isinstance(data, dict) else None
    if not isinstance(job, dict) or job.get("format") is None:
        return None, data
    written = _compact(job["format"])
    schema = (_cached_schema if len(written) <= _CACHED_LENGTH else _schema)(written)
    if schema.written is None:
        return schema, data
    return schema, {**data, "job": {name: value for name, value in job.items() if name != "format"}}


def _schema(written: bytes) -> _Schema:
    try:
        schema = orjson.loads(written)
    except orjson.JSONDecodeError:
        schema = json.loads(written)
    return _Schema(hashlib.sha256(_compact(schema, sort=True)).digest(), _jsonb(schema), _has_float(schema))


_cached_schema = lru_cache(maxsize=_CACHED_SCHEMAS)(_schema)


def _result(
    digest: bytes,
    path: str,
    data: Any,
    mapped: Mapped,
    size: int,
    schema: bytes | None,
    document: bytes | None,
    raw: str | None,
) -> bytes:
    """The recording whole, without the schema that is the same in thousands of them."""
    envelope = data if isinstance(data, dict) else {}
    error = envelope.get("error")
    return _line(
        digest,
        mapped.job_id,
        mapped.scraper_id,
        _text(envelope.get("status")),
        mapped.created_at,
        mapped.completed_at,
        _number(envelope.get("processing_time")),
        _integer(envelope.get("retry_count")),
        error if isinstance(error, str | None) else _compact(error).decode(),
        size,
        path,
        schema,
        document,
        raw,
    )


class _Json(bytes):
    """JSON text for a jsonb column."""


def _jsonb(value: Any) -> _Json | None:
    """Data for a jsonb column, unless jsonb might refuse it."""
    try:
        written = orjson.dumps(value, default=_fragment)
    except orjson.JSONEncodeError:
        written = _compact(value)
        return None if _NOT_FOR_JSONB.search(written) else _Json(written)
    return None if _NUL in written else _Json(written)


def _compact(value: Any, *, sort: bool = False) -> bytes:
    try:
        return orjson.dumps(value, default=_fragment, option=orjson.OPT_SORT_KEYS if sort else 0)
    except orjson.JSONEncodeError:  # an integer over 64 bits, a lone surrogate, a number of too many digits
        return json.dumps(value, separators=(",", ":"), sort_keys=sort, default=_as_float).encode()


def _fragment(value: object) -> orjson.Fragment:
    if isinstance(value, Decimal) and _is_short(value):
        return orjson.Fragment(str(value))
    raise TypeError(f"not data: {type(value).__name__}")


def _as_float(value: Decimal) -> float:
    return float(value) if _is_short(value) else math.nan


def _is_short(number: Decimal) -> bool:
    _, digits, exponent = number.as_tuple()
    return isinstance(exponent, int) and len(digits) + abs(exponent) <= _MOST_DIGITS


def _hashed(source_key: str) -> UUID:
    return UUID(bytes=hashlib.sha256(source_key.encode(errors="backslashreplace")).digest()[:16])


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and abs(value) < 1e300 else None


def _integer(value: object) -> int | None:
    return value if type(value) is int and abs(value) < 2**31 else None


def _line(*values: object) -> bytes:
    """One row in COPY's text format, without its end."""
    return b"\t".join(map(_field, values))


def _field(value: object) -> bytes:
    if value is None:
        return b"\\N"
    if isinstance(value, str):
        try:
            return value.translate(_ESCAPES).encode()
        except UnicodeEncodeError:  # a lone surrogate
            return value.encode(errors="backslashreplace").decode().translate(_ESCAPES).encode()
    if isinstance(value, _Json):
        return value.replace(b"\\", b"\\\\")
    if isinstance(value, bytes):
        return b"\\\\x" + value.hex().encode()
    if isinstance(value, datetime):
        return value.isoformat().encode()
    return str(value).encode()
