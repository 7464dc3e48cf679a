"""The digits that the page trains on: the same bytes from MNIST, small, and the digits that they say they are."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from cvae_lib.data import DataError, load_sample
from cvae_lib.tools.export_trainer import export_trainer, pack_levels

TRAINER = Path(__file__).parent.parent.parent / "_extra/trainer"
# Bytes, compressed as servers do, and the digits of each file.
FILES = {"train_digits.js": (178_000, 2000), "more_digits.js": (268_000, 3000), "test_digits.js": (90_000, 1000)}


def read_levels(name):
    """Unpack a file character by character: grey values 0 to 15, (n, 784)."""
    pack = json.loads((TRAINER / name).read_text(encoding="utf-8").split(" = ")[1].rstrip(";\n"))
    levels = []
    for character in pack["levels"]:
        levels += (
            ["_abcdefghijklmno".index(character)] if character in "abcdefghijklmno" else [0] * (ord(character) - 34)
        )
    return np.array(levels).reshape(pack["n"], 784)


@pytest.mark.parametrize("name", FILES)
def test_digits_are_few_and_light(name):
    most, n = FILES[name]
    assert len(gzip.compress((TRAINER / name).read_bytes())) < most
    levels = read_levels(name)
    assert levels.shape == (n, 784) and levels.max() == 15
    assert len(np.unique(levels, axis=0)) == n, "no digit stands twice"


def test_the_same_data_give_the_same_bytes(tmp_path, digits):
    if digits.edition != "full":
        pytest.skip("the exported digits are MNIST's: this needs the full edition")
    assert set(export_trainer(tmp_path, digits)) == set(FILES)
    for name in FILES:
        again = "make the files again: CVAE_DATA=full python -m cvae_lib.tools.export_trainer"
        assert (tmp_path / name).read_bytes() == (TRAINER / name).read_bytes(), again


def test_digit_i_is_an_i_modulo_ten(digits):
    """Each is a digit of the set and of the class that it stands for, with its grey values rounded to 16 levels."""
    if digits.edition != "full":
        pytest.skip("the exported digits are MNIST's: this needs the full edition")
    of_set = {
        "train": (np.concatenate([read_levels("train_digits.js"), read_levels("more_digits.js")]), 500),
        "test": (read_levels("test_digits.js"), 100),
    }
    for part, (levels, per_class) in of_set.items():
        pixels, y = getattr(digits, f"pixels_{part}").reshape(-1, 784), getattr(digits, f"y_{part}")
        for k in range(10):
            np.testing.assert_allclose(levels[k::10] / 15, pixels[y == k][:per_class] / 255, atol=0.5 / 15)


def test_levels_are_written_as_letters_and_runs():
    pixels = np.zeros((1, 784))
    pixels[0, [57, 58, 60]] = 17, 255, 128
    # 57 black pixels, a faint one, a white one, a black one, a grey one, and 723 = 12 x 57 + 39 black ones.
    assert pack_levels(pixels) == {"n": 1, "levels": "[ao#h" + 12 * "[" + "I"}


def test_other_digits_are_refused(tmp_path):
    with pytest.raises(DataError, match="expected MNIST"):
        export_trainer(tmp_path, load_sample())
    assert not any(tmp_path.iterdir())
