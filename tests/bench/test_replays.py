from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from bench.figures import Spread
from bench.replay_figures import ReplayFigures
from bench.replays import write_recordings

ROOT = Path(__file__).resolve().parents[2]


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "bench", *arguments], cwd=ROOT, capture_output=True, text=True)


def test_replay_is_measured_beside_psqls_copy_and_a_plain_loop(tmp_path: Path) -> None:
    figures, scratch = tmp_path / "figures.json", tmp_path / "scratch"
    ended = bench("--replay", "--quick", "--files", "30", "--json", str(figures), "--scratch", str(scratch))
    assert ended.returncode == 0, ended.stderr
    found = json.loads(figures.read_text())
    assert found["files"] == 30
    assert set(found["seconds"]) == {"replay", "again", "floor", "load", "loop"}
    assert all(spread["low"] > 0 for spread in found["seconds"].values())
    assert found["rows"] == found["stage_rows"] > found["stage_hsds_rows"] > 100
    assert found["loop_rows"] >= found["stage_hsds_rows"]
    assert 10 < found["largest_mb"] < 400
    assert len(found["targets"]) == 4
    assert all(target["met"] is not None for target in found["targets"])
    assert "floor: \\copy" in ended.stdout
    assert [path.name for path in scratch.iterdir()] == ["removed"]


def test_files_are_for_a_replay() -> None:
    ended = bench("--files", "30")
    assert (ended.returncode, ended.stdout, ended.stderr) == (2, "", "bench: --files goes with --replay\n")


def test_generated_recordings_are_as_many_as_asked_for_and_all_distinct(tmp_path: Path) -> None:
    folder = write_recordings(None, 50, tmp_path / "generated")
    contents = [path.read_bytes() for path in folder.rglob("*.json")]
    assert len(contents) == len(set(contents)) == 50


def test_recordings_of_ones_own_are_measured_where_they_are_or_multiplied(tmp_path: Path) -> None:
    source = write_recordings(None, 5, tmp_path / "source")
    assert write_recordings(source, None, tmp_path / "unused") == source
    assert not (tmp_path / "unused").exists()
    more = write_recordings(source, 12, tmp_path / "more")
    assert len({path.read_bytes() for path in more.rglob("*.json")}) == 12


def test_targets_are_judged_by_ratios_within_the_run() -> None:
    figures = ReplayFigures({}, "", 100, 1.0, rows=1000, stage_rows=1000, stage_hsds_rows=500, loop_rows=500)
    seconds = {"replay": 2.5, "again": 0.5, "floor": 1.0, "load": 1.0, "loop": 20.0}
    figures.seconds = {name: Spread(value, value, value) for name, value in seconds.items()}
    figures.largest_mb, figures.together_mb = 100, 450
    assert [(target.figure, target.met) for target in figures.judge()] == [
        (2.5, True),
        (40, True),
        (450, False),
        (5, True),
    ]
