"""Interrupted runs: stopped at any moment, the same call ends with the bits of a run that nothing interrupted."""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cvae_lib._tensorflow  # noqa: F401

# isort: split
import keras
import numpy as np
import pytest
import tensorflow as tf

from cvae_lib.data import check_dataset, load_sample
from cvae_lib.files import BusyError
from cvae_lib.pretrained import PretrainedError, load_history, load_manifest
from cvae_lib.training.checkpoints import TrainingError, describe_command, digest_state, should_stop_early
from cvae_lib.training.loop import train
from cvae_lib.training.recipes import RECIPES, Recipe

# Two epochs of one step, with all that an epoch draws or counts, and with figures that are measured after the last.
DRAWING = {"dropout": 0.3, "warm_up": 1, "schedule": "cosine", "held_out": 4}
RECIPE = Recipe(n_hidden=8, batch_size=8, learning_rate=0.01, epochs=2, **DRAWING)
RUN = Path("tiny.partial", "run.json")

pytestmark = pytest.mark.filterwarnings("ignore:Even though the `tf.config")


@pytest.fixture(scope="module", autouse=True)
def eager():
    """Let TensorFlow run step by step, which takes half the time: what is traced has other bits, so all runs do."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


class Recorder:
    """Keep what lies in a folder whenever a name in it is about to change: what a run stopped there leaves.

    Of a file that was just written only the first half is kept, unless it was put in its place whole, by renaming.
    """

    def __init__(self, folder):
        self.folder, self.states, self.before, self.renamed, self.active = folder, [], {}, None, True
        sys.addaudithook(self.watch)  # Python takes no hook back

    def watch(self, event, arguments):
        if self.active and event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir"):
            self.keep_state()
            self.renamed = Path(arguments[1]) if event == "os.rename" else None

    def keep_state(self):
        files = {path: path.read_bytes() if path.is_file() else None for path in sorted(self.folder.rglob("*"))}
        torn = {path for path in files if files[path] != self.before.get(path) and path != self.renamed}
        state = {
            path.relative_to(self.folder): content and content[: len(content) // (2 if path in torn else 1)]
            for path, content in files.items()
        }
        if state not in self.states:
            self.states.append(state)
        self.before = files


@pytest.fixture(scope="module")
def dozen(make_raw):
    return check_dataset(make_raw(n_train=12, n_test=4), "a test")


@pytest.fixture(scope="module")
def recorder(dozen, tmp_path_factory):
    """The states of one run, and its folder, in which it came to its end."""
    recorder = Recorder(tmp_path_factory.mktemp("recorded"))
    train(RECIPE, dozen, recorder.folder, "tiny", verbose=0)
    recorder.active = False
    return recorder


def edit(path, change):
    """Change what a run knows of its epochs, as the run itself would write it."""
    state = json.loads(path.read_text(encoding="utf-8"))
    change(state)
    del state["sha256"]
    path.write_text(json.dumps({**state, "sha256": digest_state(state)}), encoding="utf-8")


def write_state(state, out):
    """Write a state to a folder; the epochs of its unfinished run get other seconds, to be known again."""

    def change(state):
        for row in state["history"]:
            row["seconds"] = 1234.5

    out.mkdir()
    for path, content in state.items():
        if content is None:
            (out / path).mkdir()
        else:
            (out / path).write_bytes(content)
    if RUN in state:
        edit(out / RUN, change)
    return out


def test_run_stopped_at_any_moment_ends_as_an_unbroken_one(dozen, recorder, rows_of, tmp_path):
    """With the same bits, and the same figures but for the seconds. What is finished is not trained again."""
    whole, log, numbers = recorder.folder, "tiny.history.csv", []
    for number, state in enumerate(recorder.states[1:]):
        out = write_state(state, tmp_path / str(number))
        history = train(RECIPE, dozen, out, "tiny", verbose=0)
        files = sorted(map(str, state))
        for name in ("tiny.weights.h5", "manifest.json"):
            assert (out / name).exists(), files
        assert (out / "tiny.weights.h5").read_bytes() == (whole / "tiny.weights.h5").read_bytes(), files
        assert rows_of(out / log) == rows_of(whole / log) and history == load_history("tiny", out), files
        measured, expected = ({**load_manifest(folder)["tiny"]["measured"], "seconds": 0} for folder in (out, whole))
        assert measured == expected, files
        assert {path.name for path in out.iterdir()} == {path.name for path in whole.iterdir()}, files
        numbers.append(history["seconds"].count(1234.5))
        assert numbers[-1] == (len(json.loads(state[RUN])["history"]) if RUN in state else 0), files
    assert set(numbers) == {0, 1, 2} and number > 10


@pytest.fixture
def unfinished(recorder, tmp_path):
    """The folder of a run that was stopped after its first epoch."""
    return write_state(next(state for state in recorder.states if RUN in state), tmp_path / "out")


def check_refused(words, recipe, data, out, **settings):
    """Check that a call is refused with these words, and that it leaves all files as they are, but for the lock."""

    def read_files():
        return {path: path.read_bytes() for path in out.rglob("*") if path.is_file() and path.suffix != ".lock"}

    before = read_files()
    with pytest.raises(TrainingError) as caught:
        train(recipe, data, out, "tiny", verbose=0, **settings)
    for word in words:
        assert word in str(caught.value)
    assert read_files() == before


@pytest.mark.parametrize("change", ["seed", "epochs", "patience", "images", "XLA"])
def test_unfinished_run_of_another_kind_is_refused(dozen, make_raw, unfinished, change):
    """Going on would mix two runs; starting afresh would throw the first one away."""
    recipe = replace(RECIPE, epochs=3) if change == "epochs" else RECIPE
    recipe = replace(RECIPE, patience=9) if change == "patience" else recipe
    data = check_dataset(make_raw(n_train=12, n_test=4, seed=1), "other images") if change == "images" else dozen
    settings = {"seed": {"seed": 2}, "XLA": {"jit_compile": False}}.get(change, {})
    words = [str(unfinished / "tiny.partial"), "found an unfinished run", "expected", "--out"]
    check_refused(words, recipe, data, unfinished, **settings)


# What is altered in run.json as by an editor, who does not know its digest, and the seed of the command.
EDITS = {
    "an empty history": (lambda state: state["history"].clear(), 1),
    "a loss": (lambda state: state["history"][0].update(val_loss=1.0), 1),
    "a loss that is no number": (lambda state: state["history"][0].update(loss=float("nan")), 1),
    "one epoch more": (lambda state: state["history"].append({**state["history"][0], "epoch": 2}), 1),
    "another seed": (lambda state: state["run"].update(seed=7), 7),
    "another recipe": (lambda state: state["run"]["recipe"].update(beta=2.0), 1),
    "a digest": (lambda state: state.update(weights="0" * 64), 1),
    "no history": (lambda state: state.pop("history"), 1),
    "no digest": (lambda state: state.pop("sha256"), 1),
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edited_run_is_refused(dozen, unfinished, name):
    change, seed = EDITS[name]
    state = json.loads((unfinished / RUN).read_text(encoding="utf-8"))
    change(state)
    (unfinished / RUN).write_text(json.dumps(state), encoding="utf-8")
    words = [f"{unfinished / RUN}: found that it was altered or damaged", "Delete the folder", "begins again"]
    check_refused(words, RECIPE, dozen, unfinished, seed=seed)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"7", b"null", b"\xff", b"[" * 100_000, b'{"seed": 1}'])
def test_a_run_that_is_no_run_is_refused(dozen, unfinished, content):
    (unfinished / RUN).write_bytes(content)
    check_refused([str(unfinished / RUN), "altered or damaged", "Delete the folder"], RECIPE, dozen, unfinished)


@pytest.mark.parametrize("change", ["damaged", "cut", "exchanged", "missing"])
def test_other_weights_are_refused(dozen, unfinished, recorder, change):
    (path,) = unfinished.glob("tiny.partial/*.h5")
    content = path.read_bytes()
    if change == "missing":
        path.unlink()
    else:
        others = [state for state in recorder.states if RUN in state][-1]
        (other,) = (content for path, content in others.items() if path.match("epoch-2.weights.h5"))
        flipped = content[:3000] + bytes([content[3000] ^ 1]) + content[3001:]
        path.write_bytes({"damaged": flipped, "cut": content[:-1], "exchanged": other}[change])
    found = "no such file" if change == "missing" else "another file"
    check_refused([f"{path}: found {found}; expected the weights", "Delete the folder"], RECIPE, dozen, unfinished)


def test_weights_without_their_run_belong_to_nobody(dozen, unfinished, tmp_path):
    """Another seed then begins at the beginning, and ends as if nothing had been there."""
    (unfinished / RUN).unlink()
    for out in (unfinished, tmp_path / "alone"):
        train(RECIPE, dozen, out, "tiny", seed=7, verbose=0)
    one, other = ((out / "tiny.weights.h5").read_bytes() for out in (unfinished, tmp_path / "alone"))
    assert one == other


def test_a_manifest_that_takes_no_entry_is_refused_before_training(dozen, tmp_path):
    (tmp_path / "manifest.json").write_text("{", encoding="utf-8")
    never = keras.callbacks.LambdaCallback(on_train_begin=lambda logs: pytest.fail("it trains"))
    with pytest.raises(PretrainedError, match="manifest.json: found no JSON"):
        train(RECIPE, dozen, tmp_path, "tiny", verbose=0, callbacks=[never])


# Two at once


def test_a_second_run_of_the_same_model_is_refused(dozen, tmp_path):
    """Also one with other settings, which must not be told to delete the folder. Afterwards nothing is in its way."""
    refused = []

    def run_another(epoch, logs):
        for seed in (1, 2):
            with pytest.raises(BusyError, match="tiny.partial: found another process that writes it; expected none"):
                train(RECIPE, dozen, tmp_path, "tiny", seed, verbose=0)
            refused.append(epoch)

    watch = keras.callbacks.LambdaCallback(on_epoch_end=run_another)
    train(RECIPE, dozen, tmp_path, "tiny", verbose=0, callbacks=[watch])
    assert refused == [0, 0, 1, 1]
    train(RECIPE, dozen, tmp_path, "tiny", seed=2, verbose=0)
    assert load_manifest(tmp_path)["tiny"]["seed"] == 2


def test_two_models_at_once_share_a_manifest(dozen, tmp_path):
    """The second begins and ends while the first one trains."""

    def run_another(logs):
        train(RECIPE, dozen, tmp_path, "other", verbose=0)

    watch = keras.callbacks.LambdaCallback(on_train_end=run_another)
    train(RECIPE, dozen, tmp_path, "tiny", verbose=0, callbacks=[watch])
    assert set(load_manifest(tmp_path)) == {"tiny", "other"}


# When to stop


@pytest.mark.parametrize("patience", [1, 2, 5])
def test_run_stops_where_keras_would_stop_it(patience):
    """Against EarlyStopping itself, on sequences with ties, falls, rises and a loss that is no number."""
    rng = np.random.default_rng(patience)
    for _ in range(200):
        losses = rng.integers(0, 6, 15) + np.linspace(rng.uniform(-6, 6), 0, 15).round()
        losses[rng.integers(1, 15)] = np.nan
        model = SimpleNamespace(stop_training=False)
        stopping = keras.callbacks.EarlyStopping("val_loss", patience=patience, mode="min")
        stopping.set_model(model)
        stopping.on_train_begin()
        for epoch in range(15):
            stopping.on_epoch_end(epoch, {"val_loss": losses[epoch]})
            history = [{"val_loss": loss} for loss in losses[: epoch + 1]]
            assert should_stop_early(history, patience) == model.stop_training, losses
            if model.stop_training:
                break


def test_run_without_epochs_does_not_stop_early():
    assert not should_stop_early([], 1)


def test_run_stops_early_and_does_not_go_on(dozen, tmp_path, monkeypatch):
    """Without learning, the losses move with the draws only, and the best is soon behind."""

    def interrupt(source, target):
        if Path(target) == tmp_path / "idle.history.csv":
            raise KeyboardInterrupt
        rename(source, target)

    recipe, rename = Recipe(n_hidden=8, batch_size=12, learning_rate=1e-12, epochs=40, patience=2), os.replace
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(recipe, dozen, tmp_path, "idle", verbose=0)
    rows = json.loads((tmp_path / "idle.partial" / "run.json").read_text(encoding="utf-8"))["history"]
    assert 3 <= len(rows) < 40
    assert should_stop_early(rows, 2) and not should_stop_early(rows[:-1], 2)
    assert train(recipe, dozen, tmp_path, "idle", verbose=0)["val_loss"] == [row["val_loss"] for row in rows]
    entry = load_manifest(tmp_path)["idle"]
    assert entry["measured"]["epoch"] == len(rows) and entry["protocol"]["epochs"] == 40


@pytest.mark.parametrize(
    "name, changes, jit_compile, expected",
    [
        ("mnist-2d", {}, True, "python -m cvae_lib train mnist-2d --epochs 50 --seed 3 --data sample"),
        ("mnist-2d", {"epochs": 5}, True, "python -m cvae_lib train mnist-2d --epochs 5 --seed 3 --data sample"),
        ("mnist-2d", {}, False, "name='mnist-2d', seed=3, jit_compile=False)"),
        ("mnist-2d", {"beta": 4}, True, "name='mnist-2d', seed=3)"),
        ("mine", {}, True, "name='mine', seed=3)"),
        ("mine", {"network": "convolutional"}, False, "name='mine', seed=3)"),
    ],
)
def test_the_manifest_says_how_to_make_the_model_again(name, changes, jit_compile, expected):
    """By the command where it has all options, else by a call."""
    recipe = replace(RECIPES["mnist-2d"], **changes)
    found = describe_command(name, recipe, load_sample(), 3, jit_compile)
    call = f"cvae_lib.training.loop.train({recipe!r}, data, out, "
    assert found == (expected if expected.startswith("python") else call + expected)
