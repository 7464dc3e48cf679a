"""The models that ship: their files are the listed ones, their figures come out again, their labels steer them."""

import functools
import json
import shutil
from dataclasses import asdict

import cvae_lib._tensorflow  # noqa: F401

# isort: split
import keras
import numpy as np
import pytest

from cvae_lib.evaluate import decode, encode
from cvae_lib.metrics import cross_entropy
from cvae_lib.objectives import AlteredCVAE
from cvae_lib.pretrained import (
    PRETRAINED,
    PretrainedError,
    digest_file,
    load_history,
    load_manifest,
    load_pretrained,
    read_history,
)
from cvae_lib.training.checkpoints import COLUMNS, save_model
from cvae_lib.training.loop import prepare
from cvae_lib.training.recipes import RECIPES

LOSSES = ("loss", "reconstruction_loss", "kl_loss")
NAMES = sorted(load_manifest())
FOLDERS = sorted(path.parent for path in PRETRAINED.rglob("manifest.json") if path.parent.name != "digit_classifier")
MODELS = [(folder, name) for folder in FOLDERS for name in sorted(load_manifest(folder))]

load_once = functools.cache(load_pretrained)


@pytest.fixture(scope="module")
def model():
    return load_once("mnist-2d")


@pytest.fixture
def folder(tmp_path):
    """A copy of the models that ship, to spoil."""
    return shutil.copytree(PRETRAINED, tmp_path / "models")


# The files


def test_every_recipe_has_its_model():
    """But for the quick ones, which chapter 3 and the benchmark only time."""
    assert NAMES == sorted(name for name in RECIPES if not name.endswith("-quick"))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_file_is_listed_and_is_the_listed_one(folder):
    listed = {name: digest for entry in load_manifest(folder).values() for name, digest in entry["sha256"].items()}
    assert {path.name for path in folder.iterdir() if path.is_file()} == {"manifest.json", *listed}
    for name, digest in listed.items():
        assert digest_file(folder / name) == digest


@pytest.mark.parametrize("folder, name", MODELS, ids=lambda value: getattr(value, "name", value))
def test_manifest_fits_the_model_and_its_history(folder, name):
    entry, history, recipe = load_manifest(folder)[name], load_history(name, folder), RECIPES[name]
    assert load_once(name, folder).count_params() == entry["parameters"]
    assert tuple(history) == COLUMNS
    assert history["epoch"] == list(range(1, entry["measured"]["epoch"] + 1))
    assert entry["measured"]["epoch"] <= entry["protocol"]["epochs"]
    for column, values in history.items():
        last = sum(values) if column == "seconds" else values[-1]
        assert entry["measured"][column] == pytest.approx(last, abs=0.06 if column == "seconds" else 0)
    assert entry["configuration"].items() | entry["protocol"]["objective"].items() <= asdict(recipe).items()
    assert (entry["protocol"]["batch_size"], entry["protocol"]["epochs"]) == (recipe.batch_size, recipe.epochs)
    assert f"train {name} --epochs {recipe.epochs} --seed {entry['seed']}" in entry["command"]
    assert entry["data"]["edition"] == "full"


@pytest.mark.parametrize("folder, name", MODELS, ids=lambda value: getattr(value, "name", value))
def test_saved_again_it_has_the_bytes_that_ship(folder, name, tmp_path):
    """A change of the library that changes them would make every reader's check of a new model fail."""
    entry, columns = load_manifest(folder)[name], load_history(name, folder)
    history = [{**dict(zip(columns, row)), "epoch": int(row[0])} for row in zip(*columns.values())]
    save_model(name, load_once(name, folder), history, {}, tmp_path)
    assert load_manifest(tmp_path)[name]["sha256"] == entry["sha256"]


def test_seeds_differ():
    """The spread over seeds would mean nothing if two of the runs were one."""
    seeds = [load_manifest(folder)["mnist-2d"]["seed"] for folder in FOLDERS]
    losses = [load_history("mnist-2d", folder)["val_loss"][-1] for folder in FOLDERS]
    assert len(set(seeds)) == len(set(losses)) == len(FOLDERS)


