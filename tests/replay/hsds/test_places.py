from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from app.replay.hsds.rows import Mapped
from tests.replay.hsds.making import PANTRY, at, mapped, only, reasons, rows

STREET = {"address_1": "1 Main Street", "city": "Troy", "state_province": "NY", "postal_code": "12180"}
POINT = {"latitude": 42.7284, "longitude": -73.6918}


@pytest.mark.parametrize(
    "place",
    [
        {"addresss": [STREET]},
        {"addresses": [STREET]},
        {"address": STREET},
        {"address": [STREET]},
        STREET,
        {"address": "1 Main Street, Troy, NY 12180"},
        {"address": {"street": "1 Main Street", "city": "Troy", "state": "New York", "zip": 12180}},
        {"address": {"street_address_1": "1 Main Street", "city": "Troy", "state": "N.Y.", "zip": "12180-"}},
        {"address": {"address_lines": ["1 Main Street", ""], "locality": "Troy", "state": "ny", "zip_code": "12180"}},
        {"address": "1 Main Street", "city": "Troy", "state": "NY", "zip": "12180"},
    ],
)
def test_an_address_is_the_same_however_it_is_written(place: dict[str, Any]) -> None:
    found = at({}, {"name": "Hall", **place})
    address = only(found, "address")
    assert {name: address.get(name) for name in STREET} == STREET
    assert [row.id for row in found.rows if row.table == "address"] == [
        row.id for row in at({}, {"name": "Hall", "addresses": [STREET]}).rows if row.table == "address"
    ]


@pytest.mark.parametrize(
    "answer",
    [
        {"locations": [{"address": STREET}]},
        {"location": {"address": STREET}},
        {"services": [{"name": "S", "locations": [{"address": STREET}]}]},
        {"services": [{"name": "S", "service_at_locations": [{"location": {"address": STREET}}]}]},
        {"services": [{"name": "S", "locations": [{"id": "sal", "location": {"address": STREET}}]}]},
        {"services": [{"name": "S", "address": STREET}]},
        {"programs": [{"name": "S", "locations": [{"address": STREET}]}]},
        {"service_at_locations": [{"location": {"address": STREET}}]},
        {"addresses": [STREET]},
        {"address": STREET},
        STREET,
        {"location": "1 Main Street, Troy, NY 12180"},
    ],
)
def test_a_place_is_found_wherever_it_stands(answer: dict[str, Any]) -> None:
    found = mapped({**PANTRY, **answer})
    assert [row.id for row in found.rows if row.table == "location"] == [
        row.id for row in at({}, {"address": STREET}).rows if row.table == "location"
    ]
    assert only(found, "address")["city"] == "Troy"


def test_a_state_alone_is_no_address() -> None:
    found = at({}, {"name": "Hall", "address": {"state": "NY", "country": "US"}})
    assert not rows(found, "address")
    assert only(found, "location")["name"] == "Hall"


def test_nothing_of_an_address_is_invented() -> None:
    found = at({}, {"address": {"city": "Troy", "state": "Narnia", "zip": "1218", "country": "USA"}})
    assert only(found, "address") == {"location_id": str(location_ids(found)[0]), "city": "Troy", "country": "US"}


def test_a_postal_address_of_a_place_is_a_second_address() -> None:
    found = at({}, {"addresses": [STREET, {"address_1": "PO Box 5", "city": "Troy", "address_type": "mailing"}]})
    assert len(rows(found, "location")) == 1
    assert [row.get("address_type") for row in rows(found, "address")] == [None, "postal"]


def location_ids(found: Mapped) -> list[object]:
    return [row.id for row in found.rows if row.table == "location"]


@pytest.mark.parametrize(
    "places",
    [
        [{"id": "l1", "address": STREET}, {"id": "l1", "name": "Hall"}],
        [{"id": "l1", "address": STREET}, {"location_id": "l1", "phone": "555"}],
        [{"address": STREET}, {"address": {**STREET, "address_1": "1 main st."}}],
        [{"address": STREET}, {"address": {**STREET, "postal_code": ""}}],
        [{"address": STREET, **POINT}, {"name": "Hall", **POINT}],
        [{"address": STREET}, POINT],
        [{"address": STREET}, {"name": "Hall"}, {"name": "Yard"}],
    ],
)
def test_mentions_of_one_place_are_one_location(places: list[dict[str, Any]]) -> None:
    assert len(location_ids(mapped({**PANTRY, "locations": places}, POINT))) == 1


@pytest.mark.parametrize(
    "places",
    [
        [{"address": STREET}, {"address": {**STREET, "address_1": "2 Main Street"}}],
        [{"address": STREET}, {"address": {**STREET, "postal_code": "12181"}}],
        [{"address": STREET, **POINT}, {"address": {**STREET, "address_1": "2 Main Street"}, **POINT}],
        [{"name": "Hall"}, {"name": "Yard"}],
        [POINT, {"latitude": 42.73, "longitude": -73.69}],
    ],
)
def test_two_places_are_two_locations(places: list[dict[str, Any]]) -> None:
    record = {"sites": [POINT, {"latitude": 42.73, "longitude": -73.69}]}
    assert len(location_ids(mapped({**PANTRY, "locations": places}, record))) == 2


