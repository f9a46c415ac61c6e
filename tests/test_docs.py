"""The documents say what the code does: settings, commands, log events, links."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from app.service.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
GUIDE = (ROOT / "docs" / "recorder.md").read_text()


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_the_guide_has_every_setting_with_its_default(name: str) -> None:
    (row,) = re.findall(rf"^\| `{name.upper()}` \|.*\| (.*) \|$", GUIDE, re.MULTILINE)
    default = Settings.model_fields[name].default
    assert row.startswith(("required", "none") if default in (None, "") else f"`{default}`")


def test_the_guide_has_no_setting_that_the_code_lacks() -> None:
    table = GUIDE.partition("## Settings")[2].partition("##")[0]
    assert set(re.findall(r"^\| `([A-Z_]+)`", table, re.MULTILINE)) == {name.upper() for name in Settings.model_fields}


def logged_events() -> set[str]:
    found: set[str] = set()
    for path in (ROOT / "app" / "recorder").glob("*.py"):
        found |= set(
            re.findall(r"(?:log\.(?:warning|error|exception)|report_behind)\(\s*\"([^\"]+)\"", path.read_text())
        )
    return found


@pytest.mark.parametrize("event", sorted(logged_events()))
def test_the_guide_explains_every_warning(event: str) -> None:
    assert f"| `{event}`" in GUIDE


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


def bouy_commands() -> set[str]:
    commands = set()
    for page in PAGES:
        for line in re.findall(r"^\s*(?:[A-Z_]+=\S+ )*\./bouy (.*)$", page.read_text(), re.MULTILINE):
            words = line.partition("#")[0].split()
            commands.add(next((word for word in words if not word.startswith("-")), ""))
    return commands - {""}


def test_every_bouy_command_in_the_documents_exists() -> None:
    shown = subprocess.run([sys.executable, "-m", "app.bouy", "--help"], cwd=ROOT, capture_output=True, text=True)
    assert shown.returncode == 0
    for command in bouy_commands() - {"COMMAND"}:
        assert re.search(rf"\b{command}\b", shown.stdout), command
