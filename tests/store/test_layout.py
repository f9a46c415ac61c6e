from __future__ import annotations

import hashlib
import os
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from app.store.layout import NAME_LIMIT_BYTES, UNKNOWN_SCRAPER, Layout, Place, is_date, safe_name

ANY_TEXT = st.text(st.characters(), max_size=120)
AWKWARD_TEXT = st.text(st.sampled_from("./\\~%2Ea\0\n \ud800\U0001f600é"), max_size=260)
TEXTS = st.one_of(ANY_TEXT, AWKWARD_TEXT).filter(bool)
DIGEST = hashlib.sha256(b"content").hexdigest()

HOSTILE_NAMES = {
    "../../x": "%2E.%2F..%2Fx",
    "/etc/passwd": "%2Fetc%2Fpasswd",
    "a/b": "a%2Fb",
    "a\\b": "a%5Cb",
    "a\0b": "a%00b",
    "a\nb": "a%0Ab",
    ".hidden": "%2Ehidden",
    ".": "%2E",
    "..": "%2E.",
    "...": "%2E..",
    "~root": "%7Eroot",
    "%2E%2E": "%252E%252E",
    "a b": "a%20b",
    "ü": "%C3%BC",
    "\ud800": "%ED%A0%80",
    "abc-123_A@x+y.z": "abc-123_A@x+y.z",
}


@given(TEXTS)
@example("." * 5000)
@example("x" * 5000)
@example("/" * 5000)
@example("ü" * 34)
def test_every_text_becomes_a_plain_file_name_of_at_most_200_bytes(text: str) -> None:
    name = safe_name(text)
    assert 0 < len(os.fsencode(name)) <= NAME_LIMIT_BYTES == 200
    assert name.isascii()
    assert name.isprintable()
    assert "/" not in name
    assert not name.startswith(".")


@given(TEXTS, st.one_of(st.none(), TEXTS))
@example("../../../../etc/passwd", "../..")
@example("..", ".")
def test_no_identity_leaves_the_output_folder(job_id: str, scraper_id: str | None) -> None:
    layout = Layout("/out")
    place = Place("2025-02-17", scraper_id, job_id)
    folder = "/out/daily/2025-02-17"
    path = layout.recording(place)
    assert os.path.normpath(path) == path
    assert os.path.dirname(path) == f"{folder}/{place.folder}"
    assert path.endswith(".json")
    assert os.path.dirname(layout.superseded(place, DIGEST)) == f"{folder}/superseded/{place.folder}"
    assert os.path.dirname(layout.quarantine("2025-02-17", job_id, DIGEST)) == "/out/quarantine/2025-02-17"
    assert place.folder.count("/") == (0 if scraper_id is None else 1)


@given(TEXTS, st.one_of(st.none(), TEXTS))
@example("x" * 5000, "y" * 5000)
def test_every_file_name_fits_a_file_system_with_its_suffixes(job_id: str, scraper_id: str | None) -> None:
    place = Place("2025-02-17", scraper_id, job_id)
    layout = Layout("/out")
    for path in (layout.recording(place), layout.superseded(place, DIGEST), layout.quarantine("x", job_id, DIGEST)):
        assert all(len(part) <= 255 for part in path.split("/"))


@given(TEXTS)
def test_a_name_that_was_not_cut_is_read_back_by_percent_decoding(text: str) -> None:
    name = safe_name(text)
    assume("~" not in name)
    assert unquote_to_bytes(name).decode("utf-8", "surrogatepass") == text


@given(TEXTS, TEXTS)
@example("a/b", "a%2Fb")
@example(".a", "%2Ea")
@example("x" * 300, "x" * 301)
@example("x" * 199 + "/", "x" * 199 + "/.")
def test_different_texts_never_share_a_name(one: str, other: str) -> None:
    assert (safe_name(one) == safe_name(other)) == (one == other)


