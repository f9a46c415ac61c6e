"""Where everything lives under OUTPUT_DIR: the only builder and parser of its paths. Touches no disk.

Layout::

    OUTPUT_DIR/
      latest -> daily/YYYY-MM-DD
      daily/YYYY-MM-DD/summary.json
      daily/YYYY-MM-DD/.journal
      daily/YYYY-MM-DD/.cleaned    the names of recordings that `clean` took out, while their summary stays
      daily/YYYY-MM-DD/scrapers/{scraper_id}/{job_id}.json
      daily/YYYY-MM-DD/processed/{job_id}.json
      daily/YYYY-MM-DD/superseded/{scrapers/{scraper_id}|processed}/{job_id}.{sha256[:16]}.json
      quarantine/YYYY-MM-DD/{job}.{sha256[:16]}.json
      .recorder/                   state of the running recorders
      .trash/                      what `clean` took out, for a day
      .restoring/                  a day that is being restored, until it is whole
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import date
from urllib.parse import quote, unquote

UNKNOWN_SCRAPER = "unknown"
"""What the summary calls the scraper of a result that names none."""

NAME_LIMIT_BYTES = 200
"""Longest safe name, so that with its suffixes it stays under the 255 bytes of common file systems."""

_SAFE_CHARACTERS = "@+"  # beside quote()'s own letters, digits, "_", ".", "-" and "~"
_CUT_MARK = "~"
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


_QUARANTINE_NAME_LIMIT_BYTES = 80
"""Such a name must fit where that of a recording does not."""


def safe_name(text: str, limit: int = NAME_LIMIT_BYTES) -> str:
    """A file name for any text: percent-encoded, at most `limit` bytes, never hidden, reversible unless cut.

    A name that would be longer is cut and ends with ``~`` and 32 hex digits of the text's SHA-256; ``~`` is
    percent-encoded elsewhere, so no uncut name can look like a cut one.
    """
    raw = text.encode("utf-8", "surrogatepass")
    name = quote(raw, safe=_SAFE_CHARACTERS).replace("~", "%7E")
    if name.startswith("."):
        name = "%2E" + name[1:]
    if len(name) <= limit:
        return name
    mark = _CUT_MARK + hashlib.sha256(raw).hexdigest()[:32]
    kept = name[: limit - len(mark)]
    return re.sub(r"%[0-9A-F]?$", "", kept) + mark


def original_name(name: str) -> str:
    """The text that `safe_name` made a name of; a cut name as it is."""
    return name if _CUT_MARK in name else unquote(name, errors="surrogatepass")


def is_date(name: str) -> bool:
    """Whether a folder's name is a calendar date, ``YYYY-MM-DD``."""
    if not _DATE.fullmatch(name):
        return False
    try:
        date.fromisoformat(name)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Place:
    """Where one recording lives: its day, its scraper (None: ``processed/``) and its job."""

    date: str
    scraper_id: str | None
    job_id: str

    @property
    def folder(self) -> str:
        """The folder inside the day, such as ``scrapers/nyc_efap_programs``."""
        return "processed" if self.scraper_id is None else f"scrapers/{safe_name(self.scraper_id)}"

    @property
    def name(self) -> str:
        """The path inside the day, such as ``scrapers/nyc_efap_programs/job123.json``."""
        return f"{self.folder}/{safe_name(self.job_id)}.json"

    @property
    def scraper_label(self) -> str:
        """The scraper as the summary names it."""
        return UNKNOWN_SCRAPER if self.scraper_id is None else self.scraper_id


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths under one OUTPUT_DIR."""

    root: str

    @property
    def daily(self) -> str:
        """The folder of the days."""
        return f"{self.root}/daily"

    @property
    def latest(self) -> str:
        """The link to the newest day that has records."""
        return f"{self.root}/latest"

    @property
    def state(self) -> str:
        """Where the running recorders note which folders they have open."""
        return f"{self.root}/.recorder"

    def day(self, day: str) -> str:
        """A day's folder."""
        return f"{self.daily}/{day}"

    def summary(self, day: str) -> str:
        """A day's summary."""
        return f"{self.day(day)}/summary.json"

    def journal(self, day: str) -> str:
        """A day's journal: what was recorded, in order."""
        return f"{self.day(day)}/.journal"

    def cleaned(self, day: str) -> str:
        """The list of a day's recordings that `clean` took out."""
        return f"{self.day(day)}/.cleaned"

    @property
    def proven_restore(self) -> str:
        """Where it is noted when a restore was last proven."""
        return f"{self.state}/proven_restore.prom"

    @property
    def trash(self) -> str:
        """The folder of what `clean` took out."""
        return f"{self.root}/.trash"

    @property
    def restoring(self) -> str:
        """The folder of days that are being restored."""
        return f"{self.root}/.restoring"

    def conflict_lock(self, place: Place) -> str:
        """The lock under which two results of one job are settled: one of 256, so that two jobs rarely share it."""
        return f"{self.state}/conflict-{hashlib.sha256(place.name.encode()).hexdigest()[:2]}.lock"

    def recording(self, place: Place) -> str:
        """A recording's file."""
        return f"{self.day(place.date)}/{place.name}"

    def superseded(self, place: Place, digest: str) -> str:
        """Where an older result of the same job is kept; `digest` is the hex SHA-256 of its bytes."""
        return f"{self.day(place.date)}/superseded/{place.folder}/{safe_name(place.job_id)}.{digest[:16]}.json"

    @property
    def quarantined(self) -> str:
        """The folder of what can't be recorded."""
        return f"{self.root}/quarantine"

    def quarantine(self, day: str, job: str, digest: str) -> str:
        """Where a payload that can't be recorded is kept; `digest` is the hex SHA-256 of the payload."""
        name = safe_name(job, _QUARANTINE_NAME_LIMIT_BYTES)
        return f"{self.quarantined}/{day}/{name}.{digest[:16]}.json"

    @staticmethod
    def latest_target(day: str) -> str:
        """What the `latest` link contains: relative, so that OUTPUT_DIR can be moved."""
        return f"daily/{day}"

    @staticmethod
    def day_of_target(target: str) -> str | None:
        """The day that a `latest` link names, or None when it isn't one of ours."""
        day = target.rstrip("/").rpartition("/")[2]
        return day if is_date(day) else None
