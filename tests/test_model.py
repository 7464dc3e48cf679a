"""The model: its losses against float64 NumPy and Monte Carlo, its gradients, and what Keras does with it."""

import cvae_lib._tensorflow  # noqa: F401

# isort: split
import keras
import numpy as np
import pytest
import tensorflow as tf

from cvae_lib.convolutional import AlteredConvolutionalCVAE, ConvolutionalCVAE
from cvae_lib.evaluate import decode
from cvae_lib.metrics import cross_entropy, gaussian_kl
from cvae_lib.model import CVAE, BatchMean, Sampling, kl_loss, reconstruction_loss
from cvae_lib.objectives import AlteredCVAE

LOSSES = ("loss", "reconstruction_loss", "kl_loss")
N = 230


def sigmoid(logits):
    return 1 / (1 + np.exp(-np.asarray(logits, "float64")))


@pytest.fixture(scope="module")
def batch():
    """Grey pictures and one-hot labels, N of each: a number that no batch size below divides."""
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(N, 784)) * (rng.uniform(size=(N, 784)) < 0.3)
    return x.astype("float32"), np.eye(10, dtype="float32")[np.arange(N) % 10]


def make_model(seed=3, compiled=True, n_hidden=16, **settings):
    keras.utils.set_random_seed(1)
    model = CVAE(n_hidden=n_hidden, seed=seed)
    if compiled:
        model.compile(keras.optimizers.Adam(1e-3), jit_compile=False, **settings)
    return model


def make_sure_model(**settings):
    """A model with sigma = exp(-20) everywhere: what it samples is the mean, so its losses can be foretold."""
    model = make_model(**settings)
    kernel, bias = model.encoder.get_layer("z_log_var").get_weights()
    model.encoder.get_layer("z_log_var").set_weights([0 * kernel, 0 * bias - 40])
    return model


def foretell(model, x, label):
    """The two losses of a sure model, one value an image, in float64."""
    z_mean, z_log_var, _ = (part.numpy().astype("float64") for part in model.encoder([x, label]))
    reconstruction = cross_entropy(x, sigmoid(model.decoder([z_mean.astype("float32"), label])))
    return reconstruction, np.array([gaussian_kl(m, np.diag(np.exp(v))) for m, v in zip(z_mean, z_log_var)])


# The losses


def test_reconstruction_is_the_cross_entropy_of_the_sigmoid():
    rng = np.random.default_rng(0)
    x, logits = rng.uniform(size=(6, 784)).astype("float32"), rng.normal(scale=4, size=(6, 784)).astype("float32")
    found = reconstruction_loss(x, logits)
    assert found.shape == (6,)
    np.testing.assert_allclose(found, cross_entropy(x, sigmoid(logits)), rtol=1e-5)


@pytest.mark.parametrize("size", [20, 90, 1e4])
def test_reconstruction_bears_extreme_logits(size):
    """The sigmoid is exactly 0 or 1 there in float32, and its logarithm would be infinite."""
    logits = np.array([[-size, size]], "float32")
    for x, nats in (([[0, 1]], 0), ([[1, 0]], 2 * size), ([[0.5, 0.5]], size)):
        found = np.asarray(reconstruction_loss(np.array(x, "float32"), logits))
        np.testing.assert_allclose(found, nats, rtol=1e-6, atol=1e-7)


def test_reconstruction_has_a_gradient_at_extreme_logits():
    logits = tf.Variable([[-1e4, -90.0, 90.0, 1e4]])
    with tf.GradientTape() as tape:
        loss = reconstruction_loss(tf.constant([[0.2, 0.2, 0.2, 0.2]]), logits)
    np.testing.assert_allclose(tape.gradient(loss, logits), [[-0.2, -0.2, 0.8, 0.8]], rtol=1e-6)


MEANS = np.array([[0.0, 0.0], [0.4, -1.3], [2.5, 0.1]])
LOG_VARS = np.array([[0.0, 0.0], [-2.0, 0.3], [0.9, -4.0]])


def test_kl_is_the_closed_form():
    found = kl_loss(MEANS.astype("float32"), LOG_VARS.astype("float32"))
    expected = [gaussian_kl(mean, np.diag(np.exp(log_var))) for mean, log_var in zip(MEANS, LOG_VARS)]
    assert found.shape == (3,)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


