"""The panels, with a decoder whose pictures hold what it was asked for: what each control does, without a browser."""

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from IPython.core.formatters import DisplayFormatter
from matplotlib import pyplot as plt
from matplotlib import rc_context
from PIL import Image

from cvae_lib import widgets
from cvae_lib.data import Classes, Cyclic, Joint, Numbers, one_hot
from cvae_lib.widgets import (
    Shown,
    blend_labels,
    button,
    choice,
    describe_code,
    describe_place,
    explore,
    explore_blends,
    explore_classes,
    explore_condition,
    explore_digits,
    explore_numbers,
    pad,
    panel,
    plane,
    play,
    prior_beyond,
    render,
    render_digit,
    render_restyle,
    restyle,
    restyle_digits,
    slider,
)

LETTERS = tuple("abcdefghijklmnopqrstuvwxyz")
COLOUR = (12, 20, 3)
SHAPES = [(28, 28), (8, 8), (12, 20), COLOUR]
LIMIT = 4


def make_decode(shape, asked=None):
    """A decoder whose pictures begin with the entries of the label and then z, brought from ±LIMIT to [0, 1]."""

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
    np.testing.assert_allclose(z, [-1, 2], atol=4 * LIMIT / 255)


def test_a_style_that_the_reader_has_set_changes_no_pixel():
    content = render_digit(decode_digits, 7, -1.0, 2.0)
    with rc_context({"image.origin": "lower", "image.cmap": "hot", "savefig.dpi": 30, "figure.dpi": 30}):
        assert render_digit(decode_digits, 7, -1.0, 2.0) == content


def test_pictures_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"\(1, 64\)"):
        render(make_decode((8, 8)), np.eye(10)[7], (0, 0))


# A panel and what moves it.


def reach(content):
    """A picture that is no PNG at all: the values, as text."""
    return lambda *values: Shown(repr(values).encode(), content)


def ask(one, moved):
    """Send a panel what the page would, and return those traits that it sends back in its last message."""
    sent = []
    one.send_state = lambda key=None: sent.append({name: getattr(one, name) for name in key})
    one._handle_custom_msg(moved, [])
    del one.send_state
    return sent[-1]


def find(one, name):
    """What the page is told about a control."""
    [found] = [control for control in one.controls if control["name"] == name]
    return found


def test_a_panel_shows_what_its_function_makes_of_the_values():
    controls = [choice("digit", "abc", 2), slider("beta", 0, 4, 1, 0.5), pad("drawing")]
    one = panel(controls, reach("a line"), "A test")
    assert one.values == {"digit": 2, "beta": 1, "drawing": None}
    assert (one.picture, one.text) == (b"(2, 1, None)", "a line")
    sent = one.get_state()
    assert sent["title"] == "A test" and sent["text"] == "a line" and sent["values"] == one.values
    assert [control["name"] for control in sent["controls"]] == ["digit", "beta", "drawing"]
    assert one.alt == "A test: digit c, beta 1.0" and repr(one) == "Panel(digit c, beta 1.0)"
    one.move({"beta": -2.5, "drawing": [0] * 784})
    assert one.picture == repr((2, -2.5, [0] * 784)).encode()
    assert one.alt == "A test: digit c, beta −2.5, drawing"


def test_an_answer_is_one_message():
    """All that the page shows comes at once, with the count that tells it that its question was answered."""
    one = panel([slider("beta", 0, 4, 1)], lambda beta: b"%f" % beta)
    count = one.answers
    answer = ask(one, {"beta": 2})
    assert answer["values"] == {"beta": 2} and base64.b64decode(answer["source"].partition(",")[2]) == b"2.000000"
    assert answer["answers"] == count + 1 and "beta 2.00" in answer["alt"]
    same = ask(one, {"beta": 2})
    assert same["answers"] == count + 2, "a value that is the same is answered too"


