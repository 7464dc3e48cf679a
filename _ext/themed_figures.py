"""Sphinx extension: figures with a transparent ground follow the theme; every figure loads when it comes into sight.

Beside a transparent figure a version for dark pages is written, in which the colours of `cvae_lib.plots.ON_DARK` take
the place of those of the light one. The page holds both, and the theme shows one of them; the browser never asks for
the other. Figures with a ground of their own, such as sheets of digits, stay as they are. All images say their size,
so that nothing moves on the page when they arrive.
"""

import re
from itertools import product
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_rgb
from PIL import Image

from cvae_lib.plots import ON_DARK

IMAGE = re.compile(r'<img\b[^>]*\bsrc="[^"]*_images/(?P<name>[^"/]+\.png)"[^>]*?(?P<end> ?/?>)')
# Colours that move, and by how much; greys do not.
LIGHT, DARK = (255 * np.array([to_rgb(colour) for colour in colours]) for colours in (ON_DARK, ON_DARK.values()))
GREYS = np.repeat(np.linspace(0, 255, 5)[:, None], 3, axis=1)
ANCHORS, SHIFTS = np.concatenate([LIGHT, GREYS]), np.concatenate([DARK - LIGHT, 0 * GREYS])


def pack(colours):
    """Turn colours (..., 3) with values 0 to 255 into one integer each."""
    return np.asarray(colours, "int64") @ [1, 2**8, 2**16]


# The colours of heat maps mean numbers, so they stay. A figure that has so many of them has a heat map. matplotlib
# rounds a colour up or down, as it comes.
MAPS = ("viridis", "magma", "RdBu")
LISTED = np.concatenate([colormaps[name](np.arange(256), bytes=True)[:, :3] for name in MAPS]).astype(int)
HEAT = np.unique(pack(LISTED[:, None] + np.array([*product((-1, 0, 1), repeat=3)])))
SHARE_OF_A_MAP = 0.04


def move_colours(colours):
    """Turn colours (n, 3) into those that take their place on a dark page, and say which of them are in ON_DARK, (n,).

    The colours of ON_DARK become their counterparts, and greys stay. A colour that is mixed of several, such as that of
    a pixel in which two dots overlap, moves as far as they do on average, each weighted by one over the fourth power of
    its distance.
    """
    distance = ((colours[:, None] - ANCHORS) ** 2).sum(axis=2)
    weights = 1 / (distance + 1e-3) ** 2
    moved = colours + weights @ SHIFTS / weights.sum(axis=1, keepdims=True)
    grey = np.ptp(colours, axis=1, keepdims=True) == 0
    return np.where(grey, colours, moved.clip(0, 255)).round(), (distance[:, : len(LIGHT)] < 1).any(axis=1)


def recolour(pixels):
    """Turn the pixels of a transparent figure, (height, width, 4), into those of its version for dark pages.

    On a heat map only the colours of ON_DARK themselves move.
    """
    packed, places = np.unique(pack(pixels[..., :3]), return_inverse=True)
    colours = packed[:, None] // [1, 2**8, 2**16] % 256
    moved, exact = move_colours(colours)
    places = places.reshape(pixels.shape[:2])
    stays = np.zeros(places.shape, bool)
    opaque = pixels[..., 3] == 255
    if (np.isin(packed, HEAT)[places] & opaque).mean() > SHARE_OF_A_MAP:
        stays = opaque & ~exact[places]
    rgb = np.where(stays[..., None], pixels[..., :3], moved[places])
    return np.dstack([rgb, pixels[..., 3]]).astype("uint8")


def write_for_dark(source, target):
    """Write the version for dark pages of a transparent, still PNG; return whether the image is one."""
    with Image.open(source) as image:
        if getattr(image, "is_animated", False) or not image.has_transparency_data:
            return False
        pixels = np.asarray(image.convert("RGBA"))
    if pixels[..., 3].min() > 0:
        return False
    if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
        target.parent.mkdir(exist_ok=True)
        Image.fromarray(recolour(pixels)).save(target)
    return True


def theme_images(app, pagename, templatename, context, doctree):
    """Give each image of a page its size, and each transparent one that has no class its version for dark pages."""
    if app.builder.format != "html" or "body" not in context:
        return
    sources = {name: Path(app.srcdir, source) for source, name in app.builder.images.items()}

    def write_image(found):
        name, end = found["name"], found["end"]
        with Image.open(sources[name]) as image:
            size = f' width="{image.width}" height="{image.height}" loading="lazy"'
        tag = found[0].removesuffix(end) + size + end
        dark = f"{Path(name).stem}.dark.png"
        if " class=" in tag or not write_for_dark(sources[name], Path(app.outdir, "_images", dark)):
            return tag
        tags = [tag.replace("<img", f'<img class="only-{theme}"') for theme in ("light", "dark")]
        return tags[0] + tags[1].replace(f"/{name}", f"/{dark}")

    context["body"] = IMAGE.sub(write_image, context["body"])


def setup(app):
    app.connect("html-page-context", theme_images)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
