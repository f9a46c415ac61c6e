"""The jobs of recorders that died, lost their host or froze go to a live one; one that wakes up does no harm."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from rq import Callback

from tests.faults.fleet import Fleet, Recorder, fleet_of
from tests.faults.load import Load, completed, result
from tests.faults.points import FREEZING, FREEZING_IN_FULL, MOVING_LATEST, RQS_OWN_PATH, SETTLING
from tests.recording import eventually

_LONGER_THAN_A_LEASE_S = 6.0
_MINUTES_S = 120.0


@pytest.fixture
def fleet(redis_url: str, connection: Redis, tmp_path: Path) -> Iterator[Fleet]:
    with fleet_of(redis_url, connection, tmp_path) as fleet:
        yield fleet


@pytest.fixture
def load(fleet: Fleet) -> Load:
    """A load for an OUTPUT_DIR that isn't new."""
    load = Load(fleet.connection, fleet.output)
    load.record(*[result(f"known-{number}", "old", completed_at=completed(number)) for number in range(8)])
    return load


def test_the_jobs_of_a_killed_recorder_are_taken_over_by_those_that_live_without_a_restart(
    fleet: Fleet, load: Load
) -> None:
    victim, *others = [fleet.fork() for _ in range(3)]
    _catch_with_jobs_in_hand(victim, load)
    victim.kill()
    load.wait_until_held(time.monotonic(), live=fleet.pids)
    assert any(other.has_said("taken back from a dead recorder") for other in others)


def test_the_jobs_of_a_recorder_whose_host_is_gone_are_taken_over_when_its_lease_has_run_out(
    fleet: Fleet, load: Load, tmp_path: Path
) -> None:
    _enqueue_a_batch(load)
    lost = fleet.fork("between the files and acknowledging", output=tmp_path / "on a disk that nobody else sees")
    lost.await_end(-signal.SIGKILL)
    died_at = time.monotonic()
    survivor = fleet.fork()
    load.wait_until_held(died_at, live=fleet.pids)
    assert survivor.has_said("taken back from a dead recorder")
    assert not survivor.has_said("put right what a dead recorder left")


@pytest.mark.parametrize("point", [*FREEZING, *(pytest.param(p, marks=pytest.mark.faults) for p in FREEZING_IN_FULL)])
def test_the_jobs_of_a_frozen_recorder_are_taken_over_and_its_waking_does_no_harm(
    fleet: Fleet, load: Load, point: str
) -> None:
    frozen, other = _freeze_at(point, fleet, load)
    _enqueue_more(load)
    load.wait_until(time.monotonic(), load.assert_recorded_and_summed_up)
    eventually(lambda: other.has_said("taken back from a dead recorder"))
    _wake(frozen, fleet, load)


def test_a_recorder_frozen_for_longer_than_any_lease_does_no_harm_when_it_wakes_under_load(
    fleet: Fleet, load: Load, in_full: bool
) -> None:
    load.repeats = False  # or it may hold the lock of a conflict
    frozen, *_ = [fleet.fork() for _ in range(3)]
    load.go_on(0.5)
    load.wait_until_held(time.monotonic(), live=fleet.pids)  # and so `latest` need not be moved any more
    _catch_with_jobs_in_hand(frozen, load)
    frozen_at = time.monotonic()
    load.wait_until(frozen_at, lambda: _assert_nothing_in_hand_of(frozen))
    load.go_on(0.5)
    load.wait_until(time.monotonic(), load.assert_recorded_and_summed_up)
    frozen_for_s = _MINUTES_S if in_full else _LONGER_THAN_A_LEASE_S
    while time.monotonic() < frozen_at + frozen_for_s:
        load.enqueue(result(f"meanwhile-{len(load.good)}"))
        time.sleep(0.1)
    frozen.wake()
    load.go_on(0.5)
    load.wait_until_held(time.monotonic(), live=fleet.pids)
    fleet.retire()
    load.assert_all_is_well(live=())


@pytest.mark.parametrize("then", ["wakes up", "is killed"])
def test_a_recorder_frozen_while_it_settles_a_conflict_holds_up_that_job_only(
    fleet: Fleet, load: Load, then: str
) -> None:
    frozen, other = _freeze_at(SETTLING, fleet, load)
    _enqueue_more(load)
    load.wait_until(time.monotonic(), lambda: _assert_all_ended_but(1, load))
    eventually(lambda: other.has_said("job put back"))
    if then == "wakes up":
        _wake(frozen, fleet, load)
    else:
        frozen.kill()
        load.wait_until_held(time.monotonic(), live=fleet.pids)


