"""A load of results as a pipeline hands them over, and all that must hold of it once the recorders have had their time.

Several days and scrapers; some results come twice, some jobs have several different results.
"""

from __future__ import annotations

import base64
import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from redis import Redis
from rq.job import Job

from app.recorder.client import enqueue_result
from app.recorder.write import RecordWriter
from tests.recording import assert_summaries_are_exact, recordings

RECOVERY_S = 10.0
"""The promise: how long after a restart everything holds."""

_MOST_WAITING = 250
_PATIENCE_S = 12.0
"""How long to wait for what should take `RECOVERY_S`, to tell what is late from what never comes."""

_SCRAPERS = ("nyc", "food_helpline_org", None)
_START = datetime(2025, 2, 17, 6, tzinfo=UTC)
_KEEP_S = 3600


def result(job_id: str, text: str = "x", *, day: int = 0, scraper: str | None = "nyc", **fields: Any) -> dict[str, Any]:
    created_at = (_START + timedelta(days=day)).isoformat()
    job = {"created_at": created_at, "metadata": {} if scraper is None else {"scraper_id": scraper}}
    return {"job_id": job_id, "job": job, "result": {"text": text}, **fields}


def completed(minute: int) -> str:
    return (_START + timedelta(minutes=minute)).isoformat()


