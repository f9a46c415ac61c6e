"""A disk that is a file, with a real ext4 on it; and a copy of what it holds at one moment."""

from __future__ import annotations

import filecmp
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import count
from pathlib import Path

from tests.faults.trace import unavailable

_PROGRAMS = ("mkfs.ext4", "e2fsck", "mount", "umount", "cp")
_MOST_COPIES = 20


def require_loop() -> None:
    """Skip the test where we may not mount."""
    if not _mounting_works():
        unavailable("mounting a loop device takes root, and " + ", ".join(_PROGRAMS))


@cache
def _mounting_works() -> bool:
    return os.geteuid() == 0 and all(map(shutil.which, _PROGRAMS)) and Path("/dev/loop-control").exists()


def make_disk(image: Path) -> None:
    """An empty ext4, all of it laid out now: nothing is to be written to it later but what is asked for."""
    with image.open("wb") as file:
        file.truncate(64 * 1024 * 1024)
    _run("mkfs.ext4", "-q", "-F", "-J", "size=8", "-E", "lazy_itable_init=0,lazy_journal_init=0", str(image))


@contextmanager
def mounted(image: Path, folder: Path) -> Iterator[Path]:
    """The file system of an image. It commits by itself so rarely that only an fsync ever makes it."""
    folder.mkdir(exist_ok=True)
    _run("mount", "-o", "loop,commit=300", str(image), str(folder))
    try:
        yield folder
    finally:
        if subprocess.run(["umount", str(folder)], capture_output=True).returncode != 0:
            _run("umount", "--lazy", str(folder))  # a program that a failed test left behind is still in it


def copy_at_one_moment(image: Path, copy: Path) -> None:
    """What a mounted disk holds, while nobody asks it to write.

    The loop driver writes through the page cache of the image, which is where a copy reads: so it has every write that
    the disk has finished, and none that the file system still keeps to itself in memory. It is as if the power failed
    on a disk without a volatile cache. (What a disk's own cache may lose, only the model of durability says.) The
    kernel may write back old pages at any time, also while we copy: so we copy until two copies are the same, which
    was then the whole image at the moment between them. Nothing that we do here syncs or freezes the file system,
    which would write what a power cut loses.
    """
    _run("cp", "--sparse=always", str(image), str(copy))
    for number in count():
        again = copy.with_suffix(".again")
        _run("cp", "--sparse=always", str(image), str(again))
        same = filecmp.cmp(copy, again, shallow=False)
        again.replace(copy)
        if same:
            return
        assert number < _MOST_COPIES, "the disk is never at rest"


def assert_sound(image: Path) -> None:
    """An unmounted file system has no errors."""
    _run("e2fsck", "-f", "-n", str(image))


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
