from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from app.recorder.write import RecordWriter
from app.store import scan
from app.store.errors import UsageError
from app.store.reading import recordings
from tests.recording import result

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "replay-to-queue.md").read_text()


def job(day: str, scraper_id: str | None) -> dict[str, Any]:
    return {"created_at": f"{day}T10:00:00Z", "metadata": {"scraper_id": scraper_id}}


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    with RecordWriter(str(tmp_path)) as writer:
        for data in (
            result("2", job=job("2025-08-02", "nyc_efap_programs")),
            result("1/x", job=job("2025-08-02", "nyc_efap_programs")),
            result("1", job=job("2025-08-02", "a b")),
            result("p", job=job("2025-08-02", None)),
            result("old", job=job("2025-07-31", "nyc_efap_programs")),
            result("old", job=job("2025-07-31", "nyc_efap_programs"), result={"text": "another"}),
            result("big", job=job("2025-08-03", "zoo"), number=2**80 + 1),
        ):
            writer.commit([writer.stage(data)])
    return tmp_path


def found(output_dir: Path, **selected: Any) -> list[tuple[str, str, str]]:
    return [(each.date, each.scraper_id, each.job_id) for each in recordings(output_dir, **selected)]


def test_recordings_come_by_date_scraper_and_name_without_older_versions(recorded: Path) -> None:
    assert found(recorded) == [
        ("2025-07-31", "nyc_efap_programs", "old"),
        ("2025-08-02", "unknown", "p"),
        ("2025-08-02", "a b", "1"),
        ("2025-08-02", "nyc_efap_programs", "1/x"),
        ("2025-08-02", "nyc_efap_programs", "2"),
        ("2025-08-03", "zoo", "big"),
    ]
    (zoo,) = recordings(recorded, scrapers={"zoo"})
    assert zoo.data is not None
    assert zoo.data["number"] == 2**80 + 1
    assert zoo.path == f"{recorded}/daily/2025-08-03/scrapers/zoo/big.json"


def test_dates_and_scrapers_select(recorded: Path) -> None:
    assert len(found(recorded, since=date(2025, 8, 2))) == 5
    assert len(found(recorded, until=date(2025, 8, 2))) == 5
    assert found(recorded, since=date(2025, 8, 2), until=date(2025, 8, 2), scrapers=["a b", "unknown"]) == [
        ("2025-08-02", "unknown", "p"),
        ("2025-08-02", "a b", "1"),
    ]


def test_a_damaged_recording_is_reported_in_its_place_and_the_others_go_on(recorded: Path) -> None:
    path = recorded / "daily/2025-08-02/scrapers/a%20b/1.json"
    path.write_bytes(b'{"job_id": ')
    (recorded / "daily/2025-08-02/scrapers/a%20b/%2Fetc.json").write_bytes(b"[]")
    damaged = [each for each in recordings(recorded) if each.data is None]
    assert [(each.scraper_id, each.job_id) for each in damaged] == [("a b", "/etc"), ("a b", "1")]
    assert all(each.damage for each in damaged)
    assert damaged[1].path == str(path)
    assert len(found(recorded)) == 7


def test_a_link_is_not_read(recorded: Path, tmp_path: Path) -> None:
    (recorded / "daily/2025-08-03/scrapers/zoo/link.json").symlink_to("big.json")
    assert len(found(recorded)) == 6


def test_a_recording_that_becomes_a_link_meanwhile_is_reported(recorded: Path) -> None:
    iterator = recordings(recorded, scrapers=["nyc_efap_programs"], since=date(2025, 8, 1))
    next(iterator)
    path = recorded / "daily/2025-08-02/scrapers/nyc_efap_programs/2.json"
    path.unlink()
    path.symlink_to("/etc/hostname")
    (last,) = iterator
    assert last.data is None


def test_what_is_removed_meanwhile_is_left_out(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    iterator = recordings(recorded)
    assert next(iterator).job_id == "old"
    real = scan.recording_folders

    def then_removed(*arguments: Any) -> list[str]:
        folders = real(*arguments)
        shutil.rmtree(recorded / "daily/2025-08-02/scrapers/a%20b", ignore_errors=True)
        return folders

    monkeypatch.setattr(scan, "recording_folders", then_removed)
    assert next(iterator).job_id == "p"
    assert next(iterator).job_id == "1/x"
    (recorded / "daily/2025-08-02/scrapers/nyc_efap_programs/2.json").unlink()
    assert [each.job_id for each in iterator] == ["big"]


def test_a_folder_without_recordings_is_wrong_use_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no recordings"):
        recordings(tmp_path)


def test_every_recording_of_the_real_day_is_read(real_day: Path, tmp_path: Path) -> None:
    (tmp_path / "daily").mkdir()
    (tmp_path / "daily/2025-08-08").symlink_to(real_day)
    some = {"nyc_efap_programs", sorted(os.listdir(real_day / "scrapers"))[0]}
    read = list(recordings(tmp_path, scrapers=some))
    assert len(read) == sum(len(list((real_day / "scrapers" / name).glob("*.json"))) for name in some) > 0
    assert not [each for each in read if each.damage]


def examples() -> Iterator[str]:
    yield from re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_the_example_on_the_page_runs_as_it_stands(
    recorded: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(recorded.parent)
    (recorded.parent / "outputs").symlink_to(recorded)
    (recorded / "daily/2025-08-02/scrapers/nyc_efap_programs/2.json").write_bytes(b"")
    (example,) = examples()
    exec(example, {})  # noqa: S102 - our own page
    first, second = capsys.readouterr().out.splitlines()
    assert first == "2025-08-02 nyc_efap_programs 1/x completed"
    assert second.startswith("damaged: outputs/daily/2025-08-02/scrapers/nyc_efap_programs/2.json ")
