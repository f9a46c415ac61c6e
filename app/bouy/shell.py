"""Commands that take over this process: a service's program in the foreground, `exec`, and a log's `tail`."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from redis.connection import Connection, SSLConnection, parse_url

from app.bouy import environment, postgres
from app.bouy.local import Fleet
from app.bouy.services import DEFAULT_OUTPUT_DIR, SERVICES, output_dir, redis_program
from app.recorder import client
from app.service.postgres import client_variables, postgres_program
from app.store.errors import RecorderError, UsageError

_REDIS_CLI = """\
#!/bin/sh
# redis-cli, connected to the Redis of this fleet.
[ -n "${{BOUY_REDIS_CLI:-}}" ] || {{
    echo "redis-cli: the cache isn't running: start it with ./bouy up cache" >&2
    exit 1
}}
eval "set -- $BOUY_REDIS_CLI "'"$@"'
exec {program} "$@"
"""
_FOLDERS = {"ARCHIVE_DIR": "archives", "BACKUP_DIR": "backups", "SQL_DUMP_DIR": "sql_dumps"}
_STARTUP = str(Path(__file__).with_name("startup"))
"""A folder with the module that Python imports by itself at its start."""

_TLS_OPTIONS = {"ssl_ca_certs": "--cacert", "ssl_certfile": "--cert", "ssl_keyfile": "--key"}


class CommandNotFoundError(RecorderError):
    """The command to run doesn't exist."""

    exit_code = 127


class NotExecutableError(RecorderError):
    """The command to run is there, but can't be run."""

    exit_code = 126


def execute(fleet: Fleet, command: Sequence[str], folder: Path | None = None) -> NoReturn:
    """Become a command, run with the fleet's settings, in the checkout or the folder given."""
    _become(folder or fleet.site.root, command, variables_of(fleet, folder))


def run(fleet: Fleet, command: Sequence[str]) -> int:
    """Run a command with the fleet's settings in the checkout, and wait for it; returns its exit code."""
    return subprocess.run(command, env=variables_of(fleet, None), cwd=fleet.site.root, check=False).returncode


def variables_of(fleet: Fleet, folder: Path | None) -> dict[str, str]:
    """The environment of a command that is run with the fleet's settings, in the checkout or the folder given."""
    site = fleet.site
    settings = fleet.settings()
    variables = {**site.environ, **settings, "PATH": environment.search_path(site.environ, _tools(fleet))}
    variables.pop("REDISCLI_AUTH", None)  # the caller's, for some other Redis
    variables |= redis_cli_variables(settings.get("REDIS_URL"))
    variables |= client_variables(settings.get("DATABASE_URL"))
    variables["OUTPUT_DIR"] = variables.get("OUTPUT_DIR") or DEFAULT_OUTPUT_DIR
    variables["PYTHONPATH"] = os.pathsep.join(filter(None, (_STARTUP, variables.get("PYTHONPATH"))))
    if folder is not None:  # a folder that a setting names is in the checkout, wherever the caller is
        variables["OUTPUT_DIR"] = output_dir(site, variables)
        for name, default in _FOLDERS.items():
            variables[name] = os.path.normpath(site.root / (variables.get(name) or default))
    return variables


def foreground(fleet: Fleet, name: str) -> NoReturn:
    """Become a service, attached to the terminal; what it needs is started."""
    fleet.up(SERVICES[name].needs)
    with fleet.lock():
        launch, variables = fleet.attach(name)
        variables["PATH"] = environment.search_path(fleet.site.environ)
        _become(Path(launch.directory), launch.command, variables)


def tail(fleet: Fleet, name: str, lines: int, follow: bool) -> NoReturn:
    """Become `tail` on a service's log."""
    fleet.check_state()
    log = fleet.log(name)
    if not log.exists():
        raise RecorderError(f"{name} has no log yet", hint=f"start it with ./bouy up {name}")
    options = ["-F"] if follow else []
    variables = {**fleet.site.environ, "PATH": environment.search_path(fleet.site.environ)}
    _become(fleet.site.root, ["tail", "-n", str(lines), *options, str(log)], variables)


def redis_cli_variables(url: str | None) -> dict[str, str]:
    """What the fleet's `redis-cli` takes from its environment: options to connect by, as shell words, and the password.

    A password among the arguments could be seen by every user of the machine.
    """
    if not url:
        return {"BOUY_REDIS_CLI": ""}
    try:
        parts = parse_url(url)  # type: ignore[no-untyped-call]
    except ValueError as error:
        raise client.unusable(error) from None
    if path := parts.get("path"):
        options = ["-s", path]
    else:
        options = ["-h", parts.get("host", "localhost"), "-p", str(parts.get("port", 6379))]
    options += ["-n", str(parts.get("db", 0))]
    if username := parts.get("username"):
        options += ["--user", username]
    if issubclass(parts.get("connection_class", Connection), SSLConnection):
        options += ["--tls"] + (["--insecure"] if parts.get("ssl_cert_reqs") == "none" else [])
        for name, option in _TLS_OPTIONS.items():
            options += [option, parts[name]] if name in parts else []
    password = parts.get("password")
    return {"BOUY_REDIS_CLI": shlex.join(options)} | ({"REDISCLI_AUTH": password} if password else {})


def _become(folder: Path, command: Sequence[str], variables: Mapping[str, str]) -> NoReturn:
    if not command:
        raise UsageError("no command given", hint="for example ./bouy exec app python -V")
    os.chdir(folder)
    program = shutil.which(command[0], path=variables["PATH"])
    if program is None:
        if os.path.isdir(command[0]) or shutil.which(command[0], os.F_OK, variables["PATH"]):
            raise NotExecutableError(f"not executable: {command[0]}")
        raise CommandNotFoundError(f"no such command: {command[0]}")
    try:
        os.execve(program, list(command), dict(variables))  # noqa: S606  no shell is wanted
    except OSError as error:
        raise NotExecutableError(f"can't run {command[0]}: {error.strerror}") from error


def _tools(fleet: Fleet) -> Path:
    """A folder with the programs of Redis and PostgreSQL as the fleet uses them."""
    fleet.make_folders()
    tools = fleet.site.state / "bin"
    programs = {name: redis_program(name) for name in ("redis-cli", "redis-server")}
    programs |= {name: postgres_program(name) for name in postgres.PROGRAMS}
    for name, program in programs.items():
        if program is None:
            continue
        text = _REDIS_CLI if name == "redis-cli" else '#!/bin/sh\nexec {program} "$@"\n'
        draft = tools / f".{name}.{os.getpid()}"
        draft.write_text(text.format(program=shlex.quote(program)), encoding="utf-8")
        draft.chmod(0o700)
        draft.replace(tools / name)
    return tools
