"""A job as RQ's own path sees it: its outcome is known, its payload stays in Redis, untouched and unread.

RQ would unpickle the payload to describe the job, and import whatever callbacks it names. Here it can do neither.
"""

from __future__ import annotations

import inspect
import json
import pickle
from collections.abc import Callable
from functools import wraps
from typing import Any, ClassVar

from redis import Redis
from redis.exceptions import RedisError
from rq.job import Job, JobStatus

from app.recorder.decode import RECORD_FUNCTION, loads
from app.recorder.intake import TakenJob


class CallbackError(Exception):
    """A callback's own Redis failed, which says nothing of ours."""


class PickleData:
    """RQ's pickle serializer, reading only data."""

    loads = staticmethod(loads)

    @staticmethod
    def dumps(value: Any) -> bytes:
        """Pickle a value of ours."""
        return pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)


class JSONData:
    """RQ's JSON serializer."""

    loads = staticmethod(loads)

    @staticmethod
    def dumps(value: Any) -> bytes:
        """Encode a value of ours."""
        return json.dumps(value).encode()


class RecordedJob(Job):
    """A job whose work is done: performing it returns, or raises, what came of it."""

    allowed_callbacks: ClassVar[frozenset[str]] = frozenset()
    """Dotted names of callbacks, and webhook URLs, that the operator lets jobs use."""

    outcome: Callable[[], Any]

    @classmethod
    def of(cls, taken: TakenJob, connection: Redis, queue: str, json_serializer: bool) -> RecordedJob:
        """The job in hand. A hash that RQ can't read is reduced to what it takes to fail the job."""
        job = cls(connection=connection, serializer=JSONData if json_serializer else PickleData)
        job._id = taken.id  # older clients allow ids that RQ 3 refuses to make
        try:
            job.restore(taken.fields)
        except Exception:  # noqa: BLE001 - any field may hold anything
            job.restore({b"status": JobStatus.QUEUED.value.encode()})
        job.origin = queue
        return job

    def restore(self, raw_data: dict[bytes, bytes]) -> Any:
        """Read the job's fields but not its payload, which may be hostile, or huge once unpacked."""
        super().restore({**raw_data, b"data": b""})
        self._func_name, self._instance, self._args, self._kwargs = RECORD_FUNCTION, None, (), {}

    def to_dict(self, include_meta: bool = True, include_result: bool = True) -> dict[str, Any]:
        """The fields to save: what we didn't read stays as it is in Redis."""
        fields = super().to_dict(include_meta=False, include_result=include_result)
        del fields["data"]
        return fields

    def perform(self) -> Any:
        """Return or raise the job's outcome."""
        return self.outcome()

    @property
    def success_callback(self) -> Any:
        """The success callback, if the operator allows it."""
        if self._success_callback_name not in self.allowed_callbacks:
            return None
        return _contained(super().success_callback)

    @property
    def failure_callback(self) -> Any:
        """The failure callback, if the operator allows it."""
        return super().failure_callback if self._failure_callback_name in self.allowed_callbacks else None

    def send_webhooks(self, status: str | JobStatus, *, exc_string: str | None = None) -> None:
        """Send those webhooks that the operator allows."""
        self.webhooks = [webhook for webhook in self.webhooks if webhook.url in self.allowed_callbacks]
        super().send_webhooks(status, exc_string=exc_string)

    @property
    def refused_callbacks(self) -> list[str]:
        """What the job names and the operator doesn't allow."""
        named = [self._success_callback_name, self._failure_callback_name, *(hook.url for hook in self.webhooks)]
        return [name for name in named if name and name not in self.allowed_callbacks]


def _contained(callback: Callable[..., Any] | None) -> Callable[..., Any] | None:
    if callback is None or inspect.iscoroutinefunction(callback):
        return callback  # RQ refuses a coroutine

    @wraps(callback)
    def contained(*args: Any) -> None:
        try:
            callback(*args)
        except RedisError as error:
            raise CallbackError(f"{type(error).__name__}: {error}") from error

    return contained
