"""The figures: what is drawn where, in which style, for images of any shape and any number of classes."""

import base64
import inspect
import io
import itertools

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from IPython.core.formatters import DisplayFormatter
from IPython.core.pylabtools import print_figure
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.markers import MarkerStyle
from PIL import Image

from cvae_lib import plots

matplotlib.use("Agg")
pytestmark = pytest.mark.filterwarnings("error")

LETTERS = tuple("abcdefghijklmnopqrstuvwxyz")
COLOUR = (12, 20, 3)
rng = np.random.default_rng(0)
Z, Y = rng.normal(size=(60, 2)), np.arange(60) % 10
Y26 = np.arange(60) % 26
IMAGES = rng.uniform(size=(6, 784))
SMALL = rng.uniform(size=(6, 64))
COLOURED = rng.uniform(size=(6, 720))
COUNTS = np.arange(100).reshape(10, 10)

# Each function that draws: a usual call first, then the least it must handle, then other shapes and 26 classes.
CALLS = {
    "show_digits": [
        ((IMAGES, list("abcdef"), 4), {}),
        ((IMAGES[0], ["a"]), {}),
        ((SMALL,), {"image_shape": (8, 8)}),
        ((COLOURED, list("abcdef")), {"image_shape": COLOUR}),
    ],
    "show_grid": [
        ((IMAGES.reshape(2, 3, 784), [-1, 1], [-2, 0, 2], "title"), {}),
        ((IMAGES[:1, None], [0], [0]), {}),
        ((SMALL.reshape(2, 3, 64), [-1, 1], [-2, 0, 2]), {"image_shape": (8, 8)}),
        ((COLOURED.reshape(2, 3, 720), [-1, 1], [-2, 0, 2]), {"image_shape": COLOUR}),
    ],
    "show_grids": [
        (({"a": IMAGES.reshape(2, 3, 784), "b": IMAGES.reshape(2, 3, 784)}, [-1, 1], [-2, 0, 2]), {}),
        (({"a": IMAGES[:1, None]}, [0], [0]), {}),
        (({"a": COLOURED.reshape(2, 3, 720)}, [-1, 1], [-2, 0, 2]), {"image_shape": COLOUR}),
    ],
    "plot_latent": [((Z, Y), {}), ((Z[:1], [0], ["a"]), {}), ((Z, Y26, LETTERS), {})],
    "plot_latents": [(({"a": Z, "b": -Z}, Y), {}), (({"a": Z[:1]}, [0], ["a"]), {}), (({"a": Z}, Y26, LETTERS), {})],
    "plot_latent_by_class": [((Z, Y), {}), ((Z[:1], [0], ["a"]), {}), ((Z, Y26, LETTERS), {})],
    "plot_confusion": [((COUNTS,), {}), (([[2]], "a"), {}), ((np.eye(26, k=1), LETTERS), {})],
    "plot_lines": [
        (({"a": {"x": ([0, 1], [2, 3])}, "b": {"x": ([0, 1], [3, 4])}}, "epoch"), {}),
        (({"a": {"x": ([0], [2])}}, ""), {}),
    ],
    "plot_intervals": [
        (({"a": {"x": (1, 0, 2), "y": (-1, -2, 0)}, "b": {"y": (0, 0, 0)}}, "nats"), {}),
        (({"a": {"x": (1, 1, 1)}}, ""), {}),
    ],
    "plot_bars": [(([1, 2], ["a", "b"], "class", "nats"), {}), (([1], ["a"], "class", "nats"), {})],
}


@pytest.fixture(autouse=True)
def close_figures():
    """A figure that a failed test left open is not the next one's."""
    yield
    plt.close("all")


def images_of(figure):
    return [image for axis in figure.axes for image in axis.images]


def test_each_function_that_draws_is_tested_here():
    functions = {name for name, value in vars(plots).items() if inspect.isfunction(value)}
    assert {name for name in functions if name.startswith(("show_", "plot_"))} == set(CALLS)


@pytest.mark.parametrize("name, call", [(name, call) for name, calls in CALLS.items() for call in calls])
def test_figure_is_closed_and_can_be_drawn(name, call):
    """An open figure would be shown a second time by the cell that made it."""
    before = matplotlib.rcParams.copy()
    figure = getattr(plots, name)(*call[0], **call[1])
    assert isinstance(figure, Figure) and plt.get_fignums() == []
    figure.canvas.draw()
    assert matplotlib.rcParams == before


