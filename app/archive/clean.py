"""Cleaning: which days may go, by the policy and by what is proven of them; and their way into the trash."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime

from app.archive.listing import Listing, list_day
from app.archive.proof import Places, Proof, prove
from app.archive.retention import Decision, Policy, plan
from app.archive.trash import Trash
from app.store import ledger, scan
from app.store.files import wrap_os_errors
from app.store.layout import Layout

_QUIET_S = 900.0
"""A day that a recorder has open counts as being written for so long after the last change: a recorder that runs for
months has every day since open."""


@dataclass(frozen=True, slots=True)
class Step:
    """What is to become of a day, why, and what is proven of it."""

    decision: Decision
    proof: Proof | None = None
    refused: bool = False
    """Whether the policy would have it go, but it isn't proven safe elsewhere."""
    files: int = 0
    size: int = 0

    @property
    def date(self) -> str:
        """The day."""
        return self.decision.date


class Cleaner:
    """Cleans one OUTPUT_DIR."""

    def __init__(self, layout: Layout, places: Places, *, keep_summaries: bool, advance: Callable[[], object]) -> None:
        self._layout = layout
        self._places = places
        self._keep_summaries = keep_summaries
        self._advance = advance

    @wrap_os_errors
    def plan(self, policy: Policy, today: date, *, unarchived: bool) -> list[Step]:
        """What would become of each day; every file of the days that are to go is read here and where it is kept."""
        days = scan.days(self._layout)
        decisions = plan(days, today, policy, self._protected(days))
        return [self._step(decision, unarchived=unarchived) for decision in decisions]

    @wrap_os_errors
    def apply(self, steps: Iterable[Step], now: datetime, *, to_trash: bool) -> list[Step]:
        """Have the days go that are to; returns those that have changed since they were looked at, which stay.

        The trash is the caller's to hold. Raises `StorageError`.
        """
        trash = Trash(self._layout)
        changed = []
        for step in steps:
            if step.decision.remove and step.proof is not None:
                listing = list_day(self._layout.day(step.date), self._layout.state)
                if listing.fingerprint() == step.proof.fingerprint:
                    trash.put(step.date, listing.files, now, keep_summary=self._keep_summaries, for_good=not to_trash)
                else:
                    changed.append(step)
        return changed

    def _step(self, decision: Decision, *, unarchived: bool) -> Step:
        if not decision.remove:
            return Step(decision)
        folder = self._layout.day(decision.date)
        listing = list_day(folder, self._layout.state)
        if listing.being_written:
            return Step(replace(decision, remove=False, reason="a recorder is writing into it"))
        if self._keep_summaries and not listing.recordings:
            return Step(replace(decision, remove=False, reason="only its summary is there"))
        size = sum(stamp.size for stamp in listing.files.values())
        proof = self._prove(folder, decision.date, listing, unarchived=unarchived)
        if proof.problem:
            decision = replace(decision, remove=False, reason=f"{decision.reason}, but {proof.problem}")
        return Step(decision, proof, bool(proof.problem), len(listing.files), size)

    def _prove(self, folder: str, day: str, listing: Listing, *, unarchived: bool) -> Proof:
        if unarchived:
            return Proof(fingerprint=listing.fingerprint())
        if not listing.files and not listing.odd and not listing.hidden:
            return Proof("nowhere: it is empty", fingerprint=listing.fingerprint())
        return prove(folder, day, listing, self._places, self._advance)

    def _protected(self, days: Iterable[str]) -> dict[str, str]:
        """Days that stay whatever the policy says."""
        found: dict[str, str] = {}
        for day in days:
            if os.path.islink(self._layout.day(day)):
                found[day] = "its folder is a link: clean where that leads to"
            elif self._is_busy(day):
                found[day] = "a recorder is writing into it"
        latest = self._latest()
        if latest is not None:
            found[latest] = "latest leads to it"
        return found

    def _latest(self) -> str | None:
        try:
            return self._layout.day_of_target(os.readlink(self._layout.latest))
        except OSError:
            days = scan.days(self._layout)
            return days[-1] if days else None

    def _is_busy(self, day: str) -> bool:
        if not ledger.is_open(self._layout.state, f"daily/{day}"):
            return False
        paths = [*scan.all_folders(self._layout.day(day)), self._layout.journal(day), self._layout.summary(day)]
        return any(abs(time.time() - _modified_at(path)) < _QUIET_S for path in paths)


def failed(steps: Iterable[Step]) -> bool:
    """Whether a day was to go and may not."""
    return any(step.refused for step in steps)


def _modified_at(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0
