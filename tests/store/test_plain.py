from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path

import pytest

from app.store.plain import open_beneath, read_beneath, read_plain


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "a/b").mkdir(parents=True)
    (root / "a/b/file").write_bytes(b"content")
    (tmp_path / "secret").write_bytes(b"secret")
    return root


def test_a_plain_file_is_read_with_its_time(root: Path) -> None:
    path = root / "a/b/file"
    assert read_plain(str(path)) == (b"content", path.stat().st_mtime)
    assert read_beneath(str(root), "a/b/file") == b"content"
    assert read_beneath(f"{root}/a/b", "file") == b"content"


@pytest.mark.parametrize("linked", ["a/b/file", "a/b", "a"])
def test_no_link_beneath_the_root_is_followed_wherever_it_is_on_the_way(root: Path, linked: str) -> None:
    (root / linked).rename(root / "moved")
    (root / linked).symlink_to(root / "moved")
    with pytest.raises(OSError, match=r"(symbolic link|Not a directory)"):
        read_beneath(str(root), "a/b/file")


def test_the_root_itself_may_be_a_link(root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root)
    assert read_beneath(f"{tmp_path}/link", "a/b/file") == b"content"


@pytest.mark.parametrize("name", ["../secret", "a/../../secret", "a/b/../../../secret"])
def test_no_path_leaves_the_root(root: Path, name: str) -> None:
    with pytest.raises(OSError, match=r"\.\."):
        read_beneath(str(root), name)


def test_what_is_no_plain_file_is_not_read_and_can_not_hang(root: Path) -> None:
    os.mkfifo(root / "pipe")
    (root / "link").symlink_to("a/b/file")
    for name in ("pipe", "a", "link"):
        with pytest.raises(OSError, match=r"(no plain file|symbolic link)"):
            read_plain(str(root / name))
        with pytest.raises(OSError, match=r"(no plain file|symbolic link)"):
            read_beneath(str(root), name)


def test_a_file_over_the_limit_is_not_read(root: Path) -> None:
    assert read_beneath(str(root), "a/b/file", max_bytes=7) == b"content"
    with pytest.raises(OSError, match="more than 6 bytes") as failure:
        read_beneath(str(root), "a/b/file", max_bytes=6)
    assert failure.value.errno == errno.EFBIG


def test_nothing_stays_open(root: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for name in ("a/b/file", "a/none", "none/file", "a", "a/../x"):
        with suppress(OSError):
            read_beneath(str(root), name)
    os.close(open_beneath(str(root), "a/b"))
    assert len(os.listdir("/proc/self/fd")) == before
