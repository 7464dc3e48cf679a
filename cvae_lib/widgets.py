"""Sliders for Jupyter. A pure function turns their values into a picture, and a box connects the two.

`explore` builds a box for any model: you give it the sliders of the condition, and a function from their values to the
vector `label`. `explore_classes`, `explore_numbers`, `explore_digits` and `explore_blends` are the usual cases. Each
returns a box whose children are a column of sliders and an image. The sliders work from the keyboard.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ipywidgets
import numpy as np
from numpy.typing import ArrayLike

from cvae_lib.data import one_hot
from cvae_lib.data.mnist import DIGITS, IMAGE_SHAPE
from cvae_lib.pictures import as_pictures, fit_zoom, tile, write_png

SIDE = 224  # pixels of the longer side of a picture on the screen, at most
PICTURES_IN_A_ROW = 5

Decode = Callable[[np.ndarray, np.ndarray], ArrayLike]  # z (n, n_z) and label (n, n_y) to images in [0, 1], (n, n_x)
Encode = Callable[[np.ndarray, np.ndarray], tuple[ArrayLike, ArrayLike]]  # x and label to z_mean and z_log_var


def render(decode: Decode, label: ArrayLike, z: ArrayLike, image_shape: tuple[int, ...] = IMAGE_SHAPE) -> bytes:
    """Decode one code z (n_z,) under one label (n_y,), and return the picture, enlarged, as the bytes of a PNG."""
    image = decode(np.asarray([z], "float32"), np.asarray([label], "float32"))
    return write_png(as_pictures(image, image_shape)[0], fit_zoom(image_shape, SIDE))


def render_digit(decode: Decode, digit: int, z1: float, z2: float) -> bytes:
    """Decode one digit of MNIST at (z1, z2) as `render` does: a grey PNG, each pixel 8 by 8."""
    return render(decode, one_hot(digit), (z1, z2))


def blend_labels(first: int, second: int, amount: float, n_classes: int) -> np.ndarray:
    """Mix the one-hot labels of two classes: amount 0 is the first class, 1 the second. Returns (n_classes,)."""
    return (1 - amount) * one_hot(first, n_classes) + amount * one_hot(second, n_classes)


def render_restyle(
    encode: Encode,
    decode: Decode,
    image: ArrayLike,
    y: int,
    n_classes: int = DIGITS.n_y,
    image_shape: tuple[int, ...] = IMAGE_SHAPE,
) -> bytes:
    """Encode an image (n_x,) as class y, decode its code under all labels, and return all as the bytes of a PNG.

    The first row holds the image and its reconstruction. The rows below hold the code under every label, five a row.
    """
    image = np.asarray(image).reshape(1, -1)
    z_mean, _ = encode(image, one_hot([y], n_classes))
    restyled = np.asarray(decode(np.repeat(z_mean, n_classes, axis=0), one_hot(np.arange(n_classes), n_classes)))
    rows = 1 + -(-n_classes // PICTURES_IN_A_ROW)
    places = np.zeros((rows * PICTURES_IN_A_ROW, image.size))
    places[0], places[1] = image[0], restyled[y]
    places[PICTURES_IN_A_ROW : PICTURES_IN_A_ROW + n_classes] = restyled
    sheet = tile(places.reshape(rows, PICTURES_IN_A_ROW, -1), image_shape)
    return write_png(sheet, fit_zoom(image_shape, SIDE // 2))


def describe_code(encode: Encode, image: ArrayLike, y: int, names: Sequence[str] = DIGITS.names) -> str:
    """Write the code of an image (n_x,) as class y in one line: the mean ± the standard deviation of each latent."""
    z_mean, z_log_var = encode(np.asarray(image).reshape(1, -1), one_hot([y], len(names)))
    means, sigmas = np.asarray(z_mean)[0], np.exp(np.asarray(z_log_var)[0] / 2)
    latents = (f"z{i} = {mean:.2f} ± {sigma:.2f}" for i, (mean, sigma) in enumerate(zip(means, sigmas), start=1))
    return f"code as a {names[y]}: {', '.join(latents)}"


def class_slider(description: str, names: Sequence[str], value: int) -> ipywidgets.ValueWidget:
    """Build a slider over the classes that shows their names; its value is the number of the class."""
    if list(names) == [str(k) for k in range(len(names))]:
        return ipywidgets.IntSlider(value=value, min=0, max=len(names) - 1, description=description)
    options = [(name, k) for k, name in enumerate(names)]
    return ipywidgets.SelectionSlider(options=options, index=value, description=description)


def latent_sliders(n_z: int, limit: float) -> list[ipywidgets.FloatSlider]:
    """Build a slider for each latent, from -limit to limit."""
    return [
        ipywidgets.FloatSlider(value=0, min=-limit, max=limit, step=0.1, description=f"z{i}") for i in range(1, n_z + 1)
    ]


def build_image(image_shape: tuple[int, ...], side: int, rows: int = 1, columns: int = 1) -> ipywidgets.Image:
    """Build an empty image widget for a sheet of pictures, none of whose sides is longer than `side`."""
    zoom = fit_zoom(image_shape, side)
    width, height = columns * image_shape[1] * zoom, rows * image_shape[0] * zoom
    return ipywidgets.Image(format="png", width=width, height=height)


def explore(
    decode: Decode,
    controls: Sequence[ipywidgets.ValueWidget],
    make_label: Callable[..., ArrayLike],
    n_z: int = 2,
    limit: float = 2.5,
    image_shape: tuple[int, ...] = IMAGE_SHAPE,
) -> ipywidgets.HBox:
    """Build sliders for the condition and the n_z latents beside the picture that `decode` makes of their values.

    controls: the sliders of the condition. make_label: a function from their values to the vector label (n_y,).
    The latents run from -limit to limit.
    """
    sliders = [*controls, *latent_sliders(n_z, limit)]
    image = build_image(image_shape, SIDE)

    def update(change: Any = None) -> None:
        values = [slider.value for slider in sliders]
        label, z = make_label(*values[: len(controls)]), values[len(controls) :]
        image.value = render(decode, label, z, image_shape)

    for slider in sliders:
        slider.observe(update, names="value")
    update()
    return ipywidgets.HBox([ipywidgets.VBox(sliders), image])


def explore_classes(
    decode: Decode,
    names: Sequence[str],
    n_z: int = 2,
    limit: float = 2.5,
    image_shape: tuple[int, ...] = IMAGE_SHAPE,
    description: str = "class",
    start: int = 0,
) -> ipywidgets.HBox:
    """Build a slider for the class and one for each latent, as `explore` does; `start` is the first class shown."""
    control = class_slider(description, names, start)
    return explore(decode, [control], lambda y: one_hot(y, len(names)), n_z, limit, image_shape)


def explore_numbers(
    decode: Decode,
    ranges: Mapping[str, tuple[float, float]],
    n_z: int = 2,
    limit: float = 2.5,
    image_shape: tuple[int, ...] = IMAGE_SHAPE,
) -> ipywidgets.HBox:
    """Build a slider for each number of the condition and one for each latent, as `explore` does.

    ranges: the lowest and the highest value of each number, by name, in the order of the vector `label`.
    """
    controls = [
        ipywidgets.FloatSlider(
            value=(low + high) / 2, min=low, max=high, step=(high - low) / 50, description=name, readout_format=".3g"
        )
        for name, (low, high) in ranges.items()
    ]
    return explore(decode, controls, lambda *numbers: numbers, n_z, limit, image_shape)


def explore_digits(decode: Decode, limit: float = 2.5) -> ipywidgets.HBox:
    """Build three sliders, for the digit, z1 and z2, beside the digit of MNIST that `decode` makes of them."""
    return explore_classes(decode, DIGITS.names, limit=limit, description="digit", start=3)


def explore_blends(
    decode: Decode,
    limit: float = 2.5,
    names: Sequence[str] = DIGITS.names,
    pair: tuple[int, int] = (4, 9),
    n_z: int = 2,
    image_shape: tuple[int, ...] = IMAGE_SHAPE,
) -> ipywidgets.HBox:
    """Build sliders for two classes, how much of the second there is, and each latent, as `explore` does.

    The blend runs from 0, the first class, to 1, the second. pair: the two classes at the start.
    """
    controls = [
        class_slider("first", names, pair[0]),
        class_slider("second", names, pair[1]),
        ipywidgets.FloatSlider(value=0.5, min=0, max=1, step=0.05, description="blend"),
    ]

    def make_label(first: int, second: int, amount: float) -> np.ndarray:
        return blend_labels(first, second, amount, len(names))

    return explore(decode, controls, make_label, n_z, limit, image_shape)


def restyle_digits(
    encode: Encode,
    decode: Decode,
    images: ArrayLike,
    y: ArrayLike,
    names: Sequence[str] = DIGITS.names,
    image_shape: tuple[int, ...] = IMAGE_SHAPE,
) -> ipywidgets.HBox:
    """Build two sliders, for one of the images (n, n_x) and for its label, beside what `render_restyle` makes of them.

    A new image brings its own label, from y (n,); the slider of the label then changes what the encoder is told.
    Returns a box whose children are a column (the two sliders, and the code in words) and the picture.
    """
    images, y = np.asarray(images), np.asarray(y)
    number = ipywidgets.IntSlider(value=0, min=0, max=len(images) - 1, description="test digit")
    label = class_slider("label", names, int(y[0]))
    code = ipywidgets.Label()
    rows = 1 + -(-len(names) // PICTURES_IN_A_ROW)
    picture = build_image(image_shape, SIDE // 2, rows, PICTURES_IN_A_ROW)

    def update(change: Any = None) -> None:
        image = images[number.value]
        code.value = describe_code(encode, image, label.value, names)
        picture.value = render_restyle(encode, decode, image, label.value, len(names), image_shape)

    def choose(change: Any) -> None:
        own = int(y[number.value])
        if label.value == own:
            update()
        else:
            label.value = own  # which calls update

    number.observe(choose, names="value")
    label.observe(update, names="value")
    update()
    return ipywidgets.HBox([ipywidgets.VBox([number, label, code]), picture])
