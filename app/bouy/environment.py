"""Which of the caller's variables reach a service or a command, and the PATH that they get."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

BASE = ("HOME", "LANG", "LANGUAGE", "LC_*", "LOGNAME", "SHELL", "TMPDIR", "TZ", "USER", "XDG_RUNTIME_DIR")
"""What any program may expect; a change of these restarts nothing."""


def selected(environ: Mapping[str, str], patterns: Iterable[str]) -> dict[str, str]:
    """The variables whose name matches one of the patterns (as ``LOG_*``); an empty one counts as not set."""
    wanted = tuple(patterns)
    return {
        name: value
        for name, value in sorted(environ.items())
        if value and any(fnmatchcase(name, pattern) for pattern in wanted)
    }


def base(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment that every service starts from."""
    return {**selected(environ, BASE), "PATH": search_path(environ), "PYTHONUNBUFFERED": "1"}


def search_path(environ: Mapping[str, str], *first: Path) -> str:
    """A PATH with the given folders and this Python's own before the caller's."""
    folders = [*map(str, first), os.path.dirname(sys.executable), environ.get("PATH") or os.defpath]
    return os.pathsep.join(folders)
