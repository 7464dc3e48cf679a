"""Several processes that train together: the same result as one, and what happens when they do not fit or are lost."""

import json
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from cvae_lib.pretrained import load_history, load_pretrained
from cvae_lib.tools.launch import launch, make_environments
from cvae_lib.training.checkpoints import LOSSES, TrainingError
from cvae_lib.training.distributed import Cluster, choose_strategy, find_cluster, meet, read_tf_config, split_address
from cvae_lib.training.loop import train

# What the environment says


def config(kind="worker", index=0, **cluster):
    return json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})


def test_tf_config_gives_the_addresses_and_the_place():
    assert read_tf_config(config(index=1, worker=["a:1", "b:2"])) == (["a:1", "b:2"], 1)
    assert read_tf_config(config("chief", 0, chief=["c:3"], worker=["a:1"])) == (["c:3", "a:1"], 0)
    assert read_tf_config(config("worker", 0, chief=["c:3"], worker=["a:1"])) == (["c:3", "a:1"], 1)


@pytest.mark.parametrize(
    "text, found",
    [
        ("not JSON", "'not JSON'"),
        ('{"cluster": {"worker": ["a:1"]}}', "KeyError: 'task'"),
        ('{"cluster": ["a:1"], "task": {"type": "worker", "index": 0}}', "AttributeError"),
        (config(chief=["a:1", "b:1"], worker=["c:1"]), "2 chiefs"),
        (config(index=2, worker=["a:1", "b:1"]), "with index 2"),
        (config(index=-1, worker=["a:1", "b:1"]), "with index -1"),
        (config(index="0", worker=["a:1", "b:1"]), "with index '0'"),
        (config("chief", worker=["a:1", "b:1"]), "the task 'chief'"),
        (config(worker=["a:1", "a:1"]), "one address twice"),
        (config(worker=["a", "b:1"]), "'a' as an address"),
        (config(worker=["a:1"], ps=["b:1"]), "processes of the kind ps"),
    ],
)
def test_a_wrong_tf_config_is_named(text, found):
    with pytest.raises(TrainingError, match="TF_CONFIG: found ") as error:
        find_cluster({"TF_CONFIG": text})
    assert found in str(error.value)


