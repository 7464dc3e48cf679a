"""The data and the measures that chapter 17 defines, against what is known beforehand."""

import json
from functools import cache

import numpy as np
import pytest
from book_sources import CHAPTERS

from chapters import train_own
from cvae_lib.data import Cyclic
from cvae_lib.metrics import measure_shape
from cvae_lib.pretrained import load_condition, load_pretrained

PAGE = train_own.read_definitions("17_other_conditions")
ROWS = json.loads((CHAPTERS / "results" / "other_conditions.json").read_text(encoding="utf-8"))["rows"]


@cache
def make(name, *arguments):
    return PAGE[name](*arguments)


# What is told


def test_a_shape_is_that_of_its_digit(digits):
    data = make("tell_shapes")
    shape = measure_shape(digits.x_test[:50])
    expected = np.column_stack([digits.y_test[:50], shape.slant, shape.stroke])
    np.testing.assert_allclose(data.y_test[:50], expected, rtol=1e-6)
    np.testing.assert_allclose(data.label_train[:, 10:].mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(data.label_train[:, 10:].std(axis=0), 1, atol=1e-3)
    if digits.edition == "full":
        assert load_condition("mnist-2d-slant") == data.condition, "the model that ships was told something else"


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_so_many_labels_are_wrong_and_no_test_label_is(share):
    clean, data = make("few_digits"), make("mislabel", share)
    is_wrong = data.y_train != clean.y_train
    assert is_wrong.mean() == pytest.approx(share, abs=0.02)
    assert len(np.unique((data.y_train - clean.y_train)[is_wrong] % 10)) == 9, "not all wrong labels occur"
    np.testing.assert_array_equal(data.y_test, clean.y_test)
    np.testing.assert_array_equal(data.pixels_train, clean.pixels_train)


def test_shares_are_the_frequencies_of_the_classes():
    """What `confuse` says of a given label is how often each class is behind it."""
    data = make("mislabel", 0.2)
    shares, truth = PAGE["confuse"](data, 0.2), make("few_digits").y_train
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-6)
    of_three = data.y_train == 3
    counted = np.bincount(truth[of_three], minlength=10) / of_three.sum()
    np.testing.assert_allclose(shares[of_three][0], counted, atol=0.06)


def test_one_label_in_ten_is_known():
    clean, prior = make("few_digits"), PAGE["know_few"]()
    is_known = prior.max(axis=1) == 1
    assert is_known.mean() == pytest.approx(0.1, abs=1e-3)
    np.testing.assert_array_equal(prior[is_known].argmax(axis=1), clean.y_train[is_known])
    np.testing.assert_array_equal(make("keep_known").y_train, clean.y_train[is_known])
    assert np.all(prior[~is_known] == 0.1)


def test_a_reading_corrects_a_wrong_label_and_respects_a_sure_one():
    model, data = load_pretrained("mnist-2d"), make("few_digits")
    x, y = data.x_test[:60], data.y_test[:60]
    told = np.where(np.arange(60) < 12, (y + 1) % 10, y)
    prior = np.where(np.eye(10)[told] == 1, 0.8, 0.2 / 9)
    shares = PAGE["read_again"](model, x, prior)
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-6)
    assert np.mean(shares.argmax(axis=1) == y) > 0.9
    np.testing.assert_array_equal(PAGE["read_again"](model, x, np.eye(10)[told]).argmax(axis=1), told)


def test_hidden_and_withheld_letters(monkeypatch):
    letters = PAGE["make_letters"](520)
    monkeypatch.setitem(PAGE, "make_letters", lambda: letters)
    left = make("withhold")
    unseen = PAGE["is_unseen"](letters.y_train)
    assert 0 < unseen.sum() < 20 and len(left.y_train) == (~unseen).sum()
    k = left.y_train[:, 0] == 10
    assert not np.any(k & (90 <= left.y_train[:, 1]) & (left.y_train[:, 1] <= 150)), "a green K is left"
    assert np.any(k), "all Ks are gone"
    hidden = make("hide_hue")
    np.testing.assert_array_equal(hidden.y_train, letters.y_train[:, 0])


def test_hues_close_to_the_seam_are_near_as_cyclic_and_far_as_numbers(monkeypatch):
    letters = PAGE["make_letters"](130)
    monkeypatch.setitem(PAGE, "make_letters", lambda: letters)
    ends = np.array([[0, 1.0], [0, 359.0]])
    cyclic, number = (data.condition.encode(ends) for data in (letters, make("number_hue")))
    assert isinstance(letters.condition.parts[1], Cyclic)
    assert np.linalg.norm(cyclic[0] - cyclic[1]) < 0.04
    assert np.linalg.norm(number[0] - number[1]) > 3


# What is measured


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_information_is_that_of_normal_variables(correlation):
    rng = np.random.default_rng(1)
    z, noise = rng.standard_normal((3000, 2)), rng.standard_normal((3000, 1))
    value = correlation * z[:, :1] + np.sqrt(1 - correlation**2) * noise
    truth = -0.5 * np.log(1 - correlation**2)
    assert PAGE["information"](z, value) == pytest.approx(truth, abs=0.05)
    assert PAGE["information"](5 * z + 2, -7 * value) == pytest.approx(PAGE["information"](z, value), abs=0.02)


def test_information_by_class_leaves_the_class_itself_out():
    rng = np.random.default_rng(2)
    y = np.arange(2000) % 4
    z, value = rng.standard_normal((2000, 2)) + 10 * y[:, None], rng.standard_normal((2000, 1)) + 10 * y[:, None]
    by_class = PAGE["information_by_class"]
    assert PAGE["information"](z, value) > 1, "the class ties them"
    assert abs(by_class(z, value, y)) < 0.05
    assert by_class(z, z[:, :1], y) > 1 > 0.1 > abs(by_class(z, z[:, :1], y, shuffled=True))


def test_a_hue_is_measured_and_turned():
    letters = PAGE["make_letters"](130)
    off = PAGE["turn"](PAGE["measure_hue"](letters.x_train) - letters.y_train[:, 1])
    assert np.abs(off).max() < 1
    np.testing.assert_allclose(PAGE["turn"](np.array([359, -359, 190, 10])), [-1, 1, -170, 10])


def test_the_shipped_model_draws_the_slant_that_is_asked_for():
    model, condition = load_pretrained("mnist-2d-slant"), load_condition("mnist-2d-slant")
    asked = np.column_stack([np.arange(200) % 10, np.repeat([-0.3, 0.0, 0.3, 0.5], 50), np.full(200, 2.5)])
    z = np.random.default_rng(0).standard_normal((200, 2))
    drawn = measure_shape(train_own.decode(model, z, condition.encode(asked))).slant
    assert np.mean(abs(drawn - asked[:, 1])) < 0.05


@pytest.mark.parametrize(
    "row", [row for row in ROWS if "fidelity" in row], ids=lambda row: f"{row['name']}-{row['seed']}"
)
def test_shares_are_shares_and_a_shuffled_control_is_near_zero(row):
    assert all(0 <= row[key] <= 1 for key in row if key.startswith(("fidelity", "accuracy", "right")))
    assert abs(row.get("shuffled", 0)) < 0.05
