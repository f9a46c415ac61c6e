"""A small archive made by hand: a few sources, answered again and again, with rows that several of them share."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

CITIES = ("Napa", "Lima", "Utica")


def recording(
    job_id: str,
    name: str = "St. Mark's Pantry",
    *,
    scraper: str | None = "nyc",
    source: object = 1,
    created_at: str = "2025-08-08 08:27:14.335069",
    answer: dict[str, Any] | None = None,
    **fields: Any,
) -> dict[str, Any]:
    """A recording whose answer is an organisation with a place, a service, a phone and hours."""
    place = {
        "name": f"{name} hall",
        "addresses": [{"address_1": "1 Main St", "city": "Napa", "state_province": "CA", "postal_code": "94558"}],
        "phones": [{"number": "707-555-0100"}],
        "schedules": [{"freq": "WEEKLY", "byday": "TU", "opens_at": "09:00", "closes_at": "12:00"}],
    }
    organization = {"name": name, "locations": [place], "services": [{"name": "Groceries"}], **(answer or {})}
    prompt = "Convert.\n\nInput Data:\n" + json.dumps({"id": source, "name": name})
    metadata = {"scraper_id": scraper} if scraper else {}
    return {
        "job_id": job_id,
        "job": {
            "id": job_id,
            "prompt": prompt,
            "format": {"type": "json_schema", "schema": {"name": "hsds"}},
            "created_at": created_at,
            "metadata": metadata,
        },
        "result": json.dumps(organization),
        "error": None,
        **fields,
    }


def write(folder: Path, one: dict[str, Any] | bytes, name: str | None = None) -> Path:
    """A recording where the recorder would put it, or bytes under a name of their own."""
    if isinstance(one, bytes):
        path = folder / (name or "odd.json")
    else:
        scraper = one["job"]["metadata"].get("scraper_id")
        day = folder / "daily" / str(one["job"]["created_at"])[:10]
        path = day / (f"scrapers/{scraper}" if scraper else "processed") / f"{one['job_id']}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(one if isinstance(one, bytes) else json.dumps(one, indent=2).encode())
    return path


def many(count: int, seed: int = 7) -> list[dict[str, Any]]:
    """Recordings over three days of a third as many sources, which share organisations and change their minds."""
    chance = random.Random(seed)
    made = []
    for number in range(count):
        source = chance.randrange(max(1, count // 3))
        name = f"Pantry {source // 2}"  # two sources speak of one organisation
        answer: dict[str, Any] = {"services": [{"name": chance.choice(("Groceries", "Meals", "Diapers"))}]}
        if chance.random() < 0.7:
            answer["description"] = f"As of answer {number}"
        if chance.random() < 0.5:
            answer["website"] = f"https://p{source}.example/{chance.randrange(3)}"
        if chance.random() < 0.3:
            answer["locations"] = [
                {"name": "Annex", "address": {"address_1": "2 Oak Ave", "city": chance.choice(CITIES)}}
            ]
        made.append(
            recording(
                f"job-{number:04}",
                name,
                source=source,
                created_at=f"2025-08-{8 + number % 3:02} 08:{number % 60:02}:00",
                answer=answer,
            )
        )
    made.append(recording("no-scraper", scraper=None))
    made.append(recording("failed", source="x", result=None, error="rate limit"))
    return made
