"""Tables of many runs: how much a change to the recipe changes the results, over several seeds.

A sweep is a list of recipes, each trained with each of its seeds, and a function that measures a trained model. For
the sweeps in MEASURE_EVERY it also measures the model while it trains. The rows go to `chapters/results/<sweep>.json`
with the command that made them; chapters 10 to 12 and the ledger read them from there. A model that ships, in
`pretrained` or one of its folders, is measured as it is and not trained again.
"""

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import cvae_lib._tensorflow  # noqa: F401

# isort: split
import keras
import numpy as np
import tensorflow as tf

import cvae_lib
from cvae_lib import BookError
from cvae_lib.annealing import annealed_weights, bound_from_above, bound_from_below
from cvae_lib.data import Dataset, hold_out, load_mnist, one_hot
from cvae_lib.evaluate import decode, encode, read_as_bernoulli, sampled_elbo
from cvae_lib.files import hold, write_text
from cvae_lib.likelihood import importance_bound, log_likelihood, log_weights, make_grid
from cvae_lib.metrics import active_units, compare
from cvae_lib.pretrained import PRETRAINED, describe_versions, load_history, load_manifest, load_pretrained
from cvae_lib.tools.digit_classifier import load_classifier, read_digits
from cvae_lib.tools.executors import run_all
from cvae_lib.training.checkpoints import describe_data
from cvae_lib.training.loop import check_run, prepare, train
from cvae_lib.training.recipes import RECIPES, Recipe

FIVE_EPOCHS = Recipe(n_layers=2, learning_rate=2e-3, schedule="cosine", epochs=5, patience=100, held_out=5000)
FIVE_EPOCHS_ROWS = {
    "base: 2 × 512, cosine from 0.002, batch 250, 5 epochs": FIVE_EPOCHS,
    "1 hidden layer": replace(FIVE_EPOCHS, n_layers=1),
    "3 hidden layers": replace(FIVE_EPOCHS, n_layers=3),
    "256 units": replace(FIVE_EPOCHS, n_hidden=256),
    "1024 units": replace(FIVE_EPOCHS, n_hidden=1024),
    "constant rate 0.001": replace(FIVE_EPOCHS, schedule="constant", learning_rate=1e-3),
    "batch 100": replace(FIVE_EPOCHS, batch_size=100),
    "batch 1000": replace(FIVE_EPOCHS, batch_size=1000),
    "beta warmed up over 2 epochs": replace(FIVE_EPOCHS, warm_up=2),
    "continuous Bernoulli": replace(FIVE_EPOCHS, continuous=True),
}
THIRTY_EPOCHS = replace(FIVE_EPOCHS, epochs=30)
BATCH_100_3_LAYERS = replace(THIRTY_EPOCHS, batch_size=100, n_layers=3)
THIRTY_EPOCHS_ROWS = {
    "base, 30 epochs": THIRTY_EPOCHS,
    "3 hidden layers": replace(THIRTY_EPOCHS, n_layers=3),
    "dropout 0.2 in the encoder": replace(THIRTY_EPOCHS, dropout=0.2),
    "batch 100": replace(THIRTY_EPOCHS, batch_size=100),
    "batch 100, 3 hidden layers": BATCH_100_3_LAYERS,
}
SEEDS = (1, 2, 3)

Measure = Callable[[Any, Recipe, Dataset], dict[str, float]]


class SweepError(BookError):
    """A sweep that cannot be made: the message says what is in the way and what to do."""


def measure_exact_likelihood(
    model: Any, recipe: Recipe, data: Dataset, draws: int = 10, n: int = 200
) -> dict[str, float]:
    """Measure a model with two latents on the test images of the data, as `prepare` gives them: nats an image.

    exact: -log p(x | y), by the sum over a grid of n * n cells. elbo: the negative ELBO, by `draws` draws of z an
    image, because the posterior of an encoder may be too narrow for a grid. gap: their difference, the inference gap.
    A continuous model is scored by the Bernoulli of its mean image, like the others.
    """
    x, label = data.x_test, data.label_test
    scored = read_as_bernoulli(model) if recipe.continuous else model
    loss = -sampled_elbo(scored, x, label, draws, np.random.default_rng(0)).mean(axis=0)
    exact = -log_likelihood(scored, x, label, make_grid(6, n))
    return {"elbo": float(loss.mean()), "exact": float(exact.mean()), "gap": float((loss - exact).mean())}


