"""The figures: what is drawn where, in which style."""

import inspect

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.markers import MarkerStyle

from cvae_lib import plots

matplotlib.use("Agg")
pytestmark = pytest.mark.filterwarnings("error")

rng = np.random.default_rng(0)
Z, Y = rng.normal(size=(60, 2)), np.arange(60) % 10
IMAGES = rng.uniform(size=(6, 784))

# Each function that draws, with a usual call and with the least it must handle: one image, one point, one bar.
CALLS = {
    "show_digits": [(IMAGES, list("abcdef"), 4), (IMAGES[:1],), (IMAGES[0],)],
    "show_grid": [(IMAGES.reshape(2, 3, 784), [-1, 1], [-2, 0, 2], "title"), (IMAGES[:1, None], [0], [0])],
    "plot_latent": [(Z, Y), (Z[:1], Y[:1])],
    "plot_latent_by_class": [(Z, Y), (Z[:1], Y[:1])],
    "plot_lines": [
        ({"a": {"x": ([0, 1], [2, 3])}, "b": {"x": ([0, 1], [3, 4])}}, "epoch"),
        ({"a": {"x": ([0], [2])}}, ""),
    ],
    "plot_bars": [([1, 2], ["a", "b"], "class", "nats"), ([1], ["a"], "class", "nats")],
}


@pytest.fixture(autouse=True)
def close_figures():
    """A figure that a failed test left open is not the next one's."""
    yield
    plt.close("all")


def images_of(figure):
    return [image for axis in figure.axes for image in axis.images]


def test_each_function_that_draws_is_tested_here():
    """The figures are what takes arrays: `tile`, `styled` and `set_latent_axes` are their parts."""
    public = {
        name for name, value in vars(plots).items() if inspect.isfunction(value) and value.__module__ == plots.__name__
    }
    assert public - {"tile", "styled", "set_latent_axes"} == set(CALLS)


@pytest.mark.parametrize("name, arguments", [(name, call) for name, calls in CALLS.items() for call in calls])
def test_figure_is_closed_and_can_be_drawn(name, arguments):
    """An open figure would be shown a second time by the cell that made it."""
    before = matplotlib.rcParams.copy()
    figure = getattr(plots, name)(*arguments)
    assert isinstance(figure, Figure) and plt.get_fignums() == []
    assert matplotlib.rcParams == before
    figure.canvas.draw()


def test_tile_keeps_rows_and_columns():
    """A picture is its row and column, and its own pixels are not transposed."""
    images = np.zeros((2, 3, 784))
    for row in range(2):
        for column in range(3):
            images[row, column] = 10 * row + column
    images[1, 2, 1 * 28 + 20] = -1
    sheet = plots.tile(images)
    assert sheet.shape == (2 * 28, 3 * 28)
    for row in range(2):
        for column in range(3):
            assert sheet[28 * row, 28 * column] == sheet[28 * row + 27, 28 * column + 27] == 10 * row + column
    assert np.argwhere(sheet == -1).tolist() == [[28 + 1, 56 + 20]]


@pytest.mark.parametrize(
    "draw",
    [lambda: plots.show_digits(0.5 * IMAGES[:2]), lambda: plots.show_grid(0.5 * IMAGES[None, :2], [0], [0, 1])],
    ids=["show_digits", "show_grid"],
)
def test_pixels_are_grey_sharp_and_on_one_scale(draw):
    """With a scale of its own, a faint picture would look as dark as a clear one; with smoothing, not like pixels."""
    images = images_of(draw())
    assert images
    for image in images:
        assert image.get_cmap().name == "gray"
        assert image.get_interpolation() == "none"
        assert image.get_clim() == (0, 1)
        assert image.origin == "upper"


def test_digits_are_shown_in_reading_order_below_their_titles():
    figure = plots.show_digits(IMAGES[:5], titles=list("abcde"), columns=3)
    shown = [axis for axis in figure.axes if axis.images]
    assert [axis.get_title() for axis in shown] == list("abcde")
    for axis, image in zip(shown, IMAGES):
        np.testing.assert_array_equal(axis.images[0].get_array(), image.reshape(28, 28))
    left_top = [(axis.get_position().x0, axis.get_position().y1) for axis in shown]
    assert left_top[0][0] < left_top[1][0] < left_top[2][0] and left_top[0][1] > left_top[3][1]
    assert not any(axis.axison for axis in figure.axes)


