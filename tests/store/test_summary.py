from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from app.store import encode, record, scan
from app.store.errors import StorageError
from app.store.files import DurableFiles
from app.store.layout import Layout
from app.store.summary import FLUSH_INTERVAL_S, Day, Entry
from app.store.timestamps import format_timestamp
from tests.store.faults import Disk

DATE = "2025-08-08"
START = datetime(2025, 8, 8, tzinfo=UTC)

SCRAPERS = st.sampled_from(["nyc", "foodhelp", "unknown", "../x", "\ud800"])
MICROSECONDS = st.one_of(
    st.integers(0, 86_399_999_999), st.integers(0, 86_399).map(lambda seconds: seconds * 1_000_000)
)
ENTRIES = st.builds(
    lambda number, scraper, moment: (
        f"processed/{number}.json",
        {
            "job_id": str(number),
            "scraper_id": scraper,
            "timestamp": format_timestamp(START + timedelta(microseconds=moment)),
        },
    ),
    st.integers(0, 30),
    SCRAPERS,
    MICROSECONDS,
)


def entry(number: int, *, scraper: str = "nyc", hour: int = 1) -> tuple[str, Entry]:
    name = f"scrapers/{scraper}/job-{number}.json"
    return name, {"job_id": f"job-{number}", "scraper_id": scraper, "timestamp": f"{DATE}T{hour:02}:00:00Z"}


def add_file(layout: Layout, number: int, *, scraper: str = "nyc", hour: int = 1) -> tuple[str, Entry]:
    name, line = entry(number, scraper=scraper, hour=hour)
    data = {"job_id": line["job_id"], "job": {"created_at": line["timestamp"], "metadata": {"scraper_id": scraper}}}
    path = Path(layout.day(DATE), name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(record.build(data, enqueued_at=None, now=datetime.now(UTC)).content)
    return name, line


def record_in(day: Day, layout: Layout, *numbers: int, **options: Any) -> None:
    """What a recorder does: the files, then the journal."""
    day.append(dict(add_file(layout, number, **options) for number in numbers))


def summary(layout: Layout) -> dict[str, Any]:
    loaded = json.loads(Path(layout.summary(DATE)).read_bytes())
    assert isinstance(loaded, dict)
    return loaded


def recounted(layout: Layout) -> list[Entry]:
    """The day's lines as its files say them, in no particular order."""
    names = scan.recording_names(layout, DATE)
    return [record.read_entry(DATE, Path(layout.day(DATE), name).read_bytes())[1] for name in names]


def assert_exact(layout: Layout) -> None:
    found, lines = summary(layout), recounted(layout)
    key = json.dumps
    assert sorted(map(key, found["jobs"])) == sorted(map(key, lines))
    assert found["total_jobs"] == len(lines)
    assert found["scrapers"] == naive_scrapers(found["jobs"])


def naive_scrapers(jobs: list[Entry]) -> dict[str, Any]:
    scrapers: dict[str, Any] = {}
    for job in jobs:
        times = [datetime.fromisoformat(one["timestamp"]) for one in jobs if one["scraper_id"] == job["scraper_id"]]
        scrapers[job["scraper_id"]] = {
            "count": len(times),
            "first_job": format_timestamp(min(times)),
            "last_job": format_timestamp(max(times)),
        }
    return scrapers


@pytest.fixture
def day(layout: Layout, files: DurableFiles) -> Day:
    os.makedirs(layout.day(DATE))
    return Day(layout, files, DATE)


@pytest.fixture
def another(layout: Layout, files: DurableFiles) -> Callable[[], Day]:
    """Another recorder's view of the same day."""
    return lambda: Day(layout, files, DATE)


def test_the_summary_has_the_keys_and_the_order_of_the_specification(layout: Layout, day: Day) -> None:
    record_in(day, layout, 1, scraper="nyc_efap_programs", hour=3)
    record_in(day, layout, 2, scraper="foodhelp_org", hour=2)
    record_in(day, layout, 3, scraper="nyc_efap_programs", hour=1)
    day.flush()
    assert Path(layout.summary(DATE)).read_text() == (
        """{
  "date": "2025-08-08",
  "total_jobs": 3,
  "scrapers": {
    "nyc_efap_programs": {
      "count": 2,
      "first_job": "2025-08-08T01:00:00Z",
      "last_job": "2025-08-08T03:00:00Z"
    },
    "foodhelp_org": {
      "count": 1,
      "first_job": "2025-08-08T02:00:00Z",
      "last_job": "2025-08-08T02:00:00Z"
    }
  },
  "jobs": [
    {
      "job_id": "job-1",
      "scraper_id": "nyc_efap_programs",
      "timestamp": "2025-08-08T03:00:00Z"
    },
    {
      "job_id": "job-2",
      "scraper_id": "foodhelp_org",
      "timestamp": "2025-08-08T02:00:00Z"
    },
    {
      "job_id": "job-3",
      "scraper_id": "nyc_efap_programs",
      "timestamp": "2025-08-08T01:00:00Z"
    }
  ]
}
"""
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(ENTRIES, max_size=5), max_size=8))
@example([[("processed/1.json", {"job_id": "1", "scraper_id": "x", "timestamp": f"{DATE}T00:00:00Z"})]] * 2)
def test_the_fold_counts_what_a_naive_count_counts(
    layout: Layout, files: DurableFiles, chunks: list[list[tuple[str, Entry]]]
) -> None:
    shutil.rmtree(layout.daily, ignore_errors=True)
    os.makedirs(layout.day(DATE))
    writer = Day(layout, files, DATE)
    expected: dict[str, Entry] = {}
    for chunk in chunks:
        writer.append(dict(chunk))
        expected.update(chunk)
    for reader in (writer, Day(layout, files, DATE)):
        reader.catch_up()
        found = encode.load(reader.render())
        assert found["jobs"] == list(expected.values())
        assert found["total_jobs"] == len(expected)
        assert found["scrapers"] == naive_scrapers(list(expected.values()))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 2), st.lists(st.integers(0, 40), max_size=4), st.booleans()), max_size=12))
