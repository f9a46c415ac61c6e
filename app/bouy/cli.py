"""bouy's command line: what each command takes and says. The work is done elsewhere."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from app.bouy import checks, demo, shell
from app.bouy.demo_view import Progress, report_document, say_report
from app.bouy.generator import generate_results
from app.bouy.local import Fleet, Outcome, Status
from app.bouy.output import Output, complain
from app.bouy.services import APP, SERVICES, Site, without_password
from app.service.settings import load_settings
from app.store.errors import RecorderError, UsageError
from app.store.timestamps import format_timestamp

ROOT = Path(__file__).resolve().parents[2]
"""The checkout."""

_DEFAULT_LOG_LINES = 100

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
_REST = {"allow_interspersed_args": False, "ignore_unknown_options": True}
_Services = Annotated[list[str] | None, typer.Argument(metavar="[SERVICE]...", show_default=False)]


@dataclass(frozen=True, slots=True)
class Bouy:
    """What every command works with."""

    site: Site
    output: Output

    @property
    def fleet(self) -> Fleet:
        """The fleet of this site."""
        return Fleet(self.site, notify=complain)


@app.callback(invoke_without_command=True)
def bouy(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print errors only.")] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="Print without colors; so does NO_COLOR.")] = False,
    state: Annotated[
        Path,
        typer.Option(
            "--state", metavar="DIR", help="Where the fleet keeps sockets, logs and Redis data.", show_default=".bouy"
        ),
    ] = ROOT / ".bouy",
) -> None:
    """Run the recorder and what it needs as processes of this machine.

    Services: cache (Redis), recorder; and app, the project's environment, for exec.
    """
    environ = context.obj
    site = Site(ROOT, state.resolve(), environ)
    context.obj = Bouy(site, Output(environ, as_json=as_json, quiet=quiet, no_color=no_color))
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command()
def recorder(
    context: typer.Context,
    foreground: Annotated[bool, typer.Option("--foreground", help="Stay attached to it; Ctrl-C stops it.")] = False,
) -> None:
    """Start the recorder, and the cache if it isn't running."""
    me: Bouy = context.obj
    load_settings()  # what the recorder could not use is better said here
    if foreground:
        _foreground(me)
    *_, outcome = me.fleet.up(["recorder"])
    settings = me.fleet.settings()
    log = str(me.fleet.log("recorder"))
    url = without_password(settings["REDIS_URL"])
    me.output.say(f"{_sentence(outcome)}: {url} -> {outcome.address}; log {log}")
    me.output.document({**asdict(outcome), "redis_url": url, "output_dir": outcome.address, "log": log})


@app.command()
def up(context: typer.Context, services: _Services = None) -> None:
    """Start services and what they need; all of them if none is named."""
    me: Bouy = context.obj
    names = _known(services or SERVICES)
    load_settings()
    outcomes = me.fleet.up(names)
    for outcome in outcomes:
        me.output.say(_sentence(outcome) + (f": {outcome.address}" if outcome.address else ""))
    me.output.document([asdict(outcome) for outcome in outcomes])


@app.command()
def down(context: typer.Context, services: _Services = None) -> None:
    """Stop services; all of them if none is named."""
    me: Bouy = context.obj
    stopped = me.fleet.down(_known(services or SERVICES))
    for name in stopped:
        me.output.say(f"{name} stopped")
    if not stopped:
        me.output.say("nothing was running")
    me.output.document({"stopped": stopped})


@app.command()
def ps(context: typer.Context) -> None:
    """Show the services and their state."""
    me: Bouy = context.obj
    statuses = me.fleet.status()
    me.output.table(("SERVICE", "STATE", "SINCE", "PID", "ADDRESS"), [_row(status) for status in statuses])
    me.output.document([asdict(status) | {"since": _since(status)} for status in statuses])


@app.command()
def logs(
    context: typer.Context,
    service: str,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with what is logged from now on.")] = False,
    tail: Annotated[int, typer.Option("--tail", min=0, help="How many lines to begin with.")] = _DEFAULT_LOG_LINES,
) -> None:
    """Show a service's log."""
    me: Bouy = context.obj
    (name,) = _known([service])
    shell.tail(me.fleet, name, tail, follow)


