"""Becomes a service: what supervisord runs, as ``python run.py STATE/services/NAME.json``.

The file holds the command, its folder, its whole environment and the umask, so that a service can be started anew with
others while supervisord, whose own settings can't carry every text, stays as it is. Standard library only.
"""

from __future__ import annotations

import json
import os
import sys


def main() -> None:
    """Replace this process by the service."""
    with open(sys.argv[1], encoding="ascii") as file:
        plan = json.load(file)
    os.umask(plan["umask"])
    os.chdir(plan["directory"])
    os.execve(plan["command"][0], plan["command"], plan["environment"])  # noqa: S606  no shell is wanted


if __name__ == "__main__":
    main()
