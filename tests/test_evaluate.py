"""What the chapters ask of a trained model, against the same questions answered in NumPy by other sums."""

from types import SimpleNamespace

import cvae_lib._tensorflow  # noqa: F401

# isort: split
import keras
import numpy as np
import pytest

from cvae_lib.evaluate import decode, encode, read_as_bernoulli, sampled_elbo, sampled_losses, score_labels
from cvae_lib.likelihood import make_grid
from cvae_lib.metrics import cross_entropy, gaussian_kl
from cvae_lib.model import CVAE
from cvae_lib.pretrained import load_pretrained

N_X, N_Y = 12, 3


@pytest.fixture(scope="module")
def model():
    """A model whose codes and pictures depend on all they are told."""
    model = CVAE(n_hidden=16, seed=1, n_x=N_X, n_y=N_Y)
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(scale=0.3, size=weight.shape) for weight in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(1)
    return rng.random((6, N_X), "float32"), np.eye(N_Y, dtype="float32")[[0, 2, 1, 1, 0, 2]]


def apply(network, names, inputs):
    """The layers of these names in NumPy and float64, with a ReLU between one and the next."""
    h = np.concatenate(inputs, axis=1).astype("float64")
    for name in names:
        kernel, bias = network.get_layer(name).get_weights()
        h = (np.maximum(h, 0) if name != names[0] else h) @ kernel.astype("float64") + bias
    return h


def encode_by_hand(model, x, label):
    return [apply(model.encoder, ("encoder_hidden", head), [x, label]) for head in ("z_mean", "z_log_var")]


def decode_by_hand(model, z, label):
    """The pictures of each code z (m, 2) under one label."""
    logits = apply(model.decoder, ("decoder_hidden", "x_logits"), [z, np.tile(label, (len(z), 1))])
    return 1 / (1 + np.exp(-logits))


def lay_out(n=80, limit=6):
    """Codes z (n * n, 2) on a square around the origin, and the prior mass that each stands for."""
    axis = np.linspace(-limit, limit, n)
    z = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    return z, np.exp(-(z**2).sum(axis=1) / 2) / (2 * np.pi) * (axis[1] - axis[0]) ** 2


# Codes and pictures


def test_encode_gives_both_heads_of_every_image(model):
    """Of more images than are encoded at a time, in their order."""
    rng = np.random.default_rng(2)
    x, label = rng.random((1003, N_X), "float32"), rng.dirichlet(np.ones(N_Y), 1003).astype("float32")
    found = encode(model, x, label)
    for part, expected in zip(found, encode_by_hand(model, x, label), strict=True):
        assert isinstance(part, np.ndarray) and part.dtype == np.float32
        np.testing.assert_allclose(part, expected, atol=1e-4)


def test_decode_gives_pictures(model):
    rng = np.random.default_rng(0)
    z, label = 20 * rng.normal(size=(7, 2)), rng.dirichlet(np.ones(N_Y), 7)
    pictures = decode(model, z, label)
    assert isinstance(pictures, np.ndarray) and pictures.dtype == np.float32
    assert 0 <= pictures.min() < 0.4 and 0.6 < pictures.max() <= 1
    expected = np.concatenate([decode_by_hand(model, z[i : i + 1], label[i]) for i in range(7)])
    np.testing.assert_allclose(pictures, expected, atol=1e-5)
    np.testing.assert_allclose(decode(model, z[2:3], label[2:3]), pictures[2:3], atol=1e-6)
    np.testing.assert_allclose(decode(model, z.tolist(), label.tolist()), pictures, atol=1e-6)


@pytest.mark.parametrize("pixels, labels", [("bool", "int64"), ("uint8", "bool"), ("float64", "float64"), ("f2", "f2")])
def test_codes_and_pictures_take_any_numbers(model, images, pixels, labels):
    x, label = np.round(images[0]), images[1]
    for found, expected in zip(encode(model, x.astype(pixels), label.astype(labels)), encode(model, x, label)):
        np.testing.assert_allclose(found, expected, atol=1e-5)
    z = np.arange(12).reshape(6, 2) % 5 - 2
    found, expected = decode(model, z, label.astype(labels)), decode(model, z.astype("float32"), label)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.fixture(params=["mixed_float16", "mixed_bfloat16"])
def half_precision(request):
    keras.config.set_dtype_policy(request.param)
    yield
    keras.config.set_dtype_policy("float32")


def test_half_precision_gives_float32_near_by(model, images, half_precision):
    """So that NumPy can go on with it: it knows no bfloat16, and has no more digits of a float16."""
    half = CVAE(n_hidden=16, seed=1, n_x=N_X, n_y=N_Y)
    half.set_weights(model.get_weights())
    x, label = images
    z = np.random.default_rng(0).standard_normal((6, 2))
    grid, labels = make_grid(5, 40), np.eye(N_Y)

    def measure(model):
        elbo = sampled_elbo(model, x, label, 20, np.random.default_rng(0)).mean(axis=0)
        return [*encode(model, x, label), decode(model, z, label), elbo, score_labels(model, x, labels, grid)]

    for found, expected in zip(measure(half), measure(model), strict=True):
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, rtol=0.02, atol=0.02)
    shipped, z, label = load_pretrained("mnist-2d"), np.array([[0.5, -1.0]]), np.eye(10)[[3]]
    np.testing.assert_allclose(decode(shipped, z, label), decode_by_hand(shipped, z, label[0]), atol=0.05)


