"""`bouy demo`: a fleet of its own records results generated or recorded before, and says what came of them."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from redis import Redis

from app.bouy.local import Fleet
from app.bouy.services import Site, in_order, output_dir
from app.recorder import client
from app.service.command import stop_undisturbed, stoppable
from app.store import encode, record
from app.store.errors import RecorderError, ServiceUnavailableError, UnrecordableError, UsageError
from app.store.layout import Layout, Place, safe_name

_FIRST_PORT = 6480
_FIRST_DB_PORT = 55432
_POLL_S = 0.1
_MOST_WAITING = 500
_STALLED_S = 120.0
_SUMMARY_WAIT_S = 5.0
_FAILED = frozenset({b"failed", b"stopped", b"canceled"})
_NOT_RECORDINGS = frozenset({"superseded", "quarantine"})


@dataclass(frozen=True, slots=True)
class Failure:
    """A result that was not recorded."""

    job_id: str
    reason: str
    kept_in: str | None
    """Its file in quarantine."""
    expected: bool
    """Whether it can't be recorded by anybody, for example for want of a job_id."""


@dataclass(slots=True)
class Report:
    """What came of a run."""

    output_dir: str
    recorded: int = 0
    failures: list[Failure] = field(default_factory=list)
    days: list[str] = field(default_factory=list)
    example: str | None = None
    seconds: float = 0.0

    @property
    def complete(self) -> bool:
        """Whether all that can be recorded was."""
        return all(failure.expected for failure in self.failures)


def demo_site(site: Site) -> Site:
    """The demonstration's own state, servers and output folder, so that nothing of it reaches the real ones."""
    environ = {"OUTPUT_DIR": "outputs-demo", **{name: value for name, value in site.environ.items() if value}}
    for name in ("REDIS_URL", "DATABASE_URL"):
        environ.pop(name, None)
    state = site.state / "demo"
    return replace(site, state=state, environ=environ, first_port=_FIRST_PORT, first_db_port=_FIRST_DB_PORT)


@contextmanager
def demo_fleet(fleet: Fleet, keep: bool) -> Iterator[None]:
    """The demonstration's fleet, running; stopped at the end, however that comes, unless it is to be kept."""
    names = [service.name for service in in_order(["recorder", "db"])]
    fleet.make_folders()
    with only_one(fleet.site.state), stoppable():
        kept = False
        try:
            if not fleet.supervisor.running():
                fleet.down(names)
                shutil.rmtree(fleet.site.state / "redis", ignore_errors=True)  # what an interrupted run left waiting
            fleet.up(names)
            yield
            kept = keep
        finally:
            stop_undisturbed()
            if not kept:
                fleet.down(names)


@contextmanager
def only_one(state: Path) -> Iterator[None]:
    """Hold the demonstration's state folder, or raise: two runs would stop each other's fleet."""
    with open(state / "demo.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RecorderError("another ./bouy demo is running in this checkout") from None
        yield


def recordings(folder: Path) -> list[Path]:
    """The files below a folder that can be recordings, sorted; raises `UsageError` if there is none."""
    if not folder.is_dir():
        raise UsageError("not a folder", path=str(folder))
    found: list[Path] = []
    for path, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in _NOT_RECORDINGS and not name.startswith(".")]
        found += [
            Path(path, name)
            for name in names
            if name.endswith(".json") and name != "summary.json" and not name.startswith(".")
        ]
    if not found:
        raise UsageError("no recordings (*.json) in it", path=str(folder))
    return sorted(found)


