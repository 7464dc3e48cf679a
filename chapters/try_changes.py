"""Train the base recipe of 30 epochs with changes that no recipe has, and store what they do for chapter 11.

    python3 chapters/try_changes.py "shifts of a pixel" 1 2 3    # the name of a change, and the seeds

Each change is a few lines of plain Keras here, so that one of your own takes as many. "unchanged" is what the others
are compared with: the same recipe, trained and measured by this script. The rows go to `chapters/results/changes.json`,
beside those that are there. The data are those that CVAE_DATA names.

With `--chosen` it changes `mnist-2d-deep`, the recipe that the chapter chooses, trains on all training digits and
measures on the test digits. Those rows go to `chapters/results/chosen_changed.json`.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import cvae_lib._tensorflow  # noqa: F401

# isort: split
import keras
import numpy as np
from keras import ops

from cvae_lib import BookError
from cvae_lib.data import Dataset, hold_out, load_mnist
from cvae_lib.evaluate import encode
from cvae_lib.files import end_at_once, hold, write_text
from cvae_lib.likelihood import best_gaussians, make_grid
from cvae_lib.model import CVAE
from cvae_lib.pretrained import describe_versions
from cvae_lib.tools.sweeps import THIRTY_EPOCHS, measure_exact_likelihood
from cvae_lib.training.recipes import RECIPES, Recipe

RESULTS = Path(__file__).parent / "results" / "changes.json"
CHOSEN_RESULTS = RESULTS.with_name("chosen_changed.json")


class ResidualDecoderCVAE(CVAE):
    """A CVAE whose decoder's hidden layers, from the second on, add to their input: h + hidden(normalised h)."""

    def build(self, input_shape: Any) -> None:
        self.decoder = self.connect(self.decoder, "z_and_label", ["x_logits"])
        super().build(input_shape)

    def connect(self, network: keras.Model, first: str, last: list[str]) -> keras.Model:
        """Build a network of the same layers, with the sums, and a normalisation before each of them."""
        h = network.get_layer(first)(network.inputs)
        hidden = [layer for layer in network.layers if "_hidden" in layer.name]
        h = hidden[0](h)
        for layer in hidden[1:]:
            h = h + layer(keras.layers.LayerNormalization()(h))
        outputs = [network.get_layer(name)(h) for name in last]
        if network.name == "encoder":
            outputs.append(network.get_layer("z")(outputs))
        return keras.Model(network.inputs, outputs if len(outputs) > 1 else outputs[0], name=network.name)


class ResidualCVAE(ResidualDecoderCVAE):
    """The same in both networks."""

    def build(self, input_shape: Any) -> None:
        self.encoder = self.connect(self.encoder, "x_and_label", ["z_mean", "z_log_var"])
        super().build(input_shape)


class ShiftedCVAE(CVAE):
    """A CVAE that sees each training image moved by up to one pixel, by a new random step each time."""

    def train_step(self, data: Any) -> dict[str, Any]:
        (x, label), _ = data
        x = shift(x, ops.shape(x)[0], self.shifts)
        return super().train_step(((x, label), x))

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        self.shifts = keras.random.SeedGenerator(self.settings["seed"])


def shift(x: Any, n: Any, seed: Any) -> Any:
    """Move each of n square images, (n, side * side), by -1, 0 or 1 pixel down and right; what enters is black."""
    side = int(np.sqrt(x.shape[1]))
    picture = ops.pad(ops.reshape(x, (-1, side, side)), [[0, 0], [1, 1], [1, 1]])
    for axis in (1, 2):
        # Each of the three moves for all images, of which one is kept: a sum of products is quick, a gather is not.
        weight = ops.one_hot(keras.random.randint((n,), 0, 3, seed=seed), 3, dtype=x.dtype)
        moved = [ops.roll(picture, step, axis) for step in (-1, 0, 1)]
        picture = sum(ops.reshape(weight[:, i], (-1, 1, 1)) * moved[i] for i in range(3))
    return ops.reshape(picture[:, 1:-1, 1:-1], (-1, side * side))


