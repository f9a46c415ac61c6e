"""What this recorder is to reach, as ratios within one run."""

from __future__ import annotations

from dataclasses import dataclass

from bench.contenders import Family
from bench.figures import Figures

_MOST_PEAK_MB = 200.0


@dataclass(frozen=True, slots=True)
class Target:
    """One target and what came of it."""

    text: str
    wanted: str
    figure: float | None
    """None when the run didn't measure what it takes."""
    met: bool | None


def judge(figures: Figures) -> list[Target]:
    """Each target, its figure, and whether it is met."""
    rate = figures.rate("recorder")
    first, last = figures.ends_of_day.get("first"), figures.ends_of_day.get("last")
    queues = [measured.jobs_per_s.median for measured in figures.throughput.values() if measured.family == Family.QUEUE]
    peaks = [measured.peak_mb for measured in figures.throughput.values() if measured.family == Family.RECORDER]
    if figures.day_peak_mb is not None:
        peaks.append(figures.day_peak_mb)
    depth = figures.scale["depth"]
    peak = max(peaks, default=None)
    return [
        at_least("against the synced serial floor", 1.0, _ratio(rate, figures.rate("floor-sync"))),
        at_least("against the same floor with zlib", 1.0, _ratio(rate, figures.rate("floor-zlib"))),
        at_least("against the fastest task queue measured", 1.0, _ratio(rate, max(queues, default=None))),
        at_least("against the stock worker, start of a day", 100.0, _ratio(rate, figures.rate("stock"))),
        at_least(f"against the stock worker, {depth:,} jobs into a day", 200.0, _ratio(last, _deep(figures, "stock"))),
        at_least("the same, where that counts jobs: start", 100.0, _ratio(rate, figures.rate("stock-counter"))),
        at_least(f"the same, {depth:,} jobs into a day", 200.0, _ratio(last, _deep(figures, "stock-counter"))),
        at_least(f"the last against the first {figures.scale['window']} of {depth:,} jobs", 0.9, _ratio(last, first)),
        at_least("with metrics and log against without", 0.95, _ratio(rate, figures.rate("recorder-quiet"))),
        at_least("two processes against one", 1.5, _ratio(figures.rate("recorder-x2"), rate)),
        below("peak memory of a process, MB", _MOST_PEAK_MB, peak),
    ]


def _deep(figures: Figures, name: str) -> float | None:
    """A contender's jobs/s as deep in the day as it was measured."""
    points = figures.depth.get(name)
    return 1000 / points[-1].ms_per_job if points else None


def at_least(text: str, wanted: float, figure: float | None) -> Target:
    """A target that is met from there on."""
    return Target(text, f">= {wanted:g}", figure, None if figure is None else figure >= wanted)


def below(text: str, wanted: float, figure: float | None) -> Target:
    """A target that is met below that."""
    return Target(text, f"< {wanted:g}", figure, None if figure is None else figure < wanted)


def _ratio(ours: float | None, theirs: float | None) -> float | None:
    return ours / theirs if ours and theirs else None
