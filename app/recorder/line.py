"""A line to Redis on which scripts are called now, and their answers read when we come for them.

Meanwhile Redis works, and so do we. A call that was lost, or refused, is made again in the ordinary way: so this is for
scripts that may be repeated.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from redis import Redis
from redis.commands.core import Script
from redis.connection import Connection
from redis.exceptions import ConnectionError, RedisError, ResponseError  # noqa: A004


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """A script's call on its way."""

    script: Script
    keys: Sequence[str]
    args: Sequence[Any]


class Line:
    """Calls that are answered in the order in which they were made. Not for several threads."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._pool = client.connection_pool
        self._connection: Connection | None = None
        self._unanswered: deque[Call] = deque()
        self._known: set[str] = set()
        """Scripts that Redis has been told; if it has forgotten them since, each is told again by its next call."""

    def call(self, script: Script, keys: Sequence[str], args: Sequence[Any]) -> Call:
        """Have Redis run a script, after those called before it. Raises nothing of Redis': `answer` does."""
        call = Call(script, keys, args)
        try:
            if script.sha not in self._known:
                self._client.script_load(script.script)
                self._known.add(script.sha)
            if self._connection is None:
                self._connection = self._pool.get_connection()
            send: Callable[..., None] = self._connection.send_command
            # A health check would take an answer that is on its way for its own.
            send("EVALSHA", script.sha, len(keys), *keys, *args, check_health=not self._unanswered)
            self._unanswered.append(call)
        except RedisError:
            self.hang_up()
        return call

    def answer(self, call: Call) -> Any:
        """What a script has returned. Raises redis-py's errors: when Redis says nothing in time, else once the call was
        made again in vain. The answers of calls before it are lost, if nobody has read them.
        """
        while call in self._unanswered and self._connection is not None:
            first = self._unanswered.popleft()
            try:
                answer = self._connection.read_response()
            except ResponseError:  # perhaps only that Redis doesn't know the script any more
                continue
            except ConnectionError:
                self.hang_up()
            except BaseException:  # a TimeoutError too: whoever calls would only wait for longer
                self.hang_up()
                raise
            else:
                if first is call:
                    self._release()
                    return answer
        self._release()
        return call.script(call.keys, call.args)

    def hang_up(self) -> None:
        """Give up the connection. Calls that weren't answered are made again when they are to be."""
        self._unanswered.clear()
        if self._connection is not None:
            disconnect: Callable[[], None] = self._connection.disconnect
            disconnect()
            self._release()

    def _release(self) -> None:
        if self._connection is not None and not self._unanswered:
            self._pool.release(self._connection)
            self._connection = None
