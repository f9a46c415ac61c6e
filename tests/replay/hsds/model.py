"""The merge of many recordings as the simplest code that does it: what the database must come to."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from app.replay.hsds.rows import Mapped, Row, Value
from app.replay.hsds.tables import DEFAULTS


def winners(recordings: Iterable[Mapped]) -> list[Mapped]:
    """Of each source the latest accepted recording, from the earliest to the latest."""
    best: dict[str, Mapped] = {}
    for mapped in recordings:
        if mapped.accepted and (mapped.source_key not in best or _order(mapped) > _order(best[mapped.source_key])):
            assert mapped.source_key
            best[mapped.source_key] = mapped
    return sorted(best.values(), key=_order)


def fold(recordings: Iterable[Mapped]) -> dict[str, dict[UUID, dict[str, Value]]]:
    """The final rows by table and id: of each field the latest text over all winners, and else its default."""
    tables: dict[str, dict[UUID, dict[str, Value]]] = {}
    for mapped in winners(recordings):
        for row in mapped.rows:
            fields = tables.setdefault(row.table, {}).setdefault(row.id, dict(DEFAULTS.get(row.table, {})))
            fields.update(row.fields)
    return tables


def rows_of(mapped: Mapped, table: str) -> list[Row]:
    """The rows that a recording has for a table."""
    return [row for row in mapped.rows if row.table == table]


def _order(mapped: Mapped) -> tuple[object, str]:
    return mapped.created_at, mapped.job_id or ""
