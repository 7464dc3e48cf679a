"""The fast training step against the plain one: the same losses, gradients and updates, up to rounding."""

import cvae_lib.quiet  # noqa: F401

# isort: split
import keras
import numpy as np
import pytest
import tensorflow as tf

from cvae_lib import model as plain
from cvae_lib.fast import FastAdam, FastCVAE, reconstruction_loss


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    return [rng.random((32, 784), "float32"), np.eye(10, dtype="float32")[np.arange(32) % 10]]


def differentiate(loss, x, x_logits):
    with tf.GradientTape() as tape:
        tape.watch(x_logits)
        value = loss(x, x_logits)
        # Another weight for each image: a gradient that forgets the one from above is seen.
        total = tf.reduce_sum(value * tf.range(1.0, len(x) + 1.0))
    return value, tape.gradient(total, x_logits)


@pytest.mark.parametrize("size", [1, 30, 1000])
def test_loss_and_gradient_are_those_of_the_plain_loss(size):
    rng = np.random.default_rng(1)
    x, x_logits = rng.random((4, 784), "float32"), tf.constant(size * rng.normal(size=(4, 784)), "float32")
    fast, slow = (differentiate(loss, x, x_logits) for loss in (reconstruction_loss, plain.reconstruction_loss))
    np.testing.assert_allclose(fast[0], slow[0], rtol=1e-6)
    np.testing.assert_allclose(fast[1], slow[1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rate", [0.01, keras.optimizers.schedules.CosineDecay(0.02, 20)])
def test_adam_makes_the_steps_of_keras_adam(rate):
    rng = np.random.default_rng(2)
    start, gradients = rng.normal(size=(5, 3)), rng.normal(size=(20, 5, 3)) * np.logspace(-8, 2, 20)[:, None, None]
    ends = []
    for optimizer in (FastAdam(rate), keras.optimizers.Adam(rate)):
        variable = keras.Variable(start, dtype="float32", name="w")
        for gradient in gradients:
            optimizer.apply([tf.constant(gradient, "float32")], [variable])
        ends.append([variable, *optimizer.variables])
    assert [v.path.split("/")[-1] for v in ends[0]] == [v.path.split("/")[-1] for v in ends[1]]
    assert np.abs(np.asarray(ends[0][0]) - start).max() > 0.01
    for fast, slow in zip(*ends):
        # TensorFlow computes 1 - 0.999 in float32, which is off by 1.3e-5 of itself.
        np.testing.assert_allclose(fast, slow, rtol=3e-5, atol=1e-7)


def test_epochs_are_those_of_the_plain_model(batch):
    logs, weights = [], []
    for kind, optimizer in ((FastCVAE, FastAdam(0.01)), (plain.CVAE, keras.optimizers.Adam(0.01))):
        keras.utils.set_random_seed(4)
        model = kind(n_hidden=16, n_layers=2, seed=4)
        model.compile(optimizer)
        log = model.fit(batch, batch[0], batch_size=8, epochs=3, shuffle=False, verbose=0)
        logs.append([log.history[name] for name in ("loss", "reconstruction_loss", "kl_loss")])
        weights.append(model.get_weights())
    np.testing.assert_allclose(logs[0], logs[1], rtol=1e-4)
    for fast, slow in zip(*weights):
        np.testing.assert_allclose(fast, slow, atol=2e-3)


def test_gradient_reaches_every_weight(batch):
    model = FastCVAE(n_hidden=16, n_layers=2, seed=4)
    model.compile(FastAdam(0.01))
    before = model.get_weights()
    model.fit(batch, batch[0], verbose=0)
    assert all(np.any(old != new) for old, new in zip(before, model.get_weights()))
