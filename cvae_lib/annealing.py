"""Annealed importance sampling: log p(x | y) of a model with any number of latents, and bounds from both sides.

Importance sampling draws z from the encoder's posterior and leaves it there. Annealing moves each draw in many small
steps from the encoder's posterior to the true one. Source: chapter 12; Neal (2001); Wu et al. (2017).
"""

from collections.abc import Callable
from typing import Any

import cvae_lib._tensorflow  # noqa: F401

# isort: split
import numpy as np
import tensorflow as tf

from cvae_lib.likelihood import HasDecoder, check_label, log_sum_exp
from cvae_lib.model import reconstruction_loss

IMAGES = 100  # annealed at a time
LEAPFROG_STEPS = 5
SMALLEST_STEP, LARGEST_STEP = 0.05, 0.8  # of a leapfrog, in standard deviations of the encoder's posterior


def annealed_weights(
    model: HasDecoder,
    x: Any,
    label: Any,
    z_mean: Any,
    z_log_var: Any,
    n_temperatures: int,
    n_chains: int,
    seed: int = 0,
    z_exact: Any = None,
) -> np.ndarray:
    """Move n_chains draws an image from q = N(z_mean, exp(z_log_var)) to p(z | x, y); return their log weights.

    Each chain goes through the densities q(z)^(1 - t) p(x, z | y)^t, in n_temperatures equal steps of t from 0 to 1,
    and takes a step of Hamiltonian Monte Carlo at each t between the two. The mean weight of an image estimates
    p(x | y) without bias. With one temperature nothing moves, and the weights are those of `likelihood.log_weights`.
    With z_exact, one draw of each image's true posterior, (n, n_z), the chains go backwards, from t = 1 to 0; then the
    mean of 1 / weight estimates 1 / p(x | y) without bias. For an image that was drawn from the model such a draw is
    known: it is the z that the image was drawn with. The moves need the gradient of the decoder, so it must be a
    TensorFlow network.

    Returns nats, (n, n_chains), float64. Raises ValueError for labels that are not (n, n_y) and for no temperature.
    Source: chapter 12; Neal (2001); Wu et al. (2017).
    """
    label = check_label(label, len(x))
    if n_temperatures < 1:
        raise ValueError(f"n_temperatures: found {n_temperatures}; expected at least 1")
    parts = [x, label, z_mean, z_log_var, *([] if z_exact is None else [z_exact])]
    log_ratio = _make_log_ratio(model)
    weigh, move = tf.function(log_ratio, jit_compile=True), _make_move(log_ratio)
    found = np.empty((len(x), n_chains))
    for start in range(0, len(x), IMAGES):
        rows = slice(start, start + IMAGES)
        chains = [tf.repeat(tf.cast(part[rows], "float32"), n_chains, axis=0) for part in parts]
        found[rows] = _anneal(weigh, move, chains, n_temperatures, (seed, start)).reshape(-1, n_chains)
    return found


def bound_from_below(log_w: np.ndarray) -> np.ndarray:
    """Compute the logarithm of the mean weight of each image, (n,): on average at most log p(x | y)."""
    return log_sum_exp(log_w) - np.log(log_w.shape[1])


def bound_from_above(log_w: np.ndarray) -> np.ndarray:
    """Compute minus the logarithm of the mean of 1 / weight of each image, for chains that went backwards, (n,).

    It is on average at least log p(x | y).
    """
    return np.log(log_w.shape[1]) - log_sum_exp(-log_w)


def _anneal(
    weigh: Callable[..., Any], move: Callable[..., Any], chains: list[Any], n_temperatures: int, seed: tuple[int, int]
) -> np.ndarray:
    """Anneal chains and return their log weights, (n,).

    chains holds the image, label, z_mean, z_log_var and maybe z_exact of each chain, as arrays (n, ...).
    """
    x, label, z_mean, z_log_var, *z_exact = chains
    sigma = tf.exp(z_log_var / 2)
    target = x, label, z_mean, sigma
    places = list(range(n_temperatures))
    if z_exact:
        u = (z_exact[0] - z_mean) / sigma
        places.reverse()
    else:
        u = tf.random.stateless_normal(sigma.shape, seed)
    log_w = np.zeros(len(x))
    # A chain that goes forwards is weighed before each move and one that goes backwards after it, so that both follow
    # the same path. Each block and each temperature has a seed of its own, and so has each of the two draws of a move.
    for place in places:
        t = tf.constant((place + 1) / n_temperatures, tf.float32)
        moves = place + 1 < n_temperatures  # at t = 1 a chain has arrived, or begins if it goes backwards
        step_seed = tf.constant([seed[0], seed[1] + 2**16 * (place + 1)])
        if z_exact and moves:
            u = move(u, t, step_seed, *target)
        log_w += weigh(u, *target).numpy().astype("float64") / n_temperatures
        if not z_exact and moves:
            u = move(u, t, step_seed, *target)
    return log_w


def _make_log_ratio(model: HasDecoder) -> Callable[..., Any]:
    """Make the function log p(x, z | y) - log q(z) of u = (z - z_mean) / sigma, from (n, n_z) to (n,).

    In units of the encoder's posterior one step size suits all latents.
    """

    def log_ratio(u: Any, x: Any, label: Any, z_mean: Any, sigma: Any) -> Any:
        z = z_mean + sigma * u
        log_p_over_q = tf.reduce_sum(tf.math.log(sigma) + 0.5 * (u**2 - z**2), axis=1)
        return log_p_over_q - reconstruction_loss(x, model.decoder([z, label]))

    return log_ratio


def _make_move(log_ratio: Callable[..., Any]) -> Callable[..., Any]:
    """Make one step of Hamiltonian Monte Carlo: a function that takes u (n, n_z), t, a seed and the target to a new u.

    The target holds the arguments that log_ratio takes after u. The step size of the leapfrogs is drawn for each chain,
    so that some suit narrow posteriors and some wide ones.
    """

    def energy_and_gradient(u: Any, t: Any, target: Any) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            tape.watch(u)
            energy = 0.5 * tf.reduce_sum(u**2, axis=1) - t * log_ratio(u, *target)
        return energy, tape.gradient(energy, u)

    @tf.function(jit_compile=True)
    def move(u: Any, t: Any, seed: Any, *target: Any) -> Any:
        shares = tf.random.stateless_uniform((len(u), 2), seed)
        size = SMALLEST_STEP * (LARGEST_STEP / SMALLEST_STEP) ** shares[:, :1]
        velocity = tf.random.stateless_normal(u.shape, seed + 1)
        place = u
        energy, gradient = energy_and_gradient(place, t, target)
        before = energy + 0.5 * tf.reduce_sum(velocity**2, axis=1)
        for _ in range(LEAPFROG_STEPS):
            velocity -= 0.5 * size * gradient
            place += size * velocity
            energy, gradient = energy_and_gradient(place, t, target)
            velocity -= 0.5 * size * gradient
        after = energy + 0.5 * tf.reduce_sum(velocity**2, axis=1)
        accepted = tf.math.log(shares[:, 1]) < before - after
        return tf.where(accepted[:, None], place, u)

    return move
