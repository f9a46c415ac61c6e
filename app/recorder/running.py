"""The metrics of the recorders that run, read from where each serves them, as their leases in Redis say."""

from __future__ import annotations

import http.client
import socket
import urllib.request
from collections.abc import Iterator

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from redis.exceptions import RedisError

from app.recorder.client import RecorderInfo, connect, recorders
from app.service.settings import load_settings
from app.store.errors import RecorderError

_TIMEOUT_S = 2.0
_MOST_BYTES = 16 * 1024 * 1024
_ANY_HOST = ("0.0.0.0", "[::]")  # noqa: S104  what a recorder that listens everywhere says


def running_metrics() -> Iterator[Metric]:
    """Every metric of every recorder on REDIS_URL's queue, with the label `instance`, as Prometheus would have it.

    A recorder that can't be reached from here is left out.
    """
    for recorder in _recorders():
        if recorder.metrics:
            yield from _metrics_of(recorder.metrics, recorder.hostname)


def _recorders() -> list[RecorderInfo]:
    try:
        url = load_settings().redis_url
        if url is None:
            return []
        with connect(url, retries=0) as connection:
            return recorders(connection)
    except (RecorderError, RedisError):
        return []


def _metrics_of(endpoint: str, hostname: str) -> Iterator[Metric]:
    host, _, port = endpoint.rpartition(":")
    if host in _ANY_HOST:
        host = "127.0.0.1" if hostname == socket.gethostname() else hostname
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{host}:{port}/metrics", timeout=_TIMEOUT_S) as answer:
            found = list(text_string_to_metric_families(answer.read(_MOST_BYTES).decode()))
    except (OSError, ValueError, http.client.HTTPException):  # nobody's, or by now somebody else's port
        return
    for metric in found:
        samples, metric.samples = metric.samples, []
        for sample in samples:
            metric.add_sample(sample.name, {**sample.labels, "instance": endpoint}, sample.value)
        yield metric
