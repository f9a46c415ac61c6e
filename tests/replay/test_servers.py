"""Whatever the server is like: its encoding, schemas, rights, limits and time zone."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from psycopg.conninfo import make_conninfo

from app.replay.database import Database, DatabaseError
from app.store.errors import UsageError
from tests.recording import eventually
from tests.replay.archive import recording, write
from tests.replay.database import digest_of, query, replay_folder
from tests.replay.test_processes import run


@contextmanager
def another_database(server: str, options: str = "") -> Iterator[str]:
    """The URL of an empty database beside the one of the tests."""
    name = f"replay_test_{secrets.token_hex(4)}"
    query(server, f"CREATE DATABASE {name} {options}")
    try:
        yield make_conninfo(server, dbname=name)
    finally:
        query(server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def another(postgres_server: str) -> Iterator[str]:
    with another_database(postgres_server) as url:
        yield url


@pytest.fixture
def stranger(database_url: str) -> Iterator[str]:
    """The tests' database, for a user who has no rights of his own."""
    name, password = f"replay_test_{secrets.token_hex(4)}", secrets.token_hex(8)
    query(database_url, f"CREATE ROLE {name} LOGIN PASSWORD '{password}' CONNECTION LIMIT 2")
    try:
        yield make_conninfo(database_url, user=name, password=password)
    finally:
        query(database_url, f"DROP OWNED BY {name}; DROP ROLE {name}")


def name_of(url: str) -> str:
    return str(query(url, "SELECT current_database()")[0][0])


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_that_cant_hold_every_text_is_wrong_use(postgres_server: str, encoding: str) -> None:
    options = f"ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0"
    with (
        another_database(postgres_server, options) as url,
        pytest.raises(UsageError, match=f"its encoding is {encoding}"),
    ):
        Database(url)


def test_what_a_client_encoding_says_is_of_no_account(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    write(tmp_path, recording("a", "Café \N{HOT BEVERAGE}"))
    replay_folder(tmp_path, database_url)
    monkeypatch.delenv("PGCLIENTENCODING")
    assert query(database_url, "SELECT name FROM organization") == [("Café \N{HOT BEVERAGE}",)]


def test_the_first_schema_of_the_path_is_the_target_whatever_the_others_hold(tmp_path: Path, another: str) -> None:
    write(tmp_path, recording("a"))
    replay_folder(tmp_path, another)
    query(another, "CREATE SCHEMA hsds")
    inside = make_conninfo(another, options="-csearch_path=hsds,public")
    assert replay_folder(tmp_path, inside).loaded.accepted == 1
    assert replay_folder(tmp_path, inside).unchanged == 1
    write(tmp_path, recording("b", "Other", source=2))
    replay_folder(tmp_path, inside)
    assert query(another, "SELECT (SELECT count(*) FROM hsds.organization), (SELECT count(*) FROM organization)") == [
        (2, 1)
    ]


def test_a_right_that_is_missing_is_named_and_is_not_exit_code_1(
    tmp_path: Path, database_url: str, stranger: str
) -> None:
    query(database_url, "GRANT USAGE ON SCHEMA public TO public")
    write(tmp_path, recording("a"))
    done = run(stranger, "--directory", tmp_path, code=3)
    assert "permission denied for schema public (its user needs CREATE on the schema" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_schema_that_is_not_there_is_pointed_out(tmp_path: Path, database_url: str) -> None:
    with pytest.raises(DatabaseError, match="CREATE SCHEMA"):
        replay_folder(tmp_path, make_conninfo(database_url, options="-csearch_path=nowhere"))


def test_a_server_that_takes_no_changes_is_pointed_out(tmp_path: Path, database_url: str) -> None:
    with pytest.raises(DatabaseError, match="name the primary"):
        replay_folder(tmp_path, make_conninfo(database_url, options="-cdefault_transaction_read_only=on"))


def test_workers_that_get_no_connection_end_it_with_what_the_server_said(
    tmp_path: Path, database_url: str, stranger: str
) -> None:
    query(database_url, "GRANT CREATE, USAGE ON SCHEMA public TO public")
    for number in range(600):
        write(tmp_path, recording(f"job-{number}", source=number))
    done = run(stranger, "--directory", tmp_path, "--workers", "2", code=3)
    assert "too many connections" in done.stderr
    assert "memory" not in done.stderr


def test_the_same_rows_and_digest_whatever_the_servers_time_zone(
    tmp_path: Path, database_url: str, another: str
) -> None:
    write(tmp_path, recording("a", answer={"services": [{"name": "Meals", "last_modified": "2025-08-08T10:00:00"}]}))
    query(another, f"ALTER DATABASE {name_of(another)} SET TimeZone = 'Asia/Tokyo'")
    for url in (database_url, another):
        replay_folder(tmp_path, url)
    modified = "SELECT last_modified AT TIME ZONE 'UTC' FROM service"
    assert query(another, modified) == query(database_url, modified) != [(None,)]
    assert digest_of(another) == digest_of(database_url)


def test_no_time_limit_of_the_servers_ends_the_wait_for_another_replay(tmp_path: Path, another: str) -> None:
    query(another, f"ALTER DATABASE {name_of(another)} SET statement_timeout = '400ms'")
    query(another, f"ALTER DATABASE {name_of(another)} SET lock_timeout = '400ms'")
    query(another, f"ALTER DATABASE {name_of(another)} SET idle_in_transaction_session_timeout = '400ms'")
    write(tmp_path, recording("a"))
    waited = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'advisory' AND clock_timestamp() - query_start > '1 s'"
    with Database(another) as blocker, ThreadPoolExecutor(1) as pool:
        with blocker.transaction():
            blocker.lock_for_loading(print)
            replaying = pool.submit(replay_folder, tmp_path, another)
            eventually(lambda: replaying.done() or bool(query(another, waited)), 30)
        assert replaying.result().loaded.accepted == 1
