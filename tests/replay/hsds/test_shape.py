from __future__ import annotations

from typing import Any

import pytest

from tests.replay.hsds.making import PANTRY, mapped, only, rows

SITE = {"id": "l1", "name": "Hall", "address": {"address_1": "1 Main St", "city": "Troy", "state": "NY"}}
WHOLE = {**PANTRY, "services": [{"id": "s1", "name": "Groceries"}], "locations": [SITE]}
BESIDE = {"services": WHOLE["services"], "locations": [SITE]}


@pytest.mark.parametrize(
    ("answer", "shape"),
    [
        (WHOLE, "bare"),
        ([WHOLE], "list"),
        ({"organization": PANTRY, **BESIDE}, "organization"),
        ({"organization": [PANTRY], **BESIDE}, "organization"),
        ({"organizations": [WHOLE]}, "organizations"),
        ({"organizations": [PANTRY], **BESIDE}, "organizations"),
        ([{"organization": PANTRY, **BESIDE}], "list"),
        ({"type": "json_schema", "schema": WHOLE}, "wrapped:schema:bare"),
        ({"data": {"organization": PANTRY, **BESIDE}}, "wrapped:data:organization"),
        ({"payload": {"data": [WHOLE]}}, "wrapped:payload:data:list"),
        ({"type": "object", "hsds_organization": WHOLE}, "wrapped:hsds_organization:bare"),
        ({**WHOLE, "organizations": []}, "bare"),
    ],
)
def test_the_same_rows_come_of_every_shape(answer: Any, shape: str) -> None:
    found = mapped(answer)
    assert found.shape == shape
    assert found.rows == mapped(WHOLE).rows


def test_a_named_object_around_an_organization_is_a_service_of_it() -> None:
    found = mapped({"id": "svc_1", "name": "Sully's Pantry", "organization": {"name": "New Hope"}, "locations": [SITE]})
    assert only(found, "organization")["name"] == "New Hope"
    assert only(found, "service")["name"] == "Sully's Pantry"
    assert rows(found, "service_at_location")


def test_parts_beside_several_organizations_go_to_the_one_they_name() -> None:
    one, two = {"id": "o1", "name": "One"}, {"id": "o2", "name": "Two", "parent_organization_id": "o1"}
    found = mapped(
        {"organizations": [one, two], "services": [{"name": "S2", "organization_id": "o2"}, {"name": "S1"}]},
    )
    ids = {row.fields["name"]: str(row.id) for row in found.rows if row.table == "organization"}
    assert {row["name"]: row["organization_id"] for row in rows(found, "service")} == {
        "S1": ids["One"],
        "S2": ids["Two"],
    }
    assert rows(found, "organization")[1]["parent_organization_id"] == ids["One"]


def test_an_organization_has_its_fields() -> None:
    found = mapped(
        {
            "name": "A",
            "alternate_names": [{"name": "B"}],
            "url": "a.org",
            "email": "x@a.org",
            "year_incorporated": "1998",
            "legal_status": "Nonprofit",
            "parent_organization_id": "elsewhere",
            "description": "",
        }
    )
    assert only(found, "organization") == {
        "name": "A",
        "alternate_name": "B",
        "website": "https://a.org",
        "email": "x@a.org",
        "year_incorporated": 1998,
        "legal_status": "Nonprofit",
    }


def test_identifiers_and_funding_are_each_once() -> None:
    found = mapped(
        {
            **PANTRY,
            "organization_identifiers": [
                {"identifier_type": "EIN", "identifier": "7"},
                {"identifier": "7", "identifier_type": "ein"},
                {"identifier": ""},
            ],
            "fundings": [{"source": "Food Bank"}, {"source": "FOOD BANK"}, {"source": ""}],
        }
    )
    assert only(found, "organization_identifier")["identifier"] == "7"
    assert only(found, "funding")["source"] == "FOOD BANK"


def test_what_says_a_thing_later_says_it_instead() -> None:
    found = mapped({**PANTRY, "programs": [{"name": "P", "description": "one"}, {"name": "p", "description": ""}]})
    assert only(found, "program")["description"] == "one"


def test_a_long_text_is_cut_and_kept_aside() -> None:
    found = mapped({"name": "A" * 5000, "description": "d" * 30_000})
    assert len(str(only(found, "organization")["name"])) == 600
    assert len(str(only(found, "organization")["description"])) == 20_000
    assert [(note.entity, note.reason) for note in found.notes] == [
        ("organization.name", "text_cut"),
        ("organization.description", "text_cut"),
    ]


def test_a_row_has_only_fields_that_say_something() -> None:
    found = mapped(
        {"name": "A", "description": "", "organization_identifiers": [{"identifier": "7", "identifier_type": ""}]}
    )
    assert only(found, "organization") == {"name": "A"}
    assert only(found, "organization_identifier").keys() == {"organization_id", "identifier"}
