"""What `ps` shows: each service of the fleet, and recorders that somebody else runs on the same queue."""

from __future__ import annotations

import socket
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import psutil
from redis.exceptions import RedisError

from app.bouy.local import Fleet, Status
from app.recorder import client
from app.recorder.intake import QueueState
from app.store.errors import UsageError
from app.store.printable import printable
from app.store.timestamps import format_timestamp

HEADER = ("SERVICE", "STATE", "HEALTH", "SINCE", "PID", "PORT", "LAST RECORDED", "QUEUE", "ADDRESS")


@dataclass(frozen=True, slots=True)
class Work:
    """What Redis says of the queue and of those who work on it."""

    recorders: list[client.RecorderInfo]
    queue: QueueState | None
    """None when Redis doesn't answer, or there is none."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of `ps`."""

    status: Status
    health: str | None
    port: int | None = None
    last_recorded: float | None = None
    queue: int | None = None

    def cells(self) -> tuple[str, ...]:
        """It as text."""
        status = self.status
        queue = "-" if self.queue is None else str(self.queue)
        known = (status.service, status.state, self.health, moment(status.since), status.pid, self.port)
        shown = (*known, moment(self.last_recorded), queue, status.address)
        return tuple(printable(str(cell or "-")) for cell in shown)

    def document(self) -> dict[str, Any]:
        """It as data."""
        return asdict(self.status) | {
            "since": moment(self.status.since),
            "health": self.health,
            "port": self.port,
            "last_recorded": moment(self.last_recorded),
            "queue": self.queue,
        }


def lines(fleet: Fleet) -> list[Line]:
    """Every line of `ps`."""
    work = look(fleet.settings().get("REDIS_URL"))
    waiting = work.queue.waiting if work.queue else None
    here = {one.pid: one for one in work.recorders if one.hostname == socket.gethostname()}
    shown = []
    for status in fleet.status():
        recorder = here.get(status.pid or 0)
        health = fleet.health(status)
        if status.service != "recorder":
            launch = fleet.launches().get(status.service)
            shown.append(Line(status, health, launch.port if launch and status.pid else None))
        elif recorder is None:
            shown.append(Line(status, health, _listening_port(status.pid), queue=waiting))
        else:
            work.recorders.remove(recorder)
            shown.append(Line(status, health, _port(recorder), recorder.last_recorded, waiting))
    shown += [_line_of_other(recorder, waiting) for recorder in work.recorders]
    return shown


def look(redis_url: str | None) -> Work:
    """Ask Redis, if there is one and it answers."""
    if redis_url:
        try:
            with client.connect(redis_url, retries=0) as connection:
                return Work(client.recorders(connection), client.queue_state(connection))
        except (RedisError, UsageError):
            pass
    return Work([], None)


def moment(seconds: float | None) -> str | None:
    """A time as text, to the second."""
    return None if seconds is None else format_timestamp(datetime.fromtimestamp(int(seconds), UTC))


def _line_of_other(recorder: client.RecorderInfo, waiting: int | None) -> Line:
    where = "not bouy's" if recorder.hostname == socket.gethostname() else f"on {recorder.hostname}"
    health = "ready" if recorder.waiting_for is None else f"waiting: {recorder.waiting_for}"
    status = Status("recorder", f"running ({where})", pid=recorder.pid)
    return Line(status, health, _port(recorder), recorder.last_recorded, waiting)


def _listening_port(pid: int | None) -> int | None:
    """Where a recorder of ours serves its metrics and health, while Redis can't say it."""
    try:
        sockets = psutil.Process(pid).net_connections("inet") if pid else []
    except psutil.Error:
        return None
    return next((one.laddr.port for one in sockets if one.status == psutil.CONN_LISTEN), None)


def _port(recorder: client.RecorderInfo) -> int | None:
    port = (recorder.metrics or "").rpartition(":")[2]
    return int(port) if port.isdecimal() else None
