"""Locations: every place that an answer speaks of, each once, however often and in whatever form it does."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from uuid import UUID

from app.replay.hsds.addresses import Address, addresses_of
from app.replay.hsds.coordinates import NESTED, Coordinate, given, rounded, verified
from app.replay.hsds.identity import norm, row_id
from app.replay.hsds.nodes import ADDRESSES, Node, local_id, parts
from app.replay.hsds.rows import Value
from app.replay.hsds.sheet import Sheet
from app.replay.hsds.source import Source
from app.replay.hsds.text import first, text, website

LOCATION_TYPES = frozenset({"physical", "postal", "virtual"})
NAMES = ("name", "location_name")


@dataclass(slots=True)
class Mention:
    """One object of an answer that speaks of a place."""

    node: Node
    ids: tuple[str, ...] = ()
    name: str | None = None
    description: bool = True
    """Whether the object is about the place, so that its description is the place's."""
    addresses: list[Address] = field(default_factory=list)
    point: Coordinate | None = None

    @property
    def placed(self) -> bool:
        """Whether it says where the place is."""
        return bool(self.addresses) or self.point is not None


@dataclass(slots=True)
class Place:
    """A place: all that was said of it."""

    mentions: list[Mention]

    @property
    def addresses(self) -> list[Address]:
        """All of its addresses, those with a street first."""
        found = [address for mention in self.mentions for address in mention.addresses]
        return sorted(found, key=lambda address: not address.street)

    @property
    def name(self) -> str | None:
        """The name that was given last."""
        return next((mention.name for mention in reversed(self.mentions) if mention.name), None)

    @property
    def points(self) -> list[Coordinate]:
        """The coordinates that the answer gives for it."""
        return [mention.point for mention in self.mentions if mention.point]


def mention_of(node: Node) -> Mention:
    """What an object under ``locations`` says."""
    ids = tuple(found for name in ("id", "location_id") if (found := local_id(node, name)))
    return Mention(node, ids, first(node, NAMES), True, addresses_of(node), _point(node))


def mention_beside(node: Node, ids: tuple[str, ...] = (), name: str | None = None) -> Mention | None:
    """What an organisation or service says of a place by an address or coordinate of its own."""
    found = Mention(node, ids, name, False, addresses_of(node), _point(node))
    return found if found.placed else None


def mention_by_address(address: Address, node: Node) -> Mention:
    """A place that is known by an address alone, which may say whose it is."""
    owner = local_id(node, "location_id")
    return Mention(node, (owner,) if owner else (), None, False, [address], given(node))


def _point(node: Node) -> Coordinate | None:
    if found := given(node):
        return found
    return next((found for part in parts(node, ADDRESSES) if (found := given(part))), None)


def places_of(mentions: list[Mention]) -> list[Place]:
    """The distinct places among mentions."""
    if len(mentions) == 1:
        return [Place(mentions)]
    leader = list(range(len(mentions)))

    def find(one: int) -> int:
        while leader[one] != one:
            leader[one] = leader[leader[one]]
            one = leader[one]
        return one

    for same in _same(mentions):
        for other in same[1:]:
            low, high = sorted((find(same[0]), find(other)))
            leader[high] = low
    groups: dict[int, list[Mention]] = {}
    for index, mention in enumerate(mentions):
        groups.setdefault(find(index), []).append(mention)
    return _joined([Place(group) for group in groups.values()])


def _same(mentions: list[Mention]) -> Iterable[list[int]]:
    """Lists of mentions of one place: by a shared id, a street in one ZIP code, or a coordinate.

    A coordinate that is given for several streets proves nothing: a model repeats the one that it was given.
    """
    ids: dict[str, list[int]] = {}
    streets: dict[str, list[tuple[int, tuple[str, ...]]]] = {}
    points: dict[tuple[str, str], list[int]] = {}
    for index, mention in enumerate(mentions):
        for each in mention.ids:
            ids.setdefault(each, []).append(index)
        for address in mention.addresses:
            if address.street:
                streets.setdefault(address.street, []).append((index, address.area))
        if mention.point:
            points.setdefault(rounded(mention.point), []).append(index)
    yield from ids.values()
    for found in streets.values():
        yield from _by_area(found)
    for at in points.values():
        if len({address.street for index in at for address in mentions[index].addresses} - {""}) <= 1:
            yield at


