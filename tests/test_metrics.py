"""What the chapters measure, against Monte Carlo, closed forms, SciPy's tests and pictures whose shape is known."""

import warnings

import numpy as np
import pytest
from scipy import stats

from cvae_lib import metrics
from cvae_lib.metrics import Difference, active_units, compare, count_seeds, cross_entropy, gaussian_kl, measure_shape

# Differences and their intervals


@pytest.mark.parametrize("sizes, spreads", [((5, 5), (1, 1)), ((3, 9), (0.1, 4)), ((2, 2), (1, 3)), ((40, 7), (2, 2))])
@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_two_samples_are_compared_as_by_welchs_test(sizes, spreads, confidence):
    rng = np.random.default_rng(0)
    a, b = (rng.normal(130, spread, n) for spread, n in zip(spreads, sizes))
    found = compare(a, b, confidence=confidence)
    expected = stats.ttest_ind(a, b, equal_var=False).confidence_interval(confidence)
    assert found.mean == pytest.approx(a.mean() - b.mean())
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_pairs_are_compared_by_their_differences():
    """Images differ by tens of nats and two models by a few on each: the pairs see what two samples do not."""
    rng = np.random.default_rng(0)
    a = rng.normal(130, 30, 200)
    b = a + rng.normal(0.5, 1, 200)
    found, expected = compare(a, b, paired=True), stats.ttest_rel(a, b).confidence_interval()
    assert found == pytest.approx((np.mean(a - b), expected.low, expected.high))
    assert found.verdict == "smaller" and compare(a, b).verdict == "no difference seen"


def test_a_published_number_is_taken_to_be_exact():
    values = [130.9, 130.8, 131.1]
    expected = stats.ttest_1samp(values, 130.77).confidence_interval()
    found = compare(values, 130.77)
    assert (found.low, found.high) == pytest.approx((expected.low - 130.77, expected.high - 130.77))
    other = compare(130.77, values)
    assert other == pytest.approx((-found.mean, -found.high, -found.low))


@pytest.mark.parametrize("sizes, spreads", [((5, 5), (1, 1)), ((3, 3), (1, 1)), ((5, 9), (3, 1))])
def test_the_interval_holds_the_true_difference_as_often_as_it_says(sizes, spreads):
    """19 times in 20, and for very few seeds a little oftener."""
    rng = np.random.default_rng(0)
    held = []
    for _ in range(2000):
        a, b = rng.normal(7, spreads[0], sizes[0]), rng.normal(5, spreads[1], sizes[1])
        low, high = compare(a, b)[1:]
        held.append(low <= 2 <= high)
    assert 0.94 < np.mean(held) < 0.975


def test_constant_samples_differ_by_exactly_their_difference():
    assert compare([2.0, 2.0], [1.5, 1.5, 1.5]) == (0.5, 0.5, 0.5)
    assert compare([2.0, 2.0], 2.0).verdict == "no difference seen"
    assert compare([1.0, 2.0], [3.0, 4.0], paired=True) == (-2, -2, -2)
    # One that varies is enough for an interval.
    varying = [1.0, 2.0, 3.0]
    assert compare(varying, [5.0, 5.0]) == pytest.approx(compare(varying, 5.0))


@pytest.mark.parametrize(
    "a, b, paired, words",
    [
        ([1.0], [1.0, 2.0], False, "at least 2 values"),
        ([1.0], 2.0, False, "at least 2 values"),
        (1.0, 2.0, False, "at least 2 values"),
        ([1.0], [2.0], True, "at least 2 values"),
        ([[1.0, 2.0], [3.0, 4.0]], 2.0, False, r"\(2, 2\)"),
        ([1.0, 2.0, 3.0], [1.0, 2.0], True, r"\(3,\) and \(2,\); expected one value of b for each of a"),
        # These two would broadcast.
        ([1.0, 2.0, 3.0], [1.0], True, "expected one value of b"),
        ([1.0, 2.0, 3.0], 1.0, True, "expected one value of b"),
        ([1.0, np.nan], 2.0, False, "not finite"),
        ([1.0, 2.0], [3.0, np.inf], False, "not finite"),
    ],
)
def test_what_cannot_be_compared_is_refused(a, b, paired, words):
    with pytest.raises(ValueError, match=words):
        compare(a, b, paired=paired)


