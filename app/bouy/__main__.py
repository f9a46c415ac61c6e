"""Entry of ``python -m app.bouy``, and the one place where bouy reads the environment."""

import os
import sys

from app.bouy.cli import main

if __name__ == "__main__":
    sys.exit(main(dict(os.environ)))
