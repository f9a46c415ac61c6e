"""What a folder of recordings comes to: ``python -m tests.replay.hsds.counts FOLDER``."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import orjson

from app.replay.hsds.mapping import map_recording
from app.replay.hsds.tables import TABLES
from tests.replay.hsds.model import fold, winners


def main(folder: Path) -> None:
    """Print verdicts, rows by table, what was set aside, and what linked services to locations."""
    recordings = [orjson.loads(path.read_bytes()) for path in folder.glob("**/*.json") if path.name != "summary.json"]
    start = time.process_time()
    mapped = [map_recording(recording) for recording in recordings]
    spent_s = time.process_time() - start
    accepted = sum(each.accepted for each in mapped)
    loaded = len(winners(mapped))
    table("recordings", {"loaded": loaded, "superseded": accepted - loaded})
    table("rejected", Counter(each.reason for each in mapped if each.reason))
    tables = fold(mapped)
    table("rows", {name: len(tables[name]) for name in TABLES if name in tables})
    table("of these, with coordinates", {"location": sum("latitude" in row for row in tables["location"].values())})
    table("set aside", Counter(f"{note.entity}: {note.reason}" for each in mapped for note in each.notes))
    table("services linked by", sum_of(each.link_basis for each in mapped))
    print(f"\n{1000 * spent_s / len(mapped):.2f} ms of processor time a recording")


def sum_of(counts: Iterable[dict[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return total


def table(title: str, counts: dict[str, int]) -> None:
    print(f"\n{title}")
    for name, count in counts.items():
        print(f"  {name:42} {count:6,}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
