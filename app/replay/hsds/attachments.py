"""What hangs on an organisation, service or location: phones, contacts, hours, languages, accessibility."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from app.replay.hsds.identity import norm, row_id
from app.replay.hsds.languages import add_languages
from app.replay.hsds.links import Links
from app.replay.hsds.nodes import ACCESSIBILITIES, CONTACTS, PHONES, SCHEDULES, Node, items
from app.replay.hsds.phones import add_phones
from app.replay.hsds.rows import Value
from app.replay.hsds.schedules import Window, row_fields, unread_times, windows
from app.replay.hsds.sheet import Sheet
from app.replay.hsds.source import Source
from app.replay.hsds.text import email, first, text, website

Parent = tuple[str, UUID]
"""The column that names a parent, and its id."""

_RECURRENCE = (
    "freq", "interval", "count", "byday", "byweekno", "bymonthday", "byyearday", "dtstart", "until", "valid_from",
    "valid_to", "opens_at", "closes_at",
)  # fmt: skip
"""What makes a schedule itself. Not ``wkst``: it is the prompt's default, and says nothing."""


@dataclass(frozen=True, slots=True)
class Owner:
    """An object of the answer, with the service and location that it stands for."""

    node: Node
    organization: UUID
    service: UUID | None = None
    location: UUID | None = None

    def parent(self, links: Links) -> Parent:
        """The row on which its phones and contacts hang."""
        if self.service and self.location and (at := links.at(self.service, self.location)):
            return "service_at_location_id", at
        if self.service:
            return "service_id", self.service
        return ("location_id", self.location) if self.location else ("organization_id", self.organization)


def attach(sheet: Sheet, owner: Owner, links: Links, source: Source) -> None:
    """Enter all that hangs on an object."""
    parent = owner.parent(links)
    node = owner.node
    _phones(sheet, parent, items(node, PHONES), links)
    for contact in items(node, CONTACTS):
        _contact(sheet, parent, contact, links)
    for name in SCHEDULES:
        if node.get(name):
            _schedules(sheet, owner, node[name], links, source)
    location = owner.location or links.only_location
    if owner.service and not owner.location:
        add_languages(sheet, ("service_id", owner.service), node)
    elif location:
        add_languages(sheet, ("location_id", location), node)
    if location:
        _accessibility(sheet, location, node)


def _referred(node: Node, parent: Parent, links: Links) -> Parent:
    """The parent that an object under an organisation names, or else that organisation."""
    if parent[0] != "organization_id":
        return parent
    if at := links.service_at_location(node.get("service_at_location_id")):
        return "service_at_location_id", at
    if location := links.location(node.get("location_id")):
        return "location_id", location
    if service := links.service(node.get("service_id")):
        return "service_id", service
    return parent


def _phones(sheet: Sheet, parent: Parent, phones: list[Any], links: Links) -> None:
    for phone in phones:
        add_phones(sheet, _referred(phone, parent, links) if isinstance(phone, dict) else parent, [phone])


def _contact(sheet: Sheet, parent: Parent, contact: Any, links: Links) -> None:
    node = contact if isinstance(contact, dict) else {"name": contact}
    parent = _referred(node, parent, links)
    fields: dict[str, Value | None] = {
        "name": first(node, ("name", "contact_name")),
        "title": text(node.get("title")),
        "department": text(node.get("department")),
        "email": email(node.get("email")),
    }
    if not fields["email"] and (said := text(node.get("email"))):
        sheet.note("contact.email", "not_an_email", said)
    if any(fields.values()):
        key = row_id("contact", parent[0], str(parent[1]), *(norm(str(value or "")) for value in fields.values()))
        sheet.add("contact", key, {parent[0]: str(parent[1]), **fields})
        parent = ("contact_id", key)
    add_phones(sheet, parent, items(node, PHONES))


def _schedules(sheet: Sheet, owner: Owner, value: Any, links: Links, source: Source) -> None:
    for said in unread_times(value):
        sheet.note("schedule.opens_at", "not_a_time", said)
    for window in windows(value):
        if not window.says_anything and not source.names_a_weekday:
            continue
        parent = _schedule_parent(owner, window, links)
        if parent is None:
            sheet.note("schedule", "schedule_without_place", value)
            return
        fields, notes = row_fields(window)
        key = row_id("schedule", parent[0], str(parent[1]), *[str(fields.get(name) or "") for name in _RECURRENCE])
        if (not fields["byday"] or notes) and source.hours_text:
            fields["notes"] = f"source hours text: {source.hours_text}"
        sheet.add("schedule", key, {parent[0]: str(parent[1]), **fields})
        if (zone := window.fields.get("timezone")) and fields["timezone"] is None:
            sheet.note("schedule.timezone", "timezone_not_an_offset", zone)
        for reason in notes:
            raw = window.frequency if reason == "freq_not_hsds" else window.wkst
            sheet.note("schedule.freq" if reason == "freq_not_hsds" else "schedule.byday", reason, raw)


def _schedule_parent(owner: Owner, window: Window, links: Links) -> Parent | None:
    """A service at a location where both are known, else the location, else the service."""
    if at := links.service_at_location(window.refs.get("service_at_location_id")):
        return "service_at_location_id", at
    service = owner.service or links.service(window.refs.get("service_id"))
    location = owner.location or links.location(window.refs.get("location_id"))
    if service and not location:
        where = links.where(service)
        location = where[0] if len(where) == 1 else None
    if not service and not location:
        location = links.only_location
        if not location and len(links.services) == 1:
            return "service_id", links.services[0]
    if service and location and (at := links.at(service, location)):
        return "service_at_location_id", at
    if location:
        return "location_id", location
    return ("service_id", service) if service else None


def _accessibility(sheet: Sheet, location: UUID, node: Node) -> None:
    for each in items(node, ACCESSIBILITIES):
        part = each if isinstance(each, dict) else {"description": each}
        fields: dict[str, Value | None] = {
            "description": text(part.get("description")),
            "details": text(part.get("details")),
            "url": website(part.get("url")),
        }
        if said := next((value for value in fields.values() if value), None):
            key = row_id("accessibility", "location_id", str(location), norm(str(said)))
            sheet.add("accessibility", key, {"location_id": str(location), **fields})
