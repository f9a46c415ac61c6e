from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.archive.comparison import DayFiles, compare
from app.archive.findings import Kind
from app.store.layout import Place
from app.store.summary import Entry
from app.store.timestamps import sort_key

DATE = "2025-08-08"
ENTRIES = st.dictionaries(
    st.tuples(st.sampled_from(["nyc", "unknown", "\x1b"]), st.text(min_size=1, max_size=3)),
    st.integers(0, 23).map(lambda hour: f"{DATE}T{hour:02}:00:00.5Z"),
    min_size=1,
    max_size=6,
)


def files_of(entries: list[Entry]) -> DayFiles:
    files = DayFiles(DATE)
    for entry in entries:
        scraper_id = None if entry["scraper_id"] == "unknown" else entry["scraper_id"]
        files.enter(Place(DATE, scraper_id, entry["job_id"]).name, entry)
    return files


def summary_of(entries: list[Entry]) -> Any:
    times: dict[str, list[str]] = {}
    for entry in entries:
        times.setdefault(entry["scraper_id"], []).append(entry["timestamp"])
    scrapers = {
        name: {"count": len(all_), "first_job": min(all_, key=sort_key), "last_job": max(all_, key=sort_key)}
        for name, all_ in times.items()
    }
    return json.loads(json.dumps({"date": DATE, "total_jobs": len(entries), "scrapers": scrapers, "jobs": entries}))


def entries_of(jobs: dict[tuple[str, str], str]) -> list[Entry]:
    return [
        {"job_id": job_id, "scraper_id": scraper, "timestamp": timestamp}
        for (scraper, job_id), timestamp in jobs.items()
    ]


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path to every value in a summary, and to the whole."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, item in inside for found in leaves(item, (*path, key)))]


@given(ENTRIES)
def test_a_summary_of_the_files_agrees_with_them(jobs: dict[tuple[str, str], str]) -> None:
    entries = entries_of(jobs)
    assert not compare(files_of(entries), summary_of(entries), 5).findings.problems
    assert not compare(files_of(entries[::-1]), summary_of(entries), 5).findings.problems


@given(ENTRIES, st.data())
def test_any_value_that_is_changed_or_removed_is_a_problem(
    jobs: dict[tuple[str, str], str], data: st.DataObject
) -> None:
    entries = entries_of(jobs)
    summary = {"": summary_of(entries)}
    *way, last = data.draw(st.sampled_from([("", *path) for path in leaves(summary[""])]))
    place: Any = summary
    for step in way:
        place = place[step]
    if data.draw(st.booleans()) and last != "":
        del place[last]
    else:
        replacements: list[Any] = [
            None,
            True,
            -1,
            10**400,
            0.5,
            "",
            "none of them",
            "2024-01-01",
            [],
            {},
            [[]],
            {"job_id": "x"},
        ]
        place[last] = data.draw(st.sampled_from(replacements))
    assert compare(files_of(entries), summary[""], 5).findings.problems


@given(ENTRIES, st.data())
def test_a_file_more_or_less_is_a_problem(jobs: dict[tuple[str, str], str], data: st.DataObject) -> None:
    entries = entries_of(jobs)
    odd = data.draw(st.sampled_from(entries))
    rest = [entry for entry in entries if entry is not odd]
    fewer = compare(files_of(rest), summary_of(entries), 5)
    assert fewer.findings.problems[Kind.MISSING_FILE] == 1
    more = compare(files_of(entries), summary_of(rest), 5)
    assert more.findings.problems[Kind.NOT_IN_SUMMARY] == 1
    ((name, job),) = more.stale.items()
    assert name in fewer.stale
    removed = files_of(entries)
    removed.forget(name, job)
    assert compare(removed, summary_of(entries), 5).findings.problems == fewer.findings.problems


@pytest.mark.parametrize("error", [FileNotFoundError(2, "x"), ValueError("x"), PermissionError(13, "x")])
def test_a_day_without_recordings_needs_no_summary_but_one_that_can_be_read(error: Exception) -> None:
    expected = {} if isinstance(error, FileNotFoundError) else {Kind.SUMMARY_UNREADABLE: 1}
    assert compare(DayFiles(DATE), error, 5).findings.problems == expected
