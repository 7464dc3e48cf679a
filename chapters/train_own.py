"""Train and measure the models of chapters 16 and 17, on images and conditions of one's own.

    python3 chapters/train_own.py fashion-2d letters-2d      # with the seeds of the table below
    python3 chapters/train_own.py fashion-2d --seed 1

The functions that make the data stand on the chapters' pages, in the cells tagged `defines`, and are taken from there.
A row for each name and seed goes to `chapters/results/`, beside the rows that are there. The weights of a model that
ships go to the folder --out if its seed is 1; all others are forgotten once they are measured.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import cvae_lib._tensorflow  # noqa: F401

# isort: split
import jupytext
import numpy as np

from cvae_lib import BookError
from cvae_lib.data import Dataset, Joint
from cvae_lib.evaluate import decode, encode
from cvae_lib.pretrained import PRETRAINED, describe_versions, load_pretrained, write_text
from cvae_lib.tools.digit_classifier import NAME, build_classifier, read_digits, train_classifier
from cvae_lib.tools.sweeps import measure_exact_likelihood
from cvae_lib.training.loop import train
from cvae_lib.training.recipes import RECIPES, Recipe

CHAPTERS = Path(__file__).parent
RESULTS = {"16_your_own_images": "own_images", "17_other_conditions": "other_conditions"}  # the table of each chapter

Measure = Callable[["Own", Any], dict[str, Any]]


class OwnError(BookError):
    """Data that are not at hand: the message says what to do."""


class Own(NamedTuple):
    """A model of one's own: its data, which a function of a chapter makes, its recipe, and what is measured."""

    chapter: str
    make_data: str
    recipe: Recipe
    measure: Measure
    seeds: tuple[int, ...] = (1, 2, 3)
    ships: bool = False
    shows_codes: bool = False  # a file of codes, for a page that is read where the data are not at hand


@cache
def read_definitions(chapter: str) -> dict[str, Any]:
    """Execute the cells of a chapter that are tagged `defines`; return what they define, by name."""
    found: dict[str, Any] = {}
    for cell in jupytext.read(CHAPTERS / f"{chapter}.md").cells:
        if "defines" in cell.metadata.get("tags", []):
            exec(cell.source, found)
    return found


@cache
def make_data(chapter: str, name: str) -> Dataset:
    """Make data by the function of this name on the page of a chapter. Raises OwnError where there are none."""
    data = read_definitions(chapter)[name]()
    if data is None:
        raise OwnError(f"{name}: found no such data in the places that chapters/{chapter}.md lists. Name your folder.")
    return data


def read_classes(y: np.ndarray) -> np.ndarray:
    """Return the class in each label, (n,): the label itself, or the first of its columns."""
    return y if y.ndim == 1 else y[:, 0].astype("int64")


@cache
def train_reader(chapter: str, name: str) -> tuple[Any, float]:
    """Train the book's classifier on the classes of these data; return it with its accuracy on the test images."""
    data = make_data(chapter, name)
    condition = data.condition.parts[0] if isinstance(data.condition, Joint) else data.condition
    y_train, y_test = (read_classes(y) for y in (data.y_train, data.y_test))
    data = replace(data, condition=condition, y_train=y_train, y_test=y_test)
    with tempfile.TemporaryDirectory() as folder:
        accuracy = train_classifier(data, folder, verbose=0)
        reader = build_classifier(data.image_shape, data.n_y)
        reader.load_weights(Path(folder, f"{NAME}.weights.h5"))
    return reader, accuracy


def measure_images(
    own: Own, model: Any, images: int = 10_000, cells: int = 200, pictures: int = 10_000
) -> dict[str, Any]:
    """Measure a model with two latents as chapter 16 does.

    elbo, exact and gap are those of `measure_exact_likelihood`, on the first `images` test images, by a grid of cells *
    cells. fidelity is the share of `pictures` pictures, each from a z of the prior and a random label of the training
    images, that a classifier reads as their class; accuracy is the share of test images that it reads right.
    """
    data = make_data(own.chapter, own.make_data)
    some = replace(data, pixels_test=data.pixels_test[:images], y_test=data.y_test[:images])
    rng = np.random.default_rng(0)
    y = data.y_train[rng.integers(0, data.n_train, pictures)]
    drawn = decode(model, rng.standard_normal((pictures, 2)).astype("float32"), data.condition.encode(y))
    reader, accuracy = train_reader(own.chapter, own.make_data)
    fidelity = float(np.mean(read_digits(reader, drawn) == read_classes(y)))
    return {**measure_exact_likelihood(model, own.recipe, some, n=cells), "fidelity": fidelity, "accuracy": accuracy}


