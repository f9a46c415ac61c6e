"""What a disk may hold after a power cut, by the most adversarial reading of POSIX; fed with the calls of a trace.

The bytes of a file last once an fsync of it, begun after they were written, is over. A name lasts once an fsync of its
folder, begun after it was given, is over, and only if the names of the folders above it last. Of what isn't synced,
anything may be there: any of the names, in any combination, and any part of the bytes, or zeros. Only a rename is one
step: its two names change together or not at all. Flags such as O_SYNC, and syncs of anything else, count for nothing.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.trace import Call, descriptor, texts

Change = tuple[int, bytes]
"""Bytes that were written at an offset."""


Step = dict[str, "Node | None"]
"""Names of a folder that change together, and what they stand for then."""


@dataclass(eq=False, slots=True)
class File:
    """A file: the bytes that last, and what was written since."""

    synced: bytes = b""
    now: bytes = b""
    pending: list[Change] = field(default_factory=list)

    @property
    def lasting(self) -> bytes | None:
        """The file's bytes, if they are all on the disk."""
        return None if self.pending else self.synced

    def write(self, offset: int, content: bytes) -> None:
        self.now = _written(self.now, (offset, content))
        self.pending.append((offset, content))

    def sync(self, count: int) -> None:
        for change in self.pending[:count]:
            self.synced = _written(self.synced, change)
        del self.pending[:count]


@dataclass(eq=False, slots=True)
class Link:
    """A symbolic link; what it names is never changed."""

    target: str


@dataclass(eq=False, slots=True)
class Folder:
    """A folder: the names that last, and the steps since."""

    synced: dict[str, Node] = field(default_factory=dict)
    now: dict[str, Node] = field(default_factory=dict)
    pending: list[Step] = field(default_factory=list)

    def change(self, step: Step) -> None:
        _apply(step, self.now)
        self.pending.append(step)

    def sync(self, count: int) -> None:
        for step in self.pending[:count]:
            _apply(step, self.synced)
        del self.pending[:count]

    def possible(self, name: str) -> list[Node | None]:
        """All that a name may stand for after a power cut."""
        return [self.synced.get(name), *(step[name] for step in self.pending if name in step)]


Node = File | Link | Folder


@dataclass(frozen=True, slots=True)
class Moment:
    """The start or the end of a call."""

    at: int
    call: Call
    starts: bool


def moments(calls: Iterable[Call]) -> list[Moment]:
    """The starts and ends of calls that did something, in order; a call without an end only starts."""
    done = [call for call in calls if call.result is None or call.result >= 0]
    starts = [Moment(call.start, call, True) for call in done]
    ends = [Moment(call.end, call, False) for call in done if call.result is not None]
    return sorted(starts + ends, key=lambda moment: (moment.at, not moment.starts))


