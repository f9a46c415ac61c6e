"""The schema and what one asks of it: migrations, HSDS tables, location_master, the queries of docs/replay.md."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import psycopg
import pytest

from app.replay.database import Database, DatabaseError, migrations, place_of
from app.replay.hsds.tables import DEFAULTS, TABLES
from app.store.errors import UsageError
from tests.replay.archive import recording, write
from tests.replay.database import query, replay_folder
from tests.replay.hsds import validity

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "replay.md").read_text()
QUERIES = re.findall(r"^([A-Z][^\n]*):\n\n```sql\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL)


def test_migrations_are_applied_once_also_when_two_start_at_the_same_time(database_url: str) -> None:
    barrier = threading.Barrier(2)
    steps: list[list[str]] = []

    def migrate() -> None:
        with Database(database_url) as database:
            barrier.wait()
            steps.append(database.migrate())

    threads = [threading.Thread(target=migrate) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(steps) == [[], list(migrations())]
    with Database(database_url) as database:
        assert database.migrate() == []


def test_a_database_of_a_newer_version_is_left_alone(database_url: str) -> None:
    with Database(database_url) as database:
        database.migrate()
        query(database_url, "INSERT INTO replay_migration (name) VALUES ('999_future')")
        with pytest.raises(DatabaseError, match=r"newer version of replay \(999_future\)"):
            database.migrate()


def test_all_24_tables_of_hsds_are_there_with_keys_and_a_comment_on_all(database_url: str) -> None:
    with Database(database_url) as database:
        database.migrate()
    assert len(TABLES) == 24
    columns = query(
        database_url,
        "SELECT c.relname, a.attname, col_description(c.oid, a.attnum) FROM pg_class AS c"
        " JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0"
        " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'v')",
    )
    assert set(TABLES) < {table for table, _, _ in columns}
    uncommented = query(
        database_url,
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v')"
        " AND obj_description(oid) IS NULL",
    )
    assert uncommented == []
    of_hsds = [(table, column) for table, column, comment in columns if table in TABLES and comment is None]
    assert of_hsds == []
    assert all(column in {c for t, c, _ in columns if t == table} for table in DEFAULTS for column in DEFAULTS[table])


def test_the_tables_types_are_those_that_the_mapping_is_held_to(database_url: str) -> None:
    with Database(database_url) as database:
        database.migrate()
    types = {
        (table, column): kind
        for table, column, kind in query(
            database_url, "SELECT table_name, column_name, data_type FROM information_schema.columns"
        )
    }
    for table, columns in validity.COLUMNS.items():
        for column in columns.split():
            kind = types[table, column]
            assert (kind == "numeric") == (column in validity.NUMBERS), (table, column)
            assert (kind == "date") == (column in validity.DATES), (table, column)
            assert (kind == "uuid") == (column.endswith("_id") and column != "tax_id"), (table, column)
            assert (kind == "USER-DEFINED") == ((table, column) in validity.ENUMS), (table, column)


def test_a_reference_has_an_index(database_url: str) -> None:
    with Database(database_url) as database:
        database.migrate()
    unindexed = query(
        database_url,
        "SELECT conrelid::regclass::text, conkey FROM pg_constraint WHERE contype = 'f' AND NOT EXISTS ("
        " SELECT FROM pg_index WHERE indrelid = conrelid AND indkey[0] = conkey[1])",
    )
    assert [table for table, _ in unindexed if table in TABLES] == []


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:secret@h:5433/d", "d@h:5433"),
        ("host=h dbname=d password=secret", "d@h:5432"),
        ("postgresql:///d", "d@the local socket:5432"),
    ],
)
def test_where_a_database_is_can_be_shown(url: str, shown: str) -> None:
    assert place_of(url) == shown


def test_what_is_no_url_is_refused() -> None:
    with pytest.raises(UsageError, match="DATABASE_URL can't be used"):
        place_of("redis://h/0")


@pytest.fixture(scope="module")
def asked(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database with a few recordings, one of which has replaced another."""
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS public CASCADE")
        connection.execute("CREATE SCHEMA public")
    folder = tmp_path_factory.mktemp("asked")
    hours = [{"freq": "WEEKLY", "byday": "TU,TH", "opens_at": "15:00", "closes_at": "18:30"}]
    place = {
        "name": "Grace Hall",
        "latitude": 38.29,
        "longitude": -122.28,
        "addresses": [
            {"address_1": "1 Main St", "city": "Napa", "state_province": "California", "postal_code": "94558"}
        ],
        "phones": [{"number": "(707) 555-0100"}],
        "schedules": hours,
    }
    answer = {"locations": [place], "website": "grace.example", "email": "hello@grace.example"}
    write(folder, recording("old", "Grace", created_at="2025-08-07 08:00:00", answer={**answer, "description": "was"}))
    new = recording("new", "Grace", created_at="2025-08-08 08:00:00", answer={**answer, "description": "is"})
    new["job"]["prompt"] = 'Input Data:\n{"id": 1, "name": "Grace", "latitude": 38.29, "longitude": -122.28}'
    write(folder, new)
    invented = {"locations": [{**place, "name": "Elsewhere", "latitude": 10.0, "longitude": 10.0}]}
    write(folder, recording("odd", "Odd", source=2, answer=invented))
    replay_folder(folder, postgres_server)
    return postgres_server


