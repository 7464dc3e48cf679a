"""Several processes that train together: the same result as one, and what happens when they do not fit or are lost."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import cvae_lib._tensorflow  # noqa: F401

# isort: split
import numpy as np
import pytest
import tensorflow as tf

from cvae_lib.data import load_digits
from cvae_lib.pretrained import load_history, load_manifest, load_pretrained
from cvae_lib.tools.launch import make_environments
from cvae_lib.training import distributed
from cvae_lib.training.checkpoints import LOSSES, TrainingError
from cvae_lib.training.distributed import Cluster, choose_strategy, find_cluster, meet, read_tf_config, split_address
from cvae_lib.training.loop import train
from cvae_lib.training.records import write_dataset

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
        (config(worker=["a:1", "b:70000"]), "'b:70000' as an address"),
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


def test_the_chief_can_be_interrupted_while_it_waits(ctrl_c):
    interrupt = threading.Timer(0.3, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT))
    interrupt.start()
    with pytest.raises(KeyboardInterrupt):
        meet(Cluster(("localhost:0", "localhost:1"), 0), {})


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="a machine without IPv6")
def test_processes_meet_by_ipv6():
    assert meet_all([{}] * 2, host="[::1]") == [None] * 2


def test_one_process_keeps_the_default_strategy(tiny):
    assert choose_strategy(None, tiny, {}).num_replicas_in_sync == 1


@pytest.mark.filterwarnings("ignore:Even though the `tf.config")
@pytest.mark.usefixtures("eager")
def test_a_process_without_others_trains_with_fit(few, tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", config(worker=["localhost:1"]))
    history = train(replace(tiny, epochs=1), few, tmp_path, "alone", verbose=0, jit_compile=False)
    assert len(history["loss"]) == 1


def test_what_decides_the_result_is_compared(few, tiny, tmp_path, monkeypatch):
    """Data, seed, each setting of the recipe, packages, this library, and how far the run has come."""

    def compared(data=few, recipe=tiny, **settings):
        with pytest.raises(TrainingError) as told:
            train(recipe, data, settings.pop("out", tmp_path / "none"), **settings)
        return json.loads(str(told.value))

    def refuse(cluster, facts):
        raise TrainingError(json.dumps(facts))

    monkeypatch.setenv("TF_CONFIG", config(worker=["localhost:1", "localhost:2"]))
    monkeypatch.setattr(distributed, "meet", refuse)
    monkeypatch.setattr(distributed.context.context(), "_context_handle", None)  # as in a new process
    facts, read = compared(), Path.read_bytes
    assert facts.items() >= {"seed": 1, "digest": few.digest, "finished epochs": 0, "n_z": 2, "epochs": 4}.items()
    assert facts["tensorflow"] == tf.__version__
    assert compared(recipe=replace(tiny, beta=2.0), seed=7) == {**facts, "beta": 2.0, "seed": 7}
    monkeypatch.setattr(Path, "read_bytes", lambda path: read(path) + b"# edited" * (path.name == "model.py"))
    assert [key for key, value in compared().items() if value != facts[key]] == ["source of cvae_lib"]
    assert not list(tmp_path.rglob("*.*"))


def test_a_process_that_has_used_tensorflow_is_refused(few, tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", config(worker=["localhost:1", "localhost:2"]))
    tf.constant(1)
    with pytest.raises(TrainingError, match="TensorFlow: found it at work .* expected a new process"):
        train(tiny, few, tmp_path)
    assert not list(tmp_path.iterdir())


# Real processes

# The command line, in a process that prints the digest of its weights after training. If STOPPED is "function n
# signal", it sends itself the signal when it calls the function for the nth time, and prints the time.
PROGRAM = """
import hashlib, os, pkgutil, signal, sys, time
from cvae_lib.tools import cli
from cvae_lib.training import loop
from cvae_lib.training.recipes import Recipe

def fit_and_print(strategy, model, *rest):
    fit(strategy, model, *rest)
    print("weights", hashlib.sha256(b"".join(each.tobytes() for each in model.get_weights())).hexdigest())

def stop_or_call(*arguments, **options):
    calls.append(place)
    if len(calls) == int(n):
        print("\\nstopped", time.time(), flush=True)  # below the progress of an epoch
        os.kill(os.getpid(), getattr(signal, name))
    return function(*arguments, **options)

cli.RECIPES["held-out"] = Recipe(held_out=6)
fit, loop.fit_together = loop.fit_together, fit_and_print
if "STOPPED" in os.environ:
    place, n, name = os.environ["STOPPED"].split()
    owner, _, attribute = place.rpartition(".")
    owner, calls, function = pkgutil.resolve_name(owner), [], pkgutil.resolve_name(place)
    setattr(owner, attribute, stop_or_call)
