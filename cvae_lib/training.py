"""The recipes, and a training run that can be interrupted: `train` and what it needs.

Chapter 3 trains with plain `fit`; this module does the same, faster, and can go on where it stopped. All that is
random in an epoch, the order of the digits and the draws of epsilon, depends only on the seed and the
number of the epoch. So weights and optimizer are the whole state at the end of one.
"""

import csv
import io
import json
import math
import os
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import cvae_lib.quiet  # noqa: F401

# isort: split
import keras
import tensorflow as tf

from cvae_lib import BookError
from cvae_lib.data import binarise, forget_labels, hold_out
from cvae_lib.fast import FastVariant
from cvae_lib.model import CVAE
from cvae_lib.pretrained import describe_versions, digest_file, read_history, write_manifest, write_text

LOSSES = ("loss", "kl_loss", "reconstruction_loss")
COLUMNS = ("epoch", *LOSSES, *(f"val_{name}" for name in LOSSES), "seconds")
MAX_DEPTH = 40
JIT_COMPILE = True


class TrainingError(BookError):
    """A training run that cannot start: the message says what is in the way and what to do."""


@dataclass(frozen=True)
class Recipe:
    """How a model is built and trained: n_z latents, n_layers of n_hidden units in each network, Adam, when to stop.

    schedule: the learning rate is "constant" or falls to zero along half a "cosine". held_out digits of the training
    set are kept for validation; with 0 the test set validates, as in 2017. Without labelled every digit is called 0,
    which makes a plain VAE. pixels: "grey", or "binary" for one draw of black or white a pixel. beta, continuous and
    dropout are those of `variants.Variant`; the weight of the KL rises to beta over warm_up epochs.
    """

    n_z: int = 2
    n_hidden: int = 512
    n_layers: int = 1
    batch_size: int = 250
    learning_rate: float = 1e-3
    schedule: str = "constant"
    epochs: int = 50
    patience: int = 5
    held_out: int = 0
    labelled: bool = True
    pixels: str = "grey"
    beta: float = 1.0
    warm_up: int = 0
    continuous: bool = False
    dropout: float = 0.0


RECIPES = {
    "mnist-2d": Recipe(),
    "mnist-2d-clean": Recipe(held_out=5000),
    "mnist-2d-vae": Recipe(labelled=False),
    "mnist-2d-binary": Recipe(pixels="binary"),
    "mnist-2d-continuous": Recipe(continuous=True),
    "mnist-20d": Recipe(n_z=20),
    "mnist-2d-deep": Recipe(n_layers=3, batch_size=100, learning_rate=2e-3, schedule="cosine", patience=50),
    "mnist-2d-quick": Recipe(learning_rate=3e-3, schedule="cosine", epochs=35),
    "mnist-2d-deep-quick": Recipe(n_layers=2, learning_rate=4e-3, schedule="cosine", epochs=10),
}


def find_recipe(name):
    """The recipe of this name, or a TrainingError that lists the names there are."""
    if name not in RECIPES:
        raise TrainingError(f"no recipe {name!r}; there are: {', '.join(sorted(RECIPES))}")
    return RECIPES[name]


def train(name, digits, out, epochs=None, seed=1, verbose=1, recipe=None):
    """Train the recipe `name` on `digits` and write weights, history and manifest entry to the folder `out`.

    A `recipe` that is given is trained under this name in place of the one in RECIPES. An interrupted run goes on from
    its last finished epoch when called again with the same arguments. Returns the history: a dict from column to a
    list, one value an epoch. Raises TrainingError for an unknown recipe, no epochs, or an unfinished run of another
    kind in the way.
    """
    recipe = recipe or find_recipe(name)
    epochs = recipe.epochs if epochs is None else epochs
    if epochs < 1:
        raise TrainingError(f"{epochs} epochs: expected at least 1")
    if not 0 <= seed < 2**32:
        raise TrainingError(f"seed {seed}: expected 0 to 2**32 - 1")
    if recipe.held_out >= len(digits.y_train):
        raise TrainingError(f"{name} holds out {recipe.held_out} of {len(digits.y_train)} training digits: too few")
    digits = prepare(digits, recipe)
    training = hold_out(digits, recipe.held_out) if recipe.held_out else digits
    out = Path(out)
    run = {"recipe": asdict(recipe), "epochs": epochs, "seed": seed, "digest": digits.digest}
    partial = open_partial(out / f"{name}.partial", run)

    n, steps = len(training.y_train), count_steps(training, recipe)
    model = make_model(recipe, training, seed, epochs)
    history = restore(model, partial, steps)
    if len(history) < epochs and not is_exhausted(history, recipe.patience):
        depth = choose_depth(n, recipe.batch_size)
        model.fit(
            shuffled_stacks(n, recipe.batch_size, depth, seed, len(history)),
            steps_per_epoch=steps // depth,
            initial_epoch=len(history),
            epochs=epochs,
            shuffle=False,
            validation_data=batches_in_order(training.pixels_test, training.label_test, recipe.batch_size),
            callbacks=[SeedEachEpoch(seed), SaveEachEpoch(partial, history, recipe.patience)],
            verbose=verbose,
        )
    measured = {**history[-1], "seconds": round(sum(row["seconds"] for row in history), 1)}
    if recipe.held_out:
        seed_draws(model, seed, epoch=len(history))
        batches = batches_in_order(digits.pixels_test, digits.label_test, recipe.batch_size)
        test = model.evaluate(batches, verbose=0, return_dict=True)
        measured.update({f"test_{loss}": round(float(test[loss]), 4) for loss in LOSSES})
    publish(name, model, history, recipe, run, measured, digits, out)
    shutil.rmtree(partial)
    return {column: [row[column] for row in history] for column in COLUMNS}


