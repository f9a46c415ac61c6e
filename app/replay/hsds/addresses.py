"""Addresses: any of their spellings to the fields of HSDS, and their keys. Nothing is completed or guessed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from app.replay.hsds.identity import norm, norm_address
from app.replay.hsds.nodes import ADDRESSES, Node, items
from app.replay.hsds.rows import Value
from app.replay.hsds.text import first, text

STREETS = (
    "address_1", "address1", "street", "street_1", "street1", "street_address", "street_address_1", "line1", "line_1",
    "address_line_1", "address_line1", "address",
)  # fmt: skip
SECOND_LINES = ("address_2", "address2", "street_2", "street2", "street_address_2", "line2", "line_2", "address_line_2",
                "address_line2", "unit", "suite")  # fmt: skip
CITIES = ("city", "locality", "town", "address_locality")
STATES = ("state_province", "state", "province", "state_code")
ZIPS = ("postal_code", "zip", "zip_code", "zipcode", "zip5", "postalcode")
COUNTRIES = {
    "us": "US",
    "usa": "US",
    "u s": "US",
    "u s a": "US",
    "united states": "US",
    "united states of america": "US",
}
TYPES = {"physical": "physical", "postal": "postal", "mailing": "postal", "mail": "postal", "virtual": "virtual"}

STATE_CODES = {
    "alabama": "AL", "alaska": "AK", "american samoa": "AS", "arizona": "AZ", "arkansas": "AR", "california": "CA",
    "colorado": "CO", "connecticut": "CT", "delaware": "DE", "district of columbia": "DC", "washington dc": "DC",
    "florida": "FL", "georgia": "GA", "guam": "GU", "hawaii": "HI", "idaho": "ID", "illinois": "IL", "indiana": "IN",
    "iowa": "IA", "kansas": "KS", "kentucky": "KY", "louisiana": "LA", "maine": "ME", "maryland": "MD",
    "massachusetts": "MA", "michigan": "MI", "minnesota": "MN", "mississippi": "MS", "missouri": "MO", "montana": "MT",
    "nebraska": "NE", "nevada": "NV", "new hampshire": "NH", "new jersey": "NJ", "new mexico": "NM", "new york": "NY",
    "north carolina": "NC", "north dakota": "ND", "northern mariana islands": "MP", "ohio": "OH", "oklahoma": "OK",
    "oregon": "OR", "pennsylvania": "PA", "puerto rico": "PR", "rhode island": "RI", "south carolina": "SC",
    "south dakota": "SD", "tennessee": "TN", "texas": "TX", "utah": "UT", "vermont": "VT", "virginia": "VA",
    "virgin islands": "VI", "us virgin islands": "VI", "washington": "WA", "west virginia": "WV", "wisconsin": "WI",
    "wyoming": "WY",
}  # fmt: skip
_TWO_LETTERS = re.compile(r"[A-Za-z]{2}")
_ZIP = re.compile(r"(\d{5})(?:-?(\d{4}))?-?")
_ONE_LINE = re.compile(r"(.+?),\s*([^,]+),\s*([A-Za-z]{2})\.?,?\s+(\d{5}(?:-\d{4})?)(?:,\s*(?:USA?|United States))?")


@dataclass(frozen=True, slots=True)
class Address:
    """An address that says more than a state."""

    fields: dict[str, Value | None]

    @property
    def kind(self) -> str:
        """Physical, postal or virtual."""
        return str(self.fields["address_type"] or "physical")

    @property
    def zip5(self) -> str:
        """The first five digits of the ZIP code, or nothing."""
        return str(self.fields["postal_code"] or "")[:5]

    @property
    def street(self) -> str:
        """Both lines as they count in keys; empty where there is no street."""
        first_line = self.fields["address_1"]
        return norm_address(f"{first_line} {self.fields['address_2'] or ''}") if first_line else ""

    @property
    def area(self) -> tuple[str, ...]:
        """The ZIP code, or else city and state, as they count in keys."""
        return (self.zip5,) if self.zip5 else (norm(str(self.fields["city"] or "")), self.state)

    @property
    def state(self) -> str:
        """The state's two letters, or nothing."""
        return str(self.fields["state_province"] or "")


def state_code(value: object) -> str | None:
    """Two letters for a state, from its code or its name."""
    said = text(value)
    if said is None:
        return None
    short = said.replace(".", "").strip()
    return short.upper() if _TWO_LETTERS.fullmatch(short) else STATE_CODES.get(norm(said))


def zip_code(value: object) -> str | None:
    """A ZIP code of five or nine digits."""
    found = _ZIP.fullmatch(said) if (said := text(value)) and said.isascii() else None
    return "-".join(part for part in found.groups() if part) if found else None


def address_of(node: Any) -> Address | None:
    """The address that an object or a line of text gives; None if it says no more than a state."""
    if isinstance(node, str):
        node = _from_line(node)
    if not isinstance(node, dict):
        return None
    state = first(node, STATES)
    kind = text(node.get("address_type") or node.get("type"))
    country = first(node, ("country", "country_code"))
    fields: dict[str, Value | None] = {
        "attention": text(node.get("attention")),
        "address_1": first(node, STREETS) or _lines(node, 0),
        "address_2": first(node, SECOND_LINES) or _lines(node, 1),
        "city": first(node, CITIES),
        "region": first(node, ("region", "county")),
        "state_province": state_code(state),
        "postal_code": next((code for name in ZIPS if (code := zip_code(node.get(name)))), None),
        "country": COUNTRIES.get(norm(country), country) if country else None,
        "address_type": TYPES.get(kind.lower()) if kind else None,
    }
    if not (fields["address_1"] or fields["city"] or fields["postal_code"]):
        return None
    return Address(fields)


def addresses_of(node: Node) -> list[Address]:
    """The addresses of a place: the objects under their own names, or the one that stands flat in it, or its texts."""
    given = items(node, ADDRESSES)
    found = [address for part in given if isinstance(part, dict) and (address := address_of(part))]
    if not found and (flat := flat_address(node)):
        found.append(flat)
    return found or [address for part in given if isinstance(part, str) and (address := address_of(part))]


def flat_address(node: Node) -> Address | None:
    """The address whose fields stand in the object of a place itself."""
    if not any(name in node for name in (*STREETS[:-1], *CITIES, *ZIPS)):
        return None
    return address_of(
        {**node, "type": None, "address": node["address"] if isinstance(node.get("address"), str) else None}
    )


def _lines(node: Node, index: int) -> str | None:
    lines = node.get("address_lines") or node.get("lines")
    return text(lines[index]) if isinstance(lines, list) and len(lines) > index else None


def _from_line(line: str) -> Node:
    said = text(line)
    if said and (found := _ONE_LINE.fullmatch(said[:500])):
        return dict(zip(("address_1", "city", "state_province", "postal_code"), found.groups(), strict=True))
    return {"address_1": said}
