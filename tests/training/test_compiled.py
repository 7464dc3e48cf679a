"""CompiledCVAE: what it does faster is what AlteredCVAE does."""

import cvae_lib._tensorflow  # noqa: F401

# isort: split
import keras
import numpy as np
import pytest
import tensorflow as tf

from cvae_lib.objectives import AlteredCVAE
from cvae_lib.training.compiled import CompiledCVAE, apply_together

SIZES = {"n_hidden": 16, "n_x": 30, "n_y": 10, "seed": 4}
N, BATCH = 24, 4


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    label = np.eye(10, dtype="float32")[np.arange(N) % 10]
    return rng.random((N, 30), "float32"), label, rng.random(N, "float32")


@pytest.fixture
def make(batch):
    """Make two models of equal weights: one that plain `fit` trains, and a compiled one."""

    def make_both(weighted=False, jit_compile=False, **settings):
        def look_up(index):
            x, label, weight = (tf.gather(part, index) for part in batch)
            return ((x, label), x, weight) if weighted else ((x, label), x)

        keras.utils.set_random_seed(4)
        plain, inner = (AlteredCVAE(**SIZES, **settings) for _ in range(2))
        inner.set_weights(plain.get_weights())
        compiled = CompiledCVAE(inner, look_up)
        for model, jit in ((plain, False), (compiled, jit_compile)):
            model.compile(keras.optimizers.Adam(0.01), jit_compile=jit)
            model.optimizer.build(model.trainable_variables)
        return plain, compiled

    return make_both


@pytest.fixture
def check_training(batch):
    """Check that blocks of indices train as plain `fit` does: the same losses, epoch by epoch, the same weights."""

    def check(plain, compiled, weighted=False):
        x, label, weight = batch
        settings = {"epochs": 2, "shuffle": False, "verbose": 0}
        weights = {"sample_weight": weight} if weighted else {}
        expected = plain.fit([x, label], x, batch_size=BATCH, **settings, **weights).history
        blocks = tf.data.Dataset.from_tensor_slices(np.arange(N).reshape(2, 3, BATCH)).repeat()
        found = compiled.fit(blocks, steps_per_epoch=2, **settings).history
        assert int(compiled.optimizer.iterations) == 2 * N // BATCH
        for name, values in expected.items():
            assert found[name] == pytest.approx(values, rel=1e-4), name
        for one, other in zip(compiled.cvae.get_weights(), plain.get_weights(), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-4)

    return check


ALTERED = {"beta": 4.0, "warm_up": 6, "continuous": True, "n_z": 3}


@pytest.mark.parametrize("weighted, settings", [(False, {}), (True, {**ALTERED, "dropout": 0.3, "n_layers": 2})])
def test_a_block_is_its_batches_one_after_the_other(make, check_training, weighted, settings):
    """With weights of the images, too, and with all that alters the objective."""
    check_training(*make(weighted, **settings), weighted)


def test_xla_trains_as_plain_steps_do(make, check_training):
    """XLA draws other epsilons from the same seed, so here the codes have no spread and the draws do not matter."""
    plain, compiled = make(True, jit_compile=True, **ALTERED)
    for model in (plain, compiled.cvae):
        head = model.encoder.get_layer("z_log_var")
        head.trainable = False
        head.set_weights([0 * weight - 40 for weight in head.get_weights()])
    check_training(plain, compiled, weighted=True)


@pytest.mark.parametrize("settings", [{}, {**ALTERED, "dropout": 0.3}])
def test_evaluation_is_that_of_the_model_inside(batch, make, eager, settings):
    x, label, weight = batch
    plain, compiled = (
        model.evaluate([x, label], x, batch_size=10, sample_weight=weight, verbose=0, return_dict=True)
        for model in make(**settings)
    )
    assert compiled == pytest.approx(plain, rel=1e-5)


def test_weights_come_back_from_a_checkpoint(make, tmp_path, eager):
    """With the state of the optimizer."""
    (_, model), (_, other) = make(dropout=0.2), make(dropout=0.2)
    model.fit(tf.data.Dataset.from_tensors(np.arange(N)[None]), shuffle=False, verbose=0)
    model.save_weights(tmp_path / "model.weights.h5")
    assert any(np.any(one != another) for one, another in zip(model.get_weights(), other.get_weights(), strict=True))
    other.load_weights(tmp_path / "model.weights.h5")
    for kept, found in ((model.weights, other.weights), (model.optimizer.variables, other.optimizer.variables)):
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