class Disk:
    """The files below one folder: what is there, and what would be left.

    What is there at the beginning is on the disk, all of it; `start` is a copy of it, if the folder has changed since.
    """

    def __init__(self, base: Path, start: Path | None = None) -> None:
        self.base = str(base)
        self.root = _adopt(start or base)
        self._files: dict[str, File | Folder] = {}
        """What the program's descriptors name."""
        self._marks: dict[int, int] = {}
        """For each sync that goes on, how many changes were there when it began."""

    def follow(self, moment: Moment) -> None:
        """Take in what a call does, at its end; at its start where that is what counts."""
        call = moment.call
        if moment.starts:
            if call.name == "close":
                self._files.pop(descriptor(call.args[0])[0], None)
            elif call.name in ("fsync", "fdatasync") and (node := self._opened(call)) is not None:
                self._marks[call.start] = len(node.pending)
            return
        getattr(self, f"_{_PLAIN.get(call.name, call.name)}", self._other)(call)

    def restarted(self) -> None:
        """The program has ended: its descriptors are closed."""
        self._files.clear()
        self._marks.clear()

    def finish(self, call: Call) -> None:
        """Take in a call that its program didn't live to see the end of, if the real files say that it was done."""
        if call.name in ("link", "linkat", "symlink", "symlinkat", "mkdir", "mkdirat", "openat"):
            path = self.path(call, last=call.name != "openat")
            done = path is not None and os.path.lexists(f"{self.base}/{path}") and self.find(path) is None
        elif call.name in ("rename", "renameat", "renameat2", "unlink", "unlinkat"):
            path = self.path(call, last=False)
            done = path is not None and not os.path.lexists(f"{self.base}/{path}") and self.find(path) is not None
        elif call.name == "write" and isinstance(node := self._opened(call), File):
            path = os.path.relpath(descriptor(call.args[0])[1], self.base)
            done = (Path(self.base) / path).read_bytes() != node.now
            call = Call(call.name, call.args, len(call.text), call.start, call.end)
        else:
            return
        if done:
            self.follow(Moment(call.end, call, False))

    def find(self, path: str) -> Node | None:
        """What a running program sees at a path inside the base."""
        node: Node | None = self.root
        for name in path.split("/"):
            node = node.now.get(name) if isinstance(node, Folder) else None
        return node

    def possible(self, path: str) -> list[Node | None]:
        """All that a path may stand for after a power cut."""
        *folders, name = path.split("/")
        folder = self.root
        for above in folders:
            nodes = folder.possible(above)
            if len(set(map(id, nodes))) > 1 or not isinstance(nodes[0], Folder):
                return [None]
            folder = nodes[0]
        return folder.possible(name)

    def lasts(self, path: str, right: Callable[[bytes], bool]) -> bool:
        """Whether there is a file at a path after any power cut, all of it, and each that may be there is right."""
        return all(
            isinstance(node, File) and node.lasting is not None and right(node.lasting) for node in self.possible(path)
        )

    def names(self, path: str) -> list[str]:
        """The names in a folder, as a running program sees them."""
        folder = self.find(path)
        return sorted(folder.now) if isinstance(folder, Folder) else []

    def path(self, call: Call, *, last: bool = True) -> str | None:
        """The path inside the base that is a call's last argument of the kind, or its first; None if outside."""
        found = [index for index, shown in enumerate(call.args) if shown.startswith('"')]
        index = found[-1 if last else 0]
        path = os.fsdecode(texts(call.args[index])[0])
        if not path.startswith("/") and call.name.endswith("at") and index > 0:
            path = f"{descriptor(call.args[index - 1])[1]}/{path}"
        path = os.path.normpath(path)
        return path[len(self.base) + 1 :] if path.startswith(self.base + "/") else None

    # What calls do, by their names.

    def _openat(self, call: Call) -> None:
        path = self.path(call)
        if path is None:
            if os.fsdecode(call.text) == self.base:
                self._files[str(call.result)] = self.root
            return
        flags = " ".join(call.args)
        if "O_CREAT" in flags and self.find(path) is None:
            self._give(path, File())
        node = self.find(path)
        assert isinstance(node, File | Folder), f"nothing to open at {path}"
        assert "O_TRUNC" not in flags or not (isinstance(node, File) and node.now), (
            f"cutting {path} short is not modelled"
        )
        self._files[str(call.result)] = node

    def _write(self, call: Call) -> None:
        node = self._opened(call)
        if isinstance(node, File):
            assert call.result is not None
            node.write(len(node.now), call.text[: call.result])  # all our files are written from their beginning on

    def _fsync(self, call: Call) -> None:
        if (node := self._opened(call)) is not None:
            node.sync(self._marks.pop(call.start))

    def _link(self, call: Call) -> None:
        old, new = self.path(call, last=False), self.path(call)
        if new is not None:
            assert old is not None
            self._give(new, self.find(old))

    def _rename(self, call: Call) -> None:
        old, new = self.path(call, last=False), self.path(call)
        if old is None or new is None:
            return
        assert os.path.dirname(old) == os.path.dirname(new), "a rename from one folder to another is not modelled"
        self._folder(new).change({os.path.basename(old): None, os.path.basename(new): self.find(old)})

    def _unlink(self, call: Call) -> None:
        if (path := self.path(call)) is not None:
            self._give(path, None)

    def _mkdir(self, call: Call) -> None:
        if (path := self.path(call)) is not None:
            self._give(path, Folder())

    def _symlink(self, call: Call) -> None:
        if (path := self.path(call)) is not None:
            self._give(path, Link(os.fsdecode(texts(call.args[0])[0])))

    def _other(self, call: Call) -> None:
        if call.name in ("close", "sendto"):  # what is sent to Redis may name a file, and changes none
            return
        shown = "".join(f"\\x{byte:02x}" for byte in os.fsencode(self.base))
        assert shown not in " ".join(call.args), f"{call.name} is not modelled"

    def _give(self, path: str, node: Node | None) -> None:
        self._folder(path).change({os.path.basename(path): node})

    def _folder(self, path: str) -> Folder:
        folder = self.find(os.path.dirname(path)) if "/" in path else self.root
        assert isinstance(folder, Folder), f"no folder for {path}"
        return folder

    def _opened(self, call: Call) -> File | Folder | None:
        number, path = descriptor(call.args[0])
        node = self._files.get(number)
        assert node is not None or not path.startswith(self.base + "/"), f"where does descriptor {number} come from?"
        return node

    # What is there, and what would be left.

    def assert_like(self, base: Path) -> None:
        """Nothing was missed: the model's files are those that are there."""
        assert dict(_walk("", self.root)) == dict(_walk("", _adopt(base)))

    def leave(self, target: Path, survives: Survival) -> None:
        """Make, as a new folder, what a power cut leaves."""
        target.mkdir()
        _leave("", self.root, target, survives, {})


