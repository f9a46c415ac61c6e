"""bouy's command line: what each command takes and says. The work is done elsewhere."""

from __future__ import annotations

import secrets
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperArgument, TyperCommand

from app.bouy import checks, demo, fleet_view, shell, status_view
from app.bouy.demo_replay import replay_demo
from app.bouy.demo_view import Progress, report_document, say_replayed, say_report
from app.bouy.generator import generate_results
from app.bouy.local import Fleet, Outcome
from app.bouy.output import Output, complain
from app.bouy.services import APP, SERVICES, Site
from app.service.command import run_command
from app.service.redaction import without_password
from app.service.settings import load_settings
from app.store.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]
"""The checkout."""

_DEFAULT_LOG_LINES = 100
_NEED_DATABASE = {"--use-default-output-dir", "--file", "--directory", "--digest"}
"""Options of `replay` for which the db is started, unless the caller names one or the recordings go to a queue."""

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_REST = {"allow_interspersed_args": False, "ignore_unknown_options": True}
_PASSED_ON: dict[str, Any] = _REST | {"help_option_names": []}
_Services = Annotated[list[str] | None, typer.Argument(metavar="[SERVICE...]", hidden=True)]
_AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
_Service = Annotated[str, typer.Argument(metavar="SERVICE", hidden=True)]


class _Command(TyperCommand):
    """A command whose usage line has its arguments as their metavars say, without Typer's own brackets."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        arguments = [parameter for parameter in self.params if isinstance(parameter, TyperArgument)]
        return [self.options_metavar or "", *(argument.metavar or "" for argument in arguments)]


@dataclass(frozen=True, slots=True)
class Bouy:
    """What every command works with."""

    site: Site
    output: Output

    @property
    def quiet(self) -> list[str]:
        """What has one of the project's own programs print errors only, where bouy is to."""
        return ["--quiet"] if self.output.silent else []

    @property
    def fleet(self) -> Fleet:
        """The fleet of this site."""
        return Fleet(self.site, notify=complain)


def _say_version(asked: bool) -> None:
    if asked:
        with open(ROOT / "pyproject.toml", "rb") as file:
            print(f"bouy {tomllib.load(file)['project']['version']}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def bouy(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print errors only.")] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="Print without colors; so does NO_COLOR.")] = False,
    state: Annotated[
        Path,
        typer.Option(
            "--state", metavar="DIR", help="Keep logs and Redis data there.  [default: .bouy]", show_default=False
        ),
    ] = ROOT / ".bouy",
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_say_version, is_eager=True)
    ] = False,
) -> None:
    """Run the recorder and what it needs as processes of this machine.

    Services: cache (Redis), recorder, db (PostgreSQL) and rq-dashboard; for exec also app, the project.
    """
    environ = context.obj
    site = Site(ROOT, state.resolve(), environ)
    context.obj = Bouy(site, Output(environ, as_json=as_json, quiet=quiet, no_color=no_color))
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command(cls=_Command)
def recorder(
    context: typer.Context,
    foreground: Annotated[bool, typer.Option("--foreground", help="Stay attached to it; Ctrl-C stops it.")] = False,
) -> None:
    """Start the recorder, and the cache if it isn't running."""
    me: Bouy = context.obj
    load_settings()  # what the recorder could not use is better said here
    if foreground:
        shell.foreground(me.fleet, "recorder")
    *_, outcome = me.fleet.up(["recorder"])
    settings = me.fleet.settings()
    log = str(me.fleet.log("recorder"))
    url = without_password(settings["REDIS_URL"])
    me.output.say(f"{_sentence(outcome)}: {url} -> {outcome.address}; log {log}")
    me.output.document({**asdict(outcome), "redis_url": url, "output_dir": outcome.address, "log": log})


