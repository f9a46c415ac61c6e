"""`python -m bench.unsynced`: the recorder without any fsync, to see what they cost. It can lose data; no setting."""

from __future__ import annotations

import os
import sys

from app.recorder.cli import main

if __name__ == "__main__":
    os.fsync = lambda fd: None
    sys.exit(main())
