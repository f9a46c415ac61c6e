from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from app.replay.hsds.text import day, email, moment, number, text, website, whole


@pytest.mark.parametrize(
    "value", ["", "  ", "Unknown", "N/A", "none", "Not Provided", "string", "null", None, True, [], {}, float("nan")]
)
def test_what_says_nothing_is_nothing(value: object) -> None:
    assert text(value) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (" a\x00b ", "ab"),
        ("\ud800x", "x"),
        ("e\u0301", "\u00e9"),
        (7, "7"),
        (Decimal("7.50"), "7.5"),
        (Decimal("1e5"), "100000"),
        (1.5, "1.5"),
        ("None of the above", "None of the above"),
    ],
)
def test_texts_are_cleaned(value: object, expected: str) -> None:
    assert text(value) == expected


def test_numbers_too_long_to_be_one_are_nothing() -> None:
    assert text(10**60) is text(Decimal("1e400")) is text(Decimal("Infinity")) is None
    assert number("1e400") is number("inf") is number("x") is number(True) is number(Decimal("NaN")) is None
    assert number(" 12.5 ") == Decimal("12.5")


def test_a_mail_address_needs_an_at() -> None:
    assert email("a@b.org") == email("mailto a@b.org.") == "a@b.org"
    assert email("b.org") is email("@") is email("a@" + "b" * 1000) is email(7) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("www.a.org", "https://www.a.org"),
        ("a.org/x?y=1", "https://a.org/x?y=1"),
        ("http://a.org", "http://a.org"),
        ("HTTPS://a.org", "HTTPS://a.org"),
        ("javascript:alert(1)", None),
        ("ftp://a.org", None),
        ("see Facebook", None),
        ("a.org " * 9, None),
        ("a." * 500_000, None),
    ],
)
def test_a_website_has_a_scheme(value: str, expected: str | None) -> None:
    assert website(value) == expected


def test_a_year_is_a_whole_number_in_bounds() -> None:
    assert whole("1998", 1000, 9999) == whole(Decimal("1998.0"), 1000, 9999) == 1998
    assert whole("98", 1000, 9999) is whole("1998.5", 1000, 9999) is whole("circa 1998", 1000, 9999) is None


def test_dates_are_read_or_not() -> None:
    assert day("2025-08-13") == day("2025-08-13T13:00:00Z") == day("8/13/2025") == date(2025, 8, 13)
    for bad in ("0000-01-01", "2025-02-30", "13/13/2025", "soon", None, "2025-08-131", 20250813):
        assert day(bad) is None
    assert moment("2025-08-13 13:00") == "2025-08-13T13:00:00+00:00"
    assert moment("2025-08-13 25:00") is moment("x") is None
