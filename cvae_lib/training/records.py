"""Train on data larger than memory: write images into shards, and read them again in the order of an epoch.

`data.shards` says what a folder of shards is. All that is random in an epoch depends only on the seed and the number of
the epoch, as it does in memory: the order of the shards, and that of the images within each window of WINDOW_BYTES.

Several processes each read shards of their own, so here, unlike in memory, the images of a batch depend on the number
of processes, and with them the weights. These do not: each image is in one batch of each epoch, a batch has the
recipe's size, and all processes have the same weights and make the same number of steps. The validation loss of given
weights is the same, too, up to rounding.
"""

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import cvae_lib._tensorflow  # noqa: F401

# isort: split
import keras
import numpy as np
import tensorflow as tf

from cvae_lib.data import Classes, Condition, DataError, Dataset
from cvae_lib.data.readers import check_images
from cvae_lib.data.shards import (
    FORMAT,
    MANIFEST,
    SUFFIX,
    Shard,
    ShardedData,
    check_count,
    check_digests,
    check_files,
    choose_label_dtype,
    open_shards,
    pack,
)
from cvae_lib.files import hold, remove, removed_at_the_end, sync, write_text
from cvae_lib.training.batches import STEPS_PER_CALL, count_steps, steps_per_call, without_autotune
from cvae_lib.training.checkpoints import TrainingError

WINDOW_BYTES = 2**25  # images that are shuffled together
SHARDS_AT_ONCE = 8  # which are read in turns, so that a window has images of all of them

Parts = Iterable[tuple[np.ndarray, np.ndarray]]


def write_dataset(data: Dataset, out: str | Path, n_shards: int) -> ShardedData:
    """Write a data set into so many shards of training images, and as many of test images as have the same size.

    Raises DataError for more shards than images, and as `write_shards` does.
    """
    check_count(n_shards, data)
    n_test_shards = math.ceil(data.n_test * n_shards / data.n_train)
    train, test = (
        zip(np.array_split(pixels, n), np.array_split(y, n), strict=True)
        for pixels, y, n in (
            (data.pixels_train, data.y_train, n_shards),
            (data.pixels_test, data.y_test, n_test_shards),
        )
    )
    return write_shards(out, train, test, data.image_shape, data.condition)


def write_shards(
    out: str | Path, train: Parts, test: Parts, image_shape: tuple[int, ...], condition: Condition
) -> ShardedData:
    """Write training and test images into a new folder of shards, and open it.

    train and test are iterables of parts (x, y), one part a shard: images, uint8, (n, height, width[, 3]) or flat,
    (n, n_x), and labels that fit the condition. Only one part at a time is held in memory, so they can be generators.
    Give the images in a random order if you can: those of one class in one shard would be in few batches. The same
    parts always give the same bytes. The folder appears when it is whole.

    Raises DataError for a folder that is not empty, and for a part that is not such images and labels; BusyError where
    another process writes the folder.
    """
    out = Path(out)
    manifest: dict[str, Any] = {"format": FORMAT, "image_shape": image_shape, "condition": asdict(condition)}
    out.parent.mkdir(parents=True, exist_ok=True)
    new = out.with_name(f"new.{out.name}")
    with hold(out):
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise DataError(out, "something there", "a new or an empty folder", "Choose another, or empty it.")
        remove(new)  # what a killed process has left
        with removed_at_the_end(new):
            new.mkdir()
            for split, parts in (("train", train), ("test", test)):
                manifest[split] = []
                for place, (x, y) in enumerate(parts):
                    where, path = f"{split}, part {place}", new / f"{split}-{place:05}{SUFFIX}"
                    check_images(x, where, image_shape)
                    if fault := condition.find_fault(y):
                        raise DataError(where, *fault, "Give labels that fit the condition.")
                    if len(x) != len(y):
                        raise DataError(
                            where, f"{len(y)} labels for {len(x)} images", "one label an image", "Give as many."
                        )
                    manifest[split].append(asdict(write_shard(path, pack(x, y, condition))))
                if not manifest[split]:
                    raise DataError(split, "no images", "at least one part", "Give some.")
            write_text(new / MANIFEST, json.dumps(manifest, indent=1) + "\n")
            if out.exists():
                out.rmdir()
            os.replace(new, out)
            sync(out.parent)
    return open_shards(out)


def write_shard(path: Path, records: np.ndarray) -> Shard:
    """Write records, uint8, (n, record_bytes), to a TFRecord file, and return its entry of the manifest."""
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record.tobytes())
    sync(path)
    with path.open("rb") as file:
        return Shard(path.name, len(records), hashlib.file_digest(file, "sha256").hexdigest())


@dataclass(frozen=True)
class Share:
    """What one of several processes reads: its training shards, and the places in each batch that their images take.

    The part of the places is the part of the images, so that all processes come to the end of an epoch together.
    """

    shards: tuple[Shard, ...]
    n: int  # images in these shards
    first: int  # place of its first image in a batch
    width: int  # places in a batch

    @property
    def steps(self) -> int:
        """The number of steps in which it has images, in each epoch."""
        return math.ceil(self.n / self.width)

    def count(self, steps: Any) -> Any:
        """Count its images in the first steps of an epoch."""
        return tf.minimum(self.n, steps * self.width)

    def take(self, records: Any, replica: Any = 0, replicas: int = 1) -> tuple[Any, Any, Any]:
        """Take what one of the replicas of this process computes of its records of a step, (k, record_bytes).

        Returns records, (slots, record_bytes), their places in the batch, (slots,), and their weights, 1 or 0: where k
        is below width, some slots are empty.
        """
        slots = math.ceil(self.width / replicas)
        own, k = replica * slots + tf.range(slots), tf.shape(records)[0]
        filled = tf.pad(records, [[0, replicas * slots - k], [0, 0]])
        return tf.gather(filled, own), self.first + tf.minimum(own, self.width - 1), tf.cast(own < k, "float32")


