"""What tests let run in other processes, and how they watch those: no TensorFlow, so that a process starts at once."""

import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest

HERE = Path(__file__).parent
PYTHONPATH = os.pathsep.join([str(HERE), str(HERE.parent.parent), os.environ.get("PYTHONPATH", "")])


# Calls


def note(folder, seconds=0.0):
    """Leave a file with the numbers of this process and of its parent, sleep, and return both."""
    numbers = os.getpid(), os.getppid()
    (Path(folder) / f"{numbers[0]}").write_text(f"{numbers[1]}", encoding="utf-8")
    time.sleep(seconds)
    return numbers


def kill_parent():
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)


def make_row(data, threads, expected, measure, measure_every, name, seed, recipe):
    """Be `sweeps.make_row_elsewhere`, for a measure that is the folder in which the rows are noted.

    The row of seed 1 is there at once. Others take a minute, unless there is a file `go` in the folder.
    """
    note(measure, 0 if seed == 1 or (Path(measure) / "go").exists() else 60)
    return {"name": name, "seed": seed}


# Processes


def noted(folder):
    """The numbers of the processes that left a file here, the oldest first."""
    paths = [path for path in Path(folder).iterdir() if path.name.isdigit()]
    return [int(path.name) for path in sorted(paths, key=lambda path: path.stat().st_mtime_ns)]


def is_running(number):
    """Whether a process of this number runs: one that has ended, and that nobody waited for, does not."""
    try:
        return psutil.Process(number).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until(holds, seconds=60):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"found no change in {seconds} s"
        time.sleep(0.05)


@contextmanager
def at(moment, do):
    """Do something, in a thread, as soon as the moment has come."""
    with ThreadPoolExecutor(1) as beside:
        future = beside.submit(lambda: (wait_until(moment), do()))
        yield
        future.result()


def start(*command, **environment):
    """Start a process in a session of its own; unless PYTHONPATH is given, it can import this file and the library."""
    environment = {**os.environ, "PYTHONPATH": PYTHONPATH, **environment}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command, cwd=HERE, env=environment, start_new_session=True, **quiet)


def kill(process):
    """End a process without notice, and with it all of its session."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextmanager
def open_dask(folder):
    """Start a scheduler: yield its address, its process, and a function that starts workers and waits for them.

    A call whose worker ends is given to another worker once.
    """
    distributed = pytest.importorskip("distributed", reason="distributed is not installed")
    with socket.create_server(("127.0.0.1", 0)) as free:
        host, port = free.getsockname()
    address = f"tcp://{host}:{port}"
    settings = {"DASK_TEMPORARY_DIRECTORY": str(folder), "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1"}
    with ExitStack() as started:

        def start_dask(*options, **environment):
            process = start(sys.executable, "-m", "dask", *options, "--no-dashboard", **settings, **environment)
            started.callback(kill, process)
            return process

        def add_workers(number, **environment):
            for _ in range(number):
                process = start_dask("worker", address, "--nthreads", "1", "--death-timeout", "20", **environment)
            with distributed.Client(address, timeout=60) as client:
                client.wait_for_workers(number, timeout=60)
            return process

        yield address, start_dask("scheduler", "--host", host, "--port", str(port)), add_workers
