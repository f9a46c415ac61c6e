"""The rows and notes of one recording as they come together: each row once, whatever says something of it."""

from __future__ import annotations

import json
import re
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from app.replay.hsds.rows import Note, Row, Value
from app.replay.hsds.tables import TABLES

LONG_FIELDS = frozenset(
    {
        "description", "notes", "note", "details", "transportation", "eligibility_description", "application_process",
        "fees_description", "fees", "interpretation_services", "accreditations", "licenses", "alert", "wait_time",
        "extent", "document",
    }
)  # fmt: skip
LONG_LIMIT = 20_000
SHORT_LIMIT = 600
"""Characters kept of a text. The limit for short ones keeps them within what a PostgreSQL index takes (2,704 bytes)."""
RAW_LIMIT = 2_000

_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")
"""An escaped NUL, not an escaped backslash before ``u0000``."""

_ORDER = {table: place for place, table in enumerate(TABLES)}


class Sheet:
    """What one recording comes to, while it is being mapped."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, UUID], dict[str, Value]] = {}
        self.notes: list[Note] = []

    def add(self, table: str, key: UUID, fields: dict[str, Value | None]) -> UUID:
        """Enter a row, or what else is said of it: a later text takes an earlier one's place, nothing takes none's."""
        row = self._rows.setdefault((table, key), {})
        for name, value in fields.items():
            if value is None or value == "":
                continue
            if isinstance(value, str) and len(value) > SHORT_LIMIT:
                row[name] = self._cut(table, name, value)
            else:
                row[name] = value
        return key

    def note(self, entity: str, reason: str, raw: object) -> None:
        """Keep what was not loaded as it stood."""
        self.notes.append(Note(entity, reason, raw_json(raw)))

    def rows(self) -> list[Row]:
        """All rows, parents before children."""
        found = [Row(table, key, fields) for (table, key), fields in self._rows.items()]
        found.sort(key=lambda row: _ORDER[row.table])
        return found

    def _cut(self, table: str, name: str, value: str) -> str:
        limit = LONG_LIMIT if name in LONG_FIELDS else SHORT_LIMIT
        if len(value) <= limit:
            return value
        self.note(f"{table}.{name}", "text_cut", value)
        return value[:limit]


def raw_json(value: object) -> str:
    """A value as JSON text that PostgreSQL takes, cut to a length that can be looked at."""
    try:
        said = json.dumps(value, default=_plain, ensure_ascii=False, allow_nan=False)
    except (ValueError, RecursionError):
        said = json.dumps(f"({type(value).__name__}, too deep or not JSON)")
    if "\\u0000" in said or not said.isascii():
        said = _NUL.sub(r"\1", said).encode("utf-8", "ignore").decode()
    return said if len(said) <= RAW_LIMIT else json.dumps(said[:RAW_LIMIT], ensure_ascii=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return str(value) if abs(value.adjusted()) > 30 or not value.is_finite() else float(value)
    if isinstance(value, date | datetime):
        return value.isoformat()
    return f"({type(value).__name__})"