def test_an_error_is_said_under_the_picture_and_the_next_move_works():
    one = panel([slider("beta", 0, 4, 1)], lambda beta: b"%d" % (4 / beta))
    answer = ask(one, {"beta": 0})
    assert "ZeroDivisionError: " in answer["text"] and answer["answers"] and one.picture == b"4"
    assert ask(one, {"beta": 2})["text"] == "" and one.picture == b"2"
    with pytest.raises(ZeroDivisionError):
        panel([slider("beta", 0, 4, 0)], lambda beta: b"%d" % (4 / beta))


def test_an_unknown_control_is_refused_by_name():
    one = panel([slider("beta", 0, 4, 1)], reach(""))
    with pytest.raises(ValueError, match=r"found \['gamma'\]; expected some of \['beta'\]"):
        one.move({"beta": 2, "gamma": 1})
    assert one.values == {"beta": 1}


def test_a_control_can_set_others():
    controls = [
        choice("image", "ab", then=lambda image: {"label": 7 + image}),
        slider("label", 0, 9, 0, 1),
        button("Back", lambda: {"label": 0}),
        play("Go", [{"label": 1}, {"label": 2}]),
    ]
    one = panel(controls, reach(""))
    assert one.values == {"image": 0, "label": 0}
    assert ask(one, {"image": 1})["values"] == {"image": 1, "label": 8}
    assert ask(one, {"image": 0, "label": 3})["values"] == {"image": 0, "label": 3}, "the hand comes after the image"
    assert ask(one, {"Back": True})["values"] == {"image": 0, "label": 0}
    for step in find(one, "Go")["steps"]:
        assert ask(one, step)["values"]["label"] == step["label"]


def test_a_figure_is_shown_and_closed():
    def draw(width):
        figure, _ = plt.subplots(figsize=(width, 1))
        return figure

    before = plt.get_fignums()
    one = panel([slider("width", 1, 4, 2)], draw)
    sizes = [Image.open(io.BytesIO(one.picture)).size]
    one.move({"width": 4})
    sizes.append(Image.open(io.BytesIO(one.picture)).size)
    assert sizes[1][0] > 1.5 * sizes[0][0] and plt.get_fignums() == before


@pytest.mark.parametrize(
    "control, words",
    [
        (slider("t", 0, 1), "t 0.50"),
        (slider("t", -1, 1, -0.5, 0.25), "t −0.50"),
        (slider("count", 1, 20, 2, 1), "count 2"),
        (choice("item", ["T-shirt", "bag"]), "item T-shirt"),
    ],
)
def test_values_are_written_in_words(control, words):
    assert control.write(control.value) == words


def test_a_panel_leaves_a_picture_where_there_is_no_kernel():
    """A notebook stores the view, a text that is the same in each run, and the picture as a PNG."""
    one = explore_digits(decode_digits)
    data, _ = DisplayFormatter().format(one)
    assert set(data) == {"application/vnd.jupyter.widget-view+json", "text/plain", "image/png"}
    assert data["text/plain"] == "Panel(digit 3, z1 0.00, z2 0.00)"
    assert base64.b64decode(data["image/png"]) == render_digit(decode_digits, 3, 0, 0)


def test_the_page_and_jupyter_run_the_same_scripts():
    """Those of the folder `explorer`, in the order of the page's loader, then the panel as a module."""
    folder = Path(widgets.__file__).parent / "web"
    loader = (folder.parents[1] / "_extra/explorer/loader.js").read_text(encoding="utf-8")
    shared = [name for name in re.findall(r'"(\w+\.js)"', loader) if (folder / "explorer" / name).exists()]
    assert sorted(shared) == sorted(path.name for path in (folder / "explorer").glob("*.js"))
    texts = [(folder / "explorer" / name).read_text(encoding="utf-8") for name in shared]
    module = explore_digits(decode_digits)._esm
    assert module == "\n".join([*texts, (folder / "panel.js").read_text(encoding="utf-8")])
    assert not re.search(r"https?://(?!www.w3.org)", module), "nothing may come from elsewhere"


