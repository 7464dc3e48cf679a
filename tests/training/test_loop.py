"""Training: what a run computes and writes, when it stops, and what it refuses."""

import json
import platform
import shutil
import time
from dataclasses import replace
from importlib.metadata import version

import cvae_lib._tensorflow  # noqa: F401

# isort: split
import keras
import numpy as np
import pytest

import cvae_lib
from cvae_lib.data import Numbers, check_dataset
from cvae_lib.model import CVAE
from cvae_lib.pretrained import digest_file, load_history, load_manifest, load_pretrained
from cvae_lib.training.batches import shuffled_index_blocks
from cvae_lib.training.checkpoints import COLUMNS, LOSSES, TrainingError
from cvae_lib.training.loop import make_model, reset_random_state, train
from cvae_lib.training.recipes import RECIPES, Recipe

# What a run computes


@pytest.mark.parametrize("batch_size, steps", [(16, 1), (15, 4)])
def test_training_is_plain_fit(few, tiny, tmp_path, batch_size, steps):
    """The same epochs by hand: fit with Adam on the same batches, as chapter 3 does it."""
    recipe, name = replace(tiny, batch_size=batch_size, epochs=2), f"batches-of-{batch_size}"
    history = train(recipe, few, tmp_path, name, verbose=0, jit_compile=False)
    keras.utils.set_random_seed(1)
    model = CVAE(n_hidden=8, seed=1, n_x=30, n_y=10)
    model.compile(keras.optimizers.Adam(recipe.learning_rate), jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    blocks = shuffled_index_blocks(60, batch_size, steps, seed=1).as_numpy_iterator()
    for epoch in range(2):
        order = np.concatenate([next(blocks).ravel() for _ in range(60 // batch_size // steps + (steps == 1))])
        reset_random_state(model, 1, epoch)
        data = [few.x_train[order], few.label_train[order]], few.x_train[order]
        log = model.fit(*data, batch_size=batch_size, shuffle=False, verbose=0).history
        for loss in LOSSES:
            assert history[loss][epoch] == pytest.approx(log[loss][0], rel=1e-4, abs=1e-3)
    for one, other in zip(model.get_weights(), load_pretrained(name, tmp_path).get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3)


def test_epsilon_depends_on_the_seed_and_the_epoch_alone(few):
    def draws(seed, epoch):
        reset_random_state(model, seed, epoch)
        return [np.asarray(model.encoder([few.x_test, few.label_test])[2]) for _ in range(2)]

    model = CVAE(n_hidden=8, seed=1, n_x=30, n_y=10)
    once, next_epoch, other_seed, again = draws(1, 0), draws(1, 1), draws(2, 0), draws(1, 0)
    np.testing.assert_array_equal(once, again)
    different = [*once, *next_epoch, *other_seed]
    assert len({values.tobytes() for values in different}) == 6


def test_training_follows_the_seed(few, tiny, weights_of, tmp_path, eager):
    for seed in (1, 2):
        train(replace(tiny, epochs=1, batch_size=60), few, tmp_path, f"seed-{seed}", seed, verbose=0)
    assert weights_of(tmp_path, "seed-1") != weights_of(tmp_path, "seed-2")


def test_the_step_is_compiled_once(few):
    """An optimizer that is not built has it compiled twice, which takes seconds for a large network."""

    def time_first_epoch(model):
        started = time.process_time()
        model.fit(shuffled_index_blocks(60, 15, 4, seed=1), steps_per_epoch=1, shuffle=False, verbose=0)
        return time.process_time() - started

    once, twice = (make_model(Recipe(n_hidden=8, batch_size=15), few, 1, jit_compile=False) for _ in range(2))
    twice.compile(keras.optimizers.Adam(), jit_compile=False)
    assert time_first_epoch(once) < 0.75 * time_first_epoch(twice)


@pytest.mark.parametrize("network", ["dense", "convolutional"])
def test_every_setting_of_a_recipe_reaches_the_model(few, network):
    """An epoch has 4 steps, so the weight of the KL rises over 12 of them."""
    sizes = {"n_z": 3, "n_hidden": 4, "n_layers": 2}
    altered = {"beta": 2.0, "continuous": True, "dropout": 0.25}
    recipe = Recipe(network=network, batch_size=16, learning_rate=0.5, warm_up=3, **sizes, **altered)
    pixels = {"n_x": 30} if network == "dense" else {"image_shape": few.image_shape}
    for jit_compile in (False, True):
        model = make_model(recipe, few, 7, jit_compile)
        assert model.cvae.settings == {**sizes, **altered, **pixels, "n_y": 10, "warm_up": 12, "seed": 7}
        assert float(model.optimizer.learning_rate) == 0.5 and model.jit_compile is jit_compile


def test_learning_rate_falls_along_a_cosine(few):
    """To zero at the end of the last epoch, over 4 epochs of 4 steps."""
    model = make_model(Recipe(schedule="cosine", learning_rate=0.5, epochs=4, batch_size=16), few, 1, False)
    rates = []
    for step in (0, 8, 16):
        model.optimizer.iterations.assign(step)
        rates.append(float(model.optimizer.learning_rate))
    assert rates == pytest.approx([0.5, 0.25, 0], abs=1e-6)


def test_the_progress_bar_counts_the_calls(few, tiny, tmp_path, capsys, eager):
    """Two steps in each of them."""
    train(replace(tiny, batch_size=10, epochs=2), few, tmp_path)
    shown = capsys.readouterr().out
    assert "Epoch 2/2" in shown and "3/3" in shown and "val_kl_loss" in shown


def test_callbacks_are_called_and_change_nothing(few, tiny, rows_of, tmp_path, capsys, eager):
    """Even where one draws epsilon after each epoch and asks all that a model can be asked."""

    class Ask(keras.callbacks.Callback):
        losses = []

        def on_epoch_end(self, epoch, logs=None):
            cvae = self.model.cvae
            cvae.encoder([few.x_test, few.label_test])
            cvae.encoder.predict([few.x_test, few.label_test], verbose=0)
            self.losses.append(round(float(logs["loss"]), 4))

    recipe = replace(tiny, epochs=2, batch_size=30, dropout=0.2)
    train(recipe, few, tmp_path / "plain", verbose=0)
    history = train(recipe, few, tmp_path / "asked", verbose=0, callbacks=[Ask()])
    assert capsys.readouterr().out == "", "verbose=0 is silent"
    assert Ask.losses == history["loss"]
    plain, asked = (tmp_path / folder / "cvae" for folder in ("plain", "asked"))
    assert rows_of(plain.with_suffix(".history.csv")) == rows_of(asked.with_suffix(".history.csv"))
    assert digest_file(plain.with_suffix(".weights.h5")) == digest_file(asked.with_suffix(".weights.h5"))


# What a run writes


def test_history_has_a_row_an_epoch(finished):
    history = load_history("tiny", finished)
    assert tuple(history) == COLUMNS
    assert set(COLUMNS) == {"epoch", "seconds"} | {prefix + name for prefix in ("", "val_") for name in LOSSES}
    assert history["epoch"] == [1, 2, 3, 4]
    for prefix in ("", "val_"):
        loss, kl, reconstruction = (np.array(history[prefix + name]) for name in LOSSES)
        np.testing.assert_allclose(loss, reconstruction + kl, atol=2e-4)
        assert (np.diff(loss) < 0).all() and (kl > 0).all()
    assert min(history["seconds"]) >= 0


def test_weights_are_those_of_the_last_epoch(few, finished):
    """The validation loss comes out again, but for the draws of epsilon; that of the epoch before does not."""
    model = load_pretrained("tiny", finished)
    model.compile(jit_compile=False)
    copies = [np.tile(part, (50, 1)) for part in (few.x_test, few.label_test)]
    loss = model.evaluate(copies, copies[0], batch_size=1000, verbose=0, return_dict=True)["loss"]
    *_, previous, last = load_history("tiny", finished)["val_loss"]
    assert abs(loss - last) < 0.25 * (previous - last)


def test_manifest_says_all_about_the_run(few, tiny, finished):
    manifest = load_manifest(finished)
    assert list(manifest) == ["tiny"]
    entry = manifest["tiny"]
    assert entry["configuration"] == {"n_z": 2, "n_hidden": 8, "n_layers": 1, "n_x": 30, "n_y": 10}
    assert entry["parameters"] == load_pretrained("tiny", finished).count_params()
    assert entry["seed"] == 1
    assert entry["data"] == {"edition": "custom", "sha256": few.digest}
    assert entry["versions"] == {
        "python": platform.python_version(),
        **{package: version(package) for package in ("keras", "numpy", "tensorflow")},
    }
    protocol = entry["protocol"]
    assert "60" in protocol["training"] and "20 test" in protocol["validation"]
    assert "Adam" in protocol["optimizer"] and str(tiny.learning_rate) in protocol["optimizer"]
    assert (protocol["batch_size"], protocol["epochs"]) == (16, 4) and "5" in protocol["early_stopping"]
    assert "last" in protocol["selection"]
    assert protocol["objective"]["labelled"] is True and protocol["objective"]["beta"] == 1.0
    history = load_history("tiny", finished)
    last = {column: values[-1] for column, values in history.items()}
    assert entry["measured"] == {**last, "seconds": pytest.approx(sum(history["seconds"]), abs=0.06)}
    files = sorted(path.name for path in finished.iterdir())
    assert files == sorted(["manifest.json", *entry["sha256"]])
    for name, digest in entry["sha256"].items():
        assert digest_file(finished / name) == digest


@pytest.mark.filterwarnings("error::UserWarning")
def test_call_in_the_manifest_makes_the_model_again(few, finished, tmp_path):
    """For a recipe without a name, other data than digits, no XLA: the command line has no options for these.

    The file has the same SHA-256, whatever ran before in the process. Nothing warns of anything.
    """
    names = {"cvae_lib": cvae_lib, "Recipe": Recipe, "data": few, "out": tmp_path}
    eval(load_manifest(finished)["tiny"]["command"], names)
    assert digest_file(tmp_path / "tiny.weights.h5") == digest_file(finished / "tiny.weights.h5")


def test_other_models_in_the_folder_stay(few, tiny, finished, weights_of, tmp_path, eager):
    out = shutil.copytree(finished, tmp_path / "models")
    train(replace(tiny, epochs=1, batch_size=60), few, out, "other", verbose=0)
    assert set(load_manifest(out)) == {"tiny", "other"}
    assert load_manifest(out)["tiny"] == load_manifest(finished)["tiny"]
    assert weights_of(out) == weights_of(finished)


# Which data


def test_held_out_run_keeps_the_test_set_for_the_end(few, make_raw, tiny, rows_of, weights_of, tmp_path, eager):
    """Other test images change the test figures and nothing else: neither weights nor history."""
    recipe, entries = replace(tiny, epochs=1, batch_size=24, held_out=12), []
    changed = check_dataset({**make_raw(), "x_test": make_raw(seed=1)["x_test"]}, "other test images")
    for data, out in ((few, tmp_path / "a"), (changed, tmp_path / "b")):
        train(recipe, data, out, "clean", verbose=0)
        entries.append(load_manifest(out)["clean"])
    assert weights_of(tmp_path / "a", "clean") == weights_of(tmp_path / "b", "clean")
    assert rows_of(tmp_path / "a" / "clean.history.csv") == rows_of(tmp_path / "b" / "clean.history.csv")
    measured = entries[0]["measured"]
    assert measured["test_loss"] != entries[1]["measured"]["test_loss"]
    assert measured["test_loss"] == pytest.approx(
        measured["test_reconstruction_loss"] + measured["test_kl_loss"], abs=2e-4
    )
    assert entries[0]["protocol"]["training"] == "48 images"
    assert entries[0]["protocol"]["validation"].startswith("12 held-out training images")


@pytest.mark.parametrize(
    "sizes, settings",
    [
        ({"n_train": 1, "n_test": 1}, {}),
        ({"n_train": 2, "n_test": 3}, {"held_out": 1, "batch_size": 1}),
        ({"n_train": 17, "n_test": 3, "image_shape": (4, 3, 3), "n_classes": 26}, {"pixels": "binary"}),
        ({"n_train": 7, "n_test": 7, "image_shape": (1, 1)}, {"labelled": False, "batch_size": 7}),
    ],
)
def test_images_of_any_number_and_size_are_trained_on(make_raw, tiny, tmp_path, eager, sizes, settings):
    """Fewer than a batch, a batch that does not divide, one image, one pixel, colours, classes that do not occur."""
    data = check_dataset(make_raw(**sizes), "a test")
    check_trains(data, replace(tiny, epochs=1, **settings), tmp_path)


def test_a_condition_of_numbers_is_trained_on(make_raw, tiny, tmp_path, eager):
    rng, raw = np.random.default_rng(0), make_raw(n_train=20, n_test=5)
    raw |= {f"y_{split}": rng.normal(size=(n, 3)) for split, n in (("train", 20), ("test", 5))}
    data = check_dataset(raw, "a test", condition=Numbers(("slant", "width", "ink")))
    for labelled in (True, False):
        check_trains(data, replace(tiny, epochs=1, batch_size=20, labelled=labelled), tmp_path)


def check_trains(data, recipe, out):
    history = train(recipe, data, out, verbose=0)
    assert all(np.isfinite(values).all() for values in history.values())
    model, entry = load_pretrained("cvae", out), load_manifest(out)["cvae"]
    assert entry["protocol"]["training"] == f"{len(data.y_train) - recipe.held_out} images"
    pictures = model.predict([data.x_test, data.label_test], verbose=0)["x_logits"]
    assert pictures.shape == data.x_test.shape and np.isfinite(pictures).all()


# What is refused


@pytest.mark.parametrize("name", ["", ".", "a/b", "/a", "a/", "../a"])
def test_a_name_that_is_no_file_name_is_refused(few, tiny, tmp_path, name):
    check_refused(f"name: found {name!r}; expected the name of a file", tiny, few, tmp_path, name)


@pytest.mark.parametrize("seed", [-1, 2**32, 1.0, "1", None])
def test_a_seed_out_of_range_is_refused(few, tiny, tmp_path, seed):
    check_refused(f"seed: found {seed!r}; expected an int from 0 to", tiny, few, tmp_path, "tiny", seed)


def test_too_few_images_to_hold_out_are_refused(few, tiny, tmp_path):
    words = "held_out: found 60; expected fewer than the 60 training images"
    check_refused(words, replace(tiny, held_out=60), few, tmp_path)


def check_refused(words, recipe, data, out, *arguments):
    with pytest.raises(TrainingError) as caught:
        train(recipe, data, out, *arguments, verbose=0)
    assert words in str(caught.value)
    assert list(out.iterdir()) == []


def test_a_run_that_diverges_ends_with_an_error(few, tiny, tmp_path, eager):
    """And is no model."""
    with pytest.raises(TrainingError, match="epoch 1: found the losses.*nan.*finite.*learning_rate"):
        train(replace(tiny, learning_rate=1e30), few, tmp_path, "tiny", verbose=0)
    assert load_manifest(tmp_path) == {} and not list(tmp_path.glob("*.h5"))


# The models of the book


@pytest.mark.slow
def test_xla_trains_as_well(few, tiny, finished, tmp_path):
    """It draws other epsilons from the same seed, so the losses are the same but for those."""
    history, plain = train(tiny, few, tmp_path, "tiny", verbose=0), load_history("tiny", finished)
    for loss in ("loss", "val_loss"):
        np.testing.assert_allclose(history[loss], plain[loss], rtol=0.03)


@pytest.fixture
def mnist(digits):
    if digits.edition != "full":
        pytest.skip(f"it takes MNIST itself, and this is the {digits.edition} edition")
    return digits


@pytest.mark.slow
@pytest.mark.weekly
def test_a_whole_run_comes_to_the_loss_of_2017(mnist, tmp_path):
    """With the recipe that takes least time for it, within what seeds differ by."""
    history = train(RECIPES["mnist-2d-deep-quick"], mnist, tmp_path, verbose=0)
    assert 129.5 < history["val_loss"][-1] < 131.2
    for prefix in ("", "val_"):
        loss, kl, reconstruction = (np.array(history[prefix + name]) for name in LOSSES)
        np.testing.assert_allclose(loss, reconstruction + kl, rtol=3e-5)  # three float32 means


@pytest.mark.slow
def test_first_epoch_comes_out_again(mnist, tmp_path):
    """The same seed, the same steps: a later epoch would show what another processor rounds, the first hardly does.

    Of the plain VAE, which an earlier form of this trainer made: it rounded otherwise, which moves a validation loss
    by about 0.01. Another seed moves the loss by 0.5 or more. mnist-2d is older, from before its steps were compiled by
    XLA, which draws other epsilons.
    """
    history = train(replace(RECIPES["mnist-2d-vae"], epochs=1), mnist, tmp_path, verbose=0)
    shipped, entry = load_history("mnist-2d-vae"), json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    if entry["cvae"]["versions"] == load_manifest()["mnist-2d-vae"]["versions"]:
        for name in COLUMNS[1:-1]:
            # The validation shows the last weights, on which rounding has worked longest; training losses are means.
            within = 0.03 if name.startswith("val_") else 0.01
            assert history[name][0] == pytest.approx(shipped[name][0], abs=within), name
