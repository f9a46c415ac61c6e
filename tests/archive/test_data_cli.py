"""archive, clean, backup and restore as a user meets them: what they say, ask, refuse and exit with."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.archive.command import environment, run
from tests.faults import data
from tests.recording import eventually

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "app.archive"]
FIRST, SECOND, LATEST = data.DAYS


@pytest.fixture
def base(recorded_base: Path, tmp_path: Path) -> Path:
    return shutil.copytree(recorded_base, tmp_path / "base", symlinks=True)


@pytest.fixture
def archived(archived_base: Path, tmp_path: Path) -> Path:
    return shutil.copytree(archived_base, tmp_path / "base", symlinks=True)


def days(base: Path) -> list[str]:
    return sorted(path.name for path in (base / "out/daily").iterdir())


def test_archive_says_what_it_made_of_each_day_and_only_the_sum_when_nothing_changed(base: Path) -> None:
    lines = run(base, "archive").stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == [*(f"{day} archived" for day in data.DAYS), str(base / "arch")]
    assert run(base, "archive").stdout == f"{base / 'arch'}: 3 unchanged\n"
    (day,) = json.loads(run(base, "archive", "--date", FIRST, "--json").stdout)["days"]
    assert (day["date"], day["action"]) == (FIRST, "unchanged")


def test_archive_fails_for_a_day_that_can_not_be_archived_and_names_it(base: Path) -> None:
    (base / "out/daily" / FIRST / "processed/x.json").symlink_to("/etc/passwd")
    assert "processed/x.json" in run(base, "archive", "--quiet", code=1).stderr
    assert "nothing is recorded of 2001-01-01" in run(base, "archive", "--date", "2001-01-01", code=2).stderr
    assert "not a date" in run(base, "archive", "--date", "yesterday", code=2).stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no policy is given"),
        (["--older-than", "7d"], "nobody can be asked here"),
        (["--older-than", "soon", "--yes"], "not an age"),
        (["--keep-summaries", "--yes"], "no policy is given"),
    ],
)
def test_clean_refuses_what_says_nothing_or_can_not_be_agreed_to(
    archived: Path, arguments: list[str], said: str
) -> None:
    assert said in run(archived, "clean", *arguments, code=2).stderr
    assert days(archived) == list(data.DAYS)


def test_the_spec_s_two_aims_of_cleaning_are_one_command_each(archived: Path) -> None:
    run(archived, "clean", "--older-than", "7d", "--keep-summaries", "--yes")
    left = {str(path.relative_to(archived / "out/daily")) for path in (archived / "out/daily").rglob("*.json")}
    assert {name for name in left if LATEST not in name} == {f"{FIRST}/summary.json", f"{SECOND}/summary.json"}
    run(archived, "verify", str(archived / "out"))
    run(archived, "clean", "--older-than", "30d", "--yes")
    assert days(archived) == [LATEST]


def test_a_dry_run_says_what_would_go_and_why_and_does_nothing(archived: Path) -> None:
    shutil.rmtree(archived / "arch")
    done = run(archived, "clean", "--older-than", "30d", "--dry-run", code=1)
    assert "not archived: archive it first" in done.stdout
    assert "latest leads to it" in done.stdout
    plan = json.loads(run(archived, "clean", "--older-than", "30d", "--dry-run", "--unarchived", "--json").stdout)
    assert [day["remove"] for day in plan["days"]] == [True, True, False]
    assert not plan["done"]
    assert days(archived) == list(data.DAYS)


def test_what_was_taken_out_can_be_put_back(archived: Path) -> None:
    assert "clean --undo puts it back" in run(archived, "clean", "--older-than", "30d", "--yes").stdout
    assert days(archived) == [LATEST]
    assert run(archived, "clean", "--undo").stdout.splitlines() == [f"{SECOND} is back", f"{FIRST} is back"]
    assert days(archived) == list(data.DAYS)
    assert run(archived, "clean", "--undo").stdout == "the trash is empty\n"


@pytest.mark.parametrize(
    ("answer", "code", "left"),
    [(b"y\n", 0, [LATEST]), (b"n\n", 0, list(data.DAYS)), (b"\x04", 130, list(data.DAYS))],
)
def test_on_a_terminal_clean_asks(archived: Path, answer: bytes, code: int, left: list[str]) -> None:
    terminal, end = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "clean", "--older-than", "30d"],
        env={**environment(archived), "TERM": "dumb"},
        stdin=end,
        stdout=end,
        stderr=end,
        cwd=ROOT,
        start_new_session=True,
    )
    os.close(end)
    said = b""
    while b"[y/N]" not in said:
        said += os.read(terminal, 10_000)
    os.write(terminal, answer)
    try:
        while os.read(terminal, 10_000):
            pass
    except OSError:
        pass  # it has ended
    assert process.wait(timeout=60) == code
    os.close(terminal)
    assert days(archived) == left


def test_a_backup_and_a_restore_say_what_they_did(archived: Path) -> None:
    dest = str(archived / "backup")
    assert "3 days, 3 archives, without a database; 4 packs written" in run(archived, "backup", dest).stdout
    document = json.loads(run(archived, "backup", dest, "--json").stdout)
    assert (document["written"], document["unchanged"], document["problems"]) == (0, 7, [])
    assert "something is recorded there already" in run(archived, "restore", dest, code=2).stderr
    said = run(archived, "restore", dest, "--into", str(archived / "new"), "--dry-run").stdout
    assert f"daily/{FIRST}: 5 files" in said
    assert not (archived / "new").exists()
    run(archived, "restore", dest, "--into", str(archived / "new"))
    run(archived, "verify", str(archived / "new/outputs"))
    run(archived, "verify", str(archived / "new/archives"), "--read-data")
    run(archived, "verify", dest, "--read-data-subset", "50%")
    (archived / "new/outputs/daily" / FIRST / "processed/c.json").write_text("{}")
    assert "1 differ" in run(archived, "restore", dest, "--into", str(archived / "new"), "--merge", code=1).stdout


def test_verify_of_the_archives_comes_with_that_of_the_recordings_and_names_what_is_damaged(archived: Path) -> None:
    assert "archives 3" in run(archived, "verify").stdout
    (path,) = (archived / "arch").glob(f"{FIRST}*.tar.zst")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    run(archived, "verify")  # as long as it was
    said = run(archived, "verify", "--read-data", code=1).stdout
    assert "archive-damaged" in said
    assert path.name in said


def test_archives_in_the_folder_of_the_recordings_keep_nobody_from_verifying_these(base: Path) -> None:
    run(base, "archive", ARCHIVE_DIR=str(base / "out"))
    summary = base / "out/daily" / data.DAYS[0] / "summary.json"
    summary.write_text("{")
    for folder in ((), (str(base / "out"),)):
        said = json.loads(run(base, "verify", *folder, "--json", code=1, ARCHIVE_DIR=str(base / "out")).stdout)
        assert said["problems"].keys() >= {"summary-unreadable"}
        assert said["checked"]["archives"] == 3


@pytest.mark.parametrize("command", [["archive"], ["backup", "DEST"], ["clean", "--older-than", "1d", "--yes"]])
def test_no_recordings_are_a_mistake_to_look_after(tmp_path: Path, command: list[str]) -> None:
    command = [word.replace("DEST", str(tmp_path / "backup")) for word in command]
    assert "no recordings are kept here" in run(tmp_path, *command, code=2).stderr
    assert not (tmp_path / "backup").exists()


def test_a_destination_that_is_read_only_or_no_folder_is_said_in_one_line(archived: Path) -> None:
    (archived / "file").write_text("")
    assert "archive: " in run(archived, "backup", "/proc/backup", code=1).stderr
    assert "archive: " in run(archived, "backup", str(archived / "file"), code=1).stderr
    assert "inside" in run(archived, "backup", str(archived / "out/backup"), code=2).stderr


@pytest.mark.parametrize("command", [["archive"], pytest.param(["backup", "DEST"], marks=pytest.mark.faults)])
def test_ctrl_c_ends_it_and_leaves_nothing_half(base: Path, command: list[str]) -> None:
    for number in range(1, 29):
        shutil.copytree(base / "out/daily" / FIRST, base / f"out/daily/2024-02-{number:02}")
    command = [word.replace("DEST", str(base / "backup")) for word in command]
    process = subprocess.Popen(
        [*COMMAND, *command], env=environment(base), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    folder = base / "arch" if command[0] == "archive" else base / "backup/packs"
    eventually(lambda: list(folder.glob("*.tar.zst")))
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "archive: interrupted\n")
    assert not list(folder.glob("*.tmp"))
    again: dict[str, Any] = json.loads(run(base, *command, "--json").stdout)
    assert (again["days"] if command[0] == "backup" else len(again["days"])) == 31
