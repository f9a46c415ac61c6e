"""A small HTTP server beside a process's work: paths and what they answer, in daemon threads, on loopback by default.

It must never hold up the process: a client has seconds to say what it wants and to take the answer, and few are
served at once; the rest is turned away.
"""

from __future__ import annotations

import errno
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import structlog

from app.store.errors import UsageError

log = structlog.get_logger("http")

JSON = "application/json"

_PORTS_TRIED = 20
_CLIENT_TIMEOUT_S, _CLIENT_LIMIT_S = 5.0, 10.0
"""For each step of an exchange, and for all of it."""
_MOST_CLIENTS = 16


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back."""

    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    status: HTTPStatus = HTTPStatus.OK


Routes = Mapping[str, Callable[[], Answer]]


@contextmanager
def serving(host: str, port: int, routes: Routes) -> Iterator[str]:
    """Serve these paths at this port, or the next that is free; gives the address, as ``host:port``.

    Raises `UsageError` when the host is none of this machine's.
    """
    server = _listen(host, port, routes)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.2}, name="http", daemon=True)
    thread.start()
    try:
        shown = f"[{host}]" if ":" in host else host
        yield f"{shown}:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.close_listener()


def _listen(host: str, first: int, routes: Routes) -> _Server:
    for port in (*range(first, min(first + _PORTS_TRIED, 65536)), 0):
        try:
            return _Server(host, port, routes)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise UsageError(
                    f"can't listen at {host}, port {port}: {error.strerror}",
                    hint="see RECORDER_METRICS_HOST and RECORDER_METRICS_PORT; port 0 switches it off",
                ) from error
    raise AssertionError("unreachable: port 0 is never in use")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, host: str, port: int, routes: Routes) -> None:
        self.routes = routes
        self._places = threading.BoundedSemaphore(_MOST_CLIENTS)
        self._served_since: dict[Any, float] = {}
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        """Bind, without http.server's look-up of this host's name, which may take a slow DNS's time."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve in a thread of its own, if there is a place."""
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve, and give the place free."""
        self._served_since[request] = time.monotonic()
        try:
            super().process_request_thread(request, client_address)
        finally:
            del self._served_since[request]
            self._places.release()

    def service_actions(self) -> None:
        """Now and then: let go of clients that sent or took a little at a time, for too long."""
        for request, since in list(self._served_since.items()):
            if time.monotonic() - since > _CLIENT_LIMIT_S:
                with suppress(OSError):
                    request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away, or was too slow, is no event; anything else is a mistake of ours."""
        if not isinstance(sys.exc_info()[1], OSError):
            log.exception("request failed")

    def close_listener(self) -> None:
        """Stop listening; what is being answered is not waited for."""
        self.socket.close()


class _Handler(BaseHTTPRequestHandler):
    timeout = _CLIENT_TIMEOUT_S
    server: _Server
    server_version, sys_version = "recorder", ""

    def do_GET(self) -> None:
        """Answer, with the body."""
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        """Answer, without."""
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        try:
            route = self.server.routes.get(urlsplit(self.path).path)
        except ValueError:  # what was asked for is no URL
            route = None
        if route is None:
            paths = " ".join(sorted(self.server.routes))
            answer = Answer(f"there are: {paths}\n".encode(), status=HTTPStatus.NOT_FOUND)
        else:
            answer = route()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if with_body:
            self.wfile.write(answer.body)

    def log_message(self, *args: object) -> None:
        """Requests are no events."""
