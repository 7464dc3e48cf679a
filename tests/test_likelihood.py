"""The sum over the grid, against closed forms, plain float64 loops and Monte Carlo; the bounds, against the sum."""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.optimize import minimize

from cvae_lib import likelihood
from cvae_lib.data import one_hot
from cvae_lib.likelihood import (
    best_gaussians,
    decode_logits,
    elbo,
    importance_bound,
    log_likelihood,
    log_sum_exp,
    log_weights,
    make_grid,
    posterior,
    score,
    softplus,
)

N_X, N_Y = 30, 5


@pytest.fixture(scope="module")
def model():
    """A smooth decoder of 30 pixels whose logits depend on z1, z2 and the label, each in its own way."""
    rng = np.random.default_rng(0)
    from_z, from_label = rng.normal(size=(2, N_X)), rng.normal(size=(N_Y, N_X))

    def decoder(inputs):
        z, label = inputs
        assert z.dtype == label.dtype == np.float32 and z.shape == (len(label), 2)
        return (np.tanh(z @ from_z) + label @ from_label).astype("float32")

    return SimpleNamespace(decoder=decoder)


@pytest.fixture(scope="module")
def images():
    """Eight images, their labels unsorted, their codes to the sides of the plane."""
    rng = np.random.default_rng(1)
    x = rng.uniform(size=(8, N_X)).astype("float32")
    label = one_hot([3, 0, 3, 4, 1, 0, 3, 4], N_Y)
    z_mean, z_log_var = rng.normal(size=(8, 2)), rng.uniform(-2, 0, size=(8, 2))
    return x, label, z_mean, z_log_var


def make_constant(logits):
    return SimpleNamespace(decoder=lambda inputs: np.tile(np.asarray(logits, "float32"), (len(inputs[0]), 1)))


def log_bernoulli(x, logits):
    """By the first form of the equation, in float64."""
    p = 1 / (1 + np.exp(-logits.astype("float64")))
    return np.sum(x * np.log(p) + (1 - x) * np.log(1 - p), axis=-1)


def sum_by_hand(model, x, label, limit=6.0, n=120, columns=slice(None)):
    """log p(x | y) as a plain float64 sum over points, on a trapezoid grid that shares no point with make_grid."""
    axis = np.linspace(-limit, limit, n + 1)
    z = np.array([[a, b] for a in axis for b in axis])
    prior = np.exp(-(z**2).sum(axis=1) / 2) / (2 * np.pi) * (axis[1] - axis[0]) ** 2
    found = []
    for image, told in zip(x.astype("float64"), label):
        logits = model.decoder([z.astype("float32"), np.tile(told, (len(z), 1))])
        found.append(np.log(np.sum(np.exp(log_bernoulli(image[columns], logits[:, columns])) * prior)))
    return np.array(found)


# The grid


def test_grid_holds_the_prior():
    grid = make_grid(6, 60)
    mass = np.exp(grid.log_prior)
    assert grid.z.shape == (3600, 2) and grid.log_prior.shape == (3600,) and grid.axis.shape == (60,)
    assert grid.z.dtype == np.float32
    assert mass.sum() == pytest.approx(1, abs=1e-7)
    np.testing.assert_allclose(mass @ grid.z.astype("float64"), 0, atol=1e-7)
    np.testing.assert_allclose((grid.z * mass[:, None]).T @ grid.z.astype("float64"), np.eye(2), atol=1e-5)


def test_grid_runs_z1_slowest():
    """So that `posterior(...).reshape(n, n)` is drawn as the 2017 grids are, z1 downwards."""
    grid = make_grid(3, 6)
    np.testing.assert_allclose(grid.axis, [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5])
    np.testing.assert_allclose(grid.z[:2], [[-2.5, -2.5], [-2.5, -1.5]])
    np.testing.assert_allclose(grid.z.reshape(6, 6, 2)[4, 1], [1.5, -1.5])


