"""Whether every recording of a day is safe elsewhere: read there, and read here, byte by byte."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from app.archive.listing import Listing
from app.archive.manifest import Manifest
from app.archive.members import superseded_name
from app.archive.pack import SUMMARY
from app.archive.packs import PackFolder
from app.store import encode
from app.store.errors import RecorderError
from app.store.plain import read_plain

_ARCHIVE_IT = "archive it first"


@dataclass(frozen=True, slots=True)
class Proof:
    """Where all of a day is, or why it isn't known to be anywhere."""

    where: str = ""
    problem: str = ""
    fingerprint: bytes = b""
    """Of the folder as it was when this was proven."""


Places = list[tuple[PackFolder, Callable[[str], Manifest | None]]]
"""Folders of packs, and how one finds a day's manifest there."""


def prove(folder: str, day: str, listing: Listing, places: Places, advance: Callable[[], object]) -> Proof:
    """Compare a day's files with the packs of that day, until one has them all."""
    if listing.odd or listing.hidden:
        return Proof(problem=f"{(listing.odd or listing.hidden)[0]} is in it, which no archive holds")
    problem = f"not archived: {_ARCHIVE_IT}"
    for packs, manifest_of in places:
        try:
            manifest = manifest_of(day)
            if manifest is None:
                continue
            differing = _differing(folder, listing, manifest, packs, advance)
        except (RecorderError, OSError) as error:
            problem = str(error)
            continue
        if differing is None:
            return Proof(packs.path(manifest), fingerprint=listing.fingerprint())
        problem = f"{differing} isn't in {packs.path(manifest)} as it is here: {_ARCHIVE_IT}"
    return Proof(problem=problem)


def _differing(
    folder: str, listing: Listing, manifest: Manifest, packs: PackFolder, advance: Callable[[], object]
) -> str | None:
    """A file that the pack hasn't as it is here; None if it has all."""
    unknown = listing.recordings - manifest.files.keys()
    if unknown:
        return min(unknown)
    packed_summary = packs.check(manifest)
    for name in listing.files:
        content, _ = read_plain(f"{folder}/{name}")
        advance()
        if name == SUMMARY:
            if not _tells_no_more(content, packed_summary):
                return name
        elif hashlib.sha256(content).hexdigest() not in _sums_of(manifest, name, content):
            return name
    return None


def _sums_of(manifest: Manifest, name: str, content: bytes) -> set[str]:
    """What a file's sum may be: an older result has another name in a pack that has the newer one."""
    return {manifest.files[one].sha256 for one in (name, superseded_name(name, content)) if one in manifest.files}


def _tells_no_more(summary: bytes, packed: bytes | None) -> bool:
    """Whether a summary lists only jobs that the packed one lists too: it is less if results came late."""
    if summary == packed:
        return True
    try:
        return _jobs(summary) <= _jobs(packed or b"")
    except (ValueError, KeyError, TypeError):
        return False


def _jobs(summary: bytes) -> set[tuple[str, str]]:
    return {(job["scraper_id"], job["job_id"]) for job in encode.load(summary)["jobs"]}
