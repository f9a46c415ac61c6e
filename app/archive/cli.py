"""`python -m app.archive`: the command line of what looks after recorded days."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated

import typer

from app.archive import backup_cli, clean_cli
from app.archive.audit import Result, audit
from app.archive.snapshots import Repository
from app.archive.verify import Verifier
from app.archive.verify_packs import PackVerifier, Reading, is_pack_folder, parse_share
from app.archive.verify_view import report_document, say_report
from app.service.command import run_command
from app.service.progress import Progress
from app.service.settings import load_settings
from app.store.layout import Layout

_EXAMPLES = 5

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def look_after() -> None:
    """Look after recorded days."""


@app.command()
def verify(
    output_dir: Annotated[
        Path | None,
        typer.Argument(
            metavar="FOLDER",
            help="Recordings, archives or a backup; OUTPUT_DIR and ARCHIVE_DIR if not given.",
        ),
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Make wrong summaries and `latest` anew; no recording is touched.")
    ] = False,
    read_data: Annotated[
        bool, typer.Option("--read-data", help="Read every byte of archives and backups too.")
    ] = False,
    subset: Annotated[
        str | None, typer.Option("--read-data-subset", metavar="SHARE", help="Read such a share of them, as 10%.")
    ] = None,
    examples: Annotated[
        int, typer.Option("--examples", metavar="N", min=0, help="Name so many of each kind of problem.")
    ] = _EXAMPLES,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print errors only; the exit code tells.")] = False,
) -> int:
    """Check that all recordings are whole and in place, and that summaries and `latest` agree with them.

    Works on any OUTPUT_DIR, those of earlier recorders too, and while recorders run. Without --repair it only reads.
    Exit codes: 0 all holds, 1 something is wrong (with --repair: is still wrong), 2 wrong use, 130 Ctrl-C.
    """
    settings = load_settings()
    folder = os.path.abspath(output_dir or settings.output_dir)
    reading = parse_share(subset) if subset else Reading(1.0 if read_data else 0.0)
    started = time.monotonic()
    with Progress("verifying", silent=quiet) as progress:
        packs = PackVerifier(reading, most_examples=examples, advance=progress.advance)
        has_recordings = output_dir is None or os.path.isdir(Layout(folder).daily)
        if not has_recordings and Repository(folder).is_one():
            result = Result(packs.check_backup(folder))
        elif not has_recordings and is_pack_folder(folder):
            result = Result(packs.check_archives(folder))
        else:
            verifier = Verifier(folder, most_examples=examples, advance=progress.advance)
            progress.expect(verifier.count_files())
            result = audit(verifier, repair=repair)
            if output_dir is None:
                result.findings.merge(packs.check_archives(os.path.abspath(settings.archive_dir)))
            elif is_pack_folder(folder):
                result.findings.merge(packs.check_archives(folder))
    seconds = time.monotonic() - started
    if as_json:
        print(report_document(folder, result, seconds))
    elif not quiet:
        say_report(folder, result, seconds, repair=repair)
    return 0 if result.holds else 1


app.registered_commands += clean_cli.app.registered_commands + backup_cli.app.registered_commands


def main() -> int:
    """Run the command; an error or Ctrl-C becomes one line on standard error and an exit code."""
    return run_command(app, "archive", see="python -m app.archive --help")
