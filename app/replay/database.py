"""The one importer of psycopg: connecting, migrating, and running the statements of ``sql/``.

Whatever the driver raises comes out as one of ours: `ServiceUnavailableError` when the database is away,
`DataRefusedError` when it won't take a value, `DatabaseError` for the rest.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib import resources
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.types.json import Jsonb

from app.store.errors import RecorderError, ServiceUnavailableError, UsageError

OLDEST_VERSION = 140000
"""PostgreSQL 14."""

_SCHEMA_LOCK = 7_160_151_001
_LOAD_LOCK = 7_160_151_002
_CONNECT_TIMEOUT_S = 10


class DatabaseError(RecorderError):
    """The database refused a statement: a missing right, a table of somebody else's, a mistake of ours."""


class DataRefusedError(DatabaseError):
    """The database won't take a value."""


class Database:
    """A connection to the database that recordings are replayed into."""

    def __init__(self, url: str) -> None:
        """Connect. Raises `UsageError` for a URL that can't be used, `ServiceUnavailableError` when nobody answers."""
        self.name = place_of(url)
        self._columns_of: dict[str, list[str]] = {}
        with _as_ours(self.name):
            self._connection = psycopg.connect(
                url, connect_timeout=_CONNECT_TIMEOUT_S, autocommit=True, application_name="replay"
            )
        version = self._connection.info.server_version
        if version < OLDEST_VERSION:
            self.close()
            raise UsageError(f"PostgreSQL {version // 10000} is too old", hint="14 or newer is needed")

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection; what wasn't committed is gone."""
        self._connection.close()

    @contextmanager
    def transaction(self, *, discard: bool = False) -> Iterator[None]:
        """All or nothing of what is done inside, or with `discard` nothing; nested ones are savepoints."""
        with _as_ours(self.name), self._connection.transaction():
            yield
            if discard:
                raise psycopg.Rollback

    def run(self, name: str, parameters: Mapping[str, Any] | None = None, **parts: sql.Composable) -> list[Any]:
        """Run a statement of ours; its rows, if it returns any."""
        with _as_ours(self.name):
            cursor = self._connection.execute(_statement(name, parts), parameters)
            return cursor.fetchall() if cursor.description else []

    def merge(self, table: str, defaults: Mapping[str, str]) -> tuple[int, int]:
        """Make the touched rows of a table anew from what recordings say: how many were inserted, and updated."""
        columns = self._columns(table)
        parts = {
            "table": sql.Identifier(table),
            "assignments": sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(sql.Identifier(c)) for c in columns),
            "old": sql.SQL(", ").join(sql.Identifier("old", column) for column in columns),
            "new": sql.SQL(", ").join(sql.Identifier("excluded", column) for column in columns),
        }
        ((inserted, updated),) = self.run("merge", {"table": table, "defaults": Jsonb(dict(defaults))}, **parts)
        return inserted, updated

    def drop_unsaid(self, table: str) -> int:
        """Remove the touched rows of a table that no loaded recording speaks of; how many there were."""
        with _as_ours(self.name):
            statement = _statement("drop_unsaid", {"table": sql.Identifier(table)})
            return self._connection.execute(statement, {"table": table}).rowcount

    def digest(self, table: str, without: Collection[str] = ()) -> tuple[int, int]:
        """A table's number of rows, and a number that two tables share when they have the same ones."""
        columns = [column for column in self._columns(table) if column not in without]
        parts = {"table": sql.Identifier(table), "columns": sql.SQL(", ").join(map(sql.Identifier, columns))}
        ((rows, total),) = self.run("digest", None, **parts)
        return rows, int(total)

    def copy(self, table: str, columns: str, lines: Iterable[bytes]) -> None:
        """Add rows, given as lines of COPY's text format."""
        names = sql.SQL(", ").join(map(sql.Identifier, columns.replace(",", " ").split()))
        statement = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table), names)
        content = b"\n".join(lines)
        if content:
            with _as_ours(self.name), self._connection.cursor() as cursor, cursor.copy(statement) as copy:
                copy.write(content + b"\n")

    def has_table(self, name: str) -> bool:
        """Whether there is such a table."""
        return bool(self.run("has_table", {"name": name})[0][0])

    def _columns(self, table: str) -> list[str]:
        if table not in self._columns_of:
            self._columns_of[table] = [name for (name,) in self.run("columns", {"table": table})]
        return self._columns_of[table]

    def lock_for_loading(self, *, wait: bool) -> bool:
        """Take the lock under which one replay at a time loads, until the transaction ends; False if it is taken."""
        if wait:
            self.run("lock_load", {"key": _LOAD_LOCK})
            return True
        return bool(self.run("try_lock_load", {"key": _LOAD_LOCK})[0][0])

    def migrate(self) -> list[str]:
        """Bring the schema up to date, each step once, also when two replays start at once; returns the steps taken.

        Raises `DatabaseError` when tables of the same names are there that aren't ours.
        """
        if not self._missing_migrations():
            return []
        with self.transaction():
            self.run("lock_schema", {"key": _SCHEMA_LOCK})
            steps = self._missing_migrations()
            if not self.has_table("replay_migration"):
                self._refuse_foreign_tables()
                self.run("create_migrations")
            for name, text in steps.items():
                with _as_ours(self.name):
                    self._connection.execute(text)
                self.run("note_migration", {"name": name})
        return list(steps)

    def _missing_migrations(self) -> dict[str, str]:
        applied = {name for (name,) in self.run("migrations")} if self.has_table("replay_migration") else set()
        if newer := sorted(applied - migrations().keys()):
            raise DatabaseError(
                f"the database was made by a newer version of replay ({newer[-1]})", hint="update this checkout"
            )
        return {name: text for name, text in migrations().items() if name not in applied}

    def _refuse_foreign_tables(self) -> None:
        for table in ("organization", "location", "service", "job_result", "replay_record"):
            if self.has_table(table):
                raise DatabaseError(
                    f"the database has a table {table} that replay didn't make",
                    hint="name another database in DATABASE_URL, or an empty schema: ...?options=-csearch_path%3Dhsds",
                )