sys.exit(cli.main(sys.argv[1:]))
"""
DISTRIBUTED = "cvae_lib.training.distributed"
EPOCHS = 10  # of 5 updates each: after 50 updates rounding has not grown to 1e-6 yet


@pytest.fixture(scope="module")
def few_digits(tmp_path_factory):
    """1,010 images, so that the last batch of an epoch has 10, and 300 to validate: the path of an .npz file."""
    rng = np.random.default_rng(0)
    arrays = {}
    for part, n in (("train", 1010), ("test", 300)):
        bright = rng.random((n, 28, 28)) < 0.2
        arrays[f"x_{part}"] = (rng.integers(0, 128, (n, 28, 28)) * bright).astype("uint8")
        arrays[f"y_{part}"] = (np.arange(n) % 10).astype("uint8")
    path = tmp_path_factory.mktemp("digits") / "few.npz"
    np.savez(path, **arrays)
    return path


@pytest.fixture(scope="module", autouse=True)
def two_threads():
    """Two threads for TensorFlow in each process, whatever its cores, because sums are divided by them.

    With one thread, as on one core, rounding differs more: after 50 updates, some weights were 2e-4 from those of one
    process, and 99 of 100 within 1e-6.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TF_NUM_INTRAOP_THREADS", "2")
        yield


def train_alone(data, out, name="mnist-2d"):
    """Train in one process, by `fit`."""
    subprocess.run([sys.executable, "-c", PROGRAM, *command(data, out, name)], stdout=subprocess.DEVNULL, check=True)


@pytest.fixture(scope="module")
def alone(few_digits, tmp_path_factory, two_threads):
    """The folder of the runs of one process."""
    out = tmp_path_factory.mktemp("alone")
    for name in ("mnist-2d", "held-out"):
        train_alone(few_digits, out, name)
    return out


def check_equal(one, other, name="mnist-2d"):
    """Check that two folders hold the same model, up to rounding."""
    weights = [load_pretrained(name, folder).get_weights() for folder in (one, other)]
    assert max(np.abs(a - b).max() for a, b in zip(*weights, strict=True)) < 1e-6
    histories = [load_history(name, folder) for folder in (one, other)]
    for loss in (*LOSSES, *(f"val_{loss}" for loss in LOSSES)):
        np.testing.assert_allclose(histories[0][loss], histories[1][loss], rtol=1e-5)


def command(data, out, name="mnist-2d"):
    return ["train", name, "--data", str(data), "--out", str(out), "--epochs", str(EPOCHS)]


def run_all(n, data, out, victim=None, moment="", name="mnist-2d"):
    """Run n processes, of which the victim stops at a moment; return the exit codes, texts and errors of the others.

    They end within a minute after the victim has stopped.
    """
    environments = make_environments(n)
    if victim is not None:
        environments[victim]["STOPPED"] = moment
    running = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *command(data, out, name)],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        for environment in environments
    ]
    try:
        with ThreadPoolExecutor(n) as threads:
            others = [process for rank, process in enumerate(running) if rank != victim]
            texts, errors = zip(*threads.map(lambda each: each.communicate(timeout=600), others), strict=True)
        ended = time.time()
    finally:
        for process in running:
            process.kill()
    if victim is not None:
        word, stopped, *_ = running[victim].communicate()[0].splitlines()[-1].split()
        assert word == "stopped" and ended - float(stopped) < 60
    return [process.returncode for process in others], texts, errors


def read_unfinished(out):
    """The history of a run that was stopped: a row for each finished epoch."""
    return json.loads((out / "mnist-2d.partial" / "run.json").read_text(encoding="utf-8"))["history"]


def check_lost(result):
    """Check that each process has ended with one line, which says that it has lost another one."""
    codes, _, errors = result
    assert set(codes) == {1}
    for text in errors:
        assert text.startswith("error: another process: lost it (") and text.count("\n") == 1, text


@pytest.mark.slow
@pytest.mark.weekly
def test_four_processes_give_the_result_of_one(few_digits, alone, tmp_path):
    """The last batch has 4 images, and validation has 6, which is fewer than one of the processes has slots."""
    codes, texts, errors = run_all(4, few_digits, tmp_path, name="held-out")
    assert codes == [0] * 4 and errors == ("",) * 4
    check_equal(alone, tmp_path, "held-out")
    one, several = (load_manifest(folder)["held-out"]["measured"] for folder in (alone, tmp_path))
    assert several["test_loss"] == pytest.approx(one["test_loss"], rel=1e-5)
    digests = [line for text in texts for line in text.splitlines() if line.startswith("weights ")]
    assert len(digests) == 4 and len(set(digests)) == 1


@pytest.mark.slow
@pytest.mark.weekly
def test_a_run_goes_on_after_kills_with_other_numbers_of_processes(few_digits, alone, tmp_path):
    """A worker is killed while it trains, and then the chief while it saves; at last two processes come to the end."""
    check_lost(run_all(3, few_digits, tmp_path, 1, f"{DISTRIBUTED}.name_losses 7 SIGKILL"))  # in the third epoch
    assert len(read_unfinished(tmp_path)) == 2
    check_lost(run_all(2, few_digits, tmp_path, 0, "keras.Model.save_weights 3 SIGKILL"))  # of the fifth epoch
    assert len(read_unfinished(tmp_path)) == 4
    launched = [sys.executable, "-m", "cvae_lib", "launch", "--workers", "2", "--", *command(few_digits, tmp_path)]
    done = subprocess.run(launched, capture_output=True, encoding="utf-8")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("launch: 2 processes trained together\n")
    assert not (tmp_path / "mnist-2d.partial").exists()
    check_equal(alone, tmp_path)


