"""A whole run: its sections, one after another, over the contenders asked for."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version

from app.bouy.services import STREAM_NODE_MAX_BYTES
from bench import depth, latency
from bench.contenders import Contender, Family, Pace
from bench.figures import Figures, Point, RedisMemory, Throughput
from bench.lab import Lab
from bench.producers import measure_producers
from bench.trial import Bench, Trial
from bench.workload import MOST

_LIBRARIES = ("rq", "redis", "hiredis", "orjson")


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured."""

    runs: int = 3
    distinct: int = MOST
    """How many results there are, at most; beyond that they come again under other ids."""
    jobs: int = 5_000
    slow_jobs: int = 300
    stock_jobs: int = 100
    depth: int = 15_000
    depth_steps: int = 3
    """The textbook is measured at the start of the day, and after each of so many equal parts of it."""
    window: int = 500
    deep_stock_jobs: int = 60
    deep_jobs: int = 200
    idle_jobs: int = 300
    slow_idle_jobs: int = 50
    half_load_s: float = 10.0
    produced: int = 2_000
    memory_jobs: int = 1_000

    def jobs_of(self, contender: Contender) -> int:
        """How many jobs a contender gets at the start of a day."""
        return {Pace.FAST: self.jobs, Pace.SLOW: self.slow_jobs, Pace.STOCK: self.stock_jobs}[contender.pace]

    def disk_bytes(self, contenders: Sequence[Contender], mean_bytes: float) -> float:
        """About how much disk a run takes, at most."""
        written = sum(
            self.runs * self.jobs_of(one) + self.deep_jobs_of(one) for one in contenders if not depth.is_flat(one)
        )
        return (written + (self.runs + 1) * self.depth) * mean_bytes

    def deep_jobs_of(self, contender: Contender) -> int:
        """How many it gets later in the day."""
        return {Pace.FAST: self.jobs, Pace.SLOW: self.deep_jobs, Pace.STOCK: self.deep_stock_jobs}[contender.pace]


QUICK = Scale(
    runs=1,
    distinct=200,
    jobs=300,
    slow_jobs=20,
    stock_jobs=8,
    depth=600,
    depth_steps=1,
    window=100,
    deep_stock_jobs=4,
    deep_jobs=10,
    idle_jobs=10,
    slow_idle_jobs=3,
    half_load_s=0.2,
    produced=50,
    memory_jobs=30,
)


