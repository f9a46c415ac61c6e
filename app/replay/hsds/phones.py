"""Phones: numbers as ``NNN-NNN-NNNN`` with their extension apart, and the languages spoken there."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

from app.replay.hsds.identity import row_id
from app.replay.hsds.languages import add_languages
from app.replay.hsds.sheet import Sheet
from app.replay.hsds.text import first, text

NUMBERS = ("number", "phone_number", "phone", "telephone", "value")
EXTENSIONS = ("extension", "ext")
SHORT_NUMBERS = re.compile(r"[2-9]11")

_NUMBER = re.compile(
    r"(?<!\d)(?:\+?1[-.\s]*)?\(?(\d{3})\)?[-.\s/]*(\d{3})[-.\s]*(\d{4})(?!\d)"
    r"(?:[\s,;]*(?:extension|ext|x|#)[\s.:#]*(\d{1,9}))?",
    re.IGNORECASE | re.ASCII,
)
_EXTENSION = re.compile(r"\D*(\d{1,9})\D*", re.ASCII)
_LEAST_DIGITS = 7


def numbers_in(said: str) -> list[tuple[str, str]]:
    """The numbers in a text with their extensions; a text with no number of ten digits as it stands, if it is one."""
    found = [("-".join(parts), ext) for *parts, ext in _NUMBER.findall(said)]
    if found:
        return found
    digits = sum(map(str.isdigit, said))
    lettered = digits + sum(map(str.isalpha, said)) if digits >= 3 else 0
    if SHORT_NUMBERS.fullmatch(said) or digits >= _LEAST_DIGITS or (len(said) <= 16 and 10 <= lettered <= 11):
        return [(said, "")]
    return []


def add_phones(sheet: Sheet, parent: tuple[str, UUID], phones: list[Any]) -> None:
    """Enter the phones of a parent, given as its column and id."""
    for phone in phones:
        node = phone if isinstance(phone, dict) else {"number": phone}
        said = first(node, NUMBERS)
        if said is None:
            continue
        found = numbers_in(said[:300])
        if not found:
            sheet.note("phone.number", "phone_not_a_number", said)
        extension = _EXTENSION.fullmatch(first(node, EXTENSIONS) or "")
        for number, own in found:
            ext = own or (extension[1] if extension else "")
            key = row_id("phone", parent[0], str(parent[1]), number, ext)
            sheet.add(
                "phone",
                key,
                {
                    parent[0]: str(parent[1]),
                    "number": number,
                    "extension": int(ext) if ext else None,
                    "type": text(node.get("type")),
                    "description": text(node.get("description")),
                },
            )
            add_languages(sheet, ("phone_id", key), node)
