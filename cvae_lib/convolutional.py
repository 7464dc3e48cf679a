"""A convolutional encoder and decoder, in the place of the dense ones, for images whose patterns may be anywhere.

Each network has a dense part of n_hidden units, as those of `model` have, and two convolutions that halve or double
height and width. Inputs, outputs and the names of the hidden layers are those of `model`, so all that trains, measures
or shows a CVAE takes this one, too. Source: chapter 16.
"""

import math
from collections.abc import Mapping
from typing import Any

import cvae_lib._tensorflow  # noqa: F401

# isort: split
import keras

from cvae_lib.model import CVAE, Sampling, TwoLosses
from cvae_lib.objectives import AlteredCVAE

CHANNELS = (16, 32)  # of the two convolutions, from the image inwards
CONVOLUTION: dict[str, Any] = {"kernel_size": 3, "strides": 2, "padding": "same", "data_format": "channels_last"}


def add_hidden(h: Any, n_hidden: int, n_layers: int, prefix: str) -> Any:
    """Add n_layers dense layers of n_hidden units, named as in `model`."""
    for layer in range(1, n_layers + 1):
        name = f"{prefix}_hidden_{layer}" if layer > 1 else f"{prefix}_hidden"
        h = keras.layers.Dense(n_hidden, activation="relu", name=name)(h)
    return h


def build_convolutional_encoder(
    image_shape: tuple[int, ...], n_z: int = 2, n_hidden: int = 128, n_layers: int = 1, seed: Any = None, n_y: int = 10
) -> keras.Model:
    """Build q(z | x, y): x (batch, n_x) and label (batch, n_y) to z_mean, z_log_var and a sample, (batch, n_z).

    image_shape: (height, width) or (height, width, channels), whose product is n_x. The convolutions see the image
    alone; the label joins what they find.
    """
    x = keras.Input((math.prod(image_shape),), name="x")
    label = keras.Input((n_y,), name="label")
    h = keras.layers.Reshape((*image_shape, 1)[:3], name="picture")(x)
    # Every layer has a name, because Keras would number it in its process, and the file of weights holds the names.
    for number, channels in enumerate(CHANNELS, start=1):
        name = f"encoder_convolution_{number}"
        h = keras.layers.Conv2D(channels, activation="relu", name=name, **CONVOLUTION)(h)
    h = keras.layers.Flatten(name="found")(h)
    h = keras.layers.Concatenate(name="x_and_label")([h, label])
    h = add_hidden(h, n_hidden, n_layers, "encoder")
    z_mean, z_log_var = (keras.layers.Dense(n_z, name=name)(h) for name in ("z_mean", "z_log_var"))
    return keras.Model([x, label], [z_mean, z_log_var, Sampling(seed, name="z")([z_mean, z_log_var])], name="encoder")


def build_convolutional_decoder(
    image_shape: tuple[int, ...], n_z: int = 2, n_hidden: int = 128, n_layers: int = 1, n_y: int = 10
) -> keras.Model:
    """Build p(x | z, y): z (batch, n_z) and label (batch, n_y) to the logits of the pixels, (batch, n_x).

    A height or width that 4 does not divide is drawn larger and cut at the end.
    """
    height, width, channels = (*image_shape, 1)[:3]
    small = (-(-height // 4), -(-width // 4), CHANNELS[1])
    z = keras.Input((n_z,), name="z")
    label = keras.Input((n_y,), name="label")
    h = add_hidden(keras.layers.Concatenate(name="z_and_label")([z, label]), n_hidden, n_layers, "decoder")
    h = keras.layers.Dense(math.prod(small), activation="relu", name="small_picture")(h)
    h = keras.layers.Reshape(small, name="small_channels")(h)
    h = keras.layers.Conv2DTranspose(CHANNELS[0], activation="relu", name="decoder_convolution_1", **CONVOLUTION)(h)
    h = keras.layers.Conv2DTranspose(channels, name="decoder_convolution_2", **CONVOLUTION)(h)
    cut = ((0, 4 * small[0] - height), (0, 4 * small[1] - width))
    h = keras.layers.Cropping2D(cut, data_format="channels_last", name="cut")(h)
    return keras.Model([z, label], keras.layers.Flatten(name="x_logits")(h), name="decoder")


@keras.saving.register_keras_serializable(package="cvae_lib")
class ConvolutionalCVAE(CVAE):
    """The CVAE of `model` with convolutional networks. Its sizes are those of the builders above."""

    def __init__(
        self,
        image_shape: tuple[int, ...],
        n_z: int = 2,
        n_hidden: int = 128,
        n_layers: int = 1,
        seed: int | None = None,
        n_y: int = 10,
        **kwargs: Any,
    ):
        TwoLosses.__init__(self, **kwargs)  # that of CVAE would build dense networks, too
        sizes: dict[str, Any] = {"n_z": n_z, "n_hidden": n_hidden, "n_layers": n_layers, "n_y": n_y}
        sizes["image_shape"] = tuple(image_shape)
        self.settings = {**sizes, "seed": seed}
        self.encoder = build_convolutional_encoder(seed=seed, **sizes)
        self.decoder = build_convolutional_decoder(**sizes)
        self.build([(None, math.prod(image_shape)), (None, n_y)])


@keras.saving.register_keras_serializable(package="cvae_lib")
class AlteredConvolutionalCVAE(AlteredCVAE, ConvolutionalCVAE):
    """A ConvolutionalCVAE with the altered objective of `AlteredCVAE`."""


def build_cvae(settings: Mapping[str, Any], **altered: Any) -> CVAE:
    """Build a CVAE of these settings, convolutional if they have an image_shape. `altered` is that of `AlteredCVAE`."""
    if "image_shape" in settings:
        return AlteredConvolutionalCVAE(**altered, **settings) if altered else ConvolutionalCVAE(**settings)
    return AlteredCVAE(**altered, **settings) if altered else CVAE(**settings)
