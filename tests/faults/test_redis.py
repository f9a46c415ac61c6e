"""Redis away, stuck, full, read-only, closed, flushed, and cut off at any point of any exchange: nothing is lost.

The recorders are processes of their own and the servers real; see servers and proxy.
"""

from __future__ import annotations

import hashlib
import random
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from redis import Redis
from redis.exceptions import ExecAbortError, OutOfMemoryError
from rq import Callback, Queue, Repeat
from rq.job import Job, JobStatus
from rq.registry import FailedJobRegistry, StartedJobRegistry
from rq.timeouts import TimerDeathPenalty
from rq.utils import now

from app.recorder import bookkeeping, intake
from app.recorder.client import connect, enqueue_result, recorders
from app.recorder.decode import RECORD_FUNCTION
from tests.faults.proxy import Fault, Proxy, Where
from tests.faults.servers import Recorder, RedisServer, note_success, recorder, redis_of_our_own
from tests.recording import (
    assert_nothing_is_left_over,
    assert_summaries_are_exact,
    eventually,
    finished,
    recordings,
    result,
)

SCRIPTS = {
    hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest(): name
    for name, text in {
        "take": intake._TAKE,
        "give_back": intake._GIVE_BACK,
        "postpone": intake._POSTPONE,
        "renew": intake._RENEW,
        "take_back": intake._TAKE_BACK,
        "finish": bookkeeping._FINISH,
    }.items()
}
CALLBACK = f"{note_success.__module__}.{note_success.__name__}"
AOF = ("--appendonly", "yes", "--appendfsync", "no")  # what Redis has said yes to outlives it, if not the host


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_of_our_own(tmp_path / "redis", *AOF) as server:
        yield server


@pytest.fixture
def direct(server: RedisServer) -> Iterator[Redis]:
    """Our own connection to the server."""
    with connect(server.url, retries=20) as connection:
        yield connection


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out"


def enqueue(connection: Redis, count: int, name: str = "j", **fields: Any) -> list[Job]:
    return [enqueue_result(result(f"{name}{number}", **fields), connection=connection) for number in range(count)]


def number_finished(connection: Redis) -> int:
    return int(connection.zcard("rq:finished:recorder"))


def info(connection: Redis, section: str) -> dict[str, Any]:
    return dict(connection.info(section))


def ask(connection: Redis, *words: str | int) -> Any:
    """Send a command that redis-py has no method for."""
    return connection.execute_command(*words)  # type: ignore[no-untyped-call]


def wait_until_finished(jobs: list[Job], timeout_s: float = 60) -> None:
    for job in jobs:
        eventually(lambda job=job: finished(job), timeout_s)  # type: ignore[misc]


def assert_each_recorded_once(output: Path, names: set[str]) -> None:
    found = [content["job_id"] for content in recordings(output).values()]
    assert sorted(found) == sorted(names)
    assert not list(output.rglob("superseded"))
    assert_summaries_are_exact(output)


def assert_all_well(output: Path, connection: Redis, jobs: list[Job]) -> None:
    """After the recorder was stopped: every job finished, with one file each, and nothing failed or in hand."""
    assert all(finished(job) for job in jobs)
    assert connection.zcard("rq:failed:recorder") == 0
    assert_each_recorded_once(output, {job.args[0]["job_id"] for job in jobs})
    assert_nothing_is_left_over(output, connection)


KINDS = ("plain jobs", "a callback", "a job that can't be recorded", "a repeating job", "dependents")


