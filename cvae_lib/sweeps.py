"""Many runs, one table: what a change to the recipe is worth, and over how many seeds.

A sweep is a list of recipes, each trained with each of its seeds, and a function that measures a trained model. The
rows go to `chapters/results/<sweep>.json` with the command that made them; chapters 11 and
12 and the ledger read them from there.
A model that ships, in `pretrained` or one of its folders, is measured as it is and not trained again.
"""

import json
import multiprocessing
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from cvae_lib.data import hold_out, load_mnist
from cvae_lib.likelihood import importance_bound, log_likelihood, log_weights, make_grid, softplus
from cvae_lib.metrics import active_units
from cvae_lib.pretrained import PRETRAINED, describe_versions, load_history, load_manifest, load_pretrained, write_text
from cvae_lib.training import RECIPES, Recipe, TrainingError, prepare, train

BASE = Recipe(n_layers=2, learning_rate=2e-3, schedule="cosine", epochs=5, patience=100, held_out=5000)
RECIPE_ROWS = {
    "base: 2 × 512, cosine from 0.002, batch 250, 5 epochs": BASE,
    "1 hidden layer": replace(BASE, n_layers=1),
    "3 hidden layers": replace(BASE, n_layers=3),
    "256 units": replace(BASE, n_hidden=256),
    "constant rate 0.001": replace(BASE, schedule="constant", learning_rate=1e-3),
    "batch 100": replace(BASE, batch_size=100),
    "batch 1000": replace(BASE, batch_size=1000),
    "beta warmed up over 2 epochs": replace(BASE, warm_up=2),
    "continuous Bernoulli": replace(BASE, continuous=True),
}
LONGER = replace(BASE, epochs=30)
LONGER_ROWS = {
    "base, 30 epochs": LONGER,
    "dropout 0.2 in the encoder": replace(LONGER, dropout=0.2),
    "batch 100": replace(LONGER, batch_size=100),
    "batch 100, 3 hidden layers": replace(LONGER, batch_size=100, n_layers=3),
}
SEEDS = (1, 2, 3)
IMPORTANCE_SAMPLES = 500
IMPORTANCE_IMAGES = 1000
PRIOR_SAMPLES = 10_000


def measure_plane(model, recipe, digits, draws=10, n=200):
    """The figures of a model with two latents on the test digits it was prepared for: a dict, in nats an image.

    exact: -log p(x | y), by the sum over a grid of n * n cells; elbo: -ELBO, the mean of so many draws of z an image,
    since an encoder may be too sharp for a grid; gap: their difference, the inference gap. A continuous model is scored
    by the Bernoulli of its mean image, like the others.
    """
    x, label = digits.x_test, digits.label_test
    z_mean, z_log_var, _ = model.encoder.predict([x, label], batch_size=1000, verbose=0)
    scored = read_as_bernoulli(model) if recipe.continuous else model
    rng = np.random.default_rng(0)
    bound = 0.5 * np.sum(np.exp(z_log_var) + z_mean**2 - 1 - z_log_var, axis=1)
    for _ in range(draws):
        z = z_mean + np.exp(z_log_var / 2) * rng.standard_normal(z_mean.shape)
        logits = np.asarray(scored.decoder([z.astype("float32"), label]))
        bound = bound + np.sum(softplus(logits) - x * logits, axis=1) / draws
    exact = -log_likelihood(scored, x, digits.y_test, make_grid(6, n))
    return {"elbo": float(bound.mean()), "exact": float(exact.mean()), "gap": float((bound - exact).mean())}


def read_as_bernoulli(model):
    """A continuous model whose decoder gives the logits of its mean image: their sigmoid is each pixel's mean."""

    def decoder(inputs):
        a = np.asarray(model.decoder(inputs), "float64")
        small = np.abs(a) < 1e-3
        safe = np.where(small, 1.0, a)
        mean = np.where(small, 0.5 + a / 12, 1 / (1 - np.exp(-np.clip(safe, -500, 500))) - 1 / safe)
        return (np.log(mean) - np.log1p(-mean)).astype("float32")

    return SimpleNamespace(decoder=decoder)