@app.command(cls=_Command)
def up(
    context: typer.Context,
    services: _Services = None,
    with_init: Annotated[
        bool, typer.Option("--with-init", help="First fill an empty database from the newest SQL dump.")
    ] = False,
) -> None:
    """Start services and what they need, or all.

    They are cache, recorder and db, and rq-dashboard, which is started only when it is named.
    """
    me: Bouy = context.obj
    names = _known(services or [name for name, service in SERVICES.items() if not service.only_if_named])
    load_settings()
    outcomes = me.fleet.up(["db"]) if with_init else []
    if with_init and (code := shell.run(me.fleet, [sys.executable, "-P", "-m", "app.archive", "init", *me.quiet])):
        raise typer.Exit(code)
    before = {one.service for one in outcomes}
    outcomes += [one for one in me.fleet.up(names) if one.service not in before]
    for outcome in outcomes:
        me.output.say(_sentence(outcome) + (f": {outcome.address}" if outcome.address else ""))
    me.output.document([asdict(outcome) for outcome in outcomes])


@app.command(cls=_Command)
def down(context: typer.Context, services: _Services = None) -> None:
    """Stop services (cache, recorder, db, rq-dashboard), or all."""
    me: Bouy = context.obj
    stopped = me.fleet.down(_known(services or SERVICES))
    for name in stopped:
        me.output.say(f"{name} stopped")
    if not stopped:
        me.output.say("nothing was running")
    me.output.document({"stopped": stopped})


@app.command(cls=_Command)
def ps(context: typer.Context, as_json: _AsJson = False) -> None:
    """Show the services: state, health, port, work."""
    me: Bouy = context.obj
    me.output.prefer_json(as_json)
    lines = fleet_view.lines(me.fleet)
    me.output.table(fleet_view.HEADER, [line.cells() for line in lines])
    me.output.document([line.document() for line in lines])


@app.command(cls=_Command)
def status(
    context: typer.Context,
    watch: Annotated[bool, typer.Option("--watch", help="Go on, anew every other second, until Ctrl-C.")] = False,
    as_json: _AsJson = False,
) -> None:
    """Show what is recorded: rate, queue, today's scrapers."""
    me: Bouy = context.obj
    me.output.prefer_json(as_json)
    status_view.show(me.fleet, me.output, watch=watch)


@app.command(cls=_Command)
def logs(
    context: typer.Context,
    service: _Service,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with what is logged later.")] = False,
    tail: Annotated[
        int, typer.Option("--tail", metavar="N", min=0, help="Show the last N lines.")
    ] = _DEFAULT_LOG_LINES,
) -> None:
    """Show the log of a service (cache, recorder, db or rq-dashboard)."""
    me: Bouy = context.obj
    (name,) = _known([service])
    shell.tail(me.fleet, name, tail, follow)


@app.command("exec", cls=_Command, context_settings=_REST)
def execute(
    context: typer.Context,
    service: _Service,
    command: Annotated[list[str], typer.Argument(metavar="COMMAND...", hidden=True)],
) -> None:
    """Run a command in the checkout, as a service (or app) would.

    It has the fleet's settings, its Python, and the tools of its Redis and PostgreSQL.
    """
    me: Bouy = context.obj
    _known([service], APP)
    shell.execute(me.fleet, command)