class Load:
    """One batch: two plain jobs, and between them what its kind says."""

    def __init__(self, name: str, queue: Queue, kind: str) -> None:
        self.name, self.queue = name, queue
        self.good: dict[str, Job] = {}
        """Jobs that shall be finished, by the job_id of their results."""
        self.bad = self.repeating = self.dependent = None
        self._prepared = list[Job]()
        self._good("plain1")
        if kind == "a callback":
            self._good("callback", on_success=Callback(CALLBACK))
        elif kind == "a job that can't be recorded":
            self.bad = self._prepare({"no": "job_id", "name": self.name})
        elif kind == "a repeating job":
            self.repeating = self._prepare(result(f"{name}-repeating"), repeat=Repeat(times=1, interval=3600))
        elif kind == "dependents":
            self._good("first")
            first, second = self.good[f"{name}-first"], f"{name}-second"
            self.dependent = Queue("other", connection=queue.connection).enqueue("some.function", depends_on=first)
            self.good[second] = queue.enqueue(RECORD_FUNCTION, result(second), depends_on=first)
        self._good("plain2")

    @property
    def names(self) -> set[str]:
        return {*self.good, *([f"{self.name}-repeating"] if self.repeating else [])}

    def enqueue(self) -> None:
        """All in one step, so that they come as one batch."""
        self.queue.connection.rpush(self.queue.key, *(job.id for job in self._prepared))

    def problems(self) -> list[str]:
        """What is not, or not yet, as it must be when all are done."""
        found = [f"{name} is {job.get_status()}" for name, job in self.good.items() if not finished(job)]
        in_hand = self.queue.connection.keys("rq:recorder:recorder:taken:*")
        return [*found, *self._problems_of_its_kind(), *([f"in hand: {in_hand!r}"] if in_hand else [])]

    def _problems_of_its_kind(self) -> Iterator[str]:
        connection = self.queue.connection
        if self.bad is not None:
            if self.bad.get_status() != "failed" or "no job_id" not in reason(self.bad):
                yield f"the bad one is {self.bad.get_status()}: {reason(self.bad)}"
            if self.bad.id not in failed(self.queue):
                yield "the bad one is not in the failed registry"
        if self.repeating is not None and (
            self.repeating.get_status() != "scheduled"
            or connection.zscore("rq:scheduled:recorder", self.repeating.id) is None
            or connection.ttl(self.repeating.key) != -1
        ):
            yield f"the repeating one is {self.repeating.get_status()}, to live {connection.ttl(self.repeating.key)} s"
        if self.dependent is not None:
            waiting = cast(list[bytes], connection.lrange("rq:queue:other", 0, -1))
            if (times := waiting.count(self.dependent.id.encode())) != 1:
                yield f"the dependent is {self.dependent.get_status()}, {times} times in its queue"
        callback = self.good.get(f"{self.name}-callback")
        if callback is not None and not connection.exists(f"called:{callback.id}"):
            yield "the callback was not called"

    def _good(self, kind: str, **options: Any) -> None:
        name = f"{self.name}-{kind}"
        self.good[name] = self._prepare(result(name), **options)

    def _prepare(self, data: dict[str, Any], **options: Any) -> Job:
        job = self.queue.create_job(RECORD_FUNCTION, args=(data,), status=JobStatus.QUEUED, **options)
        job.enqueued_at = now()
        job.save()
        self._prepared.append(job)
        return job


def reason(job: Job) -> str:
    latest = job.latest_result()
    return str(latest.exc_string) if latest is not None else ""


def failed(queue: Queue) -> list[str]:
    return FailedJobRegistry(queue=queue).get_job_ids(cleanup=False)


