"""Make summaries and `latest` true to the files again; no recording is touched.

Each repair works as one more writer: running recorders go on meanwhile, and if it dies, they put right what it left.
All raise `StorageError` when the disk refuses.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from app.store import scan
from app.store.errors import StorageError
from app.store.files import DurableFiles, wrap_os_errors
from app.store.latest import exclusive
from app.store.layout import Layout
from app.store.ledger import Ledger
from app.store.summary import Day

_LOCK_TIMEOUT_S = 5.0


@wrap_os_errors
def rebuild_summary(layout: Layout, date: str) -> None:
    """Write a day's journal and summary anew, from its files."""
    journal = layout.journal(date)
    if os.path.lexists(journal) and not os.path.isfile(journal):
        raise StorageError("the day's journal is no file", path=journal, hint="move it away")
    with writing(layout, f"daily/{date}") as files:
        day = Day(layout, files, date)
        day.rebuild()
        day.close()


@wrap_os_errors
def point_latest(layout: Layout) -> bool:
    """Make `latest` lead to the newest day that has records, wherever it led; without records there is none.

    Returns whether there is one.
    """
    latest = layout.latest
    with exclusive(f"{layout.state}/latest.lock", _LOCK_TIMEOUT_S):
        if os.path.lexists(latest) and not os.path.islink(latest):
            raise StorageError("latest is not a link", path=latest, hint="move it away")
        days = reversed(scan.days(layout))
        newest = next((day for day in days if any(scan.recording_names(layout, day))), None)
        if newest is None:
            with suppress(FileNotFoundError):
                os.unlink(latest)
            return False
        with writing(layout) as files:
            files.link(latest, layout.latest_target(newest))
    return True


@contextmanager
def writing(layout: Layout, *folders: str) -> Iterator[DurableFiles]:
    """A writer that lives for one change and has these folders open."""
    name = f"repair-{os.getpid()}-{secrets.token_hex(4)}"
    files = DurableFiles(layout.root, name)
    ledger = Ledger(layout.state, name)
    in_order = True  # also when the disk refuses: nothing is worse than before
    try:
        for folder in folders:
            ledger.note(folder)
        yield files
    except KeyboardInterrupt:
        in_order = False  # a temporary file may be left: it is swept as a dead writer's
        raise
    finally:
        files.close()
        ledger.close(in_order=in_order)