# Where z lies.


@pytest.mark.parametrize("n_z", [1, 2, 3, 20])
def test_the_share_of_the_prior_beyond_a_radius_is_that_of_draws(n_z):
    radius = np.linalg.norm(np.random.default_rng(0).standard_normal((100_000, n_z)), axis=1)
    for quantile in (0.1, 0.5, 0.9, 0.99):
        assert prior_beyond(np.quantile(radius, quantile), n_z) == pytest.approx(1 - quantile, abs=0.006)
    assert prior_beyond(0, n_z) == 1


def test_the_place_of_z_is_said_as_on_the_page():
    assert describe_place([1, 0]) == "Radius 1.00: 61 % of the prior lies farther out."
    assert describe_place([0, -3.5]).startswith(
        "Radius 3.50: 0.22 % of the prior lies farther out. Hardly any training"
    )
    assert describe_place([4, 4]).startswith("Radius 5.66: less than 0.01 %")


# A class and latents.


def test_picture_starts_at_the_values_of_the_controls():
    one = explore_digits(decode_digits)
    assert one.values == {"digit": 3, "z1": 0, "z2": 0}
    assert one.picture == render_digit(decode_digits, 3, 0, 0)
    assert one.alt == "The decoded image: digit 3, z1 0.00, z2 0.00"
    assert [control["kind"] for control in one.controls].count("plane") == 1


@pytest.mark.parametrize("which, low, high", [("digit", 0, 9), ("z1", -4, 4), ("z2", -4, 4)])
def test_control_reaches_both_ends_and_moves_the_picture(which, low, high):
    asked = []
    one = explore_digits(make_decode((28, 28), asked))
    told = find(one, which)
    assert which == "digit" or (told["min"], told["max"]) == (low, high)
    assert which != "digit" or told["options"] == [str(digit) for digit in range(10)]
    seen = [one.picture]
    for value in (low, high):
        ask(one, {which: value})
        digit, *z = one.values.values()
        assert asked[-1] == (np.eye(10)[digit].tolist(), z) and one.values[which] == value
        seen.append(one.picture)
    assert len(set(seen)) == 3


def test_buttons_draw_from_the_prior_go_back_and_play():
    one = explore_digits(decode_digits)
    draws = np.array([list(ask(one, {"Draw z from the prior": True})["values"].values())[1:] for _ in range(400)])
    assert abs(draws.mean()) < 0.15 and draws.std() == pytest.approx(1, abs=0.1)
    assert ask(one, {"Go to 0": True})["values"] == {"digit": 3, "z1": 0, "z2": 0}
    steps = find(one, "Play along a circle")["steps"]
    assert {round(np.hypot(step["z1"], step["z2"]), 6) for step in steps} == {1.5}
    pictures = {ask(one, step)["source"] for step in steps}
    assert len(pictures) > 0.9 * len(steps)


def test_a_limit_bounds_latents_and_plane():
    one = explore_digits(decode_digits, limit=2)
    assert [find(one, name)[end] for name in ("z1", "z2") for end in ("min", "max")] == [-2, 2, -2, 2]
    assert find(one, "plane")["limit"] == 2


@pytest.mark.parametrize("n_z", [1, 3, 20])
@pytest.mark.parametrize("shape, zoom", [((28, 28), 8), (COLOUR, 11)], ids=["grey", "colour"])
def test_any_number_of_latents_has_sliders_and_only_two_have_a_plane(n_z, shape, zoom):
    one = explore_classes(make_decode(shape), LETTERS, n_z, image_shape=shape, start=25)
    latents = [f"z{i}" for i in range(1, n_z + 1)]
    assert list(one.values) == ["class", *latents] and "plane" not in [control["kind"] for control in one.controls]
    ask(one, {latents[-1]: -1.5, "class": 1})
    label, z = read_asked(one.picture, 26, n_z, shape, zoom)
    np.testing.assert_allclose(label, np.eye(26)[1], atol=1 / 255)
    np.testing.assert_allclose(z, [0] * (n_z - 1) + [-1.5], atol=2 * LIMIT / 255)
    assert one.alt.startswith("The decoded image: class b, z1 ")
    assert ask(one, {"Draw z from the prior": True})["values"][latents[-1]] != -1.5