# In inches, of the usual call: what is larger is made smaller by a page, and its text with it.
SIZES = {
    "show_digits": (4, 2.6),
    "show_grid": (5, 5),
    "show_grids": (8.4, 4.5),
    "plot_latent": (6.8, 6),
    "plot_latents": (8.4, 4.9),
    "plot_latent_by_class": (8.5, 4.2),
    "plot_confusion": (6.6, 5.2),
    "plot_lines": (5.8, 2.5),
    "plot_intervals": (5.6, 3.8),
    "plot_bars": (6, 2.6),
}


@pytest.mark.parametrize("name", CALLS)
def test_figure_has_the_size_for_which_its_text_is_chosen(name):
    arguments, options = CALLS[name][0]
    assert getattr(plots, name)(*arguments, **options).get_size_inches().tolist() == pytest.approx(SIZES[name])


@pytest.mark.parametrize("name", ["plot_latent", "plot_latents", "plot_lines", "plot_intervals"])
def test_a_legend_stands_beside_the_panels_and_near_them(name):
    """A cell stores a figure with all that stands around it, so a legend far away would leave a white stripe."""
    figure = getattr(plots, name)(*CALLS[name][0][0])
    figure.canvas.draw()
    (legend,) = [box.get_window_extent() for box in figure.legends] or [figure.axes[0].get_legend().get_window_extent()]
    panels = [axis.get_tightbbox() if figure.legends else axis.get_window_extent() for axis in figure.axes]
    if name == "plot_latent":
        gap, off = legend.x0 - panels[0].x1, legend.y0 + legend.y1 - panels[0].y0 - panels[0].y1
    else:
        gap = min(panel.y0 for panel in panels) - legend.y1
        off = legend.x0 + legend.x1 - figure.bbox.x0 - figure.bbox.x1
    assert -0.05 * figure.dpi < gap < 0.3 * figure.dpi and abs(off) < 0.1 * figure.dpi


# The style and the backend of the reader.

HOSTILE = {
    "font.size": 30,
    "font.family": "monospace",
    "mathtext.fontset": "cm",
    "text.usetex": True,
    "text.color": "red",
    "xtick.labelsize": 25,
    "xtick.major.size": 20,
    "ytick.color": "red",
    "axes.titlelocation": "left",
    "axes.unicode_minus": False,
    "axes.formatter.limits": (0, 0),
    "axes.facecolor": "red",
    "axes.grid": True,
    "axes.xmargin": 0.4,
    "legend.frameon": True,
    "lines.marker": "o",
    "image.origin": "lower",
    "image.cmap": "hot",
    "image.interpolation": "bilinear",
    "image.aspect": "auto",
    "figure.constrained_layout.use": True,
    "figure.dpi": 40,
    "figure.facecolor": "black",
    "savefig.facecolor": "black",
    "savefig.pad_inches": 2,
}


def draw_all():
    """The pixels of a small figure of each function, as IPython stores them."""
    return {name: print_figure(getattr(plots, name)(*calls[1][0])) for name, calls in CALLS.items()}


@pytest.fixture(scope="module")
def usual_pixels():
    return draw_all()


@pytest.mark.parametrize("settings", [HOSTILE, plt.style.library["dark_background"]], ids=["settings", "dark"])
def test_a_style_that_the_reader_has_set_changes_no_pixel(usual_pixels, settings):
    """Neither while a figure is made nor later, when the notebook draws it: matplotlib reads some settings then."""
    with matplotlib.rc_context(settings):
        pixels = draw_all()
    assert [name for name in pixels if pixels[name] != usual_pixels[name]] == []


def test_a_figure_of_a_chapter_is_in_the_same_style():
    @plots.styled
    def plot_here(x):
        """A docstring."""
        figure, axis = plt.subplots()
        axis.plot(x, label="x")
        axis.legend()
        return figure

    usual = print_figure(plot_here([1, 2, 4]))
    with matplotlib.rc_context(HOSTILE):
        assert print_figure(plot_here([1, 2, 4])) == usual
    assert (plot_here.__name__, plot_here.__doc__) == ("plot_here", "A docstring.")


