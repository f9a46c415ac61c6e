from __future__ import annotations

import errno
import itertools
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.store.errors import StorageError
from app.store.files import DurableFiles
from app.store.latest import LatestLink, exclusive
from app.store.layout import Layout
from tests.store.faults import Disk

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def latest(layout: Layout, files: DurableFiles) -> LatestLink:
    return LatestLink(layout, files)


def add_day(layout: Layout, day: str, *, folder: str = "processed") -> None:
    os.makedirs(f"{layout.day(day)}/{folder}", exist_ok=True)
    Path(layout.day(day), folder, "a.json").write_text('{"job_id": "a"}')


def target(layout: Layout) -> str:
    return os.readlink(layout.latest)


def test_the_link_is_relative_and_leads_to_the_day(layout: Layout, latest: LatestLink) -> None:
    add_day(layout, "2025-08-08")
    latest.advance("2025-08-08")
    assert target(layout) == "daily/2025-08-08"
    assert os.path.isfile(f"{layout.latest}/processed/a.json")


def test_it_moves_to_newer_days_and_never_back(layout: Layout, latest: LatestLink) -> None:
    for day, expected in [
        ("2025-08-08", "2025-08-08"),
        ("2025-08-07", "2025-08-08"),
        ("2025-08-09", "2025-08-09"),
        ("2024-12-31", "2025-08-09"),
        ("2025-08-09", "2025-08-09"),
    ]:
        add_day(layout, day)
        latest.advance(day)
        assert target(layout) == f"daily/{expected}"


def test_another_recorder_with_an_older_day_does_not_move_it_back(layout: Layout, latest: LatestLink) -> None:
    for day in ("2025-08-07", "2025-08-08", "2025-08-09"):
        add_day(layout, day)
    latest.advance("2025-08-09")
    other_files = DurableFiles(layout.root, "writer-2")
    LatestLink(layout, other_files).advance("2025-08-08")
    other_files.close()
    assert target(layout) == "daily/2025-08-09"


def test_the_first_link_goes_to_the_newest_day_that_is_there(layout: Layout, latest: LatestLink) -> None:
    for day in ("2025-08-08", "2025-08-01", "2025-08-05"):
        add_day(layout, day, folder="scrapers/nyc")
    os.makedirs(f"{layout.day('2025-08-30')}/processed")
    latest.advance("2025-08-01")
    assert target(layout) == "daily/2025-08-08"


@pytest.mark.parametrize("dangling", ["daily/2099-01-01", "daily/nonsense", "nowhere", "/", "latest"])
def test_a_link_that_leads_nowhere_is_put_right(layout: Layout, latest: LatestLink, dangling: str) -> None:
    add_day(layout, "2025-08-08")
    os.symlink(dangling, layout.latest)
    latest.advance("2025-08-08")
    assert target(layout) == "daily/2025-08-08"


def test_an_absolute_link_to_an_older_day_is_moved_on(layout: Layout, latest: LatestLink) -> None:
    for day in ("2025-08-07", "2025-08-08"):
        add_day(layout, day)
    os.symlink(layout.day("2025-08-07"), layout.latest)
    latest.advance("2025-08-08")
    assert target(layout) == "daily/2025-08-08"


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_something_else_called_latest_is_left_alone_and_reported(layout: Layout, latest: LatestLink, kind: str) -> None:
    if kind == "folder":
        os.makedirs(f"{layout.latest}/precious")
    else:
        Path(layout.latest).write_text("precious")
    add_day(layout, "2025-08-08")
    with pytest.raises(StorageError, match="latest is not a link") as refused:
        latest.advance("2025-08-08")
    assert refused.value.path == layout.latest
    assert os.path.exists(f"{layout.latest}/precious" if kind == "folder" else layout.latest)
    shutil.rmtree(layout.latest) if kind == "folder" else os.unlink(layout.latest)
    latest.advance("2025-08-08")
    assert target(layout) == "daily/2025-08-08"


def test_the_state_folder_removed_under_us_is_made_again(layout: Layout, latest: LatestLink) -> None:
    add_day(layout, "2025-08-08")
    latest.advance("2025-08-08")
    shutil.rmtree(layout.root)
    add_day(layout, "2025-08-09")
    latest.advance("2025-08-09")
    assert target(layout) == "daily/2025-08-09"