def test_recorders_that_append_in_turns_all_end_with_the_same_exact_summary(
    layout: Layout, files: DurableFiles, turns: list[tuple[int, list[int], bool]]
) -> None:
    shutil.rmtree(layout.daily, ignore_errors=True)
    os.makedirs(layout.day(DATE))
    recorders = [Day(layout, files, DATE) for _ in range(3)]
    for who, numbers, flush in turns:
        record_in(recorders[who], layout, *numbers)
        if flush:
            recorders[who].flush()
    for one in recorders:
        one.close()
        assert not one.dirty
    assert len({one.render() for one in recorders}) == 1
    if any(numbers for _, numbers, _ in turns):
        assert_exact(layout)


def test_a_recorder_sees_what_another_appended_before_it_flushes(
    layout: Layout, day: Day, another: Callable[[], Day]
) -> None:
    other = another()
    record_in(day, layout, 1)
    record_in(other, layout, 2)
    day.flush()
    assert summary(layout)["total_jobs"] == 2


def test_a_summary_that_overwrote_a_newer_one_is_written_again_on_closing(
    layout: Layout, day: Day, another: Callable[[], Day], files: DurableFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = another()
    record_in(day, layout, 1)
    real = files.write

    def slow_write(path: str, content: bytes) -> None:
        monkeypatch.setattr(files, "write", real)
        record_in(other, layout, 2)
        other.close()  # between our reading and our writing
        real(path, content)

    monkeypatch.setattr(files, "write", slow_write)
    day.close()
    assert summary(layout)["total_jobs"] == 2
    assert_exact(layout)


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_chunk_cut_short_by_a_crash_costs_neither_the_journal_nor_the_day(
    layout: Layout, day: Day, another: Callable[[], Day], cut: int
) -> None:
    record_in(day, layout, 1)
    record_in(day, layout, 2, 3)
    journal = Path(layout.journal(DATE))
    journal.write_bytes(journal.read_bytes()[: -cut * 10])
    after = another()
    after.reconcile()
    record_in(after, layout, 4)
    after.flush()
    assert_exact(layout)
    assert summary(layout)["total_jobs"] == 4
    assert another().entries == after.entries


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00" * 300, b"{", b"[]", b"5", b"null", b'"text"', b"{}", b'{"name": 5}', b'{"name": []}', b'{"name": "x"}',
        b'{"name": "x", "job_id": "a"}', b"\xff\xfe", b"[" * 5000, b'{"name": "never", "gone": true}', b"\r", b" ",
    ],
    ids=repr,
)  # fmt: skip
def test_garbage_in_the_journal_is_passed_over(
    layout: Layout, day: Day, another: Callable[[], Day], garbage: bytes
) -> None:
    record_in(day, layout, 1)
    with open(layout.journal(DATE), "ab") as journal:
        journal.write(garbage)
    record_in(day, layout, 2)
    day.close()
    assert_exact(layout)
    again = another()
    again.close()
    assert_exact(layout)


