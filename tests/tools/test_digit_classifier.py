"""The digit classifier: the one that ships reads real digits, its file is the listed one, and others can be trained."""

import shutil
from dataclasses import replace

import cvae_lib._tensorflow  # noqa: F401

# isort: split
import keras
import numpy as np
import pytest

from cvae_lib.data import load_sample
from cvae_lib.pretrained import PretrainedError, load_manifest
from cvae_lib.tools.digit_classifier import (
    FOLDER,
    NAME,
    build_classifier,
    load_classifier,
    read_digits,
    train_classifier,
)
from cvae_lib.training.checkpoints import TrainingError


def test_it_reads_real_digits(digits):
    """At least 98.5 % of the 10,000 test digits; those of the sample edition it has seen in training."""
    if digits.edition == "custom":
        pytest.skip("it reads MNIST's digits, and these are others")
    read = read_digits(load_classifier(), digits.x_test)
    assert read.shape == digits.y_test.shape
    accuracy = np.mean(read == digits.y_test)
    assert accuracy >= 0.985
    if digits.edition == "full":
        assert accuracy == pytest.approx(load_manifest(FOLDER)[NAME]["measured"]["test_accuracy"], abs=0.0005)


def test_a_changed_file_is_refused(tmp_path):
    folder = shutil.copytree(FOLDER, tmp_path / "changed")
    (folder / f"{NAME}.weights.h5").write_bytes(b"something else")
    with pytest.raises(PretrainedError, match=f"{NAME}.weights.h5: found SHA-256"):
        load_classifier(folder)


def test_training_learns_and_writes_what_loading_reads(tmp_path, capsys):
    """From 1,000 digits in a few seconds, into a new folder, without a word."""
    out = tmp_path / "new" / "folder"
    digits = load_sample()
    digits = replace(digits, pixels_train=digits.pixels_train[:1000], y_train=digits.y_train[:1000])
    accuracy = train_classifier(digits, out, epochs=6, verbose=0)
    assert accuracy > 0.8
    read = read_digits(load_classifier(out), digits.x_test)
    assert np.mean(read == digits.y_test) == accuracy and capsys.readouterr() == ("", "")
    entry = load_manifest(out)[NAME]
    assert entry["measured"]["test_accuracy"] == accuracy
    assert entry["command"] == "python -m cvae_lib classifier --epochs 6 --seed 1 --data sample"


def test_a_training_that_diverges_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(keras.optimizers.schedules, "CosineDecay", lambda rate, steps: 1e30)
    digits = load_sample()
    digits = replace(digits, pixels_train=digits.pixels_train[:200], y_train=digits.y_train[:200])
    with pytest.raises(TrainingError, match="digit classifier: found weights that are not finite; expected numbers"):
        train_classifier(digits, tmp_path, epochs=2, verbose=0)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_manifest_is_refused_before_the_training(tmp_path, monkeypatch):
    monkeypatch.setattr(keras.Sequential, "fit", lambda *arguments, **options: pytest.fail("it trains"))
    (tmp_path / "manifest.json").write_text("{", encoding="utf-8")
    with pytest.raises(PretrainedError, match="manifest.json: found no JSON"):
        train_classifier(load_sample(), tmp_path, verbose=0)


@pytest.mark.parametrize("image_shape, n_classes", [((8, 8), 3), ((12, 20, 3), 26)])
def test_images_and_classes_of_other_numbers(image_shape, n_classes):
    x = np.random.default_rng(0).random((5, np.prod(image_shape)), "float32")
    read = read_digits(build_classifier(image_shape, n_classes), x)
    assert read.shape == (5,) and set(read) <= set(range(n_classes))
