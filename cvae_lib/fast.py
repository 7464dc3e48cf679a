"""The Variant that the trainer trains: the same sums in less time.

`variants.Variant` is the one to read; a test holds the two together. Chapter 3 says what was slow and what each part of
this brings.
"""

import cvae_lib.quiet  # noqa: F401

# isort: split
import keras
from keras import ops

from cvae_lib.variants import Variant


class FastVariant(Variant):
    """A Variant that makes many steps of training in one call, and computes its two heads by one product.

    gather is a function from the indices of digits, (batch,), to their batch ((x, label), x). `fit` takes stacks of
    indices, (steps, batch), and makes a step of training with the batch of each row, in turn; evaluation takes plain
    batches. With `jit_compile=True` XLA compiles the whole loop over a stack. Otherwise it is the Variant of the same
    arguments: the same weights, the same draws, the same three losses, averaged over all steps so far.
    """

    def __init__(self, gather, **kwargs):
        super().__init__(**kwargs)
        self.gather = gather

    def build(self, input_shape):
        super().build(input_shape)
        # A hidden layer, or its dropout; z_mean.input would be the one of before `drop_units`.
        *_, last = (layer for layer in self.encoder.layers if layer.name.startswith("encoder_hidden"))
        self.trunk = keras.Model(self.encoder.inputs, last.output, name="trunk")

    def call(self, inputs, training=None):
        x, label = inputs
        h = self.trunk([x, label], training=training)
        z_mean, z_log_var = apply_together([self.encoder.get_layer(name) for name in ("z_mean", "z_log_var")], h)
        z = self.encoder.get_layer("z")([z_mean, z_log_var])
        return {"x_logits": self.decoder([z, label]), "z_mean": z_mean, "z_log_var": z_log_var}

    def train_step(self, data):
        train_on_batch = super().train_step

        def train_on(i, nothing):
            train_on_batch(self.gather(data[i]))
            return nothing

        ops.fori_loop(0, ops.shape(data)[0], train_on, 0)
        return self.get_metrics_result()


def apply_together(layers, h):
    """The outputs of dense layers of one input h (batch, n) and one width, a list: one large product, not many small.

    None of the layers has an activation.
    """
    kernel = ops.concatenate([layer.kernel for layer in layers], axis=1)
    bias = ops.concatenate([layer.bias for layer in layers])
    return ops.split(ops.matmul(h, kernel) + bias, len(layers), axis=1)
