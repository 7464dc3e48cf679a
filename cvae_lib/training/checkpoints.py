"""What a run writes to the disk: each finished epoch while it goes on, and weights, history and manifest at its end.

All that is random in an epoch depends only on the seed and the number of the epoch. So the weights and the optimizer
are the whole state at the end of an epoch, and an interrupted run ends like an unbroken one.
"""

import csv
import io
import json
import math
import os
import shlex
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import cvae_lib._tensorflow  # noqa: F401

# isort: split
import keras

from cvae_lib import BookError
from cvae_lib.convolutional import build_cvae
from cvae_lib.data.dataset import ImageData
from cvae_lib.data.mnist import DIGITS
from cvae_lib.model import CVAE
from cvae_lib.pretrained import describe_versions, digest_file, read_history, write_manifest, write_text
from cvae_lib.training.recipes import RECIPES, Recipe

LOSSES = ("loss", "kl_loss", "reconstruction_loss")
CHECKPOINT = "checkpoint.weights.h5"
SIZES = ("n_z", "n_hidden", "n_layers", "n_x", "n_y", "image_shape")
COLUMNS = ("epoch", *LOSSES, *(f"val_{name}" for name in LOSSES), "seconds")


class TrainingError(BookError):
    """A training run that cannot start or go on: the message says what is in the way and what to do."""


def check_checkpoint(folder: Path, run: dict[str, Any]) -> int:
    """Check that a folder has no other unfinished run; return how many epochs its history has, 0 where it has none.

    run is all that decides how the run ends, apart from the versions of the packages. Raises TrainingError where the
    folder has another run.
    """
    path, expected = folder / "run.json", json.dumps(run)
    if not path.exists():
        return 0
    found = path.read_text(encoding="utf-8").strip()
    if found != expected:
        raise TrainingError(
            f"{folder}: found an unfinished run with other settings, {found}; expected {expected}. Finish it with "
            "its own command, delete the folder, or choose another --out."
        )
    history = folder / "history.csv"
    return len(read_history(history)["epoch"]) if history.exists() else 0


