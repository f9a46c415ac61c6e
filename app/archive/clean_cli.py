"""The command line of `archive` and `clean`."""

from __future__ import annotations

import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

import typer

from app.archive import data_view as view
from app.archive.archiving import Action, Archived, Archiver, closed_days
from app.archive.clean import Cleaner, failed
from app.archive.clean import Step as CleanStep
from app.archive.cli_options import AsJson, Dates, Quiet, archive_dir, recorded_dir
from app.archive.packs import PackFolder
from app.archive.proof import Places
from app.archive.retention import Policy, parse_age
from app.archive.snapshots import Repository
from app.archive.trash import KEPT_FOR, Trash
from app.service.progress import Progress
from app.service.settings import Settings, load_settings
from app.store import scan
from app.store.errors import UsageError
from app.store.layout import is_date

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

_OlderThan = Annotated[str | None, typer.Option("--older-than", metavar="AGE", help="Only days older than 30d or 4w.")]


@app.command("archive")
def archive_days(
    older_than: _OlderThan = None, dates: Dates = None, as_json: AsJson = False, quiet: Quiet = False
) -> int:
    """Pack closed days of OUTPUT_DIR into ARCHIVE_DIR, one compressed file each; OUTPUT_DIR stays as it is.

    A day that was archived is archived anew when results came late. Today is never archived.
    Exit codes: 0 done, 1 a day can't be archived, or the disk refuses, 2 wrong use.
    """
    settings = load_settings()
    layout = recorded_dir(settings)
    age = parse_age(older_than) if older_than else 0
    days = closed_days(_known(scan.days(layout), dates), _today(), age)
    if left := set(dates or ()) - set(days):
        raise UsageError(f"not closed yet, or not older than {older_than or 'today'}: {min(left)}")
    folder = archive_dir(settings)
    with Progress("archiving", silent=quiet or as_json) as progress:
        archiver = Archiver(layout, folder, progress.advance)
        progress.expect(archiver.count_files(days))

        def tell(outcome: Archived) -> None:
            if not quiet and not as_json:
                view.say_archived(outcome)

        outcomes = archiver.run(days, tell)
    if as_json:
        view.document(view.archived_document(outcomes, folder))
    elif not quiet:
        view.say_archived_in_all(outcomes, folder)
    bad = [one for one in outcomes if one.action is Action.FAILED]
    if quiet and bad:
        print(*(f"archive: {one.date}: {one.reason}" for one in bad), sep="\n", file=sys.stderr)
    return 1 if bad else 0