# The codes in the plane.

Z = np.arange(20.0).reshape(10, 2) / 10
Z_CLASSES = np.array([0, 2, 2, 0, 0, 2, 2, 2, 0, 2])


def test_the_plane_shows_the_codes_of_the_chosen_class():
    told = find(explore_classes(decode_digits, "abc" + LETTERS[3] * 7, codes=(Z, Z_CLASSES)), "plane")
    assert (told["of"], told["by"]) == (["z1", "z2"], ["class"])
    for k, codes in enumerate(told["codes"]):
        np.testing.assert_allclose(np.reshape(codes, (-1, 2)), Z[Z_CLASSES == k])
    assert told["caption"] == "Each dot is the mean code of a training image with this class."


def test_the_plane_of_a_blend_shows_those_of_two_classes():
    told = find(explore_blends(decode_digits, codes=(Z, Z_CLASSES)), "plane")
    assert told["by"] == ["first", "second"] and "each plus sign" in told["caption"]


def test_without_classes_all_codes_are_shown_and_of_a_class_not_too_many():
    told = find(explore_numbers(make_decode((28, 28)), {"slant": (-1, 1)}, codes=(Z, np.zeros(10))), "plane")
    assert (told["by"], len(told["codes"])) == ([], 1) and len(told["codes"][0]) == 20
    many = plane(["z1", "z2"], (np.zeros((900, 2)), np.repeat([0, 1], 450)), ["digit"]).settings
    assert [len(codes) for codes in many["codes"]] == [600, 600]
    assert plane(["z1", "z2"]).settings["codes"] == []


# A condition of real numbers, and one of the reader's own.


def test_each_part_of_a_condition_has_its_controls():
    """In the unit of the labels: the model is told the scaled number, and the angle as cosine and sine."""
    numbers = Numbers(("year", "size"), (1990.3, 0.021), (8.0, 0.0042))
    condition, asked = Joint((Classes(("a", "b", "c"), "letter"), Cyclic(("hue",)), numbers)), []
    one = explore_condition(make_decode((28, 28), asked), condition, n_z=1)
    assert one.values == {"letter": 0, "hue": 0, "year": 1990, "size": pytest.approx(0.021), "z1": 0}
    assert one.alt == "The decoded image: letter a, hue 0, year 1990, size 0.0210, z1 0.00"
    assert [find(one, "hue")[end] for end in ("min", "max")] == [0, 360]
    assert [find(one, "year")[end] for end in ("min", "max", "step")] == [1966, 2014, 1]
    assert [find(one, "size")[end] for end in ("min", "max")] == pytest.approx([0.0084, 0.0336], abs=1e-4)
    ask(one, {"letter": 2, "hue": 90, "year": 2006, "size": 0.0126})
    label, _ = asked[-1]
    np.testing.assert_allclose(label, [0, 0, 1, 0, 1, (2006 - 1990.3) / 8, -2], atol=1e-5)


def test_a_condition_of_classes_alone_has_buttons():
    asked = []
    one = explore_condition(make_decode((28, 28), asked), Classes(("a", "b"), "letter"), n_z=1)
    ask(one, {"letter": 1})
    assert asked[-1] == ([0, 1], [0])


