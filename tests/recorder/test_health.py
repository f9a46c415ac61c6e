"""What a recorder says of itself when all is well, and when something isn't; `python -m app.recorder health`."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from app.recorder.client import connect, enqueue_result, recorders
from app.recorder.health import liveness, readiness
from app.recorder.trouble import Part
from app.recorder.vitals import Vitals
from app.recorder.worker import Options, RecorderWorker
from app.recorder.write import RecordWriter
from app.store.errors import NoRoomError, StorageError
from tests.conftest import free_port, recorder_process, redis_server_binary
from tests.recorder.test_metrics import running, scraped
from tests.recording import connected, eventually, finished, killed_at_the_end, result

ROOT = Path(__file__).resolve().parents[2]


def failing(document: dict[str, Any]) -> dict[str, str]:
    return {name: check["reason"] for name, check in document["checks"].items() if not check["ok"]}


def asked(port: int, path: str) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def health(port: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "app.recorder", "health", "--port", str(port), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_each_trouble_makes_its_own_check_fail_and_nothing_but_a_stall_makes_a_recorder_look_dead() -> None:
    vitals = Vitals()
    assert failing(readiness(vitals).document) == {"redis": "it was not reached yet"}
    vitals.announced = True
    assert readiness(vitals).ok
    assert set(readiness(vitals).document["checks"]) == {part.value for part in Part}
    trouble = vitals.trouble
    trouble.wait_for_redis(RedisConnectionError("gone"), hint="")
    assert failing(readiness(vitals).document) == {"redis": "Redis: gone"}
    trouble.wait_for_disk(NoRoomError("less than 200 MiB are free"))
    assert failing(readiness(vitals).document) == {"disk": "less than 200 MiB are free"}
    trouble.wait_for_disk(StorageError("can't write a recording"))
    assert failing(readiness(vitals).document) == {"output": "can't write a recording"}
    trouble.wait_for("suspended", Part.QUEUE)
    assert failing(readiness(vitals).document) == {"queue": "suspended"}
    assert liveness(vitals).ok
    trouble.over()
    vitals.step_began_at = time.monotonic() - 30
    assert failing(readiness(vitals).document) == {"loop": "the disk, or Redis, doesn't answer"}
    assert liveness(vitals).ok
    vitals.step_began_at = time.monotonic() - 1000
    assert failing(liveness(vitals).document) == {"loop": "it has been at one step for 1000 s"}


def test_a_recorder_lives_and_is_not_ready_while_redis_is_away_at_its_start_and_later(tmp_path: Path) -> None:
    redis_port, port = free_port(), free_port()
    url = f"redis://:hush-hush@127.0.0.1:{redis_port}/0"
    server_command = [redis_server_binary(), "--port", str(redis_port), "--save", "", "--requirepass", "hush-hush"]
    with ExitStack() as stack:

        def start_redis() -> subprocess.Popen[bytes]:
            server = subprocess.Popen(server_command, stdout=subprocess.DEVNULL, cwd=tmp_path)
            return stack.enter_context(killed_at_the_end(server))

        process = stack.enter_context(
            killed_at_the_end(recorder_process(url, tmp_path / "out", RECORDER_METRICS_PORT=str(port)))
        )
        assert process.stderr is not None
        log = process.stderr.readline()
        assert "waiting" in log
        assert asked(port, "/livez")[0] == 200
        status, document = asked(port, "/readyz")
        assert status == 503
        assert set(failing(document)) == {"redis"}
        assert "Connection refused" in failing(document)["redis"]
        assert health(port).returncode == 1
        assert health(port, "--live").returncode == 0
        server = start_redis()
        eventually(lambda: asked(port, "/readyz")[0] == 200)
        reconnected = scraped(f"127.0.0.1:{port}")["recorder_redis_reconnects_total", ()]
        server.kill()
        server.wait()
        eventually(lambda: asked(port, "/readyz")[0] == 503)
        assert asked(port, "/livez")[0] == 200
        start_redis()
        with connect(url) as connection:
            eventually(lambda: connected(connection))
            eventually(lambda: asked(port, "/readyz")[0] == 200)
            eventually(lambda: len(recorders(connection)) == 1)
        assert scraped(f"127.0.0.1:{port}")["recorder_redis_reconnects_total", ()] == reconnected + 1
        asked_by_command = health(port)
        assert asked_by_command.returncode == 0
        assert json.loads(asked_by_command.stdout)["ok"] is True
        process.terminate()
        _, rest = process.communicate(timeout=20)
        assert "hush-hush" not in log + rest


def test_a_recorder_that_never_meets_its_redis_does_not_look_dead(tmp_path: Path) -> None:
    stop, vitals = threading.Event(), Vitals()
    url = f"redis://127.0.0.1:{free_port()}/0"
    with connect(url, retries=0) as connection, RecordWriter(str(tmp_path)) as writer:
        worker = RecorderWorker(connection, writer, Options(), stop, vitals)
        waiting = threading.Thread(target=worker._announce, kwargs={"wait": True})
        vitals.step_began_at = long_ago = time.monotonic() - 1000
        waiting.start()
        eventually(lambda: vitals.waiting is not None and vitals.step_began_at > long_ago)
        assert liveness(vitals).ok
        stop.set()
        waiting.join()


def test_a_recorder_that_waits_for_its_folder_says_so(redis_url: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    port = free_port()
    with killed_at_the_end(
        recorder_process(redis_url, tmp_path / "file" / "below", RECORDER_METRICS_PORT=str(port))
    ) as process:
        assert process.stderr is not None
        assert "waiting" in process.stderr.readline()
        _, document = asked(port, "/readyz")
        assert "can't make a folder" in failing(document)["output"]
        (tmp_path / "file").unlink()
        eventually(lambda: asked(port, "/readyz")[0] == 200)


def test_too_little_room_makes_the_disk_check_fail_and_bouys_recorders_know_why(
    redis_url: str, connection: Redis, tmp_path: Path
) -> None:
    port = free_port()
    with killed_at_the_end(
        recorder_process(redis_url, tmp_path, RECORDER_METRICS_PORT=str(port), RECORDER_MIN_FREE_MB="999999999")
    ) as process:
        assert process.stderr is not None
        assert "ready" in process.stderr.readline()
        eventually(lambda: asked(port, "/readyz")[0] == 503)
        reason = failing(asked(port, "/readyz")[1])["disk"]
        assert reason == "less than 999999999 MiB are free"
        eventually(lambda: recorders(connection)[0].waiting_for == reason)


def test_a_read_only_folder_is_seen_before_a_job_comes(redis_url: str, connection: Redis, tmp_path: Path) -> None:
    port = free_port()
    with running(redis_url, tmp_path, port):
        job = enqueue_result(result("one"), connection=connection)
        eventually(lambda: finished(job))
        (tmp_path / "daily").rename(tmp_path / "aside")
        (tmp_path / "daily").symlink_to("/proc/self")
        eventually(lambda: asked(port, "/readyz")[0] == 503)
        assert failing(asked(port, "/readyz")[1]) == {"output": "OUTPUT_DIR isn't writable (Permission denied)"}
        (tmp_path / "daily").unlink()
        (tmp_path / "aside").rename(tmp_path / "daily")
        eventually(lambda: asked(port, "/readyz")[0] == 200)


@pytest.mark.parametrize(
    ("variable", "code", "message"),
    [("0", 2, "health is not served: RECORDER_METRICS_PORT is 0"), ("9", 3, "no recorder answers at 127.0.0.1:9")],
)
def test_health_without_a_recorder_is_one_line(
    clean_environment: pytest.MonkeyPatch, variable: str, code: int, message: str
) -> None:
    clean_environment.setenv("RECORDER_METRICS_PORT", variable)
    done = subprocess.run(
        [sys.executable, "-m", "app.recorder", "health"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(f"recorder: {message}")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["health", "dashboard"])
def test_a_port_beyond_the_last_one_is_refused(clean_environment: pytest.MonkeyPatch, command: str) -> None:
    clean_environment.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    done = subprocess.run(
        [sys.executable, "-m", "app.recorder", command, "--port", "70000"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "65535" in done.stderr
