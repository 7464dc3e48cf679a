"""The convolutional networks: sizes, what a label changes, and that all ways of training know them."""

import cvae_lib._tensorflow  # noqa: F401

# isort: split
import keras
import numpy as np
import pytest
import tensorflow as tf

from cvae_lib.convolutional import AlteredConvolutionalCVAE, ConvolutionalCVAE, build_cvae
from cvae_lib.model import CVAE
from cvae_lib.objectives import AlteredCVAE
from cvae_lib.training.compiled import CompiledCVAE
from cvae_lib.training.recipes import Recipe

SHAPES = [(28, 28), (32, 32, 3), (9, 13), (5, 2, 3), (1, 1)]


def make_batch(image_shape, n=8, n_y=3):
    rng = np.random.default_rng(0)
    return rng.random((n, np.prod(image_shape)), "float32"), np.eye(n_y, dtype="float32")[np.arange(n) % n_y]


@pytest.mark.parametrize("image_shape", SHAPES)
def test_inputs_and_outputs_are_those_of_the_dense_networks(image_shape):
    x, label = make_batch(image_shape)
    sizes = {"n_z": 4, "n_hidden": 8, "n_layers": 2, "n_y": 3, "seed": 1}
    own, dense = ConvolutionalCVAE(image_shape, **sizes), CVAE(n_x=x.shape[1], **sizes)
    for name in ("encoder", "decoder"):
        one, other = getattr(own, name), getattr(dense, name)
        assert [part.shape for part in one.inputs] == [part.shape for part in other.inputs]
        assert [part.shape for part in one.outputs] == [part.shape for part in other.outputs]
        hidden = [layer.name for layer in other.layers if f"{name}_hidden" in layer.name]
        assert [layer.name for layer in one.layers if f"{name}_hidden" in layer.name] == hidden
    found = own([x, label])
    assert {key: value.shape for key, value in found.items()} == {k: v.shape for k, v in dense([x, label]).items()}


def test_a_pattern_may_be_anywhere():
    """Moved by the step of both convolutions, a pattern leaves the second as it was, but for the place."""
    model = ConvolutionalCVAE((28, 28), seed=1)
    picture = np.zeros((2, 28, 28), "float32")
    picture[0, 8:12, 8:12] = picture[1, 12:16, 16:20] = np.random.default_rng(0).random((4, 4))
    last = [layer for layer in model.encoder.layers if isinstance(layer, keras.layers.Conv2D)][-1]
    look = keras.Model(model.encoder.inputs, last.output)
    one, moved = np.asarray(look([picture.reshape(2, -1), np.zeros((2, 10))]))
    assert np.abs(one).max() > 0
    np.testing.assert_allclose(np.roll(one, (1, 2), (0, 1)), moved, atol=1e-6)


def test_the_label_reaches_both_networks():
    x, label = make_batch((9, 13, 3))
    model = ConvolutionalCVAE((9, 13, 3), n_y=3, seed=1)
    others = np.roll(label, 1, axis=1)
    assert (np.abs(model.encoder([x, label])[0] - model.encoder([x, others])[0]).max(axis=1) > 0).all()
    z = np.zeros((len(x), 2))
    assert (np.abs(model.decoder([z, label]) - model.decoder([z, others])).max(axis=1) > 0).all()


def test_both_networks_are_built_and_no_other():
    model = ConvolutionalCVAE((28, 28))
    assert model.count_params() == model.encoder.count_params() + model.decoder.count_params()
    assert abs(ConvolutionalCVAE((28, 28), n_hidden=255).count_params() / CVAE().count_params() - 1) < 0.01


def test_it_comes_back_from_its_settings(tmp_path):
    model = AlteredConvolutionalCVAE(image_shape=(9, 13), n_hidden=8, n_y=3, beta=2.0, dropout=0.2, seed=1)
    model.save(tmp_path / "own.keras")
    again = keras.saving.load_model(tmp_path / "own.keras")
    x, label = make_batch((9, 13))
    np.testing.assert_array_equal(again.encoder([x, label])[0], model.encoder([x, label])[0])
    assert again.get_config() == model.get_config()


@pytest.mark.parametrize(
    "settings, altered, kind",
    [
        ({"n_x": 12}, {}, CVAE),
        ({"n_x": 12}, {"beta": 2.0}, AlteredCVAE),
        ({"image_shape": [3, 4]}, {}, ConvolutionalCVAE),
        ({"image_shape": [3, 4]}, {"beta": 2.0}, AlteredConvolutionalCVAE),
    ],
)
def test_settings_say_which_model_it_is(settings, altered, kind):
    assert type(build_cvae({**settings, "n_hidden": 4, "seed": 1}, **altered)) is kind


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_block_trains_as_plain_fit_does(jit_compile):
    """By XLA, too. Codes without spread and no draws of dropout: XLA draws other numbers from a seed."""
    x, label = make_batch((9, 13), n=12)

    def look_up(index):
        return (tf.gather(x, index), tf.gather(label, index)), tf.gather(x, index)

    plain, inner = (AlteredConvolutionalCVAE(image_shape=(9, 13), n_hidden=8, n_y=3, seed=1) for _ in range(2))
    inner.set_weights(plain.get_weights())
    compiled = CompiledCVAE(inner, look_up)
    for model, jit in ((plain, False), (compiled, jit_compile)):
        head = (model if model is plain else inner).encoder.get_layer("z_log_var")
        head.trainable = False
        head.bias.assign([-40.0, -40.0])
        head.kernel.assign(0 * head.kernel)
        model.compile(keras.optimizers.Adam(0.01), jit_compile=jit)
        model.optimizer.build(model.trainable_variables)
    expected = plain.fit([x, label], x, batch_size=4, shuffle=False, verbose=0).history
    blocks = tf.data.Dataset.from_tensor_slices(np.arange(12).reshape(1, 3, 4)).repeat()
    found = compiled.fit(blocks, steps_per_epoch=1, shuffle=False, verbose=0).history
    for name, values in expected.items():
        assert found[name] == pytest.approx(values, rel=1e-4), name
    for one, other in zip(inner.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3)


def test_xla_is_left_to_dense_networks():
    assert Recipe().jit_compile and not Recipe(network="convolutional").jit_compile
