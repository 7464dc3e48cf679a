"""Write the few digits that the small panels of chapter 2 start with, for the published page.

`python -m cvae_lib.tools.export_toys` writes `posteriors.js`, which assigns one JSON object to a global variable, as
the scripts of `export_explorer` do. The panels compute with the explorer's decoder and need no encoder, because each
digit comes with its posterior.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import ndtri

from cvae_lib.data import DataError, Dataset, load_mnist
from cvae_lib.tools.export_explorer import pack_array, write_scripts

NAME = "mnist-2d"
OUT = "_extra/toys"
# Each class and the place of the digit among the test digits of its class. The first is the 3 of chapter 2.
CHOSEN = ((3, 2), (2, 1), (4, 0), (7, 0))
QUANTILES = 6  # of epsilon, along each axis


def export_toys(out: str | Path, digits: Dataset) -> dict[str, int]:
    """Write `posteriors.js` to the folder `out`; return a dict from its name to its size in bytes.

    Raises DataError unless `digits` is the full edition.
    """
    if digits.edition != "full":
        raise DataError(digits.source, f"the edition {digits.edition!r}", "MNIST", "Set CVAE_DATA to full.")
    from cvae_lib.evaluate import encode
    from cvae_lib.likelihood import log_likelihood, make_grid
    from cvae_lib.pretrained import load_pretrained

    model = load_pretrained(NAME)
    rows = np.array([np.flatnonzero(digits.y_test == k)[place] for k, place in CHOSEN])
    x, label = digits.x_test[rows], digits.label_test[rows]
    mean, log_var = encode(model, x, label)
    exact = -log_likelihood(model, x, label, make_grid())
    content = {
        "labels": [k for k, _ in CHOSEN],
        "pixels": pack_array(digits.pixels_test[rows].reshape(len(rows), digits.n_x)),
        "mean": round_list(mean, 3),
        "sigma": round_list(np.exp(log_var / 2), 3),
        "exact": round_list(exact, 2),
        "epsilon": round_list(spread_draws(), 3),
    }
    return write_scripts(out, "cvae_lib.tools.export_toys", {"posteriors": content})


def spread_draws() -> np.ndarray:
    """Spread epsilon evenly over N(0, I): (QUANTILES ** 2, 2), with a mean of 0 and a variance of 1 along each axis."""
    axis = ndtri((np.arange(QUANTILES) + 0.5) / QUANTILES)
    axis /= np.sqrt(np.mean(axis**2))
    return np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)


def round_list(values: np.ndarray, decimals: int) -> list[Any]:
    """Turn an array into nested lists of rounded numbers, the same on every machine."""
    return np.round(np.asarray(values, "float64"), decimals).tolist()


if __name__ == "__main__":
    out = sys.argv[1] if len(sys.argv) > 1 else OUT
    print(export_toys(out, load_mnist()))
