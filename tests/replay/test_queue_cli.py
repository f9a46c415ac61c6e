from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from rq import Queue

from app.replay.enqueue import RECORD_FUNCTION, Target
from app.replay.plan import Item, Selection, directory_plan
from app.replay.queue_cli import queue_target, replay_to_queue
from app.store.errors import UsageError
from tests.replay.conftest import put

TARGET = Target("reconciler", "consumer.reconcile")


def test_without_a_queue_there_is_no_target_and_none_of_its_options() -> None:
    assert queue_target(None, None) is None
    options: list[dict[str, Any]] = [{"rate": 1.0}, {"resume": True}, {"restart": True}, {"force": True}]
    for option in options:
        with pytest.raises(UsageError, match=f"--{next(iter(option))} .*--to-queue"):
            queue_target(None, None, **option)
    with pytest.raises(UsageError, match=r"--function .*--to-queue"):
        queue_target(None, "consumer.reconcile")


def test_a_queue_needs_a_function_and_takes_one_way_to_begin() -> None:
    assert queue_target("reconciler", "consumer.reconcile", resume=True) == TARGET
    with pytest.raises(UsageError, match="--function"):
        queue_target("reconciler", None)
    with pytest.raises(UsageError, match="one of them"):
        queue_target("reconciler", "consumer.reconcile", resume=True, restart=True)
    with pytest.raises(UsageError, match="--force"):
        queue_target("recorder", RECORD_FUNCTION)
    assert queue_target("recorder", RECORD_FUNCTION, force=True) is not None


def test_it_says_what_came_of_it_and_refused_files_make_the_exit_code_1(
    redis_url: str, connection: Redis, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path, "a.json", "b.json")
    plan = directory_plan(str(tmp_path), Selection())
    assert replay_to_queue(plan, redis_url, TARGET, dry_run=True) == 0
    assert capsys.readouterr().out == "2 recordings (0.0 MB) would be enqueued to reconciler for consumer.reconcile\n"
    (tmp_path / "\x1b[2J.json").write_bytes(b"no")
    seen: list[Item] = []
    assert replay_to_queue(plan, redis_url, TARGET, advance=seen.append) == 1
    enqueued, refused = capsys.readouterr().out.splitlines()
    assert enqueued == "2 recordings (0.0 MB) enqueued to reconciler for consumer.reconcile"
    assert refused.startswith("1 refused: it is no JSON, such as ")
    assert refused.isprintable()
    assert len(seen) == 3
    assert len(Queue("reconciler", connection=connection)) == 2
    assert replay_to_queue(plan, redis_url, TARGET, resume=True) == 0
    assert capsys.readouterr().out.startswith("nothing to resume: all 2 recordings were enqueued by 20")


def test_as_json_it_is_one_document(redis_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path, "a.json")
    (tmp_path / "b.json").write_bytes(b"no")
    assert replay_to_queue(directory_plan(str(tmp_path), Selection()), redis_url, TARGET, as_json=True) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["queue"] == "reconciler"
    assert (document["enqueued"], document["refused"]) == (1, {"it is no JSON": 1})
