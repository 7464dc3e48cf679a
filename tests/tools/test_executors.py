"""Calls in processes of their own, on this machine and on a Dask cluster that is started by Dask's own commands."""

import operator
import os
import signal
import socket
import sys
import time
from functools import partial

import calls
import pytest
from calls import at, is_running, kill, noted, open_dask, start, wait_until

from cvae_lib.data import load_mnist
from cvae_lib.tools import executors
from cvae_lib.tools.executors import ExecutorError, run_all


@pytest.fixture(params=["here", "dask"])
def place(request):
    """The options of `run_all` for two processes, on this machine and on a cluster."""
    return {"workers": 2} if request.param == "here" else {"cluster": request.getfixturevalue("dask")}


def test_each_call_has_a_process_of_its_own(place, tmp_path):
    kept = []
    run_all([partial(calls.note, tmp_path)] * 4, kept.append, **place)
    processes = {number for number, _ in kept}
    assert len(kept) == len(processes) == 4 and os.getpid() not in processes
    assert sorted(processes) == sorted(noted(tmp_path)) and not any(map(is_running, processes))


def test_a_call_trains_alone(place, monkeypatch):
    """Though it is started by one of the processes of a training, or by a step of Slurm."""
    kept = []
    monkeypatch.setenv("TF_CONFIG", "{}")
    run_all([partial(os.getenv, "TF_CONFIG", "unset")], kept.append, **place)
    assert kept == ["unset"]


def test_an_error_keeps_its_class_and_ends_the_others(place, tmp_path):
    """It comes with the place in the code where it was raised, which is in another process."""
    slow = partial(calls.note, tmp_path, 60)
    started = time.monotonic()
    with pytest.raises(ZeroDivisionError, match="division") as caught:
        run_all([slow, partial(operator.truediv, 1, 0)], lambda result: None, **place)
    assert time.monotonic() - started < 30 and ", in main" in "".join(caught.value.__notes__)
    wait_until(lambda: not any(map(is_running, noted(tmp_path))), 5)


def test_an_error_that_the_user_can_fix_names_the_worker(dask):
    with pytest.raises(ExecutorError, match="^worker tcp://127.0.0.1:[0-9]+: nonesuch.npz: found no such file"):
        run_all([partial(load_mnist, "nonesuch.npz")], print, cluster=dask)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all_and_keeps_what_is_there(place, number, tmp_path):
    """Within five seconds, and the handlers of before are there again."""
    before, kept, stopped = signal.getsignal(number), [], []

    def stop():
        os.kill(os.getpid(), number)
        stopped.append(time.monotonic())

    quick, slow = partial(abs, -1), partial(calls.note, tmp_path, 60)
    with at(lambda: kept and noted(tmp_path), stop), pytest.raises(KeyboardInterrupt):
        run_all([quick, slow, slow, slow], kept.append, **place)
    wait_until(lambda: not any(map(is_running, noted(tmp_path))), 5)
    assert time.monotonic() - stopped[0] < 5 and kept == [1] and signal.getsignal(number) is before


def test_a_lost_process_is_named(tmp_path):
    def lose():
        os.kill(*noted(tmp_path), signal.SIGKILL)

    with at(lambda: noted(tmp_path), lose), pytest.raises(ExecutorError, match="code -9 before .*; expected the row"):
        run_all([partial(calls.note, tmp_path, 60)], lambda result: None)


def test_another_version_is_named():
    with pytest.raises(ExecutorError, match="found another version of the book .*'run_nothing'.*; expected that which"):
        executors.unpickle(b"ccvae_lib.tools.executors\nrun_nothing\n.")


def test_a_process_ends_with_its_parent(tmp_path):
    code = "import calls; from functools import partial; from cvae_lib.tools.executors import run_all;"
    code += f"run_all([partial(calls.note, {str(tmp_path)!r}, 60)], print)"
    parent = start(sys.executable, "-c", code)
    wait_until(lambda: noted(tmp_path))
    kill(parent)
    wait_until(lambda: not any(map(is_running, noted(tmp_path))), 5)


