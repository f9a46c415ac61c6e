"""Jobs that RQ 1.16 with redis-py 5 and pydantic really wrote are recorded, without the producer's classes.

`payloads/make.py` made them.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from app.recorder.client import connect
from app.recorder.worker import Options, RecorderWorker
from app.recorder.write import RecordWriter

PAYLOADS = Path(__file__).with_name("payloads")

MODEL = {
    "job_id": "1739774783.5",
    "job": {
        "id": "1739774783.5",
        "prompt": "Align this pantry",
        "format": {"type": "object"},
        "metadata": {"scraper_id": "nyc_efap_programs"},
        "created_at": "2025-02-17T06:46:23Z",
    },
    "status": "completed",
    "result": {
        "text": "{}",
        "model": "a model",
        "usage": {"total_tokens": 150},
        "validation_details": {"hallucination_detected": False},
    },
    "retry_count": 0,
    "completed_at": "2025-02-17T06:47:23Z",
    "processing_time": 60.0,
}
SCRAPED = "daily/2025-02-17/scrapers/nyc_efap_programs"
PLAIN = {"job": {"created_at": "2025-02-17 06:46:23", "metadata": {}}, "result": "text", "error": None}


def old_payload(name: str) -> dict[bytes, bytes]:
    """A job's hash as it was in Redis."""
    fields = json.loads((PAYLOADS / f"{name}.json").read_bytes())
    return {field.encode(): base64.b64decode(value) for field, value in fields.items()}


@pytest.mark.parametrize(
    ("name", "path", "expected"),
    [
        ("pydantic-model", f"{SCRAPED}/1739774783.5.json", MODEL),
        ("dict-with-objects", f"{SCRAPED}/objects.json", {**MODEL, "job_id": "objects"}),
        ("plain-dict", "daily/2025-02-17/processed/plain.json", {**PLAIN, "job_id": "plain"}),
        ("json-serializer", "daily/2025-02-17/processed/json.json", {**PLAIN, "job_id": "json"}),
    ],
)
def test_a_job_that_an_old_client_enqueued_is_recorded(
    redis_url: str, connection: Redis, tmp_path: Path, name: str, path: str, expected: dict[str, Any]
) -> None:
    connection.hset(f"rq:job:{name}.1", mapping=old_payload(name))  # type: ignore[arg-type]
    connection.rpush("rq:queue:recorder", f"{name}.1")
    with connect(redis_url) as client, RecordWriter(str(tmp_path)) as writer:
        RecorderWorker(client, writer, Options()).run(burst=True)
    content = json.loads((tmp_path / path).read_bytes())
    assert {key: content[key] for key in expected} == expected
    assert connection.hget(f"rq:job:{name}.1", "status") == b"finished"
