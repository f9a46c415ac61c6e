"""Packs and manifests: what they hold, that a changed byte is found, and what a hostile one can't do."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import BinaryIO

import pytest
import zstandard

from app.archive import packs
from app.archive.archiving import Archiver
from app.archive.manifest import DamagedArchiveError, Manifest, PackedFile, decode_manifest, is_plain_name, seal, unseal
from app.archive.pack import LEVEL, WINDOW_BITS, check_pack, read_pack, write_pack
from app.archive.packs import PackFolder
from app.archive.sources import open_source
from tests.conftest import IN_CI
from tests.faults import data

DATE = "2025-02-17"
FILES = [
    ("processed/c.json", b'{"c": 1}'),
    ("scrapers/nyc/a.json", b'{"a": 1}'),
    ("summary.json", b'{"total_jobs": 2}'),
]


def pack(path: Path, members: list[tuple[str, bytes]] = FILES) -> Manifest:
    with open(path, "wb") as file:
        return write_pack(file, DATE, members)


def by_hand(
    path: Path, *members: tarfile.TarInfo, content: bytes = b"x", declared: dict[str, int] | None = None
) -> Manifest:
    """A pack as an attacker makes it, with a manifest that tells of its very bytes."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(content[: member.size]) if member.isreg() else None)
    path.write_bytes(zstandard.compress(raw.getvalue()))
    return manifest_of(path, declared or {member.name.partition("/")[2]: member.size for member in members}, content)


def manifest_of(path: Path, sizes: dict[str, int], content: bytes) -> Manifest:
    whole = path.read_bytes()
    files = {name: PackedFile(size, hashlib.sha256(content[:size]).hexdigest()) for name, size in sizes.items()}
    return Manifest(DATE, path.name, len(whole), hashlib.sha256(whole).hexdigest(), files)


