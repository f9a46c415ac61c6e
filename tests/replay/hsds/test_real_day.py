"""The mapping of a whole real day: what it comes to, that nothing is lost, and that nothing is invented."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest

from app.replay.hsds.answer import read_answer
from app.replay.hsds.languages import NAMES as LANGUAGE_NAMES
from app.replay.hsds.mapping import map_recording
from app.replay.hsds.rows import Mapped
from tests.replay.hsds.model import fold, winners
from tests.replay.hsds.validity import assert_valid

EXPECTED = {
    "organization": 2650,
    "location": 2735,
    "service": 2427,
    "service_at_location": 2482,
    "address": 2744,
    "phone": 3345,
    "schedule": 2727,
    "language": 3728,
    "program": 1969,
    "organization_identifier": 1901,
    "funding": 300,
    "accessibility": 6,
}
"""What a prototype of the rules came to."""


class Job(NamedTuple):
    """A recording, and what it comes to."""

    recording: dict[str, Any]
    mapped: Mapped


@pytest.fixture(scope="module")
def jobs(real_day: Path) -> dict[str, Job]:
    """All recordings of the day, by the names of their files."""
    found = {}
    for path in sorted(real_day.glob("**/*.json")):
        if path.name != "summary.json":
            recording = orjson.loads(path.read_bytes())
            del recording["job"]["format"]
            found[path.stem] = Job(recording, map_recording(recording))
    return found


@pytest.fixture(scope="module")
def accepted(jobs: dict[str, Job]) -> list[Job]:
    return [job for job in jobs.values() if job.mapped.accepted]


def test_verdicts(jobs: dict[str, Job]) -> None:
    mapped = [job.mapped for job in jobs.values()]
    assert Counter(each.reason for each in mapped) == {
        None: 2696,
        "no_scraper_id": 32,
        "scraper_run_summary": 7,
        "test_scraper": 2,
    }
    assert len(winners(mapped)) == 2694
    assert Counter(each.parse_mode for each in mapped if each.accepted) == {"as_is": 2692, "balanced": 4}


def test_the_day_comes_to_what_it_should(jobs: dict[str, Job]) -> None:
    tables = fold(job.mapped for job in jobs.values())
    counts = {table: len(rows) for table, rows in tables.items()}
    for table, expected in EXPECTED.items():
        assert abs(counts[table] - expected) <= max(expected * 0.01, 1), table
    assert sum("latitude" in row for row in tables["location"].values()) >= 2716
    # Few, and each more than the prototype's 171 and 4 is one that an answer has: `contact` as a text, an area whose
    # name stands under `service_area`.
    assert (counts["contact"], counts["service_area"], counts["url"]) == (173, 5, 2)


def test_every_row_fits_its_table(accepted: list[Job]) -> None:
    for job in accepted:
        assert_valid(job.mapped)


def test_what_was_set_aside(accepted: list[Job]) -> None:
    notes = Counter(note.reason for job in accepted for note in job.mapped.notes)
    assert notes == {
        "coords_not_in_input": 335,
        "byday_from_wkst": 96,
        "language_not_named": 21,
        "coords_of_another_street": 2,
        "phone_not_a_number": 1,
        "not_an_email": 1,
    }


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of an answer, with the names that lead to it."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield from leaves(part, f"{path}.{name}")
    elif isinstance(value, list):
        for part in value:
            yield from leaves(part, path)
    else:
        yield path, value


COMING_BACK = re.compile(r"\.(?:number|phone|opens_at|closes_at|address_1|postal_code|website|email|name|description)$")
NOT_LOADED = re.compile(r"metadata|attribute|phones\.languages|\.languages\.(?:name|note)$")
"""Who changed what when, what HSDS has attributes for, and the languages of phones, which go where the phone goes."""

LOST = [
    ("address_1", "Not Specified"),
    ("description", "Food pantry contact"),
    ("description", "Food pantry location"),
    ("description", "Location for choice pantry food distribution"),
    ("description", "Primary location for OH-GO food assistance"),
    ("email", "southpaloaltofoodcloset.com"),
    ("number", "123"),
]
"""A placeholder; a contact's description, which HSDS has no field for; three of places whose
later mention has another; and two that were set aside."""


def test_every_number_time_street_and_name_in_an_answer_comes_back(accepted: list[Job]) -> None:
    lost = []
    for job in accepted:
        kept = " ".join(str(value) for row in job.mapped.rows for value in row.fields.values())
        digits = re.sub(r"[^\d ]", "", kept)
        for path, value in leaves(read_answer(job.recording["result"])[0]):
            if value and COMING_BACK.search(path) and not NOT_LOADED.search(path):
                said = str(value).strip()
                number = re.sub(r"\D", "", said).removeprefix("1")[:10]
                if said not in kept and not (path.endswith(("number", "phone")) and number and number in digits):
                    lost.append((path.rpartition(".")[2], said))
    assert sorted(lost) == LOST


def test_nothing_is_invented(accepted: list[Job]) -> None:
    """Every text of a row stands in the answer or, for what quotes the source, in the input."""
    said_elsewhere = {"country", "byday", "freq", "count", "interval", "notes", "code", "status", "extension", "number"}
    for job in accepted:
        answer = " ".join(str(value).strip() for _, value in leaves(read_answer(job.recording["result"])[0]))
        digits = re.sub(r"[^\d ]", "", answer.replace("-", "").replace(".", "").replace(") ", ")"))
        record = job.recording["job"]["prompt"].rpartition("Input Data:\n")[2]
        for row in job.mapped.rows:
            for name, value in row.fields.items():
                if name in ("latitude", "longitude"):
                    assert_said(float(value), record)
                elif name == "number":
                    assert str(value).replace("-", "") in digits.replace(" ", "")
                elif isinstance(value, str) and not name.endswith("_id") and name not in said_elsewhere:
                    said = (
                        value.removeprefix("https://")[:5] if name.endswith("_at") else value.removeprefix("https://")
                    )
                    assert said in answer or value in LANGUAGE_NAMES.values(), (name, value)


def assert_said(degrees: float, record: str) -> None:
    """A coordinate stands in the record, in degrees or in metres."""
    numbers = [float(found) for found in re.findall(r"-?\d+\.\d+", record)]
    assert any(abs(number - degrees) < 0.0006 for number in numbers) or any(abs(number) > 1e6 for number in numbers)


def test_monday_comes_only_of_answers_that_name_it(accepted: list[Job]) -> None:
    for job in accepted:
        if '"monday"' not in job.recording["result"].lower():
            assert not any(
                "MO" in str(row.fields.get("byday", "")) for row in job.mapped.rows if row.table == "schedule"
            )


def test_the_order_of_recordings_makes_no_difference(accepted: list[Job]) -> None:
    mapped = [job.mapped for job in accepted]
    whole = fold(mapped)
    shuffled = random.Random(7).sample(mapped, len(mapped))
    assert fold(shuffled) == whole
    assert fold(mapped + mapped) == whole


def rows_of(job: Job, table: str) -> list[dict[str, Any]]:
    return [dict(row.fields) for row in job.mapped.rows if row.table == table]


def test_a_location_as_the_whole_answer(jobs: dict[str, Job]) -> None:
    job = jobs["1754641641.145464"]
    (location,) = rows_of(job, "location")
    assert location["name"] == rows_of(job, "organization")[0]["name"] == "CHILD MEAL SITE: Moreno Court"
    assert rows_of(job, "address")[0]["address_1"] == "900 S Corryfield rd"
    assert (rows_of(job, "phone")[0]["number"], rows_of(job, "phone")[0]["extension"]) == ("850-438-8561", 1131)


def test_an_answer_wrapped_in_schema(jobs: dict[str, Job]) -> None:
    job = jobs["1754641552.160262"]
    assert job.mapped.shape == "wrapped:schema:bare"
    assert rows_of(job, "organization")[0]["name"] == "York United Methodist Church"
    assert rows_of(job, "schedule")


def test_an_answer_wrapped_in_hsds_organization(jobs: dict[str, Job]) -> None:
    job = jobs["1754641553.19552"]
    assert job.mapped.shape == "wrapped:hsds_organization:bare"
    assert rows_of(job, "phone")[0]["number"] == "330-745-2836"
    assert rows_of(job, "address")[0]["city"] == "Barberton"


def test_organizations_as_a_list(jobs: dict[str, Job]) -> None:
    job = jobs["1754641553.891618"]
    assert job.mapped.shape == "organizations"
    assert rows_of(job, "address")[0]["address_1"] == "219 North fourth Street"
    assert len(rows_of(job, "service_at_location")) == 1


def test_a_service_around_its_organization(jobs: dict[str, Job]) -> None:
    job = jobs["1754641638.103669"]
    assert job.mapped.shape == "organization"
    assert rows_of(job, "organization")[0]["name"] == "Project New Hope"
    assert rows_of(job, "service")[0]["name"] == "Project New Hope Sully's Pantry"
    assert rows_of(job, "phone")[0]["number"] == "413-485-7988"


def test_brackets_that_need_balancing(jobs: dict[str, Job]) -> None:
    for name in ("1754641640.237718", "1754641640.50156", "1754641637.141595", "1754641638.622799"):
        assert jobs[name].mapped.parse_mode == "balanced"
        assert rows_of(jobs[name], "location")
        assert rows_of(jobs[name], "address")
        assert rows_of(jobs[name], "service")


def test_locations_under_services(jobs: dict[str, Job]) -> None:
    job = jobs["1754641553.205244"]
    assert "service_at_location_id" in rows_of(job, "schedule")[0]
    assert rows_of(job, "location")[0]["name"] == "Cornerstone Christian Assembly Food Pantry"


def test_service_at_locations(jobs: dict[str, Job]) -> None:
    job = jobs["1754641552.947366"]
    assert rows_of(job, "address")[0]["address_1"] == "3662 KARL RD"
    assert rows_of(job, "schedule")[0]["opens_at"] == "09:00:00"


def test_an_address_in_one_line(jobs: dict[str, Job]) -> None:
    (address,) = rows_of(jobs["1754641553.753291"], "address")[-1:]
    assert (address["address_1"], address["city"], address["postal_code"]) == ("219 W Main St", "Ravenna", "44266")


def test_a_phone_s_number_where_its_hours_should_be(jobs: dict[str, Job]) -> None:
    """The record has its columns shifted by one, and the model put them right."""
    job = jobs["1754641634.029214"]
    assert job.mapped.input["hours"] == "(610) 268-3365"
    assert rows_of(job, "address")[0]["address_1"] == "9016 Gap Newport Pike"
    assert {row["number"] for row in rows_of(job, "phone")} == {"610-268-3365"}


def test_an_invented_coordinate_gives_way(jobs: dict[str, Job]) -> None:
    job = jobs["1754641634.335061"]
    (location,) = rows_of(job, "location")
    assert (str(location["latitude"]), str(location["longitude"])) == ("38.7783220", "-76.8886000")
    assert [(note.reason, note.raw) for note in job.mapped.notes] == [
        ("coords_not_in_input", '["38.8674", "-76.8558"]')
    ]


def test_four_pantries_with_one_coordinate_are_four(jobs: dict[str, Job]) -> None:
    """The source gives its office's for each of its four sites."""
    job = jobs["1754641552.728441"]
    assert len(rows_of(job, "location")) == len(rows_of(job, "address")) == 4


def test_hours_of_a_weekly_schedule_without_a_day(jobs: dict[str, Job]) -> None:
    (schedule,) = rows_of(jobs["1754641634.335061"], "schedule")
    assert "byday" not in schedule
    assert str(schedule["notes"]).startswith("source hours text: Saturday: 9:00:00-12:00:00")
