"""Redis servers of a test's own, which it may stop, freeze and kill, and recorders whose log goes to a file."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from redis import Redis
from rq.job import Job

from app.recorder.cli import main
from tests.conftest import free_port, redis_server_binary
from tests.forks import start_forked
from tests.recording import eventually


class RedisServer:
    """A Redis on a port and in a folder of its own, both of which it keeps when it is started again."""

    def __init__(self, folder: Path, *options: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._options = folder, options
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self, *options: str) -> None:
        """Start, and wait until it answers at all."""
        command = [redis_server_binary(), "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        command += ["--dir", str(self._folder), *self._options, *options]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        eventually(self.answer)

    def send(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def end(self, number: int = signal.SIGKILL) -> None:
        """End it with this signal."""
        if self.process is not None:
            self.send(number)
            self.process.wait()

    def answer(self) -> bytes:
        """What it says to a ping; nothing if it isn't there."""
        try:
            with socket.create_connection(("127.0.0.1", self.port)) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(1000)
        except ConnectionError:
            return b""


@contextmanager
def redis_of_our_own(folder: Path, *options: str) -> Iterator[RedisServer]:
    """A running Redis, killed at the end."""
    server = RedisServer(folder, *options)
    try:
        server.start()
        yield server
    finally:
        server.end()


class Recorder:
    """A recorder's process and what it said."""

    def __init__(self, process: ForkServerProcess, log: Path) -> None:
        self.process, self._log = process, log

    def text(self) -> str:
        return self._log.read_text()

    def events(self, name: str) -> list[dict[str, Any]]:
        """What it said under this name so far."""
        lines = [line for line in self.text().splitlines(keepends=True) if line.startswith("{") and line[-1] == "\n"]
        return [event for event in map(json.loads, lines) if event["event"] == name]

    def says(self, name: str, times: int = 1, containing: str = "") -> list[dict[str, Any]]:
        """Wait until it has said so."""

        def said() -> list[dict[str, Any]]:
            found = [event for event in self.events(name) if containing in json.dumps(event)]
            return found if len(found) >= times else []

        found: list[dict[str, Any]] = eventually(said, timeout_s=60)
        return found

    def stop(self) -> None:
        """SIGTERM; it ends as it was asked to."""
        self.process.terminate()
        self.process.join(60)
        assert self.process.exitcode == 0, self.text()
        assert "Traceback" not in self.text(), self.text()


@contextmanager
def recorder(redis_url: str, output_dir: Path, **env: str) -> Iterator[Recorder]:
    """A running recorder, killed at the end; its log is in a file beside OUTPUT_DIR."""
    log = output_dir.parent / f"{output_dir.name}.{free_port()}.log"
    log.touch()
    environ = {**os.environ, "REDIS_URL": redis_url, "OUTPUT_DIR": str(output_dir), "LOG_FORMAT": "json", **env}
    process = start_forked(main, (), environ, stderr=log)
    try:
        yield Recorder(process, log)
    finally:
        process.kill()
        process.join()


def note_success(job: Job, connection: Redis, result: Any) -> None:
    """A success callback that counts."""
    connection.incr(f"called:{job.id}")
