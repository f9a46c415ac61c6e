"""No job is acknowledged before its file, its name and the folders above it are on disk: watched call by call.

The second half watches recorders with a mistake in them, each of which must be seen: a watcher that can't fail proves
nothing.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.faults.durability import Disk, moments
from tests.faults.scenario import (
    BATCH_SIZE,
    QUEUE_KEY,
    Stage,
    assert_all_recorded,
    forget_leases,
    mistaken,
    record_all_kinds,
    record_one_by_one,
    result,
)
from tests.faults.trace import read_calls, traced

TOO_EARLY = "acknowledged before it lasts"


def test_no_job_is_acknowledged_before_its_result_lasts(watched: Stage) -> None:
    assert watched.problems == []
    assert {rq_id for one in watched.acknowledged for rq_id in one.rq_ids} == set(watched.jobs)
    assert_all_recorded(watched.output, list(watched.jobs.values()))


def test_batches_are_acknowledged_by_script_and_other_jobs_by_rq(watched: Stage) -> None:
    commands = {one.command for one in watched.acknowledged}
    assert len([one for one in watched.acknowledged if len(one.rq_ids) > 1]) > 2
    assert b"EVALSHA" in commands
    assert commands - {b"EVALSHA", b"EVAL"}


def test_a_job_that_comes_alone_is_acknowledged_after_it_lasts(stage: Stage) -> None:
    record_one_by_one(stage, 4)
    assert stage.problems == []
    assert [len(one.rq_ids) for one in stage.acknowledged] == [1] * 4


@pytest.mark.parametrize("step", ["link", "unlink", "folder sync"])
def test_a_name_whose_giver_died_is_made_to_last_by_who_finds_it(stage: Stage, step: str) -> None:
    stage.enqueue(result("one", 1))
    if step == "folder sync":
        stage.record(*mistaken(DIES_BEFORE_FOLDER_SYNC), by=9)
    else:
        stage.record(by=9, kill_at=(step, 1))
    assert stage.acknowledged == []
    forget_leases(stage.connection)
    stage.record()
    assert stage.problems == []
    assert len(stage.acknowledged) == 1


DEATHS = {
    "link": (1, 2, 9, 15),
    "unlink": (1, 2, 9, 15),
    "rename": (1, 2, 3),
    "symlink": (1,),
    "mkdir": (1, 3, 9),
    "fsync": (2, 4),
}
"""Calls at which a recorder is killed, and at the how manyth."""


@pytest.mark.faults
@pytest.mark.parametrize(("step", "number"), [(name, number) for name, numbers in DEATHS.items() for number in numbers])
def test_no_death_lets_a_job_be_acknowledged_too_early(stage: Stage, step: str, number: int) -> None:
    record_all_kinds(stage, kill_at=(step, number))
    assert stage.problems == []
    assert_all_recorded(stage.output, list(stage.jobs.values()))


def test_a_file_that_another_program_wrote_is_synced_before_its_duplicate_is_acknowledged(stage: Stage) -> None:
    data = result("one", 1, status="completed", retry_count=0, completed_at="2025-02-17T07:00:00Z", processing_time=1.0)
    job = stage.enqueue(data)
    path = str(stage.output / stage.jobs[job.id].path)
    stage.connection.rename(QUEUE_KEY, "kept")
    stage.record()  # makes OUTPUT_DIR
    stage.record("-c", WRITE_PLAINLY, path, json.dumps(data))
    stage.connection.rename("kept", QUEUE_KEY)
    stage.record()
    assert len(stage.acknowledged) == 1
    assert not [problem for problem in stage.problems if problem.startswith(TOO_EARLY)]


def test_an_output_dir_whose_maker_died_is_made_to_last(stage: Stage) -> None:
    stage.enqueue(result("one", 1))
    stage.record(by=9, kill_at=("fsync", 1))
    assert stage.output.is_dir()
    stage.record()
    assert len(stage.acknowledged) == 1
    assert stage.problems == []


WRITE_PLAINLY = """
import os, sys
path, content = sys.argv[1:]
os.makedirs(os.path.dirname(path))
with open(path, "w") as file:
    file.write(content)
