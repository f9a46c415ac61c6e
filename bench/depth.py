"""What a job costs at the start of a day, and when the day has thousands.

This recorder records whole days in one go; its variants then go on with the last of them. For the textbook function a
day is made up: its summary holds so many jobs. Who writes bare files finds a folder that holds so many empty ones.
Floors that write nothing can't depend on it; they keep their figure.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median

from bench.contenders import Contender, Family
from bench.figures import Point
from bench.floors import LEVELS
from bench.textbook import add_to_summary, new_summary
from bench.trial import Bench, Trial
from bench.workload import DAY

_WRITE_NOTHING = frozenset(f"floor-{level}" for level in LEVELS[:3])


def windows(samples: Sequence[tuple[float, int]], width: int) -> list[Point]:
    """The cost over each `width` jobs of a run, at the number of jobs before them."""
    last = samples[-1][1]
    marks = [_time_of(samples, number) for number in range(0, last + 1, width)]
    return [Point(number * width, (end - begin) / width * 1e3) for number, (begin, end) in enumerate(pairwise(marks))]


def medians(runs: Sequence[Sequence[Point]]) -> list[Point]:
    """The median of several runs, window by window."""
    return [Point(points[0].depth, median(point.ms_per_job for point in points)) for points in zip(*runs, strict=True)]


def _time_of(samples: Sequence[tuple[float, int]], number: int) -> float:
    """When so many jobs were finished: between two samples, as if jobs were finished at a steady pace."""
    (before_at, before) = (0.0, 0)
    for at, done in samples:
        if done >= number:
            return before_at + (at - before_at) * (number - before) / (done - before)
        before_at, before = at, done
    return before_at


def at_depth(bench: Bench, contender: Contender, depth: int, count: int) -> Trial:
    """A run on a made-up day that has so many jobs already; not for this recorder."""
    folder = bench.lab.new_folder(f"{contender.name}-{depth}")
    if contender.family is Family.TEXTBOOK:
        _prefill_summary(bench, folder, depth)
    else:
        for number in range(depth):
            (folder / f"before-{number:06}.json").touch()
    return bench.trial(contender, folder, count)


def is_flat(contender: Contender) -> bool:
    """Whether a contender writes no files."""
    return contender.name in _WRITE_NOTHING


def _prefill_summary(bench: Bench, folder: Path, depth: int) -> None:
    summary = new_summary(DAY)
    for number, result in enumerate(bench.workload.results(0, depth)):
        scraper_id = (result["job"].get("metadata") or {}).get("scraper_id") or "unknown"
        add_to_summary(summary, f"before-{number:06}", scraper_id, result["job"]["created_at"])
    path = folder / "daily" / DAY / "summary.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(summary, indent=2))
