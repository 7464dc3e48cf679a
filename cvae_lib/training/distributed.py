"""One training by several processes, with the result of one process: the only file that knows of more than one.

The engine is `tf.distribute`. The processes find each other as its users' always do: by `TF_CONFIG` in the environment,
or as the tasks of a Slurm step. Each step of training uses the same images and the same draws of epsilon as with one
process: every process computes its slots of the batch, and the optimizer adds the gradients. So the result depends on
the number of processes only by rounding. Keras' `fit` cannot do this: with Keras 3 it fails under a strategy of several
processes.
"""

import hashlib
import json
import math
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cvae_lib._tensorflow  # noqa: F401

# isort: split
import keras
import tensorflow as tf

# A private module, and the only door to the time after which a process counts as lost.
from tensorflow.python.eager import context

from cvae_lib.data import Dataset
from cvae_lib.data.shards import ShardedData
from cvae_lib.model import kl_loss
from cvae_lib.pretrained import describe_versions
from cvae_lib.training.batches import STEPS_PER_CALL, count_steps, make_batch_lookup, shuffled_index_blocks
from cvae_lib.training.checkpoints import LOSSES, TrainingError
from cvae_lib.training.compiled import CompiledCVAE, apply_together
from cvae_lib.training.recipes import Recipe
from cvae_lib.training.records import Share, divide, make_record_decoder, record_batches, shuffled_record_blocks

MEETING_SECONDS = 45  # how long the processes wait for each other at the start
LOST_SECONDS = 20  # how long a process may be silent before the others take it for lost
LATE_SECONDS = 600  # how long the others wait for a process that is alive but late, such as a chief that writes slowly
LOST = (
    tf.errors.UnavailableError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
)


@dataclass(frozen=True)
class Cluster:
    """The processes of one training: their addresses, host:port, the chief's first, and the place of this one."""

    addresses: tuple[str, ...]
    rank: int


def find_cluster(environ: Mapping[str, str] = os.environ) -> Cluster | None:
    """Read the cluster that this process belongs to from TF_CONFIG, or else from Slurm's step.

    Returns None where there is neither, or only one process. Raises TrainingError for a TF_CONFIG that describes no
    cluster of workers: the message says what was found and what was expected.
    """
    if environ.get("TF_CONFIG"):
        addresses, rank = read_tf_config(environ["TF_CONFIG"])
    elif int(environ.get("SLURM_STEP_NUM_TASKS", 1)) > 1:
        # Slurm binds the GPUs itself. The resolver would count them by nvidia-smi, and lists no task without one.
        slurm = tf.distribute.cluster_resolver.SlurmClusterResolver(
            gpus_per_node=2**16, gpus_per_task=1, auto_set_gpu=False
        )
        addresses, rank = slurm.cluster_spec().as_dict()["worker"], int(environ["SLURM_PROCID"])
    else:
        return None
    return Cluster(tuple(addresses), rank) if len(addresses) > 1 else None