def divide(data: ShardedData, batch_size: int, processes: int) -> list[Share]:
    """Divide the training shards, and the places of a batch, among so many processes.

    Raises TrainingError where a process would have no shard, or no place in a batch.
    """
    if len(data.train) < processes:
        raise TrainingError(
            f"{data.source}: found {len(data.train)} training shards for {processes} processes; expected at least one "
            "for each. Start fewer processes, or make more shards: python -m cvae_lib shard --shards."
        )
    parts = [data.train[rank::processes] for rank in range(processes)]
    sizes = [sum(shard.images for shard in part) for part in parts]
    ends = [round(batch_size * end / data.n_train) for end in accumulate(sizes)]
    shares = [Share(*row) for row in zip(parts, sizes, [0, *ends], np.diff([0, *ends]).tolist(), strict=False)]
    if min(share.width for share in shares) < 1:
        raise TrainingError(
            f"batch_size: found {batch_size} for {processes} processes, one of which has {min(sizes)} of "
            f"{data.n_train} images; expected a place in the batch for each. Start fewer processes."
        )
    return shares


def steps_of_a_block(data: ShardedData, batch_size: int, at_most: int = STEPS_PER_CALL) -> int:
    """Choose how many batches one compiled call trains on, as in memory: here a window has to hold two such blocks."""
    at_most = max(1, min(at_most, WINDOW_BYTES // (2 * batch_size * data.record_bytes)))
    return steps_per_call(data.n_train, batch_size, at_most)


def shuffled_record_blocks(
    data: ShardedData,
    shards: Sequence[Shard],
    batch_size: int,
    steps: int,
    blocks: int,
    seed: int,
    first_epoch: int = 0,
) -> tf.data.Dataset:
    """Yield blocks of records, uint8, (steps, batch_size, record_bytes), for ever, and so many in each epoch.

    Every epoch has each image of these shards once, in an order that depends on the seed, the epoch's number and the
    shards alone. If batch_size does not divide the number of images, the last batch is smaller, and steps has to be 1.
    Blocks that are left when the images have ended are empty.
    """
    paths = tf.constant([str(data.path(shard)) for shard in shards])
    size = steps * batch_size
    window = size * max(1, WINDOW_BYTES // (size * data.record_bytes))
    empty = tf.data.Dataset.from_tensors(tf.zeros((steps, 0, data.record_bytes), "uint8"))

    def read_epoch(epoch: Any) -> tf.data.Dataset:
        # Processes that shuffled alike would put the same images into one batch in every epoch.
        key = tf.random.experimental.stateless_fold_in([seed, epoch], data.train.index(shards[0]))
        files = tf.data.Dataset.from_tensor_slices(tf.random.experimental.stateless_shuffle(paths, key))
        records = files.interleave(tf.data.TFRecordDataset, cycle_length=SHARDS_AT_ONCE, block_length=1)
        windows = records.batch(window).enumerate(1)
        return windows.flat_map(lambda *numbered: shuffle(key, *numbered)).concatenate(empty.repeat()).take(blocks)

    def shuffle(key: Any, number: Any, records: Any) -> tf.data.Dataset:
        records = tf.random.experimental.stateless_shuffle(
            records, tf.random.experimental.stateless_fold_in(key, number)
        )

        def cut(start: Any) -> Any:
            return tf.reshape(read_bytes(records[start : start + size]), (steps, -1, data.record_bytes))

        return tf.data.Dataset.range(0, tf.size(records, "int64"), size).map(cut)

    epochs = tf.data.Dataset.range(first_epoch, tf.int64.max).flat_map(read_epoch)
    return without_autotune(epochs.prefetch(2))


def record_batches(data: ShardedData, batch_size: int) -> tf.data.Dataset:
    """Yield batches of records, uint8, (batch_size, record_bytes), of all test images in their order, once."""
    records = tf.data.TFRecordDataset([str(data.path(shard)) for shard in data.test]).batch(batch_size)
    # Keras warns of data that end before it has been told that they would.
    counted = records.apply(tf.data.experimental.assert_cardinality(count_steps(data.n_test, batch_size)))
    return without_autotune(counted.map(read_bytes).prefetch(2))


def read_bytes(records: Any) -> Any:
    """Turn records that were read as text, (n,), into uint8, (n, record_bytes)."""
    return tf.io.decode_raw(records, "uint8")


def make_record_decoder(data: ShardedData) -> Callable[[Any], Any]:
    """Make a function from records, uint8, (batch, record_bytes), to their batch ((x, label), x), as in memory."""
    n_x, dtype = data.n_x, tf.as_dtype(np.dtype(choose_label_dtype(data.condition)))
    is_class = isinstance(data.condition, Classes)

    def decode(records: Any) -> Any:
        x = tf.cast(records[:, :n_x], keras.config.floatx()) / 255
        y = tf.bitcast(tf.reshape(records[:, n_x:], (tf.shape(records)[0], -1, dtype.size)), dtype)
        label = tf.one_hot(y[:, 0], data.n_y) if is_class else y
        return (x, label), x

    return decode


@contextmanager
def name_the_damaged(data: Dataset | ShardedData) -> Iterator[None]:
    """Raise DataError, naming it, for a shard that was damaged or removed while it was trained on."""
    try:
        yield
    except (tf.errors.NotFoundError, tf.errors.DataLossError):
        if isinstance(data, ShardedData):  # TensorFlow says what is wrong, and not always where
            check_files(data)
            check_digests(data, data.train + data.test)
        raise
