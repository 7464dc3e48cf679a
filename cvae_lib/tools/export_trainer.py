"""Write the digits that the page trains on and is tested on, for the trainer inside the published page.

`python -m cvae_lib.tools.export_trainer` writes three scripts, each of which assigns one JSON object to a global
variable, as those of `export_explorer` do: `train_digits.js`, `more_digits.js`, which a page loads when its reader asks
for more, and `test_digits.js`. The same data give the same bytes on every machine.

The digits of a file take turns: digit i is an i % 10, so its label needs no bytes, and the first n digits of a file are
balanced. Grey values are rounded to 16 levels, which the loss hardly feels. A level from 1 to 15 is written as a letter
from "a" to "o", and a run of up to 57 black pixels as one character from "#" on. This is four times shorter than a
character a pixel, and after the compression of a server it is still an eighth shorter.
"""

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np

from cvae_lib.data import DataError, Dataset, load_mnist
from cvae_lib.tools.export_explorer import first_of_each, write_scripts

OUT = "_extra/trainer"
LEVELS = 15  # the highest
TRAIN_PER_CLASS = 200
ALL_PER_CLASS = 500  # with those of more_digits.js
TEST_PER_CLASS = 100
INK, RUN, LONGEST = ord("a"), ord("#"), 57  # between "#" and "[", JSON needs no escape


def export_trainer(out: str | Path, digits: Dataset) -> dict[str, int]:
    """Write the three scripts to the folder `out`; return a dict from file name to size in bytes.

    Raises DataError unless `digits` is the full edition.
    """
    if digits.edition != "full":
        raise DataError(digits.source, f"the edition {digits.edition!r}", "MNIST", "Set CVAE_DATA to full.")
    train = take_turns(digits.pixels_train, digits.y_train, ALL_PER_CLASS)
    n = digits.n_y * TRAIN_PER_CLASS
    packs = {
        "train_digits": train[:n],
        "more_digits": train[n:],
        "test_digits": take_turns(digits.pixels_test, digits.y_test, TEST_PER_CLASS),
    }
    levels = {stem: pack_levels(pixels) for stem, pixels in packs.items()}
    return write_scripts(out, "cvae_lib.tools.export_trainer", levels)


def take_turns(pixels: np.ndarray, y: np.ndarray, n: int) -> np.ndarray:
    """Take the first n digits of each class, in turns: from grey values 0 to 255, to (10 n, 784)."""
    order = first_of_each(y, 10, n).reshape(10, n).T.ravel()
    return pixels[order].reshape(10 * n, -1)


def pack_levels(pixels: np.ndarray) -> dict[str, Any]:
    """Pack digits with grey values 0 to 255, (n, 784): their number `n`, and their `levels` as text."""
    levels = np.rint(pixels / 255 * LEVELS).astype("uint8")
    text = (levels + INK - 1).tobytes().decode("ascii")
    black = re.escape(chr(INK - 1))
    return {"n": len(pixels), "levels": re.sub(f"{black}{{1,{LONGEST}}}", write_run, text)}


def write_run(run: re.Match[str]) -> str:
    """Write a run of black pixels as one character."""
    return chr(RUN - 1 + len(run[0]))


if __name__ == "__main__":
    out = sys.argv[1] if len(sys.argv) > 1 else OUT
    print(export_trainer(out, load_mnist()))
