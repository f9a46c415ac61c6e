"""Recorders as processes of their own, to be killed and frozen: each with a log, none left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import psutil
from redis import Redis

from app.recorder.cli import main
from tests.faults.points import POINTS
from tests.forks import start_forked
from tests.recording import eventually

_TAKEN = "rq:recorder:recorder:taken:"
_LEASE = "rq:recorder:recorder:lease:"
_WAIT_S = 60.0


@dataclass(slots=True)
class Recorder:
    """A recorder's process."""

    process: subprocess.Popen[bytes] | ForkServerProcess
    log: Path
    connection: Redis
    started_at: float = field(default_factory=time.monotonic)

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    @property
    def events(self) -> list[dict[str, Any]]:
        """What it has logged."""
        lines = self.log.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    def has_said(self, event: str) -> bool:
        return any(said["event"] == event for said in self.events)

    @property
    def jobs_in_hand(self) -> list[str]:
        """The jobs that Redis says this recorder holds."""
        keys = self.connection.keys(f"{_TAKEN}*-{self.pid}-*")
        return [os.fsdecode(job) for key in keys for job in self.connection.lrange(key, 0, -1)]

    @property
    def is_frozen(self) -> bool:
        return psutil.Process(self.pid).status() == psutil.STATUS_STOPPED

    @property
    def has_a_lease(self) -> bool:
        return bool(self.connection.keys(f"{_LEASE}*-{self.pid}-*"))

    def wait_until_ready(self) -> None:
        eventually(lambda: self.has_said("ready"), _WAIT_S)

    def freeze(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)
        eventually(lambda: self.is_frozen)

    def wake(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def lose_its_lease(self) -> None:
        """What time does to a frozen recorder's lease."""
        for key in self.connection.keys(f"{_LEASE}*-{self.pid}-*"):
            self.connection.delete(key)

    def kill(self) -> None:
        self.process.kill()
        self.await_end(-signal.SIGKILL)

    def await_end(self, code: int) -> None:
        """Wait until it has ended with this exit code; that of a signal is negative."""
        if isinstance(self.process, subprocess.Popen):
            found: int | None = self.process.wait(_WAIT_S)
        else:
            self.process.join(_WAIT_S)
            found = self.process.exitcode
        assert found == code, self.log.read_text()


@dataclass(slots=True)
class Fleet:
    """The recorders of one queue and one OUTPUT_DIR."""

    redis_url: str
    output: Path
    logs: Path
    connection: Redis
    recorders: list[Recorder] = field(default_factory=list)

    def start(self) -> Recorder:
        """`python -m app.recorder`, a process from scratch."""
        log = self._new_log()
        with log.open("wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", "app.recorder"],
                env={**os.environ, **self._environment(self.output)},
                stderr=stderr,
                cwd=Path(__file__).resolve().parents[2],
            )
        return self._known(process, log)

    def fork(
        self,
        point: str | None = None,
        how: signal.Signals = signal.SIGKILL,
        *,
        output: Path | None = None,
        batch_size: int = 100,
    ) -> Recorder:
        """The same, forked from a process that has loaded everything; with a point, it stops itself there."""
        log = self._new_log()
        environ = {**os.environ, **self._environment(output or self.output), "RECORDER_BATCH_SIZE": str(batch_size)}
        process = start_forked(partial(_recorder, point, how), (), environ, stderr=log)
        return self._known(process, log)

    @property
    def live(self) -> list[Recorder]:
        """Those that run, or are frozen."""
        return [recorder for recorder in self.recorders if _is_running(recorder.process)]

    @property
    def pids(self) -> set[int]:
        return {recorder.pid for recorder in self.live}

    def retire(self) -> None:
        """End all as an operator does."""
        leaving = self.live
        for recorder in leaving:
            recorder.process.terminate()
        for recorder in leaving:
            recorder.await_end(0)

    def end(self) -> None:
        """Leave nothing behind, whatever state it is in."""
        for recorder in self.recorders:
            recorder.process.kill()
            if isinstance(recorder.process, subprocess.Popen):
                recorder.process.wait()
            else:
                recorder.process.join()
                recorder.process.close()

    def _new_log(self) -> Path:
        log = self.logs / f"recorder{len(self.recorders)}.log"
        log.touch()
        return log

    def _known(self, process: subprocess.Popen[bytes] | ForkServerProcess, log: Path) -> Recorder:
        recorder = Recorder(process, log, self.connection)
        self.recorders.append(recorder)
        return recorder

    def _environment(self, output: Path) -> dict[str, str]:
        return {"REDIS_URL": self.redis_url, "OUTPUT_DIR": str(output), "LOG_FORMAT": "json"}


@contextmanager
def fleet_of(redis_url: str, connection: Redis, folder: Path) -> Iterator[Fleet]:
    """A fleet that records into `folder`/outputs, and ends with the test."""
    logs = folder / "logs"
    logs.mkdir()
    fleet = Fleet(redis_url, folder / "outputs", logs, connection)
    try:
        yield fleet
    finally:
        fleet.end()


def _is_running(process: subprocess.Popen[bytes] | ForkServerProcess) -> bool:
    return process.poll() is None if isinstance(process, subprocess.Popen) else process.is_alive()


def _recorder(point: str | None, how: signal.Signals) -> int:
    """A recorder that stops itself at a point."""
    if point is not None:
        POINTS[point].arm(how)
    return main()
