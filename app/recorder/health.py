"""Whether a recorder works, from its vitals: what `/livez` and `/readyz` answer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from app.recorder.trouble import Part
from app.recorder.vitals import Vitals

_DEAD_S = 300.0
"""No step of the loop takes so long; a recorder that is at one for longer is better started anew."""

_FINE = {
    Part.REDIS: "it answers",
    Part.QUEUE: "nobody has suspended it",
    Part.OUTPUT: "OUTPUT_DIR can be written to",
    Part.DISK: "more than the reserve is free",
    Part.LOOP: "the loop goes round",
}


@dataclass(frozen=True, slots=True)
class Health:
    """The answer to one question."""

    ok: bool
    document: dict[str, Any]

    def dump(self) -> bytes:
        """It as JSON."""
        return json.dumps(self.document, indent=2).encode() + b"\n"


def readiness(vitals: Vitals) -> Health:
    """Whether the recorder records, or could; and of each thing that it needs, whether it has it."""
    waiting = vitals.waiting
    reasons = _FINE.copy()
    failing = set()
    if waiting is not None:
        failing.add(waiting.part)
        reasons[waiting.part] = waiting.reason
    if not vitals.announced and Part.REDIS not in failing:
        failing.add(Part.REDIS)
        reasons[Part.REDIS] = "it was not reached yet"
    return _health(vitals, reasons, failing)


def liveness(vitals: Vitals) -> Health:
    """Whether the recorder's loop is alive, whatever it waits for."""
    stalled_s = vitals.stalled_s
    if stalled_s < _DEAD_S:
        return _health(vitals, {Part.LOOP: _FINE[Part.LOOP]}, set())
    return _health(vitals, {Part.LOOP: f"it has been at one step for {stalled_s:.0f} s"}, {Part.LOOP})


def _health(vitals: Vitals, reasons: dict[Part, str], failing: set[Part]) -> Health:
    checks = {part.value: {"ok": part not in failing, "reason": reason} for part, reason in reasons.items()}
    return Health(not failing, {"ok": not failing, "recorder": vitals.name or None, "checks": checks})
