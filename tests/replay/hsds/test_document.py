"""docs/mapping.md says all that the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from app.replay.hsds.identity import ID_URL

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "mapping.md").read_text()
CODE = "\n".join(path.read_text() for path in sorted((ROOT / "app" / "replay" / "hsds").glob("*.py")))
REASONS = {
    *re.findall(
        r"\"(envelope_\w+|no_\w+|test_scraper|llm_error|bad_created_at|scraper_run_summary|result_\w+)\"", CODE
    ),
    *re.findall(r"note\([^()]*?, \"(\w+)\",", CODE),
    *re.findall(r"notes\.append\(\"(\w+)\"\)", CODE),
    *re.findall(r"\"(coords_\w+)\"", CODE),
}


@pytest.mark.parametrize("reason", sorted(REASONS))
def test_every_reason_is_explained(reason: str) -> None:
    assert f"`{reason}`" in PAGE


def test_no_reason_is_explained_that_does_not_exist() -> None:
    explained = set(re.findall(r"^\| `(\w+)`", PAGE, re.MULTILINE)) | set(re.findall(r", `(\w+)` \|", PAGE))
    assert explained <= REASONS | {"not_a_website", "not_an_email"}


def test_the_namespace_is_the_one_that_is_documented() -> None:
    assert f'"{ID_URL}"' in PAGE
