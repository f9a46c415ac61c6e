"""How a recorder is looked at from outside: what it serves by HTTP; the commands `health`, `metrics`, `dashboard`."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Annotated

import typer
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from app.recorder.health import Health, liveness, readiness
from app.recorder.job_counter import shared_registry
from app.recorder.metrics import Metrics
from app.recorder.vitals import Vitals
from app.service.endpoint import JSON, Answer, serving
from app.service.redaction import without_password
from app.service.settings import Settings, load_settings, require_redis_url
from app.store.errors import ServiceUnavailableError, UsageError

_TIMEOUT_S = 5.0


@contextmanager
def serve_recorder(settings: Settings, vitals: Vitals, metrics: Metrics | None) -> Iterator[None]:
    """Serve a recorder's metrics and health while it works, unless that is switched off."""
    if metrics is None:
        yield
        return
    routes = {
        "/metrics": _exposition(lambda: metrics.registry),
        "/livez": lambda: _answer(liveness(vitals)),
        "/readyz": lambda: _answer(readiness(vitals)),
    }
    with serving(settings.recorder_metrics_host, settings.recorder_metrics_port, routes) as vitals.endpoint:
        yield


def _exposition(registry: Callable[[], CollectorRegistry]) -> Callable[[], Answer]:
    return lambda: Answer(generate_latest(registry()), CONTENT_TYPE_LATEST)


def _answer(health: Health) -> Answer:
    return Answer(health.dump(), JSON, HTTPStatus.OK if health.ok else HTTPStatus.SERVICE_UNAVAILABLE)


def health(
    live: Annotated[bool, typer.Option("--live", help="Ask only whether it lives, whatever it waits for.")] = False,
    port: Annotated[
        int | None,
        typer.Option("--port", metavar="N", min=1, max=65535, help="Its port.  [default: RECORDER_METRICS_PORT]"),
    ] = None,
) -> int:
    """Ask a recorder of this host whether it is ready.

    For the health check of a container.

    Exit codes: 0 it is, 1 it isn't and the answer says why, 2 wrong use, 3 nothing answers.
    """
    settings = load_settings()
    port = port or settings.recorder_metrics_port
    if not port:
        raise UsageError("health is not served: RECORDER_METRICS_PORT is 0")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.recorder_metrics_host, settings.recorder_metrics_host)  # noqa: S104
    connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", "/livez" if live else "/readyz")
        answer = connection.getresponse()
        document = json.loads(answer.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        hint = "./bouy ps shows the port of each recorder"
        raise ServiceUnavailableError(f"no recorder answers at {host}:{port}: {error}", hint=hint) from error
    finally:
        connection.close()
    print(json.dumps(document, indent=2))
    return 0 if answer.status == HTTPStatus.OK else 1


def metrics() -> None:
    """Serve the counts of stock RQ workers.

    They leave them in PROMETHEUS_MULTIPROC_DIR; this adds them up, at RECORDER_METRICS_PORT, until Ctrl-C. A recorder
    of ours needs no such thing: it serves its own metrics.
    """
    settings = load_settings()
    folder = settings.prometheus_multiproc_dir
    if folder is None:
        raise UsageError("PROMETHEUS_MULTIPROC_DIR is not set", hint="the folder that the workers were started with")
    if not settings.recorder_metrics_port:
        raise UsageError("metrics are not served: RECORDER_METRICS_PORT is 0")
    folder.mkdir(parents=True, exist_ok=True)
    routes = {"/metrics": _exposition(lambda: shared_registry(folder))}
    with serving(settings.recorder_metrics_host, settings.recorder_metrics_port, routes) as address:
        print(f"metrics of {folder} at http://{address}/metrics", flush=True)
        threading.Event().wait()


def dashboard(
    port: Annotated[int, typer.Option("--port", metavar="N", min=1, max=65535, help="Serve it at this port.")] = 9181,
) -> None:
    """Serve rq-dashboard on loopback.

    It shows REDIS_URL's queues, reads payloads as data and deletes nothing.
    """
    from app.recorder.dashboard import serve_dashboard  # Flask and its kin, which nobody else needs

    url = require_redis_url(load_settings())
    serve_dashboard(url, without_password(url), port)
