"""What the chapters measure, in float64 NumPy: no TensorFlow, so it also checks what TensorFlow computes."""

from typing import NamedTuple

import numpy as np

SIDE = 28


class Shape(NamedTuple):
    """What `measure_shape` finds, each (n,): ink and stroke and width in pixels, slant in pixels right per pixel up."""

    ink: np.ndarray
    stroke: np.ndarray
    width: np.ndarray
    slant: np.ndarray


def cross_entropy(x, p):
    """Compute the Bernoulli cross-entropy of pixels x under probabilities p: nats, summed over the last axis.

    x and p are in [0, 1] and broadcast against each other. A p of exactly 0 or 1 costs nothing where x agrees and
    is infinite where it does not. Source: chapter 2, equation (3).
    """
    x, p = np.asarray(x, "float64"), np.asarray(p, "float64")
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(x > 0, x * np.log(p), 0.0) + np.where(x < 1, (1 - x) * np.log1p(-p), 0.0)
    return -terms.sum(axis=-1)


def gaussian_kl(mean, covariance):
    """Compute KL(N(mean, covariance) || N(0, I)) in nats, summed over the axes.

    mean is (k,), covariance (k, k). For a diagonal covariance this is the KL of the loss. Source: chapter 5.
    """
    mean, covariance = np.asarray(mean, "float64"), np.asarray(covariance, "float64")
    return 0.5 * (np.trace(covariance) + mean @ mean - len(mean) - np.linalg.slogdet(covariance)[1])


def active_units(z_mean, threshold=0.01):
    """Count the latents that the encoder uses: those whose z_mean has a variance above the threshold.

    z_mean is (n, n_z), over many images. Source: chapter 12; Burda et al. (2016), section 5.2.
    """
    return int(np.sum(np.var(np.asarray(z_mean, "float64"), axis=0) > threshold))


def measure_shape(images):
    """Measure ink, stroke weight, width and slant of images in [0, 1], (n, 784) or (784,); return a Shape.

    ink: the sum of the pixels. stroke: twice the ink over the length of its outline (the total variation), which is
    the thickness of a long line. slant: how far the ink moves right for each pixel up, the slope of the regression
    of column on height; positive leans right. width: the standard deviation of the columns around that slope.
    Source: chapter 6.
    """
    images = np.atleast_2d(np.asarray(images, "float64")).reshape(-1, SIDE, SIDE)
    ink = images.sum(axis=(1, 2))
    framed = np.pad(images, ((0, 0), (0, 1), (0, 1)))
    across = np.diff(framed, axis=2, prepend=0)
    down = np.diff(framed, axis=1, prepend=0)
    stroke = 2 * ink / np.hypot(across, down).sum(axis=(1, 2))

    column = np.arange(SIDE)[None, None, :]
    height = -np.arange(SIDE)[None, :, None]

    def average(values):
        return (images * values).sum(axis=(1, 2)) / ink

    column = column - average(column)[:, None, None]
    height = height - average(height)[:, None, None]
    slant = average(column * height) / average(height**2)
    width = np.sqrt(average((column - slant[:, None, None] * height) ** 2))
    return Shape(ink, stroke, width, slant)
