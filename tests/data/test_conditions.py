"""From labels to vectors: classes and numbers, and which labels are refused."""

import json
import re
import warnings
from dataclasses import asdict

import numpy as np
import pytest

from cvae_lib.data import Classes, Cyclic, Joint, Numbers, one_hot
from cvae_lib.data.conditions import read_condition

SLOPES = Numbers(("slant", "thickness", "height"))
LETTERS = Joint((Classes(tuple("ABC"), "letter"), Cyclic(("hue",)), Numbers(("slant",), (0.5,), (0.25,))))


def test_one_hot_sets_the_entry_of_the_label():
    encoded = one_hot([[3, 0], [9, 3]])
    assert encoded.shape == (2, 2, 10) and encoded.dtype == np.float32
    np.testing.assert_array_equal(encoded.argmax(-1), [[3, 0], [9, 3]])
    np.testing.assert_array_equal(np.sort(encoded, -1), np.broadcast_to([0] * 9 + [1], (2, 2, 10)))


def test_one_hot_takes_a_single_label():
    np.testing.assert_array_equal(one_hot(2), [0, 0, 1, 0, 0, 0, 0, 0, 0, 0])


def test_one_hot_has_as_many_entries_as_there_are_classes():
    np.testing.assert_array_equal(one_hot([2, 0], 3), [[0, 0, 1], [1, 0, 0]])
    with pytest.raises(ValueError, match=r"integers from 0 to 2"):
        one_hot([3], 3)


@pytest.mark.parametrize("y", [[10], [-1], [0, 3, 11], [1.0], [True], ["3"], [[0, 1], [2, -3]]])
def test_one_hot_refuses_what_is_no_digit(y):
    with pytest.raises(ValueError, match=r"integers from 0 to 9"):
        one_hot(y)


def test_classes_are_encoded_one_hot():
    letters = Classes(tuple("ABC"))
    encoded = letters.encode(np.array([2, 0, 2], "uint8"))
    np.testing.assert_array_equal(encoded, np.float32([[0, 0, 1], [1, 0, 0], [0, 0, 1]]), strict=True)
    assert letters.n_y == 3


def test_numbers_are_encoded_as_they_are():
    y = np.array([[0.25, -1, 3], [1e-3, 0, 1 / 3]])
    np.testing.assert_array_equal(SLOPES.encode(y), y.astype("float32"), strict=True)
    np.testing.assert_array_equal(SLOPES.encode([[1, 2, 3]]), np.float32([[1, 2, 3]]), strict=True)
    assert SLOPES.n_y == 3


