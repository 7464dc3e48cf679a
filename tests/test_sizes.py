"""Models of other images and other conditions than MNIST's, through all that the library does with a model."""

import io
from dataclasses import replace
from types import SimpleNamespace

import cvae_lib._tensorflow  # noqa: F401

# isort: split
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from cvae_lib import evaluate, likelihood, plots, widgets
from cvae_lib.animation import animate_digits
from cvae_lib.data import Classes, Cyclic, Joint, Numbers, check_dataset
from cvae_lib.pretrained import load_condition, load_history, load_pretrained
from cvae_lib.training.loop import train
from cvae_lib.training.recipes import Recipe

RECIPE = Recipe(n_hidden=24, batch_size=40, learning_rate=0.01, epochs=6)  # 40 divides none of the training sets
Z1, Z2 = (-1.0, 0.0, 1.0), (-1.5, 1.5)  # of a grid


def small_digits():
    """Grey images of 8 x 8 pixels, of ten classes that nobody names."""
    pixels, y = load_digits(return_X_y=True)
    pixels = (pixels * 255 / 16).astype("uint8").reshape(-1, 8, 8)
    return check_dataset(split(pixels[:450], y[:450]), "scikit-learn's digits")


def colour_letters():
    """Colour images of 12 x 20 pixels, of 26 classes with names."""
    rng = np.random.default_rng(0)
    y = np.arange(390) % 26
    pixels = rng.integers(0, 200, (26, 12, 20, 3))[y] + rng.integers(0, 55, (390, 12, 20, 3))
    names = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    return check_dataset(split(pixels.astype("uint8"), y), "letters", condition=Classes(names))


def measured_spots():
    """Grey images of 10 x 14 pixels, each with a spot whose place and brightness are three real numbers."""
    rng = np.random.default_rng(0)
    y = rng.uniform(-1, 1, (390, 3))
    down, right = np.mgrid[-1:1:10j, -1:1:14j]
    distance = (down - y[:, 0, None, None]) ** 2 + (right - y[:, 1, None, None]) ** 2
    pixels = (180 + 70 * y[:, 2, None, None]) * np.exp(-8 * distance)
    condition = Numbers(("down", "right", "brightness"))
    return check_dataset(split(pixels.astype("uint8"), y), "spots", condition=condition)


def coloured_bars():
    """Colour images of 9 x 13 pixels with a bar across or upright, whose hue is an angle: two attributes at once."""
    rng = np.random.default_rng(0)
    y = np.column_stack([np.arange(390) % 2, rng.uniform(0, 360, 390)])
    shape = np.stack([np.abs(np.arange(9) - 4)[:, None] + np.zeros(13), np.zeros((9, 1)) + np.abs(np.arange(13) - 6)])
    colour = 0.5 + 0.5 * np.cos(np.deg2rad(y[:, 1, None] - [0, 120, 240]))
    pixels = 250 * (shape[y[:, 0].astype(int)] < 2)[..., None] * colour[:, None, None]
    condition = Joint((Classes(("across", "upright"), "bar"), Cyclic(("hue",))))
    return check_dataset(split(pixels.astype("uint8"), y), "bars", condition=condition)


def split(pixels, y):
    n = len(y) - 60
    return {"x_train": pixels[:n], "y_train": y[:n], "x_test": pixels[n:], "y_test": y[n:]}


CASES = {
    **{make.__name__: (make, "dense") for make in (small_digits, colour_letters, measured_spots, coloured_bars)},
    **{f"{make.__name__}, convolutional": (make, "convolutional") for make in (small_digits, coloured_bars)},
}


@pytest.fixture(scope="module", params=CASES)
def trained(request, tmp_path_factory):
    """The data, the model that was trained on them and loaded again, and the history of its training."""
    (make, network), folder = CASES[request.param], tmp_path_factory.mktemp("models")
    data = make()
    history = train(replace(RECIPE, network=network), data, folder, "own", verbose=0, jit_compile=False)
    assert load_history("own", folder) == history and load_condition("own", folder) == data.condition
    return SimpleNamespace(data=data, model=load_pretrained("own", folder), history=history)


