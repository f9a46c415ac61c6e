"""When a restore was last proven: noted where a recorder's metrics, or Prometheus's node exporter, read it."""

from __future__ import annotations

import re

from app.store.files import DurableFiles
from app.store.layout import Layout
from app.store.plain import read_plain

METRIC = "recorder_proven_restore_timestamp_seconds"
HELP = "When a restore was last proven by a drill"
_TEXT = f"# HELP {METRIC} {HELP}\n# TYPE {METRIC} gauge\n{METRIC} "


def note_proven_restore(layout: Layout, files: DurableFiles, at: float) -> None:
    """A drill has ended well, so many seconds after 1970."""
    files.write(layout.proven_restore, f"{_TEXT}{at:.0f}\n".encode())


def proven_restore_at(layout: Layout) -> float | None:
    """When the last one did."""
    try:
        found = re.search(rf"^{METRIC} (\d+)$", read_plain(layout.proven_restore)[0].decode(), re.MULTILINE)
    except (OSError, ValueError):
        return None
    return float(found[1]) if found else None