def read_tf_config(text: str) -> tuple[list[str], int]:
    """Read TF_CONFIG: the addresses of all processes, the chief's first, and the place of this process among them.

    Raises TrainingError where it is not a JSON object with a cluster of workers, at most one of them called chief, and
    a task among them.
    """
    example = '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}'

    def refuse(found: str) -> TrainingError:
        return TrainingError(f"TF_CONFIG: found {found}; expected text such as {example}, with another index each.")

    try:
        config = json.loads(text)
        jobs, kind, index = config["cluster"], config["task"]["type"], config["task"]["index"]
        sizes = {job: len(list(addresses)) for job, addresses in jobs.items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise refuse(f"{text!r} ({type(error).__name__}: {error})") from error
    if unknown := sorted(set(jobs) - {"chief", "worker"}):
        raise refuse(f"processes of the kind {', '.join(unknown)}")
    if sizes.get("chief", 1) != 1:
        raise refuse(f"{sizes['chief']} chiefs")
    addresses = [*jobs.get("chief", []), *jobs.get("worker", [])]
    if len(set(addresses)) < len(addresses):
        raise refuse(f"one address twice in {addresses}")
    for address in addresses:
        port = str(address).rpartition(":")[2]
        if not (port.isdecimal() and 0 < int(port) < 2**16):
            raise refuse(f"{address!r} as an address")
    if not isinstance(index, int) or not 0 <= index < sizes.get(kind, 0):
        raise refuse(f"the task {kind!r} with index {index!r}, which the cluster does not have")
    return addresses, index + (kind == "worker") * sizes.get("chief", 0)


def split_address(address: str) -> tuple[str, int]:
    """Split host:port, such as node7:8888 or [::1]:8888, into the host's name and the port."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def meet(cluster: Cluster, facts: Mapping[str, Any], seconds: float = MEETING_SECONDS) -> None:
    """Wait until all processes are there, and check that they are about to do the same.

    facts are what has to be equal everywhere, such as the recipe and the data's digest: values that JSON can hold. The
    processes meet at the chief's address, before TensorFlow listens there, because TensorFlow's own way of waiting is
    deaf to signals and does not compare data. Raises TrainingError, in each process that came, where another one did
    not come within so many seconds, two have the same place, or the facts differ.
    """
    facts = json.loads(json.dumps({**facts, "addresses": cluster.addresses}))  # as another process reads them
    address, dual = cluster.addresses[cluster.rank], socket.has_dualstack_ipv6()
    try:  # each process, so that two with one place are found out where they share a machine
        server = socket.create_server(
            ("", split_address(address)[1]), family=socket.AF_INET6 if dual else socket.AF_INET, dualstack_ipv6=dual
        )
    except OSError as error:
        raise TrainingError(
            f"{address}: found its port in use ({os.strerror(error.errno or 0)}); expected a free one. Stop the other "
            "process, or give each process its own place and port."
        ) from error
    with server:
        wrong = ask_chief(cluster, facts, seconds) if cluster.rank else receive_all(server, cluster, facts, seconds)
    if wrong:
        raise TrainingError(wrong)


def receive_all(server: socket.socket, cluster: Cluster, facts: Mapping[str, Any], seconds: float) -> str:
    """Be the chief of `meet`: return what is wrong, or an empty text, and tell the others the same."""
    end, missing = time.monotonic() + seconds, set(range(1, len(cluster.addresses)))
    reports, lines = [], []
    while missing:
        server.settimeout(max(0.01, end - time.monotonic()))
        try:
            line, _ = server.accept()
        except TimeoutError:
            break
        try:
            reports.append(read_report(line))
        except (OSError, ValueError):  # somebody else, such as a program that looks for open ports
            line.close()
            continue
        lines.append(line)
        missing.discard(reports[-1][0])
    ranks = [rank for rank, _ in reports]
    wrong = [describe_difference(facts, theirs, rank) for rank, theirs in reports if theirs != facts]
    wrong += [
        f"process {rank}: came {ranks.count(rank)} times; expected it once. Give each process its own place."
        for rank in sorted(set(ranks))
        if ranks.count(rank) > 1
    ]
    if missing:
        absent = ", ".join(f"process {rank} ({cluster.addresses[rank]})" for rank in sorted(missing))
        wrong.append(f"{absent}: did not come; expected it within {seconds:g} s. Start all processes together.")
    for line in lines:
        with line, suppress(OSError):  # one that went away in the meantime
            line.sendall((json.dumps(" ".join(wrong)) + "\n").encode())
    return " ".join(wrong)


def read_report(line: socket.socket) -> tuple[int, dict[str, Any]]:
    """Read the place and the facts of the process at the other end; raises OSError or ValueError where it has none."""
    line.settimeout(1)  # a process reports at once, and the next one waits
    with line.makefile(encoding="utf-8") as file:
        report = json.loads(file.readline(2**20))
    if not (isinstance(report, dict) and isinstance(report.get("rank"), int) and isinstance(report.get("facts"), dict)):
        raise ValueError(f"found {report!r}; expected a process of this training")
    return report["rank"], report["facts"]


def ask_chief(cluster: Cluster, facts: Mapping[str, Any], seconds: float) -> str:
    """Be another process of `meet`: return the chief's answer."""
    end, failure = time.monotonic() + seconds, "nobody listens there"
    while time.monotonic() < end:
        try:
            with socket.create_connection(
                split_address(cluster.addresses[0]), max(0.01, end - time.monotonic())
            ) as line:
                line.sendall((json.dumps({"rank": cluster.rank, "facts": facts}) + "\n").encode())
                line.settimeout(seconds + 5)  # the chief may have started to wait just now
                with line.makefile(encoding="utf-8") as file:
                    return json.loads(file.readline())
        except (OSError, ValueError) as error:  # it is not there yet, or went away
            failure = str(error) or type(error).__name__
            time.sleep(0.2)
    return (
        f"chief ({cluster.addresses[0]}): found no answer within {seconds:g} s ({failure}); expected one. Start all "
        "processes together, with the same addresses."
    )


def describe_difference(facts: Mapping[str, Any], theirs: Mapping[str, Any], rank: int) -> str:
    """Say in which facts a process differs from the chief."""
    differing = [key for key in {**facts, **theirs} if facts.get(key) != theirs.get(key)]
    found, expected = ({key: side.get(key) for key in differing} for side in (theirs, facts))
    return f"process {rank}: found {found}; expected what the chief has, {expected}. Give all processes the same."


def choose_strategy(cluster: Cluster | None, recipe: Recipe, facts: Mapping[str, Any]) -> tf.distribute.Strategy:
    """Return the strategy of this process: that of its cluster, of the GPUs of the machine, or TensorFlow's default.

    The processes of a cluster meet first, with the recipe, these facts, the versions of the packages and the source of
    this one. A recipe with dropout is for one process and one GPU, because the units that are left out would depend on
    their number. Raises TrainingError for such a recipe in a cluster, where the processes do not fit together, and
    where this one has used TensorFlow before.
    """
    if cluster is None:
        several = len(tf.config.list_logical_devices("GPU")) > 1 and not recipe.dropout
        return tf.distribute.MirroredStrategy() if several else tf.distribute.get_strategy()
    if recipe.dropout:
        raise TrainingError(
            f"dropout: found {recipe.dropout} in a training by several processes; expected 0, because the units that "
            "are left out would depend on their number. Train this recipe with one process."
        )
    if context.context()._context_handle is not None:
        raise TrainingError(
            "TensorFlow: found it at work before the training by several processes; expected a new process. Train once "
            "a process, before any other computation."
        )
    sources = sorted(Path(cvae_lib.__file__).parent.rglob("*.py"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    meet(cluster, {**asdict(recipe), **facts, **describe_versions(), "source of cvae_lib": digest[:16]})
    return connect(cluster)


@contextmanager
def name_the_lost() -> Iterator[None]:
    """Raise TrainingError where another process is lost, after which this process can only end."""
    try:
        yield
    except LOST as error:
        raise TrainingError(
            f"another process: lost it ({type(error).__name__}); expected all to stay until the end. Start all of them "
            "again: they go on from the last finished epoch."
        ) from error


def connect(cluster: Cluster) -> tf.distribute.Strategy:
    """Start TensorFlow's own connection of the processes, before any other use of TensorFlow in them."""
    addresses = list(cluster.addresses)
    task = {"type": "worker", "index": cluster.rank}
    os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": addresses}, "task": task})
    # The strategy keeps a configuration that is there; its own would wait for an hour.
    context.context().configure_coordination_service(
        "standalone",
        "/job:worker/replica:0/task:0",
        coordinated_jobs=[context.coordination_config_pb2.CoordinatedJob(name="worker", num_tasks=len(addresses))],
        cluster_register_timeout_in_ms=1000 * LOST_SECONDS,
        heartbeat_timeout_in_ms=1000 * LOST_SECONDS,
        shutdown_barrier_timeout_in_ms=1000 * LOST_SECONDS,
    )
    context.context().coordination_service.cluster_register_with_barrier = True
    options = tf.distribute.experimental.CommunicationOptions(timeout_seconds=LATE_SECONDS)
    with name_the_lost():
        return tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)


def make_steps(
    strategy: tf.distribute.Strategy,
    model: CompiledCVAE,
    data: Dataset | ShardedData,
    shares: Sequence[Share],
    batch_size: int,
    seed: int,
    first_epoch: int,
    jit_compile: bool,
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Make the functions (train, validate) of (epoch, first, steps), which make the next so many steps of an epoch.

    Each returns the sums of the reconstruction loss and of the KL loss over the images of these steps, (2,), in nats,
    over all processes. In step s of epoch e the order of the images and the draws of epsilon depend on the seed, e and
    s alone, as in `loop.train`; validation goes on with the draws that follow those of training. Of data in
    shards, of which each process reads its share, the images of a step depend on the number of processes, too.
    """
    cvae, optimizer = model.cvae, model.optimizer
    width = math.ceil(batch_size / strategy.num_replicas_in_sync)  # slots of a replica; the last ones may be empty
    n = data.n_train
    n_local = len(strategy.extended.worker_devices)  # replicas of this process
    if isinstance(data, ShardedData):
        share = shares[strategy.cluster_resolver.task_id if strategy.cluster_resolver else 0]
        steps = max(each.steps for each in shares)
        blocks = shuffled_record_blocks(data, share.shards, share.width, 1, steps, seed, first_epoch)
        test, look_up_test = record_batches(data, batch_size), make_record_decoder(data)
    else:
        blocks = shuffled_index_blocks(n, batch_size, 1, seed, first_epoch)
        test = tf.data.Dataset.range(data.n_test).batch(batch_size)
        look_up_test = make_batch_lookup(data.pixels_test, data.label_test)
    train_rows, test_rows = iter(blocks), iter(test.repeat())

    def choose_slots(step: Any, of: int) -> tuple[Any, Any, Any]:
        """Return the places of this replica in the batch, (width,), which of them count, and the batch's size."""
        places = tf.distribute.get_replica_context().replica_id_in_sync_group * width + tf.range(width)
        count = tf.minimum(batch_size, of - step * batch_size)
        return tf.minimum(places, count - 1), tf.cast(places < count, "float32"), count

    def seed_draw(epoch: Any, step: Any) -> Any:
        """Return the state of the layer z in a step, as Keras makes it a seed."""
        state = tf.cast([seed, tf.cast(epoch, "int64") * 2**20 + tf.cast(step, "int64")], "int64")
        return tf.cast(state % (2**31 - 2), "int32")

    def sum_losses(x: Any, label: Any, places: Any, weight: Any, draw: Any, training: bool) -> Any:
        # The draws of the whole batch, of which this replica takes its own: so they do not depend on their number.
        epsilon = tf.random.stateless_normal([batch_size, cvae.settings["n_z"]], seed=draw)
        h = model.trunk([x, label], training=training)
        z_mean, z_log_var = apply_together(model.heads, h)
        z = z_mean + tf.exp(0.5 * z_log_var) * tf.gather(epsilon, places)
        x_logits = cvae.decoder([z, label], training=training)
        losses = tf.stack([cvae.score(x, x_logits), kl_loss(z_mean, z_log_var)])
        return tf.linalg.matvec(losses, weight)

    @tf.function(jit_compile=jit_compile)
    def differentiate(x: Any, label: Any, places: Any, weight: Any, draw: Any, count: Any) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            losses = sum_losses(x, label, places, weight, draw, training=True)
            # By the images of the whole batch, since the optimizer adds the gradients of the replicas.
            loss = (losses[0] + cvae.kl_weight() * losses[1]) / tf.cast(count, losses.dtype)
        return losses, tape.gradient(loss, model.trainable_variables)

    @tf.function(jit_compile=jit_compile)
    def measure(x: Any, label: Any, places: Any, weight: Any, draw: Any) -> Any:
        return sum_losses(x, label, places, weight, draw, training=False)

    def train_step(rows: Any, epoch: Any, step: Any) -> Any:
        if shares:
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group % n_local
            rows, places, weight = share.take(rows, replica, n_local)
            count = sum(each.count(step + 1) - each.count(step) for each in shares)
        else:
            places, weight, count = choose_slots(step, n)
            rows = tf.gather(rows, places)
        (x, label), _ = model.look_up(rows)  # outside of XLA, which would copy the pixels of all images
        losses, gradients = differentiate(x, label, places, weight, seed_draw(epoch, step), count)
        optimizer.apply(gradients, model.trainable_variables)  # adds them up: neither in a loop nor compiled by XLA
        return tf.cast(losses, "float64")  # in float32 the sum over 60,000 images would lose its third decimal

    def validation_step(rows: Any, epoch: Any, step: Any) -> Any:
        places, weight, _ = choose_slots(step, data.n_test)
        (x, label), _ = look_up_test(tf.gather(rows, places))
        draw = seed_draw(epoch, count_steps(n, batch_size) + step)
        return tf.cast(measure(x, label, places, weight, draw), "float64")

    def add_replicas(values: Any) -> Any:
        """Add what the replicas of this process return."""
        return tf.add_n(strategy.experimental_local_results(values))

    def add_processes(total: Any) -> Any:
        """Add the totals of all processes; each replica brings its part of the one of its process."""

        def add_up(part: Any) -> Any:
            return tf.distribute.get_replica_context().all_reduce("SUM", tf.identity(part))

        part = total / n_local
        return strategy.experimental_local_results(strategy.run(add_up, args=(part,)))[0]

    @tf.function
    def train(epoch: Any, first: Any, steps: Any) -> Any:
        total = tf.zeros(2, "float64")
        for step in tf.range(first, first + steps):
            total += add_replicas(strategy.run(train_step, args=(next(train_rows)[0], epoch, step)))
        return add_processes(total)

    @tf.function
    def validate(epoch: Any, first: Any, steps: Any) -> Any:
        total = tf.zeros(2, "float64")
        for step in tf.range(first, first + steps):
            total += add_replicas(strategy.run(validation_step, args=(next(test_rows), epoch, step)))
        return add_processes(total)

    return train, validate


def fit_together(
    strategy: tf.distribute.Strategy,
    model: CompiledCVAE,
    recipe: Recipe,
    data: Dataset | ShardedData,
    seed: int,
    first_epoch: int,
    callbacks: Sequence[keras.callbacks.Callback],
    verbose: int,
    jit_compile: bool,
) -> None:
    """Do what `model.fit` does in `loop.train`, with all the processes of the strategy: the epochs and their callbacks.

    model was made, and its weights loaded, within the strategy's scope. The callbacks run in every process. Raises
    TrainingError where another process is lost.
    """
    steps, steps_test = (count_steps(n, recipe.batch_size) for n in (data.n_train, data.n_test))
    shares: list[Share] = []
    if isinstance(data, ShardedData):
        shares = divide(data, recipe.batch_size, strategy.num_replicas_in_sync // len(strategy.extended.worker_devices))
        steps = max(share.steps for share in shares)
    train, validate = make_steps(strategy, model, data, shares, recipe.batch_size, seed, first_epoch, jit_compile)
    calls = keras.callbacks.CallbackList(
        list(callbacks), add_progbar=bool(verbose), model=model, verbose=verbose, epochs=recipe.epochs, steps=steps
    )
    model.stop_training = False
    calls.on_train_begin()
    with name_the_lost():
        for epoch in range(first_epoch, recipe.epochs):
            calls.on_epoch_begin(epoch)
            total = 0.0
            for first in range(0, steps, STEPS_PER_CALL):
                at_once = min(STEPS_PER_CALL, steps - first)
                total = total + train(*map(tf.constant, (epoch, first, at_once))).numpy()
                seen = min((first + at_once) * recipe.batch_size, data.n_train)
                calls.on_train_batch_end(first + at_once - 1, name_losses(total / seen))
            validation = validate(*map(tf.constant, (epoch, 0, steps_test))).numpy() / data.n_test
            logs = name_losses(total / data.n_train)
            logs.update({f"val_{name}": value for name, value in name_losses(validation).items()})
            # With shards the number of processes may change the steps of an epoch, and a later run may have another.
            model.optimizer.iterations.assign((epoch + 1) * count_steps(data.n_train, recipe.batch_size))
            calls.on_epoch_end(epoch, logs)
            if model.stop_training:
                break
    calls.on_train_end()


def name_losses(means: Any) -> dict[str, float]:
    """Name the means of the reconstruction loss and of the KL loss, and their sum, as Keras' logs do."""
    reconstruction, kl = map(float, means)
    return dict(zip(LOSSES, (reconstruction + kl, kl, reconstruction), strict=True))
