"""What the command line says of a replay into a queue: which options go together, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields

from app.replay.enqueue import EnqueueReport, Target, connect, enqueue_recordings
from app.replay.plan import Item, Plan, Refused
from app.store.errors import UsageError


def queue_target(
    to_queue: str | None,
    function: str | None,
    *,
    rate: float | None = None,
    resume: bool = False,
    restart: bool = False,
    force: bool = False,
) -> Target | None:
    """What ``--to-queue`` and ``--function`` name; None when neither is given. Raises `UsageError`.

    The others are the options that make sense with these only.
    """
    if to_queue is None:
        options = {"--function": function, "--rate": rate, "--resume": resume, "--restart": restart, "--force": force}
        for name, value in options.items():
            if value not in (None, False):
                raise UsageError(f"{name} is for replays into a queue", hint="name the queue with --to-queue")
        return None
    if function is None:
        hint = "such as --function consumer.tasks.reconcile"
        raise UsageError("--to-queue needs --function: what the queue's workers are to call", hint=hint)
    if resume and restart:
        raise UsageError("--resume goes on, --restart begins anew", hint="give one of them")
    return Target(to_queue, function, to_recorders=force)


def replay_to_queue(
    plan: Plan,
    redis_url: str,
    target: Target,
    *,
    rate: float | None = None,
    dry_run: bool = False,
    resume: bool = False,
    restart: bool = False,
    as_json: bool = False,
    advance: Callable[[Item], object] = lambda _: None,
) -> int:
    """Enqueue a plan's recordings and print what came of it; returns the exit code, 1 when files were refused.

    Raises as `enqueue_recordings` does.
    """
    examples: dict[str, str] = {}

    def note(item: Item) -> None:
        if isinstance(item, Refused):
            examples.setdefault(item.reason, item.path)
        advance(item)

    with connect(redis_url) as connection:
        report = enqueue_recordings(
            plan, connection, target, rate=rate, dry_run=dry_run, resume=resume, restart=restart, advance=note
        )
    if as_json:
        came_of_it = {field.name: getattr(report, field.name) for field in fields(report)}
        print(json.dumps({"queue": target.queue, "function": target.function, "dry_run": dry_run, **came_of_it}))
    else:
        print("\n".join(_sentences(report, target, examples, dry_run)))
    return 1 if report.refused else 0


def _sentences(report: EnqueueReport, target: Target, examples: dict[str, str], dry_run: bool) -> list[str]:
    if report.finished_before is not None:
        return [
            f"nothing to resume: all {report.enqueued_before:,} recordings were enqueued by {report.finished_before}",
        ]
    done = "would be enqueued" if dry_run else "enqueued"
    before = f", after {report.enqueued_before:,} before" if report.enqueued_before else ""
    megabytes = f"{report.bytes / 1e6:,.1f} MB"
    said = [f"{report.enqueued:,} recordings ({megabytes}) {done} to {target.queue} for {target.function}{before}"]
    for reason, count in sorted(report.refused.items()):
        said.append(f"{count:,} refused: {reason}, such as {_printable(examples[reason])}")
    return said


def _printable(path: str) -> str:
    """A path that does nothing to a terminal."""
    return path if path.isprintable() else ascii(path)
