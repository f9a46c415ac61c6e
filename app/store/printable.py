"""Names and contents may be anybody's: how they are shown without a terminal taking them for a command."""

from __future__ import annotations


def printable(text: str) -> str:
    """A text without what a terminal could take for a command, or what no encoding knows: those as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