def test_the_grid_of_the_book_has_240_cells_from_minus_6_to_6():
    axis = make_grid().axis
    assert len(axis) == 240 and axis[0] == pytest.approx(-5.975) and axis[-1] == pytest.approx(5.975)


def test_a_narrow_grid_holds_less():
    assert np.exp(make_grid(1, 50).log_prior).sum() == pytest.approx(0.6827**2, abs=1e-3)


# The parts


def test_softplus_over_its_range():
    a = np.array([-1e4, -50, -1, 0, 1e-3, 1, 50, 1e4])
    np.testing.assert_allclose(softplus(a), np.logaddexp(0, a), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(softplus(a.astype("float32")), np.logaddexp(0, a), rtol=1e-6, atol=1e-7)


def test_score_is_the_bernoulli_of_every_pair():
    rng = np.random.default_rng(0)
    x, logits = rng.uniform(size=(4, 9)), rng.normal(scale=3, size=(5, 9))
    found = score(x, logits)
    assert found.shape == (4, 5)
    np.testing.assert_allclose(found, log_bernoulli(x[:, None], logits[None]), rtol=1e-10)


def test_score_is_minus_the_loss_of_the_model():
    from cvae_lib.model import reconstruction_loss

    rng = np.random.default_rng(0)
    x = rng.uniform(size=(4, 784)).astype("float32")
    logits = rng.normal(scale=5, size=(4, 784)).astype("float32")
    np.testing.assert_allclose(np.diag(score(x, logits)), -np.asarray(reconstruction_loss(x, logits)), rtol=1e-5)


def test_log_sum_exp():
    values = np.array([[-1000.0, -1000.0], [1000.0, -np.inf], [-np.inf, -np.inf], [0.0, 1.0]])
    expected = [-1000 + np.log(2), 1000, -np.inf, np.log(1 + np.e)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(log_sum_exp(values), expected, rtol=1e-12)


def test_decode_logits_takes_one_label_or_many(model):
    z, label = np.random.default_rng(0).normal(size=(3, 2)), np.eye(N_Y)
    found = decode_logits(model, z, label[4])
    assert found.shape == (3, N_X) and found.dtype == np.float32
    np.testing.assert_array_equal(found, decode_logits(model, z, label[[4, 4, 4]]))
    changed = np.abs(found - decode_logits(model, z, label[[4, 2, 4]])).max(axis=1) > 0.1
    assert changed.tolist() == [False, True, False]


# The likelihood


def test_a_decoder_that_ignores_z_gives_the_closed_form(images):
    """Then p(x | y) is p(x | z, y), the posterior is the prior, and the gap is the KL of the loss."""
    x, label, z_mean, z_log_var = images
    logits, grid = np.linspace(-4, 4, N_X), make_grid(6, 60)
    blind = make_constant(logits)
    expected = log_bernoulli(x, logits)
    np.testing.assert_allclose(log_likelihood(blind, x, label, grid), expected, atol=1e-4)
    np.testing.assert_allclose(posterior(blind, x, label, grid), np.tile(np.exp(grid.log_prior), (8, 1)), atol=1e-6)
    kl = 0.5 * (np.exp(z_log_var) + z_mean**2 - 1 - z_log_var).sum(axis=1)
    np.testing.assert_allclose(elbo(blind, x, label, z_mean, z_log_var, grid), expected - kl, atol=1e-4)


def test_likelihood_is_the_sum_by_hand(model, images):
    x, label = images[:2]
    found = log_likelihood(model, x, label, make_grid(6, 120))
    assert found.shape == (8,) and found.dtype == np.float64
    np.testing.assert_allclose(found, sum_by_hand(model, x, label), atol=1e-4)


def test_likelihood_is_the_mean_over_draws_from_the_prior(model, images):
    x, label = images[0][:1], images[1][:1]
    z = np.random.default_rng(0).normal(size=(100_000, 2))
    p = np.exp(log_bernoulli(x.astype("float64"), decode_logits(model, z, label[0])))
    found = np.exp(log_likelihood(model, x, label, make_grid(6, 60)))[0]
    assert found == pytest.approx(p.mean(), abs=5 * p.std() / np.sqrt(len(p)))
    assert p.std() / np.sqrt(len(p)) < 0.02 * p.mean()


def test_doubling_and_widening_the_grid_change_nothing(model, images):
    x, label = images[:2]
    base = log_likelihood(model, x, label, make_grid(6, 60))
    for grid in (make_grid(6, 120), make_grid(8, 80)):
        np.testing.assert_allclose(log_likelihood(model, x, label, grid), base, atol=1e-4)
    assert np.abs(log_likelihood(model, x, label, make_grid(6, 6)) - base).max() > 0.01
    assert (log_likelihood(model, x, label, make_grid(1, 10)) < base - 0.05).all()


def test_a_label_that_is_not_the_own_is_asked_about(model, images):
    x = images[0]
    labels = np.eye(N_Y, dtype="float32")
    found = np.array([log_likelihood(model, x, np.tile(label, (8, 1)), make_grid(6, 60)) for label in labels])
    expected = [sum_by_hand(model, x[2:3], [label])[0] for label in labels]
    np.testing.assert_allclose(found[:, 2], expected, atol=1e-4)
    assert np.ptp(found[:, 2]) > 1


@pytest.mark.parametrize("block, batch", [(1, 1), (45, 2), (70, 3), (10**6, 8)])
def test_blocks_and_batches_change_nothing(model, images, monkeypatch, block, batch):
    """Also where the last block or batch is not full, and where a block is less than a line of the grid."""
    x, label, z_mean, z_log_var = images
    grid = make_grid(5, 20)

    def measure():
        return [
            log_likelihood(model, x, label, grid),
            elbo(model, x, label, z_mean, z_log_var, grid),
            posterior(model, x, label, grid),
            log_weights(model, x, label, z_mean, z_log_var, 50, np.random.default_rng(0)),
        ]

    expected = measure()
    monkeypatch.setattr(likelihood, "BLOCK", block)
    monkeypatch.setattr(likelihood, "BATCH", batch)
    for found, known in zip(measure(), expected):
        np.testing.assert_allclose(found, known, rtol=1e-5, atol=1e-5)


def test_memory_does_not_grow_with_the_grid(images):
    sizes = []

    def decoder(inputs):
        sizes.append(len(inputs[0]))
        return np.zeros((len(inputs[0]), N_X), "float32")

    log_likelihood(SimpleNamespace(decoder=decoder), images[0][:1], images[1][:1], make_grid(6, 300))
    assert sum(sizes) == 90_000 and max(sizes) <= likelihood.BLOCK


def test_only_the_labels_that_occur_are_decoded(images):
    seen = []

    def decoder(inputs):
        seen.extend(inputs[1].argmax(axis=1))
        return np.zeros((len(inputs[0]), N_X), "float32")

    log_likelihood(SimpleNamespace(decoder=decoder), images[0], images[1], make_grid(6, 10))
    assert set(seen) == {0, 1, 3, 4} and len(seen) == 400


def test_no_images_no_values(model):
    assert log_likelihood(model, np.zeros((0, N_X), "float32"), np.zeros((0, N_Y)), make_grid(6, 10)).shape == (0,)


def test_improbable_images_do_not_underflow(images):
    """exp(-5000) is 0 in any float: the logarithm must not be -inf."""
    blind = make_constant(np.full(N_X, 200.0))
    found = log_likelihood(blind, np.zeros((1, N_X), "float32"), np.eye(N_Y)[:1], make_grid(6, 20))
    np.testing.assert_allclose(found, -200 * N_X, rtol=1e-6)


def test_a_label_is_any_vector(model, images):
    """Blends and real numbers, some the same for several images, some for one."""
    x = images[0]
    label = np.array([[0.3, 0.7, 0, 0, 0], [-1.5, 0, 2, 0.25, 1]], "float32")[[0, 1, 1, 0, 1, 1, 0, 1]]
    label[2] += 0.5
    found = log_likelihood(model, x, label, make_grid(6, 60))
    np.testing.assert_allclose(found, sum_by_hand(model, x, label, n=60), atol=1e-4)
    assert len(np.unique(found.round(6))) == 8


@pytest.mark.parametrize("label", [[3, 0, 3, 4, 1, 0, 3, 4], np.eye(N_Y)[:1], np.eye(N_Y)[:1].repeat(9, axis=0)])
def test_labels_have_to_be_a_vector_for_each_image(model, images, label):
    """The classes themselves, one vector for all images, a vector too many."""
    x, _, z_mean, z_log_var = images
    for measure in (
        lambda: log_likelihood(model, x, label, make_grid(6, 10)),
        lambda: posterior(model, x, label, make_grid(6, 10)),
        lambda: elbo(model, x, label, z_mean, z_log_var, make_grid(6, 10)),
        lambda: best_gaussians(model, x, label, z_mean, z_log_var, make_grid(6, 10)),
        lambda: log_weights(model, x, label, z_mean, z_log_var, 3, np.random.default_rng(0)),
    ):
        with pytest.raises(ValueError, match=r"label: found the shape \(.*expected \(8, n_y\)"):
            measure()


@pytest.mark.parametrize("pixels, labels", [("bool", "int64"), ("uint8", "bool"), ("int64", "float64"), ("f2", "f2")])
def test_scores_take_any_numbers(model, images, pixels, labels):
    x, label, z_mean, z_log_var = images
    x, grid = np.round(x), make_grid(6, 30)

    def measure(x, label):
        return [
            log_likelihood(model, x, label, grid),
            posterior(model, x, label, grid),
            elbo(model, x, label, z_mean, z_log_var, grid),
            log_weights(model, x, label, z_mean, z_log_var, 5, np.random.default_rng(0)),
        ]

    for found, expected in zip(measure(x.astype(pixels), label.astype(labels)), measure(x, label)):
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


# Some of the pixels


def test_visible_sums_the_other_pixels_out(model, images):
    x, label = images[:2]
    grid, columns = make_grid(6, 120), np.array([0, 3, 4, 17, 29])
    mask = np.isin(np.arange(N_X), columns)
    expected = sum_by_hand(model, x, label, columns=columns)
    np.testing.assert_allclose(log_likelihood(model, x, label, grid, columns), expected, atol=1e-4)
    np.testing.assert_allclose(log_likelihood(model, x, label, grid, mask), expected, atol=1e-4)
    hidden = x.copy()
    hidden[:, ~mask] = np.nan
    np.testing.assert_allclose(log_likelihood(model, hidden, label, grid, mask), expected, atol=1e-4)


def test_hidden_pixels_are_a_sum_over_their_values(model, images):
    """For pixels of 0 and 1: p(visible) is the sum of p(visible, hidden) over all values of the hidden ones."""
    x, grid, visible = np.round(images[0][:1]), make_grid(6, 60), np.arange(2, N_X)
    filled = np.repeat(x, 4, axis=0)
    filled[:, :2] = [[0, 0], [0, 1], [1, 0], [1, 1]]
    whole = np.logaddexp.reduce(log_likelihood(model, filled, np.tile(np.eye(N_Y)[3], (4, 1)), grid))
    assert log_likelihood(model, x, np.eye(N_Y)[[3]], grid, visible)[0] == pytest.approx(whole, abs=1e-4)


def test_nothing_visible_leaves_the_prior(model, images):
    x, label = images[:2]
    grid, nothing = make_grid(6, 60), np.zeros(N_X, bool)
    np.testing.assert_allclose(log_likelihood(model, x, label, grid, nothing), 0, atol=1e-6)
    np.testing.assert_allclose(posterior(model, x, label, grid, nothing)[0], np.exp(grid.log_prior), atol=1e-8)


# The posterior


def test_posterior_is_bayes_rule(model, images):
    x, label = images[:2]
    grid = make_grid(6, 60)
    found = posterior(model, x, label, grid)
    assert found.shape == (8, 3600)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-12)
    for i in range(8):
        joint = log_bernoulli(x[i].astype("float64"), decode_logits(model, grid.z, label[i])) + grid.log_prior
        np.testing.assert_allclose(found[i], np.exp(joint) / np.exp(joint).sum(), rtol=1e-3, atol=1e-9)


def test_posterior_of_some_pixels_is_wider(model, images):
    x, label = images[:2]
    grid = make_grid(6, 60)
    entropies = []
    for visible in (slice(None), slice(0, 3)):
        p = posterior(model, x, label, grid, visible)
        entropies.append(-np.sum(p * np.log(np.maximum(p, 1e-300)), axis=1).mean())
    assert entropies[1] > entropies[0] + 0.3


# The ELBO


def test_elbo_is_the_mean_over_draws_of_the_encoder(model, images):
    x, label, z_mean, z_log_var = images
    found = elbo(model, x, label, z_mean, z_log_var, make_grid(6, 120))
    log_w = log_weights(model, x, label, z_mean, z_log_var, 20_000, np.random.default_rng(0))
    assert (np.abs(found - log_w.mean(axis=1)) < 5 * log_w.std(axis=1) / np.sqrt(20_000) + 1e-4).all()


def test_gap_is_the_kl_from_the_encoder_to_the_posterior(model, images):
    x, label, z_mean, z_log_var = images
    grid = make_grid(6, 120)
    found = log_likelihood(model, x, label, grid) - elbo(model, x, label, z_mean, z_log_var, grid)
    steps = (grid.z - z_mean[:, None]) / np.exp(z_log_var / 2)[:, None]
    q = np.exp(-0.5 * np.sum(steps**2, axis=-1))
    q /= q.sum(axis=1, keepdims=True)
    kl = np.sum(q * (np.log(q + 1e-300) - np.log(posterior(model, x, label, grid) + 1e-300)), axis=1)
    np.testing.assert_allclose(found, kl, atol=1e-3)
    assert (found > 0.05).all()


def test_gap_closes_where_the_encoder_is_the_posterior(images):
    """A decoder that ignores z has the prior as its posterior."""
    x, label = images[:2]
    blind, grid, zeros = make_constant(np.ones(N_X)), make_grid(7, 70), np.zeros((8, 2))
    gap = log_likelihood(blind, x, label, grid) - elbo(blind, x, label, zeros, zeros, grid)
    np.testing.assert_allclose(gap, 0, atol=1e-4)


# The best Gaussian of an image


def test_best_gaussian_is_between_what_it_starts_from_and_the_likelihood(model, images):
    """At least as good as the encoder's and as the posterior's moments; its ELBO is that of its parameters."""
    x, label, z_mean, z_log_var = images
    grid = make_grid(6, 80)
    mean, log_var, best = best_gaussians(model, x, label, z_mean, z_log_var, grid)
    assert mean.shape == log_var.shape == (8, 2) and best.shape == (8,) and best.dtype == np.float64
    np.testing.assert_allclose(best, elbo(model, x, label, mean, log_var, grid), atol=1e-6)
    p, points = posterior(model, x, label, grid), grid.z.astype("float64")
    moments = p @ points, np.log(p @ points**2 - (p @ points) ** 2)
    starts = np.array([elbo(model, x, label, *start, grid) for start in ((z_mean, z_log_var), moments)])
    assert (best >= starts - 1e-6).all() and (best > starts.max(axis=0) + 0.01).any()
    assert (best <= log_likelihood(model, x, label, grid) + 1e-4).all()


def test_best_gaussian_is_what_another_optimiser_finds(model, images):
    """BFGS on the ELBO of one image after the other, from the encoder's q and from the prior."""
    x, label, z_mean, z_log_var = (part[:3] for part in images)
    grid = make_grid(6, 50)
    best = best_gaussians(model, x, label, z_mean, z_log_var, grid)[2]

    def negative_elbo(q, image):
        return -elbo(model, x[[image]], label[[image]], q[None, :2], q[None, 2:], grid)[0]

    for i in range(3):
        starts = np.concatenate([z_mean[i], z_log_var[i]]), np.zeros(4)
        runs = [minimize(negative_elbo, start, i, method="BFGS", options={"eps": 1e-3}) for start in starts]
        assert best[i] == pytest.approx(-min(run.fun for run in runs), abs=2e-3)


def test_best_gaussian_is_the_posterior_where_that_is_one(images):
    """A decoder that ignores z: the prior is the posterior, however far off the q to start from."""
    x, label = images[:2]
    blind, grid = make_constant(np.ones(N_X)), make_grid(7, 70)
    mean, log_var, best = best_gaussians(blind, x, label, np.full((8, 2), 4.0), np.full((8, 2), -2.0), grid)
    np.testing.assert_allclose(mean, 0, atol=1e-3)
    np.testing.assert_allclose(log_var, 0, atol=1e-3)
    np.testing.assert_allclose(best, log_likelihood(blind, x, label, grid), atol=1e-4)


@pytest.mark.parametrize("heights, place", [((4, 6), -2), ((6, 6), 2)], ids=["the higher peak", "equal peaks"])
def test_best_gaussian_is_the_better_of_two_fits(heights, place):
    """A posterior with a peak at z1 = 2, where the q to start from is, and one at -2.

    Where the second is higher, the fit from the posterior's moments finds it; where both are equal, the moments lie
    between the two, and the fit from q is better.
    """

    def decoder(inputs):
        peaks = [height * np.exp(-np.sum((inputs[0] - [z1, 0]) ** 2, axis=1)) for height, z1 in zip(heights, (2, -2))]
        return np.tile((sum(peaks) - 3)[:, None], N_X).astype("float32")

    x, label, q = np.ones((1, N_X), "float32"), np.eye(N_Y)[:1], (np.array([[2.0, 0.0]]), np.full((1, 2), -2.0))
    mean, _, _ = best_gaussians(SimpleNamespace(decoder=decoder), x, label, *q, make_grid(6, 80))
    np.testing.assert_allclose(mean, [[place, 0]], atol=0.3)


# The importance-weighted bounds


def test_weights_average_to_the_likelihood(model, images):
    """Whatever the encoder says; here it is wide, so that the weights are bounded."""
    x, label, z_mean, _ = images
    wide = np.zeros((8, 2)) + 0.5
    w = np.exp(log_weights(model, x, label, z_mean / 2, wide, 20_000, np.random.default_rng(0)))
    exact = np.exp(log_likelihood(model, x, label, make_grid(6, 60)))
    assert (np.abs(w.mean(axis=1) - exact) < 5 * w.std(axis=1) / np.sqrt(20_000)).all()
    assert (w.std(axis=1) / np.sqrt(20_000) < 0.03 * exact).all()


def test_weights_are_repeatable_and_their_own(model, images):
    x, label, z_mean, z_log_var = images
    draws = [log_weights(model, x, label, z_mean, z_log_var, 7, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert draws[0].shape == (8, 7)
    np.testing.assert_array_equal(draws[0], draws[1])
    assert not np.allclose(draws[0], draws[2])
    assert len(np.unique(draws[0])) == 56


def test_bound_averages_weights_within_a_group_and_logs_over_groups():
    log_w = np.log([[1.0, 3.0, 5.0, 7.0, 1e9]])
    np.testing.assert_allclose(importance_bound(log_w, 1), np.log([1, 3, 5, 7, 1e9]).mean())
    np.testing.assert_allclose(importance_bound(log_w, 2), [(np.log(2) + np.log(6)) / 2])
    np.testing.assert_allclose(importance_bound(log_w, 5), [np.log((16 + 1e9) / 5)])
    np.testing.assert_allclose(importance_bound(log_w - 5000, 2), [(np.log(2) + np.log(6)) / 2 - 5000])


@pytest.mark.parametrize("k", [0, 6])
def test_bound_refuses_more_samples_than_there_are(k):
    with pytest.raises(ValueError, match="from 1 to the 5 samples"):
        importance_bound(np.zeros((2, 5)), k)


def test_bounds_rise_with_k_to_the_likelihood(model, images):
    x, label, z_mean, z_log_var = images
    exact = log_likelihood(model, x, label, make_grid(6, 120))
    log_w = log_weights(model, x, label, z_mean, z_log_var, 10_000, np.random.default_rng(0))
    bounds = np.array([importance_bound(log_w, k) for k in (1, 10, 100, 1000, 10_000)])
    assert (np.diff(bounds, axis=0) > -1e-12).all()
    below = (exact - bounds).mean(axis=1)
    assert (np.diff(below) < 0).all() and below[0] > 0.5 and abs(below[-1]) < 0.4 and (below[:-1] > 0).all()
    np.testing.assert_allclose(bounds[0], log_w.mean(axis=1))


def test_weights_take_any_number_of_latents(images):
    """A decoder that ignores z: the encoder is then all that a weight knows, and it is a ratio of two normals."""
    x, label, _, _ = images
    logits = np.linspace(-2, 2, N_X)
    z_mean, z_log_var = np.full((8, 5), 0.5), np.full((8, 5), 0.3)
    log_w = log_weights(make_constant(logits), x, label, z_mean, z_log_var, 4000, np.random.default_rng(0))
    kl = 0.5 * 5 * (np.exp(0.3) + 0.25 - 1 - 0.3)
    np.testing.assert_allclose(log_w.mean(axis=1), log_bernoulli(x, logits) - kl, atol=0.15)


def test_another_normaliser_is_another_density(model, images):
    """The continuous Bernoulli: by hand, score minus the integral of exp(x a) over the pixel, by the midpoint rule."""
    x, label, _, _ = images
    z = make_grid(6, 20)
    pixel = (np.arange(2000) + 0.5) / 2000
    found = log_likelihood(model, x, label, z, normaliser=likelihood.continuous_normaliser)
    for i in range(3):
        a = decode_logits(model, z.z, label[i]).astype("float64")
        log_integral = np.log(np.exp(a[..., None] * pixel).mean(axis=-1)).sum(axis=1)
        by_hand = log_sum_exp(a @ x[i] - log_integral + z.log_prior)
        assert found[i] == pytest.approx(by_hand, abs=1e-3)


# The model of the book


def test_a_keras_model_will_do():
    from cvae_lib.model import CVAE, kl_loss, reconstruction_loss

    model = CVAE(n_hidden=8, seed=0, n_x=N_X, n_y=N_Y)
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(scale=0.3, size=variable.shape))
    x, label = rng.uniform(size=(3, N_X)).astype("float32"), one_hot([4, 2, 4], N_Y)
    z_mean, z_log_var, _ = model.encoder.predict([x, label], verbose=0)
    grid = make_grid(6, 80)

    z = np.random.default_rng(1).normal(size=(4000, 2)).astype("float32")
    for i in range(3):
        logits = np.asarray(model.decoder([z, np.tile(label[i], (4000, 1))]), "float64")
        expected = np.logaddexp.reduce(
            log_bernoulli(x[i].astype("float64"), decode_logits(model, grid.z, label[i])) + grid.log_prior
        )
        assert log_likelihood(model, x, label, grid)[i] == pytest.approx(expected, abs=2e-3)
        assert np.logaddexp.reduce(log_bernoulli(x[i], logits)) - np.log(4000) == pytest.approx(expected, abs=1)

    draws = np.random.default_rng(2).standard_normal((2000, 2))
    z = (z_mean[0] + np.exp(z_log_var[0] / 2) * draws).astype("float32")
    rec = reconstruction_loss(x[:1], model.decoder([z, np.tile(label[0], (2000, 1))]))
    sampled = -np.asarray(rec) - np.asarray(kl_loss(z_mean, z_log_var))[0]
    found = elbo(model, x, label, z_mean, z_log_var, grid)[0]
    assert found == pytest.approx(sampled.mean(), abs=5 * sampled.std() / np.sqrt(2000))
