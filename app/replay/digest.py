"""A database's contents in a few numbers: two databases with the same digest hold the same rows."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from app.replay.database import Database
from app.replay.hsds.tables import TABLES

_OURS = ("job_format", "job_result", "replay_record", "record_source", "quarantine")
_NOT_OF_THE_CONTENT = ("path", "replayed_at")
"""Columns that say when and from where a recording was loaded."""


def digest(database: Database) -> dict[str, Any]:
    """The number of rows of each table, and one hash over all of them: ``{"digest": hex, "tables": {name: rows}}``.

    Where a recording's file lies and when it was loaded are not part of it.
    """
    with database.transaction():
        found = {table: database.digest(table, without=_NOT_OF_THE_CONTENT) for table in (*TABLES, *_OURS)}
    whole = hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()
    return {"digest": whole, "tables": {table: rows for table, (rows, _) in found.items()}}