def test_the_verdict_follows_from_the_interval():
    assert Difference(1.0, 0.2, 1.8).verdict == "larger"
    assert Difference(-1.0, -1.8, -0.2).verdict == "smaller"
    for low, high in ((-0.1, 0.2), (0.0, 0.2), (-0.2, 0.0)):
        assert Difference(0.05, low, high).verdict == "no difference seen"
    assert str(Difference(-1.2164, -1.7512, -0.6801)) == "-1.22 [-1.75, -0.68] smaller"
    assert str(Difference(0.05, -0.1, 0.2)) == "+0.05 [-0.10, +0.20] no difference seen"


@pytest.mark.parametrize("difference, spread", [(0.3, 0.1), (1, 1), (1, 0.4), (0.1, 0.007)])
@pytest.mark.parametrize("power", [0.6, 0.8])
def test_so_many_seeds_see_a_difference_and_one_less_does_not(difference, spread, power):
    """How often `compare` finds a larger than b, by simulation."""

    def see(n):
        rng = np.random.default_rng(0)
        samples = rng.normal([difference, 0.0], spread, (4000, n, 2))
        return np.mean([compare(*sample.T).low > 0 for sample in samples])

    n, error = count_seeds(difference, spread, power), 0.025
    assert see(n) > power - error
    assert n == 2 or see(n - 1) < power + error


def test_known_numbers_of_seeds():
    """Cohen (1988), table 2.4.1: for a power of 0.8, differences of 0.5, 0.8 and 1 spreads need 64, 26 and 17."""
    assert [count_seeds(difference, 1) for difference in (0.5, 0.8, 1)] == [64, 26, 17]
    assert count_seeds(1, 2.5) == count_seeds(0.4, 1) == count_seeds(4, 10)
    # Two values say little about their spread: the interval is wide, and three are needed.
    assert count_seeds(1, 0.1) == 3 and count_seeds(1, 0.001) == 2
    assert count_seeds(0.5, 1, confidence=0.99) > count_seeds(0.5, 1, power=0.9) > count_seeds(0.5, 1)
    assert count_seeds(0.01, 1) == pytest.approx(2 * (1.959964 + 0.841621) ** 2 / 0.01**2, abs=3)


@pytest.mark.parametrize(
    "arguments", [(0, 1), (-1, 1), (1, 0), (1, -1), (np.nan, 1), (1, np.inf), (1, 1, 1), (1, 1, 0.1)]
)
def test_seeds_that_cannot_be_counted_are_refused(arguments):
    """Without this the count would go on for ever."""
    with pytest.raises(ValueError, match="expected two positive numbers of nats and a power from 0.5"):
        count_seeds(*arguments)


# Cross-entropy


def test_cross_entropy_is_the_sum_over_the_pixels():
    rng = np.random.default_rng(0)
    x, p = rng.uniform(size=(5, 784)), rng.uniform(0.01, 0.99, (5, 784))
    found = cross_entropy(x, p)
    for i in range(5):
        nats = -sum(a * np.log(b) + (1 - a) * np.log(1 - b) for a, b in zip(x[i], p[i]))
        assert found[i] == pytest.approx(nats, rel=1e-12)


def test_cross_entropy_of_a_coin():
    """An even chance costs log 2 a pixel, whatever the picture."""
    np.testing.assert_allclose(cross_entropy([[0, 0, 1, 0.3]], 0.5), [4 * np.log(2)])


def test_cross_entropy_is_least_at_the_pixel_itself():
    x = 0.3
    p = np.linspace(0.01, 0.99, 99)[:, None]
    found = cross_entropy([x], p)
    assert p[found.argmin(), 0] == pytest.approx(x)
    assert found.min() == pytest.approx(-x * np.log(x) - (1 - x) * np.log(1 - x))


@pytest.mark.parametrize(
    "x, p, nats",
    [(0, 0, 0), (1, 1, 0), (0, 1, np.inf), (1, 0, np.inf), (0.5, 0, np.inf), (0.5, 1, np.inf), (1, 0.25, np.log(4))],
)
def test_cross_entropy_at_the_ends(x, p, nats):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cross_entropy([x], [p]) == pytest.approx(nats)
        assert cross_entropy([x, 0.5], [p, 0.5]) == pytest.approx(nats + np.log(2))


def test_cross_entropy_keeps_small_probabilities():
    """float32 would round 1 - 1e-12 to 1."""
    p = np.array([1e-12])
    assert cross_entropy([0], p) == pytest.approx(1e-12, rel=1e-6)


