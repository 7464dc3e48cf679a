"""What the chapters measure, in float64 and without TensorFlow, so that it also checks what TensorFlow computes."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from cvae_lib.data.mnist import IMAGE_SHAPE
from cvae_lib.pictures import as_pictures


class Shape(NamedTuple):
    """The results of `measure_shape`, each (n,): the slant in pixels right per pixel up, the others in pixels."""

    ink: np.ndarray
    stroke: np.ndarray
    width: np.ndarray
    slant: np.ndarray


def cross_entropy(x: ArrayLike, p: ArrayLike) -> np.ndarray:
    """Compute the Bernoulli cross-entropy of pixels x under probabilities p: nats, summed over the last axis.

    x and p are in [0, 1] and broadcast against each other. Where p is exactly 0 or 1, a pixel adds 0 nats if x is
    equal to p, and is infinite if it is not. Source: chapter 2, equation (3).
    """
    x, p = np.asarray(x, "float64"), np.asarray(p, "float64")
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(x > 0, x * np.log(p), 0.0) + np.where(x < 1, (1 - x) * np.log1p(-p), 0.0)
    return -terms.sum(axis=-1)


def gaussian_kl(mean: ArrayLike, covariance: ArrayLike) -> float:
    """Compute KL(N(mean, covariance) || N(0, I)) in nats, summed over the axes.

    mean is (k,), covariance (k, k). For a diagonal covariance this is the KL loss. Source: chapter 5.
    """
    mean, covariance = np.asarray(mean, "float64"), np.asarray(covariance, "float64")
    return 0.5 * (np.trace(covariance) + mean @ mean - len(mean) - np.linalg.slogdet(covariance)[1])


def active_units(z_mean: ArrayLike, threshold: float = 0.01) -> int:
    """Count the latents that the encoder uses: those whose z_mean varies over the images by more than the threshold.

    z_mean is (n, n_z); the threshold is a variance. Source: chapter 12; Burda et al. (2016), section 5.2.
    """
    return int(np.sum(np.var(np.asarray(z_mean, "float64"), axis=0) > threshold))


def measure_shape(images: ArrayLike, image_shape: tuple[int, ...] = IMAGE_SHAPE) -> Shape:
    """Measure ink, stroke weight, width and slant of grey images with values in [0, 1], (n, n_x) or (n_x,).

    ink: the sum of the pixels. stroke: twice the ink over the length of its outline (the total variation), which is
    the thickness of a long line. slant: how far the ink moves right for each pixel up, the slope of the regression
    of column on height; it is positive if the ink leans right. width: the standard deviation of the columns around
    that slope. For an image without ink the last three are nan. Raises ValueError for colour. Source: chapter 6.
    """
    if len(image_shape) != 2:
        raise ValueError(f"image_shape: found {image_shape}; expected (height, width). Average the colours first.")
    rows, columns = image_shape
    images = as_pictures(np.asarray(images, "float64"), image_shape).reshape(-1, rows, columns)
    ink = images.sum(axis=(1, 2))
    framed = np.pad(images, ((0, 0), (0, 1), (0, 1)))
    across = np.diff(framed, axis=2, prepend=0)
    down = np.diff(framed, axis=1, prepend=0)
    stroke = 2 * ink / np.hypot(across, down).sum(axis=(1, 2))

    column = np.arange(columns)[None, None, :]
    height = -np.arange(rows)[None, :, None]

    def average(values: np.ndarray) -> np.ndarray:
        return (images * values).sum(axis=(1, 2)) / ink

    column = column - average(column)[:, None, None]
    height = height - average(height)[:, None, None]
    slant = average(column * height) / average(height**2)
    width = np.sqrt(average((column - slant[:, None, None] * height) ** 2))
    return Shape(ink, stroke, width, slant)
