"""Which days to keep: a policy, and the plan that follows from it. Touches no disk."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from app.store.errors import UsageError

_AGE = re.compile(r"(\d{1,6})([dw])")
_DAYS = {"d": 1, "w": 7}


@dataclass(frozen=True, slots=True)
class Policy:
    """Days go that are older than `older_than_days` (all, if it is None), but for those that are to be kept."""

    older_than_days: int | None = None
    keep_daily: int = 0
    keep_weekly: int = 0
    keep_monthly: int = 0

    def check(self) -> None:
        """Raise `UsageError` for a policy that would say nothing, so that all would go."""
        if self.older_than_days is None and not (self.keep_daily or self.keep_weekly or self.keep_monthly):
            raise UsageError("no policy is given", hint="say --older-than 30d, or how many --keep-daily and the like")


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to become of a day, and why."""

    date: str
    remove: bool
    reason: str


def plan(days: Iterable[str], today: date, policy: Policy, protected: Mapping[str, str]) -> list[Decision]:
    """A decision for each day, oldest first; `protected` names days that stay whatever the policy says, and why."""
    policy.check()
    ordered = sorted(days)
    kept = _kept([day for day in ordered if day <= today.isoformat()], policy)
    return [_decide(day, today, policy, protected, kept) for day in ordered]


def _decide(
    day: str, today: date, policy: Policy, protected: Mapping[str, str], kept: Mapping[str, list[str]]
) -> Decision:
    age = (today - date.fromisoformat(day)).days
    if age <= 0:
        return Decision(day, False, "today's" if age == 0 else "it lies ahead")
    if day in protected:
        return Decision(day, False, protected[day])
    if policy.older_than_days is not None and age <= policy.older_than_days:
        return Decision(day, False, f"{age} days old")
    if day in kept:
        return Decision(day, False, f"kept as {', '.join(kept[day])}")
    return Decision(day, True, f"{age} days old" if policy.older_than_days is not None else "no rule keeps it")


def _kept(ordered: list[str], policy: Policy) -> dict[str, list[str]]:
    """The days that the keep rules name: the last day that has records of each of the last so many periods."""
    kept: dict[str, list[str]] = {}
    rules: list[tuple[int, str, Callable[[date], object]]] = [
        (policy.keep_daily, "daily", lambda day: day),
        (policy.keep_weekly, "weekly", lambda day: day.isocalendar()[:2]),
        (policy.keep_monthly, "monthly", lambda day: (day.year, day.month)),
    ]
    for count, name, period_of in rules:
        newest: dict[object, str] = {}
        for day in reversed(ordered):
            newest.setdefault(period_of(date.fromisoformat(day)), day)
        for day in list(newest.values())[:count]:
            kept.setdefault(day, []).append(name)
    return kept


def parse_age(text: str) -> int:
    """The days that an age such as ``30d`` or ``4w`` names. Raises `UsageError`."""
    match = _AGE.fullmatch(text)
    if match is None:
        raise UsageError(f"not an age: {text}", hint="say it in days or weeks, as 30d or 4w")
    return int(match[1]) * _DAYS[match[2]]


def oldest_date(today: date, days: int) -> date:
    """So many days before a day, or the first day there is."""
    try:
        return today - timedelta(days=days)
    except OverflowError:
        return date.min
