"""What consumers of recordings call: all that is recorded, one recording after another, by date and scraper."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

from app.store import encode, scan
from app.store.errors import UsageError
from app.store.layout import UNKNOWN_SCRAPER, Layout, original_name, safe_name
from app.store.plain import read_plain
from app.store.record import read_entry


@dataclass(frozen=True, slots=True)
class StoredRecording:
    """One file that the recorder has written."""

    date: str
    """The day that it is recorded under, ``YYYY-MM-DD``."""
    scraper_id: str
    """``unknown`` when the result names none."""
    job_id: str
    path: str
    data: dict[str, Any] | None
    """All that the file holds; None when it is damaged."""
    damage: str | None
    """Why it can't be read; None when it is whole."""


def recordings(
    output_dir: str | os.PathLike[str],
    since: date | None = None,
    until: date | None = None,
    scrapers: Collection[str] = (),
) -> Iterator[StoredRecording]:
    """The recordings of an OUTPUT_DIR by date, scraper (``unknown`` first) and name; also while recorders work.

    `since` is the first day and `until` the last, `scrapers` are scraper_ids (none: all). A damaged recording comes
    too, with the reason, and ends nothing; its scraper_id and job_id are then told from its path. Older versions in
    ``superseded/`` are left out. One recording at a time is in memory, and the names of one folder. Raises
    `UsageError` when there is no such folder, and OSError for one that can't be listed.
    """
    layout = Layout(os.fspath(output_dir))
    if not os.path.isdir(layout.daily):
        raise UsageError("no recordings are kept here", path=layout.root, hint="name the folder that has daily/ in it")
    wanted = {*scrapers, *(safe_name(scraper) for scraper in scrapers)}
    return _recordings(layout, since.isoformat() if since else "", until.isoformat() if until else "9999", wanted)


def _recordings(layout: Layout, since: str, until: str, wanted: set[str]) -> Iterator[StoredRecording]:
    for day in scan.days(layout):
        if since <= day <= until:
            for folder in scan.recording_folders(layout, day):
                scraper = UNKNOWN_SCRAPER if folder == "processed" else os.path.basename(folder)
                if not wanted or scraper in wanted:
                    yield from _in_folder(layout, day, folder, scraper)


def _in_folder(layout: Layout, day: str, folder: str, scraper: str) -> Iterator[StoredRecording]:
    try:
        names = scan.names_in(layout, day, folder)
    except FileNotFoundError:
        return  # somebody removed it just now
    for name in names:
        path = f"{layout.day(day)}/{folder}/{name}"
        try:
            content, _ = read_plain(path)
            place, _ = read_entry(day, content)
            yield StoredRecording(day, place.scraper_label, place.job_id, path, encode.load_exactly(content), None)
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            job_id = original_name(name.removesuffix(".json"))
            yield StoredRecording(day, original_name(scraper), job_id, path, None, said)
