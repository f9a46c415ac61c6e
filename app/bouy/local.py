"""The local backend: a fleet of services as processes of this machine, under one supervisord per state folder.

STATE holds all of it: ``services/NAME.json`` (how each was last started), ``logs/NAME.log``, ``redis/`` (the cache's
data), ``bin/`` (for `exec`), supervisord's own files, and ``lock``, which one command at a time holds while it changes
things.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from app.bouy import environment
from app.bouy.services import SERVICES, Launch, Service, Site, in_order, redis_url
from app.bouy.supervision import (
    MARKER,
    MARKER_SERVICE,
    NEVER_RAN,
    SUPERVISORD,
    Process,
    Supervisor,
    make_private,
    marked_processes,
    stop_all,
)
from app.store.errors import RecorderError, ServiceUnavailableError, UsageError

_POLL_S = 0.05
_PORT_ATTEMPTS = 3
_LOG_LINES_SHOWN = 10
_STATES = {"RUNNING": "running", "STARTING": "running", "STOPPING": "stopping", "BACKOFF": "restarting"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What `up` did about one service."""

    service: str
    action: str
    """started, restarted, unchanged, or replaced (by the one that the caller's environment names)"""
    reason: str | None = None
    pid: int | None = None
    address: str | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """One line of `ps`."""

    service: str
    state: str
    """running, restarting (after a crash), stopping, stopped, or orphaned (supervisord is gone)"""
    since: int | None = None
    """Seconds since 1970."""
    pid: int | None = None
    address: str | None = None


class DiedError(RecorderError):
    """A service ended while it was starting."""


