"""Writes the example payloads beside this file, as RQ 1.16 with redis-py 5 and pydantic enqueues them.

Run in a virtual environment of its own:

    pip install 'rq==1.16.2' 'redis<6' pydantic && python tests/recorder/payloads/make.py REDIS_URL

The Redis must be empty. Each `*.json` is one job's hash, its values in base64, as they were in Redis.
"""

from __future__ import annotations

import base64
import json
import sys
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from redis import Redis
from rq import Queue
from rq.serializers import JSONSerializer


class JobStatus(str, Enum):  # noqa: UP042 - as the producers have it
    COMPLETED = "completed"


class LLMJob(BaseModel):
    id: str
    prompt: str
    format: dict[str, Any]
    metadata: dict[str, Any]
    created_at: datetime


class LLMResponse(BaseModel):
    text: str
    model: str
    usage: dict[str, int]
    validation_details: dict[str, Any] | None = None


class JobResult(BaseModel):
    job_id: str
    job: LLMJob
    status: JobStatus
    result: LLMResponse
    completed_at: datetime
    processing_time: float


CREATED = datetime(2025, 2, 17, 6, 46, 23, tzinfo=UTC)
MODEL = JobResult(
    job_id="1739774783.5",
    job=LLMJob(
        id="1739774783.5",
        prompt="Align this pantry",
        format={"type": "object"},
        metadata={"scraper_id": "nyc_efap_programs"},
        created_at=CREATED,
    ),
    status=JobStatus.COMPLETED,
    result=LLMResponse(
        text="{}", model="a model", usage={"total_tokens": 150}, validation_details={"hallucination_detected": False}
    ),
    completed_at=datetime(2025, 2, 17, 6, 47, 23, tzinfo=UTC),
    processing_time=60.0,
)
PLAIN = {
    "job_id": "plain",
    "job": {"created_at": "2025-02-17 06:46:23", "metadata": {}},
    "result": "text",
    "error": None,
}


def main() -> None:
    connection = Redis.from_url(sys.argv[1])
    function = "app.recorder.utils.record_result"
    examples = {
        "pydantic-model": (MODEL, None),
        "dict-with-objects": ({**dict(MODEL), "job_id": "objects"}, None),
        "plain-dict": (PLAIN, None),
        "json-serializer": ({**PLAIN, "job_id": "json"}, JSONSerializer),
    }
    for name, (data, serializer) in examples.items():
        queue = Queue("recorder", connection=connection, serializer=serializer)
        job = queue.enqueue(function, data, job_id=f"{name}.1", description=name)
        fields: Any = connection.hgetall(job.key)
        encoded = {field.decode(): base64.b64encode(value).decode() for field, value in fields.items()}
        Path(__file__).with_name(f"{name}.json").write_text(json.dumps(encoded, indent=2) + "\n")


if __name__ == "__main__":
    main()
