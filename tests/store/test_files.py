from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.store.errors import NameTooLongError, StorageError
from app.store.files import MIN_FREE_INODES, DurableFiles, Staged, sweep
from tests.store.faults import Disk

CONTENT = b"{}" * 10_000
WRITE_STEPS = ["mkdir", "open", "write", "fsync file", "fsync folder"]


def path_in(root: str, name: str = "a.json", folder: str = "daily/2025-08-08/processed") -> str:
    return f"{root}/{folder}/{name}"


def names(root: str) -> list[str]:
    return sorted(name for _, _, found in os.walk(root) for name in found)


def visible(root: str) -> list[str]:
    return [str(path) for path in sorted(Path(root).rglob("*.json"))]


def record(files: DurableFiles, path: str, content: bytes = CONTENT) -> bool:
    """A whole durable write, as the recorder does it; raises StorageError with nothing left behind."""
    staged: list[Staged] = []
    try:
        staged.append(files.stage(path, content))
        placed = files.place(staged[0])
        files.sync_folders()
    except StorageError:
        files.abandon(staged)
        raise
    if not placed:
        files.discard(staged[0])
    return placed


@contextmanager
def umask(mask: int) -> Iterator[None]:
    old = os.umask(mask)
    try:
        yield
    finally:
        os.umask(old)


def test_a_placed_file_is_whole_and_alone(root: str, files: DurableFiles) -> None:
    path = path_in(root)
    assert record(files, path)
    assert Path(path).read_bytes() == CONTENT
    assert names(root) == ["a.json"]


def test_a_file_has_no_name_before_it_is_placed(root: str, files: DurableFiles) -> None:
    staged = files.stage(path_in(root), CONTENT)
    files.begin()
    assert visible(root) == []
    assert names(root) == [os.path.basename(staged.temporary)]
    assert os.path.dirname(staged.temporary) == os.path.dirname(staged.path)
    files.abandon([staged])


def test_bytes_then_name_then_folders_reach_the_disk_in_this_order(root: str, files: DurableFiles, disk: Disk) -> None:
    path = path_in(root)
    staged = files.stage(path, CONTENT)
    assert disk.done("link") == []
    files.place(staged)
    files.sync_folders()
    order = [step for step, about in disk.calls if about in (path, staged.temporary)]
    assert order == ["open", "write", "fsync file", "link", "unlink"]
    assert disk.calls.index(("fsync folder", os.path.dirname(path))) > disk.calls.index(("link", path))


def test_every_new_folder_is_made_durable_in_the_one_above_it(root: str, files: DurableFiles, disk: Disk) -> None:
    files.stage(path_in(root), CONTENT)
    above = [f"{root}/daily/2025-08-08", f"{root}/daily", root]
    assert disk.done("fsync folder") == above
    assert [disk.calls.index(("mkdir", f"{root}/{name}")) for name in ("daily", "daily/2025-08-08")] == [0, 1]


def test_the_root_itself_is_made_durable_in_the_folder_above_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch, str(tmp_path))
    DurableFiles(str(tmp_path / "a" / "b"), "w").close()
    assert disk.calls[0] == ("mkdir", str(tmp_path / "a"))
    assert disk.done("fsync folder") == [str(tmp_path), str(tmp_path / "a")]


def test_a_folder_that_was_there_already_is_synced_once_by_every_writer(root: str, files: DurableFiles) -> None:
    record(files, path_in(root))
    with pytest.MonkeyPatch.context() as monkeypatch:
        disk = Disk(monkeypatch, root)
        other = DurableFiles(root, "writer-2")
        for name in ("b.json", "c.json"):
            other.stage(path_in(root, name), CONTENT)
        other.close()
        assert disk.done("fsync folder") == [f"{root}/daily/2025-08-08", f"{root}/daily", root]


def test_many_files_share_one_sync_of_their_folder(root: str, files: DurableFiles, disk: Disk) -> None:
    staged = [files.stage(path_in(root, f"{number}.json"), CONTENT) for number in range(50)]
    assert all(files.place(one) for one in staged)
    before = len(disk.done("fsync folder"))
    files.sync_folders()
    assert disk.done("fsync folder")[before:] == [os.path.dirname(path_in(root))]
    files.sync_folders()
    assert len(disk.done("fsync folder")) == before + 1
    assert len(disk.done("fsync file")) == 50


