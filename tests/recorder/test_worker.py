"""The recorder as a process: real Redis, real files, real signals."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import pickle
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from rq import Callback, Queue, Repeat
from rq.command import send_shutdown_command
from rq.job import Job, JobStatus
from rq.results import Result
from rq.serializers import JSONSerializer

from app.recorder.client import connect, enqueue_result, recorders
from app.recorder.decode import RECORD_FUNCTION
from app.recorder.intake import Intake
from tests.conftest import free_port, recorder_process, redis_server_binary
from tests.recording import (
    FIRST,
    assert_nothing_is_left_over,
    assert_summaries_are_exact,
    burst,
    connected,
    eventually,
    finished,
    killed_at_the_end,
    recordings,
    result,
)


@pytest.fixture
def running(redis_url: str, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A recorder that is ready, recording into tmp_path."""
    with killed_at_the_end(recorder_process(redis_url, tmp_path)) as process:
        assert process.stderr is not None
        assert "ready" in process.stderr.readline()
        yield process


def test_real_recordings_come_out_with_every_field_they_went_in_with(
    real_day: Path, redis_url: str, connection: Redis, tmp_path: Path, in_full: bool
) -> None:
    paths = [path for path in sorted(real_day.rglob("*.json")) if path.name != "summary.json"]
    assert len(paths) == 2737
    expected: dict[str, bytes] = {}
    for path in paths if in_full else paths[::8]:
        expected[f"daily/2025-08-08/{path.relative_to(real_day)}"] = content = path.read_bytes()
        enqueue_result(json.loads(content), connection=connection)
    burst(redis_url, tmp_path)
    found = recordings(tmp_path)
    assert set(found) == set(expected)
    for name, original in expected.items():
        sent = json.loads(original)
        assert {key: found[name][key] for key in sent} == sent
        assert set(found[name]) - set(sent) == {"status", "retry_count", "completed_at", "processing_time"}
    assert_summaries_are_exact(tmp_path)
    assert_nothing_is_left_over(tmp_path, connection)
    assert connection.zcard("rq:finished:recorder") == len(expected)


def test_four_recorders_on_one_folder_lose_and_duplicate_nothing(
    redis_url: str, connection: Redis, tmp_path: Path
) -> None:
    jobs = 1200
    for number in range(jobs):
        created = f"2025-02-{17 + number % 3}T06:46:23Z"
        job = {"created_at": created, "metadata": {"scraper_id": f"s{number % 7}"}}
        enqueue_result(result(f"j{number}", job=job, padding="x" * 5000), connection=connection)
    processes = [recorder_process(redis_url, tmp_path, "--burst", RECORDER_BATCH_SIZE="20") for _ in range(4)]
    for process in processes:
        _, log = process.communicate(timeout=60)
        assert process.returncode == 0, log
    assert sorted(content["job_id"] for content in recordings(tmp_path).values()) == sorted(
        f"j{n}" for n in range(jobs)
    )
    assert_summaries_are_exact(tmp_path)
    assert_nothing_is_left_over(tmp_path, connection)
    assert connection.zcard("rq:finished:recorder") == jobs
    assert not list(tmp_path.rglob("superseded"))


def test_sigterm_finishes_the_batch_in_hand_and_exits_0(
    running: subprocess.Popen[str], connection: Redis, tmp_path: Path
) -> None:
    jobs = [enqueue_result(result(f"j{number}"), connection=connection) for number in range(300)]
    eventually(lambda: finished(jobs[0]))
    running.send_signal(signal.SIGTERM)
    assert running.wait(timeout=20) == 0
    done = {job.id for job in jobs if finished(job)}
    waiting = set(Queue("recorder", connection=connection).job_ids)
    assert done | waiting == {job.id for job in jobs}
    assert not done & waiting
    assert len(recordings(tmp_path)) == len(done)
    assert_summaries_are_exact(tmp_path)
    assert not recorders(connection)
    assert not list((tmp_path / ".recorder").glob("*.writer"))


def test_a_single_result_is_on_disk_before_its_job_is_finished_and_the_summary_follows(
    running: subprocess.Popen[str], connection: Redis, tmp_path: Path
) -> None:
    job = enqueue_result(result("one"), connection=connection)
    eventually(lambda: finished(job))
    assert (tmp_path / "daily/2025-02-17/scrapers/nyc/one.json").exists()
    eventually((tmp_path / "daily/2025-02-17/summary.json").exists)
    assert_summaries_are_exact(tmp_path)


