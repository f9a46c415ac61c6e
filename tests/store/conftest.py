from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.store.files import DurableFiles
from app.store.layout import Layout
from tests.store.faults import Disk


@pytest.fixture
def root(tmp_path: Path) -> str:
    return str(tmp_path / "out")


@pytest.fixture
def layout(root: str) -> Layout:
    return Layout(root)


@pytest.fixture
def files(root: str) -> Iterator[DurableFiles]:
    files = DurableFiles(root, "writer-1")
    yield files
    files.close()


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch, root: str, files: DurableFiles) -> Disk:
    """The disk under `root`, which is there already."""
    assert os.path.isdir(root)
    return Disk(monkeypatch, root)
