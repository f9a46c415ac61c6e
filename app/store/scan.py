"""Walk the recordings of an OUTPUT_DIR, days in order; a damaged one is reported, never raised."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator

from app.store.layout import Layout, is_date

_SUPERSEDED = re.compile(r"(.+)\.[0-9a-f]{16}\.json", re.DOTALL)


def days(layout: Layout) -> list[str]:
    """The dates that have a folder, oldest first."""
    try:
        with os.scandir(layout.daily) as entries:
            return sorted(entry.name for entry in entries if is_date(entry.name) and is_folder(entry))
    except FileNotFoundError:
        return []


def recording_names(layout: Layout, day: str) -> Iterator[str]:
    """The names inside a day's folder of its recordings, such as ``processed/job123.json``, sorted."""
    for folder in recording_folders(layout, day):
        yield from (f"{folder}/{name}" for name in names_in(layout, day, folder))


def names_in(layout: Layout, day: str, folder: str) -> list[str]:
    """The names of the recordings in one folder of a day, sorted."""
    with os.scandir(f"{layout.day(day)}/{folder}") as entries:
        return sorted(entry.name for entry in entries if is_recording(entry))


def recording_folders(layout: Layout, day: str) -> list[str]:
    """The folders inside a day's folder that hold recordings, sorted."""
    folders = ["processed"] if os.path.isdir(f"{layout.day(day)}/processed") else []
    return folders + [f"scrapers/{name}" for name in _subfolders(f"{layout.day(day)}/scrapers")]


def superseded_name(name: str) -> str | None:
    """The name of the recording that a file in ``superseded/`` is an older version of; None for a foreign file."""
    kept = _SUPERSEDED.fullmatch(name)
    return f"{kept[1]}.json" if kept else None


def superseded_names(layout: Layout, day: str) -> set[str]:
    """The names inside a day's folder of the recordings that have an older version in ``superseded/``."""
    root = f"{layout.day(day)}/superseded"
    return {
        f"{os.path.relpath(folder, root)}/{current}"
        for folder, _, names in os.walk(root)
        for name in names
        if (current := superseded_name(name))
    }


def cleaned_names(layout: Layout, day: str) -> set[str]:
    """The names inside a day of the recordings that `clean` took out, of which the summary still tells."""
    try:
        with open(layout.cleaned(day), "rb") as file:
            names = json.loads(file.read())
    except (OSError, ValueError):
        return set()
    return {name for name in names if isinstance(name, str)} if isinstance(names, list) else set()


def all_folders(folder: str) -> Iterator[str]:
    """A folder and every folder below it; none if it doesn't exist."""
    for path, _, _ in os.walk(folder):
        yield path


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder, or a link to one; a link to itself is not."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def is_recording(entry: os.DirEntry[str]) -> bool:
    """Whether a folder's entry can be a recording: a plain file ``*.json`` that isn't hidden."""
    return entry.name.endswith(".json") and not entry.name.startswith(".") and entry.is_file(follow_symlinks=False)


def _subfolders(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if is_folder(entry))
    except FileNotFoundError:
        return []
