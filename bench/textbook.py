"""The recording function that one writes first, as the recorder's specification describes the files. Not durable.

It writes the result as indented JSON, then reads the day's summary, adds the job and writes the whole summary anew.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def record(data: dict[str, Any]) -> dict[str, Any]:
    """Record one result below OUTPUT_DIR."""
    output_dir = Path(os.environ["OUTPUT_DIR"])
    job_id, created_at = data["job_id"], str(data["job"]["created_at"])
    scraper_id = data["job"].get("metadata", {}).get("scraper_id")
    day = output_dir / "daily" / created_at[:10]
    folder = day / "scrapers" / scraper_id if scraper_id else day / "processed"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{job_id}.json"
    with path.open("w") as file:
        json.dump(data, file, indent=2)
    _summarize(day, job_id, scraper_id or "unknown", created_at)
    latest = output_dir / "latest"
    if not latest.is_symlink() or latest.resolve() != day.resolve():
        latest.unlink(missing_ok=True)
        latest.symlink_to(f"daily/{day.name}")
    return {"status": "completed", "error": None, "output_file": str(path)}


def add_to_summary(summary: dict[str, Any], job_id: str, scraper_id: str, created_at: str) -> None:
    """Add one job to a day's summary."""
    summary["total_jobs"] += 1
    entry = summary["scrapers"].setdefault(scraper_id, {"count": 0, "first_job": created_at, "last_job": created_at})
    entry["count"] += 1
    entry["first_job"] = min(entry["first_job"], created_at)
    entry["last_job"] = max(entry["last_job"], created_at)
    summary["jobs"].append({"job_id": job_id, "scraper_id": scraper_id, "timestamp": created_at})


def new_summary(day: str) -> dict[str, Any]:
    """The summary of a day without jobs."""
    return {"date": day, "total_jobs": 0, "scrapers": {}, "jobs": []}


def _summarize(day: Path, job_id: str, scraper_id: str, created_at: str) -> None:
    path = day / "summary.json"
    summary = json.loads(path.read_text()) if path.exists() else new_summary(day.name)
    add_to_summary(summary, job_id, scraper_id, created_at)
    with path.open("w") as file:
        json.dump(summary, file, indent=2)
