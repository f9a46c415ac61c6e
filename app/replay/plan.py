"""Which files a replay reads, in which order: what a person selects of a source. Opens no recording but to `read` it.

A plan is lazy and can be gone through again. What can't be read is among its items, with the reason, and stops nothing.
"""

from __future__ import annotations

import fnmatch
import os
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date

from app.replay.tree import (
    File,
    Group,
    Part,
    Tree,
    folder_order,
    is_recordings_name,
    said,
    scraper_in,
    what_path_says,
)
from app.replay.tree import Refused as Refused  # it is one of a plan's items
from app.store.errors import UsageError
from app.store.layout import Layout, is_date, safe_name
from app.store.plain import read_beneath

MAX_BYTES = 100 * 10**6
"""A larger file is refused."""

_TOO_LARGE = f"it has more than {MAX_BYTES:,} bytes"
_ARCHIVE_BEGINS = (
    lambda name: name in ("daily", "latest"),
    is_date,
    lambda name: name in ("scrapers", "processed", "superseded"),
)
"""What the first folder of an archive in a file's path is called, the best sign first. Links above it are the person's
who named the file, links in it may be anybody's.
"""


@dataclass(frozen=True, slots=True)
class Selection:
    """What a person wants of a source. Raises `UsageError` for what selects nothing by its own nature."""

    since: date | None = None
    """The first day."""
    until: date | None = None
    """The last day."""
    scrapers: frozenset[str] = frozenset()
    """Their scraper_ids; ``unknown`` is what names none. Empty: all."""
    pattern: str | None = None
    """What the file's name must match, with ``*``, ``?`` and ``[...]``."""
    limit: int | None = None
    """The most files, from the first."""

    def __post_init__(self) -> None:
        if self.since and self.until and self.since > self.until:
            raise UsageError(f"--since {self.since} is after --until {self.until}", hint="swap them")
        if "" in self.scrapers:
            raise UsageError("--scraper is empty", hint="give a scraper_id; `unknown` for results that name none")
        if self.pattern is not None and (not self.pattern or "/" in self.pattern or "\0" in self.pattern):
            hint = "it is matched with the file's name alone, such as 'nyc-*.json'"
            raise UsageError(f"--pattern {self.pattern!r} matches no file's name", hint=hint)
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"--limit is {self.limit}", hint="give a number of files, 1 or more")


@dataclass(frozen=True, slots=True)
class Found:
    """A file to be read as a recording."""

    root: str
    """The folder that it was looked for in."""
    name: str
    """Its path beneath that folder."""
    size: int
    date: str | None
    """The day whose folder it is in."""
    scraper: str | None
    """The name of its scraper's folder, or ``unknown``."""
    superseded: bool
    """Whether it is an older version of another recording."""
    order: tuple[str, ...]
    """Its place in the plan: plans yield what they find in this order."""

    @property
    def path(self) -> str:
        """Where it is."""
        return os.path.join(self.root, self.name)


Item = Found | Refused


class Plan:
    """The files of a source that a selection chooses, in a fixed order: by date, scraper and name.

    An older version of a recording comes right before it. `source` is the path of what was named.
    """

    def __init__(self, source: str, selection: Selection, single: Item | None = None) -> None:
        self.source = source
        self.selection = selection
        self._single = single
        self._matches = re.compile(fnmatch.translate(selection.pattern or "*")).match
        self._scrapers = selection.scrapers | {safe_name(scraper) for scraper in selection.scrapers}

    def __iter__(self) -> Iterator[Item]:
        """All items from the first."""
        return self.items()

    def items(self, after: tuple[str, ...] = (), already: int = 0) -> Iterator[Item]:
        """The items after the one in that place; `already` found ones before it count for the selection's limit."""
        found = already
        for item in self._candidates(after, _sized):
            if isinstance(item, Found):
                if found == self.selection.limit:
                    return
                found += 1
            yield item

    def count(self) -> int:
        """How many files the plan finds. Opens none, and doesn't ask for their sizes."""
        found = 0
        for item in self._candidates((), _unsized):
            found += isinstance(item, Found)
            if found == self.selection.limit:
                break
        return found

    def _candidates(self, after: tuple[str, ...], finish: Callable[[Found], Item]) -> Iterator[Item]:
        if self._single is not None:
            yield from self._of_single(self._single, after)
            return
        refused: list[Refused] = []
        tree = Tree(self.source, refused.append)
        for part in tree.parts():
            if self._in_time(part.date) is False or (after and _part_order(part) < after[:2]):
                continue
            for group in tree.groups(part):
                order = (*_part_order(part), group.order)
                if not self._of_scraper(group.scraper) or (after and order < after[:3]):
                    continue
                files = tree.files(part, group, self._chosen)
                yield from refused
                refused.clear()
                for file in files:
                    found = _unfinished(tree.root, part, group, file)
                    if found.order > after:
                        yield self._checked(found, finish)
        yield from refused

    def _of_single(self, item: Item, after: tuple[str, ...]) -> Iterator[Item]:
        if isinstance(item, Refused):
            yield item
        elif (
            item.order > after
            and self._in_time(item.date) is not False
            and self._of_scraper(item.scraper)
            and self._chosen(os.path.basename(item.name))
        ):
            yield self._checked(item, _sized)

    def _checked(self, found: Found, finish: Callable[[Found], Item]) -> Item:
        if found.date is None and (self.selection.since or self.selection.until):
            return Refused(found.path, "no folder in its path is named after its date: --since and --until can't tell")
        if found.scraper is None and self._scrapers:
            return Refused(found.path, "no folder in its path is its scraper's: --scraper can't tell")
        return finish(found)

    def _in_time(self, day: str | None) -> bool | None:
        """Whether a day is selected; None where that can't be told."""
        if day is None:
            return None
        since, until = self.selection.since, self.selection.until
        return not ((since and day < since.isoformat()) or (until and day > until.isoformat()))

    def _of_scraper(self, scraper: str | None) -> bool:
        return not self._scrapers or scraper is None or scraper in self._scrapers

    def _chosen(self, name: str) -> bool:
        return self._matches(name) is not None


