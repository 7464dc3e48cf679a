"""The trainer's Variant: what it does faster is what the Variant does."""

from operator import attrgetter

import cvae_lib.quiet  # noqa: F401

# isort: split
import keras
import numpy as np
import pytest
import tensorflow as tf

from cvae_lib.fast import FastVariant, apply_together
from cvae_lib.variants import Variant


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(48, 784)).astype("float32")
    return x, np.eye(10, dtype="float32")[np.arange(48) % 10]


def make(kind, *arguments, **settings):
    keras.utils.set_random_seed(4)
    model = kind(*arguments, n_hidden=16, seed=4, **settings)
    model.compile(keras.optimizers.Adam(0.01), jit_compile=False)
    model.optimizer.build(model.trainable_variables)  # or `fit` traces its step twice
    return model


def gather_from(batch):
    def gather(index):
        x, label = (tf.gather(part, index) for part in batch)
        return (x, label), x

    return gather


SETTINGS = [{}, {"beta": 4.0, "warm_up": 6, "continuous": True, "n_z": 3}, {"dropout": 0.3, "n_layers": 2}]


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_stack_is_its_batches_one_after_the_other(batch, settings):
    """The same weights and logs as the Variant's, whose fit is Keras' own."""
    plain, fast = make(Variant, **settings), make(FastVariant, gather_from(batch), **settings)
    expected = plain.fit(batch, batch[0], batch_size=8, epochs=2, shuffle=False, verbose=0).history
    stacks = tf.data.Dataset.from_tensor_slices(np.arange(48).reshape(2, 3, 8)).repeat()
    found = fast.fit(stacks, steps_per_epoch=2, epochs=2, shuffle=False, verbose=0).history
    assert int(fast.optimizer.iterations) == 12
    for name, values in expected.items():
        assert found[name] == pytest.approx(values, rel=1e-4), name
    for one, other in zip(fast.get_weights(), plain.get_weights()):
        np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("settings", SETTINGS)
def test_evaluation_is_the_variants(batch, settings):
    found = []
    for model in (make(Variant, **settings), make(FastVariant, None, **settings)):
        found.append(model.evaluate(batch, batch[0], batch_size=20, verbose=0, return_dict=True))
    assert found[1] == pytest.approx(found[0], rel=1e-5)


def test_weights_are_those_of_the_variant_in_its_order():
    fast, plain = make(FastVariant, None, dropout=0.2, n_layers=2), make(Variant, dropout=0.2, n_layers=2)
    assert [weight.path for weight in fast.weights] == [weight.path for weight in plain.weights]
    assert fast.count_params() == plain.count_params()


def test_weights_come_back_from_a_checkpoint(batch, tmp_path):
    model, other = (make(FastVariant, gather_from(batch)) for _ in range(2))
    model.fit(tf.data.Dataset.from_tensors(np.arange(48)[None]), shuffle=False, verbose=0)
    model.save_weights(tmp_path / "model.weights.h5")
    other.load_weights(tmp_path / "model.weights.h5")
    for name in ("weights", "optimizer.variables"):
        kept, found = (attrgetter(name)(which) for which in (model, other))
        assert len(kept) == len(found) > 9
        for one, another in zip(kept, found):
            np.testing.assert_array_equal(one, another)


def test_layers_applied_together_are_the_layers():
    h = np.random.default_rng(1).normal(size=(5, 7)).astype("float32")
    layers = [keras.layers.Dense(3, bias_initializer="random_normal") for _ in range(2)]
    expected = [layer(h) for layer in layers]
    found = apply_together(layers, h)
    assert len(found) == 2
    for one, other in zip(found, expected):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
