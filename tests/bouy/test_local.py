"""The local backend, with a real supervisord, a real Redis and a real recorder."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from redis import Redis
from rq.job import JobStatus

from app.bouy.local import DiedError, Fleet
from app.bouy.services import SERVICES
from app.bouy.supervision import MARKER_SERVICE, marked_processes, wait_for_end
from app.recorder import client
from app.service.redaction import without_password
from app.store.errors import ServiceUnavailableError, StorageError, UsageError
from tests.bouy.conftest import Bench, free_port

Eventually = Callable[[Callable[[], Any]], Any]
ALL = list(SERVICES)


def kill(bench: Bench, name: str) -> int:
    (process,) = (marked.process for marked in marked_processes(bench.state) if marked.service == name)
    process.kill()
    assert wait_for_end([process], 10) == []
    return process.pid


def test_up_starts_what_is_needed_and_returns_when_the_recorder_is_registered(bench: Bench) -> None:
    fleet = bench.fleet()
    cache, recorder = fleet.up(["recorder"])
    assert [(one.service, one.action) for one in (cache, recorder)] == [("cache", "started"), ("recorder", "started")]
    with client.connect(fleet.settings()["REDIS_URL"]) as connection:
        assert [worker.pid for worker in client.recorders(connection)] == [recorder.pid]
        config = connection.config_get("append*")
        assert (config["appendonly"], config["appendfsync"]) == ("yes", "everysec")
    assert bench.state.stat().st_mode & 0o777 == 0o700

    again = bench.fleet().up(["recorder"])
    assert [(one.action, one.pid) for one in again] == [("unchanged", cache.pid), ("unchanged", recorder.pid)]

    assert bench.fleet().down(["recorder"]) == ["recorder"]
    assert bench.running() == ["cache", "supervisord"]
    assert bench.fleet().down(ALL) == ["cache"]
    assert bench.running() == []
    assert bench.fleet().down(ALL) == []


def test_changed_settings_restart_the_recorder_and_leave_the_cache(bench: Bench, tmp_path: Path) -> None:
    cache, recorder = bench.fleet().up(["recorder"])
    cache_after, restarted = bench.fleet(OUTPUT_DIR=str(tmp_path / "elsewhere")).up(["recorder"])
    assert restarted.action == "restarted"
    assert restarted.reason == f"OUTPUT_DIR changed: {bench.output_dir} -> {tmp_path / 'elsewhere'}"
    assert restarted.address == str(tmp_path / "elsewhere")
    assert restarted.pid != recorder.pid
    assert (cache_after.action, cache_after.pid) == ("unchanged", cache.pid)


def test_a_restart_that_cant_work_leaves_what_runs_alone(bench: Bench) -> None:
    before = bench.fleet().up(["recorder"])
    with pytest.raises(StorageError):
        bench.fleet(OUTPUT_DIR="/proc/x").up(["recorder"])
    with pytest.raises(ServiceUnavailableError):
        bench.fleet(REDIS_URL=f"redis://:wrong@127.0.0.1:{free_port()}/0").up(["recorder"])
    with pytest.raises(UsageError):
        bench.fleet(REDIS_URL="http://nonsense").up(["recorder"])
    assert bench.fleet().up(["recorder"]) == [replace(one, action="unchanged") for one in before]


@pytest.mark.parametrize("folder", ["/proc", "/proc/x", "/dev/null"])
def test_an_output_folder_is_tried_out_even_by_root(bench: Bench, folder: str) -> None:
    fleet = bench.fleet(OUTPUT_DIR=folder, REDIS_URL="redis://127.0.0.1:1")
    with pytest.raises(StorageError, match=r"OUTPUT_DIR (can't be made|isn't writable) \("):
        SERVICES["recorder"].check(SERVICES["recorder"].launch(fleet.site, {}))


def test_how_a_service_was_started_is_for_its_user_only(bench: Bench) -> None:
    bench.fleet().up(["cache"])
    assert (bench.state / "services/cache.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("redis://me@[::1]:6379/0", "redis://me@[::1]:6379/0"),
        ("redis://:a@b:c, d@host:1/0", "redis://:***@host:1/0"),
        ("redis://m@e:pw@host", "redis://m@e:***@host"),
        ("unix://me:pw@/a/b?db=1", "unix://me:***@/a/b?db=1"),
        ("unix:///a?db=1&password=p%26w,x&a=b", "unix:///a?db=1&password=***&a=b"),
        ("rediss://h?ssl_password=pw", "rediss://h?ssl_password=***"),
        ("https://a:b@c/,https://d:e@f/", "https://a:***@c/,https://d:***@f/"),
    ],
)
def test_no_password_is_shown(url: str, shown: str) -> None:
    assert without_password(url) == shown


def test_a_killed_recorder_and_a_killed_cache_come_back(bench: Bench, eventually: Eventually) -> None:
    fleet = bench.fleet()
    fleet.up(["recorder"])
    with client.connect(fleet.settings()["REDIS_URL"]) as connection:
        job = client.enqueue_result({"job_id": "before"}, connection=connection)
        eventually(lambda: job.get_status() == JobStatus.FINISHED)
    old_recorder, old_cache = kill(bench, "recorder"), kill(bench, "cache")
    new = eventually(lambda: found if len(found := bench.pids()) == 3 and old_cache not in found.values() else None)
    assert new["recorder"] != old_recorder
    with client.connect(fleet.settings()["REDIS_URL"]) as connection:
        eventually(lambda: any(worker.pid == bench.pids()["recorder"] for worker in client.recorders(connection)))


def test_after_a_killed_supervisord_down_leaves_nothing(bench: Bench) -> None:
    bench.fleet().up(["recorder"])
    kill(bench, "supervisord")
    assert bench.running() == ["cache", "recorder"]
    assert [status.state for status in bench.fleet().status()] == ["orphaned", "orphaned", "stopped", "stopped"]
    assert bench.fleet().down(ALL) == ["recorder", "cache"]
    assert bench.running() == []


def test_after_a_killed_supervisord_up_starts_anew_on_the_same_port(bench: Bench, eventually: Eventually) -> None:
    fleet = bench.fleet()
    cache, _ = fleet.up(["recorder"])
    old = set(bench.pids().values())
    kill(bench, "supervisord")
    eventually(lambda: "supervisord" not in bench.running())
    again, _ = fleet.up(["recorder"])
    assert (again.action, again.address) == ("started", cache.address)
    assert len(bench.running()) == 3
    assert not old & set(bench.pids().values())


def test_state_left_by_a_reboot_is_no_hindrance(bench: Bench) -> None:
    bench.fleet().up(["cache"])
    for name in ("supervisord", "cache"):
        kill(bench, name)
    (bench.state / "supervisord.pid").write_text(f"{os.getpid()}\n")  # by now the pid of another program
    assert [one.action for one in bench.fleet().up(["cache"])] == ["started"]
    assert bench.fleet().down(ALL) == ["cache"]


def test_what_the_cache_held_survives_a_restart(bench: Bench) -> None:
    fleet = bench.fleet()
    fleet.up(["cache"])
    with Redis.from_url(fleet.settings()["REDIS_URL"]) as connection:
        connection.set("kept", "yes")
    fleet.down(["cache"])
    fleet.up(["cache"])
    with Redis.from_url(fleet.settings()["REDIS_URL"]) as connection:
        assert connection.get("kept") == b"yes"


def test_a_taken_port_gives_another(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (cache,) = bench.fleet(port=port).up(["cache"])
        assert cache.address != f"127.0.0.1:{port}"
    bench.fleet(port=port).down(ALL)
    (again,) = bench.fleet(port=port).up(["cache"])
    assert again.address == cache.address, "a restart keeps the port"


def test_two_checkouts_do_not_collide(bench: Bench, other_bench: Bench) -> None:
    port = free_port()
    (one,) = bench.fleet(port=port).up(["cache"])
    (other,) = other_bench.fleet(port=port).up(["cache"])
    assert one.address != other.address
    bench.fleet().down(ALL)
    assert other_bench.running() == ["cache", "supervisord"]


def test_two_starts_at_once_make_one_fleet(bench: Bench) -> None:
    outcomes: list[str] = []

    def start() -> None:
        outcomes.extend(one.action for one in bench.fleet().up(["cache"]))

    threads = [threading.Thread(target=start) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["started", "unchanged", "unchanged"]
    assert bench.running() == ["cache", "supervisord"]


def test_the_users_own_redis_is_used_instead_of_the_cache(bench: Bench, other_bench: Bench) -> None:
    other = other_bench.fleet()
    other.up(["cache"])
    url = other.settings()["REDIS_URL"]
    cache, recorder = bench.fleet(REDIS_URL=url).up(["cache", "recorder"])
    assert (cache.action, cache.reason) == ("replaced", "REDIS_URL is set")
    assert recorder.action == "started"
    assert bench.running() == ["recorder", "supervisord"]
    assert bench.fleet().settings()["REDIS_URL"] == url, "exec uses what the recorder uses"


def test_a_redis_that_does_not_answer_is_an_error_and_leaves_nothing_running(bench: Bench) -> None:
    with pytest.raises(ServiceUnavailableError, match=r"no Redis at redis://me:\*\*\*@127\.0\.0\.1"):
        bench.fleet(REDIS_URL=f"redis://me:secret@127.0.0.1:{free_port()}/0").up(["recorder"])
    assert bench.running() == []


def test_an_output_folder_that_cant_be_used_is_an_error(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="OUTPUT_DIR can't be made"):
        bench.fleet(OUTPUT_DIR=str(tmp_path / "file")).up(["recorder"])


def test_a_recorder_that_dies_at_its_start_is_an_error_with_its_last_words(bench: Bench) -> None:
    with pytest.raises(DiedError, match="RECORDER_BATCH_SIZE"):
        bench.fleet(RECORDER_BATCH_SIZE="many").up(["recorder"])
    assert bench.running() == ["cache", "supervisord"]


def test_the_environment_reaches_the_recorder_but_not_all_of_it(bench: Bench) -> None:
    bench.fleet(LOG_LEVEL="debug", RECORDER_BATCH_SIZE="7", UNRELATED="x").up(["recorder"])
    environ = psutil.Process(bench.pids()["recorder"]).environ()
    assert (environ["LOG_LEVEL"], environ["RECORDER_BATCH_SIZE"]) == ("debug", "7")
    assert environ[MARKER_SERVICE] == "recorder"
    assert "UNRELATED" not in environ


def test_odd_and_long_paths_work(bench: Bench) -> None:
    state = bench.folder / "a b%c;d #e'f\"g" / ("long-" * 20)
    fleet = Fleet(replace(bench.fleet().site, state=state))
    try:
        assert [one.action for one in fleet.up(["cache"])] == ["started"]
    finally:
        fleet.down(ALL)
    assert marked_processes(state) == []


def test_a_folder_in_use_for_something_else_is_not_taken_as_state(bench: Bench) -> None:
    bench.state.mkdir()
    (bench.state / "mine.txt").write_text("")
    bench.state.chmod(0o755)
    with pytest.raises(UsageError, match="not a state folder"):
        bench.fleet().up(["cache"])
    assert bench.state.stat().st_mode & 0o777 == 0o755
    (bench.state / "mine.txt").unlink()
