"""A backup is a snapshot beside recorders at work; a restore brings it back and overwrites nothing."""

from __future__ import annotations

import json
import os
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.archive.audit import audit
from app.archive.backup import Backup
from app.archive.findings import Kind
from app.archive.manifest import DamagedArchiveError
from app.archive.restore import Restore, Wanted, plan
from app.archive.snapshots import Repository
from app.archive.sources import open_source
from app.archive.verify import Verifier
from app.archive.verify_packs import PackVerifier, Reading, parse_share
from app.recorder.write import RecordWriter
from app.store.errors import LockedError, StorageError, UsageError
from tests.faults import data
from tests.recording import result

FIRST, SECOND, LATEST = data.DAYS


@pytest.fixture
def base(archived_base: Path, tmp_path: Path) -> Path:
    return shutil.copytree(archived_base, tmp_path / "base", symlinks=True)


@pytest.fixture
def backed_up(base: Path) -> Path:
    assert data.back_up(base).problems == []
    return base


def all_files(folder: Path) -> dict[str, bytes]:
    """What counts of an OUTPUT_DIR or an ARCHIVE_DIR."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    names = {path: str(path.relative_to(folder)) for path in found}
    return {name: path.read_bytes() for path, name in names.items() if not Path(name).parts[-1].startswith(".")} | {
        "latest": os.fsencode(os.readlink(folder / "latest")) if (folder / "latest").is_symlink() else b""
    }


def recorded(folder: Path) -> dict[str, bytes]:
    return {
        name: content for name, content in all_files(folder).items() if not name.startswith((".recorder", ".trash"))
    }


def restore(base: Path, source: str = "backup", *, merge: bool = False, **wanted: Any) -> Any:
    found = open_source(str(base / source), None)
    work = Restore(data.layout(base, "restored/out"), str(base / "restored/arch"), found, data.nothing)
    selected = Wanted(**{name: frozenset(values) for name, values in wanted.items()})
    steps = plan(found, selected)
    work.check(steps, merge=merge)
    return work.run(steps, selected)


def damage(path: Path, position: int = -20) -> Path:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
    return path


def test_everything_comes_back_byte_for_byte(backed_up: Path) -> None:
    restore(backed_up)
    assert recorded(backed_up / "restored/out") == recorded(backed_up / "out")
    assert all_files(backed_up / "restored/arch") == all_files(backed_up / "arch")
    assert audit(Verifier(str(backed_up / "restored/out"), most_examples=5)).holds


def test_what_is_restored_is_backed_up_and_archived_as_the_same_bytes(backed_up: Path) -> None:
    restore(backed_up)
    other = backed_up / "restored"
    assert {one.action for one in data.archive(other)} == {"unchanged"}
    data.back_up(other)
    packs = {path.name for path in (backed_up / "backup/packs").iterdir()}
    assert {path.name for path in (other / "backup/packs").iterdir()} == packs


def test_a_day_that_has_not_changed_is_not_written_again(backed_up: Path) -> None:
    before = {path: path.stat().st_ino for path in (backed_up / "backup/packs").iterdir() if path.is_file()}
    data.record_late(backed_up)
    data.age(backed_up)
    again = data.back_up(backed_up, data.NOW + timedelta(days=1))
    assert (again.written, again.unchanged) == (1, 6)  # of three days, one in quarantine, three archives
    after = {path: path.stat().st_ino for path in (backed_up / "backup/packs").iterdir() if path.is_file()}
    assert before.items() <= after.items()
    assert len(Repository(str(backed_up / "backup")).names()) == 2


def test_an_older_snapshot_can_be_restored(backed_up: Path) -> None:
    data.record_late(backed_up)
    data.back_up(backed_up, data.NOW + timedelta(days=1))
    first, second = Repository(str(backed_up / "backup")).names()
    sources = [open_source(str(backed_up / "backup"), name) for name in (first, second)]
    days = [source.manifest(source.days[FIRST]) for source in sources]
    assert ["scrapers/nyc/late.json" in day.files for day in days] == [False, True]
    with pytest.raises(UsageError, match="no such snapshot"):
        open_source(str(backed_up / "backup"), "2001-01-01_00-00-00")


def test_a_day_that_is_being_written_has_a_summary_of_just_what_was_taken(base: Path) -> None:
    with RecordWriter(str(base / "out")) as writer:
        writer.commit([writer.stage(result("d", job=data.job(LATEST, 4)))])  # the summary doesn't tell of it yet
        writer.stage(result("e", job=data.job(LATEST, 5)))
        writer.begin()
        data.back_up(base)
        writer.flush(idle=True)
    restore(base)
    assert f"daily/{LATEST}/scrapers/nyc/d.json" in recorded(base / "restored/out")
    assert audit(Verifier(str(base / "restored/out"), most_examples=5)).holds


def test_results_that_come_while_a_backup_is_made_are_in_it_or_in_the_next(base: Path) -> None:
    with RecordWriter(str(base / "out")) as writer:
        numbers = iter(range(1000))

        def advance() -> None:
            number = next(numbers)
            writer.commit([writer.stage(result(f"late-{number}", job=data.job(data.DAYS[number % 3], 9)))])
            writer.flush(idle=True)

        data.age(base)
        repository = Repository(str(base / "backup"))
        for hour in range(2):
            backup = Backup(data.layout(base), str(base / "arch"), repository, advance)
            assert backup.run(data.NOW + timedelta(hours=hour), lambda files: None).problems == []
    data.back_up(base, data.NOW + timedelta(days=1))
    restore(base)
    assert recorded(base / "restored/out").keys() == recorded(base / "out").keys()
    assert audit(Verifier(str(base / "restored/out"), most_examples=5)).holds


def test_a_day_of_which_only_the_summary_is_left_comes_back_as_that(base: Path) -> None:
    data.clean_but_summaries(base)
    data.back_up(base)
    restore(base)
    assert recorded(base / "restored/out") == recorded(base / "out")
    assert audit(Verifier(str(base / "restored/out"), most_examples=5)).holds


def test_a_restore_into_what_is_there_needs_to_be_told_to_merge(backed_up: Path) -> None:
    restore(backed_up)
    with pytest.raises(UsageError, match="something is recorded there already"):
        restore(backed_up)


def test_a_merge_adds_what_is_missing_and_leaves_what_differs_as_it_is(backed_up: Path) -> None:
    restore(backed_up)
    day = backed_up / "restored/out/daily" / FIRST
    (day / "processed/c.json").write_bytes(b'{"job_id": "c", "of": "somebody else"}')
    (day / "scrapers/nyc/a.json").unlink()
    shutil.rmtree(backed_up / "restored/out/daily" / SECOND)
    done = restore(backed_up, merge=True)
    assert done.differing == [f"daily/{FIRST}/processed/c.json"]
    assert b"somebody else" in (day / "processed/c.json").read_bytes()
    shutil.copyfile(backed_up / "out/daily" / FIRST / "processed/c.json", day / "processed/c.json")
    assert recorded(backed_up / "restored/out").keys() == recorded(backed_up / "out").keys()
    assert audit(Verifier(str(backed_up / "restored/out"), most_examples=5), repair=True).holds
    assert restore(backed_up, merge=True).placed == {"daily": 0, "quarantine": 0, "archive": 0}


def test_one_day_or_one_scraper_comes_back_alone_with_a_summary_that_is_true(backed_up: Path) -> None:
    restore(backed_up, days=[FIRST])
    restore(backed_up, scrapers=["sf/../x"], merge=True)
    found = {name for name in recorded(backed_up / "restored/out") if name.endswith("b.json")}
    assert found == {f"daily/{day}/scrapers/sf%2F..%2Fx/b.json" for day in data.DAYS}
    assert not (backed_up / "restored/out/daily" / SECOND / "processed").exists()
    assert (backed_up / "restored/out/daily" / FIRST / "processed/c.json").exists()
    assert audit(Verifier(str(backed_up / "restored/out"), most_examples=5)).holds


def test_a_day_that_was_cleaned_comes_back_from_its_archive(base: Path) -> None:
    before = data.recordings(base / "out")
    data.clean_for_good(base)
    data.back_up(base)
    for source in ("backup", "arch", f"arch/{next((base / 'arch').glob(f'{FIRST}*.tar.zst')).name}"):
        restore(base, source, days=[FIRST])
        restored = data.recordings(base / "restored/out")
        assert restored == {name: digest for name, digest in before.items() if FIRST in name}
        shutil.rmtree(base / "restored")


def test_a_day_of_which_only_the_summary_is_left_comes_back_whole_when_it_is_asked_for(base: Path) -> None:
    before = recorded(base / "out")
    data.clean_but_summaries(base)
    data.back_up(base)
    restore(base, days=[FIRST])
    restored = recorded(base / "restored/out")
    assert {name for name in restored if FIRST in name} == {name for name in before if FIRST in name}
    assert audit(Verifier(str(base / "restored/out"), most_examples=5)).holds


def jobs(base: Path, day: str = FIRST) -> set[str]:
    summary = json.loads((base / "out/daily" / day / "summary.json").read_bytes())
    assert summary["total_jobs"] == len(summary["jobs"])
    return {job["job_id"] for job in summary["jobs"]}


def test_a_merge_leaves_the_summary_of_a_day_that_was_cleaned_as_it_is(base: Path) -> None:
    data.clean_but_summaries(base)
    data.back_up(base)
    before = recorded(base / "out")
    data.restore(base, ".")
    assert recorded(base / "out") == before
    assert audit(Verifier(str(base / "out"), most_examples=5)).holds


def test_a_scraper_that_comes_back_leaves_the_others_in_the_summary_of_a_day_that_was_cleaned(base: Path) -> None:
    data.clean_but_summaries(base)
    data.back_up(base)
    source = open_source(str(base / "backup"), None)
    for scraper in ("nyc", "sf/../x"):
        wanted = Wanted(frozenset([FIRST]), frozenset([scraper]))
        Restore(data.layout(base), str(base / "arch"), source, data.nothing).run(plan(source, wanted), wanted)
        assert jobs(base) == {"a", "b", "c"}
        assert audit(Verifier(str(base / "out"), most_examples=5)).holds


def test_a_result_late_for_a_cleaned_day_that_was_restored_joins_its_summary(base: Path) -> None:
    data.clean_but_summaries(base)
    data.back_up(base)
    shutil.rmtree(base / "out")
    data.restore(base, ".")
    data.record_late(base)
    assert jobs(base) == {"a", "b", "c", "late"}
    assert audit(Verifier(str(base / "out"), most_examples=5)).holds


@pytest.mark.parametrize("wanted", [{"days": ["2001-01-01"]}, {"scrapers": ["nobody"]}])
def test_what_is_not_there_can_not_be_restored(backed_up: Path, wanted: Any) -> None:
    with pytest.raises(UsageError, match=r"no such day|no recording of nobody"):
        restore(backed_up, **wanted)


@pytest.mark.parametrize("what", ["tar", "manifest.json"])
def test_a_damaged_pack_is_named_and_nothing_of_its_day_appears(backed_up: Path, what: str) -> None:
    path = damage(next((backed_up / "backup/packs").glob(f"{SECOND}*.{what}.zst")))
    with pytest.raises(DamagedArchiveError, match=path.name):
        restore(backed_up)
    assert not (backed_up / "restored/out/daily" / SECOND).exists()
    assert not [
        name for name in recorded(backed_up / "restored/out") if name.startswith(".restoring/") and "json" in name
    ]


def test_a_pack_that_is_damaged_or_gone_is_written_again_by_the_next_backup(backed_up: Path) -> None:
    next((backed_up / "backup/packs").glob(f"{FIRST}*.tar.zst")).unlink()
    damage(next((backed_up / "backup/packs").glob(f"{SECOND}*.manifest.json.zst")))
    assert data.back_up(backed_up, data.NOW + timedelta(days=1)).problems == []
    assert (
        not PackVerifier(Reading(1), most_examples=1, advance=data.nothing)
        .check_backup(str(backed_up / "backup"))
        .problems
    )


@pytest.mark.parametrize("pattern", ["packs/*.tar.zst", "packs/*.manifest.json.zst", "snapshots/*.json"])
@pytest.mark.parametrize("position", [0, 100, -1])
def test_verify_finds_a_flipped_byte_of_a_backup_and_names_the_file(
    backed_up: Path, pattern: str, position: int
) -> None:
    path = damage(next((backed_up / "backup").glob(pattern)), position)
    findings = PackVerifier(Reading(1), most_examples=5, advance=data.nothing).check_backup(str(backed_up / "backup"))
    assert [example.path for example in findings.examples[Kind.ARCHIVE_DAMAGED]] == [str(path)]


def test_verify_reads_as_much_as_it_is_told_and_at_least_one() -> None:
    keys = [f"{number}" for number in range(200)]
    assert len(parse_share("10%").chosen(keys)) == 20
    assert len(parse_share("0.1%").chosen(keys)) == 1
    assert parse_share("100%").chosen(keys) == set(keys)
    assert Reading().chosen(keys) == set()
    for text in ("0%", "101%", "10", "-1%", "%"):
        with pytest.raises(UsageError, match="not a share"):
            parse_share(text)


def test_a_backup_inside_of_what_it_backs_up_is_refused(base: Path) -> None:
    for inside in ("out/backup", "arch", "out"):
        repository = Repository(str(base / inside))
        with pytest.raises(UsageError, match="inside"):
            Backup(data.layout(base), str(base / "arch"), repository, data.nothing).run(data.NOW, lambda files: None)


def test_a_disk_that_is_not_mounted_is_not_backed_up_as_an_empty_one(backed_up: Path) -> None:
    for name in ("out", "arch"):
        shutil.rmtree(backed_up / name)
    (backed_up / "out/daily").mkdir(parents=True)
    with pytest.raises(UsageError, match="is the disk mounted"):
        data.back_up(backed_up, data.NOW + timedelta(days=1))
    assert len(Repository(str(backed_up / "backup")).names()) == 1


def test_the_newest_snapshot_comes_last_also_after_a_clock_that_was_ahead(backed_up: Path) -> None:
    data.back_up(backed_up, data.NOW + timedelta(days=400))
    data.record_late(backed_up)
    data.back_up(backed_up, data.NOW + timedelta(days=1))
    source = open_source(str(backed_up / "backup"), None)
    assert "scrapers/nyc/late.json" in source.manifest(source.days[FIRST]).files


def test_a_second_backup_at_the_same_time_is_told_so_at_once(backed_up: Path) -> None:
    with Repository(str(backed_up / "backup")).packs.writing(), pytest.raises(LockedError, match="another command"):
        data.back_up(backed_up)


def test_what_a_killed_backup_left_goes_with_the_next_and_a_person_s_files_stay(backed_up: Path) -> None:
    packs = backed_up / "backup/packs"
    shutil.copyfile(next(packs.glob(f"{FIRST}*.tar.zst")), packs / f"{FIRST}.{'0' * 12}.tar.zst")
    (packs / "notes.txt").write_text("a person's")
    (backed_up / "backup/snapshots/.archive-1.0.tmp").write_text("half")
    data.back_up(backed_up, data.NOW + timedelta(days=1))
    assert not (packs / f"{FIRST}.{'0' * 12}.tar.zst").exists()
    assert not (backed_up / "backup/snapshots/.archive-1.0.tmp").exists()
    assert (packs / "notes.txt").exists()


def test_the_last_pack_of_a_day_stays_whatever_becomes_of_the_snapshots(backed_up: Path) -> None:
    packs, snapshots = backed_up / "backup/packs", backed_up / "backup/snapshots"
    before = data.recordings(backed_up / "out")
    shutil.rmtree(backed_up / "arch")
    shutil.rmtree(backed_up / "out/daily" / FIRST)  # as `clean --backup` may
    for number in range(2):  # lost; or thinned out by a person, who thinks that newer ones have it all
        shutil.rmtree(snapshots)
        assert data.back_up(backed_up, data.NOW + timedelta(days=number)).problems == []
        (pack,) = packs.glob(f"{FIRST}*.tar.zst")
    damage(pack)
    findings = PackVerifier(Reading(1.0), most_examples=3, advance=data.nothing).check_backup(str(backed_up / "backup"))
    assert [example.path for example in findings.examples[Kind.ARCHIVE_DAMAGED]] == [str(pack)]
    damage(pack)
    restore(backed_up, f"backup/packs/{pack.name}")
    assert data.recordings(backed_up / "restored/out").items() <= before.items()


def test_a_pack_with_what_the_needed_one_of_its_day_lacks_stays(backed_up: Path) -> None:
    (old,) = (backed_up / "backup/packs").glob(f"{FIRST}*.tar.zst")
    (snapshot,) = (backed_up / "backup/snapshots").iterdir()
    shutil.rmtree(backed_up / "arch")
    shutil.rmtree(backed_up / "out/daily" / FIRST)
    data.record_late(backed_up)
    for number in (1, 2):
        snapshot.unlink(missing_ok=True)
        assert data.back_up(backed_up, data.NOW + timedelta(days=number)).snapshot.days[FIRST] not in old.name
    assert old.exists()


def test_packs_of_removed_snapshots_go_when_the_others_have_all_that_is_in_them(backed_up: Path) -> None:
    (old,) = (backed_up / "backup/packs").glob(f"{FIRST}*.tar.zst")
    (snapshot,) = (backed_up / "backup/snapshots").iterdir()
    data.record_late(backed_up)
    data.archive(backed_up)
    data.back_up(backed_up, data.NOW + timedelta(days=1))
    snapshot.unlink()
    (new,) = set((backed_up / "backup/packs").glob(f"{FIRST}*.tar.zst")) - {old}
    whole = new.read_bytes()
    damage(new)
    data.back_up(backed_up, data.NOW + timedelta(days=2))
    assert old.exists(), "what is damaged has nothing"
    new.write_bytes(whole)
    data.back_up(backed_up, data.NOW + timedelta(days=3))
    assert not old.exists()
    assert not old.with_name(old.name.replace(".tar.zst", ".manifest.json.zst")).exists()


def test_a_person_s_files_beside_the_dumps_stay_and_dumps_too_while_no_snapshot_has_one(base: Path) -> None:
    folder = base / "backup/database"
    folder.mkdir(parents=True)
    names = {"mine.sql", f"{'0' * 12}.sql.zst"}
    for name in names:
        (folder / name).write_text("a person's")
    data.back_up(base)
    data.back_up(base, data.NOW + timedelta(days=1))
    assert {path.name for path in folder.iterdir()} == names


def test_a_day_that_only_an_older_snapshot_has_is_asked_for_with_its_name(backed_up: Path) -> None:
    shutil.rmtree(backed_up / "arch")
    shutil.rmtree(backed_up / "out/daily" / FIRST)
    (name,) = Repository(str(backed_up / "backup")).names()
    data.back_up(backed_up, data.NOW + timedelta(days=1))
    with pytest.raises(UsageError, match=f"--snapshot {name} has it"):
        restore(backed_up, days=[FIRST])
    with pytest.raises(UsageError, match="a backup's packs"):
        restore(backed_up, "backup/packs")


def test_a_snapshot_of_another_sum_than_its_name_says_is_damaged_though_it_can_be_read(backed_up: Path) -> None:
    (path,) = (backed_up / "backup/snapshots").iterdir()
    path.write_bytes(path.read_bytes().replace(b"2025-03-20T", b"2025-03-21T"))
    with pytest.raises(DamagedArchiveError, match="aren't those that were written"):
        open_source(str(backed_up / "backup"), None)


def test_a_restore_that_would_not_fit_is_not_begun(backed_up: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.statvfs(backed_up)

    class Full:
        f_bavail, f_frsize = 1, real.f_frsize

    monkeypatch.setattr(os, "statvfs", lambda _: Full)
    with pytest.raises(StorageError, match="MiB are needed"):
        restore(backed_up)
    assert not (backed_up / "restored").exists()


def test_the_original_of_another_name_is_no_backup(base: Path, tmp_path: Path) -> None:
    for path in (str(base / "out"), str(base / "nowhere"), str(base / "out/latest/summary.json")):
        with pytest.raises(UsageError):
            open_source(path, None)
    (base / "empty/snapshots").mkdir(parents=True)
    with pytest.raises(UsageError, match="no backup was finished"):
        open_source(str(base / "empty"), None)
