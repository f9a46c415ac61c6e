"""What mapping a recording comes to: its verdict, its rows, and what was set aside. Plain values; touches nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

Value = str | int | Decimal | bool
"""What a field holds: times as ``HH:MM:SS``, dates as ``YYYY-MM-DD``, ids as UUID text; never None or an empty text."""


@dataclass(frozen=True, slots=True)
class Row:
    """What one recording says of one row of an HSDS table: only the fields that it has something for."""

    table: str
    id: UUID
    fields: dict[str, Value]


@dataclass(frozen=True, slots=True)
class Note:
    """Something of a recording that was not loaded as it stood."""

    entity: str
    """What it is: the name of a table, or of a field, such as ``location.latitude``."""
    reason: str
    """One word for it, such as ``coords_not_in_input``."""
    raw: str
    """What the recording says there, as JSON text."""


@dataclass(frozen=True, slots=True)
class Mapped:
    """A recording as the database knows it."""

    job_id: str | None
    scraper_id: str | None
    created_at: datetime | None
    """In UTC."""
    completed_at: datetime | None
    content_hash: str | None
    reason: str | None
    """Why it was rejected; None if it was accepted."""
    parse_mode: str | None = None
    """How its result became data: ``as_is``, ``fenced``, ``balanced``, or ``structured`` for what was data already."""
    shape: str | None = None
    """How the result arranges its parts, such as ``organization`` or ``wrapped:data``."""
    source_key: str | None = None
    """What it is an answer about; of all accepted recordings of one source, only the latest counts."""
    input: Any = None
    """The scraped source record that the answer was made from, as data; None where there is none."""
    rows: list[Row] = field(default_factory=list)
    """Parents before children; each id once a table."""
    notes: list[Note] = field(default_factory=list)
    link_basis: dict[str, int] = field(default_factory=dict)
    """How many services were put at a location by what: ``nesting``, ``reference``, ``only_location`` and so on."""

    @property
    def accepted(self) -> bool:
        """Whether its rows are to be loaded, unless a later recording of the same source is there."""
        return self.reason is None