@dataclass
class Cutting:
    """A recorder behind a proxy, which gets one load after another, each cut somewhere."""

    proxy: Proxy
    recorder: Recorder
    connection: Redis
    output: Path
    loads: list[Load] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.queue = Queue("recorder", connection=self.connection)

    def record(self, kind: str, fault: Fault | None = None) -> list[tuple[str, int]]:
        """Let a load be recorded, with a fault; returns the loop's exchanges: name, and which of that name it was."""
        load = Load(f"load{len(self.loads)}", self.queue, kind)
        self.loads.append(load)
        began, said = len(self.proxy.exchanges), len(self.recorder.events("waiting"))
        over = len(self.recorder.events("going on"))
        self.proxy.fault = fault
        load.enqueue()
        if fault is not None:
            assert fault.struck.wait(60), fault
            if fault.outage:
                self.recorder.says("waiting", said + 1)
                self.proxy.restore()
                self.recorder.says("going on", over + 1)
        try:
            eventually(lambda: not load.problems(), 60 if fault and fault.where is Where.SILENT else 10)
        except AssertionError:
            raise AssertionError(f"{fault}: {load.problems()}") from None
        names = [name for name in self.proxy.exchanges[began:] if name not in PULSE + HANDSHAKE + OF_THE_CALLBACK]
        return [(name, names[: place + 1].count(name)) for place, name in enumerate(names)]

    def finish(self) -> None:
        """Stop the recorder; and all must be well."""
        self.recorder.stop()
        started = StartedJobRegistry(queue=self.queue, death_penalty_class=TimerDeathPenalty)
        started.cleanup(timestamp=time.time() + 10**9)  # as any worker's maintenance does some day
        assert sorted(failed(self.queue)) == sorted(load.bad.id for load in self.loads if load.bad)
        assert not [problem for load in self.loads for problem in load.problems()]
        assert_each_recorded_once(self.output, {name for load in self.loads for name in load.names})
        assert_nothing_is_left_over(self.output, self.connection)


@contextmanager
def cutting(tmp_path: Path) -> Iterator[Cutting]:
    with ExitStack() as stack:
        server = stack.enter_context(redis_of_our_own(tmp_path / "redis"))
        proxy = stack.enter_context(Proxy(server.port, SCRIPTS))
        running = stack.enter_context(recorder(proxy.url, tmp_path / "out", RECORDER_ALLOWED_CALLBACKS=CALLBACK))
        connection = stack.enter_context(connect(server.url))
        running.says("ready")
        yield Cutting(proxy, running, connection, tmp_path / "out")


PULSE = ("renew", "take_back", "HSET EXPIRE EXPIRE HSET")
OF_THE_CALLBACK = ("INCRBY",)  # where its own Redis fails it, RQ fails the job, as for any other error of a callback
HANDSHAKE = ("PING", "HELLO", "CLIENT", "SCRIPT", "SUBSCRIBE", "EXISTS", "INFO", "AUTH", "SELECT")
DECISIVE = re.compile("take|finish|.*(XADD|RPUSH|LREM HDEL)|HSET$|WATCH$")
"""The names of exchanges whose failure could change what becomes of a job."""

GIVEN_UP = 2
"""Times that an exchange is cut so that the recorder's client, which tries it twice, gives up."""

of_kinds = pytest.mark.parametrize("kind", KINDS)


@of_kinds
def test_a_decisive_exchange_that_fails_for_good_fails_no_job_and_each_is_recorded_once(
    tmp_path: Path, kind: str
) -> None:
    with cutting(tmp_path) as cut:
        names = dict.fromkeys(name for name, _ in cut.record(kind) if DECISIVE.match(name))
        for name in names:
            for where in (Where.BEFORE, Where.AFTER):
                cut.record(kind, Fault(where, matches=name.__eq__, times=GIVEN_UP))
        cut.finish()


def sweep(tmp_path: Path, kind: str, **fault: Any) -> None:
    """Cut each exchange that it takes to record a load, at each of its points."""
    with cutting(tmp_path) as cut:
        cut.record(kind)  # which loads the scripts
        for name, nth in cut.record(kind):
            for where in (Where.BEFORE, Where.IN_REQUEST, Where.AFTER, Where.IN_REPLY):
                cut.record(kind, Fault(where, nth, name.__eq__, reset=len(cut.loads) % 2 == 0, **fault))
        cut.finish()


@pytest.mark.faults
@of_kinds
def test_one_cut_anywhere_fails_no_job_and_each_is_recorded_once(tmp_path: Path, kind: str) -> None:
    sweep(tmp_path, kind)