@given(TEXTS)
def test_no_uncut_name_looks_like_a_cut_one(text: str) -> None:
    long = text * (1 + 200 // len(text))
    cut = safe_name(long)
    assume("~" in cut)
    assert safe_name(cut) != cut


@pytest.mark.parametrize("text", list(HOSTILE_NAMES))
def test_a_hostile_name_becomes_a_harmless_one(text: str) -> None:
    assert safe_name(text) == HOSTILE_NAMES[text]


def test_a_long_name_is_cut_between_characters_and_marked_with_its_hash() -> None:
    for text in ("x" * 5000, "/" * 5000, "ü" * 5000, "x" + "/" * 5000, "xx" + "/" * 5000):
        name = safe_name(text)
        kept, mark, digest = name.partition("~")
        assert mark
        assert digest == hashlib.sha256(text.encode()).hexdigest()[:32]
        assert text.encode().startswith(unquote_to_bytes(kept))
        assert len(name) >= NAME_LIMIT_BYTES - 2


def test_a_name_of_exactly_200_bytes_is_not_cut() -> None:
    assert safe_name("x" * 200) == "x" * 200
    assert "~" in safe_name("x" * 201)


def test_every_hostile_name_can_really_be_made_and_lies_in_its_folder(tmp_path: Path) -> None:
    texts = [*HOSTILE_NAMES, "x" * 5000, "." * 5000]
    for text in texts:
        (tmp_path / f"{safe_name(text)}.json").write_text("{}")
    assert len(list(tmp_path.glob("*.json"))) == len(texts)


def test_paths_are_those_of_the_specification() -> None:
    layout = Layout("outputs")
    assert layout.recording(Place("2025-07-23", "nyc_efap", "job123")) == (
        "outputs/daily/2025-07-23/scrapers/nyc_efap/job123.json"
    )
    assert layout.recording(Place("2025-07-23", None, "job123")) == "outputs/daily/2025-07-23/processed/job123.json"
    assert layout.summary("2025-07-23") == "outputs/daily/2025-07-23/summary.json"
    assert layout.latest == "outputs/latest"
    assert layout.latest_target("2025-07-23") == "daily/2025-07-23"


def test_no_recording_can_take_the_summary_or_the_journal_of_its_day() -> None:
    layout = Layout("outputs")
    for job_id in ("summary", "../summary", ".journal", "../../summary"):
        for scraper_id in (None, "..", ".", "../processed"):
            path = os.path.normpath(layout.recording(Place("2025-07-23", scraper_id, job_id)))
            assert path not in (layout.summary("2025-07-23"), layout.journal("2025-07-23"))


def test_a_result_without_a_scraper_is_not_mixed_with_a_scraper_called_unknown() -> None:
    nameless, named = Place("2025-07-23", None, "a"), Place("2025-07-23", UNKNOWN_SCRAPER, "a")
    assert nameless.scraper_label == named.scraper_label
    assert nameless.name != named.name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("2025-08-08", True),
        ("2024-02-29", True),
        ("2025-02-29", False),
        ("2025-13-01", False),
        ("0000-01-01", False),
        ("2025-8-8", False),
        ("20250808", False),
        ("2025-08-08T00", False),
        ("2025-08-08\n", False),
        ("２０２５-０８-０８", False),  # noqa: RUF001 - digits, but not those of a date
        ("x2025-08-08", False),
        ("", False),
    ],
)
def test_only_a_calendar_date_names_a_day(name: str, expected: bool) -> None:
    assert is_date(name) is expected


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("daily/2025-08-08", "2025-08-08"),
        ("daily/2025-08-08/", "2025-08-08"),
        ("/srv/outputs/daily/2025-08-08", "2025-08-08"),
        ("daily", None),
        ("", None),
        ("daily/today", None),
    ],
)
def test_the_target_of_latest_tells_its_day(target: str, expected: str | None) -> None:
    assert Layout.day_of_target(target) == expected
