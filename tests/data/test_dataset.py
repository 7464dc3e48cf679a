"""What a data set computes of its arrays, and what recipes make of it."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from cvae_lib.data import (
    Numbers,
    binarise,
    check_dataset,
    check_digits,
    drop_labels,
    hold_out,
    load_sample,
)


@pytest.fixture
def numbered(make_raw):
    """Five and four colour pictures, each with two numbers."""
    raw = make_raw(5, 4, (3, 2, 3))
    raw["y_train"], raw["y_test"] = np.linspace(1, 2, 10).reshape(5, 2), np.linspace(-1, 1, 8).reshape(4, 2)
    return check_dataset(raw, "a test", condition=Numbers(("slant", "hue")))


def hash_of(array):
    return hashlib.sha256(array.tobytes()).hexdigest()[:16]


def test_digits_carry_their_labels_one_hot(digits):
    for y, label in ((digits.y_train, digits.label_train), (digits.y_test, digits.label_test)):
        assert label.shape == (len(y), 10) and label.dtype == np.float32
        np.testing.assert_array_equal(label.argmax(1), y)
        assert (label.sum(1) == 1).all()


def test_sizes_come_from_the_images_and_the_condition(numbered, digits):
    assert (numbered.n_x, numbered.n_y, numbered.image_shape) == (18, 2, (3, 2, 3))
    assert (numbered.n_train, numbered.n_test) == (5, 4)
    assert (digits.n_x, digits.n_y, digits.image_shape) == (784, 10, (28, 28))


def test_numbers_are_labels_as_they_are(numbered):
    np.testing.assert_array_equal(numbered.label_train, np.float32(np.linspace(1, 2, 10).reshape(5, 2)), strict=True)
    np.testing.assert_array_equal(numbered.label_test, numbered.y_test, strict=True)


def test_two_data_sets_are_two(numbered):
    """They are compared as objects: arrays have no one answer to whether they are equal."""
    assert numbered != replace(numbered) and len({numbered, replace(numbered), numbered}) == 2


def test_held_out_digits_leave_the_training_set(digits):
    """They take the place of the test set, each with its label, the same ones every time, some of every class."""
    n = len(digits.x_train) // 10
    split, again = hold_out(digits, n), hold_out(digits, n)
    np.testing.assert_array_equal(split.x_test, again.x_test)
    assert (len(split.x_train), len(split.x_test)) == (len(digits.x_train) - n, n)
    x, y = np.concatenate([split.x_train, split.x_test]), np.concatenate([split.y_train, split.y_test])
    pairs, source = (
        sorted(zip((hash(row.tobytes()) for row in pictures), labels.tolist()))
        for pictures, labels in ((x, y), (digits.x_train, digits.y_train))
    )
    assert pairs == source
    expected = np.bincount(digits.y_train, minlength=10) / 10
    assert (abs(np.bincount(split.y_test, minlength=10) - expected) < 6 * np.sqrt(expected) + 1).all()
    np.testing.assert_array_equal(split.label_test.argmax(axis=1), split.y_test)


def test_numbers_are_held_out_with_their_images(numbered):
    split = hold_out(numbered, 2)
    for pixels, y in zip(split.pixels_test, split.label_test):
        (row,) = np.flatnonzero((numbered.pixels_train == pixels).all(axis=1))
        np.testing.assert_array_equal(y, numbered.y_train[row])
    assert split.condition == numbered.condition and split.image_shape == numbered.image_shape


@pytest.mark.parametrize("n", [0, -1, 5, 6, 2.0, "2", None])
def test_held_out_count_that_does_not_fit_is_refused(numbered, n):
    with pytest.raises(ValueError, match=rf"hold_out: found n = {n!r}; expected an integer from 1 to 4 \(a test\)"):
        hold_out(numbered, n)


def test_shipped_models_saw_these_digits():
    """The models that ship were trained on these draws. With other draws their figures would not come out again."""
    sample = load_sample()
    held, drawn = hold_out(sample, 500), binarise(sample)
    assert hash_of(held.pixels_test) == "77eb3417571a7bba" and hash_of(held.y_train) == "35bba5baab9e13f1"
    assert hash_of(drawn.pixels_train) == "748cee80c865a481" and hash_of(drawn.pixels_test) == "78fbcaedfa220b16"


def test_digits_without_labels_are_all_called_0(raw):
    digits = check_digits(raw, "a test")
    dropped = drop_labels(digits)
    for y, label in ((dropped.y_train, dropped.label_train), (dropped.y_test, dropped.label_test)):
        assert not y.any() and np.issubdtype(y.dtype, np.integer)
        np.testing.assert_array_equal(label, np.tile(np.eye(10)[0], (len(y), 1)))
    np.testing.assert_array_equal(dropped.x_train, digits.x_train)
    assert (dropped.edition, dropped.digest) == (digits.edition, digits.digest)
    assert digits.y_train.any()


def test_images_without_numbers_all_have_those_of_one(numbered):
    """Zeros would be far from the numbers of a condition such as the year."""
    dropped = drop_labels(numbered)
    for label, n in ((dropped.label_train, 5), (dropped.label_test, 4)):
        np.testing.assert_array_equal(label, np.tile(numbered.label_train[:1], (n, 1)), strict=True)


def test_black_and_white_pixels_have_the_grey_ones_for_their_mean(make_raw):
    """One draw a pixel: over the 784 pixels of many images, as many are white as the grey values say."""
    digits = check_digits(make_raw(n_train=400, n_test=100), "a test")
    drawn, again = binarise(digits), binarise(digits)
    for split in ("x_train", "x_test"):
        grey, black_and_white = getattr(digits, split), getattr(drawn, split)
        assert black_and_white.dtype == np.float32 and set(np.unique(black_and_white)) == {0.0, 1.0}
        np.testing.assert_array_equal(black_and_white, getattr(again, split))
        for level in np.linspace(0, 0.9, 10):
            pixels = (grey >= level) & (grey < level + 0.1)
            error = 5 / np.sqrt(pixels.sum())
            assert abs(black_and_white[pixels].mean() - grey[pixels].mean()) < error
        np.testing.assert_array_equal(black_and_white[grey == 0], 0)
        np.testing.assert_array_equal(black_and_white[grey == 1], 1)
    np.testing.assert_array_equal(drawn.y_train, digits.y_train)
    assert not np.array_equal(drawn.x_train[:100], drawn.x_test)
