"""A proxy before a Redis that can be cut at any point of any exchange.

It reads the protocol: an exchange is a whole request (one command, a pipeline, a transaction) with all its replies, so
a fault strikes where it is meant to and not at some packet.
"""

from __future__ import annotations

import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import TracebackType
from typing import Any, Self

import hiredis

_CHUNK = 1 << 20
_UNFINISHED = object()


class Where(Enum):
    """The point of an exchange at which a fault strikes."""

    BEFORE = "before the request reaches Redis"
    IN_REQUEST = "when half of the request has reached Redis"
    AFTER = "when Redis has done it, before the reply"
    IN_REPLY = "when half of the reply has come back"
    REFUSED = "Redis refuses it, and does nothing"
    SILENT = "the reply never comes, and the connection stays open"


@dataclass
class Fault:
    """Strikes the `nth` exchange of those that `matches` picks by their names, and those of that name that follow."""

    where: Where
    nth: int = 1
    matches: Callable[[str], bool] = lambda name: True
    times: int = 1
    """How many it strikes, one after the other."""
    outage: bool = False
    """Whether all other connections are cut too, and new ones refused until `restore`."""
    reset: bool = True
    """Whether a connection ends by RST; else by FIN."""
    error: str = "OOM command not allowed"
    """What Redis says that refuses."""
    struck: threading.Event = field(default_factory=threading.Event)
    _seen: int = 0
    _name: str = ""

    def strikes(self, name: str) -> bool:
        """Whether it strikes the exchange that begins now."""
        if self._name:
            self.times -= name == self._name
            return name == self._name and self.times > 0
        self._seen += self.matches(name)
        if not self.matches(name) or self._seen < self.nth:
            return False
        self._name = name
        return True


