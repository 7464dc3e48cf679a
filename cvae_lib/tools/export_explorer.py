"""Write trained models, and a few images to try one on, for the explorer that runs them inside the published page.

`python -m cvae_lib export mnist-2d` writes three scripts, `decoder.js`, `encoder.js` and `digits.js`; a page that only
draws digits loads the decoder alone. For a model of anything but digits it writes one script, such as `letters-2d.js`:
the decoder with what its labels mean, for the reader who switches to it. Each script assigns one JSON object to a
global variable, because a page that is opened from disk may load a script, but neither fetch a file nor import a
module. The same model gives the same bytes on every machine.
"""

import base64
import itertools
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from cvae_lib.data import Classes, Condition, Cyclic, DataError, Dataset, Joint, load_mnist, load_sample, one_hot
from cvae_lib.data.mnist import DIGITS, IMAGE_SHAPE
from cvae_lib.files import hold, write_beside
from cvae_lib.pretrained import PRETRAINED, PretrainedError, find_entry, load_condition, load_pretrained

# The large kernels are stored in whole multiples of a step, rounded so that the layer's outputs hardly change. With
# these steps pixels are within 0.01 of Keras', latents within 0.01, and losses within 0.2 nats. Rounded to the nearest
# multiple, the decoder's kernel would need a step a quarter as large for the same outputs.
DECODER_STEP = 0.005
ENCODER_STEP = 0.0015
# A multiple from -44 to 44 is one printable character; before it, each "~" adds 44 and each "}" takes 44 away.
ZERO, MORE, LESS, REACH = ord("O"), "~", "}", 44
DAMPING = 0.001  # of the inputs' mean square, added to each: an input that is always zero keeps its nearest multiple
DECODER_LAYERS = ("decoder_", "small_picture", "x_logits")  # how the names of its layers begin
POINTS_PER_CLASS = 300
TEST_PER_CLASS = 5
# Latents are stored as whole multiples of this: a fifth of a pixel on the page.
Z_STEP = 0.005


def export(name: str, out: str | Path, choice: str | Path | None = None) -> dict[str, int]:
    """Write what the page needs of the shipped model of this name to the folder `out`, once all of it is computed.

    A model of the ten digits becomes the one that the page starts with: `decoder.js`, `encoder.js` and `digits.js`,
    with the digits that `choice` names as in `load_mnist`. A model with another condition becomes one to switch to:
    `NAME.js`. Returns a dict from file name to size in bytes. Raises PretrainedError for an unknown name or a model
    that the page cannot run, and DataError for digits on which the model was not trained.
    """
    entry, condition = find_entry(name, PRETRAINED), load_condition(name)
    check_model(name, entry["configuration"], condition)
    if condition == DIGITS:
        digits = load_mnist(choice)
        if digits.digest != entry["data"]["sha256"]:
            expected = f"the digits that {name} was trained on"
            raise DataError(digits.source, f"the edition {digits.edition!r}", expected, "Name them with --data.")
        weights = read_weights(name)
        packs = {**pack_networks(name, weights), "digits": pack_digits(weights, digits)}
    else:
        packs = {name: pack_subject(name)}
    return write_scripts(out, f"cvae_lib export {name}", packs)


def check_model(name: str, sizes: Mapping[str, Any], condition: Condition) -> None:
    """Raise PretrainedError unless the page can run a model of these sizes and has controls for its condition.

    sizes: the configuration in the manifest. That of a dense model says nothing of the shape of an image.
    """
    n_x, side = sizes.get("n_x", math.prod(IMAGE_SHAPE)), IMAGE_SHAPE[0]
    kinds = [type(part) for part in list_parts(condition)]
    needs = [
        (f"{sizes['n_z']} latents", "2", sizes["n_z"] == 2),
        (f"{sizes['n_layers']} hidden layers", "1", sizes["n_layers"] == 1),
        (f"a dense model of {n_x} pixels", f"{side} x {side} of them", n_x == side**2 or "image_shape" in sizes),
        ("convolutions", "an encoder without them for digits", "image_shape" not in sizes or condition != DIGITS),
        (
            f"a condition of {', '.join(kind.__name__ for kind in kinds)}",
            "Classes, alone or with Cyclic numbers",
            kinds.count(Classes) == 1 and {*kinds} <= {Classes, Cyclic},
        ),
    ]
    for found, expected, fits in needs:
        if not fits:
            raise PretrainedError(
                f"{name}: found {found}; expected {expected}, which the page can run. Choose another model, such as "
                "mnist-2d."
            )


