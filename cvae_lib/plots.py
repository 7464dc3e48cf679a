"""The figures of the book, all in one style: functions that take arrays and return a matplotlib Figure.

The functions whose names start with `show` or `plot` return a closed Figure, so a cell that ends with one shows it
once. The functions that start with `draw` or `set` draw on an axis, as parts of a figure. `styled` turns a function
of your own into one of the first kind.

Figures have a transparent ground, and their text, axes and black lines have one colour, INK. On the book's dark pages
each figure is shown in a second version, in which ON_DARK says which colour takes the place of which.

Images are flat, (n, n_x), or pictures, (n, *image_shape); their pixels are drawn without interpolation. Classes have
ten colours that colour-blind readers can tell apart. From the eleventh class on the colours repeat, and only the
markers tell the classes apart.
"""

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, ParamSpec

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as MatplotlibFigure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle
from numpy.typing import ArrayLike

from cvae_lib.data.mnist import DIGITS, IMAGE_SHAPE
from cvae_lib.pictures import as_pictures, tile

INK = "#1f2933"  # text, axes and black lines: a colour that no picture of a digit has
# Ten colours: after Tol's "muted", the light ones darkened until they stand out from a white page at 3 : 1, the ratio
# that WCAG asks of graphics; ink for the tenth.
PALETTE = (
    "#332288", "#117733", "#CC6677", "#3E9BC9", "#AA4499",
    "#8A8A2E", "#882255", "#369486", "#B8860B", INK,
)  # fmt: skip
# The colours that stand in their place on a dark page, in the same hues and as far apart from each other.
ON_DARK = dict(
    zip(
        PALETTE,
        (
            "#7F4FD8", "#1E7E04", "#FF9A9C", "#68B9FF", "#CD72C7",
            "#B8A824", "#965979", "#4C9D82", "#FED340", "#ced6dd",
        ),
    )
)  # fmt: skip
STYLE = {
    "figure.dpi": 110,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.prop_cycle": plt.cycler(color=PALETTE),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "axes.titlesize": 10,
    "axes.labelsize": 10,
    "hatch.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "patch.edgecolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "xtick.labelsize": 9,
    "ytick.color": INK,
    "ytick.labelsize": 9,
    "font.size": 10,
    "lines.linewidth": 1.6,
    "image.cmap": "gray",
    "image.interpolation": "none",
}
NAMES = tuple(f"digit {digit}" for digit in DIGITS.names)
PANELS_IN_A_ROW = 5

Parameters = ParamSpec("Parameters")


class Figure(MatplotlibFigure):
    """A figure that a notebook shows whatever the backend: matplotlib itself shows figures for some backends only."""

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, str], dict[str, str]]:
        """Return the figure as a PNG, and ask for a light ground behind it where the notebook's theme is dark."""
        file = io.BytesIO()
        self.canvas.print_figure(file, format="png", dpi=self.dpi, bbox_inches="tight")
        return {"image/png": base64.b64encode(file.getvalue()).decode()}, {"needs_background": "light"}


class Canvas(FigureCanvasAgg):
    """A canvas on which the reader's style has no effect: what matplotlib reads as it draws are its own defaults."""

    def print_figure(self, *args: Any, **kwargs: Any) -> Any:
        with plt.style.context("default"):
            return super().print_figure(*args, **kwargs)


def styled(draw: Callable[Parameters, MatplotlibFigure]) -> Callable[Parameters, MatplotlibFigure]:
    """Draw in the book's style, whatever style the reader has set, and close the figure, so that a cell shows it once.

    Use it as the decorator of a function that makes a figure with `plt.subplots` and returns it.
    """

    @wraps(draw)
    def wrapper(*args: Parameters.args, **kwargs: Parameters.kwargs) -> MatplotlibFigure:
        with plt.style.context(["default", STYLE]):
            figure = draw(*args, **kwargs)
        plt.close(figure)
        figure.__class__ = Figure
        Canvas(figure)
        return figure

    return wrapper


