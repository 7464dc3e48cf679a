"""The sliders and the picture beside them, with a decoder whose pictures hold what it was asked for."""

import io

import ipywidgets
import numpy as np
import pytest
from matplotlib import rc_context
from PIL import Image

from cvae_lib.data import one_hot
from cvae_lib.widgets import (
    blend_labels,
    describe_code,
    explore,
    explore_blends,
    explore_classes,
    explore_digits,
    explore_numbers,
    render,
    render_digit,
    render_restyle,
    restyle_digits,
)

LETTERS = tuple("abcdefghijklmnopqrstuvwxyz")
COLOUR = (12, 20, 3)
SHAPES = [(28, 28), (8, 8), (12, 20), COLOUR]
LIMIT = 2.5


def make_decode(shape, asked=None):
    """A decoder whose pictures begin with the entries of the label and then z, brought from ±2.5 to [0, 1]."""

    def decode(z, label):
        assert isinstance(z, np.ndarray) and isinstance(label, np.ndarray) and len(z) == len(label)
        assert z.dtype == label.dtype == np.float32
        if asked is not None:
            asked.append((label[0].tolist(), z[0].tolist()))
        pictures = np.full((len(z), np.prod(shape)), 0.3)
        told = np.concatenate([label, (z + LIMIT) / (2 * LIMIT)], axis=1)
        pictures[:, : told.shape[1]] = told
        return pictures

    return decode


decode_digits = make_decode((28, 28))


def read_picture(content, shape, zoom, place=(0, 0)):
    """The picture in [0, 1] of this shape in one place of a PNG, each of whose pixels must be a square."""
    content = bytes(content)
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    pixels = np.asarray(Image.open(io.BytesIO(content)).convert("RGB")) / 255
    (height, width), (row, column) = shape[:2], place
    pixels = pixels[row * height * zoom :, column * width * zoom :][: height * zoom, : width * zoom]
    blocks = pixels.reshape(height, zoom, width, zoom, 3)
    assert (blocks == blocks[:, :1, :, :1]).all()
    picture = blocks[:, 0, :, 0]
    if len(shape) == 2:
        assert (picture == picture[..., :1]).all(), "grey"
        picture = picture[..., 0]
    return picture


def read_asked(content, n_y, n_z=2, shape=(28, 28), zoom=8, place=(0, 0)):
    """What `make_decode`'s decoder was asked for, read from one place of a PNG: label (n_y,) and z (n_z,)."""
    numbers = read_picture(content, shape, zoom, place).ravel()
    return numbers[:n_y], numbers[n_y : n_y + n_z] * 2 * LIMIT - LIMIT


def find_parts(box):
    sliders, image = box.children
    return *sliders.children, image


# Rendering.


@pytest.mark.parametrize("shape, zoom", list(zip(SHAPES, (8, 28, 11, 11))))
def test_picture_shows_the_decoded_pixels(shape, zoom):
    """Each pixel is a square, the first row at the top; grey values are not stretched to black and white."""
    label, z = np.array([0.25, 1, 0]), np.array([-1.0, 2.0, 0.5])
    shown = read_picture(render(make_decode(shape), label, z, shape), shape, zoom)
    expected = make_decode(shape)(z[None].astype("float32"), label[None].astype("float32"))
    np.testing.assert_allclose(shown, expected.reshape(shape), atol=2 / 255)


def test_a_digit_is_rendered_under_its_label():
    content = render_digit(decode_digits, 7, -1.0, 2.0)
    assert content == render(decode_digits, np.eye(10)[7], (-1, 2))
    label, z = read_asked(content, 10)
    np.testing.assert_allclose(label, np.eye(10)[7], atol=1 / 255)
    np.testing.assert_allclose(z, [-1, 2], atol=2 * 5 / 255)


def test_a_style_that_the_reader_has_set_changes_no_pixel():
    content = render_digit(decode_digits, 7, -1.0, 2.0)
    with rc_context({"image.origin": "lower", "image.cmap": "hot", "savefig.dpi": 30, "figure.dpi": 30}):
        assert render_digit(decode_digits, 7, -1.0, 2.0) == content


