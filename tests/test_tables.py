"""Tables as text: widths, sides, decimals, and columns that do not fit together."""

import numpy as np
import pytest

from cvae_lib.metrics import compare
from cvae_lib.tables import format_table, print_table


def test_numbers_stand_right_and_names_left():
    table = format_table({"recipe": ["base", "1 layer"], "seed": [1, 12], "loss": np.array([130.916, 98.0])})
    assert table == "recipe   seed    loss\nbase        1  130.92\n1 layer    12   98.00"


def test_decimals_of_one_column():
    assert format_table({"a": [0.5], "b": [0.25]}, decimals={"a": 0, "b": 3}) == "a      b\n0  0.250"
    assert format_table({"a": [0.5], "b": [0.25]}, decimals={"b": 1}) == "   a    b\n0.50  0.2"


def test_numpy_integers_are_no_floats():
    assert format_table({"n": np.array([3, 10])}) == " n\n 3\n10"


def test_a_difference_keeps_its_own_text(capsys):
    difference = compare([1.0, 1.1, 0.9], [2.0, 2.2, 1.8])
    print_table({"": ["z"], "change": [difference]})
    assert capsys.readouterr().out.splitlines()[1] == f"z  {difference}"


def test_a_table_is_printed_with_two_decimals_or_as_many_as_are_asked_for(capsys):
    print_table({"a": [0.125]})
    print_table({"a": [0.125]}, 1)
    assert capsys.readouterr().out == "   a\n0.12\n  a\n0.1\n"


def test_columns_of_unequal_length_are_refused():
    with pytest.raises(ValueError, match="zip"):
        format_table({"a": [1], "b": [1, 2]})