@pytest.fixture
def decode(trained):
    return lambda z, label: evaluate.decode(trained.model, z, label)


@pytest.fixture
def encode(trained):
    return lambda x, label: evaluate.encode(trained.model, x, label)


def test_the_loaded_model_is_the_trained_one(trained):
    """Its losses on the test images are those that the last epoch wrote down, up to the draws of z."""
    data, history = trained.data, trained.history
    rng = np.random.default_rng(0)
    elbo = evaluate.sampled_elbo(trained.model, data.x_test, data.label_test, 40, rng).mean(axis=1)
    assert -elbo.mean() == pytest.approx(history["val_loss"][-1], abs=5 * elbo.std() + 1e-3)
    assert history["val_loss"][-1] < 0.95 * history["val_loss"][0]


def test_the_label_tells_something(trained):
    """Under the labels of other images the test images are less probable, whatever the labels are made of."""
    data, grid = trained.data, likelihood.make_grid(5, 30)
    own = likelihood.log_likelihood(trained.model, data.x_test, data.label_test, grid)
    others = likelihood.log_likelihood(trained.model, data.x_test, np.roll(data.label_test, 7, axis=0), grid)
    assert own.mean() > others.mean() + 1


def test_the_sum_over_the_plane_is_between_the_bounds(trained):
    """The ELBO is below log p(x | y), and the bound with many samples very near to it."""
    model, x, label = trained.model, trained.data.x_test[:4], trained.data.label_test[:4]
    grid, codes = likelihood.make_grid(6, 90), evaluate.encode(model, x, label)
    exact = likelihood.log_likelihood(model, x, label, grid)
    assert (likelihood.elbo(model, x, label, *codes, grid) < exact).all()
    log_w = likelihood.log_weights(model, x, label, *codes, 1000, np.random.default_rng(0))
    np.testing.assert_allclose(likelihood.importance_bound(log_w, 1000), exact, atol=0.5)
    np.testing.assert_allclose(likelihood.posterior(model, x, label, grid).sum(axis=1), 1, rtol=1e-9)


def test_each_label_has_a_score(trained):
    model, x, labels = trained.model, trained.data.x_test[:5], trained.data.label_test[:7]
    grid = likelihood.make_grid(5, 30)
    scores = evaluate.score_labels(model, x, labels, grid)
    assert scores.shape == (5, 7)
    np.testing.assert_allclose(np.diag(scores), likelihood.log_likelihood(model, x, labels[:5], grid), rtol=1e-6)


def test_figures_show_its_pictures(trained, decode):
    data = trained.data
    figure = plots.show_digits(data.x_test[:3], image_shape=data.image_shape)
    for axis, picture in zip(figure.axes, data.x_test, strict=False):
        np.testing.assert_array_equal(axis.images[0].get_array(), picture.reshape(data.image_shape))
    z = np.array([[z1, z2] for z1 in Z1 for z2 in Z2])
    pictures = decode(z, data.label_test[[0] * 6])
    figure = plots.show_grid(pictures.reshape(3, 2, -1), Z1, Z2, image_shape=data.image_shape)
    sheet, (height, width, *_) = figure.axes[0].images[0].get_array(), data.image_shape
    assert sheet.shape == (3 * height, 2 * width, *data.image_shape[2:])
    np.testing.assert_array_equal(sheet[2 * height :, width:], pictures[5].reshape(data.image_shape))


def test_figures_show_its_classes(trained, encode):
    """Those of its condition, the first of several attributes, or, where that is numbers, two of our own."""
    data, names, y = trained.data, trained.data.condition.names, trained.data.y_test
    if isinstance(data.condition, Joint):
        names, y = data.condition.parts[0].names, y[:, 0].astype(int)
    if isinstance(data.condition, Numbers):
        names, y = ("dim", "bright"), (y[:, 2] > 0).astype(int)
    z_mean, _ = encode(data.x_test, data.label_test)
    by_class = plots.plot_latent_by_class(z_mean, y, names)
    legend = plots.plot_latent(z_mean, y, names).axes[0].get_legend()
    confusion = plots.plot_confusion(np.ones((len(names), len(names))), names)
    assert [axis.get_title() for axis in by_class.axes] == list(names)
    for texts in (legend.get_texts(), confusion.axes[0].get_xticklabels()):
        assert [text.get_text() for text in texts] == list(names)


