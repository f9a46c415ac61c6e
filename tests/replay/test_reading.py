from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from app.replay import reading
from app.replay.reading import Recording, read_recording

SCHEMA = {"type": "object", "properties": {"email": {"type": "string", "format": "email"}}}
KNOWN = json.dumps(SCHEMA, indent=2)


def recording(schema: Any = SCHEMA, **fields: Any) -> str:
    return json.dumps({"job_id": "a", "job": {"prompt": 'say "format": {}', "format": schema}, **fields}, indent=2)


@pytest.fixture(autouse=True)
def nothing_known() -> Iterator[None]:
    reading._known.clear()
    yield
    reading._known.clear()


def twice(text: str) -> tuple[Recording, Recording]:
    """How a text is read while no schema is known, and once one is."""
    reading._known.clear()
    first = read_recording(text)
    reading._known.clear()
    read_recording(recording())
    assert len(reading._known) == 1
    return first, read_recording(text)


TEXTS = {
    "the same": recording(),
    "another result": recording(result={"text": "é\U0001f600"}),
    "a fraction beside it": recording(processing_time=0.25),
    "an integer of 80 bits beside it": recording(size=2**80),
    "a lone surrogate beside it": recording(result="\ud800"),
    "compact": json.dumps(json.loads(recording()), separators=(",", ":")),
    "another schema": recording({"type": "array"}),
    "no schema": json.dumps({"job_id": "a", "job": {"prompt": "x"}}),
    "a schema of null": recording(None),
    "a list": json.dumps([SCHEMA], indent=2),
    "elsewhere first": f'{{"x": {{"format": {KNOWN}}}, "job": {{"format": {KNOWN}}}}}',
    "elsewhere only": f'{{"x": {{"format": {KNOWN}}}, "job": {{"prompt": "x"}}}}',
    "given twice, known first": f'{{"job": {{"format": {KNOWN}, "format": {{"type": "array"}}}}}}',
    "given twice, known last": f'{{"job": {{"format": {{"type": "array"}}, "format": {KNOWN}}}}}',
    "a name that ends like it": f'{{"job": {{"\\"format": {KNOWN}}}}}',
    "job given twice": f'{{"job": {{"format": {KNOWN}}}, "job": {{"prompt": "y"}}}}',
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_recording_reads_the_same_whether_its_schema_is_known_or_not(text: str) -> None:
    first, second = twice(text)
    assert second == first
    data = json.loads(text)
    if first.schema is not None:
        assert json.loads(first.schema.written) == data["job"].pop("format")
    assert first.data == data
    assert first.exact


@pytest.mark.parametrize(
    "damage", [f'{{"job": {{"format": {KNOWN}}}', f'{{"format": {KNOWN}x}}', f"{KNOWN}{KNOWN}", ""]
)
def test_what_is_no_json_stays_so_when_its_schema_is_known(damage: str) -> None:
    read_recording(recording())
    with pytest.raises(ValueError, match=r"Expecting|Extra data"):
        read_recording(damage)


def test_a_known_schema_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    schema = read_recording(recording()).schema
    monkeypatch.setattr(reading, "_apart", None)
    assert read_recording(recording(result="other", processing_time=0.5)).schema is schema


@pytest.mark.parametrize("digits", ["0.10000000000000000555", "1e400", "NaN"])
def test_numbers_that_lose_digits_are_told_also_in_a_schema_and_beside_a_known_one(digits: str) -> None:
    read_recording(recording())
    assert not read_recording(recording(cost="?").replace('"?"', digits)).exact
    assert not read_recording(recording({"maximum": "?"}).replace('"?"', digits)).exact
    assert len(reading._known) == 1


def test_no_more_schemas_are_kept_than_a_few_of_a_usual_size() -> None:
    read_recording(recording({"description": "x" * 300_000}))
    assert reading._known == {}
    for number in range(100):
        read_recording(recording({"number": number}))
    assert len(reading._known) == 32
