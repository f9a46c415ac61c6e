"""A disk that refuses, on request, and remembers what was asked of it."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from typing import Any

import pytest

STEPS = ("mkdir", "open", "write", "fsync file", "link", "replace", "unlink", "fsync folder", "symlink")


class Disk:
    """Wraps the functions of `os` that touch a disk."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, root: str) -> None:
        self.calls: list[tuple[str, str]] = []
        """Each step that was done below the root, and the path or the name in its folder."""
        self._root = root
        self._code = 0
        self._step = ""
        self._path = ""
        self._left = 0
        self._skip = 0
        for name in ("open", "write", "fsync", "link", "replace", "unlink", "mkdir", "symlink"):
            monkeypatch.setattr(os, name, self._wrapped(name, getattr(os, name)))

    def refuse(
        self, step: str, code: int = errno.ENOSPC, *, path: str = "", times: int = 1_000_000, after: int = 0
    ) -> None:
        """From now on `step` (of `path`) fails with `code`, so many times, once it was done `after` times."""
        assert step in STEPS
        self._step, self._code, self._path, self._left, self._skip = step, code, path, times, after

    def work(self) -> None:
        """Everything works again."""
        self._left = 0

    @property
    def refused(self) -> bool:
        """Whether every refusal that was asked for has happened."""
        return self._left == 0

    def done(self, step: str) -> list[str]:
        """The paths of which a step was done."""
        return [path for name, path in self.calls if name == step]

    def _wrapped(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            step, path = self._identify(name, args)
            if not path.startswith(self._root):
                return real(*args, **kwargs)
            if self._left > 0 and self._must_fail(step, path):
                self._left -= 1
                raise OSError(self._code, os.strerror(self._code), path)
            result = real(*args, **kwargs)
            self.calls.append((step, path))
            return result

        return call

    def _must_fail(self, step: str, path: str) -> bool:
        if step != self._step or self._path not in ("", path):
            return False
        self._skip -= 1
        return self._skip < 0

    @staticmethod
    def _identify(name: str, args: tuple[Any, ...]) -> tuple[str, str]:
        if name in ("write", "fsync"):
            path = os.readlink(f"/proc/self/fd/{args[0]}")
            kind = "folder" if stat.S_ISDIR(os.fstat(args[0]).st_mode) else "file"
            return (f"fsync {kind}" if name == "fsync" else "write"), path
        if name == "open" and not args[1] & os.O_CREAT:
            return "open for reading", os.fspath(args[0])
        if name in ("link", "replace", "symlink"):
            return name, os.fspath(args[1])
        return name, os.fspath(args[0]) if not isinstance(args[0], int) else ""
