"""Results as a pipeline would send them: for the demonstration, for tests and for benchmarks.

They have the shape and size of real ones: about 50 KB each as indented JSON, of which four fifths are the JSON schema
that all of them repeat. The same seed, count and time give the same results. The places in them are invented.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from app.bouy.hsds_schema import FORMAT

SCRAPER_SHARES = {
    "harbor_county_pantries": 31,
    "lakeside_food_bank": 23,
    "three_rivers_harvest": 15,
    "prairie_meals_network": 11,
    "mesa_community_tables": 8,
    "northwood_relief": 6,
    "old_mill_kitchens": 4,
    "saltmarsh_mutual_aid": 2,
}
"""The scrapers and how often each occurs, relative to the others."""

SHARE_WITHOUT_SCRAPER = 0.04
SHARE_FAILED = 0.03
LEAST_WITH_UNRECORDABLE = 20
"""From this count on, exactly one result has no job_id and so can't be recorded."""

_SPAN = timedelta(hours=6)
_MODEL = "example-llm-large"
_PROVIDER_CONFIG = {"temperature": 0.4, "max_tokens": 8192, "timeout_seconds": 60, "retries": 2}
_KINDS = ("Food Pantry", "Community Kitchen", "Mobile Market", "Soup Table", "Grocery Share", "Meal Center")
_NAMES = (
    "Cedar Street",
    "Good Neighbor",
    "Riverbend",
    "St. Alder",
    "Hilltop",
    "Bright Morning",
    "Union Square",
    "Elm Grove",
)
_STREETS = ("Maple Ave", "Foundry Rd", "2nd St", "Orchard Ln", "Station Sq", "Mill Pond Way", "County Road 9")
_TOWNS = (
    ("Fairhaven", "OH", "450"),
    ("Millbrook", "PA", "160"),
    ("Stonegate", "KY", "410"),
    ("Lindenville", "IN", "462"),
)
_PEOPLE = ("Ada", "Ben", "Carla", "Dev", "Esther", "Farid", "Grace", "Hugo", "Inez", "Jonas")
_ELIGIBILITY = (
    "Open to everybody; one visit a week for each household.",
    "Residents of the county. Seniors and families with small children are served first.",
    "Households below twice the poverty line, by their own word.",
)
_DOCUMENTS = ("A letter that shows the address", "A photo ID", "A school letter for each child")
_DAYS = ("MO", "TU", "WE", "TH", "FR", "SA")
_ERRORS = (
    "the model did not answer within 60 seconds",
    "the answer was cut off at the token limit",
    "rate limit reached; retries are used up",
)
_NOTES = (
    "Please bring a bag and some proof of your address. Nobody is turned away on a first visit.",
    "Enter by the side door next to the loading dock. Parking is free while the pantry is open.",
    "Households may come once a week; deliveries for people who can't leave home are made on request.",
    "Fresh fruit and vegetables arrive in the morning and tend to be gone by noon.",
)
_PROMPT = """\
Turn the source record below into one organization, following the given JSON schema.

WHAT TO KEEP
- Keep every fact that the record states: names, addresses, telephone numbers, opening hours, languages, conditions.
- Write a fact once, at the object it belongs to: hours at the service, doors and parking at the location.
- Where the record gives a text and a structured value, the structured value wins and the text goes to the description.

WHAT NOT TO ADD
- Leave a field out rather than guess it. An invented coordinate is worse than none.
- Do not translate names of places or people, and do not correct their spelling.
- Do not turn "call first" into opening hours, and do not turn a closed holiday into a schedule.

HOW TO WRITE IT
- States are two letters, countries are two-letter codes, ZIP codes have five or nine digits.
- Telephone numbers are written as they are dialled, with the extension in its own field.
- Times are HH:MM on a 24-hour clock; dates are YYYY-MM-DD; weekdays are MO TU WE TH FR SA SU.
- Latitude and longitude are decimal degrees, in this order, and have to lie in the state of the address.
- Identifiers such as org_1 or loc_2 only connect the objects of one answer; count each kind from one.

BEFORE YOU ANSWER
- Check that each service names a location, and that each location has an address or coordinates.
- Check that every required field is there, and that the answer is one JSON object without any text around it.
- If the record describes no organization at all, answer with an object that has only a name and a description.

WHERE THINGS GO
- One organization is answered at a time. A church that runs a pantry is the organization; the pantry is its service.
- A place where food is given out is a location, even if it is open for an hour a month. A truck that stops at several
  corners is one service with as many locations, each with its own schedule.
- A post office box is an address of the organization, never a location that people are sent to.
- A number that rings at the front desk belongs to the location, one that a person answers belongs to the contact,
  and a hotline belongs to the organization.
- Conditions of age, income or residence go to the service that has them, in the words of the record, not to the name.
- Papers that have to be shown go to the required documents, one entry each. "No documents needed" is no entry.
- Notes that hold for a while only, such as a closure for repairs, are an alert, and they never change a schedule.

IF THE RECORD IS UNCLEAR
- Two addresses that differ only in their spelling are one. Two suites in one building are two.
- Hours without a weekday are kept as a description. Weekdays without hours are kept as a schedule without times.
- A range such as "first and third Monday" is monthly, with the weekday and its number (1MO,3MO).
- Coordinates that lie outside of the state are left out, and so are coordinates of a town instead of a door.
- A web address without a scheme gets https, a mail address without an @ is left out.

Example of hours: "Tuesdays and Fridays 9 to noon" becomes freq WEEKLY, byday TU,FR, opens_at 09:00, closes_at 12:00.
Example of a phone: "(555) 010-0199 ext. 4" becomes number 555-010-0199 and extension 4.

Input Data:
"""


