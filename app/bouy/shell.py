"""Commands that take over this process: a service's program in the foreground, `exec`, and a log's `tail`."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from app.bouy import environment
from app.bouy.local import Fleet
from app.bouy.services import DEFAULT_OUTPUT_DIR, SERVICES, redis_program
from app.store.errors import RecorderError, UsageError

_REDIS_CLI = """\
#!/bin/sh
# redis-cli, connected to the Redis of this fleet.
[ -n "${{REDIS_URL:-}}" ] || {{ echo "redis-cli: the cache isn't running: start it with ./bouy up cache" >&2; exit 1; }}
case $REDIS_URL in
    unix://*) path=${{REDIS_URL#unix://}}; exec {program} -s "${{path%%\\?*}}" "$@" ;;
    *) exec {program} --no-auth-warning -u "$REDIS_URL" "$@" ;;
esac
"""


class CommandNotFoundError(RecorderError):
    """The command to run doesn't exist, or isn't a program."""

    exit_code = 127


def execute(fleet: Fleet, command: Sequence[str]) -> NoReturn:
    """Become a command, run in the checkout with the fleet's settings."""
    site = fleet.site
    variables = {**site.environ, **fleet.settings(), "PATH": environment.search_path(site.environ, _tools(fleet))}
    variables["OUTPUT_DIR"] = variables.get("OUTPUT_DIR") or DEFAULT_OUTPUT_DIR
    _become(site.root, command, variables)


def foreground(fleet: Fleet, name: str) -> NoReturn:
    """Become a service, attached to the terminal."""
    launch = SERVICES[name].launch(fleet.site, fleet.launches())
    SERVICES[name].check(launch)
    variables = {**fleet.site.environ, **launch.settings, "PATH": environment.search_path(fleet.site.environ)}
    _become(Path(launch.directory), launch.command, variables)


def tail(fleet: Fleet, name: str, lines: int, follow: bool) -> NoReturn:
    """Become `tail` on a service's log."""
    log = fleet.log(name)
    if not log.exists():
        raise RecorderError(f"{name} has no log yet", hint=f"start it with ./bouy up {name}")
    options = ["-F"] if follow else []
    variables = {**fleet.site.environ, "PATH": environment.search_path(fleet.site.environ)}
    _become(fleet.site.root, ["tail", "-n", str(lines), *options, str(log)], variables)


def _become(folder: Path, command: Sequence[str], variables: Mapping[str, str]) -> NoReturn:
    if not command:
        raise UsageError("no command given", hint="for example ./bouy exec app python -V")
    os.chdir(folder)
    program = shutil.which(command[0], path=variables["PATH"])
    if program is None:
        raise CommandNotFoundError(f"no such command: {command[0]}")
    try:
        os.execve(program, list(command), dict(variables))  # noqa: S606  no shell is wanted
    except OSError as error:
        raise CommandNotFoundError(f"can't run {command[0]}: {error.strerror}") from error


def _tools(fleet: Fleet) -> Path:
    """A folder with `redis-cli` and `redis-server` as the fleet uses them."""
    fleet.make_folders()
    tools = fleet.site.state / "bin"
    for name in ("redis-cli", "redis-server"):
        program = redis_program(name)
        if program is None:
            continue
        text = _REDIS_CLI if name == "redis-cli" else '#!/bin/sh\nexec {program} "$@"\n'
        draft = tools / f".{name}.{os.getpid()}"
        draft.write_text(text.format(program=shlex.quote(program)), encoding="utf-8")
        draft.chmod(0o700)
        draft.replace(tools / name)
    return tools
