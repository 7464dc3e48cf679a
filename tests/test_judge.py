"""The judge that ships: its file is the listed one, it reads real digits, and it can be made again."""

import numpy as np
import pytest

from cvae_lib import judge
from cvae_lib.data import check_digits
from cvae_lib.pretrained import PretrainedError, load_manifest


def test_it_reads_real_digits(digits):
    """At least 98.5 % of the 10,000 test digits; those of the sample edition it has seen in training."""
    read = judge.read_digits(judge.load_judge(), digits.x_test)
    assert read.shape == digits.y_test.shape
    accuracy = np.mean(read == digits.y_test)
    assert accuracy >= 0.985
    if digits.edition == "full":
        measured = load_manifest(judge.JUDGE)["judge"]["measured"]["test_accuracy"]
        assert accuracy == pytest.approx(measured, abs=0.0005)


def test_a_changed_file_is_refused(tmp_path):
    for path in judge.JUDGE.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "judge.weights.h5").write_bytes(b"something else")
    with pytest.raises(PretrainedError, match="judge.weights.h5: found SHA-256"):
        judge.load_judge(tmp_path)


def test_training_learns_and_writes_what_loading_reads(tmp_path):
    """Ten patterns in noise: an easy task, learnt in a few epochs."""
    rng = np.random.default_rng(0)
    patterns = 200 * (rng.uniform(size=(10, 784)) < 0.2)
    raw = {}
    for split, n in (("train", 400), ("test", 100)):
        raw[f"y_{split}"] = np.arange(n) % 10
        raw[f"x_{split}"] = (patterns[raw[f"y_{split}"]] + rng.integers(0, 55, (n, 784))).astype("uint8")
    digits = check_digits(raw, "a test")
    accuracy = judge.train_judge(digits, tmp_path, epochs=6, verbose=0)
    assert accuracy > 0.8
    read = judge.read_digits(judge.load_judge(tmp_path), digits.x_test)
    assert np.mean(read == digits.y_test) == accuracy
    entry = load_manifest(tmp_path)["judge"]
    assert entry["measured"]["test_accuracy"] == accuracy and entry["command"].startswith("python -m cvae_lib judge")
