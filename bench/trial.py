"""One run of one contender: so many jobs, from when they are there to when the last is finished."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import orjson
from rq.registry import FinishedJobRegistry

from app.recorder.client import QUEUE
from app.store.errors import RecorderError
from bench.contenders import Contender, command
from bench.lab import Lab, Worker
from bench.venvs import python_of
from bench.workload import Workload, put

STAGED_KEY = "bench:staged"
"""Where a queue's list waits until its workers are ready; it gets its right name in one step."""

_POLL_S = 0.005
_PEAK_INTERVAL_S = 0.5
_STALLED_S = 60.0


@dataclass(frozen=True, slots=True)
class Trial:
    """What was measured."""

    jobs: int
    samples: list[tuple[float, int]]
    """How many jobs were finished, and when, in seconds since the start: a sample each time that there were more."""
    cpu_s: float
    peak_bytes: int
    commands: int
    """Commands that Redis ran, those inside scripts included."""
    round_trips: int
    """Reads of Redis from its clients' sockets."""
    redis_cpu_s: float
    """Processor time of Redis, our watching included."""
    waiting_bytes: int
    """What the jobs took of Redis' memory before they were recorded."""
    redis_bytes: int
    """The same, once they were."""

    @property
    def jobs_per_s(self) -> float:
        """How fast jobs were finished; the start of the workers doesn't count."""
        ended_at, finished = self.samples[-1]
        return finished / ended_at


class Bench:
    """A lab with something to record."""

    def __init__(self, lab: Lab, workload: Workload) -> None:
        self.lab = lab
        self.workload = workload

    def trial(self, contender: Contender, output_dir: Path, count: int, start: int = 0) -> Trial:
        """Let a contender record so many results, from the given number on."""
        lab = self.lab
        redis = lab.connection
        self._packed(contender, count, start)
        empty_bytes = self._used_memory()
        self._enqueue(contender, output_dir, count, start)
        waiting_bytes = self._used_memory() - empty_bytes
        with self.running(contender, output_dir) as workers:
            cpu_before = sum(worker.cpu_s() for worker in workers)
            before, redis_before = cast(dict[str, int], redis.info("stats")), self._redis_cpu_s()
            samples, peak_bytes, own = self._follow(contender, output_dir, workers, count)
            after, redis_cpu_s = cast(dict[str, int], redis.info("stats")), self._redis_cpu_s() - redis_before
            cpu_s = sum(worker.cpu_s() for worker in workers) - cpu_before
        return Trial(
            count,
            samples,
            cpu_s,
            peak_bytes,
            after["total_commands_processed"] - before["total_commands_processed"] - own,
            after["total_reads_processed"] - before["total_reads_processed"] - own,
            redis_cpu_s,
            waiting_bytes,
            self._used_memory() - empty_bytes,
        )

    @contextmanager
    def running(self, contender: Contender, output_dir: Path) -> Iterator[list[Worker]]:
        """A contender's workers, ready for jobs; nothing of those before is still to be written to the disk."""
        os.sync()
        python = {"python": python_of(contender.name)} if contender.client else {}
        line = command(contender, self.lab.url, **python)
        workers = [self.lab.start(line, output_dir) for _ in range(contender.workers)]
        try:
            for worker in workers:
                worker.await_ready(contender.ready)
            yield workers
        except RecorderError as error:
            raise RecorderError(f"{contender.name}: {error.message}", hint=error.hint) from error
        finally:
            self.lab.stop(workers)

    def _packed(self, contender: Contender, count: int, start: int) -> None:
        """Pack what isn't packed yet; Redis is empty afterwards."""
        self.lab.connection.flushall()
        if contender.packing is not None:
            self.workload.packed(contender.packing, start, count, self.lab.connection)

    def _enqueue(self, contender: Contender, output_dir: Path, count: int, start: int) -> None:
        if contender.packing is not None:
            put(
                self.lab.connection,
                self.workload.packed(contender.packing, start, count, self.lab.connection),
                STAGED_KEY,
            )
            return
        lines = self.lab.new_folder("results") / "results.jsonl"
        lines.write_bytes(b"".join(orjson.dumps(result) + b"\n" for result in self.workload.results(start, count)))
        send = [python_of(contender.name), "-P", "-m", "bench.queues.send", contender.client, str(lines)]
        sent = subprocess.run(send, check=False, env=self.lab.environ(output_dir), capture_output=True, text=True)
        if sent.returncode:
            raise RecorderError(f"{contender.name}: can't enqueue: {sent.stderr.strip().splitlines()[-1]}")
        self.lab.connection.rename(contender.queue_key, STAGED_KEY)

    def _follow(
        self, contender: Contender, output_dir: Path, workers: list[Worker], count: int
    ) -> tuple[list[tuple[float, int]], int, int]:
        """Let the workers begin, and watch until all is done: samples, peak memory, and our own calls of Redis."""
        finished = self._counter(contender, output_dir)
        base, done, peak_bytes = finished(), 0, 0
        samples: list[tuple[float, int]] = []
        started_at = progress_at = peak_at = time.perf_counter()
        self.lab.connection.rename(STAGED_KEY, contender.queue_key)
        calls = 3  # that, and the two INFO before this
        while done < count:
            time.sleep(_POLL_S)
            now = time.perf_counter()
            calls += contender.has_registry
            found = finished() - base
            if found > done:
                done, progress_at = found, now
                samples.append((now - started_at, done))
            if now > peak_at:
                peak_bytes = max(peak_bytes, *(worker.peak_bytes() for worker in workers))
                peak_at = now + _PEAK_INTERVAL_S
            if now - progress_at > _STALLED_S:
                raise RecorderError(
                    f"{done} of {count} jobs, then none for {_STALLED_S:.0f} s; {workers[0].last_words()}"
                )
            for worker in workers:
                worker.check()
        return samples, max(peak_bytes, *(worker.peak_bytes() for worker in workers)), calls + contender.has_registry

    def _counter(self, contender: Contender, output_dir: Path) -> Callable[[], int]:
        if contender.has_registry:
            key = FinishedJobRegistry(QUEUE, connection=self.lab.connection).key
            return lambda: self.lab.connection.zcard(key)
        path = self.lab.ticks(output_dir)
        path.touch()
        return lambda: path.stat().st_size

    def _redis_cpu_s(self) -> float:
        times = cast(dict[str, float], self.lab.connection.info("cpu"))
        return times["used_cpu_user"] + times["used_cpu_sys"]

    def _used_memory(self) -> int:
        return int(self.lab.connection.info("memory")["used_memory"])
