"""What a run comes to: the figures of every section, as they stand in its JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Any

from bench.contenders import Contender
from bench.trial import Trial


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure that was measured several times."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of these values."""
        return cls(median(values), min(values), max(values))


@dataclass(frozen=True, slots=True)
class Throughput:
    """One contender at the start of a day."""

    family: str
    title: str
    jobs: int
    jobs_per_s: Spread
    mb_per_s: float
    cpu_ms_per_job: float
    redis_cpu_ms_per_job: float
    peak_mb: float
    """Of its largest process."""
    commands_per_job: float
    round_trips_per_job: float

    @classmethod
    def of(cls, contender: Contender, trials: Sequence[Trial], mean_bytes: float) -> Throughput:
        """The figures of a contender's runs."""
        jobs_per_s = Spread.of([trial.jobs_per_s for trial in trials])

        def a_job(name: str) -> float:
            return float(median(getattr(trial, name) / trial.jobs for trial in trials))

        return cls(
            contender.family.value,
            contender.title,
            trials[0].jobs,
            jobs_per_s,
            jobs_per_s.median * mean_bytes / 1e6,
            a_job("cpu_s") * 1e3,
            a_job("redis_cpu_s") * 1e3,
            max(trial.peak_bytes for trial in trials) / 1e6,
            a_job("commands"),
            a_job("round_trips"),
        )


@dataclass(frozen=True, slots=True)
class Point:
    """What a job costs when the day already has so many."""

    depth: int
    ms_per_job: float


@dataclass(frozen=True, slots=True)
class Latency:
    """From the start of enqueuing a job to the news that it is finished."""

    samples: int
    p50_ms: float
    p99_ms: float
    rate_per_s: float | None = None
    """How many jobs were enqueued a second; None on an idle queue."""

    @classmethod
    def of(cls, seconds: Sequence[float], rate_per_s: float | None = None) -> Latency:
        """The percentiles of these times."""
        cuts = quantiles(seconds, n=100, method="inclusive")
        return cls(len(seconds), cuts[49] * 1e3, cuts[98] * 1e3, rate_per_s)


@dataclass(frozen=True, slots=True)
class RedisMemory:
    """What a job takes of Redis' memory."""

    jobs: int
    """So many were measured."""
    waiting_bytes_per_job: float
    """While it waits."""
    bytes_per_job: float
    """When it is finished, until RQ forgets it."""
    mb_for_day: float
    """For a day as deep as this run's; scaled, where fewer jobs were measured."""


@dataclass(slots=True)
class Figures:
    """All of a run."""

    machine: dict[str, Any]
    workload: dict[str, Any]
    scale: dict[str, Any]
    throughput: dict[str, Throughput] = field(default_factory=dict)
    depth: dict[str, list[Point]] = field(default_factory=dict)
    ends_of_day: dict[str, float] = field(default_factory=dict)
    """This recorder's jobs/s over the first and the last jobs of days that it recorded in one go."""
    day_peak_mb: float | None = None
    """Memory of the process that recorded such a day."""
    idle: dict[str, Latency] = field(default_factory=dict)
    half_load: dict[str, Latency] = field(default_factory=dict)
    producers: dict[str, Spread] = field(default_factory=dict)
    """Jobs enqueued a second."""
    redis_memory: dict[str, RedisMemory] = field(default_factory=dict)

    def rate(self, name: str) -> float | None:
        """A contender's jobs/s at the start of a day, if it was measured."""
        return self.throughput[name].jobs_per_s.median if name in self.throughput else None
