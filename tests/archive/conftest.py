from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.archive.audit import Result, audit
from app.archive.verify import Verifier
from app.recorder.write import RecordWriter
from tests.faults import data
from tests.recording import FIRST, result

DATE = "2025-02-17"
DAY = f"daily/{DATE}"

Damage = Callable[[Path], object]
"""Breaks a recorded day, given its folder."""


def job(hour: int, scraper_id: str | None = "nyc", **fields: Any) -> dict[str, Any]:
    return {**FIRST, "created_at": f"{DATE}T{hour:02}:00:00Z", "metadata": {"scraper_id": scraper_id}, **fields}


def record(output_dir: Path, *results: Any) -> None:
    with RecordWriter(str(output_dir)) as writer:
        for data in results:
            writer.commit([writer.stage(data)])


def check(output_dir: Path, *, repair: bool = False) -> Result:
    return audit(Verifier(str(output_dir), most_examples=5), repair=repair)


def problems(output_dir: Path) -> dict[str, int]:
    return {kind.value: count for kind, count in check(output_dir).findings.problems.items()}


@pytest.fixture(scope="session")
def recorded_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output_dir = tmp_path_factory.mktemp("recorded")
    record(
        output_dir,
        result("a", job=job(1)),
        result("b", job=job(2)),
        result("c", job=job(3, None)),
        result("a", job=job(4), result={"text": "another"}),
        result("old", job={**FIRST, "created_at": "2025-02-16T12:00:00Z"}),
    )
    with RecordWriter(str(output_dir)) as writer:
        writer.commit([writer.stage_quarantine("job-1", "no job_id", b"payload", {})])
    return output_dir


@pytest.fixture
def recorded(recorded_once: Path, tmp_path: Path) -> Path:
    """An OUTPUT_DIR with two days, a superseded result and one in quarantine, as a recorder leaves it."""
    return shutil.copytree(recorded_once, tmp_path / "out", symlinks=True)


@pytest.fixture
def day(recorded: Path) -> Path:
    return recorded / DAY


@pytest.fixture(scope="session")
def recorded_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three recorded days, with nothing archived; to be copied."""
    base = tmp_path_factory.mktemp("recorded-base")
    data.record_days(base)
    data.age(base)
    return base


@pytest.fixture(scope="session")
def archived_base(recorded_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, archived; to be copied."""
    base = shutil.copytree(recorded_base, tmp_path_factory.mktemp("archived") / "base", symlinks=True)
    data.archive(base)
    return base
