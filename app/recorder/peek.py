"""A look at a payload, for people: what it asks for, and of which scraper. Done in a child process, because a hostile
payload can keep its reader busy for ever, or end it.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import signal
import time
from dataclasses import asdict, dataclass
from enum import Enum
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from app.recorder.decode import decode_call
from app.store import encode
from app.store.errors import UnrecordableError

MOST_BYTES = 64 * 1024 * 1024
"""Largest payload looked at, packed and unpacked."""

_TIMEOUT_S = 10.0
"""Longest look at one payload."""

_PREVIEW_CHARACTERS = 4_000


class Form(Enum):
    """What a payload is."""

    JOB = "a job's payload, as RQ packs it"
    ARGUMENT = '{"data": ...}, the argument of record_result'
    RECORDING = "a recording"


@dataclass(frozen=True, slots=True)
class Look:
    """What can be seen in a payload."""

    preview: str = ""
    """Its beginning, as JSON."""
    scraper_id: str | None = None
    problem: str | None = None
    """Why there is nothing to see."""


class Reader:
    """Looks at payloads, one after another, for so long in all. Closed at the end, by `with`."""

    def __init__(self, budget_s: float = math.inf) -> None:
        self._budget_s = budget_s
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def look(self, payload: bytes, form: Form) -> Look:
        """What can be seen in a payload. Takes seconds at most."""
        if len(payload) > MOST_BYTES or self._budget_s <= 0:
            return Look(problem="it is too large to look at, or there is no time left")
        pipe = self._pipe or self._start()
        began = time.monotonic()
        try:
            pipe.send_bytes(form.name.encode() + b" " + payload)
            if pipe.poll(min(_TIMEOUT_S, self._budget_s)):
                return Look(**json.loads(pipe.recv_bytes()))
            problem = "reading it takes too long"
        except (EOFError, OSError):
            problem = "reading it ends the process that reads it"
        finally:
            self._budget_s -= time.monotonic() - began
        self._stop()
        return Look(problem=problem)

    def _start(self) -> Connection:
        context = multiprocessing.get_context("fork")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self._pipe), daemon=True)
        self._process.start()
        theirs.close()
        return self._pipe

    def _stop(self) -> None:
        if self._process is not None and self._pipe is not None:
            self._process.kill()
            self._process.join()
            self._pipe.close()
        self._process = self._pipe = None


def _serve(pipe: Connection, parents: Connection) -> None:
    parents.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, who then ends this process
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    while True:
        try:
            form, _, payload = pipe.recv_bytes().partition(b" ")
        except EOFError:
            os._exit(0)  # and not flush what it has of its parent
        pipe.send_bytes(json.dumps(asdict(_look(payload, Form[form.decode()]))).encode())


def _look(payload: bytes, form: Form) -> Look:
    try:
        shown, result = _contents(payload, form)
        text = encode.encode(shown, max_bytes=MOST_BYTES).decode()
    except UnrecordableError as error:
        return Look(problem=error.message)
    except (ValueError, MemoryError, RecursionError) as error:
        return Look(problem=f"unreadable: {type(error).__name__}")
    if len(text) > _PREVIEW_CHARACTERS:
        text = f"{text[:_PREVIEW_CHARACTERS]}\n... {len(text) - _PREVIEW_CHARACTERS:,} more characters"
    return Look(text.strip(), _scraper_id(result))


def _contents(payload: bytes, form: Form) -> tuple[dict[str, Any], Any]:
    """What to show of a payload, and the result in it."""
    if form is Form.JOB:
        call = decode_call(payload, MOST_BYTES)
        result = call.args[0] if call.args else call.kwargs.get("data")
        return {"function": call.function, "args": list(call.args), "kwargs": call.kwargs}, result
    shown = encode.load_exactly(payload)
    if not isinstance(shown, dict):
        raise UnrecordableError("it is no object")
    return shown, shown.get("data") if form is Form.ARGUMENT else shown


def _scraper_id(result: Any) -> str | None:
    for name in ("job", "metadata", "scraper_id"):
        result = result.get(name) if isinstance(result, dict) else None
    return result if isinstance(result, str) else None
