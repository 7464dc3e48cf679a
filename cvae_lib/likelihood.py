"""log p(x | y) by a sum over a grid of z, the true posterior, and the bounds that larger latent spaces need.

Chapter 8 derives all of it. The sum needs two latents: it is exact to a few ten-thousandths of a nat, because points
can fill a plane. The module needs NumPy alone. A model is anything with a `decoder` that takes [z, label] and gives
logits.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np

BLOCK = 10_000  # points of the grid, or samples, decoded at a time
BATCH = 1_000  # images scored at a time

# From logits to the logarithm of what the density of each pixel is divided by: nats, element by element.
Normaliser = Callable[[Any], Any]


class HasDecoder(Protocol):
    """All that a likelihood needs of a model: decoder([z, label]) gives the logits of the pixels, (n, n_x)."""

    @property
    def decoder(self) -> Callable[[Any], Any]: ...


class Grid(NamedTuple):
    """Equal square cells over the latent plane, made by `make_grid`.

    axis: their centres along one latent, (n,). z: all centres, float32, (n * n, 2), row by row from the top left, as in
    the grids of the 2017 notebook: z1 changes slowest. log_prior: the logarithm of the prior mass of each cell,
    log p(z) + log area, (n * n,).
    """

    axis: np.ndarray
    z: np.ndarray
    log_prior: np.ndarray


def make_grid(limit: float = 6.0, n: int = 240) -> Grid:
    """Cut the square from -limit to limit into n * n cells; return a Grid. Source: chapter 8."""
    side = 2 * limit / n
    axis = (np.arange(n) + 0.5) * side - limit
    z = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    log_prior = -0.5 * np.sum(z**2, axis=1) - np.log(2 * np.pi) + 2 * np.log(side)
    return Grid(axis, z.astype("float32"), log_prior)


def decode_logits(model: HasDecoder, z: Any, label: Any) -> np.ndarray:
    """Decode z (m, n_z) under one label for all, (n_y,), or under one label each, (m, n_y): logits, (m, n_x)."""
    label = np.asarray(label, "float32")
    label = np.broadcast_to(label, (len(z), label.shape[-1]))
    return to_numpy(model.decoder([np.asarray(z, "float32"), label]))


def check_label(label: Any, n: int) -> np.ndarray:
    """Return the labels of n images as an array. Raises ValueError unless it is (n, n_y)."""
    label = np.asarray(label)
    if label.ndim != 2 or len(label) != n:
        raise ValueError(f"label: found the shape {label.shape}; expected ({n}, n_y), a vector for each image")
    return label


def to_numpy(output: Any) -> np.ndarray:
    """Turn the output of a network into a NumPy array of at least float32.

    Half precision is enough to draw a picture, but not to add up the losses of its pixels.
    """
    array = np.asarray(output)
    return array.astype(np.result_type(array, "float32"), copy=False)


def softplus(a: Any) -> Any:
    """Compute log(1 + exp(a)) for any real a without overflow."""
    return np.maximum(a, 0) + np.log(1 + np.exp(-np.abs(a)))


def continuous_normaliser(a: Any) -> Any:
    """Compute log((exp(a) - 1) / a), which the continuous Bernoulli has where the Bernoulli has softplus(a).

    It works for any real a without overflow. Near 0, where the formula divides 0 by 0, it takes the series. Source:
    chapter 15.
    """
    size = np.abs(a)
    near = size < 0.1
    size = np.where(near, 1, size)
    far = np.maximum(a, 0) + np.log(-np.expm1(-size) / size)
    return np.where(near, a / 2 + a**2 / 24 - a**4 / 2880, far)


def mean_pixel(a: Any) -> Any:
    """Compute the mean of the continuous Bernoulli with the logits a: 1 / (1 - exp(-a)) - 1 / a, by its series near 0.

    It is the derivative of `continuous_normaliser`, as the sigmoid is that of softplus. Source: chapter 15.
    """
    near = np.abs(a) < 0.1
    safe = np.where(near, 1, a)
    far = -1 / np.expm1(-np.maximum(safe, -80)) - 1 / safe
    return np.where(near, 0.5 + a / 12 - a**3 / 720, far)


def score(x: Any, logits: Any, normaliser: Normaliser = softplus) -> np.ndarray:
    """Compute log p(x | z, y) of every image under every decoded z: nats, summed over the pixels, (n, m).

    x is (n, d) in [0, 1] and logits (m, d). Pass the same d columns of both to score some of the pixels only. Pass
    continuous_normaliser for the density of the continuous Bernoulli. Equation (3) of chapter 2, as one matrix
    product. Source: chapter 8.
    """
    # In parts that fit into the processor's cache, the same sums take half the time.
    parts = np.array_split(logits, len(logits) // 128 + 1)
    return x @ logits.T - np.concatenate([normaliser(part).sum(axis=1) for part in parts])


def log_sum_exp(values: np.ndarray) -> np.ndarray:
    """Compute the logarithm of the sum of exp(values) over the last axis, scaled so that nothing under- or overflows.

    A row of -inf gives -inf.
    """
    top = values.max(axis=-1, keepdims=True)
    top = np.where(np.isfinite(top), top, 0)
    scaled = values - top
    np.exp(scaled, out=scaled)
    with np.errstate(divide="ignore"):
        return np.log(scaled.sum(axis=-1)) + top[..., 0]


def log_likelihood(
    model: HasDecoder, x: Any, label: Any, grid: Grid, visible: Any = slice(None), normaliser: Normaliser = softplus
) -> np.ndarray:
    """Compute log p(x | y) by the sum over the grid: nats, one value an image, float64, (n,).

    x is (n, n_x) and label (n, n_y), which need not be the image's own. Images of one label are scored together, so the
    grid is decoded once for each label. visible chooses pixels, as a mask (n_x,), indices or a slice: then only their
    probability is computed, and the other pixels are summed out. normaliser is that of `score`. Memory does not grow
    with the grid. Source: chapter 8.
    """
    found = np.full(len(x), -np.inf)
    for rows, points, scores in _scores(model, x, label, grid, visible, normaliser):
        part = log_sum_exp(scores + grid.log_prior[points].astype(scores.dtype))
        found[rows] = np.logaddexp(found[rows], part)
    return found


def posterior(model: HasDecoder, x: Any, label: Any, grid: Grid, visible: Any = slice(None)) -> np.ndarray:
    """Compute p(z | x, y), the mass of every cell of the grid: it sums to 1 over the cells, float64, (n, n_points).

    The arguments are those of `log_likelihood`; with `visible`, it is the posterior given those pixels. The result
    holds all cells for all images, so pass few images. Source: chapter 8.
    """
    joint = np.empty((len(x), len(grid.z)))
    for rows, points, scores in _scores(model, x, label, grid, visible):
        joint[rows, points] = scores + grid.log_prior[points]
    joint -= log_sum_exp(joint)[:, None]
    return np.exp(joint, out=joint)


def elbo(model: HasDecoder, x: Any, label: Any, z_mean: Any, z_log_var: Any, grid: Grid) -> np.ndarray:
    """Compute the ELBO without sampling: nats, one value an image, float64, (n,).

    The mean of log p(x | z, y) under q = N(z_mean, exp(z_log_var)) is a sum over the grid, with q scaled to sum to 1
    there. So the grid must reach beyond q, and its cells must be narrower than q. The KL has its closed form. z_mean
    and z_log_var are (n, 2). Equation (2) of chapter 2. Source: chapter 8.
    """
    mean, log_var = np.asarray(z_mean, "float64"), np.asarray(z_log_var, "float64")
    bells = np.exp(-0.5 * (grid.axis - mean[..., None]) ** 2 / np.exp(log_var)[..., None])
    q1, q2 = np.moveaxis(bells / bells.sum(axis=-1, keepdims=True), 1, 0)
    found = -0.5 * np.sum(np.exp(log_var) + mean**2 - 1 - log_var, axis=1)
    n = len(grid.axis)
    for rows, points, scores in _scores(model, x, label, grid):
        lines = slice(points.start // n, points.stop // n)
        along_z2 = np.matmul(scores.reshape(len(rows), -1, n), q2[rows, :, None].astype(scores.dtype))[..., 0]
        found[rows] += np.sum(along_z2 * q1[rows, lines], axis=1)
    return found


def best_gaussians(
    model: HasDecoder, x: Any, label: Any, z_mean: Any, z_log_var: Any, grid: Grid, steps: int = 40
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fit to each image a q of its own, N(z_mean, exp(z_log_var)) with independent axes, by raising its ELBO.

    Returns z_mean and z_log_var, (n, 2), and the ELBO that they reach, (n,), nats, float64. Each fit starts twice: at
    the given z_mean and z_log_var, (n, 2), and at the moments of the true posterior. From each start it takes `steps`
    damped steps of natural gradient, and it keeps the best q of all. A q neither leaves the grid nor gets narrower than
    a cell. The sums over the grid are those of `elbo`. Like `posterior`, the fit holds all cells for all images, so
    pass few images. Source: chapter 8; Khan & Lin (2017) for the steps.
    """
    n = len(grid.axis)
    surface = np.empty((len(x), n, n), "float32")
    cells = surface.reshape(len(x), n * n)
    for rows, points, scores in _scores(model, x, label, grid):
        cells[rows, points] = scores
    joint = cells + grid.log_prior
    mass = np.exp(joint - log_sum_exp(joint)[:, None]).reshape(len(x), n, n)
    sides = np.stack([mass.sum(axis=2), mass.sum(axis=1)], axis=1)  # the posterior along each axis, (n_images, 2, n)
    middle = sides @ grid.axis
    spread = np.sqrt(np.maximum(sides @ grid.axis**2 - middle**2, 1e-12))
    given = np.asarray(z_mean, "float64"), np.exp(np.asarray(z_log_var, "float64") / 2)

    best = np.full(len(x), -np.inf)
    best_mean, best_sigma = np.zeros((2, len(x), 2))
    for mean, sigma in (given, (middle, spread)):
        for _ in range(steps):
            # Off the grid, or between its cells, q would have no sum.
            mean = np.clip(mean, grid.axis[0], grid.axis[-1])
            sigma = np.maximum(sigma, grid.axis[1] - grid.axis[0])
            u = (grid.axis - mean[..., None]) / sigma[..., None]
            q = np.exp(-0.5 * u**2)
            q /= q.sum(axis=-1, keepdims=True)
            q1, q2 = np.moveaxis(q.astype("float32"), 1, 0)
            # The mean of log p(x | z, y) over one axis, as a function of the other.
            along_z1, along_z2 = np.matmul(surface, q2[..., None])[..., 0], np.matmul(q1[:, None], surface)[:, 0]
            along = np.stack([along_z1, along_z2], axis=1)
            value = np.sum(along_z1 * q[:, 0], axis=1)
            value = value - 0.5 * np.sum(sigma**2 + mean**2 - 1 - 2 * np.log(sigma), axis=1)
            better = value > best
            best[better], best_mean[better], best_sigma[better] = value[better], mean[better], sigma[better]
            # Derivatives of that mean by z_mean and by the variance of q, from sums alone (Stein's identity).
            by_mean = np.sum(along * q * u, axis=2) / sigma
            by_variance = np.sum(along * q * (u**2 - 1), axis=2) / (2 * sigma**2)
            precision = np.maximum(0.7 / sigma**2 + 0.3 * (1 - 2 * by_variance), 0.5 / sigma**2)
            mean, sigma = mean + 0.3 * (by_mean - mean) / precision, 1 / np.sqrt(precision)
    return best_mean, 2 * np.log(best_sigma), best