@pytest.mark.slow
@pytest.mark.weekly
def test_no_process_waits_for_ever(few_digits, tmp_path):
    """For one that is killed between the meeting and TensorFlow's own connection, and for one that is stopped."""
    moments = [(0, f"{DISTRIBUTED}.connect 1 SIGKILL"), (1, f"{DISTRIBUTED}.connect 1 SIGKILL")]
    moments += [(1, f"{DISTRIBUTED}.name_losses 7 SIGSTOP")]
    with ThreadPoolExecutor(len(moments)) as threads:
        results = threads.map(lambda each: run_all(2, few_digits, tmp_path / str(moments.index(each)), *each), moments)
        for result in results:
            check_lost(result)
    assert not list(tmp_path.glob("*/*.h5"))


@pytest.mark.slow
def test_other_data_are_refused_and_nothing_is_written(few_digits, tmp_path):
    with np.load(few_digits) as arrays:
        np.savez(tmp_path / "other.npz", **{**arrays, "x_train": arrays["x_train"][::-1]})
    files, out = [few_digits, tmp_path / "other.npz"], tmp_path / "run"
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "cvae_lib", *command(data, out)],
            env={**os.environ, **environment},
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        for data, environment in zip(files, make_environments(2), strict=True)
    ]
    for process in running:
        error = process.communicate(timeout=600)[1]
        assert process.returncode == 1
        assert error.startswith("error: process 1: found {'digest': ") and error.count("\n") == 1
    assert list(out.iterdir()) == []


# The GPUs of one machine, for which two parts of the processor stand in.
TWO_DEVICES = """
import sys
import cvae_lib._tensorflow
import tensorflow as tf
from cvae_lib.tools import cli

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
list_devices, strategy = tf.config.list_logical_devices, tf.distribute.MirroredStrategy
tf.config.list_logical_devices = lambda kind: list_devices("CPU" if kind == "GPU" else kind)
tf.distribute.MirroredStrategy = lambda: strategy(["CPU:0", "CPU:1"])
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.weekly
def test_two_devices_of_one_machine_give_the_result_of_one(few_digits, alone, tmp_path):
    program = [sys.executable, "-c", TWO_DEVICES, *command(few_digits, tmp_path)]
    done = subprocess.run(program, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    check_equal(alone, tmp_path)


# Data in shards


@pytest.fixture
def few_in_shards(few_digits, tmp_path):
    """The same images in 5 files, and 2 for validation."""
    return write_dataset(load_digits(few_digits), tmp_path / "shards", 5)


@pytest.mark.slow
@pytest.mark.weekly
def test_a_run_from_shards_goes_on_with_another_number_of_processes(few_in_shards, alone, tmp_path):
    """The images of a batch depend on that number, and what is learnt from all of them does not."""
    data, out = few_in_shards.source, tmp_path / "run"
    check_lost(run_all(2, data, out, 1, f"{DISTRIBUTED}.name_losses 7 SIGKILL"))  # in the third epoch
    rows = read_unfinished(out)
    assert len(rows) == 2
    codes, texts, errors = run_all(3, data, out)
    assert errors == ("",) * 3 and codes == [0] * 3
    assert len({line for text in texts for line in text.splitlines() if line.startswith("weights ")}) == 1
    history, memory = (load_history("mnist-2d", folder) for folder in (out, alone))
    assert history["loss"][:2] == [row["loss"] for row in rows]
    assert history["epoch"] == memory["epoch"]
    for loss in ("loss", "val_loss"):
        np.testing.assert_allclose(history[loss], memory[loss], rtol=0.02)


@pytest.mark.slow
@pytest.mark.weekly
def test_two_devices_read_shards_as_one_process_does(few_in_shards, tmp_path):
    train_alone(few_in_shards.source, tmp_path / "one")
    program = [sys.executable, "-c", TWO_DEVICES, *command(few_in_shards.source, tmp_path / "two")]
    done = subprocess.run(program, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    check_equal(tmp_path / "one", tmp_path / "two")


@pytest.mark.slow
def test_a_truncated_shard_is_named_by_every_process(few_in_shards, tmp_path):
    few_in_shards.path(few_in_shards.train[3]).write_bytes(b"")
    codes, _, errors = run_all(2, few_in_shards.source, tmp_path / "run")
    assert codes == [1, 1] and not (tmp_path / "run").exists()
    for text in errors:
        assert "train-00003.tfrecord: found 0 bytes; expected" in text and text.count("\n") == 1
