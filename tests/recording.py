"""What tests of a running recorder share: results to hand over, and what must hold of an OUTPUT_DIR afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from redis import Redis
from redis.exceptions import RedisError
from rq.job import Job, JobStatus

from app.recorder.client import connect
from app.recorder.worker import Options, RecorderWorker
from app.recorder.write import RecordWriter

Process = TypeVar("Process", bound=subprocess.Popen[Any])

FIRST = {"created_at": "2025-02-17T06:46:23Z", "metadata": {"scraper_id": "nyc"}}


def result(job_id: Any, **fields: Any) -> dict[str, Any]:
    return {"job_id": job_id, "job": FIRST, "result": {"text": "x"}, **fields}


def eventually(condition: Callable[[], Any], timeout_s: float = 30.0) -> Any:
    """What `condition` returns once it is true; polls, because what we wait for happens in another process."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.01)
    raise AssertionError(f"not true within {timeout_s} s: {condition}")


def finished(job: Job) -> bool:
    return job.get_status() == JobStatus.FINISHED


def connected(connection: Redis) -> bool:
    try:
        return bool(connection.ping())
    except RedisError:
        return False


@contextmanager
def killed_at_the_end(process: Process) -> Iterator[Process]:
    """A process that a failing test doesn't leave behind."""
    with process:
        try:
            yield process
        finally:
            process.kill()


def burst(redis_url: str, output_dir: Path, **options: Any) -> None:
    max_bytes = options.get("max_payload_bytes", sys.maxsize)
    with connect(redis_url) as connection, RecordWriter(str(output_dir), max_bytes=max_bytes) as writer:
        RecorderWorker(connection, writer, Options(**options)).run(burst=True)


def recordings(output_dir: Path) -> dict[str, Any]:
    """Every recording's content, by its path inside OUTPUT_DIR."""
    found = [*output_dir.glob("daily/*/processed/*.json"), *output_dir.glob("daily/*/scrapers/*/*.json")]
    return {str(path.relative_to(output_dir)): json.loads(path.read_bytes()) for path in found}


def assert_summaries_are_exact(output_dir: Path) -> None:
    by_day: dict[str, set[tuple[str, str]]] = {}
    for path, content in recordings(output_dir).items():
        _, day, *middle, _ = path.split("/")
        scraper = "unknown" if middle == ["processed"] else content["job"]["metadata"]["scraper_id"]
        by_day.setdefault(day, set()).add((scraper, content["job_id"]))
    for day, jobs in by_day.items():
        summary = json.loads((output_dir / "daily" / day / "summary.json").read_bytes())
        assert summary["date"] == day
        assert summary["total_jobs"] == len(summary["jobs"]) == len(jobs)
        assert {(job["scraper_id"], job["job_id"]) for job in summary["jobs"]} == jobs
        assert sum(scraper["count"] for scraper in summary["scrapers"].values()) == len(jobs)
        for name, scraper in summary["scrapers"].items():
            times = [job["timestamp"] for job in summary["jobs"] if job["scraper_id"] == name]
            assert (scraper["count"], scraper["first_job"], scraper["last_job"]) == (len(times), min(times), max(times))
    assert os.readlink(output_dir / "latest") == f"daily/{max(by_day)}"


def assert_nothing_is_left_over(output_dir: Path, connection: Redis) -> None:
    left = [str(path) for path in output_dir.rglob("*.tmp")]
    assert not left, left
    assert connection.llen("rq:queue:recorder") == 0
    assert not connection.keys("rq:recorder:recorder:taken:*")
