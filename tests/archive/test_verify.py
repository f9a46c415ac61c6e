from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.archive import verify
from app.archive.findings import MEANINGS, REPAIRABLE, Findings, Kind
from app.archive.verify import Verifier
from app.recorder.write import RecordWriter
from app.store import encode, plain
from tests.archive.conftest import DATE, DAY, Damage, check, job, problems, record
from tests.recording import eventually, result

Program = Callable[..., "subprocess.Popen[str]"]


def change(path: Path, **fields: Any) -> None:
    path.write_bytes(encode.dump({**json.loads(path.read_bytes()), **fields}))


def change_summary(day: Path, edit: Callable[[Any], object]) -> None:
    summary = json.loads((day / "summary.json").read_bytes())
    edit(summary)
    (day / "summary.json").write_bytes(encode.dump(summary))


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def replace_by_file(path: Path) -> None:
    path.unlink()
    path.touch()


def replace_by_link(path: Path) -> None:
    path.rename(path.with_name(".other"))
    path.symlink_to(".other")


def the_superseded(day: Path) -> Path:
    (path,) = (day / "superseded").rglob("*.json")
    return path


def the_quarantined(day: Path) -> Path:
    (path,) = (day / "../../quarantine").glob("*/*.json")
    return path


def move(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    path.rename(target)


def test_all_holds_of_what_a_recorder_leaves(recorded: Path) -> None:
    found = check(recorded)
    assert found.holds, found
    assert found.findings.checked == {"days": 2, "recordings": 4, "superseded": 1, "quarantined": 1}


def test_all_holds_whatever_was_recorded(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    times = [None, "soon", 0, 1e300, "1999-12-31", now + timedelta(days=3), 1739774783, "2025-02-17 23:30:00-01:00"]
    names = ["../../x", ".hidden", "x" * 5000, "\ud800", "\x1b[2J", "a/b", "~", " ", "unknown", 'quo"te']
    results = [result(name, job=job(1, scraper)) for name in names for scraper in (None, *names)]
    results += [
        result(f"{number}-{other}", job={"created_at": moment}, **({} if other is None else {"completed_at": other}))
        for number, moment in enumerate(times)
        for other in (None, "later", now, now + timedelta(days=9))
    ]
    with RecordWriter(str(tmp_path)) as writer:
        writer.commit([writer.stage(data) for data in results])
        writer.commit([writer.stage_quarantine(name, "reason", b"\xff", {}) for name in names])
    found = check(tmp_path)
    assert found.holds, found
    assert found.findings.checked["recordings"] == len(results)


BREAKS: dict[str, tuple[Damage, dict[str, int]]] = {
    "a recording is cut short": (lambda day: os.truncate(day / "scrapers/nyc/b.json", 20), {"damaged": 1}),
    "a recording is empty": (lambda day: os.truncate(day / "scrapers/nyc/b.json", 0), {"damaged": 1}),
    "a recording has no job_id": (lambda day: (day / "scrapers/nyc/b.json").write_text("{}"), {"damaged": 1}),
    "a recording is nested too deep": (
        lambda day: (day / "scrapers/nyc/b.json").write_text('{"job_id":"b","x":' + "[" * 99_999 + "]" * 99_999 + "}"),
        {"damaged": 1},
    ),
    "a recording is in another day": (
        lambda day: move(day / "scrapers/nyc/b.json", day / "../2025-02-18/scrapers/nyc/b.json"),
        {"misplaced": 1, "missing-file": 1, "wrong-count": 2, "summary-missing": 1, "latest-wrong": 1},
    ),
    "a recording is in an earlier day": (
        lambda day: move(day / "scrapers/nyc/b.json", day / "../2025-02-16/scrapers/nyc/b.json"),
        {"misplaced": 1, "missing-file": 1, "not-in-summary": 1, "wrong-count": 4},
    ),
    "a recording is under another scraper": (
        lambda day: move(day / "scrapers/nyc/b.json", day / "scrapers/other/b.json"),
        {"misplaced": 1},
    ),
    "a recording has another name": (
        lambda day: move(day / "scrapers/nyc/b.json", day / "scrapers/nyc/z.json"),
        {"misplaced": 1},
    ),
    "a recording is gone": (
        lambda day: (day / "scrapers/nyc/b.json").unlink(),
        {"missing-file": 1, "wrong-count": 2},
    ),
    "a recording is too many": (
        lambda day: shutil.copy(day / "scrapers/nyc/b.json", day / "scrapers/nyc/z.json"),
        {"misplaced": 1, "not-in-summary": 1, "wrong-count": 2},
    ),
    "a recording says another time": (
        lambda day: change(day / "scrapers/nyc/b.json", job=job(23)),
        {"wrong-time": 1, "wrong-count": 1},
    ),
    "a recording is elsewhere too": (
        lambda day: shutil.copy(day / "scrapers/nyc/b.json", day),
        {"foreign": 1},
    ),
    "a recording is in a folder too deep": (
        lambda day: move(day / "scrapers/nyc/b.json", day / "scrapers/nyc/deep/b.json"),
        {"foreign": 1, "missing-file": 1, "wrong-count": 2},
    ),
    "a day is no date": (lambda day: (day / "../2025-02-31").mkdir(), {"foreign": 1}),
    "an old result is cut short": (lambda day: os.truncate(the_superseded(day), 20), {"damaged": 1}),
    "an old result was edited": (lambda day: change(the_superseded(day), error="x"), {"damaged": 1}),
    "an old result is of another job": (
        lambda day: move(the_superseded(day), the_superseded(day).with_name(f"z.{the_superseded(day).name[2:]}")),
        {"misplaced": 1},
    ),
    "an old result is all that there is": (
        lambda day: (day / "scrapers/nyc/a.json").unlink(),
        {"orphan": 1, "missing-file": 1, "wrong-count": 2},
    ),
    "what is in quarantine is cut short": (lambda day: os.truncate(the_quarantined(day), 20), {"damaged": 1}),
    "what is in quarantine has no payload": (lambda day: change(the_quarantined(day), payload=None), {"damaged": 1}),
    "what is in quarantine has another payload": (
        lambda day: change(the_quarantined(day), payload={"base64": base64.b64encode(b"x").decode()}),
        {"damaged": 1},
    ),
    "what is in quarantine has no base64": (
        lambda day: change(the_quarantined(day), payload={"base64": "x"}),
        {"damaged": 1},
    ),
    "what is in quarantine has no reason": (lambda day: change(the_quarantined(day), reason=None), {"damaged": 1}),
    "what is in quarantine has no job_id": (lambda day: change(the_quarantined(day), job_id=None), {"damaged": 1}),
    "there is no summary": (lambda day: (day / "summary.json").unlink(), {"summary-missing": 1}),
    "the summary is a folder": (
        lambda day: replace_by_folder(day / "summary.json"),
        {"summary-unreadable": 1},
    ),
    "the summary is a link": (
        lambda day: replace_by_link(day / "summary.json"),
        {"summary-unreadable": 1},
    ),
    "the summary is cut short": (lambda day: os.truncate(day / "summary.json", 20), {"summary-unreadable": 1}),
    "the summary is a list": (lambda day: (day / "summary.json").write_text("[]"), {"summary-unreadable": 1}),
    "the summary is null": (lambda day: (day / "summary.json").write_text("null"), {"summary-unreadable": 1}),
    "jobs is no list": (lambda day: change(day / "summary.json", jobs={"a": 1}), {"summary-unreadable": 1}),
    "an entry is no object": (
        lambda day: change_summary(day, lambda summary: summary["jobs"].append(7)),
        {"wrong-entry": 1},
    ),
    "an entry's job_id is no text": (
        lambda day: change_summary(day, lambda summary: summary["jobs"][0].update(job_id=10**30)),
        {"wrong-entry": 1, "not-in-summary": 1},
    ),
    "an entry is there twice": (
        lambda day: change_summary(day, lambda summary: summary["jobs"].append(summary["jobs"][0])),
        {"duplicate-in-summary": 1},
    ),
    "an entry has another scraper": (
        lambda day: change_summary(day, lambda summary: summary["jobs"][0].update(scraper_id="\x1b")),
        {"missing-file": 1, "not-in-summary": 1},
    ),
    "an entry has another time": (
        lambda day: change_summary(day, lambda summary: summary["jobs"][0].update(timestamp="soon")),
        {"wrong-time": 1},
    ),
    "the total is wrong": (lambda day: change(day / "summary.json", total_jobs=7), {"wrong-count": 1}),
    "the total is no number": (lambda day: change(day / "summary.json", total_jobs=True), {"wrong-count": 1}),
    "the date is wrong": (lambda day: change(day / "summary.json", date="2025-02-18"), {"wrong-count": 1}),
    "scrapers is no object": (lambda day: change(day / "summary.json", scrapers=[]), {"wrong-count": 1}),
    "scrapers is empty": (lambda day: change(day / "summary.json", scrapers={}), {"wrong-count": 2}),
    "a scraper is too many": (
        lambda day: change_summary(day, lambda summary: summary["scrapers"].update(x={"count": 1})),
        {"wrong-count": 1},
    ),
    "a scraper's first job is wrong": (
        lambda day: change_summary(day, lambda summary: summary["scrapers"]["nyc"].update(first_job=None)),
        {"wrong-count": 1},
    ),
    "a scraper's last job is wrong": (
        lambda day: change_summary(
            day, lambda summary: summary["scrapers"]["nyc"].update(last_job=f"{DATE}T05:00:00Z")
        ),
        {"wrong-count": 1},
    ),
    "latest is gone": (lambda day: (day / "../../latest").unlink(), {"latest-wrong": 1}),
    "latest is a file": (
        lambda day: replace_by_file(day / "../../latest"),
        {"latest-wrong": 1},
    ),
    "latest is a folder": (
        lambda day: replace_by_folder(day / "../../latest"),
        {"latest-wrong": 1},
    ),
}


@pytest.mark.parametrize("name", BREAKS)
def test_what_is_wrong_is_found(recorded: Path, day: Path, name: str) -> None:
    damage, expected = BREAKS[name]
    damage(day)
    assert problems(recorded) == expected


@pytest.mark.parametrize("name", BREAKS)
def test_a_repair_touches_no_recording_and_leaves_only_what_files_say(recorded: Path, day: Path, name: str) -> None:
    BREAKS[name][0](day)
    before = contents(recorded)
    found = check(recorded, repair=True)
    kept = set(found.findings.problems) & (REPAIRABLE | {Kind.LATEST_WRONG})
    stands_in_the_way = {
        "the summary is a folder": {Kind.SUMMARY_UNREADABLE},
        "latest is a file": {Kind.LATEST_WRONG},
        "latest is a folder": {Kind.LATEST_WRONG},
    }
    assert kept == stands_in_the_way.get(name, set())
    assert bool(found.not_repaired) == (name in stands_in_the_way)
    assert contents(recorded) == before
    assert not list(recorded.rglob("*.tmp"))
    assert not list(recorded.glob(".recorder/*.writer"))


def contents(output_dir: Path) -> dict[str, str]:
    """A digest of every file but summaries, by its path inside OUTPUT_DIR."""
    paths = [path for path in output_dir.rglob("*.json") if path.name != "summary.json"]
    return {str(path.relative_to(output_dir)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def test_without_repair_nothing_is_written(recorded: Path, day: Path) -> None:
    (day / "scrapers/nyc/b.json").unlink()
    shutil.rmtree(recorded / ".recorder")
    before = {path: path.lstat().st_ctime_ns for path in [recorded, *recorded.rglob("*")]}
    assert not check(recorded).holds
    assert {path: path.lstat().st_ctime_ns for path in [recorded, *recorded.rglob("*")]} == before


@pytest.mark.parametrize("target", [f"{DAY}-", "daily/2025-02-16", "/elsewhere/2025-02-17", "latest", "daily"])
def test_latest_must_lead_to_the_newest_day_and_is_set_right(recorded: Path, target: str) -> None:
    (recorded / "latest").unlink()
    (recorded / "latest").symlink_to(target)
    assert problems(recorded) == {"latest-wrong": 1}
    assert check(recorded, repair=True).holds
    assert os.readlink(recorded / "latest") == DAY


def test_latest_may_be_absolute(recorded: Path) -> None:
    (recorded / "latest").unlink()
    (recorded / "latest").symlink_to(recorded / DAY)
    assert check(recorded).holds


def test_a_newer_day_without_records_is_not_the_latest(recorded: Path) -> None:
    (recorded / "daily/2025-03-01/scrapers").mkdir(parents=True)
    assert check(recorded).holds
    (recorded / "latest").unlink()
    (recorded / "latest").symlink_to("daily/2025-03-01")
    assert problems(recorded) == {"latest-wrong": 1}
    assert check(recorded, repair=True).holds
    assert os.readlink(recorded / "latest") == DAY


def test_where_nothing_is_recorded_latest_names_nothing(tmp_path: Path) -> None:
    (tmp_path / "daily").mkdir()
    assert check(tmp_path).holds
    (tmp_path / "latest").symlink_to(DAY)
    assert problems(tmp_path) == {"latest-wrong": 1}
    assert check(tmp_path, repair=True).holds
    assert not os.path.lexists(tmp_path / "latest")


def test_a_journal_that_says_other_things_than_the_files_is_put_right(recorded: Path, day: Path) -> None:
    change(day / "scrapers/nyc/b.json", job=job(23))
    (day / "processed/c.json").unlink()
    shutil.copytree(day / "scrapers/nyc", day / "scrapers/other")
    for path in (day / "scrapers/other").iterdir():
        change(path, job=job(5, "other"))
    assert check(recorded, repair=True).holds
    record(recorded, result("d", job=job(6)))  # a recorder goes by the journal
    assert check(recorded).holds


def test_what_an_earlier_recorder_wrote_holds(tmp_path: Path) -> None:
    day = tmp_path / DAY
    for folder, job_id in (("scrapers/Food Bank", "job one"), ("processed", "a~b")):
        path = day / folder / f"{job_id}.json"
        path.parent.mkdir(parents=True)
        metadata = {"scraper_id": "Food Bank"} if "scrapers" in folder else {}
        old = {"job_id": job_id, "job": {"created_at": f"{DATE} 01:02:03.5", "metadata": metadata}, "result": "x"}
        path.write_text(json.dumps({**old, "result": float("nan")}))
    times = {"count": 1, "first_job": f"{DATE} 01:02:03.500", "last_job": f"{DATE}T02:02:03.5+01:00"}
    jobs = [
        {"job_id": job_id, "scraper_id": scraper, "timestamp": f"{DATE}T01:02:03.500000"}
        for job_id, scraper in (("job one", "Food Bank"), ("a~b", "unknown"))
    ]
    summary = {"date": DATE, "total_jobs": 2, "scrapers": {"Food Bank": times, "unknown": times}, "jobs": jobs}
    (day / "summary.json").write_text(json.dumps(summary))
    (tmp_path / "latest").symlink_to(DAY)
    found = check(tmp_path)
    assert found.holds, found


def test_a_recording_of_a_wrong_clock_stays_where_it_was_recorded(recorded: Path, day: Path) -> None:
    """Times ahead of the recording don't date it; later on they no longer look wrong."""
    path = day / "scrapers/nyc/b.json"
    ahead = {"created_at": "2025-02-20T00:00:00Z", "metadata": {"scraper_id": "nyc"}}
    change(path, job=ahead, completed_at="2025-02-20T00:00:00Z")
    (day / "summary.json").unlink()
    assert problems(recorded) == {"misplaced": 1, "summary-missing": 1}
    on_the_day = datetime(2025, 2, 17, 12, tzinfo=UTC).timestamp()
    os.utime(path, (on_the_day, on_the_day))
    assert problems(recorded) == {"summary-missing": 1}


def test_a_damaged_recording_may_be_in_the_summary_or_not(recorded: Path, day: Path) -> None:
    (day / "scrapers/nyc/b.json").write_text("{")
    assert problems(recorded) == {"damaged": 1}
    (day / ".journal").unlink()
    (day / "summary.json").unlink()
    found = check(recorded, repair=True)
    assert found.repaired == [f"wrote the summary of {DATE} anew"]
    assert dict(found.findings.problems) == {"damaged": 1}


def test_links_and_special_files_are_reported_and_never_opened(
    recorded: Path, day: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(day / "scrapers/nyc/pipe.json")
    os.mkfifo(day / "superseded/pipe")
    os.mkfifo(recorded / "quarantine/pipe")
    (day / "scrapers/nyc/zero.json").symlink_to("/dev/zero")
    (day / "scrapers/nyc/link.json").symlink_to("b.json")
    (day / "scrapers/loop").symlink_to("loop")
    (recorded / "daily/2025-02-18").symlink_to("2025-02-18")
    monkeypatch.chdir(day / "processed")  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.json")
    assert problems(recorded) == {"foreign": 8}
    (day / "summary.json").unlink()
    os.mkfifo(day / "summary.json")
    assert problems(recorded) == {"foreign": 8, "summary-unreadable": 1}


def test_a_journal_that_is_a_pipe_does_not_hang_a_repair(recorded: Path, day: Path) -> None:
    (day / "summary.json").unlink()
    (day / ".journal").unlink()
    os.mkfifo(day / ".journal")
    found = check(recorded, repair=True)
    assert len(found.not_repaired) == 1
    assert not found.holds


def test_a_day_on_another_disk_is_followed(recorded: Path, day: Path, tmp_path: Path) -> None:
    shutil.move(day, tmp_path / "elsewhere")
    day.symlink_to(tmp_path / "elsewhere")
    assert check(recorded).holds
    os.truncate(day / "scrapers/nyc/b.json", 5)
    assert problems(recorded) == {"damaged": 1}


def test_hidden_files_of_others_are_left_alone(recorded: Path, day: Path) -> None:
    for folder in (recorded, day, day / "processed", recorded / "quarantine"):
        (folder / ".gitkeep").touch()
    (recorded / "README.md").touch()
    assert check(recorded).holds


def test_temporary_files_of_living_writers_are_no_problem(recorded: Path, day: Path) -> None:
    places = [recorded, day, day / "scrapers/nyc", day / "superseded/scrapers", recorded / "quarantine/2025-02-17"]
    places[-1].mkdir(exist_ok=True)
    with RecordWriter(str(recorded), name="someone") as writer:
        for folder in places:
            (folder / ".someone.7.tmp").touch()
        assert check(recorded).holds
        del writer
    assert problems(recorded) == {"temporary": 5}


DIE_IN_THE_MIDDLE = """
import os, sys, time
from app.recorder.write import RecordWriter
from tests.recording import result
writer = RecordWriter(sys.argv[1], name="dead-writer")
writer.commit([writer.stage(result("d"))])
writer.stage(result("e"))
writer.begin()
print("ready", flush=True)
time.sleep(600)
"""


def test_what_a_dead_writer_left_is_found_and_put_right(recorded: Path, day: Path, start_program: Program) -> None:
    died = start_program(DIE_IN_THE_MIDDLE, str(recorded))
    died.kill()
    died.wait()
    assert problems(recorded) == {"temporary": 1, "not-in-summary": 1, "wrong-count": 2}
    found = check(recorded, repair=True)
    assert found.holds
    assert found.repaired == ["put right what dead-writer left, which died"]
    assert not list((recorded / ".recorder").glob("*.writer"))


def test_temporary_files_of_unknown_writers_are_left_to_a_person(recorded: Path, day: Path) -> None:
    (day / ".unknown.0.tmp").touch()
    found = check(recorded, repair=True)
    assert dict(found.findings.problems) == {"temporary": 1}
    assert (day / ".unknown.0.tmp").exists()


RECORD_WITHOUT_END = """
import itertools, sys
from app.recorder.write import RecordWriter
from tests.recording import result
writer = RecordWriter(sys.argv[1])
for number in itertools.count():
    writer.commit([
        writer.stage(result(f"job-{(number * 5 + i) % 997}-{sys.argv[2]}", completed_at=number, result=number, job={
            "created_at": f"2025-02-{17 + number // 300 % 3}T{number % 24:02}:00:00Z", "metadata": {"scraper_id": "x"},
        }))
        for i in range(5)
    ])
    writer.flush(idle=False)
    if number == 20:
        print("ready", flush=True)
"""


def test_beside_recorders_at_work_nothing_looks_wrong(recorded: Path, start_program: Program, in_full: bool) -> None:
    start_program(RECORD_WITHOUT_END, str(recorded), "1")
    start_program(RECORD_WITHOUT_END, str(recorded), "2")
    deadline = time.monotonic() + (60 if in_full else 3)
    while time.monotonic() < deadline:
        found = check(recorded)
        assert found.holds, found


def test_a_summary_that_a_living_recorder_is_about_to_write_is_no_problem(
    recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RecordWriter(str(recorded)) as writer:
        writer.commit([writer.stage(result("late"))])
        monkeypatch.setattr(time, "sleep", lambda _: writer.flush(idle=True))
        assert check(recorded).holds


HOLD_AN_UNWRITTEN_SUMMARY = """
import sys
from app.recorder.write import RecordWriter
from tests.recording import result
with RecordWriter(sys.argv[1]) as writer:
    writer.commit([writer.stage(result("late"))])
    print("ready", flush=True)
    sys.stdin.readline()
"""


def test_a_summary_that_stays_behind_is_wrong_beside_a_living_recorder_too(
    recorded: Path, start_program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "PATIENCE_S", 0.6)
    recorder = start_program(HOLD_AN_UNWRITTEN_SUMMARY, str(recorded))
    assert problems(recorded) == {"not-in-summary": 1, "wrong-count": 2}
    assert recorder.stdin is not None
    recorder.stdin.write("\n")
    recorder.stdin.flush()
    eventually(lambda: recorder.poll() is not None)
    assert check(recorded).holds


def test_a_repair_beside_a_living_recorder_lasts(
    recorded: Path, start_program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "PATIENCE_S", 0.1)
    recorder = start_program(HOLD_AN_UNWRITTEN_SUMMARY, str(recorded))
    (recorded / DAY / "scrapers/nyc/b.json").unlink()
    assert check(recorded, repair=True).holds
    assert recorder.stdin is not None
    recorder.stdin.write("\n")
    recorder.stdin.flush()
    eventually(lambda: recorder.poll() is not None)
    assert check(recorded).holds


@pytest.mark.parametrize("files_read", [0, 3])
def test_a_day_that_is_removed_meanwhile_is_no_problem(recorded: Path, day: Path, files_read: int) -> None:
    found = check_day_while(recorded, files_read, lambda: shutil.rmtree(day))
    assert not found.problems, found


def test_a_recording_that_is_removed_meanwhile_is_no_problem(recorded: Path, day: Path) -> None:
    found = check_day_while(recorded, 2, (day / "scrapers/nyc/b.json").unlink)
    assert not found.problems, found


def test_a_recording_that_is_replaced_meanwhile_is_no_problem(recorded: Path) -> None:
    newer = result("b", job=job(9), result="newer")
    found = check_day_while(recorded, 3, lambda: record(recorded, newer, result("late", job=job(10))))
    assert not found.problems, found


def check_day_while(output_dir: Path, files_read: int, action: Callable[[], object]) -> Findings:
    """Check the day, and do something once so many of its three recordings are read."""
    waiting: list[Callable[[], object]] = [*[lambda: None] * files_read, action]
    verifier = Verifier(str(output_dir), most_examples=5, advance=lambda: waiting.pop(0)() if waiting else None)
    found = verifier.check_day(DATE)
    assert not waiting
    return found


def test_latest_that_a_living_recorder_is_about_to_move_is_no_problem(
    recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (recorded / "latest").unlink()
    assert problems(recorded) == {"latest-wrong": 1}
    with RecordWriter(str(recorded)):
        monkeypatch.setattr(time, "sleep", lambda _: (recorded / "latest").symlink_to(DAY))
        assert check(recorded).holds


def refuse(monkeypatch: pytest.MonkeyPatch, function: str, ending: str) -> None:
    real = getattr(os, function)

    def refusing(path: Any, *args: Any, **kwargs: Any) -> Any:
        if str(path).endswith(ending):
            raise PermissionError(13, "Permission denied", path)
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, function, refusing)


def test_a_file_that_may_not_be_read_is_reported(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, "open", "/b.json")
    assert problems(recorded) == {"unreadable": 1}


@pytest.mark.parametrize("folder", ["daily", DAY, f"{DAY}/scrapers/nyc", f"{DAY}/superseded", "quarantine"])
def test_a_folder_that_may_not_be_read_is_reported_and_its_summary_left_as_it_is(
    recorded: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    before = (recorded / DAY / "summary.json").read_bytes()
    refuse(monkeypatch, "scandir", f"{recorded}/{folder}")
    found = check(recorded, repair=True)
    assert dict(found.findings.problems) == {Kind.UNREADABLE_FOLDER: 1}
    assert (recorded / DAY / "summary.json").read_bytes() == before


def test_a_huge_file_is_reported_and_not_read(recorded: Path, day: Path) -> None:
    with open(day / "scrapers/nyc/b.json", "r+b") as file:
        file.truncate(plain.MAX_BYTES + 1)
    assert problems(recorded) == {"unreadable": 1}


def test_a_report_stays_small(tmp_path: Path) -> None:
    findings = Findings(3)
    for number in range(1000):
        findings.add(Kind.DAMAGED, f"{number}", "x" * 100_000)
    both = Findings(3)
    both.merge(findings)
    both.merge(findings)
    assert both.problems == {Kind.DAMAGED: 2000}
    assert [len(example.detail) for example in both.examples[Kind.DAMAGED]] == [200] * 3


def test_every_kind_of_problem_has_a_meaning() -> None:
    assert set(MEANINGS) == set(Kind)


def real_output_dir(real_day: Path, output_dir: Path) -> Path:
    """The real day in an OUTPUT_DIR of its own, by hard links."""
    (output_dir / "daily").mkdir(parents=True)
    shutil.copytree(real_day, output_dir / "daily" / real_day.name, copy_function=os.link)
    (output_dir / "latest").symlink_to(f"daily/{real_day.name}")
    return output_dir


def test_of_the_real_day_it_says_what_is_really_wrong(real_day: Path, tmp_path: Path) -> None:
    output_dir = real_output_dir(real_day, tmp_path / "real")
    found = check(output_dir).findings
    assert found.checked == {"days": 1, "recordings": 2737}
    assert found.problems == {
        "missing-file": 11_301,
        "duplicate-in-summary": 11,
        "wrong-time": 2_737,  # that recorder wrote down when it recorded
        "wrong-count": 30,
    }
    assert found.examples[Kind.WRONG_COUNT][0].detail == "total_jobs is 14049, there are 2737 files"


def test_the_real_day_is_repaired_without_a_touch_to_its_recordings(real_day: Path, tmp_path: Path) -> None:
    output_dir = real_output_dir(real_day, tmp_path / "real")
    before = contents(output_dir)
    found = check(output_dir, repair=True)
    assert found.holds, found
    assert found.repaired == ["wrote the summary of 2025-08-08 anew, without the 11,301 jobs that have no file"]
    assert contents(output_dir) == before
    summary = json.loads((output_dir / "latest" / "summary.json").read_bytes())
    assert summary["total_jobs"] == len(summary["jobs"]) == 2737
    assert json.loads((real_day / "summary.json").read_bytes())["total_jobs"] == 14_049