def test_a_notebook_shows_the_figure_whatever_the_backend_and_on_a_light_ground():
    """IPython shows matplotlib's figures only if the environment has not chosen another backend, such as Agg.

    JupyterLab, VS Code and nbconvert put a light ground behind an output that asks for it.
    """
    figure = plots.plot_bars([1, 2], ["a", "b"], "class", "nats")
    data, metadata = DisplayFormatter().format(figure)
    assert data["text/plain"].startswith("<Figure size ") and metadata["needs_background"] == "light"
    assert base64.b64decode(data["image/png"]) == print_figure(figure)


# Light and dark pages.

GROUNDS = {"light": ("#ffffff", plots.PALETTE), "dark": ("#121212", tuple(plots.ON_DARK.values()))}  # the theme's
INK = plots.PALETTE.index(plots.INK)
# How eyes without the receptors for red or for green see linear red, green and blue (Machado et al., 2009).
EYES = {
    "all receptors": np.eye(3),
    "no red": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "no green": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
}


def linear(colour):
    values = np.array(to_rgb(colour))
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def contrast(colour, other):
    """The ratio that WCAG defines."""
    dark, light = sorted(linear(one) @ [0.2126, 0.7152, 0.0722] for one in (colour, other))
    return (light + 0.05) / (dark + 0.05)


def oklab(light):
    """Linear red, green and blue in a space where distances are as large as they look (Ottosson, 2020)."""
    cones = [[0.4122, 0.5363, 0.0514], [0.2119, 0.6807, 0.1074], [0.0883, 0.2817, 0.6300]]
    axes = [[0.2105, 0.7936, -0.0041], [1.9780, -2.4286, 0.4506], [0.0259, 0.7828, -0.8087]]
    return np.array(axes) @ np.cbrt(np.array(cones) @ np.clip(light, 0, 1))


@pytest.mark.parametrize("ground, colours", GROUNDS.values(), ids=GROUNDS)
def test_ten_colours_stand_out_from_the_page_and_text_can_be_read(ground, colours):
    assert len(set(colours)) == 10 and colours[INK] in (plots.INK, plots.ON_DARK[plots.INK])
    assert min(contrast(colour, ground) for colour in colours) >= 3
    assert contrast(colours[INK], ground) >= 7


@pytest.mark.parametrize("colours", [colours for _, colours in GROUNDS.values()], ids=GROUNDS)
@pytest.mark.parametrize("eyes", EYES)
def test_no_two_of_ten_colours_look_alike(colours, eyes):
    seen = [oklab(EYES[eyes] @ linear(colour)) for colour in colours]
    nearest = min(np.linalg.norm(one - other) for one, other in itertools.combinations(seen, 2))
    assert nearest > (0.07 if eyes == "all receptors" else 0.015)


def pixels_of(figure):
    return np.asarray(Image.open(io.BytesIO(print_figure(figure))).convert("RGBA"))


@pytest.mark.parametrize("name", [name for name in CALLS if name.startswith("plot_")])
def test_nothing_is_black_or_white_but_what_lies_on_a_ground_of_its_own(name):
    """On a dark page ink becomes light, while black would stay black; only the figures on a table's cells are."""
    pixels = pixels_of(getattr(plots, name)(*CALLS[name][0][0])).reshape(-1, 4)
    drawn = pixels[pixels[:, 3] > 200]
    assert pixels[0, 3] == 0, "the ground is not transparent"
    ink = np.array(to_rgb(plots.INK)) * 255
    assert (np.abs(drawn[:, :3] - ink).max(axis=1) < 2).any(), "nothing is in ink"
    if name != "plot_confusion":
        assert not ((drawn[:, :3] < 10).all(axis=1) | (drawn[:, :3] > 250).all(axis=1)).any()


# Images.


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


@pytest.mark.parametrize(
    "images, shape", [(IMAGES, (28, 28)), (SMALL, (8, 8)), (COLOURED, COLOUR), (COLOURED[:, :240], (12, 20))]
)
def test_images_are_shown_in_reading_order_below_their_titles(images, shape):
    figure = plots.show_digits(images[:5], titles=list("abcde"), columns=3, image_shape=shape)
    shown = [axis for axis in figure.axes if axis.images]
    assert [axis.get_title() for axis in shown] == list("abcde")
    for axis, image in zip(shown, images):
        np.testing.assert_array_equal(axis.images[0].get_array(), image.reshape(shape))
    left_top = [(axis.get_position().x0, axis.get_position().y1) for axis in shown]
    assert left_top[0][0] < left_top[1][0] < left_top[2][0] and left_top[0][1] > left_top[3][1]
    assert not any(axis.axison for axis in figure.axes)


