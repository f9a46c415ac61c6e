"""The fleet's own PostgreSQL: it starts, is for its user only, survives a kill, and psql finds it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psutil
import psycopg
import pytest

from app.bouy.supervision import marked_processes, wait_for_end
from app.service.postgres import client_variables
from app.store.errors import UsageError
from tests.bouy.conftest import Bench

Eventually = Callable[[Callable[[], Any]], Any]


def server_process(bench: Bench) -> psutil.Process:
    (process,) = (marked.process for marked in marked_processes(bench.state) if marked.service == "db")
    return process


def psql(bench: Bench, statement: str, code: int = 0, **variables: str) -> str:
    done = bench.bouy("exec", "db", "psql", "-qAt", "-c", statement, code=code, **variables)
    return (done.stderr if code else done.stdout).strip()


def test_a_database_is_there_for_psql_outlives_a_kill_and_ends_without_a_trace(
    bench: Bench, eventually: Eventually
) -> None:
    (bench.state / "postgres" / "data.new" / "left over").mkdir(parents=True)  # a start that was broken off
    bench.state.chmod(0o700)
    (bench.state / "services").mkdir()
    assert "db started (pid " in bench.bouy("up", "db").stdout
    assert [one["health"] for one in bench.json("ps") if one["service"] == "db"] == ["ready"]
    assert psql(bench, "create table kept (n int); insert into kept values (7); select current_database()") == (
        "pantry_pirate_radio"
    )
    url = bench.fleet().settings()["DATABASE_URL"]
    old = server_process(bench)
    old.kill()
    assert wait_for_end([old], 10) == []
    eventually(lambda: [one["health"] for one in bench.json("ps")][2] == "ready")
    assert bench.fleet().settings()["DATABASE_URL"] == url
    assert psql(bench, "select n from kept") == "7"
    with psycopg.connect(url):  # a client that stays doesn't hold up the stop
        assert bench.bouy("down").stdout == "db stopped\n"
    assert bench.running() == []


def test_the_database_is_for_its_user_only(bench: Bench) -> None:
    bench.fleet().up(["db"])
    url = bench.fleet().settings()["DATABASE_URL"]
    password = (bench.state / "postgres" / "password").read_text()
    assert password in url
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(url.replace(password, "guessed"))
    assert (bench.state / "postgres" / "password").stat().st_mode & 0o777 == 0o600
    for process in (server := server_process(bench), *server.children()):
        assert password not in " ".join(process.cmdline())
    assert {connection.laddr.ip for connection in server.net_connections() if connection.status == "LISTEN"} == {
        "127.0.0.1"
    }
    assert password not in bench.bouy("up", "db").stdout + bench.bouy("ps").stdout


def test_with_database_url_that_database_is_used(bench: Bench) -> None:
    url = "postgresql://me:secret@127.0.0.1:1/mine"
    assert "db not started: DATABASE_URL is set" in bench.bouy("up", "db", DATABASE_URL=url).stdout
    assert bench.running() == []
    refused = psql(bench, "select 1", code=2, DATABASE_URL=url)
    assert "127.0.0.1" in refused
    assert "secret" not in refused


@pytest.mark.parametrize(
    ("url", "variables"),
    [
        (None, {}),
        ("postgresql://h/d", {"PGHOST": "h", "PGDATABASE": "d"}),
        (
            "postgres://u%40x:p%2Fw:@[::1]:5433/d?sslmode=require&application_name=x",
            {
                "PGHOST": "::1",
                "PGPORT": "5433",
                "PGUSER": "u@x",
                "PGPASSWORD": "p/w:",
                "PGDATABASE": "d",
                "PGSSLMODE": "require",
            },
        ),
        ("postgresql:///d?host=/run/pg", {"PGHOST": "/run/pg", "PGDATABASE": "d"}),
        ("postgresql://[::1]/d", {"PGHOST": "::1", "PGDATABASE": "d"}),
    ],
)
def test_psql_connects_as_the_url_says(url: str | None, variables: dict[str, str]) -> None:
    assert client_variables(url) == variables


def test_another_kind_of_url_is_refused() -> None:
    with pytest.raises(UsageError, match="DATABASE_URL can't be used"):
        client_variables("mysql://h/d")