def migrations() -> dict[str, str]:
    """The steps by which the schema is made, in order: name and SQL."""
    folder = resources.files("app.replay").joinpath("sql", "migrations")
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)
    return {file.name.removesuffix(".sql"): file.read_text(encoding="utf-8") for file in files}


def place_of(url: str) -> str:
    """Which database a URL names, in words that can be shown: without its password."""
    try:
        parts = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        hint = "for example postgresql://user:password@host:5432/name"
        raise UsageError("DATABASE_URL can't be used", hint=hint) from None
    host = parts.get("host") or parts.get("hostaddr") or "the local socket"
    return f"{parts.get('dbname', '')}@{host}:{parts.get('port', 5432)}"


@cache
def _statements() -> dict[str, str]:
    text = resources.files("app.replay").joinpath("sql", "statements.sql").read_text(encoding="utf-8")
    _, *parts = re.split(r"^-- name: (\w+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def _statement(name: str, parts: Mapping[str, sql.Composable]) -> sql.SQL | sql.Composed:
    statement = sql.SQL(_statements()[name])
    return statement.format(**parts) if parts else statement


@contextmanager
def _as_ours(where: str) -> Iterator[None]:
    """Turn what the driver raises into one of ours."""
    try:
        yield
    except (psycopg.DataError, psycopg.IntegrityError, psycopg.errors.ProgramLimitExceeded) as error:
        raise DataRefusedError(f"the database refused a value: {_said(error)}") from error
    except psycopg.errors.DiskFull as error:
        raise DatabaseError(
            f"the database's disk is full: {_said(error)}", hint="make room, then run this again"
        ) from error
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise ServiceUnavailableError(
            f"no database at {where}: {_said(error)}", hint="what was loaded stays; run this again to go on"
        ) from error
    except psycopg.Error as error:
        raise DatabaseError(f"the database at {where} refused: {_said(error)}") from error


def _said(error: psycopg.Error) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
