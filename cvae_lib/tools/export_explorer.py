"""Write a trained model, and a few images to try it on, for the explorer that runs it inside the published page.

`python -m cvae_lib export mnist-2d` writes three scripts, `decoder.js`, `encoder.js` and `digits.js`; a page that only
draws digits loads the decoder alone. Each script assigns one JSON object to a global variable, because a page that is
opened from disk may load a script, but neither fetch a file nor import a module. The same model gives the same bytes on
every machine.
"""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np

from cvae_lib.data import DataError, Dataset, load_sample, one_hot
from cvae_lib.pretrained import PRETRAINED, PretrainedError, find_entry, load_pretrained

# The two large kernels are stored in whole multiples of a step, rounded so that the layer's outputs hardly change. With
# these steps pixels are within 0.01 of Keras', latents within 0.01, and losses within 0.2 nats. Rounded to the nearest
# multiple, the decoder's kernel would need a step a quarter as large for the same outputs.
DECODER_STEP = 0.005
ENCODER_STEP = 0.0015
# A multiple from -44 to 44 is one printable character; before it, each "~" adds 44 and each "}" takes 44 away.
ZERO, MORE, LESS, REACH = ord("O"), "~", "}", 44
DAMPING = 0.001  # of the inputs' mean square, added to each: an input that is always zero keeps its nearest multiple
POINTS_PER_CLASS = 300
TEST_PER_CLASS = 5
# Latents are stored as whole multiples of this: a fifth of a pixel on the page.
Z_STEP = 0.005


def export(name: str, out: str | Path, digits: Dataset) -> dict[str, int]:
    """Write `decoder.js`, `encoder.js` and `digits.js` for the shipped model of this name to the folder `out`.

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
    digits_js = write_script(out, f"cvae_lib export {name}", "digits", pack_digits(weights, digits))
    return write_networks(name, weights, out) | digits_js


def write_networks(name: str, weights: dict[str, np.ndarray], out: str | Path) -> dict[str, int]:
    """Write `decoder.js` and `encoder.js` to the folder `out`: the model's name, the SHA-256 of its file, the arrays.

    Returns a dict from file name to size in bytes.
    """
    command = f"cvae_lib export {name}"
    origin = {"model": name, "sha256": find_entry(name, PRETRAINED)["sha256"][f"{name}.weights.h5"]}
    decoder = write_script(out, command, "decoder", {**origin, "arrays": pack_decoder(weights)})
    return decoder | write_script(out, command, "encoder", {**origin, "arrays": pack_encoder(weights)})


def read_weights(name: str) -> dict[str, np.ndarray]:
    """Read the weights of the shipped model of this name: a dict from a name such as x_logits/kernel to an array."""
    return {variable.path: variable.numpy() for variable in load_pretrained(name).trainable_variables}


def pack_decoder(weights: dict[str, np.ndarray]) -> dict[str, Any]:
    """Pack the decoder's arrays; its large kernel is rounded for codes all over the plane, with each label."""
    axis = np.linspace(-4, 4, 17)
    codes = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    n_y = len(weights["decoder_hidden/kernel"]) - 2
    inputs = np.concatenate([np.tile(codes, (n_y, 1)), np.repeat(np.eye(n_y), len(codes), axis=0)], axis=1)
    hidden = compute_hidden(weights, "decoder_hidden", inputs)
    arrays = pack_small(weights, "decoder_hidden/kernel", "decoder_hidden/bias", "x_logits/bias")
    return {**arrays, "x_logits/kernel": pack_kernel(weights["x_logits/kernel"], hidden, DECODER_STEP)}


def pack_encoder(weights: dict[str, np.ndarray]) -> dict[str, Any]:
    """Pack the encoder's arrays; its large kernel is rounded for the sample's digits, with right and wrong labels."""
    sample = load_sample()
    n = len(sample.x_train)
    labels = one_hot((sample.y_train + np.arange(n) % 2) % sample.n_y)
    inputs = np.concatenate([sample.x_train, labels], axis=1).astype("float64")
    small = [f"{layer}/{kind}" for layer in ("z_mean", "z_log_var") for kind in ("kernel", "bias")]
    arrays = pack_small(weights, "encoder_hidden/bias", *small)
    return {**arrays, "encoder_hidden/kernel": pack_kernel(weights["encoder_hidden/kernel"], inputs, ENCODER_STEP)}


