"""`python -m bench.summaries`: what a day's summary costs its recorder when the day is huge.

A process of its own for each day adds that many entries, in batches as a recorder does, and writes the summary once.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time

from app.bouy.output import Output
from app.store.files import DurableFiles
from app.store.layout import Layout, Place
from app.store.summary import Day

_DAYS = (15_000, 150_000, 1_500_000)
_BATCH, _SCRAPERS = 100, 18
_DATE = "2025-02-17"


def main() -> int:
    """Print a table of all days."""
    rows = []
    for jobs in _DAYS:
        done = subprocess.run([sys.executable, "-m", "bench.summaries", str(jobs)], check=True, stdout=subprocess.PIPE)
        cost = json.loads(done.stdout)
        rows.append((f"{jobs:,}", *(f"{cost[name]:,.{digits}f}" for name, digits in _COLUMNS.items())))
    header = ("jobs of the day", *_COLUMNS)
    Output(os.environ, as_json=False, quiet=False, no_color=False).table(header, rows)
    return 0


_COLUMNS = {"us a job": 1, "summary, MB": 1, "writing it, ms": 0, "peak, MB": 0}


def measure(jobs: int) -> dict[str, float]:
    """What a day with so many jobs costs."""
    with tempfile.TemporaryDirectory() as folder:
        layout = Layout(folder)
        day = Day(layout, DurableFiles(folder, "bench"), _DATE)
        os.makedirs(layout.day(_DATE))
        begun_at = time.perf_counter()
        for first in range(0, jobs, _BATCH):
            day.append(dict(map(_entry, range(first, min(jobs, first + _BATCH)))))
            day.catch_up()
        added_at = time.perf_counter()
        day.flush()
        return {
            "us a job": (added_at - begun_at) / jobs * 1e6,
            "summary, MB": os.path.getsize(layout.summary(_DATE)) / 1e6,
            "writing it, ms": (time.perf_counter() - added_at) * 1e3,
            "peak, MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
        }


def _entry(number: int) -> tuple[str, dict[str, str]]:
    job_id, scraper = f"{number:08}-5b1f-4f9c-9d0e-3c6a1f0e7b52", f"scraper_{number % _SCRAPERS}"
    place = Place(_DATE, scraper, job_id)
    said = {"job_id": job_id, "scraper_id": scraper, "timestamp": f"{_DATE}T06:46:23.{number % 1_000_000:06}+00:00"}
    return place.name, said


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measure(int(sys.argv[1]))))
    else:
        sys.exit(main())
