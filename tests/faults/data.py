"""What the data commands are tried on: a few recorded days, and the commands as functions of a folder.

BASE holds ``out`` (OUTPUT_DIR), ``arch`` (ARCHIVE_DIR), ``backup`` and ``restored``.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from app.archive.archiving import Archived, Archiver, closed_days
from app.archive.backup import BackedUp, Backup
from app.archive.clean import Cleaner, Step
from app.archive.packs import PackFolder
from app.archive.restore import Restore, Restored, Wanted, plan
from app.archive.retention import Policy
from app.archive.snapshots import Repository
from app.archive.sources import open_source
from app.archive.trash import Trash
from app.recorder.write import RecordWriter
from app.store import scan
from app.store.layout import Layout
from tests.recording import result

TODAY = date(2025, 3, 20)
NOW = datetime(2025, 3, 20, 12, tzinfo=UTC)
DAYS = ("2025-02-16", "2025-02-17", "2025-03-19")
"""The last one is `latest`, so that it always stays."""


def nothing_of(_: object) -> None:
    """Nobody wants to know."""


def nothing() -> None:
    """Nobody wants to know."""


def job(day: str, hour: int, scraper: str | None = "nyc") -> dict[str, Any]:
    return {"created_at": f"{day}T{hour:02}:00:00Z", "metadata": {"scraper_id": scraper}}


def record(base: Path, *results: Any) -> None:
    with RecordWriter(str(base / "out")) as writer:
        for data in results:
            writer.commit([writer.stage(data)])


def record_days(base: Path) -> None:
    """Three days: with a superseded result, with results of two scrapers and of none; and one in quarantine."""
    for day in DAYS:
        record(
            base,
            result("a", job=job(day, 1), completed_at=f"{day}T02:00:00Z"),
            result("b", job=job(day, 2, "sf/../x")),
            result("c", job=job(day, 3, None)),
        )
    record(base, result("a", job=job(DAYS[0], 1), result={"text": "newer"}, completed_at=f"{DAYS[0]}T09:00:00Z"))
    with RecordWriter(str(base / "out")) as writer:
        writer.commit([writer.stage_quarantine("job-1", "no job_id", b"payload", {}, enqueued_at=NOW)])


def record_late(base: Path, **fields: Any) -> None:
    """One more result of the first day."""
    record(base, result("late", job=job(DAYS[0], 20), **fields))


def age(base: Path) -> None:
    """As if all was written long ago."""
    for path in (base / "out/daily").rglob("*"):
        os.utime(path, (0, 0))


def layout(base: Path, name: str = "out") -> Layout:
    return Layout(str(base / name))


def archive(base: Path) -> list[Archived]:
    archiver = Archiver(layout(base), str(base / "arch"), nothing)
    return archiver.run(closed_days(scan.days(layout(base)), TODAY), lambda _: None)


def clean(
    base: Path, *, keep_summaries: bool = False, to_trash: bool = True, unarchived: bool = False, now: datetime = NOW
) -> list[Step]:
    trash = Trash(layout(base))
    packs = PackFolder(str(base / "arch"))
    with trash.changing():
        trash.purge(now - timedelta(hours=24))
        cleaner = Cleaner(layout(base), [(packs, packs.manifest)], keep_summaries=keep_summaries, advance=nothing)
        steps = cleaner.plan(Policy(older_than_days=7), TODAY, unarchived=unarchived)
        assert cleaner.apply(steps, now, to_trash=to_trash) == []
    return steps


def clean_but_summaries(base: Path) -> None:
    clean(base, keep_summaries=True)


def clean_for_good(base: Path) -> None:
    clean(base, to_trash=False)


def purge(base: Path) -> None:
    trash = Trash(layout(base))
    with trash.changing():
        trash.purge(NOW + timedelta(days=2))


def undo(base: Path) -> None:
    trash = Trash(layout(base))
    with trash.changing():
        for entry in trash.entries():
            assert not trash.put_back(entry).differing


def back_up(base: Path, now: datetime = NOW) -> BackedUp:
    repository = Repository(str(base / "backup"))
    return Backup(layout(base), str(base / "arch"), repository, nothing).run(now, lambda files: None)


def restore(base: Path, target: str = "restored", *, merge: bool = True) -> Restored:
    source = open_source(str(base / "backup"), None)
    work = Restore(layout(base, f"{target}/out"), str(base / target / "arch"), source, nothing)
    steps = plan(source, Wanted())
    work.check(steps, merge=merge)
    return work.run(steps, Wanted())


def recordings(output_dir: Path) -> dict[str, str]:
    """The sum of each recording and superseded result, by its name inside OUTPUT_DIR."""
    found = {}
    for path in sorted((output_dir / "daily").rglob("*.json")):
        if path.name != "summary.json":
            found[str(path.relative_to(output_dir))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def archived(folder: Path) -> dict[str, str]:
    """The same of what is in whole archives."""
    return dict(_archived(folder))


def _archived(folder: Path) -> Iterator[tuple[str, str]]:
    packs = PackFolder(str(folder))
    for date_ in packs.listed():
        manifest = packs.manifest(date_)
        assert manifest is not None
        packs.check(manifest)
        for name, one in manifest.files.items():
            if name != "summary.json":
                yield f"daily/{date_}/{name}", one.sha256
