from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import psutil
import pytest

from app.bouy.supervision import wait_for_end
from bench import textbook
from bench.contenders import CONTENDERS, Family
from bench.depth import windows
from bench.figures import Figures, Point, Spread, Throughput
from bench.lab import open_lab
from bench.producers import measure_producers
from bench.targets import judge
from bench.trial import Bench
from bench.workload import DAY, load_workload

ROOT = Path(__file__).resolve().parents[2]
SOME = {"recorder", "floor-sync", "stock", "simple-bare"}
"""A contender of each kind."""


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "bench", *arguments], cwd=ROOT, capture_output=True, text=True)


def test_a_quick_run_measures_its_contenders_and_leaves_nothing_behind(tmp_path: Path, in_full: bool) -> None:
    names = {contender.name for contender in CONTENDERS} if in_full else SOME
    only = () if in_full else [argument for name in sorted(names) for argument in ("--only", name)]
    figures, chart, scratch = tmp_path / "figures.json", tmp_path / "chart.svg", tmp_path / "scratch"
    ended = bench("--quick", *only, "--json", str(figures), "--svg", str(chart), "--scratch", str(scratch))
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(figures.read_text())
    assert set(found["throughput"]) == set(found["depth"]) == names
    for name, one in found["throughput"].items():
        assert one["jobs_per_s"]["low"] > 0, name
        assert one["peak_mb"] > 10, name
        assert one["commands_per_job"] >= 1, name
    assert found["throughput"]["recorder"]["round_trips_per_job"] < 1
    assert len(found["depth"]["recorder"]) == found["scale"]["depth"] / found["scale"]["window"]
    assert all(point["ms_per_job"] > 0 for points in found["depth"].values() for point in points)
    assert set(found["idle"]) == set(found["half_load"]) == names & {"recorder", "stock", "simple"}
    assert all(latency["p50_ms"] <= latency["p99_ms"] for latency in found["idle"].values())
    assert all(one["bytes_per_job"] > 1000 for one in found["redis_memory"].values())
    measured = [in_full or number not in (1, 5, 6, 8, 9) for number in range(11)]
    assert [target["met"] is not None for target in found["targets"]] == measured
    assert "Targets" in ended.stdout
    assert ElementTree.parse(chart).getroot().tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314 - our own
    assert [path.name for path in scratch.iterdir()] == ["removed"]


