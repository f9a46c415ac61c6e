"""What a command says: lines, tables and JSON on standard output, errors on standard error, as the options ask."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text


class Output:
    """How this run of bouy speaks."""

    def __init__(self, environ: Mapping[str, str], *, as_json: bool, quiet: bool, no_color: bool) -> None:
        plain = no_color or bool(environ.get("NO_COLOR")) or environ.get("TERM") == "dumb"
        self.as_json = as_json
        self.silent = quiet or as_json
        self.fancy = sys.stdout.isatty() and not plain
        self.console = Console(force_terminal=self.fancy, no_color=not self.fancy, highlight=False, soft_wrap=True)

    def prefer_json(self, as_json: bool) -> None:
        """The same as --json before the command, where it stands behind it."""
        self.as_json = self.as_json or as_json
        self.silent = self.silent or as_json

    def say(self, text: str) -> None:
        """One line for the reader; not with --json or --quiet."""
        if not self.silent:
            self.console.print(Text(text))

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Aligned columns, one line a row; not with --json or --quiet."""
        for number, line in enumerate(aligned(header, rows)):
            if not self.silent:
                self.console.print(Text(line, style="bold" if number == 0 else ""))

    def document(self, value: Any) -> None:
        """The command's one JSON document, with --json only."""
        if self.as_json:
            print(json.dumps(value, indent=2))


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table's lines."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (header, *rows)
    ]


def complain(text: str) -> None:
    """An error, on standard error."""
    print(f"bouy: {text}", file=sys.stderr)