@pytest.mark.parametrize("folder, name", MODELS, ids=lambda value: getattr(value, "name", value))
def test_history_adds_up_in_every_row(folder, name):
    history, measured = load_history(name, folder), load_manifest(folder)[name]["measured"]
    for prefix in ("", "val_", "test_"):
        rows = measured if prefix == "test_" else history
        if prefix + "loss" in rows:
            loss, reconstruction, kl = (np.array(rows[prefix + part]) for part in LOSSES)
            np.testing.assert_allclose(loss, reconstruction + kl, rtol=3e-5)  # three float32 means
            assert (kl > 0).all()
    assert history["val_loss"][-1] < history["val_loss"][0]


# What is refused


def test_unknown_name_lists_the_known_ones(folder):
    for load in (load_pretrained, load_history):
        with pytest.raises(PretrainedError, match="no model 'mnist-3d'.*mnist-2d") as caught:
            load("mnist-3d", folder)
        assert str(folder) in str(caught.value)


def test_folder_without_models_has_none(tmp_path):
    assert load_manifest(tmp_path) == {}
    with pytest.raises(PretrainedError, match="it has none"):
        load_pretrained("mnist-2d", tmp_path)


FILES = [(load_pretrained, "mnist-2d.weights.h5"), (load_history, "mnist-2d.history.csv")]


@pytest.mark.parametrize("load, name", FILES)
def test_missing_file_is_named(folder, load, name):
    (folder / name).unlink()
    with pytest.raises(PretrainedError) as caught:
        load("mnist-2d", folder)
    message = str(caught.value)
    assert (
        str(folder / name) in message and "no such file" in message and "python -m cvae_lib train mnist-2d" in message
    )


@pytest.mark.parametrize("load, name", FILES)
@pytest.mark.parametrize("spoil", [lambda b: b[:-1], lambda b: b[:200] + b"?" + b[201:], lambda b: b""])
def test_file_that_is_not_the_listed_one_is_refused(folder, load, name, spoil):
    path = folder / name
    path.write_bytes(spoil(path.read_bytes()))
    before = path.read_bytes()
    with pytest.raises(PretrainedError) as caught:
        load("mnist-2d", folder)
    listed = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["mnist-2d"]["sha256"][name]
    for part in (str(path), f"found SHA-256 {digest_file(path)[:12]}", f"expected {listed[:12]}", "train mnist-2d"):
        assert part in str(caught.value)
    assert path.read_bytes() == before


