"""Interrupted runs: stopped at any moment, the same call ends with the bits of a run that nothing interrupted."""

import os
import re
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

from cvae_lib.data import check_dataset
from cvae_lib.pretrained import load_history, load_manifest
from cvae_lib.training.checkpoints import CHECKPOINT, TrainingError, should_stop_early
from cvae_lib.training.loop import train
from cvae_lib.training.recipes import Recipe

# Two epochs of one step, with all that an epoch draws or counts, and with figures that are measured after the last.
DRAWING = {"dropout": 0.3, "warm_up": 1, "schedule": "cosine", "held_out": 4}
RECIPE = Recipe(n_hidden=8, batch_size=8, learning_rate=0.01, epochs=2, **DRAWING)
RUN, HISTORY = Path("tiny.partial", "run.json"), Path("tiny.partial", "history.csv")
WEIGHTS = Path("tiny.partial", CHECKPOINT)

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


def write_state(state, out):
    """Write a state to a folder; the epochs of its unfinished run get other seconds, to be known again."""
    out.mkdir()
    for path, content in state.items():
        if content is None:
            (out / path).mkdir()
        else:
            (out / path).write_bytes(re.sub(rb",[\d.]+\n", b",1234.5\n", content) if path == HISTORY else content)
    return out


def test_run_stopped_at_any_moment_ends_as_an_unbroken_one(dozen, recorder, rows_of, tmp_path):
    """With the same bits, and the same figures but for the seconds. What is finished is not trained again."""
    whole, log = recorder.folder, "tiny.history.csv"
    last_checkpoint = [state[WEIGHTS] for state in recorder.states if WEIGHTS in state][-1]
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
        finished = 1 + (state[WEIGHTS] == last_checkpoint) if {RUN, WEIGHTS} <= set(state) else 0
        assert history["seconds"].count(1234.5) == finished, files
    assert number > 8


@pytest.fixture
def unfinished(recorder, tmp_path):
    """The folder of a run that was stopped after its first epoch."""
    state = next(state for state in recorder.states if WEIGHTS in state)
    return write_state(state, tmp_path / "out")


@pytest.mark.parametrize("change", ["seed", "epochs", "patience", "images", "XLA", "damage"])
def test_unfinished_run_of_another_kind_is_refused(dozen, make_raw, unfinished, change):
    """Going on would mix two runs; starting afresh would throw the first one away."""
    recipe = replace(RECIPE, epochs=3) if change == "epochs" else RECIPE
    recipe = replace(RECIPE, patience=9) if change == "patience" else recipe
    data = check_dataset(make_raw(n_train=12, n_test=4, seed=1), "other images") if change == "images" else dozen
    settings = {"seed": {"seed": 2}, "XLA": {"jit_compile": False}}.get(change, {})
    if change == "damage":
        (unfinished / RUN).write_text("{", encoding="utf-8")
    before = {path: path.read_bytes() for path in unfinished.rglob("*") if path.is_file()}
    with pytest.raises(TrainingError) as caught:
        train(recipe, data, unfinished, "tiny", verbose=0, **settings)
    for part in (str(unfinished / "tiny.partial"), "found an unfinished run", "expected", "--out"):
        assert part in str(caught.value)
    assert {path: path.read_bytes() for path in unfinished.rglob("*") if path.is_file()} == before


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


def test_run_stops_early_and_does_not_go_on(dozen, rows_of, tmp_path, monkeypatch):
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
    rows = [{"val_loss": float(row["val_loss"])} for row in rows_of(tmp_path / "idle.partial" / "history.csv")]
    assert 3 <= len(rows) < 40
    assert should_stop_early(rows, 2) and not should_stop_early(rows[:-1], 2)
    assert train(recipe, dozen, tmp_path, "idle", verbose=0)["val_loss"] == [row["val_loss"] for row in rows]
    entry = load_manifest(tmp_path)["idle"]
    assert entry["measured"]["epoch"] == len(rows) and entry["protocol"]["epochs"] == 40
