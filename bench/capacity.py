"""`python -m bench.capacity FIGURES [--from DIR]`: simulated days of this pipeline, at 1 to 1,000 times its size.

FIGURES is the JSON that a run of the benchmark wrote; the times of day at which results arrive are those of the
recordings given, or spread over six hours. Arrivals in each second are random (Poisson); so many processes record them,
each at the rate that one process reached, until none of the most crowded quarters of an hour keeps them busier than
70 % of the time.
"""

from __future__ import annotations

import json
import math
import os
import random
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from app.bouy.output import Output
from app.service.command import run_command
from app.store.errors import UsageError
from bench.workload import load_workload

DAY_S, QUARTER_S, HOUR_S = 86_400, 900, 3_600
BUSIEST = 0.7
"""Most of the time that processes are to be busy in the most crowded quarter of an hour."""

PIPELINE = 14_000
"""This pipeline's jobs a day."""

_SEED = 14_000

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@dataclass(frozen=True, slots=True)
class Day:
    """A simulated day."""

    jobs: int
    processes: int
    busy: float
    """Share of the day in which the processes work."""
    longest_queue: int
    wait_p99_s: float
    """In the queue; a job that finds none waits for less than a second, which counts as 0."""
    finished_known: int
    """Most finished jobs that Redis knows at once, for an hour each."""


def simulate(arrivals: Sequence[float], rate: float) -> Day:
    """One day, second by second, of the jobs expected in each quarter of an hour; `rate` is one process's, a second."""
    processes = max(1, math.ceil(max(arrivals) / QUARTER_S / (rate * BUSIEST)))
    chance = random.Random(_SEED)  # noqa: S311 - no secret
    waiting = jobs = longest = 0
    waits: Counter[int] = Counter()
    finished = [0] * (DAY_S + 1)
    for second in range(DAY_S):
        arrived = _poisson(chance, arrivals[second // QUARTER_S] / QUARTER_S)
        waits[int((waiting + arrived) / (rate * processes))] += arrived
        done = min(waiting + arrived, int(rate * processes))
        waiting += arrived - done
        jobs += arrived
        longest = max(longest, waiting)
        finished[second + 1] = finished[second] + done
    known = max(finished[second] - finished[max(0, second - HOUR_S)] for second in range(DAY_S + 1))
    return Day(jobs, processes, finished[-1] / (rate * processes * DAY_S), longest, _p99(waits), known)


def profile(folder: Path | None) -> list[float]:
    """Which share of a day's results arrive in each quarter of an hour."""
    if folder is None:
        return [1 / 24 if 24 <= quarter < 48 else 0.0 for quarter in range(DAY_S // QUARTER_S)]
    workload = load_workload(folder)
    times = [result["job"]["created_at"][11:16] for result in workload.results(0, workload.distinct)]
    counts = Counter(int(time[:2]) * 4 + int(time[3:]) // 15 for time in times)
    return [counts[quarter] / len(times) for quarter in range(DAY_S // QUARTER_S)]


@app.command()
def capacity(
    figures: Annotated[Path, typer.Argument(help="What `bench --json` wrote.")],
    source: Annotated[Path | None, typer.Option("--from", metavar="DIR", help="Arrive as these did.")] = None,
) -> None:
    """Simulate days of 1, 10, 100 and 1,000 times this pipeline."""
    try:
        measured: dict[str, Any] = json.loads(figures.read_bytes())
        rate = measured["throughput"]["recorder"]["jobs_per_s"]["median"]
        file_bytes, packed = (
            measured["workload"]["mean_bytes"],
            measured["redis_memory"]["recorder"]["waiting_bytes_per_job"],
        )
        known_bytes = measured["redis_memory"]["recorder"]["bytes_per_job"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"not the figures of a whole run ({error})", path=str(figures)) from None
    shares = profile(source)
    output = Output(os.environ, as_json=False, quiet=False, no_color=False)
    output.table(_HEADER, list(_rows(shares, rate, file_bytes, packed, known_bytes)))


_HEADER = (
    "times",
    "jobs/day",
    "busiest quarter, jobs/s",
    "processes",
    "busy",
    "longest queue",
    "wait p99, s",
    "Redis at most, MB",
    "disk, GB/day",
    "files/year",
)


def _rows(
    shares: Sequence[float], rate: float, file_bytes: float, packed: float, known_bytes: float
) -> Iterator[tuple[str, ...]]:
    for times in (1, 10, 100, 1_000):
        arrivals = [share * PIPELINE * times for share in shares]
        day = simulate(arrivals, rate)
        redis_mb = (day.longest_queue * packed + day.finished_known * known_bytes) / 1e6
        yield (
            f"{times:,}",
            f"{day.jobs:,}",
            f"{max(arrivals) / QUARTER_S:,.1f}",
            str(day.processes),
            f"{day.busy:.1%}",
            f"{day.longest_queue:,}",
            f"{day.wait_p99_s:.0f}",
            f"{redis_mb:,.0f}",
            f"{day.jobs * file_bytes / 1e9:,.1f}",
            f"{day.jobs * 365:,}",
        )


def _poisson(chance: random.Random, mean: float) -> int:
    if mean > 50:
        return max(0, round(chance.gauss(mean, math.sqrt(mean))))
    limit, count, product = math.exp(-mean), 0, chance.random()
    while product > limit:
        count += 1
        product *= chance.random()
    return count


def _p99(waits: Counter[int]) -> float:
    rest = 0.01 * waits.total()
    for seconds in sorted(waits, reverse=True):
        rest -= waits[seconds]
        if rest <= 0:
            return float(seconds)
    return 0.0


if __name__ == "__main__":
    sys.exit(run_command(app, "bench.capacity", see="python -m bench.capacity --help"))
