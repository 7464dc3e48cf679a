"""The batches: every image once an epoch, in an order that depends on the seed and the epoch alone."""

import cvae_lib._tensorflow  # noqa: F401

# isort: split
import keras
import numpy as np
import psutil
import pytest
import tensorflow as tf

from cvae_lib.training.batches import (
    batches_in_order,
    count_steps,
    make_batch_lookup,
    shuffled_index_blocks,
    steps_per_call,
)


@pytest.fixture
def epochs_of():
    """Collect the indices of each epoch, in the order in which they come; check the sizes of the batches."""

    def collect(n, batch_size, epochs, steps=1, **settings):
        sizes = [len(range(n)[i : i + batch_size]) for i in range(0, n, batch_size)]
        blocks = shuffled_index_blocks(n, batch_size, steps, **settings).as_numpy_iterator()
        found = []
        for _ in range(epochs):
            batches = [batch for block in (next(blocks) for _ in sizes[::steps]) for batch in block]
            assert [len(batch) for batch in batches] == sizes
            found.append(np.concatenate(batches).tolist())
        return found

    return collect


@pytest.mark.parametrize("n, batch_size, steps", [(60, 16, 4), (60, 5, 12), (7, 250, 1), (1, 1, 1)])
def test_the_last_batch_may_be_smaller(n, batch_size, steps):
    assert count_steps(n, batch_size) == steps


@pytest.mark.parametrize("n, batch_size, steps", [(60, 16, 1), (60, 5, 4), (7, 7, 1), (7, 250, 1), (2, 1, 2)])
def test_every_epoch_has_each_image_once(epochs_of, n, batch_size, steps):
    for order in epochs_of(n, batch_size, 3, steps, seed=1):
        assert sorted(order) == list(range(n))


def test_every_epoch_has_a_new_order(epochs_of):
    orders = epochs_of(60, 16, 4, seed=1)
    assert len({tuple(order) for order in [range(60), *orders]}) == 5


def test_order_depends_on_the_seed_and_the_epoch_alone(epochs_of):
    first = epochs_of(60, 16, 3, seed=1)
    np.random.seed(5)
    keras.utils.set_random_seed(5)
    assert epochs_of(60, 16, 2, seed=1, first_epoch=1) == first[1:]
    assert epochs_of(60, 16, 1, seed=2)[0] not in first
    assert epochs_of(60, 16, 1, seed=2**32 - 1)[0] not in first
    assert epochs_of(60, 5, 3, steps=4, seed=1) == first


@pytest.mark.parametrize("n, batch_size", [(60_000, 250), (55_000, 250), (60_000, 60_000), (60_000, 7), (1, 250)])
def test_steps_of_a_call_divide_an_epoch(n, batch_size):
    """With many steps in a call where that can be; a smaller batch at the end leaves one."""
    steps = steps_per_call(n, batch_size)
    if n % batch_size:
        assert steps == 1
    else:
        assert (n // batch_size) % steps == 0 and steps >= min(20, n // batch_size)


def test_batches_pair_each_image_with_its_label_and_itself(few):
    index = [7, 0, 59]
    (x, label), target = make_batch_lookup(few.pixels_train, few.label_train)(index)
    np.testing.assert_array_equal(x, few.x_train[index])
    np.testing.assert_array_equal(target, few.x_train[index])
    np.testing.assert_array_equal(label, few.label_train[index])


def test_batches_in_order_are_the_images(few):
    batches = list(batches_in_order(few.pixels_test, few.label_test, 16))
    assert [len(x) for _, x in batches] == [16, 4]
    for (x, _), goal in batches:
        np.testing.assert_array_equal(x, goal)
    np.testing.assert_array_equal(np.concatenate([x for _, x in batches]), few.x_test)
    np.testing.assert_array_equal(np.concatenate([label for (_, label), _ in batches]), few.label_test)


@pytest.fixture
def count_threads():
    """Count the threads of this process while somebody iterates over batches."""

    def count(batches, n):
        iterator = iter(batches)
        for _ in range(n):
            next(iterator)
        return psutil.Process().num_threads()

    return count


@pytest.mark.parametrize("kind, n", [("shuffled", 3), ("in order", 4)])
def test_no_thread_tunes_the_batches(few, count_threads, kind, n):
    """TensorFlow's tuner has a thread of its own, which ends late: at the end of `fit` by up to a minute.

    The wait is a race, so the thread is what a test can see.
    """
    in_order = batches_in_order(few.pixels_test, few.label_test, 5)
    batches = shuffled_index_blocks(60, 5, 4, seed=1) if kind == "shuffled" else in_order
    options = tf.data.Options()
    options.autotune.enabled = True
    count_threads(batches, n)  # the first use starts the pools that stay
    assert count_threads(batches.with_options(options), n) > count_threads(batches, n)
