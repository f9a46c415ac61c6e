"""Handing results over, one by one and many at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from rq.job import Job

from app.recorder.client import enqueue_result, enqueue_results
from app.recorder.decode import RECORD_FUNCTION
from app.store.errors import ServiceUnavailableError
from tests.recording import assert_summaries_are_exact, burst, recordings, result


def many(number: int, **more: Any) -> Iterator[dict[str, Any]]:
    return (result(f"job-{each}", **more) for each in range(number))


def executions(connection: Redis) -> int:
    stats = connection.info("commandstats")
    return int(stats.get("cmdstat_exec", {"calls": 0})["calls"])


def test_many_results_are_handed_over_in_few_steps_and_recorded(
    redis_url: str, connection: Redis, tmp_path: Path
) -> None:
    before = executions(connection)
    ids = enqueue_results(many(250), connection=connection, result_ttl=60)
    assert executions(connection) - before == 3
    assert connection.lrange("rq:queue:recorder", 0, -1) == [job_id.encode() for job_id in ids]
    burst(redis_url, tmp_path)
    assert len(recordings(tmp_path)) == len(set(ids)) == 250
    assert_summaries_are_exact(tmp_path)
    assert 0 < connection.ttl(f"rq:job:{ids[0]}") <= 60


def test_a_generator_is_asked_for_no_more_than_a_step_holds(connection: Redis) -> None:
    handed_over: list[int] = []

    def watched() -> Iterator[dict[str, Any]]:
        for each in many(5, result="x" * 3_000_000):
            handed_over.append(connection.llen("rq:queue:recorder"))
            yield each

    assert len(enqueue_results(watched(), connection=connection)) == 5
    assert handed_over == [0, 0, 0, 3, 3]  # three of them are more than 8 MiB


def test_nothing_is_handed_over_of_nothing(connection: Redis) -> None:
    assert enqueue_results([], connection=connection) == []
    assert connection.keys("rq:queue:*") == []


def test_how_many_were_taken_is_said_when_redis_takes_no_more(connection: Redis) -> None:
    def failing() -> Iterator[dict[str, Any]]:
        for number, each in enumerate(many(150)):
            if number == 120:
                connection.config_set("maxmemory", 1)
            yield each

    try:
        with pytest.raises(ServiceUnavailableError, match=r"Redis took 100 results, and then no more: .*maxmemory"):
            enqueue_results(failing(), connection=connection)
    finally:
        connection.config_set("maxmemory", 0)
    assert connection.llen("rq:queue:recorder") == 100


def test_a_job_is_what_rq_makes_of_it(connection: Redis) -> None:
    data = next(many(1))
    ours = enqueue_result(data, connection=connection, meta={"who": "me"}, result_ttl=9)
    (bulk,) = enqueue_results([data], connection=connection, meta={"who": "me"}, result_ttl=9)
    for job_id in (ours.id, bulk):
        job = Job.fetch(job_id, connection=connection)
        assert (job.func_name, job.args, job.kwargs) == (RECORD_FUNCTION, (data,), {})
        assert (job.meta, job.result_ttl, job.get_status()) == ({"who": "me"}, 9, "queued")
        assert job.description == "record the result of job 'job-0'"
    assert ours.args == (data,)


def test_the_job_that_is_returned_can_be_saved_again(connection: Redis) -> None:
    job = enqueue_result(next(many(1)), connection=connection)
    job.meta["more"] = 1
    job.save()
    assert Job.fetch(job.id, connection=connection).args == job.args