def test_images_that_are_not_square_fill_their_places():
    """In a place that is as high as wide, pictures twice as wide as high would leave half of the page empty."""
    wide = plots.show_digits(np.zeros((4, 128)), columns=2, image_shape=(8, 16))
    assert wide.get_figheight() == pytest.approx((0.5 + 0.05) * wide.get_figwidth())


def test_images_of_another_size_are_refused():
    """49 images of 8 by 8 have as many pixels as four of 28 by 28."""
    with pytest.raises(ValueError, match="image_shape"):
        plots.show_digits(np.zeros((49, 64)))


@pytest.mark.parametrize("shape", [(28, 28), (8, 8), COLOUR])
def test_grid_has_z1_downwards_and_z2_to_the_right(shape):
    z1, z2 = [-1.5, 0.25], [-2, 0, 2]
    height, width = shape[:2]
    images = np.arange(6.0).reshape(2, 3, 1) / 6 * np.ones(np.prod(shape))
    figure = plots.show_grid(images, z1, z2, "the title", image_shape=shape)
    assert figure.axes[0].get_title() == "the title"
    axis, sheet = figure.axes[0], figure.axes[0].images[0].get_array()
    assert axis.get_ylabel() == "$z_1$" and axis.get_xlabel() == "$z_2$"
    assert [label.get_text() for label in axis.get_yticklabels()] == ["-1.50", "0.25"]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["-2.00", "0.00", "2.00"]
    # Each tick is at the middle of its pictures, and rows run down the page.
    for i, row in enumerate(axis.get_yticks()):
        for j, column in enumerate(axis.get_xticks()):
            assert (row % height, column % width) == ((height - 1) / 2, (width - 1) / 2)
            assert np.all(sheet[int(row), int(column)] == images[i, j, 0])
    bottom, top = axis.get_ylim()
    assert bottom > top and axis.get_xlim()[0] < axis.get_xlim()[1]


def test_grids_stand_side_by_side_with_every_second_value():
    images = np.arange(6.0).reshape(2, 3, 1) / 6 * np.ones(64)
    figure = plots.show_grids({"one": images, "other": 1 - images}, [-1, 1], [-2, 0, 2], image_shape=(8, 8))
    assert [axis.get_title() for axis in figure.axes] == ["one", "other"]
    for axis, sign in zip(figure.axes, (1, -1)):
        sheet = axis.images[0].get_array()
        assert [label.get_text() for label in axis.get_xticklabels()] == ["-2.00", "2.00"]
        assert [label.get_text() for label in axis.get_yticklabels()] == ["-1.00"]
        assert [sign * (sheet[4, int(x)] - sheet[4, 4]) for x in axis.get_xticks()] == pytest.approx([0, 2 / 6])


# Codes in the latent plane.


def drawn_points(axis):
    """The points on an axis as rows (z1, z2), one array a class."""
    lines = [np.stack([line.get_ydata(), line.get_xdata()], axis=1) for line in axis.lines]
    return lines + [np.asarray(cloud.get_offsets())[:, ::-1] for cloud in axis.collections]


def check_latent_axes(axis):
    """As the grids: z1 downwards, z2 to the right, on one scale."""
    bottom, top = axis.get_ylim()
    assert (bottom, top) == (4.2, -4.2) and axis.get_xlim() == (top, bottom)
    assert axis.get_aspect() == 1


def marker_path(marker):
    glyph = MarkerStyle(marker)
    return glyph.get_path().transformed(glyph.get_transform()).vertices


def test_latent_plane_is_drawn_as_the_grids_are():
    figure = plots.plot_latent(np.array([[1.0, 2.0], [-3.0, 0.5]]), np.array([4, 7]))
    axis = figure.axes[0]
    check_latent_axes(axis)
    assert axis.get_ylabel() == "$z_1$" and axis.get_xlabel() == "$z_2$"
    np.testing.assert_array_equal(np.concatenate(drawn_points(axis)), [[1, 2], [-3, 0.5]])
    assert [circle.get_radius() for circle in axis.patches] == [1, 2, 3]