def test_kl_is_the_mean_of_log_q_over_p():
    rng = np.random.default_rng(0)
    sigma = np.exp(LOG_VARS / 2)
    epsilon = rng.normal(size=(200_000, 3, 2))
    z = MEANS + sigma * epsilon
    terms = (-0.5 * epsilon**2 - np.log(sigma) + 0.5 * z**2).sum(axis=-1)
    error = 5 * terms.std(axis=0) / np.sqrt(len(terms)) + 1e-6
    found = np.asarray(kl_loss(MEANS.astype("float32"), LOG_VARS.astype("float32")))
    assert (np.abs(found - terms.mean(axis=0)) < error).all()


# Sampling


def test_draws_have_the_mean_and_the_variance_asked_for():
    """The head is the log of the variance: read as log sigma, the spread would be its square."""
    n = 100_000
    mean, log_var = np.array([1.5, -0.5, 0.0], "float32"), np.array([np.log(0.25), 0.0, 1.2], "float32")
    z = np.asarray(Sampling(seed=1)([np.tile(mean, (n, 1)), np.tile(log_var, (n, 1))]), "float64")
    sigma = np.exp(log_var / 2)
    np.testing.assert_array_less(np.abs(z.mean(axis=0) - mean), 5 * sigma / np.sqrt(n))
    np.testing.assert_allclose(z.std(axis=0), sigma, rtol=5 / np.sqrt(2 * n))
    epsilon = (z - mean) / sigma
    assert (epsilon**4).mean() == pytest.approx(3, abs=0.1)


def draw(layer, rows=200, columns=3):
    return np.asarray(layer([np.zeros((rows, columns), "float32")] * 2))


def test_every_entry_has_its_own_epsilon():
    layer = Sampling(seed=1)
    epsilon = np.concatenate([draw(layer), draw(layer)], axis=1)
    assert len(np.unique(epsilon)) > 0.99 * epsilon.size
    off_diagonal = np.corrcoef(epsilon.T) - np.eye(6)
    assert np.abs(off_diagonal).max() < 5 / np.sqrt(200)
    assert (epsilon.std(axis=0) > 0.8).all() and (epsilon.std(axis=1) > 0.05).all()


@pytest.mark.parametrize("rows", [1, 5, 64])
def test_batch_may_have_any_size(rows):
    assert draw(Sampling(), rows).shape == (rows, 3)


def test_seed_repeats_the_draws():
    first, same, other = Sampling(seed=4), Sampling(seed=4), Sampling(seed=5)
    for _ in range(3):
        epsilon = draw(first)
        np.testing.assert_array_equal(epsilon, draw(same))
        assert not np.allclose(epsilon, draw(other))


def test_sampling_goes_through_its_config():
    layer = Sampling(seed=4, name="z")
    again = keras.layers.deserialize(keras.layers.serialize(layer))
    assert isinstance(again, Sampling) and again.name == "z"
    np.testing.assert_array_equal(draw(layer), draw(again))


# The networks


def test_default_model_has_the_parameters_of_the_2017_network():
    def dense(inputs, outputs):
        return (inputs + 1) * outputs

    encoder = dense(784 + 10, 512) + 2 * dense(512, 2)
    decoder = dense(2 + 10, 512) + dense(512, 784)
    assert CVAE().count_params() == encoder + decoder == 817_940


def test_sizes_are_those_asked_for():
    model = CVAE(n_z=3, n_hidden=5, n_layers=2, n_x=12, n_y=4)
    x, label = np.zeros((7, 12), "float32"), np.zeros((7, 4), "float32")
    assert [part.shape for part in model.encoder([x, label])] == [(7, 3)] * 3
    assert model.decoder([np.zeros((7, 3), "float32"), label]).shape == (7, 12)
    hidden = [(12 + 4 + 1) * 5 + (5 + 1) * 5, (3 + 4 + 1) * 5 + (5 + 1) * 5]
    assert model.count_params() == sum(hidden) + 2 * (5 + 1) * 3 + (5 + 1) * 12


