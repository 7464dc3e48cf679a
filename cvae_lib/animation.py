"""Films: a series of images as one animated picture, which plays on a page without a kernel."""

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from cvae_lib.data.mnist import IMAGE_SHAPE
from cvae_lib.pictures import as_pictures, enlarge, fit_zoom

SIDE = 224  # pixels of the longer side of a frame, at most
LEVELS = 32
GREYS = np.linspace(0, 255, LEVELS).round().astype("uint8")
GAP, BAR = 4, 6

PLAY_BUTTON = """\
<style>
  .film-button { font: inherit; color: inherit; background: transparent; border: 1px solid currentColor;
    border-radius: 0.3rem; min-height: 2.75rem; padding: 0 1rem; display: block; margin: 0.5rem auto; cursor: pointer; }
  @media (prefers-reduced-motion: reduce) and (scripting: enabled) {
    #NAME:not(.film-ready) img { visibility: hidden; }
  }
  @media print { .film-button { display: none; } }
</style>
<script>
  // Play and pause: a still copy, which a canvas draws of the film's first frame, takes the film's place.
  document.addEventListener("DOMContentLoaded", () => {
    const figure = document.getElementById("NAME");
    const film = figure.querySelector("img");
    const still = document.createElement("canvas");
    const button = document.createElement("button");
    still.setAttribute("role", "img");
    still.setAttribute("aria-label", "The first frame of the film.");
    button.type = "button";
    button.className = "film-button";
    const show = (playing) => {
      film.hidden = !playing;
      still.hidden = playing;
      button.textContent = playing ? "Pause the film" : "Play the film";
      figure.classList.add("film-ready");
    };
    const start = () => {
      still.width = film.naturalWidth;
      still.height = film.naturalHeight;
      still.getContext("2d").drawImage(film, 0, 0);
      film.before(still);
      figure.after(button);
      button.addEventListener("click", () => show(film.hidden));
      show(!window.matchMedia("(prefers-reduced-motion: reduce)").matches);
    };
    if (film.complete) start(); else film.addEventListener("load", start);
  });
</script>
"""


def animate_digits(
    images: ArrayLike, milliseconds: int | Sequence[int] | np.ndarray, image_shape: tuple[int, ...] = IMAGE_SHAPE
) -> bytes:
    """Make an animated PNG of images with values in [0, 1], one frame each, that repeats for ever; return its bytes.

    images: (n, n_x), grey or colour as image_shape says. milliseconds: how long a frame stays, one number for all
    frames or one for each. A pixel becomes a square (8 by 8 for MNIST) in one of 32 greys, or of 32 levels for each
    colour. The bar below grows from nothing under the first frame to the whole width under the last. A viewer that
    cannot play animated PNGs shows the first frame. The same images give the same bytes with the same version of
    Pillow. Source: chapter 7.
    """
    pictures = as_pictures(np.asarray(images, "float64"), image_shape).reshape(-1, *image_shape)
    zoom = fit_zoom(image_shape, SIDE)
    height, width = image_shape[0] * zoom, image_shape[1] * zoom
    frames = []
    for i, picture in enumerate(pictures):
        frame = np.zeros((height + GAP + BAR + GAP, width, *image_shape[2:]), "uint8")
        frame[:height] = enlarge((picture * (LEVELS - 1)).round(), zoom)
        frame[-GAP - BAR : -GAP] = LEVELS // 4
        frame[-GAP - BAR : -GAP, : round(i / max(len(pictures) - 1, 1) * width)] = LEVELS - 1
        frames.append(make_frame(frame))
    file = io.BytesIO()
    durations = np.broadcast_to(milliseconds, len(frames)).tolist()
    frames[0].save(
        file, format="PNG", save_all=True, append_images=frames[1:], duration=durations, loop=0, compress_level=9
    )
    return file.getvalue()


def make_frame(levels: np.ndarray) -> Image.Image:
    """Turn levels 0 to 31, (height, width) or (height, width, 3), into an image: grey with a palette, or colour."""
    if levels.ndim == 3:
        return Image.fromarray(GREYS[levels])
    frame = Image.frombytes("P", levels.shape[::-1], levels.tobytes())
    frame.putpalette(np.repeat(GREYS, 3).tobytes())
    return frame


def play_button(name: str) -> str:
    """Write the HTML of a button that plays and pauses the film in the figure of this name on the built page.

    While the film is paused, a still copy of its first frame takes its place. Readers whose system asks for less
    motion see the still copy first. Without scripts there is no button, and where there is no such figure, as in
    Jupyter, nothing happens. Source: chapter 7.
    """
    return PLAY_BUTTON.replace("NAME", name)