CLASSES = {
    "digits": (Y, plots.NAMES, "0123456789"),
    "letters": (Y26, LETTERS, LETTERS),
    "words": (Y % 3, ("shoe", "T-shirt", "a_b^$"), "012"),
}


@pytest.mark.parametrize("y, names, glyphs", CLASSES.values(), ids=CLASSES)
def test_each_class_has_its_marker_and_its_colour(y, names, glyphs):
    """A marker is the class's short name or its number, and the legend shows it beside the name."""
    axis = plots.plot_latent(Z, y, names).axes[0]
    clouds, legend = axis.collections, axis.get_legend()
    assert len(clouds) == len(legend.get_texts()) == len(names)
    for k, (cloud, points, glyph) in enumerate(zip(clouds, drawn_points(axis), glyphs)):
        np.testing.assert_array_equal(points, Z[y == k])
        handle = legend.legend_handles[k]
        np.testing.assert_array_equal(cloud.get_paths()[0].vertices, marker_path(rf"$\mathrm{{{glyph}}}$"))
        np.testing.assert_array_equal(cloud.get_paths()[0].vertices, marker_path(handle.get_marker()))
        assert to_rgb(cloud.get_facecolor()[0]) == to_rgb(handle.get_color()) == to_rgb(plots.PALETTE[k % 10])
        assert legend.get_texts()[k].get_text() == names[k]


def test_no_two_classes_look_alike():
    """Colours repeat after ten classes; then the marker is another one."""
    clouds = plots.plot_latent(Z, Y26, LETTERS).axes[0].collections
    looks = {(to_rgb(cloud.get_facecolor()[0]), cloud.get_paths()[0].vertices.tobytes()) for cloud in clouds}
    assert len(looks) == 26


@pytest.mark.parametrize("names, y", [(plots.NAMES, Y), (LETTERS, Y26), (LETTERS[:3], Y % 3)])
def test_panels_hold_one_class_each(names, y):
    figure = plots.plot_latent_by_class(Z, y, names)
    assert len(figure.axes) == len(names)
    for k, axis in enumerate(figure.axes):
        check_latent_axes(axis)
        assert axis.get_title() == names[k]
        np.testing.assert_array_equal(np.concatenate(drawn_points(axis)), Z[y == k])
        assert axis.lines[0].get_color() == plots.PALETTE[k % 10]


@pytest.mark.parametrize("n_classes", [3, 7, 10])
def test_every_row_and_column_of_panels_has_its_axis_once(n_classes):
    """Also where the last row is not full: the panels above its gap name their axis themselves."""
    axes = plots.plot_latent_by_class(Z, Y % 3, LETTERS[:n_classes]).axes
    columns = min(5, n_classes)
    assert [bool(axis.get_ylabel()) for axis in axes] == [k % columns == 0 for k in range(n_classes)]
    assert [bool(axis.get_xlabel()) for axis in axes] == [k + columns >= n_classes for k in range(n_classes)]


def test_planes_stand_side_by_side_with_one_legend():
    figure = plots.plot_latents({"one": Z, "other": -Z}, Y26, LETTERS)
    assert [axis.get_title() for axis in figure.axes] == ["one", "other"]
    for axis, sign in zip(figure.axes, (1, -1)):
        check_latent_axes(axis)
        for k, points in enumerate(drawn_points(axis)):
            np.testing.assert_array_equal(points, sign * Z[Y26 == k])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(LETTERS)
    figure.canvas.draw()
    legend = figure.legends[0].get_window_extent()
    assert all(axis.get_tightbbox().y0 >= legend.y1 for axis in figure.axes), "the legend covers a panel"


@pytest.mark.parametrize("plot", [plots.plot_latent, plots.plot_latent_by_class])
def test_codes_that_would_be_left_out_are_refused(plot):
    with pytest.raises(ValueError, match="found 0 to 25 in y; expected 0 to 9"):
        plot(Z, Y26)
    with pytest.raises(ValueError, match=r"found z \(60, 3\)"):
        plot(np.zeros((60, 3)), Y)
    with pytest.raises(ValueError, match=r"y \(59,\)"):
        plot(Z, Y[1:])


