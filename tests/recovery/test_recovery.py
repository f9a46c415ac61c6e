"""Recovery, end to end: what is lost comes back, from each place that it can come back from, to the same rows."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from redis import Redis
from rq.job import Job

from app.archive.audit import audit
from app.archive.verify import Verifier
from app.recorder.client import enqueue_result
from app.recorder.write import RecordWriter
from app.store.layout import Layout
from app.store.proven import proven_restore_at
from tests.archive.command import run
from tests.conftest import free_port, redis_server_binary
from tests.recording import burst, connected, eventually, finished, recordings
from tests.replay.archive import many
from tests.replay.database import digest_of, query, replay_folder

FILES = 40


@pytest.fixture(scope="module")
def recorded_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An OUTPUT_DIR of three days, with quarantine and a superseded result."""
    base = tmp_path_factory.mktemp("recovery")
    with RecordWriter(str(base / "out")) as writer:
        for one in many(FILES):
            writer.commit([writer.stage(one)])
        first = many(FILES)[0]
        writer.commit([writer.stage({**first, "result": "newer", "completed_at": "2099-01-01T00:00:00Z"})])
        writer.commit([writer.stage_quarantine("job-x", "no job_id", b"payload", {})])
    return base


@pytest.fixture
def base(recorded_once: Path, tmp_path: Path) -> Path:
    return shutil.copytree(recorded_once, tmp_path / "base", symlinks=True)


@pytest.fixture
def live(base: Path, database_url: str) -> str:
    """A database into which all is replayed; its URL."""
    replay_folder(base / "out", database_url)
    return database_url


def lose_database(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")


def databases(url: str) -> list[str]:
    return [str(name) for (name,) in query(url, "SELECT datname FROM pg_database")]


def test_outputs_lost_restored_verified_and_replayed_give_the_same_rows(base: Path, live: str) -> None:
    before = digest_of(live)
    run(base, "archive")
    run(base, "backup", str(base / "backup"), DATABASE_URL=live)
    shutil.rmtree(base / "out")
    shutil.rmtree(base / "arch")
    lose_database(live)
    run(base, "restore", str(base / "backup"), "--no-database", DATABASE_URL=live)
    run(base, "verify", "--read-data")
    replay_folder(base / "out", live)
    assert digest_of(live) == before


def test_all_lost_one_restore_brings_back_recordings_archives_and_database(base: Path, live: str) -> None:
    before = digest_of(live)
    run(base, "archive")
    run(base, "backup", str(base / "backup"), DATABASE_URL=live)
    shutil.rmtree(base / "out")
    shutil.rmtree(base / "arch")
    lose_database(live)
    done = json.loads(run(base, "restore", str(base / "backup"), "--json", DATABASE_URL=live).stdout)
    assert done["database"] == "restored"
    assert digest_of(live) == before
    run(base, "verify", "--read-data")
    again = json.loads(run(base, "restore", str(base / "backup"), "--merge", "--json", DATABASE_URL=live).stdout)
    assert again["database"] == "left alone: it has rows"
    assert again["restored"] == {"daily": 0, "quarantine": 0, "archive": 0}


def test_database_lost_comes_back_from_the_newest_dump_and_one_with_rows_is_left_alone(base: Path, live: str) -> None:
    before = digest_of(live)
    run(base, "dump", DATABASE_URL=live)
    lose_database(live)
    assert "was filled" in run(base, "init", DATABASE_URL=live).stdout
    assert digest_of(live) == before
    query(live, "DELETE FROM quarantine")
    changed = digest_of(live)
    assert "rows already" in run(base, "init", DATABASE_URL=live).stdout
    assert digest_of(live) == changed


@pytest.mark.faults
def test_a_dump_that_the_database_refuses_leaves_it_as_it_was(base: Path, live: str) -> None:
    run(base, "dump", DATABASE_URL=live)
    latest = (base / "sql_dumps/latest.sql").resolve()
    latest.write_text("CREATE TABLE first (n int);\nSELECT 1 / 0;\n" + latest.read_text() * 20)
    lose_database(live)
    assert "division by zero" in run(base, "init", code=1, DATABASE_URL=live).stderr
    assert query(live, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]


def test_a_dump_that_was_cut_short_between_two_rows_is_not_run(base: Path, live: str) -> None:
    run(base, "dump", DATABASE_URL=live)
    path = base / "sql_dumps/latest.sql"
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"\n", content.index(b"COPY public.record_source") + 2000) + 1])
    lose_database(live)
    assert "is cut short" in run(base, "init", code=1, DATABASE_URL=live).stderr
    assert query(live, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]


