"""`python -m cvae_lib`: the command line of `tools.cli`."""

import os
import signal
import sys


def end_at_once(*_: object) -> None:
    """End the process with one line, as Ctrl-C does later. An import that is interrupted would call itself broken."""
    os.write(2, b"\nInterrupted. Nothing was begun.\n")
    os._exit(130)


if __name__ == "__main__":
    listens = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # a job in the background may ignore it
    if listens:
        signal.signal(signal.SIGINT, end_at_once)
    from cvae_lib.tools.cli import main

    if listens:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # In the locale C, or for a path that is no text, Python could not print and would lose a run's last line.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    code = main()
    try:
        sys.stdout.flush()
    except OSError:  # the reader has gone, or the disk is full, and main has said so: Python shall not try it again
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(code)
