"""One organisation put together: its places and services, which is offered where, and who is reached how and when."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from app.replay.hsds.addresses import address_of
from app.replay.hsds.attachments import Owner, attach
from app.replay.hsds.links import Links
from app.replay.hsds.nodes import (
    ADDRESSES,
    AT_LOCATIONS,
    LOCATIONS,
    Node,
    items,
    local_id,
    parts,
    places_in,
)
from app.replay.hsds.organizations import add_organization, add_programs
from app.replay.hsds.places import (
    Mention,
    add_place,
    coordinate_of,
    location_id,
    mention_beside,
    mention_by_address,
    mention_of,
    places_of,
)
from app.replay.hsds.services import Service, add_services
from app.replay.hsds.shape import Scope
from app.replay.hsds.sheet import Sheet
from app.replay.hsds.source import Source
from app.replay.hsds.text import text


def add_scope(sheet: Sheet, scraper: str, scope: Scope, source: Source, basis: dict[str, int]) -> UUID:
    """Enter an organisation with all that belongs to it; returns its id."""
    organization = add_organization(sheet, scraper, scope)
    programs, program_ids = add_programs(sheet, organization, scope)
    services = add_services(sheet, organization, scope, programs, program_ids)
    mentions = _mentions(scope, programs, services)
    locations, by_node = _add_places(sheet, organization, mentions, source)
    links = Links(sheet, locations, by_node, services, basis)
    links.connect(scope)
    for owner in _owners(scope, organization, programs, services, mentions, links):
        attach(sheet, owner, links, source)
    return organization


def _mentions(scope: Scope, programs: list[tuple[Node, UUID]], services: list[Service]) -> list[Mention]:
    """Every object that speaks of a place."""
    found: list[Mention | None] = []
    for container in scope.containers:
        found += _beside(container, scope)
        found += map(mention_of, places_in(container))
        found += [mention_of({"address": line}) for line in _lines(container) if address_of(line)]
        for node in parts(container, AT_LOCATIONS):
            found += map(mention_of, places_in(node))
    for node in [service.node for service in services] + [program for program, _ in programs]:
        found += map(mention_of, places_in(node))
        for at in parts(node, AT_LOCATIONS):
            found += map(mention_of, places_in(at))
        if all(node is not container for container in scope.containers):
            found.append(mention_beside(node))
    unique = {id(mention.node): mention for mention in found if mention}
    return list(unique.values())


def _lines(container: Node) -> Iterable[str]:
    """Texts that stand for a location and are an address: they have a comma, which ids have not."""
    return (each for each in items(container, LOCATIONS) if isinstance(each, str) and "," in each)


def _beside(container: Node, scope: Scope) -> list[Mention | None]:
    """What an organisation says of places by addresses and coordinates of its own."""
    found: list[Mention | None] = []
    listed = [(part, address) for part in parts(container, ADDRESSES) if (address := address_of(part))]
    name = scope.name if container is scope.organization else None
    if len(listed) <= 1:
        owner = local_id(listed[0][0], "location_id") if listed else None
        own = local_id(container) if text(container.get("location_type")) else None
        found.append(mention_beside(container, tuple(each for each in (owner, own) if each), name))
    else:
        found += [mention_by_address(address, part) for part, address in listed]
    return found


def _add_places(
    sheet: Sheet, organization: UUID, mentions: list[Mention], source: Source
) -> tuple[dict[str, UUID], dict[int, UUID]]:
    """Enter the places: their ids by the answer's own ids, and by the objects that speak of them."""
    by_local_id: dict[str, UUID] = {}
    by_node: dict[int, UUID] = {}
    places = places_of(mentions) if mentions else []
    shared = len(places) > 1
    for place in places:
        point = coordinate_of(place, source, sheet, shared)
        key = location_id(organization, place, point)
        if key is None:
            continue
        add_place(sheet, key, organization, place, point)
        for mention in place.mentions:
            by_node[id(mention.node)] = key
            by_local_id.update(dict.fromkeys(mention.ids, key))
    return by_local_id, by_node


def _owners(
    scope: Scope,
    organization: UUID,
    programs: list[tuple[Node, UUID]],
    services: list[Service],
    mentions: list[Mention],
    links: Links,
) -> Iterable[Owner]:
    """Every object whose phones, contacts, hours and so on are to be entered, with what it stands for."""
    for container in scope.containers:
        if container is not scope.service:
            yield Owner(container, organization)
        for at in parts(container, AT_LOCATIONS):
            yield Owner(at, organization, *links.of_node(at))
    places = {id(mention.node): mention for mention in mentions}
    for service in services:
        location = links.by_node.get(id(service.within)) if service.within is not None else None
        yield Owner(service.node, organization, service.key, location)
        for node in places_in(service.node):
            places.pop(id(node), None)
            yield Owner(node, organization, service.key, links.of_location(node))
        for at in parts(service.node, AT_LOCATIONS):
            yield Owner(at, organization, service.key, links.of_node(at)[1])
            for node in places_in(at):
                places.pop(id(node), None)
                yield Owner(node, organization, service.key, links.of_location(node))
    own_services = {id(service.node) for service in services}
    for program, _ in programs:
        if id(program) not in own_services:
            yield Owner(program, organization)
    for mention in places.values():
        if mention.description:
            yield Owner(mention.node, organization, None, links.of_location(mention.node))
