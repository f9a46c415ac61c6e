"""`python -m app.archive verify` as a user meets it."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from app.service import progress as progress_module
from app.service.progress import Progress
from app.store import encode
from app.store.layout import Layout, Place
from app.store.printable import printable
from tests.archive.conftest import DATE, DAY, record
from tests.recording import result

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "app.archive", "verify"]


def run(*args: Any, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, args)], capture_output=True, text=True, cwd=ROOT, env={**os.environ, **env}, timeout=120
    )


def test_0_when_all_holds(recorded: Path) -> None:
    done = run(recorded)
    assert (done.returncode, done.stderr) == (0, "")
    first, second = done.stdout.splitlines()
    assert first.startswith(f"{recorded}: days 2, recordings 4, superseded 1, quarantined 1; checked in ")
    assert second == "all holds"


def test_1_and_a_table_when_something_is_wrong(recorded: Path) -> None:
    for name in ("a", "b"):
        (recorded / DAY / f"scrapers/nyc/{name}.json").write_text("{")
    done = run(recorded, "--examples", 1)
    assert (done.returncode, done.stderr) == (1, "")
    assert "\ndamaged      2  files that" in done.stdout
    assert f"\n  {DAY}/scrapers/nyc/a.json: " in done.stdout
    assert "scrapers/nyc/b.json" not in done.stdout
    assert "\n  and 1 more\n" in done.stdout
    assert "--repair" not in done.stdout  # it can't help


def test_without_examples_there_is_the_table_alone(recorded: Path) -> None:
    (recorded / DAY / "scrapers/nyc/a.json").write_text("{")
    done = run(recorded, "--examples", 0)
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 6


def test_json_says_the_same(recorded: Path) -> None:
    (recorded / "latest").unlink()
    done = run(recorded, "--json")
    assert done.returncode == 1
    document = json.loads(done.stdout)
    assert document.pop("seconds") >= 0
    example = {"path": "latest", "detail": f"there is no such link; the newest day that has records is {DATE}"}
    assert document == {
        "output_dir": str(recorded),
        "holds": False,
        "checked": {"days": 2, "recordings": 4, "superseded": 1, "quarantined": 1, "archives": 0, "snapshots": 0},
        "problems": {"latest-wrong": {"count": 1, "examples": [example]}},
        "repaired": [],
        "not_repaired": [],
    }


def test_a_repair_says_what_it_did_and_0_when_all_holds_then(recorded: Path) -> None:
    (recorded / "latest").unlink()
    (recorded / DAY / "summary.json").write_text("{")
    wrong = run(recorded)
    assert wrong.returncode == 1
    assert "--repair" in wrong.stdout
    done = run(recorded, "--repair")
    assert done.returncode == 0
    assert done.stdout.splitlines()[1:] == [
        f"repaired: wrote the summary of {DATE} anew",
        "repaired: set latest anew",
        "all holds",
    ]
    assert run(recorded).returncode == 0


def test_a_repair_that_the_disk_refuses_is_said_in_one_line_and_the_others_are_done(recorded: Path) -> None:
    (recorded / "daily/2025-02-16/summary.json").unlink()
    (recorded / "daily/2025-02-16/summary.json").mkdir()
    (recorded / DAY / "summary.json").unlink()
    done = run(recorded, "--repair", "--json")
    document = json.loads(done.stdout)
    assert done.returncode == 1
    assert document["repaired"] == [f"wrote the summary of {DATE} anew"]
    (refused,) = document["not_repaired"]
    assert "2025-02-16/summary.json" in refused
    assert set(document["problems"]) == {"summary-unreadable"}


def test_quiet_leaves_it_to_the_exit_code(recorded: Path) -> None:
    (recorded / "latest").unlink()
    done = run(recorded, "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")


def test_the_folder_is_output_dir_if_none_is_named(recorded: Path) -> None:
    done = run(OUTPUT_DIR=str(recorded))
    assert done.returncode == 0
    assert done.stdout.startswith(f"{recorded}: days 2")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["/no/such/folder"], "no such folder: /no/such/folder"),
        (["--repair", "/no/such/folder"], "no such folder: /no/such/folder"),
        (["--nonsense"], "--nonsense"),
        (["--examples", "-1"], "--examples"),
    ],
)
def test_2_and_one_line_for_wrong_use(args: list[str], said: str) -> None:
    done = run(*args)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert not os.path.lexists("/no/such")


def test_a_folder_of_something_else_is_wrong_use(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nothing"):
        done = run(folder)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1


def test_where_nothing_is_recorded_yet_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "daily").mkdir()
    done = run(tmp_path)
    assert done.returncode == 0
    assert "nothing is recorded here" in done.stdout


def test_nothing_that_a_terminal_could_obey_is_printed(recorded: Path) -> None:
    evil = "\x1b]0;title\x07\x1b[2J\u202e\r\n\ud800"
    record(recorded, result(evil))
    summary = recorded / DAY / "summary.json"
    document = json.loads(summary.read_bytes())
    document["jobs"] += [{"job_id": evil, "scraper_id": evil, "timestamp": evil}] * 2
    document["date"] = evil
    summary.write_bytes(encode.dump(document))
    (recorded / DAY / "scrapers/nyc" / os.fsdecode(b"\x1b[2J\xff\n")).touch()
    done = run(recorded, "--examples", 20)
    assert done.returncode == 1
    assert all(line.isprintable() for line in done.stdout.splitlines())
    assert "\\x1b[2J\\udcff\\n: a file" in done.stdout
    as_json = run(recorded, "--json")
    assert as_json.stdout.replace("\n", "").isprintable()
    assert "foreign" in json.loads(as_json.stdout)["problems"]


def test_printable_leaves_words_as_they_are() -> None:
    assert printable("Tafel für Äpfel 食物 \\ ") == "Tafel für Äpfel 食物 \\ "


def many_files(output_dir: Path, count: int) -> None:
    """A day of recordings of 4 KB each, and its summary, as a recorder writes them."""
    layout = Layout(str(output_dir))
    jobs = []
    for number in range(count):
        place = Place(DATE, f"scraper-{number % 20}", f"job-{number}")
        path = Path(layout.recording(place))
        if number < 20:
            path.parent.mkdir(parents=True)
        timestamp = f"{DATE}T{number % 24:02}:00:00Z"
        made = {"created_at": timestamp, "metadata": {"scraper_id": place.scraper_id}, "format": ["schema"] * 250}
        path.write_bytes(encode.dump(result(place.job_id, job=made)))
        jobs.append({"job_id": place.job_id, "scraper_id": place.scraper_id, "timestamp": timestamp})
    shutil.rmtree(output_dir / "latest", ignore_errors=True)
    (output_dir / "latest").symlink_to(DAY)
    (output_dir / DAY / "summary.json").write_bytes(encode.dump({"date": DATE, "jobs": jobs}))


READ_FOR_EVER = """
import sys, time
from app.archive import cli, verify

