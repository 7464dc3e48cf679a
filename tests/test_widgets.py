"""The sliders and the picture beside them, with a decoder that writes down what it is asked for."""

import io

import ipywidgets
import matplotlib.image
import numpy as np
import pytest

from cvae_lib.widgets import explore_digits, render_digit

ASKED = []


def fake_decode(z, label):
    """A picture whose first three pixels are the digit, z1 and z2, each brought to [0, 1]."""
    assert z.shape == (1, 2) and label.shape == (1, 10) and label.sum() == 1
    digit, (z1, z2) = int(label.argmax()), z[0].tolist()
    ASKED.append((digit, round(z1, 4), round(z2, 4)))
    picture = np.linspace(0.2, 0.6, 784)[None]
    picture[0, :3] = digit / 9, (z1 + 2.5) / 5, (z2 + 2.5) / 5
    return picture


def read_png(content):
    content = bytes(content)
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    picture = matplotlib.image.imread(io.BytesIO(content), format="png")
    assert picture.shape[:2] == (224, 224)
    assert (picture[..., 0] == picture[..., 1]).all() and (picture[..., 0] == picture[..., 2]).all()
    return picture[..., 0]


def find_parts(box):
    sliders, image = box.children
    return *sliders.children, image


def test_picture_shows_the_decoded_pixels():
    """Each pixel is a block of 8 by 8, the first row at the top; grey values are not stretched to black and white."""
    shown = read_png(render_digit(fake_decode, 7, -1.0, 2.0))
    expected = fake_decode(np.array([[-1.0, 2.0]]), np.eye(10)[[7]]).reshape(28, 28)
    blocks = shown.reshape(28, 8, 28, 8)
    assert (blocks == blocks[:, :1, :, :1]).all()
    np.testing.assert_allclose(blocks[:, 0, :, 0], expected, atol=2 / 255)
    assert ASKED[-2] == (7, -1.0, 2.0)


def test_image_starts_at_the_values_of_the_sliders():
    digit, z1, z2, image = find_parts(explore_digits(fake_decode))
    assert image.value == render_digit(fake_decode, digit.value, z1.value, z2.value)
    assert (int(image.width), int(image.height)) == (224, 224) and image.format == "png"


@pytest.mark.parametrize("which, low, high", [(0, 0, 9), (1, -2.5, 2.5), (2, -2.5, 2.5)], ids=["digit", "z1", "z2"])
def test_slider_reaches_both_ends_and_moves_the_picture(which, low, high):
    parts = find_parts(explore_digits(fake_decode))
    slider, image = parts[which], parts[3]
    assert (slider.min, slider.max) == (low, high)
    seen = [image.value]
    for value in (low, high):
        slider.value = value
        assert ASKED[-1] == tuple(part.value for part in parts[:3]) and ASKED[-1][which] == value
        seen.append(image.value)
        pixel = read_png(image.value)[4, 8 * which + 4]
        assert pixel == pytest.approx(float(value == high), abs=2 / 255)
    assert len(set(seen)) == 3


@pytest.mark.parametrize("which, step", [(0, 1), (1, 0.1), (2, 0.1)], ids=["digit", "z1", "z2"])
def test_keys_step_through_the_whole_range(which, step):
    """An arrow key moves a slider by its step: from the start both ends are whole steps away, and each step shows."""
    parts = find_parts(explore_digits(fake_decode))
    slider, image = parts[which], parts[3]
    assert isinstance(slider, (ipywidgets.IntSlider, ipywidgets.FloatSlider)) and not slider.disabled
    assert slider.step == step and slider.description == ("digit", "z1", "z2")[which]
    for end in (slider.min, slider.max):
        steps = (end - slider.value) / step
        assert steps == pytest.approx(round(steps)) and steps != 0
    before = image.value
    slider.value += step
    assert image.value != before
    slider.value -= step
    assert image.value == before


def test_limit_sets_the_range_of_both_latents():
    digit, z1, z2, _ = find_parts(explore_digits(fake_decode, limit=1.5))
    assert (z1.min, z1.max, z2.min, z2.max) == (-1.5, 1.5, -1.5, 1.5)
    assert (digit.min, digit.max) == (0, 9)
