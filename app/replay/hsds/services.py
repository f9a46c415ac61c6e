"""Services; where an answer names none, its programs are what it offers."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

from app.replay.hsds.identity import norm, row_id
from app.replay.hsds.nodes import AREAS, DOCUMENTS, SERVICES, Node, items, local_id, parts, places_in
from app.replay.hsds.organizations import add_fundings, add_urls
from app.replay.hsds.rows import Value
from app.replay.hsds.shape import Scope
from app.replay.hsds.sheet import Sheet
from app.replay.hsds.text import day, email, first, moment, number, text, website

NAMES = ("name", "service_name", "service_type")
DEFAULT_NAME = "Food Service"
STATUSES = {
    "active": "active", "open": "active", "inactive": "inactive", "defunct": "defunct",
    "closed permanently": "defunct", "permanently closed": "defunct", "temporarily closed": "temporarily closed",
    "temporarily_closed": "temporarily closed",
}  # fmt: skip
TEXTS = {
    "alternate_name": ("alternate_name",),
    "description": ("description", "details"),
    "interpretation_services": ("interpretation_services",),
    "application_process": ("application_process", "referral_process"),
    "fees_description": ("fees_description",),
    "wait_time": ("wait_time",),
    "fees": ("fees",),
    "accreditations": ("accreditations",),
    "eligibility_description": ("eligibility_description", "eligibility", "program_requirement"),
    "licenses": ("licenses",),
    "alert": ("alert",),
}
"""Texts of a service, and the names that answers give them."""

_OLDEST = 150


@dataclass(slots=True)
class Service:
    """A service as one object of the answer has it."""

    key: UUID
    node: Node
    within: Node | None = None
    """The location that the object stands in."""
    programs: list[UUID] = field(default_factory=list)


def add_services(
    sheet: Sheet, organization: UUID, scope: Scope, programs: list[tuple[Node, UUID]], program_ids: dict[str, UUID]
) -> list[Service]:
    """Enter all services of an organisation."""
    found: list[Service] = []
    for node, within, program in _objects(scope, programs):
        own = program or program_ids.get(local_id(node, "program_id") or "") or _nested_program(node, program_ids)
        name = first(node, NAMES) or DEFAULT_NAME
        found.append(_add(sheet, organization, node, name, own))
        found[-1].within = within
    return found or [
        _add(sheet, organization, node, first(node, ("name", "program_name")) or DEFAULT_NAME, key)
        for node, key in programs
    ]


def _objects(scope: Scope, programs: list[tuple[Node, UUID]]) -> list[tuple[Node, Node | None, UUID | None]]:
    """The objects of services, each with the location and the program that it stands in, if it does."""
    found: list[tuple[object, Node | None, UUID | None]] = []
    if scope.service:
        found.append((scope.service, None, None))
    for container in scope.containers:
        found += [(each, None, None) for each in items(container, SERVICES)]
    for program, key in programs:
        found += [(each, None, key) for each in items(program, SERVICES)]
    for container in scope.containers:
        for location in places_in(container):
            found += [(each, location, None) for each in items(location, SERVICES)]
    nodes: list[tuple[Node, Node | None, UUID | None]] = []
    known = {own for each, *_ in found if isinstance(each, dict) and first(each, NAMES) and (own := local_id(each))}
    for each, within, own_program in found:
        node = each if isinstance(each, dict) else {"name": each}
        if not isinstance(each, dict) and (within or str(each) in known or not text(each)):
            continue  # an id of a service, as locations list them
        if not first(node, NAMES) and local_id(node) in known:
            continue
        nodes.append((node, within, own_program))
    return nodes


def _nested_program(node: Node, program_ids: dict[str, UUID]) -> UUID | None:
    return next((found for part in parts(node, ("program",)) if (found := program_ids.get(local_id(part) or ""))), None)


def _add(sheet: Sheet, organization: UUID, node: Node, name: str, program: UUID | None) -> Service:
    key = row_id("service", str(organization), norm(name))
    fields: dict[str, Value | None] = {
        "organization_id": str(organization),
        "program_id": str(program) if program else None,
        "name": name,
        "url": website(node.get("url")) or website(node.get("website")),
        "email": email(node.get("email")),
        "status": _status(sheet, node),
        "minimum_age": _age(node.get("minimum_age")),
        "maximum_age": _age(node.get("maximum_age")),
        "assured_date": on.isoformat() if (on := day(node.get("assured_date"))) else None,
        "assurer_email": email(node.get("assurer_email")),
        "last_modified": moment(node.get("last_modified")),
    }
    for column, names in TEXTS.items():
        if found := first(node, names):
            fields[column] = found
    sheet.add("service", key, fields)
    parent = ("service_id", key)
    for each in items(node, AREAS):
        name_of_area = first(each, ("name", "service_area", "description")) if isinstance(each, dict) else text(each)
        if name_of_area:
            _add_area(sheet, key, each if isinstance(each, dict) else {}, name_of_area)
    for each in items(node, DOCUMENTS):
        document = first(each, ("document", "name", "description")) if isinstance(each, dict) else text(each)
        if document:
            sheet.add(
                "required_document",
                row_id("required_document", *map(str, parent), norm(document)),
                {
                    "service_id": str(key),
                    "document": document,
                    "uri": text(each.get("uri")) if isinstance(each, dict) else None,
                },
            )
    add_urls(sheet, parent, node)
    add_fundings(sheet, parent, node)
    return Service(key, node, programs=[program] if program else [])


def _add_area(sheet: Sheet, service: UUID, node: Node, name: str) -> None:
    fields = {column: text(node.get(column)) for column in ("description", "extent", "extent_type", "uri")}
    key = row_id("service_area", "service_id", str(service), norm(name))
    sheet.add("service_area", key, {"service_id": str(service), "name": name, **fields})


def _status(sheet: Sheet, node: Node) -> str | None:
    said = first(node, ("status", "service_status"))
    if said is None:
        return None
    if (status := STATUSES.get(said.lower())) is None:
        sheet.note("service.status", "status_not_hsds", said)
    return status


def _age(value: object) -> Value | None:
    found = number(value)
    return found if found is not None and 0 <= found <= _OLDEST else None
