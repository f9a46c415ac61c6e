"""What `bouy demo` shows: its progress, and what came of the run."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any, Self

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress

from app.bouy.demo import Report, read_summary
from app.bouy.output import Output
from app.store.layout import Layout
from app.store.timestamps import format_timestamp, parse_timestamp

_LINE_INTERVAL_S = 2.0
_DAYS_SHOWN = 5
_FAILURES_SHOWN = 5


class Progress:
    """How far the run is: a bar on a terminal, a line now and then elsewhere."""

    def __init__(self, output: Output, total: int) -> None:
        self._output = output
        self._total = total
        self._done = 0
        self._said_at = time.monotonic()
        columns = (TextColumn("recording"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        shown = output.fancy and not output.silent
        self._bar = RichProgress(*columns, console=output.console) if shown else None
        self._task = self._bar.add_task("recording", total=total) if self._bar else None

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()

    def advance(self, count: int) -> None:
        """So many more are done."""
        self._done += count
        if self._bar and self._task is not None:
            self._bar.advance(self._task, count)
        elif time.monotonic() - self._said_at >= _LINE_INTERVAL_S:
            self._said_at = time.monotonic()
            self._output.say(f"{self._done} of {self._total} done")


def say_report(output: Output, report: Report) -> None:
    """The days' summaries as tables, what failed and why, and where the files are."""
    layout = Layout(report.output_dir)
    total = report.recorded + len(report.failures)
    output.say(f"recorded {report.recorded} of {total} results in {report.seconds:.1f} s")
    for day in report.days[-_DAYS_SHOWN:]:
        _say_day(output, layout, day)
    if len(report.days) > _DAYS_SHOWN:
        output.say(f"\nand {len(report.days) - _DAYS_SHOWN} earlier days, from {report.days[0]}")
    _say_failures(output, report)
    output.say("")
    if report.days:
        newest = report.days[-1]
        output.say(f"files    {layout.day(newest)}")
        output.say(f"summary  {layout.summary(newest)}")
    if report.example:
        output.say(f"example  {report.example}")


def say_replayed(output: Output, replayed: dict[str, Any]) -> None:
    """How much of it came back, and what the database has now."""
    answers = replayed["loaded"] + replayed["superseded"]
    output.say(
        f"replayed {replayed['found']} files into PostgreSQL in {replayed['seconds']:.1f} s: {answers} hold an answer"
    )
    output.say("")
    rows = [(table, str(count)) for table, count in replayed["tables"].items() if count]
    output.table(("TABLE", "ROWS"), rows)


def report_document(report: Report) -> dict[str, Any]:
    """The report as JSON, with each day's summary but its list of jobs."""
    layout = Layout(report.output_dir)
    summaries = [read_summary(layout, day) for day in report.days]
    days = [{key: value for key, value in summary.items() if key != "jobs"} for summary in summaries]
    return {**asdict(report), "days": days}


def _say_day(output: Output, layout: Layout, day: str) -> None:
    summary = read_summary(layout, day)
    scrapers = summary.get("scrapers", {})
    rows = [
        (name, str(entry["count"]), _whole_seconds(entry["first_job"]), _whole_seconds(entry["last_job"]))
        for name, entry in sorted(scrapers.items(), key=lambda item: -item[1]["count"])
    ]
    output.say("")
    output.say(f"summary of {day}")
    output.table(("SCRAPER", "JOBS", "FIRST", "LAST"), [*rows, ("all", str(summary.get("total_jobs", 0)), "", "")])


def _whole_seconds(timestamp: str) -> str:
    moment = parse_timestamp(timestamp)
    return format_timestamp(moment.replace(microsecond=0)) if moment else timestamp


def _say_failures(output: Output, report: Report) -> None:
    if not report.failures:
        return
    output.say("")
    output.say(f"{len(report.failures)} could not be recorded:")
    for failure in report.failures[:_FAILURES_SHOWN]:
        kept = f"; kept in {failure.kept_in}" if failure.kept_in else ""
        output.say(f"  {failure.reason}{kept}")
    if len(report.failures) > _FAILURES_SHOWN:
        output.say(f"  and {len(report.failures) - _FAILURES_SHOWN} more")
