"""The tables: what a row holds, that an interrupted sweep goes on, and that the stored tables are whole."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cvae_lib import sweeps
from cvae_lib.data import MNIST_DIGEST, check_digits
from cvae_lib.likelihood import elbo, make_grid
from cvae_lib.model import CVAE
from cvae_lib.pretrained import load_pretrained
from cvae_lib.training import RECIPES, Recipe, TrainingError

RESULTS = Path(__file__).parent.parent / "chapters" / "results"
TINY = Recipe(n_hidden=8, batch_size=16, learning_rate=0.01, epochs=2)


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(0)
    raw = {f"x_{split}": rng.integers(0, 255, (40, 784)).astype("uint8") for split in ("train", "test")}
    raw.update({f"y_{split}": np.arange(40) % 10 for split in ("train", "test")})
    np.savez(tmp_path / "digits.npz", **raw)
    return tmp_path / "digits.npz"


@pytest.fixture
def tiny_sweep(monkeypatch):
    """One recipe, two seeds, and a measure that takes no time."""
    monkeypatch.setattr("cvae_lib.training.JIT_COMPILE", False)

    def measure(model, recipe, digits):
        return {"digits": len(digits.x_test), "first": float(model.get_weights()[0][0, 0])}

    monkeypatch.setitem(sweeps.SWEEPS, "tiny", (measure, {"a × b": (replace(TINY, held_out=10), (1, 2))}))


def test_a_row_is_a_trained_model_measured(data, tiny_sweep):
    rows = [sweeps.make_row("tiny", "a × b", seed, data) for seed in (1, 2, 1)]
    for row, seed in zip(rows, (1, 2, 1)):
        assert (row["name"], row["seed"], row["epochs"], row["digits"]) == ("a × b", seed, 2, 10)
        assert row["parameters"] == CVAE(n_hidden=8).count_params()
    assert rows[0]["first"] == rows[2]["first"] != rows[1]["first"]


def test_a_model_that_ships_is_not_trained_again(data, monkeypatch):
    def measure(model, recipe, digits):
        return {"sum": float(np.abs(model.get_weights()[0]).sum())}

    monkeypatch.setitem(sweeps.SWEEPS, "shipped", (measure, {"mnist-2d": (RECIPES["mnist-2d"], (1,))}))
    monkeypatch.setattr(sweeps, "train", lambda *arguments, **settings: pytest.fail("it trains"))
    row = sweeps.make_row("shipped", "mnist-2d", 1, data)
    assert row["sum"] == pytest.approx(np.abs(load_pretrained("mnist-2d").get_weights()[0]).sum(), rel=1e-4)
    assert row["epochs"] == 50


def test_a_whole_sweep_trains_nothing(data, tiny_sweep, tmp_path):
    """All rows are there: no process starts, and the rows stay as they are."""
    rows = [{"name": "a × b", "seed": seed, "mark": seed * 11} for seed in (1, 2)]
    (tmp_path / "tiny.json").write_text(json.dumps({"rows": rows}))
    path = sweeps.run_sweep("tiny", tmp_path, data, report=lambda line: pytest.fail("it made a row"))
    assert json.loads(path.read_text())["rows"] == rows


def test_an_unknown_sweep_lists_the_known_ones(tmp_path):
    with pytest.raises(TrainingError, match="no sweep 'nonesuch'.*latents, longer, planes, recipes"):
        sweeps.run_sweep("nonesuch", tmp_path)


def test_a_continuous_model_is_read_by_its_mean():
    """The mean of the density exp(x a) / Z, by the midpoint rule, comes back as the sigmoid of the new logits."""
    a = np.array([[-60.0, -3.0, -1e-4, 0.0, 5e-4, 0.7, 60.0]])
    read = sweeps.read_as_bernoulli(SimpleNamespace(decoder=lambda inputs: a)).decoder(None)
    x = ((np.arange(200_000) + 0.5) / 200_000)[:, None]
    density = np.exp(x * a - np.maximum(a, 0))
    means = (x * density).sum(axis=0) / density.sum(axis=0)
    np.testing.assert_allclose(1 / (1 + np.exp(-read[0])), means, rtol=1e-4)


@pytest.mark.parametrize("continuous", [False, True])
def test_a_plane_is_measured_as_it_says(continuous, monkeypatch):
    """-ELBO against the same sum over a grid, for an encoder that a grid can follow; exact is below it by the gap."""
    rng = np.random.default_rng(0)
    raw = {f"x_{split}": rng.integers(0, 255, (20, 784)).astype("uint8") for split in ("train", "test")}
    raw.update({f"y_{split}": np.arange(20) % 10 for split in ("train", "test")})
    digits, model = check_digits(raw, "noise"), CVAE(n_hidden=8, seed=0)
    recipe = Recipe(n_hidden=8, continuous=continuous)
    monkeypatch.setattr(sweeps, "make_grid", lambda limit, n: make_grid(limit, 60))
    found = sweeps.measure_plane(model, recipe, digits, draws=100)
    codes = model.encoder.predict([digits.x_test, digits.label_test], verbose=0)[:2]
    scored = sweeps.read_as_bernoulli(model) if continuous else model
    bound = -elbo(scored, digits.x_test, digits.y_test, *codes, make_grid(6, 60)).mean()
    assert found["elbo"] == pytest.approx(bound, abs=0.5)
    assert found["gap"] == pytest.approx(found["elbo"] - found["exact"], abs=1e-3) and found["gap"] > 0


def test_control_is_measured_as_it_says(monkeypatch):
    """A judge that always reads 3 finds a tenth of the random labels right, and the bound is above the ELBO."""
    monkeypatch.setattr("cvae_lib.judge.load_judge", lambda: None)
    monkeypatch.setattr("cvae_lib.judge.read_digits", lambda judge, x: np.full(len(x), 3))
    monkeypatch.setattr(sweeps, "IMPORTANCE_IMAGES", 5)
    monkeypatch.setattr(sweeps, "PRIOR_SAMPLES", 2000)
    rng = np.random.default_rng(0)
    raw = {f"x_{split}": rng.integers(0, 255, (20, 784)).astype("uint8") for split in ("train", "test")}
    raw.update({f"y_{split}": np.arange(20) % 10 for split in ("train", "test")})
    model = load_pretrained("mnist-2d")
    found = sweeps.measure_control(model, RECIPES["mnist-2d"], check_digits(raw, "noise"))
    assert found["fidelity"] == pytest.approx(0.1, abs=0.03)
    assert found["bound"] < found["elbo_same"] and found["active"] == 2 and found["kl_loss"] > 0


@pytest.mark.parametrize("sweep", ["latents", "longer", "planes", "recipes"])
def test_stored_table_is_whole(sweep):
    """Every recipe with every seed, on MNIST, and no row twice."""
    table = json.loads((RESULTS / f"{sweep}.json").read_text())
    rows = sweeps.SWEEPS[sweep][1]
    wanted = [(name, seed) for name, (_, seeds) in rows.items() for seed in seeds]
    assert [(row["name"], row["seed"]) for row in table["rows"]] == wanted
    assert table["data"]["sha256"] == MNIST_DIGEST and f"sweep {sweep}" in table["command"]
    for row in table["rows"]:
        assert row["epochs"] == rows[row["name"]][0].epochs
        assert row["elbo"] > row.get("exact", row.get("bound"))


@pytest.mark.slow
def test_a_row_comes_out_again(digits):
    """A cheap row of the table of recipes, trained again: the same figures, but for another rounding."""
    if digits.edition != "full":
        pytest.skip(f"it takes MNIST itself, and this is the {digits.edition} edition")
    stored = json.loads((RESULTS / "recipes.json").read_text())["rows"]
    row = sweeps.make_row("recipes", "1 hidden layer", 1)
    (expected,) = (old for old in stored if (old["name"], old["seed"]) == ("1 hidden layer", 1))
    for name in ("elbo", "exact"):
        assert row[name] == pytest.approx(expected[name], abs=0.7)