def test_the_jobs_of_a_killed_recorder_are_taken_back_and_its_leftovers_swept(
    redis_url: str, connection: Redis, tmp_path: Path
) -> None:
    first = recorder_process(redis_url, tmp_path, RECORDER_BATCH_SIZE="50")
    assert first.stderr is not None
    assert "ready" in first.stderr.readline()
    jobs = [enqueue_result(result(f"j{number}"), connection=connection) for number in range(1000)]
    eventually(lambda: connection.zcard("rq:finished:recorder"))
    first.kill()
    first.communicate()
    second = recorder_process(redis_url, tmp_path)
    eventually(lambda: connection.zcard("rq:finished:recorder") == len(jobs))
    second.send_signal(signal.SIGTERM)
    second.communicate(timeout=20)
    assert len(recordings(tmp_path)) == len(jobs)
    assert connection.zcard("rq:failed:recorder") == 0
    assert_summaries_are_exact(tmp_path)
    assert_nothing_is_left_over(tmp_path, connection)


def test_a_recorder_waits_for_redis_to_come_back(tmp_path: Path) -> None:
    port = free_port()
    url = f"redis://127.0.0.1:{port}/0"
    command = [redis_server_binary(), "--port", str(port), "--save", "", "--dir", str(tmp_path)]
    with ExitStack() as stack, connect(url) as connection:
        server = stack.enter_context(killed_at_the_end(subprocess.Popen(command, stdout=subprocess.DEVNULL)))
        eventually(lambda: connected(connection))
        process = stack.enter_context(killed_at_the_end(recorder_process(url, tmp_path / "out")))
        assert process.stderr is not None
        assert "ready" in process.stderr.readline()
        server.kill()
        server.wait()
        assert "waiting" in process.stderr.readline()
        stack.enter_context(killed_at_the_end(subprocess.Popen(command, stdout=subprocess.DEVNULL)))
        eventually(lambda: connected(connection))
        job = enqueue_result(result("after"), connection=connection)
        eventually(lambda: finished(job))
        process.terminate()
        process.communicate(timeout=20)
        assert process.returncode == 0


def test_a_full_disk_keeps_the_jobs_waiting_until_there_is_room(
    redis_url: str, connection: Redis, tmp_path: Path
) -> None:
    (tmp_path / "daily").write_text("a file where a folder is needed")
    job = enqueue_result(result("one"), connection=connection)
    process = recorder_process(redis_url, tmp_path)
    assert process.stderr is not None
    lines = [json.loads(process.stderr.readline()) for _ in range(2)]
    assert lines[1]["event"] == "waiting"
    assert lines[1]["hint"]
    assert job.get_status() == JobStatus.QUEUED
    (tmp_path / "daily").unlink()
    eventually(lambda: finished(job))
    process.terminate()
    process.communicate(timeout=20)
    assert connection.zcard("rq:failed:recorder") == 0


def test_a_suspended_recorder_takes_nothing_until_it_is_resumed(
    running: subprocess.Popen[str], connection: Redis
) -> None:
    connection.set("rq:suspended", 1)
    assert running.stderr is not None
    assert "suspended" in running.stderr.readline()
    job = enqueue_result(result("one"), connection=connection)
    connection.delete("rq:suspended")
    eventually(lambda: finished(job))


class Hostile:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.marker}",)


