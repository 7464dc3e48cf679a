"""The variants: with the defaults the CVAE itself; each change against an independent computation."""

import cvae_lib.quiet  # noqa: F401

# isort: split
import keras
import numpy as np
import pytest
import tensorflow as tf

from cvae_lib import likelihood
from cvae_lib.model import CVAE, kl_loss, reconstruction_loss
from cvae_lib.variants import Variant, continuous_normaliser, continuous_reconstruction_loss

LOGITS = np.array([-300.0, -7.0, -0.4, -0.1001, -0.0999, -1e-6, 0.0, 0.05, 0.1, 2.5, 40.0, 300.0])


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    return [rng.random((32, 784), "float32"), np.eye(10, dtype="float32")[np.arange(32) % 10]]


def weigh(a, n=200_000):
    """Midpoints x of the unit interval, and the unscaled weight exp(x a) of each: the largest is at most 1."""
    x = (np.arange(n) + 0.5) / n
    return x, np.exp(x * a - max(a, 0))


@pytest.mark.parametrize("a", LOGITS)
def test_continuous_bernoulli_is_a_density(a):
    """Its integral over the pixel is 1 at every logit; that of the Bernoulli's cross-entropy is not."""
    _, weight = weigh(a)
    log_integral = np.log(weight.mean()) + max(a, 0)
    assert likelihood.continuous_normaliser(a) == pytest.approx(log_integral, abs=1e-5)
    assert softplus(a) > log_integral + 0.1


def softplus(a):
    return np.logaddexp(0, a)


def test_normaliser_of_keras_is_that_of_numpy():
    found = np.asarray(continuous_normaliser(tf.constant(LOGITS, "float32")))
    np.testing.assert_allclose(found, likelihood.continuous_normaliser(LOGITS), rtol=3e-6, atol=1e-6)


def test_gradient_of_the_normaliser_is_the_mean_of_the_pixel():
    """d/da log Z = E[x], the mean of the density exp(x a) / Z; finite everywhere, in the middle of the range 1/2."""
    a = tf.Variable(LOGITS, dtype="float32")
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(continuous_normaliser(a))
    means = [np.average(x, weights=weight) for x, weight in map(weigh, LOGITS)]
    np.testing.assert_allclose(tape.gradient(value, a), means, rtol=1e-3, atol=1e-5)


def test_continuous_loss_sums_over_the_pixels(batch):
    x, x_logits = batch[0][:3], np.random.default_rng(1).normal(size=(3, 784)).astype("float32")
    expected = np.sum(likelihood.continuous_normaliser(x_logits.astype("float64")) - x * x_logits, axis=1)
    np.testing.assert_allclose(continuous_reconstruction_loss(x, x_logits), expected, rtol=1e-5)


def fit_once(kind, batch, **settings):
    keras.utils.set_random_seed(4)
    model = kind(n_hidden=16, seed=4, **settings)
    model.compile(keras.optimizers.Adam(0.01), jit_compile=False)
    model.optimizer.build(model.trainable_variables)  # or `fit` traces its step twice
    log = model.fit(batch, batch[0], batch_size=8, epochs=2, shuffle=False, verbose=0).history
    return model, log


@pytest.fixture(scope="module")
def plain(batch):
    """The CVAE, trained, and its log."""
    return fit_once(CVAE, batch)


def test_defaults_are_the_plain_model(batch, plain):
    (plain, plain_log), (variant, variant_log) = plain, fit_once(Variant, batch)
    for name, values in plain_log.items():
        assert values == pytest.approx(variant_log[name], rel=1e-5)
    for one, other in zip(plain.get_weights(), variant.get_weights()):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize(
    "settings", [{"beta": 4.0}, {"beta": 0.5, "continuous": True}, {"warm_up": 100}, {"dropout": 0.2}]
)
def test_each_setting_changes_training(batch, plain, settings):
    variant, _ = fit_once(Variant, batch, **settings)
    assert any(np.any(one != other) for one, other in zip(plain[0].get_weights(), variant.get_weights()))


def foretell(model, batch, score):
    y_pred = model([batch[0], batch[1]])
    loss = {
        training: float(model.compute_loss(y=batch[0], y_pred=y_pred, training=training)) for training in (True, False)
    }
    reconstruction, kl = score(batch[0], y_pred["x_logits"]), kl_loss(y_pred["z_mean"], y_pred["z_log_var"])
    return loss, float(np.mean(reconstruction)), float(np.mean(kl))


@pytest.mark.parametrize("continuous", [False, True])
def test_beta_weighs_the_kl_in_training_only(batch, continuous):
    """In evaluation the loss is the negative ELBO, so models of different beta compare."""
    model = Variant(beta=3.0, n_hidden=16, continuous=continuous, seed=1)
    score = continuous_reconstruction_loss if continuous else reconstruction_loss
    loss, reconstruction, kl = foretell(model, batch, score)
    assert kl > 0.01
    assert loss[True] == pytest.approx(reconstruction + 3 * kl, rel=1e-5)
    assert loss[False] == pytest.approx(reconstruction + kl, rel=1e-5)


def test_dropout_leaves_units_out_in_training_only(batch):
    """A share of the units that are not 0 anyway; the others grow, so that the mean stays."""
    model, plain = Variant(dropout=0.25, n_hidden=400, n_layers=2, seed=1), CVAE(n_hidden=400, n_layers=2)
    plain.set_weights(model.get_weights())
    names = ("encoder_hidden", "encoder_hidden_dropout")
    look = keras.Model(model.encoder.inputs, [model.encoder.get_layer(name).output for name in names])
    before, after = (np.asarray(part) for part in look(batch, training=True))
    lit = before > 0
    assert np.mean(after[lit] == 0) == pytest.approx(0.25, abs=0.03)
    kept = lit & (after > 0)
    np.testing.assert_allclose(after[kept], before[kept] / 0.75, rtol=1e-5)
    for one, other in zip(model.encoder(batch)[:2], plain.encoder(batch)[:2]):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_warm_up_rises_to_beta_step_by_step(batch):
    model, weights = Variant(beta=2.0, warm_up=4, n_hidden=8, seed=1), []
    model.compile(keras.optimizers.Adam(0.0), jit_compile=False)
    for _ in range(6):
        weights.append(float(model.kl_weight()))
        model.train_on_batch(batch, batch[0])
    assert weights == pytest.approx([0, 0.5, 1, 1.5, 2, 2])


def test_a_variant_can_be_saved_and_loaded(batch, tmp_path):
    model, _ = fit_once(Variant, batch, beta=2.0, warm_up=3, continuous=True)
    model.save(tmp_path / "variant.keras")
    loaded = keras.models.load_model(tmp_path / "variant.keras")
    assert (loaded.beta, loaded.warm_up, loaded.score) == (2.0, 3, continuous_reconstruction_loss)
    for one, other in zip(model.get_weights(), loaded.get_weights()):
        np.testing.assert_array_equal(one, other)
