"""`python -m app.recorder`: the recorder's command line and process."""

from __future__ import annotations

import signal
import sys
import time
from typing import Annotated

import structlog
import typer

from app.recorder.client import connect
from app.recorder.worker import Options, RecorderWorker
from app.recorder.write import RecordWriter
from app.service.logging import configure_logging
from app.service.settings import Settings, load_settings, require_redis_url
from app.store.errors import RecorderError, StorageError

log = structlog.get_logger("recorder")

_OPEN_INTERVAL_S = 2.0

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def recorder(
    burst: Annotated[bool, typer.Option("--burst", help="Record what is waiting, then end.")] = False,
) -> None:
    """Record the results that wait on the RQ queue `recorder` as JSON files under OUTPUT_DIR.

    The environment says where: REDIS_URL (required), OUTPUT_DIR (default: outputs), ARCHIVE_DIR (default: archives).
    SIGTERM or Ctrl-C ends it after the batch in hand. Exit codes: 0 ended as asked, 1 the disk or Redis failed,
    2 wrong use, 3 Redis can't be reached.
    """
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
    )
    with (
        connect(redis_url) as connection,
        _open_writer(str(settings.output_dir), max_bytes, wait=not burst) as writer,
    ):
        worker = RecorderWorker(connection, writer, options)
        signal.signal(signal.SIGTERM, worker.request_stop)
        signal.signal(signal.SIGINT, worker.request_stop)
        worker.run(burst=burst)


def _open_writer(output_dir: str, max_bytes: int, *, wait: bool) -> RecordWriter:
    """Open OUTPUT_DIR, waiting until it can be written to."""
    reported = ""
    while True:
        try:
            return RecordWriter(output_dir, max_bytes=max_bytes)
        except StorageError as error:
            if not wait:
                raise
            if str(error) != reported:
                log.error("waiting", reason=error.message, path=error.path, hint=error.hint)
                reported = str(error)
            time.sleep(_OPEN_INTERVAL_S)


def main() -> int:
    """Run the command; an error becomes one line on standard error and its exit code."""
    try:
        app()
    except RecorderError as error:
        print(f"recorder: {error}", file=sys.stderr)
        return error.exit_code
    return 0
