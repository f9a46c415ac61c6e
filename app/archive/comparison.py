"""A day's summary against the files of that day, both ways. Touches no disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from app.archive.findings import Findings, Kind
from app.store.layout import UNKNOWN_SCRAPER, Place
from app.store.summary import Entry
from app.store.timestamps import parse_timestamp, sort_key

Job = tuple[str, str]
"""A scraper_id as the summary says it, and a job_id."""


@dataclass(slots=True)
class DayFiles:
    """The recordings of a day."""

    day: str
    timestamps: dict[Job, dict[str, str]] = field(default_factory=dict)
    """Of each job: the timestamp of its file, by the file's name inside the day; old names can make it several."""
    present: set[str] = field(default_factory=set)
    """The names of all files: of those that can't be read, a summary may tell or not."""

    def enter(self, name: str, entry: Entry) -> None:
        """There is such a file, and it can be read."""
        self.present.add(name)
        self.timestamps.setdefault((entry["scraper_id"], entry["job_id"]), {})[name] = entry["timestamp"]

    def forget(self, name: str, job: Job) -> None:
        """There is no such file any more."""
        self.present.discard(name)
        files = self.timestamps.get(job, {})
        files.pop(name, None)
        if not files:
            self.timestamps.pop(job, None)


@dataclass(slots=True)
class Comparison:
    """What came of comparing a summary with its day's files."""

    findings: Findings
    stale: dict[str, Job] = field(default_factory=dict)
    """The files to look at once more if somebody is writing into this day: by name, the job that they are of."""


def possible_names(day: str, job: Job) -> list[str]:
    """Where, inside the day, the file of a job in the summary can be: ``unknown`` may be a scraper's real name."""
    scraper_id, job_id = job
    names = [Place(day, scraper_id, job_id).name] if scraper_id else []
    return [*names, Place(day, None, job_id).name] if scraper_id == UNKNOWN_SCRAPER else names


def compare(files: DayFiles, summary: Any, most_examples: int) -> Comparison:
    """Compare a day's summary with its files: jobs, times and counts must be the same.

    `summary` is its JSON data, or the error that it can't be read with.
    """
    result = Comparison(Findings(most_examples))
    path = f"daily/{files.day}/summary.json"
    if isinstance(summary, FileNotFoundError):
        if files.timestamps:
            result.findings.add(Kind.SUMMARY_MISSING, path, "there is none")
        return result
    if isinstance(summary, OSError | ValueError):
        result.findings.add(Kind.SUMMARY_UNREADABLE, path, getattr(summary, "strerror", None) or str(summary))
        return result
    if not isinstance(summary, dict) or not isinstance(summary.get("jobs"), list):
        result.findings.add(Kind.SUMMARY_UNREADABLE, path, "it is no object with a list of jobs")
        return result
    listed = _listed(summary["jobs"], path, result.findings)
    accepted = _compare_jobs(files, listed, path, result)
    for file_job, found in files.timestamps.items():
        for name in list(found)[len(listed.get(file_job, ())) :]:
            result.findings.add(Kind.NOT_IN_SUMMARY, f"daily/{files.day}/{name}", "summary.json doesn't list it")
            result.stale[name] = file_job
    for detail in _wrong_figures(files, accepted, summary):
        result.findings.add(Kind.WRONG_COUNT, path, detail)
    return result


def _listed(jobs: list[Any], path: str, findings: Findings) -> dict[Job, list[str]]:
    """The timestamps that a summary has for each job."""
    listed: dict[Job, list[str]] = {}
    for number, entry in enumerate(jobs):
        match entry:
            case {"scraper_id": str(scraper_id), "job_id": str(job_id), "timestamp": str(timestamp)}:
                listed.setdefault((scraper_id, job_id), []).append(timestamp)
            case _:
                findings.add(Kind.WRONG_ENTRY, path, f"jobs[{number}] lacks a job_id, scraper_id or timestamp")
    return listed


