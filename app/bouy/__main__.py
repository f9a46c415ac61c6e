"""Entry of ``python -m app.bouy``, and the one place where bouy reads the environment."""

import signal

if __name__ == "__main__":
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # and not ignored, as under nohup
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C during the imports ends bouy without a traceback

    import os
    import sys

    from app.bouy.cli import main

    sys.exit(main(dict(os.environ)))