def test_a_line_that_is_still_being_written_is_read_when_it_is_whole(layout: Layout, day: Day) -> None:
    name, line = add_file(layout, 1)
    chunk = json.dumps({"name": name, **line}).encode() + b"\n"
    for part in (chunk[:10], chunk[10:-1]):
        with open(layout.journal(DATE), "ab") as journal:
            journal.write(part)
        day.catch_up()
        assert day.entries == {}
    with open(layout.journal(DATE), "ab") as journal:
        journal.write(chunk[-1:])
    day.catch_up()
    assert day.entries == {name: line}


@pytest.mark.parametrize("after", [0, 1, 50])
@pytest.mark.parametrize("how", ["deleted", "emptied", "replaced"])
def test_a_journal_that_somebody_takes_away_is_made_again_from_the_files(
    layout: Layout, day: Day, another: Callable[[], Day], how: str, after: int
) -> None:
    record_in(day, layout, 1, 2, 3)
    day.flush()
    journal = Path(layout.journal(DATE))
    if how == "emptied":
        os.truncate(journal, 0)
    else:
        journal.unlink()
        if how == "replaced":
            other = another()
            record_in(other, layout, 4)
    record_in(day, layout, *range(10, 10 + after))
    day.close()
    assert_exact(layout)
    again = another()
    again.close()
    assert_exact(layout)
    assert len(again.entries) == 3 + after + (how == "replaced")


def test_a_journal_taken_away_before_its_writer_has_read_it_is_made_again_too(layout: Layout, day: Day) -> None:
    record_in(day, layout, 1, 2, 3)
    os.unlink(layout.journal(DATE))
    day.close()
    assert_exact(layout)


def test_a_journal_replaced_by_a_longer_one_is_read_from_its_beginning(
    layout: Layout, day: Day, another: Callable[[], Day]
) -> None:
    record_in(day, layout, 1)
    day.flush()
    journal = Path(layout.journal(DATE))
    journal.rename(journal.with_name("kept-so-that-its-inode-is-not-reused"))
    for number in range(10, 40):
        add_file(layout, number, hour=0)  # entered before the line that we know
    another()
    record_in(day, layout, 50)
    day.close()
    assert_exact(layout)


def test_files_missing_from_the_journal_and_files_that_are_gone_are_reconciled(layout: Layout, day: Day) -> None:
    record_in(day, layout, 1, 2, 3)
    os.unlink(Path(layout.day(DATE), entry(2)[0]))
    add_file(layout, 5, hour=7)
    add_file(layout, 4, hour=6)
    day.reconcile()
    day.flush()
    assert [job["job_id"] for job in summary(layout)["jobs"]] == ["job-1", "job-3", "job-4", "job-5"]
    assert_exact(layout)
    size = os.path.getsize(layout.journal(DATE))
    day.reconcile()
    assert os.path.getsize(layout.journal(DATE)) == size


def test_a_gone_file_that_comes_back_is_counted_again(layout: Layout, day: Day) -> None:
    record_in(day, layout, 1)
    path = Path(layout.day(DATE), entry(1)[0])
    content = path.read_bytes()
    path.unlink()
    day.reconcile()
    assert day.entries == {}
    path.write_bytes(content)
    day.reconcile()
    day.flush()
    assert_exact(layout)


