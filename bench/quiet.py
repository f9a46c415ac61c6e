"""`python -m bench.quiet`: the recorder without metrics and without log events of batches, to see what they cost."""

from __future__ import annotations

import os
import sys
from typing import Any

from app.recorder.cli import main
from app.recorder.worker import RecorderWorker


def _announce(self: RecorderWorker, **options: Any) -> None:
    announce(self, **options)
    print("ready", file=sys.stderr, flush=True)  # the bench waits for this word, which is logged at info


if __name__ == "__main__":
    os.environ |= {"RECORDER_METRICS_PORT": "0", "LOG_LEVEL": "warning"}
    announce = RecorderWorker._announce
    RecorderWorker._announce = _announce  # type: ignore[method-assign]
    sys.exit(main())