def test_each_number_of_a_condition_has_a_slider():
    asked = []
    ranges = {"slant": (-0.5, 0.5), "width": (2, 5), "ink": (50, 150)}
    one = explore_numbers(make_decode((28, 28), asked), ranges, n_z=1)
    assert {name: (find(one, name)["min"], find(one, name)["max"]) for name in ranges} == ranges
    assert asked[-1] == ([0, 3.5, 100], [0])
    for name, value in zip([*ranges, "z1"], (0.5, 2, 150, -2.5)):
        steps = (value - one.values[name]) / find(one, name)["step"]
        assert steps == pytest.approx(round(steps)), "the keys reach both ends"
        ask(one, {name: value})
    assert asked[-1] == ([0.5, 2, 150], [-2.5])


def test_controls_of_ones_own_make_the_label():
    asked = []
    controls = [choice("on", ["no", "yes"], 1), slider("x", 0, 1, 0.25), play("Go", [{"x": 1}])]
    decode = make_decode((8, 8), asked)
    one = explore(decode, controls, lambda on, x: [on, x, 1 - x], n_z=1, image_shape=(8, 8))
    assert asked[-1] == ([1, 0.25, 0.75], [0])
    ask(one, {"on": 0})
    assert asked[-1] == ([0, 0.25, 0.75], [0])


# The blend of two classes.


@pytest.mark.parametrize("amount, digit", [(0, 4), (1, 9)])
def test_both_ends_of_a_blend_are_pure_classes(amount, digit):
    np.testing.assert_array_equal(blend_labels(4, 9, amount, 10), one_hot(digit))


def test_a_blend_shares_the_label_between_two_classes():
    np.testing.assert_allclose(blend_labels(4, 9, 0.25, 26), 0.75 * np.eye(26)[4] + 0.25 * np.eye(26)[9])
    np.testing.assert_allclose(blend_labels(6, 6, 0.35, 10), np.eye(10)[6])


def test_each_control_of_a_blend_moves_the_picture():
    one = explore_blends(decode_digits)
    assert one.values == {"first": 4, "second": 9, "blend": 0.5, "z1": 0, "z2": 0}
    seen = [one.picture]
    for moved in ({"first": 0}, {"second": 1}, {"blend": 0.2}, {"blend": 1}, {"z1": 4}, {"z2": -4}):
        ask(one, moved)
        first, second, amount, *z = one.values.values()
        assert one.picture == render(decode_digits, blend_labels(first, second, amount, 10), z)
        seen.append(one.picture)
    assert len(set(seen)) == 7
    amounts = [step["blend"] for step in find(one, "Play from the first to the second")["steps"]]
    assert (amounts[0], amounts[-1]) == (0, 1) and amounts == sorted(amounts)


def test_letters_blend_too():
    one = explore_blends(make_decode(COLOUR), names=LETTERS, pair=(0, 25), image_shape=COLOUR)
    assert "first a, second z" in one.alt
    ask(one, {"second": 1, "blend": 0.2})
    label, _ = read_asked(one.picture, 26, 2, COLOUR, 11)
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
        np.testing.assert_allclose(z, [IMAGES[1, 0], 6 / 9], atol=2 * LIMIT / 255)
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


def test_losses_of_a_restyled_image_are_those_of_its_own_label():
    found = restyle(fake_encode, decode_digits, IMAGES[1], 6)
    x, p = IMAGES[1], np.clip(found.images[6], 1e-12, 1)
    with np.errstate(divide="ignore"):
        expected = -np.sum(np.where(x > 0, x * np.log(p), 0) + np.where(x < 1, (1 - x) * np.log(1 - p), 0))
    assert found.reconstruction_loss == pytest.approx(expected)
    mean, sigma = found.mean, np.array([0.5, 0.25])
    np.testing.assert_allclose(found.sigma, sigma)
    assert found.kl_loss == pytest.approx(0.5 * np.sum(sigma**2 + mean**2 - 1 - np.log(sigma**2)))


def restyler(**options):
    return restyle_digits(fake_encode, decode_digits, IMAGES, Y, **options)


