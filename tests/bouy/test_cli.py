"""bouy's command line, as a person or a script uses it."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.bouy.supervision import marked_processes
from tests.bouy.conftest import ROOT, Bench

Eventually = Callable[[Callable[[], Any]], Any]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["recorder", "--nonsense"], "No such option: --nonsense"),
        (["up", "nonsense"], "no such service: nonsense (known: cache, recorder)"),
        (["up", "app"], "app is not a service that runs"),
        (["down", "nonsense"], "no such service: nonsense"),
        (["logs"], "Missing argument"),
        (["logs", "cache", "--tail", "x"], "Invalid value"),
        (["exec", "nonsense", "ls"], "no such service: nonsense (known: cache, recorder, app)"),
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
    assert lines[0].split() == ["SERVICE", "STATE", "SINCE", "PID", "ADDRESS"]
    cache, recorder = (line.split() for line in lines[1:])
    assert cache[:2] == ["cache", "running"]
    assert recorder[:2] == ["recorder", "running"]
    assert cache[4].startswith("127.0.0.1:")
    assert recorder[4] == str(running.output_dir)
    found = running.json("ps")
    assert [one["service"] for one in found] == ["cache", "recorder"]
    assert str(found[1]["pid"]) == recorder[3]


def test_ps_shows_stopped_services_as_stopped(bench: Bench) -> None:
    assert [one["state"] for one in bench.json("ps")] == ["stopped", "stopped"]


def test_a_reader_that_ends_early_is_no_error(running: Bench) -> None:
    command = subprocess.list2cmdline(running.command("ps"))
    done = subprocess.run(f"{command} | true", shell=True, env=running.environ, capture_output=True, text=True)  # noqa: S602
    assert done.stderr == ""


def test_logs_shows_the_last_lines_with_options_before_or_after_the_service(running: Bench) -> None:
    log = (running.state / "logs" / "recorder.log").read_text()
    assert running.bouy("logs", "recorder").stdout == log
    assert running.bouy("logs", "recorder", "--tail", "0").stdout == ""
    assert running.bouy("logs", "--tail", "1", "cache").stdout.count("\n") == 1
    following = subprocess.Popen(
        running.command("logs", "-f", "recorder"), env=running.environ, stdout=subprocess.PIPE, text=True
    )
    assert following.stdout is not None
    with following.stdout:
        assert following.stdout.readline() in log
        following.send_signal(signal.SIGINT)
    assert following.wait() == -signal.SIGINT


def test_a_service_that_never_ran_has_no_log(bench: Bench) -> None:
    assert "recorder has no log yet (start it with ./bouy up recorder)" in bench.bouy("logs", "recorder", code=1).stderr


def test_exec_reaches_the_fleets_redis_by_its_tools_and_by_redis_url(running: Bench) -> None:
    assert running.bouy("exec", "cache", "redis-cli", "ping").stdout == "PONG\n"
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


def test_the_recorder_in_the_foreground_ends_with_ctrl_c(bench: Bench, eventually: Eventually) -> None:
    recorder = subprocess.Popen(
        bench.command("recorder", "--foreground"), env=bench.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert recorder.stdout is not None
    with recorder.stdout:
        assert b"ready" in recorder.stdout.readline()
        assert bench.running() == ["cache", "supervisord"]
        recorder.send_signal(signal.SIGINT)
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
    demo = subprocess.Popen(
        bench.command("demo", "--count", "100000"), env=bench.environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    eventually(lambda: list(bench.output_dir.rglob("*.json")))
    demo.send_signal(signal.SIGINT)
    _, errors = demo.communicate(timeout=30)
    assert (demo.returncode, errors) == (130, b"")
    assert marked_processes(bench.state / "demo") == []


def test_demo_ignores_the_users_own_redis_and_can_be_kept(bench: Bench) -> None:
    done = bench.bouy("demo", "--count", "1", "--keep", REDIS_URL="redis://127.0.0.1:1/0")
    assert f"stop it with ./bouy --state {bench.state / 'demo'} down" in done.stdout
    assert len(marked_processes(bench.state / "demo")) == 3
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
