"""The recorder on disks that refuse: it waits, says why and goes on by itself; nothing is lost, failed or broken."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from rq.job import Job, JobStatus

from tests import recording
from tests.faults.disks import (
    MIB,
    Mounted,
    assert_acknowledged_are_whole,
    assert_all_recorded,
    hand_over,
    recorder,
    refused,
    small_ext4,
    small_tmpfs,
)
from tests.recording import (
    assert_nothing_is_left_over,
    assert_summaries_are_exact,
    eventually,
    finished,
    recordings,
)

TEXT_BYTES = 30_000


def results(count: int, *, day: int = 17, prefix: str = "j", text_bytes: int = TEXT_BYTES) -> list[dict[str, Any]]:
    """Results of one day, of three scrapers."""
    return [
        recording.result(
            f"{prefix}{number}",
            job={"created_at": f"2025-02-{day}T06:46:23Z", "metadata": {"scraper_id": f"s{number % 3}"}},
            result={"text": "x" * text_bytes},
        )
        for number in range(count)
    ]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Mounted]:
    with small_ext4(tmp_path / "small", 24) as disk:
        yield disk


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "recorder.log"


# The reserve


def test_with_less_than_the_reserve_it_takes_nothing_says_so_and_goes_on_when_there_is_room(
    redis_url: str, connection: Redis, tmp_path: Path, log: Path
) -> None:
    with small_ext4(tmp_path / "small", 300) as disk:
        disk.fill(leave_bytes=150 * MIB)
        jobs = hand_over(connection, results(30))
        with recorder(redis_url, disk.output, log, min_free_mb=200) as process:
            said = process.says("waiting")
            assert process.unready("200 MiB") == said["reason"]
            assert said["path"] == str(disk.output)
            assert "149 MiB are left" in said["hint"] or "150 MiB are left" in said["hint"]
            assert "free some space" in said["hint"]
            assert {job.get_status() for job in jobs} == {JobStatus.QUEUED}
            assert connection.llen("rq:queue:recorder") == len(jobs)
            assert not disk.output.joinpath("daily").exists()
            disk.make_room()
            assert process.says("going on")["after"] == said["reason"]
            assert_all_recorded(process, disk.output, jobs)
        assert len(process.events("waiting")) == 1


@pytest.mark.faults
def test_with_hardly_any_inodes_it_takes_nothing_says_so_and_goes_on_when_there_are_more(
    redis_url: str, connection: Redis, tmp_path: Path, log: Path
) -> None:
    with small_ext4(tmp_path / "small", 24, inodes=4096) as disk:
        disk.fill_inodes(leave=1500)
        jobs = hand_over(connection, results(30))
        with recorder(redis_url, disk.output, log, min_free_mb=1) as process:
            said = process.says("waiting")
            assert process.unready("inodes") == said["reason"]
            assert said["path"] == str(disk.output)
            assert "remove files" in said["hint"]
            assert {job.get_status() for job in jobs} == {JobStatus.QUEUED}
            assert not disk.output.joinpath("daily").exists()
            disk.make_room()
            assert_all_recorded(process, disk.output, jobs)


def test_its_own_recordings_do_not_use_up_the_reserve(
    redis_url: str, connection: Redis, tmp_path: Path, log: Path
) -> None:
    size, batch_size, reserve_mib = 200_000, 5, 10
    with small_ext4(tmp_path / "small", 32) as disk:
        disk.fill(leave_bytes=(reserve_mib + 5) * MIB)
        jobs = hand_over(connection, results(60, text_bytes=size))
        with recorder(redis_url, disk.output, log, min_free_mb=reserve_mib, batch_size=batch_size) as process:
            process.unready(f"{reserve_mib} MiB")
            # It looks before each batch, and the summary is written below the reserve too.
            assert disk.free_bytes > reserve_mib * MIB - batch_size * (size + 8192) - 64 * 1024
            recorded = len(recordings(disk.output))
            assert 0 < recorded < len(jobs)
            assert_acknowledged_are_whole(disk.output, connection, jobs)
            assert sum(map(finished, jobs)) == recorded
            disk.make_room()
            assert_all_recorded(process, disk.output, jobs)


# The wall


@pytest.mark.parametrize("kind", ["ext4", pytest.param("tmpfs", marks=pytest.mark.faults)])
def test_a_disk_that_fills_up_in_the_middle_of_the_work_loses_and_fails_no_job(
    redis_url: str, connection: Redis, tmp_path: Path, log: Path, kind: str
) -> None:
    make = small_ext4(tmp_path / "small", 24) if kind == "ext4" else small_tmpfs(tmp_path / "small", 24, inodes=10_000)
    with make as disk:
        disk.fill(leave_bytes=3 * MIB)
        jobs = hand_over(connection, results(250))
        with recorder(redis_url, disk.output, log) as process:
            assert process.unready("space left")
            assert "free some space" in process.says("waiting", reason="space left")["hint"]
            assert process.says("waiting")["path"].startswith(str(disk.output))
            assert_acknowledged_are_whole(disk.output, connection, jobs)
            disk.make_room()
            assert_all_recorded(process, disk.output, jobs)


@pytest.mark.faults
@pytest.mark.parametrize("kind", ["ext4", "tmpfs"])
def test_a_disk_without_a_single_inode_left_loses_and_fails_no_job(
    redis_url: str, connection: Redis, tmp_path: Path, log: Path, kind: str
) -> None:
    base = tmp_path / "small"
    with small_ext4(base, 24, inodes=512) if kind == "ext4" else small_tmpfs(base, 24, inodes=512) as disk:
        disk.fill_inodes(leave=60)
        jobs = hand_over(connection, results(150, text_bytes=300))
        with recorder(redis_url, disk.output, log) as process:
            assert process.unready("space left")
            assert_acknowledged_are_whole(disk.output, connection, jobs)
            disk.make_room()
            assert_all_recorded(process, disk.output, jobs)


@pytest.mark.faults
def test_a_disk_that_is_full_before_it_begins_keeps_it_waiting(
    redis_url: str, connection: Redis, disk: Mounted, log: Path
) -> None:
    disk.fill()
    jobs = hand_over(connection, results(20))
    with recorder(redis_url, disk.output, log) as process:
        assert process.says("waiting")["hint"]
        assert {job.get_status() for job in jobs} == {JobStatus.QUEUED}
        disk.make_room()
        process.says("ready")
        assert_all_recorded(process, disk.output, jobs)


@pytest.mark.faults
@pytest.mark.parametrize("round_number", range(3))
def test_a_disk_that_fills_up_again_and_again_under_load_loses_and_fails_no_job(
    redis_url: str, connection: Redis, disk: Mounted, log: Path, round_number: int
) -> None:
    jobs: list[Job] = []
    with recorder(redis_url, disk.output, log, batch_size=10 + 30 * round_number) as process:
        process.says("ready")
        for number in range(8):
            waits = len(process.events("waiting"))
            process.freeze()
            jobs.extend(hand_over(connection, results(200, day=10 + number, prefix=f"{number}-", text_bytes=4000)))
            disk.fill(leave_bytes=number % 4 * 50_000)
            process.go_on()
            assert "space left" in process.says("waiting", time=waits)["reason"]
            assert_acknowledged_are_whole(disk.output, connection, jobs)
            disk.make_room()
            eventually(lambda: all(map(finished, jobs)))
        assert_all_recorded(process, disk.output, jobs)


def test_a_recorder_whose_log_is_on_the_full_disk_too_goes_on(redis_url: str, connection: Redis, disk: Mounted) -> None:
    log = disk.folder / "recorder.log"
    with recorder(redis_url, disk.output, log) as process:
        process.says("ready")
        with log.open("a") as shared:  # so that the next line needs another block
            shared.write("\n" * (4096 - log.stat().st_size % 4096))
        disk.fill()
        jobs = hand_over(connection, results(100))
        process.unready("space left")
        disk.make_room()
        assert_all_recorded(process, disk.output, jobs)


# Other refusals


def test_a_file_system_that_becomes_read_only_under_load_and_writable_again_loses_and_fails_no_job(
    redis_url: str, connection: Redis, disk: Mounted, log: Path
) -> None:
    jobs = hand_over(connection, results(400))
    with recorder(redis_url, disk.output, log) as process:
        process.freeze_in_a_batch(disk.output)
        with disk.read_only():
            process.go_on()
            assert process.unready("Read-only file system")
            assert "remount" in process.says("waiting", reason="Read-only")["hint"]
            assert_acknowledged_are_whole(disk.output, connection, jobs)
            assert not all(map(finished, jobs))
        assert_all_recorded(process, disk.output, jobs)


def test_a_device_that_fails_makes_it_wait_and_keeps_what_was_acknowledged(
    redis_url: str, connection: Redis, disk: Mounted, log: Path
) -> None:
    jobs = hand_over(connection, results(100))
    with recorder(redis_url, disk.output, log) as process:
        eventually(lambda: all(map(finished, jobs)))
        disk.fail()
        jobs += hand_over(connection, results(100, prefix="later"))
        said = process.says("waiting")
        assert "Input/output error" in said["reason"] or "Read-only" in said["reason"]
        process.unready("")
        process.process.terminate()
        process.process.wait(timeout=60)
        done = set(filter(finished, jobs))
        disk.be_repaired()
        assert_acknowledged_are_whole(disk.output, connection, list(done))
    with recorder(redis_url, disk.output, log) as process:
        assert_all_recorded(process, disk.output, jobs)


def test_a_folder_that_its_user_may_not_write_to_keeps_it_waiting_until_that_is_put_right(
    redis_url: str, connection: Redis, tmp_path: Path, log: Path
) -> None:
    output = tmp_path / "out"
    output.mkdir(mode=0o555)
    jobs = hand_over(connection, results(20))
    with recorder(redis_url, output, log, bound_by_modes=True) as process:
        said = process.says("waiting")
        assert "Permission denied" in said["reason"]
        assert said["path"].startswith(str(output))
        output.chmod(0o755)
        process.says("ready")
        eventually(lambda: all(map(finished, jobs)))
        (output / "daily").chmod(0o555)
        jobs += hand_over(connection, results(20, day=18))
        assert process.unready("Permission denied")
        assert "let the recorder's user write there" in process.events("waiting")[-1]["hint"]
        assert_acknowledged_are_whole(output, connection, jobs)
        (output / "daily").chmod(0o755)
        assert_all_recorded(process, output, jobs)


def test_a_folder_that_its_user_may_not_write_to_comes_with_what_to_do_from_the_beginning(
    redis_url: str, tmp_path: Path, log: Path
) -> None:
    output = tmp_path / "out"
    output.mkdir(mode=0o555)
    with recorder(redis_url, output, log, bound_by_modes=True) as process:
        assert "let the recorder's user write there" in str(process.says("waiting")["hint"])


@pytest.mark.parametrize("field", ["job_id", pytest.param("scraper_id", marks=pytest.mark.faults)])
def test_a_path_that_is_too_long_puts_that_result_into_quarantine_and_the_others_are_recorded(
    redis_url: str, connection: Redis, tmp_path: Path, log: Path, field: str
) -> None:
    output = deep_folder(tmp_path, 3900)
    long = results(1)[0]
    if field == "job_id":
        long["job_id"] = "x" * 250
    else:
        long["job"]["metadata"]["scraper_id"] = "x" * 250
    job = hand_over(connection, [long])[0]
    jobs = hand_over(connection, results(10))
    with recorder(redis_url, output, log) as process:
        eventually(lambda: all(map(finished, jobs)) and job.get_status() == JobStatus.FAILED)
        process.stop()
    (kept,) = output.glob("quarantine/*/*.json")
    reason = json.loads(kept.read_bytes())["reason"]
    assert "File name too long" in reason
    failure = job.latest_result()
    assert failure is not None
    assert reason in str(failure.exc_string)
    assert str(kept) in str(failure.exc_string)
    assert len(recordings(output)) == len(jobs)
    assert_summaries_are_exact(output)
    assert_nothing_is_left_over(output, connection)


def deep_folder(base: Path, path_bytes: int) -> Path:
    """A folder whose path is that long, so that the file system refuses much longer names in it."""
    folder = str(base)
    while (missing := path_bytes - len(folder.encode())) > 1:
        folder += "/" + "d" * min(200, missing - 1)
    return Path(folder)


@pytest.mark.faults
def test_an_output_folder_that_is_taken_away_under_load_comes_back_and_loses_nothing_later(
    redis_url: str, connection: Redis, tmp_path: Path, log: Path
) -> None:
    output, away = tmp_path / "out", tmp_path / "away"
    before = hand_over(connection, results(300))
    with recorder(redis_url, output, log) as process:
        eventually(lambda: connection.zcard("rq:finished:recorder"))
        os.rename(output, away)
        eventually(lambda: all(map(finished, before)))
        assert {*recordings(output), *recordings(away)} == {
            f"daily/2025-02-17/scrapers/s{number % 3}/j{number}.json" for number in range(300)
        }
        shutil.rmtree(output)
        jobs = hand_over(connection, results(100))
        assert_all_recorded(process, output, jobs)


def test_nothing_is_recorded_beside_a_disk_that_is_not_mounted(
    redis_url: str, connection: Redis, disk: Mounted, log: Path
) -> None:
    with recorder(redis_url, disk.output, log) as process:
        jobs = hand_over(connection, results(20))
        eventually(lambda: all(map(finished, jobs)))
        with disk.gone():
            jobs += hand_over(connection, results(20, prefix="later"))
            eventually(lambda: process.waiting_for or any(map(finished, jobs[20:])))
            assert list(disk.folder.iterdir()) == []
        assert_all_recorded(process, disk.output, jobs)


# A refusal at each step


def slow(*values: object) -> Any:
    return pytest.param(*values, marks=pytest.mark.faults)


STEPS = [
    ("fsync", "EIO"),
    ("unlink", "EIO"),
    *(slow(step, "EIO") for step in ("mkdir", "link", "rename", "symlink", "getdents64", "statfs")),
    *(slow(step, "ENOSPC") for step in ("mkdir", "fsync", "link", "rename", "symlink", "unlink")),
]


@pytest.mark.parametrize(("step", "code"), STEPS)
def test_a_step_that_is_refused_for_a_while_loses_and_fails_no_job(
    redis_url: str, connection: Redis, tmp_path: Path, log: Path, step: str, code: str
) -> None:
    output = tmp_path / "out"
    jobs = hand_over(connection, results(10, text_bytes=300))
    with recorder(redis_url, output, log, min_free_mb=1) as process:
        eventually(lambda: all(map(finished, jobs)))
        with refused(process, f"{step}:error={code}", tmp_path / "trace"):
            jobs += hand_over(connection, results(10, day=18, prefix="later", text_bytes=300))
        assert_all_recorded(process, output, jobs)


@pytest.mark.faults
@pytest.mark.parametrize("number", [1, 2, 4])
@pytest.mark.parametrize("step", ["mkdir", "fsync", "link"])
def test_a_step_that_is_refused_once_anywhere_loses_and_fails_no_job(
    redis_url: str, connection: Redis, tmp_path: Path, log: Path, step: str, number: int
) -> None:
    output = tmp_path / "out"
    jobs = hand_over(connection, results(10, text_bytes=300))
    with recorder(redis_url, output, log) as process:
        eventually(lambda: all(map(finished, jobs)))
        with refused(process, f"{step}:error=EIO:when={number}", tmp_path / "trace"):
            jobs += hand_over(connection, results(200, day=18, prefix="later", text_bytes=300))
        assert_all_recorded(process, output, jobs)


@pytest.mark.faults
def test_a_disk_that_hangs_makes_the_recorder_unready_until_it_answers(
    redis_url: str, connection: Redis, disk: Mounted, log: Path
) -> None:
    with recorder(redis_url, disk.output, log) as process:
        jobs = hand_over(connection, results(20))
        eventually(lambda: all(map(finished, jobs)))
        subprocess.run(["fsfreeze", "--freeze", disk.folder], check=True)
        try:
            jobs += hand_over(connection, results(20, prefix="later"))
            eventually(lambda: "doesn't answer" in str(process.waiting_for))
        finally:
            subprocess.run(["fsfreeze", "--unfreeze", disk.folder], check=True)
        eventually(lambda: process.waiting_for is None)
        assert_all_recorded(process, disk.output, jobs)