@pytest.mark.faults
@of_kinds
def test_cuts_until_the_client_gives_up_fail_no_job_and_each_is_recorded_once(tmp_path: Path, kind: str) -> None:
    sweep(tmp_path, kind, times=GIVEN_UP)


@pytest.mark.faults
@of_kinds
def test_an_outage_that_begins_anywhere_fails_no_job_and_each_is_recorded_once(tmp_path: Path, kind: str) -> None:
    sweep(tmp_path, kind, outage=True)


ERRORS = (
    "OOM command not allowed when used memory > 'maxmemory'.",
    "READONLY You can't write against a read only replica.",
    "MISCONF Errors writing to the AOF file: No space left on device",
    "NOREPLICAS Not enough good replicas to write.",
    "NOPERM this user has no permissions to run the 'zadd' command",
    "LOADING Redis is loading the dataset in memory",
    "BUSY Redis is busy running a script.",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "NOAUTH Authentication required.",
)


@pytest.mark.parametrize("kind", ["a callback", "a job that can't be recorded"])
def test_a_redis_that_refuses_at_present_fails_no_job(tmp_path: Path, kind: str) -> None:
    with cutting(tmp_path) as cut:
        names = dict.fromkeys(name for name, _ in cut.record(kind) if name == "HSET" or "XADD" in name)
        for error in ERRORS:
            for name in names:
                cut.record(kind, Fault(Where.REFUSED, matches=name.__eq__, times=GIVEN_UP, error=error))
        cut.finish()


@pytest.mark.parametrize("where", [Where.BEFORE, Where.AFTER, pytest.param(Where.SILENT, marks=pytest.mark.faults)])
def test_a_cut_of_the_pulse_ends_no_lease_for_good(tmp_path: Path, where: Where) -> None:
    with cutting(tmp_path) as cut:
        for name in PULSE:
            cut.record("plain jobs", Fault(where, matches=name.__eq__, times=1 if where is Where.SILENT else GIVEN_UP))
        began = len(cut.proxy.exchanges)
        eventually(lambda: set(PULSE) <= set(cut.proxy.exchanges[began:]))
        (known,) = recorders(cut.connection)
        assert known.pid == cut.recorder.process.pid
        cut.finish()


@pytest.mark.faults
@pytest.mark.parametrize("name", ["take", "BLMOVE", "finish", "MULTI LREM HDEL EXEC"])
def test_a_reply_that_never_comes_is_not_awaited_for_ever(tmp_path: Path, name: str) -> None:
    with cutting(tmp_path) as cut:
        cut.record("a callback", Fault(Where.SILENT, matches=name.__eq__))
        cut.finish()


START = ("renew", "take_back", "INFO", "MULTI DEL HSET SADD SADD EXPIRE EXEC", "SUBSCRIBE", "HELLO", "take", "BLMOVE")
IN_DEFAULT_RUNS = {("renew", Where.BEFORE), (START[3], Where.AFTER)}


@pytest.mark.parametrize(
    ("name", "where"),
    [
        pytest.param(name, where, marks=() if (name, where) in IN_DEFAULT_RUNS else pytest.mark.faults)
        for name in START
        for where in (Where.BEFORE, Where.AFTER)
    ],
)
def test_a_recorder_cut_off_while_it_starts_is_known_once_and_records(
    server: RedisServer, direct: Redis, output: Path, name: str, where: Where
) -> None:
    with Proxy(server.port, SCRIPTS) as proxy:
        proxy.fault = Fault(where, matches=name.__eq__, outage=True)
        with recorder(proxy.url, output) as running:
            running.says("waiting")
            proxy.restore()
            running.says("going on")
            jobs = enqueue(direct, 3)
            wait_until_finished(jobs)
            running.says("ready")
            (known,) = recorders(direct)
            assert direct.smembers("rq:workers") == {f"rq:worker:{known.name}".encode()}
            running.stop()
    assert not direct.smembers("rq:workers")
    assert_all_well(output, direct, jobs)


