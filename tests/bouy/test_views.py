"""What `ps`, `status` and `exec` show of a fleet that works, and rq-dashboard as one of its services."""

from __future__ import annotations

import json
import signal
import socket
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
from redis import Redis

from app.bouy.services import SERVICES
from app.bouy.supervision import configuration
from app.recorder import client
from tests.bouy.conftest import Bench

Eventually = Callable[[Callable[[], Any]], Any]
TODAY = datetime.now(UTC).date().isoformat()


def result(job_id: str, scraper_id: str, moment: str = "10:00:00") -> dict[str, Any]:
    return {"job_id": job_id, "job": {"created_at": f"{TODAY}T{moment}Z", "metadata": {"scraper_id": scraper_id}}}


@pytest.fixture
def connection(running: Bench) -> Iterator[Redis]:
    with client.connect(running.json("recorder")["redis_url"]) as connection:
        yield connection


@contextmanager
def suspended(connection: Redis) -> Iterator[None]:
    connection.set("rq:suspended", 1)
    try:
        yield
    finally:
        connection.delete("rq:suspended")


def test_status_is_one_screen_of_what_happens(running: Bench, connection: Redis, eventually: Eventually) -> None:
    results = [result("a", "one", "09:00:00"), result("b", "one"), result("c", "t\x1b[2Jwo")]
    client.enqueue_results(results, connection=connection)
    client.enqueue_result({"no": "job_id"}, connection=connection)
    eventually(lambda: (running.json("status")["today"] or {}).get("total_jobs") == 3)
    eventually(lambda: running.json("status")["rate_per_s"] > 0)
    with suspended(connection):
        client.enqueue_result(result("d", "one"), connection=connection)
        eventually(lambda: running.json("status")["recorders"][0]["waiting_for"] == "suspended")
        document = running.json("status")
        as_option = json.loads(running.bouy("status", "--json").stdout)
        shown = running.bouy("status").stdout
    assert document.keys() == as_option.keys()
    assert document["today"]["date"] == TODAY
    assert document["today"]["scrapers"]["one"] == {
        "count": 2,
        "first_job": f"{TODAY}T09:00:00Z",
        "last_job": f"{TODAY}T10:00:00Z",
    }
    assert (document["queue"], document["failed"], document["quarantined"], document["days"]) == (1, 1, 1, 1)
    for words in ("1 waiting", "1 in Redis, 1 in quarantine", "waiting: suspended", "200 are kept free", "1 day, "):
        assert words in shown
    lines = shown.splitlines()
    assert ["one", "2", f"{TODAY}T09:00:00Z", f"{TODAY}T10:00:00Z"] in [line.split() for line in lines]
    assert "t\\x1b[2Jwo" in shown
    assert "\x1b" not in shown
    assert len(lines) < 24


def test_status_without_anything_says_so(bench: Bench) -> None:
    shown = bench.bouy("status").stdout
    assert "doesn't answer, or doesn't run" in shown
    assert "no days yet" in shown
    assert "no summary yet" in shown
    document = bench.json("status")
    assert (document["queue"], document["today"], document["days"]) == (None, None, 0)


def test_status_tells_the_reserve_of_the_recorder_that_runs(bench: Bench) -> None:
    assert bench.bouy("recorder", RECORDER_MIN_FREE_MB="123").returncode == 0
    assert bench.json("status")["reserve_bytes"] == 123 * 1024**2


def test_a_damaged_summary_is_no_summary(bench: Bench) -> None:
    day = bench.output_dir / "daily" / "2025-02-17"
    day.mkdir(parents=True)
    for content in ("{", "[]", '{"total_jobs": 1, "scrapers": {"a": 5}}'):
        (day / "summary.json").write_text(content)
        assert bench.json("status")["today"] is None


def test_each_services_log_is_rotated() -> None:
    text = configuration(SERVICES.values())
    for program in text.split("[program:")[1:]:
        assert "stdout_logfile_maxbytes=10MB\nstdout_logfile_backups=3\n" in program


