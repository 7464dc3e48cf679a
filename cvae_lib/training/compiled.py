"""The same training, faster: many steps of training in one compiled call, and both heads by one matrix product.

Read `objectives.AlteredCVAE` to understand the model; a test checks that the two compute the same. The page "What it
costs" says what was slow and how much time each part saves.
"""

from collections.abc import Callable, Sequence
from typing import Any

import cvae_lib._tensorflow  # noqa: F401

# isort: split
import keras
from keras import ops

from cvae_lib.model import CVAE


class CompiledCVAE(keras.Model):
    """Train a CVAE, or an AlteredCVAE, by many steps in one call, and compute its two heads by one product.

    cvae is the model that learns: both have the same weights. look_up is a function from the indices of images,
    (batch,), to their batch ((x, label), x) or ((x, label), x, sample_weight). `fit` takes blocks of indices,
    (steps, batch), and makes a step of training with the batch of each row, in turn; evaluation takes plain batches.
    With `jit_compile=True` XLA compiles the whole loop over a block. Otherwise the results are those of `cvae.fit`: the
    same weights, the same draws, the same three losses, averaged over all steps so far.
    """

    def __init__(self, cvae: CVAE, look_up: Callable[[Any], Any], **kwargs: Any):
        super().__init__(**kwargs)
        self.cvae, self.look_up = cvae, look_up
        encoder = cvae.encoder
        self.heads = [encoder.get_layer(name) for name in ("z_mean", "z_log_var")]
        # `encoder.get_layer("z_mean").input` would be that of the encoder without dropout, of the same layers.
        hidden = [layer for layer in encoder.layers if layer.name.startswith("encoder_hidden")]
        self.trunk = keras.Model(encoder.inputs, hidden[-1].output, name="trunk")
        # Keras resets and reports the metrics that a model holds itself, not those of a model inside.
        self.trackers = [cvae.reconstruction_tracker, cvae.kl_tracker]
        self.built = True  # because all its layers are built

    def compile(self, optimizer: Any, **kwargs: Any) -> None:
        super().compile(optimizer, **kwargs)
        self.cvae.optimizer = self.optimizer  # a warm-up of the KL reads its count of steps

    def call(self, inputs: Any, training: bool | None = None) -> dict[str, Any]:
        x, label = inputs
        h = self.trunk([x, label], training=training)
        z_mean, z_log_var = apply_together(self.heads, h)
        z = self.cvae.encoder.get_layer("z")([z_mean, z_log_var])
        return {"x_logits": self.cvae.decoder([z, label]), "z_mean": z_mean, "z_log_var": z_log_var}

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        # Keras passes `training` only to a method that has this argument.
        return self.cvae.compute_loss(x, y, y_pred, sample_weight, training)

    def train_step(self, data: Any) -> dict[str, Any]:
        train_on_batch = super().train_step

        def train_on(i: Any, nothing: Any) -> Any:
            train_on_batch(self.look_up(data[i]))
            return nothing

        ops.fori_loop(0, ops.shape(data)[0], train_on, 0)
        return self.get_metrics_result()


def apply_together(layers: Sequence[keras.layers.Dense], h: Any) -> list[Any]:
    """Apply dense layers of equal width and no activation to one input h, (batch, n): a list of their outputs.

    It takes one large matrix product in place of many small ones.
    """
    kernel = ops.concatenate([layer.kernel for layer in layers], axis=1)
    bias = ops.concatenate([layer.bias for layer in layers])
    return ops.split(ops.matmul(h, kernel) + bias, len(layers), axis=1)
