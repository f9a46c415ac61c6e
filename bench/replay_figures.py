"""What `bench --replay` comes to: its figures, its targets and its tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from app.bouy.output import Output
from bench.figures import Spread
from bench.report import number, target_rows
from bench.targets import Target, at_least, below


@dataclass(frozen=True, slots=True)
class Run:
    """One way to fill a database, once."""

    seconds: float
    cpu_s: float
    """Of the processes that fill it; 0 where it is this one."""
    server_cpu_s: float
    largest_bytes: int = 0
    """The most memory that one process had."""
    together_bytes: int = 0
    """The most that all of them had at one time."""


@dataclass(slots=True)
class ReplayFigures:
    """All of a run."""

    machine: dict[str, Any]
    source: str
    files: int
    megabytes: float
    rows: int = 0
    """Of all tables that a replay fills."""
    stage_rows: int = 0
    """The same of the files that the load stage is measured with."""
    stage_hsds_rows: int = 0
    """Those of them that are in HSDS tables."""
    loop_rows: int = 0
    """What the plain loop inserts: a row that several recordings speak of, several times."""
    seconds: dict[str, Spread] = field(default_factory=dict)
    cpu_s: dict[str, float] = field(default_factory=dict)
    server_cpu_s: dict[str, float] = field(default_factory=dict)
    largest_mb: float = 0.0
    together_mb: float = 0.0

    def take(self, name: str, runs: Sequence[Run]) -> None:
        """Note what the runs of one way came to."""
        self.seconds[name] = Spread.of([run.seconds for run in runs])
        self.cpu_s[name] = Spread.of([run.cpu_s for run in runs]).median
        self.server_cpu_s[name] = Spread.of([run.server_cpu_s for run in runs]).median
        self.largest_mb = max(self.largest_mb, *(run.largest_bytes / 1e6 for run in runs))
        self.together_mb = max(self.together_mb, *(run.together_bytes / 1e6 for run in runs))

    def judge(self) -> list[Target]:
        """Each target, its figure, and whether it is met."""
        whole, again, floor = (self.seconds[name].median for name in ("replay", "again", "floor"))
        stage, loop = self.stage_rows / self.seconds["load"].median, self.loop_rows / self.seconds["loop"].median
        return [
            below("the whole replay, times the floor", 3.0, whole / floor),
            at_least("load stage, rows/s against the plain loop's", 20.0, stage / loop),
            below("memory, MB", 400.0, max(self.largest_mb, self.together_mb)),
            at_least("a second replay, times as fast", 5.0, whole / again),
        ]

    def document(self) -> dict[str, Any]:
        """Everything, as JSON can hold it."""
        return {**asdict(self), "targets": [asdict(target) for target in self.judge()]}

    def show(self, output: Output) -> None:
        """Print the tables."""
        output.say(f"\n{self.files:,} recordings, {self.megabytes:,.0f} MB: {self.rows:,} rows")
        output.table(_WHOLE, [self._whole(name, how) for name, how in _WAYS.items()])
        output.say("\nThe load stage alone, and the plain loop")
        output.table(
            _STAGE,
            [
                self._stage("load stage: all tables", "load", self.stage_rows),
                self._stage("load stage: HSDS rows alone counted", "load", self.stage_hsds_rows),
                self._stage("plain loop: HSDS rows", "loop", self.loop_rows),
            ],
        )
        output.say(f"\nMemory: {self.largest_mb:.0f} MB the largest process, {self.together_mb:.0f} MB all together")
        output.say("\nTargets")
        output.table(("", "wanted", "figure", ""), target_rows(self.judge()))

    def _whole(self, name: str, how: str) -> tuple[str, ...]:
        spread, floor = self.seconds[name], self.seconds["floor"].median
        return (
            how,
            f"{spread.median:.2f}",
            f"{spread.low:.2f}-{spread.high:.2f}",
            number(self.files / spread.median),
            number(self.rows / spread.median),
            f"{spread.median / floor:.2f} x",
            f"{self.cpu_s[name]:.2f}",
            f"{self.server_cpu_s[name]:.2f}",
        )

    def _stage(self, title: str, name: str, rows: int) -> tuple[str, ...]:
        seconds, loop = self.seconds[name].median, self.loop_rows / self.seconds["loop"].median
        rate = rows / seconds
        return title, f"{rows:,}", f"{seconds:.2f}", number(rate), f"{rate / loop:.1f} x"


_WAYS = {"floor": "floor: \\copy", "replay": "replay", "again": "replay of the same again"}
_WHOLE = ("", "s", "min-max", "files/s", "rows/s", "the floor's", "CPU s", "server's")
_STAGE = ("", "rows", "s", "rows/s", "the loop's")
