"""Closed days become archives; what comes late is added, and nothing that an archive has is dropped."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from app.archive.archiving import Action, Archiver, closed_days
from app.archive.pack import read_pack
from app.archive.packs import PackFolder
from app.recorder.write import RecordWriter
from app.store.errors import LockedError
from tests.faults import data
from tests.recording import result

DATE = data.DAYS[0]


@pytest.fixture
def base(recorded_base: Path, tmp_path: Path) -> Path:
    return shutil.copytree(recorded_base, tmp_path / "base", symlinks=True)


def actions(base: Path) -> dict[str, Action]:
    return {one.date: one.action for one in data.archive(base)}


def contents(base: Path, day: str = DATE) -> dict[str, bytes]:
    packs = PackFolder(str(base / "arch"))
    manifest = packs.manifest(day)
    assert manifest is not None
    return dict(read_pack(packs.path(manifest), manifest))


def files(base: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (base / "arch").iterdir()}


def test_closed_is_what_is_before_today_and_as_old_as_asked() -> None:
    days = ["2025-01-01", "2025-01-08", "2025-01-09", "2025-01-10", "2025-01-11"]
    assert closed_days(days, date(2025, 1, 10)) == days[:3]
    assert closed_days(days, date(2025, 1, 10), 2) == days[:1]
    assert closed_days(days, date(2025, 1, 10), 10**6) == []


def test_each_closed_day_is_one_archive_with_a_manifest_and_a_second_run_changes_nothing(base: Path) -> None:
    assert set(actions(base).values()) == {Action.ARCHIVED}
    assert len(list((base / "arch").glob("*.tar.zst"))) == len(list((base / "arch").glob("*.json.zst"))) == 3
    before = files(base)
    assert set(actions(base).values()) == {Action.UNCHANGED}
    assert files(base) == before


def test_an_archive_holds_every_file_of_the_day_and_the_summary_as_it_is(base: Path) -> None:
    data.archive(base)
    day = base / "out/daily" / DATE
    there = {str(path.relative_to(day)): path.read_bytes() for path in day.rglob("*.json")}
    assert contents(base) == there
    assert any(name.startswith("superseded/") for name in there)


def test_the_same_days_give_the_same_bytes_wherever_and_whenever_they_were_written(base: Path, tmp_path: Path) -> None:
    data.archive(base)
    other = tmp_path / "other"
    shutil.copytree(base / "out", other / "out", symlinks=True, copy_function=shutil.copyfile)
    data.archive(other)
    assert files(other) == files(base)


def test_a_late_result_has_the_day_archived_anew(base: Path) -> None:
    data.archive(base)
    data.record_late(base)
    assert actions(base) == {DATE: Action.ARCHIVED_ANEW} | dict.fromkeys(data.DAYS[1:], Action.UNCHANGED)
    assert "scrapers/nyc/late.json" in contents(base)
    assert len(list((base / "arch").glob(f"{DATE}*.tar.zst"))) == 1


def test_a_file_that_was_changed_keeping_its_size_has_the_day_archived_anew(base: Path) -> None:
    data.archive(base)
    path = base / "out/daily" / DATE / "processed/c.json"
    path.write_bytes(path.read_bytes().replace(b'"x"', b'"y"'))
    assert actions(base)[DATE] == Action.ARCHIVED_ANEW
    assert b'"y"' in contents(base)["processed/c.json"]


def test_a_result_late_for_a_day_that_was_cleaned_joins_those_that_only_the_archive_has(base: Path) -> None:
    data.archive(base)
    before = contents(base)
    data.clean_for_good(base)
    data.record_late(base)
    data.age(base)
    assert actions(base)[DATE] == Action.ARCHIVED_ANEW
    after = contents(base)
    assert {name: content for name, content in after.items() if name in before and name != "summary.json"} == {
        name: content for name, content in before.items() if name != "summary.json"
    }
    summary = json.loads(after["summary.json"])
    assert {one["job_id"] for one in summary["jobs"]} == {"a", "b", "c", "late"}
    assert summary["total_jobs"] == 4
    assert actions(base)[DATE] == Action.UNCHANGED


@pytest.mark.parametrize(("hour", "wins"), [(23, True), (0, False)])
def test_of_two_results_of_a_job_before_and_after_cleaning_the_newer_has_the_name_and_both_are_kept(
    base: Path, hour: int, wins: bool
) -> None:
    data.archive(base)
    before = contents(base)
    data.clean_for_good(base)
    again = result("c", job=data.job(DATE, 3, None), result={"text": "z"}, completed_at=f"2099-01-01T{hour:02}:00:00Z")
    if not wins:
        again["completed_at"] = f"{DATE}T00:00:00Z"
    data.record(base, again)
    data.age(base)
    late = (base / "out/daily" / DATE / "processed/c.json").read_bytes()
    data.archive(base)
    after = contents(base)
    (beside,) = (name for name in after if name.startswith("superseded/processed/c."))
    assert {after["processed/c.json"], after[beside]} == {late, before["processed/c.json"]}
    assert (after["processed/c.json"] == late) == wins
    assert list(after) == sorted(after, key=lambda name: (name == "summary.json", name))
    assert actions(base)[DATE] == Action.UNCHANGED
    assert not any(step.refused for step in data.clean(base))
    assert not (base / "out/daily" / DATE).exists()


def test_a_day_that_is_written_into_while_it_is_read_is_left_for_the_next_run(base: Path) -> None:
    late: list[None] = []

    def advance() -> None:
        if not late:
            late.append(None)
            data.record_late(base)

    archiver = Archiver(data.layout(base), str(base / "arch"), advance)
    assert [one.action for one in archiver.run([DATE], data.nothing_of)] == [Action.LEFT]
    assert not list((base / "arch").glob(f"{DATE}*"))
    assert actions(base)[DATE] == Action.ARCHIVED


def test_a_day_with_a_file_on_its_way_is_left_for_the_next_run(base: Path) -> None:
    with RecordWriter(str(base / "out")) as writer:
        writer.stage(result("d", job=data.job(DATE, 4)))
        writer.begin()
        assert actions(base)[DATE] == Action.LEFT


def test_a_link_is_no_file_to_archive_and_the_other_days_are_archived(base: Path) -> None:
    os.symlink("/etc/passwd", base / "out/daily" / DATE / "processed/x.json")
    (failed, *others) = data.archive(base)
    assert failed.action == Action.FAILED
    assert "processed/x.json" in failed.reason
    assert [one.action for one in others] == [Action.ARCHIVED] * 2


@pytest.mark.parametrize("also_late", [False, True])
@pytest.mark.parametrize("name", ["processed/c.json", "superseded/scrapers/nyc/a"])
def test_a_recording_that_was_cut_short_never_takes_the_place_of_the_whole_one_in_the_archive(
    base: Path, name: str, also_late: bool
) -> None:
    data.archive(base)
    before = contents(base)
    (path,) = (base / "out/daily" / DATE).glob(f"{name}*")
    path.write_bytes(path.read_bytes()[:10])
    if also_late:
        data.record_late(base)
    action, after = actions(base)[DATE], contents(base)
    assert action == (Action.UNCHANGED if after == before else Action.ARCHIVED_ANEW)
    assert all(after[name] == content for name, content in before.items() if name != "summary.json")
    jobs = [one["job_id"] for one in json.loads(after["summary.json"])["jobs"]]
    assert sorted(jobs) == ["a", "b", "c", *(["late"] if also_late else [])]
    assert list(after) == sorted(after, key=lambda name: (name == "summary.json", name))


def test_a_recording_that_rots_is_still_whole_in_the_archive_when_a_result_comes_late(base: Path) -> None:
    data.archive(base)
    before = contents(base)
    path = base / "out/daily" / DATE / "processed/c.json"
    stamp = path.stat()
    path.write_bytes(path.read_bytes().replace(b'"x"', b'"y"'))
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    data.record_late(base)
    data.archive(base)
    assert before["processed/c.json"] in contents(base).values()


def test_a_damaged_archive_is_made_anew_from_a_day_that_is_all_there(base: Path) -> None:
    data.archive(base)
    before = files(base)
    (path,) = (base / "arch").glob(f"{DATE}*.tar.zst")
    path.write_bytes(path.read_bytes()[:-1])
    assert actions(base)[DATE] == Action.ARCHIVED_ANEW
    assert files(base) == before


def test_a_damaged_archive_of_what_is_only_there_is_never_written_over(base: Path) -> None:
    data.archive(base)
    data.clean_for_good(base)
    data.record_late(base)
    (path,) = (base / "arch").glob(f"{DATE}*.tar.zst")
    path.write_bytes(damaged := path.read_bytes()[:-1])
    (failed, *_) = data.archive(base)
    assert failed.action == Action.FAILED
    assert str(path) in failed.reason
    assert path.read_bytes() == damaged


def test_a_second_archive_at_the_same_time_is_told_so_at_once(base: Path) -> None:
    with PackFolder(str(base / "arch")).writing(), pytest.raises(LockedError, match="another command"):
        data.archive(base)


def test_what_lies_beside_recordings_is_archived_too(base: Path) -> None:
    (base / "out/daily" / DATE / "notes.txt").write_text("a person's")
    (base / "out/daily" / DATE / ".hidden").write_text("nobody's")
    data.archive(base)
    assert contents(base)["notes.txt"] == b"a person's"
    assert ".hidden" not in contents(base)


def test_one_file_at_a_time_is_in_hand(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is written before the next is read, so that memory doesn't grow with the day."""
    read: list[int] = []
    written: list[int] = []
    real = tarfile.TarFile.addfile

    def add(*arguments: Any) -> None:
        written.append(len(read))
        real(*arguments)

    monkeypatch.setattr(tarfile.TarFile, "addfile", add)
    Archiver(data.layout(base), str(base / "arch"), lambda: read.append(1)).run([DATE], data.nothing_of)
    assert written == list(range(1, len(read) + 1))