@pytest.mark.parametrize("spoil", [lambda b: b[: len(b) // 2], lambda b: b.replace(b'"', b"\xff"), lambda b: b""])
def test_manifest_that_is_not_json_is_named(folder, spoil):
    path = folder / "manifest.json"
    path.write_bytes(spoil(path.read_bytes()))
    for load in (load_pretrained, load_history):
        with pytest.raises(PretrainedError, match="found no JSON") as caught:
            load("mnist-2d", folder)
        assert str(path) in str(caught.value) and "git checkout" in str(caught.value)


def test_history_is_read_as_columns_of_numbers(tmp_path):
    (tmp_path / "log.csv").write_text("epoch,loss\n1,2.5\n2,2.25\n", encoding="utf-8")
    assert read_history(tmp_path / "log.csv") == {"epoch": [1, 2], "loss": [2.5, 2.25]}
    (tmp_path / "log.csv").write_text("epoch,loss\n", encoding="utf-8")
    assert read_history(tmp_path / "log.csv") == {}


# A model that was trained in the page


@pytest.fixture
def weights(model):
    """The trainable weights by their path in Keras."""
    return {variable.path: variable.numpy() for variable in model.trainable_variables}


def test_a_file_of_the_page_gives_the_model(model, weights, tmp_path):
    path = tmp_path / "from-the-page.npz"
    np.savez(path, **weights)
    loaded = load_pretrained(str(path))
    assert loaded.settings == {**model.settings, "seed": None}
    z, label = np.array([[0.5, -1.0]], "float32"), np.eye(10, dtype="float32")[3:4]
    np.testing.assert_array_equal(decode(loaded, z, label), decode(model, z, label))


@pytest.mark.parametrize(
    "spoil, found",
    [
        (lambda weights: weights.pop("x_logits/kernel"), "x_logits/kernel of shape None; expected 512 x 784"),
        (lambda weights: weights.update({"z_mean/bias": np.zeros(3)}), r"z_mean/bias of shape \(3,\); expected 2"),
        (
            lambda weights: weights.update({"z_mean/kernel": np.zeros(2)}),
            r"z_mean/kernel of shape \(2,\); expected any x any",
        ),
        (lambda weights: weights.clear(), "z_mean/kernel of shape None; expected any x any"),
    ],
)
def test_a_file_of_other_weights_is_refused(weights, tmp_path, spoil, found):
    spoil(weights)
    path = tmp_path / "from-the-page.npz"
    np.savez(path, **weights)
    with pytest.raises(PretrainedError, match=f"{path}: found {found}.*Save the model in the page again"):
        load_pretrained(str(path))


@pytest.mark.parametrize("content", [None, b"", b"not a zip", b"PK\x03\x04 cut short"])
def test_a_file_that_is_no_npz_is_refused(tmp_path, content):
    path = tmp_path / "from-the-page.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PretrainedError, match=f"{path}: found .*expected an .npz file that a page"):
        load_pretrained(str(path))


# The model itself


@pytest.mark.parametrize("name", NAMES)
def test_test_figures_come_out_again(digits, name):
    """Within 0.1 in the full edition: one sample of z an image over 10,000 images has a standard deviation of 0.02.

    The sample's digits are others, and the model was trained on them: a wide band.
    """
    recipe, measured = RECIPES[name], load_manifest()[name]["measured"]
    digits = prepare(digits, recipe)
    shipped = load_once(name)
    model = AlteredCVAE(**{**shipped.settings, "continuous": recipe.continuous, "seed": 1})
    model.set_weights(shipped.get_weights())
    model.compile(jit_compile=False)
    found = model.evaluate(
        [digits.x_test, digits.label_test], digits.x_test, batch_size=250, verbose=0, return_dict=True
    )
    # A density of grey pixels is a sharper measure than a cross-entropy: all its figures scatter more.
    full, sample = (3, 200) if recipe.continuous else (0.1, 8)
    band = full if digits.edition == "full" else sample
    for loss in LOSSES:
        assert found[loss] == pytest.approx(measured.get(f"test_{loss}", measured[f"val_{loss}"]), abs=band)


def test_loss_is_that_of_numpy(digits, model):
    """One sample of z an image, decoded and compared in float64, without the library's losses."""
    x, label = digits.x_test[:1000], digits.label_test[:1000]
    z_mean, z_log_var = (part.astype("float64") for part in encode(model, x, label))
    z = z_mean + np.exp(z_log_var / 2) * np.random.default_rng(0).normal(size=z_mean.shape)
    kl = 0.5 * (np.exp(z_log_var) + z_mean**2 - 1 - z_log_var).sum(axis=1)
    by_hand = (cross_entropy(x, decode(model, z, label)) + kl).mean()
    model.compile(jit_compile=False)
    found = model.evaluate([x, label], x, batch_size=250, verbose=0, return_dict=True)
    assert found["loss"] == pytest.approx(by_hand, abs=0.5)


def test_label_decides_which_digit_is_drawn(digits, model):
    """At the middle of the latent space, each label gives a picture nearest to the mean image of its class."""
    pictures = decode(model, np.zeros((10, 2)), np.eye(10))
    means = np.stack([digits.x_train[digits.y_train == digit].mean(axis=0) for digit in range(10)])
    distance = np.linalg.norm(pictures[:, None] - means[None], axis=-1)
    np.testing.assert_array_equal(distance.argmin(axis=1), np.arange(10))


def test_wrong_label_costs_more(digits, model):
    x, y = digits.x_test[:500], digits.y_test[:500]
    losses = []
    for shift in (0, 1):
        label = np.eye(10, dtype="float32")[(y + shift) % 10]
        z_mean, _ = encode(model, x, label)
        losses.append(cross_entropy(x, decode(model, z_mean, label)))
    assert np.mean(losses[1] > losses[0]) > 0.9


def test_each_load_gives_a_new_model(model):
    again = load_pretrained("mnist-2d")  # not load_once
    assert again is not model and isinstance(again, keras.Model)
    again.set_weights([0 * weight for weight in again.get_weights()])
    assert np.abs(model.get_weights()[0]).max() > 0
