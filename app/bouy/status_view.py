"""What `status` shows: how the work goes, and what is kept, on one screen."""

from __future__ import annotations

import os
import re
import shutil
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from rich.text import Text

from app.bouy.fleet_view import Work, look, moment
from app.bouy.local import Fleet
from app.bouy.output import Output, aligned
from app.bouy.services import output_dir
from app.service.settings import load_settings
from app.store import encode
from app.store.layout import Layout, is_date
from app.store.printable import printable

_INTERVAL_S = 2.0
_SCRAPERS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Day:
    """A day's summary, but for its jobs."""

    date: str
    total_jobs: int
    scrapers: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Report:
    """All that `status` tells."""

    output_dir: str
    rate_per_s: float | None
    """Over the last minute, of all recorders; None when Redis doesn't answer."""
    last_recorded: str | None
    queue: int | None
    oldest_age_s: float | None
    failed: int | None
    quarantined: int
    """Files in quarantine, of any day."""
    free_bytes: int | None
    reserve_bytes: int
    days: int
    first_day: str | None
    last_day: str | None
    today: Day | None
    """The summary of today (UTC) or, if there is none yet, of the newest day."""
    recorders: list[dict[str, Any]] = field(default_factory=list)


def show(fleet: Fleet, output: Output, *, watch: bool) -> None:
    """Print the report; with `watch`, anew and anew until Ctrl-C."""
    if not watch:
        _print(_report(fleet), output)
    elif output.fancy and not output.silent:
        with output.console.screen() as screen:
            while True:
                screen.update(Text("\n".join(_lines(_report(fleet)))))
                threading.Event().wait(_INTERVAL_S)
    else:
        while True:
            _print(_report(fleet), output)
            threading.Event().wait(_INTERVAL_S)


def _print(report: Report, output: Output) -> None:
    for line in _lines(report):
        output.say(line)
    output.document(asdict(report))


def _report(fleet: Fleet) -> Report:
    settings = fleet.settings()
    work = look(settings.get("REDIS_URL"))
    layout = Layout(output_dir(fleet.site, {**settings, **_named(fleet)}))
    days = sorted(name for name in _names(layout.daily) if is_date(name))
    last = max((one.last_recorded for one in work.recorders if one.last_recorded), default=None)
    return Report(
        layout.root,
        sum(one.rate_per_s for one in work.recorders) if work.queue else None,
        moment(last),
        work.queue.waiting if work.queue else None,
        work.queue.oldest_age_s if work.queue else None,
        work.queue.failed if work.queue else None,
        sum(len(_names(f"{layout.quarantined}/{date}")) for date in _names(layout.quarantined)),
        _free_bytes(layout.root),
        int(settings.get("RECORDER_MIN_FREE_MB", load_settings().recorder_min_free_mb)) * 1024**2,
        len(days),
        days[0] if days else None,
        days[-1] if days else None,
        _day(layout, days),
        _recorders(work),
    )


def _named(fleet: Fleet) -> dict[str, str]:
    named = fleet.site.environ.get("OUTPUT_DIR")
    return {"OUTPUT_DIR": named} if named else {}


def _recorders(work: Work) -> list[dict[str, Any]]:
    return [asdict(one) | {"last_recorded": moment(one.last_recorded)} for one in work.recorders]


def _day(layout: Layout, days: list[str]) -> Day | None:
    today = datetime.now(UTC).date().isoformat()
    date = today if today in days else (days[-1] if days else None)
    if date is None:
        return None
    try:
        with open(layout.summary(date), "rb") as file:
            summary = encode.load(file.read())
        keys = ("count", "first_job", "last_job")
        scrapers = {name: {key: one[key] for key in keys} for name, one in summary["scrapers"].items()}
        return Day(date, int(summary["total_jobs"]), scrapers)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # none yet, or a damaged one
        return None


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _free_bytes(folder: str) -> int | None:
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


def _lines(report: Report) -> list[str]:
    """The screen."""
    kept = (
        f"{report.days} {'day' if report.days == 1 else 'days'}, {report.first_day} to {report.last_day}"
        if report.days
        else "no days yet"
    )
    if report.queue is None:
        work = ["Redis     doesn't answer, or doesn't run: see ./bouy ps"]
    else:
        age = f", the next for {report.oldest_age_s:,.0f} s" if report.queue else ""
        work = [
            f"rate      {report.rate_per_s:,.1f}/s over the last minute; last recorded {report.last_recorded or '-'}",
            f"queue     {report.queue:,} waiting{age}",
            f"failed    {report.failed:,} in Redis, {report.quarantined:,} in quarantine"
            + ("; see ./bouy failed" if report.failed or report.quarantined else ""),
        ]
        work += [f"recorder  {_said(one)}" for one in report.recorders] or ["recorder  none runs"]
    free = "?" if report.free_bytes is None else f"{report.free_bytes / 1024**2:,.0f} MiB"
    disk = f"disk      {free} free, of which {report.reserve_bytes / 1024**2:,.0f} are kept free; {report.output_dir}"
    return [*work, printable(disk), f"kept      {kept}", "", *_scraper_lines(report.today)]


def _said(recorder: Mapping[str, Any]) -> str:
    state = f"waiting: {recorder['waiting_for']}" if recorder["waiting_for"] else "ready"
    where = recorder["metrics"] or "no metrics"
    return printable(f"{recorder['name']}: {state}; {recorder['recorded']:,} recorded; {where}")


def _to_the_second(timestamp: object) -> str:
    return re.sub(r"\.\d+", "", printable(str(timestamp)))[:25]


def _scraper_lines(day: Day | None) -> list[str]:
    if day is None:
        return ["no summary yet"]
    by_count = sorted(day.scrapers.items(), key=lambda item: (-item[1]["count"], item[0]))
    rows = [
        (printable(name)[:32], f"{one['count']:,}", _to_the_second(one["first_job"]), _to_the_second(one["last_job"]))
        for name, one in by_count[:_SCRAPERS_SHOWN]
    ]
    more = len(by_count) - len(rows)
    return [
        f"{day.date}: {day.total_jobs:,} jobs",
        *aligned(("SCRAPER", "COUNT", "FIRST", "LAST"), rows),
        *([f"and {more} scrapers more"] if more else []),
    ]
