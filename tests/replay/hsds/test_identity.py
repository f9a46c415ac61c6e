from __future__ import annotations

import subprocess
import sys
from uuid import UUID, uuid5

import pytest

from app.replay.hsds.identity import ADDRESS_WORDS, NAMESPACE, norm, norm_address, row_id


def test_an_id_is_the_name_based_uuid_of_its_kind_and_parts() -> None:
    assert row_id("phone", "ab", "", "é") == uuid5(NAMESPACE, "phone\x1f2:ab0:1:é")


def test_ids_stay_what_they_are() -> None:
    """What is in databases already: a change here is a new NAMESPACE."""
    assert UUID("2b41aa64-3764-59a8-b0ab-cee240e6a839") == row_id(
        "organization", "nyc", norm("St. Mark&#8217;s Pantry")
    )


def test_parts_cannot_run_into_one_another() -> None:
    assert len({row_id("x", "ab", "c"), row_id("x", "a", "bc"), row_id("x", "abc"), row_id("x", "1:a", "bc")}) == 4


def test_an_id_is_the_same_in_every_process() -> None:
    code = "from app.replay.hsds.identity import row_id; print(row_id('x', 'y'))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONHASHSEED": "7"})
    assert run.stdout.strip() == str(row_id("x", "y"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Lorraine&#8217;s Soup  Kitchen", "LORRAINES SOUP KITCHEN"),
        ("St. Mark's", "st marks"),
        ("Café ﬁve", "café five"),
        ("A_B-C/D", "a b c d"),
        ("Straße", "STRASSE"),
    ],
)
def test_norm_is_blind_to_what_does_not_tell_names_apart(one: str, other: str) -> None:
    assert norm(one) == norm(other)


def test_norm_leaves_something_of_every_name() -> None:
    assert norm("***") == "***"


def test_streets_are_abbreviated_as_the_post_does() -> None:
    assert (
        norm_address("235 North Jefferson Street, Suite 4")
        == norm_address("235 N. JEFFERSON ST STE 4")
        == "235 n jefferson st ste 4"
    )


def test_abbreviations_are_final() -> None:
    assert not set(ADDRESS_WORDS) & set(ADDRESS_WORDS.values()) - {
        word for word in ADDRESS_WORDS if ADDRESS_WORDS[word] == word
    }


def test_a_long_text_is_normed_as_a_short_one_is() -> None:
    assert norm("A-b " * 100) == norm("a B " * 100)
    assert norm_address("Street " * 100) == " ".join(["st"] * 100)
