"""A folder that a person named, walked for recordings in a fixed order. No link is followed, and none is missed:
each that may hide recordings is refused. Held in memory: the names of folders, and of one scraper's files of a day.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from app.store.layout import UNKNOWN_SCRAPER, is_date
from app.store.plain import open_beneath
from app.store.scan import superseded_name

_SUPERSEDED, _SCRAPERS, _PROCESSED, _QUARANTINE = "superseded", "scrapers", "processed", "quarantine"
_LATEST = "latest"
_SUMMARY = "summary.json"


@dataclass(frozen=True, slots=True)
class Refused:
    """What looked like a recording, or may hide some, and was not read."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Part:
    """A day's folder, or a part of one; where no folder is named after a date, all that there is."""

    date: str | None
    folder: str
    """Beneath the folder that was named; empty for that folder itself."""


@dataclass(frozen=True, slots=True)
class Group:
    """The folders of one scraper in a part; or one folder beside those, whose path names no scraper."""

    scraper: str | None
    """The name of the scraper's folder."""
    order: str
    folders: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class File:
    """A file that may be a recording."""

    name: str
    """Beneath the folder that was named."""
    recording: str
    """The file name; for an older version, that of the recording that it is one of."""
    superseded: bool


class _Kind(Enum):
    FILE = auto()
    FOLDER = auto()
    LINK = auto()
    OTHER = auto()


class Tree:
    """The recordings beneath one folder. What can't be looked into goes to `refuse`, wherever the walk meets it."""

    def __init__(self, root: str, refuse: Callable[[Refused], object]) -> None:
        self.root = root
        self._refuse = refuse
        self._date, self._above = what_path_says(root)

    def parts(self) -> list[Part]:
        """The days there are, oldest first; else the whole folder. Beside days, nothing else is looked for."""
        if not {_SCRAPERS, _PROCESSED, _SUPERSEDED} & set(self._above):
            days, links = self._find_days()
            if days:
                for link in links:
                    self._refuse(link)
                return sorted(days, key=lambda day: (day.date or "", folder_order(day.folder)))
        return [Part(self._date, "")]

    def groups(self, part: Part) -> list[Group]:
        """What a part holds, by scraper; first what names none."""
        scrapers: dict[str, list[str]] = {}
        loose: list[Group] = []
        waiting = [part.folder]
        while waiting:
            folder = waiting.pop()
            scraper, _ = self.classify(part, folder)
            if scraper is not None:
                scrapers.setdefault(scraper, []).append(folder)
                continue
            loose.append(Group(None, "\0" + folder_order(folder), (folder,)))
            for name, kind in self._entries(folder):
                path = _join(folder, name)
                if kind is _Kind.FOLDER and (name != _QUARANTINE or self.classify(part, path)[0]):
                    waiting.append(path)
                elif kind is _Kind.LINK:
                    self._refuse_link_to_folder(path)
        known = [Group(scraper, scraper, tuple(folders)) for scraper, folders in scrapers.items()]
        return sorted([*loose, *known], key=lambda group: group.order)

    def files(self, part: Part, group: Group, chosen: Callable[[str], bool]) -> list[File]:
        """A group's files of a `chosen` name, by name: an older version comes right before its recording."""
        files: list[File] = []
        waiting = list(group.folders)
        while waiting:
            folder = waiting.pop()
            _, superseded = self.classify(part, folder)
            for name, kind in self._entries(folder):
                path = _join(folder, name)
                if kind is _Kind.FOLDER:
                    if group.scraper is not None:
                        waiting.append(path)
                elif kind is _Kind.LINK and os.path.isdir(self._full(path)):
                    if group.scraper is not None:
                        self._refuse_link_to_folder(path)
                elif not is_recordings_name(name, group.scraper) or not chosen(name):
                    continue
                elif kind is _Kind.FILE:
                    current = superseded_name(name) if superseded else None
                    files.append(File(path, current or name, superseded))
                else:
                    full = self._full(path)
                    self._refuse(_link(full) if kind is _Kind.LINK else Refused(full, "it is no plain file"))
        files.sort(key=lambda file: (file.recording, not file.superseded, file.name))
        return files

    def classify(self, part: Part, folder: str) -> tuple[str | None, bool]:
        """The scraper that a folder's path names, and whether it holds older versions."""
        above = () if part.folder else self._above
        below = folder.removeprefix(part.folder).strip("/")
        return scraper_in([*above, *(below.split("/") if below else ())])

    def _find_days(self) -> tuple[list[Part], list[Refused]]:
        days: list[Part] = []
        links: list[Refused] = []
        waiting = [""]
        while waiting:
            folder = waiting.pop()
            for name, kind in self._entries(folder):
                path = _join(folder, name)
                if kind is _Kind.FOLDER and is_date(name):
                    days.append(Part(name, path))
                elif kind is _Kind.FOLDER and name not in (_SCRAPERS, _PROCESSED, _SUPERSEDED, _QUARANTINE):
                    waiting.append(path)
                elif kind is _Kind.LINK and name != _LATEST and os.path.isdir(self._full(path)):
                    links.append(_link(self._full(path)))
        return days, links

    def _refuse_link_to_folder(self, path: str) -> None:
        full = self._full(path)
        if os.path.isdir(full):
            self._refuse(_link(full))

    def _entries(self, folder: str) -> Iterator[tuple[str, _Kind]]:
        """What is in a folder, but for hidden names, in no order."""
        try:
            handle = open_beneath(self.root, folder)
            try:
                with os.scandir(handle) as entries:
                    for entry in entries:
                        if not entry.name.startswith("."):
                            yield entry.name, _kind(entry)
            finally:
                os.close(handle)
        except FileNotFoundError:
            return  # somebody removed it just now
        except OSError as error:
            self._refuse(Refused(self._full(folder), said(error)))

    def _full(self, name: str) -> str:
        return _join(self.root, name)


