from __future__ import annotations

from typing import Any

import pytest

from app.replay.hsds.rows import Mapped
from tests.replay.hsds.making import PANTRY, at, mapped, only, reasons, rows

HALL: dict[str, Any] = {"id": "l1", "name": "Hall"}
YARD: dict[str, Any] = {"id": "l2", "name": "Yard"}


def links(found: Mapped) -> set[tuple[str, str]]:
    """Which service is where, by their names."""
    names = {str(row.id): str(row.fields["name"]) for row in found.rows if row.table in ("service", "location")}
    return {
        (names[str(row["service_id"])], names[str(row["location_id"])]) for row in rows(found, "service_at_location")
    }


@pytest.mark.parametrize(
    ("service", "name"),
    [
        ({"name": "Groceries", "service_name": "x"}, "Groceries"),
        ({"service_name": "Meals"}, "Meals"),
        ({"service_type": "Pantry"}, "Pantry"),
        ({"description": "Some"}, "Food Service"),
        ("Soup Kitchen", "Soup Kitchen"),
    ],
)
def test_a_service_has_a_name(service: object, name: str) -> None:
    assert only(mapped({**PANTRY, "services": [service]}), "service")["name"] == name


def test_programs_are_the_services_where_there_are_no_others() -> None:
    found = mapped({**PANTRY, "programs": [{"name": "Groceries", "description": "Weekly"}]})
    (program,) = (row for row in found.rows if row.table == "program")
    service = only(found, "service")
    assert (service["name"], service["description"], service["program_id"]) == ("Groceries", "Weekly", str(program.id))


def test_programs_are_no_services_beside_others() -> None:
    found = mapped({**PANTRY, "programs": [{"id": "p", "name": "P"}], "services": [{"name": "S", "program_id": "p"}]})
    (program,) = (row for row in found.rows if row.table == "program")
    assert only(found, "service")["program_id"] == str(program.id)


def test_without_either_no_service_is_invented() -> None:
    assert not rows(at({}, HALL), "service")


@pytest.mark.parametrize(
    ("given", "kept"),
    [("active", "active"), ("INACTIVE", "inactive"), ("Temporarily closed", "temporarily closed"), ("seasonal", None)],
)
def test_a_status_is_one_that_hsds_has(given: str, kept: str | None) -> None:
    found = mapped({**PANTRY, "services": [{"name": "S", "status": given}]})
    assert only(found, "service").get("status") == kept
    assert reasons(found) == ([] if kept else ["status_not_hsds"])


def test_ages_are_ages() -> None:
    found = mapped({**PANTRY, "services": [{"name": "S", "minimum_age": "60", "maximum_age": 1e9}]})
    assert only(found, "service")["minimum_age"] == 60
    assert "maximum_age" not in only(found, "service")


def test_what_hangs_on_services_is_found() -> None:
    service = {
        "name": "S",
        "service_areas": ["Bronx", {"service_area": "Queens County"}],
        "required_documents": ["Photo ID", {"document": "PHOTO ID"}],
        "urls": ["a.org"],
        "fundings": [{"source": "Food Bank"}],
    }
    found = mapped({**PANTRY, "services": [service]})
    assert {row["name"] for row in rows(found, "service_area")} == {"Bronx", "Queens County"}
    assert only(found, "required_document")["document"] == "PHOTO ID"
    assert only(found, "url")["url"] == "https://a.org"
    assert "service_id" in only(found, "funding")


@pytest.mark.parametrize(
    ("service", "beside", "basis"),
    [
        ({"location_id": "l1"}, {}, "reference"),
        ({"location_ids": ["l1"]}, {}, "reference"),
        ({"locations": ["l1"]}, {}, "reference"),
        ({"locations": [{"id": "l1"}]}, {}, "nesting"),
        ({"locations": [{"location_id": "l1"}]}, {}, "nesting"),
        ({"service_at_locations": [{"location_id": "l1"}]}, {}, "reference"),
        ({"service_at_locations": [{"location": HALL}]}, {}, "nesting"),
        ({}, {"service_at_locations": [{"service_id": "s1", "location_id": "l1"}]}, "reference"),
        ({"schedules": [{"location_id": "l1", "opens_at": "09:00"}]}, {}, "schedule"),
    ],
)
def test_a_service_is_where_the_answer_says(service: dict[str, Any], beside: dict[str, Any], basis: str) -> None:
    answer = {**PANTRY, "locations": [HALL, YARD], "services": [{"id": "s1", "name": "S", **service}], **beside}
    found = mapped(answer)
    assert links(found) == {("S", "Hall")}
    assert found.link_basis == {basis: 1}


def test_a_service_that_stands_in_a_location_is_there() -> None:
    found = mapped({**PANTRY, "locations": [{**HALL, "services": [{"name": "S"}]}, YARD]})
    assert links(found) == {("S", "Hall")}


def test_else_it_is_at_the_only_location() -> None:
    found = mapped({**PANTRY, "locations": [HALL], "services": [{"name": "S", "location_id": "elsewhere"}]})
    assert links(found) == {("S", "Hall")}
    assert found.link_basis == {"only_location": 1}


def test_else_at_all_of_them() -> None:
    found = mapped({**PANTRY, "locations": [HALL, YARD], "services": [{"name": "S"}]})
    assert links(found) == {("S", "Hall"), ("S", "Yard")}
    assert found.link_basis == {"all_locations": 2}


def test_a_guess_that_would_be_huge_is_not_made() -> None:
    found = mapped(
        {**PANTRY, "locations": [{"name": f"l{n}"} for n in range(200)], "services": [f"s{n}" for n in range(200)]}
    )
    assert not rows(found, "service_at_location")
