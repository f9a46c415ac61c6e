"""A folder of packs and their manifests: where they are, how one gets there, whether what is there is whole.

A pack has a part of its own sum in its name, so that a day's new one never overwrites the one before: which one counts
is said by the manifest, which is written last. Whoever dies on the way leaves files that no manifest names.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import BinaryIO

from app.archive.listing import TEMPORARY
from app.archive.manifest import PACK_SUFFIX, DamagedArchiveError, Manifest, decode_manifest
from app.archive.pack import VIEWS, Members, check_pack, open_plain, sums_in, write_pack
from app.store.errors import LockedError
from app.store.files import DurableFiles, storage_error, sweep
from app.store.latest import exclusive
from app.store.plain import read_plain

_MANIFEST = ".manifest.json.zst"
_PACKED = re.compile(r"[a-z-]*\d{4}-\d{2}-\d{2}\.[0-9a-f]{12}\.(tar|manifest\.json)\.zst")
_NAME = re.compile(r"(\d{4}-\d{2}-\d{2})\.[0-9a-f]{12}\.tar\.zst")
_SUM_DIGITS = 12
_CHUNK_BYTES = 1024**2


class PackFolder:
    """Packs in one folder, of which each day (with a prefix, as ``quarantine-``) has one or several.

    With `by_name` a manifest is named like its pack, so that a day can have several; else like its day, which has one.
    """

    def __init__(self, folder: str, *, by_name: bool = False) -> None:
        self.folder = os.path.abspath(folder)
        self._by_name = by_name

    def path(self, manifest: Manifest) -> str:
        """Where a manifest's pack is."""
        return f"{self.folder}/{manifest.name}"

    def listed(self) -> list[str]:
        """What has a manifest here, sorted: dates, or packs' names without their ending."""
        return sorted(name.removesuffix(_MANIFEST) for name in self._names() if name.endswith(_MANIFEST))

    def manifest(self, key: str) -> Manifest | None:
        """The manifest of a day or of a pack; None if there is none. Raises `DamagedArchiveError`, `StorageError`."""
        path = self.manifest_path(key)
        try:
            content, _ = read_plain(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise storage_error("can't read a manifest", path, error) from error
        manifest = decode_manifest(content, path)
        expected = manifest.key if self._by_name else manifest.date
        if expected != key:
            raise DamagedArchiveError("the manifest is of something else", path=path, hint="give it its own name back")
        return manifest

    def manifest_path(self, key: str) -> str:
        """Where the manifest of a day or of a pack is."""
        return f"{self.folder}/{key}{_MANIFEST}"

    def made_ns(self, key: str) -> int:
        """Before when, by the file system's clock, whatever is in this pack was written."""
        return os.stat(self.manifest_path(key)).st_mtime_ns

    def check(self, manifest: Manifest) -> bytes | None:
        """Read a whole pack; returns its summary's bytes. Raises `DamagedArchiveError`."""
        path = self.path(manifest)
        try:
            return check_pack(path, manifest)
        except OSError as error:
            raise self.unreadable(path, error) from error

    def check_size(self, manifest: Manifest) -> None:
        """Make sure that the pack is there and as long as it must be. Raises `DamagedArchiveError`."""
        path = self.path(manifest)
        try:
            size = os.stat(path).st_size
        except OSError as error:
            raise self.unreadable(path, error) from error
        if size != manifest.size:
            raise DamagedArchiveError(f"the archive has {size:,} bytes instead of {manifest.size:,}", path=path)

    def has(self, manifest: Manifest) -> bool:
        """Whether the pack is there, with as many bytes as it must have."""
        try:
            self.check_size(manifest)
        except DamagedArchiveError:
            return False
        return True

    def unreadable(self, path: str, error: OSError) -> DamagedArchiveError:
        """The error that a pack can't be read."""
        hint = "put it back from a backup" if error.errno == errno.ENOENT else "check the disk"
        return DamagedArchiveError(f"the archive can't be read ({error.strerror})", path=path, hint=hint)

    def put(self, files: DurableFiles, date: str, members: Members, *, seen_ns: int, prefix: str = "") -> Manifest:
        """Write a pack, read it back, then write its manifest; what is here already is left as it is.

        `seen_ns` is when it was looked at, by the file system's clock: a file written later isn't known to be in it.
        """
        with files.draft(self.folder) as draft:
            manifest = write_pack(draft.file, date, members)
            manifest = replace(manifest, name=f"{prefix}{date}.{manifest.sha256[:_SUM_DIGITS]}{PACK_SUFFIX}")
            _read_back(draft.file)
            check_pack(draft.temporary, manifest)
            if not self._is_whole(manifest):
                files.finish(draft, self.path(manifest))
        self.enter(files, manifest, seen_ns)
        return manifest

    def adopt(self, files: DurableFiles, source: PackFolder, manifest: Manifest, *, seen_ns: int) -> None:
        """Copy a pack from another folder, read the copy back, then write its manifest; a whole one is left alone."""
        if not self._is_whole(manifest):
            with files.draft(self.folder) as draft:
                try:
                    with open_plain(source.path(manifest)) as file:
                        shutil.copyfileobj(file, draft.file, _CHUNK_BYTES)
                except FileNotFoundError as error:
                    raise self.unreadable(source.path(manifest), error) from error
                _read_back(draft.file)
                check_pack(draft.temporary, manifest)
                files.finish(draft, self.path(manifest))
        self.enter(files, manifest, seen_ns)

    def enter(self, files: DurableFiles, manifest: Manifest, seen_ns: int) -> None:
        """Write the manifest of a pack that is here, with the time before which its files were written."""
        path = self.manifest_path(manifest.key if self._by_name else manifest.date)
        files.write(path, manifest.encoded())
        with suppress(OSError):
            os.utime(path, ns=(seen_ns, seen_ns))

    def _is_whole(self, manifest: Manifest) -> bool:
        try:
            self.check(manifest)
        except DamagedArchiveError:
            return False
        return True

    def orphans(self) -> list[str]:
        """Names of packs that no manifest here tells of, sorted; a day's only pack is looked at only if it has none."""
        packs: dict[str, list[str]] = {}
        for name in self._names():
            if parts := _NAME.fullmatch(name):
                packs.setdefault(parts[1], []).append(name)
        listed = set(self.listed())
        found = []
        for date, names in packs.items():
            if len(names) > 1 or date not in listed:
                with suppress(DamagedArchiveError):  # then none can be told to be one
                    manifest = self.manifest(date)
                    found += [name for name in names if manifest is None or name != manifest.name]
        return sorted(found)

    def sweep(self) -> None:
        """Remove what a dead writer left; the caller holds the lock.

        A pack that no manifest names goes only where its day has another, whole, that holds all of it: it may be
        another host's, of which the manifest was copied over ours.
        """
        for name in self._names():
            if TEMPORARY.fullmatch(name):
                os.unlink(f"{self.folder}/{name}")
        for name in [] if self._by_name else self.orphans():
            parts = _NAME.fullmatch(name)
            with suppress(DamagedArchiveError):
                manifest = self.manifest(parts[1]) if parts else None
                if manifest is not None and self._has_all_of(name, manifest):
                    os.unlink(f"{self.folder}/{name}")

    def _has_all_of(self, name: str, manifest: Manifest) -> bool:
        """Whether all that a loose pack holds is in another one, which is whole. Raises `DamagedArchiveError`."""
        known = {one.sha256 for one in manifest.files.values()}
        if any(digest not in known for inside, digest in sums_in(f"{self.folder}/{name}") if inside not in VIEWS):
            return False
        self.check(manifest)
        return True

    def remove_spare(self, needed: Collection[str]) -> None:
        """Remove packs that nobody needs, once all that is in one is in the needed ones of its day; the caller holds
        the lock.

        Where the last that needed a day's recordings is gone, or lost, its pack may be all that is left of them.
        """
        whole: dict[str, set[str]] = {}
        for key in sorted(self._keys() - set(needed)):
            day = key.rpartition(".")[0]
            if day not in whole:
                whole[day] = self._sums_in_whole(one for one in needed if one.rpartition(".")[0] == day)
            with suppress(DamagedArchiveError):  # then nobody knows what is in it
                if whole[day] and self._sums_of(key) <= whole[day]:
                    for ending in (PACK_SUFFIX, _MANIFEST):
                        with suppress(FileNotFoundError):
                            os.unlink(f"{self.folder}/{key}{ending}")

    def _keys(self) -> set[str]:
        names = (name for name in self._names() if _PACKED.fullmatch(name))
        return {name.removesuffix(PACK_SUFFIX).removesuffix(_MANIFEST) for name in names}

    def _sums_in_whole(self, keys: Iterable[str]) -> set[str]:
        """The sums of all files in those of these packs of which every byte is right."""
        found: set[str] = set()
        for key in keys:
            manifest = self.manifest(key)
            if manifest is not None and self._is_whole(manifest):
                found.update(one.sha256 for one in manifest.files.values())
        return found

    def _sums_of(self, key: str) -> set[str]:
        """The sums of what is in a pack, but for the summary; by its manifest, if it has one."""
        manifest = self.manifest(key)
        if manifest is not None:
            return {one.sha256 for name, one in manifest.files.items() if name not in VIEWS}
        return {digest for name, digest in sums_in(f"{self.folder}/{key}{PACK_SUFFIX}") if name not in VIEWS}

    def _names(self) -> list[str]:
        try:
            return sorted(os.listdir(self.folder))
        except FileNotFoundError:
            return []

    @contextmanager
    def writing(self) -> Iterator[DurableFiles]:
        """Durable writes here, by one command at a time. Raises `LockedError` while another one is at work."""
        files = DurableFiles(self.folder, f"archive-{os.getpid()}-{secrets.token_hex(4)}")
        try:
            with only_one(f"{self.folder}/.lock", self.folder):
                self.sweep()
                yield files
        finally:
            files.close()
            leave_nothing(files, self.folder)


def leave_nothing(files: DurableFiles, *folders: str) -> None:
    """Remove what a writer that was interrupted has left in these folders, as far as the disk lets us."""
    for folder in folders:
        with suppress(OSError):
            sweep([folder], files.writer)


def _read_back(file: BinaryIO) -> None:
    """Have what was written come from the disk, not from memory, when it is read."""
    file.flush()
    os.fsync(file.fileno())
    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@contextmanager
def only_one(lock: str, what: str) -> Iterator[None]:
    """Hold a lock that one command at a time may hold. Raises `LockedError` at once if another one changes `what`."""
    with ExitStack() as held:
        try:
            held.enter_context(exclusive(lock, 0))
        except LockedError:
            hint = "run this again when that is done"
            raise LockedError("another command is changing what is there", path=what, hint=hint) from None
        yield