@app.command("demo", cls=_Command)
def demonstrate(
    context: typer.Context,
    count: Annotated[
        int | None, typer.Option("--count", metavar="N", min=1, help="How many.  [default: 200, with --from: all]")
    ] = None,
    source: Annotated[
        Path | None, typer.Option("--from", metavar="DIR", help="Take recorded JSON files instead of made-up ones.")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave Redis and the recorder running.")] = False,
) -> None:
    """Record example results with a fleet of its own, and replay them.

    They go to outputs-demo in the checkout, or to OUTPUT_DIR.
    """
    me: Bouy = context.obj
    fleet = Fleet(demo.demo_site(me.site), notify=complain)
    total, results = _results(source, count)
    load_settings()
    me.output.say("starting Redis, the recorder and PostgreSQL")
    with demo.demo_fleet(fleet, keep):
        with Progress(me.output, total) as progress:
            report = demo.run_demo(fleet, results, progress.advance)
        if source and not report.recorded and not report.failures:
            raise UsageError("none of its files is a recording", path=str(source))
        say_report(me.output, report)
        me.output.say("")
        replayed = replay_demo(fleet, report)
        say_replayed(me.output, replayed)
        me.output.document({**report_document(report), "replayed": replayed})
        if keep:
            me.output.say(f"still running; stop it with ./bouy --state {fleet.site.state} down")
    raise typer.Exit(0 if report.complete else 1)


_DATA_COMMANDS = {
    "verify": "Check what is recorded, archived, backed up (verify -h).",
    "archive": "Pack closed days into ARCHIVE_DIR (archive -h).",
    "clean": "Take out old days that are proven safe (clean -h).",
    "backup": "Take a snapshot of all data (backup -h).",
    "restore": "Bring data back from a backup or archive (restore -h).",
    "dump": "Write the database as SQL to SQL_DUMP_DIR (dump -h).",
}


def _data_command(name: str) -> Callable[..., None]:
    def run(
        context: typer.Context,
        arguments: Annotated[list[str] | None, typer.Argument(metavar="[OPTIONS]", hidden=True)] = None,
    ) -> None:
        me: Bouy = context.obj
        quiet = ["--quiet"] if me.output.silent and not me.output.as_json else []
        _run_module(me, ["app.archive", name, *(arguments or ()), *quiet])

    return run


for _name, _help in _DATA_COMMANDS.items():
    app.command(_name, cls=_Command, context_settings=_PASSED_ON, help=_help)(_data_command(_name))


@app.command(cls=_Command, context_settings=_PASSED_ON)
def replay(
    context: typer.Context,
    arguments: Annotated[list[str] | None, typer.Argument(metavar="[OPTIONS]", hidden=True)] = None,
) -> None:
    """Bring recordings back into PostgreSQL (replay -h)."""
    me: Bouy = context.obj
    given = {argument.partition("=")[0] for argument in arguments or ()}
    if given & _NEED_DATABASE and not given & {"--to-queue", "--help", "-h"}:
        for outcome in me.fleet.up(["db"]):
            if outcome.action == "started":
                complain(_sentence(outcome))
    quiet = ["--quiet"] if me.output.silent and not me.output.as_json else []
    _run_module(me, ["app.replay", *(arguments or ()), *quiet])


@app.command(cls=_Command, context_settings=_PASSED_ON)
def failed(
    context: typer.Context,
    arguments: Annotated[list[str] | None, typer.Argument(metavar="[list|show|requeue]", hidden=True)] = None,
) -> None:
    """Look at failed jobs, requeue them (failed -h)."""
    _run_module(context.obj, ["app.recorder", "failed", *(arguments or ())])


@app.command(cls=_Command, context_settings=_PASSED_ON)
def bench(
    context: typer.Context,
    arguments: Annotated[list[str] | None, typer.Argument(metavar="[OPTIONS]", hidden=True)] = None,
) -> None:
    """Measure the recorder beside others (bench -h)."""
    _run_module(context.obj, ["bench", *(arguments or ())], as_json=("--json", "-"))


@app.command("test", cls=_Command, context_settings=_REST)
def run_tests(
    context: typer.Context,
    arguments: Annotated[list[str] | None, typer.Argument(metavar="[PYTEST_ARGS...]", hidden=True)] = None,
) -> None:
    """Run all checks: ruff, mypy and pytest, which gets PYTEST_ARGS.

    --faults runs the slow fault tests too, which need root on Linux and strace (see docs/reliability.md); -k WORD only
    those with that word in their name.
    """
    me: Bouy = context.obj
    raise typer.Exit(checks.run_checks(me.site.root, me.site.environ, arguments or (), me.output))


def main(environ: dict[str, str]) -> int:
    """Run the command line; an error becomes one line on standard error and its exit code."""
    return run_command(app, "bouy", see="./bouy --help", prog_name="bouy", obj=environ)


def _run_module(me: Bouy, words: list[str], as_json: tuple[str, ...] = ("--json",)) -> NoReturn:
    """Become one of the project's own programs, with the fleet's settings."""
    words = [sys.executable, "-P", "-m", *words, *(as_json if me.output.as_json else ())]
    shell.execute(me.fleet, words, Path.cwd())


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
        "unchanged": "is already running" + (f" {outcome.reason}" if outcome.reason else ""),
        "replaced": f"not started: {outcome.reason}, so that Redis is used",
    }[outcome.action]
    return f"{outcome.service} {words}" + (f" (pid {outcome.pid})" if outcome.pid else "")