def test_bad_input_gives_a_clear_error_each_and_the_worker_goes_on(
    redis_url: str, connection: Redis, tmp_path: Path
) -> None:
    marker = tmp_path / "ran"
    cycle: dict[str, Any] = result("cycle")
    cycle["self"] = cycle
    shared: list[Any] = ["x" * 1000]
    for _ in range(12):
        shared = [shared] * 12
    bad: dict[str, tuple[Any, str]] = {
        "no job_id": ({"job": FIRST, "result": 1}, "the result has no job_id"),
        "number": (result(5), "job_id is a int, not text"),
        "none": (result(None), "job_id is a NoneType, not text"),
        "empty": (result(""), "job_id is empty"),
        "list": ([1, 2], "the result is a list, not an object with a job_id"),
        "text": ("hello", "the result is a str, not an object with a job_id"),
        "cycle": (cycle, "contains itself"),
        "bomb": (result("bomb", shared=shared), "20,000,000"),
    }
    reasons = {enqueue_result(data, connection=connection).id: reason for data, reason in bad.values()}
    queue = Queue("recorder", connection=connection)
    reasons[queue.enqueue("os.system", "true").id] = f"the job's function is os.system, not {RECORD_FUNCTION}"
    reasons[queue.enqueue(RECORD_FUNCTION).id] = "record_result takes one argument"
    reasons[queue.enqueue(RECORD_FUNCTION, 1, 2).id] = "record_result takes one argument"
    garbage = enqueue_result(result("garbage"), connection=connection)
    connection.hset(f"rq:job:{garbage.id}", "data", b"\x80\x05garbage")
    reasons[garbage.id] = "unreadable payload"
    zip_bomb = enqueue_result(result("zip"), connection=connection)
    connection.hset(f"rq:job:{zip_bomb.id}", "data", zlib.compress(b"0" * 50_000_000))
    reasons[zip_bomb.id] = "larger than 20,000,000 bytes when unpacked"
    hostile = enqueue_result(result("hostile", result=Hostile(marker)), connection=connection)
    good = enqueue_result(result("good"), connection=connection)
    burst(redis_url, tmp_path / "out", max_payload_bytes=20_000_000)

    assert finished(good)
    assert finished(hostile)
    assert not marker.exists()
    quarantined = [json.loads(path.read_bytes()) for path in (tmp_path / "out").glob("quarantine/*/*.json")]
    kept = {entry["job_id"]: entry["reason"] for entry in quarantined}
    assert kept.keys() == reasons.keys()
    for job_id, reason in reasons.items():
        assert reason in kept[job_id]
        job = Job.fetch(job_id, connection=connection) if job_id != garbage.id else garbage
        assert job.get_status() == JobStatus.FAILED
        failure = Result.fetch_latest(job)
        assert failure is not None
        assert kept[job_id] in str(failure.exc_string)
    assert len(recordings(tmp_path / "out")) == 2
    assert_summaries_are_exact(tmp_path / "out")


ODD_IDS = ["../../x", "a/b", "nul\0inside", "y" * 5000, ".hidden", "..", ".", "...", "ünï", "\ud800", "a b", "~", "%2F"]


@pytest.mark.parametrize("serializer", [None, JSONSerializer], ids=["pickle", "json"])
def test_any_job_id_and_scraper_id_is_recorded_inside_the_output_folder(
    redis_url: str, connection: Redis, tmp_path: Path, serializer: Any
) -> None:
    queue = Queue("recorder", connection=connection, serializer=serializer)
    for odd in ODD_IDS:
        queue.enqueue(RECORD_FUNCTION, result(odd))
        queue.enqueue(RECORD_FUNCTION, result("same", job={**FIRST, "metadata": {"scraper_id": odd}}))
    out = tmp_path / "deep" / "out"
    burst(redis_url, out)
    found = recordings(out)
    assert sorted(content["job_id"] for content in found.values()) == sorted([*ODD_IDS, *["same"] * len(ODD_IDS)])
    assert list(tmp_path.iterdir()) == [tmp_path / "deep"]
    assert list((tmp_path / "deep").iterdir()) == [out]
    assert connection.zcard("rq:finished:recorder") == 2 * len(ODD_IDS)


@pytest.mark.parametrize(
    "value",
    [None, "text", ["a", "list"], "x" * 60_000_000, float("nan"), 2**200, {1: "a", "1": "b"}, b"\xff\x00", "\ud800"],
    ids=["null", "text", "list", "60 MB", "NaN", "huge integer", "keys", "bytes", "lone surrogate"],
)
def test_any_result_is_recorded(redis_url: str, connection: Redis, tmp_path: Path, value: Any) -> None:
    job = enqueue_result(result("one", result=value), connection=connection)
    burst(redis_url, tmp_path)
    assert finished(job)
    (content,) = recordings(tmp_path).values()
    if isinstance(value, float):
        assert content["result"] == {"$numberDouble": "NaN"}
    elif isinstance(value, bytes):
        assert content["result"] == {"$binary": {"base64": "/wA=", "subType": "00"}}
    elif isinstance(value, dict):
        assert content["result"] == {"1": "a", "1 (str)": "b"}
    else:
        assert content["result"] == value


