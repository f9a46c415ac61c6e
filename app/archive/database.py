"""The database as a whole, by PostgreSQL's own programs: counted, dumped, filled. Knows nothing of its tables."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, cast

from app.store.errors import RecorderError, ServiceUnavailableError

_CONNECT_TIMEOUT_S = 10
_QUIET = ("-X", "-q", "-A", "-t")
_CANT_CONNECT = 2
_CHUNK_BYTES = 1024**2
_DUMP_OPTIONS = ("--no-owner", "--no-privileges", "--if-exists", "--clean")
COMPLETE = b"\n-- PostgreSQL database dump complete\n"
TAIL_BYTES = 1000
"""At the end of each dump, within so many bytes."""

_TABLES = """
SELECT format('SELECT count(*) FROM %I.%I', n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
AND c.relname NOT IN ('replay_migration', 'schema_migrations', 'alembic_version')
AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
"""
"""A query for each table's rows, but for those of extensions, and for notes of which migrations were applied."""


class DatabaseError(RecorderError):
    """The database, or a program of PostgreSQL's, refused."""


@dataclass(frozen=True, slots=True)
class Database:
    """A database: the variables by which PostgreSQL's programs find it, and where those are."""

    variables: Mapping[str, str]
    program: Callable[[str], str]

    @property
    def name(self) -> str:
        """Where it is, in words that can be shown."""
        return f"{self.variables.get('PGDATABASE', '')}@{self.variables.get('PGHOST', 'the local socket')}"

    def rows(self) -> int:
        """How many rows there are in all tables."""
        counts = [line for line in self.query(_TABLES).splitlines() if line]
        if not counts:
            return 0
        return int(self.query(f"SELECT sum(count) FROM ({' UNION ALL '.join(counts)}) AS counts"))  # noqa: S608

    def query(self, statement: str) -> str:
        """What a statement prints: no header, columns between bars."""
        with self._run(["psql", *_QUIET, "-c", statement], stdout=subprocess.PIPE) as process:
            return cast(IO[bytes], process.stdout).read().decode().strip()

    def dump(self, write: Callable[[bytes], object]) -> None:
        """Write all of it as SQL, in one consistent state; a piece at a time."""
        end = b""
        with self._run(["pg_dump", *_DUMP_OPTIONS], stdout=subprocess.PIPE) as process:
            while chunk := cast(IO[bytes], process.stdout).read(_CHUNK_BYTES):
                write(chunk)
                end = (end + chunk)[-TAIL_BYTES:]
        if COMPLETE not in end:
            raise DatabaseError(f"the dump of {self.name} is not complete", hint="see the database's log")

    def fill(self, chunks: Iterable[bytes]) -> None:
        """Run a dump: all of it, or nothing."""
        words = ["psql", *_QUIET, "--single-transaction", "-v", "ON_ERROR_STOP=1", "-f", "-"]
        with self._run(words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
            stdin = cast(IO[bytes], process.stdin)
            try:
                for chunk in chunks:
                    stdin.write(chunk)
            except BrokenPipeError:
                pass  # it has ended, and says why
            finally:
                with suppress(BrokenPipeError):
                    stdin.close()

    def called(self, name: str) -> Database:
        """Another database of the same server."""
        return Database({**self.variables, "PGDATABASE": name}, self.program)

    @contextmanager
    def _run(self, words: list[str], **streams: int) -> Iterator[subprocess.Popen[bytes]]:
        """A program at work, which is gone at the end, and whose failure is ours."""
        words = [self.program(words[0]), *words[1:]]
        variables = {"PGCONNECT_TIMEOUT": str(_CONNECT_TIMEOUT_S), **self.variables}
        with tempfile.TemporaryFile() as errors:
            process: subprocess.Popen[bytes] = subprocess.Popen(words, env=variables, stderr=errors, **streams)  # type: ignore[call-overload]
            with process:  # closes its streams and waits for it
                try:
                    yield process
                except BaseException:
                    process.kill()
                    raise
            if process.returncode:
                errors.seek(0)
                said = errors.read().decode(errors="replace").strip().splitlines()
                raise self._error(process.returncode, said[0] if said else f"exit code {process.returncode}")

    def _error(self, code: int, said: str) -> RecorderError:
        if code == _CANT_CONNECT or "connection to server" in said:
            return ServiceUnavailableError(f"no database {self.name}: {said}", hint="is it running? ./bouy up db")
        return DatabaseError(f"the database {self.name} refused: {said}")