def test_cross_entropy_broadcasts():
    rng = np.random.default_rng(0)
    x, p = rng.uniform(size=(4, 1, 9)), rng.uniform(0.1, 0.9, (3, 9))
    found = cross_entropy(x, p)
    assert found.shape == (4, 3) and found.dtype == np.float64
    assert found[2, 1] == pytest.approx(cross_entropy(x[2, 0], p[1]))


# KL divergence


def test_kl_of_the_prior_is_zero():
    assert gaussian_kl(np.zeros(3), np.eye(3)) == pytest.approx(0, abs=1e-15)


def test_kl_matches_monte_carlo():
    """KL = E[log q(z) - log p(z)] under q, here with a covariance that is not diagonal."""
    rng = np.random.default_rng(0)
    mean, covariance = np.array([0.7, -1.2]), np.array([[0.8, 0.5], [0.5, 0.6]])
    z = rng.multivariate_normal(mean, covariance, 200_000)
    away = z - mean
    log_q = -0.5 * np.einsum("ni,ij,nj->n", away, np.linalg.inv(covariance), away)
    log_q -= 0.5 * np.log(np.linalg.det(covariance))
    terms = log_q + 0.5 * (z**2).sum(axis=1)
    assert gaussian_kl(mean, covariance) == pytest.approx(terms.mean(), abs=5 * terms.std() / np.sqrt(len(z)))


def test_kl_adds_up_over_independent_axes():
    means, variances = np.array([0.3, -2.0, 0.0]), np.array([0.5, 1.0, 1.7])
    each = [gaussian_kl([mean], [[variance]]) for mean, variance in zip(means, variances)]
    assert gaussian_kl(means, np.diag(variances)) == pytest.approx(sum(each))
    assert min(each) > 0.01


# Active units


def test_latents_that_move_with_the_image_are_counted():
    rng = np.random.default_rng(0)
    z_mean = rng.normal(size=(5000, 4)) * [1.0, 0.11, 0.09, 0.0] + [0.0, 3.0, 3.0, 3.0]
    assert active_units(z_mean) == 2
    assert active_units(z_mean, threshold=0.005) == 3
    assert active_units(z_mean[:, 3:]) == active_units(z_mean[:, 3:], threshold=0) == 0


# Ink, stroke, width and slant


def draw_bar(width, slant=0.0, length=20, left=8, top=3):
    """A bar of full ink, `width` pixels across, leaning right by `slant` pixels for each pixel up."""
    picture = np.zeros((28, 28))
    column = np.arange(28)
    for row in range(top, top + length):
        start = left + slant * (top + length - 1 - row)
        # A pixel holds as much ink as the bar covers of it.
        picture[row] = np.clip(np.minimum(column + 1, start + width) - np.maximum(column, start), 0, 1)
    return picture.reshape(784)


def test_ink_is_the_sum_of_the_pixels():
    assert measure_shape(draw_bar(3)).ink == pytest.approx([3 * 20])
    assert measure_shape(0.5 * draw_bar(3)).ink == pytest.approx([0.5 * 3 * 20])


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_stroke_is_the_thickness_of_a_long_bar(width):
    """A bar w by l has an outline of 2 (w + l): 2 w l / (2 (w + l)), w where l is much longer; corners count less."""
    bar = draw_bar(width, length=28, top=0)
    assert measure_shape(bar).stroke[0] == pytest.approx(width * 28 / (width + 28), rel=0.03)
    assert measure_shape(bar).stroke[0] == pytest.approx(width, rel=0.15)


@pytest.mark.parametrize("width", [2, 4])
def test_stroke_is_the_same_across_and_down(width):
    bar = draw_bar(width)
    across = bar.reshape(28, 28).T.reshape(784)
    assert measure_shape(across).stroke[0] == pytest.approx(measure_shape(bar).stroke[0])


@pytest.mark.parametrize("slant", [0.25, 0.5, 0.7])
def test_stroke_is_measured_across_the_line_however_it_leans(slant):
    """A leaning bar w pixels wide is thinner than w: its width times the cosine of its angle."""
    leaning = draw_bar(4 * np.hypot(1, slant), slant, left=4)
    assert measure_shape(leaning).stroke[0] == pytest.approx(measure_shape(draw_bar(4)).stroke[0], rel=0.05)


def test_stroke_does_not_depend_on_how_dark_the_ink_is():
    assert measure_shape(0.4 * draw_bar(3)).stroke == pytest.approx(measure_shape(draw_bar(3)).stroke)