def test_a_job_without_usable_metadata_or_time_is_recorded_under_the_day_it_was_enqueued(
    redis_url: str, connection: Redis, tmp_path: Path
) -> None:
    odd_jobs: list[Any] = [None, "text", {}, {"metadata": 5}, {"created_at": "nonsense"}, {"created_at": "0001-01-01"}]
    odd_jobs += [{"created_at": "9999-12-31T23:59:59Z"}, {"created_at": 1e300}, {"metadata": {"scraper_id": 7}}]
    for number, job in enumerate(odd_jobs):
        enqueue_result(result(f"j{number}", job=job), connection=connection)
    enqueue_result({"job_id": "without", "result": 1}, connection=connection)
    burst(redis_url, tmp_path)
    today = time.strftime("%Y-%m-%d", time.gmtime())
    assert {path.rsplit("/", 1)[0] for path in recordings(tmp_path)} == {f"daily/{today}/processed"}
    assert len(recordings(tmp_path)) == len(odd_jobs) + 1


def test_days_mixed_and_an_older_day_after_a_newer_one(redis_url: str, connection: Redis, tmp_path: Path) -> None:
    for number in range(60):
        created = f"2025-{1 + number * 7 % 12:02d}-{1 + number % 28:02d} 10:00:00.5"
        enqueue_result(result(f"j{number}", job={**FIRST, "created_at": created}), connection=connection)
    burst(redis_url, tmp_path)
    newest = os.readlink(tmp_path / "latest")
    enqueue_result(result("older"), connection=connection)
    burst(redis_url, tmp_path)
    assert os.readlink(tmp_path / "latest") == newest
    assert_summaries_are_exact(tmp_path)


def test_two_results_of_one_job_keep_the_newer_in_place_and_the_older_beside_it(
    redis_url: str, connection: Redis, tmp_path: Path
) -> None:
    for text in ("first", "second", "second"):
        enqueue_result(result("one", result=text), connection=connection)
    burst(redis_url, tmp_path)
    (content,) = recordings(tmp_path).values()
    assert content["result"] == "second"
    (kept,) = tmp_path.glob("daily/2025-02-17/superseded/scrapers/nyc/one.*.json")
    assert json.loads(kept.read_bytes())["result"] == "first"
    assert_summaries_are_exact(tmp_path)


def test_a_deleted_job_is_passed_over(redis_url: str, connection: Redis, tmp_path: Path) -> None:
    job = enqueue_result(result("gone"), connection=connection)
    connection.delete(job.key)
    other = enqueue_result(result("here"), connection=connection)
    burst(redis_url, tmp_path)
    assert finished(other)
    assert_nothing_is_left_over(tmp_path, connection)


def test_a_job_id_that_rq_3_refuses_is_recorded_and_failed_all_the_same(
    redis_url: str, connection: Redis, tmp_path: Path
) -> None:
    for job_id, data in (("1754641641.245036", result("dotted")), ("a:b c", {"no": "job_id"})):
        payload = zlib.compress(pickle.dumps((RECORD_FUNCTION, None, (data,), {})))
        connection.hset(f"rq:job:{job_id}", mapping={"data": payload, "status": "queued", "origin": "recorder"})
        connection.rpush("rq:queue:recorder", job_id)
    burst(redis_url, tmp_path)
    assert connection.hget("rq:job:1754641641.245036", "status") == b"finished"
    assert connection.hget("rq:job:a:b c", "status") == b"failed"
    assert connection.zrange("rq:failed:recorder", 0, -1) == [b"a:b c"]


def test_a_stock_rq_worker_records_too(redis_url: str, connection: Redis, tmp_path: Path) -> None:
    good = enqueue_result(result("good"), connection=connection)
    bad = enqueue_result({"no": "job_id"}, connection=connection)
    command = [sys.executable, "-m", "rq.cli", "worker", "recorder", "--burst", "--url", redis_url, "--quiet"]
    root = Path(__file__).resolve().parents[2]
    env = {**os.environ, "OUTPUT_DIR": str(tmp_path), "PYTHONPATH": str(root)}
    subprocess.run(command, env=env, check=True, capture_output=True, timeout=60)
    assert finished(good)
    assert bad.get_status() == JobStatus.FAILED
    assert len(list(tmp_path.glob("quarantine/*/*.json"))) == 1
    assert_summaries_are_exact(tmp_path)
    digest = hashlib.sha256((tmp_path / "daily/2025-02-17/scrapers/nyc/good.json").read_bytes()).hexdigest()
    enqueue_result(result("good"), connection=connection)
    burst(redis_url, tmp_path)
    assert hashlib.sha256((tmp_path / "daily/2025-02-17/scrapers/nyc/good.json").read_bytes()).hexdigest() == digest


