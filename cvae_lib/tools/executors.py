"""Where the rows of a table are made: in processes of this machine, or by the workers of a Dask cluster.

Both are executors of `concurrent.futures`, so a sweep knows no difference. The cluster is started by its users' own
commands: `dask scheduler`, `dask worker` with one thread a process, or dask-jobqueue on Slurm.
"""

import multiprocessing
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from typing import Any

from cvae_lib import BookError

CONNECT_SECONDS = 10
WORKERLESS_SECONDS = 60  # how long a sweep waits for a first or a new worker
CHECK_SECONDS = 10


class ClusterError(BookError):
    """A cluster that cannot be used, or is lost: the message names its address and says what to do."""


@contextmanager
def open_pool(workers: int) -> Iterator[Executor]:
    """Open an executor of so many processes of this machine, a new process for each call."""
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), max_tasks_per_child=1) as pool:
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)  # otherwise an error, or Ctrl-C, would wait for all other calls


class Cluster:
    """A Dask cluster: `executor` runs calls on its workers, `check` raises ClusterError once it has been lost."""

    def __init__(self, client: Any, address: str):
        self.client, self.address = client, address
        self.executor = client.get_executor(pure=False)
        self.seen = time.monotonic()

    def check(self) -> None:
        """Raise ClusterError where the scheduler does not answer, or has had no worker for WORKERLESS_SECONDS."""
        try:
            workers = self.client.sync(self.client.scheduler.identity, callback_timeout=CONNECT_SECONDS)["workers"]
        except Exception as error:  # whatever Dask, Tornado or the network raises: the scheduler is not there
            raise lost(self.address, f"no answer ({type(error).__name__})") from error
        if workers:
            self.seen = time.monotonic()
        elif time.monotonic() - self.seen > WORKERLESS_SECONDS:
            raise lost(self.address, f"no worker for {WORKERLESS_SECONDS} s")


def lost(address: str, found: str) -> ClusterError:
    return ClusterError(
        f"--cluster {address}: found {found}; expected a Dask scheduler with workers. Start them again, and then the "
        "same command: it goes on with the rows that are missing."
    )


@contextmanager
def open_cluster(address: str) -> Iterator[Cluster]:
    """Connect with the Dask scheduler at this address, such as tcp://host:8786.

    Raises ClusterError where the package `distributed` is not installed, or nobody answers there.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise ClusterError(
            "--cluster: found no package distributed; expected it. Install it: pip install 'cvae-book[cluster]'"
        ) from error
    try:
        client = Client(address, timeout=CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        raise lost(address, f"nobody there ({type(error).__name__})") from error
    with client:
        cluster = Cluster(client, address)
        try:
            yield cluster
        finally:
            cluster.executor.shutdown(wait=False)


def as_finished(futures: Collection[Future], check: Callable[[], None] = lambda: None) -> Iterator[Any]:
    """Yield the results of the futures as they come; `check`, called every few seconds, may raise in between."""
    pending = set(futures)
    while pending:
        done, pending = wait(pending, CHECK_SECONDS, FIRST_COMPLETED)
        for future in done:
            try:
                yield future.result()
            except CancelledError:
                check()
                raise
        if not done:
            check()