def log_weights(
    model: HasDecoder, x: Any, label: Any, z_mean: Any, z_log_var: Any, n_samples: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw n_samples of z an image from q = N(z_mean, exp(z_log_var)); return their log importance weights.

    It works for any number of latents. A weight is p(x | z, y) p(z) / q(z | x, y), its logarithm in nats: (n,
    n_samples), float64. Source: chapter 8; Burda et al. (2016).
    """
    label = check_label(label, len(x))
    sigma = np.exp(np.asarray(z_log_var, "float64") / 2)
    found = np.empty((len(x), n_samples))
    for i in range(len(x)):
        for start in range(0, n_samples, BLOCK):
            stop = min(start + BLOCK, n_samples)
            epsilon = rng.standard_normal((stop - start, sigma.shape[1]))
            z = z_mean[i] + sigma[i] * epsilon
            log_p_over_q = 0.5 * np.sum(epsilon**2 - z**2, axis=1) + np.log(sigma[i]).sum()
            found[i, start:stop] = score(x[i : i + 1], decode_logits(model, z, label[i]))[0] + log_p_over_q
    return found


def importance_bound(log_w: np.ndarray, k: int) -> np.ndarray:
    """Compute the importance-weighted bound with k samples: nats, one value an image, (n,).

    log_w is (n, n_samples), from `log_weights`. Each run of k samples gives one bound, the logarithm of their mean
    weight; the result is the average of these bounds. k = 1 gives the ELBO, k = n_samples the tightest bound. If k does
    not divide n_samples, the samples left over are not used. Raises ValueError unless k is from 1 to n_samples. Source:
    chapter 8; Burda et al. (2016), equation (8).
    """
    if not 1 <= k <= log_w.shape[1]:
        raise ValueError(f"k: found {k}; expected a number from 1 to the {log_w.shape[1]} samples of each image.")
    groups = log_w.shape[1] // k
    grouped = log_w[:, : groups * k].reshape(len(log_w), groups, k)
    return np.mean(log_sum_exp(grouped) - np.log(k), axis=1)


def _scores(
    model: HasDecoder, x: Any, label: Any, grid: Grid, visible: Any = slice(None), normaliser: Normaliser = softplus
) -> Iterator[tuple[np.ndarray, slice, np.ndarray]]:
    """Yield the images' indices, a slice of whole lines of the grid, and their scores, block by block."""
    x, label = np.asarray(x), check_label(label, len(x))
    labels, group = np.unique(label, axis=0, return_inverse=True)
    n = len(grid.axis)
    step = max(1, BLOCK // n) * n
    for k, one in enumerate(labels):
        of_label = np.flatnonzero(group == k)
        for start in range(0, len(grid.z), step):
            points = slice(start, min(start + step, len(grid.z)))
            logits = decode_logits(model, grid.z[points], one)[:, visible]
            for first in range(0, len(of_label), BATCH):
                rows = of_label[first : first + BATCH]
                yield rows, points, score(x[rows][:, visible], logits, normaliser)
