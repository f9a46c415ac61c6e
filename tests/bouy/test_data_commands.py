"""bouy's data commands: with the fleet's database and folders, from wherever they are called."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from app.bouy.shell import variables_of
from tests.bouy.conftest import ROOT, Bench
from tests.faults import data


def test_a_lost_database_is_filled_from_the_newest_dump_before_the_services_start(bench: Bench) -> None:
    dumps = str(bench.folder / "sql_dumps")
    bench.bouy("up", "db")
    bench.bouy("exec", "db", "psql", "-qc", "CREATE TABLE organization AS SELECT n FROM generate_series(1, 500) AS n")
    assert "500 rows" in bench.bouy("dump", SQL_DUMP_DIR=dumps).stdout
    bench.bouy("exec", "db", "psql", "-qc", "DROP TABLE organization")
    first, second = bench.bouy("up", "db", "--with-init", SQL_DUMP_DIR=dumps).stdout.splitlines()
    assert first.startswith("the database was filled from ")
    assert second.startswith("db is already running")
    assert bench.bouy("exec", "db", "psql", "-qAtc", "SELECT count(*) FROM organization").stdout.strip() == "500"


def test_the_data_commands_work_on_the_fleet_s_folders_from_anywhere(bench: Bench) -> None:
    data.record_days(bench.folder)
    arch = str(bench.folder / "arch")
    done = subprocess.run(
        bench.command("--json", "archive"),
        env={**bench.environ, "ARCHIVE_DIR": arch},
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(json.loads(done.stdout)["days"]) == 3
    assert "archives 3" in bench.bouy("verify", "--read-data", ARCHIVE_DIR=arch).stdout


def test_a_folder_that_a_setting_names_is_in_the_checkout(bench: Bench) -> None:
    found = variables_of(bench.fleet(ARCHIVE_DIR="kept", BACKUP_DIR="/backups"), Path("/"))
    names = ("ARCHIVE_DIR", "BACKUP_DIR", "SQL_DUMP_DIR")
    assert [found[name] for name in names] == [str(ROOT / "kept"), "/backups", str(ROOT / "sql_dumps")]
