"""The task that the other queues run: the result as a file, and nothing else. No summary, no fsync."""

from __future__ import annotations

import os
from typing import Any

import orjson

from bench.ticks import tick


def write_file(data: dict[str, Any]) -> None:
    """Write one result as indented JSON."""
    with open(os.path.join(os.environ["OUTPUT_DIR"], f"{data['job_id']}.json"), "wb") as file:
        file.write(orjson.dumps(data, option=orjson.OPT_INDENT_2))
    tick()