# A change: the class of the model, and settings of Adam.
CHANGES: dict[str, tuple[type[CVAE], dict[str, Any]]] = {
    "unchanged": (CVAE, {}),
    "residual layers": (ResidualCVAE, {}),
    "residual layers, decoder alone": (ResidualDecoderCVAE, {}),
    "shifts of a pixel": (ShiftedCVAE, {}),
    "averaged weights": (CVAE, {"use_ema": True, "ema_momentum": 0.999}),
}


def train_changed(change: str, seed: int, recipe: Recipe, data: Dataset) -> CVAE:
    """Train the recipe with the change on the training images of the data, all epochs of it."""
    kind, settings = CHANGES[change]
    keras.utils.set_random_seed(seed)
    model = kind(recipe.n_z, recipe.n_hidden, recipe.n_layers, seed, data.n_x, data.n_y)
    steps = recipe.epochs * -(-len(data.y_train) // recipe.batch_size)
    rate = keras.optimizers.schedules.CosineDecay(recipe.learning_rate, steps)
    # Keras puts the averages in the place of the weights when `fit` ends.
    model.compile(keras.optimizers.Adam(rate, **settings), jit_compile=True)
    x = [data.x_train, data.label_train]
    model.fit(x, x[0], batch_size=recipe.batch_size, epochs=recipe.epochs, verbose=0)
    return model


def measure_fitted(model: CVAE, data: Dataset, n: int = 1000) -> float:
    """Measure the negative ELBO of n random test images, each with the best Gaussian of its own: nats an image."""
    some = np.random.default_rng(0).permutation(data.n_test)[:n]
    x, label = data.x_test[some], data.label_test[some]
    return float(-best_gaussians(model, x, label, *encode(model, x, label), make_grid(6, 200))[2].mean())


def read_rows(path: Path, data: dict[str, str]) -> dict[tuple[str, int], dict[str, Any]]:
    """Read the stored rows, by change and seed. Raises BookError where they were measured on other data than these."""
    if not path.exists():
        return {}
    table = json.loads(path.read_text(encoding="utf-8"))
    if table["data"] != data:
        raise BookError(
            f"{path}: found rows measured on other data, {table['data']}; expected {data}. Choose the data by "
            "CVAE_DATA, or move the file away."
        )
    return {(row["name"], row["seed"]): row for row in table["rows"]}


def main(arguments: list[str] | None = None) -> None:
    """Make the rows of a change, and write the table after each of them."""
    parser = argparse.ArgumentParser(description="Train the base recipe of 30 epochs with a change, and measure it.")
    parser.add_argument("change", choices=CHANGES)
    parser.add_argument("seeds", type=int, nargs="+")
    parser.add_argument("--chosen", action="store_true", help="change the chosen recipe, and measure on test digits")
    options = parser.parse_args(arguments)
    digits = load_mnist()
    measured_on = {"edition": digits.edition, "sha256": digits.digest}
    recipe = RECIPES["mnist-2d-deep"] if options.chosen else THIRTY_EPOCHS
    path = CHOSEN_RESULTS if options.chosen else RESULTS
    read_rows(path, measured_on)  # rows of other data are refused before anything is trained
    data = hold_out(digits, recipe.held_out) if recipe.held_out else digits
    for seed in options.seeds:
        started = time.process_time()
        model = train_changed(options.change, seed, recipe, data)
        row = {"name": options.change, "seed": seed, "cpu_seconds": round(time.process_time() - started, 1)}
        measured = measure_exact_likelihood(model, recipe, data)
        if options.chosen:
            measured["fitted"] = measure_fitted(model, data)
        row |= {key: round(value, 4) for key, value in measured.items()}
        print(row, flush=True)
        with hold(path, wait=True):  # another process may have added rows since
            rows = {**read_rows(path, measured_on), (options.change, seed): row}
            table = {
                "rows": [
                    rows[change, seed] for change in CHANGES for seed in sorted(s for c, s in rows if c == change)
                ],
                "command": f"python3 chapters/try_changes.py NAME 1 2 3{' --chosen' * options.chosen}",
                "data": measured_on,
                "versions": describe_versions(),
            }
            write_text(path, json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    end_at_once("The rows that were finished are written.")
    try:
        main()
    except BookError as error:
        raise SystemExit(str(error)) from None
