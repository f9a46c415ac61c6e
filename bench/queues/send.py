"""`python -m bench.queues.send MODULE FILE`: hand the results in a file, one a line, to a queue by its own client."""

from __future__ import annotations

import importlib
import sys

import orjson

if __name__ == "__main__":
    queue = importlib.import_module(sys.argv[1])
    with open(sys.argv[2], "rb") as lines:
        for line in lines:
            queue.send(orjson.loads(line))