def load_recordings(paths: Iterable[Path], skip: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """The recordings in these files; `skip` is told of each that can't be read, and why."""
    for path in paths:
        try:
            data = encode.load(path.read_bytes())
        except (OSError, ValueError) as error:
            skip(f"skipped, not readable as JSON: {path} ({error})")
            continue
        if isinstance(data, dict) and "job" in data:
            yield data
        else:
            skip(f"skipped, not a recording: {path}")


@dataclass(frozen=True, slots=True)
class _Sent:
    """A result that was handed over."""

    job: Any
    """Its RQ job."""
    place: Place | None
    """Where it will be; None if it can't be recorded."""


class Run:
    """Results on their way through the demonstration's recorder."""

    def __init__(self, connection: Redis, layout: Layout, progress: Callable[[int], None]) -> None:
        self._connection = connection
        self._layout = layout
        self._progress = progress
        self._waiting: list[_Sent] = []
        self._failed: list[_Sent] = []
        self._job_ids: dict[str, set[str]] = {}
        self._report = Report(layout.root)

    def record(self, results: Iterable[dict[str, Any]]) -> Report:
        """Send results as a producer does, and wait until each is recorded or has failed."""
        started = time.monotonic()
        for data in results:
            self._waiting.append(_Sent(client.enqueue_result(data, connection=self._connection), _place(data)))
            self._settle(_MOST_WAITING)
        self._settle(0)
        self._report.seconds = time.monotonic() - started
        self._report.failures = [self._failure(sent) for sent in self._failed]
        self._report.days = sorted(self._job_ids)
        self._await_summaries()
        return self._report

    def _settle(self, most_waiting: int) -> None:
        """Wait until no more than so many results wait."""
        stalled_at = time.monotonic() + _STALLED_S
        while len(self._waiting) > most_waiting:
            if self._take_settled():
                stalled_at = time.monotonic() + _STALLED_S
            elif time.monotonic() > stalled_at:
                raise ServiceUnavailableError(f"nothing was recorded for {_STALLED_S:.0f} s; see the recorder's log")
            if len(self._waiting) > most_waiting:
                time.sleep(_POLL_S)

    def _take_settled(self) -> bool:
        asked, self._waiting = self._waiting[:_MOST_WAITING], self._waiting[_MOST_WAITING:]
        with self._connection.pipeline(transaction=False) as pipeline:
            for sent in asked:
                pipeline.hget(sent.job.key, "status")
            statuses = pipeline.execute()
        still_waiting = []
        for sent, status in zip(asked, statuses, strict=True):
            if status is None or status == b"finished":  # gone: finished long enough ago for RQ to forget it
                self._note_recorded(sent.place)
            elif status in _FAILED:
                self._failed.append(sent)
            else:
                still_waiting.append(sent)
        self._waiting = still_waiting + self._waiting
        settled = len(asked) - len(still_waiting)
        self._progress(settled)
        return settled > 0

    def _note_recorded(self, place: Place | None) -> None:
        self._report.recorded += 1
        if place is not None:
            self._job_ids.setdefault(place.date, set()).add(place.job_id)
            self._report.example = self._report.example or self._layout.recording(place)

    def _failure(self, sent: _Sent) -> Failure:
        job_id, expected = sent.job.id, sent.place is None
        for kept in Path(self._layout.root, "quarantine").glob(f"*/{safe_name(job_id)}.*.json"):
            return Failure(job_id, encode.load(kept.read_bytes())["reason"], str(kept), expected)
        result = sent.job.latest_result()
        lines = ((result.exc_string if result else None) or "unknown reason").strip().splitlines()
        return Failure(job_id, lines[-1], None, expected)

    def _await_summaries(self) -> None:
        """Wait until the summaries hold this run's jobs: the recorder writes them once it is idle."""
        deadline = time.monotonic() + _SUMMARY_WAIT_S
        for day, job_ids in self._job_ids.items():
            while time.monotonic() < deadline:
                summary = read_summary(self._layout, day)
                if job_ids <= {entry["job_id"] for entry in summary.get("jobs", [])}:
                    break
                time.sleep(_POLL_S)


def run_demo(fleet: Fleet, results: Iterable[dict[str, Any]], progress: Callable[[int], None]) -> Report:
    """Record results with a running demonstration fleet."""
    settings = fleet.settings()
    with client.connect(settings["REDIS_URL"]) as connection:
        return Run(connection, Layout(output_dir(fleet.site, settings)), progress).record(results)


def read_summary(layout: Layout, day: str) -> dict[str, Any]:
    """A day's summary; empty while there is none."""
    try:
        loaded: dict[str, Any] = encode.load(Path(layout.summary(day)).read_bytes())
    except FileNotFoundError:
        return {}
    return loaded


def _place(data: dict[str, Any]) -> Place | None:
    """Where a result will be recorded; None if it can't be."""
    try:
        return record.build(data, enqueued_at=None, now=datetime.now(UTC)).place
    except UnrecordableError:
        return None
