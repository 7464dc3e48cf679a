"""The conditional variational autoencoder: its sampling layer, its two networks, its two losses.

Chapter 2 writes this file line by line and says why each line is there; a test keeps the two the same.
"""

import cvae_lib._tensorflow  # noqa: F401

# isort: split
import keras
from keras import ops


@keras.saving.register_keras_serializable(package="cvae_lib")
class Sampling(keras.layers.Layer):
    """Draw z ~ N(z_mean, exp(z_log_var)) as z_mean + exp(z_log_var / 2) * epsilon.

    The inputs are z_mean and z_log_var, both (batch, n_z); the output is z, (batch, n_z). Every entry has its own
    epsilon ~ N(0, 1), whatever the batch size. `seed` makes the sequence of draws repeatable.
    Source: chapter 2, the reparameterisation; Kingma & Welling (2014), section 2.4.
    """

    def __init__(self, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs):
        z_mean, z_log_var = inputs
        shape, dtype = ops.shape(z_mean), z_mean.dtype
        epsilon = keras.random.normal(shape, dtype=dtype, seed=self.seed_generator)
        return z_mean + ops.exp(0.5 * z_log_var) * epsilon

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}


def build_encoder(n_z=2, n_hidden=512, n_layers=1, seed=None, n_x=784, n_y=10):
    """Build q(z | x, y): x (batch, n_x) and label (batch, n_y) to z_mean, z_log_var and a sample, (batch, n_z).

    It has n_layers hidden layers of n_hidden units each.
    """
    x = keras.Input((n_x,), name="x")
    label = keras.Input((n_y,), name="label")
    h = keras.layers.Concatenate(name="x_and_label")([x, label])
    dense = keras.layers.Dense
    h = dense(n_hidden, activation="relu", name="encoder_hidden")(h)
    for layer in range(2, n_layers + 1):
        name = f"encoder_hidden_{layer}"
        h = dense(n_hidden, activation="relu", name=name)(h)
    z_mean = keras.layers.Dense(n_z, name="z_mean")(h)
    z_log_var = keras.layers.Dense(n_z, name="z_log_var")(h)
    z = Sampling(seed, name="z")([z_mean, z_log_var])
    return keras.Model([x, label], [z_mean, z_log_var, z], name="encoder")


def build_decoder(n_z=2, n_hidden=512, n_layers=1, n_x=784, n_y=10):
    """Build p(x | z, y): z (batch, n_z) and label (batch, n_y) to the logits of the pixels, (batch, n_x).

    It has n_layers hidden layers of n_hidden units each.
    """
    z = keras.Input((n_z,), name="z")
    label = keras.Input((n_y,), name="label")
    h = keras.layers.Concatenate(name="z_and_label")([z, label])
    dense = keras.layers.Dense
    h = dense(n_hidden, activation="relu", name="decoder_hidden")(h)
    for layer in range(2, n_layers + 1):
        name = f"decoder_hidden_{layer}"
        h = dense(n_hidden, activation="relu", name=name)(h)
    x_logits = keras.layers.Dense(n_x, name="x_logits")(h)
    return keras.Model([z, label], x_logits, name="decoder")


def to_float(array):
    """Convert numbers of any type to Keras' float type, as Keras' own losses do."""
    return ops.cast(array, keras.config.floatx())


def reconstruction_loss(x, x_logits):
    """Compute -log p(x | z, y) for grey pixels as Bernoulli means: nats, summed over the pixels, one value an image.

    x is in [0, 1], x_logits any real number, both (batch, n_x); the result is (batch,). Equation (3) of chapter 2.
    """
    x, x_logits = to_float(x), to_float(x_logits)
    return ops.sum(ops.softplus(x_logits) - x * x_logits, axis=-1)


