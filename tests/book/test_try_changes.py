"""The changes that chapter 11 tries in plain Keras do what their names say, and their stored rows are whole."""

import json
import sys
from dataclasses import replace
from types import SimpleNamespace

import cvae_lib._tensorflow  # noqa: F401

# isort: split
import keras
import numpy as np
import pytest
from book_sources import ROOT

from cvae_lib import BookError

sys.path.insert(0, str(ROOT / "chapters"))
import try_changes  # noqa: E402


def test_shift_moves_by_one_pixel_at_most_and_draws_anew():
    pictures = np.zeros((400, 5, 5), "float32")
    pictures[:, 2, 2] = 1
    seed = keras.random.SeedGenerator(0)
    first, second = (np.asarray(try_changes.shift(pictures.reshape(400, 25), 400, seed)) for _ in range(2))
    np.testing.assert_array_equal(first.sum(axis=1), 1)
    places = {divmod(int(place), 5) for place in first.argmax(axis=1)}
    assert places == {(row, column) for row in (1, 2, 3) for column in (1, 2, 3)}
    assert (first.argmax(axis=1) != second.argmax(axis=1)).mean() > 0.7


def test_what_enters_a_shifted_picture_is_black():
    white = np.ones((50, 16), "float32")
    shifted = np.asarray(try_changes.shift(white, 50, keras.random.SeedGenerator(0))).reshape(50, 4, 4)
    assert set(shifted.sum(axis=(1, 2))) == {16, 12, 9}  # moved along no axis, one, both
    assert shifted[:, 1:3, 1:3].min() == 1


def test_residual_layers_add_to_their_normalised_input():
    model = try_changes.ResidualCVAE(2, 6, 2, 1, 9, 3)
    x, label = np.random.default_rng(0).random((4, 9), "float32"), np.eye(3, dtype="float32")[[0, 1, 2, 0]]
    hidden, more, mean = (
        [np.asarray(weight) for weight in model.encoder.get_layer(name).weights]
        for name in ("encoder_hidden", "encoder_hidden_2", "z_mean")
    )
    h = np.maximum(0, np.concatenate([x, label], axis=1) @ hidden[0] + hidden[1])
    normalised = (h - h.mean(axis=1, keepdims=True)) / np.sqrt(h.var(axis=1, keepdims=True) + 1e-3)
    h = h + np.maximum(0, normalised @ more[0] + more[1])
    np.testing.assert_allclose(model.encoder([x, label])[0], h @ mean[0] + mean[1], atol=1e-5)
    assert model.decoder.count_params() == 5 * 6 + 6 + 12 + 6 * 6 + 6 + 6 * 9 + 9


@pytest.fixture
def few(tmp_path, monkeypatch):
    """Forty training images and twenty test images as the data, and tables in a folder of their own."""
    images = {f"x_{part}": np.full((n, 28, 28), 9, "uint8") for part, n in (("train", 40), ("test", 20))}
    np.savez(tmp_path / "digits.npz", **images, y_train=np.arange(40) % 10, y_test=np.arange(20) % 10)
    monkeypatch.setenv("CVAE_DATA", str(tmp_path / "digits.npz"))
    for name in ("RESULTS", "CHOSEN_RESULTS"):
        monkeypatch.setattr(try_changes, name, tmp_path / getattr(try_changes, name).name)


def test_a_change_is_trained_and_its_row_stored(few, tmp_path, monkeypatch, capsys):
    tiny = replace(try_changes.THIRTY_EPOCHS, n_hidden=8, epochs=1, batch_size=10, held_out=10)
    monkeypatch.setattr(try_changes, "THIRTY_EPOCHS", tiny)
    measured = {"elbo": 3.0, "exact": 2.0, "gap": 1.0}
    monkeypatch.setattr(try_changes, "measure_exact_likelihood", lambda model, recipe, data: measured)
    for change, seed in (("shifts of a pixel", "2"), ("averaged weights", "1"), ("shifts of a pixel", "1")):
        try_changes.main([change, seed])
    table = json.loads((tmp_path / "changes.json").read_text(encoding="utf-8"))
    kept = [(row["name"], row["seed"]) for row in table["rows"]]
    assert kept == [("shifts of a pixel", 1), ("shifts of a pixel", 2), ("averaged weights", 1)]
    assert table["rows"][0]["elbo"] == 3.0 and table["data"]["edition"] == "custom"
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_a_change_of_the_chosen_recipe_is_measured_on_the_test_digits(few, tmp_path, monkeypatch):
    """All training images are trained on, and a Gaussian of its own brings each image between the encoder and exact."""
    tiny = replace(try_changes.RECIPES["mnist-2d-deep"], n_hidden=8, n_layers=2, epochs=1, batch_size=10)
    monkeypatch.setitem(try_changes.RECIPES, "mnist-2d-deep", tiny)
    sizes, train = [], try_changes.train_changed
    monkeypatch.setattr(
        try_changes,
        "train_changed",
        lambda *given: (sizes.append((given[3].n_train, given[3].n_test)), train(*given))[1],
    )
    try_changes.main(["residual layers", "1", "--chosen"])
    assert sizes == [(40, 20)] and not (tmp_path / "changes.json").exists()
    (row,) = json.loads((tmp_path / "chosen_changed.json").read_text(encoding="utf-8"))["rows"]
    assert row["exact"] - 1e-3 < row["fitted"] < row["elbo"]


