"""Kill -9: at random moments under load, and at each named point of a batch. The restart puts all right."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from rq import Callback

from tests.faults.fleet import Fleet, Recorder, fleet_of
from tests.faults.load import Load, completed, result
from tests.faults.points import BATCH, OVERLAP, RECOVERY
from tests.recording import eventually

_KILLS, _KILLS_IN_FULL = 10, 100
_KILLS_A_ROUND = 5
_STARTUP_S = 0.8
_STARTUP_OF_A_FORK_S = 0.1
_WHILE_STARTING = 0.2
_MOST_DEATHS = 2
"""A job in hand at three deaths is put away unread (decision 0009), however honest."""


@pytest.fixture
def fleet(redis_url: str, connection: Redis, tmp_path: Path) -> Iterator[Fleet]:
    with fleet_of(redis_url, connection, tmp_path) as fleet:
        yield fleet


@pytest.mark.parametrize("recorders", [1, 3])
def test_kills_at_random_moments_under_load_lose_tear_and_double_nothing(
    fleet: Fleet, recorders: int, in_full: bool
) -> None:
    kills = _KILLS_IN_FULL if in_full else _KILLS
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    start = fleet.start if in_full else fleet.fork  # a fork spends no time on imports, which no kill can harm
    startup_s = _STARTUP_S if in_full else _STARTUP_OF_A_FORK_S
    hunt = _Hunt(fleet, Load(fleet.connection, fleet.output, seed), random.Random(seed), startup_s)
    for _ in range(recorders):
        start()
    while hunt.kills < kills:
        restarted_at = 0.0
        for _ in range(_KILLS_A_ROUND):
            hunt.kill_one()
            restarted_at = start().started_at
        hunt.load.wait_until_held(restarted_at, live=fleet.pids)
    print(f"{hunt.kills} kills, {hunt.kills_with_jobs_in_hand} with jobs in hand, {hunt.spared} spared")
    assert hunt.kills_with_jobs_in_hand >= kills * 0.3, "too few kills under load"


class _Hunt:
    """Kills recorders at moments that it draws, and counts its hits."""

    def __init__(self, fleet: Fleet, load: Load, moments: random.Random, startup_s: float) -> None:
        self.load = load
        self.kills = self.kills_with_jobs_in_hand = self.spared = 0
        self._fleet = fleet
        self._random = moments
        self._startup_s = startup_s

    def kill_one(self) -> None:
        """Some in the middle of their start, most soon after: then they have what the dead one left, and jobs."""
        while True:
            victim = self._random.choice(self._fleet.live)
            if self._random.random() < _WHILE_STARTING:
                self.load.go_on(self._random.uniform(0, self._startup_s))
            else:
                self._go_on_until_busy(victim)
                self.load.go_on(self._random.uniform(0, 0.01))
            if self._kill(victim):
                return

    def _go_on_until_busy(self, victim: Recorder) -> None:
        while not victim.has_said("ready"):
            self.load.go_on(0.05)
        self.load.go_on(self._random.uniform(0, 0.3))
        for _ in range(100):
            if victim.jobs_in_hand:
                return
            self.load.go_on(0.005)

    def _kill(self, victim: Recorder) -> bool:
        victim.freeze()  # so that what it had in hand when it died can be told
        jobs = victim.jobs_in_hand
        deaths = self.load.connection.hmget("rq:recorder:recorder:deaths", jobs) if jobs else []
        if any(int(count or 0) >= _MOST_DEATHS for count in deaths):
            self.spared += 1
            victim.wake()
            return False
        victim.kill()
        self.kills += 1
        self.kills_with_jobs_in_hand += bool(jobs)
        self.load.assert_readable()
        return True


@pytest.mark.parametrize("point", BATCH)
def test_a_recorder_killed_at_any_point_of_a_batch_leaves_nothing_that_the_next_does_not_put_right(
    fleet: Fleet, point: str
) -> None:
    load = _batch(fleet)
    fleet.fork(point).await_end(-9)
    load.assert_readable()
    load.wait_until_held(fleet.fork().started_at, live=fleet.pids)


@pytest.mark.parametrize("point", OVERLAP)
def test_a_recorder_killed_with_several_batches_in_hand_leaves_nothing_that_the_next_does_not_put_right(
    fleet: Fleet, point: str
) -> None:
    load = Load(fleet.connection, fleet.output)
    for number in range(60):
        load.enqueue(result(f"job-{number}", day=number % 2))
    fleet.fork(point, batch_size=10).await_end(-9)
    load.assert_readable()
    load.wait_until_held(fleet.fork(batch_size=10).started_at, live=fleet.pids)


@pytest.mark.parametrize("point", RECOVERY)
def test_a_recorder_killed_while_it_puts_right_what_a_dead_one_left_leaves_that_to_the_next(
    fleet: Fleet, point: str
) -> None:
    load = _batch(fleet)
    fleet.fork("between the folders' fsync and the journal").await_end(-9)
    fleet.fork(point).await_end(-9)
    load.assert_readable()
    load.wait_until_held(fleet.fork().started_at, live=fleet.pids)


def test_the_summary_has_every_file_of_a_killed_recorder_although_their_jobs_have_expired(fleet: Fleet) -> None:
    load = Load(fleet.connection, fleet.output)
    jobs = [load.enqueue(result(f"job-{number}", day=number % 2)) for number in range(6)]
    fleet.fork("between the folders' fsync and the journal").await_end(-9)
    for job in jobs:
        fleet.connection.delete(job.key)
        load.good.remove(job.id)
    load.wait_until_held(fleet.fork().started_at, live=fleet.pids)


def test_a_job_that_was_in_hand_at_three_kills_is_recorded_all_the_same(fleet: Fleet) -> None:
    load = _batch(fleet)
    for _ in range(3):
        fleet.fork("after the take").await_end(-9)
    fleet.fork()
    eventually(lambda: fleet.connection.zcard("rq:finished:recorder") >= len(load.good) - 1)
    assert fleet.connection.zcard("rq:failed:recorder") == len(load.bad)


@pytest.mark.parametrize("point", ["in RQ's own path of a failed job", "in RQ's own path of a finished job"])
def test_a_recorder_killed_in_rqs_own_path_leaves_no_job_that_looks_started(fleet: Fleet, point: str) -> None:
    load = _batch(fleet)
    fleet.fork(point).await_end(-9)
    load.wait_until_held(fleet.fork().started_at, live=fleet.pids)
    assert fleet.connection.zcard("rq:wip:recorder") == 0


def _batch(fleet: Fleet) -> Load:
    """A batch with everything in it, that waits; and an OUTPUT_DIR that isn't new."""
    load = Load(fleet.connection, fleet.output)
    load.record(*[result(f"known-{number}", "old", completed_at=completed(number)) for number in range(6)])
    for number in range(4):
        load.enqueue(result(f"new-{number}", completed_at=completed(number)))
    load.enqueue(result("known-0", "old", completed_at=completed(0)))
    load.enqueue(result("known-1", "newer", completed_at=completed(100)))
    load.enqueue(result("known-2", "older", completed_at=completed(-100)))
    load.enqueue({"no": "job_id"})
    load.enqueue(result("rq", "x"), on_success=Callback("nobody.allows.this"))
    load.enqueue(result("unknown", scraper=None, padding="é" * 100_000))
    for number in range(4):
        load.enqueue(result(f"later-{number}", day=1, completed_at=completed(number)))
    return load
