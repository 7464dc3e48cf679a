"""Pictures in, one animated picture out, for a page with no kernel behind it."""

import io

import numpy as np
from PIL import Image

SIDE = 28
ZOOM = 8
LEVELS = 32
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


def animate_digits(images, milliseconds):
    """Make an animated PNG of images (n, 784) in [0, 1], one frame each, that plays over and over; return its bytes.

    milliseconds: how long a frame stays, one number for all or one a frame. Each pixel is 8 by 8, in 32 greys. The
    bar below grows from nothing under the first frame to the whole width under the last. A viewer that knows no
    animated PNG shows the first frame. The same images give the same bytes with the same Pillow. Source: chapter 7.
    """
    images = np.asarray(images, "float64").reshape(-1, SIDE, SIDE)
    greys = np.repeat(np.linspace(0, 255, LEVELS).round().astype("uint8"), 3).tobytes()
    frames = []
    for i, image in enumerate(images):
        frame = np.zeros((SIDE * ZOOM + GAP + BAR + GAP, SIDE * ZOOM), "uint8")
        frame[: SIDE * ZOOM] = np.kron((image * (LEVELS - 1)).round(), np.ones((ZOOM, ZOOM)))
        frame[-GAP - BAR : -GAP] = LEVELS // 4
        frame[-GAP - BAR : -GAP, : round(i / max(len(images) - 1, 1) * SIDE * ZOOM)] = LEVELS - 1
        frames.append(Image.frombytes("P", frame.shape[::-1], frame.tobytes()))
        frames[-1].putpalette(greys)
    file = io.BytesIO()
    durations = np.broadcast_to(milliseconds, len(frames)).tolist()
    frames[0].save(
        file, format="PNG", save_all=True, append_images=frames[1:], duration=durations, loop=0, compress_level=9
    )
    return file.getvalue()


def play_button(name):
    """Write the HTML of a button that plays and pauses the film in the figure of this name on the built page.

    Paused, a still copy of the first frame stands in the film's place; so it does at the start for a reader whose
    system asks for less motion. Without scripts there is no button. Where there is no such figure, as in Jupyter,
    nothing happens. Source: chapter 7.
    """
    return PLAY_BUTTON.replace("NAME", name)
