"""What a recorder knows of itself: its loop and its pulse note it here, and its lease, metrics and health tell it.

Nothing here asks the disk or Redis: whoever wants to know is never kept waiting by what the recorder waits for.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from app.recorder.intake import QueueState
from app.recorder.trouble import Part, Trouble, Wait

STALLED_S = 10.0
"""A step of the loop that takes longer makes us unready: a disk that hangs gives no error."""

_RATE_S = 60
"""The rate is that of about so many seconds."""

_QUEUE_FRESH_S = 15.0
"""For so long what was last seen of the queue is told."""


@dataclass(slots=True)
class Vitals:
    """What one recorder knows of itself. One thread writes each field; any may read."""

    name: str = ""
    trouble: Trouble = field(default_factory=Trouble)
    endpoint: str | None = None
    """Where /metrics is served, as ``host:port``."""
    announced: bool = False
    """Whether Redis knows us."""
    step_began_at: float = field(default_factory=time.monotonic)
    recorded: int = 0
    """Results made durable and acknowledged."""
    last_success_at: float | None = None
    """When the last of them was, in seconds since 1970."""
    free_bytes: int | None = None
    proven_restore_at: float | None = None
    """When a restore was last proven by a drill, in seconds since 1970."""
    behind_since: float | None = None
    """Since when (monotonic) a summary has been out of date; None while none is."""
    _queue: tuple[float, QueueState] | None = None
    _recent: deque[tuple[float, int]] = field(
        default_factory=lambda: deque([(time.monotonic(), 0)], maxlen=_RATE_S + 1)
    )

    @property
    def waiting(self) -> Wait | None:
        """What the recorder waits for, be it said or seen; None while it records, or could."""
        said = self.trouble.waiting
        if said is not None:
            return said
        if self.stalled_s > STALLED_S:
            return Wait(Part.LOOP, "the disk, or Redis, doesn't answer")
        return None

    @property
    def ready(self) -> bool:
        """Whether it records, or could."""
        return self.announced and self.waiting is None

    @property
    def stalled_s(self) -> float:
        """For how long the loop has been at one step."""
        return time.monotonic() - self.step_began_at

    @property
    def summary_lag_s(self) -> float:
        """For how long a summary has been out of date."""
        since = self.behind_since
        return 0.0 if since is None else time.monotonic() - since

    @property
    def queue(self) -> QueueState | None:
        """What was seen of the queue within the last seconds."""
        seen = self._queue
        return seen[1] if seen and time.monotonic() - seen[0] < _QUEUE_FRESH_S else None

    def note_recorded(self, count: int) -> None:
        """So many results more are durable and acknowledged."""
        if count:
            self.recorded += count
            self.last_success_at = time.time()

    def note_dirty(self, dirty: bool) -> None:
        """A summary is out of date, or none is."""
        if not dirty:
            self.behind_since = None
        elif self.behind_since is None:
            self.behind_since = time.monotonic()

    def note_pulse(self, queue: QueueState) -> None:
        """A second has passed, and the queue looked like this."""
        self._queue = (time.monotonic(), queue)
        self._recent.append((time.monotonic(), self.recorded))

    def rate_per_s(self) -> float:
        """Results a second over the last minute; for the thread that calls `note_pulse`."""
        (first_at, first), (last_at, last) = self._recent[0], self._recent[-1]
        return (last - first) / max(last_at - first_at, 1e-9)

    def state(self) -> dict[str, Any]:
        """What the lease in Redis tells others."""
        waiting = self.waiting
        return {
            "waiting_for": waiting.reason if waiting else None,
            "metrics": self.endpoint,
            "recorded": self.recorded,
            "last_recorded": self.last_success_at,
            "rate": round(self.rate_per_s(), 2),
        }
