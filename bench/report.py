"""What a run says: tables for people, and one JSON document."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from app.bouy.output import Output
from bench.figures import Figures, Latency
from bench.targets import Target


def document(figures: Figures, targets: list[Target]) -> dict[str, Any]:
    """Everything, as JSON can hold it."""
    return {**asdict(figures), "targets": [asdict(target) for target in targets]}


def show(figures: Figures, targets: list[Target], output: Output) -> None:
    """Print the tables."""
    for title, header, rows in (
        ("Start of a day", _THROUGHPUT, _throughput(figures)),
        ("ms a job, when the day has so many", ("", *map(str, _depths(figures))), _depth(figures)),
        ("From enqueue to finished, ms", ("", "load", "jobs", "p50", "p99"), _latency(figures)),
        ("Producers", ("", "jobs/s", "min-max"), _producers(figures)),
        ("Redis memory", _MEMORY, _memory(figures)),
        ("Targets", ("this recorder", "wanted", "figure", ""), target_rows(targets)),
    ):
        if rows:
            output.say(f"\n{title}")
            output.table(header, rows)


_THROUGHPUT = (
    "",
    "kind",
    "how",
    "jobs",
    "jobs/s",
    "min-max",
    "MB/s",
    "recorder =",
    "CPU ms/job",
    "Redis'",
    "peak MB",
    "commands/job",
    "round trips/job",
)
_MEMORY = ("", "jobs measured", "bytes/job waiting", "finished", "MB for the day")
_VERDICTS = {True: "met", False: "MISSED", None: "not measured"}


def _throughput(figures: Figures) -> list[tuple[str, ...]]:
    ours = figures.rate("recorder")
    return [
        (
            name,
            one.family,
            one.title,
            str(one.jobs),
            number(one.jobs_per_s.median),
            f"{number(one.jobs_per_s.low)}-{number(one.jobs_per_s.high)}",
            number(one.mb_per_s),
            f"{ours / one.jobs_per_s.median:.2f} x" if ours else "-",
            number(one.cpu_ms_per_job),
            number(one.redis_cpu_ms_per_job),
            f"{one.peak_mb:.0f}",
            number(one.commands_per_job),
            f"{one.round_trips_per_job:.2f}",
        )
        for name, one in figures.throughput.items()
    ]


def _depths(figures: Figures) -> list[int]:
    depth, steps = figures.scale["depth"], figures.scale["depth_steps"]
    return [depth * step // steps for step in range(steps + 1)]


def _depth(figures: Figures) -> list[tuple[str, ...]]:
    rows = []
    for name, points in figures.depth.items():
        known = {point.depth: point.ms_per_job for point in points}
        last = points[-1]
        cells = [known.get(depth) for depth in _depths(figures)[:-1]] + [last.ms_per_job]
        rows.append((name, *("-" if cell is None else number(cell) for cell in cells)))
    return rows


def _latency(figures: Figures) -> list[tuple[str, ...]]:
    def row(name: str, latency: Latency) -> tuple[str, ...]:
        load = "idle" if latency.rate_per_s is None else f"half: {number(latency.rate_per_s)}/s"
        return name, load, str(latency.samples), number(latency.p50_ms), number(latency.p99_ms)

    return [row(name, latency) for one in (figures.idle, figures.half_load) for name, latency in one.items()]


def _producers(figures: Figures) -> list[tuple[str, ...]]:
    return [
        (name, number(rate.median), f"{number(rate.low)}-{number(rate.high)}")
        for name, rate in figures.producers.items()
    ]


def _memory(figures: Figures) -> list[tuple[str, ...]]:
    day = figures.scale["depth"]
    return [
        (
            name,
            f"{one.jobs:,}" + (f" (scaled to {day:,})" if one.jobs < day else ""),
            f"{one.waiting_bytes_per_job:,.0f}",
            f"{one.bytes_per_job:,.0f}",
            number(one.mb_for_day),
        )
        for name, one in figures.redis_memory.items()
    ]


def target_rows(targets: list[Target]) -> list[tuple[str, ...]]:
    """Targets as rows of a table."""
    return [
        (target.text, target.wanted, "-" if target.figure is None else f"{target.figure:.2f}", _VERDICTS[target.met])
        for target in targets
    ]


def number(value: float) -> str:
    """Three digits that count, and no more."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
