"""docs/operations.md names every setting, metric, health check and alert, and no other; so do ops/'s own files."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest

from app.recorder.health import liveness, readiness
from app.recorder.intake import QueueState
from app.recorder.metrics import Metrics
from app.recorder.vitals import Vitals
from app.recorder.write import Kind
from app.service.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "operations.md").read_text()
RULES = (ROOT / "ops" / "prometheus" / "recorder.rules.yml").read_text()
DASHBOARD = json.loads((ROOT / "ops" / "grafana" / "recorder.json").read_text())


def rows(section: str) -> dict[str, list[str]]:
    """A section's tables: the cells of each row by its first, which is in backticks."""
    text = PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    found = re.findall(r"^\| `([^`]+)` \|(.*)\|$", text, re.MULTILINE)
    return {name: [cell.strip() for cell in cells.split("|")] for name, cells in found}


@pytest.fixture(scope="module")
def metrics() -> dict[str, set[str]]:
    """Every metric that a recorder serves, but those of its process, with its labels."""
    vitals = Vitals(free_bytes=1, last_success_at=time.time(), proven_restore_at=1)
    vitals.note_pulse(QueueState(0, 0, 0.0))
    found: dict[str, set[str]] = {}
    for family in Metrics(vitals, 1).registry.collect():
        if not family.name.startswith("process_"):
            suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
            name = family.name + suffix
            labels = {label for sample in family.samples for label in sample.labels}
            found[name] = {"histogram"} if family.type == "histogram" else labels
    return found


def test_the_page_has_every_metric_with_its_labels(metrics: dict[str, set[str]]) -> None:
    documented = {
        name: set(re.findall(r"`(\w+)`", cells[0])) | ({"histogram"} if cells[0] == "histogram" else set())
        for name, cells in rows("Metrics").items()
        if name != "process_*"
    }
    assert documented == metrics


def test_the_page_explains_every_outcome() -> None:
    assert set(re.findall(r"`(\w+)`", rows("Metrics")["recorder_outcomes_total"][1])) == {kind.value for kind in Kind}


def test_the_page_has_every_setting() -> None:
    assert set(rows("Settings")) == {name.upper() for name in Settings.model_fields}


def test_the_page_has_every_path_check_and_field_of_health() -> None:
    checks = readiness(Vitals()).document["checks"]
    assert set(rows("Health")) == {"/livez", "/readyz", *checks}
    assert set(liveness(Vitals()).document["checks"]) <= set(checks)
    intro = PAGE.partition("\n## Health\n")[2].partition("|")[0]
    for field in {*readiness(Vitals()).document, *next(iter(checks.values()))}:
        assert f"`{field}`" in intro


def test_the_page_has_every_alert() -> None:
    assert set(rows("Alerts and dashboards")) == set(re.findall(r"alert: (\w+)", RULES))


def test_rules_and_dashboard_ask_only_for_metrics_that_there_are(metrics: dict[str, set[str]]) -> None:
    asked = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    known = set(metrics)
    for name, labels in metrics.items():
        known |= {f"{name}_{part}" for part in ("bucket", "sum", "count")} if labels == {"histogram"} else set()
    named = set(re.findall(r"\brecorder_\w+", "\n".join([*asked, *re.findall(r"expr: (.*(?:\n {10}.*)*)", RULES)])))
    assert named <= known
    assert {name for name in metrics if not any(part.startswith(name) for part in named)} == set()


@pytest.mark.parametrize(
    "issue", ["Redis connection errors", "Permission errors", "Disk space issues", "Job processing failures"]
)
def test_each_common_issue_says_what_one_sees_in_log_metric_and_readiness(issue: str) -> None:
    text = PAGE.partition(f"\n### {issue}\n")[2].partition("\n##")[0]
    for where in ("log", "metric", "readiness"):
        assert re.search(rf"^\| {where} \| \S", text, re.MULTILINE)
