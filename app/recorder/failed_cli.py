"""The commands of `failed`: what each takes and says. What has failed is known to failed; requeue puts it back."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer
from redis import Redis
from redis.exceptions import RedisError

from app.recorder.client import QUEUE, connect, unavailable
from app.recorder.failed import GONE, Failure, Failures, Totals
from app.recorder.peek import MOST_BYTES, Form, Look, Reader
from app.recorder.quarantine import DamagedError, contents
from app.recorder.requeue import How, Requeue, Step
from app.service.settings import load_settings
from app.store.errors import ServiceUnavailableError, UsageError
from app.store.layout import Layout
from app.store.printable import printable
from app.store.timestamps import format_timestamp

_RETRIES = 1
_NOWHERE = "unix:///nonexistent"
_NO_REDIS = ServiceUnavailableError(
    "REDIS_URL is not set", hint="without Redis only quarantine is seen; ./bouy up cache starts one"
)
_WIDE = 110
"""A terminal with fewer columns isn't told of time and scraper: the reason matters more."""

_COLUMN = 60
"""Widest column but for the last."""

_LIST_BUDGET_S = 5.0
"""How long a list may look into payloads for their scraper."""

_AROUND_REASON = re.compile(r"^(app\.store\.errors\.)?UnrecordableError: |; (the payload is )?kept in .*$")
"""What the reason has in Redis and need not have in a table."""

failed_app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_Limit = Annotated[int, typer.Option("--limit", min=1, help="Show so many, the newest.")]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
_Reason = Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Only those whose reason contains TEXT.")]
_Scraper = Annotated[str | None, typer.Option("--scraper", metavar="ID", help="Only those of this scraper.")]


@dataclass(frozen=True, slots=True)
class _Session:
    """What a command works with."""

    connection: Redis
    failures: Failures
    layout: Layout
    has_redis: bool

    def trouble(self, error: RedisError) -> ServiceUnavailableError:
        """Why Redis can't be asked."""
        return unavailable(error) if self.has_redis else _NO_REDIS

    def without_redis(self) -> Failures:
        """What can be seen while Redis is away."""
        return Failures(None, QUEUE, self.layout)


@failed_app.callback(invoke_without_command=True)
def failed(context: typer.Context, as_json: _Json = False) -> None:
    """List, show and requeue failed jobs: those that RQ holds for failed, and those in OUTPUT_DIR/quarantine.

    Looking changes nothing. Exit codes: 0 done, 1 something asked for couldn't be done, 2 wrong use,
    3 Redis can't be reached.
    """
    if context.invoked_subcommand is None:
        list_failed(as_json=as_json)


@failed_app.command("list")
def list_failed(limit: _Limit = 50, reason: _Reason = None, scraper: _Scraper = None, as_json: _Json = False) -> None:
    """List failed jobs, the newest last. Also what `failed` alone does."""
    with _session() as session, Reader() as reader:
        trouble: ServiceUnavailableError | None = None
        failures = session.failures
        try:
            found, totals = failures.newest(limit, _Selection(failures, reader, reason, scraper))
        except RedisError as error:
            trouble, failures = session.trouble(error), session.without_redis()
            found, totals = failures.newest(limit, _Selection(failures, reader, reason, scraper))
        with Reader(_LIST_BUDGET_S) as brief:
            rows = [_row(failure, _look(failures, brief, failure).scraper_id) for failure in found]
        if as_json:
            said = asdict(totals) | ({} if trouble is None else {"in_redis": None, "requeued": None})
            print(json.dumps({"totals": said, "failed": rows}, indent=2))
        else:
            _print_table(rows, totals, redis=trouble is None)
        if trouble is not None:
            raise trouble


@failed_app.command()
def show(job_id: Annotated[str, typer.Argument(metavar="ID")], as_json: _Json = False) -> None:
    """Show all that is known of one failed job."""
    with _session() as session, Reader() as reader:
        trouble: ServiceUnavailableError | None = None
        failures = session.failures
        try:
            found = failures.of(job_id)
            fields = failures.fields(job_id) if found and found[0].redis and found[0].redis.payload_bytes else {}
        except RedisError as error:
            trouble, failures = session.trouble(error), session.without_redis()
            found, fields = failures.of(job_id), {}
        documents = []
        for failure in found:
            look = _look(failures, reader, failure)
            documents.append({**_row(failure, look.scraper_id), "preview": look.preview, "unreadable": look.problem})
        if as_json and found:
            texts = {_text(name): _text(value) for name, value in fields.items()}
            print(json.dumps({"failed": documents, "fields": texts}, indent=2))
        elif found:
            _print_details(documents, fields)
        if trouble is not None:
            raise trouble
        if not found:
            print(f"recorder: there is no job {printable(job_id)}, neither in Redis nor in quarantine", file=sys.stderr)
            raise typer.Exit(1)


