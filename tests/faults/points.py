"""Named points of a recorder's way, at which it kills or freezes itself.

A point is a function of the product, or of the system below it, and the moment before, after or half-way through a
call of it. Everything else of the process is the product's own.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any, Literal

from rq.worker import SimpleWorker

import app.recorder.worker
from app.recorder.bookkeeping import Bookkeeper
from app.recorder.intake import Intake
from app.recorder.rqworker import RQWorker
from app.recorder.write import RecordWriter
from app.store.files import DurableFiles
from app.store.latest import LatestLink
from app.store.summary import Day

Moment = Literal["before", "half", "after"]


@dataclass(frozen=True, slots=True)
class Point:
    """The n-th call of a function that fits."""

    moment: Moment
    owner: Any
    name: str
    fits: Callable[..., bool] = lambda *_: True
    """Whether a call counts, from its arguments; those of a method without its object."""
    number: int = 1
    with_result: bool = False
    """Count only calls that returned something."""

    def arm(self, how: signal.Signals) -> None:
        """From now on this process sends itself a signal when it comes to this point."""
        real, numbers = getattr(self.owner, self.name), count(1)
        skipped = 1 if isinstance(self.owner, type) else 0

        def reached(arguments: tuple[Any, ...]) -> bool:
            return self.fits(*arguments[skipped:]) and next(numbers) == self.number

        def call(*arguments: Any, **options: Any) -> Any:
            if self.moment == "after":
                result = real(*arguments, **options)
                if (result or not self.with_result) and reached(arguments):
                    os.kill(os.getpid(), how)
                return result
            if reached(arguments):
                if self.moment == "half":
                    handle, content = arguments
                    real(handle, content[: len(content) // 2])
                os.kill(os.getpid(), how)
            return real(*arguments, **options)

        setattr(self.owner, self.name, call)


def _path(handle: int) -> str:
    return os.readlink(f"/proc/self/fd/{handle}")


def _to(suffix: str) -> Callable[..., bool]:
    """A call on an open file with such a name."""
    return lambda handle, *_: _path(handle).endswith(suffix)


def _in_day(suffix: str) -> Callable[..., bool]:
    return lambda handle, *_: "/daily/" in _path(handle) and _path(handle).endswith(suffix)


def _of_folder(handle: int) -> bool:
    return os.path.isdir(_path(handle)) and "/daily/" in _path(handle)


def _becoming(suffix: str) -> Callable[..., bool]:
    """A call that gives a file such a name."""
    return lambda _old, new, **_: str(new).endswith(suffix)


def _named(suffix: str) -> Callable[..., bool]:
    return lambda path, *_, **__: str(path).endswith(suffix)


def _is_summary(_handle: int, content: Any) -> bool:
    return b'"total_jobs"' in bytes(content[:200])


_SUMMARY = Point("before", os, "replace", _becoming("/summary.json"))

BATCH = {
    "when its ledger has no name yet": Point("before", os, "rename", _becoming(".writer")),
    "when its ledger has a name": Point("after", os, "rename", _becoming(".writer")),
    "after the take": Point("after", Intake, "_take_waiting", with_result=True),
    "before a job is read": Point("before", app.recorder.worker, "decode_result", number=3),
    "before it notes a day": Point("before", os, "write", _to(".writer")),
    "half-way through noting a day": Point("half", os, "write", _to(".writer")),
    "when it has noted a day": Point("after", os, "fsync", _to(".writer")),
    "when a day has its folder": Point("after", os, "makedirs", _named("/scrapers/nyc")),
    "when a file is empty": Point("before", os, "write", _in_day(".tmp")),
    "half-way through writing a file": Point("half", os, "write", _in_day(".tmp"), number=4),
    "between write and fsync": Point("before", os, "fsync", _in_day(".tmp")),
    "between fsync and name": Point("before", os, "link"),
    "between a name and letting go of the temporary one": Point("before", os, "unlink", _named(".tmp")),
    "when one of the batch has its name": Point("after", os, "link"),
    "when half of the batch have their names": Point("after", os, "link", number=8),
    # The first time is that of a conflict.
    "between names and the folders' fsync": Point("before", DurableFiles, "sync_folders", number=2),
    "between the folders' fsyncs": Point("after", os, "fsync", _of_folder, number=2),
    "in a conflict, before the older result is kept": Point("before", DurableFiles, "keep_as"),
    "in a conflict, when the older result is kept": Point("after", DurableFiles, "keep_as"),
    "in a conflict, before the newer one has its name": Point("before", DurableFiles, "replace"),
    "in a conflict, when the newer one has its name": Point("after", DurableFiles, "replace"),
    "between the folders' fsync and the journal": Point("before", os, "write", _to(".journal")),
    "half-way through the journal's chunk": Point("half", os, "write", _to(".journal")),
    "between the journal and latest": Point("after", os, "write", _to(".journal")),
    "when latest's link is made": Point("after", os, "symlink"),
    "when latest is swapped": Point("after", os, "replace", _becoming("/latest")),
    "between the files and acknowledging": Point("before", Bookkeeper, "begin_to_finish"),
    "between acknowledging and its answer": Point("before", Bookkeeper, "finished"),
    "after acknowledging": Point("after", Bookkeeper, "finished"),
    "before RQ's own path": Point("before", RQWorker, "finish_with_rq"),
    "in RQ's own path of a failed job": Point("after", SimpleWorker, "prepare_execution"),
    "in RQ's own path of a finished job": Point("after", SimpleWorker, "prepare_execution", number=2),
    "between RQ's own path and letting go": Point("before", Intake, "drop"),
    "before the summary": Point("before", RecordWriter, "flush"),
    "half-way through writing the summary": Point("half", os, "write", _is_summary),
    "between the summary's write and its name": _SUMMARY,
    "when the summary has its name": Point("after", os, "replace", _becoming("/summary.json")),
    "when half of the summaries are written": Point("after", Day, "flush_if_due", number=2),
}
"""On the way of a batch, in its order."""

OVERLAP = {
    "when the next batch is asked for": Point("after", Intake, "begin_to_take"),
    "when one is read, one on its way to be acknowledged, and one taken": Point(
        "before", RecordWriter, "begin", number=2
    ),
    "when the next batch is here": Point("after", Intake, "taken_ahead", number=2),
    "when one is on disk and the next is here": Point("after", RecordWriter, "commit", number=2),
}
"""Where several full batches are in hand."""

RECOVERY = {
    "before it sweeps": Point("before", os, "unlink", _named(".tmp")),
    "when it has swept one file": Point("after", os, "unlink", _named(".tmp")),
    "before it compares a day with its journal": Point("before", Day, "reconcile"),
    "half-way through putting the journal right": Point("half", os, "write", _to(".journal")),
    "when it has put one journal right": Point("after", Day, "reconcile"),
    "before the day's summary": _SUMMARY,
    "before it moves latest on": Point("before", LatestLink, "advance"),
    "before the dead one's ledger is gone": Point("before", os, "unlink", _named(".writer")),
    "when the dead one's ledger is gone": Point("after", os, "unlink", _named(".writer")),
    "between the end of the lease and taking back": Point("after", Intake, "end_lease"),
}
"""On the way of a recorder that puts right what a dead one left."""

FREEZING = (
    "after the take",
    "between names and the folders' fsync",
    "between the files and acknowledging",
    "between the summary's write and its name",
)
"""Where a recorder is frozen and wakes up again, holding no lock."""

FREEZING_IN_FULL = (
    "before a job is read",
    "between write and fsync",
    "between the folders' fsync and the journal",
    "between the journal and latest",
    "between acknowledging and its answer",
    "after acknowledging",
)

# Where it holds a lock that others may want.
SETTLING = "in a conflict, when the older result is kept"
MOVING_LATEST = "when latest's link is made"

RQS_OWN_PATH = "before RQ's own path"

POINTS = BATCH | OVERLAP | RECOVERY
