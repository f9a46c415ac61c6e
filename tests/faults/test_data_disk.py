"""Archives, backups and restores on a disk that really is full."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.archive.restore import Restore
from app.store.errors import StorageError
from tests.faults import data
from tests.faults.disks import small_tmpfs
from tests.recording import result

pytestmark = pytest.mark.faults

NOISE_BYTES = 400_000


def archive_to(base: Path, disk: Path) -> Any:
    os.symlink(disk, base / "arch")
    return data.archive(base)


def back_up_to(base: Path, disk: Path) -> Any:
    os.symlink(disk, base / "backup")
    return data.back_up(base)


@pytest.mark.parametrize("command", [archive_to, back_up_to])
def test_what_does_not_fit_leaves_nothing_half_and_goes_on_when_there_is_room(
    command: Callable[[Path, Path], Any], tmp_path: Path
) -> None:
    base = tmp_path / "base"
    data.record_days(base)
    for day in data.DAYS:  # that doesn't shrink
        data.record(base, result("noise", job=data.job(day, 5), result={"text": os.urandom(NOISE_BYTES // 2).hex()}))
    with small_tmpfs(tmp_path, 2, inodes=200) as mounted:
        mounted.fill(leave_bytes=NOISE_BYTES)
        try:
            outcomes = command(base, mounted.folder)
        except StorageError as error:
            assert "No space left" in str(error)
        else:
            assert any("No space left" in one.reason for one in outcomes)
        assert not list(mounted.folder.rglob("*.tmp"))
        mounted.make_room()
        if command is archive_to:
            assert {one.action for one in data.archive(base)} <= {"archived", "unchanged"}
            assert len(data.archived(base / "arch")) == len(data.recordings(base / "out"))
        else:
            assert data.back_up(base).problems == []
            data.restore(base)
            assert data.recordings(base / "restored/out") == data.recordings(base / "out")


def test_a_restore_onto_a_disk_that_fills_meanwhile_can_be_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tmp_path / "base"
    data.record_days(base)
    for day in data.DAYS:
        data.record(base, result("noise", job=data.job(day, 5), result={"text": os.urandom(NOISE_BYTES // 2).hex()}))
    data.back_up(base)
    with small_tmpfs(tmp_path, 4, inodes=400) as mounted:
        (base / "restored").mkdir()
        os.symlink(mounted.folder, base / "restored/out")
        monkeypatch.setattr(Restore, "check", lambda *_, **__: None)  # there was room when it was asked
        mounted.fill(leave_bytes=NOISE_BYTES * 2)
        with pytest.raises(StorageError, match="No space left"):
            data.restore(base)
        mounted.make_room()
        data.restore(base)
        assert data.recordings(base / "restored/out") == data.recordings(base / "out")
