"""Sphinx extension: store the pages' figures with a palette of 256 colours, at half the size or less.

matplotlib writes four bytes a pixel; most of the book's figures have no more than 256 colours, so nothing is lost.
Where there are more, as in a scatter plot of thousands of points, 256 are chosen by k-means if the mean change of a
pixel, on a black page and on a white one, stays under one step of 255; otherwise the figure stays as it is.
"""

from pathlib import Path

import numpy as np
from PIL import Image
from scipy.spatial import KDTree

COLOURS = 256
LARGEST_CHANGE = 1.0
ROUNDS = 8  # of k-means


def premultiply(colours):
    """Multiply red, green and blue with alpha, (n, 4): what differs then, differs on a black or on a white page."""
    return np.concatenate([colours[:, :3] * (colours[:, 3:] / 255), colours[:, 3:]], axis=1)


def choose_palette(colours, counts):
    """Choose at most 256 colours that stand for the premultiplied colours (n, 4), which occur `counts` times (n,).

    This is k-means, which starts from the means of the most frequent boxes of similar colours, of a size such that
    there are boxes enough. Returns the palette, premultiplied, and the place of each colour in it, (n,).
    """
    for side in (16, 8, 4, 2, 1):
        _, boxes = np.unique((colours // side) @ [1, 2**8, 2**16, 2**24], return_inverse=True)
        weights = np.bincount(boxes, counts)
        if len(weights) >= COLOURS:
            break
    often = np.argsort(-weights)[:COLOURS]
    palette = np.array([np.bincount(boxes, counts * channel)[often] / weights[often] for channel in colours.T]).T
    for _ in range(ROUNDS):
        _, places = KDTree(palette).query(colours)
        sums = np.array([np.bincount(places, counts * channel, COLOURS) for channel in colours.T]).T
        total = np.bincount(places, counts, COLOURS)
        palette = sums[total > 0] / total[total > 0, None]
    return palette, KDTree(palette).query(colours)[1]


def reduce_colours(path):
    """Rewrite a still PNG with a palette, if that is smaller and looks the same."""
    with Image.open(path) as image:
        if image.mode not in ("RGB", "RGBA") or getattr(image, "is_animated", False):
            return
        pixels = np.asarray(image.convert("RGBA"), "int64")
    packed, places, counts = np.unique(pixels @ [1, 2**8, 2**16, 2**24], return_inverse=True, return_counts=True)
    palette = packed[:, None] // [1, 2**8, 2**16, 2**24] % 256
    if len(palette) > COLOURS:
        full = premultiply(palette)
        chosen, nearest = choose_palette(full, counts)
        if (np.abs(chosen[nearest] - full).mean(axis=1) @ counts) / counts.sum() > LARGEST_CHANGE:
            return
        alpha = chosen[:, 3:].round()
        palette = np.concatenate([(chosen[:, :3] * 255 / alpha.clip(1)).round().clip(0, 255), alpha], axis=1)
        places = nearest[places]
    reduced = Image.fromarray(places.reshape(pixels.shape[:2]).astype("uint8")).convert("L")
    reduced.putpalette(palette[:, :3].astype("uint8").tobytes())
    lighter = path.with_suffix(".reduced")
    reduced.save(lighter, "PNG", optimize=True, transparency=palette[:, 3].astype("uint8").tobytes())
    if lighter.stat().st_size < path.stat().st_size:
        lighter.replace(path)
    else:
        lighter.unlink()


def reduce_all(app, exception):
    if exception is None and app.builder.format == "html":
        for path in Path(app.outdir, "_images").glob("*.png"):
            reduce_colours(path)


def setup(app):
    app.connect("build-finished", reduce_all)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
