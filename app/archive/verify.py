"""Verify an OUTPUT_DIR: every file, every summary against its files, `latest`. Reads only, also beside live recorders.

Nothing but plain files is opened, so a pipe or a device can't hang it; one day at a time is held in memory.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

from app.archive.comparison import DayFiles, Job, compare
from app.archive.contents import check_quarantined, check_recording, check_superseded
from app.archive.findings import Findings, Kind
from app.archive.listing import TEMPORARY
from app.store import encode, ledger, scan
from app.store.errors import UsageError
from app.store.layout import Layout, is_date
from app.store.plain import read_plain

PATIENCE_S = 5.0
"""How long what a live recorder has in hand may take to agree: it promises a second."""

_INTERVAL_S = 0.5
_BESIDE = ("summary.json", "superseded")


class Verifier:
    """Checks one OUTPUT_DIR, part by part.

    `advance` is called for each file looked at; `most_examples` of each kind of problem are kept. Raises `UsageError`
    when there is no such folder.
    """

    def __init__(self, output_dir: str, *, most_examples: int, advance: Callable[[], object] = lambda: None) -> None:
        self.layout = Layout(os.path.abspath(output_dir))
        self._most_examples = most_examples
        self._advance = advance
        root = self.layout.root
        if not os.path.isdir(root):
            what = "not a folder" if os.path.exists(root) else "no such folder"
            raise UsageError(what, path=root, hint="name the folder that recordings are in")
        if not any(os.path.lexists(part) for part in (self.layout.daily, self.layout.quarantined, self.layout.state)):
            raise UsageError("no recordings are kept here", path=root, hint="name the folder that has daily/ in it")

    def count_files(self) -> int:
        """About how many files there are to look at."""
        roots = [f"{self.layout.root}/{part}" for part in ("daily", "quarantine")]
        return sum(len(names) for root in roots for _, _, names in os.walk(root))

    def no_findings(self) -> Findings:
        """To begin with."""
        return Findings(self._most_examples)

    def days(self, findings: Findings) -> list[str]:
        """The days there are, oldest first; what else is among them goes to `findings`."""
        return self._dates("daily", findings)

    def check_day(self, day: str) -> Findings:
        """Check a day's files, and its summary against them."""
        findings = self.no_findings()
        files = DayFiles(day)
        summary_was = self._summary_version(day)
        root = f"daily/{day}"
        for path in self._recordings(root, findings, beside=_BESIDE):
            self._count("recordings", findings)
            self._enter(files, path.removeprefix(f"{root}/"), findings)
        for path in self._recordings(f"{root}/superseded", findings):
            self._count("superseded", findings)
            self._check_superseded(day, path.removeprefix(f"{root}/superseded/"), findings)
        files.present |= scan.cleaned_names(self.layout, day)  # the summary still tells of them
        if Kind.UNREADABLE_FOLDER not in findings.problems:
            self._check_summary(files, summary_was, findings)
        if not os.path.isdir(self.layout.day(day)):
            return self.no_findings()  # somebody removed it while we looked
        findings.checked["days"] += 1
        return findings

    def check_quarantine(self) -> Findings:
        """Check what is kept in quarantine."""
        findings = self.no_findings()
        for date in self._dates("quarantine", findings):
            for path in self._files(f"quarantine/{date}", findings):
                self._count("quarantined", findings)
                with _problems_of(path, findings):
                    content, _ = read_plain(f"{self.layout.root}/{path}")
                    check_quarantined(path, content)
        return findings

    def check_root(self) -> Findings:
        """Check `latest`, and look for temporary files beside it."""
        findings = self.no_findings()
        for _ in self._entries("", findings):
            pass
        deadline = time.monotonic() + PATIENCE_S
        problem = self._problem_of_latest()
        while problem and time.monotonic() < deadline and ledger.anyone_lives(self.layout.state):
            time.sleep(_INTERVAL_S)
            problem = self._problem_of_latest()
        if problem and (problem := self._problem_of_latest()):  # whoever was about to move it may be gone by now
            findings.add(Kind.LATEST_WRONG, "latest", problem)
        return findings

    def _check_superseded(self, day: str, name: str, findings: Findings) -> None:
        path = f"daily/{day}/superseded/{name}"
        with _problems_of(path, findings):
            content, modified_at = read_plain(f"{self.layout.root}/{path}")
            recording, wanted = check_superseded(day, name, content, modified_at)
            if wanted:
                findings.add(Kind.MISPLACED, path, f"by its content it is of {wanted}")
            elif not os.path.isfile(f"{self.layout.day(day)}/{recording}"):
                findings.add(Kind.ORPHAN, path, f"there is no {recording}")

    def _enter(self, files: DayFiles, name: str, findings: Findings) -> None:
        """Read a recording, and enter it among its day's."""
        path = f"daily/{files.day}/{name}"
        files.present.add(name)
        with _problems_of(path, findings):
            content, modified_at = read_plain(f"{self.layout.root}/{path}")
            entry, wanted = check_recording(files.day, name, content, modified_at)
            if wanted:
                findings.add(Kind.MISPLACED, path, f"by its content it is {wanted}")
            files.enter(name, entry)

    def _check_summary(self, files: DayFiles, version: object, findings: Findings) -> None:
        """Compare a day's summary with its files, and where it is being recorded into, give it time to agree.

        What we listed is in the summary soon after, and what the summary lists has a file already: so it takes a
        newer summary and a second look at the files in question, never at the whole day. Where nobody has the day
        open and its summary is that of when we began (`version`), there is nothing to wait for.
        """
        deadline = time.monotonic() + PATIENCE_S
        while True:
            version_read = self._summary_version(files.day)
            summary = self._read_summary(files.day)
            result = compare(files, summary, self._most_examples)
            if not result.findings.problems:
                break
            is_open = ledger.is_open(self.layout.state, f"daily/{files.day}")
            if not is_open and self._summary_version(files.day) == version:
                break
            self._look_again(files, result.stale)
            result = compare(files, summary, self._most_examples)
            if not result.findings.problems or time.monotonic() > deadline:
                break
            version = version_read
            time.sleep(_INTERVAL_S)
        findings.merge(result.findings)

    def _look_again(self, files: DayFiles, stale: dict[str, Job]) -> None:
        for name, job in stale.items():
            files.forget(name, job)
            if os.path.lexists(f"{self.layout.day(files.day)}/{name}"):
                self._enter(files, name, self.no_findings())

    def _summary_version(self, day: str) -> object:
        try:
            status = os.stat(self.layout.summary(day))
        except OSError:
            return None
        return status.st_mtime_ns, status.st_ino, status.st_size

    def _read_summary(self, day: str) -> Any:
        """A summary's data, or the error that it can't be read with."""
        try:
            return encode.load(read_plain(self.layout.summary(day))[0])
        except (OSError, ValueError) as error:
            return error

    def _problem_of_latest(self) -> str | None:
        unlisted = self.no_findings()
        newest = self._newest_day_with_records(unlisted)
        if Kind.UNREADABLE_FOLDER in unlisted.problems:
            return None  # it can't be told, and is reported where the day is checked
        try:
            target = os.readlink(self.layout.latest)
        except FileNotFoundError:
            return f"there is no such link; the newest day that has records is {newest}" if newest else None
        except OSError:
            return "it is no link"
        if newest is None:
            return f"it names {target}, but there are no records"
        try:
            right = os.path.samefile(self.layout.latest, self.layout.day(newest))
        except OSError:
            right = False
        return None if right else f"it names {target}; the newest day that has records is {newest}"

    def _newest_day_with_records(self, findings: Findings) -> str | None:
        days = reversed(self.days(findings))
        return next((day for day in days if any(self._recordings(f"daily/{day}", findings, beside=_BESIDE))), None)

    def _dates(self, folder: str, findings: Findings) -> list[str]:
        """The dates that have a folder in `folder`."""
        dates = []
        for path in self._folders(folder, findings):
            date = os.path.basename(path)
            if is_date(date):
                dates.append(date)
            else:
                findings.add(Kind.FOREIGN, path, "a folder whose name is no date")
        return dates

    def _recordings(self, folder: str, findings: Findings, beside: Collection[str] = ()) -> Iterator[str]:
        """The files in ``processed`` and ``scrapers/*``; what else there is, except `beside`, goes to `findings`."""
        for entry in self._entries(folder, findings):
            path = f"{folder}/{entry.name}"
            if entry.name == "processed" and scan.is_folder(entry):
                yield from self._files(path, findings)
            elif entry.name == "scrapers" and scan.is_folder(entry):
                for scraper in self._folders(path, findings):
                    yield from self._files(scraper, findings)
            elif entry.name not in beside:
                findings.add(Kind.FOREIGN, path, _what(entry))

    def _folders(self, folder: str, findings: Findings) -> Iterator[str]:
        for entry in self._entries(folder, findings):
            if scan.is_folder(entry):
                yield f"{folder}/{entry.name}"
            else:
                findings.add(Kind.FOREIGN, f"{folder}/{entry.name}", _what(entry))

    def _files(self, folder: str, findings: Findings) -> Iterator[str]:
        for entry in self._entries(folder, findings):
            if scan.is_recording(entry):
                yield f"{folder}/{entry.name}"
            else:
                findings.add(Kind.FOREIGN, f"{folder}/{entry.name}", _what(entry))

    def _entries(self, folder: str, findings: Findings) -> list[os.DirEntry[str]]:
        """What is in a folder, sorted; without hidden files, of which temporary ones may go to `findings`."""
        try:
            with os.scandir(f"{self.layout.root}/{folder}") as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except FileNotFoundError:
            return []  # there never was one, or somebody removed it just now
        except OSError as error:
            findings.add(Kind.UNREADABLE_FOLDER, folder or ".", error.strerror or str(error))
            return []
        for entry in entries:
            if temporary := TEMPORARY.fullmatch(entry.name):
                self._check_temporary(f"{folder}/{entry.name}".lstrip("/"), temporary[1], findings)
        return [entry for entry in entries if not entry.name.startswith(".")]

    def _check_temporary(self, path: str, writer: str, findings: Findings) -> None:
        if not ledger.is_alive(self.layout.state, writer) and os.path.lexists(f"{self.layout.root}/{path}"):
            findings.add(Kind.TEMPORARY, path, f"its writer, {writer}, is gone")

    def _count(self, what: str, findings: Findings) -> None:
        findings.checked[what] += 1
        self._advance()


@contextmanager
def _problems_of(path: str, findings: Findings) -> Iterator[None]:
    """Turn what is wrong with a file into findings; one that somebody removed meanwhile is no problem."""
    try:
        yield
    except FileNotFoundError:
        pass
    except OSError as error:
        findings.add(Kind.UNREADABLE, path, error.strerror or str(error))
    except ValueError as error:
        findings.add(Kind.DAMAGED, path, str(error))


def _what(entry: os.DirEntry[str]) -> str:
    if entry.is_symlink():
        return "a link"
    if entry.is_dir():
        return "a folder"
    return "a file" if entry.is_file() else "a pipe, socket or device"