def test_a_place_that_was_given_two_names_keeps_both() -> None:
    found = mapped(
        {**PANTRY, "locations": [{"name": "Hall", "address": STREET}, {"name": "Market", "address": STREET}]}
    )
    assert (only(found, "location")["name"], only(found, "location")["alternate_name"]) == ("Market", "Hall")


def test_a_place_s_own_name_counts_before_its_organization_s() -> None:
    found = mapped({**PANTRY, "address": STREET, "locations": [{"name": "Hall", "address": STREET}]})
    assert only(found, "location")["name"] == "Hall"


def test_a_place_without_place_or_name_is_none() -> None:
    assert not rows(at({}, {"location_type": "physical"}), "location")


def test_a_place_is_the_same_place_whatever_coordinate_the_model_gives() -> None:
    one, other = ({"address": STREET, "latitude": north, "longitude": -73.7} for north in (42.1, 42.2))
    assert location_ids(at({}, one, POINT)) == location_ids(at({}, other, POINT))


def coordinate(found: Mapped) -> tuple[object, object]:
    row = only(found, "location")
    return row.get("latitude"), row.get("longitude")


KNOWN = (Decimal("42.7284"), Decimal("-73.6918"))


@pytest.mark.parametrize(
    "place",
    [
        POINT,
        {"latitude": "42.7284", "longitude": "-73.6918"},
        {"lat": 42.7284, "lng": -73.6918},
        {"coordinates": POINT},
        {"coordinates": [42.7284, -73.6918]},
        {"coordinates": [-73.6918, 42.7284]},
        {"geo": {"type": "Point", "coordinates": [-73.6918, 42.7284]}},
        {"address": {**STREET, **POINT}},
        {"address": {**STREET, "coordinates": POINT}},
    ],
)
def test_a_coordinate_of_the_input_is_believed_in_any_form(place: dict[str, Any]) -> None:
    found = at({}, {"name": "Hall", **place}, {"sites": [{"lat": 42.72845, "lon": -73.69175}, {"lat": 1, "lon": 1}]})
    assert coordinate(found) == KNOWN
    assert not found.notes


@pytest.mark.parametrize(
    "place",
    [
        {"latitude": 42.73, "longitude": -73.6918},
        {"latitude": 38.9, "longitude": -77.0},
        {"latitude": 0, "longitude": 0},
        {"latitude": 142.7, "longitude": -73.7},
        {"latitude": "north", "longitude": "west"},
        {},
    ],
)
def test_any_other_gives_way_to_the_only_one_of_the_input(place: dict[str, Any]) -> None:
    found = at({}, {"name": "Hall", **place}, POINT)
    assert coordinate(found) == KNOWN
    if place and any(place.values()):
        assert reasons(found)[0] in ("coords_not_in_input", "coords_unreadable")


def test_where_the_input_has_several_none_is_guessed() -> None:
    sites = {"sites": [POINT, {"latitude": 40.0, "longitude": -80.0}]}
    assert coordinate(at({}, {"name": "Hall", "latitude": 41.0, "longitude": -80.0}, sites)) == (None, None)


def test_where_the_input_has_none_none_is_believed() -> None:
    found = at({}, {"name": "Hall", **POINT}, {"name": "x"})
    assert coordinate(found) == (None, None)
    assert reasons(found) == ["coords_not_in_input"]


def test_web_mercator_metres_are_degrees() -> None:
    found = at({}, {"name": "Hall"}, {"latitude": 4689967.661406691, "longitude": -8559199.799807694})
    assert coordinate(found) == (Decimal("38.7783220"), Decimal("-76.8886000"))


def test_the_input_s_coordinate_of_the_very_street_counts_first() -> None:
    """A model gave a pantry's site the coordinate of its office, which the input has too."""
    record = {
        "address": "9 Office Rd",
        "latitude": 40.0,
        "longitude": -80.0,
        "sites": [{"address": "1 MAIN ST", **POINT}],
    }
    found = at({}, {"address": STREET, "latitude": 40.0, "longitude": -80.0}, record)
    assert coordinate(found) == KNOWN
    assert reasons(found) == ["coords_of_another_street"]


def test_one_coordinate_is_not_given_to_several_places() -> None:
    """Else all of a county's pantries would lie where their office is."""
    other = {**STREET, "address_1": "2 Main Street"}
    found = mapped({**PANTRY, "locations": [{"address": STREET}, {"address": other}]}, POINT)
    assert [row.get("latitude") for row in rows(found, "location")] == [None, None]


def test_a_location_s_type_is_one_that_hsds_has() -> None:
    assert only(at({}, {"name": "Hall", "location_type": "Virtual"}), "location")["location_type"] == "virtual"
    assert "location_type" not in only(at({}, {"name": "Hall", "location_type": "church"}), "location")


def test_a_thousand_places_take_no_time_worth_naming() -> None:
    places = [{"id": f"l{n % 900}", "address": {**STREET, "address_1": f"{n} Main St"}, **POINT} for n in range(2000)]
    assert len(location_ids(mapped({**PANTRY, "locations": places}, POINT))) == 900