def measure_latent_tradeoff(
    model: Any, recipe: Recipe, data: Dataset, images: int = 1000, samples: int = 500, pictures: int = 10_000
) -> dict[str, float]:
    """Measure how good a model with any number of latents is, and how well its label controls what it draws.

    In nats an image, on the test images of the data: elbo and kl_loss are the negative ELBO with one sample of z, and
    its KL. bound is the negative importance-weighted bound with `samples` samples of z, on a random part of `images`
    images, and elbo_same the negative ELBO of the same images. exact, for a model with two latents, is -log p(x | y) of
    the same images, by the sum over a grid. active counts the active units. fidelity, for a model with labels, is the
    share of `pictures` pictures, each from a z of the prior and a random label, that the digit classifier reads as
    their label.
    """
    inputs = [data.x_test, data.label_test]
    model.compile()
    scores = model.evaluate(inputs, data.x_test, batch_size=1000, verbose=0, return_dict=True)
    z_mean, z_log_var = encode(model, *inputs)
    rng = np.random.default_rng(0)
    some = rng.permutation(len(data.x_test))[:images]
    x, label = data.x_test[some], data.label_test[some]
    log_w = log_weights(model, x, label, z_mean[some], z_log_var[some], samples, rng)
    optional = {}
    if z_mean.shape[1] == 2:
        optional["exact"] = float(-log_likelihood(model, x, label, make_grid(6, 200)).mean())
    if recipe.labelled:
        z = rng.standard_normal((pictures, z_mean.shape[1])).astype("float32")
        y = rng.integers(0, data.n_y, pictures)
        read = read_digits(load_classifier(), decode(model, z, one_hot(y, data.n_y)))
        optional["fidelity"] = float(np.mean(read == y))
    return {
        "elbo": float(scores["loss"]),
        "kl_loss": float(scores["kl_loss"]),
        "elbo_same": float(-log_w.mean()),
        "bound": float(-importance_bound(log_w, samples).mean()),
        "active": active_units(z_mean),
        **optional,
    }


def measure_by_annealing(
    model: Any, recipe: Recipe, data: Dataset, images: int = 1000, drawn: int = 200, temperatures: int = 200
) -> dict[str, float]:
    """Measure -log p(x | y) by annealing, on random test images of the data, and how far off it may be: nats an image.

    annealed is minus the bound from below, by ten chains an image, on the same images as the bound of
    `measure_latent_tradeoff`, and annealed_error is its standard error over the images. A model with two latents also
    gets exact, -log p(x | y) by the sum over a grid, and the mean of annealed - exact over the images with its
    interval: short, low and high. On `drawn` black-and-white images that are drawn from the model, log p(x | y) lies on
    average between the two bounds: between is their mean distance, with its interval low_between and high_between.
    """
    some = np.random.default_rng(0).permutation(len(data.x_test))[:images]
    x, label = data.x_test[some], data.label_test[some]
    codes = encode(model, x, label)
    annealed = -bound_from_below(annealed_weights(model, x, label, *codes, temperatures, 10))
    found = {"annealed": float(annealed.mean()), "annealed_error": float(annealed.std(ddof=1) / np.sqrt(len(some)))}
    if codes[0].shape[1] == 2:
        exact = -log_likelihood(model, x, label, make_grid(6, 200))
        short = compare(annealed, exact, paired=True)
        found.update(exact=float(exact.mean()), short=short.mean, low=short.low, high=short.high)

    rng = np.random.default_rng(1)
    label = one_hot(np.arange(drawn) % data.n_y, data.n_y)
    z = rng.standard_normal((drawn, codes[0].shape[1])).astype("float32")
    x = (rng.random((drawn, data.n_x)) < decode(model, z, label)).astype("float32")
    codes = encode(model, x, label)
    below = bound_from_below(annealed_weights(model, x, label, *codes, temperatures, 10))
    above = bound_from_above(annealed_weights(model, x, label, *codes, temperatures, 10, z_exact=z))
    between = compare(above, below, paired=True)
    return {**found, "between": between.mean, "low_between": between.low, "high_between": between.high}


class MeasureAlong(keras.callbacks.Callback):
    """Measure the model every `every` epochs of its training; `course` has a dict for each measurement."""

    def __init__(self, every: int, measure: Callable[[Any], dict[str, float]]):
        super().__init__()
        self.every, self.measure = every, measure
        self.course: list[dict[str, float]] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if (epoch + 1) % self.every == 0:
            self.course.append({"epoch": epoch + 1, **self.measure(self.model.cvae)})