class Survival:
    """What becomes of that which isn't synced: each bit of it survives by chance, from 0 (never) to 1 (always)."""

    def __init__(self, chance: float, rng: random.Random) -> None:
        self._chance = chance
        self._rng = rng

    def keeps(self, path: str, step: Step | None = None) -> bool:
        """Whether a change survives: a step of the folder at `path` inside the base, or bytes of the file there."""
        return self._rng.random() < self._chance

    def bytes_of(self, file: File, path: str) -> bytes:
        content = file.synced
        for offset, new in file.pending:
            if self.keeps(path):
                content = _written(content, (offset, new if self._chance == 1 else self._torn(new)))
        return content

    def _torn(self, content: bytes) -> bytes:
        whole = self._rng.randrange(len(content) + 1)
        return self._rng.choice([content, content[:whole], content[:whole] + bytes(len(content) - whole)])


def _leave(path: str, folder: Folder, target: Path, survives: Survival, made: dict[int, Path]) -> None:
    entries = dict(folder.synced)
    for step in folder.pending:
        if survives.keeps(path, step):
            _apply(step, entries)
    for name, node in entries.items():
        below, new = f"{path}/{name}".lstrip("/"), target / name
        if isinstance(node, Folder):
            new.mkdir()
            _leave(below, node, new, survives, made)
        elif isinstance(node, Link):
            new.symlink_to(node.target)
        elif id(node) in made:
            new.hardlink_to(made[id(node)])
        else:
            new.write_bytes(survives.bytes_of(node, below))
            made[id(node)] = new


def _adopt(base: Path) -> Folder:
    """A real folder, all of it on the disk."""
    names: dict[str, Node] = {}
    for entry in os.scandir(base):
        path = Path(entry.path)
        if entry.is_symlink():
            names[entry.name] = Link(os.readlink(path))
        elif entry.is_dir():
            names[entry.name] = _adopt(path)
        else:
            content = path.read_bytes()
            names[entry.name] = File(content, content)
    return Folder(names, dict(names))


def _walk(path: str, node: Node) -> Iterator[tuple[str, str | bytes]]:
    if isinstance(node, Folder):
        yield path, "folder"
        for name, below in node.now.items():
            yield from _walk(f"{path}/{name}", below)
    else:
        yield path, node.now if isinstance(node, File) else node.target


def _written(content: bytes, change: Change) -> bytes:
    offset, new = change
    return content[:offset].ljust(offset, b"\0") + new + content[offset + len(new) :]


def _apply(step: Step, names: dict[str, Node]) -> None:
    for name, node in step.items():
        if node is None:
            names.pop(name, None)
        else:
            names[name] = node


_PLAIN = {
    "open": "openat",
    "linkat": "link",
    "renameat": "rename",
    "renameat2": "rename",
    "unlinkat": "unlink",
    "mkdirat": "mkdir",
    "symlinkat": "symlink",
    "fdatasync": "fsync",
}