def test_encoder_samples_from_the_heads_it_returns(batch):
    x, label = batch
    model = make_model(compiled=False)
    z_mean, z_log_var, z = (np.asarray(part) for part in model.encoder([x, label]))
    assert z_mean.shape == z_log_var.shape == z.shape == (N, 2)
    epsilon = (z - z_mean) / np.exp(z_log_var / 2)
    assert abs(epsilon.mean()) < 0.25 and epsilon.std() == pytest.approx(1, abs=0.2)

    def dense(inputs, name):
        kernel, bias = model.encoder.get_layer(name).get_weights()
        return inputs @ kernel + bias

    hidden = np.maximum(dense(np.concatenate([x, label], axis=1), "encoder_hidden"), 0)
    np.testing.assert_allclose(z_mean, dense(hidden, "z_mean"), atol=1e-4)
    np.testing.assert_allclose(z_log_var, dense(hidden, "z_log_var"), atol=1e-4)


def test_every_hidden_layer_has_a_relu(batch):
    """Three of them in each network, in NumPy. Without the ReLU they would be one."""
    x, label = (part[:20] for part in batch)
    model = CVAE(n_hidden=16, n_layers=3, seed=1)
    z = np.random.default_rng(0).normal(size=(20, 2)).astype("float32")
    for network, inputs, output in ((model.encoder, x, "z_mean"), (model.decoder, z, "x_logits")):
        h = np.concatenate([inputs, label], axis=1)
        for name in ("hidden", "hidden_2", "hidden_3"):
            kernel, bias = network.get_layer(f"{network.name}_{name}").get_weights()
            h = np.maximum(h @ kernel + bias, 0)
        kernel, bias = network.get_layer(output).get_weights()
        found = network([inputs, label])
        np.testing.assert_allclose(found if output == "x_logits" else found[0], h @ kernel + bias, atol=1e-5)


def test_a_model_draws_by_its_seed(batch):
    """Its names do not depend on what was built before it, either: a file of weights holds them."""
    inputs = [part[:5] for part in batch]
    one, same, other = (CVAE(n_hidden=4, n_layers=2, seed=seed) for seed in (1, 1, 2))
    epsilon = []
    for model in (one, same, other):
        z_mean, z_log_var, z = (np.asarray(part) for part in model.encoder(inputs))
        epsilon.append((z - z_mean) / np.exp(z_log_var / 2))
    np.testing.assert_allclose(epsilon[0], epsilon[1], atol=1e-5)
    assert not np.allclose(epsilon[0], epsilon[2], atol=0.1)
    for network in ("encoder", "decoder"):
        names = [[layer.name for layer in getattr(model, network).layers] for model in (one, same)]
        assert names[0] == names[1] and getattr(one, network).name == network


def test_label_counts_in_both_networks(batch):
    x, label = batch
    model = make_model(compiled=False)
    z = np.zeros((10, 2), "float32")
    pictures = decode(model, z, np.eye(10))
    means = np.asarray(model.encoder([np.tile(x[:1], (10, 1)), np.eye(10, dtype="float32")])[0])
    for values in (pictures, means):
        assert len(np.unique(values.round(5), axis=0)) == 10


def test_predict_gives_logits_and_both_heads(batch):
    x, label = batch
    model = make_model()
    found = model.predict([x, label], batch_size=7, verbose=0)
    assert {key: values.shape for key, values in found.items()} == {
        "x_logits": (N, 784),
        "z_mean": (N, 2),
        "z_log_var": (N, 2),
    }
    np.testing.assert_allclose(found["z_mean"], model.encoder([x, label])[0], atol=1e-5)
    # Logits, and a decoder that is given samples, not means.
    assert found["x_logits"].min() < 0
    assert np.abs(found["x_logits"] - np.asarray(model.decoder([found["z_mean"], label]))).max() > 0.01


# What fit and evaluate report


@pytest.mark.parametrize("batch_size", [7, 100, N])
def test_figures_are_means_over_the_images(batch, batch_size):
    """Also where the last batch is smaller: a mean of the means of the batches would be off."""
    x, label = batch
    model = make_sure_model()
    x = x * np.linspace(0, 1, N, dtype="float32")[:, None] ** 2
    reconstruction, kl = foretell(model, x, label)
    found = model.evaluate([x, label], x, batch_size=batch_size, verbose=0, return_dict=True)
    assert set(found) == set(LOSSES)
    assert found["reconstruction_loss"] == pytest.approx(reconstruction.mean(), rel=1e-5)
    assert found["kl_loss"] == pytest.approx(kl.mean(), rel=1e-5)
    assert found["loss"] == pytest.approx(reconstruction.mean() + kl.mean(), rel=1e-5)


