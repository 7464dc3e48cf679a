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
from cvae_lib.data import Classes, Dataset, Joint
from cvae_lib.evaluate import decode, encode, sampled_elbo, score_labels
from cvae_lib.files import end_at_once, hold, removed_at_the_end, write_text
from cvae_lib.likelihood import make_grid
from cvae_lib.metrics import measure_shape
from cvae_lib.pictures import tile, write_png
from cvae_lib.pretrained import PRETRAINED, describe_versions, load_pretrained
from cvae_lib.tools.digit_classifier import NAME, build_classifier, load_classifier, read_digits, train_classifier
from cvae_lib.tools.sweeps import measure_exact_likelihood
from cvae_lib.training.loop import train
from cvae_lib.training.recipes import RECIPES, Recipe

CHAPTERS = Path(__file__).parent
sys.path.append(str(CHAPTERS))  # a page may import this script by its name
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
    arguments: tuple[Any, ...] = ()  # of the function that makes the data
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
def make_data(chapter: str, name: str, *arguments: Any) -> Dataset:
    """Make data by the function of this name on the page of a chapter. Raises OwnError where there are none."""
    data = read_definitions(chapter)[name](*arguments)
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
    with tempfile.TemporaryDirectory() as folder, removed_at_the_end(Path(folder)):
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


# Chapter 17: other conditions.


def measure_shapes(own: Own, model: Any) -> dict[str, Any]:
    """Measure what chapter 17 asks of a model that is told at least the digit, on the test images of its data.

    elbo: the negative ELBO by five draws, nats an image. slant, stroke, width and ink: I(z; that | digit) of a draw of
    z an image, nats, and shuffled that of slants that belong to other images. slope: how far the slant of a drawn
    picture follows the slant that is asked for.
    """
    data, page = make_data(own.chapter, own.make_data, *own.arguments), read_definitions(own.chapter)
    rng, shape = np.random.default_rng(0), measure_shape(data.x_test)
    y = read_classes(data.y_test)
    found = {"elbo": -float(sampled_elbo(model, data.x_test, data.label_test, 5, rng).mean())}
    z_mean, z_log_var = encode(model, data.x_test, data.label_test)
    z = z_mean + np.exp(z_log_var / 2) * rng.standard_normal(z_mean.shape)
    inform = page["information_by_class"]
    for name in ("slant", "stroke", "width", "ink"):
        found[name] = inform(z, getattr(shape, name)[:, None], y)
    found["shuffled"] = inform(z, shape.slant[:, None], y, shuffled=True)
    drawn = measure_shape(decode(model, rng.standard_normal(z.shape).astype("float32"), data.label_test))
    found["slope"] = float(np.polyfit(shape.slant, drawn.slant, 1)[0])
    return found


def measure_labels(own: Own, model: Any) -> dict[str, Any]:
    """Measure a model of ten digits, on the test images of its data, whose labels are right.

    elbo: the negative ELBO by five draws, nats an image. accuracy: the share that p(y | x) gets right, by a grid of 50
    * 50 cells. fidelity: the share of 5,000 pictures, each from a z of the prior and a random digit, that the digit
    classifier reads as that digit. right: the share of training images whose most probable label is the right one.
    """
    data = make_data(own.chapter, own.make_data, *own.arguments)
    truth = read_definitions(own.chapter)["few_digits"]()
    rng = np.random.default_rng(0)
    elbo = sampled_elbo(model, data.x_test, data.label_test, 5, rng).mean()
    of_digit = data.label_test[[np.argmax(truth.y_test == digit) for digit in range(10)]]
    scores = score_labels(model, data.x_test, of_digit, make_grid(5, 50))
    asked = rng.integers(0, 10, 5000)
    drawn = decode(model, rng.standard_normal((5000, 2)).astype("float32"), of_digit[asked])
    found = {
        "elbo": -float(elbo),
        "accuracy": float(np.mean(scores.argmax(axis=1) == truth.y_test)),
        "fidelity": float(np.mean(read_digits(load_classifier(), drawn) == asked)),
    }
    if len(data.y_train) == len(truth.y_train) and data.n_y == 10:
        found["right"] = float(np.mean(data.label_train.argmax(axis=1) == truth.y_train))
    return found


def measure_digits(own: Own, model: Any) -> dict[str, Any]:
    """Measure a model by both `measure_labels` and `measure_shapes`."""
    return {**measure_labels(own, model), **measure_shapes(own, model)}


