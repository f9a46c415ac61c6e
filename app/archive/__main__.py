"""Entry of ``python -m app.archive``."""

import sys

from app.archive.cli import main

if __name__ == "__main__":
    sys.exit(main())
