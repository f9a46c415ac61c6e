"""How a command line ends: with its exit code and, if something went wrong, one line on standard error; on signals."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer

from app.store.errors import RecorderError

INTERRUPTED = 130
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_command(app: typer.Typer, name: str, *, see: str, **context: Any) -> int:
    """Run a command line; returns its exit code.

    `name` begins the line that an error becomes, `see` is the command that tells how to use it right. What is left in
    `context` goes to Typer.
    """
    interruptible = signal.getsignal(signal.SIGINT) in (signal.SIG_DFL, signal.default_int_handler)
    code, problem = 1, ""
    try:
        if interruptible:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        result = app(standalone_mode=False, **context)
        code = result if isinstance(result, int) else 0
    except (KeyboardInterrupt, typer.Abort):  # the latter is Ctrl-C, or no answer, where something is asked
        code = INTERRUPTED
    except RecorderError as error:
        code, problem = error.exit_code, str(error)
    except typer.TyperException as error:
        code, problem = error.exit_code, f"{error.format_message()} (see {see})"
    except OSError as error:
        problem = _said(error)
    finally:
        if interruptible:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # no traceback while the interpreter ends
    if unwritten := _flush():
        code, problem = code or 1, _said(unwritten)
    if problem or code == INTERRUPTED:
        print(f"{name}: {problem or 'interrupted'}", file=sys.stderr)
    return code


@contextmanager
def stoppable() -> Iterator[None]:
    """Make a request to end, and a closed terminal, unwind like Ctrl-C."""

    def leave(number: int, _frame: object) -> None:
        sys.exit(128 + number)

    previous = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, leave)
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def stop_undisturbed() -> None:
    """Ignore all that would end this process, until `stoppable` is over: nothing may stop the stopping."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _said(error: OSError) -> str:
    if isinstance(error, BrokenPipeError):  # the reader of a pipe has seen enough
        return ""
    return f"{error.strerror or error}" + (f": {error.filename}" if error.filename else "")


def _flush() -> OSError | None:
    """Write what is left for standard output; at the interpreter's end that could only fail with noise."""
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        error.filename = "standard output"
        return error
    return None
