from __future__ import annotations

from typing import Any

import pytest

from tests.replay.hsds.making import PANTRY, at, mapped, only, reasons, rows


@pytest.mark.parametrize(
    ("given", "number", "extension"),
    [
        ("(413) 592-9528", "413-592-9528", None),
        ("336.229.7031", "336-229-7031", None),
        ("7409622679", "740-962-2679", None),
        (7409622679, "740-962-2679", None),
        ("1-877-704-3663", "877-704-3663", None),
        ("+1 415 000 0000", "415-000-0000", None),
        ("(518) 587-9826 ext 224", "518-587-9826", 224),
        ("(301) 773-4838 EXT. 13", "301-773-4838", 13),
        ("518-792-6007x19", "518-792-6007", 19),
        ("650-276-4101 x.4", "650-276-4101", 4),
        ("(845) 452-5104, ext 130", "845-452-5104", 130),
        ("Call 413-592-9528 first", "413-592-9528", None),
        ("211", "211", None),
        ("592-9528", "592-9528", None),
        ("33-762-4997", "33-762-4997", None),
        ("800-555-FOOD", "800-555-FOOD", None),
    ],
)
def test_numbers_are_written_in_one_way(given: object, number: str, extension: int | None) -> None:
    row = only(mapped({**PANTRY, "phones": [{"number": given, "type": "voice"}]}), "phone")
    assert (row["number"], row.get("extension"), row["type"]) == (number, extension, "voice")


def test_a_text_with_two_numbers_is_two_phones() -> None:
    found = mapped({**PANTRY, "phone": "413-592-9528 or 413-592-9529 ext 2"})
    assert [row["number"] for row in rows(found, "phone")] == ["413-592-9528", "413-592-9529"]


def test_an_extension_of_its_own_is_heeded() -> None:
    assert (
        only(mapped({**PANTRY, "phones": [{"number": "4135929528", "extension": "x12"}]}), "phone")["extension"] == 12
    )


@pytest.mark.parametrize("given", ["", None, "N/A", {}, [], {"type": "voice", "languages": [{"name": "English"}]}])
def test_no_number_is_no_phone(given: object) -> None:
    found = mapped({**PANTRY, "phones": [given]})
    assert not rows(found, "phone")
    assert not rows(found, "language")


def test_what_is_no_number_is_set_aside() -> None:
    assert reasons(mapped({**PANTRY, "phone": "123"})) == ["phone_not_a_number"]
    assert reasons(mapped({**PANTRY, "phone": "St. Rocco Center"})) == ["phone_not_a_number"]


@pytest.mark.parametrize(
    ("answer", "column"),
    [
        ({"phones": [{"number": "4135929528"}]}, "organization_id"),
        ({"phone_numbers": ["4135929528"]}, "organization_id"),
        ({"locations": [{"name": "Hall", "phones": [{"number": "4135929528"}]}]}, "location_id"),
        (
            {"locations": [{"id": "l1", "name": "Hall"}], "phones": [{"number": "4135929528", "location_id": "l1"}]},
            "location_id",
        ),
        ({"services": [{"name": "S", "phone": "4135929528"}]}, "service_id"),
        (
            {"services": [{"name": "S", "locations": [{"name": "Hall", "phone": "4135929528"}]}]},
            "service_at_location_id",
        ),
        ({"contacts": [{"name": "Ann", "phones": [{"number": "4135929528"}]}]}, "contact_id"),
        ({"contacts": [{"name": "", "phones": [{"number": "4135929528"}]}]}, "organization_id"),
        ({"locations": [{"name": "Hall", "contacts": [{"phones": ["4135929528"]}]}]}, "location_id"),
    ],
)
def test_a_phone_has_one_parent(answer: dict[str, Any], column: str) -> None:
    row = only(mapped({**PANTRY, **answer}), "phone")
    assert [name for name in row if name.endswith("_id")] == [column]


def test_a_contact_needs_something_to_know_it_by() -> None:
    assert not rows(mapped({**PANTRY, "contacts": [{"id": "c1"}, {"name": "N/A"}]}), "contact")
    found = mapped(
        {**PANTRY, "contacts": [{"title": "Manager"}, {"email": "a@b.org"}, {"name": "Ann"}, {"name": "ANN"}]}
    )
    assert len(rows(found, "contact")) == 3
    found = mapped({**PANTRY, "contacts": [{"name": "Ann", "email": "b.org"}]})
    assert reasons(found) == ["not_an_email"]


@pytest.mark.parametrize(
    ("language", "name", "code"),
    [
        ({"name": "English"}, "English", "en"),
        ({"name": "spanish", "code": "es"}, "spanish", "es"),
        ({"name": "en"}, "English", "en"),
        ({"code": "vi"}, "Vietnamese", "vi"),
        ({"name": "Klingon", "code": "375"}, "Klingon", None),
        ("French", "French", "fr"),
    ],
)
def test_languages_have_names_and_codes(language: object, name: str, code: str | None) -> None:
    row = only(at({}, {"name": "Hall", "languages": [language]}), "language")
    assert (row["name"], row.get("code")) == (name, code)


@pytest.mark.parametrize("name", ["375", "Language 384"])
def test_a_number_names_no_language(name: str) -> None:
    """A model made these of a source's category numbers."""
    found = at({}, {"name": "Hall", "languages": [{"name": name}]})
    assert not rows(found, "language")
    assert reasons(found) == ["language_not_named"]


def test_a_phone_s_languages_are_the_phone_s() -> None:
    found = mapped({**PANTRY, "phones": [{"number": "4135929528", "languages": [{"name": "English"}]}]})
    assert "phone_id" in only(found, "language")


def test_what_only_locations_have_goes_to_the_only_one() -> None:
    beside = {"languages": ["English"], "accessibility": "Ramp"}
    found = at(beside, {"name": "Hall"})
    assert "location_id" in only(found, "language")
    assert only(found, "accessibility")["description"] == "Ramp"
    assert not rows(mapped({**PANTRY, "locations": [{"name": "Hall"}, {"name": "Yard"}], **beside}), "accessibility")


def test_accessibility_is_the_location_s() -> None:
    found = at({}, {"name": "Hall", "accessibilitys": [{"description": "Ramp"}, "ramp", {"id": "x"}]})
    assert only(found, "accessibility")["description"] == "ramp"