@pytest.mark.parametrize("slant", [-0.4, -0.1, 0.0, 0.25, 0.5])
def test_slant_is_pixels_right_for_each_pixel_up(slant):
    left = 8 if slant >= 0 else 17
    assert measure_shape(draw_bar(3, slant, left=left)).slant[0] == pytest.approx(slant, abs=1e-9)


def test_slash_leans_right_and_backslash_left():
    slash = np.fliplr(np.eye(28)).reshape(784)
    backslash = np.eye(28).reshape(784)
    assert measure_shape(slash).slant[0] == pytest.approx(1)
    assert measure_shape(backslash).slant[0] == pytest.approx(-1)


def test_many_images_are_measured_block_by_block(monkeypatch):
    images = np.random.default_rng(0).random((11, 784), "float32")
    whole = measure_shape(images)
    monkeypatch.setattr(metrics, "BLOCK", 4)
    for found, expected in zip(measure_shape(images), whole, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_width_is_the_spread_of_the_columns():
    """w columns of equal ink have the variance (w^2 - 1) / 12."""
    for width in (1, 2, 5, 9):
        assert measure_shape(draw_bar(width)).width[0] == pytest.approx(np.sqrt((width**2 - 1) / 12))


def test_width_is_measured_around_the_slant():
    slanted = draw_bar(4, 1.0, left=2)
    assert measure_shape(slanted).width[0] == pytest.approx(measure_shape(draw_bar(4)).width[0])


def test_line_of_no_width_has_width_zero():
    """Rounding must not lead to the root of less than nothing."""
    lines = [np.pad(0.1 * ink * np.eye(n), ((0, 28 - n), (3, 25 - n))) for n in range(2, 26) for ink in range(1, 11)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(measure_shape(np.stack(lines)).width, 0, atol=1e-6)


def test_shape_does_not_depend_on_the_place():
    rng = np.random.default_rng(0)
    blot = rng.uniform(size=(12, 9))
    pictures = np.zeros((4, 28, 28))
    for picture, (row, column) in zip(pictures, [(8, 9), (0, 0), (16, 19), (3, 19)]):
        picture[row : row + 12, column : column + 9] = blot
    for values in measure_shape(pictures.reshape(4, 784)):
        np.testing.assert_allclose(values, values[0], rtol=1e-9, atol=1e-9)


def test_images_are_measured_one_by_one():
    pictures = np.stack([draw_bar(2), draw_bar(4, 0.3), draw_bar(7, -0.2, left=14)])
    together = measure_shape(pictures)
    for i, picture in enumerate(pictures):
        for values, alone in zip(together, measure_shape(picture)):
            assert values.shape == (3,) and alone.shape == (1,)
            assert values[i] == pytest.approx(alone[0])


@pytest.mark.parametrize("shape", [(8, 8), (12, 20), (20, 12)])
def test_images_of_any_shape_are_measured(shape):
    """The same blot has the same shape, whatever the size of the picture it is in."""
    blot = np.random.default_rng(0).uniform(size=(7, 6))
    small, large = np.zeros((2, *shape)), np.zeros((28, 28))
    small[0, :7, :6] = small[1, -7:, -6:] = large[5:12, 9:15] = blot
    for given in (small, small.reshape(2, -1)):
        for values, expected in zip(measure_shape(given, shape), measure_shape(large)):
            np.testing.assert_allclose(values, [expected[0]] * 2, rtol=1e-9, atol=1e-9)


def test_images_without_one_ink_are_refused():
    with pytest.raises(ValueError, match=r"\(12, 20, 3\); expected \(height, width\)"):
        measure_shape(np.zeros((2, 720)), (12, 20, 3))
    with pytest.raises(ValueError, match=r"\(49, 64\)"):  # as many numbers as four of 28 by 28
        measure_shape(np.zeros((49, 64)))


def test_digits_lean_and_spread_as_the_eye_says(digits):
    """Ones are the narrowest class and zeros among the widest; a one holds the least ink."""
    shape = measure_shape(digits.x_test)
    means = {
        name: [getattr(shape, name)[digits.y_test == digit].mean() for digit in range(10)] for name in shape._fields
    }
    assert np.argmin(means["width"]) == 1 and np.argmin(means["ink"]) == 1
    assert means["width"][0] > 1.3 * means["width"][1]
    assert 1 < min(means["stroke"]) <= max(means["stroke"]) < 5