class Session:
    """Measures, and collects the figures."""

    def __init__(self, bench: Bench, contenders: Sequence[Contender], scale: Scale, say: Callable[[str], None]) -> None:
        self._bench = bench
        self._contenders = {contender.name: contender for contender in contenders}
        self._scale = scale
        self._say = say
        workload = {
            "source": bench.workload.source,
            "distinct": bench.workload.distinct,
            "mean_bytes": bench.workload.mean_bytes,
        }
        self.figures = Figures(machine(bench.lab), workload, asdict(scale))

    def run(self, *, everything: bool) -> Figures:
        """All sections; producers only with everything else."""
        self._throughput()
        self._depth()
        self._latency()
        self._redis_memory()
        if everything:
            self._say("producers")
            self.figures.producers = measure_producers(self._bench, self._scale.produced, self._scale.runs)
        return self.figures

    def _throughput(self) -> None:
        trials: dict[str, list[Trial]] = {name: [] for name in self._contenders}
        for number in range(self._scale.runs):
            for name, contender in self._contenders.items():
                self._say(f"run {number + 1} of {self._scale.runs}: {name}")
                folder = self._bench.lab.new_folder(name)
                trials[name].append(self._bench.trial(contender, folder, self._scale.jobs_of(contender)))
        mean_bytes = self._bench.workload.mean_bytes
        self.figures.throughput = {
            name: Throughput.of(self._contenders[name], runs, mean_bytes) for name, runs in trials.items()
        }

    def _depth(self) -> None:
        day = self._scale.depth
        recorders = [one for one in self._contenders.values() if one.family is Family.RECORDER]
        if "recorder" in self._contenders:
            self._record_day([one for one in recorders if one.name != "recorder"])
        for name, contender in self._contenders.items():
            if contender in recorders:
                continue
            points = self.figures.depth[name] = [self._start_of_day(name)]
            if depth.is_flat(contender):
                points.append(Point(day, points[0].ms_per_job))
                continue
            steps = self._scale.depth_steps if contender.family is Family.TEXTBOOK else 1
            for step in range(1, steps + 1):
                at = day * step // steps
                self._say(f"at {at:,} jobs a day: {name}")
                trial = depth.at_depth(self._bench, contender, at, self._scale.deep_jobs_of(contender))
                points.append(Point(at, 1000 / trial.jobs_per_s))

    def _record_day(self, others: Sequence[Contender]) -> None:
        """Record whole days with one recorder; let the others go on with the last of them."""
        scale, figures = self._scale, self.figures
        days = []
        for number in range(scale.runs):
            self._say(f"run {number + 1} of {scale.runs}: a day of {scale.depth:,} jobs: recorder")
            folder = self._bench.lab.new_folder("day")
            trial = self._bench.trial(self._contenders["recorder"], folder, scale.depth)
            days.append(depth.windows(trial.samples, scale.window))
        points = figures.depth["recorder"] = depth.medians(days)
        figures.ends_of_day = {"first": 1000 / points[0].ms_per_job, "last": 1000 / points[-1].ms_per_job}
        figures.day_peak_mb = trial.peak_bytes / 1e6
        figures.redis_memory["recorder"] = _memory(trial, scale.depth)
        start = scale.depth
        for contender in others:
            self._say(f"at {start:,} jobs a day: {contender.name}")
            trial = self._bench.trial(contender, folder, scale.jobs, start)
            points = [self._start_of_day(contender.name), Point(start, 1000 / trial.jobs_per_s)]
            figures.depth[contender.name] = points
            start += scale.jobs

    def _start_of_day(self, name: str) -> Point:
        return Point(0, 1000 / self.figures.throughput[name].jobs_per_s.median)

    def _latency(self) -> None:
        for name in ("recorder", "stock", "simple"):
            contender = self._contenders.get(name)
            if contender is None:
                continue
            self._say(f"latency: {name}")
            count = self._scale.idle_jobs if contender.pace is Pace.FAST else self._scale.slow_idle_jobs
            folder = self._bench.lab.new_folder(f"{name}-idle")
            self.figures.idle[name] = latency.idle(self._bench, contender, folder, count)
            rate = self.figures.throughput[name].jobs_per_s.median / 2
            count = max(3, int(rate * self._scale.half_load_s))
            folder = self._bench.lab.new_folder(f"{name}-half-load")
            self.figures.half_load[name] = latency.half_load(self._bench, contender, folder, count, rate)

    def _redis_memory(self) -> None:
        """SimpleWorker leaves in Redis what the stock worker leaves, and is quicker; each once more in bouy's Redis."""
        measured = [name for name in ("recorder", "simple") if name in self._contenders]
        if "simple" in measured:
            self._leave_in_redis("simple", "simple")
        connection = self._bench.lab.connection
        before = connection.config_get("stream-node-max-bytes")["stream-node-max-bytes"] or 0
        connection.config_set("stream-node-max-bytes", STREAM_NODE_MAX_BYTES)
        for name in measured:
            self._leave_in_redis(name, f"{name}, in bouy's Redis")
        connection.config_set("stream-node-max-bytes", before)

    def _leave_in_redis(self, name: str, row: str) -> None:
        self._say(f"Redis memory: {row}")
        trial = self._bench.trial(self._contenders[name], self._bench.lab.new_folder("memory"), self._scale.memory_jobs)
        self.figures.redis_memory[row] = _memory(trial, self._scale.depth)


def _memory(trial: Trial, day: int) -> RedisMemory:
    per_job = trial.redis_bytes / trial.jobs
    return RedisMemory(trial.jobs, trial.waiting_bytes / trial.jobs, per_job, per_job * day / 1e6)


def machine(lab: Lab) -> dict[str, object]:
    """What a run takes place on."""
    server = lab.connection.info("server")
    return {
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "python": platform.python_version(),
        "redis_server": server["redis_version"],
        **{name: version(name) for name in _LIBRARIES},
    }
