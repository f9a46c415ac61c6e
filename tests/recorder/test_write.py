"""The promises P1 to P6, as RecordWriter keeps them."""

from __future__ import annotations

import base64
import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.recorder.write import Kind, Outcome, RecordWriter, writer_name
from app.store import record, scan
from app.store.errors import StorageError, UnrecordableError
from app.store.files import DurableFiles
from app.store.latest import exclusive
from app.store.layout import Layout
from tests.store.faults import Disk

REPOSITORY = Path(__file__).resolve().parents[2]
DATE = "2025-08-08"
NOON = datetime(2025, 8, 8, 12, tzinfo=UTC)


def result(
    job_id: str = "job-1", text: str = "t", *, minute: int = 0, day: str = DATE, hour: int = 1
) -> dict[str, Any]:
    """A result that was completed `minute` minutes after noon."""
    return {
        "job_id": job_id,
        "job": {"created_at": f"{day}T{hour:02}:00:00Z", "metadata": {"scraper_id": "nyc"}},
        "result": {"text": text},
        "completed_at": (NOON + timedelta(minutes=minute)).isoformat(),
    }


def give(writer: RecordWriter, *results: dict[str, Any]) -> list[Outcome]:
    return writer.commit([writer.stage(data) for data in results])


def kinds(outcomes: list[Outcome]) -> list[Kind]:
    return [outcome.kind for outcome in outcomes]


def files_of(root: Path | str) -> dict[str, bytes]:
    """Every file of an OUTPUT_DIR but its summaries and the state of the recorders."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(Path(root).rglob("*"))
        if path.is_file() and not path.is_symlink() and path.name not in ("summary.json", ".journal")
        if path.relative_to(root).parts[0] != ".recorder"
    }


def texts(root: Path | str) -> list[str]:
    """The texts of all results, wherever they are."""
    return sorted(json.loads(content)["result"]["text"] for content in files_of(root).values())


def text_at(path: str) -> str:
    return str(json.loads(Path(path).read_bytes())["result"]["text"])


def assert_exact(root: Path | str) -> None:
    """Each day's summary says what its files say, and `latest` leads to the newest."""
    layout = Layout(str(root))
    days = scan.days(layout)
    filled = {day: names for day in days if (names := list(scan.recording_names(layout, day)))}
    assert os.readlink(layout.latest) == f"daily/{max(filled)}"
    for day, names in filled.items():
        summary = json.loads(Path(layout.summary(day)).read_bytes())
        lines = [record.read_entry(day, Path(layout.day(day), name).read_bytes())[1] for name in names]
        assert sorted(map(json.dumps, summary["jobs"])) == sorted(map(json.dumps, lines))
        assert summary["total_jobs"] == len(lines) == sum(one["count"] for one in summary["scrapers"].values())
        for scraper, counted in summary["scrapers"].items():
            times = sorted(line["timestamp"] for line in lines if line["scraper_id"] == scraper)
            assert counted == {"count": len(times), "first_job": times[0], "last_job": times[-1]}


def assert_no_temporaries(root: Path | str) -> None:
    assert [str(path) for path in Path(root).rglob("*.tmp")] == []


@pytest.fixture
def root(tmp_path: Path) -> str:
    return str(tmp_path / "out")


@pytest.fixture
def writer(root: str) -> Iterator[RecordWriter]:
    with RecordWriter(root, name="writer-1") as writer:
        yield writer


@pytest.fixture
def other(root: str) -> Iterator[RecordWriter]:
    with RecordWriter(root, name="writer-2") as other:
        yield other


# One writer


def test_a_result_is_recorded_where_the_specification_says(root: str) -> None:
    with RecordWriter(root) as writer:
        (outcome,) = give(writer, result())
        assert outcome == Outcome(Kind.RECORDED, f"{root}/daily/{DATE}/scrapers/nyc/job-1.json", "job-1", "nyc")
        assert text_at(outcome.path) == "t"
    assert_exact(root)
    assert_no_temporaries(root)
    assert text_at(f"{root}/latest/scrapers/nyc/job-1.json") == "t"