def test_grid_has_z1_downwards_and_z2_to_the_right():
    z1, z2 = [-1.5, 0.25], [-2, 0, 2]
    images = np.arange(6.0).reshape(2, 3, 1) / 6 * np.ones(784)
    figure = plots.show_grid(images, z1, z2)
    axis, sheet = figure.axes[0], figure.axes[0].images[0].get_array()
    assert axis.get_ylabel() == "$z_1$" and axis.get_xlabel() == "$z_2$"
    assert [label.get_text() for label in axis.get_yticklabels()] == ["-1.50", "0.25"]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["-2.00", "0.00", "2.00"]
    # Each tick is at the middle of its pictures, and rows run down the page.
    for i, row in enumerate(axis.get_yticks()):
        for j, column in enumerate(axis.get_xticks()):
            assert row % 28 == column % 28 == 13.5
            assert sheet[int(row), int(column)] == images[i, j, 0]
    bottom, top = axis.get_ylim()
    assert bottom > top and axis.get_xlim()[0] < axis.get_xlim()[1]


def drawn_points(axis):
    """The points on an axis as rows (z1, z2), one array a class."""
    lines = [np.stack([line.get_ydata(), line.get_xdata()], axis=1) for line in axis.lines]
    return lines + [np.asarray(cloud.get_offsets())[:, ::-1] for cloud in axis.collections]


def check_latent_axes(axis):
    """As the grids: z1 downwards, z2 to the right, on one scale."""
    bottom, top = axis.get_ylim()
    left, right = axis.get_xlim()
    assert bottom > top and left < right and bottom == right == -left == -top
    assert axis.get_aspect() == 1


def test_latent_plane_is_drawn_as_the_grids_are():
    figure = plots.plot_latent(np.array([[1.0, 2.0], [-3.0, 0.5]]), np.array([4, 7]))
    axis = figure.axes[0]
    check_latent_axes(axis)
    assert axis.get_ylabel() == "$z_1$" and axis.get_xlabel() == "$z_2$"
    np.testing.assert_array_equal(np.concatenate(drawn_points(axis)), [[1, 2], [-3, 0.5]])
    assert [circle.get_radius() for circle in axis.patches] == [1, 2, 3]


def test_each_class_has_its_digit_and_its_colour():
    axis = plots.plot_latent(Z, Y).axes[0]
    clouds, legend = axis.collections, axis.get_legend()
    assert len(clouds) == 10
    for digit, (cloud, points) in enumerate(zip(clouds, drawn_points(axis))):
        np.testing.assert_array_equal(points, Z[Y == digit])
        glyph, handle = MarkerStyle(f"${digit}$"), legend.legend_handles[digit]
        shape = glyph.get_path().transformed(glyph.get_transform())
        np.testing.assert_array_equal(cloud.get_paths()[0].vertices, shape.vertices)
        assert handle.get_marker() == f"${digit}$"
        assert to_rgb(cloud.get_facecolor()[0]) == to_rgb(handle.get_color()) == to_rgb(plots.PALETTE[digit])
        assert legend.get_texts()[digit].get_text() == f"digit {digit}"


def test_panels_hold_one_class_each():
    figure = plots.plot_latent_by_class(Z, Y)
    assert len(figure.axes) == 10
    for digit, axis in enumerate(figure.axes):
        check_latent_axes(axis)
        assert axis.get_title() == f"digit {digit}"
        np.testing.assert_array_equal(np.concatenate(drawn_points(axis)), Z[Y == digit])
        assert axis.lines[0].get_color() == plots.PALETTE[digit]


def test_lines_keep_their_style_from_panel_to_panel():
    x = [1, 2]
    panels = {
        "loss": {"training": (x, [5, 4]), "validation": (x, [6, 5])},
        "KL": {"validation": (x, [1, 2]), "third": (x, [0, 1]), "fourth": (x, [2, 1])},
    }
    figure = plots.plot_lines(panels, "epoch")
    styles = {}
    for axis, (title, lines) in zip(figure.axes, panels.items()):
        assert axis.get_title() == title and axis.get_xlabel() == "epoch"
        for line, (label, (_, y)) in zip(axis.lines, lines.items(), strict=True):
            np.testing.assert_array_equal(line.get_ydata(), y)
            style = line.get_color(), line.get_linestyle(), line.get_label()
            assert styles.setdefault(label, style) == style
    assert len({style[0] for style in styles.values()}) == len(styles) == 4
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(styles)


def test_bars_are_as_high_as_their_values():
    axis = plots.plot_bars([3, 1.5, 2], ["a", "b", "c"], "class", "nats").axes[0]
    assert [bar.get_height() for bar in axis.patches] == [3, 1.5, 2]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["a", "b", "c"]
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("class", "nats")


def test_ten_colours_differ():
    colours = np.array([to_rgb(colour) for colour in plots.PALETTE])
    distance = np.linalg.norm(colours[:, None] - colours[None], axis=-1)
    assert colours.shape == (10, 3) and distance[~np.eye(10, dtype=bool)].min() > 0.2