"""

MUTATIONS = {
    "the bytes of files are never synced": (
        """
        sync = os.fsync
        os.fsync = lambda handle: sync(handle) if stat.S_ISDIR(os.fstat(handle).st_mode) else None
        """,
        TOO_EARLY,
    ),
    "folders are never synced": ("files.sync_folder = lambda folder: None", TOO_EARLY),
    "the names of new folders are not synced": (
        "files.DurableFiles._make_folder = lambda self, folder: os.makedirs(folder, exist_ok=True)",
        TOO_EARLY,
    ),
    "folders are synced before the names are given": (
        """
        place = files.DurableFiles.place
        def place_late(self, staged):
            files.sync_folder(os.path.dirname(staged.path))
            return place(self, staged)
        files.DurableFiles.place = place_late
        files.DurableFiles.sync_folders = lambda self: self._unsynced.clear()
        """,
        TOO_EARLY,
    ),
    "a file is named before its bytes are synced": (
        """
        place = files.DurableFiles.place
        def close_only(some, handles):
            for handle in handles:
                os.close(handle)
        def place_early(self, staged):
            placed = place(self, staged)
            handle = os.open(staged.path, os.O_RDONLY)
            os.fsync(handle)
            os.close(handle)
            return placed
        files._sync, files.DurableFiles.place = close_only, place_early
        """,
        "named before its bytes last",
    ),
    "jobs are acknowledged before they are committed": (
        """
        def complete(self, batch):
            outcomes = [pending.outcome for pending in batch.pending]
            self._acknowledger.end(self._acknowledger.begin(batch, outcomes))
            self._writer.commit(batch.pending)
        worker.RecorderWorker._complete = complete
        """,
        TOO_EARLY,
    ),
    "the second name of an older result is not synced": (
        """
        def keep_as(self, path, kept):
            self._make_folder(os.path.dirname(kept))
            os.link(path, kept)
        files.DurableFiles.keep_as = keep_as
        """,
        "no longer lasts",
    ),
    "an older result loses its first name before its second one lasts": (
        """
        settle, sync = write.RecordWriter._settle_conflict, files.DurableFiles.sync_folders
        def settle_conflict(self, *arguments):
            files.DurableFiles.sync_folders = lambda self: None
            try:
                return settle(self, *arguments)
            finally:
                files.DurableFiles.sync_folders = sync
        write.RecordWriter._settle_conflict = settle_conflict
        """,
        "no longer lasts",
    ),
    "the ledger is not synced": (
        "ledger.Ledger.note = lambda self, folder: os.write(self._handle, f'{folder}\\n'.encode())",
        "created before a ledger says so",
    ),
}

DIES_BEFORE_FOLDER_SYNC = "files.DurableFiles.sync_folders = lambda self: os.kill(os.getpid(), 9)"

TRUSTS_NAMES = """
place = files.DurableFiles.place
def place_trusting(self, staged):
    before = set(self._unsynced)
    placed = place(self, staged)
    self._unsynced = self._unsynced if placed else before
    return placed
def discard_trusting(self, staged):
    before = set(self._unsynced)
    discard(self, staged)
    self._unsynced = before
discard = files.DurableFiles.discard
files.DurableFiles.place, files.DurableFiles.discard = place_trusting, discard_trusting
recovery.sweep = lambda folders, writer: 0  # it syncs the folders too
"""


@pytest.mark.parametrize("mistake", MUTATIONS)
def test_the_watcher_sees_when(stage: Stage, mistake: str) -> None:
    patch, seen = MUTATIONS[mistake]
    stage.enqueue(result("twice", 1, completed_at="2025-03-01T00:00:00Z"))
    for number in range(BATCH_SIZE):
        stage.enqueue(result(f"j{number}", number))
    stage.enqueue(result("twice", 1, completed_at="2025-03-02T00:00:00Z"))
    stage.record(*mistaken(patch))
    assert {problem.partition(":")[0] for problem in stage.problems} >= {seen}


def test_the_watcher_sees_when_a_name_that_is_there_is_taken_to_last(stage: Stage) -> None:
    stage.enqueue(result("one", 1))
    stage.record(*mistaken(DIES_BEFORE_FOLDER_SYNC), by=9)
    forget_leases(stage.connection)
    stage.record(*mistaken(TRUSTS_NAMES))
    assert TOO_EARLY in {problem.partition(":")[0] for problem in stage.problems}


def test_the_watcher_sees_a_call_that_it_has_no_model_of(tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    (base / "file").write_text("long")
    code = "import os, sys; os.truncate(sys.argv[1], 2)"
    with traced(tmp_path / "strace", ["-c", code, str(base / "file")], os.environ) as program:
        program.ended()
    disk = Disk(base)
    with pytest.raises(AssertionError, match="truncate is not modelled"):
        for moment in moments(read_calls(tmp_path / "strace")):
            disk.follow(moment)
