"""Imported by every Python that `bouy exec` starts: `REGISTRY` of prometheus-client shows the recorders that run.

A program that `exec` starts is no recorder, and a registry holds what its own process counts. So that asking it
answers, as the guide's example does, a collector that reads the recorders' /metrics joins it, once it is imported.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

_LIBRARY = "prometheus_client"


class _RunningRecorders:
    """A collector that looks for the recorders anew each time that somebody asks."""

    def describe(self) -> list[Any]:
        """No metric's name is its own: a registry need not ask it to know."""
        return []

    def collect(self) -> Iterator[Any]:
        """The metrics of the recorders that run."""
        with suppress(ImportError):  # another Python, without this project
            from app.recorder.running import running_metrics

            yield from running_metrics()


class _AfterImport(MetaPathFinder):
    """Has the collector join the registry when the library has been imported."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """The library's own specification, once, and with an end of ours."""
        if name != _LIBRARY:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(name)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_join(module: ModuleType) -> None:
                execute(module)
                module.REGISTRY.register(_RunningRecorders())

            spec.loader.exec_module = execute_and_join  # type: ignore[method-assign]
        return spec


sys.meta_path.insert(0, _AfterImport())