class Fleet:
    """The services of one site. Every change is made under the site's lock."""

    def __init__(self, site: Site, notify: Callable[[str], None] = lambda text: None) -> None:
        self.site = site
        self.supervisor = Supervisor(site.state)
        self._notify = notify

    def up(self, names: Iterable[str]) -> list[Outcome]:
        """Start services and what they need; each is ready when this returns."""
        with self._lock():
            if self.supervisor.running():
                self.supervisor.add_missing(SERVICES.values())
            else:
                self._stop_marked((SUPERVISORD, *SERVICES))
                self.supervisor.start(SERVICES.values(), environment.base(self.site.environ))
            try:
                return [self._up(service) for service in in_order(names)]
            finally:
                self._end_if_idle()

    def down(self, names: Collection[str]) -> list[str]:
        """Stop services, the last started first, and supervisord with the last of them; returns what ran."""
        with self._lock():
            running = self.supervisor.running()
            stopped = self._stop_supervised(names) if running else []
            left = self._stop_marked(names if self.supervisor.running() else (*names, SUPERVISORD))
            return [name for name in reversed(SERVICES) if name in {*stopped, *left}]

    def status(self) -> list[Status]:
        """The state of every service."""
        if self.supervisor.running():
            processes = self.supervisor.processes()
            return [self._status(service, processes.get(name, NEVER_RAN)) for name, service in SERVICES.items()]
        orphans = {name: process.pid for name, process in marked_processes(self.site.state)}
        return [
            Status(name, "orphaned", pid=orphans[name]) if name in orphans else Status(name, "stopped")
            for name in SERVICES
        ]

    def launches(self) -> dict[str, Launch]:
        """How each service was last started."""
        found = {}
        for name in SERVICES:
            try:
                plan = json.loads(self._plan(name).read_text(encoding="ascii"))
                found[name] = Launch(plan["command"], plan["directory"], plan["settings"], plan["port"])
            except (FileNotFoundError, ValueError, KeyError):
                continue  # never started, or cut short: it is written anew
        return found

    def settings(self) -> dict[str, str]:
        """The variables that the fleet's running services use; those that the caller sets come first."""
        running = {status.service for status in self.status() if status.state == "running"}
        launches = {name: launch for name, launch in self.launches().items() if name in running}
        url = redis_url(self.site, launches)
        merged = {"REDIS_URL": url} if url else {}
        for launch in launches.values():
            merged |= launch.settings
        return merged | {name: value for name, value in self.site.environ.items() if value and name in merged}

    def log(self, name: str) -> Path:
        """A service's log file."""
        return self.site.state / "logs" / f"{name}.log"

    def make_folders(self) -> None:
        """Make the state folder, which only this user can look into."""
        state = self.site.state
        if _is_foreign(state):
            raise UsageError("not a state folder of bouy's", path=str(state), hint="name a new or an empty one")
        for missing in reversed([folder for folder in state.parents if not folder.exists()]):
            make_private(missing)
        for folder in (state, state / "services", state / "logs", state / "bin"):
            make_private(folder)

    def _up(self, service: Service) -> Outcome:
        if service.replaced_by and self.site.environ.get(service.replaced_by):
            return Outcome(service.name, "replaced", f"{service.replaced_by} is set")
        last = self.launches().get(service.name)
        process = self.supervisor.process(service.name)
        reason = None
        if last and process.alive:
            launch = service.launch(self.site, self.launches())
            changed = sorted(key for key, _ in launch.settings.items() ^ last.settings.items())
            if not changed:
                service.check(last)
                return self._outcome(service, "unchanged", None, last, self._await_ready(service, last, 0))
            reason = f"{', '.join(dict.fromkeys(changed))} changed"
        if process.wanted:
            self.supervisor.stop_process(service.name)
        return self._start(service, reason)

    def _start(self, service: Service, reason: str | None) -> Outcome:
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            launch = service.launch(self.site, self.launches())
            service.check(launch)
            self._write_plan(service.name, launch)
            log_start = self._log_size(service.name)
            self.supervisor.start_process(service.name)
            try:
                pid = self._await_ready(service, launch, log_start)
            except DiedError as error:
                if attempt < _PORT_ATTEMPTS and "Address already in use" in error.message:
                    continue  # another program took the port since it was found free
                raise
            return self._outcome(service, "restarted" if reason else "started", reason, launch, pid)
        raise AssertionError("unreachable")

    def _await_ready(self, service: Service, launch: Launch, log_start: int) -> int:
        deadline = time.monotonic() + service.start_timeout_s
        while time.monotonic() < deadline:
            process = self.supervisor.process(service.name)
            if not process.alive:
                if process.wanted:
                    self.supervisor.stop_process(service.name)
                raise DiedError(f"{service.name} ended at its start; {self._last_words(service.name, log_start)}")
            if service.ready(launch, process.pid):
                return process.pid
            time.sleep(_POLL_S)
        raise ServiceUnavailableError(
            f"{service.name} runs, but isn't ready after {service.start_timeout_s:.0f} s; "
            + self._last_words(service.name, log_start)
        )

    def _outcome(self, service: Service, action: str, reason: str | None, launch: Launch, pid: int) -> Outcome:
        return Outcome(service.name, action, reason, pid, service.address(self.site, launch))

    def _status(self, service: Service, process: Process) -> Status:
        state = _STATES.get(process.state, "stopped")
        launch = self.launches().get(service.name)
        alive = process.alive and launch is not None
        return Status(
            service.name,
            state,
            process.since or None,
            process.pid or None,
            service.address(self.site, launch) if alive and launch else None,
        )

    def _stop_supervised(self, names: Collection[str]) -> list[str]:
        wanted = [name for name, process in self.supervisor.processes().items() if process.wanted]
        stopped = [name for name in reversed(SERVICES) if name in names and name in wanted]
        for name in stopped:
            self.supervisor.stop_process(name)
        self._end_if_idle()
        return stopped

    def _end_if_idle(self) -> None:
        if not any(process.wanted for process in self.supervisor.processes().values()):
            self._shutdown()

    def _shutdown(self) -> None:
        try:
            self.supervisor.shutdown()
        except ServiceUnavailableError:
            self._stop_marked((SUPERVISORD, *SERVICES))

    def _stop_marked(self, names: Collection[str]) -> list[str]:
        """Stop processes of this fleet that supervisord does not, or no longer, look after."""
        supervised = set()
        if self.supervisor.running():
            supervised = {process.pid for process in self.supervisor.processes().values()}
        orphans = [
            (name, process)
            for name, process in marked_processes(self.site.state)
            if name in names and process.pid not in supervised
        ]
        for name in (SUPERVISORD, *reversed(SERVICES)):
            timeout_s = SERVICES[name].stop_timeout_s if name in SERVICES else 5
            stop_all([process for found, process in orphans if found == name], timeout_s)
        return [name for name, _ in orphans]

    def _write_plan(self, name: str, launch: Launch) -> None:
        umask = os.umask(0o077)
        os.umask(umask)
        variables = {
            **environment.base(self.site.environ),
            **launch.settings,
            MARKER: str(self.site.state),
            MARKER_SERVICE: name,
        }
        draft = self._plan(name).with_suffix(".new")
        draft.write_text(json.dumps({**asdict(launch), "environment": variables, "umask": umask}), encoding="ascii")
        draft.replace(self._plan(name))

    def _plan(self, name: str) -> Path:
        return self.site.state / "services" / f"{name}.json"

    def _log_size(self, name: str) -> int:
        try:
            return self.log(name).stat().st_size
        except FileNotFoundError:
            return 0

    def _last_words(self, name: str, start: int) -> str:
        lines: list[str] = []
        if self._log_size(name) > start:
            with open(self.log(name), "rb") as file:
                file.seek(start)
                lines = file.read().decode(errors="replace").splitlines()
        shown = "".join(f"\n  {line}" for line in lines[-_LOG_LINES_SHOWN:])
        return f"its log ({self.log(name)}) says:{shown}" if shown else f"its log ({self.log(name)}) says nothing"

    @contextmanager
    def _lock(self) -> Iterator[None]:
        self.make_folders()
        with open(self.site.state / "lock", "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._notify("waiting for another bouy command to finish")
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _is_foreign(state: Path) -> bool:
    """Whether a folder is in use for something else, so that it may not be made private."""
    if not state.is_dir() or not state.stat().st_mode & 0o077:
        return False
    return not (state / "services").is_dir() and any(state.iterdir())
