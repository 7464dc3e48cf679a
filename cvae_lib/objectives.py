"""The CVAE trained with another objective, for the chapters that measure the effect of one change.

The networks and their weights are those of `model.CVAE`; only training differs. Chapter 11 uses the warm-up and
dropout, chapter 12 beta, chapter 15 the continuous Bernoulli.
"""

from typing import Any

import cvae_lib._tensorflow  # noqa: F401

# isort: split
import keras
from keras import ops

from cvae_lib.model import CVAE, kl_loss, reconstruction_loss, to_float


def continuous_reconstruction_loss(x: Any, x_logits: Any) -> Any:
    """Compute -log p(x | z, y) for grey pixels as continuous Bernoulli: nats, summed over the pixels, one an image.

    x is in [0, 1], x_logits any real number, both (batch, n_x); the result is (batch,). It is the logarithm of a
    density, so it may be negative. Source: chapter 15; Loaiza-Ganem & Cunningham (2019).
    """
    x, x_logits = to_float(x), to_float(x_logits)
    return ops.sum(continuous_normaliser(x_logits) - x * x_logits, axis=-1)


def continuous_normaliser(a: Any) -> Any:
    """Compute log((exp(a) - 1) / a), which takes the place of softplus(a), for any real a without overflow.

    It is the logarithm of the integral of exp(x a) over x from 0 to 1. Near 0, where the formula divides 0 by 0, three
    terms of its series are exact in float32.
    """
    size = ops.abs(a)
    near = size < 0.1
    size = ops.where(near, 1.0, size)
    far = ops.maximum(a, 0.0) + ops.log((1.0 - ops.exp(-size)) / size)
    return ops.where(near, a / 2 + a**2 / 24 - a**4 / 2880, far)


def drop_units(encoder: keras.Model, rate: float, seed: int | None = None) -> keras.Model:
    """Build an encoder of the same layers, with dropout after each hidden layer."""
    h = encoder.get_layer("x_and_label").output
    for layer in encoder.layers:
        if layer.name.startswith("encoder_hidden"):
            h = keras.layers.Dropout(rate, seed=seed, name=f"{layer.name}_dropout")(layer(h))
    z_mean, z_log_var = (encoder.get_layer(name)(h) for name in ("z_mean", "z_log_var"))
    z = encoder.get_layer("z")([z_mean, z_log_var])
    return keras.Model(encoder.inputs, [z_mean, z_log_var, z], name="encoder")


@keras.saving.register_keras_serializable(package="cvae_lib")
class AlteredCVAE(CVAE):
    """A CVAE with an altered objective: with the defaults it is the CVAE.

    beta is the weight of the KL; over the first warm_up steps the weight rises from 0 to beta. continuous: pixels are
    scored by the continuous Bernoulli. dropout: the share of the encoder's hidden units that a step of training leaves
    out. In evaluation beta is 1 and no unit is left out, so `loss` is always the negative ELBO, of the density that
    `continuous` names. Source: Higgins et al. (2017) for beta, Srivastava et al. (2014) for dropout; chapters 11, 12,
    15.
    """

    def __init__(
        self, beta: float = 1.0, warm_up: int = 0, continuous: bool = False, dropout: float = 0.0, **kwargs: Any
    ):
        self.dropout = dropout  # the last step of `CVAE.__init__` is `build`, which needs it
        super().__init__(**kwargs)
        altered = {"beta": beta, "warm_up": warm_up, "continuous": continuous, "dropout": dropout}
        self.settings = {**altered, **self.settings}
        self.beta, self.warm_up = beta, warm_up
        self.score = continuous_reconstruction_loss if continuous else reconstruction_loss

    def build(self, input_shape: Any) -> None:
        if self.dropout:
            self.encoder = drop_units(self.encoder, self.dropout, self.settings["seed"])
        super().build(input_shape)

    def call(self, inputs: Any, training: bool | None = None) -> dict[str, Any]:
        # Keras passes `training` only to a call that has this argument, and then to the layers inside, such as dropout.
        return super().call(inputs)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        reconstruction = self.score(y, y_pred["x_logits"])
        kl = kl_loss(y_pred["z_mean"], y_pred["z_log_var"])
        return self.average_losses(reconstruction, kl, sample_weight, self.kl_weight() if training else 1.0)

    def kl_weight(self) -> Any:
        """Compute the weight of the KL in this step of training."""
        if not self.warm_up:
            return self.beta
        return self.beta * ops.minimum(1.0, to_float(self.optimizer.iterations) / self.warm_up)