def prepare(digits, recipe):
    """The digits as the recipe wants them: with their labels or without, grey or black and white."""
    digits = digits if recipe.labelled else forget_labels(digits)
    return binarise(digits) if recipe.pixels == "binary" else digits


def count_steps(digits, recipe):
    """How many steps an epoch of these digits has."""
    return math.ceil(len(digits.y_train) / recipe.batch_size)


def make_model(recipe, digits, seed, epochs):
    """The model of a recipe, compiled to be trained for so many epochs of these digits, by stacks of indices."""
    keras.utils.set_random_seed(seed)
    steps = count_steps(digits, recipe)
    settings = {name: getattr(recipe, name) for name in ("beta", "continuous", "dropout")}
    settings.update(configure(recipe), warm_up=recipe.warm_up * steps, seed=seed)
    model = FastVariant(gather_from(digits.pixels_train, digits.label_train), **settings)
    rate = schedule_rate(recipe, steps * epochs)
    model.compile(keras.optimizers.Adam(rate), jit_compile=JIT_COMPILE)
    # Or the first step would, and `fit` would trace and compile it once with that and once without.
    model.optimizer.build(model.trainable_variables)
    return model


def configure(recipe):
    """The arguments that build the CVAE of a recipe: a dict."""
    return {name: getattr(recipe, name) for name in ("n_z", "n_hidden", "n_layers")}


def objective(recipe):
    """What a recipe makes of the digits and minimises: a dict, for the manifest."""
    names = ("labelled", "pixels", "beta", "warm_up", "continuous", "dropout")
    return {name: getattr(recipe, name) for name in names}


def schedule_rate(recipe, steps):
    """The learning rate of a recipe over so many steps: a number, or a Keras schedule."""
    if recipe.schedule == "cosine":
        return keras.optimizers.schedules.CosineDecay(recipe.learning_rate, steps)
    return recipe.learning_rate


