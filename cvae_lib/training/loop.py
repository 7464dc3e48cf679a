"""One training run, which can be interrupted: `train` and the model it makes.

Chapter 3 trains with plain `fit`. This module does the same, but faster, and goes on where an interrupted run stopped.
All that is random in an epoch, the order of the images and the draws of epsilon and of dropout, depends only on the
seed and the number of the epoch.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import cvae_lib._tensorflow  # noqa: F401

# isort: split
import keras
import tensorflow as tf

from cvae_lib.convolutional import build_cvae
from cvae_lib.data import Dataset, binarise, drop_labels, hold_out
from cvae_lib.data.dataset import ImageData
from cvae_lib.data.shards import ShardedData, check_digests
from cvae_lib.files import hold
from cvae_lib.pretrained import load_manifest
from cvae_lib.training.batches import (
    batches_in_order,
    count_steps,
    make_batch_lookup,
    shuffled_index_blocks,
    steps_per_call,
    without_autotune,
)
from cvae_lib.training.checkpoints import (
    COLUMNS,
    LOSSES,
    SaveEachEpoch,
    TrainingError,
    check_finite,
    close_checkpoint,
    describe_command,
    describe_protocol,
    name_weights,
    read_checkpoint,
    save_model,
    should_stop_early,
)
from cvae_lib.training.compiled import CompiledCVAE
from cvae_lib.training.distributed import choose_strategy, find_cluster, fit_together, name_the_lost
from cvae_lib.training.recipes import Recipe
from cvae_lib.training.records import (
    divide,
    make_record_decoder,
    name_the_damaged,
    record_batches,
    shuffled_record_blocks,
    steps_of_a_block,
)


def train(
    recipe: Recipe,
    data: Dataset | ShardedData,
    out: str | Path,
    name: str = "cvae",
    seed: int = 1,
    verbose: Literal[0, 1, 2] = 1,
    jit_compile: bool | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    command: str | None = None,
) -> dict[str, list[float]]:
    """Train a recipe on the data; write weights, history and manifest entry under this name to the folder `out`.

    An interrupted run goes on from its last finished epoch when it is called again with the same arguments. verbose is
    Keras' own: 1 shows a progress bar. jit_compile: whether XLA compiles the steps, by default as the recipe says.
    Without it tiny runs end sooner, and others of dense networks later. callbacks are Keras callbacks, called after
    those of the run. command: what makes the model again, for the manifest, where the default cannot know it. Returns
    the history: a dict from column to a list, one value an epoch, losses in nats an image.

    Data in shards are read while they are trained on, once their digests have been checked; see `records`.

    Where TF_CONFIG or Slurm says that this process is one of several, or the machine has several GPUs, all of them
    train together, with the same result up to rounding. The first process, the chief, writes the files. To go on with
    an interrupted run, all processes have to see the folder `out`.

    Raises TrainingError for a name that is no file name, a seed out of range, too few images to hold out, a recipe that
    changes the images of shards, an unfinished run with other settings or with files that were altered, a loss that is
    not finite, or processes that do not fit together or are lost; BusyError where another process trains the same model
    into the folder; PretrainedError for a damaged manifest in it; DataError for a shard that was altered.
    """
    check_run(recipe, data, name, seed)
    jit_compile = recipe.jit_compile if jit_compile is None else jit_compile
    cluster = find_cluster()
    training: Dataset | ShardedData
    if isinstance(data, ShardedData):
        training = data
        rank, processes = (cluster.rank, len(cluster.addresses)) if cluster else (0, 1)
        check_digests(data, (*divide(data, recipe.batch_size, processes)[rank].shards, *data.test))
    else:
        data = prepare(data, recipe)
        training = hold_out(data, recipe.held_out) if recipe.held_out else data
    out, is_chief = Path(out), cluster is None or cluster.rank == 0
    checkpoint, settings = out / f"{name}.partial", {"seed": seed, "digest": data.digest, "jit_compile": jit_compile}
    run = {"recipe": asdict(recipe), **settings}
    if is_chief:
        out.mkdir(parents=True, exist_ok=True)
        load_manifest(out)  # a damaged one is refused now, and not when the run has ended
    with hold(checkpoint) if is_chief else nullcontext():
        history = read_checkpoint(checkpoint, run)
        strategy = choose_strategy(cluster, recipe, {**settings, "finished epochs": len(history)})
        if is_chief:
            checkpoint.mkdir(exist_ok=True)

        with name_the_lost(), strategy.scope():
            model = make_model(recipe, training, seed, jit_compile)
            if history:
                model.load_weights(name_weights(checkpoint, len(history)))
        callbacks = [SaveEachEpoch(checkpoint, run, history, recipe.patience, is_chief), *callbacks]
        with name_the_damaged(training):
            if len(history) == recipe.epochs or should_stop_early(history, recipe.patience):
                pass  # the run was stopped between its last epoch and what follows
            elif strategy.num_replicas_in_sync == 1:
                blocks, blocks_per_epoch = read_blocks(training, recipe.batch_size, seed, len(history))
                model.fit(
                    blocks,
                    steps_per_epoch=blocks_per_epoch,
                    initial_epoch=len(history),
                    epochs=recipe.epochs,
                    shuffle=False,
                    validation_data=read_validation(training, recipe.batch_size),
                    callbacks=[SeedEachEpoch(seed), *callbacks],
                    verbose=verbose,
                )
            else:
                shown = verbose if is_chief else 0
                fit_together(strategy, model, recipe, training, seed, len(history), callbacks, shown, jit_compile)
        if is_chief:
            measured = {**history[-1], "seconds": round(sum(row["seconds"] for row in history), 1)}
            if recipe.held_out:
                if strategy.num_replicas_in_sync > 1:  # Keras' evaluation does not work under a strategy
                    weights, model = model.get_weights(), make_model(recipe, training, seed, jit_compile)
                    model.set_weights(weights)
                measured.update(measure_on_test(model, data, recipe.batch_size, seed, len(history)))
            facts = {
                "seed": seed,
                "protocol": describe_protocol(recipe, data),
                "data": {"edition": data.edition, "sha256": data.digest},
                "condition": asdict(data.condition),
                "measured": measured,
                "command": command or describe_command(name, recipe, data, seed, jit_compile),
            }
            save_model(name, model.cvae, history, facts, out)
            close_checkpoint(checkpoint)
    return {column: [row[column] for row in history] for column in COLUMNS}


def measure_on_test(
    model: CompiledCVAE, data: Dataset | ShardedData, batch_size: int, seed: int, epoch: int
) -> dict[str, float]:
    """Measure the losses on the test images, which a held-out run has not used, after so many epochs: nats an image."""
    reset_random_state(model.cvae, seed, epoch)
    test = model.evaluate(read_validation(data, batch_size), verbose=0, return_dict=True)
    losses = {f"test_{loss}": round(float(test[loss]), 4) for loss in LOSSES}
    check_finite("test images", losses)
    return losses


def check_run(recipe: Recipe, data: ImageData, name: str, seed: int) -> None:
    """Raise TrainingError for arguments that would fail, or silently go wrong, only after training has begun."""
    if not name or Path(name).name != name:
        raise TrainingError(f"name: found {name!r}; expected the name of a file, without a folder.")
    if not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise TrainingError(f"seed: found {seed!r}; expected an int from 0 to 2**32 - 1.")
    if recipe.held_out >= data.n_train:
        raise TrainingError(
            f"held_out: found {recipe.held_out}; expected fewer than the {data.n_train} training images. "
            "Choose larger data, or another recipe."
        )
    if isinstance(data, ShardedData):
        for setting in ("held_out", "labelled", "pixels"):
            found, expected = getattr(recipe, setting), getattr(Recipe(), setting)
            if found != expected:
                raise TrainingError(
                    f"{setting}: found {found!r} for data in shards, which are trained on as they are; expected "
                    f"{expected!r}. Change the images or labels first, and write those into shards."
                )


def prepare(data: Dataset, recipe: Recipe) -> Dataset:
    """Prepare the data as the recipe says: with or without labels, grey or black and white."""
    data = data if recipe.labelled else drop_labels(data)
    return binarise(data) if recipe.pixels == "binary" else data


def make_look_up(data: Dataset | ShardedData) -> Callable[[Any], Any]:
    """Make the function by which a model gets its training batches, ((x, label), x), from what `read_blocks` yields."""
    if isinstance(data, ShardedData):
        return make_record_decoder(data)
    return make_batch_lookup(data.pixels_train, data.label_train)


def read_blocks(
    data: Dataset | ShardedData, batch_size: int, seed: int, first_epoch: int
) -> tuple[tf.data.Dataset, int]:
    """Return the blocks of batches that one process trains on, for ever, and how many there are in an epoch."""
    steps = count_steps(data.n_train, batch_size)
    if isinstance(data, ShardedData):
        at_once = steps_of_a_block(data, batch_size)
        blocks = steps // at_once
        return shuffled_record_blocks(data, data.train, batch_size, at_once, blocks, seed, first_epoch), blocks
    at_once = steps_per_call(data.n_train, batch_size)
    return shuffled_index_blocks(data.n_train, batch_size, at_once, seed, first_epoch), steps // at_once


def read_validation(data: Dataset | ShardedData, batch_size: int) -> tf.data.Dataset:
    """Return the batches of the test images, ((x, label), x), once."""
    if isinstance(data, ShardedData):
        return without_autotune(record_batches(data, batch_size).map(make_record_decoder(data)))
    return batches_in_order(data.pixels_test, data.label_test, batch_size)


def make_model(recipe: Recipe, data: Dataset | ShardedData, seed: int, jit_compile: bool = True) -> CompiledCVAE:
    """Make the model of a recipe for images and labels of these sizes, compiled to be trained by `read_blocks`."""
    keras.utils.set_random_seed(seed)
    steps = count_steps(data.n_train, recipe.batch_size)
    pixels = {"n_x": data.n_x} if recipe.network == "dense" else {"image_shape": data.image_shape}
    sizes = {"n_z": recipe.n_z, "n_hidden": recipe.n_hidden, "n_layers": recipe.n_layers, "n_y": data.n_y, **pixels}
    cvae = build_cvae(
        {**sizes, "seed": seed},
        beta=recipe.beta,
        warm_up=recipe.warm_up * steps,
        continuous=recipe.continuous,
        dropout=recipe.dropout,
    )
    model = CompiledCVAE(cvae, make_look_up(data))
    model.compile(keras.optimizers.Adam(schedule_rate(recipe, steps * recipe.epochs)), jit_compile=jit_compile)
    # Otherwise the first step would build the optimizer, and `fit` would trace and compile the step twice.
    model.optimizer.build(model.trainable_variables)
    return model


def schedule_rate(recipe: Recipe, steps: int) -> Any:
    """Return the learning rate of a recipe over so many steps: a number, or a Keras schedule."""
    if recipe.schedule == "cosine":
        return keras.optimizers.schedules.CosineDecay(recipe.learning_rate, steps)
    return recipe.learning_rate


def reset_random_state(model: Any, seed: int, epoch: int) -> None:
    """Set the generators of epsilon and of dropout to states that depend on the seed and the epoch's number alone."""
    # A generator counts its draws, one a batch: 2**20 leaves each epoch, and each layer, far more than it uses.
    drawing = [layer for layer in model.encoder.layers if hasattr(layer, "seed_generator")]
    for place, layer in enumerate(sorted(drawing, key=lambda layer: layer.name != "z")):
        layer.seed_generator.state.assign([seed, (epoch + 2**9 * place) * 2**20])


class SeedEachEpoch(keras.callbacks.Callback):
    """Set the random generators at the start of each epoch."""

    def __init__(self, seed: int):
        super().__init__()
        self.seed = seed

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        reset_random_state(self.model.cvae, self.seed, epoch)
