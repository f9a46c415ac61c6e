from __future__ import annotations

from pathlib import Path

import pytest

from app.replay.plan import Found, Plan, Refused

RECORDING = b'{"job_id": "%s", "job": {"created_at": "2025-02-17T06:46:23Z"}, "result": {"text": "x"}}'


def put(root: Path, *names: str) -> None:
    """Recordings at these paths, each with its file name as its job_id."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(RECORDING % path.name.split(".")[0].encode())


def names(plan: Plan) -> list[str]:
    """What a plan finds, which must be all that it comes to."""
    items = list(plan)
    assert not [item for item in items if isinstance(item, Refused)]
    return [item.name for item in items if isinstance(item, Found)]


def refused(plan: Plan) -> dict[str, str]:
    """What a plan refuses, by file name."""
    return {Path(item.path).name: item.reason for item in plan if isinstance(item, Refused)}


ARCHIVE = (
    "daily/2025-01-02/processed/p.json",
    "daily/2025-01-02/scrapers/nyc/a-b.json",
    "daily/2025-01-02/scrapers/nyc/a.json",
    "daily/2025-01-02/superseded/scrapers/nyc/a.0123456789abcdef.json",
    "daily/2025-01-02/scrapers/summary/summary.json",
    "daily/2025-01-10/scrapers/Zoo/z.json",
    "daily/2025-01-10/scrapers/quarantine/q.json",
    "daily/2025-01-01/scrapers/nyc/b.json",
)
NO_RECORDINGS = (
    "daily/2025-01-02/summary.json",
    "daily/2025-01-02/.journal.json",
    "daily/2025-01-02/scrapers/nyc/.writer.1.tmp",
    "daily/2025-01-02/scrapers/nyc/.hidden.json",
    "daily/2025-01-02/scrapers/nyc/notes.txt",
    "daily/no-date/scrapers/nyc/n.json",
    "quarantine/2025-01-02/job.0123456789abcdef.json",
    ".recorder/state.json",
    "unrelated.json",
)
IN_ORDER = [
    "2025-01-01/scrapers/nyc/b.json",
    "2025-01-02/scrapers/nyc/a-b.json",
    "2025-01-02/superseded/scrapers/nyc/a.0123456789abcdef.json",
    "2025-01-02/scrapers/nyc/a.json",
    "2025-01-02/scrapers/summary/summary.json",
    "2025-01-02/processed/p.json",
    "2025-01-10/scrapers/Zoo/z.json",
    "2025-01-10/scrapers/quarantine/q.json",
]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """An OUTPUT_DIR with recordings of three days, and all that is none."""
    root = tmp_path / "outputs"
    put(root, *ARCHIVE, *NO_RECORDINGS)
    (root / "latest").symlink_to("daily/2025-01-10")
    return root
