"""Watch a training run: a callback that shows progress, losses and what the decoder draws while `fit` runs."""

import base64
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

import cvae_lib._tensorflow  # noqa: F401

# isort: split
import keras
import numpy as np
from numpy.typing import ArrayLike

from cvae_lib.data.mnist import IMAGE_SHAPE
from cvae_lib.pictures import fit_zoom, tile, write_png

PICTURES_IN_A_ROW = 10
PICTURE_SIDE = 56  # pixels of the longer side of a picture on the screen, at most
ROWS = 5  # the last epochs, in the table; the curves show all
CURVE_WIDTH, CURVE_HEIGHT = 240, 60  # pixels
# A colour that can be told from white and from black, and dashes for those who see no colours.
CURVES = {"loss": ("#3b82c4", "none"), "val_loss": ("#c9711c", "5 3")}
SHARE = 60  # showing takes at most 1 / SHARE of the time
LINE = 79  # characters of the line in a terminal

Decode = Callable[[np.ndarray, np.ndarray], ArrayLike]
Losses = Sequence[tuple[int, Mapping[str, float]]]  # the number of an epoch, from 1, and what Keras reports of it


class Watch(keras.callbacks.Callback):
    """Show how far `fit` has come, the losses, and what the decoder now draws of fixed codes.

    decode: a function of z (n, n_z) and label (n, n_y) to images in [0, 1], (n, n_x), for example
    `functools.partial(decode, model)` with `cvae_lib.evaluate.decode`. label: the conditions to draw, one a row,
    (n, n_y). z: one code for all of them, (n_z,), or one for each, (n, n_z).

    In Jupyter everything stands in one output, whose last state stays when training has ended; elsewhere there is one
    line of text. It takes the place of Keras' own progress bar: give `fit` the argument `verbose=0`. Showing takes at
    most a sixtieth of the time.
    """

    def __init__(
        self, decode: Decode, label: ArrayLike, z: ArrayLike, image_shape: tuple[int, ...] = IMAGE_SHAPE
    ) -> None:
        super().__init__()
        self.decode, self.image_shape = decode, image_shape
        self.label = np.asarray(label, "float32")
        z = np.asarray(z, "float32")
        self.z = np.broadcast_to(z, (len(self.label), z.shape[-1]))

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        self.losses: list[tuple[int, Mapping[str, float]]] = []
        self.epoch, self.step = 1, 0
        self.output: Any = None
        self.show()
        self.next_time = 0.0  # the first images take long, because TensorFlow prepares for them

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self.epoch, self.step = epoch + 1, 0

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        self.step = batch + 1
        if time.monotonic() >= self.next_time:
            self.show(begun=[(self.epoch, logs or {})])

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self.losses.append((epoch + 1, logs or {}))
        if time.monotonic() >= self.next_time:
            self.show()

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        self.show(ended=True)

    def show(self, begun: Losses = (), ended: bool = False) -> None:
        """Show the present state, with the losses of an epoch that has begun, and set when to show the next one."""
        start = time.monotonic()
        losses = [*self.losses, *begun]
        epochs, steps = self.params["epochs"], self.params["steps"]
        if is_in_notebook():
            progress = "" if ended else write_progress(self.epoch, epochs, self.step, steps)
            sheet = draw_sheet(self.decode(self.z, self.label), self.image_shape)
            self.display(write_html(progress, losses, sheet, len(self.label)))
        else:
            line = describe_progress(self.epoch, epochs, self.step, steps)
            for _, row in losses[-1:]:
                line += "".join(f"  {name} {row[name]:#.4g}" for name in CURVES if name in row)
            print(f"\r{line[:LINE]:{LINE}}", end="\n" if ended else "", flush=True)
        end = time.monotonic()
        self.next_time = end + SHARE * (end - start)

    def display(self, page: str) -> None:
        """Put HTML into the output of the cell, in the place of what this callback put there before."""
        data = {"text/html": page, "text/plain": "a model in training: its losses, and what its decoder draws"}
        if self.output:
            self.output.update(data, raw=True)
        else:
            from IPython.display import display

            self.output = display(data, raw=True, display_id=True)


