"""What a verification finds: kinds of problems with stable names, their counts, and some examples of each.

However much is wrong, a report stays small: it counts everything and keeps only the first examples.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    """A kind of problem; its value is the name that scripts may rely on."""

    DAMAGED = "damaged"
    UNREADABLE = "unreadable"
    UNREADABLE_FOLDER = "unreadable-folder"
    MISPLACED = "misplaced"
    FOREIGN = "foreign"
    TEMPORARY = "temporary"
    ORPHAN = "orphan"
    SUMMARY_MISSING = "summary-missing"
    SUMMARY_UNREADABLE = "summary-unreadable"
    MISSING_FILE = "missing-file"
    NOT_IN_SUMMARY = "not-in-summary"
    DUPLICATE_IN_SUMMARY = "duplicate-in-summary"
    WRONG_ENTRY = "wrong-entry"
    WRONG_TIME = "wrong-time"
    WRONG_COUNT = "wrong-count"
    LATEST_WRONG = "latest-wrong"
    ARCHIVE_DAMAGED = "archive-damaged"
    ARCHIVE_ORPHAN = "archive-orphan"


MEANINGS = {
    Kind.DAMAGED: "files that don't hold what they must: no JSON, no job_id, other bytes than the name's digest says",
    Kind.UNREADABLE: "files that can't be read, or are too large to be",
    Kind.UNREADABLE_FOLDER: "folders that can't be read; the summaries of their days aren't checked",
    Kind.MISPLACED: "recordings whose content asks for another folder or name",
    Kind.FOREIGN: "what the recorder doesn't put there; links and special files aren't opened",
    Kind.TEMPORARY: "temporary files of writers that are gone",
    Kind.ORPHAN: "superseded results without the recording that replaced them",
    Kind.SUMMARY_MISSING: "days with recordings and no summary",
    Kind.SUMMARY_UNREADABLE: "summaries that aren't JSON, or not of a summary's shape",
    Kind.MISSING_FILE: "jobs in a summary without a file",
    Kind.NOT_IN_SUMMARY: "files without an entry in the summary",
    Kind.DUPLICATE_IN_SUMMARY: "entries of a job that the summary lists already",
    Kind.WRONG_ENTRY: "entries in a summary without a job_id, scraper_id and timestamp",
    Kind.WRONG_TIME: "entries with another time than the created_at in their file",
    Kind.WRONG_COUNT: "dates, totals or scrapers of a summary that aren't those of its files",
    Kind.LATEST_WRONG: "latest doesn't lead to the newest day that has records",
    Kind.ARCHIVE_DAMAGED: "archives, backups or manifests that are missing or hold other bytes than were written",
    Kind.ARCHIVE_ORPHAN: "archives without a manifest: nobody knows what must be in them",
}

REPAIRABLE = frozenset(
    {
        Kind.SUMMARY_MISSING,
        Kind.SUMMARY_UNREADABLE,
        Kind.MISSING_FILE,
        Kind.NOT_IN_SUMMARY,
        Kind.DUPLICATE_IN_SUMMARY,
        Kind.WRONG_ENTRY,
        Kind.WRONG_TIME,
        Kind.WRONG_COUNT,
    }
)
"""What a day's summary, made anew from its files, puts right."""

_DETAIL_LIMIT = 200


class Example(NamedTuple):
    """One thing that is wrong, and where."""

    path: str
    """Inside OUTPUT_DIR."""
    detail: str


@dataclass(slots=True)
class Findings:
    """What was checked and what is wrong with it."""

    most_examples: int
    """Examples kept of each kind of problem."""
    checked: Counter[str] = field(default_factory=Counter)
    """How many days, recordings, superseded, quarantined, archives and snapshots there are."""
    problems: Counter[Kind] = field(default_factory=Counter)
    examples: dict[Kind, list[Example]] = field(default_factory=dict)

    def add(self, kind: Kind, path: str, detail: str, count: int = 1) -> None:
        """Something is wrong."""
        self.problems[kind] += count
        self._keep(kind, [Example(path, shortened(detail))])

    def merge(self, other: Findings) -> None:
        """Add what was found elsewhere."""
        self.checked.update(other.checked)
        self.problems.update(other.problems)
        for kind, examples in other.examples.items():
            self._keep(kind, examples)

    def _keep(self, kind: Kind, examples: Iterable[Example]) -> None:
        kept = self.examples.setdefault(kind, [])
        kept.extend(list(examples)[: self.most_examples - len(kept)])

    @property
    def repairable(self) -> bool:
        """Whether a summary made anew from the files would help."""
        return not REPAIRABLE.isdisjoint(self.problems)


def shortened(text: str) -> str:
    """A text that a file may have made long, for a line of a report."""
    return text if len(text) <= _DETAIL_LIMIT else text[: _DETAIL_LIMIT - 3] + "..."
