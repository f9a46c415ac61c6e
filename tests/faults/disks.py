"""Real disks that misbehave: small mounted file systems, a loop device that fails, system calls that strace refuses.

Also the recorder on such a disk, as a process whose log can be asked and awaited.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from redis import Redis
from rq.job import Job, JobStatus

from app.recorder.client import enqueue_result, recorders
from tests.faults.trace import require_strace, unavailable
from tests.recording import (
    assert_nothing_is_left_over,
    assert_summaries_are_exact,
    eventually,
    finished,
    killed_at_the_end,
    recordings,
)

MIB = 1024**2
_LOOP_SET_STATUS64, _LOOP_GET_STATUS64 = 0x4C04, 0x4C05
_LOOP_INFO_BYTES, _SIZE_LIMIT = 232, slice(32, 40)


@dataclass(frozen=True, slots=True)
class Mounted:
    """A file system of its own, mounted at a folder."""

    folder: Path
    device: str
    """Empty for one that lives in memory."""

    @property
    def output(self) -> Path:
        return self.folder / "out"

    @property
    def free_bytes(self) -> int:
        disk = os.statvfs(self.folder)
        return disk.f_bavail * disk.f_frsize

    @property
    def free_inodes(self) -> int:
        return os.statvfs(self.folder).f_favail

    def fill(self, leave_bytes: int = 0) -> None:
        """Let somebody else use up the space but for so much."""
        with open(self._ballast / "bytes", "ab") as ballast:
            with suppress(OSError):
                while (rest := self.free_bytes - leave_bytes) >= 4096:
                    os.posix_fallocate(ballast.fileno(), os.fstat(ballast.fileno()).st_size, min(rest, MIB))
            if not leave_bytes:
                _write_until_full(ballast.fileno())

    def fill_inodes(self, leave: int = 0) -> None:
        """Let somebody else use up the inodes but for so many."""
        for number in range(self.free_inodes - leave):
            (self._ballast / str(number)).touch()

    def make_room(self) -> None:
        """Let somebody else remove what filled the disk."""
        shutil.rmtree(self._ballast)

    def fail(self) -> None:
        """From now on the device ends after its first blocks: whatever goes beyond is an input/output error."""
        self._limit(64 * 1024)

    def be_repaired(self) -> None:
        """As an operator does it: unmount, put the device right, check the file system, mount it again."""
        _run("umount", str(self.folder))
        self._limit(0)
        # Not -p: what a failing device leaves may need more than a preening. 1 is "errors were corrected".
        assert subprocess.run(["e2fsck", "-fy", self.device], capture_output=True).returncode in (0, 1)
        _run("mount", self.device, str(self.folder))

    @contextmanager
    def read_only(self) -> Iterator[None]:
        """Whoever opens a path here finds a read-only file system; what is open already stays so."""
        # A plain remount is refused while anybody has a file open for writing, as the recorder has; a failing disk's
        # own change to read-only asks nobody.
        aside = self.folder.with_name("read-only")
        aside.mkdir(exist_ok=True)
        _run("mount", "--bind", str(self.folder), str(aside))
        _run("mount", "-o", "remount,bind,ro", str(aside))
        _run("mount", "--bind", str(aside), str(self.folder))
        _unmount(str(aside))
        try:
            yield
        finally:
            _unmount(str(self.folder))

    @contextmanager
    def gone(self) -> Iterator[None]:
        """The folder without its file system, while that stays open for whoever has files open there."""
        _run("umount", "--lazy", str(self.folder))
        try:
            yield
        finally:
            _run("mount", self.device, str(self.folder))

    @property
    def _ballast(self) -> Path:
        ballast = self.folder / "ballast"
        ballast.mkdir(exist_ok=True)
        return ballast

    def _limit(self, size_bytes: int) -> None:
        with open(self.device, "rb") as device:
            info = bytearray(_LOOP_INFO_BYTES)
            fcntl.ioctl(device, _LOOP_GET_STATUS64, info)
            info[_SIZE_LIMIT] = struct.pack("Q", size_bytes)
            fcntl.ioctl(device, _LOOP_SET_STATUS64, bytes(info))


def _write_until_full(handle: int) -> None:
    for size in (4096, 1):
        with suppress(OSError):
            while os.write(handle, b"x" * size):
                os.fsync(handle)


@contextmanager
def small_ext4(base: Path, size_mib: int, *, inodes: int | None = None) -> Iterator[Mounted]:
    """An ext4 on a loop device."""
    _require("mkfs.ext4", "e2fsck", "losetup", "mount")
    if not os.path.exists("/dev/loop-control"):
        unavailable("there are no loop devices here")
    base.mkdir(exist_ok=True)
    image, folder = base / "disk.img", base / "disk"
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(size_mib * MIB)
    _run("mkfs.ext4", "-q", "-m", "0", *(() if inodes is None else ("-N", str(inodes))), str(image))
    device = _run("losetup", "--find", "--show", str(image)).strip()
    try:
        _run("mount", device, str(folder))
        try:
            yield Mounted(folder, device)
        finally:
            _unmount(str(folder))
    finally:
        _run("losetup", "--detach", device)


@contextmanager
def small_tmpfs(base: Path, size_mib: int, *, inodes: int) -> Iterator[Mounted]:
    """A file system in memory."""
    _require("mount")
    folder = base / "disk"
    folder.mkdir(parents=True)
    _run("mount", "-t", "tmpfs", "-o", f"size={size_mib}m,nr_inodes={inodes}", "tmpfs", str(folder))
    try:
        yield Mounted(folder, "")
    finally:
        _unmount(str(folder))


def _require(*programs: str) -> None:
    if os.geteuid() != 0:
        unavailable("only root may mount a file system")
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        unavailable(f"not installed: {', '.join(missing)}")
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode != 0:
        unavailable("may not mount a file system here")


def _run(*command: str) -> str:
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, f"{' '.join(command)}: {ended.stderr}"
    return ended.stdout


def _unmount(folder: str) -> None:
    if subprocess.run(["umount", folder], capture_output=True).returncode != 0:
        subprocess.run(["umount", "--lazy", folder], capture_output=True)


@dataclass(frozen=True, slots=True)
class Recorder:
    """A recorder at work, whose log goes to a file."""

    process: subprocess.Popen[str]
    log: Path
    connection: Redis

    def events(self, event: str, **fields: str) -> list[dict[str, Any]]:
        """What it has logged of this kind, where each of these fields contains this text."""
        whole_lines = self.log.read_text().rpartition("\n")[0].splitlines()
        found = [json.loads(line) for line in whole_lines if line.startswith("{")]
        return [
            one for one in found if one["event"] == event and all(text in one.get(k, "") for k, text in fields.items())
        ]

    def says(self, event: str, *, time: int = 0, **fields: str) -> dict[str, Any]:
        """Wait for such an event: the first, or that of another time, counted from 0."""
        events: list[dict[str, Any]] = eventually(
            lambda: (len(found := self.events(event, **fields)) > time and found) or self._alive()
        )
        return events[time]

    def unready(self, because: str) -> str:
        """Wait until the recorder's lease says that it waits, for a reason with this text."""
        reason: str = eventually(lambda: self._waits(because) or self._alive())
        return reason

    def ready(self) -> None:
        """Wait until the recorder's lease says that it waits for nothing."""
        eventually(lambda: recorders(self.connection) and self.waiting_for is None)

    @property
    def waiting_for(self) -> str | None:
        return next((one.waiting_for for one in recorders(self.connection) if one.pid == self.process.pid), None)

    def freeze_in_a_batch(self, output: Path) -> None:
        """Stop its process with files on their way."""

        def frozen() -> bool:
            eventually(lambda: list(output.rglob("*.tmp")) or self._alive())
            self.freeze()
            if list(output.rglob("*.tmp")):
                return True
            self.go_on()
            return False

        eventually(frozen)

    def freeze(self) -> None:
        """Stop its process."""
        self.process.send_signal(signal.SIGSTOP)
        eventually(lambda: psutil.Process(self.process.pid).status() == psutil.STATUS_STOPPED)

    def go_on(self) -> None:
        """Let a frozen process go on."""
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it as an operator would; it must have been well until then."""
        self.process.terminate()
        assert self.process.wait(timeout=60) == 0, self.log.read_text()

    def _waits(self, because: str) -> str | None:
        reason = self.waiting_for
        return reason if reason is not None and because in reason else None

    def _alive(self) -> list[dict[str, Any]]:
        assert self.process.poll() is None, self.log.read_text()
        return []


@contextmanager
def recorder(
    redis_url: str, output: Path, log: Path, *, min_free_mb: int = 0, batch_size: int = 20, bound_by_modes: bool = False
) -> Iterator[Recorder]:
    """A recorder process that has begun; with `bound_by_modes`, files' modes count for it even if it is root's."""
    prefix = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if bound_by_modes and not os.geteuid() else []
    environment = {
        "REDIS_URL": redis_url,
        "OUTPUT_DIR": str(output),
        "LOG_FORMAT": "json",
        "RECORDER_MIN_FREE_MB": str(min_free_mb),
        "RECORDER_BATCH_SIZE": str(batch_size),
    }
    with open(log, "a") as stderr, Redis.from_url(redis_url) as connection:
        process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "app.recorder"],
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **environment},
            stderr=stderr,
            text=True,
            cwd=Path(__file__).resolve().parents[2],
        )
        with killed_at_the_end(process):
            yield Recorder(process, log, connection)


@contextmanager
def refused(process: Recorder, injection: str, output: Path, *paths: Path) -> Iterator[None]:
    """While in here, system calls of a running recorder fail as `injection` says (see strace); entered once one has.

    With `paths`, only calls about exactly these.
    """
    require_strace()
    report = output.with_suffix(".strace")
    about = [argument for path in paths for argument in ("-P", str(path))]
    call = injection.partition(":")[0]
    command = ["strace", "-f", "-p", str(process.process.pid), "-e", f"trace={call}", "-e", f"inject={injection}"]
    with killed_at_the_end(
        subprocess.Popen([*command, *about, "-o", str(report)], stderr=subprocess.PIPE, text=True)
    ) as strace:
        assert strace.stderr is not None
        assert "attached" in strace.stderr.readline()
        yield
        eventually(lambda: "(INJECTED)" in report.read_text())
        strace.send_signal(signal.SIGINT)
        strace.communicate(timeout=60)
    report.unlink()


def hand_over(connection: Redis, results: Sequence[dict[str, Any]]) -> list[Job]:
    return [enqueue_result(data, connection=connection) for data in results]


def assert_acknowledged_are_whole(output: Path, connection: Redis, jobs: Sequence[Job]) -> None:
    """Whatever a reader sees is whole, whatever is finished is there, and no job failed."""
    for path in output.rglob("*.json"):
        json.loads(path.read_bytes())
    for job in jobs:
        status = job.get_status()
        assert status in (JobStatus.QUEUED, JobStatus.FINISHED)
        if status == JobStatus.FINISHED:
            assert os.path.isfile(dict(job.return_value() or {})["output_file"])
    assert connection.zcard("rq:failed:recorder") == 0


def assert_all_recorded(process: Recorder, output: Path, jobs: Sequence[Job]) -> None:
    """All jobs come to their end; nothing is lost, twice there, in pieces or left over; then the recorder ends."""
    eventually(lambda: all(finished(job) for job in jobs), timeout_s=60)
    eventually(lambda: not list(output.rglob("*.tmp")), timeout_s=10)
    process.ready()
    process.stop()
    assert_acknowledged_are_whole(output, process.connection, jobs)
    assert len(recordings(output)) == len(jobs)
    assert not list(output.rglob("superseded"))
    assert_summaries_are_exact(output)
    assert_nothing_is_left_over(output, process.connection)
    assert not list((output / ".recorder").glob("*.writer"))