def generate_results(count: int, seed: int, now: datetime) -> Iterator[dict[str, Any]]:
    """Yield `count` results, in the order of their creation, all of the UTC day of `now` and none after it.

    About 4 % have no scraper_id, 3 % are failed jobs (an error, no result), and from 20 on exactly one has no job_id.
    They share parts (`job.format`): copy a result before changing it.
    """
    rng = random.Random(seed)  # noqa: S311  nothing here is secret
    now = now.astimezone(UTC)
    start = max(now.replace(hour=0, minute=0, second=0, microsecond=0), now - _SPAN)
    unrecordable = rng.randrange(count) if count >= LEAST_WITH_UNRECORDABLE else None
    scrapers, shares = list(SCRAPER_SHARES), list(SCRAPER_SHARES.values())
    for number in range(count):
        created_at = start + (now - start) * ((number + rng.random()) / count)
        scraper_id = None if rng.random() < SHARE_WITHOUT_SCRAPER else rng.choices(scrapers, shares)[0]
        result = _result(rng, scraper_id, created_at, now)
        if number == unrecordable:
            del result["job_id"], result["job"]["id"]
        yield result


def _result(rng: random.Random, scraper_id: str | None, created_at: datetime, now: datetime) -> dict[str, Any]:
    job_id = str(UUID(int=rng.getrandbits(128), version=4))
    place = _place(rng)
    source = json.dumps({"source": scraper_id or "unnamed", **place})
    failed = rng.random() < SHARE_FAILED
    completed_at = min(created_at + timedelta(seconds=rng.uniform(4, 60)), now)
    metadata = {
        "scraper_id": scraper_id,
        "content_hash": hashlib.sha256(source.encode()).hexdigest(),
        "source": scraper_id,
    }
    prompt = _PROMPT + source
    return {
        "job_id": job_id,
        "job": {
            "id": job_id,
            "prompt": prompt,
            "format": FORMAT,
            "provider_config": _PROVIDER_CONFIG,
            "metadata": metadata if scraper_id else {},
            "created_at": _timestamp(created_at),
        },
        "status": "failed" if failed else "completed",
        "result": None if failed else _answer(rng, place, len(prompt)),
        "error": rng.choice(_ERRORS) if failed else None,
        "retry_count": rng.randint(1, 3) if failed else 0,
        "completed_at": _timestamp(completed_at),
        "processing_time": (completed_at - created_at).total_seconds(),
    }


