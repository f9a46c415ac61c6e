"""What has failed: the jobs in RQ's registry of failed jobs and those in quarantine, seen together. It only reads.

RQ's own ways of looking at a registry also clean it up. Here it is read as it is, a page at a time, and a payload only
when it is asked for. What was requeued (see requeue) has a note in Redis and no longer counts as failed.
"""

from __future__ import annotations

import base64
import heapq
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from os import fsencode
from os.path import basename, lexists
from typing import Any, cast

from redis import Redis
from redis.exceptions import RedisError, ResponseError
from rq.defaults import RQ_KEY_PREFIX
from rq.job import Job, JobStatus
from rq.registry import FailedJobRegistry

from app.recorder.quarantine import Kept, kept_files, look
from app.store.layout import Layout
from app.store.timestamps import parse_timestamp

GONE = ""
"""The status of a job that isn't in Redis."""

NO_JOB = "not a job"
"""The status where a job's key holds something else."""

_FAILED = {JobStatus.FAILED.value, JobStatus.STOPPED.value}
_ALIVE = {status.value for status in JobStatus} - _FAILED

_FIELDS = ["status", "ended_at", "exc_info", "rate_limit_key"]
_RESULTS = f"{RQ_KEY_PREFIX}:results:".encode()
_PAGE = 500
_MOST_REASON_BYTES = 64 * 1024
_KEPT_IN = re.compile(r"kept in .*/(\d{4}-\d{2}-\d{2})/([^/\n]+\.json)\s*$")
"""The end of the reason with which the recorder fails a job."""

_EARLIEST = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class InRedis:
    """What Redis knows of a job."""

    status: str
    registered: bool = False
    """Whether it is in the registry of failed jobs."""
    reason: str | None = None
    at: datetime | None = None
    payload_bytes: int = 0
    rate_limited: bool = False

    @property
    def kept_in(self) -> tuple[str, str] | None:
        """The date and the name of the quarantine file that its reason names."""
        match = _KEPT_IN.search(self.reason or "")
        return None if match is None else (match[1], match[2])

    @property
    def failed(self) -> bool:
        """Whether RQ holds it for failed."""
        return self.status in _FAILED or (self.registered and self.status not in _ALIVE)

    @property
    def alive(self) -> bool:
        """Whether it waits, runs, or has been done since."""
        return self.status in _ALIVE


@dataclass(frozen=True, slots=True)
class Failure:
    """A job that failed."""

    job_id: str
    redis: InRedis | None
    """None where Redis wasn't asked."""
    kept: Kept | None
    """Its file in quarantine, where that is known."""
    kept_name: str | None = None
    """The name of that file, which may lie elsewhere."""
    requeued: bool = False
    """Whether it was requeued after that file was written, and hasn't failed again."""

    @property
    def from_redis(self) -> bool:
        """Whether Redis still has what it takes to requeue it."""
        return self.redis is not None and self.redis.failed and self.redis.payload_bytes > 0

    @property
    def alive(self) -> bool:
        """Whether its job waits, runs, or has been done since."""
        return self.redis is not None and self.redis.alive

    @property
    def registered(self) -> bool:
        """Whether it is among the failed jobs that RQ's registry holds."""
        return self.redis is not None and self.redis.registered and not self.redis.alive

    @property
    def damaged(self) -> bool:
        """Whether its file can't be used."""
        return self.kept is not None and self.kept.damage is not None

    @property
    def where(self) -> str:
        """Where it is found."""
        if self.kept is None:
            return "redis"
        return "both" if self.redis is not None and self.redis.failed and self.redis.status != GONE else "quarantine"

    @property
    def reason(self) -> str:
        """Why it failed."""
        if self.redis is not None and self.redis.failed and self.redis.reason:
            return self.redis.reason
        if self.kept is not None:
            return self.kept.reason
        gone = self.redis is not None and self.redis.status == GONE
        return "expired in Redis; only its id is left" if gone else "Redis has no reason"

    @property
    def at(self) -> datetime | None:
        """When it failed."""
        if self.redis is not None and self.redis.failed and self.redis.at:
            return self.redis.at
        return self.kept.at if self.kept is not None else None


@dataclass(slots=True)
class Totals:
    """How many there are. A job that is in both places counts in both."""

    in_redis: int = 0
    in_quarantine: int = 0
    requeued: int = 0
    """Files of jobs that were requeued; not among those in quarantine."""
    damaged: int = 0
    matching: int = 0
    """How many jobs were asked for."""