def list_moves(one):
    """New values for each control that has one, by its name: along a slider, the first and the last choice."""
    ends = {
        "slider": lambda told: (told["min"], (told["min"] + told["max"]) / 2, told["max"]),
        "choice": lambda told: (0, len(told["options"]) - 1),
    }
    return {told["name"]: ends[told["kind"]](told) for told in one.controls if told["kind"] in ends}


@pytest.fixture
def panels(trained, encode, decode):
    """The panels of its condition, with the codes of the test images in the plane."""
    data, names = trained.data, trained.data.condition.names
    z_mean, _ = encode(data.x_test, data.label_test)
    settings = {"image_shape": data.image_shape, "codes": (z_mean, data.y_test)}
    if isinstance(data.condition, Numbers):
        ranged = widgets.explore_condition(decode, data.condition, image_shape=data.image_shape)
        return [ranged, widgets.explore_numbers(decode, dict.fromkeys(names, (-1, 1)), **settings)]
    if isinstance(data.condition, Joint):
        settings["codes"] = (z_mean, data.y_test[:, 0].astype(int))
        return [widgets.explore_condition(decode, data.condition, by=[data.condition.columns[0]], **settings)]
    return [
        widgets.explore_condition(decode, data.condition, **settings),
        widgets.explore_classes(decode, names, **settings),
        widgets.explore_blends(decode, names=names, **settings),
        widgets.restyle_digits(encode, decode, data.x_test[:9], data.y_test[:9], names, **settings),
    ]


def test_every_control_changes_the_picture_and_back(panels):
    for one in panels:
        start, before = dict(one.values), one.picture
        for name, ends in list_moves(one).items():
            pictures = []
            for end in ends:
                one.move({name: end})
                pictures.append(one.picture)
            assert len(set(pictures)) > 1, name  # a hue ends where it begins
            one.move(start)
            assert one.picture == before, name


def test_a_panel_shows_the_picture_of_its_label(trained, panels, decode):
    """The upper ends of the last control of the condition and of both latents."""
    data, one = trained.data, panels[-1 if isinstance(trained.data.condition, Numbers) else 0]
    *_, condition = [name for name in one.values if name not in ("z1", "z2")]
    one.move({name: list_moves(one)[name][-1] for name in (condition, "z1", "z2")})
    label = np.eye(data.n_y)[-1:]  # the last class, or the last number at 1 and the others in the middle, at 0
    if isinstance(data.condition, Joint):
        label = np.array([[1, 0, 1, 0]])  # the first class, and the hue at 360 degrees
    picture = decode(np.full((1, 2), widgets.LIMIT), label).reshape(*data.image_shape[:2], -1)
    png = np.asarray(Image.open(io.BytesIO(one.picture)).convert("RGB")) / 255
    zoom = len(png) // len(picture)
    assert zoom > 1
    np.testing.assert_allclose(png, np.broadcast_to(picture.repeat(zoom, 0).repeat(zoom, 1), png.shape), atol=0.01)


def test_a_film_has_its_shape(trained):
    data = trained.data
    film = Image.open(io.BytesIO(animate_digits(data.x_test[:4], 50, data.image_shape)))
    assert film.n_frames == 4
    height, width = data.image_shape[:2]
    zoom = film.width // width
    assert zoom > 1 and film.width == zoom * width and film.height > zoom * height
    film.seek(3)
    frame = np.asarray(film.convert("RGB"))[: zoom * height : zoom, ::zoom] / 255
    expected = data.x_test[3].reshape(height, width, -1)
    np.testing.assert_allclose(frame, np.broadcast_to(expected, (height, width, 3)), atol=0.02)
