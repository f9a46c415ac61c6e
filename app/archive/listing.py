"""What a day's folder holds, as seen without reading it."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from app.archive.manifest import CLEANED
from app.archive.pack import SUMMARY
from app.store import ledger

TEMPORARY = re.compile(r"\.(.+)\.\d+\.tmp", re.DOTALL)
"""The name of a writer's temporary file, and the writer's in it."""

_OWN = (".journal", CLEANED)


@dataclass(frozen=True, slots=True)
class Stamp:
    """A file's size, and when it was last written."""

    size: int
    modified_ns: int


@dataclass(slots=True)
class Listing:
    """A day's folder."""

    files: dict[str, Stamp] = field(default_factory=dict)
    """What is to be kept, by name inside the day, in a pack's order: sorted, the summary last."""
    odd: list[str] = field(default_factory=list)
    """Links, pipes and the like, which no pack can hold."""
    hidden: list[str] = field(default_factory=list)
    """Hidden files that aren't the recorder's."""
    cleaned: bool = False
    """Whether `clean` took recordings out of it, of which the summary still tells."""
    being_written: bool = False
    """Whether a living writer has a temporary file here."""

    @property
    def recordings(self) -> set[str]:
        """All but the summary, which can be made again."""
        return self.files.keys() - {SUMMARY}

    def fingerprint(self) -> bytes:
        """What tells this from any other state of the folder: names, sizes and times."""
        return hashlib.sha256(repr((sorted(self.files.items()), self.odd, self.hidden)).encode()).digest()


def list_day(folder: str, state: str) -> Listing:
    """What there is in a day's folder; `state` is where writers note that they live. Raises OSError."""
    found = Listing()
    files = dict(_walk(folder, "", state, found))
    for name in sorted(files, key=lambda name: (name == SUMMARY, name)):
        found.files[name] = files[name]
    return found


def _walk(folder: str, inside: str, state: str, found: Listing) -> Iterator[tuple[str, Stamp]]:
    with os.scandir(folder) as entries:
        listed = list(entries)
    for entry in listed:
        name = f"{inside}{entry.name}"
        if temporary := TEMPORARY.fullmatch(entry.name):
            found.being_written = found.being_written or ledger.is_alive(state, temporary[1])
        elif not inside and entry.name in _OWN:
            found.cleaned = found.cleaned or entry.name == CLEANED
        elif entry.name.startswith("."):
            found.hidden.append(name)
        elif entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path, f"{name}/", state, found)
        elif entry.is_file(follow_symlinks=False):
            status = entry.stat(follow_symlinks=False)
            yield name, Stamp(status.st_size, status.st_mtime_ns)
        else:
            found.odd.append(name)
