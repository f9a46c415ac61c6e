"""Imports go one way, as docs/architecture.md says, and that page names every module."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text()
MODULES = sorted(path.relative_to(ROOT) for folder in ("app", "bench") for path in (ROOT / folder).rglob("*.py"))
ONLY_WITH_SERVICE = {
    "app.archive.backup_cli",
    "app.archive.clean_cli",
    "app.archive.cli",
    "app.archive.cli_options",
    "app.recorder.cli",
    "app.recorder.failed_cli",
    "app.recorder.monitoring_cli",
    "app.recorder.running",
    "app.recorder.utils",
    "app.replay.cli",
}
STORE_LIBRARIES = {"orjson"}


def name_of(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def allowed() -> dict[str, set[str]]:
    """The table on the page: a package, and the packages that it may import."""
    section = PAGE.partition("## Imports go one way")[2]
    rows = re.findall(r"^\| `(app\.\w+|bench)` \| (.*) \|$", section, re.MULTILINE)
    return {package: set(re.findall(r"`(app\.\w+)`", cell)) for package, cell in rows}


def package_of(name: str) -> str:
    return ".".join(name.split(".")[: 2 if name.startswith("app.") else 1])


def test_the_table_covers_every_package() -> None:
    assert set(allowed()) == {package_of(name_of(path)) for path in MODULES if path.parent.name != "app"}


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_a_module_imports_only_what_its_package_may(path: Path) -> None:
    name = name_of(path)
    ours = {package_of(found) for found in imports_of(path) if found.partition(".")[0] in ("app", "bench")} - {"app"}
    may = allowed().get(package_of(name), set()) | {package_of(name)}
    if package_of(name) in ("app.archive", "app.recorder", "app.replay") and name not in ONLY_WITH_SERVICE:
        may = may - {"app.service"}
    assert ours <= may


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_only_the_recorder_imports_rqs_internals_and_the_store_needs_little(path: Path) -> None:
    top = {found.partition(".")[0] for found in imports_of(path)}
    if name_of(path) == "app.replay.enqueue":
        assert {found for found in imports_of(path) if found.partition(".")[0] == "rq"} == {"rq", "rq.Queue"}
    elif package_of(name_of(path)) not in ("app.recorder", "bench"):
        assert "rq" not in top
    if package_of(name_of(path)) == "app.store":
        assert top <= sys.stdlib_module_names | STORE_LIBRARIES | {"app"}


def test_there_are_no_import_cycles() -> None:
    names = {name_of(path) for path in MODULES}
    graph = {name_of(path): {found for found in imports_of(path) if found in names} for path in MODULES}
    while leaves := {name for name, needed in graph.items() if not needed & graph.keys() - {name}}:
        for name in leaves:
            del graph[name]
    assert not graph


@pytest.mark.parametrize("path", [path for path in MODULES if path.name not in ("__init__.py", "__main__.py")], ids=str)
def test_the_page_says_what_a_module_owns_and_so_does_the_module(path: Path) -> None:
    assert f"| `{path}` |" in PAGE
    assert ast.get_docstring(ast.parse((ROOT / path).read_text()))


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_only_settings_reads_the_environment_of_a_service(path: Path) -> None:
    if package_of(name_of(path)) not in ("app.bouy", "bench"):
        source = (ROOT / path).read_text()
        assert "os.environ" not in source
        assert "getenv" not in source