def _by_area(found: list[tuple[int, tuple[str, ...]]]) -> Iterable[list[int]]:
    """One street in one ZIP code is one place; so it is where some mentions leave out the only code."""
    codes = {area for _, area in found if len(area) == 1}
    if len(codes) <= 1:
        yield [index for index, _ in found]
        return
    for code in {area for _, area in found}:
        yield [index for index, area in found if area == code]


def _joined(places: list[Place]) -> list[Place]:
    """Join a lone coordinate to a lone address, and fold what has no place into the only one that has."""
    lone_points = [place for place in places if place.points and not place.addresses]
    lone_addresses = [place for place in places if place.addresses and not place.points]
    if len(lone_points) == len(lone_addresses) == 1:
        lone_addresses[0].mentions += lone_points[0].mentions
        places = [place for place in places if place is not lone_points[0]]
    real = [place for place in places if place.points or place.addresses]
    if len(real) == 1:
        for place in places:
            if place is not real[0]:
                real[0].mentions += place.mentions
        return real
    return places


def coordinate_of(place: Place, source: Source, sheet: Sheet, shared: bool) -> Coordinate | None:
    """The place's coordinate as far as the input bears it out; what it doesn't bear out is set aside.

    The input bears out what it says itself: for this street, if it has a coordinate for that, or else for any place.
    Its only coordinate is taken for a place without one, unless the answer has several places.
    """
    at_street = [point for address in place.addresses for point in source.coordinates_at(address.street)]
    known = at_street or source.coordinates
    found = next((point for point in place.points if verified(point, known)), None)
    if not found and ((len(known) == 1 and not shared) or at_street):
        found = known[0]
    for point in dict.fromkeys(place.points):
        if not verified(point, known):
            reason = "coords_of_another_street" if verified(point, source.coordinates) else "coords_not_in_input"
            sheet.note("location.latitude", reason, [str(point[0]), str(point[1])])
    for mention in place.mentions:
        if not mention.point and (raw := _unread_point(mention.node)):
            sheet.note("location.latitude", "coords_unreadable", raw)
    return found


def _unread_point(node: Node) -> Node:
    return {name: node[name] for name in ("latitude", "longitude", *NESTED) if node.get(name)}


def location_id(organization: UUID, place: Place, point: Coordinate | None) -> UUID | None:
    """The id of a place: by its street, else its coordinate, else its name; None if it is known by nothing at all.

    A town without a name to it is a place too: the one that its organisation has.
    """
    for address in place.addresses:
        if address.street:
            return row_id("location", str(organization), "address", address.street, *address.area)
    if point:
        return row_id("location", str(organization), "point", *rounded(point))
    if not place.name and not place.addresses:
        return None
    return row_id("location", str(organization), "name", norm(place.name or ""))


def add_place(sheet: Sheet, key: UUID, organization: UUID, place: Place, point: Coordinate | None) -> None:
    """Enter a place and its addresses."""
    sheet.add("location", key, {"organization_id": str(organization)})
    for mention in place.mentions:
        sheet.add("location", key, _fields(mention))
    names = list(dict.fromkeys(mention.name for mention in place.mentions if mention.name))
    if len(names) > 1 and not any(text(mention.node.get("alternate_name")) for mention in place.mentions):
        sheet.add("location", key, {"alternate_name": next(name for name in names if name != place.name)})
    if point:
        sheet.add("location", key, {"latitude": point[0], "longitude": point[1]})
    for address in place.addresses:
        street = (address.street, *address.area) if address.street else ("", address.zip5, *address.area)
        sheet.add(
            "address",
            row_id("address", str(key), address.kind, *street),
            {"location_id": str(key), **address.fields},
        )


def _fields(mention: Mention) -> dict[str, Value | None]:
    node = mention.node
    if not mention.description:
        return {"name": mention.name, "location_type": _type(node.get("location_type"))}
    return {
        "name": mention.name,
        "location_type": _type(node.get("location_type")),
        "alternate_name": text(node.get("alternate_name")),
        "description": text(node.get("description")),
        "url": website(node.get("url")) or website(node.get("website")),
        "transportation": text(node.get("transportation")),
        "external_identifier": text(node.get("external_identifier")),
        "external_identifier_type": text(node.get("external_identifier_type")),
    }


def _type(value: object) -> str | None:
    said = text(value)
    return said.lower() if said and said.lower() in LOCATION_TYPES else None
