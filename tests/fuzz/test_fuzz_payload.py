"""The payload decoder under fire: seeds and regressions always, a little guided fuzzing or, in full, minutes of it."""

from __future__ import annotations

import importlib.util
import os
import pickletools
import re
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from tests.conftest import IN_CI
from tests.fuzz import programs, seeds, target
from tests.recorder.test_decode import call, frame, named, text

REPOSITORY = Path(__file__).resolve().parents[2]
SLOW = tuple(f"bomb: {name}" for name in ("lists", "dicts", "sets", "marks", "copies", "classes"))
"""Megabytes of opcodes: tests/recorder/test_decode.py has them each in a process of its own."""


@pytest.fixture
def corpus(request: pytest.FixtureRequest, tmp_path: Path, in_full: bool) -> Path:
    """In full: a folder in pytest's cache, so that each run goes on from what those before it found."""
    cache = getattr(request.config, "cache", None)
    return Path(cache.mkdir("payload-corpus")) if in_full and cache is not None else tmp_path / "corpus"


def test_every_seed_is_recorded_or_refused_and_does_nothing_else() -> None:
    found = {name: target.check(payload) for name, payload in seeds.hand_made().items() if name not in SLOW}
    honest = [outcome for name, outcome in found.items() if name.startswith(("honest", "json", "old client"))]
    assert set(honest) == {"recorded"}
    assert found["nothing"] == "refused"


def test_every_input_that_broke_a_promise_once_keeps_it_now() -> None:
    regressions = seeds.regressions()
    assert len(regressions) > 3
    for name, payload in regressions.items():
        assert target.check(payload) in ("recorded", "refused"), name


def test_real_results_are_recorded_and_nothing_else_happens(real_day: Path) -> None:
    payloads = seeds.from_recordings(real_day)
    assert len(payloads) >= 20
    assert {target.check(payload) for payload in payloads.values()} == {"recorded"}


def test_mutated_seeds_keep_every_promise() -> None:
    random = Random(8)
    sources = [*seeds.hand_made().values(), *seeds.regressions().values()]
    sources = [payload for payload in sources if len(payload) < 5000]
    outcomes = set()
    for number in range(2000):
        payload = random.choice(sources)
        for _ in range(random.randrange(1, 4)):
            payload = programs.mutate(payload, 20_000, number, lambda some, size: some[:size][::-1])
        outcomes.add(target.check(payload))
    assert outcomes >= {"recorded", "refused"}


def test_the_target_notices_broken_promises(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def hostile(action: str) -> None:
        def decode(*_: object) -> None:
            exec(action, {"path": str(tmp_path / "x")})  # noqa: S102

        monkeypatch.setattr(target, "decode_result", decode)
        with pytest.raises(target.BrokenPromise):
            target.check(b"N.")

    target.check(b"N.")
    for action in (
        "import antigravity_that_is_not_there",
        "import importlib; importlib.import_module('antigravity_that_is_not_there')",
        "open(path, 'w').close()",
        "open(path).close()",
        "open('/etc/passwd').close()",
        "import os; os.system('true')",
        "import os; os.listdir('.')",
        "import socket; socket.socket().close()",
        "compile('1', 'x', 'eval')",
        "import sys; sys.modules['antigravity_that_is_not_there'] = sys",
    ):
        try:
            hostile(f"try:\n    {action}\nexcept ImportError:\n    pass")
        finally:
            sys.modules.pop("antigravity_that_is_not_there", None)


def test_the_target_passes_over_tuples_that_take_hours_to_hash_and_no_others() -> None:
    doubled = b"\x80\x04}N" + b"2\x86" * 60 + b"Ns."
    remembered = b"\x80\x04}Nq\x00" + b"".join(b"h\x00h\x00\x86q\x00" for _ in range(60)) + b"Ns."
    marked = b"\x80\x04}Nq\x00" + b"".join(b"(h\x00h\x00tq\x00" for _ in range(60)) + b"Ns."
    for payload in (doubled, remembered, marked):
        assert target.check(payload) == "passed over"
    for payload in [*seeds.regressions().values(), b"\x80\x04(" + b"N" * 500 + b"t."]:
        assert target.largest_tuple(payload) <= target.MAX_TUPLE
    assert target.largest_tuple(b"\x80\x04NN\x86N\x86.") == 5


def test_mutations_begin_with_whole_opcodes() -> None:
    for payload in seeds.hand_made().values():
        if len(payload) < 5000:
            assert b"".join(programs.units_of(payload)) == payload
    for number in range(300):
        value = programs._value(Random(number), 3)
        assert list(pickletools.genops(b"\x80\x04" + value + b"."))


def test_guided_fuzzing_finds_nothing(corpus: Path, real_day: Path, in_full: bool) -> None:
    if importlib.util.find_spec("atheris") is None:
        if IN_CI:
            pytest.fail("atheris is not installed")
        pytest.skip("atheris has no wheel for this machine")
    seeds.write(corpus, seeds.hand_made(), seeds.regressions(), seeds.from_recordings(real_day))
    # By default always the same inputs, so that a change that fails here is to blame for it.
    extent = ["-max_total_time=300"] if in_full else ["-runs=2500", "-seed=8"]
    # Through a shell, for a process inherits its parent's peak of memory, and libFuzzer goes by that.
    fuzzer = subprocess.run(
        ["sh", "-c", '"$@"; exit $?', "sh", sys.executable, "-m", "tests.fuzz.fuzz_payload", str(corpus), *extent],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        errors="replace",
        env={**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": os.pathsep.join([str(REPOSITORY), *sys.path])},
    )
    assert fuzzer.returncode == 0, fuzzer.stderr[-5000:]
    runs = re.search(r"number_of_executed_units: (\d+)", fuzzer.stderr)
    assert runs is not None
    assert int(runs[1]) > 100


# By hand, after what was found


def zone(key: bytes) -> bytes:
    unpickle = call(named("builtins", "getattr"), named("zoneinfo", "ZoneInfo"), text("_unpickle"))
    return call(unpickle, key)


FOUND = {
    "zone-that-would-be-a-module": frame(zone(text("antigravity/x"))),
    "zone-that-would-be-a-file": frame(zone(text("x"))),
    "zone-that-is-a-folder": frame(zone(text("America"))),
    "zone-that-is-no-text": frame(zone(b"]")),
    "latin1-of-the-oldest-protocols": frame(call(named("_codecs", "encode"), text("\xff"), text("latin1"))),
    "json-in-utf-32": "[]".encode("utf-32-le"),
    "json-in-utf-16": "[]".encode("utf-16-le"),
    "minute-255": frame(named("datetime", "datetime") + b"C\x0a\x07\xe9\x07\x01\x00\xff\x00\x00\x00\x00\x85R"),
    "class-of-none-set": frame(b"NN}" + text("__class__") + named("os", "system") + b"s\x86b"),
}


@pytest.mark.parametrize("name", FOUND)
def test_the_regressions_are_what_they_are_called(name: str) -> None:
    assert seeds.regressions()[name] == FOUND[name]