IMAGES = partial(Own, "16_your_own_images")
SMALL = Recipe(n_hidden=128, batch_size=100, learning_rate=3e-3, epochs=30, patience=30)
LETTERS = Recipe(network="convolutional", n_hidden=120, batch_size=100, epochs=30, patience=30)
FEW = partial(measure_images, images=100, cells=100)  # each letter has a hue of its own, so each decodes a grid
# Dense and convolutional networks of the same data have equally many parameters, and the dense ones more epochs.
OWN: dict[str, Own] = {
    "letters-2d": IMAGES("make_letters", LETTERS, FEW, (1,), ships=True),
    "letters, convolutional": IMAGES("make_letters", replace(LETTERS, epochs=10), FEW),
    "letters, dense": IMAGES("make_letters", replace(LETTERS, network="dense", n_hidden=82), FEW),
    "fashion-2d": IMAGES("find_fashion", Recipe(), measure_images, (1,), ships=True, shows_codes=True),
    "fashion, convolutional": IMAGES(
        "find_fashion", Recipe(network="convolutional", n_hidden=255, epochs=4), measure_images
    ),
    "fashion, dense": IMAGES("find_fashion", Recipe(epochs=16), measure_images),
    "fashion, two layers": IMAGES("find_fashion", RECIPES["mnist-2d-deep-quick"], measure_images),
    "digits, dense": IMAGES("make_digits", SMALL, measure_images),
    "digits, convolutional": IMAGES(
        "make_digits", replace(SMALL, network="convolutional", n_hidden=36), measure_images
    ),
}


def write_codes(path: Path, model: Any, data: Dataset, n: int = 1_000) -> None:
    """Write z_mean of the first n test images, and their classes, as CSV."""
    z_mean, _ = encode(model, data.x_test[:n], data.label_test[:n])
    rows = [f"{z1:.2f},{z2:.2f},{y}" for (z1, z2), y in zip(z_mean, read_classes(data.y_test[:n]))]
    write_text(path, "\n".join(["z1,z2,class", *rows]) + "\n")


def make_row(name: str, seed: int, out: Path) -> dict[str, Any]:
    """Train a model with this seed, and measure it: a row, with the validation loss after each epoch."""
    own = OWN[name]
    data = make_data(own.chapter, own.make_data)
    command = f"python3 chapters/train_own.py {name} --seed {seed}"
    with tempfile.TemporaryDirectory() as folder:
        place = out if own.ships and seed == 1 else Path(folder)
        started = time.process_time()
        history = train(own.recipe, data, place, name, seed, verbose=2, command=command)
        seconds = time.process_time() - started
        model = load_pretrained(name, place)
    if own.shows_codes and seed == 1:
        write_codes(CHAPTERS / "results" / f"{name}_codes.csv", model, data)
    return {
        "name": name,
        "seed": seed,
        "parameters": model.count_params(),
        "cpu_seconds": round(seconds, 1),
        "seconds": round(float(np.median(history["seconds"])), 2),
        "val_loss": [round(loss, 2) for loss in history["val_loss"]],
        **{key: round(value, 4) for key, value in own.measure(own, model).items()},
        "data": data.digest,
    }


def add_row(chapter: str, row: dict[str, Any]) -> None:
    """Write a row into the table of a chapter, in the place of an older one of the same name and seed."""
    path = CHAPTERS / "results" / f"{RESULTS[chapter]}.json"
    table = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"rows": []}
    rows = {(one["name"], one["seed"]): one for one in [*table["rows"], row]}
    place = {name: i for i, name in enumerate(OWN)}
    table["rows"] = [rows[key] for key in sorted(rows, key=lambda key: (place.get(key[0], len(place)), key[1]))]
    table |= {"command": "python3 chapters/train_own.py NAME", "versions": describe_versions()}
    write_text(path, json.dumps(table, indent=1) + "\n")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", choices=OWN, metavar="name", help="the model: %(choices)s")
    parser.add_argument("--seed", nargs="+", type=int, help="the seeds (default: those of the model)")
    parser.add_argument("--out", type=Path, default=PRETRAINED, help="the folder of the models that ship")
    options = parser.parse_args(arguments)
    try:
        for name in options.names:
            for seed in options.seed or OWN[name].seeds:
                row = make_row(name, seed, options.out)
                add_row(OWN[name].chapter, row)
                print({key: value for key, value in row.items() if key != "val_loss"}, flush=True)
    except BookError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
