"""Coverage-guided fuzzing of the payload decoder: `python -m tests.fuzz.fuzz_payload CORPUS_DIR [libFuzzer options]`.

CORPUS_DIR keeps what was found worth keeping, and is where the next run goes on; an empty one is filled with seeds.
An input that breaks a promise ends the run with an error, and is kept in CORPUS_DIR.found: give that file instead of
a folder to see it again, make it small (`-minimize_crash=1 -runs=100000 FILE`), write it by hand as short as can be,
and put it into tests/fuzz/regressions. Useful: `-max_total_time=600`, `-jobs`, `-merge=1 NEW_DIR OLD_DIR`.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any

atheris: Any = importlib.import_module("atheris")  # it has no types, and not every machine has it

with atheris.instrument_imports(include=["app.recorder", "app.store", "tests.fuzz.target"]):
    from tests.fuzz import programs, seeds, target

_DEFAULTS = {
    "-timeout": "20",  # seconds an input
    "-rss_limit_mb": "700",
    "-max_len": "20000",
    "-len_control": "0",
    "-reload": "0",
    "-print_final_stats": "1",
}


def main(argv: list[str]) -> None:
    """Fuzz until libFuzzer is done; never returns."""
    places = [Path(arg) for arg in argv[1:] if not arg.startswith("-")]
    if not places:
        sys.exit(__doc__)
    options = {**_DEFAULTS}
    if not places[0].is_file():
        if not places[0].is_dir() or not any(places[0].iterdir()):
            seeds.write(places[0], seeds.hand_made(), seeds.regressions())
        found = Path(f"{places[0]}.found")
        os.makedirs(found, exist_ok=True)
        options["-artifact_prefix"] = f"{found}/"
    given = {arg.partition("=")[0] for arg in argv[1:]}
    argv = [*argv, *(f"{name}={value}" for name, value in options.items() if name not in given)]
    atheris.Setup(argv, _one, custom_mutator=_mutate)
    atheris.Fuzz()


def _one(payload: bytes) -> None:
    target.check(payload)


def _mutate(payload: bytes, max_size: int, seed: int) -> bytes:
    return programs.mutate(payload, max_size, seed, atheris.Mutate)


if __name__ == "__main__":
    main(sys.argv)
