"""What is said of a batch that is acknowledged: to the log, to the recorder's vitals, and to its metrics."""

from __future__ import annotations

import logging
from collections import Counter
from datetime import UTC, datetime

import structlog

from app.recorder.metrics import SUCCESSES, Done, Metrics
from app.recorder.vitals import Vitals
from app.recorder.write import Kind, Outcome

log = structlog.get_logger("recorder")


class Reporter:
    """Says what became of the jobs of one recorder: one event a batch, one a job for those who want them all."""

    def __init__(self, vitals: Vitals, metrics: Metrics | None) -> None:
        self._vitals = vitals
        self._metrics = metrics

    def report(self, batch: Done) -> None:
        """Say it all of one batch."""
        each = log.is_enabled_for(logging.DEBUG)
        for outcome in batch.outcomes:
            if outcome.kind is Kind.QUARANTINED:
                log.error("job can't be recorded", reason=outcome.reason, **_where(outcome))
            elif outcome.kind is Kind.POSTPONED:
                hint = "another recorder is settling that; if it is frozen, end it"
                log.warning("job put back", reason=outcome.reason, hint=hint, **_where(outcome))
            elif each:
                log.debug("recorded", outcome=outcome.kind.value, **_where(outcome))
            for warning in outcome.warnings:
                log.warning(warning, **_where(outcome))
        if not batch.outcomes:
            return
        seconds = (datetime.now(UTC) - batch.taken_at).total_seconds()
        tally = Counter((outcome.scraper_id, outcome.kind) for outcome in batch.outcomes)
        counts: Counter[Kind] = Counter()
        for (_, kind), number in tally.items():
            counts[kind] += number
        log.info("batch", **{kind.value: number for kind, number in counts.items()}, seconds=round(seconds, 4))
        self._vitals.note_recorded(sum(counts[kind] for kind in SUCCESSES))
        if self._metrics is not None:
            self._metrics.count(batch, tally, seconds)


def _where(outcome: Outcome) -> dict[str, str]:
    """What an event says of the job that it is about."""
    found = {"job_id": outcome.job_id, "scraper_id": outcome.scraper_id, "date": outcome.date, "path": outcome.path}
    return {name: text for name, text in found.items() if text is not None}