@pytest.mark.parametrize("steps", [2, 3, 50])
def test_steps_per_execution_changes_no_figure(batch, steps):
    """Three batches, the last one smaller; with 50 steps a call there are more steps than batches."""
    x, label = batch
    model = make_sure_model(steps_per_execution=steps)
    reconstruction, kl = foretell(model, x, label)
    found = model.evaluate([x, label], x, batch_size=100, verbose=0, return_dict=True)
    assert found["loss"] == pytest.approx(reconstruction.mean() + kl.mean(), rel=1e-5)
    assert found["kl_loss"] == pytest.approx(kl.mean(), rel=1e-5)


def test_log_adds_up_and_training_helps(batch):
    """With Keras' own choice of compiling, as a reader calls it."""
    x, label = batch
    keras.utils.set_random_seed(1)
    model = CVAE(n_hidden=16, seed=1)
    model.compile("adam")
    history = model.fit(
        [x, label], x, epochs=5, batch_size=50, verbose=0, validation_data=([x[:60], label[:60]], x[:60])
    ).history
    assert set(history) == {prefix + name for prefix in ("", "val_") for name in LOSSES}
    for prefix in ("", "val_"):
        loss, reconstruction, kl = (np.array(history[prefix + name]) for name in LOSSES)
        np.testing.assert_allclose(loss, reconstruction + kl, rtol=1e-5)
        assert (kl > 0).all() and loss[-1] < loss[0]


def test_evaluation_samples(batch):
    """Taking the mean instead would flatter the reconstruction."""
    x, label = batch
    model = make_model(steps_per_execution=1)
    first, second = (model.evaluate([x, label], x, verbose=0, return_dict=True) for _ in range(2))
    assert first["reconstruction_loss"] != second["reconstruction_loss"]
    assert first["reconstruction_loss"] == pytest.approx(second["reconstruction_loss"], rel=0.01)
    assert first["kl_loss"] == second["kl_loss"]


def test_early_stopping_watches_the_validation_loss(batch):
    x, label = batch
    model = make_model(run_eagerly=True)
    stop = keras.callbacks.EarlyStopping(monitor="val_loss", patience=2, min_delta=1e9, restore_best_weights=True)
    history = model.fit(
        [x, label], x, epochs=9, batch_size=100, validation_data=([x, label], x), callbacks=[stop], verbose=0
    )
    assert len(history.epoch) == 3 and stop.best_weights is not None


# Gradients


def loss_and_gradients(model, x, label):
    with tf.GradientTape() as tape:
        loss = model.compute_loss([x, label], x, model([x, label], training=True))
    return float(loss), tape.gradient(loss, model.trainable_variables)


def test_gradient_reaches_every_weight(batch):
    x, label = batch
    model = make_model(compiled=False)
    _, gradients = loss_and_gradients(model, x, label)
    assert len(gradients) == 10
    for variable, gradient in zip(model.trainable_variables, gradients):
        assert gradient is not None and np.isfinite(gradient).all(), variable.path
        assert (np.abs(gradient).max(axis=0) > 0).mean() > 0.5, variable.path


def negative_elbo(weights, x, label, epsilon):
    """The loss in float64 from its definition, with fixed draws: log p(x | z, y), and q(z | x, y) against p(z)."""
    w1, b1, w_mean, b_mean, w_log_var, b_log_var, w2, b2, w3, b3 = weights
    hidden = np.maximum(np.concatenate([x, label], axis=1) @ w1 + b1, 0)
    z_mean, z_log_var = hidden @ w_mean + b_mean, hidden @ w_log_var + b_log_var
    z = z_mean + np.sqrt(np.exp(z_log_var)) * epsilon
    p = sigmoid(np.maximum(np.concatenate([z, label], axis=1) @ w2 + b2, 0) @ w3 + b3)
    kl = [gaussian_kl(mean, np.diag(np.exp(log_var))) for mean, log_var in zip(z_mean, z_log_var)]
    return np.mean(cross_entropy(x, p) + kl)


