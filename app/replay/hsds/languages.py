"""Languages, by their names and the codes of ISO 639-1."""

from __future__ import annotations

import re
from uuid import UUID

from app.replay.hsds.identity import norm, row_id
from app.replay.hsds.nodes import LANGUAGES, Node, items
from app.replay.hsds.sheet import Sheet
from app.replay.hsds.text import first, text

CODES = {
    "albanian": "sq", "amharic": "am", "american sign language": "ase", "arabic": "ar", "armenian": "hy",
    "asl": "ase", "bengali": "bn", "bosnian": "bs", "burmese": "my", "cantonese": "yue", "cape verdean creole": "kea",
    "chinese": "zh", "creole": "ht", "dari": "prs", "english": "en", "farsi": "fa", "filipino": "fil", "french": "fr",
    "german": "de",
    "greek": "el", "gujarati": "gu", "haitian": "ht", "haitian creole": "ht", "hebrew": "he", "hindi": "hi",
    "hmong": "hmn", "igbo": "ig", "ilocano": "ilo", "italian": "it", "japanese": "ja", "karen": "kar", "khmer": "km",
    "kinyarwanda": "rw", "korean": "ko", "lao": "lo", "mandarin": "cmn", "mandarin chinese": "cmn", "marshallese": "mh",
    "nepali": "ne", "oromo": "om", "pashto": "ps", "persian": "fa", "polish": "pl", "portuguese": "pt", "punjabi": "pa",
    "romanian": "ro", "russian": "ru", "samoan": "sm", "sign language": "sgn", "somali": "so", "spanish": "es",
    "swahili": "sw", "tagalog": "tl", "thai": "th", "tigrinya": "ti", "tongan": "to", "turkish": "tr", "twi": "tw",
    "ukrainian": "uk", "urdu": "ur", "vietnamese": "vi", "wolof": "wo", "yiddish": "yi", "yoruba": "yo",
}  # fmt: skip
"""Codes by name; where ISO 639-1 has none, that of ISO 639-3."""

NAMES = {code: name.title() for name, code in reversed(CODES.items())}
_CODE = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z]{2,4})?")
_LETTERS = re.compile(r"[^\W\d_]{2}")


def add_languages(sheet: Sheet, parent: tuple[str, UUID], node: Node) -> None:
    """Enter the languages that an object names, for a parent given as its column and id."""
    for language in items(node, LANGUAGES):
        each = language if isinstance(language, dict) else {"name": language}
        code = text(each.get("code"))
        code = code.lower() if code and _CODE.fullmatch(code) else None
        name = first(each, ("name", "language", "language_name"))
        if name and name.lower() in NAMES:
            name, code = NAMES[name.lower()], code or name.lower()
        name = name or (NAMES.get(code) if code else None)
        if not name:
            continue
        key = norm(name)
        if not _LETTERS.search(name) or key.removeprefix("language ").isdigit():
            sheet.note("language.name", "language_not_named", language)
            continue
        sheet.add(
            "language",
            row_id("language", parent[0], str(parent[1]), key),
            {parent[0]: str(parent[1]), "name": name, "code": code or CODES.get(key), "note": text(each.get("note"))},
        )
