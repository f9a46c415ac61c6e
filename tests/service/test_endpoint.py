"""The small HTTP server: real sockets, clients of every kind."""

from __future__ import annotations

import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from app.service import endpoint
from app.service.endpoint import Answer, serving
from app.store.errors import UsageError
from tests.conftest import free_port


def get(address: str, path: str, method: str = "GET") -> tuple[int, bytes]:
    request = urllib.request.Request(f"http://{address}{path}", method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def mistake() -> Answer:
    raise ZeroDivisionError


@pytest.fixture
def address() -> Iterator[str]:
    with serving("127.0.0.1", free_port(), {"/hello": lambda: Answer(b"hi\n"), "/mistake": mistake}) as address:
        yield address


def test_it_answers_what_it_knows_and_names_that_elsewhere(address: str) -> None:
    assert get(address, "/hello?x=1") == (200, b"hi\n")
    assert get(address, "/hello", "HEAD") == (200, b"")
    assert get(address, "/other") == (404, b"there are: /hello /mistake\n")
    assert get(address, "/hello", "POST")[0] == 501


def test_what_is_no_url_is_not_found_and_no_mistake_of_ours(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    host, _, port = address.partition(":")
    with socket.create_connection((host, int(port)), timeout=20) as client:
        client.sendall(b"GET http://[ HTTP/1.0\r\n\r\n")
        assert client.makefile("rb").readline() == b"HTTP/1.0 404 Not Found\r\n"
    captured = capsys.readouterr()
    assert "request failed" not in captured.out + captured.err


def test_a_taken_port_gives_the_next_one_and_each_is_free_again_afterwards() -> None:
    port = free_port()
    routes = {"/": lambda: Answer(b"")}
    with serving("127.0.0.1", port, routes) as first, serving("127.0.0.1", port, routes) as second:
        assert first == f"127.0.0.1:{port}"
        assert port < int(second.rpartition(":")[2])
    with serving("127.0.0.1", port, routes) as again:
        assert again == first


def test_without_a_free_port_nearby_it_takes_any(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "_PORTS_TRIED", 1)
    routes = {"/": lambda: Answer(b"")}
    with serving("127.0.0.1", 65535, routes) as first, serving("127.0.0.1", 65535, routes) as second:
        assert first != second


@pytest.mark.parametrize("host", ["192.0.2.1", "nowhere.invalid"])
def test_a_host_that_is_not_this_one_is_named(host: str) -> None:
    with pytest.raises(UsageError, match=f"can't listen at {host}"), serving(host, 9108, {}):
        pass


def test_ipv6_works() -> None:
    with serving("::1", free_port(), {"/hello": lambda: Answer(b"hi\n")}) as address:
        assert address.startswith("[::1]:")
        assert get(address, "/hello") == (200, b"hi\n")


def test_clients_that_say_nothing_are_let_go_and_more_than_a_few_are_turned_away(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint._Handler, "timeout", 0.3)
    host, _, port = address.partition(":")
    with ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection((host, int(port)))) for _ in range(40)]
        for client in clients:
            client.settimeout(20)
            with suppress(ConnectionResetError):
                assert client.recv(1) == b""  # at once, or when its time was over
    assert get(address, "/hello") == (200, b"hi\n")
    assert threading.active_count() < 20


def test_a_client_that_sends_a_little_at_a_time_has_its_limit(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "_CLIENT_LIMIT_S", 0.3)
    host, _, port = address.partition(":")
    ended = threading.Event()
    with socket.create_connection((host, int(port))) as client:

        def drip() -> None:
            while not ended.wait(0.05):
                try:
                    client.send(b"G")
                except OSError:
                    return

        dripping = threading.Thread(target=drip)
        dripping.start()
        client.settimeout(20)
        with suppress(ConnectionResetError):
            client.recv(1000)
        ended.set()
        dripping.join()
    assert get(address, "/hello") == (200, b"hi\n")


def test_a_mistake_of_ours_is_logged_and_the_next_request_is_answered(
    address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(OSError, match="without response"):
        get(address, "/mistake")
    assert get(address, "/hello") == (200, b"hi\n")
    assert "ZeroDivisionError" in capsys.readouterr().out
