"""A whole verification: days, quarantine and `latest`, with repairs on the way where they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from app.archive.findings import Findings, Kind
from app.archive.repair import point_latest, rebuild_summary
from app.archive.verify import Verifier
from app.store.errors import RecorderError
from app.store.recovery import put_right


@dataclass(slots=True)
class Result:
    """What holds of an OUTPUT_DIR, and what was done about the rest."""

    findings: Findings
    """What is wrong: after repairs, if there were any."""
    repaired: list[str] = field(default_factory=list)
    not_repaired: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings.problems and not self.not_repaired

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Note why a repair couldn't be done; the others go on."""
        try:
            yield
        except RecorderError as error:
            self.not_repaired.append(str(error))


def audit(verifier: Verifier, *, repair: bool = False) -> Result:
    """Check everything; with `repair`, put right what can be, and check that again."""
    layout = verifier.layout
    result = Result(verifier.no_findings())
    if repair:
        recovery = put_right(layout, partial(rebuild_summary, layout))
        result.repaired.extend(f"put right what {writer} left, which died" for writer in recovery.recovered)
        result.not_repaired.extend(str(problem) for problem in recovery.problems)
    for day in verifier.days(result.findings):
        findings = verifier.check_day(day)
        if repair and findings.repairable:
            with result.attempt():
                rebuild_summary(layout, day)
                gone = findings.problems[Kind.MISSING_FILE]
                less = f", without the {gone:,} jobs that have no file" if gone else ""
                result.repaired.append(f"wrote the summary of {day} anew{less}")
            findings = verifier.check_day(day)
        result.findings.merge(findings)
    result.findings.merge(verifier.check_quarantine())
    findings = verifier.check_root()
    if repair and Kind.LATEST_WRONG in findings.problems:
        with result.attempt():
            result.repaired.append("set latest anew" if point_latest(layout) else "removed latest: nothing is recorded")
        findings = verifier.check_root()
    result.findings.merge(findings)
    return result
