"""The launcher, with stand-ins for Python that note what they are asked to do: nothing is downloaded."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.bouy.conftest import ROOT

Eventually = Callable[[Callable[[], Any]], Any]

PYTHON = """\
#!/bin/sh
# A Python of version {version}, with venv or not; what it would install is noted in a file.
case "$*" in
    --version) echo "Python {version}" ;;
    *version_info*) [ {usable} = yes ] ;;
    *ensurepip*) [ {venv} = yes ] ;;
    *fcntl*) exec {real} "$@" ;;
    "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && echo venv >>"{log}" ;;
    "-m pip "*) echo "pip $*" >>"{log}"; {pip} ;;
    *app.bouy*) printf '%s|' ran "$@"; echo ;;
    *) echo "unexpected: $*" >&2; exit 99 ;;
esac
"""


class Checkout:
    """A copy of the launcher, and a PATH with nothing on it but the tools it needs and the given Pythons."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "check out"
        self.programs = folder / "some bin"
        self.log = folder / "a log"
        self.processes: list[subprocess.Popen[str]] = []
        self.root.mkdir()
        self.programs.mkdir()
        self.real = self.programs / "the real python"
        self.real.symlink_to(sys.executable)
        for name in ("bouy", "pyproject.toml", "constraints.txt"):
            shutil.copy(ROOT / name, self.root / name)
        for tool in ("cat", "cksum", "cp", "dirname", "mkdir", "readlink", "rm", "sleep", "touch"):
            program = shutil.which(tool)
            assert program is not None
            (self.programs / tool).symlink_to(program)

    def python(self, name: str = "python3", *, version: str = "3.12.1", venv: bool = True, pip: str = "true") -> None:
        usable = tuple(map(int, version.split("."))) >= (3, 11)
        path = self.programs / name
        path.write_text(
            PYTHON.format(
                version=version,
                usable="yes" if usable else "no",
                venv="yes" if venv else "no",
                real=shlex.quote(str(self.real)),
                log=self.log,
                pip=pip,
            )
        )
        path.chmod(0o755)

    def command(self, *arguments: str) -> list[str]:
        return [str(self.root / "bouy"), *arguments]

    def start(self, *arguments: str, code: int = 0, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.command(*arguments), env={"PATH": str(self.programs)}, cwd=cwd, capture_output=True, text=True
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    def popen(self, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            self.command(*arguments),
            env={"PATH": str(self.programs)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.processes.append(process)
        return process

    def close(self) -> None:
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                signal_group(process, signal.SIGKILL)
            process.communicate()

    @property
    def steps(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    with contextlib.closing(Checkout(tmp_path)) as made:
        yield made


def test_the_first_start_installs_the_runtime_and_the_second_does_not(checkout: Checkout) -> None:
    checkout.python()
    first = checkout.start("exec", "app", "a b", "")
    assert first.stdout == "ran|-P|-m|app.bouy|exec|app|a b||\n"
    assert first.stderr.count("\n") == 1
    assert [step.split()[0] for step in checkout.steps] == ["venv", "pip"]
    assert checkout.steps[1].endswith("-c constraints.txt -e .")

    second = checkout.start("ps")
    assert (second.stdout, second.stderr) == ("ran|-P|-m|app.bouy|ps|\n", "")
    assert len(checkout.steps) == 2


@pytest.mark.parametrize("arguments", [("test",), ("bench", "--quick"), ("--quiet", "--state", "x", "test", "-k", "y")])
def test_the_tests_need_the_dev_extra_and_install_it_when_asked_for(
    checkout: Checkout, arguments: tuple[str, ...]
) -> None:
    checkout.python()
    checkout.start("ps")
    checkout.start(*arguments)
    assert checkout.steps[-1].endswith("-e .[dev]")
    steps = len(checkout.steps)
    checkout.start("ps")
    checkout.start("test")
    assert len(checkout.steps) == steps, "what has the extra has the runtime too"


@pytest.mark.parametrize("arguments", ["test --help", "--quiet test -h", "--help test", "--version test"])
def test_help_and_version_install_no_extra(checkout: Checkout, arguments: str) -> None:
    checkout.python()
    checkout.start(*arguments.split())
    assert checkout.steps[-1].endswith("-e .")


def test_help_among_pytests_arguments_installs_the_extra(checkout: Checkout) -> None:
    checkout.python()
    checkout.start("test", "-k", "x", "--help")
    assert checkout.steps[-1].endswith("-e .[dev]")


def test_an_argument_named_test_of_another_command_installs_no_extra(checkout: Checkout) -> None:
    checkout.python()
    checkout.start("exec", "app", "test")
    assert checkout.steps[-1].endswith("-e .")


@pytest.mark.parametrize("changed", ["pyproject.toml", "constraints.txt"])
def test_a_changed_requirement_is_installed_into_the_same_environment(checkout: Checkout, changed: str) -> None:
    checkout.python()
    checkout.start("ps")
    with open(checkout.root / changed, "a") as file:
        file.write("# changed\n")
    checkout.start("ps")
    assert [step.split()[0] for step in checkout.steps] == ["venv", "pip", "pip"]


def test_a_moved_checkout_gets_a_new_environment(checkout: Checkout) -> None:
    checkout.python()
    checkout.start("ps")
    checkout.root = checkout.root.rename(checkout.root.with_name("moved"))
    checkout.start("ps")
    assert [step.split()[0] for step in checkout.steps] == ["venv", "pip", "venv", "pip"]


def test_an_environment_that_a_person_made_is_added_to_and_not_replaced(checkout: Checkout) -> None:
    checkout.python()
    mine = checkout.root / ".venv/bin/mine"
    mine.parent.mkdir(parents=True)
    mine.touch()
    shutil.copy(checkout.programs / "python3", mine.with_name("python"))
    checkout.start("ps")
    assert mine.exists()
    assert [step.split()[0] for step in checkout.steps] == ["pip"]


def test_a_failed_install_says_so_and_the_next_start_makes_it_anew(checkout: Checkout) -> None:
    checkout.python(pip="echo 'ERROR: no network' >&2; exit 1")
    failed = checkout.start("ps", code=1)
    assert "ERROR: no network" in failed.stderr
    assert "run this again" in failed.stderr
    assert failed.stdout == ""
    checkout.python()
    assert checkout.start("ps").stdout.startswith("ran|")
    assert [step.split()[0] for step in checkout.steps] == ["venv", "pip", "venv", "pip"]


def test_ctrl_c_in_an_install_is_quiet_and_the_next_start_makes_it_anew(
    checkout: Checkout, eventually: Eventually
) -> None:
    checkout.python(pip="sleep 60")
    interrupted = checkout.popen("ps")
    eventually(lambda: len(checkout.steps) == 2)
    signal_group(interrupted, signal.SIGINT)
    out, errors = interrupted.communicate(timeout=10)
    assert (interrupted.returncode, out) == (130, "")
    assert "interrupted" in errors.splitlines()[-1]
    checkout.python()
    assert checkout.start("ps").stdout.startswith("ran|")


def test_a_killed_install_holds_nobody_up(checkout: Checkout, eventually: Eventually) -> None:
    checkout.python(pip="sleep 60")
    killed = checkout.popen("ps")
    eventually(lambda: len(checkout.steps) == 2)
    signal_group(killed, signal.SIGKILL)
    killed.communicate(timeout=10)
    checkout.python()
    assert checkout.start("ps").stdout.startswith("ran|")


def test_of_two_first_starts_at_once_one_installs_and_the_other_waits(
    checkout: Checkout, eventually: Eventually
) -> None:
    gate = checkout.root / "gate"
    checkout.python(pip=f"while [ ! -e '{gate}' ]; do sleep 0.05; done")
    first = checkout.popen("ps")
    eventually(lambda: len(checkout.steps) == 2)
    second = checkout.popen("ps")
    assert second.stderr is not None
    assert "waiting for another bouy" in second.stderr.readline()
    gate.touch()
    for process in (first, second):
        assert process.communicate(timeout=10)[0].startswith("ran|")
    assert [step.split()[0] for step in checkout.steps] == ["venv", "pip"]


def test_a_python_that_is_too_old_is_named_with_what_to_install(checkout: Checkout) -> None:
    checkout.python(version="3.9.2")
    said = checkout.start("ps", code=1).stderr
    assert "needs Python 3.11 or newer; found Python 3.9.2" in said
    assert "apt install python3" in said
    assert "brew install python" in said
    assert said.count("\n") == 1


def test_no_python_at_all_is_said_too(checkout: Checkout) -> None:
    assert "found none" in checkout.start("ps", code=1).stderr


def test_a_newer_python_beside_an_old_one_is_found(checkout: Checkout) -> None:
    checkout.python(version="3.9.2")
    checkout.python("python3.13", version="3.13.0")
    assert checkout.start("ps").stdout.startswith("ran|")


def test_a_python_without_venv_is_told_how_to_get_it(checkout: Checkout) -> None:
    checkout.python(venv=False)
    said = checkout.start("ps", code=1).stderr
    assert "python3 lacks the venv module" in said
    assert "apt install python3-venv" in said
    assert not (checkout.root / ".venv").exists()


def test_it_is_found_through_links_and_from_any_folder(checkout: Checkout, tmp_path: Path) -> None:
    checkout.python()
    (tmp_path / "first").symlink_to(checkout.root / "bouy")
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / "second"
    link.symlink_to("../first")
    done = subprocess.run([link, "ps"], env={"PATH": str(checkout.programs)}, cwd="/", capture_output=True, text=True)
    assert done.stdout == "ran|-P|-m|app.bouy|ps|\n"


@pytest.mark.parametrize(("given", "told"), [({}, "1"), ({"CI": ""}, "1"), ({"CI": "false"}, "false")])
def test_ci_runs_the_tests_as_ci(tmp_path: Path, given: dict[str, str], told: str) -> None:
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/run", tmp_path / ".ci/run")
    (tmp_path / "bouy").write_text('#!/bin/sh\necho "$CI" "$@"\n')
    (tmp_path / "bouy").chmod(0o755)
    environ = {"PATH": os.environ["PATH"], **given}
    done = subprocess.run([tmp_path / ".ci/run", "-x"], env=environ, cwd="/", capture_output=True, text=True)
    assert done.stdout == f"{told} test -x\n"


@pytest.mark.parametrize("version", ["3.11.0", "3.11.9", "3.12.0", "3.13.0", "3.14.0"])
def test_the_constraints_cover_what_the_packages_need_on_any_python(version: str) -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    python = {"python_full_version": version, "python_version": version.rpartition(".")[0], "extra": ""}
    pinned = [Requirement(line) for line in lines]
    names = {canonicalize_name(pin.name) for pin in pinned if pin.marker is None or pin.marker.evaluate(python)}
    for name in names - {"async-timeout"}:
        for needed in map(Requirement, metadata.requires(name) or ()):
            if needed.name != "setuptools" and (needed.marker is None or needed.marker.evaluate(python)):
                assert canonicalize_name(needed.name) in names, f"{name} needs it"


def signal_group(process: subprocess.Popen[str], number: int) -> None:
    """What a terminal does at Ctrl-C: signal the whole group."""
    os.killpg(process.pid, number)