@failed_app.command()
def requeue(
    job_ids: Annotated[list[str] | None, typer.Argument(metavar="ID", show_default=False)] = None,
    everything: Annotated[bool, typer.Option("--all", help="All failed jobs.")] = False,
    reason: _Reason = None,
    scraper: _Scraper = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    as_json: _Json = False,
) -> None:
    """Put failed jobs back into the queue.

    From Redis, or from quarantine where Redis has forgotten the job. Files in quarantine stay.
    """
    filtered = everything or bool(reason) or bool(scraper)
    if bool(job_ids) == filtered:
        raise UsageError("say which jobs: either their ids, or one of --all, --reason TEXT, --scraper ID")
    with _session() as session, Reader() as reader:
        work = Requeue(session.connection, QUEUE, session.failures)
        if filtered:
            steps: Iterator[Step | str] = work.plan(_Selection(session.failures, reader, reason, scraper))
        else:
            steps = _steps(work, job_ids or [])
        counts, said = dict.fromkeys(How, 0), []
        for step in steps:
            done = step if dry_run or isinstance(step, str) else work.apply(step)
            counts[How.REFUSE if isinstance(done, str) else done.how] += 1
            if as_json:
                said.append(_document(done))
            else:
                print(_sentence(done, dry_run))
        requeued = counts[How.REQUEUE] + counts[How.RESTORE]
        would = "would be requeued" if dry_run else "requeued"
        if as_json:
            totals = {"requeued": requeued, "nothing_to_do": counts[How.NOTHING], "refused": counts[How.REFUSE]}
            print(json.dumps({"dry_run": dry_run, "totals": totals, "jobs": said}, indent=2))
        else:
            print(f"{requeued} {would}, {counts[How.NOTHING]} need nothing, {counts[How.REFUSE]} can't be requeued")
        if counts[How.REFUSE]:
            raise typer.Exit(1)


def _steps(work: Requeue, job_ids: Sequence[str]) -> Iterator[Step | str]:
    """What to do for each id; the id itself where there is no such job."""
    for job_id in job_ids:
        steps = work.plan_one(job_id)
        yield from steps
        if not steps:
            yield job_id


class _Selection:
    """Which failed jobs are asked for."""

    def __init__(self, failures: Failures, reader: Reader, reason: str | None, scraper: str | None) -> None:
        self._failures = failures
        self._reader = reader
        self._reason = reason
        self._scraper = scraper

    def __call__(self, failure: Failure) -> bool:
        if self._reason is not None and self._reason.casefold() not in failure.reason.casefold():
            return False
        return self._scraper is None or _look(self._failures, self._reader, failure).scraper_id == self._scraper


@contextmanager
def _session() -> Iterator[_Session]:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # whatever the terminal's encoding can't say
    settings = load_settings()
    layout = Layout(os.path.abspath(settings.output_dir))
    if not os.path.isdir(layout.root):
        print(
            f"recorder: OUTPUT_DIR isn't there, so nothing is in quarantine: {printable(layout.root)}", file=sys.stderr
        )
    # Without a REDIS_URL it is as with a Redis that is away: what is in quarantine can be seen all the same.
    with connect(settings.redis_url or _NOWHERE, retries=_RETRIES if settings.redis_url else 0) as connection:
        try:
            yield _Session(connection, Failures(connection, QUEUE, layout), layout, settings.redis_url is not None)
        except RedisError as error:
            raise (unavailable(error) if settings.redis_url else _NO_REDIS) from error


def _look(failures: Failures, reader: Reader, failure: Failure) -> Look:
    """What can be seen in a failed job's payload, wherever it is."""
    kept = failure.kept
    if failure.redis is not None and 0 < failure.redis.payload_bytes <= MOST_BYTES:
        payload = failures.payload_in_redis(failure.job_id)
        return Look(problem="it is gone") if payload is None else reader.look(payload, Form.JOB)
    if kept is None or kept.damage is not None or kept.size > 2 * MOST_BYTES:
        return Look(problem="there is none to look at, or it is too large")
    try:
        payload, _ = contents(kept)
    except DamagedError as error:
        return Look(problem=str(error))
    forms = {None: Form.JOB, "record_result": Form.ARGUMENT}
    return reader.look(payload, forms.get(kept.origin, Form.RECORDING))


