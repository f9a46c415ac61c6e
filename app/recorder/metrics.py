"""What a recorder tells Prometheus of itself: counted in its own process, a batch at a time, once acknowledged."""

from __future__ import annotations

import math
import platform
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, ProcessCollector, disable_created_metrics
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from app.recorder.intake import TakenJob
from app.recorder.job_counter import RECORDER_JOBS, count_jobs
from app.recorder.vitals import Vitals
from app.recorder.write import Kind, Outcome, Pending
from app.store import proven
from app.store.timestamps import parse_timestamp

SUCCESSES = (Kind.RECORDED, Kind.DUPLICATE, Kind.REPLACED, Kind.SUPERSEDED)
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_LONG_SECONDS = (0.005, 0.025, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 6 * 3600, 24 * 3600)
_JOBS = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000)


@dataclass(frozen=True, slots=True)
class Done:
    """A batch that is acknowledged."""

    jobs: Sequence[TakenJob]
    files: Sequence[Pending]
    """What was written for them; fewer, where a result was known already."""
    outcomes: Sequence[Outcome]
    """Of each job."""
    taken_at: datetime
    durable_at: datetime


class Metrics:
    """What one recorder counts and measures."""

    def __init__(self, vitals: Vitals, reserve_bytes: int) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry = CollectorRegistry()
        registry.register(RECORDER_JOBS)
        for success in (True, False):  # so that there is something to see from the start
            count_jobs(None, success=success, number=0)
        registry.register(_OfVitals(vitals, reserve_bytes))
        ProcessCollector(registry=registry)
        outcomes = Counter("recorder_outcomes_total", "What became of results", ["outcome"], registry=registry)
        self._outcomes = {kind: outcomes.labels(kind.value) for kind in Kind}
        self._written = Counter("recorder_written_bytes_total", "Bytes of files written", registry=registry)
        self._seconds = _Histogram("recorder_batch_seconds", "Taking to acknowledging a batch", _SECONDS)
        self._jobs = _Histogram("recorder_batch_jobs", "Jobs in a batch", _JOBS)
        self._lag = _Histogram("recorder_lag_seconds", "Enqueued to durable, of each job", _LONG_SECONDS)
        self._sync = _Histogram("recorder_sync_seconds", "fsync of each file", _SECONDS)
        for histogram in (self._seconds, self._jobs, self._lag, self._sync):
            registry.register(histogram)

    def count(self, batch: Done, tally: Mapping[tuple[str | None, Kind], int], seconds: float) -> None:
        """Count a batch, with its outcomes by scraper, that is acknowledged so many seconds after it was taken."""
        for (scraper_id, kind), number in tally.items():
            self._outcomes[kind].inc(number)
            if kind is not Kind.POSTPONED:
                count_jobs(scraper_id, success=kind in SUCCESSES, number=number)
        self._written.inc(sum(file.size for file in batch.files))
        self._seconds.observe([seconds])
        self._jobs.observe([len(batch.outcomes)])
        self._sync.observe([file.staged.sync_s for file in batch.files])
        durable_at = batch.durable_at.timestamp()
        self._lag.observe(
            [
                max(0.0, durable_at - enqueued_at.timestamp())
                for job, outcome in zip(batch.jobs, batch.outcomes, strict=True)
                if outcome.kind is not Kind.POSTPONED and (enqueued_at := parse_timestamp(job.text("enqueued_at")))
            ]
        )


class _Histogram(Collector):
    """A histogram that takes many values at once: prometheus-client's own takes a lock three times for each."""

    def __init__(self, name: str, text: str, bounds: Sequence[float]) -> None:
        self._name, self._text = name, text
        self._bounds = [*map(float, bounds), math.inf]
        self._counts = [0] * len(self._bounds)
        self._sum = 0.0

    def observe(self, values: Sequence[float]) -> None:
        """Add these. For one thread."""
        counts, bounds = self._counts, self._bounds
        for value in values:
            counts[bisect_left(bounds, value)] += 1
        self._sum += sum(values)

    def collect(self) -> Iterator[Metric]:
        """It as it stands."""
        totals = accumulate(self._counts.copy())
        ends = map(floatToGoString, self._bounds)
        buckets = [(end, float(total)) for end, total in zip(ends, totals, strict=True)]
        yield HistogramMetricFamily(self._name, self._text, buckets=buckets, sum_value=self._sum)


class _OfVitals(Collector):
    """What a recorder's vitals say, at the moment that somebody asks."""

    def __init__(self, vitals: Vitals, reserve_bytes: int) -> None:
        self._vitals = vitals
        self._reserve_bytes = reserve_bytes
        versions = {name: version(name) for name in ("rq", "redis")}
        self._build = {"version": version("pantry-pirate-recorder"), "python": platform.python_version(), **versions}

    def collect(self) -> Iterator[Metric]:
        """Each metric that has a value at present."""
        vitals, queue = self._vitals, self._vitals.queue
        gauges = {
            ("recorder_ready", "1 while it records, or could; 0 while it waits"): float(vitals.ready),
            ("recorder_summary_lag_seconds", "How long a summary has been behind"): vitals.summary_lag_s,
            ("recorder_last_success_timestamp_seconds", "When the last result was recorded"): vitals.last_success_at,
            ("recorder_disk_free_bytes", "Free on OUTPUT_DIR's disk"): vitals.free_bytes,
            ("recorder_disk_reserve_bytes", "With less it takes no jobs"): self._reserve_bytes,
            (proven.METRIC, proven.HELP): vitals.proven_restore_at,
            ("recorder_queue_jobs", "Jobs that wait in the queue"): queue.waiting if queue else None,
            ("recorder_failed_jobs", "Jobs in RQ's registry of failed ones"): queue.failed if queue else None,
            ("recorder_oldest_job_age_seconds", "Age of the job that is next"): queue.oldest_age_s if queue else None,
        }
        for (name, text), value in gauges.items():
            if value is not None:
                yield GaugeMetricFamily(name, text, value)
        yield CounterMetricFamily(
            "recorder_redis_reconnects_total", "Times that Redis was away and is back", vitals.trouble.reconnects
        )
        yield InfoMetricFamily("recorder_build", "What runs", self._build)