def _compare_jobs(files: DayFiles, listed: dict[Job, list[str]], path: str, result: Comparison) -> dict[Job, str]:
    """Compare each job of the summary with its files; returns the jobs whose file can't be read, but may be right."""
    accepted: dict[Job, str] = {}
    for job, timestamps in listed.items():
        scraper_id, job_id = job
        found = files.timestamps.get(job)
        names = possible_names(files.day, job) if found is None else []
        if found is None and files.present.isdisjoint(names):
            result.stale.update(dict.fromkeys(names, job))
            where = f"daily/{files.day}/{names[-1]}" if names else path
            result.findings.add(Kind.MISSING_FILE, where, "summary.json lists it, but there is no such file")
        elif found is None:
            accepted[job] = timestamps[0]
        else:
            for name, detail in _wrong_times(found, timestamps):
                result.findings.add(Kind.WRONG_TIME, f"daily/{files.day}/{name}", detail)
                result.stale[name] = job
        if (excess := len(timestamps) - max(1, len(found or ()))) > 0:
            detail = f"{scraper_id}, {job_id}: listed {len(timestamps)} times"
            result.findings.add(Kind.DUPLICATE_IN_SUMMARY, path, detail, excess)
    return accepted


def _wrong_times(found: dict[str, str], timestamps: list[str]) -> Iterator[tuple[str, str]]:
    """The files whose time is none of those in the summary, and what to say of it."""
    if [*found.values()] == timestamps:  # as nearly always
        return
    listed = {_instant(text) for text in timestamps}
    for name, own in list(found.items())[: len(timestamps)]:
        if _instant(own) not in listed:
            yield name, f"its own time is {own}, summary.json says {', '.join(timestamps[:3])}"


def _wrong_figures(files: DayFiles, accepted: dict[Job, str], summary: dict[str, Any]) -> Iterator[str]:
    """What a summary says of the whole day and of each scraper, where the files say otherwise."""
    if summary.get("date") != files.day:
        yield f"date is {_shown(summary.get('date'))}"
    times: dict[str, list[str]] = {}
    for (scraper_id, _), found in files.timestamps.items():
        times.setdefault(scraper_id, []).extend(found.values())
    for (scraper_id, _), timestamp in accepted.items():
        times.setdefault(scraper_id, []).append(timestamp)
    total = sum(map(len, times.values()))
    if not _is_number(summary.get("total_jobs"), total):
        yield f"total_jobs is {_shown(summary.get('total_jobs'))}, there are {total} files"
    scrapers = summary.get("scrapers")
    if not isinstance(scrapers, dict):
        yield "scrapers is no object"
        return
    for scraper_id in {**scrapers, **times}:
        said = scrapers.get(scraper_id)
        if detail := _wrong_scraper(said if isinstance(said, dict) else {}, times.get(scraper_id, [])):
            yield f"{scraper_id}: {detail}"


def _wrong_scraper(said: dict[str, Any], times: list[str]) -> str:
    if not _is_number(said.get("count"), len(times)):
        return f"count is {_shown(said.get('count'))}, there are {len(times)} files"
    if times and _instant(said.get("first_job")) != _instant(first := min(times, key=sort_key)):
        return f"first_job is {_shown(said.get('first_job'))}, the first file's time is {first}"
    if times and _instant(said.get("last_job")) != _instant(last := max(times, key=sort_key)):
        return f"last_job is {_shown(said.get('last_job'))}, the last file's time is {last}"
    return ""


def _is_number(value: Any, number: int) -> bool:
    return type(value) is int and value == number


def _instant(value: Any) -> datetime | None:
    return parse_timestamp(value) if isinstance(value, str) else None


def _shown(value: Any) -> str:
    if value is None:
        return "missing"
    return str(value) if isinstance(value, int | float) else f'"{value}"' if isinstance(value, str) else "no number"
