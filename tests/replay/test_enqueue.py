"""Recordings back into a queue: real Redis, real RQ workers, real kills."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from rq import Queue, SimpleWorker
from rq.job import Job

from app.recorder.decode import RECORD_FUNCTION as RECORDERS_FUNCTION
from app.replay.enqueue import (
    RECORD_FUNCTION,
    RECORDER_QUEUE,
    EnqueueReport,
    Target,
    connect,
    enqueue_recordings,
)
from app.replay.plan import Found, Item, Plan, Refused, Selection, directory_plan
from app.store.errors import RunInterruptedError, ServiceUnavailableError, UsageError
from tests.faults.proxy import Fault, Proxy, Where
from tests.faults.servers import redis_of_our_own
from tests.recording import killed_at_the_end
from tests.replay.conftest import put

ROOT = Path(__file__).resolve().parents[2]
TARGET = Target("reconciler", "consumer.reconcile")
STATE = "rq:recorder:replay:reconciler:consumer.reconcile"
BATCH = 100


def jobs(connection: Redis, queue: str = "reconciler") -> list[Job]:
    return Queue(queue, connection=connection).get_jobs()


def job_ids(connection: Redis) -> list[str]:
    """The recordings' job_ids in the order of the queue."""
    return [job.args[0]["job_id"] for job in jobs(connection)]


