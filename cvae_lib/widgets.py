"""Sliders for Jupyter: controls on one side, a pure function from their values to a picture on the other."""

import io

import ipywidgets
import matplotlib.image
import numpy as np

from cvae_lib.data import N_CLASSES, one_hot

SIDE = 28
ZOOM = 8
RESTYLE_ZOOM = 4


def write_png(pixels, zoom):
    """Write grey pixels (rows, columns) in [0, 1] as the bytes of a PNG, each pixel `zoom` by `zoom`."""
    file = io.BytesIO()
    matplotlib.image.imsave(file, np.kron(pixels, np.ones((zoom, zoom))), cmap="gray", vmin=0, vmax=1, format="png")
    return file.getvalue()


def render_digit(decode, digit, z1, z2):
    """Decode one digit at (z1, z2) and return it as the bytes of a grey PNG, each pixel 8 by 8.

    decode maps z (1, 2) and label (1, 10) to pixels in [0, 1], (1, 784).
    """
    return render_blend(decode, digit, digit, 0, z1, z2)


def render_blend(decode, digit, second, amount, z1, z2):
    """Decode a blend of two digits at (z1, z2) as `render_digit` does: amount 0 is the first, 1 the second."""
    label = (1 - amount) * one_hot([digit]) + amount * one_hot([second])
    pixels = decode(np.array([[z1, z2]], "float32"), label.astype("float32"))
    return write_png(np.asarray(pixels).reshape(SIDE, SIDE), ZOOM)


def render_restyle(encode, decode, image, digit):
    """Encode an image (784,) as this digit, decode its code under all ten labels; return all as the bytes of a PNG.

    Three rows of five places: the image and its reconstruction; the code as 0 to 4; the code as 5 to 9.
    encode maps x (1, 784) and label (1, 10) to z_mean and z_log_var, (1, 2); decode as in `render_digit`, for ten.
    """
    z_mean, _ = encode(np.asarray(image).reshape(1, -1), one_hot([digit]))
    restyled = np.asarray(decode(np.repeat(z_mean, N_CLASSES, axis=0), one_hot(np.arange(N_CLASSES))))
    places = np.zeros((15, SIDE, SIDE))
    places[0] = np.asarray(image).reshape(SIDE, SIDE)
    places[1] = restyled[digit].reshape(SIDE, SIDE)
    places[5:] = restyled.reshape(-1, SIDE, SIDE)
    return write_png(places.reshape(3, 5, SIDE, SIDE).swapaxes(1, 2).reshape(3 * SIDE, 5 * SIDE), RESTYLE_ZOOM)


def describe_code(encode, image, digit):
    """Say in a line which code the image (784,) has as this digit: the mean and the spread of its posterior."""
    z_mean, z_log_var = encode(np.asarray(image).reshape(1, -1), one_hot([digit]))
    (m1, m2), (s1, s2) = np.asarray(z_mean)[0], np.exp(np.asarray(z_log_var)[0] / 2)
    return f"code as a {digit}: z1 = {m1:.2f} ± {s1:.2f}, z2 = {m2:.2f} ± {s2:.2f}"


def latent_sliders(limit):
    """Two sliders, for z1 and z2."""
    return [ipywidgets.FloatSlider(value=0, min=-limit, max=limit, step=0.1, description=name) for name in ("z1", "z2")]


def follow(sliders, render):
    """Build a box of these sliders beside the PNG that `render` makes of their values: at once, and at each move."""
    image = ipywidgets.Image(format="png", width=SIDE * ZOOM, height=SIDE * ZOOM)

    def update(change=None):
        image.value = render(*(slider.value for slider in sliders))

    for slider in sliders:
        slider.observe(update, names="value")
    update()
    return ipywidgets.HBox([ipywidgets.VBox(sliders), image])


def explore_digits(decode, limit=2.5):
    """Build three sliders, for the digit, z1 and z2, beside the digit that `decode` makes of them.

    Returns a box whose children are the sliders and the image. The sliders work from the keyboard.
    """
    digit = ipywidgets.IntSlider(value=3, min=0, max=9, description="digit")
    return follow([digit, *latent_sliders(limit)], lambda *values: render_digit(decode, *values))


def explore_blends(decode, limit=2.5):
    """Build five sliders, for two digits, how much of the second there is, z1 and z2, beside the decoded picture.

    Returns a box like that of `explore_digits`. The blend runs from 0, the first digit, to 1, the second.
    """
    digit = ipywidgets.IntSlider(value=4, min=0, max=9, description="digit")
    second = ipywidgets.IntSlider(value=9, min=0, max=9, description="second")
    amount = ipywidgets.FloatSlider(value=0.5, min=0, max=1, step=0.05, description="blend")
    return follow([digit, second, amount, *latent_sliders(limit)], lambda *values: render_blend(decode, *values))


def restyle_digits(encode, decode, images, y):
    """Build two sliders, for one of the images (n, 784) and for its label, beside what `render_restyle` makes of them.

    A new image brings its own label, from y (n,); the label's slider then changes what the encoder is told. Returns a
    box whose children are a column (two sliders and the code in words) and the picture.
    """
    number = ipywidgets.IntSlider(value=0, min=0, max=len(images) - 1, description="test digit")
    label = ipywidgets.IntSlider(value=int(y[0]), min=0, max=9, description="label")
    code = ipywidgets.Label()
    width, height = 5 * SIDE * RESTYLE_ZOOM, 3 * SIDE * RESTYLE_ZOOM
    picture = ipywidgets.Image(format="png", width=width, height=height)

    def update(change=None):
        code.value = describe_code(encode, images[number.value], label.value)
        picture.value = render_restyle(encode, decode, images[number.value], label.value)

    def choose(change):
        own = int(y[number.value])
        if label.value == own:
            update()
        else:
            label.value = own  # which calls update

    number.observe(choose, names="value")
    label.observe(update, names="value")
    update()
    return ipywidgets.HBox([ipywidgets.VBox([number, label, code]), picture])