@pytest.mark.faults
def test_a_slow_network_changes_nothing(tmp_path: Path) -> None:
    with cutting(tmp_path) as cut:
        cut.proxy.byte_delay_s = 0.0002
        for kind in KINDS:
            cut.record(kind)
        cut.proxy.byte_delay_s = 0
        cut.finish()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["restarted", "killed and started"])
def test_a_redis_that_is_gone_under_load_is_awaited_and_all_that_it_still_has_is_recorded_once(
    server: RedisServer, direct: Redis, output: Path, number: int
) -> None:
    jobs = enqueue(direct, 400)
    with recorder(server.url, output, RECORDER_BATCH_SIZE="5") as running:
        eventually(lambda: number_finished(direct))
        server.end(number)
        running.says("waiting")
        server.start()
        wait_until_finished(jobs)
        running.says("going on")
        running.stop()
    assert_all_well(output, direct, jobs)


def test_a_redis_that_is_loading_its_data_is_awaited(server: RedisServer, direct: Redis, output: Path) -> None:
    jobs = enqueue(direct, 10)
    noise = random.Random(0)
    for number in range(100):  # while it loads, Redis answers every 2 MiB
        direct.set(f"filler{number}", noise.randbytes(300_000))
    direct.bgrewriteaof()
    eventually(lambda: info(direct, "persistence")["aof_last_rewrite_time_sec"] >= 0)
    server.end(signal.SIGTERM)
    with recorder(server.url, output) as running:
        running.says("waiting")
        server.start("--key-load-delay", "50000")  # microseconds
        assert server.answer().startswith(b"-LOADING")
        wait_until_finished(jobs)
        running.says("going on")
        running.stop()
    assert_all_well(output, direct, jobs)


def test_a_redis_that_is_frozen_for_longer_than_its_leases_fails_no_job_and_each_is_recorded_once(
    server: RedisServer, direct: Redis, output: Path
) -> None:
    jobs = enqueue(direct, 400)
    with (
        recorder(server.url, output, RECORDER_BATCH_SIZE="5") as first,
        recorder(server.url, output, RECORDER_BATCH_SIZE="5") as second,
    ):
        eventually(lambda: number_finished(direct))
        server.send(signal.SIGSTOP)
        time.sleep(intake.LEASE_S + 0.5)  # that is the fault
        server.send(signal.SIGCONT)
        wait_until_finished(jobs)
        first.stop()
        second.stop()
    assert_all_well(output, direct, jobs)


def _freeze(server: RedisServer, _: Redis) -> Callable[[], None]:
    server.send(signal.SIGSTOP)
    return lambda: server.send(signal.SIGCONT)


def _pause(mode: str) -> Callable[[RedisServer, Redis], Callable[[], None]]:
    def pause(_: RedisServer, direct: Redis) -> Callable[[], None]:
        ask(direct, "CLIENT", "PAUSE", 45_000, mode)
        return lambda: None  # it ends by itself

    return pause


@pytest.mark.parametrize(
    "stop",
    [
        pytest.param(_freeze, id="frozen", marks=pytest.mark.faults),
        pytest.param(_pause("ALL"), id="paused", marks=pytest.mark.faults),
        pytest.param(_pause("WRITE"), id="paused for writes", marks=pytest.mark.faults),
    ],
)
def test_a_redis_that_does_not_answer_is_awaited_longer_than_leases_and_time_outs(
    server: RedisServer, direct: Redis, output: Path, stop: Callable[[RedisServer, Redis], Callable[[], None]]
) -> None:
    jobs = enqueue(direct, 400)
    with (
        recorder(server.url, output, RECORDER_BATCH_SIZE="5") as first,
        recorder(server.url, output, RECORDER_BATCH_SIZE="5") as second,
    ):
        eventually(lambda: number_finished(direct))
        go_on = stop(server, direct)
        for running in (first, second):
            running.says("waiting", containing="Timeout")
        go_on()
        wait_until_finished(jobs)
        for running in (first, second):
            running.says("going on")
            running.stop()
    assert_all_well(output, direct, jobs)


