"""What the chapters ask of a trained model: codes, pictures, the ELBO by draws, and scores under every label.

A model is a CVAE, or anything with an `encoder` and a `decoder` of the same inputs and outputs. Codes and scores are
NumPy arrays.
"""

from types import SimpleNamespace
from typing import Any

import cvae_lib._tensorflow  # noqa: F401

# isort: split
import numpy as np
from keras import ops

from cvae_lib.likelihood import Grid, HasDecoder, decode_logits, log_likelihood, softplus, to_numpy
from cvae_lib.model import to_float

BATCH = 1_000  # images encoded at a time


def encode(model: Any, x: Any, label: Any) -> tuple[np.ndarray, np.ndarray]:
    """Encode images x (n, n_x) under label (n, n_y): z_mean and z_log_var of q(z | x, y), each (n, n_z).

    Source: chapter 4.
    """
    if len(x) <= BATCH:  # `predict` takes a tenth of a second to start
        z_mean, z_log_var, _ = model.encoder([ops.array(x), ops.array(label)])
    else:
        z_mean, z_log_var, _ = model.encoder.predict([x, label], batch_size=BATCH, verbose=0)
    return to_numpy(z_mean), to_numpy(z_log_var)


def decode(model: HasDecoder, z: Any, label: Any) -> np.ndarray:
    """Decode z (n, n_z) under label (n, n_y) to pictures: the mean of each pixel, in [0, 1], (n, n_x).

    A label need not be one-hot; a blend of two is a vector with two entries. Source: chapter 6.
    """
    x_logits = model.decoder([ops.array(z), ops.array(label)])
    return ops.convert_to_numpy(ops.sigmoid(to_float(x_logits)))


def sampled_losses(
    model: Any, x: Any, label: Any, n_samples: int, rng: np.random.Generator, decoder_label: Any = None
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the two losses of each image with n_samples draws of z from its posterior q(z | x, y): nats.

    Returns the reconstruction loss of each draw, summed over the pixels, (n_samples, n), and the KL loss, summed over
    the latents, (n,). The mean of a row plus that of the KL is the negative ELBO of the images. If decoder_label is
    given, (n, n_y), the decoder is told it in place of label. Source: chapter 10.
    """
    z_mean, z_log_var = (np.asarray(part, "float64") for part in encode(model, x, label))
    sigma = np.exp(z_log_var / 2)
    told = label if decoder_label is None else decoder_label
    reconstruction = np.empty((n_samples, len(x)))
    for sample in reconstruction:
        logits = decode_logits(model, z_mean + sigma * rng.standard_normal(z_mean.shape), told)
        sample[:] = np.sum(softplus(logits) - x * logits, axis=1)
    return reconstruction, 0.5 * np.sum(sigma**2 + z_mean**2 - 1 - z_log_var, axis=1)


def sampled_elbo(
    model: Any, x: Any, label: Any, n_samples: int, rng: np.random.Generator, decoder_label: Any = None
) -> np.ndarray:
    """Compute the ELBO of each image with each of n_samples draws of z: nats, (n_samples, n).

    The arguments are those of `sampled_losses`, whose negative sum it is. Source: chapter 13.
    """
    reconstruction, kl = sampled_losses(model, x, label, n_samples, rng, decoder_label)
    return -reconstruction - kl


def score_labels(model: HasDecoder, x: Any, labels: Any, grid: Grid, visible: Any = slice(None)) -> np.ndarray:
    """Compute log p(x | label) of every image x (n, n_x) under every row of labels (k, n_y): nats, (n, k).

    The sum over the grid is that of `likelihood.log_likelihood`, and so is `visible`. Source: chapter 13.
    """
    labels = np.asarray(labels)
    columns = [
        log_likelihood(model, x, np.broadcast_to(label, (len(x), labels.shape[1])), grid, visible) for label in labels
    ]
    return np.stack(columns, axis=1)


def read_as_bernoulli(model: Any) -> SimpleNamespace:
    """Make a model with the same encoder whose decoder gives the logits of a continuous Bernoulli model's mean image.

    Their sigmoid is each pixel's mean, so the model can be scored by the Bernoulli, as others are. Source: chapter 15.
    """

    def decoder(inputs: Any) -> np.ndarray:
        # The odds mean / (1 - mean) take one exponential, and float32 is enough for them. The opposite logit has the
        # inverse odds; near 0 two terms of the series of the logarithm are exact in float32.
        a = to_numpy(model.decoder(inputs))
        size = np.abs(a)
        near = size < 0.4
        size = np.where(near, 1, size)
        tail = np.exp(-size)
        odds = (size - 1 + tail) / (1 - (1 + size) * tail)
        return np.where(near, a / 3 - a**3 / 405, np.sign(a) * np.log(odds))

    return SimpleNamespace(encoder=model.encoder, decoder=decoder)
