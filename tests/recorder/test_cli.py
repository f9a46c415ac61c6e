"""`python -m app.recorder` and `record_result` as a user meets them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from app.recorder.utils import record_result
from tests.conftest import free_port, recorder_process

ROOT = Path(__file__).resolve().parents[2]


def test_without_redis_url_it_says_so_in_one_line_and_exits_with_2(tmp_path: Path) -> None:
    process = recorder_process("", tmp_path)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 2
    assert errors == "recorder: REDIS_URL is not set (for example REDIS_URL=redis://127.0.0.1:6379/0)\n"


def test_an_unusable_setting_is_named(tmp_path: Path) -> None:
    process = recorder_process("redis://127.0.0.1", tmp_path, RECORDER_BATCH_SIZE="many")
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "RECORDER_BATCH_SIZE" in errors
    assert "Traceback" not in errors


def test_an_unusable_url_is_named(tmp_path: Path) -> None:
    process = recorder_process("http://somewhere", tmp_path)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "REDIS_URL" in errors
    assert "Traceback" not in errors


def test_burst_without_a_redis_ends_with_3(tmp_path: Path) -> None:
    process = recorder_process(f"redis://:secret@127.0.0.1:{free_port()}", tmp_path, "--burst")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 3
    assert "can't reach Redis" in errors
    assert "secret" not in errors
    assert "Traceback" not in errors


def test_help_and_wrong_arguments() -> None:
    command = [sys.executable, "-m", "app.recorder"]
    shown = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "--burst" in shown.stdout
    wrong = subprocess.run([*command, "--nonsense"], capture_output=True, text=True, check=False, cwd=ROOT)
    assert wrong.returncode == 2
    assert "--nonsense" in wrong.stderr
    assert "Traceback" not in wrong.stderr


SPEC_DATA = {
    "job_id": "test-123",
    "job": {"created_at": "2025-01-15T10:00:00Z", "metadata": {"scraper_id": "test"}},
    "result": {"text": "test content"},
    "status": "completed",
}


@pytest.fixture
def output_dir(clean_environment: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    clean_environment.setenv("OUTPUT_DIR", str(tmp_path))
    return tmp_path


def test_a_direct_call_records_and_says_where(output_dir: Path) -> None:
    path = output_dir / "daily/2025-01-15/scrapers/test/test-123.json"
    for _ in range(2):
        assert record_result(SPEC_DATA) == {"status": "completed", "error": None, "output_file": str(path)}
    assert json.loads(path.read_bytes())["result"] == {"text": "test content"}
    summary = json.loads((output_dir / "daily/2025-01-15/summary.json").read_bytes())
    assert summary == {
        "date": "2025-01-15",
        "total_jobs": 1,
        "scrapers": {"test": {"count": 1, "first_job": "2025-01-15T10:00:00Z", "last_job": "2025-01-15T10:00:00Z"}},
        "jobs": [{"job_id": "test-123", "scraper_id": "test", "timestamp": "2025-01-15T10:00:00Z"}],
    }
    assert not list(output_dir.rglob("superseded"))
    assert not list((output_dir / ".recorder").glob("*.writer"))


def test_a_direct_call_that_can_not_record_says_why_and_keeps_it(output_dir: Path) -> None:
    cycle: dict[str, object] = {"job_id": "cycle"}
    cycle["self"] = cycle
    for data, reason in (({"job": {}}, "no job_id"), (cycle, "contains itself"), (None, "NoneType")):
        answer = record_result(data)  # type: ignore[arg-type]
        assert answer["status"] == "failed"
        assert answer["output_file"] is None
        assert reason in answer["error"]
    assert len(list(output_dir.glob("quarantine/*/*.json"))) == 3


def test_a_direct_call_into_a_folder_that_can_not_be_written_says_so(
    clean_environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    clean_environment.setenv("OUTPUT_DIR", str(tmp_path / "file" / "below"))
    answer = record_result(SPEC_DATA)
    assert answer["status"] == "failed"
    assert str(tmp_path / "file") in answer["error"]