def read(path):
    print("reading", flush=True)
    time.sleep(60)

verify.read_plain = read
sys.exit(cli.main())
"""


def test_ctrl_c_ends_it_with_130_and_one_line(tmp_path: Path) -> None:
    many_files(tmp_path, 20)
    command = [sys.executable, "-c", READ_FOR_EVER, "verify", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "reading\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors == "archive: interrupted\n"


def test_a_reader_that_leaves_is_no_error(recorded: Path) -> None:
    shell = f"{shlex.join([*COMMAND, str(recorded)])} --json | true"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, cwd=ROOT)
    assert done.stderr == ""


def test_a_full_disk_behind_standard_output_is_one_line(recorded: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([*COMMAND, recorded], stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert done.returncode == 1
    assert done.stderr in ("archive: No space left on device\n", "archive: No space left on device: standard output\n")


def test_on_a_terminal_there_is_a_bar_and_it_goes_away(tmp_path: Path) -> None:
    many_files(tmp_path, 100)
    terminal, theirs = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, tmp_path], stdout=subprocess.PIPE, stderr=theirs, cwd=ROOT, env={**os.environ, "TERM": "xterm"}
    ) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                shown += os.read(terminal, 65536)
            except OSError:  # they are gone
                break
        assert process.stdout is not None
        report = process.stdout.read()
    os.close(terminal)
    assert b"verifying" in shown
    assert b"/101" in shown
    assert b"\x1b" not in report


def test_elsewhere_there_is_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress_module, "_LINE_INTERVAL_S", 0.05)
    with Progress("verifying", silent=False) as progress, Progress("verifying", silent=True) as silent:
        progress.expect(2000)
        progress.advance()
        time.sleep(0.05)
        progress.advance()
        silent.advance()
    shown = capsys.readouterr()
    assert re.fullmatch(r"verifying: 2 of 2,000 files, \d+ files/s\n", shown.err)
    assert shown.out == ""


def test_help_has_the_exit_codes() -> None:
    done = run("--help")
    assert done.returncode == 0
    for word in ("--repair", "--json", "--quiet", "--examples", "OUTPUT_DIR", "130"):
        assert word in done.stdout


@pytest.mark.faults
def test_100_000_files_take_little_memory(tmp_path: Path) -> None:
    many_files(tmp_path, 100_000)
    with subprocess.Popen([*COMMAND, tmp_path, "--json"], stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        document = json.load(process.stdout)
        _, _, usage = os.wait4(process.pid, 0)
    assert document["checked"]["recordings"] == 100_000
    assert set(document["problems"]) == {"wrong-count"}  # `many_files` leaves the scrapers out
    assert usage.ru_maxrss < 400 * 1024