def _place(rng: random.Random) -> dict[str, Any]:
    town, state, zip_prefix = rng.choice(_TOWNS)
    opens = rng.randint(8, 13)
    name = f"{rng.choice(_NAMES)} {rng.choice(_KINDS)}"
    return {
        "id": rng.randint(1000, 99999),
        "name": name,
        "address": f"{rng.randint(1, 9999)} {rng.choice(_STREETS)}",
        "city": town,
        "state": state,
        "zip": f"{zip_prefix}{rng.randint(0, 99):02d}",
        "phone": f"({rng.randint(201, 989)}) 555-01{rng.randint(0, 99):02d}",
        "latitude": round(rng.uniform(38.0, 41.0), 6),
        "longitude": round(rng.uniform(-86.0, -78.0), 6),
        "days": sorted(rng.sample(_DAYS, rng.randint(1, 3))),
        "opens": f"{opens:02d}:00",
        "closes": f"{opens + rng.randint(1, 5):02d}:30",
        "contact": f"{rng.choice(_PEOPLE)} {rng.choice(_PEOPLE)[0]}.",
        "email": f"{name.split()[0].lower()}@pantry.example",
        "eligibility": rng.choice(_ELIGIBILITY),
        "documents": rng.sample(_DOCUMENTS, rng.randint(0, 2)),
        "notes": " ".join(rng.sample(_NOTES, rng.randint(1, len(_NOTES)))),
    }


def _answer(rng: random.Random, place: dict[str, Any], prompt_length: int) -> dict[str, Any]:
    text = json.dumps(_organization(place), indent=2)
    tokens = {"prompt_tokens": prompt_length // 4, "completion_tokens": len(text) // 3}
    doubtful = rng.random() < 0.05
    return {
        "text": text,
        "model": _MODEL,
        "usage": {**tokens, "total_tokens": sum(tokens.values())},
        "validation_details": {
            "hallucination_detected": doubtful,
            "mismatched_fields": ["locations.0.latitude"] if doubtful else [],
            "suggested_corrections": {"locations.0.latitude": place["latitude"]} if doubtful else {},
        },
    }


def _organization(place: dict[str, Any]) -> dict[str, Any]:
    address = {
        "id": "addr_1",
        "location_id": "loc_1",
        "address_1": place["address"],
        "city": place["city"],
        "state_province": place["state"],
        "postal_code": place["zip"],
        "country": "US",
        "address_type": "physical",
    }
    location = {
        "id": "loc_1",
        "location_type": "physical",
        "name": place["name"],
        "latitude": place["latitude"],
        "longitude": place["longitude"],
        "addresses": [address],
        "languages": [{"name": "English", "code": "en"}],
    }
    return {
        "id": "org_1",
        "name": place["name"],
        "description": f"{place['name']} gives out food in {place['city']}, {place['state']}.",
        "phones": [{"number": place["phone"], "type": "voice", "languages": [{"name": "English"}]}],
        "locations": [location],
        "services": [_service(place)],
    }


def _service(place: dict[str, Any]) -> dict[str, Any]:
    schedule = {
        "freq": "WEEKLY",
        "byday": ",".join(place["days"]),
        "opens_at": place["opens"],
        "closes_at": place["closes"],
        "description": place["notes"],
    }
    contact = {
        "name": place["contact"],
        "title": "Coordinator",
        "email": place["email"],
        "phones": [{"number": place["phone"], "type": "voice"}],
    }
    return {
        "id": "svc_1",
        "name": f"Food at {place['name']}",
        "description": place["notes"],
        "status": "active",
        "location_ids": ["loc_1"],
        "eligibility_description": place["eligibility"],
        "required_documents": [{"document": document} for document in place["documents"]],
        "schedules": [schedule],
        "contacts": [contact],
    }


def _timestamp(moment: datetime) -> str:
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
