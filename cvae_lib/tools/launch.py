"""Start several processes of one training on this machine, to try what a cluster would do.

On a cluster the processes are started by its own means, such as `srun` or a Kubernetes job, with `TF_CONFIG` or Slurm's
variables in their environment; then this module is not needed.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack

GRACE_SECONDS = 60  # how long the others have to end by themselves once one has failed


def launch(workers: int, command: Sequence[str]) -> int:
    """Run a command of `python -m cvae_lib` in so many processes that train together; return 0, or a failure's code.

    The first process, the chief, shows its progress; of the others only the errors are shown. Once one has failed,
    those that do not end by themselves are stopped.
    """
    environments = make_environments(workers)
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "cvae_lib", *command],
            env={**os.environ, **environment},
            stdout=None if rank == 0 else subprocess.DEVNULL,
        )
        for rank, environment in enumerate(environments)
    ]
    try:
        return wait_for_all(processes)
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
        for process in processes:
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


def wait_for_all(processes: Sequence[subprocess.Popen], grace: float = GRACE_SECONDS) -> int:
    """Wait until all processes have ended, or so many seconds after the first failure; return its code, or 0.

    Ctrl-C reaches all processes of the terminal: it is passed on to nobody, and all have the same time to end.
    """
    code, end = 0, float("inf")
    while time.monotonic() < end and any(process.poll() is None for process in processes):
        try:
            time.sleep(0.1)
        except KeyboardInterrupt:
            code, end = code or 128 + signal.SIGINT, time.monotonic() + grace
        failed = [process.returncode for process in processes if process.poll()]
        if failed and not code:
            code, end = failed[0], time.monotonic() + grace
    return code or next((process.returncode for process in processes if process.returncode), 0)