def test_restyling_starts_with_the_first_image_under_its_own_label():
    one = restyler()
    assert one.values == {"test image": 0, "label": 7, "drawing": None}
    assert find(one, "test image")["options"] == ["7, number 1", "2, number 2", "2, number 3"]
    assert one.picture == render_restyle(fake_encode, decode_digits, IMAGES[0], 7)
    assert re.match(r"Reconstruction loss (\d+\.\d|inf) nats, KL loss \d+\.\d nats, sum ", one.text)
    assert one.text.endswith(describe_code(fake_encode, IMAGES[0], 7))
    first, second, third = one.captions
    assert first == ["image", "reconstruction"] and second == list("01234")
    assert third == ["5", "6", "7, the label", "8", "9"]


def test_the_images_to_choose_are_shown():
    content = base64.b64decode(find(restyler(), "test image")["pictures"][1].partition(",")[2])
    shown = np.asarray(Image.open(io.BytesIO(content)).convert("L")) / 255
    np.testing.assert_allclose(shown, IMAGES[1].reshape(28, 28), atol=2 / 255)


def test_a_new_image_brings_its_own_label_and_another_label_changes_what_is_told():
    one = restyler()
    for image in (1, 2, 0):
        answer = ask(one, {"test image": image})
        assert answer["values"]["label"] == Y[image]
        assert one.picture == render_restyle(fake_encode, decode_digits, IMAGES[image], Y[image])
    seen = {one.picture}
    for label in (0, 9):
        assert ask(one, {"label": label})["values"] == {"test image": 0, "label": label, "drawing": None}
        assert one.picture == render_restyle(fake_encode, decode_digits, IMAGES[0], label)
        seen.add(one.picture)
    assert len(seen) == 3


def test_a_drawing_takes_the_place_of_the_image_and_an_image_that_of_the_drawing():
    one = restyler()
    drawing = (np.arange(784) % 256).tolist()
    answer = ask(one, {"drawing": drawing})
    assert answer["values"] == {"test image": None, "label": 7, "drawing": drawing}
    assert one.picture == render_restyle(fake_encode, decode_digits, np.array(drawing) / 255, 7)
    assert ask(one, {"test image": 1})["values"] == {"test image": 1, "label": 2, "drawing": None}
    ask(one, {"drawing": drawing})
    cleared = ask(one, {"drawing": None})
    assert cleared["text"].startswith("There is nothing to encode yet.") and cleared["posterior"] is None
    assert not np.asarray(Image.open(io.BytesIO(one.picture)).convert("L")).any()
    ask(one, {"label": 3})
    assert one.text.startswith("There is nothing to encode yet.")


def test_the_plane_shows_the_posterior_and_the_codes_of_the_label():
    one = restyler(codes=(Z, Z_CLASSES))
    told = find(one, "plane")
    assert (told["of"], told["by"], len(told["codes"])) == ([], ["label"], 3)
    ask(one, {"test image": 1})
    np.testing.assert_allclose(one.posterior, [[IMAGES[1, 0], 2 / 9], [0.5, 0.25]], atol=1e-6)


def test_letters_are_restyled_under_their_names_without_a_pad():
    images, y = np.linspace(0, 1, 2 * 720).reshape(2, 720), np.array([25, 1])
    one = restyle_digits(fake_encode, make_decode(COLOUR), images, y, LETTERS, COLOUR)
    assert one.values == {"test image": 0, "label": 25}
    ask(one, {"test image": 1})
    assert "code as a b: z1 = 0.50" in one.text and one.captions[1][1] == "b, the label"
    assert one.picture == render_restyle(fake_encode, make_decode(COLOUR), images[1], 1, 26, COLOUR)


def test_a_model_of_three_latents_is_restyled_without_a_plane():
    def encode(x, label):
        return np.zeros((len(x), 3), "float32"), np.zeros((len(x), 3), "float32")

    one = restyle_digits(encode, decode_digits, IMAGES, Y)
    assert "plane" not in [control["kind"] for control in one.controls] and one.posterior is None
    assert "z3 = 0.00 ± 1.00" in one.text
