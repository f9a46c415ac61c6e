"""The embedded PostgreSQL: where its programs are, its folder's first filling, and becoming it.

Run as ``python -m app.bouy.postgres FOLDER PORT``: what supervisord starts. Everything of it is in FOLDER: ``data``
(the cluster) and ``password`` (the superuser's, for this user's eyes only).
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

from app.service.postgres import needed
from app.store.errors import RecorderError

DATABASE = "pantry_pirate_radio"
"""The database that the embedded server begins with."""

PROGRAMS = ("psql", "pg_dump", "pg_restore", "pg_isready")
"""What `exec` puts on the PATH."""

_USER = "postgres"
_HOST = "127.0.0.1"
_UNPRIVILEGED = ("postgres", "nobody")


def database_url(folder: Path, port: int) -> str:
    """How to connect to the server in this folder; its password is made when it is first asked for."""
    path = folder / "password"
    try:
        password = path.read_text(encoding="ascii")
    except FileNotFoundError:
        password = secrets.token_urlsafe(24)
        draft = path.with_suffix(".new")
        draft.touch(mode=0o600)
        draft.write_text(password, encoding="ascii")
        draft.replace(path)
    return f"postgresql://{_USER}:{quote(password)}@{_HOST}:{port}/{DATABASE}"


def initialize(folder: Path) -> Path:
    """Make the cluster, unless there is one; a start that was broken off before begins anew. Returns its folder."""
    data, draft = folder / "data", folder / "data.new"
    if (data / "PG_VERSION").exists():
        return data
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    password = folder / "password"
    if os.geteuid() == 0:
        owner = _unprivileged_user()
        os.chown(draft, owner.pw_uid, owner.pw_gid)
    options = ["--auth=scram-sha-256", f"--pwfile={password}", "--encoding=UTF8", "--locale=C.UTF-8", "-U", _USER]
    _run([needed("initdb"), *options, "-D", str(draft)])
    _run([needed("postgres"), "--single", "-D", str(draft), "postgres"], f"CREATE DATABASE {DATABASE}\n")
    draft.replace(data)
    return data


def command(data: Path, port: int) -> list[str]:
    """The server's command line: on loopback only."""
    options = ["-c", f"listen_addresses={_HOST}", "-c", "unix_socket_directories=", "-p", str(port)]
    return [*as_unprivileged(), needed("postgres"), "-D", str(data), *options]


def as_unprivileged() -> list[str]:
    """What to put before a command of PostgreSQL's, which refuses to work as root.

    It keeps root's way into folders, since a checkout may be in one that only root can enter.
    """
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        raise RecorderError("PostgreSQL can't run as root", hint="install util-linux's setpriv, or be another user")
    owner = _unprivileged_user()
    rights = ["--inh-caps", "+dac_override", "--ambient-caps", "+dac_override"]
    return ["setpriv", "--reuid", str(owner.pw_uid), "--regid", str(owner.pw_gid), "--clear-groups", *rights]


def _unprivileged_user() -> pwd.struct_passwd:
    for name in _UNPRIVILEGED:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise RecorderError("PostgreSQL can't run as root, and there is no other user", hint="add a user called postgres")


def _run(words: list[str], said: str = "") -> None:
    done = subprocess.run([*as_unprivileged(), *words], input=said, capture_output=True, text=True, check=False)
    if done.returncode or "FATAL" in done.stderr:
        raise RecorderError(f"{os.path.basename(words[0])} failed: {(done.stderr or done.stdout).strip()}")


def main(folder: str, port: str) -> int:
    """Become the server of a folder, or say why not."""
    try:
        words = command(initialize(Path(folder)), int(port))
    except RecorderError as error:
        print(f"postgres: {error}", file=sys.stderr)
        return error.exit_code
    return os.execv(shutil.which(words[0]) or words[0], words)  # noqa: S606  no shell is wanted


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
