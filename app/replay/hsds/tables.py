"""The HSDS tables in the order in which rows can be inserted, and what a required field holds where nothing is said."""

from __future__ import annotations

TABLES = (
    "organization",
    "program",
    "location",
    "address",
    "service",
    "service_at_location",
    "contact",
    "phone",
    "schedule",
    "language",
    "accessibility",
    "organization_identifier",
    "funding",
    "required_document",
    "service_area",
    "url",
    "cost_option",
    "unit",
    "service_capacity",
    "taxonomy",
    "taxonomy_term",
    "attribute",
    "metadata",
    "meta_table_description",
)
"""All 24 tables of HSDS 3.1.1, parents before children."""

DEFAULTS: dict[str, dict[str, str]] = {
    "organization": {"description": ""},
    "program": {"description": ""},
    "location": {"location_type": "physical"},
    "address": {
        "address_1": "",
        "city": "",
        "state_province": "",
        "postal_code": "",
        "country": "US",
        "address_type": "physical",
    },
    "service": {"status": "active"},
    "organization_identifier": {"identifier_type": ""},
}
"""Required fields that recordings may leave out."""
