"""What the recorder leaves in Redis is what RQ's own worker leaves, key by key and field by field."""

from __future__ import annotations

import base64
import json
import pickle
import re
import warnings
import zlib
from pathlib import Path
from typing import Any, cast

import pytest
from redis import Redis
from rq import Queue, Repeat, Retry, SimpleWorker
from rq.job import Job
from rq.serializers import JSONSerializer

from app.recorder.client import connect, enqueue_result
from app.recorder.decode import RECORD_FUNCTION
from app.recorder.worker import Options, RecorderWorker
from app.recorder.write import RecordWriter
from tests.recorder.test_old_clients import old_payload

GOOD = {
    "job_id": "job-1",
    "job": {"created_at": "2025-02-17T06:46:23Z", "metadata": {"scraper_id": "nyc"}},
    "result": {"text": "x"},
    "status": "completed",
}
BAD: dict[str, Any] = {"job": {}}
UUID_HEX = re.compile(r"[0-9a-f]{32}")
TIMES = (
    "started_at",
    "ended_at",
    "last_heartbeat",
    "execution_started_at",
    "execution_ended_at",
    "enqueued_at",
    "created_at",
)


def record_with_ours(url: str, output_dir: Path, **options: Any) -> None:
    with connect(url) as connection, RecordWriter(str(output_dir)) as writer:
        RecorderWorker(connection, writer, Options(**options)).run(burst=True)


def record_with_stock(url: str, output_dir: Path, serializer: Any = None) -> None:
    with Redis.from_url(url) as connection:
        queue = Queue("recorder", connection=connection, serializer=serializer)
        SimpleWorker([queue], connection=connection, serializer=serializer).work(burst=True, logging_level="CRITICAL")


def snapshot(url: str) -> dict[str, Any]:
    """Every key of a Redis with its value and time to live, without what differs from run to run."""
    with Redis.from_url(url) as connection:
        keys = sorted(key.decode() for key in cast(list[bytes], connection.keys("*")))
        return {name(key): (content(connection, key), time_to_live(connection, key)) for key in keys if kept(key)}


def kept(key: str) -> bool:
    return not key.startswith(("rq:clean_", "rq:recorder:recorder:"))


def name(key: str) -> str:
    return re.sub(r"^rq:worker:.*", "rq:worker", key)


def time_to_live(connection: Any, key: str) -> str:
    seconds = connection.ttl(key)
    if key.startswith("rq:worker"):
        return "some"
    return str(seconds) if seconds < 0 else f"about {round(seconds, -1)}"


def content(connection: Any, key: str) -> Any:
    kind = connection.type(key).decode()
    if kind == "hash":
        return {
            field.decode(): value(field.decode(), raw)
            for field, raw in connection.hgetall(key).items()
            if not (key.startswith("rq:worker") and field.decode() not in WORKER_COUNTERS)
        }
    if kind == "stream":
        return [
            {field.decode(): value(field.decode(), raw) for field, raw in entry.items()}
            for _, entry in connection.xrange(key)
        ]
    if kind == "zset":
        return [
            (member.decode(), "inf" if score == float("inf") else "score")
            for member, score in connection.zrange(key, 0, -1, withscores=True)
        ]
    if kind == "set":
        return {re.sub(r"rq:worker:.*", "rq:worker", member.decode()) for member in connection.smembers(key)}
    return connection.lrange(key, 0, -1) if kind == "list" else connection.get(key)


WORKER_COUNTERS = ("successful_job_count", "failed_job_count", "total_working_time", "queues")


def value(field: str, raw: bytes) -> Any:
    text = raw.decode("latin-1")
    if field in TIMES:
        return "a time" if text else ""
    if field in ("worker_name", "total_working_time", "execution_id"):
        return "differs" if text else ""
    if field == "exc_string":
        return "UnrecordableError" in zlib.decompress(base64.b64decode(raw)).decode()
    if field in ("return_value", "result"):
        raw = base64.b64decode(raw) if field == "return_value" else raw
        loaded = pickle.loads(raw) if raw[:1] == b"\x80" else json.loads(raw)
        return {**loaded, "output_file": Path(loaded["output_file"]).name, "kind": raw[:1]}
    return zlib.decompress(raw) if field == "data" else text


