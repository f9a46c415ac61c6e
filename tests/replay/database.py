"""What tests ask a database that was replayed into."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql

from app.replay.database import Database
from app.replay.digest import digest
from app.replay.hsds.tables import TABLES
from app.replay.plan import Item, Selection, directory_plan
from app.replay.run import Report, replay


def replay_items(items: Iterable[Item], url: str, *, dry_run: bool = False, workers: int = 1) -> Report:
    """A replay of these files."""
    report = Report()
    replay(
        items,
        url,
        workers=workers,
        dry_run=dry_run,
        report=report,
        notify=lambda text: None,
        advance=lambda chunk: None,
    )
    return report


def replay_folder(folder: Path, url: str, *, dry_run: bool = False, workers: int = 1, **selected: Any) -> Report:
    """A replay of a folder."""
    return replay_items(directory_plan(str(folder), Selection(**selected)), url, dry_run=dry_run, workers=workers)


def digest_of(url: str) -> str:
    """The digest of all that a database holds."""
    with Database(url) as database:
        return str(digest(database)["digest"])


def query(url: str, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """What a statement returns."""
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement, parameters)
        return list(cursor.fetchall()) if cursor.description else []


def all_rows(url: str) -> dict[str, dict[UUID, dict[str, Any]]]:
    """The HSDS tables that hold something: by table and id, the fields that hold something."""
    found: dict[str, dict[UUID, dict[str, Any]]] = {}
    with psycopg.connect(url) as connection:
        for table in TABLES:
            statement = sql.SQL("SELECT id, row_to_json(t)::text FROM {} AS t").format(sql.Identifier(table))
            for key, text in connection.execute(statement):
                fields = json.loads(text, parse_float=Decimal, parse_int=Decimal)
                del fields["id"]
                found.setdefault(table, {})[key] = {name: said for name, said in fields.items() if said is not None}
    return found
