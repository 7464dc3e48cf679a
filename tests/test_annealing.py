"""Annealed importance sampling against the sum over the grid: forwards, backwards, and for more than two latents."""

from types import SimpleNamespace

import cvae_lib._tensorflow  # noqa: F401

# isort: split
import numpy as np
import pytest
import tensorflow as tf

from cvae_lib import annealing
from cvae_lib.annealing import annealed_weights, bound_from_above, bound_from_below
from cvae_lib.data import one_hot
from cvae_lib.evaluate import encode
from cvae_lib.likelihood import log_likelihood, log_weights, make_grid, posterior
from cvae_lib.model import CVAE

N_X, N_Y = 20, 3
GRID = make_grid(6, 100)


def make_decoder(seed):
    """A smooth decoder of two latents, whose posteriors are narrower than the prior and not Gaussian."""
    rng = np.random.default_rng(seed)
    from_z, from_label = (rng.normal(size=(rows, N_X)).astype("float32") for rows in (2, N_Y))

    def decoder(inputs):
        z, label = inputs
        return 2 * tf.tanh(z @ from_z) + label @ from_label

    return decoder


@pytest.fixture(autouse=True)
def eager():
    """Let TensorFlow run step by step: a few steps of a small network take less time than XLA takes to compile them."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="module")
def model():
    return SimpleNamespace(decoder=make_decoder(0))


@pytest.fixture(scope="module")
def drawn(model):
    """100 images that were drawn from the model, their labels, and the z of each."""
    rng = np.random.default_rng(1)
    z, label = rng.standard_normal((100, 2)).astype("float32"), one_hot(np.arange(100) % N_Y, N_Y)
    p = 1 / (1 + np.exp(-np.asarray(model.decoder([z, label]))))
    return (rng.random((100, N_X)) < p).astype("float32"), label, z


def measure_moments(model, x, label):
    """The mean and the standard deviation of each true posterior, (n, 2) both."""
    p, z = posterior(model, x, label, GRID), GRID.z.astype("float64")
    return p @ z, np.sqrt(p @ z**2 - (p @ z) ** 2)


def check_mean(values, expected):
    """The mean of independent values is within four of its standard errors of what is expected, and known well."""
    error = values.std(ddof=1) / np.sqrt(len(values))
    assert abs(values.mean() - expected) < 4 * error and error < 0.05 * abs(expected)


# Without bias, in both directions


@pytest.mark.parametrize("n_temperatures", [2, 5])
def test_weights_have_the_likelihood_as_their_mean(model, drawn, n_temperatures):
    """However few the temperatures are; the q to start from is a standard deviation off, and wide."""
    x, label = (part[:2] for part in drawn[:2])
    mean, sigma = measure_moments(model, x, label)
    log_w = annealed_weights(model, x, label, mean + sigma, 2 * np.log(1.5 * sigma), n_temperatures, 4000)
    for weights in np.exp(log_w - log_likelihood(model, x, label, GRID)[:, None]):
        check_mean(weights, 1)


def test_weights_backwards_have_the_inverse_as_their_mean(model, drawn, monkeypatch):
    """Each chain begins at a draw of its own of the true posterior: a cell of the grid, and a place in it."""
    monkeypatch.setattr(annealing, "IMAGES", 4000)
    rng, side = np.random.default_rng(2), GRID.axis[1] - GRID.axis[0]
    x, label = (part[:1] for part in drawn[:2])
    cells = rng.choice(len(GRID.z), 4000, p=posterior(model, x, label, GRID)[0])
    z_exact = GRID.z[cells] + rng.uniform(-side / 2, side / 2, (4000, 2))
    mean, sigma = measure_moments(model, x, label)
    q = mean + 0.5 * sigma, 2 * np.log(sigma)
    log_w = annealed_weights(model, *(np.repeat(part, 4000, axis=0) for part in (x, label, *q)), 5, 1, z_exact=z_exact)
    check_mean(np.exp(log_likelihood(model, x, label, GRID)[0] - log_w[:, 0]), 1)


# Between two bounds


def test_more_temperatures_bring_both_bounds_to_the_likelihood(model, drawn):
    """From a q that is three standard deviations off, on images whose exact z is known."""
    x, label, z = drawn
    mean, sigma = measure_moments(model, x, label)
    q = mean + 3 * sigma, 2 * np.log(sigma)
    exact = log_likelihood(model, x, label, GRID)
    short, over = [], []
    for n_temperatures in (1, 4, 32):
        below = bound_from_below(annealed_weights(model, x, label, *q, n_temperatures, 5))
        above = bound_from_above(annealed_weights(model, x, label, *q, n_temperatures, 5, z_exact=z))
        short.append(np.mean(exact - below))
        over.append(np.mean(above - exact))
    for apart in (short, over):
        assert apart[0] > 2 * apart[1] > 8 * apart[2] and 0 < apart[2] < 0.3


def test_four_latents_are_annealed_as_two(model, drawn):
    """Two halves of an image with two latents each: log p(x | y) is the sum of two sums over the grid."""
    halves = model, SimpleNamespace(decoder=make_decoder(3))

    def decoder(inputs):
        z, label = inputs
        return tf.concat([half.decoder([z[:, 2 * k : 2 * k + 2], label]) for k, half in enumerate(halves)], axis=1)

    x = [drawn[0][:50], drawn[0][50:]]
    label = drawn[1][:50]
    exact = sum(log_likelihood(half, part, label, GRID) for half, part in zip(halves, x))
    zeros = np.zeros((50, 4))
    log_w = annealed_weights(SimpleNamespace(decoder=decoder), np.hstack(x), label, zeros, zeros, 20, 40)
    check_mean(np.exp(log_w - exact[:, None]).ravel(), 1)


def test_a_keras_model_will_do():
    """One temperature gives the weights of importance sampling, in distribution; many give the likelihood, with XLA."""
    model = CVAE(n_hidden=8, seed=0, n_x=N_X, n_y=N_Y)
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(scale=0.5, size=variable.shape))
    x, label = rng.uniform(size=(3, N_X)).astype("float32"), one_hot([2, 0, 1], N_Y)
    codes = encode(model, x, label)
    found = annealed_weights(model, x, label, *codes, 1, 4000)
    expected = log_weights(model, x, label, *codes, 4000, np.random.default_rng(0))
    quantiles = [np.quantile(part, [0.25, 0.5, 0.75, 0.95], axis=1) for part in (found, expected)]
    np.testing.assert_allclose(*quantiles, atol=0.1 * expected.std(axis=1).max())
    tf.config.run_functions_eagerly(False)
    found = bound_from_below(annealed_weights(model, x, label, *codes, 30, 200))
    np.testing.assert_allclose(found, log_likelihood(model, x, label, GRID), atol=0.1)


def test_bounds_of_weights_by_hand():
    log_w = np.log([[1.0, 3.0], [4.0, 4.0]])
    np.testing.assert_allclose(bound_from_below(log_w - 5000), np.log([2, 4]) - 5000)
    np.testing.assert_allclose(bound_from_above(log_w - 5000), np.log([1.5, 4]) - 5000)


# What is drawn


def test_no_two_draws_share_a_seed(model, drawn, monkeypatch):
    """Those of two blocks, of two temperatures, of a step's size and its velocity; nor those of two seeds."""
    seeds = []
    for name in ("stateless_normal", "stateless_uniform"):
        draw = getattr(tf.random, name)
        monkeypatch.setattr(
            tf.random, name, lambda shape, seed, draw=draw: (seeds.append(tuple(map(int, seed))), draw(shape, seed))[1]
        )
    x, label, z = (part[:3] for part in drawn)
    monkeypatch.setattr(annealing, "IMAGES", 2)
    for seed in (0, 1):
        annealed_weights(model, x, label, z, np.zeros((3, 2)), 4, 2, seed)
    assert len(set(seeds)) == len(seeds) == 2 * 2 * (1 + 2 * 3)


