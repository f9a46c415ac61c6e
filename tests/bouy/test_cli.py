"""bouy's command line, as a person or a script uses it."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import pytest
from redis import Redis

from app.bouy import services
from app.bouy.services import SERVICES
from app.bouy.shell import redis_cli_variables
from app.bouy.supervision import marked_processes
from app.recorder import client
from tests.bouy.conftest import ROOT, Bench

Eventually = Callable[[Callable[[], Any]], Any]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["recorder", "--nonsense"], "No such option: --nonsense"),
        (["up", "nonsense"], "no such service: nonsense (known: cache, recorder, db, rq-dashboard)"),
        (["up", "app"], "app is not a service that runs"),
        (["down", "nonsense"], "no such service: nonsense"),
        (["logs"], "Missing argument"),
        (["logs", "cache", "--tail", "x"], "Invalid value"),
        (["exec", "nonsense", "ls"], "no such service: nonsense (known: cache, recorder, db, rq-dashboard, app)"),
        (["exec", "app"], "Missing argument"),
        (["demo", "--count", "0"], "Invalid value"),
        (["demo", "--from", "/nonexistent"], "not a folder: /nonexistent"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(bench: Bench, arguments: list[str], message: str) -> None:
    done = bench.bouy(*arguments, code=2)
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_an_unusable_setting_is_named_before_anything_starts(bench: Bench) -> None:
    done = bench.bouy("recorder", code=2, RECORDER_BATCH_SIZE="many")
    assert "RECORDER_BATCH_SIZE" in done.stderr
    assert bench.running() == []


@pytest.mark.parametrize("command", ["up", "ps", "logs cache", "down", "exec app true"])
@pytest.mark.parametrize("state", ["file", "file/below"])
def test_a_state_folder_that_is_none_is_an_error(tmp_path: Path, command: str, state: str) -> None:
    (tmp_path / "file").touch()
    bench = Bench(tmp_path)
    done = bench.bouy("--state", str(tmp_path / state), *command.split(), code=2)
    assert done.stderr.startswith(f"bouy: not a state folder of bouy's: {tmp_path / state}")


@pytest.mark.parametrize(("unbuffered", "where"), [("", ": standard output"), ("1", "")])
@pytest.mark.parametrize("arguments", [("ps",), ("--json", "ps"), ("--help",)])
def test_a_full_standard_output_is_one_line(
    bench: Bench, arguments: tuple[str, ...], unbuffered: str, where: str
) -> None:
    environ = {**bench.environ, "PYTHONUNBUFFERED": unbuffered}
    with open("/dev/full", "w") as full:
        done = subprocess.run(bench.command(*arguments), env=environ, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (1, f"bouy: No space left on device{where}\n")


def test_ctrl_c_while_bouy_is_still_importing_is_quiet(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    environ = {**bench.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    done = subprocess.run(bench.command("ps"), env=environ, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


@pytest.mark.parametrize(
    ("command", "usage"),
    [
        ("", "bouy [OPTIONS] COMMAND [ARGS]..."),
        ("recorder", "bouy recorder [OPTIONS]"),
        ("up", "bouy up [OPTIONS] [SERVICE...]"),
        ("down", "bouy down [OPTIONS] [SERVICE...]"),
        ("ps", "bouy ps [OPTIONS]"),
        ("status", "bouy status [OPTIONS]"),
        ("logs", "bouy logs [OPTIONS] SERVICE"),
        ("exec", "bouy exec [OPTIONS] SERVICE COMMAND..."),
        ("demo", "bouy demo [OPTIONS]"),
        ("test", "bouy test [OPTIONS] [PYTEST_ARGS...]"),
    ],
)
def test_help_shows_the_usage_and_whole_lines(bench: Bench, command: str, usage: str) -> None:
    shown = bench.bouy(*command.split(), "-h").stdout
    assert shown == bench.bouy(*command.split(), "--help").stdout
    assert shown.startswith(f"Usage: {usage}\n")
    assert "...\n" not in shown.partition("\n")[2], "a cut-off line"
    assert "<" not in shown
    assert "(.bouy)" not in shown


def test_the_version_is_the_projects(bench: Bench) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert bench.bouy("--version").stdout == f"bouy {project['version']}\n"


def test_without_a_command_the_help_is_shown(bench: Bench) -> None:
    assert "recorder" in bench.bouy().stdout


def test_recorder_says_what_runs_and_where_and_the_second_time_that_it_does(running: Bench) -> None:
    done = running.bouy("recorder")
    (line,) = done.stdout.splitlines()
    assert "recorder is already running (pid " in line
    assert "redis://127.0.0.1:" in line
    assert str(running.output_dir) in line
    assert str(running.state / "logs" / "recorder.log") in line
    document = running.json("recorder")
    assert (document["action"], document["output_dir"]) == ("unchanged", str(running.output_dir))
    assert running.bouy("--quiet", "recorder").stdout == ""


def test_ps_shows_each_service_on_a_line_without_colors(running: Bench) -> None:
    lines = running.bouy("ps").stdout.splitlines()
    titles = ["SERVICE", "STATE", "HEALTH", "SINCE", "PID", "PORT", "LAST", "RECORDED", "QUEUE", "ADDRESS"]
    assert lines[0].split() == titles
    cache, recorder, database, dashboard = (line.split() for line in lines[1:])
    assert cache[:3] == ["cache", "running", "ready"]
    assert recorder[:3] == ["recorder", "running", "ready"]
    assert database[:3] == ["db", "stopped", "-"]
    assert dashboard[:3] == ["rq-dashboard", "stopped", "-"]
    assert cache[-1] == f"127.0.0.1:{cache[5]}"
    assert recorder[-1] == str(running.output_dir)
    found = running.json("ps")
    assert running.bouy("ps", "--json").stdout == running.bouy("--json", "ps").stdout
    assert [one["service"] for one in found] == ["cache", "recorder", "db", "rq-dashboard"]
    assert (str(found[1]["port"]), found[1]["queue"]) == (recorder[5], 0)
    assert str(found[1]["pid"]) == recorder[4]
    assert [one["health"] for one in found] == ["ready", "ready", None, None]


def test_ps_says_what_a_recorder_waits_for(running: Bench, eventually: Eventually) -> None:
    daily = running.output_dir / "daily"
    aside = daily.rename(daily.with_name("aside")) if daily.exists() else None
    daily.write_text("a file where a folder is needed")
    try:
        with client.connect(running.json("recorder")["redis_url"]) as connection:
            client.enqueue_result({"job_id": "one", "job": {"created_at": "2025-02-17"}}, connection=connection)
        eventually(lambda: running.json("ps")[1]["health"] != "ready")
        assert "waiting: can't make a folder (Not a directory)" in running.bouy("ps").stdout
    finally:
        daily.unlink()
        if aside:
            aside.rename(daily)
    eventually(lambda: running.json("ps")[1]["health"] == "ready")


def test_ps_tells_a_recorders_port_while_redis_is_away(running: Bench, eventually: Eventually) -> None:
    port = running.json("ps")[1]["port"]
    running.json("down", "cache")
    try:
        recorder = running.json("ps")[1]
        assert (recorder["port"], recorder["health"]) == (port, "waiting: Redis doesn't answer")
    finally:
        running.json("up", "cache")
    eventually(lambda: running.json("ps")[1]["health"] == "ready")


def test_a_redis_that_hangs_is_not_ready(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "_PING_TIMEOUT_S", 0.2)
    cache = psutil.Process(bench.json("up", "cache")[0]["pid"])
    launch = bench.fleet().launches()["cache"]
    cache.suspend()
    try:
        assert SERVICES["cache"].health(launch, cache.pid) == "not answering"
    finally:
        cache.resume()


def test_ps_shows_stopped_services_as_stopped(bench: Bench) -> None:
    assert [one["state"] for one in bench.json("ps")] == ["stopped"] * 4


def test_a_reader_that_ends_early_is_no_error(running: Bench) -> None:
    command = subprocess.list2cmdline(running.command("ps"))
    done = subprocess.run(f"{command} | true", shell=True, env=running.environ, capture_output=True, text=True)  # noqa: S602
    assert done.stderr == ""


def test_logs_shows_the_last_lines_with_options_before_or_after_the_service(running: Bench) -> None:
    log = (running.state / "logs" / "recorder.log").read_text()
    assert running.bouy("logs", "recorder").stdout == log
    assert running.bouy("logs", "recorder", "--tail", "0").stdout == ""
    assert running.bouy("logs", "--tail", "1", "cache").stdout.count("\n") == 1
    following = running.popen("logs", "-f", "recorder")
    assert following.stdout is not None
    assert following.stdout.readline() in log
    following.send_signal(signal.SIGINT)
    assert following.wait() == -signal.SIGINT


def test_a_service_that_never_ran_has_no_log(bench: Bench) -> None:
    assert "recorder has no log yet (start it with ./bouy up recorder)" in bench.bouy("logs", "recorder", code=1).stderr


def test_exec_reaches_the_fleets_redis_by_its_tools_and_by_redis_url(running: Bench) -> None:
    assert running.bouy("exec", "cache", "redis-cli", "ping", REDISCLI_AUTH="other").stdout == "PONG\n"
    script = "import os, redis; print(redis.Redis.from_url(os.environ['REDIS_URL']).ping(), os.environ['OUTPUT_DIR'])"
    assert running.bouy("exec", "app", "python", "-c", script).stdout == f"True {running.output_dir}\n"
    assert "v=" in running.bouy("exec", "app", "redis-server", "--version").stdout


def test_exec_uses_the_settings_that_the_recorder_was_started_with(running: Bench) -> None:
    environ = {name: value for name, value in running.environ.items() if name != "OUTPUT_DIR"}
    command = running.command("exec", "app", "bash", "-c", "echo $OUTPUT_DIR")
    done = subprocess.run(command, env=environ, capture_output=True, text=True)
    assert done.stdout == f"{running.output_dir}\n"


def test_exec_passes_everything_after_the_service_and_the_exit_code(running: Bench) -> None:
    done = running.bouy("exec", "app", "bash", "-c", 'echo "$@"; exit 7', "x", "--help", "-f", "--json", code=7)
    assert done.stdout == "--help -f --json\n"
    ls = running.bouy("exec", "app", "ls", "-d", "app")
    assert ls.stdout == "app\n", "it runs in the checkout"


def test_exec_passes_standard_input(running: Bench) -> None:
    done = subprocess.run(
        running.command("exec", "app", "cat"), env=running.environ, input="text", capture_output=True, text=True
    )
    assert done.stdout == "text"


def test_exec_of_an_unknown_command_is_one_line_and_127(running: Bench) -> None:
    assert running.bouy("exec", "app", "no-such-program", code=127).stderr == "bouy: no such command: no-such-program\n"


def test_exec_of_what_is_no_program_is_one_line_and_126(running: Bench) -> None:
    for name in ("./README.md", "./app"):
        assert running.bouy("exec", "app", name, code=126).stderr == f"bouy: not executable: {name}\n"


@pytest.mark.parametrize("user", ["", "default"])
def test_redis_cli_gives_the_password_but_not_among_its_arguments(
    bench: Bench, connection: Redis, redis_url: str, user: str
) -> None:
    password = "p w'\"$(x)`@:/?#&%*"  # noqa: S105  made up
    netloc = f"//{user}:{quote(password, safe='')}@"
    connection.config_set("requirepass", password)
    connection.auth(password)
    try:
        url = redis_url.replace("//", netloc).replace("/0", "/3")
        asked = bench.bouy("exec", "cache", "redis-cli", "set", "a b", "c '$x\" d", REDIS_URL=url)
        assert asked.stdout + asked.stderr == "OK\n"
        script = "redis-cli blpop nothing 0 & sleep 0.3; tr '\\0' ' ' </proc/$!/cmdline; kill $!"
        arguments = bench.bouy("exec", "cache", "bash", "-c", script, REDIS_URL=url).stdout
        assert "-n 3" in arguments
        assert "blpop" in arguments
        assert "p w" not in arguments
        assert "p%20w" not in arguments
    finally:
        connection.config_set("requirepass", "")
    connection.select(3)
    assert connection.get("a b") == b"c '$x\" d"


@pytest.mark.parametrize(
    ("url", "options", "password"),
    [
        ("redis://host", "-h host -p 6379 -n 0", ""),
        ("redis://me:a%20b@[::1]:7/2", "-h ::1 -p 7 -n 2 --user me", "a b"),
        ("unix://:pw@/a%20b?db=1", "-s '/a b' -n 1", "pw"),
        ("rediss://h?password=x&ssl_ca_certs=c", "-h h -p 6379 -n 0 --tls --cacert c", "x"),
        ("rediss://h?ssl_cert_reqs=none", "-h h -p 6379 -n 0 --tls --insecure", ""),
        (None, "", ""),
    ],
)
def test_redis_cli_connects_as_the_url_says(url: str | None, options: str, password: str) -> None:
    assert redis_cli_variables(url) == {"BOUY_REDIS_CLI": options} | ({"REDISCLI_AUTH": password} if password else {})


def test_redis_cli_without_a_running_cache_does_not_ask_somebody_elses(bench: Bench) -> None:
    assert "the cache isn't running" in bench.bouy("exec", "cache", "redis-cli", "ping", code=1).stderr


def test_a_second_recorder_can_be_run_by_exec_with_its_own_output_folder(running: Bench, tmp_path: Path) -> None:
    script = f"OUTPUT_DIR='{tmp_path}/custom' python -m app.recorder --burst"
    running.bouy("exec", "app", "bash", "-c", script)
    assert (tmp_path / "custom").is_dir()


def test_up_and_down_say_what_they_did(bench: Bench) -> None:
    assert "cache started (pid " in bench.bouy("up", "cache").stdout
    assert "cache is already running" in bench.bouy("up", "cache").stdout
    assert bench.json("up", "cache")[0]["action"] == "unchanged"
    assert bench.bouy("down").stdout == "cache stopped\n"
    assert bench.bouy("down").stdout == "nothing was running\n"
    assert bench.json("down") == {"stopped": []}


def test_up_cache_with_redis_url_says_that_this_one_is_used(bench: Bench, running: Bench) -> None:
    url = running.fleet().settings()["REDIS_URL"]
    assert "cache not started: REDIS_URL is set" in bench.bouy("up", "cache", REDIS_URL=url).stdout
    assert bench.running() == []


def in_foreground(bench: Bench, **variables: str) -> subprocess.Popen[str]:
    recorder = bench.popen("recorder", "--foreground", **variables)
    assert recorder.stderr is not None
    assert "ready" in recorder.stderr.readline()
    return recorder


def test_the_recorder_in_the_foreground_is_one_of_the_fleet_and_ends_with_ctrl_c(bench: Bench) -> None:
    recorder = in_foreground(bench)
    _, shown, *_ = bench.json("ps")
    assert (shown["state"], shown["pid"], shown["address"]) == (
        "running (foreground)",
        recorder.pid,
        str(bench.output_dir),
    )
    assert shown["since"]
    assert f"is already running in the foreground (pid {recorder.pid})" in bench.bouy("recorder").stdout
    assert "already runs in the foreground" in bench.bouy("recorder", "--foreground", code=2).stderr
    other = bench.bouy("up", "recorder", code=2, OUTPUT_DIR=f"{bench.folder}/other").stderr
    assert f"OUTPUT_DIR changed: {bench.output_dir} -> {bench.folder}/other" in other
    assert bench.running() == ["cache", "recorder", "supervisord"]
    recorder.send_signal(signal.SIGINT)
    assert recorder.wait() == 0
    assert bench.json("ps")[1]["state"] == "stopped"


def test_down_stops_the_recorder_in_the_foreground(bench: Bench) -> None:
    recorder = in_foreground(bench)
    assert bench.bouy("down", "recorder").stdout == "recorder stopped\n"
    assert recorder.wait() == 0
    assert bench.running() == ["cache", "supervisord"]
    recorder = in_foreground(bench)
    assert bench.json("down") == {"stopped": ["recorder", "cache"]}
    assert recorder.wait() == 0


def test_up_leaves_a_recorder_in_the_foreground_with_the_users_own_redis_alone(bench: Bench, redis_url: str) -> None:
    recorder = in_foreground(bench, REDIS_URL=redis_url)
    assert bench.running() == ["recorder"]
    assert [one["action"] for one in bench.json("up", "recorder", REDIS_URL=redis_url)] == ["replaced", "unchanged"]
    assert [one["action"] for one in bench.json("up", "cache")] == ["started"]
    assert recorder.poll() is None
    assert bench.json("down") == {"stopped": ["recorder", "cache"]}
    assert recorder.wait() == 0


def test_the_recorder_in_the_foreground_is_refused_while_one_runs(running: Bench) -> None:
    assert "already runs in the background" in running.bouy("recorder", "--foreground", code=2).stderr


def test_colors_only_on_a_terminal_that_may_have_them(running: Bench) -> None:
    def on_terminal(*options: str, **variables: str) -> str:
        parent, child = pty.openpty()
        environ = {**running.environ, "TERM": "xterm", **variables}
        subprocess.run(running.command(*options, "ps"), env=environ, stdout=child)
        os.close(child)
        text = os.read(parent, 65536).decode()
        os.close(parent)
        return text

    assert "\x1b[" in on_terminal()
    assert "\x1b[" not in on_terminal("--no-color")
    assert "\x1b[" not in on_terminal(NO_COLOR="1")
    assert "\x1b[" not in on_terminal(TERM="dumb")


def test_demo_records_generated_results_and_stops_its_fleet(bench: Bench) -> None:
    done = bench.bouy("demo", "--count", "60")
    assert "recorded 59 of 60 results" in done.stdout
    assert "harbor_county_pantries" in done.stdout
    assert not re.search(r"\d:\d\d\.\d", done.stdout), "times in whole seconds"
    assert "the result has no job_id; kept in " in done.stdout
    (day,) = (bench.output_dir / "daily").iterdir()
    summary = json.loads((day / "summary.json").read_text())
    assert summary["total_jobs"] == len(list(day.glob("scrapers/*/*.json")) + list(day.glob("processed/*.json"))) == 59
    assert len(list((bench.output_dir / "quarantine").rglob("*.json"))) == 1
    assert marked_processes(bench.state / "demo") == []


def test_demo_takes_recorded_files_and_skips_what_is_none(bench: Bench, tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name, day in (("a", "2025-01-15"), ("b", "2025-01-15"), ("c", "2025-01-16")):
        folder = source / day / "scrapers" / "s"
        folder.mkdir(parents=True, exist_ok=True)
        job = {"created_at": f"{day}T10:00:00Z", "metadata": {"scraper_id": "s"}}
        (folder / f"{name}.json").write_text(json.dumps({"job_id": name, "job": job, "result": "text"}))
    (folder / "damaged.json").write_text('{"job_id": "d", ')
    (folder / "other.json").write_text("[]")
    (folder / "summary.json").write_text("{}")
    (source / "superseded").mkdir()
    (source / "superseded" / "old.json").write_text(json.dumps({"job_id": "a", "job": {}}))

    done = bench.bouy("--json", "demo", "--from", str(source))
    report = json.loads(done.stdout)
    assert (report["recorded"], report["failures"]) == (3, [])
    assert [(day["date"], day["total_jobs"]) for day in report["days"]] == [("2025-01-15", 2), ("2025-01-16", 1)]
    assert done.stderr.count("skipped") == 2
    recorded = json.loads((bench.output_dir / "daily/2025-01-16/scrapers/s/c.json").read_text())
    assert recorded["result"] == "text"


def test_demo_with_a_folder_without_recordings_is_an_error(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "no recordings" in bench.bouy("demo", "--from", str(tmp_path / "empty"), code=2).stderr
    (tmp_path / "empty" / "x.json").write_text("{}")
    assert "none of its files is a recording" in bench.bouy("demo", "--from", str(tmp_path / "empty"), code=2).stderr


def test_demo_stops_its_fleet_on_ctrl_c(bench: Bench, eventually: Eventually) -> None:
    demo = bench.popen("demo", "--count", "100000")
    eventually(lambda: list(bench.output_dir.rglob("*.json")))
    demo.send_signal(signal.SIGINT)
    _, errors = demo.communicate(timeout=30)
    assert (demo.returncode, errors) == (130, "bouy: interrupted\n")
    assert marked_processes(bench.state / "demo") == []


def test_demo_ignores_the_users_own_redis_and_can_be_kept(bench: Bench) -> None:
    done = bench.bouy("demo", "--count", "1", "--keep", REDIS_URL="redis://127.0.0.1:1/0")
    assert f"stop it with ./bouy --state {bench.state / 'demo'} down" in done.stdout
    assert len(marked_processes(bench.state / "demo")) == 4
    assert bench.running() == []


def test_importing_bouys_modules_does_nothing(tmp_path: Path) -> None:
    modules = [f"app.bouy.{path.stem}" for path in (ROOT / "app/bouy").glob("*.py") if path.stem != "__main__"]
    done = subprocess.run(
        [*Bench(tmp_path).command()[:1], "-c", f"import {', '.join(modules)}"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


def test_verify_and_failed_work_from_any_folder_with_the_options_before_them(running: Bench, tmp_path: Path) -> None:
    (tmp_path / "kept" / "daily").mkdir(parents=True)
    command = [*running.command("--json", "verify", "kept")]
    done = subprocess.run(command, env=running.environ, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0
    assert json.loads(done.stdout)["output_dir"] == str(tmp_path / "kept")
    assert running.bouy("--quiet", "verify", str(tmp_path / "kept")).stdout == ""
    assert running.bouy("verify", str(tmp_path / "missing"), code=2).stderr.startswith("archive: no such folder")
    assert running.json("failed")["failed"] == []