def open_checkpoint(folder: Path, run: dict[str, Any]) -> None:
    """Make the folder of an unfinished run, where it is not there yet."""
    if not (folder / "run.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        # A checkpoint without run.json was left by a run that was stopped while close_checkpoint removed its folder.
        (folder / CHECKPOINT).unlink(missing_ok=True)
        write_text(folder / "run.json", json.dumps(run) + "\n")


def close_checkpoint(folder: Path) -> None:
    """Remove the folder of a finished run, `run.json` first: nothing goes on with a folder that lacks it."""
    (folder / "run.json").unlink()
    shutil.rmtree(folder)


def resume(model: keras.Model, folder: Path, steps: int) -> list[dict[str, Any]]:
    """Load the last finished epoch of an unfinished run into the model, if there is one; return its history.

    steps is the number of steps of an epoch. The history is a list of rows, one an epoch.
    """
    checkpoint = folder / CHECKPOINT
    if not (checkpoint.exists() and (folder / "run.json").exists()):
        return []
    model.load_weights(checkpoint)
    finished = int(model.optimizer.iterations.numpy()) // steps  # a variable of a strategy is no number itself
    columns = read_history(folder / "history.csv")
    rows = [dict(zip(columns, values)) for values in zip(*columns.values())]
    return [{**row, "epoch": int(row["epoch"])} for row in rows[:finished]]


class SaveEachEpoch(keras.callbacks.Callback):
    """Append each epoch to the history, store it with weights and optimizer, and stop training when it is time.

    Of several processes that train together only one writes, and the others keep the same history.
    """

    def __init__(self, folder: Path, history: list[dict[str, Any]], patience: int, writes: bool = True):
        super().__init__()
        self.folder, self.history, self.patience, self.writes = folder, history, patience, writes

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        seconds = time.perf_counter() - self.started
        row = {name: round(float(value), 4) for name, value in logs.items()}
        if not all(map(math.isfinite, row.values())):
            raise TrainingError(
                f"epoch {epoch + 1}: found the losses {row}; expected finite numbers. Choose a lower learning_rate."
            )
        self.history.append({"epoch": epoch + 1, **row, "seconds": round(seconds, 2)})
        if self.writes:
            # The history first: a run stopped between the two has a row too many, which resume() drops.
            write_history(self.folder / "history.csv", self.history)
            new = self.folder / "new.weights.h5"
            self.model.save_weights(new)
            os.replace(new, self.folder / CHECKPOINT)
        self.model.stop_training = should_stop_early(self.history, self.patience)


def should_stop_early(history: list[dict[str, Any]], patience: int) -> bool:
    """Tell whether the lowest validation loss is at least `patience` epochs old, as Keras' EarlyStopping does."""
    best, waited = math.inf, 0
    for row in history:
        improved = row["val_loss"] < best
        best, waited = (row["val_loss"], 0) if improved else (best, waited + 1)
    return waited >= patience


def write_history(path: Path, history: list[dict[str, Any]]) -> None:
    """Write the history as CSV, one row an epoch."""
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    write_text(path, file.getvalue())


def save_model(name: str, model: CVAE, history: list[dict[str, Any]], facts: dict[str, Any], out: Path) -> None:
    """Write the weights, the history and the manifest entry of a finished run to the folder `out`.

    The entry holds the facts, the sizes of the model, the versions of the packages and the hashes of the files.
    """
    weights, log = f"{name}.weights.h5", f"{name}.history.csv"
    configuration = {key: value for key, value in model.settings.items() if key in SIZES}
    # A fresh model has no optimizer, whose state would treble the file. Keras stores the model's name. Without a fixed
    # name Keras would number its models, and the same weights would have another SHA-256.
    bare = build_cvae({**configuration, "seed": model.settings["seed"], "name": "cvae"})
    bare.set_weights(model.get_weights())
    bare.save_weights(out / weights)
    write_history(out / log, history)
    entry = {
        **facts,
        "configuration": configuration,
        "parameters": bare.count_params(),
        "versions": describe_versions(),
        "sha256": {file_name: digest_file(out / file_name) for file_name in (weights, log)},
    }
    write_manifest(out, name, entry)


def describe_protocol(recipe: Recipe, data: ImageData) -> dict[str, Any]:
    """Say how a recipe trains on these data and what its losses are measured on: a dict for the manifest."""
    objective = ("labelled", "pixels", "beta", "warm_up", "continuous", "dropout")
    n_validation, which = (recipe.held_out, "held-out training") if recipe.held_out else (data.n_test, "test")
    return {
        "training": f"{data.n_train - recipe.held_out} images",
        "validation": f"{n_validation} {which} images, one sample of z an image, after each epoch",
        "selection": "the last epoch's weights",
        "optimizer": f"Adam, learning rate {recipe.learning_rate}, {recipe.schedule}",
        "batch_size": recipe.batch_size,
        "epochs": recipe.epochs,
        "early_stopping": f"validation loss, patience {recipe.patience}",
        "objective": {key: getattr(recipe, key) for key in objective},
    }


def describe_command(name: str, recipe: Recipe, data: ImageData, seed: int, jit_compile: bool) -> str:
    """Say how to make the model again: by the command, or by a call in Python where the command lacks an option."""
    has_name = name in RECIPES and replace(RECIPES[name], epochs=recipe.epochs) == recipe
    is_mnist = data.edition != "custom" or (data.condition == DIGITS and Path(data.source).exists())
    if has_name and is_mnist and jit_compile == recipe.jit_compile:
        return f"python -m cvae_lib train {name} --epochs {recipe.epochs} --seed {seed} --data {describe_data(data)}"
    settings = f"name={name!r}, seed={seed}" + f", jit_compile={jit_compile}" * (jit_compile != recipe.jit_compile)
    return f"cvae_lib.training.loop.train({recipe!r}, data, out, {settings})"


def describe_data(data: ImageData) -> str:
    """Say how the option --data names these data, which the command line has loaded."""
    return shlex.quote(data.source) if data.edition == "custom" else data.edition