def test_a_day_of_an_earlier_recorder_gets_a_true_summary(layout: Layout, another: Callable[[], Day]) -> None:
    for number, hour in [(1, 5), (2, 3), (3, 4)]:
        add_file(layout, number, hour=hour)
    old = {"job_id": "old", "job": {"created_at": f"{DATE} 00:15:00.5"}, "result": None}
    Path(layout.day(DATE), "processed").mkdir()
    Path(layout.day(DATE), "processed/old.json").write_text(json.dumps(old))
    Path(layout.summary(DATE)).write_text('{"total_jobs": 9999')
    day = another()
    assert day.dirty
    day.flush()
    assert [job["job_id"] for job in summary(layout)["jobs"]] == ["old", "job-2", "job-3", "job-1"]
    assert summary(layout)["jobs"][0] == {
        "job_id": "old",
        "scraper_id": "unknown",
        "timestamp": "2025-08-08T00:15:00.500000Z",
    }
    assert_exact(layout)


def test_a_day_made_anew_is_as_its_files_say_whatever_the_journal_says(
    layout: Layout, day: Day, another: Callable[[], Day]
) -> None:
    record_in(day, layout, 1, 2, 3, 4)
    day.flush()
    add_file(layout, 1, hour=9)
    name, _ = entry(2)
    os.unlink(f"{layout.day(DATE)}/{name}")
    damaged, line = entry(3)
    Path(layout.day(DATE), damaged).write_bytes(b"{")
    add_file(layout, 5)
    Path(layout.summary(DATE)).write_bytes(b"[]")
    anew = another()
    anew.rebuild()
    anew.close()
    assert [job["job_id"] for job in summary(layout)["jobs"]] == ["job-1", "job-3", "job-4", "job-5"]
    assert summary(layout)["jobs"][0]["timestamp"] == f"{DATE}T09:00:00Z"
    assert line in summary(layout)["jobs"]  # it was recorded, though it can't be read now
    day.close()
    assert another().entries == anew.entries


def test_a_day_whose_journal_is_right_gets_its_summary_anew(layout: Layout, day: Day) -> None:
    record_in(day, layout, 1)
    day.flush()
    os.unlink(layout.summary(DATE))
    day.rebuild()
    day.flush()
    assert_exact(layout)


def test_an_empty_day_is_not_dirty_and_gets_no_summary(layout: Layout, day: Day) -> None:
    assert not day.dirty
    day.close()
    assert not os.path.exists(layout.summary(DATE))


def test_damaged_files_and_strangers_are_no_recordings(layout: Layout, another: Callable[[], Day]) -> None:
    add_file(layout, 1)
    folder = Path(layout.day(DATE), "scrapers/nyc")
    for name, content in {
        "empty.json": b"", "cut.json": b'{"job_id": "a', "zeros.json": b"\0" * 50, "list.json": b"[]",
        "other.json": b"{}", ".hidden.json": b'{"job_id": "h"}', ".w.0.tmp": b'{"job_id": "t"}', "x.txt": b"x",
        "deep.json": b"[" * 50_000,
    }.items():  # fmt: skip
        (folder / name).write_bytes(content)
    (folder / "folder.json").mkdir()
    (folder / "link.json").symlink_to(folder / "job-1.json")
    Path(layout.day(DATE), "superseded/processed").mkdir(parents=True)
    Path(layout.day(DATE), "superseded/processed/old.0123456789abcdef.json").write_bytes(b'{"job_id": "old"}')
    day = another()
    day.flush()
    assert [job["job_id"] for job in summary(layout)["jobs"]] == ["job-1"]


def test_a_recording_that_the_journal_says_two_things_of_is_as_its_file_says(
    layout: Layout, day: Day, another: Callable[[], Day]
) -> None:
    other = another()
    _, stale = entry(1, hour=1)
    name, newest = add_file(layout, 1, hour=2)
    other.append({name: newest})
    day.append({name: stale})  # a slow recorder, whose file was replaced before it came to this
    for one in (other, day):
        one.close()
    assert summary(layout)["jobs"] == [newest]
    third = another()
    third.close()
    assert third.entries == {name: newest}


def test_the_same_recording_twice_is_one_line(layout: Layout, day: Day) -> None:
    for _ in range(3):
        record_in(day, layout, 1)
    day.flush()
    assert summary(layout)["total_jobs"] == 1


