from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.capacity import DAY_S, QUARTER_S, profile, simulate

ROOT = Path(__file__).resolve().parents[2]
QUARTERS = DAY_S // QUARTER_S


def test_a_quiet_day_waits_for_nothing() -> None:
    day = simulate([100.0] * QUARTERS, rate=1_000)
    assert 9_000 < day.jobs < 10_200
    assert (day.processes, day.longest_queue, day.wait_p99_s) == (1, 0, 0)
    assert day.busy == pytest.approx(day.jobs / (1_000 * DAY_S))


def test_processes_are_enough_for_the_most_crowded_quarter() -> None:
    arrivals = [0.0] * QUARTERS
    arrivals[10] = 900 * 1_000
    day = simulate(arrivals, rate=100)
    assert day.processes == 15  # 1,000 jobs a second, 100 each, at most 70 % busy
    assert day.jobs == pytest.approx(900_000, rel=0.01)
    assert day.longest_queue < 100
    assert day.finished_known == day.jobs  # all within an hour


def test_what_arrives_faster_than_it_is_recorded_waits() -> None:
    arrivals = [0.0] * QUARTERS
    arrivals[0] = 900 * 7.4
    day = simulate(arrivals, rate=11)  # 10.6 needed at 70 %, by chance more in some seconds
    assert day.processes == 1
    assert day.longest_queue > 0


def test_without_recordings_a_day_has_six_hours() -> None:
    shares = profile(None)
    assert sum(shares) == pytest.approx(1)
    assert sum(share > 0 for share in shares) == 24


def test_it_takes_the_figures_of_a_run_and_no_others(tmp_path: Path) -> None:
    figures = {
        "throughput": {"recorder": {"jobs_per_s": {"median": 2_000.0}}},
        "workload": {"mean_bytes": 50_000.0},
        "redis_memory": {"recorder": {"waiting_bytes_per_job": 9_000.0, "bytes_per_job": 3_000.0}},
    }
    path = tmp_path / "figures.json"
    for content, code in ((json.dumps(figures), 0), ("{}", 2), ("no", 2)):
        path.write_text(content)
        ended = subprocess.run([sys.executable, "-m", "bench.capacity", path], cwd=ROOT, capture_output=True, text=True)
        assert ended.returncode == code
        assert ended.stderr.count("\n") == (0 if code == 0 else 1)
    assert len(ended.stdout.splitlines()) == 0


def test_the_steps_of_a_result_are_timed() -> None:
    command = [sys.executable, "-m", "bench.steps", "--results", "20"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert [line.split("  ")[0] for line in ended.stdout.splitlines() if line.startswith(("decode", "record"))] == [
        "decode",
        "record",
    ]