def test_rq_info_sees_an_ordinary_worker(running: subprocess.Popen[str], redis_url: str, connection: Redis) -> None:
    (worker,) = recorders(connection)
    assert worker.pid == running.pid
    command = [sys.executable, "-m", "rq.cli", "info", "--url", redis_url, "--raw"]
    shown = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    assert worker.name in shown


def test_rq_dashboard_shows_finished_and_failed_jobs(redis_url: str, connection: Redis, tmp_path: Path) -> None:
    good = enqueue_result(result("good"), connection=connection)
    bad = enqueue_result({"no": "job_id"}, connection=connection)
    burst(redis_url, tmp_path)
    port = free_port()
    command = [sys.executable, "-m", "rq_dashboard", "-u", redis_url, "-b", "127.0.0.1", "-p", str(port)]
    dashboard = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for registry, job in (("finished", good), ("failed", bad)):
            shown = eventually(partial(fetched, port, f"/0/data/jobs/recorder/{registry}/8/asc/1.json"))
            assert [entry["id"] for entry in shown["jobs"]] == [job.id]
        assert "the result has no job_id" in shown["jobs"][0]["exc_info"]
    finally:
        dashboard.terminate()
        dashboard.wait()


def fetched(port: int, path: str) -> Any:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as response:
            return json.load(response)
    except urllib.error.URLError:
        return None


def test_a_job_that_ends_its_recorders_is_put_away_unread_and_the_others_are_recorded(
    redis_url: str, connection: Redis, tmp_path: Path
) -> None:
    jobs = [enqueue_result(result(f"j{number}"), connection=connection) for number in range(20)]
    intake = Intake(connection, "recorder", "the dead one", 100)
    survivor = Intake(connection, "recorder", "the survivor", 100)
    guilty = jobs[0]
    begun = []
    for deaths in range(3):
        intake.renew()
        taken = intake.take(None)
        assert [job.id for job in taken] == ([job.id for job in jobs] if deaths == 0 else [guilty.id])
        begun.append(intake.reading(taken[0]))
        begun[-1].__enter__()  # and there it ends
        connection.delete("rq:recorder:recorder:lease:the dead one")
        assert survivor.take_back() == {"the dead one": len(taken)}
    burst(redis_url, tmp_path)
    assert [finished(job) for job in jobs] == [False] + [True] * 19
    (kept,) = tmp_path.glob("quarantine/*/*.json")
    assert json.loads(kept.read_bytes())["reason"] == "3 recorders have died with this job in hand; it was not read"
    assert len(recordings(tmp_path)) == 19
    assert not connection.keys("rq:recorder:recorder:deaths")


def test_no_more_is_taken_than_a_batch_also_when_what_is_in_hand_is_one(connection: Redis) -> None:
    ids = [enqueue_result(result(f"j{number}"), connection=connection).id for number in range(7)]
    intake = Intake(connection, "recorder", "forgetful", 3)
    for _ in range(2):  # as if the first answer had been lost
        assert [job.id for job in intake.take(None)] == ids[:3]
    intake.begin_to_take(known=3)
    assert [job.id for job in intake.taken_ahead()] == ids[3:6]
    assert intake.give_back() == 6
    assert connection.lrange("rq:queue:recorder", 0, -1) == [job_id.encode() for job_id in ids]


def test_what_was_asked_for_ahead_is_given_back_too(connection: Redis) -> None:
    ids = [enqueue_result(result(f"j{number}"), connection=connection).id for number in range(5)]
    intake = Intake(connection, "recorder", "hasty", 2)
    assert len(intake.take(None)) == 2
    intake.begin_to_take(known=2)
    intake.leave()
    assert intake.taken_ahead() == [], "its answer came before all was given back"
    assert connection.lrange("rq:queue:recorder", 0, -1) == [job_id.encode() for job_id in ids]


