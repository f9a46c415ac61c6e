"""`recorder_jobs_total`, the spec's counter: its labels, and how it outlives the processes of a stock RQ worker.

A stock worker that runs `record_result` forks for each job, and what the fork counted ends with it. With
prometheus-client's multiprocess mode (PROMETHEUS_MULTIPROC_DIR) it stays, but in a file for each process id, that is,
for each job. Here each process takes the first number that no living one has, and goes on with that number's file.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from itertools import count
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, values
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector

from app.store.layout import UNKNOWN_SCRAPER

MOST_SCRAPERS = 200
"""So many scrapers have series of their own, the first that come; each further one would cost memory, here and in
Prometheus, and it is producers who choose the names."""

OTHER_SCRAPERS = "other"
_LONGEST_LABEL = 100

RECORDER_JOBS = Counter("recorder_jobs_total", "Total number of jobs recorded", ["scraper_id", "status"])


class _Labels:
    """Scrapers as values of a label: few enough, short enough, and text that can be shown."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def know(self, labels: Iterable[str]) -> None:
        """These have series already."""
        self._known.update(labels)

    def of(self, scraper_id: str | None) -> str:
        """A scraper's label."""
        text = (scraper_id or UNKNOWN_SCRAPER)[:_LONGEST_LABEL].encode("utf-8", "backslashreplace").decode()
        if text not in self._known:
            if len(self._known) >= MOST_SCRAPERS:
                return OTHER_SCRAPERS
            self._known.add(text)
        return text


_labels = _Labels()


def count_jobs(scraper_id: str | None, *, success: bool, number: int = 1) -> None:
    """Count jobs of one scraper."""
    RECORDER_JOBS.labels(_labels.of(scraper_id), "success" if success else "failure").inc(number)


class _Slot:
    """Which file this process counts in: it has it alone, from its first count to its end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._pid = 0
        self._name = ""

    def __call__(self) -> str:
        if self._pid != os.getpid():
            self._name, self._pid = self._take(), os.getpid()
            _labels.know(_labels_in(self.folder / f"counter_{self._name}.db"))
        return self._name

    def _take(self) -> str:
        for number in count():
            name = f"recorder-{number}"
            handle = os.open(self.folder / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(handle)
            else:
                return name  # the lock is held until this process ends
        raise AssertionError("unreachable")


def count_alone() -> None:
    """Count in this process's memory, whatever PROMETHEUS_MULTIPROC_DIR says: it serves its counts itself."""
    values.ValueClass = values.MutexValue


@cache
def share_counts(folder: Path) -> None:
    """From now on count in files that other processes go on with. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    values.ValueClass = values.MultiProcessValue(_Slot(folder))  # type: ignore[no-untyped-call]


def shared_registry(folder: Path) -> CollectorRegistry:
    """All that was counted in a shared folder."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(folder))  # type: ignore[no-untyped-call]
    return registry


def _labels_in(file: Path) -> set[str]:
    with suppress(FileNotFoundError):
        read = MmapedDict.read_all_values_from_file(file)  # type: ignore[no-untyped-call]
        return {json.loads(key)[2].get("scraper_id", "") for key, *_ in read}
    return set()
