"""`python -m app.recorder`: the recorder's command line and process."""

from __future__ import annotations

import signal
import threading
import time
from typing import Annotated

import typer

from app.recorder.client import connect
from app.recorder.failed_cli import failed_app
from app.recorder.job_counter import count_alone
from app.recorder.metrics import Metrics
from app.recorder.monitoring_cli import dashboard, health, metrics, serve_recorder
from app.recorder.vitals import Vitals
from app.recorder.worker import Options, RecorderWorker
from app.recorder.write import RecordWriter, writer_name
from app.service.command import run_command
from app.service.logging import configure_logging
from app.service.settings import Settings, load_settings, require_redis_url
from app.store.errors import StorageError

_OPEN_INTERVAL_S = 2.0
_RETRIES = 1  # the loop tries again for as long as it takes; here it must notice soon that it is to stop

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(failed_app, name="failed")
for command in (health, metrics, dashboard):
    app.command()(command)


@app.callback(invoke_without_command=True)
def recorder(
    context: typer.Context,
    burst: Annotated[bool, typer.Option("--burst", help="Record what is waiting, then end.")] = False,
) -> None:
    """Record the results that wait on the RQ queue `recorder` as JSON files under OUTPUT_DIR.

    The environment says where: REDIS_URL (required), OUTPUT_DIR (default: outputs), ARCHIVE_DIR (default: archives).
    SIGTERM or Ctrl-C ends it after the batch in hand. Exit codes: 0 ended as asked, 1 the disk refused,
    2 wrong use, 3 Redis can't be reached.
    """
    if context.invoked_subcommand is not None:
        return
    settings = load_settings()
    url = require_redis_url(settings)
    configure_logging(settings)
    run(settings, url, burst=burst)


def run(settings: Settings, redis_url: str, *, burst: bool) -> None:
    """Record until told to stop."""
    max_bytes = settings.recorder_max_payload_mb * 1024 * 1024
    allowed = (name.strip() for name in settings.recorder_allowed_callbacks.split(","))
    options = Options(
        batch_size=settings.recorder_batch_size,
        max_payload_bytes=max_bytes,
        allowed_callbacks=frozenset(name for name in allowed if name),
        default_result_ttl_s=settings.recorder_result_ttl,
    )
    stop = stop_on_signal()
    count_alone()
    vitals = Vitals()
    counted = Metrics(vitals, settings.recorder_min_free_mb * 1024 * 1024) if settings.recorder_metrics_port else None
    with serve_recorder(settings, vitals, counted):
        writer = _open_writer(settings, max_bytes, stop, vitals, wait=not burst)
        if writer is not None:
            with connect(redis_url, retries=_RETRIES) as connection, writer:
                RecorderWorker(connection, writer, options, stop, vitals, counted).run(burst=burst)


def stop_on_signal() -> threading.Event:
    """An event that SIGTERM and Ctrl-C set; a second one doesn't wait for what is in hand."""
    stop = threading.Event()

    def request_stop(*_: object) -> None:
        stop.set()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    signal.signal(signal.SIGINT, request_stop)
    signal.signal(signal.SIGTERM, request_stop)
    return stop


def _open_writer(
    settings: Settings, max_bytes: int, stop: threading.Event, vitals: Vitals, *, wait: bool
) -> RecordWriter | None:
    """Open OUTPUT_DIR, waiting until it can be written to; None when told to stop meanwhile."""
    name, output_dir = writer_name(), str(settings.output_dir)
    min_free_bytes = settings.recorder_min_free_mb * 1024 * 1024
    while not stop.is_set():
        vitals.step_began_at = time.monotonic()
        try:
            return RecordWriter(output_dir, name=name, max_bytes=max_bytes, min_free_bytes=min_free_bytes)
        except StorageError as error:
            if not wait:
                raise
            vitals.trouble.wait_for_disk(error)
            stop.wait(_OPEN_INTERVAL_S)
    return None


def main() -> int:
    """Run the command; an error becomes one line on standard error and its exit code."""
    return run_command(app, "recorder", see="python -m app.recorder --help")
