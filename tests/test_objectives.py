"""The three classes that train the networks: each change of the objective against an independent computation.

What holds for one of them holds for all: sample weights, XLA, dropout, warm-up, number types, several devices.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import cvae_lib._tensorflow  # noqa: F401

# isort: split
import keras
import numpy as np
import pytest
import tensorflow as tf

from cvae_lib import likelihood
from cvae_lib.evaluate import decode
from cvae_lib.metrics import cross_entropy
from cvae_lib.model import CVAE, kl_loss, reconstruction_loss
from cvae_lib.objectives import AlteredCVAE, continuous_normaliser, continuous_reconstruction_loss
from cvae_lib.pretrained import load_pretrained
from cvae_lib.training.batches import make_batch_lookup
from cvae_lib.training.compiled import CompiledCVAE

LOGITS = np.array([-300.0, -7.0, -0.4, -0.1001, -0.0999, -1e-6, 0.0, 0.05, 0.1, 2.5, 40.0, 300.0])
KINDS = ("CVAE", "AlteredCVAE", "CompiledCVAE")
BATCH_SIZE, N_BATCHES, N_X, N_Y = 8, 3, 12, 3
N = N_BATCHES * BATCH_SIZE


def make_batch():
    """Black and white pixels, which every type of number can hold, and one-hot labels."""
    rng = np.random.default_rng(0)
    return (rng.random((N, N_X)) < 0.3).astype("float32"), np.eye(N_Y, dtype="float32")[np.arange(N) % N_Y]


@pytest.fixture(scope="module")
def batch():
    return make_batch()


# The continuous Bernoulli


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
    assert np.logaddexp(0, a) > log_integral + 0.1


@pytest.mark.parametrize("a", [-0.0999, -0.03, 0.03, 0.0999])
def test_series_near_zero_is_exact(a):
    """To the next term of each; the formulas themselves still have all digits here."""
    formula = np.log(np.expm1(a) / a)
    assert likelihood.continuous_normaliser(a) == pytest.approx(formula, rel=0, abs=8e-12)
    assert likelihood.mean_pixel(a) == pytest.approx(-1 / np.expm1(-a) - 1 / a, rel=0, abs=1e-9)


def test_normaliser_of_keras_is_that_of_numpy():
    found = np.asarray(continuous_normaliser(tf.constant(LOGITS, "float32")))
    np.testing.assert_allclose(found, likelihood.continuous_normaliser(LOGITS), rtol=3e-6, atol=1e-6)
    near = np.linspace(-0.0999, 0.0999, 50, dtype="float32")
    exact = likelihood.continuous_normaliser(near.astype("float64"))
    np.testing.assert_allclose(continuous_normaliser(tf.constant(near)), exact, rtol=3e-7, atol=0)


def test_gradient_of_the_normaliser_is_the_mean_of_the_pixel():
    """d/da log Z = E[x], the mean of the density exp(x a) / Z; finite everywhere, in the middle of the range 1/2."""
    a = tf.Variable(LOGITS, dtype="float32")
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(continuous_normaliser(a))
    means = [np.average(x, weights=weight) for x, weight in map(weigh, LOGITS)]
    np.testing.assert_allclose(tape.gradient(value, a), means, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(likelihood.mean_pixel(LOGITS), means, rtol=1e-5, atol=1e-8)


def test_continuous_loss_sums_over_the_pixels(batch):
    x, x_logits = batch[0][:3], np.random.default_rng(1).normal(size=(3, N_X)).astype("float32")
    expected = np.sum(likelihood.continuous_normaliser(x_logits.astype("float64")) - x * x_logits, axis=1)
    np.testing.assert_allclose(continuous_reconstruction_loss(x, x_logits), expected, rtol=1e-5)


# Training by each class


def make_sure(kind, **altered):
    """A model with sigma = exp(-20) everywhere: what it samples is the mean, so its training can be foretold.

    What is altered goes to the other classes than the CVAE.
    """
    keras.utils.set_random_seed(4)
    settings = {"n_hidden": 8, "n_x": N_X, "n_y": N_Y, "seed": 4}
    model = CVAE(**settings) if kind == "CVAE" else AlteredCVAE(**settings, **altered)
    kernel, bias = model.encoder.get_layer("z_log_var").get_weights()
    model.encoder.get_layer("z_log_var").set_weights([0 * kernel, 0 * bias - 40])
    return model


def fit(kind, model, x, label, weight=None, rate=0.01, epochs=2, look_up=None, **settings):
    """Train a model by stochastic gradient descent with a class of this kind; return the log of the losses.

    Without other settings no step is traced and compiled, which would take most of the time.
    """
    settings = {"optimizer": keras.optimizers.SGD(rate), **(settings or {"run_eagerly": True})}
    if kind != "CompiledCVAE":
        model.compile(**settings)
        fitted = model.fit(
            [x, label], x, sample_weight=weight, batch_size=BATCH_SIZE, epochs=epochs, shuffle=False, verbose=0
        )
        return fitted.history
    parts = [x, label] if weight is None else [x, label, weight]

    def gather(index):
        x, label, *weight = (tf.gather(part, index) for part in parts)
        return (x, label), x, *weight

    compiled = CompiledCVAE(model, look_up or gather)
    compiled.compile(**settings)
    blocks = tf.data.Dataset.from_tensors(np.arange(N).reshape(N_BATCHES, BATCH_SIZE)).repeat()
    return compiled.fit(blocks, steps_per_epoch=1, epochs=epochs, shuffle=False, verbose=0).history


def train_by_hand(weights, x, label, weight, kl_weights, rate=0.01):
    """Train a sure model in float64 by gradients from paper, a step for each entry of kl_weights.

    Returns the two losses of each step, averaged over its images, and the weights at the end.
    """
    weights = [array.astype("float64") for array in weights]
    w1, b1, w_mean, b_mean, w_log_var, b_log_var, w2, b2, w3, b3 = weights
    losses = []
    for step, kl_weight in enumerate(kl_weights):
        of_step = slice(step % N_BATCHES * BATCH_SIZE, (step % N_BATCHES + 1) * BATCH_SIZE)
        image, told, share = x[of_step], label[of_step], weight[of_step, None] / BATCH_SIZE
        inputs = np.concatenate([image, told], axis=1)
        hidden = np.maximum(inputs @ w1 + b1, 0)
        mean, log_var = hidden @ w_mean + b_mean, hidden @ w_log_var + b_log_var
        code = np.concatenate([mean, told], axis=1)
        decoder_hidden = np.maximum(code @ w2 + b2, 0)
        pixels = 1 / (1 + np.exp(-(decoder_hidden @ w3 + b3)))
        kl = 0.5 * (np.exp(log_var) + mean**2 - 1 - log_var).sum(axis=1)
        losses.append([share[:, 0] @ cross_entropy(image, pixels), share[:, 0] @ kl])

        to_logits = share * (pixels - image)
        to_code = (to_logits @ w3.T) * (decoder_hidden > 0)
        to_mean = (to_code @ w2.T)[:, : mean.shape[1]] + kl_weight * share * mean
        to_log_var = kl_weight * share * 0.5 * (np.exp(log_var) - 1)
        to_hidden = (to_mean @ w_mean.T + to_log_var @ w_log_var.T) * (hidden > 0)
        for kernel, bias, below, gradient in (
            (w1, b1, inputs, to_hidden),
            (w_mean, b_mean, hidden, to_mean),
            (w_log_var, b_log_var, hidden, to_log_var),
            (w2, b2, code, to_code),
            (w3, b3, decoder_hidden, to_logits),
        ):
            kernel -= rate * below.T @ gradient
            bias -= rate * gradient.sum(axis=0)
    return np.array(losses), weights


ALTERED = {"beta": 3.0, "warm_up": 4}


def check_training(kind, batch, altered=False, weighted=False, rtol=1e-4, **settings):
    """Train six steps by a class of this kind, and by hand: the logs and the weights at the end have to be the same.

    Two images in three have the weight zero, and by hand they are other images.
    """
    x, label = batch
    altered = altered and kind != "CVAE"
    kl_weights = 3 * np.minimum(1, np.arange(6) / 4) if altered else np.ones(6)
    weight, other = np.ones(N, "float32"), x
    if weighted:
        weight = np.where(np.arange(N) % 3 == 0, np.linspace(0.5, 4, N), 0).astype("float32")
        other = np.where(weight[:, None] > 0, x, 1 - x)
    model = make_sure(kind, **(ALTERED if altered else {}))
    losses, weights = train_by_hand(model.get_weights(), other, label, weight, kl_weights)
    log = fit(kind, model, x, label, weight[:, None] if weighted else None, **settings)
    expected = {
        "reconstruction_loss": losses[:, 0],
        "kl_loss": losses[:, 1],
        "loss": losses[:, 0] + kl_weights * losses[:, 1],
    }
    assert set(log) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(log[name], values.reshape(2, N_BATCHES).mean(axis=1), rtol=rtol, err_msg=name)
    for found, by_hand in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_allclose(found, by_hand, rtol=rtol, atol=rtol / 10)


@pytest.mark.parametrize(
    "settings",
    [
        {"run_eagerly": True},
        {"altered": True, "weighted": True, "jit_compile": False},
        {"altered": True, "weighted": True, "jit_compile": True},
    ],
    ids=["plain", "weighted", "weighted by XLA"],
)
@pytest.mark.parametrize("kind", KINDS)
def test_training_is_that_by_hand(batch, kind, settings):
    """Beta and its warm-up weigh the KL, sample weights both losses; images of weight zero teach nothing."""
    check_training(kind, batch, **settings)


@pytest.mark.parametrize("shape", [(N,), (N, 1)])
@pytest.mark.parametrize("kind", ["CVAE", "AlteredCVAE"])
def test_evaluation_is_weighted_too(batch, kind, shape):
    x, label = batch
    weight = np.linspace(0, 3, N, dtype="float32")
    model = make_sure(kind, **ALTERED)
    losses, _ = train_by_hand(model.get_weights(), x, label, weight, np.ones(N_BATCHES), rate=0)
    model.compile(run_eagerly=True)
    found = model.evaluate(
        [x, label], x, sample_weight=weight.reshape(shape), batch_size=10, verbose=0, return_dict=True
    )
    reconstruction, kl = losses.mean(axis=0)
    expected = {"loss": reconstruction + kl, "reconstruction_loss": reconstruction, "kl_loss": kl}
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "kind, settings", [("AlteredCVAE", {"run_eagerly": True}), ("CompiledCVAE", {"jit_compile": True})]
)
def test_dropout_draws_other_units_in_every_epoch(batch, kind, settings):
    """Nothing else can change the losses: the learning rate is zero."""
    log = fit(kind, make_sure(kind, dropout=0.5), *batch, rate=0.0, epochs=4, **settings)
    assert len(set(log["loss"])) == 4


def test_dropout_is_drawn_by_the_seed(batch):
    """Two models of one seed and the same weights leave the same units out, whatever was drawn before."""
    models = [AlteredCVAE(dropout=0.5, n_hidden=50, n_x=N_X, n_y=N_Y, seed=seed) for seed in (1, 1, 2)]
    for model in models[1:]:
        model.set_weights(models[0].get_weights())
    one, same, other = (np.asarray(model.encoder(batch, training=True)[0]) for model in models)
    np.testing.assert_allclose(one, same, atol=1e-6)
    assert not np.allclose(one, other, atol=1e-3)


def test_dropout_leaves_units_out_in_training_only(batch):
    """A share of the units that are not 0 anyway; the others grow, so that the mean stays."""
    sizes = {"n_hidden": 400, "n_layers": 2, "n_x": N_X, "n_y": N_Y}
    model, plain = AlteredCVAE(dropout=0.25, seed=1, **sizes), CVAE(**sizes)
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


@pytest.mark.parametrize("continuous", [False, True])
def test_beta_weighs_the_kl_in_training_only(batch, continuous):
    """In evaluation the loss is the negative ELBO, so models of different beta compare."""
    x, label = batch
    model = AlteredCVAE(beta=3.0, n_hidden=16, n_x=N_X, n_y=N_Y, continuous=continuous, seed=1)
    y_pred = model([x, label])
    score = continuous_reconstruction_loss if continuous else reconstruction_loss
    reconstruction = np.mean(score(x, y_pred["x_logits"]))
    kl = np.mean(kl_loss(y_pred["z_mean"], y_pred["z_log_var"]))
    assert kl > 0.01
    for training, weight in ((True, 3), (False, 1)):
        loss = model.compute_loss(y=x, y_pred=y_pred, training=training)
        assert float(loss) == pytest.approx(reconstruction + weight * kl, rel=1e-5)


def test_an_altered_model_can_be_saved_and_loaded(batch, tmp_path):
    settings = {"beta": 2.0, "warm_up": 3, "continuous": True, "dropout": 0.2}
    model = make_sure("AlteredCVAE", **settings)
    fit("AlteredCVAE", model, *batch)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.settings == model.settings and settings.items() <= loaded.settings.items()
    for one, other in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    one, other = (each.evaluate(list(batch), batch[0], verbose=0) for each in (model, loaded))
    assert one == pytest.approx(other, rel=1e-5)


# What Keras' own losses and layers accept, these accept


@pytest.fixture(scope="module")
def float32_logs(batch):
    return {kind: fit(kind, make_sure(kind, continuous=True), *batch, epochs=1) for kind in KINDS}


def batches_of(parts):
    """The parts of each batch, in order."""
    for i in range(0, N, BATCH_SIZE):
        x, label = (part[i : i + BATCH_SIZE] for part in parts)
        yield (x, label), x


FEEDS = {
    "arrays": lambda x, label: {"x": [x, label], "y": x, "batch_size": BATCH_SIZE},
    "tf.data": lambda x, label: {"x": tf.data.Dataset.from_tensor_slices(((x, label), x)).batch(BATCH_SIZE)},
    "generator": lambda x, label: {"x": batches_of([x, label]), "steps_per_epoch": N_BATCHES},
}


@pytest.mark.parametrize(
    "kind, way, pixels, labels",
    [
        ("CVAE", "arrays", "bool", "float32"),
        ("CVAE", "arrays", "uint8", "bool"),
        ("CVAE", "arrays", "float64", "int64"),
        ("CVAE", "tf.data", "float64", "float64"),
        ("CVAE", "generator", "float16", "uint8"),
        ("AlteredCVAE", "arrays", "float16", "float32"),
        ("AlteredCVAE", "arrays", "int64", "float16"),
        ("AlteredCVAE", "tf.data", "bool", "int64"),
        ("AlteredCVAE", "generator", "uint8", "float64"),
        ("AlteredCVAE", "generator", "float64", "bool"),
    ],
)
def test_fit_takes_any_numbers(batch, float32_logs, kind, way, pixels, labels):
    model = make_sure(kind, continuous=True)
    model.compile(keras.optimizers.SGD(0.01), run_eagerly=True)
    arrays = batch[0].astype(pixels), batch[1].astype(labels)
    log = model.fit(**FEEDS[way](*arrays), shuffle=False, verbose=0).history
    for name, values in float32_logs[kind].items():
        assert log[name] == pytest.approx(values, rel=1e-5)


@pytest.mark.parametrize("labels", ["bool", "int64", "float64"])
def test_batches_take_any_labels(batch, float32_logs, labels):
    look_up = make_batch_lookup((batch[0] * 255).astype("uint8"), batch[1].astype(labels))
    log = fit("CompiledCVAE", make_sure("CompiledCVAE", continuous=True), *batch, epochs=1, look_up=look_up)
    for name, values in float32_logs["CompiledCVAE"].items():
        assert log[name] == pytest.approx(values, rel=1e-5)


@pytest.fixture(params=["mixed_float16", "mixed_bfloat16"])
def half_precision(request):
    keras.config.set_dtype_policy(request.param)
    yield
    keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_gives_nearly_the_same_losses(batch, float32_logs, half_precision, kind):
    log = fit(kind, make_sure(kind, continuous=True), *batch, epochs=1)
    for name, values in float32_logs[kind].items():
        assert log[name] == pytest.approx(values, rel=0.01)


# Another precision, several devices: both are chosen before TensorFlow starts, so in a process of their own


def check_float64(batch):
    """Train in float64, whatever else Keras' settings file says, and load what was trained in float32."""
    from test_evaluate import decode_by_hand

    assert keras.config.backend() == "tensorflow"
    keras.config.set_floatx("float64")
    for kind in KINDS:
        check_training(kind, batch, altered=True, weighted=True, rtol=1e-7)
    shipped, z, label = load_pretrained("mnist-2d"), np.array([[0.5, -1.0]]), np.eye(10)[[3]]
    np.testing.assert_allclose(decode(shipped, z, label), decode_by_hand(shipped, z, label[0]), atol=1e-6)


def check_devices(batch):
    """Train on two devices that share each batch, and on one that is named."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    both, one = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]), tf.distribute.OneDeviceStrategy("CPU:1")
    for strategy, kind, changes in (
        (both, "CVAE", {}),
        (both, "AlteredCVAE", {"altered": True, "weighted": True}),
        (one, "AlteredCVAE", {"altered": True, "weighted": True}),
    ):
        with strategy.scope():
            check_training(kind, batch, jit_compile=False, **changes)


@pytest.mark.parametrize(
    "check, settings",
    [
        (check_float64, {"backend": "jax", "image_data_format": "channels_first"}),
        (check_devices, {}),
    ],
)
def test_training_is_that_by_hand_where(check, settings, tmp_path):
    """With Keras' settings file of another backend, in float64; and on several devices."""
    (tmp_path / "keras.json").write_text(json.dumps(settings), encoding="utf-8")
    here = Path(__file__).parent
    result = subprocess.run(
        [sys.executable, "-c", f"import test_objectives as t; t.{check.__name__}(t.make_batch())"],
        env={**os.environ, "KERAS_HOME": str(tmp_path), "PYTHONPATH": f"{here}{os.pathsep}{here.parent}"},
        capture_output=True,
        encoding="utf-8",
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
