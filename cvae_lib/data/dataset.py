"""Images with their labels, in a training and a test set, and what a recipe makes of them."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np

from cvae_lib.data.conditions import Classes, Condition

SPLIT_SEED = 0
BINARY_SEED = 0

Edition = Literal["full", "sample", "custom"]


@dataclass(frozen=True, eq=False)
class ImageData(ABC):
    """Base class: what a network and a run have to know of images with labels, wherever these are."""

    image_shape: tuple[int, ...]  # (height, width) or (height, width, channels)
    condition: Condition  # what the labels mean
    edition: Edition  # "full" is MNIST itself, "sample" a part of it, "custom" anything else
    source: str  # where the images came from
    digest: str  # SHA-256 that tells these data from any others

    @property
    def n_x(self) -> int:
        """The number of values in an image."""
        return math.prod(self.image_shape)

    @property
    def n_y(self) -> int:
        """The length of a vector `label`."""
        return self.condition.n_y

    @property
    @abstractmethod
    def n_train(self) -> int:
        """The number of training images."""

    @property
    @abstractmethod
    def n_test(self) -> int:
        """The number of test images."""


@dataclass(frozen=True, eq=False)
class Dataset(ImageData):
    """A training and a test set of images with labels, in memory.

    The arrays in [0, 1] and the vectors `label` are computed when they are first asked for. The digest is that of the
    bytes of pixels and labels as they were loaded.
    """

    pixels_train: np.ndarray  # grey or colour values 0 to 255: uint8, (n, n_x), row by row from the top left
    y_train: np.ndarray  # labels that fit the condition: int64, (n,), of Classes; float32, (n, n_y), of Numbers
    pixels_test: np.ndarray
    y_test: np.ndarray

    @property
    def n_train(self) -> int:
        """The number of training images."""
        return len(self.y_train)

    @property
    def n_test(self) -> int:
        """The number of test images."""
        return len(self.y_test)

    @cached_property
    def x_train(self) -> np.ndarray:
        """The training images in [0, 1]: float32, (n, n_x)."""
        return scale(self.pixels_train)

    @cached_property
    def x_test(self) -> np.ndarray:
        """The test images in [0, 1]: float32, (n, n_x)."""
        return scale(self.pixels_test)

    @cached_property
    def label_train(self) -> np.ndarray:
        """The training labels as the networks take them: float32, (n, n_y)."""
        return self.condition.encode(self.y_train)

    @cached_property
    def label_test(self) -> np.ndarray:
        """The test labels as the networks take them: float32, (n, n_y)."""
        return self.condition.encode(self.y_test)


def scale(pixels: np.ndarray) -> np.ndarray:
    """Turn grey values 0 to 255 into float32 from 0 to 1."""
    return np.divide(pixels, 255, dtype="float32")


def hold_out(dataset: Dataset, n: int) -> Dataset:
    """Put n random training images, the same each time, in the place of the test set.

    The edition, source and digest stay. A choice that is made on the new test set has not seen the real one. Raises
    ValueError unless at least one image remains in each set.
    """
    most = len(dataset.y_train) - 1
    if not isinstance(n, (int, np.integer)) or not 1 <= n <= most:
        raise ValueError(f"hold_out: found n = {n!r}; expected an integer from 1 to {most} ({dataset.source})")
    order = np.random.default_rng(SPLIT_SEED).permutation(len(dataset.y_train))
    train, held = np.sort(order[n:]), np.sort(order[:n])
    x, y = dataset.pixels_train, dataset.y_train
    return replace(dataset, pixels_train=x[train], y_train=y[train], pixels_test=x[held], y_test=y[held])


def drop_labels(dataset: Dataset) -> Dataset:
    """Set all labels to one, so that they say nothing: a conditional model that is trained on them is a plain VAE.

    It is class 0, or, where labels are not classes alone, that of the first training image.
    """
    one = 0 if isinstance(dataset.condition, Classes) else dataset.y_train[0]
    return replace(dataset, y_train=np.full_like(dataset.y_train, one), y_test=np.full_like(dataset.y_test, one))


def binarise(dataset: Dataset) -> Dataset:
    """Draw each pixel black or white, once, with its grey value as the probability of white.

    The draws are the same each time, and all pixels are 0 or 255. The edition, source and digest stay. Source:
    chapter 15.
    """
    rng = np.random.default_rng(BINARY_SEED)

    def draw(pixels: np.ndarray) -> np.ndarray:
        white = rng.random(pixels.shape, "float32") < scale(pixels)
        return np.where(white, 255, 0).astype("uint8")

    train, test = (
        # Drawing all pixels at once would take eight times the memory of the images.
        np.concatenate([draw(part) for part in np.array_split(pixels, 60)])
        for pixels in (dataset.pixels_train, dataset.pixels_test)
    )
    return replace(dataset, pixels_train=train, pixels_test=test)
