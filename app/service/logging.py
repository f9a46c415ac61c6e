"""How every process logs: structlog to standard error, JSON for machines or plain lines for people."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from typing import TextIO, cast

import structlog

from app.service.redaction import Redactor
from app.service.settings import Settings
from app.store.printable import printable

_LONGEST_TEXT = 1000
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class _Unfailing:
    """A stream for log lines: one that can't be written, to a full disk perhaps, ends nothing."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with suppress(OSError):
            self._stream.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()


def _cut(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Keep log lines short, whatever a producer names its jobs."""
    for name, value in event.items():
        if isinstance(value, str) and len(value) > _LONGEST_TEXT and name != "exception":
            event[name] = value[:_LONGEST_TEXT] + "..."
    return event


def _printable(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Keep producers' names from driving the terminal that a line for people is shown on."""
    for name, value in event.items():
        if isinstance(value, str) and not value.isprintable():
            lines = value.split("\n") if name == "exception" else [value]
            event[name] = "\n".join(map(printable, lines))
    return event


def _without_secrets(settings: Settings) -> structlog.typing.Processor:
    """Mask the passwords that the settings hold, and those of any URL."""
    redactor = Redactor(str(value) for value in settings.model_dump().values())

    def mask(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        for name, value in event.items():
            if type(value) not in (int, float):
                event[name] = redactor.clean(value)
        return event

    return mask


def configure_logging(settings: Settings) -> None:
    """Set up logging for this process. RQ's own loggers are silenced: we report its jobs ourselves."""
    on_terminal = sys.stderr.isatty()
    as_json = settings.log_format == "json" or (settings.log_format == "auto" and not on_terminal)
    rendering: list[structlog.typing.Processor] = (
        [structlog.processors.JSONRenderer()]
        if as_json
        else [
            _printable,
            structlog.dev.ConsoleRenderer(colors=on_terminal, exception_formatter=structlog.dev.plain_traceback),
        ]
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,  # without local variables, which hold payloads and passwords
            _without_secrets(settings),
            _cut,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *rendering,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[settings.log_level]),
        logger_factory=structlog.WriteLoggerFactory(file=cast(TextIO, _Unfailing(sys.stderr))),
        cache_logger_on_first_use=True,
    )
    logging.getLogger("rq").setLevel(logging.CRITICAL)
    for name in ("rq.worker", "rq.job", "rq.registry", "rq.queue"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
