"""Small tables as text, so that the cell of a chapter shows what is computed and not how it is laid out."""

from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any


def format_table(columns: Mapping[str, Sequence[Any]], decimals: int | Mapping[str, int] = 2) -> str:
    """Lay out columns of equal length under their headings, two spaces apart: lines of text, without the last break.

    Floats get so many decimals, or those of their column where decimals is a mapping (2 for the columns it does not
    name); numbers stand at the right of their column, everything else is its `str` and stands at the left. Raises
    ValueError for columns of unequal length.
    """
    laid_out = []
    for heading, values in columns.items():
        digits = decimals if isinstance(decimals, int) else decimals.get(heading, 2)
        numbers = all(isinstance(value, Real) for value in values)
        cells = [heading]
        for value in values:
            is_float = isinstance(value, Real) and not isinstance(value, Integral)
            cells.append(f"{value:.{digits}f}" if is_float else str(value))
        width = max(map(len, cells))
        laid_out.append([cell.rjust(width) if numbers else cell.ljust(width) for cell in cells])
    return "\n".join("  ".join(row).rstrip() for row in zip(*laid_out, strict=True))


def print_table(columns: Mapping[str, Sequence[Any]], decimals: int | Mapping[str, int] = 2) -> None:
    """Print what `format_table` lays out: `print_table({"seed": [1, 2], "loss": [130.92, 130.78]})`."""
    print(format_table(columns, decimals))
