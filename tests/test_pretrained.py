"""The models that ship: their files are the listed ones, their figures come out again, their labels steer them."""

import functools
import io
import json
import pickle
import shutil
import threading
import tracemalloc
import zipfile
from dataclasses import asdict

import cvae_lib._tensorflow  # noqa: F401

# isort: split
import h5py
import keras
import numpy as np
import pytest

from chapters.train_own import OWN
from cvae_lib.evaluate import decode, encode
from cvae_lib.files import hold
from cvae_lib.metrics import cross_entropy
from cvae_lib.objectives import AlteredCVAE
from cvae_lib.pretrained import (
    PRETRAINED,
    PretrainedError,
    digest_file,
    load_condition,
    load_history,
    load_manifest,
    load_npz,
    load_pretrained,
    publish,
    read_history,
)
from cvae_lib.training.checkpoints import COLUMNS, save_model
from cvae_lib.training.loop import prepare
from cvae_lib.training.recipes import RECIPES

LOSSES = ("loss", "reconstruction_loss", "kl_loss")
MANIFEST = load_manifest()
NAMES = sorted(name for name in MANIFEST if name in RECIPES)  # the models of MNIST alone
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
    assert MANIFEST.keys() - set(NAMES) == {name for name, own in OWN.items() if own.ships}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_file_is_listed_and_is_the_listed_one(folder):
    listed = {name: digest for entry in load_manifest(folder).values() for name, digest in entry["sha256"].items()}
    assert {path.name for path in folder.iterdir() if path.is_file()} == {"manifest.json", *listed}
    for name, digest in listed.items():
        assert digest_file(folder / name) == digest


@pytest.mark.parametrize("folder, name", MODELS, ids=lambda value: getattr(value, "name", value))
def test_manifest_fits_the_model_and_its_history(folder, name):
    entry, history, own = load_manifest(folder)[name], load_history(name, folder), OWN.get(name)
    recipe = own.recipe if own else RECIPES[name]
    assert load_once(name, folder).count_params() == entry["parameters"]
    label = load_once(name, folder).encoder.inputs[1]
    assert label.shape == (None, load_condition(name, folder).n_y)
    assert tuple(history) == COLUMNS
    assert history["epoch"] == list(range(1, entry["measured"]["epoch"] + 1))
    assert entry["measured"]["epoch"] <= entry["protocol"]["epochs"]
    for column, values in history.items():
        last = sum(values) if column == "seconds" else values[-1]
        assert entry["measured"][column] == pytest.approx(last, abs=0.06 if column == "seconds" else 0)
    settings = asdict(recipe)
    chosen = {
        key: value for key, value in entry["configuration"].items() if key in settings
    }  # the others are the data's
    assert chosen.keys() > {"n_z", "n_hidden"} and ("image_shape" in entry["configuration"]) == (
        recipe.network == "convolutional"
    )
    assert chosen.items() | entry["protocol"]["objective"].items() <= settings.items()
    assert (entry["protocol"]["batch_size"], entry["protocol"]["epochs"]) == (recipe.batch_size, recipe.epochs)
    train = f"chapters/train_own.py {name}" if own else f"train {name} --epochs {recipe.epochs}"
    assert f"{train} --seed {entry['seed']}" in entry["command"]
    assert entry["data"]["edition"] == ("full" if name.startswith("mnist") else "custom")


@pytest.mark.parametrize("folder, name", MODELS, ids=lambda value: getattr(value, "name", value))
def test_saved_again_it_has_the_bytes_that_ship(folder, name, tmp_path):
    """A change of the library that changes them would make every reader's check of a new model fail."""
    entry, columns = load_manifest(folder)[name], load_history(name, folder)
    history = [{**dict(zip(columns, row)), "epoch": int(row[0])} for row in zip(*columns.values())]
    save_model(name, load_once(name, folder), history, entry, tmp_path)
    assert load_manifest(tmp_path)[name]["sha256"] == entry["sha256"]


def test_models_stand_in_the_order_of_their_names():
    """So that one more changes the lines of no other."""
    text = (PRETRAINED / "manifest.json").read_text(encoding="utf-8")
    assert text == json.dumps(json.loads(text), indent=2, sort_keys=True) + "\n"


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


