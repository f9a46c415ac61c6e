"""The end of `bouy demo`: what it recorded is replayed into its own PostgreSQL."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from app.bouy import environment
from app.bouy.demo import Report
from app.bouy.local import Fleet
from app.store.errors import RecorderError


def replay_demo(fleet: Fleet, report: Report) -> dict[str, Any]:
    """Replay the days that were recorded: replay's own report, and ``tables``, the rows that the database has then."""
    days = ["--since", report.days[0], "--until", report.days[-1]] if report.days else []
    replayed = _replay(fleet, "--directory", report.output_dir, *days)
    return {**replayed, "tables": _replay(fleet, "--digest")["tables"]}


def _replay(fleet: Fleet, *arguments: str) -> dict[str, Any]:
    words = [sys.executable, "-P", "-m", "app.replay", "--json", *arguments]
    variables = {**environment.base(fleet.site.environ), **fleet.settings()}
    done = subprocess.run(words, cwd=fleet.site.root, env=variables, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):  # 1: there are damaged files, which the report tells of
        raise RecorderError(f"the replay failed: {done.stderr.strip()}")
    document: dict[str, Any] = json.loads(done.stdout)
    return document