def test_pictures_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"\(1, 64\)"):
        render(make_decode((8, 8)), np.eye(10)[7], (0, 0))


# A class and latents.


def test_image_starts_at_the_values_of_the_sliders():
    digit, z1, z2, image = find_parts(explore_digits(decode_digits))
    assert image.value == render_digit(decode_digits, digit.value, z1.value, z2.value)
    assert (int(image.width), int(image.height)) == (224, 224) and image.format == "png"


@pytest.mark.parametrize("which, low, high", [(0, 0, 9), (1, -2.5, 2.5), (2, -2.5, 2.5)], ids=["digit", "z1", "z2"])
def test_slider_reaches_both_ends_and_moves_the_picture(which, low, high):
    asked = []
    parts = find_parts(explore_digits(make_decode((28, 28), asked)))
    slider, image = parts[which], parts[3]
    assert (slider.min, slider.max) == (low, high)
    seen = [image.value]
    for value in (low, high):
        slider.value = value
        digit, *z = (part.value for part in parts[:3])
        assert asked[-1] == (np.eye(10)[digit].tolist(), z) and [digit, *z][which] == value
        label, code = read_asked(image.value, 10)
        assert [label.argmax(), *code][which] == pytest.approx(value, abs=2 * 5 / 255)
        seen.append(image.value)
    assert len(set(seen)) == 3


@pytest.mark.parametrize("which, step", [(0, 1), (1, 0.1), (2, 0.1)], ids=["digit", "z1", "z2"])
def test_keys_step_through_the_whole_range(which, step):
    """An arrow key moves a slider by its step: from the start both ends are whole steps away, and each step shows."""
    parts = find_parts(explore_digits(decode_digits))
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
    digit, z1, z2, _ = find_parts(explore_digits(decode_digits, limit=1.5))
    assert (z1.min, z1.max, z2.min, z2.max) == (-1.5, 1.5, -1.5, 1.5)
    assert (digit.min, digit.max) == (0, 9)


@pytest.mark.parametrize("shape, zoom, n_z", [((8, 8), 28, 3), (COLOUR, 11, 5)])
def test_classes_have_names_and_every_latent_a_slider(shape, zoom, n_z):
    asked = []
    box = explore_classes(make_decode(shape, asked), LETTERS, n_z=n_z, image_shape=shape, start=2)
    letter, *latents, image = find_parts(box)
    assert [slider.description for slider in latents] == [f"z{i + 1}" for i in range(n_z)]
    assert (int(image.width), int(image.height)) == (shape[1] * zoom, shape[0] * zoom)
    assert (letter.description, letter.label, letter.value) == ("class", "c", 2)
    letter.label = "z"
    for i, slider in enumerate(latents):
        slider.value = slider.min + i
    label, z = read_asked(image.value, 26, n_z, shape, zoom)
    np.testing.assert_allclose(label, np.eye(26)[25], atol=1 / 255)
    np.testing.assert_allclose(z, [-LIMIT + i for i in range(n_z)], atol=2 * 5 / 255)
    assert asked[-1] == (np.eye(26)[25].tolist(), [-LIMIT + i for i in range(n_z)])


# A condition of real numbers, and one of the reader's own.


def test_each_number_of_a_condition_has_a_slider():
    asked = []
    ranges = {"slant": (-0.5, 0.5), "width": (2, 5), "ink": (50, 150)}
    box = explore_numbers(make_decode((28, 28), asked), ranges, n_z=1)
    *numbers, z1, image = find_parts(box)
    assert {slider.description: (slider.min, slider.max) for slider in numbers} == ranges
    assert asked[-1] == ([0, 3.5, 100], [0])
    for slider, value in zip([*numbers, z1], (0.5, 2, 150, -2.5)):
        steps = (value - slider.value) / slider.step
        assert steps == pytest.approx(round(steps)), "the keys reach both ends"
        slider.value = value
    assert asked[-1] == ([0.5, 2, 150], [-2.5])


