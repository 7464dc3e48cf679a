"""Sphinx extension: store the pages' figures with a palette of 256 colours, at half the size or less.

matplotlib writes four bytes a pixel; nearly all of the book's figures have no more than 256 colours, so nothing is
lost. Where there are more, as in a scatter plot of thousands of points, the nearest 256 are taken if the mean change
of a pixel stays under half a step of 255; otherwise the figure stays as it is.
"""

from pathlib import Path

import numpy as np
from PIL import Image

LARGEST_CHANGE = 0.5


def reduce_colours(path):
    """Rewrite an opaque, still PNG with a palette, if that is smaller and looks the same."""
    with Image.open(path) as image:
        if image.mode not in ("RGB", "RGBA") or getattr(image, "is_animated", False):
            return
        if image.mode == "RGBA" and image.getchannel("A").getextrema()[0] < 255:
            return
        full = image.convert("RGB")
    reduced = full.quantize(256, dither=Image.Dither.NONE)
    change = np.abs(np.asarray(reduced.convert("RGB"), float) - np.asarray(full, float)).mean()
    lighter = path.with_suffix(".reduced")
    reduced.save(lighter, "PNG", optimize=True)
    if change < LARGEST_CHANGE and lighter.stat().st_size < path.stat().st_size:
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