def fill(connection: Redis, *, bad: int = 0) -> tuple[list[Job], list[Job]]:
    """Results until Redis takes no more; the first `bad` of them can't be recorded."""
    put_away = [enqueue_result({"number": number}, connection=connection) for number in range(bad)]
    good: list[Job] = []
    queue = Queue("recorder", connection=connection)
    try:
        for number in range(10_000):
            data = result(f"j{number}", padding=hashlib.sha512(str(number).encode()).hexdigest() * 100)
            good.append(queue.enqueue_call(RECORD_FUNCTION, args=(data,)))
    except (OutOfMemoryError, ExecAbortError):
        return good, put_away
    raise AssertionError("Redis takes it all")


@pytest.fixture
def small_server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_of_our_own(tmp_path / "redis", "--maxmemory", "4mb", "--maxmemory-policy", "noeviction") as server:
        yield server


@pytest.fixture
def small(small_server: RedisServer) -> Iterator[Redis]:
    with connect(small_server.url) as connection:
        yield connection


@pytest.mark.parametrize("started", ["before", "afterwards"])
def test_a_backlog_that_fills_redis_is_worked_off(
    small_server: RedisServer, small: Redis, output: Path, started: str
) -> None:
    with ExitStack() as stack:
        if started == "before":
            small.set("rq:suspended", 1)
            stack.enter_context(recorder(small_server.url, output)).says("waiting")
        jobs, _ = fill(small)
        if started == "before":
            small.delete("rq:suspended")
        else:
            stack.enter_context(recorder(small_server.url, output))
        wait_until_finished(jobs)
    assert small.zcard("rq:failed:recorder") == 0
    assert len(recordings(output)) == len(jobs)


def test_what_can_not_be_recorded_waits_for_memory_and_holds_up_no_good_result(
    small_server: RedisServer, small: Redis, output: Path
) -> None:
    good, bad = fill(small, bad=10)
    with recorder(small_server.url, output, RECORDER_BATCH_SIZE="5") as running:
        wait_until_finished(good, 15)
        assert small.zcard("rq:failed:recorder") == 0
        small.config_set("maxmemory", "100mb")
        eventually(lambda: small.zcard("rq:failed:recorder") == len(bad))
        running.stop()
    assert all("no job_id" in reason(job) for job in bad)
    assert len(list(output.glob("quarantine/*/*.json"))) == len(bad)
    assert_all_well_but(output, small, good, failed=len(bad))


def assert_all_well_but(output: Path, connection: Redis, jobs: list[Job], failed: int) -> None:
    assert all(finished(job) for job in jobs)
    assert connection.zcard("rq:failed:recorder") == failed
    assert_each_recorded_once(output, {job.args[0]["job_id"] for job in jobs})
    assert_nothing_is_left_over(output, connection)


def test_a_master_that_becomes_a_read_only_replica_is_awaited_until_it_is_master_again(
    server: RedisServer, direct: Redis, output: Path, tmp_path: Path
) -> None:
    with (
        redis_of_our_own(tmp_path / "other", "--replicaof", "127.0.0.1", str(server.port)) as other,
        connect(other.url) as of_other,
        recorder(server.url, output, RECORDER_BATCH_SIZE="5") as running,
    ):
        eventually(lambda: info(of_other, "replication")["master_link_status"] == "up")
        jobs = enqueue(direct, 400)
        eventually(lambda: number_finished(direct))
        ask(direct, "CLIENT", "PAUSE", 60_000, "WRITE")
        eventually(lambda: _offset(direct) == _offset(of_other))
        of_other.replicaof("NO", "ONE")
        direct.replicaof("127.0.0.1", str(other.port))
        ask(direct, "CLIENT", "UNPAUSE")
        running.says("waiting", containing="read only")
        eventually(lambda: info(direct, "replication")["master_link_status"] == "up")
        direct.replicaof("NO", "ONE")
        wait_until_finished(jobs)
        running.says("going on")
        running.stop()
    assert_all_well(output, direct, jobs)


