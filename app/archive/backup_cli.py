"""The command line of `backup`, `restore`, `dump` and `init`."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from app.archive import data_view as view
from app.archive import database_backup, sql_dumps
from app.archive import drill as drills
from app.archive.backup import Backup
from app.archive.cli_options import (
    AsJson,
    Dates,
    Quiet,
    archive_dir,
    database,
    output_dir,
    recorded_dir,
    required_database,
)
from app.archive.repair import writing
from app.archive.restore import Restore, Wanted
from app.archive.restore import plan as plan_restore
from app.archive.snapshots import DatabaseDump, Repository
from app.archive.sources import Source, open_source
from app.service.progress import Progress
from app.service.settings import Settings, load_settings
from app.store.files import DurableFiles
from app.store.layout import Layout
from app.store.proven import note_proven_restore

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

_NoDatabase = Annotated[bool, typer.Option("--no-database", help="Leave the database out.")]


@app.command("backup")
def back_up(
    dest: Annotated[Path | None, typer.Argument(metavar="DEST", help="Where to; BACKUP_DIR if not given.")] = None,
    no_database: _NoDatabase = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> int:
    """Take a snapshot of OUTPUT_DIR, ARCHIVE_DIR and the database (if DATABASE_URL is set), beside running recorders.

    Days that haven't changed are not written again. What is written is read back.
    Exit codes: 0 done, 1 something couldn't be taken, or the disk refuses, 2 wrong use, 3 no database.
    """
    settings = load_settings()
    layout = recorded_dir(settings)
    repository = Repository(str(dest or settings.backup_dir))
    started = time.monotonic()
    with Progress("backing up", silent=quiet or as_json) as progress:
        backup = Backup(layout, archive_dir(settings), repository, progress.advance)
        result = backup.run(
            datetime.now(UTC), lambda files: None if no_database else _dumped(settings, repository, files)
        )
    seconds = time.monotonic() - started
    if as_json:
        view.document(view.backed_up_document(result, repository.folder, seconds))
    elif not quiet:
        view.say_backed_up(result, repository.folder, seconds)
    return 1 if result.problems else 0


@app.command()
def restore(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="A backup, ARCHIVE_DIR, or one archive.")],
    into: Annotated[
        Path | None, typer.Option("--into", metavar="DIR", help="To DIR/outputs and DIR/archives instead.")
    ] = None,
    snapshot: Annotated[
        str | None, typer.Option("--snapshot", metavar="NAME", help="This snapshot of the backup, not the last.")
    ] = None,
    dates: Dates = None,
    scrapers: Annotated[
        list[str] | None, typer.Option("--scraper", metavar="ID", help="Only this scraper's; may be repeated.")
    ] = None,
    merge: Annotated[bool, typer.Option("--merge", help="Add what is missing; what is there stays as it is.")] = False,
    no_database: _NoDatabase = False,
    drill: Annotated[
        bool,
        typer.Option("--drill", help="Restore all in a scratch folder (--into, else a temporary one) and compare."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be restored.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> int:
    """Bring recordings back into OUTPUT_DIR (and archives into ARCHIVE_DIR), every byte checked on the way.

    All of a backup brings back the database too, if DATABASE_URL is set and has no rows.

    Exit codes: 0 done, 1 something else is in the place of a file (it stays), or SOURCE is damaged, 2 wrong use,
    3 no database.
    """
    settings = load_settings()
    found = open_source(str(source), snapshot)
    if drill:
        return _drill(settings, found, into, as_json=as_json, quiet=quiet, no_database=no_database)
    wanted = Wanted(frozenset(dates or ()), frozenset(scrapers or ()))
    steps = plan_restore(found, wanted)
    layout, archives = output_dir(settings), archive_dir(settings)
    if into is not None:
        layout, archives = Layout(os.path.abspath(into / "outputs")), os.path.abspath(into / "archives")
    started = time.monotonic()
    with Progress("restoring", silent=quiet or as_json) as progress:
        work = Restore(layout, archives, found, progress.advance)
        work.check(steps, merge=merge)
        if dry_run:
            view.say_restore_plan(steps)
            return 0
        progress.expect(sum(step.files for step in steps if step.kind != "archive"))
        result = work.run(steps, wanted)
    if wanted.whole and into is None and not no_database:
        result.database = _given_back(settings, found)
    seconds = time.monotonic() - started
    if as_json:
        view.document(view.restored_document(result, layout.root, seconds))
    elif not quiet:
        view.say_restored(result, layout.root, seconds)
    return 1 if result.differing else 0


@app.command("dump")
def dump_database(as_json: AsJson = False, quiet: Quiet = False) -> int:
    """Write the database of DATABASE_URL as SQL to SQL_DUMP_DIR, with latest.sql leading to it.

    A database that has few rows, or far fewer than once, is not dumped: see SQL_DUMP_MIN_RECORDS,
    SQL_DUMP_RATCHET_PERCENTAGE and ALLOW_EMPTY_SQL_DUMP. The oldest beyond SQL_DUMP_KEEP go.
    Exit codes: 0 done, 1 too few rows, or the disk or the database refuses, 2 wrong use, 3 no database.
    """
    settings = load_settings()
    safeguards = sql_dumps.Safeguards(
        settings.sql_dump_min_records, settings.sql_dump_ratchet_percentage, settings.allow_empty_sql_dump
    )
    folder = os.path.abspath(settings.sql_dump_dir)
    done = sql_dumps.dump(required_database(settings), folder, safeguards, datetime.now(UTC), settings.sql_dump_keep)
    if as_json:
        view.document({"dump": done.path, "rows": done.rows, "bytes": done.size, "removed": done.removed})
    elif not quiet:
        view.say(f"{done.path}: {done.rows:,} rows, {view.size(done.size)}")
    return 0


@app.command("init")
def fill_database(as_json: AsJson = False, quiet: Quiet = False) -> int:
    """Fill the database of DATABASE_URL from the newest dump in SQL_DUMP_DIR; one that has rows is left alone.

    Exit codes: 0 done, or nothing to do, 1 the database refuses the dump, 2 wrong use, 3 no database.
    """
    settings = load_settings()
    target = required_database(settings)
    path = sql_dumps.newest(os.path.abspath(settings.sql_dump_dir))
    filled = path is not None and sql_dumps.fill_if_empty(target, path)
    if as_json:
        view.document({"dump": path, "filled": filled})
    elif not quiet:
        nothing = f"no dump in {settings.sql_dump_dir}" if path is None else "the database has rows already"
        view.say(f"the database was filled from {path}" if filled else f"{nothing}: nothing was done")
    return 0


def _drill(
    settings: Settings, source: Source, parent: Path | None, *, as_json: bool, quiet: bool, no_database: bool
) -> int:
    scratch = drills.scratch_folder(str(parent or tempfile.gettempdir()))
    try:
        with Progress("restoring", silent=quiet or as_json) as progress:
            done = drills.run(source, scratch, None if no_database else database(settings), progress.advance)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if done.proven:
        layout = output_dir(settings)
        with writing(layout) as files:
            note_proven_restore(layout, files, time.time())
    if as_json:
        view.document(view.drill_document(done))
    elif not quiet:
        view.say_drill(done)
    return 0 if done.proven else 1


def _dumped(settings: Settings, repository: Repository, files: DurableFiles) -> DatabaseDump | None:
    found = database(settings)
    return None if found is None else database_backup.take(found, files, repository.dumps)


def _given_back(settings: Settings, source: Source) -> str | None:
    """What became of the database, in words; None if there is none in the backup."""
    found = database(settings)
    if source.dump is None:
        return None
    if found is None:
        return "left out: DATABASE_URL is not set"
    return "restored" if database_backup.give_back(found, source.dump, source.dump_path) else "left alone: it has rows"
