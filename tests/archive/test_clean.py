"""Cleaning: only what is proven elsewhere goes, by way of the trash, and what comes meanwhile stays."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path

import pytest

from app.archive.audit import audit
from app.archive.clean import Cleaner, Step, failed
from app.archive.packs import PackFolder
from app.archive.proof import Places
from app.archive.repair import rebuild_summary
from app.archive.retention import Policy
from app.archive.snapshots import Repository
from app.archive.trash import Trash
from app.archive.verify import Verifier
from app.recorder.write import RecordWriter
from app.store.errors import LockedError
from app.store.files import DurableFiles
from tests.faults import data
from tests.recording import result

FIRST, SECOND, LATEST = data.DAYS


@pytest.fixture
def base(archived_base: Path, tmp_path: Path) -> Path:
    return shutil.copytree(archived_base, tmp_path / "base", symlinks=True)


def days(base: Path) -> list[str]:
    return sorted(path.name for path in (base / "out/daily").iterdir())


def problems(base: Path) -> dict[str, int]:
    found = audit(Verifier(str(base / "out"), most_examples=5)).findings.problems
    return {kind.value: count for kind, count in found.items()}


def reasons(steps: list[Step]) -> dict[str, str]:
    return {step.date: step.decision.reason for step in steps}


def test_old_days_that_are_archived_go_and_latest_stays_however_old_it_is(base: Path) -> None:
    steps = data.clean(base)
    assert days(base) == [LATEST]
    assert not failed(steps)
    assert reasons(steps)[LATEST] == "latest leads to it"
    assert problems(base) == {}


def test_a_day_that_is_not_archived_stays_and_the_command_fails(base: Path) -> None:
    (base / "arch" / f"{FIRST}.manifest.json.zst").unlink()
    steps = data.clean(base)
    assert days(base) == [FIRST, LATEST]
    assert failed(steps)
    assert "not archived" in reasons(steps)[FIRST]


@pytest.mark.parametrize("position", [30, -30])
def test_a_day_whose_archive_has_a_flipped_byte_stays(base: Path, position: int) -> None:
    (path,) = (base / "arch").glob(f"{FIRST}*.tar.zst")
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
    assert failed(data.clean(base))
    assert days(base) == [FIRST, LATEST]


def test_a_day_with_a_result_that_the_archive_lacks_or_has_otherwise_stays(base: Path) -> None:
    data.record_late(base)
    changed = base / "out/daily" / SECOND / "processed/c.json"
    stamp = changed.stat()
    changed.write_bytes(changed.read_bytes().replace(b'"x"', b'"y"'))
    os.utime(changed, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    steps = data.clean(base)
    assert days(base) == list(data.DAYS)
    assert "scrapers/nyc/late.json isn't in" in reasons(steps)[FIRST]
    assert "processed/c.json isn't in" in reasons(steps)[SECOND]


@pytest.mark.parametrize("name", ["processed/link.json", ".hidden"])
def test_a_day_with_something_that_no_archive_holds_stays(base: Path, name: str) -> None:
    os.symlink("/etc/passwd", base / "out/daily" / FIRST / name)
    assert "which no archive holds" in reasons(data.clean(base))[FIRST]
    assert FIRST in days(base)


def test_unarchived_days_go_only_when_a_person_says_so(base: Path) -> None:
    for path in (base / "arch").iterdir():
        path.unlink()
    assert failed(data.clean(base))
    assert not failed(data.clean(base, unarchived=True))
    assert days(base) == [LATEST]


def test_a_day_in_a_backup_may_go_if_that_backup_is_named(base: Path) -> None:
    data.back_up(base)
    for path in (base / "arch").iterdir():
        path.unlink()
    repository = Repository(str(base / "backup"))
    snapshot = repository.newest()
    assert snapshot is not None
    places: Places = [(repository.packs, lambda day: repository.packs.manifest(snapshot.days[day]))]
    cleaner = Cleaner(data.layout(base), places, keep_summaries=False, advance=data.nothing)
    steps = cleaner.plan(Policy(older_than_days=7), data.TODAY, unarchived=False)
    assert [step.decision.remove for step in steps] == [True, True, False]


def test_a_day_that_is_being_written_stays(base: Path) -> None:
    with RecordWriter(str(base / "out")) as writer:
        writer.commit([writer.stage(result("d", job=data.job(FIRST, 4)))])
        data.archive(base)
        assert reasons(data.clean(base))[FIRST] == "a recorder is writing into it"


def test_a_day_that_a_recorder_has_had_open_for_long_may_go_and_its_late_results_are_recorded(base: Path) -> None:
    with RecordWriter(str(base / "out")) as writer:
        writer.commit([writer.stage(result("d", job=data.job(FIRST, 4)))])
        writer.flush(idle=True)
        data.archive(base)
        for path in [*(base / "out/daily" / FIRST).rglob("*"), base / "out/daily" / FIRST]:
            os.utime(path, (0, 0))
        data.clean(base)
        assert FIRST not in days(base)
        with pytest.raises(Exception, match="removed meanwhile"):
            writer.commit([writer.stage(result("e", job=data.job(FIRST, 5)))])  # tried again, as the worker does
        writer.commit([writer.stage(result("e", job=data.job(FIRST, 5)))])
    assert problems(base) == {}
    assert data.archive(base)[0].action == "archived anew"
    assert {"d", "e"} <= {Path(name).stem for name in data.archived(base / "arch") if FIRST in name}


def test_only_summaries_stay_and_verify_finds_nothing_wrong_with_them(base: Path) -> None:
    before = (base / "out/daily" / FIRST / "summary.json").read_bytes()
    data.clean_but_summaries(base)
    assert [str(p.relative_to(base / "out")) for p in (base / "out/daily" / FIRST).rglob("*.json")] == [
        f"daily/{FIRST}/summary.json"
    ]
    assert (base / "out/daily" / FIRST / "summary.json").read_bytes() == before
    assert problems(base) == {}
    assert not any(step.decision.remove for step in data.clean(base, keep_summaries=True))  # once is enough
    data.clean(base)
    assert days(base) == [LATEST]


def test_a_result_late_for_a_day_of_which_only_the_summary_is_left_joins_it_also_after_a_crash(base: Path) -> None:
    data.clean_but_summaries(base)
    data.record_late(base)
    summary = base / "out/daily" / FIRST / "summary.json"
    assert {one["job_id"] for one in json.loads(summary.read_bytes())["jobs"]} == {"a", "b", "c", "late"}
    rebuild_summary(data.layout(base), FIRST)  # as after a crash
    assert {one["job_id"] for one in json.loads(summary.read_bytes())["jobs"]} == {"a", "b", "c", "late"}
    assert problems(base) == {}


def test_a_late_result_that_is_cleaned_in_its_turn_leaves_the_others_in_the_summary(base: Path) -> None:
    data.clean_but_summaries(base)
    data.purge(base)
    data.record_late(base)
    data.age(base)
    data.archive(base)
    data.clean_but_summaries(base)
    for _ in range(2):
        summary = json.loads((base / "out/daily" / FIRST / "summary.json").read_bytes())
        assert {one["job_id"] for one in summary["jobs"]} == {"a", "b", "c", "late"}
        assert problems(base) == {}
        rebuild_summary(data.layout(base), FIRST)
    assert not any(FIRST in name for name in data.recordings(base / "out"))


def test_the_recordings_of_an_earlier_recorder_have_their_summary_kept_as_it_is(base: Path) -> None:
    (base / "out/daily" / FIRST / ".journal").unlink()
    data.clean_but_summaries(base)
    data.record_late(base)
    summary = json.loads((base / "out/daily" / FIRST / "summary.json").read_bytes())
    assert summary["total_jobs"] == 4


def test_undo_puts_back_what_was_there_byte_for_byte(base: Path) -> None:
    before = {path: path.read_bytes() for path in (base / "out/daily").rglob("*.json")}
    for command in (data.clean, data.clean_but_summaries):
        command(base)
        data.undo(base)
        assert {path: path.read_bytes() for path in (base / "out/daily").rglob("*.json")} == before
        assert problems(base) == {}
        assert not list((base / "out/.trash").iterdir())


def test_undo_keeps_what_was_recorded_since(base: Path) -> None:
    before = data.recordings(base / "out")
    data.clean(base)
    data.record_late(base)
    data.record(
        base, result("c", job=data.job(FIRST, 3, None), result={"text": "newer"}, completed_at="2099-01-01T00:00:00Z")
    )
    newer = data.recordings(base / "out")[f"daily/{FIRST}/processed/c.json"]
    data.undo(base)
    after = data.recordings(base / "out")
    assert after[f"daily/{FIRST}/processed/c.json"] == newer
    assert set(before.values()) < set(after.values())
    assert problems(base) == {}


def test_the_trash_is_emptied_after_24_hours_and_not_before(base: Path) -> None:
    data.clean(base)
    data.clean(base, now=data.NOW + timedelta(hours=23))
    assert len(Trash(data.layout(base)).entries()) == 2
    data.clean(base, now=data.NOW - timedelta(days=400))  # a clock that jumped back
    assert len(Trash(data.layout(base)).entries()) == 2
    data.clean(base, now=data.NOW + timedelta(hours=25))
    assert not list((base / "out/.trash").iterdir())


def come_late_before_the_move(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a result come for the first day when it was proven, right before it is moved."""
    real = DurableFiles.move

    def move(self: DurableFiles, path: str, target: str) -> None:
        if path.endswith(f"daily/{FIRST}"):
            data.record_late(base)
        real(self, path, target)

    monkeypatch.setattr(DurableFiles, "move", move)


