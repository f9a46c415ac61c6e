"""Ids of rows: a name-based UUID from what makes a row itself, so that every replay gives it the same one."""

from __future__ import annotations

import html
import re
import unicodedata
from functools import lru_cache
from hashlib import sha1
from uuid import NAMESPACE_URL, UUID, uuid5

ID_URL = "https://github.com/For-The-Greater-Good/pantry-pirate-radio/recorder/id/v1"
"""Names the rules that ids come from. A change to a normaliser, or to a key, is a new version, and so new ids."""

NAMESPACE = uuid5(NAMESPACE_URL, ID_URL)

_NAMESPACE_BYTES = NAMESPACE.bytes
_APOSTROPHES = re.compile(r"['\u2018\u2019\u201b\u02bc`\u00b4]")
_NOT_ALPHANUMERIC = re.compile(r"[\W_]+")

ADDRESS_WORDS = {
    "alley": "aly",
    "apartment": "apt",
    "avenue": "ave",
    "av": "ave",
    "boulevard": "blvd",
    "building": "bldg",
    "circle": "cir",
    "court": "ct",
    "crossing": "xing",
    "drive": "dr",
    "east": "e",
    "expressway": "expy",
    "extension": "ext",
    "floor": "fl",
    "fort": "ft",
    "freeway": "fwy",
    "heights": "hts",
    "highway": "hwy",
    "junction": "jct",
    "lane": "ln",
    "mount": "mt",
    "north": "n",
    "northeast": "ne",
    "northwest": "nw",
    "parkway": "pkwy",
    "place": "pl",
    "plaza": "plz",
    "point": "pt",
    "road": "rd",
    "room": "rm",
    "route": "rte",
    "rt": "rte",
    "saint": "st",
    "south": "s",
    "southeast": "se",
    "southwest": "sw",
    "square": "sq",
    "street": "st",
    "str": "st",
    "suite": "ste",
    "terrace": "ter",
    "trail": "trl",
    "turnpike": "tpke",
    "west": "w",
}
"""How the words of an address are written in keys: much as the US Postal Service abbreviates them."""


def row_id(kind: str, *parts: str) -> UUID:
    """The id of what `parts` make: ``uuid5(NAMESPACE, kind U+001F length:part ...)``, lengths in characters."""
    name = kind + "\x1f" + "".join([f"{len(part)}:{part}" for part in parts])
    digest = sha1(_NAMESPACE_BYTES + name.encode("utf-8", "replace"), usedforsecurity=False).digest()
    return UUID(bytes=digest[:16], version=5)


_CACHED_LENGTH = 200
"""Longer texts don't repeat, and would fill the caches."""


def norm(text: str) -> str:
    """A text as it counts in keys: no entities, case, apostrophes or punctuation; never empty for a text that isn't."""
    return _cached_norm(text) if len(text) <= _CACHED_LENGTH else _norm(text)


def norm_address(text: str) -> str:
    """As `norm`, and with the words of addresses abbreviated."""
    return _cached_norm_address(text) if len(text) <= _CACHED_LENGTH else _norm_address(text)


def _norm(text: str) -> str:
    folded = unicodedata.normalize("NFKC", html.unescape(text)).casefold()
    return _NOT_ALPHANUMERIC.sub(" ", _APOSTROPHES.sub("", folded)).strip() or text.strip()


def _norm_address(text: str) -> str:
    return " ".join([ADDRESS_WORDS.get(word, word) for word in _norm(text).split(" ")])


_cached_norm = lru_cache(maxsize=16384)(_norm)
_cached_norm_address = lru_cache(maxsize=16384)(_norm_address)