def test_a_killed_worker_s_call_is_made_again(dask, tmp_path):
    """Nothing of the first one is kept, and its process ends."""
    kept, first = [], []

    def kill_worker():
        first.extend(noted(tmp_path))
        os.kill(int((tmp_path / f"{first[0]}").read_text(encoding="utf-8")), signal.SIGKILL)
        wait_until(lambda: not is_running(first[0]), 5)

    with at(lambda: noted(tmp_path), kill_worker):
        run_all([partial(calls.note, tmp_path, 3)], kept.append, cluster=dask)
    assert [number for number, _ in kept] == [number for number in noted(tmp_path) if number not in first]


def test_a_call_that_ends_its_workers_is_given_up(dask):
    with pytest.raises(ExecutorError, match=f"{dask}: found a row during which 2 workers ended; expected"):
        run_all([calls.kill_parent], print, cluster=dask)


def test_a_cluster_that_cannot_be_used_is_named(tmp_path, monkeypatch):
    """Without workers, with other workers, and with a scheduler that is stopped or killed; what was there is kept."""
    monkeypatch.setattr(executors, "ANSWER_SECONDS", 60)  # it is started now
    with open_dask(tmp_path) as (address, scheduler, add_workers):
        monkeypatch.setattr(executors, "CHECK_SECONDS", 0.5)
        monkeypatch.setattr(executors, "WORKERLESS_SECONDS", 1)
        with pytest.raises(
            ExecutorError, match=f"^--cluster {address}: found no worker for 1 s; expected a Dask sched"
        ):
            run_all([partial(abs, -1)], print, cluster=address)

        (tmp_path / "cvae_lib").mkdir()
        (tmp_path / "cvae_lib" / "__init__.py").touch()
        other = add_workers(1, PYTHONPATH=str(tmp_path))
        with pytest.raises(ExecutorError, match="found another version of the book .worker tcp:.*: No module named"):
            run_all([partial(abs, -1)], print, cluster=address)
        kill(other)

        add_workers(2)  # with one, the second call may be the first
        monkeypatch.setattr(executors, "ANSWER_SECONDS", 5)

        def lose(number, found):
            kept = []
            with at(lambda: kept, lambda: os.kill(scheduler.pid, number)):
                with pytest.raises(ExecutorError, match=f"^--cluster {address}: found {found}; expected a Dask sched"):
                    run_all([partial(abs, -1), partial(time.sleep, 60)], kept.append, cluster=address)
            assert kept == [1]

        lose(signal.SIGSTOP, "no answer for 5 s")
        os.kill(scheduler.pid, signal.SIGCONT)
        lose(signal.SIGKILL, "that the scheduler went away")


def test_a_wrong_address_is_named(dask, monkeypatch):
    """One that is none, where nobody is, where something else answers or does not, and that of a worker."""
    monkeypatch.setattr(executors, "ANSWER_SECONDS", 2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        mute = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        worker = find_worker(dask)
        for address, found in [
            ("nonesuch", "no answer .ValueError.*missing port"),
            ("tcp://nonesuch.invalid:8786", "no answer .TimeoutError"),
            (mute, "no answer .TimeoutError"),
            (worker, "a Dask Worker"),
        ]:
            with pytest.raises(
                ExecutorError, match=f"^--cluster {address}: found {found}.*; expected a Dask scheduler"
            ):
                run_all([partial(abs, -1)], print, cluster=address)


def find_worker(address):
    """The address of one of the workers of this scheduler."""
    import distributed

    with distributed.Client(address) as client:
        return next(iter(client.scheduler_info()["workers"]))


def test_without_distributed_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ExecutorError, match=r"found no package distributed; .*pip install 'cvae-book\[cluster\]'"):
        run_all([partial(abs, -1)], print, cluster="tcp://127.0.0.1:8786")
