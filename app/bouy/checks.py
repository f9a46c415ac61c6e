"""`bouy test`: all that must hold of the code, the quickest first, each run whatever the others say."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from app.bouy import environment
from app.bouy.output import Output
from app.store.errors import RecorderError

_WAITING = 2
"""More tests at once than there are processors: half of their time goes into waiting for leases, outages and ends."""

_CHECKS = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("mypy",),
    ("pytest", "-n", str((os.cpu_count() or 1) + _WAITING), "--dist", "worksteal"),
)


def run_checks(root: Path, environ: Mapping[str, str], pytest_arguments: Sequence[str], output: Output) -> int:
    """Run every check in the checkout; 0 when all passed, else 1."""
    missing = sorted({name for name, *_ in _CHECKS if importlib.util.find_spec(name) is None})
    if missing:
        raise RecorderError(f"not installed: {', '.join(missing)}", hint="./bouy test installs them")
    # Without bytecode each of the hundreds of processes would compile the same modules once more.
    variables = {name: value for name, value in environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    variables["PATH"] = environment.search_path(environ)
    results = []
    for name, *arguments in _CHECKS:
        more = pytest_arguments if name == "pytest" else ()
        title = " ".join((name, *(argument for argument in arguments if argument != ".")))
        output.say(f"== {title}")
        started = time.monotonic()
        finished = subprocess.run([sys.executable, "-m", name, *arguments, *more], check=False, cwd=root, env=variables)
        results.append((title, finished.returncode, time.monotonic() - started))
    output.say("")
    rows = [(title, "failed" if code else "passed", f"{seconds:.1f} s") for title, code, seconds in results]
    output.table(("CHECK", "RESULT", "TIME"), rows)
    return 1 if any(code for _, code, _ in results) else 0
