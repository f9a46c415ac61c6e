"""The adapter to supervisord: its configuration, its start and end, and its XML-RPC over a unix socket.

All paths and values that supervisord gets come as environment variables: its configuration syntax would read
blanks, quotes, ``%``, ``;`` and ``#`` in them as its own.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import shlex
import signal
import stat
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from supervisor.xmlrpc import Faults, SupervisorTransport, UnixStreamHTTPConnection

from app.bouy.services import Service
from app.store.errors import RecorderError, ServiceUnavailableError

MARKER = "BOUY_STATE"
"""The variable by which every process of a fleet is known: its state folder."""

MARKER_SERVICE = "BOUY_SERVICE"
"""The variable that says which service a process is."""

MARKER_FOREGROUND = "BOUY_FOREGROUND"
"""The variable that a service has which is attached to a terminal, and not supervised."""

SUPERVISORD = "supervisord"
"""What `MARKER_SERVICE` says of supervisord itself."""

_SOCKET_LIMIT_BYTES = 90  # the least limit of a system is 104; supervisord adds a dot and a pid while it binds
_ANSWER_TIMEOUT_S = 60.0  # it answers a stop once the service has ended
_SIGN_OF_LIFE_TIMEOUT_S = 5.0
_POLL_S = 0.02
_RUNNING = frozenset({"STARTING", "RUNNING", "STOPPING"})

_HEAD = """\
[supervisord]
logfile=supervisord.log
logfile_maxbytes=5MB
logfile_backups=1
pidfile=supervisord.pid
nocleanup=true
[unix_http_server]
file=%(ENV_BOUY_SOCKET)s
chmod=0600
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
"""

_PROGRAM = """\
[program:{name}]
command=%(ENV_BOUY_RUN)s services/{name}.json
priority={priority}
autostart=false
autorestart=true
startsecs=5
startretries=1000
stopsignal={stop_signal}
stopwaitsecs={stop_timeout_s}
killasgroup=true
redirect_stderr=true
stdout_logfile=logs/{name}.log
stdout_logfile_maxbytes=10MB
stdout_logfile_backups=3
"""


@dataclass(frozen=True, slots=True)
class Process:
    """What supervisord knows of a service's process."""

    state: str
    """supervisord's name of it, such as RUNNING or BACKOFF."""
    pid: int
    since: int
    """When it entered that state, in seconds since 1970; 0 if it never ran."""

    @property
    def alive(self) -> bool:
        """Whether there is a process."""
        return self.pid != 0 and self.state in _RUNNING

    @property
    def wanted(self) -> bool:
        """Whether it runs or is to run again after a crash."""
        return self.alive or self.state == "BACKOFF"


NEVER_RAN = Process("STOPPED", 0, 0)


@dataclass(frozen=True, slots=True)
class Marked:
    """A process that carries a fleet's marks."""

    service: str
    process: psutil.Process
    foreground: bool