# Tables, lines and bars.


@pytest.mark.parametrize("n_classes", [2, 10, 26])
def test_confusion_shows_each_count_at_its_row_and_column(n_classes):
    counts = rng.integers(0, 4, (n_classes, n_classes)) + 90 * np.eye(n_classes, dtype=int)
    names = LETTERS[:n_classes]
    figure = plots.plot_confusion(counts, names, "answer", "label", "images", "title")
    axis, bar = figure.axes
    assert (axis.get_xlabel(), axis.get_ylabel(), axis.get_title()) == ("answer", "label", "title")
    assert bar.get_ylabel() == "images"
    assert tuple(label.get_text() for label in axis.get_xticklabels()) == names
    assert tuple(label.get_text() for label in axis.get_yticklabels()) == names
    written = {text.get_position()[::-1]: text.get_text() for text in axis.texts}
    assert written == {place: str(count) for place, count in np.ndenumerate(counts) if count}
    colours = axis.images[0].get_array()
    assert colours.mask.tolist() == np.eye(n_classes, dtype=bool).tolist(), "the diagonal would outshine the rest"
    assert axis.images[0].get_clim()[1] == max(1, colours.max())
    bottom, top = axis.get_ylim()
    assert bottom > top, "the first class is at the top"


def test_numbers_of_a_confusion_can_be_read_on_their_cells():
    """White on the dark end of the colour map, black on the bright end and on the grey diagonal."""
    axis = plots.plot_confusion([[3, 4], [10, 3]], "ab").axes[0]
    assert {text.get_text(): text.get_color() for text in axis.texts} == {"3": "black", "4": "white", "10": "black"}


def test_a_confusion_of_other_classes_is_refused():
    with pytest.raises(ValueError, match=r"\(26, 26\)"):
        plots.plot_confusion(np.eye(26))


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


def test_a_fifth_line_is_refused():
    with pytest.raises(ValueError, match="found 5 labels"):
        plots.plot_lines({"loss": {f"seed {seed}": ([1], [1]) for seed in range(5)}}, "epoch")


def test_intervals_lie_on_the_lines_of_their_names():
    """From low to high with the mean as a mark; a name that only the second series has gets a line below the others."""
    series = {
        "loss": {"depth": (-1.5, -2.0, -1.25), "width": (0.5, -0.25, 1.0)},
        "gap": {"width": (0.25, 0.0, 0.5), "batch": (3.0, 2.0, 5.0)},
    }
    figure = plots.plot_intervals(series, "change, nats")
    (axis,) = figure.axes
    names = dict(zip(axis.get_yticks(), [label.get_text() for label in axis.get_yticklabels()]))
    assert [names[height] for height in sorted(names, reverse=True)] == ["depth", "width", "batch"]
    assert axis.get_xlabel() == "change, nats" and axis.lines[0].get_xdata() == [0, 0]
    heights, looks = {}, set()
    for drawn, (label, rows) in zip(axis.containers, series.items(), strict=True):
        marks, _, (bars,) = drawn.lines
        assert drawn.get_label() == label and marks.get_xdata().tolist() == [mean for mean, _, _ in rows.values()]
        assert [tuple(bar[:, 0]) for bar in bars.get_segments()] == [(low, high) for _, low, high in rows.values()]
        assert [names[round(height)] for height in marks.get_ydata()] == list(rows)
        heights[label] = dict(zip(rows, marks.get_ydata()))
        looks |= {(marks.get_color(), marks.get_marker())}
    assert heights["loss"]["width"] > heights["gap"]["width"] and len(looks) == 2
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(series)
    assert not plots.plot_intervals({"loss": series["loss"]}, "").legends


def test_a_fifth_series_of_intervals_is_refused():
    with pytest.raises(ValueError, match="found 5 series"):
        plots.plot_intervals({f"seed {seed}": {"depth": (1, 0, 2)} for seed in range(5)}, "nats")


def test_bars_are_as_high_as_their_values():
    axis = plots.plot_bars([3, 1.5, 2], ["a", "b", "c"], "class", "nats").axes[0]
    assert [bar.get_height() for bar in axis.patches] == [3, 1.5, 2]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["a", "b", "c"]
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("class", "nats")
