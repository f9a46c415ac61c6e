"""What takes the place of a recorded job's payload in Redis: a few bytes that say where the result is.

RQ keeps a finished job for as long as its `result_ttl`, and with it the payload, which is on disk by then. A receipt is
a call of `record_result` as RQ packs one, so that `Job.fetch`, `rq info` and rq-dashboard read it like any other.
"""

from __future__ import annotations

import json
import pickle

from app.recorder.decode import RECEIPT_ARGUMENT, RECORD_FUNCTION


def receipt(path: str, *, json_serializer: bool) -> bytes:
    """A job's `data`, as its producer's serializer would make it, that says in which file its result is."""
    call = (RECORD_FUNCTION, None, (), {RECEIPT_ARGUMENT: path})
    return json.dumps(call).encode() if json_serializer else pickle.dumps(call, protocol=pickle.HIGHEST_PROTOCOL)