def test_who_publishes_waits_for_another_who_does(tmp_path):
    """And is not refused after hours of training."""
    write = {"a.txt": lambda path: path.write_text("a", encoding="utf-8")}
    thread = threading.Thread(target=publish, args=(tmp_path, "a", write, {"seed": 1}))
    with hold(tmp_path / "manifest.json"):
        thread.start()
        thread.join(0.2)
        assert thread.is_alive()
    thread.join(10)
    entry = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))["a"]
    assert entry == {"seed": 1, "sha256": {"a.txt": digest_file(tmp_path / "a.txt")}}


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


def change_entry(folder, change):
    """Change the manifest's entry of mnist-2d."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    change(manifest["mnist-2d"])
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


MISSING = object()


@pytest.mark.parametrize(
    "field, value",
    [
        *[(field, MISSING) for field in ("command", "seed", "data", "measured", "sha256")],
        *[(field, 7) for field in ("command", "data", "measured", "sha256", "configuration", "condition")],
        *[("seed", value) for value in ("1", -1, 2**32, 1.0, True, None)],
        *[("data", value) for value in ({"edition": "full"}, {"edition": 1, "sha256": "0" * 64}, {"sha256": "0" * 64})],
        *[("sha256", {"mnist-2d.weights.h5": value}) for value in ("0" * 63, "G" * 64, None)],
        ("measured", {"loss": float("nan")}),
        ("measured", {"loss": "1"}),
        *[("configuration", {"n_z": value, "n_hidden": 512, "n_layers": 1}) for value in (0, -2, 2.0, "2", True, None)],
        ("configuration", {"n_z": 2, "n_hidden": 512}),
        ("configuration", {"n_z": 2, "n_hidden": 512, "n_layers": 1, "activation": "relu"}),
        ("configuration", {"n_z": 2, "n_hidden": 512, "n_layers": 1, "image_shape": [28]}),
        ("configuration", {"n_z": 2, "n_hidden": 512, "n_layers": 1, "image_shape": [28, 28, 2]}),
        ("configuration", {"n_z": 2, "n_hidden": 512, "n_layers": 1, "image_shape": [28, 28], "n_x": 784}),
        # Sizes for which there is no memory: the message comes before any is taken.
        ("configuration", {"n_z": 2, "n_hidden": 10**9, "n_layers": 1}),
        ("configuration", {"n_z": 10**9, "n_hidden": 512, "n_layers": 1}),
        ("configuration", {"n_z": 2, "n_hidden": 512, "n_layers": 10**6}),
        ("configuration", {"n_z": 2, "n_hidden": 512, "n_layers": 1, "n_x": 10**300}),
        ("configuration", {"n_z": 2, "n_hidden": 512, "n_layers": 1, "image_shape": [10**6, 10**6]}),
        ("configuration", MISSING),
        ("condition", {"names": ["a", "a"]}),
        ("condition", {"parts": {"names": 1}}),
    ],
)
def test_a_wrong_field_of_the_manifest_is_named(folder, field, value):
    def change(entry):
        entry.pop(field, None)
        if value is not MISSING:
            entry[field] = value

    change_entry(folder, change)
    with pytest.raises(PretrainedError) as caught:
        load_pretrained("mnist-2d", folder)
    message = str(caught.value)
    assert f"{folder / 'manifest.json'}, mnist-2d, {field}" in message and len(message) < 700
    assert "found" in message and "expected" in message and "git checkout" in message


@pytest.mark.parametrize("name", ["../models/mnist-2d", "/etc/passwd", "a/../mnist-2d"])
def test_no_name_leaves_the_folder(folder, name):
    """Not even one that the manifest lists, with the digest of the file out there."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    entry = {**manifest["mnist-2d"], "sha256": {f"{name}.weights.h5": digest_file(folder / "mnist-2d.weights.h5")}}
    (folder / "manifest.json").write_text(json.dumps({name: entry}), encoding="utf-8")
    with pytest.raises(PretrainedError, match="found it in no manifest; expected a file that the manifest lists"):
        load_pretrained(name, folder)


def test_a_manifest_that_is_too_long_is_not_read(folder):
    with (folder / "manifest.json").open("r+b") as file:
        file.truncate(2**36)  # without that many bytes on the disk
    with pytest.raises(PretrainedError, match="manifest.json: found no JSON .more than 16,777,216 bytes"):
        load_manifest(folder)


@pytest.mark.parametrize("content", [b"[]", b"7", b'"mnist-2d"', b"[" * 100_000, b'{"mnist-2d": []}', b"{}}"])
def test_other_json_is_no_manifest(folder, content):
    (folder / "manifest.json").write_bytes(content)
    with pytest.raises(PretrainedError, match="manifest.json.*: found .*; expected .*git checkout"):
        load_pretrained("mnist-2d", folder)


