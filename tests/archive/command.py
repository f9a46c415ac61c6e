"""`python -m app.archive`, run to its end in a process of its own."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from app.archive.cli import main
from tests.forks import start_forked


@dataclass(frozen=True, slots=True)
class Done:
    """What a command printed."""

    stdout: str
    stderr: str


def environment(base: Path, **variables: str) -> dict[str, str]:
    """OUTPUT_DIR, ARCHIVE_DIR and SQL_DUMP_DIR are in BASE; no other setting is left of ours."""
    named = {"OUTPUT_DIR": "out", "ARCHIVE_DIR": "arch", "SQL_DUMP_DIR": "sql_dumps", "TMPDIR": ""}
    folders = {name: str(base / folder) for name, folder in named.items()}
    return {**os.environ, "DATABASE_URL": "", **folders, **variables}


def run(base: Path, *arguments: str, code: int = 0, **variables: str) -> Done:
    """Run it, which must end with this exit code."""
    paths = (base / "stdout", base / "stderr")
    for path in paths:
        path.write_text("")
    process = start_forked(main, arguments, environment(base, **variables), stdout=paths[0], stderr=paths[1])
    process.join(120)
    done = Done(*(path.read_text() for path in paths))
    assert process.exitcode == code, f"{process.exitcode}: {done.stdout}{done.stderr}"
    assert "Traceback" not in done.stderr
    return done