def pack_small(weights: dict[str, np.ndarray], *keys: str) -> dict[str, Any]:
    """Pack the arrays of these names as they are."""
    return {key: pack_array(weights[key]) for key in keys}


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
    hidden = compute_hidden(weights, "encoder_hidden", np.concatenate([x, label], axis=1))
    return hidden @ weights["z_mean/kernel"].astype("float64") + weights["z_mean/bias"]


def compute_hidden(weights: dict[str, np.ndarray], layer: str, inputs: np.ndarray) -> np.ndarray:
    """Compute the outputs of a hidden layer, after the ReLU, for inputs (n, rows), in float64."""
    kernel, bias = (weights[f"{layer}/{kind}"].astype("float64") for kind in ("kernel", "bias"))
    return np.maximum(inputs.astype("float64") @ kernel + bias, 0)


def pack_array(array: np.ndarray) -> dict[str, Any]:
    """Pack an array as it is: its shape, its type and its bytes, the lowest byte of a number first."""
    little = array.astype(array.dtype.newbyteorder("<"))
    return {"shape": array.shape, "type": array.dtype.name, "data": base64.b64encode(little.tobytes()).decode()}


def pack_kernel(kernel: np.ndarray, inputs: np.ndarray, step: float) -> dict[str, Any]:
    """Pack a kernel (rows, columns) as text, in whole multiples of `step` that suit the layer's inputs (n, rows)."""
    data = write_steps(round_kernel(kernel, inputs, step))
    return {"shape": kernel.shape, "type": "steps", "step": step, "data": data}


def round_kernel(kernel: np.ndarray, inputs: np.ndarray, step: float) -> np.ndarray:
    """Round a kernel (rows, columns) to whole multiples of `step` so that outputs for `inputs` hardly change.

    Row after row is rounded to the nearest multiples, and the rows after it are moved to make up for what the rounding
    did to the outputs, in least squares over the inputs (n, rows): Frantar et al., 2022, https://arxiv.org/abs/2210.17323.
    Returns the multiples, an array of whole numbers (rows, columns).
    """
    products = inputs.T @ inputs / len(inputs)
    products[np.diag_indices_from(products)] += DAMPING * np.diag(products).mean()
    upper = np.linalg.cholesky(np.linalg.inv(products)).T
    left = kernel.astype("float64")
    multiples = np.empty(kernel.shape, "int64")
    for i, row in enumerate(left):
        multiples[i] = np.rint(row / step)
        error = (row - step * multiples[i]) / upper[i, i]
        left[i + 1 :] -= np.outer(upper[i, i + 1 :], error)
    return multiples


def write_steps(multiples: np.ndarray) -> str:
    """Write whole numbers, any shape, as text: one character each, after the characters that add or take away 44."""
    text = []
    for number in multiples.ravel().tolist():
        while abs(number) > REACH:
            text.append(MORE if number > 0 else LESS)
            number -= REACH if number > 0 else -REACH
        text.append(chr(ZERO + number))
    return "".join(text)


def write_script(out: str | Path, command: str, stem: str, content: dict[str, Any]) -> dict[str, int]:
    """Write the script `stem`.js, which assigns `content` to a global variable; return its name and size in bytes.

    The variable of `test_digits` is `cvaeTestDigits`. command: what makes the file, without the `python -m` before it.
    The first line of the script says so.
    """
    head = f"// Made by `python -m {command}`; not edited by hand.\n"
    text = json.dumps(content, separators=(",", ":"))
    path = Path(out, f"{stem}.js")
    path.parent.mkdir(parents=True, exist_ok=True)
    variable = "cvae" + stem.title().replace("_", "")
    return {path.name: path.write_bytes(f"{head}globalThis.{variable} = {text};\n".encode())}
