"""A recording's file made ready for the database: its verdict, and its lines for COPY. Touches nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from app.replay.hsds.mapping import VERSION, map_recording
from app.replay.hsds.rows import Mapped, Note
from app.replay.jsonb import Json, compact, for_jsonb
from app.replay.reading import Recording, Schema, read_recording

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
    schema: Schema | None = None


def is_damaged(reason: str | None) -> bool:
    """Whether a reason says that the file is no recording, rather than one that has nothing for us."""
    return reason is not None and reason.startswith(_DAMAGED)


def prepare(content: bytes, path: str, digest: bytes) -> Prepared:
    """A file's content, whose SHA-256 is `digest`, as rows; whatever is wrong with it becomes a reason."""
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        return _damaged(digest, path, NOT_UTF8, str(error), content)
    try:
        recording = read_recording(text)
    except ValueError as error:
        return _damaged(digest, path, NOT_JSON, str(error), content)
    mapped = map_recording(recording.data)
    source_id = None if mapped.source_key is None or not mapped.accepted else _hashed(mapped.source_key)
    lines = {
        "job_result": _result(digest, path, recording, mapped, text, len(content)),
        "replay_record": _record(digest, path, mapped, source_id),
        "record_source": _sources(digest, mapped),
        "quarantine": _notes(digest, path, mapped.job_id, mapped.notes),
    }
    return Prepared(digest, path, mapped.reason, source_id, lines, recording.schema)


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
        None if mapped.input is None else for_jsonb(mapped.input),
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
                    _field(Json(compact(row.fields))),
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


def _result(digest: bytes, path: str, recording: Recording, mapped: Mapped, text: str, size: int) -> bytes:
    """The recording whole, without the schema that is the same in thousands of them."""
    data, schema = recording.data, recording.schema
    document = for_jsonb(data)
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
        error if isinstance(error, str | None) else compact(error).decode(),
        size,
        path,
        schema.sha256 if schema else None,
        document,
        text if document is None or not recording.exact else None,
    )


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
    if isinstance(value, Json):
        return value.replace(b"\\", b"\\\\")
    if isinstance(value, bytes):
        return b"\\\\x" + value.hex().encode()
    if isinstance(value, datetime):
        return value.isoformat().encode()
    return str(value).encode()
