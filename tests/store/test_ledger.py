from __future__ import annotations

import errno
import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from app.store.errors import StorageError
from app.store.layout import Layout
from app.store.ledger import DeadWriter, Ledger, dead_writers
from tests.store.faults import Disk

CODE = """
import sys
from app.store.ledger import Ledger
ledger = Ledger(sys.argv[1], sys.argv[2])
for folder in sys.argv[3:]:
    ledger.note(folder)
print("ready", flush=True)
sys.stdin.readline()
ledger.close(in_order=True)
"""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def state(layout: Layout) -> str:
    return layout.state


@pytest.fixture
def start(state: str, start_program: Start) -> Start:
    """Starts a process that holds a ledger until it reads a line."""
    return partial(start_program, CODE, state)


def found(state: str) -> list[DeadWriter]:
    """The dead writers, forgotten one after another, as if each were put right."""
    dead = []
    for one in dead_writers(state):
        one.forget()
        dead.append(one)
    return dead


def test_a_killed_writer_is_dead_a_living_one_and_a_closed_one_are_not(state: str, start: Start) -> None:
    killed = start("killed", "daily/2025-08-08", "quarantine/2025-08-08", "daily/2025-08-08")
    start("living", "daily/2025-08-08")
    closed = start("closed", "daily/2025-08-08")
    assert found(state) == []
    closed.communicate("end\n")
    assert closed.returncode == 0
    killed.kill()
    killed.wait()
    assert found(state) == [DeadWriter("killed", ("daily/2025-08-08", "quarantine/2025-08-08"), "")]
    assert found(state) == []
    assert os.listdir(state) == ["living.writer"]


def test_a_dead_writer_stays_until_it_has_been_put_right(state: str, start: Start) -> None:
    process = start("killed", "daily/2025-08-08")
    process.kill()
    process.wait()
    for dead in dead_writers(state):
        assert dead.name == "killed"
        break  # whoever puts it right fails here
    assert [dead.name for dead in dead_writers(state)] == ["killed"]


def test_a_dead_writer_is_put_right_by_one_recorder_at_a_time(state: str, start: Start) -> None:
    process = start("killed", "daily/2025-08-08")
    process.kill()
    process.wait()
    first = dead_writers(state)
    assert next(first).name == "killed"
    assert found(state) == []
    assert list(first) == []
    assert [dead.name for dead in found(state)] == ["killed"]
    assert found(state) == []


def test_a_dead_writer_that_another_recorder_put_right_meanwhile_is_no_error(state: str, start: Start) -> None:
    process = start("killed", "daily/2025-08-08")
    process.kill()
    process.wait()
    first = dead_writers(state)
    dead = next(first)
    os.unlink(f"{state}/killed.writer")
    dead.forget()
    assert list(first) == []


def test_a_ledger_that_is_not_in_order_is_left_for_the_next_recorder(state: str) -> None:
    ledger = Ledger(state, "mine")
    ledger.note("daily/2025-08-08")
    ledger.close(in_order=False)
    assert found(state) == [DeadWriter("mine", ("daily/2025-08-08",), "")]


def test_a_ledger_in_order_leaves_nothing(state: str) -> None:
    ledger = Ledger(state, "mine")
    ledger.note("daily/2025-08-08")
    ledger.close(in_order=True)
    assert os.listdir(state) == []


