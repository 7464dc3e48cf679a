"""The tables: what a row holds, that an interrupted sweep goes on, and that the stored tables are whole."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from cvae_lib.data import check_dataset, load_digits
from cvae_lib.data.mnist import MNIST_DIGEST
from cvae_lib.evaluate import encode, read_as_bernoulli
from cvae_lib.likelihood import elbo, log_likelihood, make_grid
from cvae_lib.model import CVAE
from cvae_lib.pretrained import load_pretrained
from cvae_lib.tools import sweeps
from cvae_lib.training.loop import train
from cvae_lib.training.recipes import RECIPES, Recipe

RESULTS = Path(__file__).parent.parent.parent / "chapters" / "results"

pytestmark = pytest.mark.filterwarnings("ignore:Even though the `tf.config")


@pytest.fixture(scope="module")
def data(make_file):
    return make_file("digits.npz")


@pytest.fixture
def small():
    """40 test images of 6 x 5 pixels."""
    rng = np.random.default_rng(0)
    raw = {f"x_{split}": rng.integers(0, 255, (40, 6, 5)).astype("uint8") for split in ("train", "test")}
    return check_dataset({**raw, "y_train": np.arange(40) % 10, "y_test": np.arange(40) % 10}, "noise")


@pytest.fixture
def tiny_sweep(tiny, monkeypatch):
    """One recipe, two seeds, and a measure that takes no time."""

    def measure(model, recipe, digits):
        return {"digits": len(digits.x_test), "first": float(model.get_weights()[0][0, 0])}

    monkeypatch.setitem(sweeps.SWEEPS, "tiny", (measure, {"a × b": (replace(tiny, held_out=10), (1, 2))}))


def test_a_row_is_a_trained_model_measured(data, tiny_sweep, eager):
    rows = [sweeps.make_row("tiny", "a × b", seed, data) for seed in (1, 2)]
    for row, seed in zip(rows, (1, 2), strict=True):
        assert (row["name"], row["seed"], row["epochs"], row["digits"]) == ("a × b", seed, 1, 10)
        assert row["parameters"] == CVAE(n_hidden=8).count_params() and row["cpu_seconds"] > 0
    assert rows[0]["first"] != rows[1]["first"]


def test_a_row_is_measured_along_the_training(data, tiny, monkeypatch, eager):
    """After every second epoch; the last time, the model is the one that the row itself measures."""
    measure = partial(sweeps.measure_exact_likelihood, draws=2, n=20)
    recipe = replace(tiny, epochs=4, dropout=0.2, held_out=10)
    monkeypatch.setitem(sweeps.SWEEPS, "tiny", (measure, {"a × b": (recipe, (1,))}))
    monkeypatch.setitem(sweeps.MEASURE_EVERY, "tiny", 2)
    row = sweeps.make_row("tiny", "a × b", 1, data)
    check_course(row, [2, 4])
    assert abs(row["course"][0]["exact"] - row["course"][1]["exact"]) > 0.01


def check_course(row, epochs):
    """The course of a row has these epochs, and ends with the figures of the row."""
    assert [measured["epoch"] for measured in row["course"]] == epochs
    last = {key: value for key, value in row["course"][-1].items() if key != "epoch"}
    assert set(last) == {"elbo", "exact", "gap"} and last == {key: row[key] for key in last}


def test_a_model_that_ships_is_not_trained_again(data, tiny, tiny_sweep, tmp_path, monkeypatch, eager):
    """Where it was trained on these data with this seed: a row of another model would say what is not true."""
    digits, folder = load_digits(data), tmp_path / "folder"
    train(replace(tiny, learning_rate=0.02), digits, folder, "a × b", seed=2, verbose=0)
    monkeypatch.setattr(sweeps, "PRETRAINED", tmp_path)
    row = sweeps.make_row("tiny", "a × b", 2, data)
    first = float(load_pretrained("a × b", folder).get_weights()[0][0, 0])
    assert "cpu_seconds" not in row and row["first"] == pytest.approx(first, abs=1e-4)
    assert sweeps.find_shipped("a × b", 1, digits.digest) is None
    assert sweeps.find_shipped("a × b", 2, "the digest of other data") is None


@pytest.fixture
def whole_table(data, tmp_path):
    """A table that has both rows of the tiny sweep."""
    rows = [{"name": "a × b", "seed": seed, "mark": seed * 11} for seed in (1, 2)]
    table = {"rows": rows, "data": {"edition": "custom", "sha256": load_digits(data).digest}}
    (tmp_path / "tiny.json").write_text(json.dumps(table), encoding="utf-8")
    return tmp_path


def test_a_whole_sweep_trains_nothing(data, tiny_sweep, whole_table):
    """All rows are there: no process starts, and the rows stay as they are."""
    before = (whole_table / "tiny.json").read_bytes()
    path = sweeps.run_sweep("tiny", whole_table, data, report=lambda line: pytest.fail("it made a row"))
    assert path.read_bytes() == before


def test_rows_of_other_data_are_refused(make_file, tiny_sweep, whole_table):
    """Or one table would hold rows of both."""
    before = (whole_table / "tiny.json").read_bytes()
    with pytest.raises(sweeps.SweepError, match="tiny.json: found rows measured on other data.*expected.*--out"):
        sweeps.run_sweep("tiny", whole_table, make_file("others.npz", seed=1))
    assert (whole_table / "tiny.json").read_bytes() == before


def test_an_unknown_sweep_lists_the_known_ones(tmp_path):
    known = "annealed, five_epochs, latent_count, one_run, thirty_epochs, two_latents_by_seed"
    with pytest.raises(sweeps.SweepError, match=f"sweep: found 'nonesuch'; expected one of {known}"):
        sweeps.run_sweep("nonesuch", tmp_path)


@pytest.mark.parametrize("continuous", [False, True])
def test_exact_likelihood_is_measured_as_it_says(small, continuous):
    """-ELBO against the same sum over a grid, for an encoder that a grid can follow; exact is below it by the gap."""
    model = CVAE(n_hidden=8, n_x=30, seed=0)
    found = sweeps.measure_exact_likelihood(model, Recipe(continuous=continuous), small, draws=50, n=60)
    scored = read_as_bernoulli(model) if continuous else model
    x, label = small.x_test, small.label_test
    bound = -elbo(scored, x, label, *encode(model, x, label), make_grid(6, 60)).mean()
    assert found["elbo"] == pytest.approx(bound, abs=0.05)
    assert found["gap"] == pytest.approx(found["elbo"] - found["exact"], abs=1e-3) and found["gap"] > 0


def test_latent_tradeoff_is_measured_as_it_says(data):
    """The share of pictures that are read as their label is the stored one; the bound is above the ELBO."""
    (stored,) = (row for row in read_rows("latent_count") if (row["name"], row["seed"]) == ("mnist-2d", 1))
    model, digits = load_pretrained("mnist-2d"), load_digits(data)
    found = sweeps.measure_latent_tradeoff(model, RECIPES["mnist-2d"], digits, images=5, pictures=2000)
    assert found["fidelity"] == pytest.approx(stored["fidelity"], abs=0.03)
    assert found["bound"] < found["elbo_same"] and found["active"] == 2 and found["kl_loss"] > 0


@pytest.mark.parametrize("n_z", [2, 3])
def test_annealing_is_measured_as_it_says(small, n_z, eager):
    """Close to the sum over the grid, which only two latents have, and each mean in the middle of its interval."""
    model, rng = CVAE(n_z=n_z, n_hidden=8, n_x=30), np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(scale=0.2, size=variable.shape))
    found = sweeps.measure_by_annealing(model, Recipe(n_z=n_z), small, images=40, drawn=20, temperatures=3)
    names = ["annealed", "annealed_error", "exact", "short", "low", "high", "between", "low_between", "high_between"]
    intervals = [("short", "low", "high"), ("between", "low_between", "high_between")]
    if n_z == 2:
        loss = -log_likelihood(model, small.x_test, small.label_test, make_grid(6, 60))
        assert found["exact"] == pytest.approx(loss.mean(), abs=1e-3)
        assert found["short"] == pytest.approx(found["annealed"] - found["exact"], abs=1e-3)
        assert found["annealed_error"] == pytest.approx(loss.std(ddof=1) / np.sqrt(40), rel=0.3)
    else:
        del names[2:6], intervals[0]
    assert list(found) == names
    for mean, low, high in ([found[name] for name in interval] for interval in intervals):
        assert -0.25 < low < mean < high < 0.25 and mean == pytest.approx((low + high) / 2)


def read_rows(sweep):
    return json.loads((RESULTS / f"{sweep}.json").read_text(encoding="utf-8"))["rows"]


@pytest.mark.parametrize("sweep", sweeps.SWEEPS)
def test_stored_table_is_whole(sweep):
    """Every recipe with every seed, on MNIST, and no row twice. Each loss of a row bounds those after it."""
    table = json.loads((RESULTS / f"{sweep}.json").read_text(encoding="utf-8"))
    rows = sweeps.SWEEPS[sweep][1]
    wanted = [(name, seed) for name, (_, seeds) in rows.items() for seed in seeds]
    assert [(row["name"], row["seed"]) for row in table["rows"]] == wanted
    assert table["data"]["sha256"] == MNIST_DIGEST and f"sweep {sweep}" in table["command"]
    for row in table["rows"]:
        assert row["epochs"] == rows[row["name"]][0].epochs
        losses = [row[name] for name in ("elbo", "bound", "annealed", "exact") if name in row]
        assert losses and losses == sorted(losses, reverse=True)


@pytest.mark.parametrize("sweep", sweeps.MEASURE_EVERY)
def test_stored_course_is_whole(sweep):
    every = sweeps.MEASURE_EVERY[sweep]
    for row in read_rows(sweep):
        check_course(row, list(range(every, row["epochs"] + 1, every)))


def test_stored_annealing_is_tighter_than_the_bound_on_the_same_images():
    bounds = {(row["name"], row["seed"]): row["bound"] for row in read_rows("latent_count")}
    for row in read_rows("annealed"):
        assert row["annealed"] < bounds[row["name"], row["seed"]]
        assert row["low_between"] < row["between"] < row["high_between"]
        assert ("exact" in row) == row["name"].startswith("mnist-2d")


@pytest.mark.slow
def test_a_row_comes_out_again(digits):
    """A cheap row of the table of five epochs, trained again: the same figures, but for another rounding."""
    if digits.edition != "full":
        pytest.skip(f"it takes MNIST itself, and this is the {digits.edition} edition")
    row = sweeps.make_row("five_epochs", "1 hidden layer", 1)
    (expected,) = (old for old in read_rows("five_epochs") if (old["name"], old["seed"]) == ("1 hidden layer", 1))
    for name in ("elbo", "exact"):
        assert row[name] == pytest.approx(expected[name], abs=0.7)


@pytest.mark.slow
def test_an_interrupted_sweep_goes_on(tmp_path):
    """Interrupted after a row, it does not wait for the rest, keeps the row, and then makes the next."""

    def interrupt(line):
        raise KeyboardInterrupt

    tables = []
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            sweeps.run_sweep("two_latents_by_seed", tmp_path, "sample", report=interrupt)
        tables.append(json.loads((tmp_path / "two_latents_by_seed.json").read_text(encoding="utf-8"))["rows"])
    assert [len(rows) for rows in tables] == [1, 2] and tables[0][0] in tables[1]
