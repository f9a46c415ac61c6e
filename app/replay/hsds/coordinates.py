"""Coordinates: read in any form, and believed only where the input record says the same."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from app.replay.hsds.nodes import Node
from app.replay.hsds.text import number

Coordinate = tuple[Decimal, Decimal]
"""Latitude and longitude, in degrees."""

TOLERANCE = Decimal("0.0005")
"""Degrees within which two coordinates are one place: some 50 m."""

LATITUDES = ("latitude", "lat")
LONGITUDES = ("longitude", "lng", "lon", "long")
NESTED = ("coordinates", "coordinate", "geo", "geolocation", "geocoordinates", "geo_coordinates", "position", "point")

_EARTH_RADIUS_M = 6378137.0
_HALF_WORLD_M = 20037508.35
_PLACES = Decimal("1e-15")
_METRE = Decimal("1e-7")


def from_pair(latitude: Any, longitude: Any) -> Coordinate | None:
    """A coordinate in range, or None; Web Mercator metres are turned into degrees; (0, 0) is nowhere."""
    north, east = number(latitude), number(longitude)
    if north is None or east is None or (north == 0 and east == 0):
        return None
    if abs(north) > 90 or abs(east) > 180:
        return _from_mercator(float(north), float(east))
    return _shortened(north), _shortened(east)


def _from_mercator(north_m: float, east_m: float) -> Coordinate | None:
    if abs(north_m) > _HALF_WORLD_M or abs(east_m) > _HALF_WORLD_M or abs(north_m) < 1000 or abs(east_m) < 1000:
        return None
    latitude = math.degrees(2 * math.atan(math.exp(north_m / _EARTH_RADIUS_M)) - math.pi / 2)
    longitude = math.degrees(east_m / _EARTH_RADIUS_M)
    return Decimal(latitude).quantize(_METRE), Decimal(longitude).quantize(_METRE)


def _shortened(value: Decimal) -> Decimal:
    exponent = value.as_tuple().exponent
    return value.quantize(_PLACES) if isinstance(exponent, int) and exponent < -15 else value


def given(node: Node) -> Coordinate | None:
    """The coordinate that an object gives, flat or in a part of its own."""
    for holder in (node, *(node[name] for name in NESTED if name in node)):
        if isinstance(holder, list) and len(holder) == 2:
            if found := _from_list(*holder):
                return found
        elif isinstance(holder, dict):
            latitude = next((holder[name] for name in LATITUDES if name in holder), None)
            longitude = next((holder[name] for name in LONGITUDES if name in holder), None)
            if found := from_pair(latitude, longitude):
                return found
            inner = holder.get("coordinates") if holder is not node else None
            if isinstance(inner, list) and len(inner) == 2 and (found := _from_list(*inner)):
                return found
    return None


def _from_list(one: Any, other: Any) -> Coordinate | None:
    """Of the two orders in use, the one that lies in the north and the west, as the United States do."""
    pair = from_pair(one, other)
    if pair is None or pair[0] < 0 < pair[1]:
        return from_pair(other, one) or pair
    return pair


def close(one: Coordinate, other: Coordinate) -> bool:
    """Whether two coordinates are the same place."""
    return abs(one[0] - other[0]) <= TOLERANCE and abs(one[1] - other[1]) <= TOLERANCE


def rounded(point: Coordinate) -> tuple[str, str]:
    """A coordinate as it counts in keys: four decimals."""
    return f"{point[0]:.4f}", f"{point[1]:.4f}"


def verified(point: Coordinate, known: Sequence[Coordinate]) -> bool:
    """Whether the input gives this coordinate."""
    return any(close(point, other) for other in known)
