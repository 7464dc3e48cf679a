"""Draw the book's logo, its icon and the picture for previews of a link, with the book's own decoder.

    python3 _static/draw_images.py

One latent code, ten labels: the logo is the outline of the ten digits that the decoder draws in one handwriting. The
preview is the same for a row of handwritings. Run it again when the model `mnist-2d` was trained anew.
"""

from pathlib import Path

import contourpy
import matplotlib.image
import numpy as np

from cvae_lib.data import N_CLASSES, one_hot
from cvae_lib.model import decode
from cvae_lib.plots import SIDE, tile
from cvae_lib.pretrained import load_pretrained

HERE = Path(__file__).parent
BLUE = "#2f7fb5"  # 4 : 1 on the light page and on the dark one
HANDWRITING = (0.6, 0.3)
ICON = 3


def draw_digits(codes, labels):
    """The decoder's pictures (n, 28, 28) of each code (n, 2) under its label (n,)."""
    model = load_pretrained("mnist-2d")
    pixels = decode(model, np.asarray(codes, "float32"), one_hot(labels))
    return np.asarray(pixels).reshape(-1, SIDE, SIDE)


def outline(image, x=0.0, y=0.0):
    """The 50 % contour of one picture as the data of an SVG path, moved by (x, y), in pixels of the picture."""
    lines = contourpy.contour_generator(z=np.pad(image, 1)).lines(0.5)
    points = [[f"{px + x - 0.5:.1f} {py + y - 0.5:.1f}" for px, py in line[:-1]] for line in lines if len(line) > 8]
    return "".join(f"M{'L'.join(one)}Z" for one in points)


def write_svg(name, width, height, body):
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">{body}</svg>\n'
    (HERE / name).write_text(svg)


def main():
    labels = np.arange(N_CLASSES)
    digits = draw_digits([HANDWRITING] * N_CLASSES, labels)
    paths = [outline(digit, 21 * (i % 5) - 3, 24 * (i // 5) - 2) for i, digit in enumerate(digits)]
    write_svg("logo.svg", 106, 48, f'<path fill="{BLUE}" fill-rule="evenodd" d="{"".join(paths)}"/>')
    tile_of_icon = f'<rect width="28" height="28" rx="5" fill="{BLUE}"/>'
    digit = f'<path fill="#fff" fill-rule="evenodd" d="{outline(digits[ICON])}"/>'
    write_svg("favicon.svg", 28, 28, tile_of_icon + digit)

    # 1200 by 630 pixels, what previews ask for: five handwritings, ten digits each.
    codes = [(z1, HANDWRITING[1]) for z1 in np.linspace(-1.6, 1.6, 5)]
    rows = draw_digits(np.repeat(codes, N_CLASSES, axis=0), np.tile(labels, 5)).reshape(5, N_CLASSES, SIDE, SIDE)
    sheet = np.kron(tile(rows), np.ones((4, 4)))
    page = np.zeros((630, 1200))
    top, left = (np.array(page.shape) - sheet.shape) // 2
    page[top : top + sheet.shape[0], left : left + sheet.shape[1]] = sheet
    matplotlib.image.imsave(HERE / "preview.png", page, cmap="gray", vmin=0, vmax=1, pil_kwargs={"optimize": True})


if __name__ == "__main__":
    main()