@styled
def show_digits(
    images: ArrayLike,
    titles: Sequence[Any] | None = None,
    columns: int = 10,
    size: float = 1.0,
    image_shape: tuple[int, ...] = IMAGE_SHAPE,
) -> MatplotlibFigure:
    """Show images with values in [0, 1] in rows of `columns`, each `size` inches wide, with titles above if given."""
    pictures = as_pictures(images, image_shape).reshape(-1, *image_shape)
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    height = size * (image_shape[0] / image_shape[1] + (0.05 if titles is None else 0.3))
    figure, axes = plt.subplots(rows, columns, figsize=(columns * size, rows * height), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for i, (axis, picture) in enumerate(zip(axes.flat, pictures)):
        draw_image(axis, picture, image_shape)
        if titles is not None:
            axis.set_title(titles[i], fontsize=9)
    figure.tight_layout(pad=0.3)
    return figure


def draw_image(axis: Axes, image: ArrayLike, image_shape: tuple[int, ...] = IMAGE_SHAPE) -> None:
    """Draw one image with values in [0, 1], grey or colour, on an axis."""
    axis.imshow(as_pictures(image, image_shape), cmap="gray", vmin=0, vmax=1)


@styled
def show_grid(
    images: ArrayLike,
    z1: Sequence[float],
    z2: Sequence[float],
    title: str | None = None,
    size: float = 5.0,
    image_shape: tuple[int, ...] = IMAGE_SHAPE,
) -> MatplotlibFigure:
    """Show images (len(z1), len(z2), n_x) as one picture: rows follow z1 from the top, columns z2 from the left."""
    figure, axis = plt.subplots(figsize=(size, size))
    draw_grid(axis, images, z1, z2, image_shape)
    axis.set(title=title)
    return figure


@styled
def show_grids(
    grids: Mapping[str, ArrayLike],
    z1: Sequence[float],
    z2: Sequence[float],
    image_shape: tuple[int, ...] = IMAGE_SHAPE,
) -> MatplotlibFigure:
    """Show several grids, {title: images}, side by side, each as `show_grid` does; every second value is written."""
    figure, axes = plt.subplots(1, len(grids), figsize=(len(grids) * 4.2, 4.5), squeeze=False)
    for axis, (title, images) in zip(axes.flat, grids.items()):
        draw_grid(axis, images, z1, z2, image_shape, step=2)
        axis.set_title(title)
    figure.tight_layout(pad=0.6)
    return figure


def draw_grid(
    axis: Axes,
    images: ArrayLike,
    z1: Sequence[float],
    z2: Sequence[float],
    image_shape: tuple[int, ...] = IMAGE_SHAPE,
    step: int = 1,
) -> None:
    """Draw images (len(z1), len(z2), n_x) as one picture; every `step`-th value of z1 and z2 is written beside it."""
    sheet = tile(images, image_shape)
    draw_image(axis, sheet, sheet.shape)
    height, width = image_shape[:2]
    centres = (np.arange(len(z1)) + 0.5) * height - 0.5, (np.arange(len(z2)) + 0.5) * width - 0.5
    axis.set_yticks(centres[0][::step], [f"{value:.2f}" for value in z1[::step]])
    axis.set_xticks(centres[1][::step], [f"{value:.2f}" for value in z2[::step]])
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    axis.set(xlabel="$z_2$", ylabel="$z_1$")


@styled
def plot_latent(z: ArrayLike, y: ArrayLike, names: Sequence[str] = NAMES, limit: float = 4.2) -> MatplotlibFigure:
    """Scatter codes z (n, 2) over circles of N(0, I), each in the colour and with the marker of its class y (n,).

    names: one for each class, from class 0 on. Raises ValueError for a class without a name and for other shapes.
    """
    figure, axis = plt.subplots(figsize=(6.8, 6.0))
    draw_codes(axis, z, y, names, limit)
    handles = list_handles(names)
    columns = -(-len(names) // 26)
    axis.legend(handles=handles, loc="center left", bbox_to_anchor=(1, 0.5), ncols=columns)
    return figure


@styled
def plot_latents(
    planes: Mapping[str, ArrayLike], y: ArrayLike, names: Sequence[str] = NAMES, limit: float = 4.2
) -> MatplotlibFigure:
    """Scatter several codes of the same images, {title: z}, side by side, each as `plot_latent` does."""
    figsize = len(planes) * 4.2, 4.9
    figure, axes = plt.subplots(1, len(planes), figsize=figsize, sharey=True, squeeze=False, layout="constrained")
    for axis, (title, z) in zip(axes.flat, planes.items()):
        draw_codes(axis, z, y, names, limit)
        axis.set_title(title)
        axis.label_outer()
    figure.legend(handles=list_handles(names), loc="outside lower center", ncols=5)
    return figure


@styled
def plot_latent_by_class(
    z: ArrayLike, y: ArrayLike, names: Sequence[str] = NAMES, limit: float = 4.2
) -> MatplotlibFigure:
    """Scatter codes z (n, 2) in one panel for each class, over the circles of N(0, I) at radius 1 and 2.

    y (n,) and names are those of `plot_latent`.
    """
    clouds = split_classes(z, y, names)
    columns = min(PANELS_IN_A_ROW, len(names))
    rows = -(-len(names) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(columns * 1.7, rows * 1.7 + 0.8), squeeze=False)
    for spare in axes.flat[len(names) :]:
        spare.remove()
    for k, (axis, points) in enumerate(zip(axes.flat, clouds)):
        axis.plot(points[:, 1], points[:, 0], ".", color=color_class(k), markersize=1.2, alpha=0.5)
        draw_circles(axis, (1, 2), linewidth=0.9, zorder=3)
        set_latent_axes(axis, limit)
        axis.set_title(names[k])
        if k % columns:  # the panel to the left has the same axis
            axis.set_ylabel("")
            axis.tick_params(labelleft=False)
        if k + columns < len(names):  # and so has the panel below
            axis.set_xlabel("")
            axis.tick_params(labelbottom=False)
    figure.tight_layout(pad=0.5)
    return figure


def draw_codes(axis: Axes, z: ArrayLike, y: ArrayLike, names: Sequence[str], limit: float) -> None:
    """Scatter codes z (n, 2), each in the colour and with the marker of its class y (n,), over circles of N(0, I)."""
    for k, (points, marker) in enumerate(zip(split_classes(z, y, names), mark_classes(names))):
        axis.scatter(points[:, 1], points[:, 0], s=16, marker=marker, color=color_class(k), linewidths=0.2, alpha=0.7)
    draw_circles(axis, linewidth=1, linestyle=(0, (4, 3)))
    set_latent_axes(axis, limit)


def draw_circles(axis: Axes, radii: Sequence[float] = (1, 2, 3), **style: Any) -> None:
    """Draw circles around the origin, the contours of N(0, I). The style is passed on to matplotlib's `Circle`."""
    for radius in radii:
        axis.add_patch(Circle((0, 0), radius, fill=False, color=INK, **style))


def set_latent_axes(axis: Axes, limit: float) -> None:
    """Show the latent plane from -limit to limit as the grids show it: z2 to the right, z1 downwards."""
    axis.set(xlim=(-limit, limit), ylim=(limit, -limit), aspect="equal", xlabel="$z_2$", ylabel="$z_1$")


def split_classes(z: ArrayLike, y: ArrayLike, names: Sequence[str]) -> list[np.ndarray]:
    """Split codes z (n, 2) by their class y (n,), one array for each name."""
    z, y = np.asarray(z), np.asarray(y)
    if z.ndim != 2 or z.shape[1] != 2 or y.shape != z.shape[:1]:
        raise ValueError(f"codes: found z {z.shape} and y {y.shape}; expected (n, 2) and (n,). Choose two latents.")
    if y.size and not 0 <= y.min() <= y.max() < len(names):
        expected = f"0 to {len(names) - 1}, one for each of the names"
        raise ValueError(f"classes: found {y.min()} to {y.max()} in y; expected {expected}. Pass the names of all.")
    return [z[y == k] for k in range(len(names))]


def color_class(k: int) -> str:
    """Return the colour of class k. The ten colours repeat."""
    return PALETTE[k % len(PALETTE)]


def mark_classes(names: Sequence[str]) -> list[str]:
    """Return a marker for each class: its name if all names have one or two letters or digits, else its number."""
    short = all(len(name) <= 2 and name.isascii() and name.isalnum() for name in names)
    return [rf"$\mathrm{{{name if short else k}}}$" for k, name in enumerate(names)]


def list_handles(names: Sequence[str]) -> list[Line2D]:
    """List the entries of a legend of all classes."""
    return [
        Line2D([], [], color=color_class(k), marker=marker, linestyle="", markersize=8, label=name)
        for k, (name, marker) in enumerate(zip(names, mark_classes(names)))
    ]


@styled
def plot_confusion(
    counts: ArrayLike,
    names: Sequence[str] = DIGITS.names,
    xlabel: str = "read as",
    ylabel: str = "digit",
    unit: str = "images, off the diagonal",
    title: str | None = None,
) -> MatplotlibFigure:
    """Draw a table with one row and one column for each class; colours show the numbers off the diagonal.

    counts[i, j] belongs to class i (rows, ylabel) and class j (columns, xlabel). Each cell shows its number, rounded
    to a whole one, and nothing for zero. unit is the label of the colour bar. Raises ValueError for another shape.
    """
    counts = np.asarray(counts)
    if counts.shape != (len(names), len(names)):
        raise ValueError(f"counts: found the shape {counts.shape}; expected one row and column for each of {names}")
    diagonal = np.eye(len(names), dtype=bool)
    others = np.ma.masked_array(counts, mask=diagonal)
    top = max(1, others.filled(0).max())
    size = 1.2 + 0.4 * len(names)
    figure, axis = plt.subplots(figsize=(size + 1.4, size))
    picture = axis.imshow(others, cmap="viridis", vmin=0, vmax=top)
    axis.set_facecolor("0.88")  # the diagonal
    for (i, j), count in np.ndenumerate(counts):
        if round(count):
            color = "black" if diagonal[i, j] or count > 0.6 * top else "white"
            axis.text(j, i, f"{count:.0f}", ha="center", va="center", color=color, fontsize=9)
    axis.set_xticks(range(len(names)), names, rotation=90 if max(map(len, names)) > 3 else 0)
    axis.set_yticks(range(len(names)), names)
    axis.tick_params(length=0)
    axis.set(title=title, xlabel=xlabel, ylabel=ylabel)
    figure.colorbar(picture, label=unit)
    figure.tight_layout(pad=0.6)
    return figure


@styled
def plot_lines(
    panels: Mapping[str, Mapping[str, tuple[ArrayLike, ArrayLike]]],
    xlabel: str,
    size: tuple[float, float] = (2.9, 2.5),
) -> MatplotlibFigure:
    """Draw one panel for each entry of `panels`, {title: {label: (x, y)}}. A title gives the unit of y.

    At most three panels stand in a row, and four stand two by two. Each panel has `size` inches, so that its text is
    legible on a page 640 pixels wide. A label has the same colour and dash in every panel; one legend stands below.
    Raises ValueError for more than four labels.
    """
    labels = list(dict.fromkeys(label for lines in panels.values() for label in lines))
    if len(labels) > 4:
        raise ValueError(f"plot_lines: found {len(labels)} labels ({', '.join(labels)}); expected at most four")
    colours = dict(zip(labels, (PALETTE[0], PALETTE[2], PALETTE[1], PALETTE[4])))
    dashes = dict(zip(labels, ("-", (0, (5, 2)), ":", "-.")))
    columns = 2 if len(panels) == 4 else min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(columns * size[0], rows * size[1]), squeeze=False)
    for spare in axes.flat[len(panels) :]:
        spare.remove()
    for axis, (title, lines) in zip(axes.flat, panels.items()):
        for label, (x, y) in lines.items():
            axis.plot(x, y, color=colours[label], linestyle=dashes[label], label=label)
        axis.set(title=title, xlabel=xlabel)
    handles = {str(line.get_label()): line for axis in figure.axes for line in axis.lines}
    figure.legend(handles.values(), handles.keys(), loc="upper center", bbox_to_anchor=(0.5, 0.02), ncols=4)
    figure.tight_layout(pad=0.6, h_pad=1.6)
    return figure


@styled
def plot_intervals(
    series: Mapping[str, Mapping[str, tuple[float, float, float]]], xlabel: str, size: tuple[float, float] = (5.6, 3.8)
) -> MatplotlibFigure:
    """Draw differences with their intervals, {series: {name: (mean, low, high)}}, one row for each name.

    The first name is at the top. Each series has a colour and a marker of its own, and in a row the series lie a little
    apart. A grey line marks zero, no difference. Raises ValueError for more than four series.
    """
    if len(series) > 4:
        raise ValueError(f"plot_intervals: found {len(series)} series ({', '.join(series)}); expected at most four")
    figure, axis = plt.subplots(figsize=size)
    names = list(dict.fromkeys(name for rows in series.values() for name in rows))
    axis.axvline(0, color="#8a8a8a", linewidth=1, zorder=0)
    for place, (label, rows) in enumerate(series.items()):
        height = [-names.index(name) + 0.6 * ((len(series) - 1) / 2 - place) / len(series) for name in rows]
        mean, low, high = np.transpose(list(rows.values()))
        reach = np.stack([mean - low, high - mean])
        look: dict[str, Any] = {"color": PALETTE[place], "fmt": "osD^"[place], "markersize": 5, "linewidth": 1.2}
        axis.errorbar(mean, height, xerr=reach, capsize=3, label=label, **look)
    axis.set_yticks(-np.arange(len(names)), names)
    axis.set_xlabel(xlabel)
    if len(series) > 1:
        figure.legend(loc="upper center", bbox_to_anchor=(0.5, 0.02), ncols=len(series))
    figure.tight_layout(pad=0.6)
    return figure


@styled
def plot_bars(
    values: Sequence[float] | np.ndarray,
    labels: Sequence[Any] | np.ndarray,
    xlabel: str,
    ylabel: str,
    size: tuple[float, float] = (6.0, 2.6),
) -> MatplotlibFigure:
    """Draw one bar for each value, with its label below."""
    figure, axis = plt.subplots(figsize=size)
    axis.bar(np.arange(len(values)), values, color=PALETTE[0])
    axis.set_xticks(np.arange(len(values)), labels)
    axis.set(xlabel=xlabel, ylabel=ylabel)
    return figure