def test_one_process_is_no_cluster():
    assert find_cluster({}) is None
    assert find_cluster({"TF_CONFIG": config(worker=["a:1"])}) is None
    assert find_cluster({"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}) is None  # an allocation, and no step of it


def test_a_step_of_slurm_is_a_cluster(monkeypatch):
    step = {"STEP_NUM_TASKS": "3", "PROCID": "2", "STEP_NODELIST": "node[07-08]", "STEP_TASKS_PER_NODE": "2,1"}
    slurm = {f"SLURM_{name}": value for name, value in step.items()}
    for name, value in slurm.items():
        monkeypatch.setenv(name, value)
    assert find_cluster(slurm) == Cluster(("node07:8888", "node07:8889", "node08:8888"), 2)


def test_dropout_is_for_one_process(tiny):
    with pytest.raises(TrainingError, match=r"dropout: found 0\.5 .* expected 0"):
        choose_strategy(Cluster(("a:1", "b:1"), 0), replace(tiny, dropout=0.5), {})


# Meeting


def meet_all(facts, ranks=None, seconds=1.0, meanwhile=lambda address: None, host="127.0.0.1"):
    """Let processes of a cluster of this size, here threads, meet; return what each of them was told."""
    cluster = json.loads(make_environments(len(facts))[0]["TF_CONFIG"])["cluster"]
    addresses = tuple(address.replace("127.0.0.1", host) for address in cluster["worker"])

    def one(rank):
        try:
            return meet(Cluster(addresses, rank), facts[rank], seconds)
        except TrainingError as error:
            return str(error)

    with ThreadPoolExecutor(len(facts)) as threads:
        told = threads.map(one, ranks or range(len(facts)))
        meanwhile(split_address(addresses[0]))
        return list(told)


def connect_with(address):
    while True:
        try:
            return socket.create_connection(address)
        except ConnectionRefusedError:
            time.sleep(0.01)


def test_all_who_have_the_same_facts_meet():
    assert meet_all([{"seed": 1, "sizes": (2, 3)}] * 3) == [None] * 3


def test_other_facts_are_named_to_all():
    """To those, too, who come after the one that differs."""
    told = meet_all([{"seed": 1, "digest": "a"}, {"seed": 1, "digest": "b"}, {"seed": 1, "digest": "a"}])
    assert len(set(told)) == 1
    assert told[0].startswith("process 1: found {'digest': 'b'}; expected what the chief has, {'digest': 'a'}")


@pytest.mark.parametrize("ranks, absent", [([0, 2], "process 1 (127"), ([1, 2], "chief (127")])
def test_one_who_does_not_come_is_named_to_all(ranks, absent):
    started = time.monotonic()
    for text in meet_all([{}] * 3, ranks):
        assert text.startswith(absent) and "within 1 s" in text
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("rank", [0, 1])
def test_two_with_the_same_place_are_refused(rank):
    """On one machine, by the port that both would use."""
    told = meet_all([{}] * 3, [rank, rank, 1 - rank])
    assert sum("found its port in use" in text for text in told) == 1
    assert all("did not come" in text or "its port" in text for text in told)


def report(address, rank, facts):
    """Report as a process of another machine does, whose port is not the chief's to see; return the answer."""
    with connect_with(address) as line, line.makefile("rw", encoding="utf-8") as file:
        file.write(json.dumps({"rank": rank, "facts": facts}) + "\n")
        file.flush()
        return json.loads(file.readline())


def test_two_with_the_same_place_on_two_machines_are_refused():
    answers = []

    def come_twice(address):
        addresses = [f"127.0.0.1:{port}" for port in range(address[1], address[1] + 3)]
        with ThreadPoolExecutor(2) as threads:
            answers.extend(threads.map(lambda _: report(address, 1, {"addresses": addresses}), range(2)))

    told = meet_all([{}] * 3, [0], meanwhile=come_twice)
    assert answers == told * 2 and "process 1: came 2 times; expected it once." in told[0]


def test_another_cluster_is_named():
    """A process whose TF_CONFIG has more processes than the chief's."""
    answers = []
    told = meet_all(
        [{}] * 2, [0], meanwhile=lambda a: answers.append(report(a, 2, {"addresses": ["a:1", "b:1", "c:1"]}))
    )
    assert answers == told
    assert told[0].startswith("process 2: found {'addresses': ['a:1', 'b:1', 'c:1']}; expected what the chief has, ")


def test_others_who_connect_are_ignored():
    """A program that looks for open ports, one that says nothing, and some that speak of something else."""
    silent = []

    def disturb(address):
        silent.append(connect_with(address))
        connect_with(address).close()
        for text in (b"GET / HTTP/1.1\r\n\r\n", b"\xff\xfe\n", b"{}\n", b'{"rank": "1", "facts": {}}\n', b"[1, 2]\n"):
            with connect_with(address) as line:
                line.sendall(text)

    assert meet_all([{}] * 2, seconds=10, meanwhile=disturb) == [None] * 2
    silent[0].close()


def test_a_process_that_is_killed_while_it_waits_does_not_hold_up_the_others():
    def come_and_go(address):
        with connect_with(address) as line:
            line.sendall(b'{"rank": 1, "facts": {}}\n')

    (told,) = meet_all([{}] * 3, [0], meanwhile=come_and_go)
    assert "process 2 (127" in told and "did not come" in told


def test_the_chief_can_be_interrupted_while_it_waits():
    interrupt = threading.Timer(0.3, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT))
    interrupt.start()
    with pytest.raises(KeyboardInterrupt):
        meet(Cluster(("localhost:0", "localhost:1"), 0), {})


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="a machine without IPv6")
def test_processes_meet_by_ipv6():
    assert meet_all([{}] * 2, host="[::1]") == [None] * 2


# Real processes


