"""Power cuts: whenever one comes, every acknowledged job is there, and the next recorder puts the rest right.

First by a model: what recorders did is known call by call (see trace), and so is what a disk may hold after a cut at
any of those calls (see durability). Then on a real file system, on a disk that is a file, of which we take a copy.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import cast

import pytest
from redis import Redis

from app.recorder.client import connect
from app.recorder.worker import Options, RecorderWorker
from app.recorder.write import RecordWriter
from tests.conftest import recorder_process
from tests.faults.durability import Disk, File, Step, Survival
from tests.faults.loop import assert_sound, copy_at_one_moment, make_disk, mounted, require_loop
from tests.faults.scenario import (
    OUTPUT,
    Stage,
    assert_all_recorded,
    assert_tidy,
    forget_leases,
    mistaken,
    record_all_kinds,
    result,
)
from tests.faults.trace import RECORDER
from tests.faults.watch import Sent
from tests.recording import eventually, killed_at_the_end

CHANCES = (0.0, 0.0, 0.3, 0.7, 1.0)
"""What share of that which isn't synced survives: none is what POSIX threatens, all is what a killed process leaves."""

TOGETHER = 20
"""Jobs that a recorder takes at once."""

Record = Callable[[str, Path], None]


class Deaf(RecorderWorker):
    """A recorder that doesn't listen to RQ's commands: RQ takes a third of a second to stop listening."""

    def subscribe(self) -> None:
        """Do without."""


def record_here(redis_url: str, output: Path) -> None:
    """Record what is waiting, in this process."""
    with connect(redis_url) as connection, RecordWriter(str(output), max_bytes=sys.maxsize) as writer:
        Deaf(connection, writer, Options(batch_size=16)).run(burst=True)


def record_in_a_process(redis_url: str, output: Path) -> None:
    with killed_at_the_end(recorder_process(redis_url, output, "--burst", RECORDER_MIN_FREE_MB="0")) as process:
        _, log = process.communicate(timeout=60)
    assert process.returncode == 0, log


def assert_there(output: Path, jobs: Sequence[Sent]) -> None:
    """Each job's result is in a file where it may be."""
    disk = Disk(output.parent)
    for job in jobs:
        assert job.lasts(disk, output.name), f"acknowledged and lost: {job}"


def assert_none_torn(output: Path, jobs: Sequence[Sent]) -> None:
    """Whatever has the name of a recording or of a summary is whole."""
    for path in output.glob("**/[!.]*.json"):
        content = path.read_bytes()
        whole = is_json(content) if path.name == "summary.json" else any(job.is_in(content) for job in jobs)
        assert whole, f"torn: {path}"


def is_json(content: bytes) -> bool:
    try:
        json.loads(content)
    except ValueError:
        return False
    return True


def assert_survived(output: Path, jobs: dict[str, Sent], acknowledged: set[str]) -> None:
    assert_there(output, [jobs[rq_id] for rq_id in sorted(acknowledged)])
    assert_none_torn(output, list(jobs.values()))


def recover(stage: Stage, target: Path, acknowledged: set[str], record: Record = record_here) -> None:
    """Look at what a cut left; then a recorder gets the rest of the jobs, and must put all in order."""
    output = target / OUTPUT
    assert_survived(output, stage.jobs, acknowledged)
    stage.connection.flushall()
    stage.redeliver([rq_id for rq_id in stage.jobs if rq_id not in acknowledged])
    record(stage.redis_url, output)
    assert_all_recorded(output, list(stage.jobs.values()))
    assert_tidy(output, stage.connection)


def cut_power(
    stage: Stage,
    folder: Path,
    *,
    cuts: int,
    seed: int,
    before: frozenset[str] = frozenset(),
    record: Record = record_here,
) -> None:
    """At so many moments, by chance; `before` are the jobs that were acknowledged earlier."""
    rng = random.Random(seed)
    positions = sorted(rng.sample(range(len(stage.found) + 1), cuts))
    for position, (disk, acknowledged) in zip(positions, stage.disks(positions), strict=True):
        chance = rng.choice(CHANCES)
        target = folder / f"cut-{seed}-{position}-{chance}"
        disk.leave(target, Survival(chance, rng))
        recover(stage, target, acknowledged | before, record)


