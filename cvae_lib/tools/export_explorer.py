"""Write a trained model, and a few images to try it on, for the explorer that runs it inside the published page.

`python -m cvae_lib export mnist-2d` writes two scripts, `weights.js` and `digits.js`. Each assigns one JSON object to
a global variable, because a page that is opened from disk may load a script, but neither fetch a file nor import a
module. The same model gives the same bytes on every machine.
"""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np

from cvae_lib.data import DataError, Dataset
from cvae_lib.pretrained import PRETRAINED, PretrainedError, find_entry, load_pretrained

# The two large kernels get 12 bits a weight, two characters of base64. With 8 bits pixels are off by up to 0.05;
# with 16 the script has 2.2 MB.
BITS = 12
LARGE = ("encoder_hidden/kernel", "x_logits/kernel")
POINTS_PER_CLASS = 300
TEST_PER_CLASS = 5
# Latents are stored as whole multiples of this: a fifth of a pixel on the page.
Z_STEP = 0.005


def export(name: str, out: str | Path, digits: Dataset) -> dict[str, int]:
    """Write `weights.js` and `digits.js` for the shipped model of this name to the folder `out`.

    Returns a dict from file name to size in bytes. Raises PretrainedError for an unknown name or a model that the page
    cannot run, and DataError unless `digits` is the full edition: the page shows MNIST's digits, whoever exports them.
    """
    sizes = find_entry(name, PRETRAINED)["configuration"]
    if (sizes["n_z"], sizes["n_layers"]) != (2, 1):
        raise PretrainedError(
            f"{name}: found {sizes['n_z']} latents and {sizes['n_layers']} hidden layers; expected 2 and 1, which the "
            "page can run. Choose another model, such as mnist-2d."
        )
    if digits.edition != "full":
        raise DataError(digits.source, f"the edition {digits.edition!r}", "MNIST", "Set CVAE_DATA to full.")
    weights = read_weights(name)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    write_script(out / "weights.js", name, "cvaeWeights", pack_model(name, weights))
    write_script(out / "digits.js", name, "cvaeDigits", pack_digits(weights, digits))
    return {file: (out / file).stat().st_size for file in ("weights.js", "digits.js")}


def read_weights(name: str) -> dict[str, np.ndarray]:
    """Read the weights of the shipped model of this name: a dict from a name such as x_logits/kernel to an array."""
    return {variable.path: variable.numpy() for variable in load_pretrained(name).trainable_variables}


def pack_model(name: str, weights: dict[str, np.ndarray]) -> dict[str, Any]:
    """Pack the weights: the model's name, the SHA-256 of the file they come from, and each array."""
    return {
        "model": name,
        "sha256": find_entry(name, PRETRAINED)["sha256"][f"{name}.weights.h5"],
        "arrays": {key: pack_rows(array) if key in LARGE else pack_array(array) for key, array in weights.items()},
    }


def pack_digits(weights: dict[str, np.ndarray], digits: Dataset) -> dict[str, Any]:
    """Pack what the page draws: where training digits lie in the latent plane, and test digits to encode.

    `points`: z_mean of the first 300 training digits of each class, in units of `z_step`, int16, (n_y, 300, 2).
    `test`: the first 5 test digits of each class, grey values 0 to 255, uint8, (n_y, 5, n_x).
    """
    train = first_of_each(digits.y_train, digits.n_y, POINTS_PER_CLASS)
    test = first_of_each(digits.y_test, digits.n_y, TEST_PER_CLASS)
    points = np.rint(encode_means(weights, digits.x_train[train], digits.label_train[train]) / Z_STEP)
    return {
        "z_step": Z_STEP,
        "points": pack_array(points.astype("int16").reshape(digits.n_y, POINTS_PER_CLASS, 2)),
        "test": pack_array(digits.pixels_test[test].reshape(digits.n_y, TEST_PER_CLASS, digits.n_x)),
    }


def first_of_each(y: np.ndarray, n_classes: int, n: int) -> np.ndarray:
    """Find the indices of the first n of each class, class by class: (n_classes * n,)."""
    return np.concatenate([np.flatnonzero(y == k)[:n] for k in range(n_classes)])


def encode_means(weights: dict[str, np.ndarray], x: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Encode x (n, n_x) with label (n, n_y) to z_mean (n, 2), in float64: rounded, it is the same on every machine."""
    w = {key: array.astype("float64") for key, array in weights.items()}
    inputs = np.concatenate([x, label], axis=1).astype("float64")
    hidden = np.maximum(inputs @ w["encoder_hidden/kernel"] + w["encoder_hidden/bias"], 0)
    return hidden @ w["z_mean/kernel"] + w["z_mean/bias"]


def pack_array(array: np.ndarray) -> dict[str, Any]:
    """Pack an array as it is: its shape, its type and its bytes, the lowest byte of a number first."""
    little = array.astype(array.dtype.newbyteorder("<"))
    return {"shape": array.shape, "type": array.dtype.name, "data": to_base64(little)}


def pack_rows(kernel: np.ndarray) -> dict[str, Any]:
    """Pack a kernel (rows, columns) as whole numbers of 12 bits, and for each row the float32 that 1 of them means.

    A weight w of a row with scale s is stored as round(w / s) + 2047.
    """
    middle = 2 ** (BITS - 1) - 1
    scale = (np.abs(kernel).max(axis=1) / middle).astype("float32")
    scale[scale == 0] = 1  # a row of zeros has no largest weight
    whole = np.rint(kernel / scale[:, None]).astype("int64").ravel() + middle
    # Two numbers make three bytes, the high bits first.
    pair = whole[0::2] << BITS | whole[1::2]
    data = np.stack([pair >> 16, pair >> 8, pair], axis=1).astype("uint8")
    return {"shape": kernel.shape, "type": f"rows{BITS}", "scale": pack_array(scale), "data": to_base64(data)}


def to_base64(array: np.ndarray) -> str:
    """Write the bytes of an array as text in base64."""
    return base64.b64encode(array.tobytes()).decode()


def write_script(path: Path, name: str, variable: str, content: dict[str, Any]) -> None:
    """Write a script that assigns `content` to a global variable."""
    head = f"// Made by `python -m cvae_lib export {name}`; not edited by hand.\n"
    path.write_bytes(f"{head}globalThis.{variable} = {json.dumps(content, separators=(',', ':'))};\n".encode())
