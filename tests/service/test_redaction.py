"""No password is shown: of URLs anywhere, of the settings' URLs in whatever form."""

from __future__ import annotations

import pytest

from app.service.redaction import Redactor, without_password


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://:pa/ss@host:1/0", "redis://:***@host:1/0"),
        ("redis://:pa#ss@host", "redis://:***@host"),
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("no Redis at redis://u:p@h and rediss://u:q@i", "no Redis at redis://u:***@h and rediss://u:***@i"),
    ],
)
def test_a_url_in_a_text_loses_its_password(text: str, shown: str) -> None:
    assert without_password(text) == shown


def test_a_password_of_the_settings_is_masked_wherever_and_however_it_stands() -> None:
    redactor = Redactor(["rediss://:s%40cret-1@host/0", "postgresql://h/db?user=u&password=other-one", "outputs"])
    value = {
        "reason": "AUTH failed with s@cret-1",
        "list": ["s%40cret-1", ("https://a:hook@b/",)],
        "nested": {"other-one": 5},
        "exception": "Traceback ...\n  password='other-one'",
        "number": 7,
        "none": None,
        "error": ValueError("other-one"),
    }
    clean = redactor.clean(value)
    assert clean["number"] == 7
    assert clean["none"] is None
    for secret in ("s@cret-1", "s%40cret-1", "other-one", "hook"):
        assert secret not in str(clean)


def test_a_short_password_garbles_no_words() -> None:
    assert Redactor(["redis://:a@h"]).clean("a batch at redis://:a@h") == "a batch at redis://:***@h"