@pytest.mark.faults
def test_database_lost_comes_back_by_replay_of_what_is_there_and_of_what_is_only_archived(
    base: Path, live: str
) -> None:
    before = digest_of(live)
    run(base, "archive")
    run(base, "clean", "--older-than", "7d", "--yes", "--no-trash")
    assert len(list((base / "out/daily").iterdir())) == 1
    lose_database(live)
    run(base, "restore", str(base / "arch"), "--merge")
    replay_folder(base / "out", live)
    assert digest_of(live) == before


@pytest.mark.faults
def test_a_clone_of_a_published_repository_is_replayed_archived_and_backed_up(
    real_day: Path, tmp_path: Path, database_url: str
) -> None:
    """Recordings of an earlier recorder: a day's worth is too many for here."""
    clone = tmp_path / "HAARRRvest"
    for path in (
        sorted(real_day.glob("scrapers/mercer*/*.json")) + sorted(real_day.glob("scrapers/toledo*/*.json"))[:20]
    ):
        target = clone / "daily/2025-08-08" / path.relative_to(real_day)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    shutil.copyfile(real_day / "summary.json", clone / "daily/2025-08-08/summary.json")
    replay_folder(clone, database_url)
    before = digest_of(database_url)
    os.symlink(clone, tmp_path / "out")
    run(tmp_path, "archive")
    run(tmp_path, "backup", str(tmp_path / "backup"))
    run(tmp_path, "restore", str(tmp_path / "backup"), "--into", str(tmp_path / "new"))
    lose_database(database_url)
    replay_folder(tmp_path / "new/outputs", database_url)
    assert digest_of(database_url) == before
    for path in clone.rglob("*.json"):
        assert (tmp_path / "new/outputs" / path.relative_to(clone)).read_bytes() == path.read_bytes()


def test_redis_lost_with_jobs_in_it_has_them_again_from_its_append_only_file(tmp_path: Path) -> None:
    with append_only_redis(tmp_path) as redis:
        connection = redis.start()
        jobs = [enqueue_result(one, connection=connection) for one in many(20)]
        redis.kill()
        connection = redis.start()
        burst(redis.url, tmp_path / "out")
        assert all(finished(Job.fetch(job.id, connection=connection)) for job in jobs)
    assert len(recordings(tmp_path / "out")) == len(jobs)
    assert audit(Verifier(str(tmp_path / "out"), most_examples=5)).holds


@pytest.mark.faults
def test_a_drill_brings_all_back_aside_compares_leaves_nothing_and_is_noted(base: Path, live: str) -> None:
    run(base, "archive")
    run(base, "clean", "--older-than", "7d", "--yes", "--no-trash")
    run(base, "restore", str(base / "arch"), "--merge", "--date", "2025-08-08")
    run(base, "clean", "--older-than", "7d", "--yes", "--keep-summaries")
    run(base, "backup", str(base / "backup"), DATABASE_URL=live)
    there = databases(live)
    done = json.loads(run(base, "restore", str(base / "backup"), "--drill", "--json", DATABASE_URL=live).stdout)
    assert done["proven"]
    assert set(done["digests"].values()) == {digest_of(live)}
    assert done["seconds"].keys() == {"restore", "verify", "replay", "dump", "replay beside the dump"}
    assert databases(live) == there
    assert not list(base.glob("drill-*"))
    noted = proven_restore_at(Layout(str(base / "out")))
    assert noted is not None
    assert "recorder_proven_restore_timestamp_seconds" in (base / "out/.recorder/proven_restore.prom").read_text()