def output_dir_plan(output_dir: str, selection: Selection) -> Plan:
    """What the recorder has recorded. Raises `UsageError` when there is no such folder."""
    daily = Layout(_folder(output_dir)).daily
    if not os.path.isdir(daily):
        raise UsageError("no recordings are kept here", path=output_dir, hint="name the folder that has daily/ in it")
    return Plan(os.path.realpath(daily), selection)


def directory_plan(directory: str, selection: Selection) -> Plan:
    """All recordings anywhere in a folder: one of ours or part of it, a clone, or a folder of JSON files.

    Raises `UsageError` when there is no such folder.
    """
    return Plan(_folder(directory), selection)


def file_plan(file: str, selection: Selection) -> Plan:
    """One recording. Raises `UsageError` when there is no such file."""
    if "\0" in file or not os.path.lexists(file):
        raise UsageError("no such file", path=file)
    if os.path.isdir(file) and not os.path.islink(file):
        raise UsageError("it is a folder", path=file, hint="name it with --directory")
    item = _single(file)
    return Plan(item.path, selection, item)


def read(found: Found) -> bytes | Refused:
    """A recording's bytes, or why they can't be had. Follows no link beneath the folder that was named."""
    try:
        return read_beneath(found.root, found.name, MAX_BYTES)
    except OSError as error:
        return Refused(found.path, said(error))


def _folder(path: str) -> str:
    if "\0" in path or not os.path.isdir(path):
        what = "no such folder" if "\0" in path or not os.path.lexists(path) else "it is no folder"
        raise UsageError(what, path=path, hint="name the folder that recordings are in")
    return os.path.realpath(path)


def _single(file: str) -> Item:
    """The file that a person named, unless it leads elsewhere than its name says."""
    folders, name = os.path.split(file)
    names = folders.split("/") if folders else []
    first = next((place for place, part in enumerate(names) if part not in ("", ".", "..")), len(names))
    if ".." in names[first:]:
        return Refused(file, "its path leaves with .. a folder that it has entered: name it without")
    if os.path.islink(file):
        return Refused(file, "it is a symbolic link: name the file itself")
    real = os.path.realpath(folders or ".")
    root = os.path.realpath(_above_archive(names))
    if os.path.commonpath((root, real)) != root:
        return Refused(file, f"a symbolic link in its path leads out of {root}")
    day, below = what_path_says(real)
    scraper, superseded = scraper_in(below)
    if not is_recordings_name(name, scraper):
        return Refused(file, "it is named like no recording: those are *.json, and no day's summary.json")
    below_root = os.path.relpath(os.path.join(real, name), root)
    return Found(root, below_root, 0, day, scraper, superseded, (day or "", "", scraper or "", name, "", ""))


def _above_archive(names: list[str]) -> str:
    """The folder that the archive is in which a path leads into; without one, all of the path."""
    for begins in _ARCHIVE_BEGINS:
        places = [place for place, name in enumerate(names) if begins(name)]
        if places:
            names = names[: places[-1]]
            break
    return "/".join(names) or ("/" if names else ".")


def _part_order(part: Part) -> tuple[str, str]:
    return part.date or "", folder_order(part.folder)


def _unfinished(root: str, part: Part, group: Group, file: File) -> Found:
    """A file without its size."""
    order = (*_part_order(part), group.order, file.recording, "" if file.superseded else "1", file.name)
    return Found(root, file.name, 0, part.date, group.scraper, file.superseded, order)


def _unsized(found: Found) -> Item:
    return found


def _sized(found: Found) -> Item:
    """The file with its size, unless that is too much or can't be had."""
    try:
        status = os.lstat(found.path)
    except OSError as error:
        return Refused(found.path, said(error))
    if not stat.S_ISREG(status.st_mode):
        return Refused(found.path, "it is no plain file")
    if status.st_size > MAX_BYTES:
        return Refused(found.path, _TOO_LARGE)
    return replace(found, size=status.st_size)
