"""ops/ as Prometheus itself takes it: its rules checked by promtool, and alerts that really fire."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from app.recorder.client import enqueue_result
from tests.conftest import IN_CI, free_port, recorder_process
from tests.recording import eventually, killed_at_the_end, result

ROOT = Path(__file__).resolve().parents[2]
OPS = ROOT / "ops"
RULES = OPS / "prometheus" / "recorder.rules.yml"


@pytest.fixture(scope="module", autouse=True)
def installed() -> None:
    missing = [name for name in ("prometheus", "promtool") if shutil.which(name) is None]
    if missing:
        message = f"not installed: {', '.join(missing)} (Debian, Ubuntu: apt install prometheus)"
        pytest.fail(message) if IN_CI else pytest.skip(message)


@pytest.mark.parametrize(
    "arguments",
    ["check config prometheus.yml", "check rules recorder.rules.yml", "test rules recorder.test.yml"],
)
def test_promtool_accepts(arguments: str) -> None:
    done = subprocess.run(["promtool", *arguments.split()], cwd=OPS / "prometheus", capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@dataclass(frozen=True)
class Prometheus:
    """A Prometheus that runs."""

    port: int

    def ask(self, path: str, **query: str) -> Any:
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(url, timeout=20) as answer:
                return json.load(answer)["data"]
        except OSError:
            return None

    def query(self, expression: str) -> list[Any]:
        found: list[Any] = (self.ask("query", query=expression) or {}).get("result", [])
        return found

    def firing(self) -> set[str]:
        alerts = (self.ask("alerts") or {}).get("alerts", [])
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}


def quickly(rules: str) -> str:
    """The rules as they are, but an alert waits for nothing, and everything is looked at each fraction of a second."""
    return re.sub(r"for: \d+m", "for: 0s", rules)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def start(stack: ExitStack, folder: Path, target: int) -> Prometheus:
    (folder / "recorder.rules.yml").write_text(quickly(RULES.read_text()))
    configuration = (OPS / "prometheus" / "prometheus.yml").read_text()
    configuration = configuration.replace("15s", "200ms").replace("127.0.0.1:9108", f"127.0.0.1:{target}")
    (folder / "prometheus.yml").write_text(configuration)
    port = free_port()
    command = ["prometheus", "--config.file", str(folder / "prometheus.yml"), "--storage.tsdb.path", str(folder / "db")]
    command += ["--web.listen-address", f"127.0.0.1:{port}", "--log.level", "error"]
    stack.enter_context(killed_at_the_end(subprocess.Popen(command, stderr=subprocess.DEVNULL)))
    return Prometheus(port)


def expressions() -> list[str]:
    """What the dashboard asks, of every recorder."""
    dashboard = json.loads((OPS / "grafana" / "recorder.json").read_text())
    found = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    return [text.replace("$instance", ".*").replace("$__rate_interval", "1m") for text in found]


def test_a_real_prometheus_scrapes_a_real_recorder_and_its_alerts_fire(
    redis_url: str, connection: Redis, tmp_path: Path, stack: ExitStack
) -> None:
    target = free_port()
    environment = {"RECORDER_METRICS_PORT": str(target)}
    recorder = stack.enter_context(killed_at_the_end(recorder_process(redis_url, tmp_path / "out", **environment)))
    prometheus = start(stack, tmp_path, target)
    eventually(lambda: prometheus.query("recorder_queue_jobs"))
    assert not prometheus.firing() & {"RecorderDown", "RecorderWaiting", "RecorderFailures", "RecorderQuarantine"}

    enqueue_result(result("good"), connection=connection)
    enqueue_result({"no": "job_id"}, connection=connection)
    eventually(lambda: prometheus.firing() >= {"RecorderQuarantine", "RecorderFailures"})
    jobs = prometheus.query('recorder_jobs_total{job="recorder",scraper_id="nyc",status="success"}')
    assert [float(one["value"][1]) for one in jobs] == [1]
    for expression in expressions():
        assert prometheus.query(expression), expression

    connection.set("rq:suspended", 1)
    eventually(lambda: "RecorderWaiting" in prometheus.firing())
    connection.delete("rq:suspended")
    eventually(lambda: "RecorderWaiting" not in prometheus.firing())

    recorder.send_signal(signal.SIGKILL)
    eventually(lambda: "RecorderDown" in prometheus.firing())


def test_the_dashboard_has_a_panel_for_each_metric_and_they_do_not_overlap() -> None:
    dashboard = json.loads((OPS / "grafana" / "recorder.json").read_text())
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
