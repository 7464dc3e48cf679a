"""Measure what an update of the weights costs with several processes of this machine, for chapter 18.

All processes start first, and then take turns: while some measure, the others wait. So a machine that slows down slows
all of them.
"""

import json
import os
import platform
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import cvae_lib._tensorflow  # noqa: F401

# isort: split
import numpy as np
import tensorflow as tf

from cvae_lib import BookError
from cvae_lib.data import check_dataset
from cvae_lib.data.mnist import IMAGE_SHAPE
from cvae_lib.files import write_text
from cvae_lib.pretrained import describe_versions
from cvae_lib.tools.executors import handle_signals
from cvae_lib.tools.launch import make_environments, start
from cvae_lib.training.batches import shuffled_index_blocks
from cvae_lib.training.distributed import Cluster, connect, make_steps, read_tf_config
from cvae_lib.training.loop import make_model
from cvae_lib.training.recipes import Recipe

NAME = "scaling"
UNITS = (128, 256, 512, 1024, 2048)  # in each hidden layer
PROCESSES = (1, 2, 3, 4)
BATCH = 250
UPDATES = 8  # in one compiled call
SECONDS = 0.4  # of a measurement, at least one call
ROUNDS = 6
TRAFFIC = Path("/proc/net/dev")  # of Linux


class ScalingError(BookError):
    """A measurement that failed: the message says which process was lost."""


def measure_scaling(
    out: str | Path,
    rounds: int = ROUNDS,
    units: Sequence[int] = UNITS,
    processes: Sequence[int] = PROCESSES,
    report: Callable[[str], None] = print,
) -> Path:
    """Measure the time and the traffic of an update, write `scaling.json` to the folder `out`, and return its path.

    Each row has a number of processes, 0 for a process without a strategy; the hidden units; the images of the whole
    batch, which is 250 (strong scaling) or 250 for each process (weak scaling); the parameters; and for each round the
    milliseconds of an update and the bytes that crossed the loopback interface in it, or null where this machine does
    not count them. The rounds differ in the order of the rows. Raises ScalingError where a process is lost.
    """
    rows: list[dict[str, Any]] = [
        {"processes": count, "units": width, "batch": batch, "ms": [], "bytes": []}
        for count in (0, *processes)
        for width in units
        for batch in sorted({BATCH, BATCH * max(1, count)})
    ]
    with handle_signals(signal.default_int_handler), ExitStack() as stack:  # an error ends the processes, too
        clusters = {count: stack.enter_context(start_cluster(count)) for count in (0, *processes)}
        for cluster in clusters.values():
            read_answers(cluster)  # they are ready
        for row in rows:
            _, row["parameters"] = ask(clusters[row["processes"]], {**pick(row), "calls": 1})  # compiles
        for place in range(rounds + 1):
            for row in random.Random(place).sample(rows, len(rows)):
                before = count_bytes()
                seconds, _ = ask(clusters[row["processes"]], {**pick(row), "calls": row.get("calls", 1)})
                after, updates = count_bytes(), UPDATES * row.get("calls", 1)
                if place == 0:  # warms up, and says how many calls make a measurement
                    row["calls"] = max(1, round(SECONDS / seconds))
                    continue
                row["ms"].append(round(1000 * seconds / updates, 3))
                row["bytes"].append(None if before is None or after is None else round((after - before) / updates))
            report(f"round {place} of {rounds}" if place else "ready")
    path = Path(out) / f"{NAME}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = {
        "command": f"python -m cvae_lib {NAME} --rounds {rounds}",
        "processor": describe_processor(),
        "cores": os.cpu_count(),
        "versions": describe_versions(),
    }
    lines = ",\n".join("  " + json.dumps(row) for row in rows)
    write_text(path, f'{json.dumps(facts)[:-1]}, "rows": [\n{lines}\n]}}\n')
    return path


def pick(row: dict[str, Any]) -> dict[str, int]:
    """Pick from a row what a process has to know."""
    return {key: row[key] for key in ("units", "batch")}