def test_location_master_has_what_a_person_looks_for_in_one_row(asked: str) -> None:
    (row,) = query(
        asked,
        "SELECT name, organization, address, city, state, zip, latitude::float, longitude::float, phone, website,"
        " email, hours, scraper, source_file FROM location_master WHERE organization = 'Grace'",
    )
    assert row == (
        "Grace Hall",
        "Grace",
        "1 Main St",
        "Napa",
        "CA",
        "94558",
        38.29,
        -122.28,
        "707-555-0100",
        "https://grace.example",
        "hello@grace.example",
        "TU,TH 15:00-18:30",
        "nyc",
        "daily/2025-08-08/scrapers/nyc/new.json",
    )


def test_location_master_finds_by_an_index_what_belongs_to_a_place(asked: str) -> None:
    with psycopg.connect(asked, options="-c enable_seqscan=off") as connection:
        plan = "\n".join(line for (line,) in connection.execute("EXPLAIN SELECT * FROM location_master"))
    for table in ("schedule", "phone", "address", "service_at_location", "record_source", "replay_record"):
        assert f" on {table}" in plan
        assert f"Seq Scan on {table}" not in plan


@pytest.mark.parametrize(("title", "statement"), QUERIES, ids=[title for title, _ in QUERIES])
def test_the_queries_of_the_page_give_answers(asked: str, title: str, statement: str) -> None:
    assert query(asked, statement), title


def test_the_page_names_every_option_and_table() -> None:
    for option in ("--since", "--until", "--scraper", "--pattern", "--limit", "--workers", "--verbose", "--dry-run"):
        assert f"`{option}" in PAGE
    for table in ("job_result", "job_format", "replay_record", "record_source", "quarantine", "location_master"):
        assert f"| `{table}` |" in PAGE


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        ("byday, opens_at, closes_at", "TU 09:00-12:00"),
        ("freq, bymonthday, opens_at", "day 3 of the month 09:00 (monthly)"),
        ("interval, byday", "TU (every 2 weeks)"),
        ("count, dtstart", "(once) from 2025-08-08"),
        ("description", None),
    ],
)
def test_a_schedule_in_short(asked: str, columns: str, text: str | None) -> None:
    values = {
        "byday": "'TU'",
        "opens_at": "'09:00'",
        "closes_at": "'12:00'",
        "freq": "'MONTHLY'",
        "bymonthday": "'3'",
        "interval": "2",
        "count": "1",
        "dtstart": "'2025-08-08'",
        "description": "'open'",
    }
    fields = ", ".join(f"'{name}', {values[name]}" for name in columns.split(", "))
    statement = f"SELECT schedule_text(jsonb_populate_record(NULL::schedule, jsonb_build_object({fields})))"
    assert query(asked, statement) == [(text,)]
