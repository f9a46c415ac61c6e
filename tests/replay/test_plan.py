from __future__ import annotations

import os
import socket
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from app.replay import plan as plans
from app.replay.plan import Found, Refused, Selection, directory_plan, file_plan, output_dir_plan, read
from app.store.errors import UsageError
from tests.replay.conftest import IN_ORDER, names, put, refused

ALL = Selection()


def test_the_output_dir_is_found_by_date_scraper_and_name_without_what_is_no_recording(archive: Path) -> None:
    plan = output_dir_plan(str(archive), ALL)
    assert names(plan) == IN_ORDER
    assert plan.count() == len(IN_ORDER)
    items = [item for item in plan if isinstance(item, Found)]
    assert [item.order for item in items] == sorted(item.order for item in items)
    assert [item.name for item in items if item.superseded] == [IN_ORDER[2]]
    assert {(item.date, item.scraper) for item in items} == {
        ("2025-01-01", "nyc"),
        ("2025-01-02", "nyc"),
        ("2025-01-02", "summary"),
        ("2025-01-02", "unknown"),
        ("2025-01-10", "Zoo"),
        ("2025-01-10", "quarantine"),
    }
    assert all(item.size == os.path.getsize(item.path) > 0 for item in items)


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ("", [f"daily/{name}" for name in IN_ORDER]),
        ("daily", IN_ORDER),
        ("daily/2025-01-02", [name[11:] for name in IN_ORDER[1:6]]),
        ("latest", [name[11:] for name in IN_ORDER[6:]]),
        ("daily/2025-01-02/scrapers", ["nyc/a-b.json", "nyc/a.json", "summary/summary.json"]),
        ("daily/2025-01-02/scrapers/nyc", ["a-b.json", "a.json"]),
        ("daily/2025-01-02/superseded", ["scrapers/nyc/a.0123456789abcdef.json"]),
        ("daily/2025-01-02/processed", ["p.json"]),
        ("daily/2025-01-02/../2025-01-01", ["scrapers/nyc/b.json"]),
    ],
)
def test_a_directory_may_be_an_archive_or_any_part_of_it(archive: Path, named: str, expected: list[str]) -> None:
    assert names(directory_plan(f"{archive}/{named}", ALL)) == expected


@pytest.mark.parametrize(
    "named", ["daily/2025-01-02/scrapers/nyc", "daily/2025-01-02/scrapers", "latest/../2025-01-02"]
)
def test_a_part_of_an_archive_is_selected_from_by_the_path_above_it(archive: Path, named: str) -> None:
    on_the_day = Selection(since=date(2025, 1, 2), until=date(2025, 1, 2), scrapers=frozenset({"nyc"}), pattern="a*")
    assert directory_plan(f"{archive}/{named}", on_the_day).count() in (2, 3)
    assert names(directory_plan(f"{archive}/{named}", Selection(since=date(2025, 1, 3)))) == []


def test_a_clone_has_its_days_anywhere_and_other_json_beside_them(tmp_path: Path) -> None:
    clone = tmp_path / "2024-01-01-clone"
    put(
        clone,
        "old/2023/2023-05-01/scrapers/a/1.json",
        "daily/2022-01-01/scrapers/2021-01-01/2.json",
        "also/2022-01-01/scrapers/a/0.json",
        ".git/2020-01-01/scrapers/a/9.json",
        "package.json",
        "data/points.json",
    )
    assert names(directory_plan(str(clone), ALL)) == [
        "also/2022-01-01/scrapers/a/0.json",
        "daily/2022-01-01/scrapers/2021-01-01/2.json",
        "old/2023/2023-05-01/scrapers/a/1.json",
    ]


def test_a_folder_of_json_files_is_read_with_all_its_folders(tmp_path: Path) -> None:
    put(tmp_path, "b.json", "a.json", "sub/c.json", "sub-way/d.json", "sub/deep/e.json", "summary.json")
    plan = directory_plan(str(tmp_path), ALL)
    assert names(plan) == ["a.json", "b.json", "sub/c.json", "sub/deep/e.json", "sub-way/d.json"]
    orders = [item.order for item in plan if isinstance(item, Found)]
    assert orders == sorted(orders)