def test_numbers_are_scaled_and_keep_their_unit():
    y = np.random.default_rng(0).normal((1990, 0.2), (7, 1e-3), (50, 2))
    condition = Numbers.scaled(("year", "size"), y)
    encoded = condition.encode(y)
    np.testing.assert_allclose(encoded.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(encoded.std(axis=0), 1, rtol=1e-5)
    np.testing.assert_allclose(condition.encode([condition.centre]), [[0, 0]])
    new = [[2004.0, 0.2]]
    np.testing.assert_allclose(condition.encode(new)[0, 0], (2004 - y[:, 0].mean()) / y[:, 0].std(), rtol=1e-5)


def test_a_cycle_has_no_end():
    """Equal steps are equally far apart, over the end, too."""
    hours = Cyclic(("hour",), 24)
    encoded = hours.encode([[0.0], [6.0], [12.0], [18.0], [24.0], [23.0], [1.0]])
    np.testing.assert_allclose(encoded[:4], [[1, 0], [0, 1], [-1, 0], [0, -1]], atol=1e-7)
    np.testing.assert_allclose(encoded[4], encoded[0], atol=1e-6)
    np.testing.assert_allclose(*np.linalg.norm(encoded[5:] - encoded[0], axis=1), rtol=1e-6)
    assert hours.n_y == 2 and encoded.dtype == np.float32


def test_attributes_stand_side_by_side():
    y = np.float32([[2, 90, 0.75], [0, 180, 0.5]])
    expected = [[0, 0, 1, 0, 1, 1], [1, 0, 0, -1, 0, 0]]
    np.testing.assert_allclose(LETTERS.encode(y), expected, atol=1e-6)
    assert LETTERS.encode(y).dtype == np.float32
    assert LETTERS.columns == ("letter", "hue", "slant") and LETTERS.n_y == 6


@pytest.mark.parametrize("condition", [Classes(("a", "b")), SLOPES, Cyclic(("hour",), 24), LETTERS])
def test_a_condition_comes_back_from_a_file(condition):
    assert read_condition(json.loads(json.dumps(asdict(condition)))) == condition


@pytest.mark.parametrize("condition, y", [(Classes(("a", "b")), []), (SLOPES, np.zeros((0, 3)))])
def test_no_labels_are_encoded_as_no_vectors(condition, y):
    assert condition.encode(np.asarray(y, int)).shape == (0, condition.n_y)


@pytest.mark.parametrize(
    "condition, y, found, expected",
    [
        (Classes(("a", "b")), [0, 2], "labels from 0 to 2", "labels from 0 to 1"),
        (Classes(("a", "b")), [-1], "labels from -1 to -1", "labels from 0 to 1"),
        (Classes(("a", "b")), [0.0, 1.0], "float64", "one axis of integers"),
        (Classes(("a", "b")), [True], "bool", "one axis of integers"),
        (Classes(("a", "b")), ["a"], "<U1", "one axis of integers"),
        (Classes(("a", "b")), [[0, 1]], "(1, 2)", "one axis of integers"),
        (Classes(("a", "b")), 1, "()", "one axis of integers"),
        (SLOPES, [1.0, 2.0, 3.0], "(3,)", "(n, 3): slant, thickness, height"),
        (SLOPES, [[1.0, 2.0]], "(1, 2)", "(n, 3): slant, thickness, height"),
        (SLOPES, [["1", "2", "3"]], "<U1", "real numbers"),
        (SLOPES, [[1j, 2, 3]], "complex128", "real numbers"),
        (SLOPES, [[True, True, False]], "bool", "real numbers"),
        (SLOPES, [[1, 2, 3], [4, np.nan, 6]], "nan as thickness in row 1", "finite"),
        (SLOPES, [[1, 2, -np.inf]], "-inf as height in row 0", "finite"),
        (SLOPES, [[1e39, 2, 3]], "1e+39 as slant in row 0", "finite float32"),
        (Numbers(("year",), (2.0,), (1e-20,)), [[1e20]], "not finite once they are scaled", "numbers near (2.0,)"),
        (Cyclic(("hue",)), [[np.inf]], "inf as hue in row 0", "finite"),
        (Cyclic(("hue",)), [90.0], "(1,)", "(n, 1): hue"),
        (LETTERS, [[0.0, 90.0]], "(1, 2)", "(n, 3): letter, hue, slant"),
        (LETTERS, [[0, 90, np.nan]], "nan as slant in row 0", "finite"),
        (LETTERS, [[3, 90, 0.5]], "labels from 3 to 3 as letter", "labels from 0 to 2"),
        (LETTERS, [[-1, 90, 0.5]], "labels from -1 to -1 as letter", "labels from 0 to 2"),
        (LETTERS, [[0.5, 90, 0.5]], "as letter", "integers"),
    ],
)
def test_labels_that_do_not_fit_are_refused(condition, y, found, expected):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match=f"found .*{re.escape(found)}.*; expected .*{re.escape(expected)}"):
            condition.encode(y)


@pytest.mark.parametrize("kind", [Classes, Numbers, Cyclic])
@pytest.mark.parametrize("names", [(), ["a", "b"], "ab", (0, 1), None])
def test_names_are_a_tuple_of_strings(kind, names):
    with pytest.raises(ValueError, match="names: found .* expected a tuple"):
        kind(names)


@pytest.mark.parametrize("kind", [Classes, Numbers])
def test_names_are_different(kind):
    with pytest.raises(ValueError, match="found 'b' more than once"):
        kind(("a", "b", "c", "b"))


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Numbers(("a", "b"), (1.0,), (1.0,)), "expected 2 numbers each"),
        (lambda: Numbers(("a",), (1.0,)), "expected 1 numbers each"),
        (lambda: Classes(("a", "b"), 3), "title: found 3; expected a string"),
        (lambda: Numbers(("a",), (1.0,), (0.0,)), "the spreads above 0"),
        (lambda: Numbers(("a",), [1.0], (1.0,)), r"found \[1.0\] and \(1.0,\)"),
        (lambda: Numbers(("a",), (1.0,), ("x",)), "and .'x'"),
        (lambda: Numbers(("a",), (np.nan,), (1.0,)), "found .*nan"),
        (lambda: Numbers.scaled(("a",), [[2], [2]]), "the spreads above 0"),
        (lambda: Cyclic(("a",), 0), "period: found 0"),
        (lambda: Cyclic(("a",), np.nan), "period: found nan"),
        (lambda: Cyclic(("a",), "1"), "period: found '1'"),
        (lambda: Joint(()), "at least one"),
        (lambda: Joint([Cyclic(("a",))]), "parts: found .* expected a tuple of conditions"),
        (lambda: Joint((Cyclic(("a",)), "b")), "parts: found .* expected a tuple of conditions"),
        (lambda: Joint((Classes(("x", "y"), "a"), Cyclic(("a",)))), "found 'a' more than once"),
    ],
)
def test_settings_that_no_condition_has_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