def test_status_watch_goes_on_until_ctrl_c(running: Bench) -> None:
    watching = running.popen("status", "--watch")
    assert watching.stdout is not None
    seen = [watching.stdout.readline() for _ in range(2)]
    while seen.count(seen[0]) < 2 and not any(line.startswith("kept") for line in seen[2:]):
        seen.append(watching.stdout.readline())
    watching.send_signal(signal.SIGINT)
    assert watching.wait(timeout=20) == 130


SPEC_SNIPPET = """
from prometheus_client import REGISTRY
for collector in REGISTRY.collect():
    if 'recorder' in collector.name:
        print(collector)
"""


def test_the_specs_snippet_shows_the_metrics_of_the_recorders_that_run(
    running: Bench, connection: Redis, eventually: Eventually
) -> None:
    job = client.enqueue_result(result("snippet", "of_the_spec"), connection=connection)
    eventually(lambda: connection.hget(job.key, "status") == b"finished")
    port = running.json("ps")[1]["port"]
    expected = f"{{'scraper_id': 'of_the_spec', 'status': 'success', 'instance': '127.0.0.1:{port}'}}"
    eventually(lambda: expected in running.bouy("exec", "app", "python", "-c", SPEC_SNIPPET).stdout)


def test_the_specs_snippet_without_a_recorder_prints_nothing(bench: Bench) -> None:
    assert bench.bouy("exec", "app", "python", "-c", SPEC_SNIPPET).stdout == ""


def test_the_specs_snippet_leaves_out_a_recorder_whose_port_is_anothers(running: Bench, connection: Redis) -> None:
    odd = [f"127.0.0.1:{running.json('ps')[0]['port']}", "no host:1", "127.0.0.1:1"]
    for number, address in enumerate(odd):
        connection.sadd("rq:recorder:recorder:holders", f"odd-{number}")
        connection.set(f"rq:recorder:recorder:lease:odd-{number}", json.dumps({"metrics": address}), ex=60)
    done = running.bouy("exec", "app", "python", "-c", SPEC_SNIPPET)
    connection.delete(*(f"rq:recorder:recorder:lease:odd-{number}" for number in range(len(odd))))
    assert (done.returncode, done.stderr) == (0, "")
    assert "recorder_ready" in done.stdout


def test_exec_keeps_the_callers_pythonpath(running: Bench, tmp_path: Path) -> None:
    (tmp_path / "of_the_caller.py").write_text("print('found')")
    done = running.bouy("exec", "app", "python", "-c", "import of_the_caller", PYTHONPATH=f"{tmp_path}:{Path.cwd()}")
    assert done.stdout == "found\n"


def test_ps_shows_a_second_recorder_and_its_port(running: Bench, eventually: Eventually) -> None:
    second = running.popen("exec", "app", "python", "-m", "app.recorder")
    found = eventually(lambda: [line for line in running.json("ps") if line["state"] == "running (not bouy's)"])
    first = running.json("ps")[1]
    assert (found[0]["service"], found[0]["pid"], found[0]["health"]) == ("recorder", second.pid, "ready")
    assert found[0]["port"] not in (None, first["port"])
    second.send_signal(signal.SIGTERM)
    assert second.wait(timeout=20) == 0
    eventually(lambda: len(running.json("ps")) == 4)


def test_rq_dashboard_is_a_service_on_loopback_that_up_starts_only_when_named(
    running: Bench, connection: Redis
) -> None:
    client.enqueue_result(result("shown", "by_the_dashboard"), connection=connection)  # so that RQ knows the queue
    (cache, started) = running.json("up", "rq-dashboard")
    try:
        assert [(one["service"], one["action"]) for one in (cache, started)] == [
            ("cache", "unchanged"),
            ("rq-dashboard", "started"),
        ]
        with urllib.request.urlopen(f"{started['address']}/0/data/queues.json", timeout=20) as answer:
            assert "recorder" in str(json.load(answer))
        listening = [one.laddr for one in psutil.Process(started["pid"]).net_connections("inet") if not one.raddr]
        assert {address.ip for address in listening} == {"127.0.0.1"}
        assert "redis://" not in " ".join(psutil.Process(started["pid"]).cmdline())
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", running.json("ps")[3]["port"])) == 0
    finally:
        assert running.json("down", "rq-dashboard") == {"stopped": ["rq-dashboard"]}
    assert "rq-dashboard" not in [one["service"] for one in running.json("up", "cache", "recorder")]
