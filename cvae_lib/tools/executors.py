"""Run calls in Python processes of their own: on this machine, or on the workers of a Dask cluster.

Threads, generators and compiled functions of TensorFlow outlive a call, so a call in a used process could give another
result than in a new one. The cluster is started by its users' own commands, `dask scheduler` and `dask worker`, or by
dask-jobqueue on Slurm.
"""

import asyncio
import logging
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cvae_lib import BookError

ANSWER_SECONDS = 10  # how long a scheduler may take to answer
CHECK_SECONDS = 5  # how often it is asked for its workers
WORKERLESS_SECONDS = 60  # how long it may have none
OF_ONE_TRAINING = ("TF_CONFIG", "SLURM_STEP_NUM_TASKS")  # would make each call wait for the others, to train together

Submit = Callable[[bytes], Future]


class ExecutorError(BookError):
    """Processes that cannot be used or were lost: the message names them and says what to do."""


def run_all(
    calls: Sequence[Callable[[], Any]], keep: Callable[[Any], None], workers: int = 1, cluster: str | None = None
) -> None:
    """Run each call in a process of its own, and pass its result to `keep` as soon as it is there.

    `workers` calls run at a time on this machine, or as many as the Dask cluster at the address `cluster` has threads.
    Calls and results are pickled. SIGINT and SIGTERM end the calls that run, and then KeyboardInterrupt is raised. A
    call that fails ends the others, too, and its error is raised. In both cases the results that were there have been
    kept. Raises ExecutorError where a process or the cluster is lost.
    """
    place = open_cluster(cluster) if cluster else open_processes(workers)
    with place as (submit, check), note_signals() as stopped:
        pending = {submit(pickle.dumps(call)) for call in calls}
        while pending:
            is_last = stopped.is_set()
            done, pending = wait(pending, 0 if is_last else 0.5, FIRST_COMPLETED)
            failed = {future for future in done if future.cancelled() or future.exception()}
            for future in done - failed:
                keep(future.result())
            for future in failed:
                future.result()  # raises its error
            if is_last and pending:
                raise KeyboardInterrupt
            check()


@contextmanager
def note_signals() -> Iterator[threading.Event]:
    """Yield an event that SIGINT or SIGTERM sets: neither then raises an error in the middle of writing a file."""
    stopped = threading.Event()
    with handle_signals(lambda *_: stopped.set()):
        yield stopped