def measure_control(model, recipe, digits):
    """What more latents buy and cost: a dict.

    elbo: -ELBO of the test digits with one sample of z; bound: the importance-weighted bound, negative, with
    IMPORTANCE_SAMPLES samples on IMPORTANCE_IMAGES random test digits, whose -ELBO is elbo_same; active: active units;
    fidelity: the share of PRIOR_SAMPLES pictures, each from a z of the prior and a random label, that the judge reads
    as their label.
    """
    from cvae_lib.judge import load_judge, read_digits
    from cvae_lib.model import decode

    inputs = [digits.x_test, digits.label_test]
    model.compile()
    scores = model.evaluate(inputs, digits.x_test, batch_size=1000, verbose=0, return_dict=True)
    z_mean, z_log_var, _ = model.encoder.predict(inputs, batch_size=1000, verbose=0)
    rng = np.random.default_rng(0)
    some = rng.permutation(len(digits.x_test))[:IMPORTANCE_IMAGES]
    codes = z_mean[some], z_log_var[some]
    log_w = log_weights(model, digits.x_test[some], digits.y_test[some], *codes, IMPORTANCE_SAMPLES, rng)
    z = rng.standard_normal((PRIOR_SAMPLES, z_mean.shape[1])).astype("float32")
    y = rng.integers(0, 10, PRIOR_SAMPLES)
    read = read_digits(load_judge(), decode(model, z, np.eye(10, dtype="float32")[y]))
    return {
        "elbo": float(scores["loss"]),
        "kl_loss": float(scores["kl_loss"]),
        "elbo_same": float(-log_w.mean()),
        "bound": float(-importance_bound(log_w, IMPORTANCE_SAMPLES).mean()),
        "active": active_units(z_mean),
        "fidelity": float(np.mean(read == y)),
    }


SWEEPS = {
    # After so short a training no posterior is sharp, and a coarser grid will do.
    "recipes": (partial(measure_plane, n=120), {name: (recipe, (1, 2)) for name, recipe in RECIPE_ROWS.items()}),
    "longer": (measure_plane, {name: (recipe, (1,)) for name, recipe in LONGER_ROWS.items()}),
    "planes": (
        measure_plane,
        {
            "mnist-2d": (RECIPES["mnist-2d"], SEEDS),
            "mnist-2d-vae": (RECIPES["mnist-2d-vae"], SEEDS),
            "mnist-2d-deep": (RECIPES["mnist-2d-deep"], SEEDS),
        },
    ),
    "latents": (
        measure_control,
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
        },
    ),
}


def find_shipped(name, seed):
    """The folder where this model ships with this seed, or None."""
    for manifest in PRETRAINED.rglob("manifest.json"):
        if load_manifest(manifest.parent).get(name, {}).get("seed") == seed:
            return manifest.parent
    return None


def make_row(sweep, name, seed, data=None, threads=None):
    """Train one recipe of a sweep with one seed, unless it ships, and measure it: a dict, one row of the table."""
    if threads:
        # A process of its own: TensorFlow is not running yet.
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    measure, rows = SWEEPS[sweep]
    recipe, digits = rows[name][0], load_mnist(data)
    folder, file_name = find_shipped(name, seed), name
    started, cost = time.process_time(), {}
    with tempfile.TemporaryDirectory() as scratch:
        if folder is None:
            folder, file_name = Path(scratch), "row"  # a name like "2 × 512" is no good file name
            train(file_name, digits, folder, seed=seed, verbose=0, recipe=recipe)
            # Not the seconds of the clock: several rows are made at a time.
            cost = {"cpu_seconds": round(time.process_time() - started, 1)}
        model, history = load_pretrained(file_name, folder), load_history(file_name, folder)
    digits = prepare(digits, recipe)
    scored = hold_out(digits, recipe.held_out) if recipe.held_out else digits
    found = {key: round(value, 4) for key, value in measure(model, recipe, scored).items()}
    return {
        "name": name,
        "seed": seed,
        "epochs": len(history["epoch"]),
        "parameters": model.count_params(),
        **cost,
        **found,
    }


def run_sweep(sweep, out, data=None, workers=1, report=print):
    """Make all rows of a sweep that its file in the folder `out` does not have yet; returns the path of the file.

    workers processes share the cores. The file is written after each row: an interrupted sweep goes on.
    """
    if sweep not in SWEEPS:
        raise TrainingError(f"no sweep {sweep!r}; there are: {', '.join(sorted(SWEEPS))}")
    path = Path(out) / f"{sweep}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    digits = load_mnist(data)
    table = json.loads(path.read_text()) if path.exists() else {"rows": []}
    table.update(
        command=f"python -m cvae_lib sweep {sweep} --workers {workers}",
        data={"edition": digits.edition, "sha256": digits.digest},
        threads=max(1, (os.cpu_count() or 1) // workers),
        versions=describe_versions(),
    )
    wanted = [(name, seed) for name, (_, seeds) in SWEEPS[sweep][1].items() for seed in seeds]
    done = {(row["name"], row["seed"]) for row in table["rows"]}
    work = partial(make_row, sweep, data=data, threads=table["threads"])
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), max_tasks_per_child=1) as pool:
        futures = [pool.submit(work, name, seed) for name, seed in wanted if (name, seed) not in done]
        for future in as_completed(futures):
            row = future.result()
            table["rows"] = sorted([*table["rows"], row], key=lambda row: wanted.index((row["name"], row["seed"])))
            write_text(path, json.dumps(table, indent=1) + "\n")
            report(", ".join(f"{key} {value}" for key, value in row.items()))
    return path
