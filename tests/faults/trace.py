"""Runs a program under strace and reads what it did: its system calls on files, and what it sent, in order.

A call has a start and an end. strace holds a thread at both, so where one call's end stands before another's start,
it was over before the other began. What is in between is taken for unfinished.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NoReturn

import psutil
import pytest

from tests.conftest import IN_CI

RECORDER = ("-m", "app.recorder")

_NAMING = ("link", "linkat", "rename", "renameat", "renameat2", "unlink", "unlinkat", "symlink", "symlinkat")
_FOLDERS = ("mkdir", "mkdirat", "rmdir")
_FILES = ("open", "openat", "creat", "close", "write", "pwrite64", "writev", "truncate", "ftruncate")
_CALLS = (*_NAMING, *_FOLDERS, *_FILES, "fsync", "fdatasync", "sendto", "sendmsg")
_LINE = re.compile(r"(\d+) +(.*)")
_RESUMED = re.compile(r"<\.\.\. \w+ resumed>(.*)")
_WHOLE = re.compile(r"(\w+)\((.*)\) += (-?\d+|\?)")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?')
_DESCRIPTOR = re.compile(r"(\w+)(?:<(.*)>(?:\(deleted\))?)?")
_UNFINISHED = " <unfinished ...>"
_NO_CALL = ("---", "+++", "???", "<... ??? resumed>")  # signals and ends; a thread that was killed, in whichever call


@dataclass(frozen=True, slots=True)
class Call:
    """One system call. Its arguments are as strace shows them, every byte of a text as ``\\x``."""

    name: str
    args: tuple[str, ...]
    result: int | None
    """None for a call that its thread didn't live to see the end of."""
    start: int
    end: int

    @property
    def text(self) -> bytes:
        """The bytes of all its texts, one after another."""
        return b"".join(texts(" ".join(self.args)))


def texts(shown: str) -> list[bytes]:
    """The texts in what strace shows."""
    found = _TEXT.findall(shown)
    assert not any(cut for _, cut in found), "strace has cut a text short"
    return [bytes.fromhex(digits.replace("\\x", "")) for digits, _ in found]


def descriptor(shown: str) -> tuple[str, str]:
    """A file descriptor's number (or ``AT_FDCWD``), and the path that strace says it has."""
    found = _DESCRIPTOR.fullmatch(shown)
    assert found is not None, shown
    return found[1], os.fsdecode(texts(f'"{found[2]}"')[0]) if (found[2] or "").startswith("\\x") else found[2] or ""


def read_calls(output: Path) -> list[Call]:
    """The calls that strace wrote down, in the order in which they ended; unfinished ones come last."""
    calls: list[Call] = []
    open_calls: dict[str, tuple[int, str]] = {}
    number = 0
    for number, line in enumerate(output.read_text().splitlines()):
        thread, text = _split(line)
        start = number
        if text.startswith(_NO_CALL):
            continue
        if resumed := _RESUMED.match(text):
            start, beginning = open_calls.pop(thread)
            text = beginning + resumed[1]
        if text.endswith(_UNFINISHED):
            open_calls[thread] = start, text.removesuffix(_UNFINISHED)
            continue
        call = _parse(text.replace(_UNFINISHED, ""), start, number)
        if call.result is None:
            open_calls[thread] = start, text.replace(_UNFINISHED, "").rpartition(")")[0]
        else:
            calls.append(call)
    return calls + [_parse(text + ") = ?", start, number + 1) for start, text in open_calls.values()]


def _split(line: str) -> tuple[str, str]:
    found = _LINE.fullmatch(line)
    assert found is not None, f"strace wrote what we can't read: {line[:200]}"
    return found[1], found[2]


def _parse(text: str, start: int, end: int) -> Call:
    found = _WHOLE.match(text)
    assert found is not None, f"strace wrote what we can't read: {text[:200]}"
    result = None if found[3] == "?" else int(found[3])
    return Call(found[1], tuple(_arguments(found[2])), result, start, end)


def _arguments(text: str) -> Iterator[str]:
    """The arguments of a call; commas inside brackets don't separate them, and none is inside a text."""
    depth = begin = 0
    for place, character in enumerate(text):
        if character in "[{(<":
            depth += 1
        elif character in "]})>":
            depth -= 1
        elif character == "," and depth == 0:
            yield text[begin:place].strip()
            begin = place + 1
    if text[begin:].strip():
        yield text[begin:].strip()


class Traced:
    """A Python program that runs under strace."""

    def __init__(self, process: subprocess.Popen[str], output: Path) -> None:
        self._process = process
        self._output = output

    def stop(self) -> list[Call]:
        """End it as an operator would; what it did."""
        for child in psutil.Process(self._process.pid).children():
            child.send_signal(signal.SIGTERM)
        return self.ended()

    def ended(self, *, by: int = 0) -> list[Call]:
        """Wait for its end, by itself or by a signal; what it did."""
        _, log = self._process.communicate(timeout=60)
        assert self._process.returncode == -by, log
        return read_calls(self._output)

    def kill(self) -> None:
        """Leave nothing behind."""
        if self._process.poll() is None:
            for child in psutil.Process(self._process.pid).children():
                child.kill()
            self._process.kill()
        self._process.communicate()


@contextmanager
def traced(
    output: Path, arguments: Sequence[str], environment: Mapping[str, str], *, kill_at: tuple[str, int] | None = None
) -> Iterator[Traced]:
    """Python under strace; with `kill_at`, killed when its main thread is about to make a call for the n-th time."""
    require_strace()
    watched = ",".join(f"?{name}" for name in _CALLS)
    command = ["strace", "-f", "-y", "-xx", "-s", "10000000", "-e", f"trace={watched}"]
    if kill_at is None:
        command.append("--seccomp-bpf")  # faster, but with it strace injects nothing
    else:
        name, number = kill_at
        command += ["-e", f"inject=?{name},?{name}at:signal=SIGKILL:when={number}"]
    process = subprocess.Popen(
        [*command, "-o", str(output), sys.executable, *arguments],
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "LOG_FORMAT": "json", **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
    )
    program = Traced(process, output)
    try:
        yield program
    finally:
        program.kill()


@cache
def _strace_works() -> bool:
    command = ["strace", "-f", "--seccomp-bpf", "-o", os.devnull, "true"]
    return shutil.which("strace") is not None and subprocess.run(command, capture_output=True).returncode == 0


def require_strace() -> None:
    """Skip the test where strace is absent or not allowed."""
    if not _strace_works():
        unavailable("strace is missing, or may not trace here")


def unavailable(reason: str) -> NoReturn:
    """Skip a test for a reason that is no excuse in CI."""
    if IN_CI:
        pytest.fail(reason)
    pytest.skip(reason)