def test_nothing_is_written_while_nothing_changes(layout: Layout, day: Day, disk: Disk) -> None:
    record_in(day, layout, 1)
    day.flush()
    before = len(disk.done("replace"))
    for _ in range(3):
        day.catch_up()
        day.flush()
        day.flush_if_due(idle=True)
    assert len(disk.done("replace")) == before == 1


def test_under_load_the_summary_is_written_at_most_once_a_second(
    layout: Layout, day: Day, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    for number in range(100):
        record_in(day, layout, number)
        day.flush_if_due(idle=False)
        now += FLUSH_INTERVAL_S / 10
    assert len(disk.done("replace")) == 10
    now += FLUSH_INTERVAL_S
    day.flush_if_due(idle=False)
    assert_exact(layout)


def test_when_the_queue_is_idle_the_summary_is_written_at_once(
    layout: Layout, day: Day, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.monotonic", lambda: 1000.0)
    for number in range(3):
        record_in(day, layout, number)
        day.flush_if_due(idle=True)
        assert_exact(layout)


def test_a_closed_day_is_as_durable_as_its_recordings(layout: Layout, day: Day, disk: Disk) -> None:
    record_in(day, layout, 1)
    day.flush()
    day.close()
    journal = layout.journal(DATE)
    writes = [index for index, call in enumerate(disk.calls) if call == ("write", journal)]
    assert disk.calls.index(("fsync file", journal)) > writes[-1]


@pytest.mark.parametrize("step", ["open", "write"])
def test_a_journal_that_can_not_be_written_is_an_error_and_made_good_by_the_next_try(
    layout: Layout, day: Day, disk: Disk, step: str
) -> None:
    disk.refuse(step, errno.ENOSPC, times=1)
    chunk = dict([add_file(layout, 1)])
    disk.refuse(step, errno.ENOSPC, times=1)
    with pytest.raises(StorageError, match=os.strerror(errno.ENOSPC)) as refused:
        day.append(chunk)
    assert refused.value.path == layout.journal(DATE)
    day.append(chunk)
    day.flush()
    assert_exact(layout)


def test_a_chunk_of_which_the_disk_took_only_a_part_is_an_error(
    layout: Layout, day: Day, another: Callable[[], Day], monkeypatch: pytest.MonkeyPatch
) -> None:
    chunk = dict(add_file(layout, number) for number in (1, 2))
    real = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda handle, data: real(handle, data[:150]))
        with pytest.raises(StorageError, match="no space left"):
            day.append(chunk)
    day.append(chunk)
    day.flush()
    assert_exact(layout)
    assert another().entries == chunk


@pytest.mark.parametrize("step", ["open", "write", "fsync file", "replace", "fsync folder"])
def test_a_summary_that_can_not_be_written_stays_due(layout: Layout, day: Day, disk: Disk, step: str) -> None:
    record_in(day, layout, 1)
    day.flush()
    record_in(day, layout, 2)
    disk.refuse(step, errno.ENOSPC, times=1)
    with pytest.raises(StorageError):
        day.flush()
    assert day.dirty
    assert json.loads(Path(layout.summary(DATE)).read_bytes())["total_jobs"] in (1, 2)
    day.flush()
    assert_exact(layout)


def test_a_day_removed_under_us_does_not_stop_the_recorder(layout: Layout, day: Day) -> None:
    record_in(day, layout, 1)
    day.flush()
    record_in(day, layout, 2)
    shutil.rmtree(layout.day(DATE))
    day.flush()
    assert not day.dirty
    assert not os.path.exists(layout.day(DATE))
    record_in(day, layout, 3)
    day.close()
    assert_exact(layout)


def test_any_name_goes_through_the_journal_unchanged(layout: Layout, day: Day, another: Callable[[], Day]) -> None:
    line = {"job_id": 'a\n"b\\\ud800\x00ü', "scraper_id": "\u2028 \udfff", "timestamp": f"{DATE}T01:00:00Z"}
    day.append({"processed/odd.json": line})
    assert another().entries == {"processed/odd.json": line}
    assert encode.load(another().render())["jobs"] == [line]