@contextmanager
def handle_signals(handler: Callable[..., Any]) -> Iterator[None]:
    """Give SIGINT and SIGTERM this handler, and at the end those that they had before."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, handler) for number in numbers]
    try:
        yield
    finally:
        for number, earlier in zip(numbers, before, strict=True):
            signal.signal(number, earlier)


@contextmanager
def open_processes(workers: int) -> Iterator[tuple[Submit, Callable[[], None]]]:
    """Yield a function that runs a call on this machine, so many at a time, and one that has nothing to check."""
    ended = threading.Event()
    with ThreadPoolExecutor(workers) as pool:
        try:
            yield lambda call: pool.submit(run_apart, call, ended.is_set), lambda: None
        finally:
            ended.set()
            pool.shutdown(cancel_futures=True)


@contextmanager
def open_cluster(address: str) -> Iterator[tuple[Submit, Callable[[], None]]]:
    """Yield a function that runs a call on a worker of this Dask scheduler, and one that checks that there are workers.

    The address is such as tcp://host:8786. Raises ExecutorError where the package `distributed` is not installed,
    nobody answers at the address, or the scheduler or all its workers are lost.
    """
    try:
        import distributed
    except ImportError as error:
        raise ExecutorError(
            "--cluster: found no package distributed; expected it. Install it: pip install 'cvae-book[cluster]'"
        ) from error
    try:
        # Not left to the Client, which would wait for ever where something else answers.
        found = asyncio.run(asyncio.wait_for(identify(address), ANSWER_SECONDS))["type"]
    except (OSError, ValueError) as error:
        raise lose(address, f"no answer ({error!r})") from error
    if found != "Scheduler":
        raise lose(address, f"a Dask {found}")
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # the error of a lost scheduler is ours
    client: Any = distributed.Client(address, timeout=ANSWER_SECONDS)
    executor = client.get_executor(pure=False)

    def ask() -> Future:
        return asyncio.run_coroutine_threadsafe(client.scheduler.identity(), client.loop.asyncio_loop)

    answer, asked, seen = ask(), time.monotonic(), time.monotonic()

    def check() -> None:
        nonlocal answer, asked, seen
        now = time.monotonic()
        if not answer.done() and now - asked > ANSWER_SECONDS:
            raise lose(address, f"no answer for {ANSWER_SECONDS} s")
        if answer.done() and now - asked > CHECK_SECONDS:
            try:
                workers = answer.result()["workers"]
            except OSError as error:
                raise lose(address, f"no answer ({error!r})") from error
            seen = now if workers else seen
            if now - seen > WORKERLESS_SECONDS:
                raise lose(address, f"no worker for {WORKERLESS_SECONDS} s")
            answer, asked = ask(), now

    # It has no name in this module, so it is pickled whole, and a worker with another version can say so.
    def run_there(call: bytes) -> Any:
        import distributed

        try:
            from cvae_lib.tools.executors import run_on_worker
        except ImportError as error:
            raise ImportError(f"worker {distributed.get_worker().address}: {error}") from None
        return run_on_worker(call)

    try:
        yield lambda call: executor.submit(run_there, call), check
    except ImportError as error:
        raise lose(address, f"another version of the book ({error})") from error
    except CancelledError as error:
        raise lose(address, "that the scheduler went away") from error
    except distributed.KilledWorker as error:
        raise lose(address, f"a row during which {error.allowed_failures + 1} workers ended") from error
    finally:
        executor.shutdown(wait=False)  # the workers end what they run for us
        client.close(timeout=2)


async def identify(address: str) -> dict[str, Any]:
    """Ask the process at this address what part of a Dask cluster it is."""
    import distributed

    async with distributed.rpc(address) as process:
        return await process.identity()


def lose(address: str, found: str) -> ExecutorError:
    """Make the error of a cluster that cannot be used, with what was found."""
    return ExecutorError(
        f"--cluster {address}: found {found}; expected a Dask scheduler with workers. Start what is missing, and then "
        "the same command again."
    )


def run_on_worker(call: bytes) -> Any:
    """Run a call for a worker of a Dask cluster until the call is cancelled; its errors name the worker."""
    from distributed import get_worker

    worker = get_worker()
    key = worker.get_current_task()
    try:
        return run_apart(call, lambda: worker.state.tasks[key].state == "cancelled")
    except BookError as error:
        raise ExecutorError(f"worker {worker.address}: {error}") from error


def run_apart(call: bytes, is_stopped: Callable[[], bool]) -> Any:
    """Run a pickled call in a new Python process; return its result, or raise its error.

    The process ends when `is_stopped` returns True or when this process ends. Raises ExecutorError where it ends before
    the call does.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "call").write_bytes(call)
        environment = {key: value for key, value in os.environ.items() if key not in OF_ONE_TRAINING}
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, folder],
            env={**environment, "TMPDIR": name},  # for all its files, since it may be killed
            stdin=subprocess.PIPE,  # which ends with this process
            start_new_session=True,  # Ctrl-C then reaches this process alone
        )
        with process:
            try:
                while process.poll() is None and not is_stopped():
                    time.sleep(0.1)
            finally:
                process.kill()
        if process.returncode:
            raise ExecutorError(
                f"process {process.pid}: found that it ended with the code {process.returncode} before its row was "
                "done; expected the row. Is there memory enough? The same command goes on."
            )
        is_result, outcome = pickle.loads((folder / "outcome").read_bytes())
    if is_result:
        return outcome
    raise outcome


def main(folder: Path) -> None:
    """Be the process of `run_apart`: run the file `call` of the folder, and write the file `outcome`.

    The outcome is a pair: whether there is a result, and the result or the error. When standard input ends, so does
    this process, because its parent is gone.
    """
    threading.Thread(target=end_with_parent, daemon=True).start()
    try:
        outcome = True, unpickle((folder / "call").read_bytes())()
    except Exception as error:
        error.add_note(traceback.format_exc())
        outcome = False, error
    (folder / "outcome").write_bytes(pickle.dumps(outcome))


def unpickle(call: bytes) -> Callable[[], Any]:
    """Make a call of its bytes. Raises ExecutorError where this version of the library does not have its function."""
    try:
        return pickle.loads(call)
    except (AttributeError, ImportError) as error:
        raise ExecutorError(
            f"found another version of the book ({error}); expected that which started the sweep. Install it there."
        ) from error


def end_with_parent() -> None:
    """Wait for the end of standard input, and then end this process without further ado."""
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