def member(name: str, size: int = 1, kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = size, kind, "/etc/passwd"
    return info


def test_the_same_files_give_the_same_bytes_and_come_back(tmp_path: Path) -> None:
    first, second = pack(tmp_path / "1"), pack(tmp_path / "2")
    assert first == second
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()
    assert list(read_pack(str(tmp_path / "1"), first)) == FILES
    assert first.by_scraper() == {"nyc": 1, "unknown": 1}
    assert first.summary == {"total_jobs": 2}


@pytest.mark.skipif(shutil.which("zstd") is None and not IN_CI, reason="there is no zstd")
def test_tar_of_any_system_reads_it_with_its_ordinary_memory(tmp_path: Path) -> None:
    pack(tmp_path / "day.tar.zst", [*FILES, ("scrapers/nyc/" + "x" * 200 + ".json", b"long")])
    subprocess.run(["tar", "--zstd", "-xf", "day.tar.zst"], cwd=tmp_path, check=True)
    assert (tmp_path / DATE / "scrapers/nyc/a.json").read_bytes() == b'{"a": 1}'
    assert (tmp_path / DATE / "scrapers/nyc" / ("x" * 200 + ".json")).read_bytes() == b"long"


def test_a_real_day_takes_less_than_1_6_megabytes_with_its_manifest(real_day: Path, tmp_path: Path) -> None:
    base = tmp_path / "base"
    (base / "out/daily").mkdir(parents=True)
    os.symlink(real_day, base / "out/daily/2025-08-08")
    (done,) = Archiver(data.layout(base), str(base / "arch"), data.nothing).run(["2025-08-08"], data.nothing_of)
    assert done.unpacked > 147_000_000
    assert sum(path.stat().st_size for path in (base / "arch").iterdir()) < 1_600_000


@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
@pytest.mark.parametrize("suffix", [".tar.zst", ".manifest.json.zst"])
def test_a_flipped_bit_is_found_and_named(archived_base: Path, tmp_path: Path, suffix: str, share: float) -> None:
    shutil.copytree(archived_base / "arch", tmp_path / "arch")
    (path,) = (tmp_path / "arch").glob(f"{DATE}*{suffix}")
    content = bytearray(path.read_bytes())
    content[int(len(content) * share)] ^= 4
    path.write_bytes(content)
    packs = PackFolder(str(tmp_path / "arch"))
    with pytest.raises(DamagedArchiveError, match=path.name):
        packs.check(packs.manifest(DATE) or pytest.fail("no manifest"))


def test_every_flipped_bit_of_a_manifest_is_found() -> None:
    sealed = seal(b'{"some": "manifest"}')
    for position in range(len(sealed) * 8):
        damaged = bytearray(sealed)
        damaged[position // 8] ^= 1 << position % 8
        with pytest.raises(ValueError, match="its bytes aren't those that were written"):
            unseal(bytes(damaged))


HOSTILE = [
    "../x.json",
    "/etc/x.json",
    "a/../../x",
    "a//b",
    ".hidden",
    "a/.hidden/b",
    "",
    ".",
    "a/",
    "a\0b",
    "a/" * 1500 + "x",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_manifest_that_names_what_is_outside_or_hidden_is_refused(name: str) -> None:
    assert not is_plain_name(name)
    manifest = Manifest(DATE, "x.tar.zst", 1, "0", {name: PackedFile(1, "0")})
    with pytest.raises(DamagedArchiveError, match="it names"):
        decode_manifest(manifest.encoded(), "the manifest")


@pytest.mark.parametrize("name", ["../x.tar.zst", "/x.tar.zst", ".x", "a/b"])
def test_a_manifest_whose_archive_is_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(DamagedArchiveError, match="the name of its archive"):
        decode_manifest(Manifest(DATE, name, 1, "0", {}).encoded(), "the manifest")


def refused(path: Path, manifest: Manifest) -> str:
    with pytest.raises(DamagedArchiveError) as caught:
        check_pack(str(path), manifest)
    return caught.value.message


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE]
)
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    manifest = by_hand(tmp_path / "p", member(f"{DATE}/processed/a.json", 0, kind))
    assert "doesn't name as a file" in refused(tmp_path / "p", manifest)


@pytest.mark.parametrize(
    "name", ["../../x", "/etc/x", f"{DATE}/../x", "2025-02-18/processed/a.json", "processed/a.json"]
)
def test_a_member_that_the_manifest_does_not_name_is_refused(tmp_path: Path, name: str) -> None:
    manifest = by_hand(tmp_path / "p", member(name), declared={"processed/a.json": 1})
    assert "which the manifest doesn't name" in refused(tmp_path / "p", manifest)


def test_a_member_that_comes_twice_is_refused(tmp_path: Path) -> None:
    twice = member(f"{DATE}/processed/a.json")
    assert "doesn't name" in refused(tmp_path / "p", by_hand(tmp_path / "p", twice, twice))


def test_a_member_that_is_missing_is_told(tmp_path: Path) -> None:
    manifest = by_hand(tmp_path / "p", declared={"processed/a.json": 1})
    assert "it lacks 'processed/a.json'" in refused(tmp_path / "p", manifest)


def test_a_member_that_is_larger_than_it_says_is_not_unpacked(tmp_path: Path) -> None:
    """A bomb: gigabytes of zeros in kilobytes."""
    info = tarfile.TarInfo(f"{DATE}/processed/a.json")
    info.size = 8 * 1024**3
    compressor = zstandard.ZstdCompressor().compressobj()
    parts = [compressor.compress(info.tobuf(tarfile.GNU_FORMAT))]
    parts += [compressor.compress(bytes(1024**2)) for _ in range(64)]
    (tmp_path / "p").write_bytes(b"".join([*parts, compressor.flush()]))
    assert "the manifest says 1" in refused(tmp_path / "p", manifest_of(tmp_path / "p", {"processed/a.json": 1}, b"x"))


def test_a_name_of_gigabytes_is_not_read(tmp_path: Path) -> None:
    info = tarfile.TarInfo("././@LongLink")
    info.size, info.type = 8 * 1024**3, tarfile.GNUTYPE_LONGNAME
    (tmp_path / "p").write_bytes(zstandard.compress(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024**2)))
    assert "header is too long" in refused(tmp_path / "p", manifest_of(tmp_path / "p", {}, b""))


