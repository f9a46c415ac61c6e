"""What the data commands' command lines share: options, and what settings come to."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from app.archive.database import Database
from app.service import postgres
from app.service.settings import Settings
from app.store.errors import UsageError
from app.store.layout import Layout

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print errors only; the exit code tells.")]
Dates = Annotated[list[str] | None, typer.Option("--date", metavar="DATE", help="Only this day; may be repeated.")]


def output_dir(settings: Settings) -> Layout:
    """The layout of OUTPUT_DIR."""
    return Layout(os.path.abspath(settings.output_dir))


def recorded_dir(settings: Settings) -> Layout:
    """The layout of an OUTPUT_DIR that is there: nothing is kept of a disk that isn't mounted."""
    layout = output_dir(settings)
    if not os.path.isdir(layout.daily):
        raise UsageError("no recordings are kept here", path=layout.root, hint="set OUTPUT_DIR; is its disk mounted?")
    return layout


def archive_dir(settings: Settings) -> str:
    """ARCHIVE_DIR."""
    return os.path.abspath(settings.archive_dir)


def database(settings: Settings) -> Database | None:
    """The database of DATABASE_URL; None if none is set."""
    if settings.database_url is None:
        return None
    return Database(postgres.client_variables(settings.database_url), postgres.needed)


def required_database(settings: Settings) -> Database:
    """The database, or a `UsageError` that says how to name it."""
    found = database(settings)
    if found is None:
        raise UsageError("DATABASE_URL is not set", hint="start bouy's own with ./bouy up db, or name one")
    return found
