"""How a command line ends: with its exit code and, if something went wrong, one line on standard error."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import typer

from app.store.errors import RecorderError

INTERRUPTED = 130


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
    except KeyboardInterrupt:
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
