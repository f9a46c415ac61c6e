"""Results of every kind for a recorder to record, traced; and what must be in OUTPUT_DIR once all are recorded."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redis import Redis
from rq import Callback
from rq.job import Job
from rq.queue import Queue

from app.recorder.client import enqueue_result
from tests.faults.durability import Disk, Moment, moments
from tests.faults.trace import RECORDER, Call, Traced, traced
from tests.faults.watch import Acknowledgement, Sent, Watcher
from tests.recording import assert_nothing_is_left_over, eventually

OUTPUT = "out"
BATCH_SIZE = 8
QUEUE_KEY = "rq:queue:recorder"


def result(job_id: str, number: int = 0, **fields: Any) -> dict[str, Any]:
    """A result; the number picks one of three days and four scrapers, one of which is none."""
    job: dict[str, Any] = {"created_at": f"2025-02-{17 + number % 3}T06:46:{number % 60:02}Z"}
    if number % 4:
        job["metadata"] = {"scraper_id": f"s{number % 4}"}
    return {"job_id": job_id, "job": job, "result": {"text": f"{job_id} " * 40}, **fields}


@dataclass
class Stage:
    """A base folder with an OUTPUT_DIR in it, a Redis, and the traced programs that worked on them."""

    base: Path
    redis_url: str
    connection: Redis
    jobs: dict[str, Sent] = field(default_factory=dict)
    hashes: dict[str, dict[bytes, bytes]] = field(default_factory=dict)
    """The jobs as they were in Redis when they were enqueued."""
    found: list[Moment] = field(default_factory=list)
    """What all programs did, one after the other."""
    acknowledged: list[Acknowledgement] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.base.mkdir(exist_ok=True)
        self._start = self.base.with_suffix(".start")
        shutil.copytree(self.base, self._start, symlinks=True)
        self.watcher = Watcher(Disk(self.base), OUTPUT, self.jobs)
        self._runs = 0
        self._at = 0

    @property
    def output(self) -> Path:
        return self.base / OUTPUT

    @property
    def problems(self) -> list[str]:
        return self.watcher.problems

    def enqueue(self, data: dict[str, Any], **rq_options: Any) -> Job:
        job = enqueue_result(data, connection=self.connection, **rq_options)
        stored: dict[bytes, bytes] = self.connection.hgetall(f"rq:job:{job.id}")  # type: ignore[assignment]
        self.hashes[job.id] = stored
        self.jobs[job.id] = Sent(job.id, stored[b"data"], data)
        return job

    def record(self, *arguments: str, by: int = 0, kill_at: tuple[str, int] | None = None) -> None:
        """Run a program under the watcher's eyes to its end: the recorder itself, until the queue is empty."""
        with self.recording(*(arguments or (*RECORDER, "--burst")), kill_at=kill_at) as program:
            calls = program.ended(by=by)
        self.watch(calls)

    @contextmanager
    def recording(self, *arguments: str, kill_at: tuple[str, int] | None = None) -> Iterator[Traced]:
        """A traced program with our Redis and OUTPUT_DIR."""
        self._runs += 1
        output = self.base.parent / f"{self.base.name}.{self._runs}.strace"
        environment = {
            "REDIS_URL": self.redis_url,
            "OUTPUT_DIR": str(self.output),
            "RECORDER_ALLOWED_CALLBACKS": "builtins.print",
            "RECORDER_BATCH_SIZE": str(BATCH_SIZE),
            "RECORDER_MIN_FREE_MB": "0",
        }
        with traced(output, arguments, environment, kill_at=kill_at) as program:
            yield program

    def watch(self, calls: Sequence[Call]) -> None:
        """Take in what a program did, to its end."""
        later = [Call(call.name, call.args, call.result, call.start + self._at, call.end + self._at) for call in calls]
        self._at = max((call.end for call in later), default=self._at) + 1
        found = [moment for moment in moments(later) if self._matters(moment.call)]
        self.acknowledged += self.watcher.watch(found)
        for call in later:
            if call.result is None:
                self.watcher.disk.finish(call)
        self.watcher.disk.restarted()
        self.watcher.disk.assert_like(self.base)
        self.found += found

    def disks(self, positions: Sequence[int]) -> Iterator[tuple[Disk, set[str]]]:
        """The disk at each of these positions of `found`, ascending; and the jobs acknowledged by then."""
        disk = Disk(self.base, self._start)
        done = 0
        for position in positions:
            for moment in self.found[done:position]:
                disk.follow(moment)
            done = position
            at = self.found[position - 1].at if position else -1
            yield disk, {rq_id for one in self.acknowledged if one.last_at <= at for rq_id in one.rq_ids}

    def redeliver(self, rq_ids: Sequence[str]) -> None:
        """Put jobs into an empty Redis as they were."""
        for rq_id in rq_ids:
            self.connection.hset(f"rq:job:{rq_id}", mapping=self.hashes[rq_id])  # type: ignore[arg-type]
            self.connection.rpush(QUEUE_KEY, rq_id)

    def _matters(self, call: Call) -> bool:
        return call.name != "openat" or str(self.base) in os.fsdecode(call.text)