def test_sliders_of_ones_own_make_the_label():
    asked = []
    checkbox, number = ipywidgets.Checkbox(value=True), ipywidgets.FloatSlider(value=0.25, min=0, max=1)
    controls = [checkbox, number]
    box = explore(make_decode((8, 8), asked), controls, lambda on, x: [on, x, 1 - x], n_z=1, image_shape=(8, 8))
    assert asked[-1] == ([1, 0.25, 0.75], [0]) and box.children[0].children[:2] == (checkbox, number)
    checkbox.value = False
    assert asked[-1] == ([0, 0.25, 0.75], [0])


# The blend of two classes.

BLENDS = {"first": (0, 9), "second": (0, 9), "blend": (0, 1), "z1": (-2.5, 2.5), "z2": (-2.5, 2.5)}


@pytest.mark.parametrize("amount, digit", [(0, 4), (1, 9)])
def test_both_ends_of_a_blend_are_pure_classes(amount, digit):
    np.testing.assert_array_equal(blend_labels(4, 9, amount, 10), one_hot(digit))


def test_a_blend_shares_the_label_between_two_classes():
    np.testing.assert_allclose(blend_labels(4, 9, 0.25, 26), 0.75 * np.eye(26)[4] + 0.25 * np.eye(26)[9])
    np.testing.assert_allclose(blend_labels(6, 6, 0.35, 10), np.eye(10)[6])


@pytest.mark.parametrize("name", BLENDS)
def test_blend_slider_reaches_both_ends_and_moves_the_picture(name):
    *sliders, image = find_parts(explore_blends(decode_digits))
    assert [slider.description for slider in sliders] == list(BLENDS)
    slider = sliders[list(BLENDS).index(name)]
    assert (slider.min, slider.max) == BLENDS[name] and not slider.disabled
    seen = []
    for slider.value in reversed(BLENDS[name]):
        first, second, amount, z1, z2 = (one.value for one in sliders)
        assert image.value == render(decode_digits, blend_labels(first, second, amount, 10), (z1, z2))
        seen.append(bytes(image.value))
    assert len(set(seen)) == 2
    steps = (slider.max - slider.min) / slider.step
    assert steps == pytest.approx(round(steps)), "the keys reach both ends"


def test_a_limit_bounds_the_latents_of_a_blend():
    _, _, _, z1, z2, _ = find_parts(explore_blends(decode_digits, limit=1))
    assert (z1.min, z1.max, z2.min, z2.max) == (-1, 1, -1, 1)


def test_letters_blend_too():
    box = explore_blends(make_decode(COLOUR), names=LETTERS, pair=(0, 25), image_shape=COLOUR)
    first, second, blend, z1, z2, image = find_parts(box)
    assert (first.label, second.label) == ("a", "z")
    second.label, blend.value = "b", 0.2
    label, _ = read_asked(image.value, 26, 2, COLOUR, 11)
    np.testing.assert_allclose(label, 0.8 * np.eye(26)[0] + 0.2 * np.eye(26)[1], atol=1 / 255)


# One code under all labels.

IMAGES = np.linspace(0, 1, 3 * 784).reshape(3, 784)
Y = np.array([7, 2, 2])


def fake_encode(x, label):
    """A code that tells the image by its first pixel, and the label: z_mean; sigma is 0.5 and 0.25."""
    assert x.ndim == 2 and len(x) == len(label) == label.sum() == 1
    return np.array([[x[0, 0], label.argmax() / (label.shape[1] - 1)]], "float32"), 2 * np.log([[0.5, 0.25]])