def kl_loss(z_mean, z_log_var):
    """Compute KL(N(z_mean, exp(z_log_var)) || N(0, I)): nats, summed over the latents, one value an image.

    z_mean and z_log_var are (batch, n_z); the result is (batch,). Equation (4) of chapter 2.
    """
    z_mean, z_log_var = to_float(z_mean), to_float(z_log_var)
    return 0.5 * ops.sum(ops.exp(z_log_var) + ops.square(z_mean) - 1.0 - z_log_var, axis=-1)


@keras.saving.register_keras_serializable(package="cvae_lib")
class BatchMean(keras.losses.Loss):
    """Average one value an image, (batch,), over the batch, as Keras averages its own losses.

    Where several devices share a batch under tf.distribute, each returns its part of the average, because their
    gradients are added. `ops.mean` on each device would make the loss as many times too large as there are devices.
    """

    def call(self, y_true, y_pred):
        return y_pred  # Keras wants a target beside it; an average of losses has none


class TwoLosses(keras.Model):
    """A model whose loss is the mean over the batch of a reconstruction loss and a KL loss, both kept in the log.

    Its `call` gives x_logits (n, n_x), z_mean and z_log_var (n, n_z) by name, and its target is the image. Source:
    chapter 2.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        mean = keras.metrics.Mean
        self.reconstruction_tracker = mean(name="reconstruction_loss")
        self.kl_tracker = mean(name="kl_loss")
        self.batch_mean = BatchMean()

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        reconstruction = reconstruction_loss(y, y_pred["x_logits"])
        kl = kl_loss(y_pred["z_mean"], y_pred["z_log_var"])
        return self.average_losses(reconstruction, kl, sample_weight)

    def average_losses(self, reconstruction, kl, sample_weight=None, kl_weight=1.0):
        """Note both losses, (batch,), in the trackers; return the mean over the batch of their sum, a scalar."""
        if sample_weight is not None:
            weight = ops.reshape(to_float(sample_weight), (-1,))
            reconstruction, kl = weight * reconstruction, weight * kl
        self.reconstruction_tracker.update_state(reconstruction)
        self.kl_tracker.update_state(kl)
        loss = reconstruction + kl_weight * kl
        return self.batch_mean(loss, loss)


@keras.saving.register_keras_serializable(package="cvae_lib")
class CVAE(TwoLosses):
    """The conditional VAE: an encoder q(z | x, y), a decoder p(x | z, y), and the negative ELBO as the loss.

    Train it with `fit([x, label], x)`: x is in [0, 1], (n, n_x), and label is what the networks are told, (n, n_y), a
    one-hot class or any other numbers. `fit` and `evaluate` report three figures in nats an image, averaged over the
    images: `reconstruction_loss`, summed over the pixels; `kl_loss`, summed over the latents; `loss`, their sum, which
    is the negative ELBO with one sample of z an image. They sample z in evaluation too. `predict([x, label])` gives
    x_logits (n, n_x), z_mean and z_log_var (n, n_z); the sigmoid of the logits is the picture. `sample_weight`, one
    number an image, multiplies both losses of that image. Source: chapter 2; Kingma & Welling (2014); Sohn et al.
    (2015).
    """

    def __init__(self, n_z=2, n_hidden=512, n_layers=1, seed=None, n_x=784, n_y=10, **kwargs):
        super().__init__(**kwargs)
        sizes = {"n_z": n_z, "n_hidden": n_hidden, "n_layers": n_layers, "n_x": n_x, "n_y": n_y}
        self.settings = {**sizes, "seed": seed}
        self.encoder = build_encoder(seed=seed, **sizes)
        self.decoder = build_decoder(**sizes)
        self.build([(None, n_x), (None, n_y)])

    def call(self, inputs):
        x, label = inputs
        z_mean, z_log_var, z = self.encoder([x, label])
        return {"x_logits": self.decoder([z, label]), "z_mean": z_mean, "z_log_var": z_log_var}

    def get_config(self):
        return {**super().get_config(), **self.settings}
