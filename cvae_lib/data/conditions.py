"""What a model is told about an image: from labels to the vectors `label`, float32, (n, n_y).

A condition says what labels mean. `Classes` is one of several classes, `Numbers` are measured numbers, `Cyclic` are
numbers that begin again after a period, such as an hour or a hue, and `Joint` is several of these at once.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

SMALLEST, LARGEST = float(np.finfo("float32").tiny), float(np.finfo("float32").max)


def one_hot(y: ArrayLike, n_classes: int = 10) -> np.ndarray:
    """Turn integer labels, any shape, into float32 vectors of length n_classes along a new last axis.

    Raises ValueError for a label that is not an integer in 0..n_classes - 1. Source: chapter 1.
    """
    y = np.asarray(y)
    if not np.issubdtype(y.dtype, np.integer) or (y.size and not 0 <= y.min() <= y.max() < n_classes):
        raise ValueError(f"labels: found {y!r}; expected integers from 0 to {n_classes - 1}")
    return np.eye(n_classes, dtype="float32")[y]


def is_finite(value: Any) -> bool:
    """Tell whether this is a real number that a float32 can hold."""
    return isinstance(value, (int, float, np.integer, np.floating)) and bool(-LARGEST <= value <= LARGEST)


@dataclass(frozen=True)
class Condition(ABC):
    """Base class: labels are a table of numbers, (n, number of columns), unless a condition says otherwise.

    Raises ValueError unless the names are different strings.
    """

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        names = self.names
        if not isinstance(names, tuple) or not names or not all(isinstance(name, str) for name in names):
            raise ValueError(f"names: found {names!r}; expected a tuple of at least one string")
        if len(set(names)) < len(names):
            repeated = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"names: found {repeated!r} more than once; expected each name once")

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the values that make a label, such as ("letter", "hue")."""
        return self.names

    @property
    def n_y(self) -> int:
        """The length of a vector `label`."""
        return len(self.names)

    def find_fault(self, y: np.ndarray) -> tuple[str, str] | None:
        """Return None if the labels y fit this condition, otherwise what was found and what was expected."""
        n = len(self.columns)
        if y.ndim != 2 or y.shape[1] != n or y.dtype.kind not in "iuf":
            return f"shape {y.shape}, dtype {y.dtype}", f"real numbers (n, {n}): {', '.join(self.columns)}"
        with np.errstate(over="ignore"):
            misfits = np.argwhere(~np.isfinite(y.astype("float32")))
        if len(misfits):
            row, column = misfits[0]
            return f"{y[row, column]} as {self.columns[column]} in row {row}", "finite float32 numbers"
        return None

    @abstractmethod
    def encode(self, y: ArrayLike) -> np.ndarray:
        """Turn labels into vectors, float32, (n, n_y). Raises ValueError if y does not fit."""

    def require(self, y: ArrayLike) -> np.ndarray:
        """Return y as an array. Raises ValueError if it does not fit this condition."""
        y = np.asarray(y)
        if fault := self.find_fault(y):
            raise ValueError(f"labels: found {fault[0]}; expected {fault[1]}")
        return y


