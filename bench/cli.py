"""The command line of `python -m bench`: measures this recorder beside what one would use instead, and its floors."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from redis.exceptions import RedisError

from app.bouy.demo import recordings
from app.bouy.output import Output
from app.service.command import run_command
from app.store.errors import RecorderError, UsageError
from bench import chart, report
from bench.contenders import CONTENDERS, OTHER_QUEUES, Contender
from bench.figures import Figures
from bench.lab import ROOT, open_lab
from bench.replays import Replays, write_recordings
from bench.session import QUICK, Scale, Session, machine
from bench.targets import judge
from bench.trial import Bench
from bench.venvs import python_of
from bench.workload import load_workload

_QUICK_FILES = 60

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command()
def bench(
    source: Annotated[
        Path | None, typer.Option("--from", metavar="DIR", help="Record these results instead of made-up ones.")
    ] = None,
    replay: Annotated[
        bool, typer.Option("--replay", help="Measure replay into a PostgreSQL of its own, instead.")
    ] = False,
    files: Annotated[
        int | None, typer.Option("--files", metavar="N", min=1, help="With --replay: so many recordings.")
    ] = None,
    queues: Annotated[
        bool, typer.Option("--queues", help="Measure Huey, Dramatiq and Celery too; installs each once.")
    ] = False,
    runs: Annotated[int | None, typer.Option("--runs", metavar="N", min=1, help="Runs of each.  [default: 3]")] = None,
    jobs: Annotated[
        int | None, typer.Option("--jobs", metavar="N", min=2, help="Jobs of a run.  [default: 5000]")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A first look: few jobs, rough figures.")] = False,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="NAME", help="Only this contender; may be repeated.")
    ] = None,
    json_file: Annotated[
        str | None, typer.Option("--json", metavar="FILE", help="Write all figures there; - prints them instead.")
    ] = None,
    svg_file: Annotated[
        Path | None, typer.Option("--svg", metavar="FILE", help="Draw cost against the day's depth there.")
    ] = None,
    scratch: Annotated[
        Path,
        typer.Option(
            "--scratch", metavar="DIR", help="Work there: the disk to measure.  [default: .bench]", show_default=False
        ),
    ] = ROOT / ".bench",
    keep: Annotated[bool, typer.Option("--keep", help="Leave what was written there.")] = False,
) -> None:
    """Measure this recorder beside what one would use instead.

    All in one run on this machine: the textbook's RQ worker, task queues, this recorder, and floors. It uses a Redis of
    its own, about 10 GB of disk and as many minutes. Let nothing else run meanwhile. It always ends
    with 0: a target that is missed is a finding.
    """
    if files is not None and not replay:
        raise UsageError("--files goes with --replay")
    if replay:
        _replay(
            source, files or (_QUICK_FILES if quick else None), runs or (1 if quick else 3), json_file, scratch, keep
        )
        return
    contenders = _chosen([*CONTENDERS, *(OTHER_QUEUES if queues else ())], only)
    for path in (svg_file, json_file and json_file != "-" and Path(json_file)):
        if path and not path.resolve().parent.is_dir():
            raise UsageError("no such folder", path=str(path.resolve().parent))
    scale = QUICK if quick else Scale()
    scale = replace(scale, runs=runs or scale.runs, jobs=jobs or scale.jobs)
    workload = load_workload(source, scale.distinct)
    for contender in contenders:
        if contender.client:
            _say(f"environment of {contender.name}")
            python_of(contender.name)
    _check_room(scratch, scale.disk_bytes(contenders, workload.mean_bytes))
    try:
        with open_lab(scratch.resolve(), os.environ, keep=keep, say=_say) as lab:
            figures = Session(Bench(lab, workload), contenders, scale, _say).run(everything=not only)
            _publish(figures, json_file)
            if svg_file is not None:
                chart.draw(figures.depth, contenders, svg_file)
    except RedisError as error:
        raise RecorderError(f"the bench's own Redis failed: {error}") from error


def _replay(
    source: Path | None, files: int | None, runs: int, json_file: str | None, scratch: Path, keep: bool
) -> None:
    if source is not None:
        recordings(source)
    with open_lab(scratch.resolve(), os.environ, keep=keep, say=_say) as lab:
        folder = write_recordings(source and source.resolve(), files, lab.folder / "recordings")
        figures = Replays(lab, folder, machine(lab), _say).run(runs)
        _print(figures.document(), figures.show, json_file)


def _publish(figures: Figures, json_file: str | None) -> None:
    targets = judge(figures)
    _print(report.document(figures, targets), lambda output: report.show(figures, targets, output), json_file)


def _print(document: dict[str, Any], show: Callable[[Output], None], json_file: str | None) -> None:
    output = Output(os.environ, as_json=json_file == "-", quiet=False, no_color=False)
    show(output)
    output.document(document)
    sys.stdout.flush()
    if json_file not in (None, "-"):
        Path(str(json_file)).write_text(json.dumps(document, indent=2) + "\n")


def _chosen(contenders: list[Contender], names: list[str] | None) -> list[Contender]:
    known = [contender.name for contender in contenders]
    for name in names or ():
        if name not in known:
            raise UsageError(f"no such contender: {name}", hint=f"known: {', '.join(known)}")
    return [contender for contender in contenders if not names or contender.name in names]


def _check_room(scratch: Path, needed: float) -> None:
    scratch.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(scratch).free
    if free < needed:
        raise UsageError(
            f"{needed / 1e9:.1f} GB are needed, {free / 1e9:.1f} are free",
            path=str(scratch),
            hint="see --jobs, --scratch",
        )


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def main() -> int:
    """Run the command; an error becomes one line on standard error and its exit code."""
    return run_command(app, "bench", see="./bouy bench --help", prog_name="bench")
