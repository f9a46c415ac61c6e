"""Organisations, with their programs, identifiers and funding."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from app.replay.hsds.identity import norm, row_id
from app.replay.hsds.nodes import (
    FUNDINGS,
    IDENTIFIERS,
    PROGRAMS,
    SERVICES,
    URLS,
    Node,
    items,
    local_id,
    parts,
    places_in,
)
from app.replay.hsds.shape import Scope
from app.replay.hsds.sheet import Sheet
from app.replay.hsds.text import email, first, text, website, whole

WEBSITES = ("website", "url", "website_url", "web_site", "websites")
EMAILS = ("email", "email_address")


def organization_id(scraper: str, name: str) -> UUID:
    """The id of a scraper's organisation."""
    return row_id("organization", scraper, norm(name))


def add_organization(sheet: Sheet, scraper: str, scope: Scope) -> UUID:
    """Enter an organisation and what is said of it alone."""
    node = scope.organization
    key = organization_id(scraper, scope.name)
    alternate = first(node, ("alternate_name",)) or _first_of(node.get("alternate_names"))
    sheet.add(
        "organization",
        key,
        {
            "name": scope.name,
            "alternate_name": alternate,
            "description": text(node.get("description")),
            "email": next((found for name in EMAILS if (found := email(node.get(name)))), None),
            "website": next((found for name in WEBSITES if (found := website(_lone(node.get(name))))), None),
            "tax_status": text(node.get("tax_status")),
            "tax_id": text(node.get("tax_id")),
            "year_incorporated": whole(node.get("year_incorporated"), 1000, 9999),
            "legal_status": text(node.get("legal_status")),
            "logo": text(node.get("logo")),
            "uri": text(node.get("uri")),
        },
    )
    for name in (*EMAILS[:1], *WEBSITES[:1]):
        said = text(_lone(node.get(name)))
        if said and not (email(said) if name in EMAILS else website(said)):
            sheet.note(f"organization.{name}", f"not_a_{name}", said)
    for container in scope.containers:
        _add_identifiers(sheet, key, container)
        add_fundings(sheet, ("organization_id", key), container)
        add_urls(sheet, ("organization_id", key), container)
    return key


def link_parent(sheet: Sheet, node: Node, key: UUID, ids: dict[str, UUID]) -> None:
    """Name an organisation's parent, if that is in the same answer."""
    parent = ids.get(local_id(node, "parent_organization_id") or "")
    if parent and parent != key:
        sheet.add("organization", key, {"parent_organization_id": str(parent)})


def _lone(value: Any) -> Any:
    return value[0] if isinstance(value, list) and value else value


def _first_of(names: Any) -> str | None:
    for each in names if isinstance(names, list) else [names]:
        if found := text(each.get("name") if isinstance(each, dict) else each):
            return found
    return None


def _add_identifiers(sheet: Sheet, key: UUID, container: Node) -> None:
    for node in parts(container, IDENTIFIERS):
        identifier = first(node, ("identifier", "value"))
        if not identifier:
            continue
        kind = first(node, ("identifier_type", "type")) or ""
        sheet.add(
            "organization_identifier",
            row_id("organization_identifier", str(key), norm(kind), identifier),
            {
                "organization_id": str(key),
                "identifier_scheme": text(node.get("identifier_scheme")),
                "identifier_type": kind,
                "identifier": identifier,
            },
        )


def add_fundings(sheet: Sheet, parent: tuple[str, UUID], container: Node) -> None:
    """Enter the funding of an organisation or service."""
    for each in items(container, FUNDINGS):
        source = first(each, ("source", "name")) if isinstance(each, dict) else text(each)
        if source:
            key = row_id("funding", parent[0], str(parent[1]), norm(source))
            sheet.add("funding", key, {parent[0]: str(parent[1]), "source": source})


def add_urls(sheet: Sheet, parent: tuple[str, UUID], container: Node) -> None:
    """Enter the further web addresses of an organisation or service."""
    for each in items(container, URLS):
        address = website(each.get("url") if isinstance(each, dict) else each)
        if address:
            label = text(each.get("label")) if isinstance(each, dict) else None
            key = row_id("url", parent[0], str(parent[1]), norm(address))
            sheet.add("url", key, {parent[0]: str(parent[1]), "url": address, "label": label})


def add_programs(sheet: Sheet, organization: UUID, scope: Scope) -> tuple[list[tuple[Node, UUID]], dict[str, UUID]]:
    """Enter the programs: their objects with their ids, and their ids by the answer's own."""
    found: list[tuple[Node, UUID]] = []
    by_local_id: dict[str, UUID] = {}
    holders = list(scope.containers)
    for container in scope.containers:
        holders += (*parts(container, SERVICES), *places_in(container))
    for holder in holders:
        for each in items(holder, PROGRAMS):
            node = each if isinstance(each, dict) else {"name": each}
            name = first(node, ("name", "program_name"))
            if name is None:
                continue
            key = row_id("program", str(organization), norm(name))
            fields = {"name": name, "alternate_name": text(node.get("alternate_name"))}
            sheet.add(
                "program",
                key,
                {"organization_id": str(organization), "description": text(node.get("description")), **fields},
            )
            found.append((node, key))
            if own := local_id(node):
                by_local_id[own] = key
    return found, by_local_id