Matches = Callable[[Failure], bool]


class Failures:
    """The failed jobs of one queue and one OUTPUT_DIR. Methods may raise redis-py's errors."""

    def __init__(self, connection: Redis | None, queue: str, layout: Layout) -> None:
        self._connection = connection
        self._layout = layout
        self.registry_key = FailedJobRegistry.key_template.format(queue)
        self.requeued_key = f"{RQ_KEY_PREFIX}:recorder:{queue}:requeued"
        """Of each quarantine file that was requeued, by its name, when."""

    def newest(self, limit: int, matches: Matches) -> tuple[list[Failure], Totals]:
        """The newest that match, newest last, and how many there are; holds no more than these in memory."""
        totals = Totals()
        named: set[str | None] = set()
        in_redis = heapq.nlargest(limit, self._counted_in_redis(totals, matches, named), key=_time)
        kept = heapq.nlargest(limit, self._counted_in_quarantine(totals, matches, named), key=_time)
        newest = sorted(_joined(in_redis, kept), key=_time)
        return newest[len(newest) - min(limit, len(newest)) :], totals

    def in_redis(self) -> Iterator[Failure]:
        """The jobs in RQ's registry, in no order."""
        if self._connection is None:
            return
        cursor = 0
        while True:
            page: Any = self._connection.zscan(self.registry_key, cursor, count=_PAGE)
            cursor, entries = page
            ids = [job_id.decode("utf-8", "surrogateescape") for job_id, _ in entries]
            for job_id, known in zip(ids, self._known(ids), strict=True):
                if not known.alive:
                    yield self._failure(job_id, known)
            if cursor == 0:
                return

    def in_quarantine(self, job_id: str | None = None) -> Iterator[Failure]:
        """The files in quarantine, those too that were requeued, oldest date first; with an id, that job's."""
        files = kept_files(self._layout, job_id)
        while page := list(islice(files, _PAGE)):
            known: Sequence[InRedis | None] = self._known([kept.job_id for kept in page]) or [None] * len(page)
            for kept, in_redis, requeued_at in zip(page, known, self._requeued(page), strict=True):
                failure = Failure(kept.job_id, in_redis, kept, kept.name)
                requeued = requeued_at >= kept.modified_at and not failure.damaged
                yield replace(failure, requeued=requeued and not _failed_again(kept, in_redis))

    def of(self, job_id: str) -> list[Failure]:
        """What is known of one job: in Redis first, then its files in quarantine, the newest first."""
        found: list[Failure] = []
        if self._connection is not None:
            (known,) = self._known([job_id])
            if known.status != GONE or known.registered:
                failure = self._failure(job_id, known)
                found.append(replace(failure, kept=failure.kept and look(failure.kept.path)))
        kept = sorted(self.in_quarantine(job_id=job_id), key=_time, reverse=True)
        return _joined(found, kept)

    def foreign_name(self, failure: Failure) -> str | None:
        """The name of a job's file where it isn't named after the job: that of a result whose place was taken."""
        name = failure.kept_name
        if name is None:
            return None
        stem = basename(self._layout.quarantine("", failure.job_id, "")).removesuffix(".json")
        return None if name.startswith(stem) else name

    def payload_in_redis(self, job_id: str) -> bytes | None:
        """A job's payload."""
        return cast("bytes | None", self._connection and self._connection.hget(job_key(job_id), "data"))

    def fields(self, job_id: str) -> dict[bytes, bytes]:
        """A job's fields, but for its payload and its reason."""
        if self._connection is None:
            return {}
        names = [*set(cast(list[bytes], self._connection.hkeys(job_key(job_id)))) - {b"data", b"exc_info"}]
        values = cast(list[bytes], self._connection.hmget(job_key(job_id), names)) if names else []
        return dict(zip(names, values, strict=True))

    def _failure(self, job_id: str, known: InRedis) -> Failure:
        if known.kept_in is None:
            return Failure(job_id, known, None)
        date, name = known.kept_in
        path = f"{self._layout.quarantined}/{date}/{name}"
        kept = Kept(path, job_id, known.reason or "", known.at) if lexists(path) else None
        return Failure(job_id, known, kept, name)

    def _counted_in_redis(self, totals: Totals, matches: Matches, named: set[str | None]) -> Iterator[Failure]:
        for failure in self.in_redis():
            totals.in_redis += 1
            if matches(failure):
                named.add(self.foreign_name(failure))
                totals.matching += 1
                yield failure

    def _counted_in_quarantine(self, totals: Totals, matches: Matches, named: set[str | None]) -> Iterator[Failure]:
        for failure in self.in_quarantine():
            totals.requeued += failure.requeued
            if not failure.requeued:
                totals.in_quarantine += 1
                totals.damaged += failure.damaged
                if matches(failure):
                    totals.matching += not (failure.registered or failure.kept_name in named)
                    yield failure

    def _known(self, job_ids: Sequence[str]) -> list[InRedis]:
        """What Redis knows of each job; nothing where there is no Redis."""
        if self._connection is None:
            return []
        with self._connection.pipeline(transaction=False) as pipeline:
            for job_id in job_ids:
                pipeline.hmget(job_key(job_id), _FIELDS)
                pipeline.hstrlen(job_key(job_id), "data")
                pipeline.xrevrange(_RESULTS + member(job_id), count=1)
                pipeline.zscore(self.registry_key, member(job_id))
            answers = iter(pipeline.execute(raise_on_error=False))
        return [_in_redis(*four) for four in zip(answers, answers, answers, answers, strict=True)]

    def _requeued(self, page: Sequence[Kept]) -> list[float]:
        """When each file was requeued, in seconds since 1970; 0 where it wasn't."""
        if self._connection is None:
            return [0.0] * len(page)
        times = cast(
            "list[bytes | None]", self._connection.hmget(self.requeued_key, [fsencode(kept.name) for kept in page])
        )
        return [float(time) if time else 0.0 for time in times]