class _Link:
    """A client's connection and ours to Redis."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client, self.server = client, server
        self.requests, self.replies = (hiredis.Reader(notEnoughData=_UNFINISHED) for _ in range(2))
        self.request, self.commands = bytearray(), list[list[bytes]]()
        self.owed = 0
        self.fault: Fault | None = None
        self.withheld = bytearray()
        self.opaque = self.mute = False

    def whole_request(self, data: bytes) -> tuple[bytes, list[list[bytes]]] | None:
        """What was asked, once it is complete, and its commands."""
        self.request += data
        self.commands += _all(self.requests, data)
        words = [command[0].upper() for command in self.commands]
        if self.requests.has_data() or not words or (words[0] == b"MULTI" and words[-1] != b"EXEC"):
            return None
        whole, commands = bytes(self.request), self.commands
        self.request, self.commands = bytearray(), []
        return whole, commands


class Proxy:
    """Forwards connections to a Redis on this host; use it as a context manager."""

    def __init__(self, redis_port: int, scripts: Mapping[str, str] | None = None) -> None:
        self._redis_port = redis_port
        self._scripts = scripts or {}
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port: int = self._listener.getsockname()[1]
        self._wake, self._woken = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._links: set[_Link] = set()
        self._thread = threading.Thread(target=self._run, name="proxy")
        self._closing = self._out = False
        self.fault: Fault | None = None
        self.byte_delay_s = 0.0
        """With a delay, bytes are forwarded one by one."""
        self.attempts = 0
        """Connections that were tried, refused ones too."""
        self.exchanges: list[str] = []
        """The names of exchanges in the order in which they began: commands, and scripts by name."""

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def cut(self) -> None:
        """Cut all connections, and refuse new ones until `restore`."""
        self._out = True
        self._wake.send(b".")

    def restore(self) -> None:
        """Accept connections again."""
        self._out = False
        self._wake.send(b".")

    def __enter__(self) -> Self:
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._closing = True
        self._wake.send(b".")
        self._thread.join()
        for link in list(self._links):
            self._end(link, reset=True)
        self._selector.close()
        for each in (self._listener, self._wake, self._woken):
            each.close()

    def _run(self) -> None:
        while not self._closing:
            for key, _ in self._selector.select():
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj is self._woken:
                    self._woken.recv(100)
                    if self._out:
                        self._end_all()
                elif key.data in self._links:
                    self._forward(key.data, from_client=key.fileobj is key.data.client)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        self.attempts += 1
        if self._out:
            _close(client, reset=True)
            return
        try:
            server = socket.create_connection(("127.0.0.1", self._redis_port))
        except OSError:
            _close(client, reset=True)
            return
        link = _Link(client, server)
        for each in (client, server):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._selector.register(each, selectors.EVENT_READ, link)
        self._links.add(link)

    def _forward(self, link: _Link, *, from_client: bool) -> None:
        try:
            data = (link.client if from_client else link.server).recv(_CHUNK)
            if not data:
                self._end(link, reset=False)
            elif link.mute:
                pass
            elif link.opaque:
                self._send(link.server if from_client else link.client, data)
            elif from_client:
                self._request(link, data)
            else:
                self._reply(link, data)
        except OSError:
            self._end(link, reset=True)

    def _request(self, link: _Link, data: bytes) -> None:
        if (whole := link.whole_request(data)) is None:
            return
        request, commands = whole
        if not link.owed:
            name = self._name(commands)
            self.exchanges.append(name)
            link.fault = self.fault if self.fault is not None and self.fault.strikes(name) else None
            link.opaque = "SUBSCRIBE" in name and link.fault is None
        link.owed += len(commands)
        where = link.fault.where if link.fault is not None else None
        if where is Where.BEFORE:
            self._strike(link)
        elif where is Where.REFUSED:
            link.owed = 0
            self._send(link.client, _refusal(len(commands), link.fault.error if link.fault is not None else ""))
            self._strike(link)
        elif where is Where.IN_REQUEST:
            self._send(link.server, request[: len(request) // 2])
            self._strike(link)
        else:
            self._send(link.server, request)

    def _reply(self, link: _Link, data: bytes) -> None:
        link.owed -= len(_all(link.replies, data))
        if link.fault is None:
            self._send(link.client, data)
            return
        link.withheld += data
        if link.owed:
            return
        if link.fault.where is Where.IN_REPLY:
            self._send(link.client, bytes(link.withheld[: len(link.withheld) // 2]))
        self._strike(link)

    def _strike(self, link: _Link) -> None:
        fault = link.fault
        assert fault is not None
        if fault.where is Where.SILENT:
            link.mute = True
        elif fault.where is not Where.REFUSED:
            self._end(link, reset=fault.reset)
        if fault.outage:
            self._out = True
            self._end_all()
        fault.struck.set()

    def _name(self, commands: list[list[bytes]]) -> str:
        words = []
        for command in commands:
            word = command[0].decode().upper()
            words.append(self._scripts.get(command[1].decode(), "script") if word == "EVALSHA" else word)
        return " ".join(words)

    def _send(self, to: socket.socket, data: bytes) -> None:
        if not self.byte_delay_s:
            to.sendall(data)
            return
        for byte in data:
            to.sendall(bytes([byte]))
            time.sleep(self.byte_delay_s)

    def _end_all(self) -> None:
        for link in list(self._links):
            self._end(link, reset=True)

    def _end(self, link: _Link, *, reset: bool) -> None:
        if link in self._links:
            self._links.remove(link)
            for each in (link.client, link.server):
                self._selector.unregister(each)
            _close(link.server, reset=False)
            _close(link.client, reset=reset)


def _refusal(commands: int, error: str) -> bytes:
    """The answer to a command that is refused; a transaction is refused when it is to be executed."""
    if commands == 1:
        return f"-{error}\r\n".encode()
    queued = b"+OK\r\n" + b"+QUEUED\r\n" * (commands - 2)
    return queued + f"-EXECABORT Transaction discarded because of: {error}\r\n".encode()


def _all(reader: Any, data: bytes) -> list[Any]:
    """Everything that is complete now."""
    reader.feed(data)
    found = []
    while (one := reader.gets()) is not _UNFINISHED:
        found.append(one)
    return found


def _close(connection: socket.socket, *, reset: bool) -> None:
    if reset:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