SWEEPS: dict[str, tuple[Measure, dict[str, tuple[Recipe, tuple[int, ...]]]]] = {
    # After such a short training no posterior is narrow, so a coarser grid is enough.
    "five_epochs": (
        partial(measure_exact_likelihood, n=120),
        {name: (recipe, (1, 2, 3, 4, 5)) for name, recipe in FIVE_EPOCHS_ROWS.items()},
    ),
    "thirty_epochs": (
        measure_exact_likelihood,
        {name: (recipe, SEEDS) for name, recipe in THIRTY_EPOCHS_ROWS.items()},
    ),
    "one_run": (measure_exact_likelihood, {"batch 100, 3 hidden layers": (BATCH_100_3_LAYERS, (1,))}),
    "two_latents_by_seed": (
        measure_exact_likelihood,
        {
            "mnist-2d": (RECIPES["mnist-2d"], SEEDS),
            "mnist-2d-vae": (RECIPES["mnist-2d-vae"], SEEDS),
            "mnist-2d-deep": (RECIPES["mnist-2d-deep"], SEEDS),
        },
    ),
    "latent_count": (
        measure_latent_tradeoff,
        {
            "mnist-2d": (RECIPES["mnist-2d"], SEEDS),
            "3 latents": (Recipe(n_z=3), SEEDS),
            "5 latents": (Recipe(n_z=5), SEEDS),
            "10 latents": (Recipe(n_z=10), SEEDS),
            "mnist-20d": (RECIPES["mnist-20d"], SEEDS),
            # No early stopping: it watches the negative ELBO, which these do not minimise.
            "20 latents, beta 2": (Recipe(n_z=20, beta=2, patience=50), SEEDS),
            "20 latents, beta 4": (Recipe(n_z=20, beta=4, patience=50), SEEDS),
            "mnist-2d-deep": (RECIPES["mnist-2d-deep"], (1,)),
            "20 latents, no label": (Recipe(n_z=20, labelled=False), SEEDS),
        },
    ),
    "annealed": (
        measure_by_annealing,
        {
            "mnist-2d": (RECIPES["mnist-2d"], (1,)),
            "3 latents": (Recipe(n_z=3), (1,)),
            "mnist-20d": (RECIPES["mnist-20d"], (1,)),
        },
    ),
}
# Sweeps whose rows are measured along the training too, and after how many epochs each time.
MEASURE_EVERY = {"one_run": 5}


def find_shipped(name: str, seed: int, digest: str) -> Path | None:
    """Find the folder where this model ships, trained with this seed on the data of this digest."""
    for manifest in PRETRAINED.rglob("manifest.json"):
        entry = load_manifest(manifest.parent).get(name)
        if entry and (entry["seed"], entry["data"]["sha256"]) == (seed, digest):
            return manifest.parent
    return None


def make_row(
    data: Dataset, measure: Measure, measure_every: int, name: str, seed: int, recipe: Recipe
) -> dict[str, Any]:
    """Train a recipe with a seed on these data, unless its model ships, and measure it: a dict, one row of a table.

    Unless `measure_every` is 0, the model is also measured after every so many epochs of its training: the row then
    holds these measurements as course, and its cpu_seconds include them.
    """
    prepared = prepare(data, recipe)
    scored = hold_out(prepared, recipe.held_out) if recipe.held_out else prepared

    def measure_rounded(model: Any) -> dict[str, float]:
        return {key: round(value, 4) for key, value in measure(model, recipe, scored).items()}

    folder, file_name, along, cost = find_shipped(name, seed, data.digest), name, [], {}
    with tempfile.TemporaryDirectory() as scratch:
        if folder is None:
            folder, file_name = Path(scratch), "row"  # a name like "2 × 512" is no good file name
            if measure_every:
                along = [MeasureAlong(measure_every, measure_rounded)]
            started = time.process_time()
            train(recipe, data, folder, file_name, seed, verbose=0, callbacks=along)
            # Not the seconds of the clock: several rows are made at a time.
            cost = {"cpu_seconds": round(time.process_time() - started, 1)}
        model, history = load_pretrained(file_name, folder), load_history(file_name, folder)
    return {
        "name": name,
        "seed": seed,
        "epochs": len(history["epoch"]),
        "parameters": model.count_params(),
        **cost,
        **measure_rounded(model),
        **({"course": along[0].course} if along else {}),
    }


def describe_place(data: Dataset) -> dict[str, str]:
    """List what has to be the same wherever the rows of one table are made: data and code by digest, and versions."""
    folder = Path(cvae_lib.__file__).parent
    code = b"".join(path.read_bytes() for path in sorted(folder.rglob("*.py")))
    return {"data": data.digest[:12], "cvae_lib": hashlib.sha256(code).hexdigest()[:12], **describe_versions()}