def test_restyled_pictures_share_the_code_and_have_ten_labels():
    content = render_restyle(fake_encode, decode_digits, IMAGES[1], 6)
    for digit in range(10):
        label, z = read_asked(content, 10, zoom=4, place=(1 + digit // 5, digit % 5))
        np.testing.assert_allclose(label, np.eye(10)[digit], atol=1 / 255)
        np.testing.assert_allclose(z, [IMAGES[1, 0], 6 / 9], atol=5 / 255)
    np.testing.assert_allclose(read_asked(content, 10, zoom=4, place=(0, 1))[0], np.eye(10)[6], atol=1 / 255)


@pytest.mark.parametrize("shape, zoom", list(zip(SHAPES, (4, 14, 5, 5))))
def test_the_image_stands_first_and_the_rest_of_its_row_is_empty(shape, zoom):
    image = np.linspace(0, 1, np.prod(shape))
    content = render_restyle(fake_encode, make_decode(shape), image, 6, image_shape=shape)
    height, width = Image.open(io.BytesIO(content)).size[::-1]
    assert (height, width) == (3 * shape[0] * zoom, 5 * shape[1] * zoom)
    np.testing.assert_allclose(read_picture(content, shape, zoom), image.reshape(shape), atol=2 / 255)
    for column in (2, 3, 4):
        assert (read_picture(content, shape, zoom, (0, column)) == 0).all()


def test_26_letters_are_restyled_in_six_rows():
    content = render_restyle(fake_encode, make_decode(COLOUR), np.full(720, 0.5), 25, 26, COLOUR)
    assert Image.open(io.BytesIO(content)).size == (5 * 20 * 5, 7 * 12 * 5)
    for k in (0, 13, 25):
        label, _ = read_asked(content, 26, 2, COLOUR, 5, (1 + k // 5, k % 5))
        np.testing.assert_allclose(label, np.eye(26)[k], atol=1 / 255)


def test_the_code_is_said_in_words():
    assert describe_code(fake_encode, IMAGES[0], 9) == "code as a 9: z1 = 0.00 ± 0.50, z2 = 1.00 ± 0.25"
    words = describe_code(lambda x, label: (np.ones((1, 1)), np.zeros((1, 1))), IMAGES[0], 2, ("cat", "dog", "ox"))
    assert words == "code as a ox: z1 = 1.00 ± 1.00"


def restyle_parts():
    return find_parts(restyle_digits(fake_encode, decode_digits, IMAGES, Y))


def test_restyling_starts_with_the_first_digit_under_its_own_label():
    number, label, code, picture = restyle_parts()
    assert (number.value, label.value) == (0, 7) and (number.min, number.max) == (0, 2)
    assert picture.value == render_restyle(fake_encode, decode_digits, IMAGES[0], 7)
    assert code.value == describe_code(fake_encode, IMAGES[0], 7)
    assert (int(picture.width), int(picture.height)) == (560, 336) and picture.format == "png"


def test_a_new_digit_brings_its_own_label():
    number, label, code, picture = restyle_parts()
    label.value = 0
    for number.value in (1, 2, 0):
        assert label.value == Y[number.value]
        assert picture.value == render_restyle(fake_encode, decode_digits, IMAGES[number.value], Y[number.value])
        assert code.value == describe_code(fake_encode, IMAGES[number.value], Y[number.value])


def test_the_label_of_a_digit_reaches_both_ends_and_changes_code_and_picture():
    number, label, code, picture = restyle_parts()
    assert (label.min, label.max) == (0, 9)
    seen = [(code.value, picture.value)]
    for label.value in (0, 9):
        assert number.value == 0
        assert picture.value == render_restyle(fake_encode, decode_digits, IMAGES[0], label.value)
        seen.append((code.value, picture.value))
    assert len({code for code, _ in seen}) == len({bytes(picture) for _, picture in seen}) == 3


def test_letters_are_restyled_under_their_names():
    images, y = np.linspace(0, 1, 2 * 720).reshape(2, 720), np.array([25, 1])
    box = restyle_digits(fake_encode, make_decode(COLOUR), images, y, LETTERS, COLOUR)
    number, label, code, picture = find_parts(box)
    assert (label.label, int(picture.width), int(picture.height)) == ("z", 500, 420)
    number.value = 1
    assert label.label == "b" and code.value.startswith("code as a b: z1 = 0.50")
    assert picture.value == render_restyle(fake_encode, make_decode(COLOUR), images[1], 1, 26, COLOUR)
