"""Make the rows of a table of the book by eight jobs of a Slurm cluster: one row a job at a time.

    pip install 'cvae-book[cluster]' dask-jobqueue
    python examples/cluster/sweep_on_slurm.py five_epochs --out results

Run it where jobs may be submitted from. It starts a Dask scheduler there, and jobs with one Dask worker each; a job
that Slurm ends loses the row that it was making, and another job makes that row again.
"""

import subprocess
import sys

from dask_jobqueue import SLURMCluster

JOBS = 8
QUEUE_SECONDS = 24 * 3600  # how long the jobs may wait for their turn


def start_cluster() -> SLURMCluster:
    """Start the scheduler, which asks Slurm for the jobs once it is told how many."""
    # One thread of Dask makes one row, and a row on a cluster uses one thread of TensorFlow.
    return SLURMCluster(cores=1, processes=1, memory="4GB", walltime="04:00:00", death_timeout=60)


def main() -> int:
    """Run `sweep` with the arguments of this program, on the cluster; return its exit code."""
    with start_cluster() as cluster:
        cluster.scale(jobs=JOBS)
        cluster.wait_for_workers(1, timeout=QUEUE_SECONDS)  # a sweep gives up after a minute without a worker
        command = [sys.executable, "-m", "cvae_lib", "sweep", *sys.argv[1:], "--cluster", cluster.scheduler_address]
        return subprocess.call(command)


if __name__ == "__main__":
    sys.exit(main())
