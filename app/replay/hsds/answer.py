"""From a recorded result to the answer's data: plain text, a fenced block, or text whose brackets need balancing."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any

_FENCE = re.compile(r"```[a-zA-Z]*\s*\n?(.*?)(?:```|\Z)", re.DOTALL)
_START = re.compile(r"\{|\[\s*\{")
_PAIRS = {"{": "}", "[": "]"}
_LONGEST_INT = 400
_NEVER_PARENTS = ("organization_identifiers", "attributes", "metadata", "fundings")
_NEVER_CHILDREN = frozenset({"locations", "services", "programs", "contacts", "phones", "schedules"})
ENVELOPE_TEXT = ("text", "content")
"""Where the object that a language model's client gives keeps the answer."""


class NotAnAnswerError(ValueError):
    """A result that is no JSON, even with its brackets balanced."""


def read_answer(result: object) -> tuple[Any, str]:
    """The answer as data, and how it was got: ``structured``, ``as_is``, ``fenced`` or ``balanced``."""
    if isinstance(result, dict):
        inner = next((result[name] for name in ENVELOPE_TEXT if name in result), None)
        if "name" in result or not isinstance(inner, str | dict | list):
            return result, "structured"
        result = inner
    if isinstance(result, dict | list):
        return result, "structured"
    if not isinstance(result, str):
        raise NotAnAnswerError
    return _read_text(result.strip().lstrip("\ufeff"))


def read_json(text: str) -> Any:
    """JSON with numbers as Decimal; of a name given twice the last value that isn't empty; NaN is refused."""
    try:
        return _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise NotAnAnswerError from error


def _read_text(text: str) -> tuple[Any, str]:
    fenced = _FENCE.search(text)
    block = fenced.group(1).strip() if fenced else text
    for candidate, mode in ((text, "as_is"), (block, "fenced")):
        try:
            found = read_json(candidate)
        except NotAnAnswerError:
            continue
        if isinstance(found, dict | list):
            return found, mode
    start = _START.search(block)
    if start is None:
        raise NotAnAnswerError
    return _hoisted(read_json(balance(block[start.start() :]))), "balanced"


def _hoisted(answer: Any) -> Any:
    """Take an organisation's parts out of the objects that they are in only because those were never closed."""
    if isinstance(answer, dict):
        lists = [answer[name] for name in _NEVER_PARENTS if isinstance(answer.get(name), list)]
        for part in [part for found in lists for part in found if isinstance(part, dict)]:
            for name in _NEVER_CHILDREN.intersection(part):
                answer.setdefault(name, part[name])
    return answer


def balance(text: str) -> str:
    """A text with its brackets put right, up to the end of its first value.

    A bracket that closes what isn't open last shows that those opened since were never closed, and closes them too. One
    whose kind isn't open at all is taken for the other kind, unless that would end the whole value: then it is one too
    many, and dropped. What is still open at the end is closed. A comma before what closes is dropped.
    """
    kept: list[str] = []
    opened: list[str] = []
    count = {"}": 0, "]": 0}
    in_string = escaped = False
    for read in text:
        character = read
        if in_string:
            in_string = escaped or character != '"'
            escaped = character == "\\" and not escaped
        elif character == '"':
            in_string = True
        elif character in _PAIRS:
            opened.append(_PAIRS[character])
            count[opened[-1]] += 1
        elif character in "}]":
            if not count[character]:
                if len(opened) == 1:
                    continue
                character = opened[-1]
            _drop_comma(kept)
            while (expected := opened.pop()) != character:
                count[expected] -= 1
                kept.append(expected)
            count[character] -= 1
        kept.append(character)
        if not opened and not in_string and character in "}]":
            break
    if in_string:
        kept.append('"')
    _drop_comma(kept)
    return "".join(kept) + "".join(reversed(opened))


def _drop_comma(kept: list[str]) -> None:
    last = len(kept) - 1
    while last > 0 and kept[last].isspace():
        last -= 1
    if kept and kept[last] == ",":
        del kept[last:]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        found = {}
        for name, value in pairs:
            if name not in found or (value is not None and value not in ("", [], {})):
                found[name] = value
    return found


def _integer(digits: str) -> int | Decimal:
    return int(digits) if len(digits) <= _LONGEST_INT else Decimal(digits)


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=Decimal, parse_int=_integer, parse_constant=_refuse, strict=False
)