def test_what_a_path_does_not_tell_is_refused_rather_than_guessed(tmp_path: Path) -> None:
    put(tmp_path, "a.json")
    assert "--since" in refused(directory_plan(str(tmp_path), Selection(since=date(2025, 1, 1))))["a.json"]
    assert "--scraper" in refused(file_plan(f"{tmp_path}/a.json", Selection(scrapers=frozenset({"x"}))))["a.json"]


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({"since": date(2025, 1, 2)}, IN_ORDER[1:]),
        ({"until": date(2025, 1, 2)}, IN_ORDER[:6]),
        ({"since": date(2025, 1, 2), "until": date(2025, 1, 2)}, IN_ORDER[1:6]),
        ({"scrapers": frozenset({"Zoo", "unknown"})}, IN_ORDER[5:7]),
        ({"pattern": "[ab].json"}, [IN_ORDER[0], IN_ORDER[3]]),
        ({"limit": 2}, IN_ORDER[:2]),
        ({"limit": 100}, IN_ORDER),
    ],
)
def test_a_selection_takes_what_it_says(archive: Path, chosen: dict[str, Any], expected: list[str]) -> None:
    plan = output_dir_plan(str(archive), Selection(**chosen))
    assert names(plan) == expected
    assert plan.count() == len(expected)


def test_a_scraper_is_found_under_its_safe_name_and_under_the_name_of_earlier_recorders(tmp_path: Path) -> None:
    put(tmp_path, "2025-01-01/scrapers/new%20york/1.json", "2025-01-02/scrapers/new york/2.json")
    assert len(names(directory_plan(str(tmp_path), Selection(scrapers=frozenset({"new york"}))))) == 2