def _offset(connection: Redis) -> int:
    return int(info(connection, "replication")["master_repl_offset"])


PASSWORD = "s3cr3t+p@ss/word"  # noqa: S105 - of a server of this test
QUOTED = "s3cr3t%2Bp%40ss%2Fword"


def kick_out(connection: Redis, name: str = "") -> None:
    """End the connections of a user, or all others; who comes back must show his password."""
    ask(connection, "CLIENT", "KILL", *(("USER", name) if name else ("SKIPME", "yes")))


@pytest.mark.parametrize("when", ["at the start", "under load"])
def test_a_password_that_is_not_accepted_is_awaited_and_never_shown(
    server: RedisServer, direct: Redis, output: Path, when: str
) -> None:
    url = f"redis://:{QUOTED}@127.0.0.1:{server.port}/0"
    right, wrong = {"requirepass": PASSWORD}, {"requirepass": "another"}
    jobs = enqueue(direct, 400)
    if when == "at the start":
        direct.config_set(*wrong.popitem())
    else:
        direct.config_set("requirepass", PASSWORD)
    with recorder(url, output, RECORDER_BATCH_SIZE="5") as running:
        if when == "under load":
            eventually(lambda: number_finished(direct))
            direct.config_set(*wrong.popitem())
            kick_out(direct)
        running.says("waiting", containing="password")
        direct.config_set(*right.popitem())
        wait_until_finished(jobs)
        running.stop()
    direct.config_set("requirepass", "")
    assert_all_well(output, direct, jobs)
    assert "s3cr3t" not in running.text()


def test_a_missing_password_is_awaited(server: RedisServer, direct: Redis, output: Path) -> None:
    job = enqueue_result(result("one"), connection=direct)
    direct.config_set("requirepass", PASSWORD)
    with recorder(server.url, output) as running:
        running.says("waiting", containing="authenticated")
        direct.config_set("requirepass", "")
        wait_until_finished([job])
        running.stop()
        assert "s3cr3t" not in running.text()


def test_rights_that_a_user_lacks_are_awaited(server: RedisServer, direct: Redis, output: Path) -> None:
    ask(direct, "ACL", "SETUSER", "rec", "on", f">{PASSWORD}", "~*", "&*", "-@all", "+ping", "+hello")
    jobs = enqueue(direct, 200)
    with recorder(f"redis://rec:{QUOTED}@127.0.0.1:{server.port}/0", output, RECORDER_BATCH_SIZE="5") as running:
        running.says("waiting", containing="permission")
        ask(direct, "ACL", "SETUSER", "rec", "+@all")
        eventually(lambda: number_finished(direct))
        ask(direct, "ACL", "SETUSER", "rec", "-evalsha")
        running.says("waiting", containing="evalsha")
        ask(direct, "ACL", "SETUSER", "rec", "+evalsha")
        wait_until_finished(jobs)
        running.stop()
        assert "s3cr3t" not in running.text()
    assert_all_well(output, direct, jobs)


def test_a_right_that_only_rqs_own_path_needs_is_awaited_too(server: RedisServer, direct: Redis, output: Path) -> None:
    ask(direct, "ACL", "SETUSER", "rec", "on", f">{PASSWORD}", "~*", "&*", "+@all", "-zadd")
    url = f"redis://rec:{QUOTED}@127.0.0.1:{server.port}/0"
    with recorder(url, output, RECORDER_ALLOWED_CALLBACKS=CALLBACK) as running:
        running.says("ready")
        job = enqueue_result(result("one"), connection=direct, on_success=Callback(CALLBACK))
        eventually(lambda: running.events("waiting") or running.events("batch"))
        ask(direct, "ACL", "SETUSER", "rec", "+zadd")
        wait_until_finished([job], 15)
        running.stop()
    assert_all_well(output, direct, [job])


