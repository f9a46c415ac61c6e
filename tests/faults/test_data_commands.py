"""Archive, clean, backup and restore, killed before any step on the disk, or refused by it: the old state, or the new.

And whatever happens, every result is somewhere: in OUTPUT_DIR, in its trash, or whole in an archive.
"""

from __future__ import annotations

import errno
import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from app.archive.audit import audit
from app.archive.findings import Kind
from app.archive.trash import Trash
from app.archive.verify import Verifier
from app.archive.verify_packs import PackVerifier, Reading
from tests.faults import data
from tests.faults.steps import count_steps, killed_before, refused_from
from tests.recording import result

_SHARE = 3
"""By default so many of a command's steps are tried."""


def prepare_nothing(base: Path) -> None:
    data.record_days(base)


def prepare_archived(base: Path) -> None:
    data.record_days(base)
    data.archive(base)


def prepare_late(base: Path) -> None:
    prepare_archived(base)
    data.record_late(base)


def prepare_cleaned(base: Path) -> None:
    prepare_archived(base)
    data.clean(base)


def prepare_thinned(base: Path) -> None:
    prepare_archived(base)
    data.clean_but_summaries(base)


def prepare_cleaned_and_late(base: Path) -> None:
    prepare_archived(base)
    data.clean_for_good(base)
    data.record_late(base)
    data.record(base, result("a", job=data.job(data.DAYS[0], 1), result={"text": "third"}))


def prepare_backed_up(base: Path) -> None:
    prepare_archived(base)
    data.back_up(base)


def prepare_backed_up_and_late(base: Path) -> None:
    prepare_backed_up(base)
    data.record_late(base)


def prepare_restored_in_part(base: Path) -> None:
    prepare_backed_up(base)
    data.restore(base)
    for path in (base / "restored/out/daily").glob("*/scrapers/nyc/a.json"):
        path.unlink()


@dataclass(frozen=True, slots=True)
class Case:
    """A command, and what it finds."""

    prepare: Callable[[Path], None]
    command: Callable[[Path], Any]


CASES = {
    "archive": Case(prepare_nothing, data.archive),
    "archive anew": Case(prepare_late, data.archive),
    "archive anew what was cleaned": Case(prepare_cleaned_and_late, data.archive),
    "clean": Case(prepare_archived, data.clean),
    "clean but for summaries": Case(prepare_archived, data.clean_but_summaries),
    "clean for good": Case(prepare_archived, data.clean_for_good),
    "purge": Case(prepare_cleaned, data.purge),
    "undo": Case(prepare_cleaned, data.undo),
    "undo of thinning": Case(prepare_thinned, data.undo),
    "first backup": Case(prepare_archived, data.back_up),
    "next backup": Case(prepare_backed_up_and_late, data.back_up),
    "restore": Case(prepare_backed_up, data.restore),
    "restore what is missing": Case(prepare_restored_in_part, data.restore),
}


@pytest.mark.parametrize("name", CASES)
def test_a_command_killed_before_any_step_loses_nothing_and_can_be_run_again(
    name: str, tmp_path: Path, in_full: bool
) -> None:
    case = CASES[name]
    start = tmp_path / "start"
    case.prepare(start)
    everything = results_of(start)
    expected = shutil.copytree(start, tmp_path / "expected", symlinks=True)
    steps = count_steps(case.command, expected)
    assert steps > _SHARE
    for step in range(1, steps + 1, 1 if in_full else steps // _SHARE):
        base = shutil.copytree(start, tmp_path / "base", symlinks=True)
        killed = killed_before(step, case.command, base)
        assert_nothing_is_lost(base, everything, f"{name}, killed before step {step}")
        if name == "restore":
            assert_days_are_whole_or_absent(base)
        if killed:
            case.command(base)
            assert_nothing_is_lost(base, everything, f"{name} again, killed before step {step}")
        assert state_of(base) == state_of(expected), f"{name}, killed before step {step}"
        shutil.rmtree(base)


@pytest.mark.faults
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO], ids=["full", "failing"])
@pytest.mark.parametrize("name", CASES)
def test_a_command_that_the_disk_refuses_loses_nothing_and_can_be_run_again(
    name: str, code: int, tmp_path: Path
) -> None:
    case = CASES[name]
    start = tmp_path / "start"
    case.prepare(start)
    everything = results_of(start)
    expected = shutil.copytree(start, tmp_path / "expected", symlinks=True)
    steps = count_steps(case.command, expected)
    for step in range(2, steps + 1):
        base = shutil.copytree(start, tmp_path / "base", symlinks=True)
        refused_from(step, code, case.command, base)
        assert_nothing_is_lost(base, everything, f"{name}, refused from step {step}")
        case.command(base)
        assert_nothing_is_lost(base, everything, f"{name} again, refused from step {step}")
        assert state_of(base) == state_of(expected), f"{name}, refused from step {step}"
        shutil.rmtree(base)


def results_of(base: Path) -> set[str]:
    """Sums of all results that there are, wherever."""
    found = set(data.recordings(base / "out").values()) | set(data.archived(base / "arch").values())
    for day in (base / "out/.trash").glob("*/day"):
        kept = [path for path in day.rglob("*.json") if path.name != "summary.json"]
        found |= {hashlib.sha256(path.read_bytes()).hexdigest() for path in kept}
    return found


def assert_nothing_is_lost(base: Path, everything: set[str], when: str) -> None:
    lost = everything - results_of(base)
    assert not lost, when
    packs = PackVerifier(Reading(1.0), most_examples=5, advance=data.nothing)
    for findings in (packs.check_archives(str(base / "arch")), packs.check_backup(str(base / "backup"))):
        findings.problems.pop(Kind.ARCHIVE_ORPHAN, None)
        assert not findings.problems, (when, findings.examples)


def assert_days_are_whole_or_absent(base: Path) -> None:
    restored = data.recordings(base / "restored/out")
    there = {name.split("/")[1] for name in restored}
    recorded = data.recordings(base / "out")
    assert restored == {name: digest for name, digest in recorded.items() if name.split("/")[1] in there}


def state_of(base: Path) -> dict[str, Any]:
    """What counts: recordings, archives, what is in the trash, what is restored, and whether all of it verifies."""
    found: dict[str, Any] = {"archived": data.archived(base / "arch")}
    for root in (base / "out", base / "restored/out"):
        if root.is_dir():
            audited = audit(Verifier(str(root), most_examples=5))
            found[str(root.relative_to(base))] = (
                data.recordings(root),
                sorted(path.parent.name for path in root.glob("daily/*/summary.json")),
                dict(audited.findings.problems),
            )
    found["trash"] = sorted((entry.date, len(entry.files)) for entry in Trash(data.layout(base)).entries())
    found["left over"] = sorted(
        str(path.relative_to(base))
        for path in base.rglob("*")
        if path.name.endswith(".tmp") or path.name.startswith(".purging-") or path.parent.name == ".restoring"
    )
    return found