def test_a_result_that_comes_between_the_proof_and_the_move_is_put_back(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    come_late_before_the_move(base, monkeypatch)
    data.clean_for_good(base)
    assert list(data.recordings(base / "out")) == [f"daily/{FIRST}/scrapers/nyc/late.json"] + [
        name for name in data.recordings(base / "out") if LATEST in name
    ]
    assert problems(base) == {}


def test_a_result_that_comes_between_the_proof_and_the_move_joins_the_summary_that_is_kept(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    come_late_before_the_move(base, monkeypatch)
    data.clean_but_summaries(base)
    summary = json.loads((base / "out/daily" / FIRST / "summary.json").read_bytes())
    assert {one["job_id"] for one in summary["jobs"]} == {"a", "b", "c", "late"}
    assert problems(base) == {}


@pytest.mark.parametrize("killed", [False, True])
def test_a_result_that_comes_while_a_day_is_put_back_stays_also_if_that_is_killed(
    base: Path, monkeypatch: pytest.MonkeyPatch, killed: bool
) -> None:
    before = data.recordings(base / "out")
    data.clean_but_summaries(base)
    real = DurableFiles.move

    def move(self: DurableFiles, path: str, target: str) -> None:
        if path.endswith(f"daily/{FIRST}"):
            data.record_late(base)
        real(self, path, target)
        if killed and target.endswith(f"daily/{FIRST}"):
            raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt) if killed else nullcontext():
        patched.setattr(DurableFiles, "move", move)
        data.undo(base)
    data.undo(base)
    late = f"daily/{FIRST}/scrapers/nyc/late.json"
    assert data.recordings(base / "out").keys() == before.keys() | {late}
    assert problems(base) == {}


def test_undo_keeps_what_a_person_put_into_a_day_that_was_cleaned(base: Path) -> None:
    before = data.recordings(base / "out")
    data.clean_but_summaries(base)
    (base / "out/daily" / FIRST / ".notes").write_text("a person's")
    data.undo(base)
    assert (base / "out/daily" / FIRST / ".notes").exists()
    assert data.recordings(base / "out") == before


@pytest.mark.parametrize("note", [b"{", b"null", b'{"date": "2001-01-01", "moved_at": "2001-01-01", "files": {}}'])
def test_a_day_in_the_trash_whose_note_is_damaged_goes_back_since_nothing_is_proven_of_it(
    base: Path, note: bytes
) -> None:
    before = data.recordings(base / "out")
    data.clean(base)
    for path in (base / "out/.trash").glob("*/note.json"):
        path.write_bytes(note)
    data.purge(base)
    assert data.recordings(base / "out") == before
    assert problems(base) == {}


def test_what_a_person_put_into_the_trash_stays(base: Path) -> None:
    data.clean(base)
    (base / "out/.trash/mine").mkdir()
    (base / "out/.trash/mine/notes.txt").write_text("a person's")
    data.purge(base)
    assert [path.name for path in (base / "out/.trash").rglob("*")] == ["mine", "notes.txt"]


def test_a_result_that_comes_between_the_two_moves_of_thinning_joins_the_summary(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = DurableFiles.move

    def move(self: DurableFiles, path: str, target: str) -> None:
        real(self, path, target)
        if path.endswith(f"daily/{FIRST}"):
            data.record_late(base)

    monkeypatch.setattr(DurableFiles, "move", move)
    data.clean_but_summaries(base)
    summary = json.loads((base / "out/daily" / FIRST / "summary.json").read_bytes())
    assert {one["job_id"] for one in summary["jobs"]} == {"a", "b", "c", "late"}
    assert problems(base) == {}


@pytest.mark.parametrize("to_trash", [True, False])
def test_a_day_that_changes_while_a_person_thinks_about_the_plan_stays(base: Path, to_trash: bool) -> None:
    packs = PackFolder(str(base / "arch"))
    cleaner = Cleaner(data.layout(base), [(packs, packs.manifest)], keep_summaries=False, advance=data.nothing)
    with Trash(data.layout(base)).changing():
        steps = cleaner.plan(Policy(older_than_days=7), data.TODAY, unarchived=False)
        data.record_late(base)
        changed = cleaner.apply(steps, data.NOW, to_trash=to_trash)
    assert [step.date for step in changed] == [FIRST]
    assert days(base) == [FIRST, LATEST]
    assert problems(base) == {}


def test_a_day_whose_folder_is_a_link_stays(base: Path) -> None:
    day = base / "out/daily" / FIRST
    day.rename(base / "elsewhere")
    day.symlink_to(base / "elsewhere")
    assert "link" in reasons(data.clean(base))[FIRST]
    assert day.is_symlink()


def test_a_second_clean_at_the_same_time_is_told_so_at_once(base: Path) -> None:
    with Trash(data.layout(base)).changing(), pytest.raises(LockedError, match="another command"):
        data.clean(base)


def test_what_a_folder_is_called_counts_and_not_when_it_was_written(base: Path) -> None:
    for path in [base / "out/daily" / LATEST, *(base / "out/daily" / LATEST).rglob("*")]:
        os.utime(path, (0, 0))
    os.utime(base / "out/daily" / FIRST)
    (base / "out/latest").unlink()
    assert [step.decision.remove for step in data.clean(base)] == [True, True, False]


def test_no_place_to_look_for_archives_is_no_proof(base: Path) -> None:
    packs = PackFolder(str(base / "nowhere"))
    cleaner = Cleaner(data.layout(base), [(packs, packs.manifest)], keep_summaries=False, advance=data.nothing)
    assert failed(cleaner.plan(Policy(older_than_days=7), data.TODAY, unarchived=False))