def test_a_payload_that_keeps_the_interpreter_busy_for_ever_ends_the_recorder(
    redis_url: str, connection: Redis, tmp_path: Path
) -> None:
    nested: Any = (1,)
    for _ in range(60):  # the hash of a tuple is made of its items' hashes, each time anew
        nested = (nested, nested)
    payload = b"\x80\x04}" + pickle.dumps(nested, 4)[2:-1] + b"Ns."
    job = enqueue_result(result("busy"), connection=connection)
    connection.hset(job.key, "data", zlib.compress(payload))
    code = (
        "import app.recorder.worker as worker; worker._READING_LIMIT_S = 0.5\n"
        "import sys; from app.recorder.cli import main; sys.exit(main())"
    )
    env = {**os.environ, "REDIS_URL": redis_url, "OUTPUT_DIR": str(tmp_path)}
    root = Path(__file__).resolve().parents[2]
    ended = subprocess.run([sys.executable, "-c", code], env=env, cwd=root, capture_output=True, text=True, timeout=60)
    assert ended.returncode == -signal.SIGPROF
    assert "most recent call first" in ended.stderr
    assert connection.lrange(connection.keys("rq:recorder:recorder:taken:*")[0], 0, -1) == [job.id.encode()]


def test_one_jobs_odd_fields_and_keys_do_not_hold_up_the_others(
    redis_url: str, connection: Redis, tmp_path: Path
) -> None:
    odd = [
        enqueue_result(result("huge ttl"), connection=connection, result_ttl=10**16),
        enqueue_result(result("results key taken"), connection=connection),
        enqueue_result(result("executions key taken"), connection=connection, repeat=Repeat(times=1, interval=60)),
        enqueue_result(result("huge timeout"), connection=connection, repeat=Repeat(times=1), timeout=10**30),
        enqueue_result(result("no number"), connection=connection),
    ]
    connection.set(f"rq:results:{odd[1].id}", "not a stream")
    connection.set(f"rq:executions:{odd[2].id}", "not a sorted set")
    connection.hset(odd[4].key, mapping={"result_ttl": "soon", "timeout": "later", "status": "?", "created_at": "?"})
    connection.set("rq:job:no-hash", "not a hash")
    connection.rpush("rq:queue:recorder", "no-hash", b"\xff\xfe")
    good = [enqueue_result(result(f"good{number}"), connection=connection) for number in range(20)]
    burst(redis_url, tmp_path)
    assert all(finished(job) for job in good)
    assert {path.name for path in (tmp_path / "daily/2025-02-17/scrapers/nyc").iterdir()} >= {
        "huge%20ttl.json",
        "results%20key%20taken.json",
        "executions%20key%20taken.json",
        "huge%20timeout.json",
        "no%20number.json",
    }
    assert_nothing_is_left_over(tmp_path, connection)
    assert_summaries_are_exact(tmp_path)


def test_a_folder_in_the_place_of_a_recording_puts_that_result_away_and_no_other(
    redis_url: str, connection: Redis, tmp_path: Path
) -> None:
    obstacle = tmp_path / "daily/2025-02-17/scrapers/nyc/j1.json"
    obstacle.mkdir(parents=True)
    jobs = [enqueue_result(result(f"j{number}"), connection=connection) for number in range(3)]
    burst(redis_url, tmp_path)
    assert [finished(job) for job in jobs] == [True, False, True]
    (kept,) = tmp_path.glob("quarantine/*/*.json")
    entry = json.loads(kept.read_bytes())
    assert entry["reason"] == f"something that is no file stands in its place: {obstacle}"
    assert json.loads(base64.b64decode(entry["payload"]["base64"]))["job_id"] == "j1"


def test_one_folder_that_can_not_be_written_holds_up_its_own_jobs_only(
    redis_url: str, connection: Redis, tmp_path: Path
) -> None:
    obstacle = tmp_path / "daily/2025-02-17/scrapers/bad"
    obstacle.parent.mkdir(parents=True)
    obstacle.write_text("a file where a folder is needed")
    bad_job = {**FIRST, "metadata": {"scraper_id": "bad"}}
    bad = [enqueue_result(result(f"bad{number}", job=bad_job), connection=connection) for number in range(2)]
    good = [enqueue_result(result(f"good{number}"), connection=connection) for number in range(5)]
    with killed_at_the_end(recorder_process(redis_url, tmp_path)) as process:
        eventually(lambda: all(map(finished, good)))
        (recorder,) = recorders(connection)
        assert not any(map(finished, bad))
        eventually(lambda: "can't make a folder" in str(recorders(connection)[0].waiting_for))
        obstacle.unlink()
        eventually(lambda: all(map(finished, bad)))
        eventually(lambda: recorders(connection)[0].waiting_for is None)
        process.terminate()
        process.communicate(timeout=20)
    assert recorder.pid == process.pid
    assert_summaries_are_exact(tmp_path)