def test_a_recorder_frozen_while_it_moves_latest_does_no_harm_when_it_wakes(fleet: Fleet, load: Load) -> None:
    load.enqueue(result("new", day=1))
    frozen, _ = _freeze(fleet, MOVING_LATEST)
    load.wait_until(time.monotonic(), load.assert_recorded)
    _wake(frozen, fleet, load)


@pytest.mark.faults
def test_a_recorder_frozen_while_it_moves_latest_does_not_hold_up_others(fleet: Fleet, load: Load) -> None:
    _enqueue_a_batch(load, size=20)
    _freeze(fleet, MOVING_LATEST)
    load.wait_until(time.monotonic(), load.assert_recorded)


@pytest.mark.faults
def test_the_summary_that_a_frozen_recorder_owes_is_written_by_another(fleet: Fleet, load: Load) -> None:
    _freeze_at("between the summary's write and its name", fleet, load)
    load.wait_until(time.monotonic(), load.assert_recorded_and_summed_up)


def test_a_recorder_frozen_before_rqs_own_path_ends_no_job_a_second_time(fleet: Fleet, load: Load) -> None:
    load.enqueue(result("with-callback"), on_success=Callback("nobody.allows.this"))
    frozen, _ = _freeze(fleet, RQS_OWN_PATH)
    load.wait_until(time.monotonic(), load.assert_recorded_and_summed_up)
    frozen.wake()
    eventually(lambda: not frozen.is_frozen and frozen.has_said("batch"))
    load.assert_recorded()


def _freeze_at(point: str, fleet: Fleet, load: Load) -> tuple[Recorder, Recorder]:
    _enqueue_a_batch(load)
    return _freeze(fleet, point)


def _freeze(fleet: Fleet, point: str) -> tuple[Recorder, Recorder]:
    """A recorder that is frozen at a point and has no lease any more, and another that is ready."""
    frozen = fleet.fork(point, signal.SIGSTOP)
    eventually(lambda: frozen.is_frozen)
    other = fleet.fork()
    other.wait_until_ready()
    frozen.lose_its_lease()
    return frozen, other


def _wake(frozen: Recorder, fleet: Fleet, load: Load) -> None:
    """Wake it up, give it more to do, and expect no harm, then and after its end."""
    frozen.wake()
    eventually(lambda: frozen.has_a_lease)
    for number in range(20):
        load.enqueue(result(f"after-{number}", day=2))
    load.wait_until_held(time.monotonic(), live=fleet.pids)
    _assert_counted_once(load)
    fleet.retire()
    load.assert_all_is_well(live=())


def _assert_nothing_in_hand_of(recorder: Recorder) -> None:
    assert not recorder.jobs_in_hand


def _assert_all_ended_but(number: int, load: Load) -> None:
    assert load.connection.zcard("rq:finished:recorder") == len(load.good) - number


def _enqueue_more(load: Load) -> None:
    """For every day, so that whoever lives has reason to look at it."""
    for day in range(2):
        load.enqueue(result(f"more-{day}", day=day))


def _catch_with_jobs_in_hand(victim: Recorder, load: Load) -> None:
    """Stop a recorder at a moment when it has some."""
    victim.wait_until_ready()
    while True:
        load.go_on(0.05)
        victim.freeze()
        if victim.jobs_in_hand:
            return
        victim.wake()


def _enqueue_a_batch(load: Load, size: int = 6) -> None:
    for number in range(size):
        load.enqueue(result(f"new-{number}", completed_at=completed(number)))
        load.enqueue(result(f"later-{number}", day=1, completed_at=completed(number)))
    load.enqueue(result("known-0", "old", completed_at=completed(0)))
    load.enqueue(result("known-1", "newer", completed_at=completed(100)))
    load.enqueue(result("known-2", "older", completed_at=completed(-100)))


def _assert_counted_once(load: Load) -> None:
    workers = load.connection.keys("rq:worker:*")
    counts = [int(load.connection.hget(key, "successful_job_count") or 0) for key in workers]
    assert sum(counts) == len(load.good)
