"""`python -m bench.floors LEVEL [zlib]`: the least that recording can take, step by step, one batch after another.

It takes the same jobs from the same Redis in batches of the same size, and writes the same bytes, but does no
bookkeeping: no job is marked finished, there is no summary, and a crash loses what is in hand. It unpacks with ISA-L as
the recorder does, or with zlib.
"""

from __future__ import annotations

import os
import pickle
import sys
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import orjson
from isal import isal_zlib
from redis import Redis

from bench.ticks import tick
from bench.workload import QUEUE_KEY

LEVELS = ("fetch", "decode", "encode", "write", "sync")
"""Each does what those before it do, and one thing more."""

BATCH = 100
SYNC_THREADS = 16

_TAKE = """
local jobs = {}
for _, id in ipairs(redis.call('LRANGE', KEYS[1], 0, ARGV[1] - 1)) do
    jobs[#jobs + 1] = redis.call('HGETALL', ARGV[2] .. id)
end
redis.call('LTRIM', KEYS[1], ARGV[1], -1)
return jobs
"""


Unpack = Callable[[bytes], bytes]


def run(level: str, unpack: Unpack, connection: Redis, folder: str) -> None:
    """Work off the queue, and wait for more, until killed."""
    take = connection.register_script(_TAKE)
    steps = LEVELS.index(level)
    with ThreadPoolExecutor(SYNC_THREADS) as threads:
        connection.ping()
        print("ready", flush=True)
        while True:
            taken = cast(list[list[bytes]], take(keys=[QUEUE_KEY], args=[BATCH, "rq:job:"]))
            if not taken:
                connection.blmove(QUEUE_KEY, QUEUE_KEY, 0, "LEFT", "LEFT")  # changes nothing, once there is a job
                continue
            _handle(taken, steps, unpack, folder, lambda handles: list(threads.map(os.fsync, handles)))
            tick(len(taken))


def _handle(
    taken: list[list[bytes]], steps: int, unpack: Unpack, folder: str, sync_all: Callable[[list[int]], object]
) -> None:
    payloads = [fields[fields.index(b"data") + 1] for fields in taken]
    if steps < 1:
        return
    results = [_decode(unpack(payload)) for payload in payloads]
    if steps < 2:
        return
    contents = [orjson.dumps(result, option=orjson.OPT_INDENT_2) for result in results]
    if steps < 3:
        return
    paths = [os.path.join(folder, f"{result['job_id']}.json") for result in results]
    handles = [_write(path + ".tmp", content) for path, content in zip(paths, contents, strict=True)]
    if steps == 4:
        sync_all(handles)
    for path, handle in zip(paths, handles, strict=True):
        os.close(handle)
        os.rename(path + ".tmp", path)
    if steps == 4:
        _sync_folder(folder)


def _decode(payload: bytes) -> dict[str, Any]:
    _, _, (result,), _ = pickle.loads(payload)  # noqa: S301  we made it ourselves
    return cast(dict[str, Any], result)


def _write(path: str, content: bytes) -> int:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    os.write(handle, content)
    return handle


def _sync_folder(folder: str) -> None:
    handle = os.open(folder, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)


if __name__ == "__main__":
    with Redis.from_url(os.environ["REDIS_URL"]) as redis:
        run(
            sys.argv[1],
            zlib.decompress if "zlib" in sys.argv else isal_zlib.decompress,
            redis,
            os.environ["OUTPUT_DIR"],
        )