def test_a_row_that_another_process_adds_meanwhile_stays(few, tmp_path, monkeypatch):
    tiny = replace(try_changes.THIRTY_EPOCHS, n_hidden=8, epochs=1, batch_size=10, held_out=10)
    monkeypatch.setattr(try_changes, "THIRTY_EPOCHS", tiny)
    measured = {"elbo": 3.0, "exact": 2.0, "gap": 1.0}
    monkeypatch.setattr(try_changes, "measure_exact_likelihood", lambda model, recipe, data: measured)
    train = try_changes.train_changed

    def train_beside_another(*given):
        monkeypatch.setattr(try_changes, "train_changed", train)
        try_changes.main(["unchanged", "2"])
        return train(*given)

    monkeypatch.setattr(try_changes, "train_changed", train_beside_another)
    try_changes.main(["unchanged", "1"])
    table = json.loads((tmp_path / "changes.json").read_text(encoding="utf-8"))
    assert [row["seed"] for row in table["rows"]] == [1, 2]


def test_rows_of_other_data_are_refused_and_stay(tmp_path, monkeypatch):
    stored = (ROOT / "chapters/results/changes.json").read_bytes()
    (tmp_path / "changes.json").write_bytes(stored)
    monkeypatch.setattr(try_changes, "RESULTS", tmp_path / "changes.json")
    monkeypatch.setenv("CVAE_DATA", "sample")
    with pytest.raises(BookError, match="found rows measured on other data, .*'full'.*; expected .*'sample'"):
        try_changes.main(["unchanged", "1"])
    assert (tmp_path / "changes.json").read_bytes() == stored


@pytest.mark.parametrize(
    "arguments, said", [(["warm-up", "1"], "'warm-up'"), (["unchanged"], "seeds"), (["unchanged", "one"], "'one'")]
)
def test_wrong_arguments_are_named(arguments, said, capsys):
    with pytest.raises(SystemExit, match="^2$"):
        try_changes.main(arguments)
    assert said in capsys.readouterr().err


def test_averaged_weights_are_the_mean_of_the_steps(monkeypatch):
    """With the average of Keras, by hand: it starts at the weights after the first step."""
    seen = []
    monkeypatch.setitem(try_changes.CHANGES, "averaged weights", (Noting, {"use_ema": True, "ema_momentum": 0.9}))
    monkeypatch.setattr(Noting, "seen", seen)
    rng = np.random.default_rng(0)
    data = SimpleNamespace(n_x=4, n_y=2, y_train=np.zeros(30), x_train=rng.random((30, 4), "float32"))
    data.label_train = np.eye(2, dtype="float32")[rng.integers(0, 2, 30)]
    recipe = replace(try_changes.THIRTY_EPOCHS, n_hidden=3, epochs=1, batch_size=10)
    model = try_changes.train_changed("averaged weights", 1, recipe, data)
    first, second, third = seen
    expected = [0.9 * (0.9 * a + 0.1 * b) + 0.1 * c for a, b, c in zip(first, second, third, strict=True)]
    for found, by_hand in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_allclose(found, by_hand, atol=1e-6)


class Noting(try_changes.CVAE):
    """A CVAE that notes its weights after each step."""

    seen: list = []

    def fit(self, *args, **kwargs):
        callback = keras.callbacks.LambdaCallback
        note = callback(on_train_batch_end=lambda batch, logs: self.seen.append(self.get_weights()))
        return super().fit(*args, callbacks=[note], **kwargs)


def test_stored_rows_are_whole():
    table = json.loads((ROOT / "chapters/results/changes.json").read_text(encoding="utf-8"))
    assert table["data"]["edition"] == "full"
    rows = {(row["name"], row["seed"]) for row in table["rows"]}
    assert rows == {(name, seed) for name in try_changes.CHANGES for seed in (1, 2, 3)}
    for row in table["rows"]:
        assert row["elbo"] == pytest.approx(row["exact"] + row["gap"], abs=2e-3)