@app.command()
def clean(
    older_than: _OlderThan = None,
    keep_daily: Annotated[int, typer.Option("--keep-daily", metavar="N", min=0, help="Keep the last N days.")] = 0,
    keep_weekly: Annotated[
        int, typer.Option("--keep-weekly", metavar="N", min=0, help="Keep the last day of the last N weeks.")
    ] = 0,
    keep_monthly: Annotated[
        int, typer.Option("--keep-monthly", metavar="N", min=0, help="Keep the last day of the last N months.")
    ] = 0,
    keep_summaries: Annotated[
        bool, typer.Option("--keep-summaries", help="Leave each day's summary.json where it is.")
    ] = False,
    backup: Annotated[
        Path | None, typer.Option("--backup", metavar="DEST", help="A day in this backup may go, too.")
    ] = None,
    unarchived: Annotated[
        bool, typer.Option("--unarchived", help="Have days go that are in no archive or backup: they are lost.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask; needed where there is no terminal.")] = False,
    no_trash: Annotated[bool, typer.Option("--no-trash", help="Free the space now; it can't be undone.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Put back what the last 24 hours' cleaning took out.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> int:
    """Take old days out of OUTPUT_DIR, once every byte of them is proven to be in an archive (or --backup).

    The date is that of the folder's name. Without --dry-run it also empties the trash of what is older than 24 hours.
    Exit codes: 0 done, 1 a day was to go and isn't proven safe elsewhere, or the disk refuses, 2 wrong use.
    """
    settings = load_settings()
    layout = recorded_dir(settings)
    trash = Trash(layout)
    silent = quiet or as_json
    if undo:
        with trash.changing():
            return _undo(trash, as_json=as_json, quiet=quiet)
    policy = Policy(parse_age(older_than) if older_than else None, keep_daily, keep_weekly, keep_monthly)
    policy.check()
    if not (dry_run or yes or (_can_ask() and not silent)):
        raise UsageError("nobody can be asked here", hint="add --yes, or --dry-run to see what would be done")
    with trash.changing():
        if not dry_run:
            trash.purge(datetime.now(UTC) - KEPT_FOR)
        with Progress("comparing", silent=silent) as progress:
            places = _places(settings, backup)
            cleaner = Cleaner(layout, places, keep_summaries=keep_summaries, advance=progress.advance)
            steps = cleaner.plan(policy, _today(), unarchived=unarchived)
        if not silent:
            view.say_plan(steps, keep_summaries=keep_summaries)
        leaving = [step for step in steps if step.decision.remove]
        done = bool(leaving) and not dry_run and (yes or _agreed(leaving))
        changed = cleaner.apply(steps, datetime.now(UTC), to_trash=not no_trash) if done else []
    if as_json:
        view.document({"output_dir": layout.root, "done": done, "days": view.plan_document(steps)})
    elif not quiet:
        leaving = [step for step in leaving if step not in changed]
        view.say(_said_of_cleaning(leaving, done=done, dry_run=dry_run, no_trash=no_trash))
    for step in changed:
        print(f"clean: {step.date} has changed since it was compared, and stays", file=sys.stderr)
    for step in steps if quiet else ():
        if step.refused:
            print(f"clean: {step.date} stays: {step.decision.reason}", file=sys.stderr)
    return 1 if changed or failed(steps) else 0


def _undo(trash: Trash, *, as_json: bool, quiet: bool) -> int:
    entries = trash.entries()
    problems = []
    for entry in reversed(entries):
        problems += trash.put_back(entry).differing
        if not as_json and not quiet:
            view.say(f"{entry.date} is back")
    if as_json:
        view.document({"put_back": [entry.date for entry in entries], "differing": problems})
    elif not quiet and not entries:
        view.say("the trash is empty")
    if problems and not as_json:
        print(f"clean: something else is in the place of: {', '.join(problems)}", file=sys.stderr)
    return 1 if problems else 0


def _said_of_cleaning(leaving: list[CleanStep], *, done: bool, dry_run: bool, no_trash: bool) -> str:
    if not leaving:
        return "nothing to clean"
    figures = f"{view.days(len(leaving))}, {view.size(sum(step.size for step in leaving))}"
    if dry_run:
        return f"would take out {figures}"
    if not done:
        return "nothing was done"
    return f"took out {figures}" + ("" if no_trash else "; for 24 hours clean --undo puts it back")


def _places(settings: Settings, backup: Path | None) -> Places:
    archives = PackFolder(archive_dir(settings))
    places: Places = [(archives, archives.manifest)]
    if backup is not None:
        repository = Repository(str(backup))
        if (snapshot := repository.newest()) is None:
            raise UsageError("there is no backup here", path=repository.folder)
        days = dict(snapshot.archives) | snapshot.days
        places.append((repository.packs, lambda day: repository.packs.manifest(days[day]) if day in days else None))
    return places


def _known(days: list[str], wanted: list[str] | None) -> list[str]:
    for day in wanted or ():
        if not is_date(day):
            raise UsageError(f"not a date: {day}", hint="write it as 2025-08-08")
        if day not in days:
            raise UsageError(f"nothing is recorded of {day}")
    return [day for day in days if not wanted or day in wanted]


def _today() -> date:
    return datetime.now(UTC).date()


def _can_ask() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def _agreed(leaving: list[CleanStep]) -> bool:
    return typer.confirm(f"Take out {view.days(len(leaving))}?")