def is_in_notebook() -> bool:
    """Tell whether a Jupyter kernel runs this, as opposed to a script or IPython in a terminal."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


def describe_progress(epoch: int, epochs: int, step: int, steps: int | None) -> str:
    """Say in words how far training has come. Keras does not know the steps of a generator's first epoch."""
    return f"epoch {epoch} of {epochs}, " + (f"{100 * step / steps:.0f} %" if steps else f"step {step}")


def write_progress(epoch: int, epochs: int, step: int, steps: int | None) -> str:
    """Write a progress bar with its words as HTML."""
    done = epoch - 1 + (step / steps if steps else 0)
    words = describe_progress(epoch, epochs, step, steps)
    return f'<progress aria-label="training" max="{epochs}" value="{done:.3f}"></progress> {words}'


def draw_sheet(images: ArrayLike, image_shape: tuple[int, ...]) -> bytes:
    """Lay images (n, n_x) with values in [0, 1] side by side, ten a row, and return the bytes of a PNG."""
    flat = np.asarray(images)
    flat = flat.reshape(len(flat), -1)
    columns = min(len(flat), PICTURES_IN_A_ROW)
    rows = -(-len(flat) // columns)
    places = np.zeros((rows * columns, flat.shape[1]))
    places[: len(flat)] = flat
    return write_png(tile(places.reshape(rows, columns, -1), image_shape), fit_zoom(image_shape, PICTURE_SIDE))


def write_html(progress: str, losses: Losses, sheet: bytes, n: int) -> str:
    """Write the state of a training run as HTML: progress, a table of losses, their curves, a sheet of n images."""
    parts = [progress, write_table(losses[-ROWS:]), write_curves(losses)]
    if losses:
        alt = f"The decoder's {n} images in epoch {losses[-1][0]}"
    else:
        alt = f"The decoder's {n} images before training"
    parts.append(write_image(sheet, "png", alt))
    return '<div class="training">' + "".join(f"<div>{part}</div>" for part in parts if part) + "</div>"


def write_image(content: bytes, kind: str, alt: str) -> str:
    """Write an image as HTML that needs no other file."""
    encoded = base64.b64encode(content).decode("ascii")
    return f'<img alt="{escape(alt)}" src="data:image/{kind};base64,{encoded}">'


def write_table(losses: Losses) -> str:
    """Write the losses as an HTML table, an epoch a row."""
    if not losses:
        return ""
    names = sorted(dict.fromkeys(name for _, row in losses for name in row), key=lambda name: name not in CURVES)
    head = "".join(f"<th>{escape(name.replace('_', ' '))}</th>" for name in ["epoch", *names])
    rows = [[str(epoch), *(f"{row[name]:#.4g}" if name in row else "" for name in names)] for epoch, row in losses]
    body = "".join(f"<tr>{''.join(f'<td>{value}</td>' for value in row)}</tr>" for row in rows)
    return f'<table class="dataframe"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def write_curves(losses: Losses) -> str:
    """Write the curves of CURVES over the epochs as HTML: an SVG, and below it which is which."""
    curves = {name: [(epoch, row[name]) for epoch, row in losses if name in row] for name in CURVES}
    curves = {name: points for name, points in curves.items() if len(points) > 1}
    values = np.array([point for points in curves.values() for point in points])
    if not np.all(np.isfinite(values)) or not curves:
        return ""
    low, high = values.min(axis=0), values.max(axis=0)
    lines, legend, alt = [], [], []
    for name, points in curves.items():
        color, dashes = CURVES[name]
        part = (np.array(points) - low) / np.maximum(high - low, 1e-9)
        x, y = 2 + part[:, 0] * (CURVE_WIDTH - 4), 2 + (1 - part[:, 1]) * (CURVE_HEIGHT - 4)
        places = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y))
        lines.append(f'<polyline points="{places}" stroke="{color}" stroke-dasharray="{dashes}"/>')
        legend.append(f"{'solid' if dashes == 'none' else 'dashed'}: {name.replace('_', ' ')}")
        alt.append(f"{name} from {points[0][1]:#.4g} to {points[-1][1]:#.4g}")
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{CURVE_WIDTH}" height="{CURVE_HEIGHT}" fill="none" '
        f'stroke-width="2">{"".join(lines)}</svg>'
    )
    return f"{write_image(svg.encode(), 'svg+xml', '; '.join(alt))}<br>{', '.join(legend)}"
