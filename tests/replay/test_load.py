"""Replay is repeatable: whatever the order, the parts and the interruptions, the same recordings give the same rows."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from app.replay import workers
from app.replay.database import Database
from app.replay.hsds import identity
from app.replay.hsds.mapping import map_recording
from app.replay.load import Loaded, Loader
from app.replay.plan import Selection, directory_plan
from app.replay.records import prepare
from tests.replay.archive import many, recording, write
from tests.replay.database import all_rows, digest_of, query, replay_folder, replay_items
from tests.replay.hsds.model import fold

RECORDINGS = many(120)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archive")
    for one in RECORDINGS:
        write(folder, one)
    return folder


def expected() -> dict[str, dict[UUID, dict[str, Any]]]:
    """What the reference model makes of the recordings, with numbers as the database gives them."""
    return {
        table: {
            key: {name: Decimal(said) if isinstance(said, int) else said for name, said in fields.items()}
            for key, fields in rows.items()
        }
        for table, rows in fold(map(map_recording, RECORDINGS)).items()
    }


def test_the_rows_are_those_of_the_reference_model(archive: Path, database_url: str) -> None:
    report = replay_folder(archive, database_url)
    assert all_rows(database_url) == expected()
    loaded = report.loaded
    assert (report.found, loaded.accepted, report.rejected.total()) == (122, 120, 2)
    assert report.rejected == {"no_scraper_id": 1, "llm_error": 1}
    outcomes = dict(query(database_url, "SELECT outcome, count(*) FROM replay_record GROUP BY outcome"))
    assert outcomes == {
        "loaded": loaded.accepted - loaded.superseded,
        "superseded": loaded.superseded,
        "rejected": 2,
    }
    assert loaded.superseded > 20
    counts = {table: len(rows) for table, rows in all_rows(database_url).items()}
    assert {table: rows["inserted"] - rows["deleted"] for table, rows in loaded.rows.items()} == counts


def test_twice_changes_nothing_and_says_so(archive: Path, database_url: str) -> None:
    replay_folder(archive, database_url)
    before = digest_of(database_url)
    report = replay_folder(archive, database_url)
    assert (report.found, report.unchanged, report.loaded.accepted, report.loaded.rows) == (122, 122, 0, {})
    assert digest_of(database_url) == before


@pytest.mark.parametrize("seed", range(4))
def test_shuffled_and_in_parts_it_is_the_same(
    archive: Path, database_url: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    replay_folder(archive, database_url)
    before = digest_of(database_url)
    query(database_url, "DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    monkeypatch.setattr(workers, "_CHUNK_FILES", 17)
    items = list(directory_plan(str(archive), Selection()))
    random.Random(seed).shuffle(items)
    half = len(items) // 2
    for part in (items[:half], items[half - 10 :], items[:5]):
        replay_items(part, database_url)
    assert all_rows(database_url) == expected()
    assert digest_of(database_url) == before


def test_day_by_day_backwards_is_the_same(archive: Path, database_url: str) -> None:
    replay_folder(archive, database_url)
    before = digest_of(database_url)
    query(database_url, "DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    for day in sorted((archive / "daily").iterdir(), reverse=True):
        replay_folder(day, database_url)
    assert digest_of(database_url) == before


def test_a_newer_recording_of_a_source_replaces_the_older_ones_rows_and_an_older_one_never_does(
    tmp_path: Path, database_url: str
) -> None:
    old = recording("a", "Old name", created_at="2025-08-08 01:00:00", answer={"services": [{"name": "Diapers"}]})
    new = recording("b", "New name", created_at="2025-08-09 01:00:00")
    write(tmp_path, old)
    replay_folder(tmp_path, database_url)
    assert query(database_url, "SELECT name FROM organization") == [("Old name",)]
    write(tmp_path, new)
    report = replay_folder(tmp_path, database_url)
    assert (report.loaded.accepted, report.loaded.superseded, report.loaded.replaced) == (1, 0, 1)
    assert query(database_url, "SELECT name FROM organization") == [("New name",)]
    assert query(database_url, "SELECT name FROM service") == [("Groceries",)]
    assert report.loaded.rows["service"] == {"inserted": 1, "updated": 0, "deleted": 1}
    write(tmp_path, recording("c", "Oldest name", created_at="2025-08-01 01:00:00"))
    report = replay_folder(tmp_path, database_url)
    assert (report.loaded.accepted, report.loaded.superseded) == (1, 1)
    assert query(database_url, "SELECT name FROM organization") == [("New name",)]
    assert query(database_url, "SELECT DISTINCT outcome FROM replay_record WHERE job_id IN ('a', 'c')") == [
        ("superseded",)
    ]


def test_of_two_sources_that_speak_of_one_row_the_latest_says_each_field(tmp_path: Path, database_url: str) -> None:
    write(tmp_path, recording("late", source=1, created_at="2025-08-09 01:00:00", answer={"description": "late"}))
    early = {"description": "early", "website": "https://early.example"}
    write(tmp_path, recording("early", source=2, created_at="2025-08-08 01:00:00", answer=early))
    replay_folder(tmp_path, database_url)
    assert query(database_url, "SELECT description, website FROM organization") == [("late", "https://early.example")]
    assert query(
        database_url,
        "SELECT job_id, fields->>'description' FROM record_source WHERE table_name = 'organization' ORDER BY 1",
    ) == [("early", "early"), ("late", "late")]


def test_of_equally_late_recordings_the_same_one_wins_in_whatever_order_they_come(
    tmp_path: Path, database_url: str
) -> None:
    pairs: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "job_id": ({"job_id": "a"}, {"job_id": "b"}),
        "case": ({"job_id": "B"}, {"job_id": "a"}),
        "completed": ({"completed_at": "2025-08-08T09:00:00Z"}, {"completed_at": "2025-08-08T10:00:00Z"}),
        "not completed": ({"completed_at": None}, {"completed_at": "2025-08-08T10:00:00Z"}),
        "content": ({}, {}),
    }
    winners = []
    for case, pair in pairs.items():
        for sources in ((1, 1), (1, 2)):  # of one source, and of two that speak of one row
            name = f"By {case} of {len(set(sources))}"
            files = []
            for place, (fields, source) in enumerate(zip(pair, sources, strict=True)):
                said = {"answer": {"description": str(place)}, "job_id": "a", "source": f"{name} {source}", **fields}
                one = json.dumps(recording(name=name, **said)).encode()
                files.append(write(tmp_path / str(place), one, f"{name}.json"))
            greater = max(files, key=lambda file: sha256(file.read_bytes()).digest()) if case == "content" else files[1]
            winners.append((name, greater.parent.name))
    for parts in ("0", "1"), ("1", "0"), (".",):
        query(database_url, "DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        for part in parts:
            replay_folder(tmp_path / part, database_url)
        assert query(database_url, 'SELECT name, description FROM organization ORDER BY name COLLATE "C"') == sorted(
            winners
        )


def test_what_other_rules_mapped_is_mapped_again(
    archive: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    replay_folder(archive, database_url)
    before = digest_of(database_url)
    outdate = "UPDATE replay_record SET mapping_version = -1"
    query(database_url, outdate)
    with monkeypatch.context() as other_rules:
        other_rules.setattr(identity, "_NAMESPACE_BYTES", bytes(16))
        replay_folder(archive, database_url)
    assert digest_of(database_url) != before
    query(database_url, f"{outdate} WHERE job_id BETWEEN 'job-0000' AND 'job-0049'")
    report = replay_folder(archive, database_url)
    assert (report.loaded.accepted, report.unchanged) == (50, 72)
    query(database_url, outdate)
    report = replay_folder(archive, database_url)
    assert not report.loaded.refused
    assert digest_of(database_url) == before
    assert query(database_url, "SELECT count(*) FROM job_result") == [(122,)]


def test_the_same_file_twice_is_one_recording_and_its_last_place_is_known(tmp_path: Path, database_url: str) -> None:
    first = write(tmp_path, recording("a"))
    twin = tmp_path / "copies" / "2025-08-08" / "scrapers" / "nyc" / "other.json"
    twin.parent.mkdir(parents=True)
    twin.write_bytes(first.read_bytes())
    report = replay_folder(tmp_path, database_url)
    assert (report.found, report.loaded.accepted, report.unchanged) == (2, 1, 1)
    first.unlink()
    replay_folder(tmp_path, database_url)
    paths = query(database_url, "SELECT path FROM replay_record UNION ALL SELECT path FROM job_result")
    assert paths == [("daily/2025-08-08/scrapers/nyc/other.json",)] * 2


def test_every_recording_comes_back_whole(tmp_path: Path, database_url: str) -> None:
    odd: list[Any] = [
        recording("plain", unknown={"field": [1, None, True]}),
        recording("exact", n=0.1, big=2**80, tiny=1e-300),
        recording("nul", text="a\0b"),
        recording("surrogate", text="\ud800"),
        {**recording("no format"), "job": {"metadata": {"scraper_id": "x"}}},
        {**recording("error"), "error": {"code": 1}, "status": "failed", "retry_count": 2, "processing_time": 1.5},
    ]
    for number, one in enumerate(odd):
        write(tmp_path, json.dumps(one).encode(), f"{number}.json")
    write(tmp_path, b'{"job_id": "digits", "job": {"created_at": "2025-08-08"}, "n": 0.1234567890123456789}', "d.json")
    write(tmp_path, b'{"job_id": "nan", "job": {"created_at": "2025-08-08"}, "n": NaN}', "n.json")
    assert replay_folder(tmp_path, database_url).damaged == 0
    kept = query(
        database_url,
        "SELECT r.job_id, r.document, r.raw, f.schema FROM job_result AS r"
        " LEFT JOIN job_format AS f ON f.sha256 = r.format_sha256",
    )
    as_text = {job_id: raw for job_id, _, raw, _ in kept if raw is not None}
    assert set(as_text) == {"nul", "surrogate", "digits", "nan"}
    assert as_text["digits"] == (tmp_path / "d.json").read_text()
    assert json.loads(as_text["nul"])["text"] == "a\0b"
    assert json.loads(as_text["surrogate"])["text"] == "\ud800"
    for job_id, document, raw, schema in kept:
        if raw is None:
            if schema is not None:
                document["job"]["format"] = schema
            (original,) = (one for one in odd if one["job_id"] == job_id)
            assert document == original
    assert query(database_url, "SELECT count(*) FROM job_format") == [(1,)]


def test_the_real_recordings_come_back_whole(real_day: Path, database_url: str) -> None:
    folder = real_day / "scrapers" / "freshtrak"
    replay_folder(folder, database_url, limit=100)
    for path, document, raw, schema in query(
        database_url,
        "SELECT path, document, raw, schema FROM job_result JOIN job_format ON job_format.sha256 = format_sha256",
    ):
        document["job"]["format"] = schema
        content = (real_day.parent / path.removeprefix("daily/")).read_text()
        assert json.loads(content) == document
        assert raw in (None, content)
    assert query(database_url, "SELECT count(*) FROM job_result") == [(100,)]


def test_what_the_database_refuses_is_kept_as_text_and_the_others_are_loaded(tmp_path: Path, database_url: str) -> None:
    contents = [
        write(tmp_path, recording(f"job-{number}", f"P{number}", source=number)).read_bytes() for number in range(5)
    ]
    chunk = [prepare(content, str(number), sha256(content).digest()) for number, content in enumerate(contents)]
    for number, table, whole, broken in ((1, "record_source", b"-", b"x"), (3, "job_result", b"{", b"[")):
        lines = chunk[number].lines
        chunk[number] = replace(chunk[number], lines={**lines, table: lines[table].replace(whole, broken, 1)})
    with Database(database_url) as database:
        database.migrate()
        loader = Loader(database, Loaded(), lambda text: None)
        loader.load(chunk)
    assert (loader.loaded.accepted, loader.loaded.rejected) == (3, {"refused_by_database": 2})
    assert [path for path, _ in loader.loaded.refused] == ["1", "3"]
    assert query(database_url, "SELECT name FROM organization ORDER BY 1") == [("P0",), ("P2",), ("P4",)]
    assert query(database_url, "SELECT path FROM job_result ORDER BY 1") == [("0",), ("1",), ("2",), ("4",)]
    assert query(database_url, "SELECT path, reason FROM replay_record WHERE reason IS NOT NULL ORDER BY 1") == [
        ("1", "refused_by_database"),
        ("3", "refused_by_database"),
    ]
    reasons = query(database_url, "SELECT raw FROM quarantine WHERE reason = 'refused_by_database' ORDER BY path")
    assert "invalid input syntax for type uuid" in reasons[0][0]


def test_a_row_that_is_said_no_more_goes_with_all_that_hangs_on_it(tmp_path: Path, database_url: str) -> None:
    write(tmp_path, recording("a"))
    replay_folder(tmp_path, database_url)
    assert {"location", "phone", "schedule", "service_at_location"} < set(all_rows(database_url))
    write(tmp_path, recording("b", created_at="2025-08-09 01:00:00", answer={"locations": [], "services": []}))
    replay_folder(tmp_path, database_url)
    assert set(all_rows(database_url)) == {"organization"}