KILLER = "import os, signal\ndef kill(*_):\n    os.kill(os.getpid(), signal.SIGKILL)\n"


def test_a_callback_that_ends_its_recorders_holds_up_no_other_job(
    redis_url: str, connection: Redis, tmp_path: Path
) -> None:
    (tmp_path / "killer.py").write_text(KILLER)
    out = tmp_path / "out"
    deadly = enqueue_result(result("deadly"), connection=connection, on_success=Callback("killer.kill"))
    others = [enqueue_result(result(f"j{number}"), connection=connection) for number in range(5)]
    environment = {"PYTHONPATH": str(tmp_path), "RECORDER_ALLOWED_CALLBACKS": "killer.kill"}
    for _ in range(4):
        ended = recorder_process(redis_url, out, "--burst", **environment)
        ended.communicate(timeout=60)
        if ended.returncode == 0:
            break
    assert ended.returncode == 0
    assert all(map(finished, others))
    assert deadly.get_status() == JobStatus.FAILED
    assert f"{out}/daily/2025-02-17/scrapers/nyc/deadly.json" in map(str, out.rglob("*.json"))


def test_a_job_that_rq_can_not_finish_does_not_look_as_if_it_ran(
    redis_url: str, connection: Redis, tmp_path: Path
) -> None:
    odd = Queue("recorder", connection=connection).enqueue(RECORD_FUNCTION, {"no": "job_id \ud800"})
    worse = Queue("recorder", connection=connection).enqueue("odd.name", 1, repeat=Repeat(times=1))
    connection.set(f"rq:executions:{worse.id}", "not a sorted set")
    burst(redis_url, tmp_path)
    assert [job.get_status() for job in (odd, worse)] == [JobStatus.FAILED] * 2
    assert set(connection.zrange("rq:failed:recorder", 0, -1)) == {odd.id.encode(), worse.id.encode()}
    assert connection.zcard("rq:wip:recorder") == 0


def test_a_summary_that_can_not_be_written_holds_up_no_recording_and_no_other_day(
    redis_url: str, connection: Redis, tmp_path: Path
) -> None:
    in_the_way = tmp_path / "daily/2025-02-17/summary.json"
    in_the_way.mkdir(parents=True)
    with killed_at_the_end(recorder_process(redis_url, tmp_path)) as process:
        job = enqueue_result(result("one"), connection=connection)
        other = enqueue_result(result("two", job={**FIRST, "created_at": "2025-02-18"}), connection=connection)
        eventually(lambda: finished(job) and finished(other))
        eventually((tmp_path / "daily/2025-02-18/summary.json").exists)
        assert process.stderr is not None
        assert any("summary is behind" in process.stderr.readline() for _ in range(10))
        in_the_way.rmdir()
        eventually(in_the_way.is_file)
        process.terminate()
        assert process.wait(timeout=20) == 0
    assert_summaries_are_exact(tmp_path)


def test_quarantine_keeps_what_it_takes_to_enqueue_the_job_again(
    redis_url: str, connection: Redis, tmp_path: Path
) -> None:
    job = enqueue_result({"no": "job_id"}, connection=connection, result_ttl=60, meta={"who": b"\xff"})
    before: dict[bytes, bytes] = connection.hgetall(job.key)  # type: ignore[assignment]
    burst(redis_url, tmp_path)
    (kept,) = tmp_path.glob("quarantine/*/*.json")
    entry = json.loads(kept.read_bytes())
    assert base64.b64decode(entry["payload"]["base64"]) == before.pop(b"data")
    fields = {
        name.encode(): value.encode() if isinstance(value, str) else base64.b64decode(value["base64"])
        for name, value in entry["job"].items()
    }
    assert fields == before


def test_sigterm_ends_a_recorder_that_waits_for_its_folder(redis_url: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with killed_at_the_end(recorder_process(redis_url, tmp_path / "file" / "below")) as process:
        assert process.stderr is not None
        assert "waiting" in process.stderr.readline()
        process.terminate()
        assert process.wait(timeout=20) == 0


def test_nonsense_among_the_workers_commands_does_not_end_its_listening(
    running: subprocess.Popen[str], connection: Redis
) -> None:
    (worker,) = recorders(connection)
    connection.publish(f"rq:pubsub:{worker.name}", b"\xffnonsense")
    assert running.stderr is not None
    assert "unreadable command" in running.stderr.readline()
    send_shutdown_command(connection, worker.name)
    assert running.wait(timeout=20) == 0
