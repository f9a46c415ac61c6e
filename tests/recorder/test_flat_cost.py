"""A batch late in a day asks of the disk exactly what the first one did."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from pathlib import Path

import pytest

from app.recorder.write import RecordWriter
from app.store.layout import Layout
from tests.recording import result
from tests.store.faults import Disk

DAY = "2025-02-17"


def recorded(writer: RecordWriter, disk: Disk, batch: int) -> tuple[Counter[str], int]:
    """What it took to record ten results: steps on the disk and bytes of the journal; functions called."""
    journal = Layout(writer.layout.root).journal(DAY)
    before = os.path.getsize(journal)
    disk.calls.clear()
    steps: Counter[str] = Counter()
    sys.setprofile(lambda _frame, event, _argument: steps.update([event]))
    try:
        outcomes = writer.commit([writer.stage(result(f"job-{batch:05}-{number}")) for number in range(10)])
    finally:
        sys.setprofile(None)
    assert len(outcomes) == 10
    written = Counter({"journal bytes": os.path.getsize(journal) - before})
    return Counter(step for step, _ in disk.calls) + written, sum(steps.values())


def test_a_batch_after_15000_results_costs_the_steps_and_bytes_that_an_early_one_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = str(tmp_path / "out")
    with RecordWriter(root) as writer:
        disk = Disk(monkeypatch, root)
        writer.commit([writer.stage(result("first"))])
        early, early_calls = recorded(writer, disk, 1)
        lines = (
            {"name": f"scrapers/nyc/{n}.json", "job_id": str(n), "scraper_id": "nyc", "timestamp": f"{DAY}T00:00:00Z"}
            for n in range(15_000)
        )
        with open(writer.layout.journal(DAY), "a") as journal:  # as other recorders would have left it
            journal.write("".join(f"{json.dumps(line)}\n" for line in lines))
        recorded(writer, disk, 2)  # which reads what the others have left
        late, late_calls = recorded(writer, disk, 3)
        assert late == early
        assert late_calls < early_calls * 1.2  # how the threads take turns makes a few more
        assert early["fsync file"] == early["link"] == 10
        assert early["fsync folder"] == 1
