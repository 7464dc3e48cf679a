"""The sliders and the picture beside them, with a decoder that writes down what it is asked for."""

import io

import ipywidgets
import matplotlib.image
import numpy as np
import pytest

from cvae_lib.widgets import (
    describe_code,
    explore_blends,
    explore_digits,
    render_blend,
    render_digit,
    render_restyle,
    restyle_digits,
)

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


# The blend of two digits.

BLENDS = {"digit": (0, 9), "second": (0, 9), "blend": (0, 1), "z1": (-2.5, 2.5), "z2": (-2.5, 2.5)}


def decode_all(z, label):
    """A picture that holds what was asked: pixels 0 to 9 the label, then z1 and z2 brought to [0, 1]."""
    picture = np.full((len(z), 784), 0.3)
    picture[:, :10] = label
    picture[:, 10:12] = (np.asarray(z) + 2.5) / 5
    return picture


def read_asked(content, zoom=8, place=(0, 0)):
    """What `decode_all` was asked for, read from one place of a PNG: label (10,) and z (2,)."""
    picture = matplotlib.image.imread(io.BytesIO(bytes(content)), format="png")[..., 0]
    row, column = place[0] * 28 * zoom, place[1] * 28 * zoom
    pixels = picture[row : row + 28 * zoom : zoom, column : column + 28 * zoom : zoom].ravel()
    return pixels[:10], pixels[10:12] * 5 - 2.5


@pytest.mark.parametrize("amount, digit", [(0, 4), (1, 9)])
def test_both_ends_of_a_blend_are_pure_digits(amount, digit):
    assert render_blend(decode_all, 4, 9, amount, 0.5, -1) == render_digit(decode_all, digit, 0.5, -1)


def test_a_blend_shares_the_label_between_two_digits():
    label, z = read_asked(render_blend(decode_all, 4, 9, 0.25, 0.5, -1))
    np.testing.assert_allclose(label, 0.75 * np.eye(10)[4] + 0.25 * np.eye(10)[9], atol=1 / 255)
    np.testing.assert_allclose(z, [0.5, -1], atol=5 / 255)


def test_a_blend_of_a_digit_with_itself_is_that_digit():
    assert render_blend(decode_all, 6, 6, 0.35, 0, 0) == render_digit(decode_all, 6, 0, 0)


@pytest.mark.parametrize("name", BLENDS)
def test_blend_slider_reaches_both_ends_and_moves_the_picture(name):
    box = explore_blends(decode_all)
    sliders, image = box.children[0].children, box.children[1]
    assert [slider.description for slider in sliders] == list(BLENDS)
    slider = sliders[list(BLENDS).index(name)]
    assert (slider.min, slider.max) == BLENDS[name] and not slider.disabled
    seen = []
    for slider.value in reversed(BLENDS[name]):
        assert image.value == render_blend(decode_all, *(one.value for one in sliders))
        seen.append(bytes(image.value))
    assert len(set(seen)) == 2
    steps = (slider.max - slider.min) / slider.step
    assert steps == pytest.approx(round(steps)), "the keys reach both ends"


def test_a_limit_bounds_the_latents_of_a_blend():
    _, _, _, z1, z2 = explore_blends(decode_all, limit=1).children[0].children
    assert (z1.min, z1.max, z2.min, z2.max) == (-1, 1, -1, 1)


# One code under ten labels.

IMAGES = np.linspace(0, 1, 3 * 784).reshape(3, 784)
Y = np.array([7, 2, 2])


def fake_encode(x, label):
    """A code that tells the image by its first pixel and the label: z_mean; sigma is 0.5 and 0.25."""
    assert x.shape == (1, 784) and label.shape == (1, 10) and label.sum() == 1
    return np.array([[x[0, 0], label.argmax() / 9]]), 2 * np.log([[0.5, 0.25]])


def test_restyled_pictures_share_the_code_and_have_ten_labels():
    content = render_restyle(fake_encode, decode_all, IMAGES[1], 6)
    for digit in range(10):
        label, z = read_asked(content, 4, (1 + digit // 5, digit % 5))
        np.testing.assert_allclose(label, np.eye(10)[digit], atol=1 / 255)
        np.testing.assert_allclose(z, [IMAGES[1, 0], 6 / 9], atol=5 / 255)
    np.testing.assert_allclose(read_asked(content, 4, (0, 1))[0], np.eye(10)[6], atol=1 / 255)


def test_the_image_stands_first_and_the_rest_of_its_row_is_empty():
    picture = matplotlib.image.imread(io.BytesIO(render_restyle(fake_encode, decode_all, IMAGES[1], 6)))[..., 0]
    assert picture.shape == (3 * 112, 5 * 112)
    np.testing.assert_allclose(picture[:112:4, :112:4].ravel(), IMAGES[1], atol=2 / 255)
    assert (picture[:112, 224:] == 0).all()


def test_the_code_is_said_in_words():
    assert describe_code(fake_encode, IMAGES[0], 9) == "code as a 9: z1 = 0.00 ± 0.50, z2 = 1.00 ± 0.25"


def restyle_parts():
    box = restyle_digits(fake_encode, decode_all, IMAGES, Y)
    return *box.children[0].children, box.children[1]


def test_restyling_starts_with_the_first_digit_under_its_own_label():
    number, label, code, picture = restyle_parts()
    assert (number.value, label.value) == (0, 7) and (number.min, number.max) == (0, 2)
    assert picture.value == render_restyle(fake_encode, decode_all, IMAGES[0], 7)
    assert code.value == describe_code(fake_encode, IMAGES[0], 7)
    assert (int(picture.width), int(picture.height)) == (560, 336) and picture.format == "png"


def test_a_new_digit_brings_its_own_label():
    number, label, code, picture = restyle_parts()
    label.value = 0
    for number.value in (1, 2, 0):
        assert label.value == Y[number.value]
        assert picture.value == render_restyle(fake_encode, decode_all, IMAGES[number.value], Y[number.value])
        assert code.value == describe_code(fake_encode, IMAGES[number.value], Y[number.value])


def test_the_label_of_a_digit_reaches_both_ends_and_changes_code_and_picture():
    number, label, code, picture = restyle_parts()
    assert (label.min, label.max) == (0, 9)
    seen = [(code.value, picture.value)]
    for label.value in (0, 9):
        assert number.value == 0
        assert picture.value == render_restyle(fake_encode, decode_all, IMAGES[0], label.value)
        seen.append((code.value, picture.value))
    assert len({code for code, _ in seen}) == len({bytes(picture) for _, picture in seen}) == 3