def test_a_link_that_somebody_removed_is_made_again(layout: Layout, latest: LatestLink) -> None:
    for day in ("2025-08-07", "2025-08-08"):
        add_day(layout, day)
        latest.advance(day)
    os.unlink(layout.latest)
    latest.advance("2025-08-07")
    assert target(layout) == "daily/2025-08-08"


def test_a_refused_move_is_made_good_by_the_next(layout: Layout, latest: LatestLink, disk: Disk) -> None:
    add_day(layout, "2025-08-08")
    disk.refuse("replace", errno.EROFS, times=1)
    with pytest.raises(StorageError, match=os.strerror(errno.EROFS)):
        latest.advance("2025-08-08")
    latest.advance("2025-08-08")
    assert target(layout) == "daily/2025-08-08"


def test_the_link_is_durable_when_it_has_moved(layout: Layout, latest: LatestLink, disk: Disk) -> None:
    add_day(layout, "2025-08-08")
    latest.advance("2025-08-08")
    assert disk.calls.index(("replace", layout.latest)) < len(disk.calls) - disk.calls[::-1].index(
        ("fsync folder", layout.root)
    )
    before = len(disk.calls)
    latest.advance("2025-08-08")
    assert len(disk.calls) == before


def test_a_reader_always_finds_a_day_while_it_moves(layout: Layout, latest: LatestLink) -> None:
    days = [f"2025-{month:02}-{day:02}" for month in range(1, 6) for day in range(1, 29)]
    for day in days:
        add_day(layout, day)
    Path(layout.latest).unlink(missing_ok=True)
    os.symlink(f"daily/{days[0]}", layout.latest)
    seen: list[str] = []
    missing: list[OSError] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            try:
                seen.append(target(layout))
                os.stat(f"{layout.latest}/processed/a.json")
            except OSError as error:
                missing.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for day in days:
        latest.advance(day)
    stop.set()
    reader.join()
    assert not missing
    assert seen == sorted(seen)
    assert len(set(seen)) > 1


def test_recorders_in_several_processes_end_at_the_newest_day(layout: Layout) -> None:
    code = """
import sys
from app.store import latest
from app.store.files import DurableFiles
from app.store.layout import Layout
latest._LOCK_TIMEOUT_S = 60  # recorders try again later; here a busy machine is no failure
layout = Layout(sys.argv[1])
files = DurableFiles(layout.root, sys.argv[2])
link = latest.LatestLink(layout, files)
for day in sys.argv[3:]:
    link.advance(day)
files.close()
"""
    days = [f"2025-08-{day:02}" for day in range(1, 31)]
    for day in days:
        add_day(layout, day)
    os.symlink("daily/2025-08-01", layout.latest)
    orders = [days, days[::-1], days[::2] + days[1::2]]
    processes = [
        subprocess.Popen([sys.executable, "-c", code, layout.root, f"w{number}", *order], cwd=REPOSITORY)
        for number, order in enumerate(orders)
    ]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert target(layout) == "daily/2025-08-30"
    assert not [name for name in os.listdir(layout.root) if name.endswith(".tmp")]


def test_only_one_holds_a_lock(tmp_path: Path) -> None:
    path = str(tmp_path / "some.lock")
    inside = itertools.count()
    most: list[int] = []

    def hold() -> None:
        for _ in range(20):
            with exclusive(path, 10.0):
                mine = next(inside)
                most.append(mine)
                assert next(inside) == mine + 1

    threads = [threading.Thread(target=hold) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == sorted(most)
    assert most == list(range(0, 120, 2))


@pytest.fixture
def lock_holder(tmp_path: Path) -> Iterator[str]:
    path = str(tmp_path / "some.lock")
    code = "import fcntl, sys; f = open(sys.argv[1], 'a'); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True); input()"
    holder = subprocess.Popen(
        [sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    yield path
    holder.kill()
    holder.communicate()


def test_a_lock_that_somebody_holds_too_long_is_an_error(lock_holder: str) -> None:
    with pytest.raises(StorageError, match="holds a lock too long") as refused, exclusive(lock_holder, 0.02):
        pytest.fail("two hold the lock")
    assert refused.value.path == lock_holder
