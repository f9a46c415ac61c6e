"""rq-dashboard as we serve it: it looks, runs nothing, deletes nothing, and answers no other site."""

from __future__ import annotations

import os
import pickle
import zlib
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from redis import Redis
from rq import Queue
from rq.results import Result
from rq.serializers import DefaultSerializer

from app.recorder.client import enqueue_result
from app.recorder.dashboard import make_dashboard
from app.recorder.decode import RECORD_FUNCTION
from app.service.redaction import without_password
from tests.recording import burst, result


class Hostile:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.marker}",)


@pytest.fixture
def browser(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> FlaskClient:
    monkeypatch.setattr(DefaultSerializer, "loads", DefaultSerializer.loads)  # put back at the end
    return make_dashboard(redis_url, redis_url).test_client()


LOCAL = {"base_url": "http://127.0.0.1:9181"}


def test_it_shows_jobs_and_what_failed(browser: FlaskClient, redis_url: str, connection: Redis, tmp_path: Path) -> None:
    good = enqueue_result(result("good"), connection=connection)
    enqueue_result({"no": "job_id"}, connection=connection)
    burst(redis_url, tmp_path)
    assert browser.get("/", **LOCAL).status_code == 200
    done = browser.get("/0/data/jobs/recorder/finished/8/asc/1.json", **LOCAL).get_json()
    assert [job["id"] for job in done["jobs"]] == [good.id]
    failed = browser.get("/0/data/jobs/recorder/failed/8/asc/1.json", **LOCAL).get_json()
    assert "the result has no job_id" in failed["jobs"][0]["exc_info"]


def test_a_hostile_payload_is_looked_at_and_not_run(browser: FlaskClient, connection: Redis, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    job = Queue("recorder", connection=connection).enqueue(RECORD_FUNCTION, {"job_id": "x"})
    payload = zlib.compress(pickle.dumps((RECORD_FUNCTION, None, (Hostile(marker),), {})))
    connection.hset(job.key, "data", payload)
    Result.create(job, Result.Type.SUCCESSFUL, ttl=500, return_value=Hostile(marker))  # a page shows it
    listed = browser.get("/0/data/jobs/recorder/queued/8/asc/1.json", **LOCAL).get_json()
    assert [one["id"] for one in listed["jobs"]] == [job.id]
    assert browser.get(f"/0/data/job/{job.id}.json", **LOCAL).status_code == 200
    assert not marker.exists()


def test_pages_show_no_password(browser: FlaskClient, redis_url: str, connection: Redis) -> None:
    connection.config_set("requirepass", "page-1001")
    try:
        url = f"{redis_url}?password=page-1001"
        page = make_dashboard(url, without_password(url)).test_client().get("/", **LOCAL)
        assert page.status_code == 200
        assert b"page-1001" not in page.data
        assert b"?password=***" in page.data
    finally:
        connection.config_set("requirepass", "")


def test_nothing_is_deleted(browser: FlaskClient, connection: Redis) -> None:
    job = enqueue_result(result("kept"), connection=connection)
    for path in (f"/job/{job.id}/delete", "/queue/recorder/queued/empty"):
        assert browser.post(path, **LOCAL).get_json() == {"status": "DISABLED"}
    assert connection.exists(job.key)
    assert Queue("recorder", connection=connection).job_ids == [job.id]


@pytest.mark.parametrize(
    ("base_url", "headers"),
    [
        ("http://evil.example:9181", {}),
        ("http://127.0.0.1:9181", {"Origin": "http://evil.example"}),
        ("http://127.0.0.1", {"Origin": "null"}),
        ("http://127.0.0.1", {"Sec-Fetch-Site": "cross-site"}),
    ],
)
def test_other_sites_are_refused(browser: FlaskClient, base_url: str, headers: dict[str, str]) -> None:
    assert browser.get("/", base_url=base_url, headers=headers).status_code == 403
    assert browser.post("/requeue/recorder", base_url=base_url, headers=headers).status_code == 403
