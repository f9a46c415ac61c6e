"""What keeps a recorder from its work, or is behind: said once in the log, and there for whoever asks."""

from __future__ import annotations

import structlog
from redis.exceptions import BusyLoadingError, ConnectionError, RedisError, TimeoutError  # noqa: A004

from app.store.errors import StorageError

log = structlog.get_logger("recorder")


class Trouble:
    """The troubles of one recorder."""

    def __init__(self) -> None:
        self.waiting_for = ""
        """What keeps us from recording; empty when nothing does."""
        self.redis_is_away = False
        self._said: set[str] = set()
        """The kinds that were said since all was well."""
        self._behind: dict[str, str] = {}

    def wait_for(self, what: str, *, kind: str = "", **context: str | None) -> bool:
        """Note what we wait for, and say it, once of each kind; returns whether it is news."""
        self.waiting_for, self.redis_is_away = what, False
        news = (kind or what) not in self._said
        if news:
            log.error("waiting", reason=what, **{key: text for key, text in context.items() if text})
            self._said.add(kind or what)
        return news

    def wait_for_redis(self, error: RedisError, hint: str) -> None:
        """The same of Redis, whose errors have many words for one trouble, and may name a job."""
        kind = "away" if type(error) in (ConnectionError, TimeoutError, BusyLoadingError) else type(error).__name__
        self.wait_for(f"Redis: {error}", kind=f"Redis: {kind}", hint=hint)
        self.redis_is_away = True

    def over(self) -> None:
        """All is well."""
        if self.waiting_for:
            log.info("going on", after=self.waiting_for)
            self.waiting_for, self.redis_is_away = "", False
            self._said.clear()

    def report_behind(self, event: str, problem: StorageError | None) -> None:
        """Say once that something is behind while recording goes on, and why."""
        if problem is None:
            self._behind.pop(event, None)
        elif str(problem) != self._behind.get(event):
            log.warning(event, reason=problem.message, path=problem.path, hint=problem.hint)
            self._behind[event] = str(problem)
