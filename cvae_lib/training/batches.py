"""From a Dataset to batches: which images are in which step of training, and how their pixels get there."""

import math
from collections.abc import Callable
from typing import Any

import cvae_lib._tensorflow  # noqa: F401

# isort: split
import keras
import numpy as np
import tensorflow as tf

STEPS_PER_CALL = 40


def count_steps(n: int, batch_size: int) -> int:
    """Count the steps of an epoch of n images."""
    return math.ceil(n / batch_size)


def steps_per_call(n: int, batch_size: int, at_most: int = STEPS_PER_CALL) -> int:
    """Choose how many batches one compiled call trains on: the most that divide both an epoch and `at_most`.

    n is the number of images of an epoch. The result is 1 if the last batch is smaller than the others.
    """
    return 1 if n % batch_size else math.gcd(n // batch_size, at_most)


def shuffled_index_blocks(n: int, batch_size: int, steps: int, seed: int, first_epoch: int = 0) -> tf.data.Dataset:
    """Yield blocks of indices, (steps, batch_size), for ever; the order within epoch e depends on (seed, e) alone.

    Every epoch has each of 0 to n - 1 once. If batch_size does not divide n, the last batch is smaller, and steps has
    to be 1.
    """
    size = steps * batch_size
    starts = tf.data.Dataset.range(0, n, size)

    def shuffle(epoch: Any) -> tf.data.Dataset:
        order = tf.random.experimental.stateless_shuffle(tf.range(n), seed=[seed, epoch])
        return starts.map(lambda start: tf.reshape(order[start : start + size], (steps, -1)))

    return without_autotune(tf.data.Dataset.range(first_epoch, tf.int64.max).flat_map(shuffle))


def batches_in_order(pixels: np.ndarray, label: np.ndarray, batch_size: int) -> tf.data.Dataset:
    """Yield batches ((x, label), x) of all images, once."""
    return without_autotune(tf.data.Dataset.range(len(label)).batch(batch_size).map(make_batch_lookup(pixels, label)))


def without_autotune(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Return the dataset without tf.data's autotuner, which has nothing to tune in these.

    Its thread sleeps for as long as it has worked, at most a minute, and TensorFlow does not always wake it when the
    data end. `fit` waits for the thread, so it would return that much later. Source: the page "What it costs".
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def make_batch_lookup(pixels: np.ndarray, label: np.ndarray) -> Callable[[Any], Any]:
    """Make a function from the indices of images, (batch,), to their batch ((x, label), x).

    pixels are grey values 0 to 255, (n, n_x), and label is (n, n_y). The pixels stay bytes, a quarter of the memory,
    and each batch is scaled to [0, 1] when its turn comes: `Dataset.x_train`, all pixels as floats, is never made.
    """
    pixels, label = tf.constant(pixels), tf.constant(label)

    def look_up(index: Any) -> Any:
        x = tf.cast(tf.gather(pixels, index), keras.config.floatx()) / 255
        return (x, tf.gather(label, index)), x

    return look_up
