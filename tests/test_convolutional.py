"""The convolutional networks: sizes, what a label changes, and that all ways of training know them."""

import cvae_lib._tensorflow  # noqa: F401

# isort: split
import keras
import numpy as np
import pytest
import tensorflow as tf

from cvae_lib.convolutional import (
    AlteredConvolutionalCVAE,
    ConvolutionalCVAE,
    build_convolutional_decoder,
    build_convolutional_encoder,
    build_cvae,
)
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


def convolve(h, kernel, bias):
    """A convolution with steps of 2 over an image (rows, columns, channels), which has zeros around it."""
    more = [max(2 * -(-n // 2) + 1 - n, 0) for n in h.shape[:2]]
    h = np.pad(h, [*((n // 2, n - n // 2) for n in more), (0, 0)])
    patches = np.lib.stride_tricks.sliding_window_view(h, (3, 3), axis=(0, 1))[::2, ::2]
    return np.einsum("rcikl,klio->rco", patches, kernel) + bias


def spread(h, kernel, bias):
    """The transposed convolution: each pixel is drawn as a patch of 3 by 3, two pixels from the next."""
    rows, columns = (2 * n for n in h.shape[:2])
    found = np.zeros((rows + 1, columns + 1, len(bias)))
    for i, j in np.ndindex(3, 3):
        found[i : i + rows : 2, j : j + columns : 2] += h @ kernel[i, j].T
    return found[:rows, :columns] + bias


@pytest.mark.parametrize("image_shape", [(9, 13, 3), (8, 6)])
def test_the_networks_are_those_by_hand(image_shape):
    """Two convolutions and two hidden layers, each with a ReLU, in NumPy; the sizes that are left over are cut off."""
    x, label = (part[0] for part in make_batch(image_shape, n=1))
    model = ConvolutionalCVAE(image_shape, n_hidden=8, n_layers=2, n_y=3, seed=1)

    def run(network, name, h, by=lambda h, kernel, bias: h @ kernel + bias):
        return by(h, *network.get_layer(name).get_weights())

    h = x.reshape(*image_shape[:2], -1)
    for name in ("encoder_convolution_1", "encoder_convolution_2"):
        h = np.maximum(run(model.encoder, name, h, convolve), 0)
    h = np.concatenate([h.ravel(), label])
    for name in ("encoder_hidden", "encoder_hidden_2"):
        h = np.maximum(run(model.encoder, name, h), 0)
    found = model.encoder([x[None], label[None]])
    for part, name in zip(found, ("z_mean", "z_log_var")):
        np.testing.assert_allclose(part[0], run(model.encoder, name, h), atol=1e-5)

    h = np.concatenate([[0.5, -1], label])
    for name in ("decoder_hidden", "decoder_hidden_2", "small_picture"):
        h = np.maximum(run(model.decoder, name, h), 0)
    h = h.reshape(*(-(-n // 4) for n in image_shape[:2]), -1)
    h = np.maximum(run(model.decoder, "decoder_convolution_1", h, spread), 0)
    h = run(model.decoder, "decoder_convolution_2", h, spread)[: image_shape[0], : image_shape[1]]
    np.testing.assert_allclose(model.decoder([np.array([[0.5, -1]]), label[None]])[0], h.ravel(), atol=1e-5)


def test_draws_and_names_are_those_of_the_model_alone():
    """Another of the same seed draws the same, and has the same names, which a file of weights holds."""
    x, label = make_batch((9, 13))
    one, same, other = (ConvolutionalCVAE((9, 13), n_y=3, seed=seed) for seed in (1, 1, 2))
    for model in (same, other):
        model.set_weights(one.get_weights())
    z = [np.asarray(model.encoder([x, label])[2]) for model in (one, same, other)]
    np.testing.assert_array_equal(z[0], z[1])
    assert not np.allclose(z[0], z[2])
    for network in ("encoder", "decoder"):
        names = [[layer.name for layer in getattr(model, network).layers] for model in (one, same)]
        assert names[0] == names[1] and getattr(one, network).name == network


def test_sizes_that_are_not_named():
    """The class and the networks have the same ones."""
    model = ConvolutionalCVAE((28, 28))
    sizes = {"n_z": 2, "n_hidden": 128, "n_layers": 1, "n_y": 10}
    assert model.settings == {**sizes, "image_shape": (28, 28), "seed": None}
    for built, network in ((build_convolutional_encoder, model.encoder), (build_convolutional_decoder, model.decoder)):
        assert [weight.shape for weight in built((28, 28)).weights] == [weight.shape for weight in network.weights]
        layers = [layer for layer in network.layers if "_convolution_" in layer.name]
        outputs = {"encoder": [16, 32], "decoder": [16, 1]}[network.name]  # the decoder's from 32, towards the image
        assert [layer.filters for layer in layers] == outputs


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
    model = build_cvae({**settings, "n_hidden": 4, "seed": 1}, **altered)
    assert type(model) is kind and altered.items() <= model.settings.items()


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