@app.command("exec", context_settings=_REST)
def execute(
    context: typer.Context,
    service: str,
    command: Annotated[list[str], typer.Argument(metavar="COMMAND...")],
) -> None:
    """Run a command in the checkout, with the fleet's settings and Redis."""
    me: Bouy = context.obj
    _known([service], APP)
    shell.execute(me.fleet, command)


@app.command("demo")
def demonstrate(
    context: typer.Context,
    count: Annotated[
        int | None, typer.Option("--count", min=1, help="How many results.  [default: 200, with --from: all]")
    ] = None,
    source: Annotated[
        Path | None, typer.Option("--from", metavar="DIR", help="Take recorded JSON files instead of generated ones.")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave Redis and the recorder running.")] = False,
) -> None:
    """Record example results with a fleet of its own.

    They go to outputs-demo in the checkout, or to OUTPUT_DIR.
    """
    me: Bouy = context.obj
    fleet = Fleet(demo.demo_site(me.site), notify=complain)
    total, results = _results(source, count)
    load_settings()
    me.output.say("starting Redis and the recorder")
    with demo.demo_fleet(fleet, keep):
        with Progress(me.output, total) as progress:
            report = demo.run_demo(fleet, results, progress.advance)
        if source and not report.recorded and not report.failures:
            raise UsageError("none of its files is a recording", path=str(source))
        say_report(me.output, report)
        me.output.document(report_document(report))
        if keep:
            me.output.say(f"still running; stop it with ./bouy --state {fleet.site.state} down")
    raise typer.Exit(0 if report.complete else 1)


@app.command("test", context_settings=_REST)
def run_tests(
    context: typer.Context,
    arguments: Annotated[list[str] | None, typer.Argument(metavar="[PYTEST_ARGS]...", show_default=False)] = None,
) -> None:
    """Run all checks: ruff, mypy and pytest."""
    me: Bouy = context.obj
    raise typer.Exit(checks.run_checks(me.site.root, me.site.environ, arguments or (), me.output))


def main(environ: dict[str, str]) -> int:
    """Run the command line; an error becomes one line on standard error and its exit code."""
    try:
        code = app(prog_name="bouy", standalone_mode=False, obj=environ)
    except RecorderError as error:
        complain(str(error))
        return error.exit_code
    except typer.TyperException as error:
        complain(f"{error.format_message()} (see ./bouy --help)")
        return error.exit_code
    except BrokenPipeError:  # the reader of a pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        complain(f"{error.strerror or error}" + (f": {error.filename}" if error.filename else ""))
        return 1
    return code if isinstance(code, int) else 0


def _foreground(me: Bouy) -> None:
    fleet = me.fleet
    fleet.up(SERVICES["recorder"].needs)
    running = next(status for status in fleet.status() if status.service == "recorder")
    if running.pid:
        raise UsageError(
            f"the recorder already runs in the background (pid {running.pid})", hint="first ./bouy down recorder"
        )
    shell.foreground(fleet, "recorder")


def _results(source: Path | None, count: int | None) -> tuple[int, Iterable[dict[str, Any]]]:
    if source is None:
        count = 200 if count is None else count
        return count, generate_results(count, secrets.randbits(64), datetime.now(UTC))
    paths = demo.recordings(source)
    readable: Iterator[dict[str, Any]] = demo.load_recordings(paths, skip=complain)
    return min(len(paths), count or len(paths)), islice(readable, count)


def _known(names: Iterable[str], *more: str) -> list[str]:
    known = (*SERVICES, *more)
    for name in names:
        if name == APP and APP not in known:
            raise UsageError("app is not a service that runs; it is for exec")
        if name not in known:
            raise UsageError(f"no such service: {name}", hint=f"known: {', '.join(known)}")
    return list(names)


def _sentence(outcome: Outcome) -> str:
    words = {
        "started": "started",
        "restarted": f"restarted, because {outcome.reason}",
        "unchanged": "is already running",
        "replaced": f"not started: {outcome.reason}, so that Redis is used",
    }[outcome.action]
    return f"{outcome.service} {words}" + (f" (pid {outcome.pid})" if outcome.pid else "")


def _row(status: Status) -> tuple[str, str, str, str, str]:
    return (
        status.service,
        status.state,
        _since(status) or "-",
        str(status.pid or "-"),
        status.address or "-",
    )


def _since(status: Status) -> str | None:
    return None if status.since is None else format_timestamp(datetime.fromtimestamp(status.since, UTC))