def test_a_write_that_the_disk_takes_in_pieces_is_whole(
    root: str, files: DurableFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: real(handle, data[:7]))
    record(files, path_in(root), b"0123456789" * 3)
    assert Path(path_in(root)).read_bytes() == b"0123456789" * 3


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT])
@pytest.mark.parametrize("step", [*WRITE_STEPS, "link", "unlink"])
def test_a_disk_that_refuses_any_step_of_a_write_gives_a_clear_error_and_no_partial_file(
    root: str, files: DurableFiles, disk: Disk, step: str, code: int
) -> None:
    path = path_in(root)
    disk.refuse(step, code, times=1)
    with pytest.raises(StorageError) as refused:
        record(files, path)
    assert os.strerror(code) in refused.value.message
    assert refused.value.path is not None
    assert refused.value.path.startswith(root)
    assert refused.value.hint is not None
    assert isinstance(refused.value.__cause__, OSError)
    assert all(Path(found).read_bytes() == CONTENT for found in visible(root))
    assert not [name for name in names(root) if name.endswith(".tmp")]
    disk.work()
    record(files, path)
    assert Path(path).read_bytes() == CONTENT
    assert names(root) == ["a.json"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("step", ["open", "write", "fsync file", "replace", "fsync folder"])
def test_a_refused_replacement_leaves_the_old_file_or_the_whole_new_one(
    root: str, files: DurableFiles, disk: Disk, step: str, code: int
) -> None:
    path = f"{root}/daily/2025-08-08/summary.json"
    files.write(path, b"old")
    disk.refuse(step, code, times=1)
    with pytest.raises(StorageError, match=os.strerror(code)):
        files.write(path, b"the new one")
    assert Path(path).read_bytes() in (b"old", b"the new one")
    assert names(root) == ["summary.json"]
    files.write(path, b"the newest")
    assert Path(path).read_bytes() == b"the newest"


@pytest.mark.parametrize("step", ["symlink", "replace", "fsync folder"])
def test_a_refused_link_leaves_the_old_one_or_the_new_one(
    root: str, files: DurableFiles, disk: Disk, step: str
) -> None:
    path = f"{root}/latest"
    files.link(path, "daily/2025-08-07")
    disk.refuse(step, errno.EIO, times=1)
    with pytest.raises(StorageError, match=os.strerror(errno.EIO)):
        files.link(path, "daily/2025-08-08")
    assert os.readlink(path) in ("daily/2025-08-07", "daily/2025-08-08")
    assert os.listdir(root) == ["latest"]
    files.link(path, "daily/2025-08-08")
    assert os.readlink(path) == "daily/2025-08-08"


@pytest.mark.parametrize("step", ["link", "fsync folder", "mkdir"])
def test_a_refused_keeping_of_an_older_file_leaves_it_where_it_was(
    root: str, files: DurableFiles, disk: Disk, step: str
) -> None:
    record(files, path_in(root))
    kept = path_in(root, folder="daily/2025-08-08/superseded/processed")
    disk.refuse(step, errno.ENOSPC, times=1)
    with pytest.raises(StorageError, match=os.strerror(errno.ENOSPC)):
        files.keep_as(path_in(root), kept)
        files.sync_folders()
    assert Path(path_in(root)).read_bytes() == CONTENT
    files.keep_as(path_in(root), kept)
    files.keep_as(path_in(root), kept)
    assert Path(kept).read_bytes() == CONTENT


def test_hints_say_what_to_do_about_a_full_disk(root: str, files: DurableFiles, disk: Disk) -> None:
    disk.refuse("write", errno.ENOSPC)
    with pytest.raises(StorageError, match=re.escape("(the disk is full: free some space)")):
        record(files, path_in(root))
    disk.refuse("write", errno.EBADF)
    with pytest.raises(StorageError, match="see the system's log"):
        record(files, path_in(root))


def test_a_refused_sync_of_a_folder_is_made_good_by_the_next(root: str, files: DurableFiles, disk: Disk) -> None:
    files.place(files.stage(path_in(root), CONTENT))
    disk.refuse("fsync folder", errno.EIO, times=1)
    with pytest.raises(StorageError):
        files.sync_folders()
    before = len(disk.done("fsync folder"))
    files.sync_folders()
    assert disk.done("fsync folder")[before:] == [os.path.dirname(path_in(root))]


def test_a_folder_removed_before_its_sync_fails_that_batch_and_no_other(root: str, files: DurableFiles) -> None:
    staged = files.stage(path_in(root), CONTENT)
    files.place(staged)
    shutil.rmtree(f"{root}/daily/2025-08-08")
    with pytest.raises(StorageError, match=os.strerror(errno.ENOENT)):
        files.sync_folders()
    files.abandon([staged])
    assert record(files, path_in(root, folder="daily/2025-08-09/processed"))
    assert record(files, path_in(root))


def test_a_name_is_given_only_once(root: str, files: DurableFiles) -> None:
    assert record(files, path_in(root), b"first")
    assert not record(files, path_in(root), b"second")
    assert Path(path_in(root)).read_bytes() == b"first"
    assert names(root) == ["a.json"]


def test_of_many_writers_of_one_name_exactly_one_gets_it(root: str) -> None:
    writers = [DurableFiles(root, f"writer-{number}") for number in range(8)]
    placed: list[int] = []
    start = threading.Barrier(len(writers))

    def race(number: int) -> None:
        start.wait()
        for round_number in range(10):
            if record(writers[number], path_in(root, f"{round_number}.json"), b"%d" % number):
                placed.append(round_number)

    threads = [threading.Thread(target=race, args=(number,)) for number in range(len(writers))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for writer in writers:
        writer.close()
    assert sorted(placed) == list(range(10))
    assert len(names(root)) == 10


def test_the_folder_of_a_name_that_was_taken_is_synced_too(root: str, files: DurableFiles, disk: Disk) -> None:
    path = path_in(root)
    os.makedirs(os.path.dirname(path))
    Path(path).write_bytes(b"made by somebody who died before the sync")
    staged = files.stage(path, CONTENT)
    disk.calls.clear()
    assert not files.place(staged)
    files.sync_folders()
    assert disk.done("fsync folder") == [os.path.dirname(path)]
    files.discard(staged)


def test_a_folder_removed_under_us_is_made_again_by_the_next_try(root: str, files: DurableFiles) -> None:
    record(files, path_in(root))
    shutil.rmtree(root)
    with pytest.raises(StorageError, match=os.strerror(errno.ENOENT)):
        record(files, path_in(root))
    assert record(files, path_in(root))
    assert names(root) == ["a.json"]


def test_a_summary_is_written_again_after_its_folder_was_removed(root: str, files: DurableFiles) -> None:
    path = f"{root}/daily/2025-08-08/summary.json"
    files.write(path, b"1")
    shutil.rmtree(f"{root}/daily")
    with pytest.raises(StorageError):
        files.write(path, b"2")
    files.write(path, b"3")
    assert Path(path).read_bytes() == b"3"


def test_a_file_where_a_folder_is_needed_is_an_error_that_says_so(root: str, files: DurableFiles) -> None:
    Path(root, "daily").write_text("not a folder")
    with pytest.raises(StorageError) as refused:
        record(files, path_in(root))
    assert refused.value.path is not None
    with pytest.raises(StorageError):
        DurableFiles(f"{root}/daily/below", "w")


def test_abandoning_removes_the_temporaries_of_the_whole_batch(root: str, files: DurableFiles, disk: Disk) -> None:
    disk.refuse("write", errno.ENOSPC, times=3)
    staged = [files.stage(path_in(root, f"{number}.json"), CONTENT) for number in range(10)]
    files.abandon(staged)
    assert names(root) == []
    files.abandon(staged)


def test_abandoning_what_was_placed_removes_nothing(root: str, files: DurableFiles) -> None:
    staged = files.stage(path_in(root), CONTENT)
    files.place(staged)
    files.abandon([staged])
    assert names(root) == ["a.json"]


def test_a_sweep_removes_only_the_temporaries_of_the_dead_writer(root: str, files: DurableFiles) -> None:
    live = DurableFiles(root, "writer-11")
    for one in (files, live):
        for number in range(3):
            one.stage(path_in(root, f"{number}.json"), CONTENT)
        one.begin()
    record(files, path_in(root))
    folder = os.path.dirname(path_in(root))
    strangers = [".journal", ".writer-1.notes", "writer-1.0.tmp", ".writer-1x.0.tmp", "b.json", ".DS_Store"]
    for name in strangers:
        Path(folder, name).touch()
    assert sweep([folder], "writer-1") == 3
    assert sweep([folder], "writer-1") == 0
    assert [name for name in names(root) if name.startswith(".writer-1.") and name.endswith(".tmp")] == []
    assert len([name for name in names(root) if name.startswith(".writer-11.")]) == 3
    assert set(strangers) | {"a.json"} <= set(names(root))
    live.close()


def test_temporaries_never_look_like_recordings(root: str, files: DurableFiles) -> None:
    temporaries = {files.stage(path_in(root, f"{number}.json"), CONTENT).temporary for number in range(5)}
    assert len(temporaries) == 5
    for temporary in temporaries:
        assert os.path.basename(temporary).startswith(".")
        assert not temporary.endswith(".json")


@pytest.mark.parametrize(
    ("mask", "file_mode", "folder_mode"), [(0o022, 0o644, 0o755), (0o077, 0o600, 0o700), (0o002, 0o664, 0o775)]
)
def test_the_umask_decides_who_may_read(
    root: str, files: DurableFiles, mask: int, file_mode: int, folder_mode: int
) -> None:
    with umask(mask):
        record(files, path_in(root))
        files.write(f"{root}/daily/2025-08-08/summary.json", b"{}")
    for path in visible(root):
        assert stat.S_IMODE(os.stat(path).st_mode) == file_mode
    assert stat.S_IMODE(os.stat(f"{root}/daily/2025-08-08").st_mode) == folder_mode


def test_a_temporary_never_follows_or_overwrites_what_is_there(root: str, files: DurableFiles, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    folder = os.path.dirname(path_in(root))
    os.makedirs(folder)
    os.symlink(victim, f"{folder}/.writer-1.0.tmp")
    with pytest.raises(StorageError, match=os.strerror(errno.EEXIST)):
        record(files, path_in(root))
    assert victim.read_text() == "precious"


# Room


MIB = 1024**2


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Says how much of the disk is free; returns the folders of which that is asked from then on."""

    def say(mib: float, inodes: int = 1_000_000, total_inodes: int = 2_000_000) -> list[str]:
        asked: list[str] = []

        def statvfs(folder: str) -> os.statvfs_result:
            os.stat(folder)
            asked.append(folder)
            # No measure are the size preferred for transfers (f_bsize) and what only root may use (f_bfree, f_ffree).
            return os.statvfs_result(
                (MIB, 512, 10**9, 10**9, int(mib * MIB) // 512, total_inodes, total_inodes, inodes, 0, 255)
            )

        monkeypatch.setattr(os, "statvfs", statvfs)
        return asked

    return say


def test_a_disk_with_room_is_no_error(root: str, files: DurableFiles, free: Callable[..., list[str]]) -> None:
    asked = free(200)
    files.check_room(200 * MIB)
    assert asked == [root]


def test_less_than_the_reserve_is_an_error_with_the_figures_and_what_to_do(
    root: str, files: DurableFiles, free: Callable[..., list[str]]
) -> None:
    free(199.9)
    with pytest.raises(StorageError, match="less than 200 MiB are free") as refused:
        files.check_room(200 * MIB)
    assert refused.value.path == root
    assert "199 MiB are left" in str(refused.value.hint)
    assert "RECORDER_MIN_FREE_MB" in str(refused.value.hint)


def test_hardly_any_inodes_are_an_error_that_says_so(
    root: str, files: DurableFiles, free: Callable[..., list[str]]
) -> None:
    free(10_000, inodes=MIN_FREE_INODES)
    files.check_room(MIB)
    free(10_000, inodes=MIN_FREE_INODES - 1)
    with pytest.raises(StorageError, match="inodes are free") as refused:
        files.check_room(MIB)
    assert refused.value.path == root
    assert "remove files" in str(refused.value.hint)


def test_a_file_system_that_counts_no_inodes_has_enough_of_them(
    files: DurableFiles, free: Callable[..., list[str]]
) -> None:
    free(10_000, inodes=0, total_inodes=0)
    files.check_room(MIB)


def test_without_a_reserve_a_full_disk_is_found_out_by_writing(
    files: DurableFiles, free: Callable[..., list[str]]
) -> None:
    free(0, inodes=0)
    files.check_room(0)


def test_room_is_asked_of_the_folder_above_one_that_was_removed(
    root: str, files: DurableFiles, free: Callable[..., list[str]]
) -> None:
    shutil.rmtree(root)
    asked = free(200)
    files.check_room(200 * MIB)
    assert asked == [os.path.dirname(root)]


def test_a_disk_that_does_not_say_how_much_is_free_is_an_error_with_a_hint(
    root: str, files: DurableFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    def statvfs(folder: str) -> os.statvfs_result:
        raise OSError(errno.EIO, os.strerror(errno.EIO), folder)

    monkeypatch.setattr(os, "statvfs", statvfs)
    with pytest.raises(StorageError, match="how much is free") as refused:
        files.check_room(0)
    assert refused.value.path == root
    assert "health" in str(refused.value.hint)


# Names that are too long


@pytest.mark.parametrize("step", ["mkdir", "link"])
def test_a_name_that_is_too_long_is_an_error_of_its_own_and_leaves_nothing(
    root: str, files: DurableFiles, disk: Disk, step: str
) -> None:
    record(files, path_in(root, "before.json"))
    too_long = path_in(root, folder="daily/2025-08-08/scrapers")
    disk.refuse(step, errno.ENAMETOOLONG, times=1)
    with pytest.raises(NameTooLongError, match=os.strerror(errno.ENAMETOOLONG)) as refused:
        files.place(files.stage(too_long, CONTENT))
    assert f"{root}/daily/2025-08-08/scrapers" in str(refused.value.path)
    assert visible(root) == [path_in(root, "before.json")]
    record(files, path_in(root, "after.json"))


def test_a_name_that_a_real_file_system_refuses_is_an_error_of_its_own(root: str, files: DurableFiles) -> None:
    staged = files.stage(path_in(root, "x" * 300), CONTENT)
    with pytest.raises(NameTooLongError, match=os.strerror(errno.ENAMETOOLONG)):
        files.place(staged)
    files.discard(staged)
    assert names(root) == []
    with pytest.raises(NameTooLongError, match=os.strerror(errno.ENAMETOOLONG)):
        files.stage(path_in(root, folder="x" * 300), CONTENT)


# What could not be removed


@pytest.mark.parametrize("code", [errno.EROFS, errno.EIO])
def test_temporaries_that_could_not_be_removed_are_removed_when_the_disk_works_again(
    root: str, files: DurableFiles, disk: Disk, code: int
) -> None:
    staged = [files.stage(path_in(root, f"{number}.json"), CONTENT) for number in range(3)]
    disk.refuse("unlink", code)
    with pytest.raises(StorageError):
        files.place(staged[0])
    files.abandon(staged)
    disk.work()
    record(files, path_in(root, "0.json"))
    files.abandon([])
    files.close()
    assert names(root) == ["0.json"]


def test_temporaries_on_a_disk_that_was_away_are_removed_when_it_is_back(root: str, files: DurableFiles) -> None:
    staged = [files.stage(path_in(root, f"{number}.json"), CONTENT) for number in range(3)]
    files.begin()
    os.rename(root, f"{root}-away")
    files.abandon(staged)
    os.rename(f"{root}-away", root)
    record(files, path_in(root, "0.json"))
    assert names(root) == ["0.json"]


def test_a_sweep_makes_sure_of_what_the_dead_writer_removed_itself(root: str, files: DurableFiles, disk: Disk) -> None:
    record(files, path_in(root, "kept.json"))
    folder = os.path.dirname(path_in(root, "kept.json"))
    disk.calls.clear()
    assert sweep([folder], "writer-1") == 0
    assert disk.done("fsync folder") == [folder]


def test_a_file_written_piece_by_piece_has_its_name_only_once_it_is_whole(files: DurableFiles, root: str) -> None:
    path = f"{root}/large"
    files.write(path, b"old")
    with files.draft(root) as draft:
        draft.file.write(b"new")
        draft.file.flush()
        assert Path(path).read_bytes() == b"old"
        files.finish(draft, path)
    assert Path(path).read_bytes() == b"new"
    assert os.listdir(root) == ["large"]


def test_a_draft_that_is_given_up_is_gone(files: DurableFiles, root: str) -> None:
    with pytest.raises(KeyboardInterrupt), files.draft(root) as draft:
        draft.file.write(b"half")
        raise KeyboardInterrupt
    assert os.listdir(root) == []


@pytest.mark.parametrize("step", ["fsync file", "replace", "fsync folder"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_draft_that_the_disk_refuses_is_an_error_and_leaves_one_whole_file(
    files: DurableFiles, root: str, disk: Disk, step: str, code: int
) -> None:
    path = f"{root}/large"
    files.write(path, b"old")
    disk.refuse(step, code)
    with pytest.raises(StorageError, match=os.strerror(code)), files.draft(root) as draft:
        draft.file.write(b"new")
        files.finish(draft, path)
    disk.work()
    assert os.listdir(root) == ["large"]
    assert Path(path).read_bytes() == (b"new" if step == "fsync folder" else b"old")


def test_a_folder_moves_in_one_step_and_both_ends_are_synced(files: DurableFiles, root: str, disk: Disk) -> None:
    files.write(f"{root}/from/day/file", b"x")
    disk.calls.clear()
    files.move(f"{root}/from/day", f"{root}/to/day")
    assert Path(f"{root}/to/day/file").read_bytes() == b"x"
    assert set(disk.done("fsync folder")) >= {f"{root}/from", f"{root}/to", root}
    with pytest.raises(StorageError, match="can't move"):
        files.move(f"{root}/from/day", f"{root}/elsewhere/day")