def mistaken(patch: str) -> tuple[str, ...]:
    """A recorder with a mistake in it."""
    imports = "import os, stat\nfrom app.recorder import cli, worker, write\n"
    imports += "from app.store import files, ledger, recovery\n"
    lines = [line for line in patch.splitlines() if line.strip()]
    margin = min(len(line) - len(line.lstrip()) for line in lines)
    code = imports + "\n".join(line[margin:] for line in lines) + "\nraise SystemExit(cli.main())"
    return "-c", code, "--burst"


def forget_leases(connection: Redis) -> None:
    """Let the next recorder take over at once from one that died."""
    for key in connection.keys("rq:recorder:recorder:lease:*"):
        connection.delete(key)


def record_one_by_one(stage: Stage, number: int) -> None:
    """A recorder that waits for jobs, gets each when it has nothing else to do, and is told to stop."""
    with stage.recording(*RECORDER) as program:
        for each in range(number):
            job = stage.enqueue(result(f"alone{each}", each))
            eventually(lambda job=job: job.get_status() == "finished")  # type: ignore[misc]
        calls = program.stop()
    stage.watch(calls)


def record_all_kinds(stage: Stage, kill_at: tuple[str, int] = ("link", 20)) -> None:
    """Single jobs, then a batch whose recorder is killed, then its successor with every kind of result and of job."""
    record_one_by_one(stage, 2)
    for number in range(30):
        stage.enqueue(result(f"batch{number}", number))
    stage.record(by=9, kill_at=kill_at)
    forget_leases(stage.connection)
    for number in range(4):
        stage.enqueue(result(f"batch{number}", number))  # the same once more
        older = result(f"new{number}", number, completed_at="2025-03-01T00:00:00Z", version=1)
        newer = result(f"new{number}", number, completed_at="2025-03-02T00:00:00Z", version=2)
        for data in (older, newer) if number % 2 else (newer, older):
            stage.enqueue(data)
        stage.enqueue({"job": {"created_at": "2025-02-17T06:46:23Z"}, "number": number})  # has no job_id
    first = stage.enqueue(result("dependency", 1))
    Queue("other", connection=stage.connection).enqueue(os.getpid, depends_on=first, job_id="dependent")
    stage.enqueue(result("callback", 2), on_success=Callback("builtins.print"))
    stage.enqueue(result("brief", 3), result_ttl=0)
    stage.record(*RECORDER, "--burst")


def assert_all_recorded(output: Path, jobs: Sequence[Sent]) -> None:
    """Each result has exactly one file, whole; the newest has the name; summaries and `latest` are exact."""
    expected: dict[str, list[Sent]] = {}
    for job in jobs:
        if job.recordable and not any(same.data == job.data for same in expected.setdefault(job.path, [])):
            expected[job.path].append(job)
    found = {str(path.relative_to(output)): path.read_bytes() for path in _recordings(output)}
    assert set(found) == set(expected)
    for path, same_name in expected.items():
        newest = max(same_name, key=lambda job: str(job.data.get("completed_at")))
        assert newest.is_in(found[path]), path
    older = [job for same_name in expected.values() for job in same_name if not job.is_in(found[job.path])]
    assert_each_in_one(sorted(output.glob("daily/*/superseded/**/*.json")), older)
    assert_each_in_one(sorted(output.glob("quarantine/*/*.json")), [job for job in jobs if not job.recordable])
    assert_summaries_agree_with_files(output)


def assert_each_in_one(paths: list[Path], jobs: list[Sent]) -> None:
    assert len(paths) == len(jobs)
    for job in jobs:
        assert sum(job.is_in(path.read_bytes()) for path in paths) == 1, job


def assert_summaries_agree_with_files(output: Path) -> None:
    """Each line of a summary says what its file says, and there is one for each file."""
    by_day: dict[str, list[tuple[str, str, str]]] = {}
    for path in _recordings(output):
        data = json.loads(path.read_bytes())
        scraper = data["job"].get("metadata", {}).get("scraper_id", "unknown")
        by_day.setdefault(path.relative_to(output).parts[1], []).append(
            (scraper, data["job_id"], data["job"]["created_at"])
        )
    for day, expected in by_day.items():
        summary = json.loads((output / "daily" / day / "summary.json").read_bytes())
        lines = [(line["scraper_id"], line["job_id"], line["timestamp"]) for line in summary["jobs"]]
        assert sorted(lines) == sorted(expected)
        assert summary["total_jobs"] == len(lines)
        for name, scraper in summary["scrapers"].items():
            times = sorted(timestamp for scraper_id, _, timestamp in expected if scraper_id == name)
            assert scraper == {"count": len(times), "first_job": times[0], "last_job": times[-1]}
    assert os.readlink(output / "latest") == f"daily/{max(by_day)}"


def assert_tidy(output: Path, connection: Redis) -> None:
    assert_nothing_is_left_over(output, connection)
    assert not list((output / ".recorder").glob("*.writer"))


def _recordings(output: Path) -> list[Path]:
    found = [*output.glob("daily/*/processed/*"), *output.glob("daily/*/scrapers/*/*")]
    return [path for path in found if not path.name.startswith(".")]