def what_path_says(folder: str) -> tuple[str | None, tuple[str, ...]]:
    """The date that a folder's own path names, and the folders below that one; without a date its last two."""
    names = folder.split("/")
    for place in range(len(names) - 1, -1, -1):
        if is_date(names[place]):
            return names[place], tuple(names[place + 1 :])
    return None, tuple(names[-2:])


def scraper_in(folders: Sequence[str]) -> tuple[str | None, bool]:
    """The scraper that a day's folders, one in another, name; and whether they hold older versions."""
    for place, name in enumerate(folders):
        if name == _SCRAPERS and place + 1 < len(folders):
            return folders[place + 1], _SUPERSEDED in folders[:place]
        if name == _PROCESSED:
            return UNKNOWN_SCRAPER, _SUPERSEDED in folders[:place]
    return None, False


def is_recordings_name(name: str, scraper: str | None) -> bool:
    """Whether a file in a scraper's folder, or beside those (None), is named like a recording."""
    return name.endswith(".json") and not name.startswith(".") and (scraper is not None or name != _SUMMARY)


def folder_order(folder: str) -> str:
    """A text by which folders sort as trees are walked."""
    return folder.replace("/", "\0")


def said(error: OSError) -> str:
    """What is wrong, in words."""
    if error.errno == errno.ELOOP:
        return "it is a symbolic link"
    return error.strerror or str(error)


def _link(path: str) -> Refused:
    return Refused(path, "it is a symbolic link: only what lies in the folder that was named is read")


def _join(folder: str, name: str) -> str:
    return f"{folder.rstrip('/')}/{name}" if folder and name else folder or name


def _kind(entry: os.DirEntry[str]) -> _Kind:
    if entry.is_symlink():
        return _Kind.LINK
    if entry.is_dir(follow_symlinks=False):
        return _Kind.FOLDER
    return _Kind.FILE if entry.is_file(follow_symlinks=False) else _Kind.OTHER