def cut_at_the_end_of(stage: Stage, target: Path, survives: Survival, *, rq_id: str) -> set[str]:
    """A power cut as soon as a job is acknowledged; the jobs that are by then."""
    at = next(one.last_at for one in stage.acknowledged if rq_id in one.rq_ids)
    position = sum(moment.at <= at for moment in stage.found)
    ((disk, acknowledged),) = stage.disks([position])
    disk.leave(target, survives)
    return acknowledged


def test_every_acknowledged_job_survives_a_power_cut_and_the_rest_is_put_right(
    watched: Stage, in_full: bool, tmp_path: Path
) -> None:
    cut_power(watched, tmp_path, cuts=500 if in_full else 15, seed=1)


def test_a_recorder_process_puts_right_what_a_power_cut_left(watched: Stage, in_full: bool, tmp_path: Path) -> None:
    cut_power(watched, tmp_path, cuts=20 if in_full else 1, seed=2, record=record_in_a_process)


def test_a_power_cut_during_the_recovery_from_one_is_put_right(watched: Stage, in_full: bool, tmp_path: Path) -> None:
    rng = random.Random(3)
    positions = sorted(rng.sample(range(len(watched.found) // 2, len(watched.found)), 20 if in_full else 1))
    for position, (disk, acknowledged) in zip(positions, watched.disks(positions), strict=True):
        base = tmp_path / f"first-{position}"
        disk.leave(base, Survival(rng.choice(CHANCES), rng))
        watched.connection.flushall()
        second = Stage(base, watched.redis_url, watched.connection, watched.jobs, watched.hashes)
        second.redeliver([rq_id for rq_id in second.jobs if rq_id not in acknowledged])
        second.record()
        assert second.problems == []
        cut_power(second, tmp_path, cuts=25 if in_full else 3, seed=position, before=frozenset(acknowledged))


@pytest.mark.faults
@pytest.mark.parametrize("number", range(1, 30, 3))
def test_a_power_cut_is_put_right_wherever_a_recorder_was_killed_before(
    stage: Stage, number: int, tmp_path: Path
) -> None:
    record_all_kinds(stage, kill_at=("unlink", number))
    cut_power(stage, tmp_path, cuts=20, seed=number)


def test_a_power_cut_shows_what_a_recorder_without_folder_syncs_loses(stage: Stage, tmp_path: Path) -> None:
    job = stage.enqueue(result("one", 1))
    stage.record(*mistaken("files.sync_folder = lambda folder: None"))
    acknowledged = cut_at_the_end_of(stage, tmp_path / "cut", Survival(0, random.Random(0)), rq_id=job.id)
    assert acknowledged == {job.id}
    with pytest.raises(AssertionError, match="acknowledged and lost"):
        recover(stage, tmp_path / "cut", acknowledged)


def test_a_power_cut_shows_what_a_recorder_without_file_syncs_tears(stage: Stage, tmp_path: Path) -> None:
    stage.enqueue(result("one", 1))
    stage.record(*mistaken("os.fsync = lambda handle: None"))
    ((disk, _),) = stage.disks([len(stage.found)])
    disk.leave(tmp_path / "cut", NoBytes(1, random.Random(0)))
    with pytest.raises(AssertionError, match="torn"):
        assert_survived(tmp_path / "cut" / OUTPUT, stage.jobs, set())


class NoBytes(Survival):
    """All names survive, and no bytes."""

    def bytes_of(self, file: File, path: str) -> bytes:
        return b""


def test_the_summary_is_exact_after_a_power_cut_that_follows_a_newer_result(stage: Stage, tmp_path: Path) -> None:
    older = result("twice", 1, completed_at="2025-03-01T00:00:00Z")
    stage.enqueue(older)
    stage.record()
    created = older["job"]["created_at"].replace("T06", "T09")
    newer = stage.enqueue(
        {**older, "job": {**older["job"], "created_at": created}, "completed_at": "2025-03-02T00:00:00Z"}
    )
    stage.record()
    acknowledged = cut_at_the_end_of(stage, tmp_path / "cut", Survival(0, random.Random(0)), rq_id=newer.id)
    recover(stage, tmp_path / "cut", acknowledged)


def test_a_power_cut_after_a_sweep_leaves_no_temporary_file_behind(stage: Stage, tmp_path: Path) -> None:
    stage.enqueue(result("one", 1))
    stage.record(by=9, kill_at=("link", 1))
    forget_leases(stage.connection)
    stage.record()
    gone = [moment.call.text.endswith(b".writer") and moment.call.name.startswith("unlink") for moment in stage.found]
    ((disk, acknowledged),) = stage.disks([gone.index(True) + 2])  # its start, its end
    disk.leave(tmp_path / "cut", NothingRemovedBut(f"{OUTPUT}/.recorder"))
    recover(stage, tmp_path / "cut", acknowledged)


class NothingRemovedBut(Survival):
    """All that isn't synced survives, but for names that were removed, which are there again: save in one folder."""

    def __init__(self, folder: str) -> None:
        super().__init__(1, random.Random(0))
        self._folder = folder

    def keeps(self, path: str, step: Step | None = None) -> bool:
        return path == self._folder or step is None or None not in step.values()


@pytest.mark.parametrize("number", [0, *(pytest.param(number, marks=pytest.mark.faults) for number in range(1, 5))])
def test_every_acknowledged_job_is_on_a_real_disk_whenever_the_power_fails(
    stage: Stage, number: int, tmp_path: Path
) -> None:
    require_loop()
    rng = random.Random(number)
    image, copy = tmp_path / "disk", tmp_path / "copy"
    make_disk(image)
    for first in range(0, 200, TOGETHER):
        for each in (*range(first, first + TOGETHER), *range(first, first + TOGETHER)):  # to both recorders at once
            stage.enqueue(result(f"j{each}", each))
    with mounted(image, tmp_path / "mounted") as folder:
        acknowledged = stop_amid(
            stage, folder / OUTPUT, at=rng.randrange(300), then=lambda: copy_at_one_moment(image, copy)
        )
    with mounted(copy, tmp_path / "after") as folder:
        assert_survived(folder / OUTPUT, stage.jobs, acknowledged)
        forget_leases(stage.connection)
        record_in_a_process(stage.redis_url, folder / OUTPUT)
        assert_all_recorded(folder / OUTPUT, list(stage.jobs.values()))
        assert_tidy(folder / OUTPUT, stage.connection)
    assert_sound(copy)


def test_a_real_disk_shows_what_a_recorder_without_syncs_loses(stage: Stage, tmp_path: Path) -> None:
    require_loop()
    image, copy = tmp_path / "disk", tmp_path / "copy"
    make_disk(image)
    for each in range(10 * TOGETHER):
        stage.enqueue(result(f"j{each}", each))
    program = mistaken("os.fsync = lambda handle: None")
    with mounted(image, tmp_path / "mounted") as folder:
        acknowledged = stop_amid(
            stage, folder / OUTPUT, at=0, then=lambda: copy_at_one_moment(image, copy), program=program
        )
    with (
        mounted(copy, tmp_path / "after") as folder,
        pytest.raises(AssertionError, match="acknowledged and lost"),
    ):
        assert_there(folder / OUTPUT, [stage.jobs[rq_id] for rq_id in acknowledged])


def stop_amid(
    stage: Stage, output: Path, *, at: int, then: Callable[[], None], program: Sequence[str] = RECORDER
) -> set[str]:
    """Stop two recorders for good once they have acknowledged more than so many jobs; those that were by `then`."""
    registries = ("rq:finished:recorder", "rq:failed:recorder")
    with ExitStack() as stack:
        recorders = [stack.enter_context(running(program, stage.redis_url, output)) for _ in range(2)]
        eventually(lambda: sum(map(stage.connection.zcard, registries)) > at)
        for process in recorders:
            process.send_signal(signal.SIGSTOP)
        for process in recorders:
            os.waitid(os.P_PID, process.pid, os.WSTOPPED)  # all its threads stand still, and none is in a system call
        found = {job_id for registry in registries for job_id in job_ids(stage.connection, registry)}
        then()
        for process in recorders:
            process.kill()
            process.wait()
    return found


@contextmanager
def running(program: Sequence[str], redis_url: str, output: Path) -> Iterator[subprocess.Popen[bytes]]:
    settings = {"RECORDER_BATCH_SIZE": str(TOGETHER), "RECORDER_MIN_FREE_MB": "0", "OUTPUT_DIR": str(output)}
    process = subprocess.Popen(
        [sys.executable, *program],
        env={**os.environ, **settings, "REDIS_URL": redis_url},
        stderr=subprocess.DEVNULL,
        cwd=Path(__file__).resolve().parents[2],
    )
    with killed_at_the_end(process):
        yield process


def job_ids(connection: Redis, registry: str) -> list[str]:
    return [member.decode() for member in cast(list[bytes], connection.zrange(registry, 0, -1))]