def both(
    redis_server: str, tmp_path: Path, enqueue: Any, serializer: Any = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the two workers leave of the same jobs, in two databases."""
    snapshots = []
    for database in (0, 1):
        url = f"{redis_server}/{database}"
        with Redis.from_url(url) as connection:
            connection.flushdb()
            enqueue(Queue("recorder", connection=connection, serializer=serializer))
        if database == 0:
            record_with_stock(url, tmp_path, serializer)
        else:
            record_with_ours(url, tmp_path / "ours")
        snapshots.append(snapshot(url))
    return snapshots[0], snapshots[1]


@pytest.fixture(autouse=True)
def output_dir(clean_environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clean_environment.setenv("OUTPUT_DIR", str(tmp_path / "stock"))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"result_ttl": 60},
        {"result_ttl": 0},
        {"result_ttl": -1},
        {"ttl": 3600, "failure_ttl": 7200, "job_timeout": 30},
        {"meta": {"who": "me"}, "description": "a result"},
        {"retry": Retry(max=2)},
    ],
    ids=str,
)
def test_a_recorded_job_is_left_as_a_stock_worker_leaves_it(redis_server: str, tmp_path: Path, options: Any) -> None:
    stock, ours = both(
        redis_server, tmp_path, lambda queue: queue.enqueue(RECORD_FUNCTION, GOOD, job_id="rq-1", **options)
    )
    assert ours == stock


def test_a_job_of_an_rq_1_16_client_is_left_as_a_stock_worker_leaves_it(redis_server: str, tmp_path: Path) -> None:
    fields = {**old_payload("plain-dict"), b"status": b"queued"}
    fields.pop(b"stopped_callback_name")

    def enqueue(queue: Queue) -> None:
        queue.connection.hset("rq:job:rq-1", mapping=fields)  # type: ignore[arg-type]
        queue.connection.rpush(queue.key, "rq-1")

    stock, ours = both(redis_server, tmp_path, enqueue)
    assert ours == stock
    assert "group_id" in ours["rq:job:rq-1"][0]


def test_a_failed_job_is_left_as_a_stock_worker_leaves_it(redis_server: str, tmp_path: Path) -> None:
    stock, ours = both(redis_server, tmp_path, lambda queue: queue.enqueue(RECORD_FUNCTION, BAD, job_id="rq-1"))
    assert ours == stock
    assert any(key.startswith("rq:failed") for key in ours)


def test_the_json_serializer_gets_its_return_value_in_json(redis_server: str, tmp_path: Path) -> None:
    stock, ours = both(
        redis_server,
        tmp_path,
        lambda queue: queue.enqueue(RECORD_FUNCTION, GOOD, job_id="rq-1"),
        serializer=JSONSerializer,
    )
    assert ours == stock


def test_dependents_are_enqueued_as_a_stock_worker_does(redis_server: str, tmp_path: Path) -> None:
    def enqueue(queue: Queue) -> None:
        first = queue.enqueue(RECORD_FUNCTION, GOOD, job_id="rq-1")
        Queue("other", connection=queue.connection).enqueue("some.function", depends_on=first, job_id="rq-2")

    stock, ours = both(redis_server, tmp_path, enqueue)
    assert ours == stock
    assert ours["rq:queue:other"][0] == [b"rq-2"]


def test_repeats_are_scheduled_as_a_stock_worker_does(redis_server: str, tmp_path: Path) -> None:
    stock, ours = both(
        redis_server,
        tmp_path,
        lambda queue: queue.enqueue(RECORD_FUNCTION, GOOD, job_id="rq-1", repeat=Repeat(times=1, interval=60)),
    )
    assert ours == stock


def test_a_producer_that_waits_gets_the_return_value(redis_url: str, connection: Redis, tmp_path: Path) -> None:
    job = enqueue_result(GOOD, connection=connection)
    record_with_ours(redis_url, tmp_path)
    fetched = Job.fetch(job.id, connection=connection)
    assert fetched.is_finished
    assert fetched.return_value() == {
        "status": "completed",
        "error": None,
        "output_file": f"{tmp_path}/daily/2025-02-17/scrapers/nyc/job-1.json",
    }
    assert fetched.args == (GOOD,)


def test_a_callback_runs_only_where_the_operator_allows_it(redis_url: str, connection: Redis, tmp_path: Path) -> None:
    marker = f"{__name__}.note_success"
    for number, allowed in enumerate((frozenset[str](), frozenset({marker}))):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            job = enqueue_result(GOOD, connection=connection, on_success=marker)
        record_with_ours(redis_url, tmp_path, allowed_callbacks=allowed)
        assert Job.fetch(job.id, connection=connection).is_finished
        assert connection.get("called") == (None, b"yes")[number]


def note_success(job: Job, connection: Redis, result: Any) -> None:
    connection.set("called", "yes")
