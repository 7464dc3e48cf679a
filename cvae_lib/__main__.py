"""`python -m cvae_lib`: the command line of `tools.cli`."""

import os
import sys

from cvae_lib.tools.cli import main

if __name__ == "__main__":
    # In the locale C, or for a path that is no text, Python could not print and would lose a run's last line.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    code = main()
    try:
        sys.stdout.flush()
    except OSError:  # the reader has gone, or the disk is full, and main has said so: Python shall not try it again
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(code)
