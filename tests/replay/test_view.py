"""What a replay shows: complete, in sum, and harmless to a terminal."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from app.replay import view
from app.replay.load import Loaded
from app.replay.run import Report
from tests.replay.archive import recording, write
from tests.replay.test_processes import run


def test_the_json_report_stays_one_document_beside_verbose_and_adds_up(tmp_path: Path, database_url: str) -> None:
    write(tmp_path, recording("old", created_at="2025-08-07 08:00:00"))
    write(tmp_path, recording("new"))
    write(tmp_path, recording("no-scraper", scraper=None))
    write(tmp_path, b"{", "daily/2025-08-08/processed/cut.json")
    for unchanged in (0, 4):
        done = run(database_url, "--directory", tmp_path, "--json", "--verbose", code=1)
        report = json.loads(done.stdout)
        parts = (report["loaded"], report["superseded"], sum(report["rejected"].values()), report["unchanged"])
        assert parts == ((1, 1, 2, 0) if unchanged == 0 else (0, 0, 0, 4))
        assert report["found"] == sum(parts)
        assert len(done.stderr.splitlines()) == 4
    assert "unchanged: daily/2025-08-08/processed/no-scraper.json: no_scraper_id" in done.stderr


def test_what_the_database_refused_is_in_either_report() -> None:
    refused = [(f"daily/\x1b[31m{number}.json", "invalid \x07 input") for number in range(22)]
    report = Report(found=22, loaded=Loaded(rejected=Counter(refused_by_database=22), refused=refused))
    document = json.loads(view.report_document(report, "d@h:5432", dry_run=False))
    assert document["refused_by_database"][0] == {"path": "daily/\x1b[31m0.json", "reason": "invalid \x07 input"}
    lines = list(view.report_lines(report, dry_run=False))
    assert "  daily/\\x1b[31m19.json: invalid \\x07 input" in lines
    assert lines[-1] == "  and 2 more"
    assert all(line.isprintable() for line in lines)


def test_a_digest_of_a_database_that_holds_nothing_says_so(database_url: str) -> None:
    assert run(database_url, "--digest", code=3).stderr.startswith("replay: nothing was ever replayed into ")
