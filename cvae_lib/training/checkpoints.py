"""What a run writes to the disk: each finished epoch while it goes on, and weights, history and manifest at its end.

All that is random in an epoch depends only on the seed and the number of the epoch. So the weights and the optimizer
are the whole state at the end of an epoch, and an interrupted run ends like an unbroken one. An unfinished run has a
folder with both, `epoch-N.weights.h5`, and `run.json`: its settings, its history, and the digests of the two files.
"""

import csv
import hashlib
import json
import math
import shlex
import shutil
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import cvae_lib._tensorflow  # noqa: F401

# isort: split
import keras

from cvae_lib import BookError
from cvae_lib.convolutional import build_cvae
from cvae_lib.data.dataset import ImageData
from cvae_lib.data.mnist import DIGITS
from cvae_lib.files import sync, write_text
from cvae_lib.model import CVAE
from cvae_lib.pretrained import describe_versions, digest_file, publish
from cvae_lib.training.recipes import RECIPES, Recipe

LOSSES = ("loss", "kl_loss", "reconstruction_loss")
STATE = "run.json"
SIZES = ("n_z", "n_hidden", "n_layers", "n_x", "n_y", "image_shape")
COLUMNS = ("epoch", *LOSSES, *(f"val_{name}" for name in LOSSES), "seconds")


class TrainingError(BookError):
    """A training run that cannot start or go on: the message says what is in the way and what to do."""


def read_checkpoint(folder: Path, run: dict[str, Any]) -> list[dict[str, Any]]:
    """Read the history of an unfinished run: a list of rows, one for each finished epoch; empty where there is none.

    run is all that decides how the run ends, apart from the versions of the packages. Raises TrainingError where the
    folder has another run, or where its files are not as the run wrote them.
    """
    path = folder / STATE
    if not path.exists():
        return []
    remedy = f"Delete the folder {folder}: the same command then begins again."
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        if state.pop("sha256") != digest_state(state):
            raise ValueError("other bytes than it was written with")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise TrainingError(
            f"{path}: found that it was altered or damaged ({error}); expected it as the run wrote it. {remedy}"
        ) from error
    found, expected = (json.dumps(each) for each in (state["run"], run))
    if found != expected:
        raise TrainingError(
            f"{folder}: found an unfinished run with other settings, {found}; expected {expected}. Finish it with "
            "its own command, delete the folder, or choose another --out."
        )
    weights = name_weights(folder, len(state["history"]))
    if not weights.is_file() or digest_file(weights) != state["weights"]:
        raise TrainingError(
            f"{weights}: found {'another file' if weights.exists() else 'no such file'}; expected the weights of the "
            f"last finished epoch. {remedy}"
        )
    return state["history"]


def digest_state(state: dict[str, Any]) -> str:
    """Return the SHA-256 of what a run knows of its finished epochs, as hexadecimal digits."""
    return hashlib.sha256(json.dumps(state).encode()).hexdigest()


def name_weights(folder: Path, epochs: int) -> Path:
    """Return where the weights and the optimizer are stored after so many epochs."""
    return folder / f"epoch-{epochs}.weights.h5"


def save_checkpoint(folder: Path, run: dict[str, Any], history: list[dict[str, Any]], model: keras.Model) -> None:
    """Store the end of an epoch: first the weights with the optimizer, under a new name, and then what refers to it."""
    weights = name_weights(folder, len(history))
    model.save_weights(weights)
    sync(weights)
    state = {"run": run, "history": history, "weights": digest_file(weights)}
    write_text(folder / STATE, json.dumps({**state, "sha256": digest_state(state)}, indent=1) + "\n")
    for old in set(folder.glob("*.weights.h5")) - {weights}:
        old.unlink()


def close_checkpoint(folder: Path) -> None:
    """Remove the folder of a finished run, `run.json` first: nothing goes on with a folder that lacks it."""
    (folder / STATE).unlink()
    shutil.rmtree(folder)


class SaveEachEpoch(keras.callbacks.Callback):
    """Append each epoch to the history, store it with weights and optimizer, and stop training when it is time.

    run is that of `read_checkpoint`. Of several processes that train together only one writes, and the others keep the
    same history.
    """

    def __init__(
        self, folder: Path, run: dict[str, Any], history: list[dict[str, Any]], patience: int, writes: bool = True
    ):
        super().__init__()
        self.folder, self.run, self.history, self.patience, self.writes = folder, run, history, patience, writes

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        seconds = time.perf_counter() - self.started
        row = {name: round(float(value), 4) for name, value in logs.items()}
        check_finite(f"epoch {epoch + 1}", row)
        self.history.append({"epoch": epoch + 1, **row, "seconds": round(seconds, 2)})
        if self.writes:
            save_checkpoint(self.folder, self.run, self.history, self.model)
        self.model.stop_training = should_stop_early(self.history, self.patience)


def should_stop_early(history: list[dict[str, Any]], patience: int) -> bool:
    """Tell whether the lowest validation loss is at least `patience` epochs old, as Keras' EarlyStopping does."""
    best, waited = math.inf, 0
    for row in history:
        improved = row["val_loss"] < best
        best, waited = (row["val_loss"], 0) if improved else (best, waited + 1)
    return waited >= patience


def check_finite(where: str, losses: dict[str, float]) -> None:
    """Raise TrainingError for a run that has diverged: where a loss is not finite."""
    if not all(map(math.isfinite, losses.values())):
        raise TrainingError(
            f"{where}: found the losses {losses}; expected finite numbers. Choose a lower learning_rate."
        )


def write_history(path: Path, history: list[dict[str, Any]]) -> None:
    """Write the history as CSV, one row an epoch."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(history)


def save_model(name: str, model: CVAE, history: list[dict[str, Any]], facts: dict[str, Any], out: Path) -> None:
    """Write the weights, the history and the manifest entry of a finished run to the folder `out`.

    The entry holds the facts, the sizes of the model, the versions of the packages and the hashes of the files.
    """
    configuration = {key: value for key, value in model.settings.items() if key in SIZES}
    # A fresh model has no optimizer, whose state would treble the file. Keras stores the model's name. Without a fixed
    # name Keras would number its models, and the same weights would have another SHA-256.
    bare = build_cvae({**configuration, "seed": model.settings["seed"], "name": "cvae"})
    bare.set_weights(model.get_weights())
    entry = {
        **facts,
        "configuration": configuration,
        "parameters": bare.count_params(),
        "versions": describe_versions(),
    }
    log = partial(write_history, history=history)
    publish(out, name, {f"{name}.weights.h5": bare.save_weights, f"{name}.history.csv": log}, entry)


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