class RefusedError(RecorderError):
    """supervisord answered with a fault; `code` is one of supervisor's `Faults`."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class Supervisor:
    """One supervisord, known by its state folder."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.socket = _socket_path(state)

    def running(self) -> bool:
        """Whether it answers; one that is about to end is waited for."""
        try:
            self._call("getState", timeout_s=_SIGN_OF_LIFE_TIMEOUT_S)
        except ServiceUnavailableError:
            return False
        except RefusedError as error:
            if error.code != Faults.SHUTDOWN_STATE:
                raise
            daemons = [marked.process for marked in marked_processes(self.state) if marked.service == SUPERVISORD]
            return bool(wait_for_end(daemons, _ANSWER_TIMEOUT_S))
        return True

    def start(self, services: Iterable[Service], environment: Mapping[str, str]) -> None:
        """Start it, with nothing running in it yet; it goes on when this process ends."""
        make_private(Path(self.socket).parent)
        self._configure(services)
        run = [sys.executable, "-I", "-S", str(Path(__file__).with_name("run.py"))]
        started = subprocess.run(
            [sys.executable, "-m", "supervisor.supervisord", "-c", "supervisord.conf"],
            check=False,
            cwd=self.state,
            env={
                **environment,
                MARKER: str(self.state),
                MARKER_SERVICE: SUPERVISORD,
                "BOUY_SOCKET": self.socket,
                "BOUY_RUN": shlex.join(run),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        if started.returncode:
            lines = started.stderr.strip().splitlines() or [f"exit code {started.returncode}"]
            raise RecorderError(f"supervisord did not start: {lines[-1]}", path=str(self.state / "supervisord.log"))

    def add_missing(self, services: Collection[Service]) -> None:
        """Make known services that were declared after supervisord was started, by an update of the code."""
        known = self.processes()
        missing = [service.name for service in services if service.name not in known]
        if missing:
            self._configure(services)
            self._call("reloadConfig")
        for name in missing:
            self._call("addProcessGroup", name)

    def processes(self) -> dict[str, Process]:
        """Every service's process by the service's name."""
        return {info["name"]: _process(info) for info in self._call("getAllProcessInfo")}

    def process(self, name: str) -> Process:
        """One service's process."""
        return _process(self._call("getProcessInfo", name))

    def start_process(self, name: str) -> None:
        """Start a service; it may not be ready yet."""
        self._call("startProcess", name, False)

    def stop_process(self, name: str) -> None:
        """Stop a service and wait for its end, which supervisord forces after a while."""
        try:
            self._call("stopProcess", name, True)
        except RefusedError as error:
            if error.code != Faults.NOT_RUNNING:
                raise

    def shutdown(self) -> None:
        """Stop all services, the last first, and supervisord itself; wait for its end."""
        process = psutil.Process(self._call("getPID"))
        self._call("shutdown")
        if wait_for_end([process], _ANSWER_TIMEOUT_S):
            raise ServiceUnavailableError("supervisord does not end")

    def _configure(self, services: Iterable[Service]) -> None:
        (self.state / "supervisord.conf").write_text(configuration(services), encoding="ascii")

    def _call(self, method: str, *arguments: Any, timeout_s: float = _ANSWER_TIMEOUT_S) -> Any:
        transport = _Transport(self.socket, timeout_s)
        try:
            proxy = xmlrpc.client.ServerProxy("http://localhost", transport=transport)
            return getattr(proxy.supervisor, method)(*arguments)
        except xmlrpc.client.Fault as error:
            raise RefusedError(f"supervisord refused {method}: {error.faultString}", error.faultCode) from error
        except (OSError, http.client.HTTPException, xmlrpc.client.ProtocolError) as error:
            raise ServiceUnavailableError(f"supervisord does not answer: {error}") from error
        finally:
            transport.close()


class _Transport(SupervisorTransport):  # type: ignore[misc]  # supervisor has no types
    """supervisor's own transport, with a limit to the wait for an answer."""

    def __init__(self, socket: str, timeout_s: float) -> None:
        super().__init__(None, None, f"unix://{socket}")
        self._get_connection = lambda: self._connect(socket, timeout_s)

    def _connect(self, socket: str, timeout_s: float) -> http.client.HTTPConnection:
        connection = UnixStreamHTTPConnection("localhost")
        connection.socketfile = socket
        try:
            connection.connect()
        except OSError:
            connection.close()
            raise
        connection.sock.settimeout(timeout_s)
        return connection  # type: ignore[no-any-return]


def configuration(services: Iterable[Service]) -> str:
    """supervisord's configuration for these services; the same for every fleet."""
    programs = [
        _PROGRAM.format(
            name=service.name,
            priority=priority,
            stop_signal=service.stop_signal,
            stop_timeout_s=service.stop_timeout_s,
        )
        for priority, service in enumerate(services, start=1)
    ]
    return _HEAD + "".join(programs)


def marked_processes(state: Path) -> list[Marked]:
    """Every process of the fleet in this state folder: supervised, in the foreground or left over.

    Those that a service started itself, as PostgreSQL does for each connection, are left to it.
    """
    found: dict[int, Marked] = {}
    parents: dict[int, int] = {}
    for process in psutil.process_iter():
        try:
            environ, parent = process.environ(), process.ppid()
        except (psutil.Error, OSError):
            continue  # another user's, or gone
        if environ.get(MARKER) == str(state):
            found[process.pid] = Marked(environ.get(MARKER_SERVICE, ""), process, MARKER_FOREGROUND in environ)
            parents[process.pid] = parent
    return [one for pid, one in found.items() if _service_of(found, parents[pid]) != one.service]


def _service_of(found: Mapping[int, Marked], pid: int) -> str | None:
    return found[pid].service if pid in found else None


def stop_all(processes: list[psutil.Process], timeout_s: float, stop_signal: str = "TERM") -> None:
    """Ask processes to end, and kill those that don't in time."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.Signals[f"SIG{stop_signal}"])
    for process in wait_for_end(processes, timeout_s):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    wait_for_end(processes, timeout_s)


def wait_for_end(processes: list[psutil.Process], timeout_s: float) -> list[psutil.Process]:
    """Wait for processes to end; returns those that did not."""
    deadline = time.monotonic() + timeout_s
    while (alive := [process for process in processes if _lives(process)]) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    return alive


def _lives(process: psutil.Process) -> bool:
    # psutil's own wait() takes a zombie for alive, and in a container nobody may reap it.
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _process(info: Mapping[str, Any]) -> Process:
    alive = info["statename"] in _RUNNING
    return Process(info["statename"], info["pid"], info["start"] if alive else info["stop"])


def _socket_path(state: Path) -> str:
    """In the state folder, or, where that makes too long a path for a socket, in a private folder of the user's."""
    path = str(state / "supervisor.sock")
    if len(os.fsencode(path)) <= _SOCKET_LIMIT_BYTES:
        return path
    name = hashlib.sha256(os.fsencode(state)).hexdigest()[:16]
    return f"/tmp/bouy-{os.getuid()}/{name}.sock"  # noqa: S108  checked by make_private; the same whatever TMPDIR says


def make_private(folder: Path) -> None:
    """Make a folder that only this user can use, or raise if it is there and somebody else's."""
    folder.mkdir(mode=0o700, exist_ok=True)
    info = folder.lstat()
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.getuid():
        raise RecorderError("not a folder of this user's own", path=str(folder), hint="remove it")
    if stat.S_IMODE(info.st_mode) != 0o700:
        folder.chmod(0o700)
