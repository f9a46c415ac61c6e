"""What PostgreSQL takes: whether each row fits the types, enums and references of the HSDS tables."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from app.replay.hsds.rows import Mapped, Value
from app.replay.hsds.sheet import LONG_FIELDS, LONG_LIMIT, SHORT_LIMIT
from app.replay.hsds.tables import TABLES

COLUMNS: dict[str, str] = {
    "organization": (
        "name alternate_name description email website tax_status tax_id year_incorporated legal_status logo "
        "uri parent_organization_id"
    ),
    "program": "organization_id name alternate_name description",
    "service": (
        "organization_id program_id name alternate_name description url email status interpretation_services "
        "application_process fees_description wait_time fees accreditations eligibility_description "
        "minimum_age maximum_age assured_date assurer_email licenses alert last_modified"
    ),
    "location": (
        "location_type url organization_id name alternate_name description transportation latitude longitude "
        "external_identifier external_identifier_type"
    ),
    "service_at_location": "service_id location_id description",
    "address": (
        "location_id attention address_1 address_2 city region state_province postal_code country address_type"
    ),
    "phone": (
        "location_id service_id organization_id contact_id service_at_location_id number extension type description"
    ),
    "schedule": (
        "service_id location_id service_at_location_id valid_from valid_to dtstart until timezone count "
        "interval wkst freq byday byweekno bymonthday byyearday description opens_at closes_at schedule_link "
        "attending_type notes"
    ),
    "language": "service_id location_id phone_id name code note",
    "contact": "organization_id service_id service_at_location_id location_id name title department email",
    "accessibility": "location_id description details url",
    "organization_identifier": "organization_id identifier_scheme identifier_type identifier",
    "funding": "organization_id service_id source",
    "required_document": "service_id document uri",
    "service_area": "service_id service_at_location_id name description extent extent_type uri",
    "url": "label url organization_id service_id",
}
REQUIRED = {
    "organization": "name",
    "program": "organization_id name",
    "service": "organization_id name",
    "address": "location_id",
    "service_at_location": "service_id location_id",
    "phone": "number",
    "organization_identifier": "organization_id identifier",
    "url": "url",
}
ENUMS = {
    ("service", "status"): {"active", "inactive", "defunct", "temporarily closed"},
    ("location", "location_type"): {"physical", "postal", "virtual"},
    ("address", "address_type"): {"physical", "postal", "virtual"},
    ("schedule", "freq"): {"WEEKLY", "MONTHLY"},
    ("schedule", "wkst"): {"MO", "TU", "WE", "TH", "FR", "SA", "SU"},
}
NUMBERS = {
    *("year_incorporated", "minimum_age", "maximum_age", "latitude", "longitude"),
    *("extension", "count", "interval", "timezone"),
}
DATES = {"valid_from", "valid_to", "dtstart", "until", "assured_date"}
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def assert_valid(found: Mapped) -> None:
    """Every row fits its table, and every reference its row."""
    seen: set[tuple[str, UUID]] = set()
    ids: dict[str, set[str]] = {}
    for row in found.rows:
        assert (row.table, row.id) not in seen
        seen.add((row.table, row.id))
        ids.setdefault(row.table, set()).add(str(row.id))
        assert row.fields.keys() <= set(COLUMNS[row.table].split()), row
        assert row.fields.keys() >= set(REQUIRED.get(row.table, "").split()), row
        for name, value in row.fields.items():
            assert_field(row.table, name, value)
    order = [TABLES.index(row.table) for row in found.rows]
    assert order == sorted(order)
    for row in found.rows:
        for name, value in row.fields.items():
            if name.endswith("_id") and name != "tax_id":
                table = "organization" if name == "parent_organization_id" else name.removesuffix("_id")
                assert value in ids[table], row
    for note in found.notes:
        assert not UNSTORABLE.search(note.raw)
        assert not UNSTORABLE.search("".join(texts(json.loads(note.raw, parse_constant=int))))
    for text in (found.job_id, found.scraper_id, found.content_hash, found.source_key, found.shape):
        assert text is None or not UNSTORABLE.search(text)


def texts(value: Any) -> Iterator[str]:
    """All texts in JSON data."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in [*value, *value.values()] if isinstance(value, dict) else value:
            yield from texts(part)


def assert_field(table: str, name: str, value: Value) -> None:
    """A value fits its column."""
    assert value is not None
    assert value != ""
    if name.endswith("_id") and name != "tax_id":
        UUID(str(value))
    elif name in NUMBERS:
        assert isinstance(value, int | Decimal), name
        number = Decimal(value)
        assert number.is_finite()
        assert len(str(number)) < 40
        assert abs(number) <= {"latitude": 90, "longitude": 180}.get(name, 10**9)
    else:
        assert isinstance(value, str)
        assert not UNSTORABLE.search(value)
        assert len(value) <= (LONG_LIMIT if name in LONG_FIELDS else SHORT_LIMIT)
        if (table, name) in ENUMS:
            assert value in ENUMS[table, name]
        elif name in DATES:
            assert date.fromisoformat(value).isoformat() == value
        elif name in ("opens_at", "closes_at"):
            assert time.fromisoformat(value).isoformat() == value
        elif name == "last_modified":
            assert datetime.fromisoformat(value).utcoffset() == timedelta(0)
