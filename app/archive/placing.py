"""Recordings put back into a day: none is overwritten, and the day's summary is made true afterwards."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from app.archive.listing import list_day
from app.archive.manifest import scraper_of
from app.archive.members import Member, superseded_name
from app.archive.pack import SUMMARY
from app.archive.repair import rebuild_summary, writing
from app.store import scan
from app.store.errors import StorageError
from app.store.files import DurableFiles, Staged, storage_error, wrap_os_errors
from app.store.layout import Layout
from app.store.plain import read_plain
from app.store.record import completed_at

_BATCH_BYTES = 32 * 1024**2
_BATCH_FILES = 500


@dataclass(slots=True)
class Placed:
    """What came of putting files back."""

    placed: int = 0
    present: int = 0
    """Those that were there already, with the same bytes."""
    differing: list[str] = field(default_factory=list)
    """Those in whose place something else is, which stays; by name inside OUTPUT_DIR."""


@wrap_os_errors
def place_files(layout: Layout, folder: str, members: Iterable[Member], *, settle: bool = False) -> Placed:
    """Put files into a folder such as ``daily/2025-08-08``; a day's summary is made true to what is there then.

    With `settle`, of two different results of a job the newer has the name and the other is kept as superseded.
    """
    result = Placed()
    root, _, date = folder.partition("/")
    with writing(layout, folder) as files:
        for batch in _batches(files, layout, folder, members, result):
            try:
                files.begin()
                for staged in batch:
                    _place(files, layout, folder, staged, result, settle=settle)
                files.sync_folders()
            except (StorageError, OSError):
                files.abandon(batch)
                raise
        came_back = root == "daily" and _note_what_came_back(files, layout, date)
    if root == "daily" and (result.placed or came_back or not os.path.exists(layout.summary(date))):
        rebuild_summary(layout, date)
    return result


def _note_what_came_back(files: DurableFiles, layout: Layout, date: str) -> bool:
    """Take what is there again off the list of what `clean` took out; whether there was something.

    Of the others the summary goes on telling.
    """
    gone = scan.cleaned_names(layout, date)
    left = {name for name in gone if not os.path.lexists(f"{layout.day(date)}/{name}")}
    if left == gone:
        return False
    if left:
        files.write(layout.cleaned(date), json.dumps(sorted(left)).encode())
    else:
        os.unlink(layout.cleaned(date))
    return True


def read_folder(folder: str, state: str) -> Iterator[Member]:
    """The files of a day's folder but for its summary."""
    for name in sorted(list_day(folder, state).recordings):
        yield name, read_plain(f"{folder}/{name}")[0]


def set_time(path: str, date: str) -> None:
    """Date a file to its day: a recording whose own times can't be used belongs to the day that it was written on."""
    midnight = datetime.fromisoformat(date).replace(tzinfo=UTC).timestamp()
    with suppress(OSError):
        os.utime(path, (midnight, midnight))


def in_batches(members: Iterable[Member], stage: Callable[[Member], Staged | None]) -> Iterator[list[Staged]]:
    """Stage files, and yield what is staged whenever it is enough for one round of writing."""
    batch: list[Staged] = []
    size = 0
    for member in members:
        if (staged := stage(member)) is not None:
            batch.append(staged)
            size += len(member[1])
        if size > _BATCH_BYTES or len(batch) >= _BATCH_FILES:
            yield batch
            batch, size = [], 0
    yield batch


def _batches(
    files: DurableFiles, layout: Layout, folder: str, members: Iterable[Member], result: Placed
) -> Iterator[list[Staged]]:
    def stage(member: Member) -> Staged | None:
        name, content = member
        path = f"{layout.root}/{folder}/{name}"
        if name == SUMMARY:
            return None
        if _holds(path, content):
            result.present += 1
            return None
        return files.stage(path, content)

    return in_batches(members, stage)


def _place(files: DurableFiles, layout: Layout, folder: str, staged: Staged, result: Placed, *, settle: bool) -> None:
    prefix = f"{layout.root}/{folder}/"
    if files.place(staged):
        set_time(staged.path, folder[-10:])
        result.placed += 1
    elif settle and scraper_of(staged.path.removeprefix(prefix)):
        _settle(files, prefix, staged)
        result.placed += 1
    else:
        files.discard(staged)
        result.differing.append(staged.path.removeprefix(f"{layout.root}/"))


def _settle(files: DurableFiles, prefix: str, staged: Staged) -> None:
    name = staged.path.removeprefix(prefix)
    ours, theirs = read_plain(staged.temporary)[0], read_plain(staged.path)[0]
    if completed_at(ours) > completed_at(theirs):
        files.keep_as(staged.path, prefix + superseded_name(name, theirs))
        files.sync_folders()  # the older result has its second name before it loses its first
        files.replace(staged)
    else:
        files.keep_as(staged.temporary, prefix + superseded_name(name, ours))
        files.discard(staged)


def _holds(path: str, content: bytes) -> bool:
    try:
        return os.path.getsize(path) == len(content) and read_plain(path)[0] == content
    except FileNotFoundError:
        return False
    except OSError as error:
        raise storage_error("can't read what is there", path, error) from error
