"""Real fleets for the tests of bouy: each with a state folder and an output folder of its own, stopped at the end."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from app.bouy.cli import main
from app.bouy.local import Fleet
from app.bouy.services import SERVICES, Site
from app.bouy.supervision import marked_processes
from tests.forks import start_forked

ROOT = Path(__file__).resolve().parents[2]
UNSET = ("REDIS_URL", "DATABASE_URL", "OUTPUT_DIR", "ARCHIVE_DIR", "NO_COLOR", "LOG_LEVEL", "LOG_FORMAT")


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Bench:
    """A place for one fleet, and bouy's command line for it."""

    folder: Path
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def output_dir(self) -> Path:
        return self.folder / "out"

    @property
    def environ(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if name not in UNSET}
        return {**inherited, "OUTPUT_DIR": str(self.output_dir), "PYTHONPATH": str(ROOT)}

    def fleet(self, *, port: int | None = None, **variables: str) -> Fleet:
        site = Site(ROOT, self.state, {**self.environ, **variables}, first_port=port or free_port())
        return Fleet(site)

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-P", "-m", "app.bouy", "--state", str(self.state), *arguments]

    def bouy(self, *arguments: str, code: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
        """bouy's end with this exit code, and what it said; forked, since most of its time would go into imports."""
        with TemporaryDirectory() as folder:
            stdout, stderr = Path(folder, "stdout"), Path(folder, "stderr")
            given = ["--state", str(self.state), *arguments]
            process = start_forked(_bouy, given, {**self.environ, **variables}, stdout=stdout, stderr=stderr)
            process.join(90)
            ended_with = process.exitcode
            process.kill()
            assert ended_with is not None, "it didn't end"
            done = subprocess.CompletedProcess(given, ended_with, stdout.read_text(), stderr.read_text())
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    def popen(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        """bouy, going on beside the test; ended with it."""
        process = subprocess.Popen(
            self.command(*arguments),
            env={**self.environ, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process

    def json(self, *arguments: str, code: int = 0, **variables: str) -> Any:
        return json.loads(self.bouy("--json", *arguments, code=code, **variables).stdout)

    def running(self) -> list[str]:
        """The services, and supervisord, of which a process is there, whoever looks after it."""
        return sorted(marked.service for marked in marked_processes(self.state))

    def pids(self) -> dict[str, int]:
        """The pid of each of them."""
        return {marked.service: marked.process.pid for marked in marked_processes(self.state)}


def _bouy() -> int:
    return main(dict(os.environ))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A fleet's place, with nothing running in it."""
    with _bench(tmp_path) as made:
        yield made


@pytest.fixture
def other_bench(tmp_path: Path) -> Iterator[Bench]:
    """Another one, as in a second checkout."""
    with _bench(tmp_path / "other") as made:
        yield made


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A fleet that runs; for tests that leave it as it is."""
    with _bench(tmp_path_factory.mktemp("running")) as made:
        made.fleet().up(["recorder"])
        yield made


@contextmanager
def _bench(folder: Path) -> Iterator[Bench]:
    folder.mkdir(exist_ok=True)
    bench = Bench(folder)
    try:
        yield bench
    finally:
        for process in bench.processes:
            if process.poll() is None:
                process.kill()
            process.communicate()
        for state in (bench.state, bench.state / "demo"):
            if state.exists():
                Fleet(Site(ROOT, state, {})).down(list(SERVICES))
            assert marked_processes(state) == []


@pytest.fixture
def eventually() -> Callable[[Callable[[], Any]], Any]:
    """Wait until a condition holds, and return what it gave."""

    def wait(condition: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + 20
        while not (value := condition()):
            assert time.monotonic() < deadline, "the condition never came to hold"
            time.sleep(0.05)
        return value

    return wait
