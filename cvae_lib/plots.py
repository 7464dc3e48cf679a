"""Arrays in, a matplotlib Figure out: the book's one style.

Each function returns a closed Figure: as the last line of a cell it is shown once. Pixels are drawn grey, without
interpolation; classes have ten colours that colour-blind readers can tell apart, and a digit as their marker.
"""

from functools import wraps

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.lines import Line2D

SIDE = 28
# Ten colours for ten classes, in digit order: after Tol's "muted", the light ones darkened until they stand out from
# a white page at 3 : 1, the ratio that WCAG asks of graphics; black for the tenth.
PALETTE = (
    "#332288", "#117733", "#CC6677", "#3E9BC9", "#AA4499",
    "#8A8A2E", "#882255", "#369486", "#B8860B", "#000000",
)  # fmt: skip
STYLE = {
    "figure.dpi": 110,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "axes.titlesize": 10,
    "axes.labelsize": 10,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "font.size": 10,
    "lines.linewidth": 1.6,
    "image.cmap": "gray",
    "image.interpolation": "none",
}


def styled(draw):
    """Draw in the book's style and close the figure, so that a cell shows it once."""

    @wraps(draw)
    def wrapper(*args, **kwargs):
        with plt.rc_context(STYLE):
            figure = draw(*args, **kwargs)
        plt.close(figure)
        return figure

    return wrapper


@styled
def show_digits(images, titles=None, columns=10, size=1.0):
    """Show images (n, 784) in [0, 1] as rows of grey pictures, `columns` a row, with a title above each if given."""
    images = np.asarray(images).reshape(-1, SIDE, SIDE)
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    height = size * (1.3 if titles is not None else 1.05)
    figure, axes = plt.subplots(rows, columns, figsize=(columns * size, rows * height), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for i, (axis, image) in enumerate(zip(axes.flat, images)):
        axis.imshow(image, vmin=0, vmax=1)
        if titles is not None:
            axis.set_title(titles[i], fontsize=9)
    figure.tight_layout(pad=0.3)
    return figure


@styled
def show_grid(images, z1, z2, title=None, size=5.0):
    """Show images (len(z1), len(z2), 784) as one picture: rows follow z1 from the top, columns z2 from the left."""
    figure, axis = plt.subplots(figsize=(size, size))
    axis.imshow(tile(images), vmin=0, vmax=1)
    centres = (np.arange(len(z1)) + 0.5) * SIDE - 0.5, (np.arange(len(z2)) + 0.5) * SIDE - 0.5
    axis.set_yticks(centres[0], [f"{value:.2f}" for value in z1])
    axis.set_xticks(centres[1], [f"{value:.2f}" for value in z2])
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    axis.set(xlabel="$z_2$", ylabel="$z_1$", title=title)
    return figure


def tile(images):
    """Lay images (rows, columns, 784) side by side: one array (rows * 28, columns * 28), first image top left."""
    images = np.asarray(images)
    rows, columns = images.shape[:2]
    return images.reshape(rows, columns, SIDE, SIDE).swapaxes(1, 2).reshape(rows * SIDE, columns * SIDE)


@styled
def plot_latent(z, y, ellipses=(1, 2, 3), limit=4.2, size=6.0):
    """Scatter latents z (n, 2), each drawn as its digit y in its class's colour, over circles of N(0, I)."""
    figure, axis = plt.subplots(figsize=(size + 0.8, size))
    for digit in range(10):
        points = z[y == digit]
        axis.scatter(
            points[:, 1], points[:, 0], s=16, marker=f"${digit}$", color=PALETTE[digit], linewidths=0.2, alpha=0.7
        )
    for radius in ellipses:
        axis.add_patch(plt.Circle((0, 0), radius, fill=False, color="black", linewidth=1, linestyle=(0, (4, 3))))
    handles = [
        Line2D([], [], color=PALETTE[digit], marker=f"${digit}$", linestyle="", markersize=8) for digit in range(10)
    ]
    axis.legend(handles, [f"digit {digit}" for digit in range(10)], loc="center left", bbox_to_anchor=(1, 0.5))
    set_latent_axes(axis, limit)
    return figure


@styled
def plot_latent_by_class(z, y, limit=4.2, size=1.7):
    """Scatter latents z (n, 2) in ten panels, one a digit, each over the circles of N(0, I) at radius 1 and 2."""
    figure, axes = plt.subplots(2, 5, figsize=(5 * size, 2 * size + 0.8), sharex=True, sharey=True)
    for digit, axis in enumerate(axes.flat):
        points = z[y == digit]
        axis.plot(points[:, 1], points[:, 0], ".", color=PALETTE[digit], markersize=1.2, alpha=0.5)
        for radius in (1, 2):
            axis.add_patch(plt.Circle((0, 0), radius, fill=False, color="black", linewidth=0.9, zorder=3))
        set_latent_axes(axis, limit)
        axis.set_title(f"digit {digit}")
        axis.label_outer()
    figure.tight_layout(pad=0.5)
    return figure


def set_latent_axes(axis, limit):
    """Draw the latent plane as the grids do: z2 to the right, z1 downwards."""
    axis.set(xlim=(-limit, limit), ylim=(limit, -limit), aspect="equal", xlabel="$z_2$", ylabel="$z_1$")


@styled
def plot_lines(panels, xlabel, size=(2.9, 2.5)):
    """Draw one panel for each entry of `panels`: {title: {label: (x, y)}}, titles carrying the unit of y.

    Three panels at most stand in a row, and four as two by two: each is `size` inches, so that a page 640 pixels wide
    keeps its text legible. The same label has the same colour and dash in every panel, four labels at most; one
    legend stands below.
    """
    labels = list(dict.fromkeys(label for lines in panels.values() for label in lines))
    colours = dict(zip(labels, (PALETTE[0], PALETTE[2], PALETTE[1], PALETTE[4]), strict=False))
    dashes = dict(zip(labels, ("-", (0, (5, 2)), ":", "-."), strict=False))
    columns = 2 if len(panels) == 4 else min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(columns * size[0], rows * size[1]), squeeze=False)
    for axis in axes.flat[len(panels) :]:
        axis.remove()
    for axis, (title, lines) in zip(axes.flat, panels.items()):
        for label, (x, y) in lines.items():
            axis.plot(x, y, color=colours[label], linestyle=dashes[label], label=label)
        axis.set(title=title, xlabel=xlabel)
    handles = {line.get_label(): line for axis in figure.axes for line in axis.lines}
    figure.legend(handles.values(), handles.keys(), loc="upper center", bbox_to_anchor=(0.5, 0.02), ncols=4)
    figure.tight_layout(pad=0.6, h_pad=1.6)
    return figure


@styled
def plot_bars(values, labels, xlabel, ylabel, size=(6.0, 2.6)):
    """Draw one bar for each value, labelled below."""
    figure, axis = plt.subplots(figsize=size)
    axis.bar(np.arange(len(values)), values, color=PALETTE[0])
    axis.set_xticks(np.arange(len(values)), labels)
    axis.set(xlabel=xlabel, ylabel=ylabel)
    return figure