def test_gradient_is_that_of_the_negative_elbo(batch):
    """Against finite differences in float64, for some weights of each layer; epsilon is the same in both."""
    x, label = batch[0][:20], batch[1][:20]
    model = make_model(compiled=False)
    layers = [model.encoder.get_layer(name) for name in ("encoder_hidden", "z_mean", "z_log_var")]
    layers += [model.decoder.get_layer(name) for name in ("decoder_hidden", "x_logits")]
    variables = [variable for layer in layers for variable in (layer.kernel, layer.bias)]
    rng = np.random.default_rng(0)
    for variable in variables:
        variable.assign(variable.numpy() + rng.normal(scale=0.05, size=variable.shape))

    state = model.encoder.get_layer("z").seed_generator.state
    start = state.numpy()
    z_mean, z_log_var, z = (part.numpy().astype("float64") for part in model.encoder([x, label]))
    epsilon = (z - z_mean) / np.exp(z_log_var / 2)
    state.assign(start)
    loss, gradients = loss_and_gradients(model, x, label)
    gradients = dict(zip((variable.path for variable in model.trainable_variables), gradients))

    weights = [variable.numpy().astype("float64") for variable in variables]
    assert loss == pytest.approx(negative_elbo(weights, x, label, epsilon), rel=1e-5)
    for variable, weight in zip(variables, weights):
        gradient = np.asarray(gradients[variable.path])
        steepest = np.argsort(-np.abs(gradient), axis=None)[:3]
        for index in (*steepest, *rng.choice(gradient.size, min(3, gradient.size), replace=False)):
            place = np.unravel_index(index, gradient.shape)
            value, step, losses = weight[place], 1e-5, []
            for change in (step, -step):
                weight[place] = value + change
                losses.append(negative_elbo(weights, x, label, epsilon))
            weight[place] = value
            slope = (losses[0] - losses[1]) / (2 * step)
            assert gradient[place] == pytest.approx(slope, rel=1e-3, abs=1e-3), f"{variable.path}{place}"


# Storing


def check_same_model(model, again, x, label):
    assert isinstance(again, CVAE) and again.settings == model.settings
    for old, new in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    np.testing.assert_allclose(again.encoder([x, label])[0], model.encoder([x, label])[0], rtol=1e-6)
    z = np.ones((len(x), 2))
    np.testing.assert_allclose(decode(again, z, label), decode(model, z, label), rtol=1e-6)


def test_model_goes_through_a_keras_file(batch, tmp_path):
    x, label = batch
    model = make_sure_model(run_eagerly=True)
    model.fit([x, label], x, epochs=1, batch_size=100, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    check_same_model(model, again, x, label)
    assert again.optimizer.iterations == 3
    found = [each.evaluate([x, label], x, verbose=0, return_dict=True)["loss"] for each in (model, again)]
    assert found[0] == pytest.approx(found[1], rel=1e-5)


def test_model_goes_through_a_weights_file(batch, tmp_path):
    x, label = batch
    model = make_model()
    model.save_weights(tmp_path / "model.weights.h5")
    again = CVAE(n_hidden=16, seed=3)
    assert not np.array_equal(again.get_weights()[0], model.get_weights()[0])
    again.load_weights(tmp_path / "model.weights.h5")
    check_same_model(model, again, x, label)


def test_model_is_built_again_from_its_config():
    settings = {"n_z": 3, "n_hidden": 5, "n_layers": 2, "n_x": 12, "n_y": 4, "seed": 8}
    model = CVAE(**settings, name="small")
    again = CVAE.from_config(model.get_config())
    assert again.name == "small" and again.settings == settings
    assert [v.shape for v in again.variables] == [v.shape for v in model.variables]
    assert keras.models.clone_model(model).count_params() == model.count_params()


@pytest.mark.parametrize("kind", [Sampling, BatchMean, CVAE, AlteredCVAE, ConvolutionalCVAE, AlteredConvolutionalCVAE])
def test_a_class_keeps_its_name_in_the_files_of_keras(kind):
    """A file of `model.save` holds the name, and Keras cannot load the file where the class has another."""
    assert keras.saving.get_registered_name(kind) == f"cvae_lib>{kind.__name__}"
    assert keras.saving.get_registered_object(f"cvae_lib>{kind.__name__}") is kind