def test_when_commit_returns_bytes_names_and_folders_are_on_disk(
    root: str, writer: RecordWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(writer, result(), result(day="2025-08-07"))
    disk = Disk(monkeypatch, root)
    outcomes = give(writer, result("a"), result("b"), result("c", day="2025-08-07"))
    assert len(disk.done("fsync file")) >= len(outcomes)
    for outcome in outcomes:
        linked = disk.calls.index(("link", outcome.path))
        assert ("fsync folder", os.path.dirname(outcome.path)) in disk.calls[linked:]
    temporaries = [path for step, path in disk.calls if step == "open" and path.endswith(".tmp")]
    for temporary in temporaries:
        assert disk.calls.index(("fsync file", temporary)) < disk.calls.index(("unlink", temporary))


def test_the_folder_is_noted_before_anything_is_written_into_it(
    root: str, writer: RecordWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch, root)
    writer.abandon([writer.stage(result()), writer.stage_quarantine("x", "no", b"", {}, enqueued_at=NOON)])
    ledger = f"{root}/.recorder/writer-1.writer"
    noted = [index for index, call in enumerate(disk.calls) if call == ("fsync file", ledger)]
    made = [disk.calls.index(("mkdir", f"{root}/{name}/{DATE}")) for name in ("daily", "quarantine")]
    assert [before < after for before, after in zip(noted, made, strict=True)] == [True, True]


def test_the_same_result_again_is_a_duplicate_with_one_file_and_one_line(root: str) -> None:
    with RecordWriter(root) as writer:
        assert kinds(give(writer, result(), result())) == [Kind.RECORDED, Kind.DUPLICATE]
        assert kinds(give(writer, result())) == [Kind.DUPLICATE]
        without = {key: value for key, value in result("job-2").items() if key != "completed_at"}
        assert kinds(give(writer, without)) == [Kind.RECORDED]
        assert kinds(give(writer, without)) == [Kind.DUPLICATE]
    with RecordWriter(root) as writer:
        assert kinds(give(writer, result(), without)) == [Kind.DUPLICATE, Kind.DUPLICATE]
    assert len(files_of(root)) == 2
    assert_exact(root)


def test_a_newer_result_takes_the_place_of_the_older_which_is_kept(root: str) -> None:
    with RecordWriter(root) as writer:
        (first,) = give(writer, result(text="old", minute=1))
        (second,) = give(writer, result(text="new", minute=2))
        assert second.kind is Kind.REPLACED
        assert second.path == first.path
    assert text_at(second.path) == "new"
    assert texts(root) == ["new", "old"]
    assert_exact(root)
    old = next(name for name in files_of(root) if "superseded" in name)
    digest = hashlib.sha256(files_of(root)[old]).hexdigest()[:16]
    assert old == f"daily/{DATE}/superseded/scrapers/nyc/job-1.{digest}.json"


def test_an_older_result_that_comes_late_is_kept_beside_the_newer(root: str) -> None:
    with RecordWriter(root) as writer:
        (first,) = give(writer, result(text="new", minute=2))
        (second,) = give(writer, result(text="old", minute=1))
        assert second.kind is Kind.SUPERSEDED
        assert text_at(first.path) == "new"
        assert text_at(second.path) == "old"
        assert second.path.startswith(f"{root}/daily/{DATE}/superseded/scrapers/nyc/")
    assert len(files_of(root)) == 2
    assert_exact(root)


def test_a_result_that_was_replaced_does_not_come_back(root: str) -> None:
    a, b = result(text="a", minute=1), result(text="b", minute=2)
    with RecordWriter(root) as writer:
        path = give(writer, a)[0].path
        for batch in ([b], [a], [b, a], [a, b, a]):
            give(writer, *batch)
            assert text_at(path) == "b"
    assert texts(root) == ["a", "b"]
    assert_exact(root)


def test_a_batch_in_which_an_older_result_comes_again_enters_the_newer(root: str) -> None:
    older, newer = result(text="old", minute=1, hour=1), result(text="new", minute=2, hour=2)
    with RecordWriter(root) as writer:
        outcomes = give(writer, older, newer, older, newer)
        assert kinds(outcomes) == [Kind.RECORDED, Kind.REPLACED, Kind.SUPERSEDED, Kind.DUPLICATE]
        assert [text_at(outcome.path) for outcome in outcomes[1:]] == ["new", "old", "new"]
    assert_exact(root)


def test_results_of_the_same_moment_are_both_kept_and_the_first_does_not_come_back(root: str) -> None:
    a, b = result(text="a"), result(text="b")
    with RecordWriter(root) as writer:
        path = give(writer, a)[0].path
        give(writer, b)
        winner = text_at(path)
        for batch in ([a], [b], [a, b], [b, a]):
            give(writer, *batch)
            assert text_at(path) == winner
    assert texts(root) == ["a", "b"]
    assert_exact(root)


def test_results_that_differ_only_in_the_kind_of_a_value_are_both_kept(root: str) -> None:
    with RecordWriter(root) as writer:
        for value in (True, 1, 1.0, "1"):
            give(writer, {**result(), "result": {"text": str(value), "valid": value}, "extra": value})
            give(writer, {**result(), "result": {"text": "x", "valid": value}})
    assert len(files_of(root)) == 8


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(st.data())
def test_whatever_the_order_nothing_is_lost_and_the_newest_wins(tmp_path: Path, data: st.DataObject) -> None:
    root = tmp_path / "out"
    shutil.rmtree(root, ignore_errors=True)
    versions = [
        result(f"job-{job}", f"{job}-{minute}", minute=minute, hour=minute)
        for job in range(2)
        for minute in range(1, 5)
    ]
    given_versions = data.draw(st.lists(st.sampled_from(versions), min_size=1, max_size=12))
    writers = [RecordWriter(str(root)), RecordWriter(str(root))]
    while given_versions:
        size, who = data.draw(st.integers(1, 4)), data.draw(st.integers(0, 1))
        batch, given_versions = given_versions[:size], given_versions[size:]
        versions = [*versions, *batch]
        give(writers[who], *batch)
    for writer in writers:
        writer.close()
    distinct = {json.dumps(version): version for version in versions[8:]}
    assert texts(root) == sorted(version["result"]["text"] for version in distinct.values())
    for job in {version["job_id"] for version in distinct.values()}:
        newest = max(v["result"]["text"] for v in distinct.values() if v["job_id"] == job)
        assert text_at(f"{root}/daily/{DATE}/scrapers/nyc/{job}.json") == newest
    assert_exact(root)
    assert_no_temporaries(root)


@pytest.mark.parametrize("content", [b"", b"{", b"\0" * 100, b"[]", b"[" * 10_000, b'{"job_id": "job-1"}'])
def test_a_damaged_file_in_its_place_is_replaced_and_kept(root: str, content: bytes) -> None:
    path = Path(root, f"daily/{DATE}/scrapers/nyc/job-1.json")
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with RecordWriter(root) as writer:
        assert kinds(give(writer, result())) == [Kind.REPLACED]
    assert text_at(str(path)) == "t"
    assert content in files_of(root).values()
    assert_exact(root)


def test_unrecordable_results_raise_and_leave_nothing(root: str, writer: RecordWriter) -> None:
    unrecordable: list[Any] = [None, [], {}, {"job_id": 5}, {"job_id": "a", "x": object()}, {"job_id": "a", "x": float}]
    for data in unrecordable:
        with pytest.raises(UnrecordableError):
            writer.stage(data)
    assert files_of(root) == {}


def test_results_of_more_days_than_are_kept_open_are_all_counted(root: str) -> None:
    days = [(datetime(2025, 7, 1) + timedelta(days=number)).date().isoformat() for number in range(40)]
    with RecordWriter(root) as writer:
        for turn in range(3):
            for day in days:
                give(writer, result(f"{turn}", day=day))
        give(writer, *(result("batch", day=day) for day in reversed(days)))
        writer.flush(idle=True)
    assert scan.days(Layout(root)) == days
    assert len(files_of(root)) == 160
    assert_exact(root)


def test_a_summary_that_could_not_be_written_when_its_day_was_set_aside_is_written_later(
    root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.recorder.write._OPEN_ENTRIES", 0)
    days = [(datetime(2025, 7, 1) + timedelta(days=number)).date().isoformat() for number in range(17)]
    with RecordWriter(root) as writer:
        for day in days[:16]:
            give(writer, result(day=day))
        with pytest.MonkeyPatch.context() as patch:
            disk = Disk(patch, root)
            disk.refuse("replace", errno.ENOSPC, times=1)
            pending = [writer.stage(result(day=days[16]))]
            with pytest.raises(StorageError):
                writer.commit(pending)
        give(writer, result(day=days[16]))
    assert_exact(root)


def test_latest_never_moves_back_and_an_older_day_is_recorded_all_the_same(root: str) -> None:
    with RecordWriter(root) as writer:
        give(writer, result(day="2025-08-09"))
        give(writer, result(day="2025-08-07"))
        assert os.readlink(f"{root}/latest") == "daily/2025-08-09"
    with RecordWriter(root) as writer:
        give(writer, result("job-2", day="2025-08-08"))
    assert_exact(root)


def test_a_folder_called_latest_stops_no_recording_and_is_reported(root: str) -> None:
    os.makedirs(f"{root}/latest/precious")
    with RecordWriter(root) as writer:
        assert kinds(give(writer, result())) == [Kind.RECORDED]
        assert writer.latest_problem is not None
        assert writer.latest_problem.path == f"{root}/latest"
        shutil.rmtree(f"{root}/latest")
        writer.flush(idle=False)
        assert writer.latest_problem is None
    assert_exact(root)


def test_the_output_folder_removed_under_us_comes_back(root: str) -> None:
    with RecordWriter(root) as writer:
        give(writer, result(text="a", minute=1))
        shutil.rmtree(root)
        pending = [writer.stage(result(text="b"))]
        with pytest.raises(StorageError):
            writer.commit(pending)
        assert kinds(give(writer, result(text="b", minute=1))) == [Kind.RECORDED]
        assert kinds(give(writer, result(text="c", minute=2))) == [Kind.REPLACED]
        assert writer.latest_problem is None
    assert texts(root) == ["b", "c"]
    assert_exact(root)


# Quarantine


def test_what_can_not_be_recorded_is_kept_whole_with_its_reason(root: str, writer: RecordWriter) -> None:
    payload = bytes(range(256)) * 10
    (outcome,) = writer.commit(
        [writer.stage_quarantine("job-1", "no job_id", payload, {"origin": "recorder"}, enqueued_at=NOON)]
    )
    digest = hashlib.sha256(payload).hexdigest()
    assert outcome.path == f"{root}/quarantine/{DATE}/job-1.{digest[:16]}.json"
    assert outcome.kind is Kind.QUARANTINED
    assert outcome.reason == "no job_id"
    kept = json.loads(Path(outcome.path).read_bytes())
    assert base64.b64decode(kept["payload"]["base64"]) == payload
    assert (kept["reason"], kept["job_id"], kept["origin"]) == ("no job_id", "job-1", "recorder")
    assert datetime.fromisoformat(kept["quarantined_at"]).tzinfo is not None


def test_the_same_payload_of_the_same_job_is_quarantined_once(root: str) -> None:
    with RecordWriter(root) as writer:
        for _ in range(3):
            twice = [writer.stage_quarantine("job-1", "no", b"payload", {}, enqueued_at=NOON) for _ in range(2)]
            assert kinds(writer.commit(twice)) == [Kind.QUARANTINED] * 2
        writer.commit([writer.stage_quarantine("job-1", "no", b"other", {}, enqueued_at=NOON)])
        writer.commit([writer.stage_quarantine("job-2", "no", b"payload", {}, enqueued_at=NOON)])
    assert len(files_of(root)) == 3
    assert_no_temporaries(root)


@pytest.mark.parametrize("job", ["../../x", "", "a/b", "\0", "x" * 5000, ".", "\ud800"])
def test_any_job_is_quarantined_inside_the_output_folder(root: str, writer: RecordWriter, job: str) -> None:
    reason = "odd \ud800 reason"
    (outcome,) = writer.commit([writer.stage_quarantine(job, reason, b"", {"x": "\udfff"}, enqueued_at=NOON)])
    assert os.path.dirname(os.path.realpath(outcome.path)) == os.path.realpath(f"{root}/quarantine/{DATE}")
    assert json.loads(Path(outcome.path).read_bytes())["reason"] == reason


@pytest.mark.parametrize("moment", [None, datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)])
def test_without_a_usable_time_it_is_quarantined_today(writer: RecordWriter, moment: datetime | None) -> None:
    before = datetime.now(UTC).date().isoformat()
    (outcome,) = writer.commit([writer.stage_quarantine("a", "no", b"", {}, enqueued_at=moment)])
    after = datetime.now(UTC).date().isoformat()
    assert before <= Path(outcome.path).parent.name <= after


def test_a_batch_of_both_kinds_keeps_its_order(root: str, writer: RecordWriter) -> None:
    batch = [
        writer.stage(result("a")),
        writer.stage_quarantine("q", "no", b"p", {}, enqueued_at=NOON),
        writer.stage(result("b")),
    ]
    assert [outcome.job_id for outcome in writer.commit(batch)] == ["a", "q", "b"]
    assert writer.commit([]) == []


# A disk that refuses


STEPS = ["mkdir", "open", "write", "fsync file", "link", "replace", "unlink", "fsync folder", "symlink"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("step", STEPS)
def test_a_batch_that_the_disk_refused_is_given_again_and_recorded_once(
    root: str, monkeypatch: pytest.MonkeyPatch, step: str, code: int
) -> None:
    with RecordWriter(root) as writer:
        give(writer, result("a", "old", minute=1), result("before", minute=1))
        disk = Disk(monkeypatch, root)
        batch = [result("a", "new", minute=2, hour=2), result("b"), result("c", day="2025-08-09")]
        for number in range(40):
            disk.refuse(step, code, times=1, after=number)
            staged = []
            try:
                for data in batch:
                    staged.append(writer.stage(data))
                writer.commit(staged)
                writer.flush(idle=True)
                if not disk.refused:
                    break  # nothing was left to be refused
            except StorageError as error:
                assert error.path is not None
                assert error.path.startswith(root)
                writer.abandon(staged)
            for content in files_of(root).values():
                json.loads(content)
        disk.work()
        give(writer, *batch)
        assert writer.latest_problem is None
    assert texts(root) == sorted(["old", "new", "t", "t", "t"])
    assert text_at(f"{root}/daily/{DATE}/scrapers/nyc/a.json") == "new"
    assert_exact(root)
    assert_no_temporaries(root)


def test_a_disk_that_is_full_all_the_time_loses_nothing_and_lies_to_nobody(
    root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RecordWriter(root) as writer:
        give(writer, result("a"))
        disk = Disk(monkeypatch, root)
        disk.refuse("write", errno.ENOSPC)
        for _ in range(3):
            staged = []
            with pytest.raises(StorageError, match="disk is full"):
                for number in range(5):
                    staged.append(writer.stage(result(f"b{number}")))
                writer.commit(staged)
            writer.abandon(staged)
            assert len(files_of(root)) == 1
        disk.work()
        give(writer, *(result(f"b{number}") for number in range(5)))
    assert len(files_of(root)) == 6
    assert_exact(root)


def test_a_writer_that_can_not_finish_its_summary_leaves_it_to_the_next(root: str) -> None:
    writer = RecordWriter(root, name="unlucky")
    give(writer, result())
    with pytest.MonkeyPatch.context() as patch:
        Disk(patch, root).refuse("replace", errno.ENOSPC)
        with pytest.raises(StorageError):
            writer.close()
    with RecordWriter(root) as after:
        assert after.recover() == ["unlucky"]
    assert_exact(root)


def test_a_journal_is_durable_before_its_writer_is_forgotten(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch, root)
    with RecordWriter(root, name="writer-1") as writer:
        give(writer, result())
    synced = disk.calls.index(("fsync file", f"{root}/daily/{DATE}/.journal"))
    assert synced < disk.calls.index(("unlink", f"{root}/.recorder/writer-1.writer"))


# Several writers


def test_a_recorder_that_enters_a_result_after_it_was_replaced_does_not_falsify_the_summary(
    root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, other = RecordWriter(root), RecordWriter(root)
    real = DurableFiles.sync_folders

    def slow_sync(self: DurableFiles) -> None:
        monkeypatch.setattr(DurableFiles, "sync_folders", real)
        real(self)
        assert kinds(give(other, result(text="new", minute=2, hour=9))) == [Kind.REPLACED]

    pending = [writer.stage(result(text="old", minute=1, hour=1))]
    monkeypatch.setattr(DurableFiles, "sync_folders", slow_sync)
    writer.commit(pending)
    other.close()
    writer.close()
    assert_exact(root)


def test_a_result_replaced_but_not_entered_is_entered_when_it_is_given_again(
    root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = result(text="new", minute=2, hour=9)
    with RecordWriter(root) as writer:
        give(writer, result(text="old", minute=1, hour=1))
        disk = Disk(monkeypatch, root)
        staged = [writer.stage(newer)]
        disk.refuse("write", errno.ENOSPC, path=f"{root}/daily/{DATE}/.journal")
        with pytest.raises(StorageError):
            writer.commit(staged)
        disk.work()
        assert kinds(give(writer, newer)) == [Kind.DUPLICATE]
    assert texts(root) == ["new", "old"]
    assert_exact(root)


def test_a_result_given_to_two_writers_is_one_recording(root: str, writer: RecordWriter, other: RecordWriter) -> None:
    pending = [one.stage(result()) for one in (writer, other)]
    outcomes = [one.commit([staged])[0] for one, staged in zip((writer, other), pending, strict=True)]
    assert kinds(outcomes) == [Kind.RECORDED, Kind.DUPLICATE]
    assert outcomes[0].path == outcomes[1].path
    for one in (writer, other):
        one.flush(idle=True)
    assert len(files_of(root)) == 1
    assert_exact(root)


PROCESS = """
import json, sys
from app.recorder.write import RecordWriter
with RecordWriter(sys.argv[1]) as writer:
    print("ready", flush=True)
    sys.stdin.readline()
    batches = json.load(open(sys.argv[2]))
    for batch in batches:
        outcomes = writer.commit([writer.stage(data) for data in batch])
        for outcome in outcomes:
            print(outcome.kind.value, outcome.path, flush=True)
        writer.flush(idle=len(batch) % 2 == 0)
"""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(root: str, tmp_path: Path, start_program: Start) -> Start:
    """Starts a recorder in a process of its own, which begins with `batches` when it is given a line."""
    numbers = count()

    def begin(batches: list[list[dict[str, Any]]], code: str = PROCESS) -> subprocess.Popen[str]:
        work = tmp_path / f"batches-{next(numbers)}.json"
        work.write_text(json.dumps(batches))
        return start_program(code, root, str(work))

    return begin


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def test_writers_in_several_processes_with_overlapping_jobs_lose_and_duplicate_nothing(root: str, start: Start) -> None:
    jobs, versions = 25, 6
    every = [
        result(f"job-{job}", f"{job}/{minute}", minute=minute, hour=minute)
        for job in range(jobs)
        for minute in range(versions)
    ]
    shares = [every, every[::-1], every[::2] + every[1::2]]
    processes = [start([share[at : at + 7] for at in range(0, len(share), 7)]) for share in shares]
    for process in processes:
        go(process)
    reports = [process.communicate()[0].splitlines() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert [len(report) for report in reports] == [len(every)] * 3
    assert texts(root) == sorted(one["result"]["text"] for one in every)
    for job in range(jobs):
        assert text_at(f"{root}/daily/{DATE}/scrapers/nyc/job-{job}.json") == f"{job}/{versions - 1}"
    assert_exact(root)
    assert_no_temporaries(root)
    assert_no_writers(root)


def assert_no_writers(root: str) -> None:
    assert all(name.endswith(".lock") for name in os.listdir(f"{root}/.recorder"))


KILLED = """
import os, signal, sys
step, number = sys.argv[3], int(sys.argv[4])
import app.recorder.write
real = getattr(os, step)
seen = 0
def deadly(*args, **kwargs):
    global seen
    seen += 1
    if seen == number:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*args, **kwargs)
def arm():
    setattr(os, step, deadly)
"""


@pytest.mark.parametrize(
    ("step", "number"),
    [
        ("write", 2), ("fsync", 3), ("fsync", 9), ("link", 1), ("link", 3), ("link", 6), ("unlink", 1), ("unlink", 4),
        ("replace", 1), ("replace", 2),
        ("replace", 3), ("symlink", 1), ("write", 12),
    ],
)  # fmt: skip
def test_a_recorder_killed_anywhere_is_put_right_by_the_next(root: str, tmp_path: Path, step: str, number: int) -> None:
    first = [result(f"job-{n}", "old", minute=1) for n in range(5)]
    batch = [result(f"job-{n}", "new", minute=2, hour=3) for n in range(3, 9)] + [result("late", day="2025-08-09")]
    work = tmp_path / "work.json"
    work.write_text(json.dumps([first, batch]))
    code = KILLED + (
        "import json\n"
        "first, batch = json.load(open(sys.argv[2]))\n"
        "writer = app.recorder.write.RecordWriter(sys.argv[1], name='killed')\n"
        "writer.commit([writer.stage(data) for data in first])\n"
        "arm()\n"
        "writer.commit([writer.stage(data) for data in batch])\n"
        "writer.flush(idle=True)\n"
        "writer.close()\n"
    )
    process = subprocess.run([sys.executable, "-c", code, root, str(work), step, str(number)], cwd=REPOSITORY)
    assert process.returncode == -signal.SIGKILL
    for content in (content for name, content in files_of(root).items() if name.endswith(".json")):
        json.loads(content)
    with RecordWriter(root, name="next") as writer:
        assert writer.recover() == ["killed"]
        assert_no_temporaries(root)
        assert_exact(root)
        assert writer.recover() == []
        give(writer, *batch)  # what wasn't acknowledged comes again
    assert_exact(root)
    assert texts(root) == sorted(["old"] * 5 + ["new"] * 6 + ["t"])
    assert_no_writers(root)


def test_latest_is_moved_on_for_a_recorder_that_was_killed_before_it_could(root: str) -> None:
    with RecordWriter(root) as writer:
        give(writer, result(day="2025-08-07"))
    dead = RecordWriter(root, name="dead")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RecordWriter, "_advance_latest", lambda self, date: None)
        give(dead, result(day="2025-08-08"))
        dead._ledger.close(in_order=False)  # as a kill does
    with RecordWriter(root) as writer:
        writer.recover()
        assert os.readlink(f"{root}/latest") == "daily/2025-08-08"
    assert_exact(root)


def test_latest_is_moved_on_when_a_result_is_given_again(root: str) -> None:
    with RecordWriter(root) as writer:
        give(writer, result(day="2025-08-07"))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(RecordWriter, "_advance_latest", lambda self, date: None)
            give(writer, result(day="2025-08-08"))
        assert kinds(give(writer, result(day="2025-08-08"))) == [Kind.DUPLICATE]
        assert os.readlink(f"{root}/latest") == "daily/2025-08-08"


def test_a_living_recorder_is_left_in_peace(root: str, start: Start) -> None:
    process = start([[result()]])
    with RecordWriter(root) as writer:
        assert writer.recover() == []
        staged = Path(root, f"daily/{DATE}/processed")
        staged.mkdir(parents=True)
        go(process)
        process.communicate()
        assert writer.recover() == []
    assert_exact(root)


def test_recovery_where_the_folders_are_gone_is_no_error(root: str) -> None:
    dead = RecordWriter(root, name="dead")
    give(dead, result())
    dead.commit([dead.stage_quarantine("a", "no", b"", {}, enqueued_at=NOON)])
    dead._ledger.close(in_order=False)
    shutil.rmtree(f"{root}/daily")
    shutil.rmtree(f"{root}/quarantine")
    with RecordWriter(root) as writer:
        assert writer.recover() == ["dead"]
    assert files_of(root) == {}


def test_a_refused_recovery_is_tried_again(root: str) -> None:
    dead = RecordWriter(root, name="dead")
    left = dead.stage(result()).staged
    dead.begin()
    dead._ledger.close(in_order=False)
    with RecordWriter(root) as writer:
        with pytest.MonkeyPatch.context() as patch:
            Disk(patch, root).refuse("unlink", errno.EROFS, path=left.temporary)
            assert writer.recover() == []
            assert os.strerror(errno.EROFS) in str(writer.recovery_problem)
            assert kinds(give(writer, result("other", day="2025-08-09"))) == [Kind.RECORDED]
        assert writer.recover() == ["dead"]
        assert writer.recovery_problem is None
    assert_no_temporaries(root)


def test_a_dead_writers_day_that_can_not_be_put_right_holds_up_no_other_and_is_tried_again(root: str) -> None:
    dead = RecordWriter(root, name="dead")
    give(dead, result("a"), result("b", day="2025-08-09"))
    dead._ledger.close(in_order=False)
    blocked = Path(Layout(root).summary(DATE))
    blocked.mkdir()
    with RecordWriter(root) as writer:
        assert writer.recover() == []
        assert str(blocked) in str(writer.recovery_problem)
        assert Path(Layout(root).summary("2025-08-09")).is_file()
        blocked.rmdir()
        assert writer.recover() == ["dead"]
    assert_exact(root)


def test_writers_have_names_of_their_own() -> None:
    names = {writer_name() for _ in range(100)}
    assert len(names) == 100
    assert all(str(os.getpid()) in name and "/" not in name and "." not in name for name in names)


def test_a_batch_that_failed_half_way_is_in_the_summary_after_a_clean_end(tmp_path: Path) -> None:
    latest_day = tmp_path / "daily" / "2025-02-17"
    writer = RecordWriter(str(tmp_path))
    job = {"created_at": "2025-02-17T06:46:23Z", "metadata": {"scraper_id": "nyc"}}
    batch = [writer.stage({"job_id": f"j{number}", "job": job, "result": 1}) for number in range(3)]
    writer.begin()
    os.unlink(batch[2].staged.temporary)
    with pytest.raises(StorageError):
        writer.commit(batch)
    assert len(list(latest_day.glob("scrapers/nyc/*.json"))) == 2
    writer.close()
    assert json.loads((latest_day / "summary.json").read_bytes())["total_jobs"] == 2
    assert os.readlink(tmp_path / "latest") == "daily/2025-02-17"


# What can't have its name, or can't be settled


def give_way(writer: RecordWriter, disk: Disk, *results: dict[str, Any]) -> None:
    """A batch that may raise `StorageError`, and nothing else; given up then, as the recorder does."""
    staged = []
    try:
        for data in results:
            staged.append(writer.stage(data))
        writer.commit(staged)
    except StorageError:
        writer.abandon(staged)
    writer.flush(idle=True)
    disk.work()


def test_a_result_whose_name_is_too_long_is_kept_in_quarantine_and_the_others_are_recorded(
    root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    too_long = f"{root}/daily/{DATE}/scrapers/nyc/b.json"
    with RecordWriter(root) as writer:
        disk = Disk(monkeypatch, root)
        disk.refuse("link", errno.ENAMETOOLONG, path=too_long)
        for recorded in (Kind.RECORDED, Kind.DUPLICATE):
            outcomes = give(writer, result("a"), result("b", "the long one"), result("c"))
            assert kinds(outcomes) == [recorded, Kind.QUARANTINED, recorded]
        kept = json.loads(Path(outcomes[1].path).read_bytes())
        assert os.strerror(errno.ENAMETOOLONG) in kept["reason"] == outcomes[1].reason
        assert (kept["job_id"], kept["origin"]) == ("b", too_long)
        assert json.loads(base64.b64decode(kept["payload"]["base64"]))["result"] == {"text": "the long one"}
        assert len(list(Path(root).glob("quarantine/*/*"))) == 1
        assert_no_temporaries(root)
    assert_exact(root)


def test_a_result_whose_folder_is_too_long_raises_and_leaves_the_batch_as_it_was(
    root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RecordWriter(root) as writer:
        give(writer, result("a"))
        disk = Disk(monkeypatch, root)
        staged = [writer.stage(result("b"))]
        disk.refuse("mkdir", errno.ENAMETOOLONG)
        with pytest.raises(UnrecordableError, match=os.strerror(errno.ENAMETOOLONG)):
            writer.stage(result("c", day="2025-08-09"))
        disk.work()
        writer.commit(staged)
    assert len(files_of(root)) == 2
    assert_exact(root)


def test_a_result_that_can_not_be_settled_now_is_postponed_and_the_others_are_recorded(
    root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.recorder.write._CONFLICT_TIMEOUT_S", 0.01)
    with RecordWriter(root) as writer:
        give(writer, result("a", "old", minute=1))
        batch = [result("b"), result("a", "new", minute=2), result("c")]
        place = record.build(batch[1], enqueued_at=None, now=NOON, payload_bytes=0, max_bytes=sys.maxsize).place
        with exclusive(writer.layout.conflict_lock(place), 1):
            outcomes = give(writer, *batch)
        assert kinds(outcomes) == [Kind.RECORDED, Kind.POSTPONED, Kind.RECORDED]
        assert "lock" in str(outcomes[1].reason)
        assert text_at(f"{root}/daily/{DATE}/scrapers/nyc/a.json") == "old"
        assert_no_temporaries(root)
        assert kinds(give(writer, *batch)) == [Kind.DUPLICATE, Kind.REPLACED, Kind.DUPLICATE]
    assert texts(root) == ["new", "old", "t", "t"]
    assert_exact(root)


@pytest.mark.parametrize("step", ["symlink", "replace", "link"])
def test_a_name_of_our_own_that_is_too_long_is_the_disk_s_error(
    root: str, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    disk = Disk(monkeypatch, root)
    with RecordWriter(root) as writer:
        disk.refuse(step, errno.ENAMETOOLONG)
        try:
            give_way(writer, disk, result("a"), result("b"))
        finally:
            disk.work()
        assert_no_temporaries(root)


def test_a_quarantine_whose_name_is_too_long_is_the_disk_s_error(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with RecordWriter(root) as writer:
        Disk(monkeypatch, root).refuse("mkdir", errno.ENAMETOOLONG)
        with pytest.raises(StorageError):
            writer.stage_quarantine("a", "no", b"", {}, enqueued_at=NOON)


def test_a_disk_that_refuses_what_is_put_into_quarantine_instead_is_left_without_temporaries(
    root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RecordWriter(root) as writer:
        writer.commit([writer.stage_quarantine("z", "no", b"", {})])
        os.makedirs(f"{root}/daily/{DATE}/scrapers/nyc/a.json")
        staged = [writer.stage(result("a"))]
        writer.begin()
        disk = Disk(monkeypatch, root)
        disk.refuse("write", errno.ENOSPC)
        with pytest.raises(StorageError):
            writer.commit(staged)
        disk.work()
        assert kinds(give(writer, result("a"))) == [Kind.QUARANTINED]
        assert_no_temporaries(root)


def test_after_a_failed_sync_the_bytes_are_written_again_to_a_new_file(
    root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel may forget what it could not write, and call the next sync of the same file a success."""
    with RecordWriter(root) as writer:
        disk = Disk(monkeypatch, root)
        ledger = f"{root}/.recorder/{writer.name}.writer"
        for synced_before in (0, 1):  # the line of the ledger; then the recording, whose sync is the next
            disk.refuse("fsync file", errno.EIO, times=1, after=synced_before)
            staged = []
            with pytest.raises(StorageError):
                staged.append(writer.stage(result("a")))
                writer.commit(staged)
            writer.abandon(staged)
            assert disk.refused
        give(writer, result("a"))
        assert [step for step, path in disk.calls if path == ledger] == ["write", "write", "fsync file"]
        written = [path for path in disk.done("write") if "/scrapers/" in path]
        assert len(written) == len(set(written)) == 2
        assert [path for path in disk.done("fsync file") if "/scrapers/" in path] == written[1:]


def test_days_that_can_not_be_listed_while_latest_is_made_again_stop_no_recording(
    root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RecordWriter(root) as writer:
        give(writer, result("a"))
        os.unlink(f"{root}/latest")
        disk = Disk(monkeypatch, root)
        disk.refuse("symlink", errno.EIO)
        give(writer, result("b"))
        disk.work()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(scan, "days", _input_output_error)
            writer.flush(idle=True)
            assert writer.latest_problem is not None
        writer.flush(idle=True)
    assert_exact(root)


def _input_output_error(*_: object) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_a_day_that_can_not_be_looked_at_keeps_its_summary_due(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with RecordWriter(root) as writer:
        give(writer, result("a"))
        real = os.stat

        def stat(path: Any, *args: Any, **kwargs: Any) -> os.stat_result:
            if path == f"{root}/daily/{DATE}":
                raise OSError(errno.EIO, os.strerror(errno.EIO), path)
            return real(path, *args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(os, "stat", stat)
            writer.flush(idle=True)
        assert writer.dirty
        writer.flush(idle=True)
    assert_exact(root)


def test_a_writer_that_died_after_its_output_folder_was_removed_is_put_right(root: str) -> None:
    dead = RecordWriter(root, name="dead")
    give(dead, result("a"))
    shutil.rmtree(root)
    batch = [dead.stage(result("b"))]
    with pytest.raises(StorageError):
        dead.commit(batch)
    dead.abandon(batch)
    dead.check()
    give(dead, result("b"))
    dead.stage(result("c"))
    dead.begin()
    dead._ledger.close(in_order=False)  # as a kill does
    with RecordWriter(root) as writer:
        assert writer.recover() == ["dead"]
    assert_no_temporaries(root)
