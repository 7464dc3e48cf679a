"""What the chapters measure. It is computed in float64 by NumPy alone, so it also checks what TensorFlow computes."""

import math
from itertools import count
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betaincinv, nctdtr, ndtri, stdtrit

from cvae_lib.data.mnist import IMAGE_SHAPE
from cvae_lib.pictures import as_pictures

BLOCK = 5_000  # images measured at a time, because each step of the computation makes new pictures of all of them


class Shape(NamedTuple):
    """The results of `measure_shape`, each (n,): the slant in pixels right per pixel up, the others in pixels."""

    ink: np.ndarray
    stroke: np.ndarray
    width: np.ndarray
    slant: np.ndarray


class Difference(NamedTuple):
    """The result of `compare`: a difference of two means, and the two ends of its confidence interval."""

    mean: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """The words that the difference allows: "larger", "smaller", or "no difference seen" if 0 is inside."""
        if self.low <= 0 <= self.high:
            return "no difference seen"
        return "larger" if self.low > 0 else "smaller"

    def __str__(self) -> str:
        return f"{self.mean:+.2f} [{self.low:+.2f}, {self.high:+.2f}] {self.verdict}"


def compare(a: ArrayLike, b: ArrayLike, paired: bool = False, confidence: float = 0.95) -> Difference:
    """Compare the means of two samples: the mean of a minus that of b, with its confidence interval.

    A sample has one value a seed, (n,), or one value an image. The intervals are Student's. Two independent samples are
    compared by Welch's test, which does not assume equal spreads. With paired, a[i] and b[i] belong together,
    for example by their image, and the interval is that of the mean of a[i] - b[i]. A number for b, for example a
    published figure, is taken to be exact. Where no value varies, the interval is the difference alone. Raises
    ValueError for a sample of fewer than two values, since one run has no spread, for values that are not finite, and
    for pairs that do not match. Source: chapter 3; Welch (1947).
    """
    first, second = np.asarray(a, "float64"), np.asarray(b, "float64")
    found = f"found the shapes {first.shape} and {second.shape}"
    if paired:
        if first.shape != second.shape:
            raise ValueError(f"pairs: {found}; expected one value of b for each of a.")
        first, second = first - second, np.zeros(())
    samples = [sample for sample in (first, second) if sample.ndim]
    if not samples or any(sample.ndim > 1 or len(sample) < 2 for sample in samples):
        raise ValueError(f"samples: {found}; expected (n,) with at least 2 values, which show how far they spread.")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("samples: found a value that is not finite; expected numbers. Leave out the runs that failed.")
    variances = [(sample.var(ddof=1) / len(sample), len(sample) - 1) for sample in samples]
    variance = sum(part for part, _ in variances)
    mean = float(first.mean() - second.mean())
    if variance == 0:
        return Difference(mean, mean, mean)
    freedom = variance**2 / sum(part**2 / n for part, n in variances)
    reach = stdtrit(freedom, (1 + confidence) / 2) * np.sqrt(variance)
    return Difference(mean, float(mean - reach), float(mean + reach))


def count_seeds(difference: float, spread: float, power: float = 0.8, confidence: float = 0.95) -> int:
    """Count the seeds that each of two recipes needs, so that a difference of their means is likely to be seen.

    difference is the true one and spread the standard deviation over the seeds of either, both in nats. power is the
    chance that the interval of `compare` lies on the right side of 0. Raises ValueError if one of the three is out of
    its range. Source: chapter 3. The share of one sample in the sum of the two variances has a beta distribution;
    given the share, the degrees of freedom of Welch's test are known and its statistic has a noncentral t distribution.
    """
    if not (0 < difference < np.inf and 0 < spread < np.inf and 0.5 <= power < 1):
        raise ValueError(
            f"found a difference of {difference}, a spread of {spread} and a power of {power}; expected two positive "
            "numbers of nats and a power from 0.5 to 1, without 1."
        )
    # Were the spread known, this many would do; a spread that is estimated needs more.
    least = 2 * ((ndtri((1 + confidence) / 2) + ndtri(power)) * spread / difference) ** 2
    quantiles = (np.arange(200) + 0.5) / 200
    for n in count(max(2, math.ceil(least))):
        share = betaincinv((n - 1) / 2, (n - 1) / 2, quantiles)
        freedom = (n - 1) / (share**2 + (1 - share) ** 2)
        shift = difference / (spread * np.sqrt(2 / n))
        missed = nctdtr(2 * n - 2, shift, stdtrit(freedom, (1 + confidence) / 2))
        if 1 - missed.mean() >= power:
            return n
    raise AssertionError("an endless count")


def cross_entropy(x: ArrayLike, p: ArrayLike) -> np.ndarray:
    """Compute the Bernoulli cross-entropy of pixels x under probabilities p: nats, summed over the last axis.

    x and p are in [0, 1] and broadcast against each other. Where p is exactly 0 or 1, a pixel adds 0 nats if x is
    equal to p, and is infinite if it is not. Source: chapter 2, equation (2.3).
    """
    x, p = np.asarray(x, "float64"), np.asarray(p, "float64")
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(x > 0, x * np.log(p), 0.0) + np.where(x < 1, (1 - x) * np.log1p(-p), 0.0)
    return -terms.sum(axis=-1)


def gaussian_kl(mean: ArrayLike, covariance: ArrayLike) -> float:
    """Compute KL(N(mean, covariance) || N(0, I)) in nats, summed over the axes.

    mean is (k,), covariance (k, k). For a diagonal covariance it is the KL loss. Source: chapter 5.
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
    that slope. For an image without ink the last three are nan. Raises ValueError for colour. Source: chapter 6; Castro
    et al. (2019) take the slant from the same moments, and the thickness from the distances along a skeleton.
    """
    if len(image_shape) != 2:
        raise ValueError(f"image_shape: found {image_shape}; expected (height, width). Average the colours first.")
    rows, columns = image_shape
    images = as_pictures(images, image_shape).reshape(-1, rows, columns)
    if len(images) > BLOCK:
        blocks = np.array_split(images, -(-len(images) // BLOCK))
        return Shape(*map(np.concatenate, zip(*(measure_shape(block, image_shape) for block in blocks))))
    images = images.astype("float64")
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