def everything(connection: Redis) -> dict[Any, Any]:
    keys: Any = connection.keys()
    return {key: connection.dump(key) for key in keys}


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Three batches and a half: 350 recordings of two days."""
    put(
        tmp_path,
        *(f"2025-01-01/scrapers/nyc/{number:03}.json" for number in range(200)),
        *(f"2025-01-02/scrapers/nyc/{number:03}.json" for number in range(200, 350)),
    )
    return tmp_path


IN_ORDER = [f"{number:03}" for number in range(350)]


def plan_of(folder: Path, **selected: Any) -> Plan:
    return directory_plan(str(folder), Selection(**selected))


received: list[Any] = []


def reconcile(data: dict[str, Any]) -> None:
    received.append(data)


def test_a_stock_worker_calls_the_function_with_each_recordings_data(
    connection: Redis, real_day: Path, tmp_path: Path
) -> None:
    put(tmp_path, "2025-01-01/scrapers/a/small.json")
    big = {"job_id": "big", "number": 2**80 + 1, "text": "\ud800", "nothing": None, "list": [1.0, {"a": "b"}]}
    (tmp_path / "2025-01-01/scrapers/a/big.json").write_text(json.dumps(big))
    first = sorted(real_day.rglob("scrapers/*/*.json"))[0]
    (tmp_path / "2025-01-02").mkdir()
    (tmp_path / "2025-01-02/real.json").write_bytes(first.read_bytes())
    seen: list[Item] = []
    target = Target("reconciler", f"{__name__}.reconcile")
    report = enqueue_recordings(plan_of(tmp_path), connection, target, advance=seen.append)
    assert report.enqueued == 3
    assert report.bytes == sum(item.size for item in seen if isinstance(item, Found)) > 0
    assert jobs(connection)[0].description == "replay of job 'big'"
    received.clear()
    SimpleWorker(["reconciler"], connection=connection).work(burst=True, logging_level="CRITICAL")
    assert received == [json.loads(Path(item.path).read_bytes()) for item in seen]
    assert received[0] == big


def test_recordings_are_enqueued_in_the_plans_order_and_none_twice(connection: Redis, many: Path) -> None:
    assert enqueue_recordings(plan_of(many), connection, TARGET).enqueued == 350
    assert job_ids(connection) == IN_ORDER
    assert Queue.all(connection=connection) == [Queue("reconciler", connection=connection)]


def test_what_is_no_recording_is_refused_with_a_reason_and_the_others_go_on(connection: Redis, tmp_path: Path) -> None:
    put(tmp_path, "a.json", "link.json", "z.json")
    (tmp_path / "link.json").unlink()
    (tmp_path / "link.json").symlink_to("a.json")
    (tmp_path / "b.json").write_bytes(b'{"job_id": ')
    (tmp_path / "c.json").write_bytes(b"[1]")
    (tmp_path / "d.json").write_bytes(b'{"job_id": 1}')
    (tmp_path / "e.json").write_bytes(b"[" * 100_000)
    seen: list[Item] = []
    report = enqueue_recordings(plan_of(tmp_path), connection, TARGET, advance=seen.append)
    assert job_ids(connection) == ["a", "z"]
    assert report.enqueued == 2
    assert report.refused.total() == 5
    assert dict(report.refused)["it is no JSON"] == 2
    assert {Path(item.path).stem for item in seen if isinstance(item, Refused)} == {"link", "b", "c", "d", "e"}


def test_a_dry_run_reads_every_file_and_changes_nothing(connection: Redis, many: Path) -> None:
    (many / "2025-01-01/scrapers/nyc/000.json").write_bytes(b"broken")
    seen: list[Item] = []
    report = enqueue_recordings(plan_of(many), connection, TARGET, dry_run=True, rate=0.001, advance=seen.append)
    assert (report.enqueued, report.refused.total(), len(seen)) == (349, 1, 350)
    assert everything(connection) == {}


@pytest.mark.parametrize(
    ("queue", "function"),
    [
        ("", "a.b"),
        (" q", "a.b"),
        ("q\n", "a.b"),
        ("q", ""),
        ("q", "function"),
        ("q", "a..b"),
        ("q", "a.b()"),
        ("q", "os.system('x')"),
        ("q", "a.class"),
        ("q", "a.1b"),
        ("q", "a/b.c"),
        (RECORDER_QUEUE, "consumer.reconcile"),
        (RECORDER_QUEUE, RECORD_FUNCTION),
    ],
)
def test_a_target_that_can_not_be_meant_is_wrong_use(queue: str, function: str) -> None:
    with pytest.raises(UsageError):
        Target(queue, function)


def test_recorders_get_recordings_only_when_that_is_said_and_never_another_function() -> None:
    assert RECORD_FUNCTION == RECORDERS_FUNCTION
    assert Target(RECORDER_QUEUE, RECORD_FUNCTION, to_recorders=True).queue == RECORDER_QUEUE
    with pytest.raises(UsageError, match="quarantined"):
        Target(RECORDER_QUEUE, "consumer.reconcile", to_recorders=True)


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf")])
def test_a_rate_that_is_none_is_wrong_use(connection: Redis, tmp_path: Path, rate: float) -> None:
    with pytest.raises(UsageError):
        enqueue_recordings(plan_of(tmp_path), connection, TARGET, rate=rate)


def test_a_rate_is_kept_by_waiting_and_lateness_is_not_made_up_for(
    connection: Redis, many: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    enqueued: list[tuple[float, int]] = []

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    def enqueue(_: Item) -> None:
        nonlocal now
        if len(enqueued) == 150:
            now += 60.0  # Redis, or the disk, was slow
        enqueued.append((now, len(enqueued)))

    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(time, "sleep", sleep)
    enqueue_recordings(plan_of(many), connection, TARGET, rate=50.0, advance=enqueue)
    assert 1066.0 <= now <= 1067.5  # 350 jobs at 50 a second, and the minute
    for at, number in enqueued:
        within_a_second = [later for later, _ in enqueued[number:] if later < at + 1.0]
        assert len(within_a_second) <= 60  # a share is 5


# Interrupted and resumed.


def program(redis_url: str, folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.replay.reenqueue", redis_url, str(folder), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)


def run(redis_url: str, folder: Path, *arguments: str) -> tuple[int, str]:
    with killed_at_the_end(program(redis_url, folder, *arguments)) as process:
        _, errors = process.communicate(timeout=60)
    assert "Traceback" not in errors
    return process.returncode, errors


def lines(process: subprocess.Popen[str]) -> Iterator[str]:
    assert process.stdout is not None
    yield from process.stdout


def test_killed_around_its_transactions_and_resumed_it_enqueues_each_recording_once(
    redis_url: str, connection: Redis, many: Path, in_full: bool
) -> None:
    # Four batches and the end make five transactions; each run is killed at its first or second one.
    kills = ["--die-after 1", "--die-before 1", "--die-after 2", "--die-before 2", "--die-after 1"]
    for kill in kills if in_full else kills[:3]:
        code, _ = run(redis_url, many, "--resume", *kill.split())
        assert code == -signal.SIGKILL
    while run(redis_url, many, "--resume")[0] != 0:
        pass
    assert job_ids(connection) == IN_ORDER
    assert run(redis_url, many, "--resume") == (0, "")
    assert job_ids(connection) == IN_ORDER


@pytest.mark.faults
def test_killed_at_any_moment_and_resumed_it_enqueues_each_recording_once(
    redis_url: str, connection: Redis, many: Path
) -> None:
    for number in range(30):
        with killed_at_the_end(program(redis_url, many, "--resume", "--rate", "400")) as process:
            for seen, _ in enumerate(lines(process)):
                if seen == number % 3 * 40:
                    break
            time.sleep(number * 0.003)  # into the next batch, somewhere
    assert run(redis_url, many, "--resume") == (0, "")
    assert job_ids(connection) == IN_ORDER


def test_ctrl_c_ends_it_with_130_and_says_how_far_it_got_and_how_to_go_on(
    redis_url: str, connection: Redis, many: Path
) -> None:
    with killed_at_the_end(program(redis_url, many, "--rate", "20")) as process:
        said = lines(process)
        for _ in range(5):
            next(said)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    done = len(jobs(connection))
    assert 4 <= done < 350
    assert errors.startswith("interrupted; at least ")
    assert "--resume" in errors
    code, errors = run(redis_url, many)
    assert code == 2
    assert f"ended after {done} jobs, unfinished" in errors
    assert "--resume" in errors
    assert len(jobs(connection)) == done
    report = enqueue_recordings(plan_of(many), connection, TARGET, resume=True)
    assert (report.enqueued_before, report.enqueued) == (done, 350 - done)
    assert job_ids(connection) == IN_ORDER


def interrupted_after(connection: Redis, plan: Plan, files: int) -> EnqueueReport:
    report = EnqueueReport()
    seen = 0

    def stop(_: Item) -> None:
        nonlocal seen
        seen += 1
        if seen == files:
            raise KeyboardInterrupt

    with pytest.raises(RunInterruptedError):
        enqueue_recordings(plan, connection, TARGET, report=report, advance=stop)
    return report


def test_redis_that_goes_away_ends_it_with_3_and_when_it_is_back_the_run_goes_on(many: Path, tmp_path: Path) -> None:
    folder = tmp_path.parent / "redis"
    with redis_of_our_own(folder, "--appendonly", "yes", "--appendfsync", "always") as server:
        seen = 0

        def stop(_: Item) -> None:
            nonlocal seen
            seen += 1
            if seen == BATCH:
                server.end()

        with connect(server.url) as connection:
            with pytest.raises(ServiceUnavailableError, match=r"at least 100 jobs.*--resume") as failure:
                enqueue_recordings(plan_of(many), connection, TARGET, advance=stop)
            assert failure.value.exit_code == 3
            with pytest.raises(ServiceUnavailableError, match="nothing was enqueued"):
                enqueue_recordings(plan_of(many), connection, TARGET, resume=True)
            server.start()
            assert enqueue_recordings(plan_of(many), connection, TARGET, resume=True).enqueued == 250
            assert job_ids(connection) == IN_ORDER


@pytest.mark.parametrize("where", [Where.BEFORE, Where.IN_REQUEST, Where.AFTER, Where.IN_REPLY])
def test_a_connection_that_breaks_around_a_transaction_leaves_no_doubt_for_the_run_that_goes_on(
    redis_url: str, connection: Redis, many: Path, where: Where
) -> None:
    with Proxy(int(redis_url.rpartition(":")[2].partition("/")[0])) as proxy, connect(proxy.url) as cut:
        proxy.fault = Fault(where, nth=2, matches=lambda name: name.startswith("MULTI"))
        with pytest.raises(ServiceUnavailableError, match="at least 100 jobs"):
            enqueue_recordings(plan_of(many), cut, TARGET)
        assert proxy.fault.struck.is_set()
        proxy.fault = None
        report = enqueue_recordings(plan_of(many), cut, TARGET, resume=True)
    done = where in (Where.AFTER, Where.IN_REPLY)
    assert report.enqueued_before == (200 if done else 100)
    assert job_ids(connection) == IN_ORDER


def test_redis_that_is_full_ends_it_with_3_and_with_room_the_run_goes_on(
    connection: Redis, many: Path, redis_url: str
) -> None:
    report = EnqueueReport()

    def fill(_: Item) -> None:
        connection.config_set("maxmemory", "1")

    try:
        with pytest.raises(ServiceUnavailableError, match=r"Redis refuses: .*--resume"):
            enqueue_recordings(plan_of(many), connection, TARGET, report=report, advance=fill)
    finally:
        connection.config_set("maxmemory", "0")
    assert report.enqueued == len(jobs(connection)) == BATCH
    enqueue_recordings(plan_of(many), connection, TARGET, resume=True)
    assert job_ids(connection) == IN_ORDER


def test_two_runs_at_once_enqueue_each_recording_once_for_the_one_that_is_behind_gives_up(
    redis_url: str, connection: Redis, many: Path
) -> None:
    meanwhile = threading.Event()

    def other_run(_: Item) -> None:
        if not meanwhile.is_set():
            meanwhile.set()
            enqueue_recordings(plan_of(many), connection, TARGET, resume=True)

    with pytest.raises(ServiceUnavailableError, match="another run"), connect(redis_url) as ours:
        enqueue_recordings(plan_of(many), ours, TARGET, advance=other_run)
    assert job_ids(connection) == IN_ORDER


def test_a_run_is_resumed_only_as_the_run_that_it_was(connection: Redis, many: Path) -> None:
    interrupted_after(connection, plan_of(many, pattern="*.json"), BATCH)
    for other in (plan_of(many), plan_of(many / "2025-01-01", pattern="*.json")):
        with pytest.raises(UsageError, match=r"other arguments: .*\*\.json"):
            enqueue_recordings(other, connection, TARGET, resume=True)
    elsewhere = Target("validator", "consumer.validate")
    assert enqueue_recordings(plan_of(many), connection, elsewhere, resume=True).enqueued == 350
    assert enqueue_recordings(plan_of(many), connection, TARGET, restart=True).enqueued == 350


def test_a_limit_holds_over_a_run_and_its_resumption(connection: Redis, many: Path) -> None:
    interrupted_after(connection, plan_of(many, limit=250), BATCH)
    assert enqueue_recordings(plan_of(many, limit=250), connection, TARGET, resume=True).enqueued == 150
    assert job_ids(connection) == IN_ORDER[:250]


def test_a_finished_run_is_not_resumed_and_may_be_repeated(connection: Redis, many: Path) -> None:
    day = {"since": date(2025, 1, 2)}
    enqueue_recordings(plan_of(many, **day), connection, TARGET)
    assert 0 < connection.ttl(STATE) <= 30 * 86_400
    report = enqueue_recordings(plan_of(many, **day), connection, TARGET, resume=True)
    assert (report.enqueued, report.enqueued_before) == (0, 150)
    assert report.finished_before is not None
    assert len(jobs(connection)) == 150
    assert enqueue_recordings(plan_of(many, **day), connection, TARGET).enqueued == 150


def test_a_run_that_began_with_refused_files_only_is_resumed_behind_them(connection: Redis, tmp_path: Path) -> None:
    put(tmp_path, *(f"b{number:03}.json" for number in range(150)))
    (tmp_path / "a.json").write_bytes(b"broken")
    (tmp_path / "c.json").write_bytes(b"broken")
    interrupted_after(connection, plan_of(tmp_path), 50)
    report = enqueue_recordings(plan_of(tmp_path), connection, TARGET, resume=True)
    assert (report.enqueued_before, report.enqueued, report.refused.total()) == (100, 50, 1)


def test_what_nobody_can_read_as_a_position_is_said_and_can_be_overcome(connection: Redis, many: Path) -> None:
    connection.set(STATE, b"\xff")
    with pytest.raises(UsageError, match="--restart"):
        enqueue_recordings(plan_of(many), connection, TARGET)
    assert enqueue_recordings(plan_of(many), connection, TARGET, restart=True).enqueued == 350


def test_a_url_that_is_none_is_wrong_use() -> None:
    with pytest.raises(UsageError, match="REDIS_URL"):
        connect("nonsense")


@pytest.mark.faults
def test_memory_is_flat_however_many_recordings_are_enqueued(redis_url: str, tmp_path: Path) -> None:
    put(tmp_path, *(f"2025-01-{1 + number // 2000:02}/scrapers/nyc/{number}.json" for number in range(20_000)))
    peaks = [peak_kib(redis_url, tmp_path, limit) for limit in (2000, 20_000)]
    assert peaks[1] < peaks[0] + 4096


def peak_kib(redis_url: str, folder: Path, limit: int) -> int:
    code = (
        "import resource, sys; from app.replay.enqueue import *; from app.replay.plan import *;"
        "plan = directory_plan(sys.argv[2], Selection(limit=int(sys.argv[3])));"
        "target = Target('reconciler', 'consumer.reconcile');"
        "enqueue_recordings(plan, connect(sys.argv[1]), target, restart=True);"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    command = [sys.executable, "-c", code, redis_url, str(folder), str(limit)]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, env=environment)
    return int(done.stdout)
