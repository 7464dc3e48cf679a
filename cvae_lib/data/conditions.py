"""What a model is told about an image: from labels to the vectors `label`, float32, (n, n_y).

A condition names the entries of these vectors. `Classes` is one of n_y classes, `Numbers` is n_y measured numbers.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


def one_hot(y: ArrayLike, n_classes: int = 10) -> np.ndarray:
    """Turn integer labels, any shape, into float32 vectors of length n_classes along a new last axis.

    Raises ValueError for a label that is not an integer in 0..n_classes - 1. Source: chapter 1.
    """
    y = np.asarray(y)
    if not np.issubdtype(y.dtype, np.integer) or (y.size and not 0 <= y.min() <= y.max() < n_classes):
        raise ValueError(f"labels: found {y!r}; expected integers from 0 to {n_classes - 1}")
    return np.eye(n_classes, dtype="float32")[y]


@dataclass(frozen=True)
class Condition(ABC):
    """Base class: the names of the entries of `label`. Raises ValueError unless they are different strings."""

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        names = self.names
        if not isinstance(names, tuple) or not names or not all(isinstance(name, str) for name in names):
            raise ValueError(f"names: found {names!r}; expected a tuple of at least one string")
        if len(set(names)) < len(names):
            repeated = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"names: found {repeated!r} more than once; expected each name once")

    @property
    def n_y(self) -> int:
        """The length of a vector `label`."""
        return len(self.names)

    @abstractmethod
    def find_fault(self, y: np.ndarray) -> tuple[str, str] | None:
        """Return None if the labels y fit this condition, otherwise what was found and what was expected."""

    def require(self, y: ArrayLike) -> np.ndarray:
        """Return y as an array. Raises ValueError if it does not fit this condition."""
        y = np.asarray(y)
        if fault := self.find_fault(y):
            raise ValueError(f"labels: found {fault[0]}; expected {fault[1]}")
        return y


@dataclass(frozen=True)
class Classes(Condition):
    """Each image belongs to one of n_y classes. Its label is the integer position of the class in `names`."""

    def find_fault(self, y: np.ndarray) -> tuple[str, str] | None:
        if y.ndim != 1 or not np.issubdtype(y.dtype, np.integer):
            return f"shape {y.shape}, dtype {y.dtype}", "one axis of integers"
        if y.size and not 0 <= y.min() <= y.max() < self.n_y:
            return f"labels from {y.min()} to {y.max()}", f"labels from 0 to {self.n_y - 1}"
        return None

    def encode(self, y: ArrayLike) -> np.ndarray:
        """Turn labels, integers (n,), into one-hot vectors, float32, (n, n_y). Raises ValueError if y does not fit."""
        return one_hot(self.require(y), self.n_y)


@dataclass(frozen=True)
class Numbers(Condition):
    """Each image has n_y numbers, in the order of `names`. They are its label as they are: scale them beforehand."""

    def find_fault(self, y: np.ndarray) -> tuple[str, str] | None:
        if y.ndim != 2 or y.shape[1] != self.n_y or y.dtype.kind not in "iuf":
            return f"shape {y.shape}, dtype {y.dtype}", f"real numbers (n, {self.n_y}): {', '.join(self.names)}"
        with np.errstate(over="ignore"):
            misfits = np.argwhere(~np.isfinite(y.astype("float32")))
        if len(misfits):
            row, column = misfits[0]
            return f"{y[row, column]} as {self.names[column]} in row {row}", "finite float32 numbers"
        return None

    def encode(self, y: ArrayLike) -> np.ndarray:
        """Turn labels, real numbers (n, n_y), into float32. Raises ValueError if y does not fit."""
        return self.require(y).astype("float32")
