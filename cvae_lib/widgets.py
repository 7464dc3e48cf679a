"""Sliders for Jupyter: controls on one side, a pure function from their values to a picture on the other."""

import io

import ipywidgets
import matplotlib.image
import numpy as np

from cvae_lib.data import one_hot

SIDE = 28
ZOOM = 8


def render_digit(decode, digit, z1, z2):
    """Decode one digit at (z1, z2) and return it as the bytes of a grey PNG, each pixel 8 by 8.

    decode maps z (1, 2) and label (1, 10) to pixels in [0, 1], (1, 784).
    """
    pixels = np.asarray(decode(np.array([[z1, z2]], "float32"), one_hot([digit]))).reshape(SIDE, SIDE)
    file = io.BytesIO()
    matplotlib.image.imsave(file, np.kron(pixels, np.ones((ZOOM, ZOOM))), cmap="gray", vmin=0, vmax=1, format="png")
    return file.getvalue()


def explore_digits(decode, limit=2.5):
    """Build three sliders, for the digit, z1 and z2, beside the digit that `decode` makes of them.

    Returns a box whose children are the sliders and the image. The sliders work from the keyboard.
    """
    digit = ipywidgets.IntSlider(value=3, min=0, max=9, description="digit")
    z1 = ipywidgets.FloatSlider(value=0, min=-limit, max=limit, step=0.1, description="z1")
    z2 = ipywidgets.FloatSlider(value=0, min=-limit, max=limit, step=0.1, description="z2")
    image = ipywidgets.Image(format="png", width=SIDE * ZOOM, height=SIDE * ZOOM)

    def update(change=None):
        image.value = render_digit(decode, digit.value, z1.value, z2.value)

    for slider in (digit, z1, z2):
        slider.observe(update, names="value")
    update()
    return ipywidgets.HBox([ipywidgets.VBox([digit, z1, z2]), image])
