"""Start several processes of one training on this machine, to try what a cluster would do.

On a cluster the processes are started by its own means, such as `srun` or a Kubernetes job, with `TF_CONFIG` or Slurm's
variables in their environment; then this module is not needed.
"""

import json
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from cvae_lib import BookError
from cvae_lib.tools.executors import note_signals

GRACE_SECONDS = 30  # how long the others have to end by themselves once one has failed


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
                shown = subprocess.DEVNULL if processes else None
                processes.append(start([sys.executable, "-m", "cvae_lib", *command], environment, stdout=shown))
            wait_for_all(processes, stopped)
        finally:
            for process in processes:
                process.kill()
                process.wait()


def start(command: Sequence[str], environment: dict[str, str], **options: Any) -> subprocess.Popen:
    """Start a process that leaves Ctrl-C, which a terminal sends to all, to this one: then one line says so.

    Its environment is that of this process with these changes. The options are those of `subprocess.Popen`.
    """
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # which the new process inherits
    try:
        return subprocess.Popen(command, env={**os.environ, **environment}, **options)
    finally:
        signal.signal(signal.SIGINT, before)


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
    """Wait until all processes have ended. After a failure the others have GRACE_SECONDS to do so.

    Raises LaunchError for the first that failed, or KeyboardInterrupt once `stopped` is set.
    """
    end, failure = math.inf, None
    while time.monotonic() < end and any(process.poll() is None for process in processes):
        if stopped.is_set():
            raise KeyboardInterrupt
        time.sleep(0.1)
        if not failure and (failure := find_failure(processes)):
            end = time.monotonic() + GRACE_SECONDS
    if failure := failure or find_failure(processes):
        raise failure


def find_failure(processes: Sequence[subprocess.Popen]) -> LaunchError | None:
    """Return the error that names a process which has ended and failed, if there is one."""
    for rank, process in enumerate(processes):
        if process.poll():
            return LaunchError(
                f"process {rank} of {len(processes)}: found its exit code {process.returncode}; expected 0. What it "
                "says itself stands above."
            )
    return None
