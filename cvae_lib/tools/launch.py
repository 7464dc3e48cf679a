"""Start several processes of one training on this machine, to try what a cluster would do.

On a cluster the processes are started by its own means, such as `srun` or a Kubernetes job, with `TF_CONFIG` or Slurm's
variables in their environment; then this module is not needed.
"""

import json
import math
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack

from cvae_lib import BookError
from cvae_lib.tools.executors import note_signals

GRACE_SECONDS = 30  # how long the others have to end by themselves once one has failed
STOP_SECONDS = 3  # how long all have after Ctrl-C, which a terminal sends to all of them


class LaunchError(BookError):
    """A process that failed: the message says which one, and its own message stands above."""


def launch(workers: int, command: Sequence[str]) -> None:
    """Run a command of `python -m cvae_lib` in so many processes that train together, and wait for them.

    The first process, the chief, shows its progress; of the others only the errors are shown. Raises LaunchError where
    one failed, after the others have ended: those that do not end by themselves are stopped. After SIGINT or SIGTERM
    all are stopped, and KeyboardInterrupt is raised.
    """
    processes: list[subprocess.Popen] = []
    with note_signals() as stopped:
        try:
            for environment in make_environments(workers):
                processes.append(
                    subprocess.Popen(
                        [sys.executable, "-m", "cvae_lib", *command],
                        env={**os.environ, **environment},
                        stdout=subprocess.DEVNULL if processes else None,
                    )
                )
            wait_for_all(processes, stopped)
        finally:
            for process in processes:
                process.kill()
                process.wait()


def make_environments(workers: int) -> list[dict[str, str]]:
    """Make the environment of each process: TF_CONFIG with free ports of this machine and the place of the process."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(workers)]
        addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    return [
        {"TF_CONFIG": json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": rank}})}
        for rank in range(workers)
    ]


def wait_for_all(processes: Sequence[subprocess.Popen], stopped: threading.Event) -> None:
    """Wait until all processes have ended. After a failure, or once `stopped` is set, they have some seconds to do so.

    Raises LaunchError for the first that failed, or KeyboardInterrupt once `stopped` is set.
    """
    end = math.inf
    reason: BaseException | None = None
    while time.monotonic() < end and any(process.poll() is None for process in processes):
        time.sleep(0.1)
        if stopped.is_set() and not isinstance(reason, KeyboardInterrupt):
            end, reason = time.monotonic() + STOP_SECONDS, KeyboardInterrupt()
        elif not reason and (reason := find_failure(processes)):
            end = time.monotonic() + GRACE_SECONDS
    if reason := reason or find_failure(processes):
        raise reason


def find_failure(processes: Sequence[subprocess.Popen]) -> LaunchError | None:
    """Return the error that names a process which has ended and failed, if there is one."""
    for rank, process in enumerate(processes):
        if process.poll():
            return LaunchError(
                f"process {rank} of {len(processes)}: found its exit code {process.returncode}; expected 0. What it "
                "says itself stands above."
            )
    return None