def _row(failure: Failure, scraper_id: str | None) -> dict[str, Any]:
    status = None if failure.redis is None else failure.redis.status
    return {
        "job_id": failure.job_id,
        "where": failure.where,
        "status_in_redis": status if status != GONE else None,
        "failed_at": None if failure.at is None else format_timestamp(failure.at),
        "requeued": failure.requeued,
        "scraper_id": scraper_id,
        "reason": failure.reason,
        "file": None if failure.kept is None else failure.kept.path,
        "payload_bytes_in_redis": 0 if failure.redis is None else failure.redis.payload_bytes,
    }


def _print_table(rows: Sequence[dict[str, Any]], totals: Totals, *, redis: bool) -> None:
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
    lines = [("WHERE", "JOB", "FAILED AT (UTC)", "SCRAPER", "REASON")]
    for row in rows:
        at, scraper = (row["failed_at"] or "")[:19], row["scraper_id"] or ""
        lines.append((row["where"], _cut(row["job_id"]), at, _cut(scraper), _one_line(row)))
    widths = [max(len(line[column]) for line in lines) for column in range(4)]
    if width < _WIDE:
        lines = [(where, job, "", "", reason) for where, job, _, _, reason in lines]
        widths[2:] = 0, 0
    for line in lines if rows else []:
        cells = [cell.ljust(size) for cell, size in zip(line, widths, strict=False) if size]
        text = "  ".join([*cells, line[4]])
        print(text if len(text) <= width else text[: width - 1] + "…")
    more = totals.matching - len(rows)
    if more > 0:
        print(f"{more:,} more, older: --limit")
    in_redis = f"{totals.in_redis:,} failed in Redis, " if redis else ""
    print(
        f"{in_redis}{totals.in_quarantine:,} in quarantine"
        + (f" ({totals.damaged:,} damaged)" if totals.damaged else "")
        + (f"; {totals.requeued:,} more in quarantine were requeued" if totals.requeued else "")
        + ("" if redis else "; which of them were requeued, only Redis knows")
    )


def _one_line(row: dict[str, Any]) -> str:
    """A reason: what a traceback ends with, and what has become of the job since."""
    lines = row["reason"].strip().splitlines() or ["?"]
    reason = lines[-1] if lines[0].startswith("Traceback") else " ".join(lines)
    reason = printable(_AROUND_REASON.sub("", reason))
    status = row["status_in_redis"]
    return reason if status in (None, "failed") else f"({printable(status)}) {reason}"


def _print_details(documents: Sequence[dict[str, Any]], fields: dict[bytes, bytes]) -> None:
    for number, document in enumerate(documents):
        if number:
            print()
        preview = document.pop("preview")
        for name, value in document.items():
            if value not in (None, False, 0):
                print(f"{name.replace('_', ' '):<22}  {_indented(str(value).strip())}")
        if preview:
            print(f"{'payload':<22}  {_indented(preview)}")
    for field, stored in sorted(fields.items()):
        if stored:
            print(f"{'job ' + _cut(_text(field)):<22}  {_cut(_text(stored), 200)}")


def _indented(text: str) -> str:
    return ("\n" + " " * 24).join(printable(line) for line in text.split("\n"))


def _document(done: Step | str) -> dict[str, str]:
    if isinstance(done, str):
        return {"job_id": done, "outcome": "refused", "why": "there is no such job"}
    outcome = {How.NOTHING: "nothing_to_do", How.REFUSE: "refused"}.get(done.how, "requeued")
    return {"job_id": done.failure.job_id, "enqueued_as": done.job_id, "outcome": outcome, "why": done.why}


def _sentence(done: Step | str, dry_run: bool) -> str:
    if isinstance(done, str):
        return f"{printable(done)}: {How.REFUSE.value}: there is no such job"
    if done.how in (How.NOTHING, How.REFUSE):
        return f"{printable(done.failure.job_id)}: {done.how.value}: {printable(done.why)}"
    would = "would be " if dry_run else ""
    enqueued = f", as job {printable(done.job_id)}" if done.job_id != done.failure.job_id else ""
    return f"{printable(done.failure.job_id)}: {would}requeued {done.how.value}{printable(done.why)}{enqueued}"


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")


def _cut(text: str, most: int = _COLUMN) -> str:
    text = printable(text[: most + 1])
    return text if len(text) <= most else text[: most - 1] + "…"
