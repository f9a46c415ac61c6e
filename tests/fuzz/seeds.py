"""What the fuzzer starts from: hand-made payloads, those of old clients, and real results made small."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import pickle
import zlib
from pathlib import Path
from typing import Any

from rq import serializers

from app.recorder.decode import RECORD_FUNCTION
from tests.recorder.test_decode import BOMBS, CODE_RUNNERS, HONEST, POISONS, PROTOCOLS, frame

JSONSerializer: Any = serializers.JSONSerializer
REGRESSIONS = Path(__file__).with_name("regressions")
OLD_CLIENTS = Path(__file__).parents[1] / "recorder" / "payloads"
_LONGEST = 20_000


def hand_made() -> dict[str, bytes]:
    """Honest, hostile and broken payloads, by their names."""
    found = {f"runs {name}": frame(value) for name, value in CODE_RUNNERS.items()}
    found |= {f"poison: {name}": frame(value) for name, value in POISONS.items()}
    found |= {f"bomb: {name}": value for name, value in BOMBS.items()}
    found |= {
        f"honest {protocol}": pickle.dumps((RECORD_FUNCTION, None, (HONEST,), {}), protocol) for protocol in PROTOCOLS
    }
    found["honest, by name"] = zlib.compress(pickle.dumps((RECORD_FUNCTION, None, (), {"data": HONEST})))
    found["json"] = JSONSerializer.dumps((RECORD_FUNCTION, None, ({"job_id": "a", "job": {}, "result": [1.5]},), {}))
    found["json, by name"] = zlib.compress(JSONSerializer.dumps((RECORD_FUNCTION, None, [], {"data": {"job_id": "a"}})))
    found["nothing"] = b""
    for path in OLD_CLIENTS.glob("*.json"):
        stored = base64.b64decode(json.loads(path.read_bytes())["data"])
        found[f"old client: {path.stem}"] = stored
        found[f"old client: {path.stem}, unpacked"] = zlib.decompress(stored)
    return found


def regressions() -> dict[str, bytes]:
    """Short payloads, made by hand after inputs that broke a promise once."""
    return {path.stem: path.read_bytes() for path in sorted(REGRESSIONS.glob("*.bin"))}


def from_recordings(day: Path, count: int = 8) -> dict[str, bytes]:
    """Real results as a producer's RQ stores them, by both serializers; long texts and lists are cut."""
    paths = sorted((day / "scrapers").rglob("*.json"))
    found = {}
    for path in paths[:: max(1, len(paths) // count)][:count]:
        job: Any = (RECORD_FUNCTION, None, (_small(json.loads(path.read_bytes())),), {})
        for name, packed in (("pickle", serializers.DefaultSerializer.dumps(job)), ("json", JSONSerializer.dumps(job))):
            found[f"{path.stem} {name}"] = packed
            found[f"{path.stem} {name} packed"] = zlib.compress(packed)
    return found


def write(folder: Path, *sources: dict[str, bytes]) -> None:
    """Put payloads into a corpus, named as libFuzzer names what it finds. The longest teach it nothing."""
    os.makedirs(folder, exist_ok=True)
    for source in sources:
        for payload in source.values():
            if len(payload) <= _LONGEST:
                (folder / hashlib.sha1(payload, usedforsecurity=False).hexdigest()).write_bytes(payload)


def _small(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _small(item) for key, item in list(value.items())[:12]}
    if isinstance(value, list):
        return [_small(item) for item in value[:3]]
    return value[:60] if isinstance(value, str) else value
