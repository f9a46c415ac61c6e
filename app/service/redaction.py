"""Out of whatever is shown: passwords, those of URLs and those that the settings hold; what drives a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote

MASK = "***"

_IN_URL = re.compile(r"(://[^/?#:]*):[^/?#]*@")
_IN_BROKEN_URL = re.compile(r"(://[^/?#:\s@]*):[^\s\"'@]*@")
"""The same with a password that should have been percent-encoded."""
_IN_QUERY = re.compile(r"([?&]\w*password=)[^&#]*")
_FOUND = (re.compile(r"://[^/?#:]*:([^/?#]*)@"), re.compile(r"://[^/?#:\s@]*:([^\s\"'@]*)@"))
_FOUND_IN_QUERY = re.compile(r"[?&]\w*password=([^&#]*)")

_SHORTEST_SECRET = 4
"""A shorter password is masked in URLs only: as a word it could be part of anything."""


def without_password(text: str) -> str:
    """A text that can be shown: the passwords of the URLs in it are masked."""
    text = _IN_URL.sub(rf"\1:{MASK}@", text)
    text = _IN_BROKEN_URL.sub(rf"\1:{MASK}@", text)
    return _IN_QUERY.sub(rf"\1{MASK}", text)


def passwords_in(texts: Iterable[str]) -> set[str]:
    """The passwords of the URLs in these, as they stand there and as they are meant."""
    found: set[str] = set()
    for text in texts:
        for pattern in (*_FOUND, _FOUND_IN_QUERY):
            found |= {form for password in pattern.findall(text) for form in (password, unquote(password))}
    return {password for password in found if len(password) >= _SHORTEST_SECRET}


class Redactor:
    """Masks passwords in a value of any shape."""

    def __init__(self, settings: Iterable[str]) -> None:
        self._secrets = sorted(passwords_in(settings), key=len, reverse=True)

    def clean(self, value: Any) -> Any:
        """The value, with every password masked."""
        if isinstance(value, str):
            for secret in self._secrets:
                value = value.replace(secret, MASK)
            return without_password(value) if "://" in value or "password=" in value else value
        if isinstance(value, dict):
            return {self.clean(key): self.clean(item) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.clean(item) for item in value]
        return value if value is None or isinstance(value, int | float) else self.clean(str(value))
