"""The generated results have the shape, size and mix that they promise."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.bouy.generator import SCRAPER_SHARES, generate_results
from app.store import record
from app.store.errors import UnrecordableError

NOW = datetime(2026, 3, 5, 17, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def results() -> list[dict[str, Any]]:
    return list(generate_results(1000, 7, NOW))


def test_each_is_about_50_kb_of_which_most_is_the_schema(results: list[dict[str, Any]]) -> None:
    sizes = [len(json.dumps(result, indent=2)) for result in results]
    assert 44_000 < min(sizes) <= max(sizes) < 56_000
    schema = len(json.dumps({"job": {"format": results[0]["job"]["format"]}}, indent=2))
    assert 0.75 < schema / (sum(sizes) / len(sizes)) < 0.87
    assert all(result["job"]["format"] is results[0]["job"]["format"] for result in results)


def test_the_mix_is_as_promised(results: list[dict[str, Any]]) -> None:
    scrapers = Counter(result["job"]["metadata"].get("scraper_id") for result in results)
    assert set(scrapers) == {None, *SCRAPER_SHARES}
    assert 20 <= scrapers[None] <= 60
    assert scrapers["harbor_county_pantries"] > 5 * scrapers["saltmarsh_mutual_aid"]
    failed = [result for result in results if result["status"] == "failed"]
    assert 15 <= len(failed) <= 50
    assert all(result["result"] is None and result["error"] for result in failed)


def test_the_model_answers_are_json_with_their_usage(results: list[dict[str, Any]]) -> None:
    answers = [result["result"] for result in results if result["status"] == "completed"]
    for answer in answers:
        assert set(answer) == {"text", "model", "usage", "validation_details"}
        assert answer["usage"]["total_tokens"] > 0
        assert json.loads(answer["text"])["locations"]


@given(count=st.integers(1, 60), seed=st.integers(0, 2**32))
def test_the_same_seed_gives_the_same_and_exactly_one_in_20_or_more_cant_be_recorded(count: int, seed: int) -> None:
    results = list(generate_results(count, seed, NOW))
    assert results == list(generate_results(count, seed, NOW))
    assert len(results) == count
    assert sum(not _recordable(result) for result in results) == (1 if count >= 20 else 0)


@given(now=st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)))
def test_all_are_of_one_day_in_order_and_not_ahead_of_time(now: datetime) -> None:
    results = list(generate_results(10, 1, now))
    created = [datetime.fromisoformat(result["job"]["created_at"]) for result in results]
    assert created == sorted(created)
    assert {moment.date() for moment in created} == {now.date()}
    for result, moment in zip(results, created, strict=True):
        completed = datetime.fromisoformat(result["completed_at"])
        assert moment <= completed <= now
        assert result["processing_time"] == pytest.approx((completed - moment) / timedelta(seconds=1), abs=1e-5)


def test_another_seed_gives_other_jobs() -> None:
    one, other = ({result["job_id"] for result in generate_results(10, seed, NOW)} for seed in (1, 2))
    assert not one & other


def _recordable(result: dict[str, Any]) -> bool:
    try:
        record.build(result, enqueued_at=None, now=NOW)
    except UnrecordableError:
        return False
    return True
