"""`python -m app.replay`: the command line of bringing recordings back, into a database or a queue."""

from __future__ import annotations

import json
import os
import sys
from datetime import date
from typing import Annotated

import typer

from app.replay import view
from app.replay.database import Database, place_of
from app.replay.digest import digest
from app.replay.plan import Plan, Selection, directory_plan, file_plan, output_dir_plan
from app.replay.run import Report, replay
from app.replay.workers import Chunk
from app.service.command import run_command
from app.service.progress import Progress
from app.service.settings import Settings, load_settings, require_database_url, require_redis_url
from app.store.errors import RunInterruptedError, UsageError

_FEW_FILES = 200
"""So many are mapped sooner than other processes would have started."""

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no date such as 2025-07-23") from None


@app.command()
def replay_command(
    use_default_output_dir: Annotated[
        bool, typer.Option("--use-default-output-dir", help="Replay all of OUTPUT_DIR.")
    ] = False,
    file: Annotated[str | None, typer.Option("--file", metavar="FILE", help="Replay one recording.")] = None,
    directory: Annotated[
        str | None, typer.Option("--directory", metavar="DIR", help="Replay all recordings in a folder.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Do everything, report, and take it back.")] = False,
    since: Annotated[
        date | None, typer.Option("--since", parser=_date, metavar="DATE", help="The first day, YYYY-MM-DD.")
    ] = None,
    until: Annotated[
        date | None, typer.Option("--until", parser=_date, metavar="DATE", help="The last day, YYYY-MM-DD.")
    ] = None,
    scrapers: Annotated[
        list[str] | None,
        typer.Option("--scraper", metavar="ID", help="Only this scraper's; may be given again for more."),
    ] = None,
    pattern: Annotated[
        str | None, typer.Option("--pattern", metavar="GLOB", help="Only files of such names, as 'job1*.json'.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", min=1, help="No more than the first N files.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", metavar="N", min=1, max=256, help="Map in N processes.  [default: the cores]"),
    ] = None,
    to_queue: Annotated[
        str | None, typer.Option("--to-queue", metavar="NAME", help="Enqueue to this RQ queue; no database is touched.")
    ] = None,
    function: Annotated[
        str | None, typer.Option("--function", metavar="DOTTED.NAME", help="What the jobs of --to-queue call.")
    ] = None,
    rate: Annotated[
        float | None, typer.Option("--rate", metavar="N", help="With --to-queue: at most N jobs a second.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="With --to-queue: go on where the last run was interrupted.")
    ] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="With --to-queue: forget the last run, begin from the first.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="With --to-queue recorder: yes, to recorders, which record all again.")
    ] = False,
    only_digest: Annotated[
        bool, typer.Option("--digest", help="Load nothing: print the database's row counts and digest as JSON.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Name each file: accepted, rejected and why, unchanged.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print errors only; the exit code tells.")] = False,
) -> int:
    """Bring recordings back into the PostgreSQL that DATABASE_URL names, or into another RQ queue.

    Name one source: --use-default-output-dir, --file or --directory. Replaying again, in parts or in any order ends in
    the same rows. Exit codes: 0 all is well, 1 some files are damaged, 2 wrong use, 3 no database or Redis, 130 Ctrl-C.
    """
    settings = load_settings()
    if only_digest:
        with Database(require_database_url(settings)) as database:
            print(json.dumps(digest(database), indent=2))
        return 0
    target = None
    if any(value not in (None, False) for value in (to_queue, function, rate, resume, restart, force)):
        from app.replay import queue_cli  # what it imports of Redis takes longer than many a replay

        target = queue_cli.queue_target(to_queue, function, rate=rate, resume=resume, restart=restart, force=force)
    selection = Selection(since, until, frozenset(scrapers or ()), pattern, limit)
    plan = _plan(settings, selection, use_default_output_dir, file, directory)
    if target is None:
        return _to_database(plan, settings, workers, dry_run=dry_run, verbose=verbose, quiet=quiet, as_json=as_json)
    with Progress("enqueuing", silent=quiet or as_json) as progress:
        progress.expect(plan.count())
        return queue_cli.replay_to_queue(
            plan,
            require_redis_url(settings),
            target,
            rate=rate,
            dry_run=dry_run,
            resume=resume,
            restart=restart,
            as_json=as_json,
            advance=lambda _: progress.advance(),
        )


def _plan(
    settings: Settings, selection: Selection, use_default_output_dir: bool, file: str | None, directory: str | None
) -> Plan:
    if [use_default_output_dir, file is not None, directory is not None].count(True) != 1:
        raise UsageError("name one source", hint="--use-default-output-dir, --file FILE or --directory DIR")
    if file is not None:
        return file_plan(file, selection)
    if directory is not None:
        return directory_plan(directory, selection)
    return output_dir_plan(str(settings.output_dir), selection)


def _to_database(
    plan: Plan,
    settings: Settings,
    workers: int | None,
    *,
    dry_run: bool,
    verbose: bool,
    quiet: bool,
    as_json: bool,
) -> int:
    url = require_database_url(settings)
    report = Report()
    total = plan.count()
    with Progress("replaying", silent=quiet or as_json) as progress:
        progress.expect(total)

        def advance(chunk: Chunk) -> None:
            progress.advance(chunk.files)
            if verbose and not quiet:
                view.say_files(chunk, sys.stderr if as_json else sys.stdout)

        try:
            replay(
                plan,
                url,
                workers=workers or (1 if total < _FEW_FILES else len(os.sched_getaffinity(0))),
                dry_run=dry_run,
                report=report,
                notify=view.say,
                advance=advance,
            )
        except KeyboardInterrupt:
            kept = "nothing was changed" if dry_run else f"{report.found:,} of {total:,} files are done"
            raise RunInterruptedError(f"interrupted; {kept}", hint="run it again to go on") from None
    if as_json:
        print(view.report_document(report, place_of(url), dry_run=dry_run))
    elif not quiet:
        for line in view.report_lines(report, dry_run=dry_run):
            print(line)
    return 1 if report.damaged or report.loaded.refused else 0


def main() -> int:
    """Run the command; an error or Ctrl-C becomes one line on standard error and an exit code."""
    return run_command(app, "replay", see="python -m app.replay --help")