@pytest.mark.parametrize("kind", ["other sizes", "half of a model", "a pickle"])
def test_listed_weights_of_another_model_are_refused(folder, kind):
    """With the digest that the manifest lists, and as many bytes as the sizes take."""
    path = folder / "mnist-2d.weights.h5"

    def change(entry):
        entry["sha256"][path.name] = digest_file(path)
        entry["configuration"]["n_z"] -= kind == "other sizes"

    if kind == "half of a model":
        with h5py.File(path, "r+") as file:
            del file["decoder"]
    elif kind == "a pickle":
        path.write_bytes(pickle.dumps(print) + bytes(2**22))
    change_entry(folder, change)
    with pytest.raises(PretrainedError, match="mnist-2d.weights.h5: found other weights.*; expected those of a model"):
        load_pretrained("mnist-2d", folder)


@pytest.mark.parametrize("text", ["a,b\n1,x\n", "a,b\n1\n", "a\n1,2\n", "a\nnan\n", "a\n-inf\n", "a\n\0\n", "\xff"])
def test_a_table_of_other_things_is_no_history(tmp_path, text):
    (tmp_path / "log.csv").write_bytes(("a\n" * (text == "\xff") + text).encode("latin-1"))
    with pytest.raises(PretrainedError, match="log.csv: found .*; expected a line of names"):
        read_history(tmp_path / "log.csv")


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


@pytest.mark.parametrize(
    "spoil, found",
    [
        (lambda weights: weights.update({"x_logits/bias": np.full(784, np.nan, "float32")}), "values of x_logits/bias"),
        (lambda weights: weights.update({"x_logits/bias": np.full(784, 1e300)}), "values of x_logits/bias"),
        (lambda weights: weights.update({"x_logits/bias": np.zeros(784, int)}), "x_logits/bias.npy of the type int64"),
        (lambda weights: weights.update({"x_logits/bias": np.array([{}])}), "x_logits/bias.npy of the type object"),
        (lambda weights: weights.update({"decoder_hidden/kernel": np.zeros((2, 512))}), "decoder_hidden/kernel of sh"),
        (lambda weights: weights.update({"decoder_hidden/kernel": np.zeros((1, 512))}), "decoder_hidden/kernel of sh"),
        (lambda weights: weights.update({"z_mean/kernel": np.zeros((0, 2))}), "z_mean/kernel of shape"),
        # A model of these sizes would have 10**12 weights.
        (
            lambda weights: weights.update(
                {
                    "z_mean/kernel": np.zeros((10**6, 1)),
                    "decoder_hidden/kernel": np.zeros((2, 10**6)),
                    "x_logits/bias": np.zeros(10**6),
                }
            ),
            "x_logits/kernel of shape",
        ),
    ],
)
def test_weights_that_make_no_model_are_refused(weights, tmp_path, spoil, found):
    spoil(weights)
    np.savez(tmp_path / "from-the-page.npz", **weights)
    with pytest.raises(PretrainedError, match=f"from-the-page.npz: found {found}.*expected"):
        load_npz(tmp_path / "from-the-page.npz")


def write_header(shape, dtype="<f4"):
    """The header of an array as NumPy writes it."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue()


@pytest.mark.parametrize(
    "content, options, found",
    [
        (write_header((10**13,)) + b"1234", {}, "cannot reshape array of size 1"),
        (write_header((2,)) + b"1234", {}, "cannot reshape array of size 1"),
        (write_header((2**24,)) + bytes(2**26), {"compress_type": zipfile.ZIP_DEFLATED}, "67,10.,... bytes"),
        (write_header((1,)) + b"1234", {"compress_type": zipfile.ZIP_LZMA}, "in another compression than deflate"),
        (b"cos\nsystem\n(S'touch run'\ntR.", {}, "the magic string is not correct"),
        (b"\x93NUMPY\x02\x00" + write_header((1,))[8:], {}, "in another version of NumPy's format"),
    ],
)
def test_a_bomb_is_refused_before_it_goes_off(tmp_path, monkeypatch, content, options, found):
    """A header that promises more than is there, and an archive that holds more than any model of the page."""
    path = tmp_path / "from-the-page.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("z_mean/kernel.npy", content, **options)
    monkeypatch.chdir(tmp_path)
    tracemalloc.start()
    with pytest.raises(PretrainedError, match=f"{path}: found .*{found}.*expected an .npz file"):
        load_npz(path)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


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