def test_a_pipe_in_the_place_of_an_archive_is_not_waited_for(folder: PackFolder) -> None:
    manifest = folder.manifest(DATE)
    assert manifest is not None
    os.unlink(folder.path(manifest))
    os.mkfifo(folder.path(manifest))
    with pytest.raises(DamagedArchiveError, match="no plain file"):
        folder.check(manifest)
    with pytest.raises(DamagedArchiveError, match="no plain file"):
        list(open_source(folder.folder, None).read(manifest, []))


def test_a_frame_that_asks_for_more_memory_than_zstd_gives_is_refused(tmp_path: Path) -> None:
    parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=30)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    (tmp_path / "p").write_bytes(compressor.compress(bytes(1024)) + compressor.flush())
    assert "too much memory" in refused(tmp_path / "p", manifest_of(tmp_path / "p", {}, b""))


@pytest.fixture
def folder(archived_base: Path, tmp_path: Path) -> PackFolder:
    shutil.copytree(archived_base / "arch", tmp_path / "arch")
    return PackFolder(str(tmp_path / "arch"))


def test_an_archive_without_a_manifest_is_left_alone_and_what_was_left_behind_is_swept(
    folder: PackFolder, tmp_path: Path
) -> None:
    arch = tmp_path / "arch"
    (arch / f"{DATE}.manifest.json.zst").unlink()
    (arch / ".archive-1-x.0.tmp").write_bytes(b"half")
    killed = arch / f"{data.DAYS[0]}.{'0' * 12}.tar.zst"
    shutil.copyfile(next(arch.glob(f"{data.DAYS[0]}*.tar.zst")), killed)
    (arch / "notes.txt").write_text("a person's")
    (orphan, _) = folder.orphans()[::-1]
    with folder.writing():
        pass
    assert folder.orphans() == [orphan]
    assert orphan.startswith(DATE)
    assert not list(arch.glob("*.tmp"))
    assert (arch / "notes.txt").exists()


@pytest.mark.parametrize("copied", [False, True])
def test_what_the_disk_has_not_kept_as_it_was_written_gets_no_name(
    folder: PackFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, copied: bool
) -> None:
    def forget(file: BinaryIO) -> None:
        file.seek(-9, os.SEEK_END)
        file.write(b"\0")
        file.flush()

    monkeypatch.setattr(packs, "_read_back", forget)
    manifest = folder.manifest(DATE)
    assert manifest is not None
    other = PackFolder(str(tmp_path / "other"))
    with other.writing() as files, pytest.raises(DamagedArchiveError):
        other.adopt(files, folder, manifest, seen_ns=0) if copied else other.put(files, DATE, FILES, seen_ns=0)
    assert [name for name in os.listdir(other.folder) if name != ".lock"] == []


def test_another_host_s_archive_without_its_manifest_is_not_swept_though_the_day_has_one(folder: PackFolder) -> None:
    before = folder.manifest(DATE)
    assert before is not None
    theirs = [("scrapers/nyc/theirs.json", b"{}"), ("summary.json", b"{}")]
    with folder.writing() as files:
        folder.put(files, DATE, theirs, seen_ns=0)  # as `cp` of their folder over ours does
    with folder.writing():
        pass
    assert folder.made_ns(DATE) == 0, "when the day was looked at"
    assert folder.has(before)
    assert folder.orphans() == [before.name]
    with folder.writing() as files:
        folder.put(files, DATE, sorted([*read_pack(folder.path(before), before), theirs[0]], key=last), seen_ns=0)
    with folder.writing():
        pass
    assert folder.orphans() == []


def last(member: tuple[str, bytes]) -> tuple[bool, str]:
    return member[0] == "summary.json", member[0]


def test_the_level_and_the_window_are_those_of_the_documents() -> None:
    guide = (Path(__file__).resolve().parents[2] / "docs/data-management.md").read_text()
    assert f"level {LEVEL}" in guide
    assert f"{2 ** (WINDOW_BITS - 20)} MiB" in guide
