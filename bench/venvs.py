"""The virtual environments of the other task queues, made on first use from their requirement files."""

from __future__ import annotations

import subprocess
import sys

from app.store.errors import RecorderError
from bench.lab import ROOT

_VENVS = ROOT / ".bench" / "venvs"
_REQUIREMENTS = ROOT / "bench" / "queues"


def python_of(name: str) -> str:
    """The Python of a queue's environment, which is made or renewed if need be."""
    folder = _VENVS / name
    wanted = (_REQUIREMENTS / f"{name}.txt").read_text()
    installed = folder / "installed.txt"
    if not installed.exists() or installed.read_text() != wanted:
        _run([sys.executable, "-m", "venv", "--clear", str(folder)])
        pip = [
            str(folder / "bin" / "python"),
            "-m",
            "pip",
            "install",
            "-q",
            "--disable-pip-version-check",
            "--no-input",
        ]
        _run([*pip, "-r", str(_REQUIREMENTS / f"{name}.txt")])
        installed.write_text(wanted)
    return str(folder / "bin" / "python")


def _run(command: list[str]) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or [f"exit code {done.returncode}"]
        raise RecorderError(f"can't install a task queue: {lines[-1]}", hint="check the network")