@dataclass(frozen=True)
class Classes(Condition):
    """Each image belongs to one of n_y classes. Its label is the integer position of the class in `names`."""

    title: str = "class"  # what the names are, for example "letter"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.title, str):
            raise ValueError(f"title: found {self.title!r}; expected a string")

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.title,)

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
    """Each image has n_y numbers, in the order of `names`.

    The vector has each number less its `centre`, divided by its `spread`; without these two it has the numbers as they
    are. So labels and sliders keep the unit of the measurement. Raises ValueError for a spread that is not above 0.
    """

    centre: tuple[float, ...] = ()
    spread: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        n = self.n_y
        fits = all(isinstance(own, tuple) and len(own) in (0, n) for own in (self.centre, self.spread))
        fits = fits and len(self.centre) == len(self.spread) and all(map(is_finite, self.centre + self.spread))
        if not fits or min(self.spread, default=1) < SMALLEST:
            found = f"{self.centre!r} and {self.spread!r}"
            raise ValueError(f"centre, spread: found {found}; expected {n} numbers each, or none, the spreads above 0")

    @classmethod
    def scaled(cls, names: tuple[str, ...], y: ArrayLike) -> "Numbers":
        """Make the condition that scales these labels, (n, len(names)), to mean 0 and standard deviation 1."""
        y = cls(names).require(y).astype("float64")
        return cls(names, tuple(y.mean(axis=0).tolist()), tuple(y.std(axis=0).tolist()))

    def find_fault(self, y: np.ndarray) -> tuple[str, str] | None:
        if fault := super().find_fault(y):
            return fault
        if not np.isfinite(self.scale(y)).all():
            return "numbers that are not finite once they are scaled", f"numbers near {self.centre}"
        return None

    def scale(self, y: np.ndarray) -> np.ndarray:
        """Take away the centre and divide by the spread: float32, (n, n_y)."""
        with np.errstate(over="ignore"):
            return ((y - np.array(self.centre)) / self.spread if self.spread else y).astype("float32")

    def encode(self, y: ArrayLike) -> np.ndarray:
        """Turn labels, real numbers (n, n_y), into float32, scaled. Raises ValueError if y does not fit."""
        return self.scale(self.require(y))


@dataclass(frozen=True)
class Cyclic(Condition):
    """Each image has numbers that begin again after a period: a hue of 359 degrees is next to one of 0.

    The vector has the cosine and the sine of each number's angle. Raises ValueError for a period that is not above 0.
    """

    period: float = 360.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not is_finite(self.period) or self.period < SMALLEST:
            raise ValueError(f"period: found {self.period!r}; expected a finite number above 0")

    @property
    def n_y(self) -> int:
        return 2 * len(self.names)

    def encode(self, y: ArrayLike) -> np.ndarray:
        """Turn numbers (n, len(names)) into all their cosines, then all their sines, float32, (n, n_y)."""
        angle = 2 * np.pi / self.period * self.require(y)
        return np.concatenate([np.cos(angle), np.sin(angle)], axis=1).astype("float32")


@dataclass(frozen=True)
class Joint(Condition):
    """Each image has several attributes at once, such as a letter and its hue. Their vectors stand side by side.

    Labels have the columns of all parts, in their order; that of `Classes` holds the position of the class. Raises
    ValueError if two columns have the same name.
    """

    names: tuple[str, ...] = field(init=False, repr=False)
    parts: tuple[Condition, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.parts, tuple) or not all(isinstance(part, Condition) for part in self.parts):
            raise ValueError(f"parts: found {self.parts!r}; expected a tuple of conditions")
        object.__setattr__(self, "names", tuple(column for part in self.parts for column in part.columns))
        super().__post_init__()

    @property
    def n_y(self) -> int:
        return sum(part.n_y for part in self.parts)

    def split(self, y: np.ndarray) -> list[np.ndarray]:
        """Cut a table of labels, (n, number of columns), into the labels of each part, in the form that it takes."""
        own, start = [], 0
        for part in self.parts:
            labels = y[:, start : start + len(part.columns)]
            start += len(part.columns)
            # A class that is no whole number stays as it is, for `find_fault` to see.
            is_whole = isinstance(part, Classes) and (labels == np.rint(labels)).all()
            own.append(labels[:, 0].astype("int64") if is_whole else labels)
        return own

    def find_fault(self, y: np.ndarray) -> tuple[str, str] | None:
        if fault := super().find_fault(y):
            return fault
        for part, own in zip(self.parts, self.split(y)):
            if fault := part.find_fault(own):
                return f"{fault[0]} as {', '.join(part.columns)}", fault[1]
        return None

    def encode(self, y: ArrayLike) -> np.ndarray:
        """Turn a table of labels into float32, (n, n_y). Raises ValueError if y does not fit."""
        own = self.split(self.require(y))
        return np.concatenate([part.encode(labels) for part, labels in zip(self.parts, own)], axis=1)


def read_condition(entry: Mapping[str, Any]) -> Condition:
    """Make a condition again from what `dataclasses.asdict` wrote of it, for example into a manifest."""
    if "parts" in entry:
        return Joint(tuple(read_condition(part) for part in entry["parts"]))
    kind: Any = Cyclic if "period" in entry else Numbers if "spread" in entry else Classes
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in entry.items()})
