"""Small tables as text, so that the cell of a chapter shows what is computed and not how it is laid out."""

from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any


def format_table(columns: Mapping[str, Sequence[Any]], decimals: int | Mapping[str, int] = 2) -> str:
    """Lay out columns of equal length under their headings, two spaces apart, without a line break at the end.

    decimals: how many each float gets, or a mapping from the heading of a column to that number, which is 2 for the
    columns that it does not name. Columns of numbers stand at the right. Other columns stand at the left, and their
    values are written as `str` writes them. Raises ValueError for columns of unequal length.
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