@pytest.mark.faults
def test_a_drill_that_finds_a_recording_missing_fails_and_is_not_noted(base: Path, live: str) -> None:
    next((base / "out").glob("daily/2025-08-09/scrapers/nyc/*.json")).unlink()
    run(base, "backup", str(base / "backup"), DATABASE_URL=live)
    done = json.loads(run(base, "restore", str(base / "backup"), "--drill", "--json", code=1, DATABASE_URL=live).stdout)
    assert "lead to other rows" in done["problems"][0]
    assert proven_restore_at(Layout(str(base / "out"))) is None
    assert not list(base.glob("drill-*"))


def test_a_drill_without_a_database_proves_the_recordings(base: Path) -> None:
    run(base, "backup", str(base / "backup"))
    assert "is proven" in run(base, "restore", str(base / "backup"), "--drill").stdout


@pytest.mark.faults
def test_no_database_is_dumped_that_is_empty_or_has_lost_its_rows(base: Path, live: str) -> None:
    run(base, "dump", DATABASE_URL=live)
    good = (base / "sql_dumps/latest.sql").resolve()
    query(live, "DELETE FROM record_source")
    assert "once: not dumped" in run(base, "dump", code=1, DATABASE_URL=live).stderr
    lose_database(live)
    assert "fewer than 100" in run(base, "dump", code=1, DATABASE_URL=live).stderr
    assert (base / "sql_dumps/latest.sql").resolve() == good
    run(base, "dump", DATABASE_URL=live, ALLOW_EMPTY_SQL_DUMP="true", SQL_DUMP_KEEP="1")
    (left,) = (base / "sql_dumps").glob("pantry_pirate_radio_*.sql")
    assert (base / "sql_dumps/latest.sql").resolve() == left
    assert not list((base / "sql_dumps").glob("*.tmp"))


@pytest.mark.faults
def test_a_dump_that_a_person_called_latest_is_not_written_over(base: Path, live: str) -> None:
    (base / "sql_dumps").mkdir()
    latest = base / "sql_dumps/latest.sql"
    latest.write_text("a person's")
    assert "latest.sql is no link" in run(base, "dump", code=1, DATABASE_URL=live).stderr
    assert latest.read_text() == "a person's"


def test_a_database_that_is_away_is_said_in_one_line_without_its_password(base: Path) -> None:
    url = f"postgresql://me:secret@127.0.0.1:{free_port()}/there"
    for command in (["dump"], ["init"], ["backup", str(base / "backup")]):
        (base / "sql_dumps").mkdir(exist_ok=True)
        (base / "sql_dumps/latest.sql").write_text("SELECT 1;")
        said = run(base, *command, code=3, DATABASE_URL=url).stderr
        assert said.startswith("archive: no database there@127.0.0.1: ")
        assert "secret" not in said
    assert not list((base / "backup/snapshots").glob("*")) if (base / "backup/snapshots").exists() else True
    assert "DATABASE_URL is not set" in run(base, "dump", code=2, DATABASE_URL="").stderr


class AppendOnlyRedis:
    """A Redis as bouy runs it, whose data outlive it."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        options = ["--appendonly", "yes", "--appendfsync", "always", "--bind", "127.0.0.1", "--save", ""]
        self._command = [redis_server_binary(), *options, "--port", str(self.port), "--dir", str(folder)]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Redis:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        connection = Redis.from_url(self.url)
        eventually(lambda: connected(connection))
        return connection

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@contextmanager
def append_only_redis(folder: Path) -> Iterator[AppendOnlyRedis]:
    redis = AppendOnlyRedis(folder)
    try:
        yield redis
    finally:
        redis.kill()
