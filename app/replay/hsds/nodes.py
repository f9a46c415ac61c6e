"""Finding one's way in an answer: parts by any of their names, lone or in lists."""

from __future__ import annotations

from typing import Any

Node = dict[str, Any]

ADDRESSES = ("addresss", "addresses", "address", "physical_address", "mailing_address", "postal_addresses")
LOCATIONS = ("locations", "location")
SERVICES = ("services", "service")
PROGRAMS = ("programs", "program")
PHONES = ("phones", "phone", "phone_numbers", "phone_number", "telephone", "telephones")
CONTACTS = ("contacts", "contact")
SCHEDULES = (
    "schedules", "schedule", "regular_schedule", "regular_schedules", "hours", "opening_hours", "operating_hours",
    "hours_of_operation", "business_hours", "service_hours", "holiday_schedules", "daily_schedules", "time_slots",
)  # fmt: skip
LANGUAGES = ("languages", "language", "languages_spoken")
AT_LOCATIONS = ("service_at_locations", "service_at_location", "services_at_locations")
FUNDINGS = ("fundings", "funding")
IDENTIFIERS = ("organization_identifiers", "organization_identifier", "identifiers")
ACCESSIBILITIES = ("accessibilitys", "accessibilities", "accessibility", "accessibility_for_disabilities")
AREAS = ("service_areas", "service_area")
DOCUMENTS = ("required_documents", "required_document")
URLS = ("urls", "additional_urls", "additional_websites", "websites")


def items(node: Node, names: tuple[str, ...]) -> list[Any]:
    """All that stands under `names`: what lists hold, and lone parts; neither empty parts nor lists in lists."""
    found: list[Any] = []
    for name in names:
        value = node.get(name)
        if not value:
            continue
        if isinstance(value, list):
            found += [part for part in value if part and isinstance(part, dict | str | int)]
        elif isinstance(value, dict | str | int):
            found.append(value)
    return found


def parts(node: Node, names: tuple[str, ...]) -> list[Node]:
    """As `items`, objects only."""
    return [part for part in items(node, names) if isinstance(part, dict)]


def places_in(node: Node) -> list[Node]:
    """The objects of a node's locations: one that only holds another, as a service at a location does, is that one."""
    return [_inner_place(part) for part in parts(node, LOCATIONS)]


def _inner_place(part: Node) -> Node:
    inner = part.get("location")
    return inner if isinstance(inner, dict) and inner and not any(part.get(name) for name in ADDRESSES) else part


def local_id(node: Node, name: str = "id") -> str | None:
    """An id as the answer uses it: it names a part within the answer, and nothing outside."""
    value = node.get(name)
    if isinstance(value, str):
        return value or None
    return str(value) if type(value) is int and value.bit_length() < 128 else None
