"""Several processes started at once: what they are told, what is seen of them, and how they end."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from calls import at

from cvae_lib.tools import launch
from cvae_lib.tools.cli import main

TRAIN = ["train", "mnist-2d", "--data", "sample"]


@pytest.fixture
def stand_in(monkeypatch):
    """Start a few lines of Python in place of each training; they know their `rank` and the `command`."""
    popen = subprocess.Popen

    def let(code):
        know = "import json, os, sys, time; command = sys.argv[1:]\n"
        know += "rank = json.loads(os.environ['TF_CONFIG'])['task']['index']\n"
        start = lambda command, **kwargs: popen([sys.executable, "-c", know + code, *command[1:]], **kwargs)  # noqa: E731
        monkeypatch.setattr(launch.subprocess, "Popen", start)

    return let


def test_each_process_has_its_place_and_all_addresses():
    configs = [json.loads(each["TF_CONFIG"]) for each in launch.make_environments(3)]
    assert [config["task"] for config in configs] == [{"type": "worker", "index": rank} for rank in range(3)]
    assert all(config["cluster"] == configs[0]["cluster"] for config in configs)
    assert len(set(configs[0]["cluster"]["worker"])) == 3


@pytest.mark.parametrize("dashes", [[], ["--"]])
def test_the_command_runs_in_each_process_and_the_chief_is_seen(stand_in, capfd, dashes):
    stand_in("print(rank, command); print('error of', rank, file=sys.stderr)")
    assert main(["launch", "--workers", "3", *dashes, *TRAIN]) == 0
    printed, errors = capfd.readouterr()
    assert printed.splitlines() == [f"0 {['-m', 'cvae_lib', *TRAIN]}", "launch: 3 processes trained together"]
    assert sorted(errors.splitlines()) == [f"error of {rank}" for rank in range(3)]


def test_a_failure_is_named_and_stops_those_who_do_not_end(stand_in, monkeypatch, capfd):
    monkeypatch.setattr(launch, "GRACE_SECONDS", 0.3)
    stand_in("if rank == 1: sys.exit(3)\ntime.sleep(60)")
    assert main(["launch", "--workers", "3", "--", *TRAIN]) == 1
    assert capfd.readouterr() == (
        "",
        "error: process 1 of 3: found its exit code 3; expected 0. What it says itself stands above.\n",
    )


def test_the_others_have_time_to_end_by_themselves(stand_in, tmp_path, capfd):
    stand_in(f"if rank == 0: sys.exit(1)\ntime.sleep(0.5); open({str(tmp_path / 'end')!r}, 'x')")
    assert main(["launch", "--", *TRAIN]) == 1
    assert (tmp_path / "end").exists() and capfd.readouterr().err.startswith("error: process 0 of 2")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("code", ["time.sleep(60)", "if rank: sys.exit(3)\ntime.sleep(60)"])
def test_a_signal_is_explained_once_all_have_ended(stand_in, capfd, code, number):
    """Within seconds, also where one has failed and the others have time to end."""
    stand_in(code)
    before, started = signal.getsignal(number), []

    def stop():
        time.sleep(0.5)
        started.append(time.monotonic())
        os.kill(os.getpid(), number)

    with at(lambda: signal.getsignal(number) is not before, stop):
        assert main(["launch", "--", *TRAIN]) == 130
    assert capfd.readouterr().err == "\nInterrupted. The same command goes on from the last finished epoch.\n"
    assert time.monotonic() - started[0] < 5 and signal.getsignal(number) is before


def test_ctrl_c_is_left_to_the_process_that_has_launched_the_others(ctrl_c, stand_in, capfd):
    """A terminal sends it to all of them, and each would say so."""
    stand_in("import signal; os.kill(os.getpid(), signal.SIGINT); print('goes on')")
    assert main(["launch", "--", *TRAIN]) == 0
    assert capfd.readouterr() == ("goes on\nlaunch: 2 processes trained together\n", "")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
