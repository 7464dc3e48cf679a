"""`python -m cvae_lib`: the command line of `tools.cli`."""

import os
import signal
import sys

from cvae_lib.files import end_at_once

if __name__ == "__main__":
    listens = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # a job in the background may ignore it
    if listens:
        end_at_once("Nothing was begun.")
    from cvae_lib.tools.cli import main

    # In the locale C, or for a path that is no text, Python could not print and would lose a run's last line.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    code = main(ends_at_once=listens)
    try:
        sys.stdout.flush()
    except OSError:  # the reader has gone, or the disk is full, and main has said so: Python shall not try it again
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(code)
