"""Entry of ``python -m app.recorder``."""

import sys

from app.recorder.cli import main

if __name__ == "__main__":
    sys.exit(main())