@pytest.mark.parametrize(
    "chosen",
    [
        {"since": date(2025, 1, 2), "until": date(2025, 1, 1)},
        {"scrapers": frozenset({""})},
        {"pattern": ""},
        {"pattern": "nyc/*.json"},
        {"limit": 0},
    ],
)
def test_a_selection_that_can_select_nothing_is_wrong_use(chosen: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Selection(**chosen)


def test_a_source_that_is_not_there_is_wrong_use(tmp_path: Path) -> None:
    put(tmp_path, "a.json")
    for make, path in (
        (output_dir_plan, "none"),
        (output_dir_plan, ""),
        (directory_plan, "none"),
        (directory_plan, "a.json"),
        (directory_plan, "a\0b"),
        (file_plan, "none.json"),
        (file_plan, "."),
        (file_plan, "a\0b"),
    ):
        with pytest.raises(UsageError):
            make(f"{tmp_path}/{path}", ALL)


@pytest.mark.parametrize("place", range(len(IN_ORDER)))
def test_a_plan_goes_on_behind_any_of_its_items_though_that_is_gone_by_then(archive: Path, place: int) -> None:
    plan = output_dir_plan(str(archive), Selection(limit=len(IN_ORDER) - 1))
    before = [item for item in output_dir_plan(str(archive), ALL) if isinstance(item, Found)][place]
    Path(before.path).unlink()
    rest = [item.name for item in plan.items(before.order, place + 1) if isinstance(item, Found)]
    assert rest == IN_ORDER[place + 1 : -1]


def test_links_beneath_a_directory_are_refused_and_what_they_name_is_never_read(archive: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    put(outside, "secret.json", "scrapers/nyc/secret.json")
    day = archive / "daily/2025-01-02"
    (day / "scrapers/nyc/file.json").symlink_to(outside / "secret.json")
    (day / "scrapers/nyc/dangling.json").symlink_to("nowhere")
    (day / "scrapers/nyc/inside").symlink_to("../../../2025-01-01")
    (day / "scrapers/folder").symlink_to(outside)
    (day / "loose.json").symlink_to(outside / "secret.json")
    (archive / "daily/2025-01-03").symlink_to(outside)
    (archive / "daily/2025-01-02/notes").symlink_to(outside / "secret.json")
    plan = directory_plan(str(archive), ALL)
    found = [item.name for item in plan if isinstance(item, Found)]
    assert found == [f"daily/{name}" for name in IN_ORDER]
    reasons = refused(plan)
    assert set(reasons) == {"file.json", "dangling.json", "inside", "folder", "loose.json", "2025-01-03"}
    assert all("symbolic link" in reason for reason in reasons.values())
    assert len([item for item in plan if isinstance(item, Refused)]) == len(reasons)


@pytest.mark.parametrize("swapped", ["daily/2025-01-02/scrapers/nyc/a.json", "daily/2025-01-02/scrapers/nyc", "daily"])
def test_a_link_that_takes_the_place_of_what_was_found_is_not_followed(
    archive: Path, tmp_path: Path, swapped: str
) -> None:
    item = next(
        item for item in directory_plan(str(archive), ALL) if isinstance(item, Found) and "/a.json" in item.name
    )
    assert isinstance(read(item), bytes)
    (archive / swapped).rename(tmp_path / "elsewhere")
    (archive / swapped).symlink_to(tmp_path / "elsewhere")
    assert Path(item.path).read_bytes()
    assert isinstance(read(item), Refused)


@pytest.mark.parametrize(
    ("named", "reason"),
    [
        ("link.json", "it is a symbolic link"),
        ("daily/2025-01-02/scrapers/evil/secret.json", "leads out of"),
        ("daily/2025-01-02/../../../secret.json", "leaves with .."),
        ("daily/../../secret.json", "leaves with .."),
        ("daily/2025-01-02/summary.json", "named like no recording"),
        ("daily/2025-01-02/scrapers/nyc/.writer.1.tmp", "named like no recording"),
        ("daily/2025-01-02/scrapers/nyc/.hidden.json", "named like no recording"),
    ],
)
def test_a_file_that_leads_elsewhere_or_is_no_recording_is_refused(
    archive: Path, tmp_path: Path, named: str, reason: str
) -> None:
    put(tmp_path, "secret.json")
    (archive / "link.json").symlink_to(tmp_path / "secret.json")
    (archive / "daily/2025-01-02/scrapers/evil").symlink_to(tmp_path)
    plan = file_plan(f"{archive}/{named}", ALL)
    (message,) = refused(plan).values()
    assert reason in message
    assert plan.count() == 0


def test_a_file_may_be_named_from_anywhere_and_by_way_of_latest(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to("outputs")
    monkeypatch.chdir(archive / "daily")
    for named in (
        f"{archive}/daily/2025-01-10/scrapers/Zoo/z.json",
        f"{archive}/latest/scrapers/Zoo/z.json",
        f"{tmp_path}/link/daily/2025-01-10/scrapers/Zoo/z.json",
        "../latest/scrapers/Zoo/z.json",
        "2025-01-10/scrapers/Zoo/z.json",
        "../../outputs/daily/2025-01-10//scrapers/./Zoo/z.json",
    ):
        (item,) = file_plan(named, Selection(since=date(2025, 1, 10), scrapers=frozenset({"Zoo"})))
        assert isinstance(item, Found), item
        assert item.path == f"{archive}/daily/2025-01-10/scrapers/Zoo/z.json"
        assert (item.date, item.scraper) == ("2025-01-10", "Zoo")
        assert isinstance(read(item), bytes)
    monkeypatch.chdir(archive / "daily/2025-01-10/scrapers/Zoo")
    (item,) = file_plan("z.json", ALL)
    assert isinstance(item, Found)
    assert (item.date, item.root) == ("2025-01-10", os.getcwd())


def test_files_that_are_too_large_or_no_files_are_refused_and_the_others_found(tmp_path: Path) -> None:
    put(tmp_path, "good.json", "limit.json", "large.json")
    os.truncate(tmp_path / "limit.json", 100 * 10**6)
    os.truncate(tmp_path / "large.json", 100 * 10**6 + 1)
    os.mkfifo(tmp_path / "pipe.json")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket.json"))
    plan = directory_plan(str(tmp_path), ALL)
    assert [item.name for item in plan if isinstance(item, Found)] == ["good.json", "limit.json"]
    assert refused(plan) == {
        "large.json": "it has more than 100,000,000 bytes",
        "pipe.json": "it is no plain file",
        "socket.json": "it is no plain file",
    }
    assert refused(file_plan(f"{tmp_path}/large.json", ALL)) == {"large.json": "it has more than 100,000,000 bytes"}
    assert refused(file_plan(f"{tmp_path}/pipe.json", ALL)) == {"pipe.json": "it is no plain file"}
    (limit,) = (item for item in plan if isinstance(item, Found) and item.name == "limit.json")
    os.truncate(tmp_path / "limit.json", 100 * 10**6 + 1)  # it grew since
    assert read(limit) == Refused(limit.path, "it has more than 100,000,000 bytes")
    (tmp_path / "limit.json").unlink()
    assert isinstance(read(limit), Refused)


def test_a_folder_that_may_not_be_read_is_refused_and_the_others_go_on(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def refuse(path: Any, *arguments: Any, **named: Any) -> int:
        if path == "Zoo":
            raise PermissionError(13, "Permission denied", path)
        return real(path, *arguments, **named)

    monkeypatch.setattr(os, "open", refuse)
    plan = output_dir_plan(str(archive), ALL)
    assert [item.name for item in plan if isinstance(item, Found)] == [*IN_ORDER[:6], IN_ORDER[7]]
    assert refused(plan) == {"Zoo": "Permission denied"}


@pytest.mark.faults
def test_a_tree_deeper_than_python_may_recurse_is_walked(tmp_path: Path) -> None:
    handle = os.open(tmp_path, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=handle)
        below = os.open("d", os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = below
    os.close(os.open("deep.json", os.O_WRONLY | os.O_CREAT, dir_fd=handle))
    os.close(handle)
    put(tmp_path, "top.json")
    found = [item.name for item in directory_plan(str(tmp_path), ALL) if isinstance(item, Found)]
    assert found[0] == "top.json"
    assert found[1].count("/") == 1500
    subprocess.run(["rm", "-rf", str(tmp_path / "d")], check=True)  # shutil would recurse


def test_names_that_are_no_text_are_found_and_read(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path)
    with open(folder + b"/\xff.json", "wb") as file:
        file.write(b"{}")
    (item,) = directory_plan(str(tmp_path), ALL)
    assert isinstance(item, Found)
    assert read(item) == b"{}"


def test_the_whole_real_day_is_found(real_day: Path) -> None:
    plan = directory_plan(str(real_day), ALL)
    assert plan.count() == len(names(plan)) == 2737
    assert plan.source == os.path.realpath(real_day)
    assert plans.MAX_BYTES == 100_000_000


MEMORY = """
import resource, sys
from app.replay.plan import Selection, directory_plan

plan = directory_plan(sys.argv[1], Selection())
base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert plan.count() == sum(1 for _ in plan) == int(sys.argv[2])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base)
"""


@pytest.mark.faults
def test_memory_is_flat_over_200_000_files_of_many_days(tmp_path: Path) -> None:
    growth = []
    for days in (2, 100):
        root = tmp_path / str(days)
        for day in range(days):
            for scraper in range(4):
                folder = root / f"daily/{date(2024, 1, 1).fromordinal(738_000 + day)}/scrapers/scraper-{scraper}"
                folder.mkdir(parents=True)
                for number in range(500):
                    (folder / f"job-{number:08}-of-that-scraper-with-a-long-name.json").touch()
        command = [sys.executable, "-c", MEMORY, str(root), str(days * 2000)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
        growth.append(int(done.stdout))
    assert growth[1] < growth[0] + 2048  # KiB; the names alone would take 20,000