def choose_depth(n, batch_size):
    """How many batches a stack of `shuffled_stacks` holds: as many as divide an epoch of n digits, at most MAX_DEPTH.

    One, where the last batch of an epoch is smaller.
    """
    return 1 if n % batch_size else math.gcd(n // batch_size, MAX_DEPTH)


def shuffled_stacks(n, batch_size, depth, seed, first_epoch=0):
    """Yield stacks of indices, (depth, batch_size), for ever; the order within epoch e depends on (seed, e) alone.

    Returns a tf.data.Dataset. Every epoch has each of 0 to n - 1 once. Its last batch is smaller where the size does
    not divide n; depth has to be 1 then.
    """
    size = depth * batch_size
    starts = tf.data.Dataset.range(0, n, size)

    def shuffle(epoch):
        order = tf.random.experimental.stateless_shuffle(tf.range(n), seed=[seed, epoch])
        return starts.map(lambda start: tf.reshape(order[start : start + size], (depth, -1)))

    return untuned(tf.data.Dataset.range(first_epoch, tf.int64.max).flat_map(shuffle))


def batches_in_order(pixels, label, batch_size):
    """Yield batches ((x, label), x) of all digits, once: a tf.data.Dataset."""
    return untuned(tf.data.Dataset.range(len(label)).batch(batch_size).map(gather_from(pixels, label)))


def untuned(dataset):
    """The dataset without tf.data's autotuner, which has nothing to tune in these.

    Its thread sleeps for as long as it has worked, a minute at most, and TensorFlow does not always wake it when the
    data end: `fit`, which waits for it, would return as much later. Source: chapter 3.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def gather_from(pixels, label):
    """A function from the indices of digits to their batch ((x, label), x).

    The pixels stay bytes, a quarter of the memory, and each batch is scaled when its turn comes: `Digits.x_train`, all
    pixels as float32, is never made.
    """
    pixels, label = tf.constant(pixels), tf.constant(label)

    def gather(index):
        x = tf.cast(tf.gather(pixels, index), tf.float32) / 255
        return (x, tf.gather(label, index)), x

    return gather


def seed_draws(model, seed, epoch):
    """Set the generators of epsilon and of dropout to states that depend on the seed and the epoch's number alone."""
    # A generator counts its draws, one a batch: 2**20 leaves each epoch, and each layer, far more than it uses.
    drawing = [layer for layer in model.encoder.layers if hasattr(layer, "seed_generator")]
    for place, layer in enumerate(sorted(drawing, key=lambda layer: layer.name != "z")):
        layer.seed_generator.state.assign([seed, (epoch + 2**9 * place) * 2**20])


class SeedEachEpoch(keras.callbacks.Callback):
    """Seed all that an epoch draws anew at its start."""

    def __init__(self, seed):
        super().__init__()
        self.seed = seed

    def on_epoch_begin(self, epoch, logs=None):
        seed_draws(self.model, self.seed, epoch)


class SaveEachEpoch(keras.callbacks.Callback):
    """Append each epoch to the history, store it with the weights and the optimizer, and stop when it is time."""

    def __init__(self, folder, history, patience):
        super().__init__()
        self.folder, self.history, self.patience = folder, history, patience

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        seconds = time.perf_counter() - self.started
        row = {name: round(float(value), 4) for name, value in logs.items()}
        self.history.append({"epoch": epoch + 1, **row, "seconds": round(seconds, 2)})
        # The history first: a run stopped between the two has a row too many, which restore() drops.
        write_history(self.folder / "history.csv", self.history)
        new = self.folder / "new.weights.h5"
        self.model.save_weights(new)
        os.replace(new, self.folder / "checkpoint.weights.h5")
        self.model.stop_training = is_exhausted(self.history, self.patience)


def is_exhausted(history, patience):
    """Whether the last `patience` epochs brought no validation loss below the best before: Keras' EarlyStopping."""
    best, waited = math.inf, 0
    for row in history:
        improved = row["val_loss"] < best
        best, waited = (row["val_loss"], 0) if improved else (best, waited + 1)
    return waited >= patience


def open_partial(folder, run):
    """Make the folder of an unfinished run, or check that the one that is there belongs to this run."""
    path = folder / "run.json"
    if path.exists() and json.loads(path.read_text()) != run:
        raise TrainingError(
            f"{folder}: found an unfinished run with other settings, {path.read_text().strip()}; expected "
            f"{json.dumps(run)}. Finish it with its own command, delete the folder, or choose another --out."
        )
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(run) + "\n")
    return folder


def restore(model, folder, steps):
    """Load the last finished epoch of an unfinished run into the model, if there is one; return its history."""
    checkpoint = folder / "checkpoint.weights.h5"
    if not checkpoint.exists():
        return []
    model.load_weights(checkpoint)
    finished = int(model.optimizer.iterations) // steps
    columns = read_history(folder / "history.csv")
    rows = [dict(zip(columns, values)) for values in zip(*columns.values())]
    return [{**row, "epoch": int(row["epoch"])} for row in rows[:finished]]


def write_history(path, history):
    """Write the history as CSV, one row an epoch."""
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    write_text(path, file.getvalue())


def publish(name, model, history, recipe, run, measured, digits, out):
    """Write the weights, the history and the manifest entry of a finished run."""
    weights, log = f"{name}.weights.h5", f"{name}.history.csv"
    # A fresh model has no optimizer, whose state would treble the file. Keras stores the name: without one of our own
    # it would count the models made before, and the same weights would have another SHA-256.
    bare = CVAE(**configure(recipe), seed=run["seed"], name="cvae")
    bare.set_weights(model.get_weights())
    bare.save_weights(out / weights)
    write_history(out / log, history)
    entry = {
        "configuration": configure(recipe),
        "parameters": model.count_params(),
        "seed": run["seed"],
        "protocol": {
            "training": f"{len(digits.y_train) - recipe.held_out} digits",
            "validation": f"{recipe.held_out or len(digits.y_test)} "
            f"{'held-out training' if recipe.held_out else 'test'} digits, one sample of z an image, after each epoch",
            "selection": "the last epoch's weights",
            "optimizer": f"Adam, learning rate {recipe.learning_rate}, {recipe.schedule}",
            "batch_size": recipe.batch_size,
            "epochs": run["epochs"],
            "early_stopping": f"validation loss, patience {recipe.patience}",
            "objective": objective(recipe),
        },
        "data": {"edition": digits.edition, "sha256": digits.digest},
        "versions": describe_versions(),
        "measured": measured,
        "sha256": {file_name: digest_file(out / file_name) for file_name in (weights, log)},
        "command": f"python -m cvae_lib train {name} --epochs {run['epochs']} --seed {run['seed']}",
    }
    write_manifest(out, name, entry)
