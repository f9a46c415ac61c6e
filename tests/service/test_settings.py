"""Settings come from the environment, are checked once, and can't be changed."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from app.service.settings import load_settings, require_redis_url
from app.store.errors import UsageError


def test_the_defaults_are_the_specs(clean_environment: pytest.MonkeyPatch) -> None:
    settings = load_settings()
    assert (settings.redis_url, settings.output_dir, settings.archive_dir) == (None, Path("outputs"), Path("archives"))


def test_an_empty_variable_counts_as_unset(clean_environment: pytest.MonkeyPatch) -> None:
    clean_environment.setenv("OUTPUT_DIR", "")
    assert load_settings().output_dir == Path("outputs")


def test_every_unusable_variable_is_named_at_once(clean_environment: pytest.MonkeyPatch) -> None:
    clean_environment.setenv("RECORDER_BATCH_SIZE", "0")
    clean_environment.setenv("LOG_LEVEL", "loud")
    with pytest.raises(UsageError) as raised:
        load_settings()
    assert "RECORDER_BATCH_SIZE" in str(raised.value)
    assert "LOG_LEVEL" in str(raised.value)


def test_settings_are_frozen(clean_environment: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValidationError):
        load_settings().output_dir = Path("elsewhere")


def test_redis_url_is_required_where_it_is_needed(clean_environment: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="REDIS_URL is not set"):
        require_redis_url(load_settings())
    clean_environment.setenv("REDIS_URL", "redis://host/1")
    assert require_redis_url(load_settings()) == "redis://host/1"