def member(job_id: str) -> bytes:
    """An id's bytes, as Redis has them."""
    try:
        return job_id.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # no id in Redis reads so, but a file may say anything
        return job_id.encode("utf-8", "surrogatepass")


def job_key(job_id: str) -> bytes:
    """The key of a job's hash."""
    return Job.redis_job_namespace_prefix.encode() + member(job_id)


def _in_redis(fields: Any, payload_bytes: Any, results: Any, score: Any) -> InRedis:
    for answer in (fields, payload_bytes, results, score):
        if isinstance(answer, RedisError) and not str(answer).startswith("WRONGTYPE"):
            raise answer
    registered = isinstance(score, float)
    if isinstance(fields, ResponseError):
        return InRedis(NO_JOB, registered)
    status, ended_at, exc_info, rate_limit = fields
    if status is None:
        status = b"unknown" if payload_bytes else GONE.encode()
    at, reason = parse_timestamp(_text(ended_at)), _unpacked(exc_info)
    if isinstance(results, list) and results:
        entry, said = results[0]
        at = parse_timestamp(int(entry.split(b"-")[0]) / 1000) or at
        reason = _reason(said.get(b"exc_string")) or reason
    return InRedis(_text(status), registered, reason, at, payload_bytes, bool(rate_limit))


def _failed_again(kept: Kept, redis: InRedis | None) -> bool:
    """Whether the job of a file that was requeued has failed again, with the same payload as far as is known."""
    if redis is None or not redis.registered or redis.alive:
        return False
    return redis.kept_in is None or redis.kept_in[1] == kept.name


def _reason(packed: bytes | None) -> str:
    try:
        return _unpacked(base64.b64decode(packed or b"", validate=True))
    except ValueError:
        return ""


def _unpacked(packed: bytes | None) -> str:
    """A text as RQ packs it, the beginning of a very long one."""
    if not packed:
        return ""
    try:
        return _text(zlib.decompressobj().decompress(packed, _MOST_REASON_BYTES))
    except zlib.error:
        return _text(packed)


def _text(raw: bytes | None) -> str:
    return (raw or b"").decode("utf-8", "replace")


def _time(failure: Failure) -> datetime:
    return failure.at or _EARLIEST


def _joined(in_redis: Sequence[Failure], kept: Sequence[Failure]) -> list[Failure]:
    """All of these, each file beside its job."""
    joined = list(in_redis)
    by_name: dict[str | None, int] = {
        failure.kept_name: index for index, failure in enumerate(joined) if failure.kept_name
    }
    by_id = {failure.job_id: index for index, failure in enumerate(joined) if not failure.kept_name}
    for failure in kept:
        index = by_name.pop(failure.kept_name, None)
        if index is None:
            index = by_id.pop(failure.job_id, None)
        if index is None:
            joined.append(failure)
        else:
            joined[index] = replace(joined[index], kept=failure.kept, kept_name=failure.kept_name)
    return joined
