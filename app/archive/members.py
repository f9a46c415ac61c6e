"""What goes into a day's pack: its files as they are now, and what an earlier pack of that day has beyond them.

A day that was cleaned, and into which results came late, has only these: its pack has the others still, and so must
the next one.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby

from app.archive.listing import Listing
from app.archive.manifest import Manifest, scraper_of
from app.archive.pack import SUMMARY, VIEWS
from app.store import encode
from app.store.errors import RecorderError
from app.store.files import storage_error
from app.store.plain import read_plain
from app.store.record import completed_at, read_entry
from app.store.summary import Entry, render
from app.store.timestamps import sort_key

Member = tuple[str, bytes]


class ChangedError(RecorderError):
    """A day's files changed while they were read."""


def members(
    folder: str, date: str, listing: Listing, *, being_written: bool, advance: Callable[[], object]
) -> Iterator[Member]:
    """A day's files. Of a day that is being written, the summary that goes with these very files."""
    entries: list[Entry] = []
    for name, content in _read(folder, listing, advance):
        if name == SUMMARY and being_written and not _agrees(content, entries):
            continue
        if being_written:
            entries += _entry(date, name, content)
        yield name, content
        if name == SUMMARY:
            return
    if being_written:
        yield SUMMARY, _summary(date, entries)


def joined(
    folder: str, date: str, listing: Listing, packed: Iterable[Member], advance: Callable[[], object]
) -> Iterator[Member]:
    """A day's files and those of an earlier pack of it, with the summary that goes with all of them.

    Where the two differ about a result, the newer one has the name, and the other is kept as superseded.
    """
    entries: list[Entry] = []
    losers: dict[str, bytes] = {}
    both = heapq.merge(_read(folder, listing, advance), packed, key=_order)
    for name, same in groupby(both, key=lambda member: member[0]):
        if name == SUMMARY:
            continue
        yield from _those_before(name, losers)
        kept, *others = dict.fromkeys(content for _, content in same)
        for other in others:
            if not scraper_of(name):
                kept = other if _is_named_after(name, other) else kept
                continue
            newest = max(kept, other, key=completed_at)
            loser = other if newest is kept else kept
            losers[superseded_name(name, loser)] = loser
            kept = newest
        entries += _entry(date, name, kept)
        yield name, kept
    yield from _those_before(None, losers)
    yield SUMMARY, _summary(date, entries)


def _those_before(name: str | None, losers: dict[str, bytes]) -> Iterator[Member]:
    """The older results that come before a name in a pack's order; ``superseded/`` is after all recordings."""
    for beside in sorted(losers):
        if name is None or beside <= name:
            content = losers.pop(beside)
            if beside != name:  # else it is there already
                yield beside, content


def superseded_name(name: str, content: bytes) -> str:
    """Where an older result is kept, inside the day, of the recording that has this name."""
    return f"superseded/{name.removesuffix('.json')}.{hashlib.sha256(content).hexdigest()[:16]}.json"


def _is_named_after(superseded: str, content: bytes) -> bool:
    """Whether an older result is what it was named after; one that is damaged isn't."""
    return superseded.endswith(f".{hashlib.sha256(content).hexdigest()[:16]}.json")


def sums(folder: str, listing: Listing) -> set[str]:
    """The SHA-256 of each file of a day."""
    return {hashlib.sha256(content).hexdigest() for _, content in _read(folder, listing, lambda: None)}


def missing_from(listing: Listing, manifest: Manifest) -> set[str]:
    """What a pack has that the day's folder hasn't (any more)."""
    return manifest.files.keys() - listing.files.keys() - VIEWS


def covers(manifest: Manifest, made_ns: int, listing: Listing) -> bool:
    """Whether a pack has all that a day's folder holds, as far as names, sizes and times tell."""
    if any(
        stamp.modified_ns > made_ns for name, stamp in listing.files.items() if name != SUMMARY or not listing.cleaned
    ):
        return False
    differing = {
        name
        for name, stamp in listing.files.items()
        if name != SUMMARY and (name not in manifest.files or manifest.files[name].size != stamp.size)
    }
    if not differing:
        return True
    beside = {(_stem(name), one.size) for name, one in manifest.files.items() if name.startswith("superseded/")}
    return all(
        name in manifest.files and (f"superseded/{name}", listing.files[name].size) in beside for name in differing
    )


def _stem(superseded: str) -> str:
    """The name, without its digest, of an older result."""
    return superseded.removesuffix(".json").rpartition(".")[0] + ".json"


def _read(folder: str, listing: Listing, advance: Callable[[], object]) -> Iterator[Member]:
    for name in listing.files:
        path = f"{folder}/{name}"
        try:
            content, _ = read_plain(path)
        except FileNotFoundError as error:
            raise ChangedError("it was removed while it was being read", path=path, hint="run this again") from error
        except OSError as error:
            raise storage_error("can't read a file", path, error) from error
        advance()
        yield name, content


def _order(member: Member) -> tuple[bool, str]:
    return member[0] == SUMMARY, member[0]


def _entry(date: str, name: str, content: bytes) -> list[Entry]:
    try:
        return [read_entry(date, content)[1]] if scraper_of(name) else []
    except ValueError:
        return []  # damaged: kept as it is, and `verify` names it


def _agrees(summary: bytes, entries: list[Entry]) -> bool:
    try:
        jobs = encode.load(summary)["jobs"]
        return sorted(map(_key, jobs)) == sorted(map(_key, entries))
    except (ValueError, KeyError, TypeError):
        return False


def _key(entry: Entry) -> tuple[str, str]:
    return entry["scraper_id"], entry["job_id"]


def _summary(date: str, entries: list[Entry]) -> bytes:
    return render(date, sorted(entries, key=lambda entry: (sort_key(entry["timestamp"]), *_key(entry))))