def measure_letters(own: Own, model: Any) -> dict[str, Any]:
    """Measure a model of letters on 7,800 others, of which the unseen combinations of chapter 17 are one part.

    elbo: the negative ELBO by five draws, nats a letter. information: I(z; hue | letter) of a draw of z an image, nats,
    and shuffled that of other letters' hues. fidelity and accuracy: the share of drawn pictures and of the letters
    themselves that a classifier reads right. hue: by how many degrees the hue of a drawn picture is off. unseen is that
    of the unseen combinations, seam that of hues at most ten degrees from 0.
    """
    page, data = read_definitions(own.chapter), make_data(own.chapter, own.make_data, *own.arguments)
    fresh = page["make_letters"](7800, 1)
    x, y = np.concatenate([fresh.x_train, fresh.x_test]), np.concatenate([fresh.y_train, fresh.y_test])
    letter, hue, is_unseen = y[:, 0].astype("int64"), y[:, 1], page["is_unseen"](y)
    label = data.condition.encode(letter if isinstance(data.condition, Classes) else y)
    rng = np.random.default_rng(0)
    loss = -sampled_elbo(model, x, label, 5, rng).mean(axis=0)
    z_mean, z_log_var = encode(model, x, label)
    z = z_mean + np.exp(z_log_var / 2) * rng.standard_normal(z_mean.shape)
    circle = np.stack([np.cos(np.radians(hue)), np.sin(np.radians(hue))], axis=1)
    drawn = decode(model, rng.standard_normal(z.shape).astype("float32"), label)
    reader, _ = train_reader("16_your_own_images", "make_letters")
    found: dict[str, Any] = {"accuracy": float(np.mean(read_digits(reader, x) == letter))}
    for shuffled in (False, True):
        key = "shuffled" if shuffled else "information"
        found[key] = float(page["information_by_class"](z, circle, letter, shuffled))
    off = abs(page["turn"](page["measure_hue"](drawn) - hue))
    is_read = read_digits(reader, drawn) == letter
    if own.make_data == "withhold" and model.settings["seed"] == 1:
        names = [page["LETTERS"].names.index(name) for name, _ in page["UNSEEN"].values()]
        told = data.condition.encode([[name, hue] for name in names for hue in range(0, 360, 30)])
        sheet = tile(decode(model, np.zeros((36, 2)), told).reshape(3, 12, -1), fresh.image_shape)
        (CHAPTERS / "results" / "withheld_letters.png").write_bytes(write_png(sheet, optimize=True))
    groups = {"": ~is_unseen, "_unseen": is_unseen, "_seam": abs(page["turn"](hue)) <= 10}
    for group, rows in groups.items():
        found |= {f"elbo{group}": float(loss[rows].mean()), f"hue{group}": float(off[rows].mean())}
        found[f"fidelity{group}"] = float(is_read[rows].mean())
    return found


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
CONDITIONS = partial(Own, "17_other_conditions")
SLANT = Recipe(n_hidden=352, learning_rate=2e-3, schedule="cosine", epochs=30, patience=30)
FEW_DIGITS = Recipe(n_hidden=256, learning_rate=4e-3, schedule="cosine", epochs=8, patience=8)
TEN_TIMES = replace(FEW_DIGITS, epochs=80, patience=80)  # as many steps with a tenth of the digits
SHORTER = replace(LETTERS, learning_rate=2e-3, schedule="cosine", epochs=18)
OWN |= {
    "mnist-2d-slant": CONDITIONS("tell_shapes", SLANT, measure_shapes, seeds=(1,), ships=True),
    "few digits": CONDITIONS("few_digits", FEW_DIGITS, measure_digits),
    "few shapes": CONDITIONS("few_shapes", FEW_DIGITS, measure_shapes),
    "slant in degrees": CONDITIONS("tell_degrees", FEW_DIGITS, measure_shapes),
    **{
        f"{100 * share:.0f} % wrong, {how}": CONDITIONS(make, FEW_DIGITS, measure_labels, arguments=(share,))
        for share in (0.01, 0.05, 0.2)
        for how, make in (("as given", "mislabel"), ("read again", "reread"))
    },
    "20 % wrong, confusion told": CONDITIONS("tell_confusion", FEW_DIGITS, measure_labels, arguments=(0.2,)),
    "10 % known, others left out": CONDITIONS("keep_known", TEN_TIMES, measure_labels),
    "10 % known, others uniform": CONDITIONS("tell_unknown", FEW_DIGITS, measure_labels),
    "10 % known, others read": CONDITIONS("read_unknown", FEW_DIGITS, measure_labels),
    "digit as a number": CONDITIONS("number_digits", FEW_DIGITS, measure_labels),
    "two random numbers a digit": CONDITIONS("embed_digits", FEW_DIGITS, measure_labels, arguments=(False,)),
    "two learnt numbers a digit": CONDITIONS("embed_digits", FEW_DIGITS, measure_labels, arguments=(True,)),
    "letter and hue": CONDITIONS("make_letters", SHORTER, measure_letters),
    "letter and hue, some withheld": CONDITIONS("withhold", SHORTER, measure_letters),
    "letter": CONDITIONS("hide_hue", SHORTER, measure_letters),
    "letter, hue as a number": CONDITIONS("number_hue", SHORTER, measure_letters),
}


def write_codes(path: Path, model: Any, data: Dataset, n: int = 1_000) -> None:
    """Write z_mean of the first n test images, and their classes, as CSV."""
    z_mean, _ = encode(model, data.x_test[:n], data.label_test[:n])
    rows = [f"{z1:.2f},{z2:.2f},{y}" for (z1, z2), y in zip(z_mean, read_classes(data.y_test[:n]))]
    write_text(path, "\n".join(["z1,z2,class", *rows]) + "\n")


def make_row(name: str, seed: int, out: Path) -> dict[str, Any]:
    """Train a model with this seed, and measure it: a row, with the validation loss after each epoch."""
    own = OWN[name]
    data = make_data(own.chapter, own.make_data, *own.arguments)
    command = f"python3 chapters/train_own.py {name} --seed {seed}"
    with tempfile.TemporaryDirectory() as folder, removed_at_the_end(Path(folder)):
        place = out if own.ships and seed == 1 else Path(folder)
        started = time.process_time()
        history = train(own.recipe, data, place, name if own.ships else "own", seed, verbose=2, command=command)
        seconds = time.process_time() - started
        model = load_pretrained(name if own.ships else "own", place)
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
    place = {name: i for i, name in enumerate(OWN)}
    with hold(path, wait=True):  # two of these may run at once
        table = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"rows": []}
        rows = {(one["name"], one["seed"]): one for one in [*table["rows"], row]}
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
    end_at_once("The rows that were finished are written.")
    sys.exit(main())
