"""Metrics as Prometheus reads them: of a real recorder, of several, of stock RQ workers."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import psutil
import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis

from app.recorder import job_counter
from app.recorder.client import RecorderInfo, connect, enqueue_result, enqueue_results, queue_state, recorders
from app.recorder.job_counter import MOST_SCRAPERS, OTHER_SCRAPERS, RECORDER_JOBS
from app.recorder.metrics import Metrics
from app.recorder.vitals import Vitals
from app.recorder.worker import Options, RecorderWorker
from app.recorder.write import RecordWriter
from app.store.files import DurableFiles
from app.store.layout import Layout
from app.store.proven import note_proven_restore
from tests.conftest import free_port, recorder_process
from tests.recording import FIRST, eventually, finished, killed_at_the_end, result

ROOT = Path(__file__).resolve().parents[2]
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def parsed(text: str) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scraped(address: str) -> Samples:
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=20) as answer:
        return parsed(answer.read().decode())


def jobs(scraper_id: str, status: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    return "recorder_jobs_total", (("scraper_id", scraper_id), ("status", status))


def of(scraper_id: object, job_id: str, **fields: object) -> dict[str, object]:
    return result(job_id, job={**FIRST, "metadata": {"scraper_id": scraper_id}}, **fields)


@contextmanager
def running(redis_url: str, output_dir: Path, port: int, **env: str) -> Iterator[subprocess.Popen[str]]:
    environment = {"RECORDER_METRICS_PORT": str(port), **env}
    with killed_at_the_end(recorder_process(redis_url, output_dir, **environment)) as process:
        assert process.stderr is not None
        assert "ready" in process.stderr.readline()
        yield process


def burst(redis_url: str, output_dir: Path) -> tuple[Samples, Samples]:
    """What a recorder of this process counts before and after it has recorded what waits."""
    vitals = Vitals()
    metrics = Metrics(vitals, reserve_bytes=0)
    before = parsed(generate_latest(metrics.registry).decode())
    with connect(redis_url) as connection, RecordWriter(str(output_dir)) as writer:
        RecorderWorker(connection, writer, Options(), vitals=vitals, metrics=metrics).run(burst=True)
    return before, parsed(generate_latest(metrics.registry).decode())


def test_a_recorder_counts_what_it_does_and_says_how_things_stand(
    redis_url: str, connection: Redis, tmp_path: Path
) -> None:
    with closing(DurableFiles(str(tmp_path), "drill")) as files:
        note_proven_restore(Layout(str(tmp_path)), files, 1_700_000_000)
    with running(redis_url, tmp_path, free_port()) as process:
        (recorder,) = recorders(connection)
        address = str(recorder.metrics)
        before = scraped(address)
        assert before["recorder_proven_restore_timestamp_seconds", ()] == 1_700_000_000
        assert before[jobs("unknown", "failure")] == 0
        assert before["recorder_outcomes_total", (("outcome", "quarantined"),)] == 0
        assert ("recorder_last_success_timestamp_seconds", ()) not in before
        for number in range(3):
            enqueue_result(result(f"j{number}"), connection=connection)
        enqueue_result(result("j0"), connection=connection)
        enqueue_result(result("j1", result="newer"), connection=connection)
        enqueue_result({"no": "job_id"}, connection=connection)
        eventually(lambda: scraped(address)["recorder_batch_jobs_sum", ()] == 6)
        connection.set("rq:suspended", 1)
        eventually(lambda: scraped(address)["recorder_ready", ()] == 0)
        enqueue_result(result("waits"), connection=connection)
        eventually(lambda: scraped(address).get(("recorder_queue_jobs", ())) == 1)
        found = scraped(address)
        assert found[jobs("nyc", "success")] == 5
        assert found[jobs("unknown", "failure")] == 1
        outcomes = {labels[0][1]: value for (name, labels), value in found.items() if name == "recorder_outcomes_total"}
        assert (outcomes["recorded"], outcomes["duplicate"], outcomes["replaced"]) == (3, 1, 1)
        assert (outcomes["quarantined"], outcomes["superseded"], outcomes["postponed"]) == (1, 0, 0)
        assert found["recorder_lag_seconds_count", ()] == 6
        assert 0 < found["recorder_lag_seconds_sum", ()] < 60
        assert found["recorder_sync_seconds_count", ()] == 6
        assert found["recorder_sync_seconds_sum", ()] > 0
        written = sum(path.stat().st_size for path in tmp_path.rglob("*/*.json") if path.name != "summary.json")
        assert found["recorder_written_bytes_total", ()] > written * 0.9
        assert found["recorder_failed_jobs", ()] == 1
        assert 0 < found["recorder_oldest_job_age_seconds", ()] < 60
        assert abs(time.time() - found["recorder_last_success_timestamp_seconds", ()]) < 60
        assert found["recorder_disk_free_bytes", ()] > found["recorder_disk_reserve_bytes", ()] == 200 * 1024**2
        assert found["recorder_summary_lag_seconds", ()] < 60
        assert found["recorder_redis_reconnects_total", ()] == 0
        assert found["process_resident_memory_bytes", ()] > 0
        assert any(name == "recorder_build_info" for name, _ in found)
        (recorder,) = recorders(connection)
        assert (recorder.recorded, recorder.pid) == (5, process.pid)
        assert recorder.last_recorded == found["recorder_last_success_timestamp_seconds", ()]
        eventually(lambda: recorders(connection)[0].rate_per_s > 0)


def test_two_recorders_take_two_ports_and_each_counts_its_own(
    redis_url: str, connection: Redis, tmp_path: Path
) -> None:
    port = free_port()
    with running(redis_url, tmp_path, port), running(redis_url, tmp_path, port):
        addresses = sorted(str(recorder.metrics) for recorder in recorders(connection))
        assert len(set(addresses)) == 2
        assert f"127.0.0.1:{port}" in addresses
        ids = enqueue_results((result(f"j{number}") for number in range(400)), connection=connection)
        eventually(lambda: connection.zcard("rq:finished:recorder") == len(ids))
        eventually(lambda: sum(scraped(each).get(jobs("nyc", "success"), 0) for each in addresses) == len(ids))


def test_a_scrape_in_flight_holds_up_no_shutdown(redis_url: str, connection: Redis, tmp_path: Path) -> None:
    port = free_port()
    with running(redis_url, tmp_path, port) as process:
        stop = threading.Event()

        def scrape() -> None:
            while not stop.is_set():
                try:
                    scraped(f"127.0.0.1:{port}")
                except OSError:
                    return

        with socket.create_connection(("127.0.0.1", port)) as slow:
            slow.send(b"GET /metrics HTTP/1.0\r\n")  # and no more
            scraper = threading.Thread(target=scrape)
            scraper.start()
            enqueue_results((result(f"j{number}") for number in range(50)), connection=connection)
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=20) == 0
            stop.set()
            scraper.join()
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


def test_port_0_serves_nothing(redis_url: str, connection: Redis, tmp_path: Path) -> None:
    with running(redis_url, tmp_path, 0) as process:
        (recorder,) = recorders(connection)
        assert recorder.metrics is None
        sockets = psutil.Process(process.pid).net_connections("inet")
        assert not [one for one in sockets if one.status == psutil.CONN_LISTEN]


@pytest.mark.parametrize("host", ["192.0.2.1", "nowhere.invalid"])
def test_an_unusable_host_is_one_line(redis_url: str, tmp_path: Path, host: str) -> None:
    process = recorder_process(redis_url, tmp_path, RECORDER_METRICS_HOST=host)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert errors.startswith(f"recorder: can't listen at {host}")
    assert errors.count("\n") == 1


HOSTILE = ['a"b', "a\\b", "a\nb", "nul\0", "\ud800", "}", "x" * 5000, "ünï", "\x1b[2J"]


def test_hostile_scrapers_break_no_exposition_and_cost_little(
    redis_url: str, connection: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_counter, "_labels", job_counter._Labels())
    for number, scraper_id in enumerate(HOSTILE):
        enqueue_result(of(scraper_id, f"h{number}"), connection=connection)
    before, after = burst(redis_url, tmp_path / "hostile")
    new = {labels[0][1] for name, labels in after.keys() - before.keys() if name == "recorder_jobs_total"}
    assert new == {'a"b', "a\\b", "a\nb", "nul\0", "\\ud800", "}", "x" * 100, "ünï", "\x1b[2J"}
    enqueue_results((of(f"made up {number}", f"m{number}") for number in range(300)), connection=connection)
    before, after = burst(redis_url, tmp_path / "many")
    series = [labels for name, labels in after if name == "recorder_jobs_total" and labels[1][1] == "success"]
    assert len(series) <= MOST_SCRAPERS + 1
    other = jobs(OTHER_SCRAPERS, "success")
    assert after[other] - before.get(other, 0) == 300 - (MOST_SCRAPERS - len(HOSTILE) - 1)


def test_the_specs_counter_is_importable_and_in_the_default_registry(
    clean_environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    code = (
        "from app.recorder.utils import record_result\n"
        "from prometheus_client import REGISTRY, generate_latest\n"
        "record_result({'job_id': 'a', 'job': {'metadata': {'scraper_id': 's'}}})\n"
        "record_result({'no': 'id'})\n"
        "print(generate_latest(REGISTRY).decode())"
    )
    env = {**os.environ, "OUTPUT_DIR": str(tmp_path)}
    shown = subprocess.run([sys.executable, "-c", code], env=env, cwd=ROOT, capture_output=True, text=True, check=True)
    found = parsed(shown.stdout)
    assert (found[jobs("s", "success")], found[jobs("unknown", "failure")]) == (1, 1)
    assert RECORDER_JOBS._labelnames == ("scraper_id", "status")


def test_stock_workers_count_in_a_file_each_and_not_in_one_a_job(
    redis_url: str, connection: Redis, tmp_path: Path
) -> None:
    shared, port = tmp_path / "shared", free_port()
    queued = [enqueue_result(of(f"s{number % 2}", f"j{number}"), connection=connection) for number in range(7)]
    queued.append(enqueue_result({"no": "job_id"}, connection=connection))
    env = {
        **os.environ,
        "OUTPUT_DIR": str(tmp_path / "out"),
        "PROMETHEUS_MULTIPROC_DIR": str(shared),
        "RECORDER_METRICS_PORT": str(port),
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "rq.cli", "worker", "recorder", "--burst", "--url", redis_url, "--quiet"]
    with ExitStack() as stack:
        workers = [
            stack.enter_context(killed_at_the_end(subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL)))
            for _ in range(2)
        ]
        assert [worker.wait(timeout=60) for worker in workers] == [0, 0]
        assert sum(map(finished, queued)) == 7
        assert 1 <= len(list(shared.glob("*.db"))) <= 2
        serve = [sys.executable, "-m", "app.recorder", "metrics"]
        exporter = subprocess.Popen(serve, env=env, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        with killed_at_the_end(exporter):
            assert exporter.stdout is not None
            assert exporter.stdout.readline() == f"metrics of {shared} at http://127.0.0.1:{port}/metrics\n"
            found = scraped(f"127.0.0.1:{port}")
    counts = {labels: value for (name, labels), value in found.items() if name == "recorder_jobs_total"}
    assert counts == {jobs("s0", "success")[1]: 4, jobs("s1", "success")[1]: 3, jobs("unknown", "failure")[1]: 1}


def test_a_folder_that_cant_be_counted_in_fails_no_result(
    clean_environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    code = (
        "from app.recorder.utils import record_result\n"
        "print(record_result({'job_id': 'a', 'job': {'metadata': {'scraper_id': 's'}}})['status'])"
    )
    env = {**os.environ, "OUTPUT_DIR": str(tmp_path / "out"), "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "file")}
    shown = subprocess.run([sys.executable, "-c", code], env=env, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "completed" in shown.stdout
    assert "not counted" in shown.stdout


def test_a_look_at_the_queue_bears_odd_keys(redis_url: str, connection: Redis) -> None:
    assert queue_state(connection).oldest_age_s == 0
    connection.rpush("rq:queue:recorder", b"\xff\xfe")
    assert queue_state(connection).waiting == 1
    connection.set(b"rq:job:\xff\xfe", "not a hash")
    assert queue_state(connection).oldest_age_s == 0


def test_a_lease_that_makes_no_sense_is_no_obstacle(connection: Redis) -> None:
    connection.sadd("rq:recorder:recorder:holders", "odd")
    state = {"hostname": 5, "pid": "x", "waiting_for": [], "metrics": 7, "recorded": -1, "last_recorded": 1e300}
    connection.set("rq:recorder:recorder:lease:odd", json.dumps(state))
    assert recorders(connection) == [RecorderInfo("odd", "None", 0, None)]
