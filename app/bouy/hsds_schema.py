"""The answer format that generated jobs ask a model for: a JSON schema in the manner of HSDS, about 40 KB indented."""

from __future__ import annotations

from typing import Any

_LANGUAGE = {
    "name": "Name of a language in which people are served, in English.",
    "code": "The ISO 639 code of that language, two letters where there is one.",
    "note": "Anything a caller should know, such as the days on which an interpreter is there.",
}
_PHONE = {
    "number": "The number as it is dialled from within the country.",
    "extension": "The extension, digits only, when the number leads to a switchboard.",
    "type": "What answers there: voice, fax, cell, sms or textphone.",
    "description": "When to call, or whom to ask for.",
}
_SCHEDULE = {
    "freq": "Whether the opening hours return every week or every month.",
    "interval": "Every how many weeks or months they return; one if left out.",
    "byday": "The weekdays, as two-letter codes with commas between them.",
    "bymonthday": "The days of the month, when the hours follow the date.",
    "opens_at": "When the doors open, local time.",
    "closes_at": "When the doors close, local time.",
    "valid_from": "First date on which these hours hold.",
    "valid_to": "Last date on which these hours hold.",
    "description": "The hours in the words of the source.",
}
_ADDRESS = {
    "attention": "The person or office to whom mail is addressed.",
    "address_1": "House number and street, or the post office box.",
    "address_2": "Floor, suite or building, when there is one.",
    "city": "The town or city.",
    "region": "The county or another area larger than the city.",
    "state_province": "The state, in two letters.",
    "postal_code": "The ZIP code, with five or nine digits.",
    "country": "The country, in two letters.",
    "address_type": "Whether visitors go there, mail goes there, or it exists online only.",
}
_ACCESSIBILITY = {
    "description": "What helps people who can't use stairs, hear or see well.",
    "details": "How to arrange for that help beforehand.",
    "url": "A page that says more about it.",
}
_CONTACT = {
    "name": "The person to ask for.",
    "title": "What that person's role is called.",
    "department": "The office that the person belongs to.",
    "email": "The person's address for electronic mail.",
}
_COST = {
    "option": "What a person may pay, if anything, and for what.",
    "valid_from": "First date on which this holds.",
    "valid_to": "Last date on which this holds.",
    "amount": "The sum, in the currency of the country.",
}
_DOCUMENT = {
    "document": "A paper that has to be shown, such as a proof of address.",
    "uri": "Where a form can be downloaded.",
}
_AREA = {
    "name": "An area whose residents are served.",
    "description": "The limits of that area in plain words.",
    "extent": "The area as a list of ZIP codes or counties.",
}
_LOCATION = {
    "id": "An identifier that is unique within the answer.",
    "name": "What people call the place.",
    "alternate_name": "Another name that is used for it.",
    "description": "How to recognise the place and its entrance.",
    "location_type": "Whether it is physical, postal or virtual.",
    "transportation": "Bus lines, stations and parking near by.",
    "latitude": "Degrees north of the equator, as a decimal number.",
    "longitude": "Degrees east of Greenwich, as a decimal number.",
    "external_identifier": "The number of the place in somebody else's register.",
}
_SERVICE = {
    "id": "An identifier that is unique within the answer.",
    "name": "What the service is called.",
    "alternate_name": "Another name that is used for it.",
    "description": "What a person gets, and how it works.",
    "status": "Whether it is active, paused, planned or closed.",
    "application_process": "What one has to do before the first visit.",
    "eligibility_description": "Who may come, in plain words.",
    "minimum_age": "The youngest age that is served.",
    "maximum_age": "The oldest age that is served.",
    "fees_description": "What is charged, if anything.",
    "wait_time": "How long people usually wait.",
    "email": "An address for questions about this service.",
    "url": "A page about this service.",
    "alert": "A passing notice, such as a closure.",
    "last_modified": "When the source last changed its entry.",
}
_PROGRAM = {
    "name": "The name of a program that groups several services.",
    "alternate_name": "Another name that is used for it.",
    "description": "What the program is for, and who pays for it.",
}
_IDENTIFIER = {
    "identifier_type": "Which register the identifier is from.",
    "identifier": "The identifier itself.",
}
_FUNDING = {"source": "Who gives the money, such as a state, a church or a foundation."}
_URL = {"label": "What the page is about.", "url": "The address of the page."}
_ORGANIZATION = {
    "id": "An identifier that is unique within the answer.",
    "name": "The full name by which the organization is known.",
    "alternate_name": "A short name, or one that was used before.",
    "description": "What it does and for whom, in two or three sentences.",
    "email": "The address that it gives for general questions.",
    "website": "Its home page.",
    "year_incorporated": "The year in which it was founded by law.",
    "legal_status": "Its legal form, such as a charity or a congregation.",
    "logo": "Where its picture mark can be loaded from.",
    "parent_organization_id": "The organization that it is a part of.",
}


def _object(fields: dict[str, str], **lists: dict[str, Any]) -> dict[str, Any]:
    """The schema of one object: text fields with a description each, and lists of other objects."""
    properties: dict[str, Any] = {name: {"type": "string", "description": text} for name, text in fields.items()}
    for name, items in lists.items():
        properties[name] = {"type": "array", "items": items}
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _organization() -> dict[str, Any]:
    language = _object(_LANGUAGE)
    phone = _object(_PHONE, languages=language)
    schedule = _object(_SCHEDULE)
    contact = _object(_CONTACT, phones=phone)
    location = _object(
        _LOCATION,
        addresses=_object(_ADDRESS),
        phones=phone,
        schedules=schedule,
        accessibility=_object(_ACCESSIBILITY),
    )
    service = _object(
        _SERVICE,
        phones=phone,
        contacts=contact,
        schedules=schedule,
        cost_options=_object(_COST),
        required_documents=_object(_DOCUMENT),
        service_areas=_object(_AREA),
        locations=location,
    )
    return _object(
        _ORGANIZATION,
        phones=phone,
        contacts=contact,
        locations=location,
        services=service,
        programs=_object(_PROGRAM),
        organization_identifiers=_object(_IDENTIFIER),
        funding=_object(_FUNDING),
        additional_websites=_object(_URL),
    )


FORMAT: dict[str, Any] = {
    "type": "json_schema",
    "schema": {
        "name": "food_organization",
        "description": "One organization that gives out food, with its services and places",
        "schema": _organization(),
    },
    "strict": True,
}
"""What every generated job has as `job.format`; shared, so not to be changed."""