def test_draws_follow_the_seed_alone(model, drawn, monkeypatch):
    """Copies of an image have chains of their own, in one block or in several; the same seed gives the same again."""
    x, label, z = (part[[0, 0, 0]] for part in drawn)
    monkeypatch.setattr(annealing, "IMAGES", 2)
    once, again, other = (annealed_weights(model, x, label, z, np.zeros((3, 2)), 3, 2, seed) for seed in (4, 4, 5))
    np.testing.assert_array_equal(once, again)
    assert once.shape == (3, 2) and once.dtype == np.float64
    assert len(np.unique([once, other])) == 12


def test_pixels_and_labels_are_any_numbers(model, drawn):
    x, label, z = (part[:2] for part in drawn)
    found = annealed_weights(
        model, x.astype("uint8"), label.astype("bool"), z.astype("float64"), np.zeros((2, 2)), 2, 1
    )
    np.testing.assert_array_equal(found, annealed_weights(model, x, label, z, np.zeros((2, 2)), 2, 1))


@pytest.mark.parametrize("label", [[0, 1], np.eye(N_Y)[:1], np.eye(N_Y)])
def test_labels_have_to_be_a_vector_for_each_image(model, drawn, label):
    x, z = drawn[0][:2], drawn[2][:2]
    with pytest.raises(ValueError, match=r"label: found the shape \(.*expected \(2, n_y\)"):
        annealed_weights(model, x, label, z, z, 2, 1)


def test_no_temperature_is_refused(model, drawn):
    """Or the weights would all be 1."""
    x, label, z = (part[:2] for part in drawn)
    with pytest.raises(ValueError, match="n_temperatures: found 0; expected at least 1"):
        annealed_weights(model, x, label, z, z, 0, 1)
