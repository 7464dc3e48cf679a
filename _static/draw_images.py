"""Draw the book's logo, its icon and the picture for previews of a link, with the book's own decoder.

    python3 _static/draw_images.py

One latent code and ten labels give the logo: the outline of the ten digits that the decoder draws in one handwriting.
The preview shows five handwritings. Run this script again when the model `mnist-2d` has been trained anew.
"""

from pathlib import Path

import contourpy
import numpy as np
from numpy.typing import ArrayLike

from cvae_lib.data import one_hot
from cvae_lib.data.mnist import IMAGE_SHAPE, N_CLASSES
from cvae_lib.evaluate import decode
from cvae_lib.pictures import as_pictures, enlarge, tile, write_png
from cvae_lib.pretrained import load_pretrained

HERE = Path(__file__).parent
BLUE = "#2f7fb5"  # 4 : 1 on the light page and on the dark one
HANDWRITING = (0.6, 0.3)
ICON = 3


def draw_digits(codes: ArrayLike, y: ArrayLike) -> np.ndarray:
    """Draw each code (n, 2) as its digit y (n,): pictures (n, 28, 28)."""
    model = load_pretrained("mnist-2d")
    return as_pictures(decode(model, np.asarray(codes, "float32"), one_hot(y)))


def outline(picture: np.ndarray, x: float = 0.0, y: float = 0.0) -> str:
    """Trace the 50 % contour of a picture, moved by (x, y), in pixels; return it as the data of an SVG path."""
    lines = contourpy.contour_generator(z=np.pad(picture, 1)).lines(0.5)
    points = [[f"{px + x - 0.5:.1f} {py + y - 0.5:.1f}" for px, py in line[:-1]] for line in lines if len(line) > 8]
    return "".join(f"M{'L'.join(one)}Z" for one in points)


def write_svg(name: str, width: int, height: int, body: str) -> None:
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">{body}</svg>\n'
    (HERE / name).write_text(svg, encoding="utf-8")


def main() -> None:
    labels = np.arange(N_CLASSES)
    digits = draw_digits([HANDWRITING] * N_CLASSES, labels)
    paths = [outline(digit, 21 * (i % 5) - 3, 24 * (i // 5) - 2) for i, digit in enumerate(digits)]
    write_svg("logo.svg", 106, 48, f'<path fill="{BLUE}" fill-rule="evenodd" d="{"".join(paths)}"/>')
    tile_of_icon = f'<rect width="28" height="28" rx="5" fill="{BLUE}"/>'
    digit = f'<path fill="#fff" fill-rule="evenodd" d="{outline(digits[ICON])}"/>'
    write_svg("favicon.svg", 28, 28, tile_of_icon + digit)

    # 1200 by 630 pixels, what previews ask for: five handwritings, ten digits each.
    codes = [(z1, HANDWRITING[1]) for z1 in np.linspace(-1.6, 1.6, 5)]
    rows = draw_digits(np.repeat(codes, N_CLASSES, axis=0), np.tile(labels, 5)).reshape(5, N_CLASSES, *IMAGE_SHAPE)
    sheet = enlarge(tile(rows), 4)
    page = np.zeros((630, 1200))
    top, left = (np.array(page.shape) - sheet.shape) // 2
    page[top : top + sheet.shape[0], left : left + sheet.shape[1]] = sheet
    (HERE / "preview.png").write_bytes(write_png(page, optimize=True))


if __name__ == "__main__":
    main()
