"""`python -m app.recorder failed`: real failures, made by a real recorder; real processes; a Redis that is watched."""

from __future__ import annotations

import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from rq import Queue, Worker
from rq.job import Job
from rq.registry import FailedJobRegistry

from app.recorder.cli import main
from app.recorder.client import enqueue_result
from app.recorder.decode import RECORD_FUNCTION
from app.recorder.failed import Failures
from app.recorder.intake import Intake
from app.recorder.peek import Form, Reader
from app.recorder.requeue import How, Requeue
from app.recorder.utils import record_result
from app.store.layout import Layout
from tests.conftest import free_port
from tests.recording import burst, killed_at_the_end, recordings, result

ROOT = Path(__file__).resolve().parents[2]
REGISTRY = "rq:failed:recorder"
QUEUE = "rq:queue:recorder"
READS = {
    "zscan",
    "hmget",
    "hstrlen",
    "xrevrange",
    "zscore",
    "hget",
    "hkeys",
    "client|setinfo",
    "client",
    "hello",
    "ping",
}

Command = Callable[..., subprocess.CompletedProcess[str]]


def start(redis_url: str, output_dir: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "app.recorder", "failed", *arguments],
        env={**os.environ, "REDIS_URL": redis_url, "OUTPUT_DIR": str(output_dir)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def run(redis_url: str, output_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    with killed_at_the_end(start(redis_url, output_dir, *arguments)) as process:
        out, errors = process.communicate(timeout=60)
    assert "Traceback" not in errors
    return subprocess.CompletedProcess(arguments, process.returncode, out, errors)


@pytest.fixture
def failed(
    redis_url: str, tmp_path: Path, clean_environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Runs `failed` with arguments, as `python -m app.recorder` does, but within this process."""
    clean_environment.setenv("REDIS_URL", redis_url)
    clean_environment.setenv("OUTPUT_DIR", str(tmp_path))

    def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        for name, value in environment.items():
            clean_environment.setenv(name, value)
        clean_environment.setattr(sys, "argv", ["recorder", "failed", *arguments])
        capsys.readouterr()
        try:
            code: Any = main()
        except SystemExit as ended:
            code = ended.code
        shown = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, code or 0, shown.out, shown.err)

    return command


def listed(connection: Redis | None, output_dir: Path) -> dict[str, str]:
    """Where each failed job is, by its id."""
    failures = Failures(connection, "recorder", Layout(str(output_dir)))
    found, totals = failures.newest(1000, lambda _: True)
    assert len(found) == len({failure.kept_name or failure.job_id for failure in found})
    assert totals.matching == len(found)
    return {failure.job_id: failure.where for failure in found}


def too_large_at_first(redis_url: str, connection: Redis, output_dir: Path, *names: str) -> list[Job]:
    """Jobs that go to quarantine now, and could be recorded later."""
    jobs = [enqueue_result(result(name), connection=connection, job_id=name) for name in names]
    burst(redis_url, output_dir, max_payload_bytes=20)
    return jobs


def state(connection: Redis) -> dict[bytes, Any]:
    """Every key: its content, and whether it expires."""
    keys: Any = connection.keys()
    return {key: (connection.dump(key), connection.ttl(key) == -1) for key in keys}


def contents(connection: Redis) -> dict[str, Any]:
    """What is in Redis of a job and the queue, in words."""
    found: dict[str, Any] = {}
    keys: Any = connection.keys()
    for key in keys:
        kind = connection.type(key)
        match kind:
            case b"hash":
                value: Any = connection.hgetall(key)
                if b"data" in value:
                    value[b"data"] = zlib.decompress(value[b"data"])
            case b"zset":
                value = connection.zrange(key, 0, -1, withscores=True)
            case b"list":
                value = connection.lrange(key, 0, -1)
            case b"set":
                value = connection.smembers(key)
            case b"stream":
                value = connection.xrange(key)
            case _:
                value = connection.get(key)
        found[key.decode()] = value
    return found


def test_a_failed_job_is_listed_once_with_its_reason_wherever_it_is_and_the_newest_comes_last(
    failed: Command, redis_url: str, connection: Redis, tmp_path: Path
) -> None:
    nameless = {"job": {"metadata": {"scraper_id": "nyc"}}}
    for name in ("only-in-quarantine", "both", "newest"):
        enqueue_result(nameless, connection=connection, job_id=name)
        burst(redis_url, tmp_path)
    connection.delete("rq:job:only-in-quarantine")
    connection.zrem(REGISTRY, "only-in-quarantine")
    enqueue_result(nameless, connection=connection, job_id="only-in-redis")
    burst(redis_url, tmp_path)
    (file,) = tmp_path.glob("quarantine/*/only-in-redis.*.json")
    file.unlink()

    shown = failed()
    assert shown.returncode == 0
    lines = shown.stdout.splitlines()
    assert [line.split()[:2] for line in lines[1:5]] == [
        ["quarantine", "only-in-quarantine"],
        ["both", "both"],
        ["both", "newest"],
        ["redis", "only-in-redis"],
    ]
    assert all(" nyc " in line and line.endswith("the result has no job_id") for line in lines[1:5])
    assert lines[5:] == ["3 failed in Redis, 3 in quarantine"]

    last = failed("list", "--limit", "1", "--json")
    document = json.loads(last.stdout)
    assert [job["job_id"] for job in document["failed"]] == ["only-in-redis"]
    assert document["totals"]["matching"] == 4
    assert "3 more" in failed("list", "--limit", "1").stdout
    assert "only" not in failed("list", "--reason", "no such reason").stdout


def test_looking_at_failed_jobs_changes_nothing_in_redis_or_on_disk(
    failed: Command, redis_url: str, connection: Redis, tmp_path: Path
) -> None:
    jobs = too_large_at_first(redis_url, connection, tmp_path, "one", "two", "gone")
    connection.delete("rq:job:gone")
    connection.zadd(REGISTRY, {"expired": 1, "one": 2})  # RQ's own way of looking would remove both
    before = state(connection)
    files = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in tmp_path.rglob("*") if path.is_file()}
    connection.config_resetstat()
    for arguments in (
        ["list"],
        ["list", "--json", "--scraper", "nyc"],
        ["show", "one"],
        ["requeue", "--all", "--dry-run"],
    ):
        assert failed(*arguments).returncode == 0
    statistics: Any = connection.info("commandstats")
    commands = {name.removeprefix("cmdstat_") for name in statistics}
    assert commands - {"config", "config|resetstat", "info"} <= READS
    assert state(connection) == before
    now = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in tmp_path.rglob("*") if path.is_file()}
    assert now == files
    assert len(jobs) == 3


def test_requeuing_from_redis_leaves_what_rq_leaves_but_for_the_time_limit(
    redis_url: str, connection: Redis, tmp_path: Path
) -> None:
    (job,) = too_large_at_first(redis_url, connection, tmp_path, "one")
    keys: Any = connection.keys()
    saved: dict[Any, tuple[Any, Any]] = {key: (connection.dump(key), connection.pttl(key)) for key in keys}
    enqueued_at: Any = connection.hget(job.key, "enqueued_at")
    FailedJobRegistry("recorder", connection=connection).requeue("one")
    by_rq = contents(connection)
    connection.flushdb()
    for key, (dump, ttl) in saved.items():
        connection.restore(key, max(0, ttl), dump)

    requeue = Requeue(connection, "recorder", Failures(connection, "recorder", Layout(str(tmp_path))))
    (step,) = requeue.plan_one("one")
    assert requeue.apply(step).how is How.REQUEUE
    ours = contents(connection)
    (note,) = ours.pop("rq:recorder:recorder:requeued")
    assert [note.decode()] == [path.name for path in tmp_path.glob("quarantine/*/*.json")]
    assert by_rq["rq:job:one"].pop(b"enqueued_at") > enqueued_at
    assert ours["rq:job:one"].pop(b"enqueued_at") == enqueued_at  # it dates results that don't say when they were made
    assert ours == by_rq
    assert connection.ttl("rq:job:one") == -1  # RQ leaves the one that it gave the failed job
    burst(redis_url, tmp_path)
    assert len(recordings(tmp_path)) == 1


def test_a_job_that_redis_has_forgotten_is_requeued_from_quarantine_under_its_id_and_its_file_stays(
    failed: Command, redis_url: str, connection: Redis, tmp_path: Path
) -> None:
    job = enqueue_result(result("one"), connection=connection, job_id="one", meta={"who": b"\xff"}, result_ttl=77)
    original: Any = connection.hgetall(job.key)
    burst(redis_url, tmp_path, max_payload_bytes=20)
    (file,) = tmp_path.glob("quarantine/*/*.json")
    kept = file.read_bytes()
    connection.flushdb()
    assert listed(connection, tmp_path) == {"one": "quarantine"}

    planned = failed("requeue", "one", "--dry-run")
    assert f"one: would be requeued from quarantine, {file}" in planned.stdout
    assert not connection.keys()
    assert failed("requeue", "one").returncode == 0
    restored: Any = connection.hgetall(job.key)
    assert {name: restored[name] for name in original if name not in (b"worker_name", b"last_heartbeat")} == {
        name: value for name, value in original.items() if name not in (b"worker_name", b"last_heartbeat")
    }
    assert Queue("recorder", connection=connection).job_ids == ["one"]
    assert Queue.all(connection=connection) == [Queue("recorder", connection=connection)]

    again = failed("requeue", "one")
    assert (again.returncode, connection.llen(QUEUE)) == (0, 1)
    assert "it is queued already" in again.stdout
    assert listed(connection, tmp_path) == {}
    burst(redis_url, tmp_path)
    assert len(recordings(tmp_path)) == 1
    connection.delete(job.key)  # as after its result_ttl
    assert listed(connection, tmp_path) == {}
    assert "1 more in quarantine were requeued" in failed().stdout
    assert file.read_bytes() == kept


def test_what_fails_again_is_listed_again(redis_url: str, connection: Redis, tmp_path: Path) -> None:
    too_large_at_first(redis_url, connection, tmp_path, "one")
    requeue = Requeue(connection, "recorder", Failures(connection, "recorder", Layout(str(tmp_path))))
    (step,) = requeue.plan_one("one")
    assert requeue.apply(step).how is How.REQUEUE
    assert requeue.apply(step).how is How.NOTHING  # as when two requeue it at once
    assert connection.llen(QUEUE) == 1
    assert listed(connection, tmp_path) == {}
    burst(redis_url, tmp_path, max_payload_bytes=20)
    assert listed(connection, tmp_path) == {"one": "both"}
    assert len(list(tmp_path.glob("quarantine/*/*.json"))) == 1


def test_a_job_that_fails_under_rqs_own_worker_is_requeued_and_its_old_file_is_no_second_failure(
    failed: Command, redis_url: str, connection: Redis, tmp_path: Path
) -> None:
    enqueue_result({"no": "job_id"}, connection=connection, job_id="one")
    Worker([Queue("recorder", connection=connection)], connection=connection).work(burst=True)
    assert listed(connection, tmp_path) == {"one": "both"}
    assert failed().stdout.splitlines()[1].endswith("  the result has no job_id")
    connection.delete("rq:job:one", "rq:results:one")
    connection.zrem(REGISTRY, "one")
    assert listed(connection, tmp_path) == {"one": "quarantine"}
    assert failed("requeue", "one").returncode == 0
    burst(redis_url, tmp_path)
    assert len(list(tmp_path.glob("quarantine/*/*.json"))) == 2
    assert listed(connection, tmp_path) == {"one": "both"}
    assert "1 failed in Redis, 1 in quarantine; 1 more" in failed().stdout


def test_a_job_that_recorders_died_with_is_read_again_after_it_is_requeued(
    failed: Command, redis_url: str, connection: Redis, tmp_path: Path
) -> None:
    job = enqueue_result(result("one"), connection=connection)
    connection.hset(Intake(connection, "recorder", "", 1).deaths_key, job.id, 3)
    burst(redis_url, tmp_path)
    assert listed(connection, tmp_path) == {job.id: "both"}
    connection.hset(Intake(connection, "recorder", "", 1).deaths_key, job.id, 3)
    assert failed("requeue", "--reason", "have died with THIS job").returncode == 0
    burst(redis_url, tmp_path)
    assert len(recordings(tmp_path)) == 1


def test_a_requeue_that_is_killed_loses_and_doubles_no_job(redis_url: str, connection: Redis, tmp_path: Path) -> None:
    names = [f"j{number}" for number in range(600)]
    too_large_at_first(redis_url, connection, tmp_path, *names)
    with killed_at_the_end(start(redis_url, tmp_path, "requeue", "--all")) as process:
        while not connection.llen(QUEUE):
            pass
        process.kill()
        process.communicate()
    queued: Any = connection.lrange(QUEUE, 0, -1)
    left: Any = connection.zrange(REGISTRY, 0, -1)
    assert 0 < len(queued) < len(names)
    assert sorted(queued + left) == sorted(name.encode() for name in names)


def test_requeuing_takes_a_selection_and_says_what_it_can_not_do(
    failed: Command, redis_url: str, connection: Redis, tmp_path: Path
) -> None:
    enqueue_result({"job": {"metadata": {"scraper_id": "nyc"}}}, connection=connection, job_id="nyc")
    enqueue_result({"job": {"metadata": {"scraper_id": "sf"}}}, connection=connection, job_id="sf")
    Queue("recorder", connection=connection).enqueue("os.system", "true", job_id="system")
    burst(redis_url, tmp_path)
    connection.hset("rq:job:queued-anew", mapping={"status": "queued", "data": "x"})
    connection.zadd(REGISTRY, {"queued-anew": 10**10})  # what RQ leaves of a job that failed and was enqueued again
    assert set(listed(connection, tmp_path)) == {"nyc", "sf", "system"}
    for arguments in ([], ["nyc", "--all"], ["--nonsense"], ["--reason", ""]):
        wrong = failed("requeue", *arguments)
        assert wrong.returncode == 2
        assert connection.llen(QUEUE) == 0
    by_scraper = failed("requeue", "--scraper", "sf")
    assert by_scraper.stdout.splitlines()[-1] == "1 requeued, 0 need nothing, 0 can't be requeued"
    failed("requeue", "--reason", "function is os.system")
    assert Queue("recorder", connection=connection).job_ids == ["sf", "system"]
    connection.hset("rq:job:nyc", "rate_limit_key", "limit")
    mixed = failed("requeue", "sf", "unknown", "nyc")
    assert mixed.returncode == 1
    assert [line.partition(": ")[0] for line in mixed.stdout.splitlines()[:3]] == ["sf", "unknown", "nyc"]
    assert "there is no such job" in mixed.stdout
    assert "rate limit" in mixed.stdout
    assert connection.llen(QUEUE) == 2
    assert failed("show", "unknown").returncode == 1


def test_without_redis_the_quarantine_is_listed_and_without_output_dir_what_redis_has(
    failed: Command, redis_url: str, connection: Redis, tmp_path: Path
) -> None:
    too_large_at_first(redis_url, connection, tmp_path, "one")
    away = f"redis://:secret@127.0.0.1:{free_port()}/0"
    for arguments in (["list"], ["show", "one"], ["requeue", "--all"]):
        shown = failed(*arguments, REDIS_URL=away)
        assert shown.returncode == 3
        assert ("the payload is larger than 20 bytes" in shown.stdout) == (arguments != ["requeue", "--all"])
        assert "can't reach Redis" in shown.stderr
        assert "secret" not in shown.stderr
    shown = run(redis_url, tmp_path / "missing")
    assert shown.returncode == 0
    assert shown.stdout.splitlines()[1].split()[:2] == ["redis", "one"]
    without = failed(REDIS_URL="")
    assert without.returncode == 3
    assert "REDIS_URL is not set" in without.stderr
    assert "the payload is larger than 20 bytes" in without.stdout


def test_whatever_lies_in_quarantine_is_reported_and_hinders_nothing_else(
    failed: Command, redis_url: str, connection: Redis, tmp_path: Path
) -> None:
    too_large_at_first(redis_url, connection, tmp_path, "good", "flipped", "short")
    connection.flushdb()
    paths = {path.name.partition(".")[0]: path for path in tmp_path.glob("quarantine/*/*.json")}
    folder = paths["good"].parent
    flipped = paths["flipped"].read_bytes()
    marker = flipped.index(b'"base64"') + 20
    paths["flipped"].write_bytes(flipped[:marker] + bytes([flipped[marker] ^ 1]) + flipped[marker + 1 :])
    paths["short"].write_bytes(paths["short"].read_bytes()[:-20])
    tail = ',\n  "payload": {\n    "base64": ""\n  }\n}\n'
    (folder / "link.0000000000000000.json").symlink_to("/etc/passwd")
    os.mkfifo(folder / "pipe.0000000000000000.json")
    (folder / "folder.0000000000000000.json").mkdir()
    (folder / "deep.0000000000000000.json").write_text('{\n  "job": ' + "[" * 100_000 + "]" * 100_000 + tail)
    (folder / "text.0000000000000000.json").write_text("not JSON" + tail)
    (folder / "list.0000000000000000.json").write_text("[" + tail)
    (folder / "odd.0000000000000000.json").write_text('{\n  "job_id": "\\ud800",\n  "job": {"\\ud800": 1}' + tail)
    (folder / os.fsdecode(b"\xff.0000000000000000.json")).write_text('{\n  "job_id": "\xff", "job": {"a": "b"}' + tail)
    (folder / "wide.0000000000000000.json").write_text('{\n  "job_id": "wide"' + " " * 17_000_000 + tail)
    (folder / "noname.json").write_text('{\n  "job_id": "noname"' + tail)
    with open(folder / "huge.0000000000000000.json", "wb") as huge:
        huge.truncate(10 * 1024**3)
    (tmp_path / "quarantine" / "2025-01-01").symlink_to("/")
    (tmp_path / "quarantine" / "not a date").mkdir()

    shown = failed()
    assert shown.returncode == 0
    damaged = {line.split()[1].partition(".")[0] for line in shown.stdout.splitlines() if "damaged: " in line}
    assert damaged == {"short", "link", "pipe", "folder", "deep", "text", "list", "huge", "wide"}
    assert shown.stdout.count("it is no plain file") == 3
    assert "14 in quarantine (9 damaged)" in shown.stdout
    requeued = failed("requeue", "--all")
    assert requeued.returncode == 1
    assert requeued.stdout.splitlines()[-1] == "1 requeued, 0 need nothing, 13 can't be requeued"
    assert f"its payload is not the one that it is named after: {paths['flipped']}" in requeued.stdout
    assert Queue("recorder", connection=connection).job_ids == ["good"]
    assert failed("show", "link.0000000000000000.json").returncode == 1


def test_ids_and_reasons_that_would_move_the_cursor_are_escaped_and_odd_bytes_are_no_hindrance(
    failed: Command, connection: Redis
) -> None:
    reason = "Traceback (most recent call last):\nValueError: \x1b[2J\x9b31m\u202egone"
    for job_id in (b"\x1b]0;title\x07", b"\xff\xfe", b"a\nb"):
        key = b"rq:job:" + job_id
        connection.hset(
            key,
            mapping={
                "status": "failed",
                "data": "nonsense",
                "ttl": "1e300",
                "exc_info": zlib.compress(reason.encode()),
            },
        )
        connection.zadd(REGISTRY, {job_id: 10**10})
    connection.set("rq:job:no-hash", "text")
    connection.zadd(REGISTRY, {"no-hash": 10**10, "expired": 10**10})
    for shown in (failed(), failed("show", "a\nb"), failed("requeue", "--all")):
        assert shown.stdout.replace("\n", "").isprintable()
    lines = failed().stdout.splitlines()
    assert "expired in Redis; only its id is left" in "".join(lines)
    queued: Any = connection.lrange(QUEUE, 0, -1)
    assert sorted(queued) == [b"\x1b]0;title\x07", b"a\nb", b"\xff\xfe"]
    assert "its key in Redis holds something that is no job" in failed("requeue", "no-hash").stdout
    assert "has expired in Redis" in failed("requeue", "expired").stdout
    assert connection.type("rq:job:no-hash") == b"string"


def test_a_result_that_was_put_away_for_another_reason_is_enqueued_as_a_new_job(
    failed: Command,
    redis_url: str,
    connection: Redis,
    tmp_path: Path,
) -> None:
    obstacle = tmp_path / "daily/2025-02-17/scrapers/nyc/one.json"
    obstacle.mkdir(parents=True)
    record_result({"no": "job_id"})
    record_result({"no": "job_id either"})
    cycle: dict[str, Any] = {}
    cycle["self"] = cycle
    record_result(cycle)
    enqueue_result(result("one"), connection=connection, job_id="its-job")
    burst(redis_url, tmp_path)
    assert listed(connection, tmp_path)["its-job"] == "both"
    planned = failed("requeue", "--all", "--dry-run").stdout.splitlines()
    assert [line.partition(":")[0] for line in planned[:-1]] == ["its-job", *["direct-call"] * 3]
    connection.flushdb()
    obstacle.rmdir()
    promised = failed("requeue", "--all", "--dry-run").stdout.splitlines()
    done = failed("requeue", "--all")
    assert done.returncode == 1
    assert [line.replace("would be ", "") for line in promised[:-1]] == done.stdout.splitlines()[:-1]
    again = failed("requeue", "direct-call")
    assert "0 requeued, 0 need nothing, 1 can't" in again.stdout
    assert "a description of the result only" in done.stdout
    assert "3 requeued, 0 need nothing, 1 can't" in done.stdout
    assert failed("requeue", "one").stdout.startswith("one: nothing to do: it is queued by now")
    burst(redis_url, tmp_path)
    assert [content["job_id"] for content in recordings(tmp_path).values()] == ["one"]
    assert sorted(listed(connection, tmp_path).values()) == ["both", "both", "quarantine"]


def test_show_tells_all_and_reads_the_payload_as_data(
    failed: Command, redis_url: str, connection: Redis, tmp_path: Path
) -> None:
    marker = tmp_path / "ran"

    class Hostile:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {marker}",)

    enqueue_result({"no": "job_id", "hostile": Hostile(), "text": "\x1b"}, connection=connection, job_id="one")
    burst(redis_url, tmp_path)
    shown = failed("show", "one")
    (file,) = tmp_path.glob("quarantine/*/*.json")
    for text in ("the result has no job_id", str(file), RECORD_FUNCTION, '"no": "job_id"', "job created_at", "failed"):
        assert text in shown.stdout
    document = json.loads(failed("show", "one", "--json").stdout)
    assert document["fields"]["origin"] == "recorder"
    assert json.loads(document["failed"][0]["preview"])["args"][0]["no"] == "job_id"
    connection.flushdb()
    assert '"no": "job_id"' in failed("show", "one").stdout
    assert not marker.exists()


def test_a_payload_that_keeps_its_reader_busy_for_ever_is_given_up() -> None:
    nested: Any = (1,)
    for _ in range(60):  # the hash of a tuple is made of its items' hashes, each time anew
        nested = (nested, nested)
    endless = b"\x80\x04}" + pickle.dumps(nested, 4)[2:-1] + b"Ns."
    with Reader(budget_s=0.3) as reader:
        good = pickle.dumps((RECORD_FUNCTION, None, (result("one"),), {}))
        assert reader.look(good, Form.JOB).scraper_id == "nyc"
        assert reader.look(endless, Form.JOB).problem == "reading it takes too long"
        assert reader.look(good, Form.JOB).problem is not None
    with Reader() as reader:
        assert reader.look(b"garbage", Form.JOB).problem
        assert reader.look(b"{", Form.RECORDING).problem
        assert reader.look(good, Form.JOB).preview


def test_a_large_registry_is_read_a_page_at_a_time(failed: Command, connection: Redis) -> None:
    for number in range(1200):
        connection.zadd(REGISTRY, {f"j{number}": 10**10 + number})
        connection.hset(f"rq:job:j{number}", mapping={"status": "failed", "data": "x", "ended_at": f"{2000 + number}"})
    connection.config_resetstat()
    shown = failed("list", "--limit", "3")
    assert [line.split()[1] for line in shown.stdout.splitlines()[1:4]] == ["j1197", "j1198", "j1199"]
    assert "1,197 more, older" in shown.stdout
    statistics: Any = connection.info("commandstats")
    assert statistics["cmdstat_zscan"]["calls"] >= 3
    assert statistics["cmdstat_hget"]["calls"] == 3  # only the payloads that are shown


def test_ctrl_c_ends_it_with_130_and_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        with killed_at_the_end(start(url, tmp_path)) as process:
            connection, _ = silent.accept()
            process.send_signal(signal.SIGINT)
            out, errors = process.communicate(timeout=20)
            connection.close()
    assert (process.returncode, out, errors) == (130, "", "recorder: interrupted\n")