def test_a_flushed_redis_gets_its_recorder_back_and_later_jobs_are_recorded(
    server: RedisServer, direct: Redis, output: Path
) -> None:
    enqueue(direct, 400, "early")
    with recorder(server.url, output, RECORDER_BATCH_SIZE="5") as running:
        eventually(lambda: number_finished(direct))
        direct.flushall()
        jobs = enqueue(direct, 20, "late")
        wait_until_finished(jobs)
        (known,) = eventually(lambda: recorders(direct))
        assert known.pid == running.process.pid
        eventually(lambda: direct.smembers("rq:workers") == {f"rq:worker:{known.name}".encode()})
        assert direct.hget(f"rq:worker:{known.name}", "birth")
        running.stop()
        assert not running.events("waiting")
        assert not running.events("unexpected")
        assert not running.events("RQ can't finish a job")
    assert direct.zcard("rq:failed:recorder") == 0
    assert {f"late{number}" for number in range(20)} < {content["job_id"] for content in recordings(output).values()}
    assert_summaries_are_exact(output)
    assert_nothing_is_left_over(output, direct)


def test_flushed_scripts_are_loaded_again(server: RedisServer, direct: Redis, output: Path) -> None:
    jobs = enqueue(direct, 400)
    with recorder(server.url, output, RECORDER_BATCH_SIZE="5") as running:
        for share in (1, 100, 200):
            eventually(lambda share=share: number_finished(direct) >= share)  # type: ignore[misc]
            direct.script_flush()
        wait_until_finished(jobs)
        running.stop()
        assert not running.events("waiting")
    assert_all_well(output, direct, jobs)


def test_while_redis_is_away_it_is_tried_now_and_then(server: RedisServer, direct: Redis, output: Path) -> None:
    with Proxy(server.port, SCRIPTS) as proxy, recorder(proxy.url, output) as running:
        running.says("ready")
        (known,) = recorders(direct)
        before = proxy.attempts
        proxy.cut()
        eventually(lambda: not direct.exists(f"rq:recorder:recorder:lease:{known.name}"))  # five seconds
        assert proxy.attempts - before < 100
        eventually(lambda: proxy.attempts - before > 20)
        proxy.restore()
        jobs = enqueue(direct, 3)
        wait_until_finished(jobs)
        running.says("going on")
        running.stop()
    assert_all_well(output, direct, jobs)


def test_an_outage_is_said_once_and_so_is_its_end(server: RedisServer, direct: Redis, output: Path) -> None:
    with Proxy(server.port, SCRIPTS) as proxy, recorder(proxy.url, output) as running:
        running.says("ready")
        before = proxy.attempts
        proxy.cut()
        eventually(lambda: proxy.attempts - before > 15)
        proxy.restore()
        running.says("going on")
        running.stop()
        assert len(running.events("waiting")) == 1, running.events("waiting")
        assert len(running.events("going on")) == 1


def test_sigterm_ends_a_recorder_whose_redis_is_away_and_its_jobs_are_taken_over(
    server: RedisServer, direct: Redis, output: Path
) -> None:
    jobs = enqueue(direct, 20)
    with Proxy(server.port, SCRIPTS) as proxy:
        proxy.fault = Fault(Where.BEFORE, matches="finish".__eq__, outage=True)
        with recorder(proxy.url, output) as running:
            running.says("waiting")
            running.stop()
            running.says("left without telling Redis")
    assert direct.keys("rq:recorder:recorder:taken:*")
    assert not number_finished(direct)
    with recorder(server.url, output) as successor:
        wait_until_finished(jobs)
        successor.stop()
    assert_all_well(output, direct, jobs)


def test_sigterm_ends_a_recorder_that_has_not_found_redis_yet(output: Path) -> None:
    with recorder("redis://127.0.0.1:1/0", output) as running:
        running.says("waiting")
        running.stop()
