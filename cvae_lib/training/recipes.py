"""The recipes: all that decides how a model is built and trained, apart from the data and the seed."""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from cvae_lib import BookError


class RecipeError(BookError):
    """A setting that is not allowed: the message names it, what was found and what is allowed."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a model is built and trained. Raises RecipeError for a setting of another type or outside its range."""

    n_z: int = 2  # latents
    n_hidden: int = 512  # units in each hidden layer
    n_layers: int = 1  # hidden layers in each of the two networks
    network: Literal["dense", "convolutional"] = "dense"  # "convolutional": convolutions next to the image
    batch_size: int = 250  # images in a step of training
    learning_rate: float = 1e-3  # of Adam, at the start
    schedule: Literal["constant", "cosine"] = "constant"  # "cosine": the rate falls to zero along half a cosine
    epochs: int = 50  # times that training goes through the images, at most
    patience: int = 5  # epochs without a new best validation loss after which training stops
    held_out: int = 0  # training images kept for validation; with 0 the test images validate, as in 2017
    labelled: bool = True  # False: every image is called class 0, which makes a plain VAE
    pixels: Literal["grey", "binary"] = "grey"  # "binary": one draw of black or white for each pixel
    beta: float = 1.0  # weight of the KL in training
    warm_up: int = 0  # epochs over which the weight of the KL rises from 0 to beta
    continuous: bool = False  # score the pixels by the continuous Bernoulli
    dropout: float = 0.0  # share of the encoder's hidden units that a step of training leaves out

    def __post_init__(self) -> None:
        for field in fields(self):
            allowed, fits = describe_allowed(field.name, field.type)
            value = getattr(self, field.name)
            if not fits(value):
                raise RecipeError(f"{field.name}: found {value!r}; expected {allowed}.")

    @property
    def jit_compile(self) -> bool:
        """Whether XLA compiles the steps: within a loop, on a CPU, it is slow at the gradient of a convolution."""
        return self.network == "dense"


MOST_EPOCHS = 4000  # the generators of epsilon count 2**20 draws an epoch, in 32 bits
MOST_LAYERS = 100
MOST_UNITS = 100_000

RANGES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    **dict.fromkeys(("batch_size", "patience"), ("at least 1", lambda value: value >= 1)),
    **dict.fromkeys(("n_z", "n_hidden"), (f"from 1 to {MOST_UNITS}", lambda value: 1 <= value <= MOST_UNITS)),
    "n_layers": (f"from 1 to {MOST_LAYERS}", lambda value: 1 <= value <= MOST_LAYERS),
    "epochs": (f"from 1 to {MOST_EPOCHS}", lambda value: 1 <= value <= MOST_EPOCHS),
    **dict.fromkeys(("held_out", "warm_up"), ("at least 0", lambda value: value >= 0)),
    "learning_rate": ("above 0", lambda value: 0 < value < math.inf),
    "beta": ("at least 0", lambda value: 0 <= value < math.inf),
    "dropout": ("from 0 to below 1", lambda value: 0 <= value < 1),
}


def describe_allowed(name: str, kind: Any) -> tuple[str, Callable[[Any], bool]]:
    """Return what a setting of this name and type may be, in words, and a function that tests a value."""
    if choices := get_args(kind):  # of a Literal
        return " or ".join(map(repr, choices)), lambda value: isinstance(value, str) and value in choices
    if kind is bool:
        return "True or False", lambda value: isinstance(value, bool)
    words, in_range = RANGES[name]
    kinds = (int,) if kind is int else (int, float)
    noun = "an int" if kind is int else "a number"
    return (
        f"{noun}, {words}",
        lambda value: isinstance(value, kinds) and not isinstance(value, bool) and in_range(value),
    )


RECIPES = {
    "mnist-2d": Recipe(),
    "mnist-2d-clean": Recipe(held_out=5000),
    "mnist-2d-vae": Recipe(labelled=False),
    "mnist-2d-binary": Recipe(pixels="binary"),
    "mnist-2d-continuous": Recipe(continuous=True),
    "mnist-20d": Recipe(n_z=20),
    "mnist-2d-deep": Recipe(n_layers=3, batch_size=100, learning_rate=2e-3, schedule="cosine", patience=50),
    "mnist-2d-quick": Recipe(learning_rate=3e-3, schedule="cosine", epochs=35),
    "mnist-2d-deep-quick": Recipe(n_layers=2, learning_rate=4e-3, schedule="cosine", epochs=10),
}