# The ELBO by draws


def expect_reconstruction(model, x, z_mean, z_log_var, label, n=24):
    """The mean of the reconstruction loss of one image under its posterior, by Gauss-Hermite quadrature."""
    node, weight = np.polynomial.hermite_e.hermegauss(n)
    epsilon = np.stack(np.meshgrid(node, node), axis=-1).reshape(-1, 2)
    pictures = decode_by_hand(model, z_mean + np.exp(z_log_var / 2) * epsilon, label)
    return np.outer(weight, weight).ravel() @ cross_entropy(x, pictures) / (2 * np.pi)


@pytest.mark.parametrize("decoder_label", [None, np.full((6, N_Y), 0.5, "float32")], ids=["its label", "another"])
def test_losses_are_those_of_the_definition(model, images, decoder_label):
    x, label = images
    reconstruction, kl = sampled_losses(model, x, label, 100, np.random.default_rng(0), decoder_label)
    assert reconstruction.shape == (100, 6) and kl.shape == (6,)
    told = label if decoder_label is None else decoder_label
    for i, (z_mean, z_log_var) in enumerate(zip(*encode_by_hand(model, x, label))):
        expected = expect_reconstruction(model, x[i], z_mean, z_log_var, told[i])
        error = reconstruction[:, i].std() / np.sqrt(100)
        assert reconstruction[:, i].mean() == pytest.approx(expected, abs=5 * error)
        assert 0 < error < 0.2
        assert kl[i] == pytest.approx(gaussian_kl(z_mean, np.diag(np.exp(z_log_var))), rel=1e-4)


def test_elbo_is_their_negative_sum_below_the_likelihood(model, images):
    x, label = images
    reconstruction, kl = sampled_losses(model, x, label, 100, np.random.default_rng(3))
    elbo = sampled_elbo(model, x, label, 100, np.random.default_rng(3))
    np.testing.assert_allclose(elbo, -(reconstruction + kl), rtol=1e-12)
    exact = [score_by_hand(model, x[i], label[i]) for i in range(6)]
    assert (elbo.mean(axis=0) < exact).all()
    assert not np.allclose(elbo[0], sampled_elbo(model, x, label, 1, np.random.default_rng(4))[0])


# Scores under every label


def score_by_hand(model, x, label, visible=slice(None)):
    """log p(x | label) of one image: the average over the prior of the probability of its pixels."""
    z, prior = lay_out()
    log_p = -cross_entropy(x[visible], decode_by_hand(model, z, label)[:, visible])
    return np.log(prior @ np.exp(log_p))


@pytest.mark.parametrize("visible", [slice(None), np.arange(N_X) < 5], ids=["whole", "five pixels"])
def test_every_image_is_scored_under_every_label(model, images, visible):
    x, labels = images[0], np.array([[1, 0, 0], [0, 0, 1], [0.2, 0.8, 0], [-1, 0.5, 2]], "float32")
    found = score_labels(model, x, labels, make_grid(6, 60), visible)
    expected = [[score_by_hand(model, image, label, visible) for label in labels] for image in x]
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert np.ptp(found, axis=1).min() > 0.1


# A continuous model read as a Bernoulli


def test_pictures_are_the_means_of_the_continuous_bernoulli(model, images):
    """Each pixel's mean under its density exp(x a), by sums over the pixel."""
    x, label = images
    z = np.random.default_rng(0).standard_normal((6, 2))
    read = read_as_bernoulli(model)
    pixel = (np.arange(20_000) + 0.5) / 20_000
    logits = np.array([apply(model.decoder, ("decoder_hidden", "x_logits"), [z, label])])[0]
    density = np.exp(logits[..., None] * pixel)
    means = (density * pixel).sum(axis=-1) / density.sum(axis=-1)
    np.testing.assert_allclose(decode(read, z, label), means, atol=1e-5)
    assert np.abs(means - decode(model, z, label)).max() > 0.1
    np.testing.assert_array_equal(encode(read, x, label), encode(model, x, label))


@pytest.mark.parametrize("logit", [-1000.0, -30.0, -0.41, -0.39, -1e-3, 0.0, 1e-3, 0.39, 0.41, 30.0, 1000.0])
def test_every_logit_has_a_bernoulli(logit):
    """Also one at which the sigmoid is 0 or 1 in float32: the mean of the continuous Bernoulli is not."""
    flat = SimpleNamespace(encoder=None, decoder=lambda inputs: np.array([[logit]], "float32"))
    found = read_as_bernoulli(flat).decoder(None).astype("float64").item()
    expected = 0.5 + logit / 12 if abs(logit) < 0.1 else 1 / (1 - np.exp(min(-logit, 700))) - 1 / logit
    assert 1 / (1 + np.exp(-found)) == pytest.approx(expected, rel=1e-5)
