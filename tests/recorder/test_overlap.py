"""Under load Redis acknowledges one batch and takes the next while another is being read and written."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from rq.job import Job

from app.recorder.bookkeeping import Bookkeeper
from app.recorder.client import connect, enqueue_result, enqueue_results
from app.recorder.intake import Intake
from app.recorder.worker import Options, RecorderWorker
from app.recorder.write import RecordWriter
from app.store.errors import StorageError
from tests.recording import assert_nothing_is_left_over, assert_summaries_are_exact, recordings, result

QUEUE_KEY = "rq:queue:recorder"


@contextmanager
def worker(redis_url: str, tmp_path: Path, stop: threading.Event | None = None) -> Iterator[RecorderWorker]:
    with connect(redis_url) as connection, RecordWriter(str(tmp_path)) as writer:
        yield RecorderWorker(connection, writer, Options(batch_size=2), stop)


def enqueued(connection: Redis, number: int) -> list[str]:
    return enqueue_results((result(f"job-{each}") for each in range(number)), connection=connection)


def waiting(connection: Redis) -> list[str]:
    return [job_id.decode() for job_id in cast(list[bytes], connection.lrange(QUEUE_KEY, 0, -1))]


def statuses(connection: Redis, ids: list[str]) -> list[str]:
    return [str(Job.fetch(job_id, connection=connection).get_status().value) for job_id in ids]


def after(monkeypatch: pytest.MonkeyPatch, owner: type, name: str, number: int, act: Callable[[], Any]) -> None:
    """Do something when a method was called so many times."""
    real, calls = getattr(owner, name), 0

    def call(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        returned = real(*arguments, **options)
        if calls == number:
            act()
        return returned

    monkeypatch.setattr(owner, name, call)


def test_redis_acknowledges_the_last_batch_and_takes_the_next_while_one_is_worked_on(
    redis_url: str, connection: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    watched = {
        Intake: ("take", "begin_to_take", "taken_ahead"),
        RecordWriter: ("begin", "commit"),
        Bookkeeper: ("begin_to_finish", "finished"),
    }
    for owner, name in ((owner, name) for owner, names in watched.items() for name in names):
        for number in range(1, 9):
            after(monkeypatch, owner, name, number, lambda name=name: steps.append(name))  # type: ignore[misc]
    ids = enqueued(connection, 6)
    with worker(redis_url, tmp_path) as recorder:
        recorder.run(burst=True)
    first = ["take", "begin_to_take", "begin", "taken_ahead", "commit", "begin_to_finish"]
    middle = ["begin_to_take", "begin", "finished", "taken_ahead", "commit", "begin_to_finish"]
    last = [*middle, "finished", "take", "taken_ahead"]
    assert steps == first + middle + last
    assert statuses(connection, ids) == ["finished"] * 6
    assert_nothing_is_left_over(tmp_path, connection)


def test_when_told_to_stop_it_acknowledges_what_is_on_disk_and_gives_back_the_rest(
    redis_url: str, connection: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = threading.Event()
    after(monkeypatch, RecordWriter, "commit", 1, stop.set)
    ids = enqueued(connection, 7)
    with worker(redis_url, tmp_path, stop) as recorder:
        recorder.run()
    assert len(recordings(tmp_path)) == 2
    assert statuses(connection, ids) == ["finished"] * 2 + ["queued"] * 5
    assert waiting(connection) == ids[2:]
    assert_summaries_are_exact(tmp_path)


def test_a_payload_that_comes_under_the_id_of_a_job_in_hand_is_recorded_too(
    redis_url: str, connection: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    after(
        monkeypatch,
        Intake,
        "take",
        1,
        lambda: enqueue_result(result("job-b"), connection=connection, job_id="rq-1"),
    )
    enqueue_result(result("job-a"), connection=connection, job_id="rq-1")
    with worker(redis_url, tmp_path) as recorder:
        recorder.run(burst=True)
    assert {content["job_id"] for content in recordings(tmp_path).values()} == {"job-a", "job-b"}
    assert statuses(connection, ["rq-1"]) == ["finished"]
    assert_nothing_is_left_over(tmp_path, connection)


def test_jobs_that_are_still_in_hand_are_not_taken_a_second_time(
    redis_url: str, connection: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RQ's own path finishes a job that another depends on: it is on our list while the next batch is taken."""
    staged: list[str] = []
    stage = RecordWriter.stage_built

    def watch(self: RecordWriter, built: Any) -> Any:
        staged.append(built.place.job_id)
        return stage(self, built)

    monkeypatch.setattr(RecordWriter, "stage_built", watch)
    ids = enqueued(connection, 8)
    for job_id in ids[:3]:
        connection.sadd(f"rq:job:{job_id}:dependents", "nobody")
    with worker(redis_url, tmp_path) as recorder:
        recorder.run(burst=True)
    assert staged == [f"job-{number}" for number in range(8)]
    assert statuses(connection, ids) == ["finished"] * 8


@pytest.mark.parametrize("number", range(1, 4))
def test_when_the_disk_refuses_a_batch_those_on_disk_are_acknowledged_and_the_rest_given_back_in_order(
    redis_url: str, connection: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse() -> None:
        raise StorageError("refused")

    ids = enqueued(connection, 7)
    with pytest.MonkeyPatch.context() as patch:
        after(patch, RecordWriter, "begin", number, refuse)
        with worker(redis_url, tmp_path) as recorder, pytest.raises(StorageError):
            recorder.run(burst=True)
    done = 2 * (number - 1)
    assert statuses(connection, ids) == ["finished"] * done + ["queued"] * (7 - done)
    assert waiting(connection) == ids[done:]
    with worker(redis_url, tmp_path) as recorder:
        recorder.run(burst=True)
    assert len(recordings(tmp_path)) == 7
    assert_nothing_is_left_over(tmp_path, connection)


@pytest.mark.parametrize(
    ("owner", "method"),
    [(Intake, "take"), (Intake, "taken_ahead"), (Bookkeeper, "begin_to_finish"), (Bookkeeper, "finished")],
)
@pytest.mark.parametrize("number", range(1, 5))
def test_when_redis_fails_in_between_all_is_recorded_once_and_acknowledged(
    redis_url: str,
    connection: Redis,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    owner: type,
    method: str,
    number: int,
) -> None:
    """The answer is lost, not the call: the worst that a cut can do."""

    def lose() -> None:
        raise RedisConnectionError("cut")

    stop = threading.Event()
    after(monkeypatch, owner, method, number, lose)
    ids = enqueued(connection, 9)
    with worker(redis_url, tmp_path, stop) as recorder:
        thread = threading.Thread(target=recorder._loop, kwargs={"burst": False})
        recorder.appear()
        thread.start()
        try:
            for job_id in ids:
                connection.xread({f"rq:results:{job_id}": "0"}, block=20_000)
        finally:
            stop.set()
            thread.join()
            recorder._leave()
    assert statuses(connection, ids) == ["finished"] * 9
    assert len(recordings(tmp_path)) == 9
    assert_nothing_is_left_over(tmp_path, connection)
    assert_summaries_are_exact(tmp_path)
