"""What a log line holds, and what it never does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import structlog

from app.service.logging import configure_logging
from app.service.settings import Settings

URL = "redis://:sesame-open@127.0.0.1:1/0"


@pytest.fixture
def settings(clean_environment: pytest.MonkeyPatch) -> Settings:
    return Settings(redis_url=URL, output_dir=Path("/x"))


def logged(settings: Settings, capsys: pytest.CaptureFixture[str], name: str) -> str:
    configure_logging(settings)
    log = structlog.get_logger(name)
    payload = {"text": "what the payload says"}
    try:
        raise ValueError(f"can't reach {URL}, {payload['text'][:0]}")
    except ValueError:
        log.exception("unexpected", job_id="j" * 5000, hooks=["https://a:hook-pw@b/"])
    structlog.reset_defaults()
    return capsys.readouterr().err


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_an_event_with_a_traceback_holds_no_password_and_no_local_variable(
    settings: Settings, capsys: pytest.CaptureFixture[str], log_format: Any
) -> None:
    said = logged(settings.model_copy(update={"log_format": log_format}), capsys, log_format)
    assert "ValueError: can't reach redis://:***@127.0.0.1:1/0" in said
    assert "Traceback" in said
    for secret in ("sesame", "hook-pw", "what the payload says"):
        assert secret not in said
    assert "j" * 1001 not in said


def test_json_is_one_line_an_event(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = logged(settings, capsys, "lines").splitlines()
    assert json.loads(line)["event"] == "unexpected"


def test_a_line_for_people_drives_no_terminal(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(settings.model_copy(update={"log_format": "console"}))
    log = structlog.get_logger("hostile")
    try:
        raise ValueError("\x1b[2J")
    except ValueError:
        log.exception(
            "late \x1b]0;title\x07", scraper_id="\x1b[31mred", job_id="\u202eabc", path="one\ntwo", date=["\x1b"]
        )
    structlog.reset_defaults()
    said = capsys.readouterr().err
    assert [c for c in said if not c.isprintable() and c != "\n"] == []
    assert "\\x1b[31mred" in said
    assert "Traceback" in said
    assert "\ntwo" not in said
