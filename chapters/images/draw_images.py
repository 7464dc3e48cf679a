"""Draw the pictures of the first page with the book's own models. Run it again when these have been trained anew.

    python3 chapters/images/draw_images.py

`handwritings.png` is the still of the panel that draws digits: its middle row is z = 0. `training.png` is that of the
panel that trains. `three.png` is what the page's three lines of code draw. The five others are the strip that leads to
chapters. Digits are those of the sample edition, so that no download is needed.
"""

from pathlib import Path

import cvae_lib._tensorflow  # noqa: F401

# isort: split
import keras
import matplotlib
import numpy as np

from cvae_lib.data import load_sample, one_hot
from cvae_lib.evaluate import decode, encode, score_labels
from cvae_lib.likelihood import elbo, log_likelihood, make_grid, posterior
from cvae_lib.model import CVAE
from cvae_lib.pictures import as_pictures, enlarge, tile, write_png
from cvae_lib.pretrained import load_pretrained

HERE = Path(__file__).parent
LABELS = np.arange(10)
HANDWRITINGS = ((1.2, -0.9), (0.0, 0.0), (-0.9, 1.2))
SIDE = 4  # draws along a side of a picture of the strip
ASKED = 4  # the digit of the pictures that ask for one label
STEPS = (20, 60, 200, 1000)  # of a training, each with a row of pictures
BATCH = 100
TEMPERED = 0.1  # chapter 14's power of the likelihood, for completions that differ


def draw(name: str, z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Decode codes (n, n_z) under labels (n,) with the model of this name: pictures (n, 784)."""
    return decode(load_pretrained(name), z.astype("float32"), one_hot(y))


def sheet(images: np.ndarray, columns: int) -> np.ndarray:
    """Lay images (n, 784) out in rows of `columns`: one picture."""
    return tile(as_pictures(images).reshape(-1, columns, 28, 28))


def draw_handwritings() -> np.ndarray:
    """Ten digits in three handwritings: 84 by 280 pixels."""
    codes = np.repeat(HANDWRITINGS, len(LABELS), axis=0)
    return sheet(draw("mnist-2d", codes, np.tile(LABELS, len(HANDWRITINGS))), len(LABELS))


def draw_training() -> np.ndarray:
    """Ten digits at z = 0, a row after each of STEPS: 112 by 280 pixels. The settings are those of the panel."""
    keras.utils.set_random_seed(1)
    sample, model = load_sample(), CVAE(n_hidden=256, seed=1)
    model.compile(keras.optimizers.Adam(3e-3))
    rng, n = np.random.default_rng(1), len(sample.x_train)
    order = np.concatenate([rng.permutation(n) for _ in range(-(-STEPS[-1] * BATCH // n))])
    rows = []
    for first, last in zip((0, *STEPS), STEPS):
        batches = order[BATCH * first : BATCH * last]
        x, label = sample.x_train[batches], sample.label_train[batches]
        model.fit([x, label], x, batch_size=BATCH, shuffle=False, verbose=0)
        rows.append(decode(model, np.zeros((10, 2), "float32"), one_hot(LABELS)))
    return sheet(np.concatenate(rows), len(LABELS))


def draw_posterior() -> np.ndarray:
    """The true posterior of a digit as a heat map, and two standard deviations of the encoder's Gaussian as a line.

    Of 100 digits this is the one with the largest inference gap. The frame, 2.8 wide, holds both.
    """
    limit, n, width = 4.2, 168, 56
    model, sample, grid = load_pretrained("mnist-2d"), load_sample(), make_grid(limit, n)
    x, label = sample.x_test[:100], sample.label_test[:100]
    z_mean, z_log_var = encode(model, x, label)
    gap = log_likelihood(model, x, label, grid) - elbo(model, x, label, z_mean, z_log_var, grid)
    i = gap.argmax()
    mass = posterior(model, x[[i]], label[[i]], grid)[0]
    middle = (grid.z[mass.argmax()] + z_mean[i]) / 2
    corner = np.clip((middle + limit) / (2 * limit / n) - width / 2, 0, n - width).astype(int)
    frame = tuple(slice(first, first + width) for first in corner)
    distance = np.linalg.norm((grid.z - z_mean[i]) / np.exp(z_log_var[i] / 2), axis=1)
    heat = matplotlib.colormaps["viridis"](np.sqrt(mass / mass.max()))[:, :3]
    heat[abs(distance - 2) < 0.25] = 1
    return enlarge(heat.reshape(n, n, 3)[frame], 3)


def draw_label() -> np.ndarray:
    """Draws from the prior: above, the plain VAE's; below, the conditional model's, asked for one digit."""
    z = np.random.default_rng(3).standard_normal((SIDE * SIDE, 2))
    y = np.full(len(z), ASKED)
    half = len(z) // 2
    return sheet(np.concatenate([draw("mnist-2d-vae", z, y)[:half], draw("mnist-2d", z, y)[half:]]), SIDE)


def draw_control() -> np.ndarray:
    """Draws from the prior of the model with twenty latents, asked for one digit."""
    z = np.random.default_rng(2).standard_normal((SIDE * SIDE, 20))
    return sheet(draw("mnist-20d", z, np.full(len(z), ASKED)), SIDE)


def draw_disputed() -> np.ndarray:
    """The digits of the sample whose label the model disputes most, in nats."""
    sample = load_sample()
    scores = score_labels(load_pretrained("mnist-2d"), sample.x_test, np.eye(10, dtype="float32"), make_grid(4.0, 40))
    own = one_hot(sample.y_test).astype(bool)
    against = np.where(own, -np.inf, scores).max(axis=1) - scores[own]
    return enlarge(sheet(sample.x_test[np.argsort(-against, kind="stable")[:9]], 3), 2)


def draw_completions() -> np.ndarray:
    """A digit of which the lower left quarter is given, and eight completions."""
    model, sample, grid, rng = load_pretrained("mnist-2d"), load_sample(), make_grid(4.0, 60), np.random.default_rng(5)
    visible = np.zeros((28, 28), bool)
    visible[14:, :14] = True
    visible = visible.ravel()
    x = sample.x_test[sample.y_test == 3][:1]
    scores = TEMPERED * score_labels(model, x, np.eye(10, dtype="float32"), grid, visible)[0]
    labels = rng.choice(LABELS, 8, p=np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum())
    completions = []
    for label in labels:
        mass = posterior(model, x, one_hot([label]), grid, visible)[0] ** TEMPERED
        mass *= np.exp((1 - TEMPERED) * grid.log_prior)
        z = grid.z[rng.choice(len(mass), p=mass / mass.sum())]
        completions.append(np.where(visible, x[0], draw("mnist-2d", z[None], np.array([label]))[0]))
    return enlarge(sheet(np.stack([np.where(visible, x[0], 0.5), *completions]), 3), 2)


def main() -> None:
    """Write the pictures beside this script."""
    pictures = {
        "handwritings": draw_handwritings(),
        "training": draw_training(),
        "three": enlarge(sheet(draw("mnist-2d", np.zeros((1, 2)), np.array([3])), 1), 4),
        "posterior": draw_posterior(),
        "label": draw_label(),
        "control": draw_control(),
        "disputed": draw_disputed(),
        "completions": draw_completions(),
    }
    for name, picture in pictures.items():
        (HERE / f"{name}.png").write_bytes(write_png(picture, optimize=True))


if __name__ == "__main__":
    main()