@pytest.fixture(scope="module")
def few_digits(tmp_path_factory):
    """1,010 images, so that the last batch of an epoch has 10, and 300 to validate: the path of an .npz file."""
    rng = np.random.default_rng(0)
    arrays = {}
    for part, n in (("train", 1010), ("test", 300)):
        arrays[f"x_{part}"] = rng.integers(0, 256, (n, 28, 28), "uint8") // 2 * (rng.random((n, 28, 28)) < 0.2)
        arrays[f"y_{part}"] = (np.arange(n) % 10).astype("uint8")
    arrays = {name: array.astype("uint8") for name, array in arrays.items()}
    path = tmp_path_factory.mktemp("digits") / "few.npz"
    np.savez(path, **arrays)
    return path


def command(data, out, epochs=2):
    return ["train", "mnist-2d", "--data", str(data), "--out", str(out), "--epochs", str(epochs)]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [2, 4])
def test_several_processes_give_the_result_of_one(few_digits, tmp_path, workers):
    """Ten updates, with a last batch of 10 images: fewer than four processes have slots."""
    assert launch(1, command(few_digits, tmp_path / "one")) == 0
    assert launch(workers, command(few_digits, tmp_path / "several")) == 0
    one, several = (load_pretrained("mnist-2d", tmp_path / name).get_weights() for name in ("one", "several"))
    assert max(np.abs(a - b).max() for a, b in zip(one, several, strict=True)) < 1e-6
    histories = [load_history("mnist-2d", tmp_path / name) for name in ("one", "several")]
    for loss in (*LOSSES, *(f"val_{loss}" for loss in LOSSES)):
        np.testing.assert_allclose(histories[0][loss], histories[1][loss], rtol=1e-5)


def start(data, out, environment, epochs):
    """Start one process of a training; its text goes to a pipe."""
    import os

    return subprocess.Popen(
        [sys.executable, "-m", "cvae_lib", *command(data, out, epochs)],
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_ends_the_others_and_the_run_goes_on(few_digits, tmp_path, victim):
    epochs, out = 60, tmp_path / "run"
    running = [start(few_digits, out, environment, epochs) for environment in make_environments(2)]
    log = out / "mnist-2d.partial" / "history.csv"
    while not log.exists() and all(process.poll() is None for process in running):
        time.sleep(0.1)
    time.sleep(random.random())
    running[victim].send_signal(signal.SIGKILL)
    killed = time.monotonic()
    text = running[1 - victim].communicate(timeout=60)[1]
    assert time.monotonic() - killed < 60 and running[1 - victim].returncode == 1
    assert [line for line in text.splitlines() if line.startswith("error: another process: lost it")], text
    assert not (out / "mnist-2d.weights.h5").exists()
    running[victim].communicate()
    finished = len(log.read_text(encoding="utf-8").splitlines()) - 1
    assert finished < epochs
    assert launch(3, command(few_digits, out, epochs)) == 0  # with another number of processes
    assert len(load_history("mnist-2d", out)["epoch"]) <= epochs


@pytest.mark.slow
def test_other_data_are_refused_before_anything_is_trained(few_digits, tmp_path):
    with np.load(few_digits) as arrays:
        np.savez(tmp_path / "other.npz", **{**arrays, "x_train": 255 - arrays["x_train"]})
    data = [few_digits, tmp_path / "other.npz"]
    running = [start(data[i], tmp_path / "run", each, 1) for i, each in enumerate(make_environments(2))]
    texts = [process.communicate(timeout=60)[1] for process in running]
    for process, text in zip(running, texts, strict=True):
        assert process.returncode == 1
        assert "error: worker 1: found {'digest': " in text
    assert not list((tmp_path / "run").rglob("*.h5"))


@pytest.mark.parametrize("gpus", [0])
def test_one_process_keeps_the_default_strategy(tiny, gpus):
    assert choose_strategy(None, tiny, {}).num_replicas_in_sync == 1


def test_a_process_without_a_cluster_trains_with_fit(few, tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", config(worker=["localhost:1"]))
    assert len(train(tiny, few, tmp_path, "alone", verbose=0, jit_compile=False)["loss"]) == tiny.epochs
