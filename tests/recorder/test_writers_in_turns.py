"""Several recorders on one folder, in any order of recording, dying and recovering: nothing lost, summaries exact."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections import defaultdict
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from app.archive.repair import rebuild_summary
from app.recorder.write import Kind, Pending, RecordWriter
from app.store import record, scan
from app.store.layout import Layout
from app.store.timestamps import format_timestamp

NOON = datetime(2025, 8, 8, 12, tzinfo=UTC)
DAYS = {"a": "2025-08-08", "b": "2025-08-08", "c": "2025-08-08", "d": "2025-08-09"}
"""Which day each job is of."""

Version = tuple[str, int]
"""A job, and which of its results: a higher number was completed later."""

VERSIONS = st.tuples(st.sampled_from(sorted(DAYS)), st.integers(1, 4))
WHO = st.integers(0, 2)


class Death(BaseException):
    """The process ends here, and no handler sees it."""


def result(version: Version) -> dict[str, Any]:
    """A result whose file tells its version, and whose line in the summary does too."""
    job, number = version
    return {
        "job_id": job,
        "job": {"created_at": f"{DAYS[job]}T0{number}:00:00Z", "metadata": {"scraper_id": "nyc"} if job != "b" else {}},
        "result": {"version": number},
        "completed_at": format_timestamp(NOON + timedelta(minutes=number)),
    }


def version_in(content: bytes) -> Version:
    data = json.loads(content)
    return data["job_id"], data["result"]["version"]


class Recorders(RuleBasedStateMachine):
    """The folder is real; what must be in it is kept beside it."""

    @initialize()
    def begin(self) -> None:
        self.parent = tempfile.mkdtemp()
        self.layout = Layout(f"{self.parent}/out")
        self.writers: dict[int, RecordWriter] = {}
        self.born = 0
        self.acknowledged: set[Version] = set()
        self.unacknowledged: list[Version] = []
        self.deleted: set[str] = set()
        """Jobs of which a person deleted a recording."""
        self.journal_harmed = False

    # What recorders do

    @rule(who=WHO, batch=st.lists(VERSIONS, min_size=1, max_size=4))
    def record(self, who: int, batch: list[Version]) -> None:
        """Some results of few jobs: so that most are duplicates or conflicts."""
        writer = self._writer(who)
        pending = [writer.stage(result(version)) for version in batch]
        before = {version[0]: self._in_place(version[0]) for version in batch}
        kept = self._kept()
        outcomes = writer.commit(pending)
        self.acknowledged.update(batch)
        for version, outcome in zip(batch, outcomes, strict=True):
            held = before[version[0]]
            if held is None:
                expected = Kind.RECORDED
            elif held == version:
                expected = Kind.DUPLICATE
            elif version in kept or held > version:
                expected = Kind.SUPERSEDED
                kept.add(version)
            else:
                expected = Kind.REPLACED
                kept.add(held)
            assert outcome.kind is expected, f"{version} where {held} was"
            if expected in (Kind.RECORDED, Kind.REPLACED):
                before[version[0]] = version

    @precondition(lambda self: self.unacknowledged)
    @rule(who=WHO)
    def redeliver(self, who: int) -> None:
        """What a dead recorder had in hand comes to another."""
        batch, self.unacknowledged = self.unacknowledged, []
        self.record(who, batch)

    @precondition(lambda self: self.writers)
    @rule(who=WHO, idle=st.booleans())
    def flush(self, who: int, idle: bool) -> None:
        """Summaries that are due; when idle, all of them."""
        self._writer(who).flush(idle=idle)

    @precondition(lambda self: self.writers)
    @rule(who=WHO)
    def close(self, who: int) -> None:
        """A recorder is stopped in order."""
        if who in self.writers:
            self.writers.pop(who).close()

    @rule(who=WHO)
    def recover(self, who: int) -> None:
        """A recorder puts right what the dead ones left."""
        self._writer(who).recover()

    @precondition(lambda self: self.writers and not self.deleted and not self.journal_harmed)
    @rule()
    def all_die_and_one_recovers(self) -> None:
        """Then the summaries are exact at once, whatever was never acknowledged."""
        for who in list(self.writers):
            self._kill(who)
        self._writer(0).recover()
        self._assert_exact()

    # What happens to them

    @rule(who=WHO, batch=st.lists(VERSIONS, min_size=1, max_size=4), after=st.integers(0, 8))
    def die_while_recording(self, who: int, batch: list[Version], after: int) -> None:
        """A recorder is killed after so many steps of a commit: files, names, folders, journal, `latest`."""
        writer = self._writer(who)
        self.unacknowledged += batch
        pending: list[Pending] = [writer.stage(result(version)) for version in batch]
        left = after

        def dying(step: Any) -> Any:
            def call(*args: Any) -> Any:
                nonlocal left
                if left == 0:
                    raise Death
                left -= 1
                return step(*args)

            return call

        files: Any = writer._files
        for name in ("place", "keep_as", "replace", "sync_folders"):
            setattr(files, name, dying(getattr(files, name)))
        whole: Any = writer
        whole._enter = dying(whole._enter)
        with suppress(Death):
            writer.commit(pending)
        self._kill(who)

    @precondition(lambda self: self.writers)
    @rule(who=WHO)
    def die(self, who: int) -> None:
        """A recorder is killed between two batches."""
        if who in self.writers:
            self._kill(who)

    @precondition(lambda self: self.writers and not self.deleted)
    @rule(lost=st.integers(1, 400))
    def power_cut(self, lost: int) -> None:
        """All recorders end, and the last bytes of the journals, which are never synced, are gone."""
        for who in list(self.writers):
            self._kill(who)
        self.journal_harmed = True
        for day in scan.days(self.layout):
            journal = self.layout.journal(day)
            if os.path.exists(journal):
                os.truncate(journal, max(0, os.path.getsize(journal) - lost))

    @precondition(lambda self: not self.journal_harmed)
    @rule(job=st.sampled_from(sorted(DAYS)))
    def delete_by_hand(self, job: str) -> None:
        """A person deletes a recording, and the older results of its job, which are then not expected any more."""
        place = self._place(job)
        for path in [self.layout.recording(place), *self._superseded_paths()]:
            if os.path.exists(path) and version_in(Path(path).read_bytes())[0] == job:
                os.unlink(path)
                self.deleted.add(job)
        self.acknowledged = {version for version in self.acknowledged if version[0] != job}

    @precondition(lambda self: not self.deleted)
    @rule(day=st.sampled_from(sorted(set(DAYS.values()))))
    def lose_the_journal(self, day: str) -> None:
        """A person deletes a journal, which is only a cache."""
        self.journal_harmed = True
        if os.path.exists(self.layout.journal(day)):
            # Kept, so that its inode isn't given to the next one: only by that do living recorders notice.
            os.rename(self.layout.journal(day), f"{self.parent}/journal-{len(os.listdir(self.parent))}")

    # What must hold

    @invariant()
    def nothing_is_lost_and_the_newest_is_in_place(self) -> None:
        """Whatever was acknowledged is there; of each job the newest result is the recording."""
        kept = self._kept()
        found = {version for job in DAYS if (version := self._in_place(job))}
        assert self.acknowledged <= found | kept
        for job in DAYS:
            versions = [version for version in found | kept if version[0] == job]
            assert self._in_place(job) == max(versions, default=None)

    @invariant()
    def every_summary_is_whole(self) -> None:
        """A reader never finds a part of one."""
        for day in scan.days(self.layout):
            if os.path.exists(self.layout.summary(day)):
                assert json.loads(Path(self.layout.summary(day)).read_bytes())["date"] == day

    def teardown(self) -> None:
        """At the end: what is left is redelivered, the dead are recovered, the living closed. Then all is exact."""
        if not hasattr(self, "parent"):
            return
        try:
            self._end()
        finally:
            for who in list(self.writers):
                self._kill(who)
            shutil.rmtree(self.parent)

    def _end(self) -> None:
        if self.deleted:  # what a person deletes is noticed when a day is put right
            for job in ("a", "d"):
                self._writer(0).stage(result((job, 1)))
            self._kill(0)
        for _ in range(2):
            self._writer(1).recover()
            for who in list(self.writers):
                self.writers.pop(who).close()
            self._assert_exact()
            assert [
                path for path in Path(self.layout.root).rglob("*") if path.suffix in (".tmp", ".writer", ".new")
            ] == []
            if self.unacknowledged:
                self.redeliver(1)
        self.nothing_is_lost_and_the_newest_is_in_place()
        if self.deleted:
            self.deleted.clear()
            for day in scan.days(self.layout):
                rebuild_summary(self.layout, day)
            self._assert_exact()

    def _assert_exact(self) -> None:
        newest = [day for day in scan.days(self.layout) if self._lines(day)]
        for day in scan.days(self.layout):
            lines = self._lines(day)
            if not os.path.exists(self.layout.summary(day)):
                assert not lines
                continue
            summary = json.loads(Path(self.layout.summary(day)).read_bytes())
            if self.deleted:  # of what took a deleted one's place a recovery promises the entry, not its time
                assert sorted(line["job_id"] for line in summary["jobs"]) == sorted(line["job_id"] for line in lines)
                continue
            assert sorted(map(json.dumps, summary["jobs"])) == sorted(map(json.dumps, lines))
            times = defaultdict(list)
            for line in lines:
                times[line["scraper_id"]].append(line["timestamp"])
            assert summary["total_jobs"] == len(lines)
            assert summary["scrapers"] == {
                scraper: {"count": len(some), "first_job": min(some), "last_job": max(some)}
                for scraper, some in times.items()
            }
        if newest:
            assert (Layout.day_of_target(os.readlink(self.layout.latest)) or "") >= newest[-1]

    # Looking, and doing

    def _writer(self, who: int) -> RecordWriter:
        if who not in self.writers:
            self.born += 1
            self.writers[who] = RecordWriter(self.layout.root, name=f"writer-{self.born}")
        return self.writers[who]

    def _kill(self, who: int) -> None:
        """End a writer as the kernel would: its lock is let go, and nothing else is done."""
        if who in self.writers:
            writer = self.writers.pop(who)
            writer._files.close()
            writer._ledger.close(in_order=False)

    def _place(self, job: str) -> Any:
        return record.build(result((job, 1)), enqueued_at=None, now=NOON + timedelta(days=2)).place

    def _in_place(self, job: str) -> Version | None:
        try:
            return version_in(Path(self.layout.recording(self._place(job))).read_bytes())
        except FileNotFoundError:
            return None

    def _superseded_paths(self) -> list[str]:
        return [str(path) for path in Path(self.layout.daily).glob("*/superseded/**/*.json")]

    def _kept(self) -> set[Version]:
        return {version_in(Path(path).read_bytes()) for path in self._superseded_paths()}

    def _lines(self, day: str) -> list[dict[str, str]]:
        names = scan.recording_names(self.layout, day)
        return [record.read_entry(day, Path(self.layout.day(day), name).read_bytes())[1] for name in names]


def test_recorders_that_take_turns_die_and_recover_lose_nothing_and_end_exact(
    monkeypatch: pytest.MonkeyPatch, in_full: bool
) -> None:
    monkeypatch.setattr("os.fsync", lambda handle: None)  # the order of syncs has tests of its own
    run_state_machine_as_test(
        Recorders,
        settings=settings(
            max_examples=500 if in_full else 40,
            stateful_step_count=30,
            suppress_health_check=list(HealthCheck),
        ),
    )
