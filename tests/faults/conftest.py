"""What fault tests share: recorders that were watched while they recorded every kind of result."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from tests.faults.scenario import Stage, record_all_kinds


@pytest.fixture
def stage(redis_url: str, connection: Redis, tmp_path: Path) -> Stage:
    """An empty Redis and an OUTPUT_DIR that isn't there yet."""
    return Stage(tmp_path / "base", redis_url, connection)


@pytest.fixture(scope="session")
def watched(redis_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Recorders that have recorded results of every kind. To be looked at only."""
    with Redis.from_url(redis_server) as connection:
        connection.flushall()
        stage = Stage(tmp_path_factory.mktemp("watched") / "base", f"{redis_server}/0", connection)
        record_all_kinds(stage)
        yield stage