def test_a_ledger_is_locked_from_its_first_moment(state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real, seen = os.rename, []

    def rename(source: str, target: str) -> None:
        with open(source, "rb") as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        seen.append(target)
        assert found(state) == []
        real(source, target)

    monkeypatch.setattr(os, "rename", rename)
    Ledger(state, "mine").close(in_order=True)
    assert seen == [f"{state}/mine.writer"]


def test_a_folder_is_noted_durably_and_once(state: str, disk: Disk) -> None:
    ledger = Ledger(state, "mine")
    path = f"{state}/mine.writer"
    disk.calls.clear()
    for folder in ("daily/2025-08-08", "daily/2025-08-08", "daily/2025-08-09"):
        ledger.note(folder)
    assert [step for step, about in disk.calls if about == path] == ["write", "fsync file"] * 2
    assert Path(path).read_text() == "\ndaily/2025-08-08\n\ndaily/2025-08-09\n"
    ledger.close(in_order=True)


@pytest.mark.parametrize("step", ["write", "fsync file"])
def test_a_folder_that_could_not_be_noted_is_noted_by_the_next_try(state: str, disk: Disk, step: str) -> None:
    ledger = Ledger(state, "mine")
    disk.refuse(step, errno.ENOSPC, times=1)
    with pytest.raises(StorageError, match=os.strerror(errno.ENOSPC)) as refused:
        ledger.note("daily/2025-08-08")
    assert refused.value.path == f"{state}/mine.writer"
    ledger.note("daily/2025-08-08")
    ledger.close(in_order=False)
    assert found(state) == [DeadWriter("mine", ("daily/2025-08-08",), "")]


@pytest.mark.parametrize("step", ["mkdir", "open", "fsync folder"])
def test_a_ledger_that_can_not_be_made_is_a_storage_error(state: str, disk: Disk, step: str) -> None:
    disk.refuse(step, errno.EROFS)
    with pytest.raises(StorageError, match=os.strerror(errno.EROFS)):
        Ledger(state, "mine")


def test_a_line_cut_short_by_a_crash_is_not_a_folder(state: str) -> None:
    os.makedirs(state)
    Path(state, "torn.writer").write_bytes(b"daily/2025-08-08\n\xff\xfe\ndaily/2025-0")
    (dead,) = found(state)
    assert dead.folders[0] == "daily/2025-08-08"
    assert "daily/2025-0" not in dead.folders


def test_what_is_no_ledger_is_left_alone(state: str) -> None:
    assert found(state) == []
    os.makedirs(state)
    for name in ("latest.lock", "conflict-00.lock", "notes", "writer.new"):
        Path(state, name).touch()
    assert found(state) == []
    assert len(os.listdir(state)) == 4


def test_what_a_writer_left_that_died_before_it_had_its_ledger_is_removed(state: str) -> None:
    os.makedirs(state)
    Path(state, "dead.writer.new").touch()
    with open(f"{state}/living.writer.new", "w") as living:
        fcntl.flock(living, fcntl.LOCK_EX)
        assert found(state) == []
    assert os.listdir(state) == ["living.writer.new"]


def test_a_ledger_taken_for_a_dead_writers_before_it_was_locked_is_made_again(
    state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = fcntl.flock
    swept: list[str] = []

    def flock(handle: int, operation: int) -> None:
        if not swept and operation == fcntl.LOCK_EX:
            swept.extend(os.listdir(state))
            os.unlink(f"{state}/{swept[0]}")
        real(handle, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    ledger = Ledger(state, "mine")
    assert swept == ["mine.writer.new"]
    ledger.note("daily/2025-08-08")
    ledger.close(in_order=False)
    assert found(state) == [DeadWriter("mine", ("daily/2025-08-08",), "")]


def test_a_state_folder_removed_under_a_living_ledger_is_no_error(state: str) -> None:
    ledger = Ledger(state, "mine")
    shutil.rmtree(state)
    ledger.note("daily/2025-08-08")
    assert found(state) == []
    ledger.close(in_order=True)


@pytest.mark.parametrize("step", ["stat", "open"])
def test_a_ledger_that_can_not_be_reached_for_a_while_is_kept(
    state: str, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    ledger = Ledger(state, "mine")
    ledger.note("daily/2025-08-08")
    if step == "open":
        os.unlink(f"{state}/mine.writer")

    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    for _ in range(2):
        with monkeypatch.context() as patch, pytest.raises(StorageError, match=os.strerror(errno.EACCES)):
            patch.setattr(os, step, refused)
            ledger.keep()
    ledger.keep()
    ledger.note("daily/2025-08-09")
    assert found(state) == []  # its lock is held all the time
    ledger.close(in_order=False)
    assert found(state) == [DeadWriter("mine", ("daily/2025-08-08", "daily/2025-08-09"), "")]


def test_a_ledger_that_was_removed_is_made_again_with_all_its_folders(state: str, disk: Disk) -> None:
    ledger = Ledger(state, "mine")
    for folder in ("daily/2025-08-08", "daily/2025-08-09"):
        ledger.note(folder)
    os.unlink(f"{state}/mine.writer")
    disk.refuse("write", errno.ENOSPC, times=1, after=1)
    with pytest.raises(StorageError):
        ledger.keep()
    ledger.keep()
    ledger.close(in_order=False)
    (dead,) = found(state)
    assert set(dead.folders) == {"daily/2025-08-08", "daily/2025-08-09"}


def test_what_only_looks_like_a_ledger_hinders_nobody(state: str) -> None:
    os.makedirs(f"{state}/folder.writer")
    os.mkfifo(f"{state}/pipe.writer")
    os.symlink("loop.writer", f"{state}/loop.writer")
    Ledger(state, "mine").close(in_order=False)
    assert [dead.name for dead in found(state)] == ["mine"]