def list_parts(condition: Condition) -> tuple[Condition, ...]:
    """List the attributes that a condition consists of."""
    return condition.parts if isinstance(condition, Joint) else (condition,)


def describe_origin(name: str) -> dict[str, str]:
    """Say which model a script is made from: its name and the SHA-256 of its file."""
    return {"model": name, "sha256": find_entry(name, PRETRAINED)["sha256"][f"{name}.weights.h5"]}


def pack_networks(name: str, weights: dict[str, np.ndarray]) -> dict[str, Any]:
    """Pack both networks of a model of digits, for `decoder.js` and `encoder.js`."""
    packs = {"decoder": pack_decoder(weights, DIGITS), "encoder": pack_encoder(weights)}
    return {stem: {**describe_origin(name), "arrays": arrays} for stem, arrays in packs.items()}


def pack_subject(name: str) -> dict[str, Any]:
    """Pack the decoder of a model, the shape of its images, and what its labels mean, as the manifest says it."""
    condition = load_condition(name)
    return {
        **describe_origin(name),
        "image_shape": find_entry(name, PRETRAINED)["configuration"].get("image_shape", IMAGE_SHAPE),
        "condition": [asdict(part) for part in list_parts(condition)],
        "arrays": pack_decoder(read_weights(name), condition),
    }


def read_weights(name: str) -> dict[str, np.ndarray]:
    """Read the weights of the shipped model of this name: a dict from a name such as x_logits/kernel to an array."""
    return {variable.path: variable.numpy() for variable in load_pretrained(name).trainable_variables}


def pack_decoder(weights: dict[str, np.ndarray], condition: Condition) -> dict[str, Any]:
    """Pack the decoder's arrays; its large kernel is rounded for codes all over the plane, with labels of all kinds."""
    axis = np.linspace(-4, 4, 17)
    codes = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    labels = spread_labels(condition)
    inputs = np.concatenate([np.tile(codes, (len(labels), 1)), np.repeat(labels, len(codes), axis=0)], axis=1)
    hidden = compute_hidden(weights, "decoder_hidden", inputs)
    large = "x_logits/kernel" if "x_logits/kernel" in weights else "small_picture/kernel"
    small = [key for key in weights if key.startswith(DECODER_LAYERS) and key != large]
    return {**pack_small(weights, *small), large: pack_kernel(weights[large], hidden, DECODER_STEP)}


def spread_labels(condition: Condition) -> np.ndarray:
    """Make labels of every class, and for each class of twelve angles around the period: (n, n_y)."""
    columns = []
    for part in list_parts(condition):
        levels = np.arange(12) / 12 * part.period if isinstance(part, Cyclic) else np.arange(part.n_y)
        columns += [levels] * len(part.columns)
    table = np.array(list(itertools.product(*columns)))
    return condition.encode(table if isinstance(condition, Joint) else table[:, 0])


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


def write_scripts(out: str | Path, command: str, packs: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    """Write a script for each stem, which assigns its content to a global variable; return their names and sizes.

    The script of `test_digits` is `test_digits.js`, and its variable `cvaeTestDigits`. All are written before the first
    takes its place. command: what makes them, without the `python -m` before it, as the first line of each says. The
    sizes are in bytes. Raises BusyError while another process writes them.
    """
    scripts = {}
    for stem, content in packs.items():
        variable = "cvae" + re.sub(r"\W|_", "", stem.title())
        text = json.dumps(content, separators=(",", ":"))
        head = f"// Made by `python -m {command}`; not edited by hand."
        scripts[Path(out, f"{stem}.js")] = f"{head}\nglobalThis.{variable} = {text};\n".encode()
    Path(out).mkdir(parents=True, exist_ok=True)
    with hold(min(scripts)), write_beside(*scripts) as new:
        for path, script in zip(new, scripts.values(), strict=True):
            path.write_bytes(script)
    return {path.name: len(script) for path, script in scripts.items()}
