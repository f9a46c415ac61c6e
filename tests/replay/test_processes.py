"""Replays as processes: killed and resumed, two at once, interrupted, and what they print and exit with."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from app.replay.database import Database
from tests.conftest import free_port
from tests.recording import eventually, killed_at_the_end
from tests.replay.archive import many, recording, write
from tests.replay.database import digest_of, query, replay_folder

ROOT = Path(__file__).resolve().parents[2]
FILES = 1200
COMMAND = [sys.executable, "-m", "app.replay"]


def environment(url: str | None, **more: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "OUTPUT_DIR")}
    return {**inherited, **({"DATABASE_URL": url} if url else {}), **more}


def start(url: str, *arguments: object) -> subprocess.Popen[str]:
    """A replay that goes on beside the test."""
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        cwd=ROOT,
        env=environment(url),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def run(
    url: str | None, *arguments: object, code: int = 0, output_dir: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """A replay to its end."""
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        cwd=ROOT,
        env=environment(url, **({"OUTPUT_DIR": str(output_dir)} if output_dir else {})),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def entered(url: str) -> int:
    """How many recordings the ledger has."""
    try:
        return int(query(url, "SELECT count(*) FROM replay_record")[0][0])
    except psycopg.errors.UndefinedTable:
        return 0


def empty(url: str) -> None:
    query(url, "DROP SCHEMA public CASCADE; CREATE SCHEMA public")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archive")
    for one in many(FILES):
        write(folder, one)
    return folder


@pytest.fixture(scope="module")
def whole(archive: Path, postgres_server: str) -> str:
    """The digest of a replay that nothing disturbed."""
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS public CASCADE")
        connection.execute("CREATE SCHEMA public")
    replay_folder(archive, postgres_server)
    return digest_of(postgres_server)


def family(process: subprocess.Popen[str]) -> list[psutil.Process]:
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def reached(replaying: subprocess.Popen[str], url: str, goal: int) -> bool:
    """Whether a replay has entered so many recordings, or ended."""
    return replaying.poll() is not None or (bool(family(replaying)) and entered(url) >= goal)


def test_killed_at_any_moment_and_run_again_it_ends_in_the_same_rows(
    archive: Path, whole: str, database_url: str, in_full: bool
) -> None:
    chance = random.Random(11)
    wanted = 25 if in_full else 4
    while wanted:
        if entered(database_url) > FILES - 300:
            empty(database_url)
        begun, more = entered(database_url), chance.choice((0, 1, 300))
        with killed_at_the_end(start(database_url, "--directory", archive)) as replaying:
            eventually(partial(reached, replaying, database_url, begun + more), 60)
            workers = family(replaying)
            wanted -= replaying.poll() is None
            replaying.kill()
            replaying.wait()
            _, alive = psutil.wait_procs(workers, 30)
            assert alive == [], "a worker outlives the replay"
    document = json.loads(run(database_url, "--directory", archive, "--json").stdout)
    assert document["found"] == FILES + 2
    assert digest_of(database_url) == whole


def test_two_at_once_on_an_empty_database_end_in_the_same_rows(archive: Path, whole: str, database_url: str) -> None:
    with (
        killed_at_the_end(start(database_url, "--directory", archive, "--json")) as one,
        killed_at_the_end(start(database_url, "--directory", archive, "--json")) as other,
    ):
        documents = [json.loads(process.communicate()[0]) for process in (one, other)]
        assert [process.returncode for process in (one, other)] == [0, 0]
    assert sum(document["loaded"] + document["superseded"] for document in documents) == FILES
    assert digest_of(database_url) == whole


def test_ctrl_c_says_how_far_it_got_and_leaves_no_process(archive: Path, whole: str, database_url: str) -> None:
    with killed_at_the_end(start(database_url, "--directory", archive)) as replaying:
        eventually(lambda: entered(database_url) > 0, 60)
        workers = family(replaying)
        os.killpg(replaying.pid, signal.SIGINT)
        _, said = replaying.communicate()
    assert replaying.returncode == 130
    assert "Traceback" not in said
    assert "files are done (run it again to go on)" in said.splitlines()[-1]
    assert psutil.wait_procs(workers, 30)[1] == []
    run(database_url, "--directory", archive)
    assert digest_of(database_url) == whole


def test_a_dry_run_reports_the_same_and_changes_nothing(archive: Path, database_url: str) -> None:
    def shown(*arguments: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(run(database_url, "--directory", archive, "--json", *arguments).stdout)
        return {name: value for name, value in document.items() if name not in ("seconds", "dry_run")}

    dry = shown("--dry-run")
    assert query(database_url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]
    assert dry == shown()
    assert dry["loaded"] + dry["superseded"] == FILES
    before = digest_of(database_url)
    write(archive, recording("newest", "Pantry 0", source=0, created_at="2025-08-10 09:00:00"))
    try:
        dry = shown("--dry-run")
        assert (dry["loaded"], dry["replaced"], dry["unchanged"]) == (1, 1, FILES + 2)
        assert digest_of(database_url) == before
        assert dry == shown()
        assert digest_of(database_url) != before
    finally:
        (archive / "daily/2025-08-10/scrapers/nyc/newest.json").unlink()


def test_damaged_files_are_named_make_the_exit_code_1_and_stop_nothing(tmp_path: Path, database_url: str) -> None:
    write(tmp_path, recording("good"))
    folder = tmp_path / "daily/2025-08-08/scrapers/nyc"
    write(folder, b'{"job_id": "cut off", "jo', "cut.json")
    write(folder, b"\xff\xfe", "binary.json")
    write(folder, b"[]", "list.json")
    write(folder, b'{"job_id": "no job"}', "no-job.json")
    (folder / "link.json").symlink_to("/etc/passwd")
    (folder / "\x1b[31mred.json").write_bytes(b"")
    done = run(database_url, "--directory", tmp_path, code=1)
    assert "6 files are damaged or can't be read:" in done.stdout
    assert "\x1b" not in done.stdout
    for word in ("envelope_not_json", "envelope_not_utf8", "cut.json", "link.json: it is a symbolic link"):
        assert word in done.stdout
    assert query(database_url, "SELECT job_id FROM replay_record WHERE outcome = 'loaded'") == [("good",)]
    assert "root:" not in str(query(database_url, "SELECT * FROM quarantine"))
    again = json.loads(run(database_url, "--directory", tmp_path, "--json", code=1).stdout)
    assert (again["unchanged"], again["damaged"], again["loaded"]) == (6, 6, 0)


def test_the_mappings_ordinary_rejects_are_no_damage(tmp_path: Path, database_url: str) -> None:
    write(tmp_path, recording("a", scraper=None))
    assert "no_scraper_id" in run(database_url, "--directory", tmp_path).stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name one source"),
        (["--use-default-output-dir", "--file", "x.json"], "name one source"),
        (["--directory", "/nonexistent"], "no such folder: /nonexistent"),
        (["--file", "/nonexistent.json"], "no such file: /nonexistent.json"),
        (["--directory", ""], "no such folder"),  # an empty variable, which would mean here and all below
        (["--file", ""], "no such file"),
        (["--directory", ".", "--since", "yesterday"], "'yesterday' is no date"),
        (["--directory", ".", "--since", "2025-02-02", "--until", "2025-02-01"], "--since 2025-02-02 is after"),
        (["--directory", ".", "--workers", "0"], "Invalid value for '--workers'"),
        (["--directory", ".", "--function", "a.b"], "--to-queue"),
        (["--directory", ".", "--to-queue", "q"], "--to-queue needs --function"),
        (["--directory", "."], "DATABASE_URL is not set"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(arguments: list[str], message: str) -> None:
    done = run(None, *arguments, code=2)
    assert message in done.stderr
    assert done.stderr.startswith("replay: ")
    assert done.stderr.count("\n") == 1


def test_a_url_that_is_none_is_wrong_use_and_its_password_is_not_shown(tmp_path: Path) -> None:
    done = run("mysql://me:secret@h/d", "--directory", tmp_path, code=2)
    assert "DATABASE_URL can't be used" in done.stderr
    assert "secret" not in done.stderr


def test_without_a_database_the_exit_code_is_3_and_no_password_is_shown(tmp_path: Path) -> None:
    done = run(f"postgresql://me:secret@127.0.0.1:{free_port()}/mine", "--directory", tmp_path, code=3)
    assert "no database at mine@127.0.0.1:" in done.stderr
    assert "secret" not in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_database_that_goes_away_ends_it_with_3_and_a_second_run_goes_on(
    archive: Path, whole: str, database_url: str
) -> None:
    with killed_at_the_end(start(database_url, "--directory", archive)) as replaying:
        eventually(lambda: entered(database_url) > 0, 60)
        query(
            database_url,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'replay'",
        )
        _, said = replaying.communicate()
    assert replaying.returncode == 3
    assert "what was loaded stays; run this again to go on" in said.splitlines()[-1]
    assert "Traceback" not in said
    run(database_url, "--directory", archive)
    assert digest_of(database_url) == whole


def test_the_output_dir_is_replayed_by_name_and_a_selection_of_it(tmp_path: Path, database_url: str) -> None:
    for number in range(3):
        for scraper in ("nyc", "sf"):
            job_id = f"{scraper}-{number}"
            write(
                tmp_path,
                recording(job_id, scraper=scraper, source=job_id, created_at=f"2025-08-0{number + 1} 00:00:00"),
            )
    chosen = ["--use-default-output-dir", "--since", "2025-08-02", "--scraper", "sf", "--limit", "1", "--verbose"]
    assert "accepted: daily/2025-08-02/scrapers/sf/sf-1.json" in run(database_url, *chosen, output_dir=tmp_path).stdout
    run(database_url, "--use-default-output-dir", "--pattern", "*-2.json", output_dir=tmp_path)
    run(database_url, "--file", tmp_path / "daily/2025-08-01/scrapers/nyc/nyc-0.json")
    assert query(database_url, "SELECT job_id FROM replay_record ORDER BY 1") == [
        ("nyc-0",),
        ("nyc-2",),
        ("sf-1",),
        ("sf-2",),
    ]


def test_a_table_of_somebody_elses_is_not_touched(tmp_path: Path, database_url: str) -> None:
    query(database_url, "CREATE TABLE organization (id int)")
    write(tmp_path, recording("a"))
    done = run(database_url, "--directory", tmp_path, code=3)
    assert "the database has a table organization that replay didn't make" in done.stderr
    assert query(database_url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(1,)]


def test_the_digest_is_printed_without_loading(tmp_path: Path, database_url: str) -> None:
    write(tmp_path, recording("a"))
    run(database_url, "--directory", tmp_path)
    document = json.loads(run(database_url, "--digest").stdout)
    assert document["digest"] == digest_of(database_url)
    assert document["tables"]["organization"] == 1
    query(database_url, "UPDATE organization SET name = 'other'")
    assert digest_of(database_url) != document["digest"]


@pytest.fixture
def blocker(database_url: str) -> Iterator[Database]:
    with Database(database_url) as database:
        yield database


@pytest.mark.parametrize("made", [True, False], ids=["schema made", "empty"])
def test_a_replay_that_waits_for_another_says_so(
    tmp_path: Path, database_url: str, blocker: Database, made: bool
) -> None:
    write(tmp_path, recording("a"))
    if made:
        blocker.migrate()
    with blocker.transaction():
        blocker.lock_for_loading(print)
        with killed_at_the_end(start(database_url, "--directory", tmp_path)) as waiting:
            assert waiting.stderr is not None
            assert waiting.stderr.readline() == "replay: waiting for another replay into the same database\n"
            waiting.terminate()
            waiting.communicate()
    assert entered(database_url) == 0
