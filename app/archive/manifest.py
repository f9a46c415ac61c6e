"""A pack's manifest: what one compressed file of a day holds, sealed so that no byte of it can change unnoticed.

On disk it is JSON in a zstd frame, which `zstdcat` prints, and then a frame that zstd skips: the first one's SHA-256.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import zstandard

from app.store.errors import RecorderError
from app.store.layout import UNKNOWN_SCRAPER, is_date
from app.store.plain import MAX_BYTES

REPLACE = "put it back from a backup; or, if OUTPUT_DIR has all of its recordings, remove it and archive the day anew"
"""What to do about a damaged archive."""

PACK_SUFFIX = ".tar.zst"

CLEANED = ".cleaned"
"""The one hidden file that a pack may hold; see `app.store.layout`."""

_VERSION = 1
_LEVEL = 12
_LARGEST_BYTES = 128 * 1024**2
"""Of a manifest, unpacked: 800,000 files, more or less."""

_DEEPEST = 100
"""Parts of a name; folders are made and walked by calls within calls."""

_SEAL = struct.Struct("<II32s")
_SKIPPED, _SEAL_BYTES = 0x184D2A50, 32


class DamagedArchiveError(RecorderError):
    """An archive, a backup or a manifest doesn't hold what it must."""


@dataclass(frozen=True, slots=True)
class PackedFile:
    """One file in a pack."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a pack holds; `name`, `size` and `sha256` are those of the pack's own file."""

    date: str
    name: str
    size: int
    sha256: str
    files: dict[str, PackedFile]
    """By the name inside the day, as ``scrapers/nyc/job123.json``; in the order of the pack."""
    summary: dict[str, Any] = field(default_factory=dict)
    """The day's summary without its list of jobs, which is in the pack."""

    @property
    def key(self) -> str:
        """What the pack is called where a day has several."""
        return self.name.removesuffix(PACK_SUFFIX)

    @property
    def total_bytes(self) -> int:
        """Of all files, unpacked."""
        return sum(file.size for file in self.files.values())

    def by_scraper(self) -> dict[str, int]:
        """How many recordings there are of each scraper."""
        counts = Counter(scraper for name in self.files if (scraper := scraper_of(name)) is not None)
        return dict(sorted(counts.items()))

    def encoded(self) -> bytes:
        """The manifest file's bytes."""
        document = {
            "version": _VERSION,
            "date": self.date,
            "archive": {"name": self.name, "bytes": self.size, "sha256": self.sha256},
            "files_total": len(self.files),
            "bytes_total": self.total_bytes,
            "scrapers": self.by_scraper(),
            "summary": self.summary,
            "files": [{"name": name, "bytes": one.size, "sha256": one.sha256} for name, one in self.files.items()],
        }
        content = json.dumps(document, indent=1).encode()  # escapes what no encoding knows, as names may hold
        if len(content) > _LARGEST_BYTES:
            raise RecorderError(f"{len(self.files):,} files are too many for one archive", path=self.date)
        return seal(content)


def decode_manifest(content: bytes, path: str) -> Manifest:
    """A manifest from its file's bytes. Raises `DamagedArchiveError`."""
    try:
        data = json.loads(unseal(content))
        if data["version"] != _VERSION:
            raise ValueError(f"it is of version {data['version']!r}, this program knows {_VERSION}")
        pack, date, summary = data["archive"], data["date"], data["summary"]
        files = {one["name"]: PackedFile(one["bytes"], one["sha256"]) for one in data["files"]}
        manifest = Manifest(date, pack["name"], pack["bytes"], pack["sha256"], files, summary)
        _check(manifest, len(data["files"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedArchiveError(f"the manifest is damaged ({error})", path=path, hint=REPLACE) from error
    return manifest


def _check(manifest: Manifest, listed: int) -> None:
    """Refuse what nothing of ours has written: a manifest can be anybody's, and its names become files."""
    if not (isinstance(manifest.date, str) and is_date(manifest.date) and isinstance(manifest.summary, dict)):
        raise ValueError("its date or its summary can't be used")
    if "/" in manifest.name or manifest.name.startswith("."):
        raise ValueError("the name of its archive can't be used")
    if len(manifest.files) != listed:
        raise ValueError("a name is in it twice")
    for name, one in manifest.files.items():
        if name != CLEANED and not is_plain_name(name):
            raise ValueError(f"it names {name[:100]!r}")
        if type(one.size) is not int or not 0 <= one.size <= MAX_BYTES or not isinstance(one.sha256, str):
            raise ValueError(f"it lacks a size or sum that can be of {name[:100]!r}")


def is_plain_name(name: object) -> bool:
    """Whether it is a path that stays inside the folder that it is relative to, without hidden parts."""
    parts = name.split("/") if isinstance(name, str) and "\0" not in name else [""]
    return len(parts) <= _DEEPEST and all(part and not part.startswith(".") for part in parts)


def scraper_of(name: str) -> str | None:
    """The scraper that a recording is of, by its name inside the day; None for what is no recording."""
    match name.split("/"):
        case ["processed", _]:
            return UNKNOWN_SCRAPER
        case ["scrapers", scraper, _]:
            return unquote(scraper)
    return None


def is_result(name: str) -> bool:
    """Whether a file inside a day is a recording or an older result, and nothing that a person put beside them."""
    return scraper_of(name.removeprefix("superseded/")) is not None


def select(files: Mapping[str, PackedFile], scrapers: frozenset[str]) -> set[str]:
    """The names of these scrapers' files, superseded ones too; of all files if none is named."""
    if not scrapers:
        return set(files)
    return {name for name in files if scraper_of(name.removeprefix("superseded/")) in scrapers}


def seal(content: bytes) -> bytes:
    """Compress, and add the sum of what came of it."""
    frame = zstandard.ZstdCompressor(level=_LEVEL).compress(content)
    return frame + _SEAL.pack(_SKIPPED, _SEAL_BYTES, hashlib.sha256(frame).digest())


def unseal(content: bytes) -> bytes:
    """What was sealed. Raises ValueError when a byte of it has changed, or it would be too large."""
    frame, mark = content[: -_SEAL.size], content[-_SEAL.size :]
    if mark != _SEAL.pack(_SKIPPED, _SEAL_BYTES, hashlib.sha256(frame).digest()):
        raise ValueError("its bytes aren't those that were written")
    try:
        parameters = zstandard.get_frame_parameters(frame)
        if parameters.content_size > _LARGEST_BYTES:
            raise ValueError("it is too large")
        return zstandard.ZstdDecompressor().decompress(frame)
    except zstandard.ZstdError as error:
        raise ValueError(str(error)) from error
