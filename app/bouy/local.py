"""The local backend: a fleet of services as processes of this machine, under one supervisord per state folder.

STATE holds all of it: ``services/NAME.json`` (how each was last started), ``logs/NAME.log``, ``redis/`` (the cache's
data), ``bin/`` (for `exec`), supervisord's own files, and ``lock``, which one command at a time holds while it changes
things.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from app.bouy import environment
from app.bouy.services import SERVICES, Launch, Service, Site, database_url, in_order, redis_url
from app.bouy.supervision import (
    MARKER,
    MARKER_FOREGROUND,
    MARKER_SERVICE,
    NEVER_RAN,
    SUPERVISORD,
    Process,
    Supervisor,
    make_private,
    marked_processes,
    stop_all,
)
from app.service.redaction import without_password
from app.store.errors import RecorderError, ServiceUnavailableError, UsageError

_POLL_S = 0.05
_PORT_ATTEMPTS = 3
_LOG_LINES_SHOWN = 10
_FOREGROUND = "running (foreground)"
_RUNNING = ("running", _FOREGROUND)
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
    """running, running (foreground), restarting (after a crash), stopping, stopped, orphaned (supervisord is gone)"""
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
        with self.lock():
            if self.supervisor.running():
                self.supervisor.add_missing(SERVICES.values())
            else:
                self._stop_orphans((SUPERVISORD, *SERVICES))
                self.supervisor.start(SERVICES.values(), environment.base(self.site.environ))
            try:
                return [self._up(service) for service in in_order(names)]
            finally:
                self._end_if_idle()

    def down(self, names: Collection[str]) -> list[str]:
        """Stop services, the last started first, and supervisord with the last of them; returns what ran."""
        with self.lock():
            attached = {name: process for name, process in self._foreground().items() if name in names}
            self._stop(attached.items())  # while the services that it needs are still there
            stopped = self._stop_supervised(names) if self.supervisor.running() else []
            left = self._stop_orphans(names if self.supervisor.running() else (*names, SUPERVISORD))
            return [name for name in reversed(SERVICES) if name in {*attached, *stopped, *left}]

    def status(self) -> list[Status]:
        """The state of every service."""
        self.check_state()
        supervised = self.supervisor.processes() if self.supervisor.running() else None
        marked = {marked.service: marked for marked in marked_processes(self.site.state)}
        launches = self.launches()
        found = []
        for name, service in SERVICES.items():
            mark, launch = marked.get(name), launches.get(name)
            address = service.address(self.site, launch) if launch else None
            if mark and mark.foreground:
                found.append(Status(name, _FOREGROUND, _started_at(mark.process), mark.process.pid, address))
            elif supervised is None:
                found.append(Status(name, "orphaned", pid=mark.process.pid) if mark else Status(name, "stopped"))
            else:
                found.append(_status(name, supervised.get(name, NEVER_RAN), address))
        return found

    def health(self, status: Status) -> str | None:
        """What a running service says of itself; None of one that doesn't run."""
        launch = self.launches().get(status.service)
        if launch is None or status.pid is None or status.state not in _RUNNING:
            return None
        return SERVICES[status.service].health(launch, status.pid)

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
        running = {status.service for status in self.status() if status.state in _RUNNING}
        launches = {name: launch for name, launch in self.launches().items() if name in running}
        urls = {"REDIS_URL": redis_url(self.site, launches), "DATABASE_URL": database_url(self.site, launches)}
        merged = {name: url for name, url in urls.items() if url}
        for launch in launches.values():
            merged |= launch.settings
        return merged | {name: value for name, value in self.site.environ.items() if value and name in merged}

    def log(self, name: str) -> Path:
        """A service's log file."""
        return self.site.state / "logs" / f"{name}.log"

    def check_state(self) -> None:
        """Raise `UsageError` if the state folder is something else."""
        if _is_foreign(self.site.state):
            raise UsageError(
                "not a state folder of bouy's", path=str(self.site.state), hint="name a new or an empty folder"
            )

    def make_folders(self) -> None:
        """Make the state folder, which only this user can look into."""
        self.check_state()
        state = self.site.state
        for missing in reversed([folder for folder in state.parents if not folder.exists()]):
            make_private(missing)
        for folder in (state, state / "services", state / "logs", state / "bin"):
            make_private(folder)

    def attach(self, name: str) -> tuple[Launch, dict[str, str]]:
        """How to become a service in the foreground, with the variables it is known by; the caller holds the lock.

        Raises `UsageError` if it runs already, and what the service's check raises.
        """
        running = next(status for status in self.status() if status.service == name)
        if running.pid:
            where = "foreground" if running.state == _FOREGROUND else "background"
            raise UsageError(
                f"the {name} already runs in the {where} (pid {running.pid})", hint=f"first ./bouy down {name}"
            )
        launch = SERVICES[name].launch(self.site, self.launches())
        SERVICES[name].check(launch)
        self._write_plan(name, launch)
        return launch, {**self.site.environ, **launch.settings, **self._marks(name), MARKER_FOREGROUND: "1"}

    def _up(self, service: Service) -> Outcome:
        if service.replaced_by and self.site.environ.get(service.replaced_by):
            return Outcome(service.name, "replaced", f"{service.replaced_by} is set")
        last = self.launches().get(service.name)
        process = self.supervisor.process(service.name)
        launch = service.launch(self.site, self.launches())
        reason = _changes(last.settings, launch.settings) if last else None
        if attached := self._foreground().get(service.name):
            if reason:
                raise UsageError(
                    f"the {service.name} runs in the foreground (pid {attached.pid}); {reason}",
                    hint=f"first ./bouy down {service.name}",
                )
            return self._outcome(service, "unchanged", "in the foreground", last or launch, attached.pid)
        service.check(launch)  # before a running one is stopped
        if last and process.alive and not reason:
            return self._outcome(service, "unchanged", None, last, self._await_ready(service, last, 0))
        if not process.alive:
            reason = None
        if process.wanted:
            self.supervisor.stop_process(service.name)
        return self._start(service, reason)

    def _start(self, service: Service, reason: str | None) -> Outcome:
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            launch = service.launch(self.site, self.launches())
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
            self._stop_orphans((SUPERVISORD, *SERVICES))

    def _foreground(self) -> dict[str, psutil.Process]:
        return {marked.service: marked.process for marked in marked_processes(self.site.state) if marked.foreground}

    def _stop_orphans(self, names: Collection[str]) -> list[str]:
        """Stop processes of this fleet that supervisord does not, or no longer, look after."""
        supervised = set()
        if self.supervisor.running():
            supervised = {process.pid for process in self.supervisor.processes().values()}
        orphans = [
            (marked.service, marked.process)
            for marked in marked_processes(self.site.state)
            if marked.service in names and not marked.foreground and marked.process.pid not in supervised
        ]
        self._stop(orphans)
        return [name for name, _ in orphans]

    def _stop(self, processes: Collection[tuple[str, psutil.Process]]) -> None:
        for name in (SUPERVISORD, *reversed(SERVICES)):
            found = [process for owner, process in processes if owner == name]
            if service := SERVICES.get(name):
                stop_all(found, service.stop_timeout_s, service.stop_signal)
            else:
                stop_all(found, timeout_s=5)

    def _marks(self, name: str) -> dict[str, str]:
        return {MARKER: str(self.site.state), MARKER_SERVICE: name}

    def _write_plan(self, name: str, launch: Launch) -> None:
        umask = os.umask(0o077)
        os.umask(umask)
        variables = {**environment.base(self.site.environ), **launch.settings, **self._marks(name)}
        draft = self._plan(name).with_suffix(".new")
        draft.unlink(missing_ok=True)
        draft.touch(mode=0o600)  # it can hold a password
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
    def lock(self) -> Iterator[None]:
        """Keep other commands from changing the fleet; it ends when the process becomes another program, too."""
        self.make_folders()
        with open(self.site.state / "lock", "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._notify("waiting for another bouy command to finish")
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _changes(old: Mapping[str, str], new: Mapping[str, str]) -> str | None:
    """What changed from one set of settings to another, in words that can be shown; None if nothing did."""
    changes = []
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            before, after = (without_password(settings.get(name, "unset")) for settings in (old, new))
            changes.append(f"{name} changed" + (f": {before} -> {after}" if before != after else ""))
    return "; ".join(changes) or None


def _status(name: str, process: Process, address: str | None) -> Status:
    state = _STATES.get(process.state, "stopped")
    return Status(name, state, process.since or None, process.pid or None, address if process.alive else None)


def _started_at(process: psutil.Process) -> int | None:
    with contextlib.suppress(psutil.NoSuchProcess):
        return int(process.create_time())
    return None


def _is_foreign(state: Path) -> bool:
    """Whether it is no folder, or one in use for something else, so that it may not be made private."""
    if not state.is_dir():
        return not next(path for path in (state, *state.parents) if path.exists()).is_dir()
    if not state.stat().st_mode & 0o077:
        return False
    return not (state / "services").is_dir() and any(state.iterdir())