@dataclass(slots=True)
class Load:
    """What was enqueued, and so what must be found."""

    connection: Redis
    output: Path
    seed: int = 0
    repeats: bool = True
    """Whether `go_on` hands over some results twice, and several results of some jobs."""
    results: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """The different results of each recording, by its path inside OUTPUT_DIR."""
    good: list[str] = field(default_factory=list)
    """RQ's ids of the jobs that can be recorded."""
    bad: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What can't be recorded, by RQ's id."""
    _random: random.Random = field(init=False)
    _latest: str = ""
    _read: set[Path] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def record(self, *results: dict[str, Any]) -> None:
        """Have these recorded at once, by nobody's job, so that OUTPUT_DIR isn't new."""
        with RecordWriter(str(self.output)) as writer:
            writer.commit([writer.stage(data) for data in results])
        self.results |= {_path(data): [data] for data in results}

    def enqueue(self, data: dict[str, Any], **options: Any) -> Job:
        job = enqueue_result(data, connection=self.connection, result_ttl=_KEEP_S, **options)
        if "job_id" not in data:
            self.bad[job.id] = data
            return job
        self.good.append(job.id)
        versions = self.results.setdefault(_path(data), [])
        if data not in versions:
            versions.append(data)
        return job

    def go_on(self, seconds: float) -> None:
        """Hand over results for so long, as fast as they are taken; meanwhile be a reader."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self.connection.llen("rq:queue:recorder") < _MOST_WAITING:
                for _ in range(10):
                    self.enqueue(self._next())
            self._look_at_latest()

    def wait_until_held(self, since: float, *, live: Collection[int]) -> None:
        """Wait for all to be well, with recorders of these pids running; fail unless it was so within the promise."""
        self.wait_until(since, lambda: self.assert_all_is_well(live=live))

    def wait_until(self, since: float, check: Callable[[], None]) -> None:
        """Wait until a check passes; fail unless it was so within the time promised, counted from `since`."""
        late: Exception | None = None
        while True:
            looked_at = time.monotonic()
            try:
                check()
            except (AssertionError, FileNotFoundError) as problem:
                if looked_at - since > _PATIENCE_S:
                    raise AssertionError(f"not well after {_PATIENCE_S} s (seed {self.seed})") from problem
                late = problem
                time.sleep(0.02)
            else:
                break
        took = looked_at - since
        print(f"well after {took:.1f} s; at last there was {str(late)[:300]}")
        assert took < RECOVERY_S, f"well only after {took:.1f} s (seed {self.seed})"

    def assert_all_is_well(self, *, live: Collection[int]) -> None:
        """Everything that must hold while recorders have nothing to do."""
        self.assert_recorded_and_summed_up()
        assert not [*self.output.rglob("*.tmp"), *self.output.rglob("*.new")]
        ledgers = (self.output / ".recorder").glob("*.writer")
        assert sorted(int(path.name.split("-")[-2]) for path in ledgers) == sorted(live)

    def assert_recorded_and_summed_up(self) -> None:
        """All but what a frozen recorder still has lying about."""
        self.assert_recorded()
        assert_summaries_are_exact(self.output)
        self._look_at_latest()

    def assert_recorded(self) -> None:
        """Every job has ended, once, and every result is in its place, once."""
        assert self.connection.llen("rq:queue:recorder") == 0
        assert not self.connection.keys("rq:recorder:recorder:taken:*")
        self._assert_each_job_ended_once()
        self._assert_each_result_is_there_once()
        self._assert_quarantine()

    def assert_readable(self) -> None:
        """A reader who comes now finds nothing torn."""
        for path in self.output.rglob("*.json"):
            if path not in self._read or path.name == "summary.json":
                json.loads(path.read_bytes())
                self._read.add(path)
        self._look_at_latest()

    def _next(self) -> dict[str, Any]:
        choice = self._random.random()
        if self.repeats and self.results and choice < 0.15:
            recent = list(self.results.values())[-200:]
            data = self._random.choice(self._random.choice(recent))
            if choice < 0.1 or "completed_at" not in data:
                return data  # once more
            minute = self._random.randrange(10_000)
            return {**data, "result": {"text": f"{minute}"}, "completed_at": completed(minute)}
        fields: dict[str, Any] = {"padding": "é" * self._random.choice((0, 500, 20_000))}
        if choice < 0.6:
            fields["completed_at"] = completed(self._random.randrange(10_000))
        scraper = self._random.choice(_SCRAPERS)
        return result(f"job-{len(self.good)}", day=self._random.randrange(3), scraper=scraper, **fields)

    def _look_at_latest(self) -> None:
        if self._latest or (self.output / "latest").is_symlink():
            found = os.readlink(self.output / "latest")
            assert found >= self._latest, "latest moved back"
            self._latest = found

    def _assert_each_job_ended_once(self) -> None:
        assert self.connection.zcard("rq:failed:recorder") == len(self.bad)
        assert self.connection.zcard("rq:finished:recorder") == len(self.good)
        with self.connection.pipeline(transaction=False) as pipeline:
            for rq_id in (*self.good, *self.bad):
                pipeline.hget(f"rq:job:{rq_id}", "status")
                pipeline.xlen(f"rq:results:{rq_id}")
            found = pipeline.execute()
        assert Counter(found[::2]) == Counter({b"finished": len(self.good), b"failed": len(self.bad)})
        twice = [rq_id for rq_id, n in zip((*self.good, *self.bad), found[1::2], strict=True) if n != 1]
        assert not twice, "acknowledged more than once"

    def _assert_each_result_is_there_once(self) -> None:
        found = recordings(self.output)
        assert found.keys() == self.results.keys()
        kept = [json.loads(path.read_bytes()) for path in self.output.glob("daily/*/superseded/**/*.json")]
        superseded = Counter(_version(content) for content in kept)
        expected: Counter[tuple[Any, ...]] = Counter()
        for path, versions in self.results.items():
            *older, newest = sorted(versions, key=lambda data: str(data.get("completed_at")))
            assert {key: found[path][key] for key in newest} == newest
            expected.update(map(_version, older))
        assert superseded == expected

    def _assert_quarantine(self) -> None:
        kept = [json.loads(path.read_bytes()) for path in self.output.glob("quarantine/*/*.json")]
        assert Counter(content["job_id"] for content in kept) == Counter(self.bad.keys())
        for content in kept:
            payload = self.connection.hget(f"rq:job:{content['job_id']}", "data")
            assert base64.b64decode(content["payload"]["base64"]) == payload


def _path(data: dict[str, Any]) -> str:
    scraper = data["job"]["metadata"].get("scraper_id")
    folder = f"scrapers/{scraper}" if scraper else "processed"
    return f"daily/{data['job']['created_at'][:10]}/{folder}/{data['job_id']}.json"


def _version(data: dict[str, Any]) -> tuple[Any, ...]:
    return _path(data), data["completed_at"], data["result"]["text"]