def make_row_elsewhere(choice: str | None, threads: int, expected: dict[str, str], *row: Any) -> dict[str, Any]:
    """Make a row in a process of its own, which may be on another machine, with the data that `choice` names there.

    threads are those of TensorFlow, row the arguments of `make_row` after the data. Raises SweepError where the data,
    the code or the packages are not the expected ones of `describe_place`.
    """
    data = load_mnist(choice)
    found = describe_place(data)
    differing = [key for key in expected if found[key] != expected[key]]
    if differing:
        found, expected = ({key: place[key] for key in differing} for place in (found, expected))
        raise SweepError(f"found {found}; expected {expected}, as at the start of the sweep. Make them the same.")
    # TensorFlow is loaded, but has not started its threads yet.
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    return make_row(data, *row)


def read_table(path: Path, facts: dict[str, Any], wanted: Collection[tuple[str, int]]) -> list[dict[str, Any]]:
    """Read the rows that a table has by now, none where there is no file yet.

    facts are what all rows of a table share: the data, and from the first row on the versions and the threads. wanted
    are the names and seeds of all its rows. Raises SweepError, naming the field, where the file is no such table.
    """
    if not path.exists():
        return []
    remedy = "Choose another --out, or delete the file."
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        rows = [(row["name"], row["seed"]) for row in table["rows"]]
        unknown = [row for row in rows if row not in wanted or rows.count(row) > 1]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise SweepError(f"{path}: found no table ({error!r}); expected rows and their data. {remedy}") from error
    if unknown:
        raise SweepError(f"{path}: found the row {unknown[0]}, twice or of another table; expected its own. {remedy}")
    for fact, expected in facts.items():
        # A whole table is kept as it is, whatever made it: nothing is added to it.
        if table.get(fact) != expected and (fact == "data" or len(rows) < len(wanted)):
            raise SweepError(
                f"{path}: found rows measured on other {fact}, {table.get(fact)}; expected {expected}. {remedy}"
            )
    return table["rows"]


def run_sweep(
    sweep: str,
    out: str | Path,
    choice: str | None = None,
    workers: int = 1,
    cluster: str | None = None,
    report: Callable[[str], None] = print,
) -> Path:
    """Make all rows of a sweep that its file in the folder `out` does not have yet; return the path of the file.

    `choice` names the data, as in `load_mnist`. The rows are made by so many processes, which share the cores, or by
    the Dask cluster at the address `cluster`, with one thread a row. The file is written after each row, so an
    interrupted sweep goes on. Raises SweepError for an unknown sweep, and where the file has other rows, or rows that
    were made with other data, versions or threads; BusyError where another sweep is writing it; and the errors of
    `run_all`.
    """
    if sweep not in SWEEPS:
        raise SweepError(f"sweep: found {sweep!r}; expected one of {', '.join(sorted(SWEEPS))}.")
    path = Path(out) / f"{sweep}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    with hold(path):
        data = load_mnist(choice)
        threads = 1 if cluster else max(1, (os.cpu_count() or 1) // workers)
        facts = {
            "data": {"edition": data.edition, "sha256": data.digest},
            "threads": threads,
            "versions": describe_versions(),
        }
        measure, recipes = SWEEPS[sweep]
        wanted = [(name, seed) for name, (_, seeds) in recipes.items() for seed in seeds]
        rows = {(row["name"], row["seed"]): row for row in read_table(path, facts, wanted)}
        place = f"--cluster {cluster}" if cluster else f"--workers {workers}"
        command = f"python -m cvae_lib sweep {sweep} --data {describe_data(data)} {place}"

        def keep(row: dict[str, Any]) -> None:
            rows[row["name"], row["seed"]] = row
            table = {"rows": [rows[key] for key in wanted if key in rows], **facts, "command": command}
            write_text(path, json.dumps(table, indent=1) + "\n")
            report(", ".join(f"{key} {value}" for key, value in row.items()))

        same = (choice, threads, describe_place(data), measure, MEASURE_EVERY.get(sweep, 0))
        missing = [key for key in wanted if key not in rows]
        for name, seed in missing:
            check_run(recipes[name][0], data, sweep, seed)
        calls = [partial(make_row_elsewhere, *same, name, seed, recipes[name][0]) for name, seed in missing]
        if calls:
            run_all(calls, keep, workers, cluster)
    return path
