"""`python -m bench.steps [--from DIR]`: what preparing one result costs, step by step, in one process without a disk.

Each figure is the best of several passes over the same results; steps that are indented are parts of the one above.
"""

from __future__ import annotations

import os
import pickle
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from isal import isal_zlib

from app.bouy.output import Output
from app.recorder.decode import RECORD_FUNCTION, decode_result, loads
from app.service.command import run_command
from app.store import encode, record
from bench.workload import load_workload

_PASSES = 5
_MAX_BYTES = 256 * 1024 * 1024

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def steps(
    source: Annotated[Path | None, typer.Option("--from", metavar="DIR", help="Use these results.")] = None,
    count: Annotated[int, typer.Option("--results", metavar="N", min=1, help="How many.")] = 1_500,
) -> None:
    """Time the steps that prepare a result."""
    results = load_workload(source, count).results(0, count)
    payloads = [pickle.dumps((RECORD_FUNCTION, None, (result,), {}), pickle.HIGHEST_PROTOCOL) for result in results]
    packed = [zlib.compress(payload) for payload in payloads]
    decoded = [decode_result(one) for one in packed]
    now = datetime.now(UTC)
    rows = [
        ("a producer packs with zlib, as RQ does", _cost(zlib.compress, payloads)),
        ("  with ISA-L", _cost(lambda one: isal_zlib.compress(one, isal_zlib.ISAL_BEST_COMPRESSION), payloads)),
        ("decode", _cost(decode_result, packed)),
        ("  unpack", _cost(isal_zlib.decompress, packed)),
        ("  (the same with zlib)", _cost(zlib.decompress, packed)),
        ("  read as data", _cost(loads, payloads)),
        ("  (the same with plain pickle)", _cost(pickle.loads, payloads)),
        (
            "record",
            _cost(
                lambda one: record.build(
                    one.data,
                    enqueued_at=now,
                    now=now,
                    payload_bytes=one.payload_bytes,
                    simple=one.simple,
                    max_bytes=_MAX_BYTES,
                ),
                decoded,
            ),
        ),
        ("  write as JSON", _cost(lambda one: encode.dump(one.data), decoded)),
    ]
    output = Output(os.environ, as_json=False, quiet=False, no_color=False)
    output.table(("step", "us a result"), [(name, f"{cost * 1e6:,.0f}") for name, cost in rows])


def _cost(step: Callable[[Any], object], inputs: Sequence[Any]) -> float:
    best = float("inf")
    for _ in range(_PASSES):
        begun_at = time.perf_counter()
        for one in inputs:
            step(one)
        best = min(best, time.perf_counter() - begun_at)
    return best / len(inputs)


if __name__ == "__main__":
    sys.exit(run_command(app, "bench.steps", see="python -m bench.steps --help"))
