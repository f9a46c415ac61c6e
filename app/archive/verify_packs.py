"""Verify archives and backups: manifests, and every byte of the packs where that is asked for. Reads only."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from app.archive.findings import Findings, Kind
from app.archive.manifest import Manifest
from app.archive.pack import sum_of
from app.archive.packs import PackFolder
from app.archive.snapshots import Repository, Snapshot
from app.store.errors import RecorderError, UsageError

_SHARE = re.compile(r"(\d{1,3}(?:\.\d{1,3})?)%")


@dataclass(frozen=True, slots=True)
class Reading:
    """How much is read: a share of the packs, drawn anew each time."""

    share: float = 0.0

    def chosen(self, keys: Iterable[str]) -> set[str]:
        """The packs of which every byte is read: at least one, if any share is."""
        every = sorted(keys)
        count = max(1, round(len(every) * self.share)) if self.share else 0
        return set(random.SystemRandom().sample(every, min(count, len(every))))


def parse_share(text: str) -> Reading:
    """What ``10%`` says. Raises `UsageError`."""
    match = _SHARE.fullmatch(text)
    if match is None or not 0 < float(match[1]) <= 100:
        raise UsageError(f"not a share: {text}", hint="say it in percent, as 10%")
    return Reading(float(match[1]) / 100)


class PackVerifier:
    """Checks folders of packs. `advance` is called for each pack."""

    def __init__(self, reading: Reading, *, most_examples: int, advance: Callable[[], object]) -> None:
        self._reading = reading
        self._most_examples = most_examples
        self._advance = advance

    def check_archives(self, folder: str) -> Findings:
        """A folder of archives, which may not be there."""
        findings = Findings(self._most_examples)
        packs = PackFolder(folder)
        self._check(packs, packs.listed(), findings)
        for name in packs.orphans():
            findings.add(Kind.ARCHIVE_ORPHAN, f"{packs.folder}/{name}", "no manifest tells of it")
        return findings

    def check_backup(self, folder: str) -> Findings:
        """A backup: its snapshots, all packs that they need, and the dumps of the database."""
        findings = Findings(self._most_examples)
        repository = Repository(folder)
        snapshots = []
        for name in repository.names():
            try:
                snapshots.append(repository.read(name))
            except RecorderError as error:
                findings.add(Kind.ARCHIVE_DAMAGED, error.path or folder, error.message)
        needed = {key for snapshot in snapshots for key in snapshot.needed()}
        self._check(repository.packs, sorted(needed.union(repository.packs.listed())), findings)
        self._check_dumps(repository, snapshots, findings)
        findings.checked["snapshots"] = len(snapshots)
        return findings

    def _check(self, packs: PackFolder, keys: list[str], findings: Findings) -> None:
        chosen = self._reading.chosen(keys)
        for key in keys:
            findings.checked["archives"] += 1
            try:
                manifest = packs.manifest(key)
                if manifest is None:
                    findings.add(Kind.ARCHIVE_DAMAGED, packs.manifest_path(key), "there is no such manifest")
                else:
                    self._check_pack(packs, manifest, read=key in chosen)
            except RecorderError as error:
                findings.add(Kind.ARCHIVE_DAMAGED, error.path or key, error.message)
            self._advance()

    def _check_pack(self, packs: PackFolder, manifest: Manifest, *, read: bool) -> None:
        packs.check_size(manifest)
        if read:
            packs.check(manifest)

    def _check_dumps(self, repository: Repository, snapshots: list[Snapshot], findings: Findings) -> None:
        dumps = {snapshot.database.name: snapshot.database for snapshot in snapshots if snapshot.database}
        chosen = self._reading.chosen(dumps)
        for name, dump in dumps.items():
            path = f"{repository.dumps}/{name}"
            try:
                if os.path.getsize(path) != dump.size or (name in chosen and sum_of(path) != dump.sha256):
                    findings.add(Kind.ARCHIVE_DAMAGED, path, "its bytes aren't those that were written")
            except OSError as error:
                findings.add(Kind.ARCHIVE_DAMAGED, path, error.strerror or str(error))


def is_pack_folder(folder: str) -> bool:
    """Whether archives are kept in this folder."""
    packs = PackFolder(folder)
    return bool(packs.listed() or packs.orphans())
