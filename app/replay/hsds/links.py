"""Which service is offered where: by what the answer says, or else by what there is to choose from."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from app.replay.hsds.identity import row_id
from app.replay.hsds.nodes import AT_LOCATIONS, LOCATIONS, SCHEDULES, SERVICES, Node, items, local_id, parts, places_in
from app.replay.hsds.services import Service
from app.replay.hsds.shape import Scope
from app.replay.hsds.sheet import Sheet
from app.replay.hsds.text import text

_MOST_LINKS = 10_000
"""Services times locations beyond which a guess that each is offered everywhere is no help."""


class Links:
    """The services and locations of one organisation, by the answer's own ids, and what links them."""

    def __init__(
        self,
        sheet: Sheet,
        locations: dict[str, UUID],
        by_node: dict[int, UUID],
        services: list[Service],
        basis: dict[str, int],
    ) -> None:
        self._sheet = sheet
        self._basis = basis
        self._locations = locations
        self.by_node = by_node
        self._nodes = services
        self._services = {own: service.key for service in services if (own := local_id(service.node))}
        self._at: dict[UUID, dict[UUID, UUID]] = {}
        self._local: dict[str, UUID] = {}
        self.locations = list(dict.fromkeys(by_node.values()))
        self.services = list(dict.fromkeys(service.key for service in services))

    @property
    def only_location(self) -> UUID | None:
        """The location, if there is but one."""
        return self.locations[0] if len(self.locations) == 1 else None

    def location(self, local: Any) -> UUID | None:
        """The location that the answer calls so."""
        return self._locations.get(str(local)) if isinstance(local, str | int) else None

    def service(self, local: Any) -> UUID | None:
        """The service that the answer calls so."""
        return self._services.get(str(local)) if isinstance(local, str | int) else None

    def service_at_location(self, local: Any) -> UUID | None:
        """The link that the answer calls so."""
        return self._local.get(str(local)) if isinstance(local, str | int) else None

    def of_location(self, node: Node) -> UUID | None:
        """The location that an object is about, or refers to."""
        return self.by_node.get(id(node)) or self.location(node.get("location_id")) or self.location(node.get("id"))

    def of_node(self, node: Node) -> tuple[UUID | None, UUID | None]:
        """The service and the location that a ``service_at_location`` is about."""
        service = self.service(node.get("service_id"))
        for part in parts(node, SERVICES):
            service = service or self.service(part.get("id"))
        location = self.location(node.get("location_id"))
        for part in places_in(node):
            location = location or self.of_location(part)
        return service, location

    def at(self, service: UUID, location: UUID) -> UUID | None:
        """The id of what links a service to a location, if anything does."""
        return self._at.get(service, {}).get(location)

    def where(self, service: UUID) -> list[UUID]:
        """The locations of a service."""
        return list(self._at.get(service, ()))

    def connect(self, scope: Scope) -> None:
        """Find all links: what the answer says first; of a service without any, the only location, or else all."""
        for container in scope.containers:
            for node in parts(container, AT_LOCATIONS):
                service, location = self.of_node(node)
                if service and location:
                    self._link(service, location, "reference", node)
        for each in self._nodes:
            self._connect_said(each)
        for key in self.services:
            if self._at.get(key):
                continue
            if self.only_location:
                self._link(key, self.only_location, "only_location")
            elif len(self.services) * len(self.locations) <= _MOST_LINKS:
                for location in self.locations:
                    self._link(key, location, "all_locations")

    def _connect_said(self, each: Service) -> None:
        node = each.node
        if each.within is not None and (location := self.of_location(each.within)):
            self._link(each.key, location, "nesting")
        for at in parts(node, AT_LOCATIONS):
            if location := self.of_node(at)[1]:
                self._link(each.key, location, "nesting" if places_in(at) else "reference", at)
        for part in places_in(node):
            if location := self.of_location(part):
                self._link(each.key, location, "nesting")
        for local in items(node, LOCATIONS):
            if location := self.location(local):
                self._link(each.key, location, "reference")
        if location := self.by_node.get(id(node)):
            self._link(each.key, location, "nesting")
        for local in [node.get("location_id"), *items(node, ("location_ids",))]:
            if location := self.location(local):
                self._link(each.key, location, "reference")
        for schedule in parts(node, SCHEDULES):
            if location := self.location(schedule.get("location_id")):
                self._link(each.key, location, "schedule")

    def _link(self, service: UUID, location: UUID, basis: str, node: Node | None = None) -> None:
        key = row_id("service_at_location", str(service), str(location))
        if location not in self._at.setdefault(service, {}):
            self._at[service][location] = key
            self._basis[basis] = self._basis.get(basis, 0) + 1
        self._sheet.add(
            "service_at_location",
            key,
            {
                "service_id": str(service),
                "location_id": str(location),
                "description": text(node.get("description")) if node else None,
            },
        )
        if node and (own := local_id(node)):
            self._local[own] = key