@contextmanager
def start_cluster(count: int) -> Iterator[list[subprocess.Popen]]:
    """Start so many processes that train together, or with 0 one that trains alone; stop them at the end."""
    environments = make_environments(count) if count else [{"TF_CONFIG": ""}]
    command = [sys.executable, "-c", f"from {__name__} import serve; serve()"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "encoding": "utf-8"}
    cluster: list[subprocess.Popen] = []
    try:
        for environment in environments:
            cluster.append(start(command, environment, **pipes))
        yield cluster
    finally:
        for process in cluster:
            process.kill()
            process.communicate()


def ask(cluster: Sequence[subprocess.Popen], request: dict[str, int]) -> Any:
    """Send a request to all processes of a cluster; return the answer of the first of them, the chief."""
    for process in cluster:
        assert process.stdin
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
    return read_answers(cluster)


def read_answers(cluster: Sequence[subprocess.Popen]) -> Any:
    """Read a line from each process of a cluster; return the chief's. Raises ScalingError where one has ended."""
    lines = [process.stdout.readline() for process in cluster if process.stdout]
    for rank, line in enumerate(lines):
        if not line:
            raise ScalingError(
                f"process {rank} of {len(cluster)}: found that it has ended; expected an answer. Its own error stands "
                "above; close what else needs memory, and start the same command again."
            )
    return json.loads(lines[0])


def count_bytes() -> int | None:
    """Count the bytes that the loopback interface has received since the machine started, where Linux says so."""
    if not TRAFFIC.exists():
        return None
    lines = TRAFFIC.read_text(encoding="utf-8").splitlines()
    return next((int(line.split(":")[1].split()[0]) for line in lines if line.strip().startswith("lo:")), None)


def describe_processor() -> str:
    """Name the processor, as Linux does, or else as Python does."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def serve() -> None:
    """Be one process of a cluster: print a line once ready; then make the updates that each line of stdin asks for.

    A request has the hidden units, the batch and the number of calls of UPDATES updates each. The answer is the seconds
    that the calls took, and the number of parameters.
    """
    tf.get_logger().setLevel("ERROR")  # it would warn of so many models
    answer = sys.stdout
    sys.stdout = sys.stderr  # whatever TensorFlow prints is no answer
    print("true", file=answer, flush=True)
    strategy, made = None, {}
    for line in sys.stdin:
        request = json.loads(line)
        if os.environ["TF_CONFIG"] and strategy is None:  # now that the other processes are ready, too
            addresses, rank = read_tf_config(os.environ["TF_CONFIG"])
            strategy = connect(Cluster(tuple(addresses), rank))
        key = request["units"], request["batch"]
        if key not in made:
            made[key] = make_call(strategy, *key)
        call, parameters = made[key]
        started = time.perf_counter()
        for _ in range(request["calls"]):
            call()
        print(json.dumps([time.perf_counter() - started, parameters]), file=answer, flush=True)


def make_call(strategy: Any, units: int, batch: int) -> tuple[Callable[[], None], int]:
    """Make a function of UPDATES updates, as the trainer makes them, and count the parameters."""
    n = UPDATES * batch
    y = (np.arange(n) % 10).astype("uint8")
    x = np.random.default_rng(0).integers(0, 256, (n, *IMAGE_SHAPE), "uint8")  # an update of noise takes as long
    data = check_dataset({"x_train": x, "y_train": y, "x_test": x[:10], "y_test": y[:10]}, "noise")
    recipe = Recipe(n_hidden=units, batch_size=batch)
    if strategy is None:
        model = make_model(recipe, data, seed=1)
        model.make_train_function()
        blocks = iter(shuffled_index_blocks(n, batch, UPDATES, seed=1))
        return lambda: model.train_function(blocks)["loss"].numpy(), model.count_params()
    with strategy.scope():
        model = make_model(recipe, data, seed=1)
    train, _ = make_steps(strategy, model, data, [], batch, seed=1, first_epoch=0, jit_compile=True)
    epochs = count()
    return lambda: train(*map(tf.constant, (next(epochs), 0, UPDATES))).numpy(), model.count_params()