def test_producers_are_measured_beside_rqs_own(tmp_path: Path) -> None:
    with open_lab(tmp_path, os.environ, keep=False, say=lambda _: None) as lab:
        rates = measure_producers(Bench(lab, load_workload(None, 20)), 20, 1)
    assert set(rates) == {"enqueue_result", "enqueue_results", "RQ enqueue_call", "RQ enqueue_many"}
    assert all(rate.low > 0 for rate in rates.values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--from", "no such folder"), "bench: not a folder: no such folder\n"),
        (("--only", "nobody"), "bench: no such contender: nobody (known: recorder, "),
        (("--svg", "no/such/folder.svg"), "bench: no such folder: "),
        (("--runs", "0"), "bench: Invalid value for '--runs'"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_wrong_use_is_one_line_and_exit_code_2(arguments: tuple[str, ...], message: str) -> None:
    ended = bench(*arguments)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.startswith(message)
    assert ended.stderr.count("\n") == 1


def test_bouy_has_it_and_asks_for_its_json_on_standard_output(tmp_path: Path) -> None:
    bouy = [sys.executable, "-P", "-m", "app.bouy", "--state", str(tmp_path / "state"), "--json"]
    arguments = ["bench", "--quick", "--only", "floor-fetch", "--scratch", str(tmp_path)]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run([*bouy, *arguments], cwd=tmp_path, env=environ, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert list(json.loads(ended.stdout)["throughput"]) == ["floor-fetch"]


def test_ctrl_c_ends_all_that_was_started(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "bench",
        "--quick",
        "--jobs",
        "100000",
        "--only",
        "stock",
        "--scratch",
        str(tmp_path),
    ]
    running = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert running.stderr is not None
    while "stock" not in running.stderr.readline():
        pass
    bench_process = psutil.Process(running.pid)
    deadline = time.monotonic() + 20
    while len(started := bench_process.children(recursive=True)) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    said = running.communicate(timeout=20)[1]
    assert running.returncode == 130
    assert said.endswith("bench: interrupted\n")
    assert wait_for_end(started, 20) == []
    assert [path.name for path in tmp_path.iterdir()] == ["removed"]


def test_the_textbook_writes_what_the_specification_describes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTPUT_DIR", str(tmp_path))

    def result(job_id: str, hour: int, **metadata: str) -> dict[str, Any]:
        return {"job_id": job_id, "job": {"created_at": f"2025-07-23T{hour:02}:15:00Z", "metadata": metadata}}

    sent = [result("b", 9, scraper_id="nyc"), result("a", 3, scraper_id="nyc"), result("c", 4)]
    returned = [textbook.record(one) for one in sent]
    day = tmp_path / "daily" / "2025-07-23"
    paths = [day / "scrapers/nyc/b.json", day / "scrapers/nyc/a.json", day / "processed/c.json"]
    assert [one["output_file"] for one in returned] == [str(path) for path in paths]
    assert [json.loads(path.read_text()) for path in paths] == sent
    assert paths[0].read_text() == json.dumps(sent[0], indent=2)
    assert (tmp_path / "latest").resolve() == day
    assert json.loads((day / "summary.json").read_text()) == {
        "date": "2025-07-23",
        "total_jobs": 3,
        "scrapers": {
            "nyc": {"count": 2, "first_job": "2025-07-23T03:15:00Z", "last_job": "2025-07-23T09:15:00Z"},
            "unknown": {"count": 1, "first_job": "2025-07-23T04:15:00Z", "last_job": "2025-07-23T04:15:00Z"},
        },
        "jobs": [
            {"job_id": "b", "scraper_id": "nyc", "timestamp": "2025-07-23T09:15:00Z"},
            {"job_id": "a", "scraper_id": "nyc", "timestamp": "2025-07-23T03:15:00Z"},
            {"job_id": "c", "scraper_id": "unknown", "timestamp": "2025-07-23T04:15:00Z"},
        ],
    }


def test_results_are_distinct_and_of_one_day_however_many() -> None:
    workload = load_workload(None, 20)
    start = workload.distinct - 2
    results = workload.results(start, 5)
    assert [result["job_id"] for result in results] == [f"job-{number:06}" for number in range(start, start + 5)]
    assert all(result["job"]["id"] == result["job_id"] for result in results)
    assert all(result["job"]["created_at"].startswith(f"{DAY}T") for result in results)
    assert 20_000 < workload.mean_bytes < 100_000


def measured(family: Family, jobs_per_s: float, peak_mb: float = 60) -> Throughput:
    return Throughput(family, "", 100, Spread(jobs_per_s, jobs_per_s, jobs_per_s), 1, 1, 1, peak_mb, 1, 1)


def test_targets_are_judged_by_ratios_within_the_run() -> None:
    figures = Figures({}, {}, {"depth": 15_000, "window": 500})
    figures.throughput = {
        "recorder": measured(Family.RECORDER, 2000),
        "recorder-quiet": measured(Family.RECORDER, 2500),
        "recorder-x2": measured(Family.RECORDER, 2800, peak_mb=250),
        "floor-sync": measured(Family.FLOOR, 1600),
        "floor-zlib": measured(Family.FLOOR, 1250),
        "stock": measured(Family.TEXTBOOK, 10),
        "stock-counter": measured(Family.TEXTBOOK, 40),
        "slow queue": measured(Family.QUEUE, 100),
        "fast queue": measured(Family.QUEUE, 4000),
    }
    figures.depth = {"stock": [Point(0, 100), Point(15_000, 250)], "stock-counter": [Point(15_000, 100)]}
    figures.ends_of_day = {"first": 2000, "last": 1900}
    assert [(target.figure, target.met) for target in judge(figures)] == [
        (1.25, True),
        (1.6, True),
        (0.5, False),
        (200, True),
        (475, True),
        (50, False),
        (190, False),
        (0.95, True),
        (0.8, False),
        (1.4, False),
        (250, False),
    ]


def test_a_target_that_was_not_measured_is_neither_met_nor_missed() -> None:
    figures = Figures({}, {}, {"depth": 15_000, "window": 500})
    assert {(target.figure, target.met) for target in judge(figures)} == {(None, None)}


def test_the_cost_over_a_day_is_taken_between_samples() -> None:
    assert windows([(1.0, 100), (2.0, 300), (6.0, 400)], 200) == [Point(0, 7.5), Point(200, 22.5)]
