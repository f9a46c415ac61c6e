"""What keeps a recorder from its work, or is behind: said once in the log, and there for whoever asks."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import structlog
from redis.exceptions import BusyLoadingError, ConnectionError, RedisError, TimeoutError  # noqa: A004

from app.store.errors import NoRoomError, StorageError

log = structlog.get_logger("recorder")


class Part(StrEnum):
    """What a recorder needs, and may have to wait for."""

    REDIS = "redis"
    QUEUE = "queue"
    OUTPUT = "output"
    DISK = "disk"
    LOOP = "loop"


@dataclass(frozen=True, slots=True)
class Wait:
    """A trouble that keeps a recorder from recording."""

    part: Part
    reason: str


class Trouble:
    """The troubles of one recorder."""

    def __init__(self) -> None:
        self.waiting: Wait | None = None
        """What keeps us from recording; None when nothing does."""
        self.reconnects = 0
        """How often Redis was away, and is back."""
        self._said: set[str] = set()
        """The kinds that were said since all was well."""
        self._behind: dict[str, str] = {}

    @property
    def waiting_for(self) -> str:
        """What keeps us from recording, in words; empty when nothing does."""
        waiting = self.waiting
        return waiting.reason if waiting else ""

    @property
    def redis_is_away(self) -> bool:
        """Whether it is Redis that we wait for."""
        waiting = self.waiting
        return waiting is not None and waiting.part is Part.REDIS

    def wait_for(self, what: str, part: Part, *, kind: str = "", **context: str | None) -> bool:
        """Note what we wait for, and say it, once of each kind; returns whether it is news."""
        if self.redis_is_away and part is not Part.REDIS:
            self.reconnects += 1
        self.waiting = Wait(part, what)
        news = (kind or what) not in self._said
        if news:
            log.error("waiting", reason=what, **{key: text for key, text in context.items() if text})
            self._said.add(kind or what)
        return news

    def wait_for_disk(self, error: StorageError) -> None:
        """The same of the disk, or of OUTPUT_DIR on it."""
        part = Part.DISK if isinstance(error, NoRoomError) else Part.OUTPUT
        self.wait_for(error.message, part, path=error.path, hint=error.hint)

    def wait_for_redis(self, error: RedisError, hint: str) -> None:
        """The same of Redis, whose errors have many words for one trouble, and may name a job."""
        kind = "away" if type(error) in (ConnectionError, TimeoutError, BusyLoadingError) else type(error).__name__
        self.wait_for(f"Redis: {error}", Part.REDIS, kind=f"Redis: {kind}", hint=hint)

    def over(self) -> None:
        """All is well."""
        if self.waiting:
            log.info("going on", after=self.waiting_for)
            self.reconnects += self.redis_is_away
            self.waiting = None
            self._said.clear()

    def report_behind(self, event: str, problem: StorageError | None) -> None:
        """Say once that something is behind while recording goes on, and why."""
        if problem is None:
            self._behind.pop(event, None)
        elif str(problem) != self._behind.get(event):
            log.warning(event, reason=problem.message, path=problem.path, hint=problem.hint)
            self._behind[event] = str(problem)
