"""`bench --replay`: recordings into PostgreSQL, beside the least that this takes, and the loop that one writes first.

Everything goes into fresh databases of one server, in turns. The floor is psql's ``\\copy`` of the rows that a replay
made, in one transaction: it reads no recording and maps nothing. The plain loop inserts the HSDS rows alone, already
mapped, one by one with ON CONFLICT, a transaction a file.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import psycopg

from app.bouy.generator import generate_results
from app.replay.database import Database
from app.replay.digest import digest
from app.replay.hsds.mapping import map_recording
from app.replay.hsds.rows import Row
from app.replay.hsds.tables import DEFAULTS, TABLES
from app.replay.load import Loaded, Loader
from app.replay.plan import Found, Selection, directory_plan, read
from app.replay.records import Prepared
from app.replay.workers import chunks_of
from app.store.errors import RecorderError
from app.store.layout import Layout, Place
from bench.lab import Lab
from bench.postgres import Postgres
from bench.replay_figures import ReplayFigures, Run
from bench.workload import DAY, MOST, load_workload

_STAGE_FILES = 3_000
"""So many of the files are loaded by the load stage alone, and by the plain loop."""

_POLL_S = 0.05
_SEED = 20250808


def write_recordings(source: Path | None, files: int | None, folder: Path) -> Path:
    """A folder of so many recordings, each distinct: the source itself if none are asked for, else made from it."""
    if source is not None and files is None:
        return source
    if source is None:
        day = datetime.fromisoformat(DAY).replace(hour=23, minute=59, tzinfo=UTC)
        results = generate_results(files or MOST, _SEED, day)
    else:
        workload = load_workload(source)
        results = (workload.results(number, 1)[0] for number in range(files or 0))
    layout = Layout(str(folder))
    for number, result in enumerate(results):
        metadata = result["job"].get("metadata") or {}
        path = Path(layout.recording(Place(DAY, metadata.get("scraper_id"), str(result.get("job_id", number)))))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(orjson.dumps(result, option=orjson.OPT_INDENT_2))
    return folder


class Replays:
    """Measures, and collects the figures."""

    def __init__(self, lab: Lab, folder: Path, machine: dict[str, Any], say: Callable[[str], None]) -> None:
        self._lab = lab
        self._folder = folder
        self._say = say
        self._postgres = Postgres(lab)
        found = [item for item in directory_plan(str(folder), Selection()) if isinstance(item, Found)]
        self.figures = ReplayFigures(machine, str(folder), len(found), sum(item.size for item in found) / 1e6)

    def run(self, runs: int) -> ReplayFigures:
        """Everything, in turns."""
        self._say("mapping")
        prepared, rows = self._prepare()
        measured: dict[str, list[Run]] = {name: [] for name in ("replay", "again", "floor", "load", "loop")}
        dump: Path | None = None
        for number in range(1, runs + 1):
            self._say(f"run {number} of {runs}: the whole replay, and a second one")
            url = self._postgres.new_database()
            measured["replay"].append(self._replay(url))
            self._postgres.settle(url)
            measured["again"].append(self._replay(url))
            if dump is None:
                dump = self._lab.new_folder("dump")
                ours = _contents(url)
                self._postgres.dump(url, ours["tables"], dump)
                self.figures.rows = sum(ours["tables"].values())
            self._say(f"run {number} of {runs}: the floor")
            measured["floor"].append(self._floor(ours, dump))
            self._say(f"run {number} of {runs}: the load stage alone")
            measured["load"].append(self._load(prepared))
            self._say(f"run {number} of {runs}: the plain loop")
            measured["loop"].append(self._loop(rows))
        for name, several in measured.items():
            self.figures.take(name, several)
        return self.figures

    def _prepare(self) -> tuple[list[list[Prepared]], list[list[Row]]]:
        """The first of the files, as the load stage gets them, and as the plain loop does."""
        plan = directory_plan(str(self._folder), Selection(limit=_STAGE_FILES))
        prepared = [chunk.prepared for chunk in chunks_of(plan, self._postgres.new_database(), workers=1)]
        contents = [read(item) for item in plan if isinstance(item, Found)]
        mapped = [map_recording(orjson.loads(content)) for content in contents if isinstance(content, bytes)]
        rows = [one.rows for one in mapped if one.accepted]
        self.figures.loop_rows = sum(map(len, rows))
        return prepared, rows

    def _replay(self, url: str) -> Run:
        """`python -m app.replay --directory`, from its start to its end."""
        command = [sys.executable, "-P", "-m", "app.replay", "--directory", str(self._folder), "--quiet"]
        server_before, begun_at = self._postgres.cpu_s(), time.perf_counter()
        worker = self._lab.start(command, self._lab.folder, DATABASE_URL=url)
        cpu_s, largest, together = 0.0, 0, 0
        while not worker.ended:
            cpu_s, largest = max(cpu_s, worker.cpu_s()), max(largest, worker.peak_bytes())
            together = max(together, worker.together_bytes())
            worker.wait(_POLL_S)
        ended_at = time.perf_counter()
        if worker.exit_code not in (0, 1):
            raise RecorderError(f"replay ended with exit code {worker.exit_code}; {worker.last_words()}")
        return Run(ended_at - begun_at, cpu_s, self._postgres.cpu_s() - server_before, largest, together)

    def _floor(self, ours: dict[str, Any], dump: Path) -> Run:
        url = self._postgres.new_database()
        run = self._timed(lambda: self._postgres.load(url, ours["tables"], dump))
        if _contents(url) != ours:
            raise RecorderError("psql's \\copy of a replay's rows made other rows")
        return run

    def _load(self, prepared: Sequence[Sequence[Prepared]]) -> Run:
        url = self._postgres.new_database()

        def load() -> None:
            with Database(url) as database:
                loader = Loader(database, Loaded(), self._say)
                for chunk in prepared:
                    loader.load(chunk)

        run = self._timed(load)
        tables = _contents(url)["tables"]
        self.figures.stage_rows = sum(tables.values())
        self.figures.stage_hsds_rows = sum(tables[table] for table in TABLES)
        return run

    def _loop(self, files: Sequence[Sequence[Row]]) -> Run:
        url = self._postgres.new_database()

        def loop() -> None:
            with psycopg.connect(url) as connection:
                for rows in files:
                    for row in rows:
                        _insert(connection, row)
                    connection.commit()

        return self._timed(loop)

    def _timed(self, work: Callable[[], None]) -> Run:
        server_before, cpu_before, begun_at = self._postgres.cpu_s(), time.process_time(), time.perf_counter()
        work()
        seconds, cpu_s = time.perf_counter() - begun_at, time.process_time() - cpu_before
        return Run(seconds, cpu_s, self._postgres.cpu_s() - server_before)


def _insert(connection: psycopg.Connection, row: Row) -> None:
    values = {**DEFAULTS.get(row.table, {}), **row.fields, "id": row.id}
    connection.execute(_statement(row.table, tuple(values)), list(values.values()))


@cache
def _statement(table: str, names: tuple[str, ...]) -> bytes:
    columns, places = ", ".join(names), ", ".join(["%s"] * len(names))
    changes = ", ".join(f"{name} = excluded.{name}" for name in names)
    text = f"INSERT INTO {table} ({columns}) VALUES ({places}) ON CONFLICT (id) DO UPDATE SET {changes}"  # noqa: S608
    return text.encode()


def _contents(url: str) -> dict[str, Any]:
    with Database(url) as database:
        return digest(database)
