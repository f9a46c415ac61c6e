"""What the recorder leaves in Redis is what RQ's own worker leaves, key by key and field by field; and a receipt in the
place of a payload.
"""

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
from tests.recording import recordings

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
    if field == "data":
        return zlib.decompress(raw) if raw[:1] == b"x" else "a receipt"
    return text


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


def with_receipt(stock: dict[str, Any]) -> dict[str, Any]:
    """What a stock worker leaves, with a receipt in the place of the payload, if the job is kept at all."""
    if "rq:job:rq-1" not in stock:
        return stock
    fields, seconds = stock["rq:job:rq-1"]
    return {**stock, "rq:job:rq-1": ({**fields, "data": "a receipt"}, seconds)}


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
    assert ours == with_receipt(stock)


def test_a_job_of_an_rq_1_16_client_is_left_as_a_stock_worker_leaves_it(redis_server: str, tmp_path: Path) -> None:
    fields = {**old_payload("plain-dict"), b"status": b"queued"}
    fields.pop(b"stopped_callback_name")

    def enqueue(queue: Queue) -> None:
        queue.connection.hset("rq:job:rq-1", mapping=fields)  # type: ignore[arg-type]
        queue.connection.rpush(queue.key, "rq-1")

    stock, ours = both(redis_server, tmp_path, enqueue)
    assert ours == with_receipt(stock)
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
    assert ours == with_receipt(stock)


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
    assert (fetched.func_name, fetched.args) == (RECORD_FUNCTION, ())
    assert fetched.kwargs == {"recorded_in": f"{tmp_path}/daily/2025-02-17/scrapers/nyc/job-1.json"}
    assert fetched.description == "record the result of job 'job-1'"


@pytest.mark.parametrize("serializer", [None, JSONSerializer])
def test_a_receipt_is_read_by_the_producers_serializer(
    redis_url: str, connection: Redis, tmp_path: Path, serializer: Any
) -> None:
    queue = Queue("recorder", connection=connection, serializer=serializer)
    job = queue.enqueue(RECORD_FUNCTION, {**GOOD, "result": "x" * 100_000})
    before = connection.memory_usage(job.key, samples=0)
    record_with_ours(redis_url, tmp_path)
    fetched = Job.fetch(job.id, connection=connection, serializer=serializer)
    assert list(fetched.kwargs) == ["recorded_in"]
    assert cast(dict[str, str], fetched.return_value())["output_file"] == fetched.kwargs["recorded_in"]
    assert connection.hstrlen(job.key, "data") < 300
    after = connection.memory_usage(job.key, samples=0)
    assert before and after and after < before


def test_a_job_that_waits_twice_is_recorded_once_and_finished(
    redis_url: str, connection: Redis, tmp_path: Path
) -> None:
    job = enqueue_result(GOOD, connection=connection, job_id="rq-1")
    connection.rpush("rq:queue:recorder", "rq-1")
    record_with_ours(redis_url, tmp_path, batch_size=1)
    assert job.get_status() == "finished"
    assert len(recordings(tmp_path)) == 1
    assert not (tmp_path / "quarantine").exists()


def test_a_recorded_job_that_is_enqueued_again_is_finished_again(
    redis_url: str, connection: Redis, tmp_path: Path
) -> None:
    job = enqueue_result(GOOD, connection=connection)
    record_with_ours(redis_url, tmp_path)
    for _ in range(2):
        Queue("recorder", connection=connection).enqueue_job(Job.fetch(job.id, connection=connection))
        record_with_ours(redis_url, tmp_path)
        fetched = Job.fetch(job.id, connection=connection)
        assert (fetched.get_status(), list(fetched.kwargs)) == ("finished", ["recorded_in"])
    assert len(recordings(tmp_path)) == 1
    (tmp_path / "daily/2025-02-17/scrapers/nyc/job-1.json").unlink()
    Queue("recorder", connection=connection).enqueue_job(Job.fetch(job.id, connection=connection))
    record_with_ours(redis_url, tmp_path)
    assert job.get_status(refresh=True) == "failed"
    (kept,) = (tmp_path / "quarantine").rglob("*.json")
    assert "no recording where it says" in json.loads(kept.read_text())["reason"]


@pytest.mark.parametrize("path", ["/etc/passwd", "{root}/daily/../secret.json", "{root}/daily/2025-02-17", ""])
def test_a_receipt_that_names_no_recording_goes_to_quarantine(
    redis_url: str, connection: Redis, tmp_path: Path, path: str
) -> None:
    enqueue_result(GOOD, connection=connection)
    (tmp_path / "secret.json").write_text("{}")
    forged = Queue("recorder", connection=connection).enqueue(
        RECORD_FUNCTION, recorded_in=path.replace("{root}", str(tmp_path))
    )
    record_with_ours(redis_url, tmp_path)
    assert forged.get_status() == "failed"
    assert len(list((tmp_path / "quarantine").rglob("*.json"))) == 1


def test_a_producers_own_time_to_live_counts_else_the_operators(
    redis_url: str, connection: Redis, tmp_path: Path
) -> None:
    wanted = {"shorter": 30, "none": None, "longer": 90_000}
    for job_id, ttl in wanted.items():
        enqueue_result({**GOOD, "job_id": job_id}, connection=connection, job_id=job_id, result_ttl=ttl)
    record_with_ours(redis_url, tmp_path, default_result_ttl_s=1_000)
    found = {job_id: connection.ttl(f"rq:job:{job_id}") for job_id in wanted}
    assert 0 < found["shorter"] <= 30 < 900 < found["none"] <= 1_000 < 80_000 < found["longer"]


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
