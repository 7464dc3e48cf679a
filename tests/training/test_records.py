"""Images in shards: what is written comes back, once an epoch, in the order of the seed and the epoch, and is trained
on as from memory, by one process or several."""

import struct
from dataclasses import replace

import cvae_lib._tensorflow  # noqa: F401

# isort: split
import keras
import numpy as np
import psutil
import pytest

from cvae_lib.data import Classes, DataError, Numbers, check_dataset, load_sample
from cvae_lib.data.shards import open_shards
from cvae_lib.pretrained import PretrainedError, digest_file, load_history, load_manifest
from cvae_lib.training import records
from cvae_lib.training.checkpoints import TrainingError
from cvae_lib.training.loop import make_model, read_blocks, read_validation, train
from cvae_lib.training.recipes import Recipe
from cvae_lib.training.records import Share, divide, shuffled_record_blocks, write_dataset, write_shards


@pytest.fixture(scope="module")
def sharded(few, tmp_path_factory):
    """The 60 and 20 images of `few`, in 7 and 3 shards."""
    return write_dataset(few, tmp_path_factory.mktemp("sharded") / "shards", 7)


def read_file(path):
    """Read the records of a TFRecord file by the letter of the format: length, checksum, bytes, checksum."""
    content, start, records = path.read_bytes(), 0, []
    while start < len(content):
        (length,) = struct.unpack_from("<Q", content, start)
        records.append(content[start + 12 : start + 12 + length])
        start += 16 + length
    return records


# Writing


@pytest.mark.parametrize("n_y", [0, 3])
def test_what_is_written_are_the_images_and_labels(make_raw, tmp_path, n_y):
    """Colours, with classes or with numbers: a record has the pixels and then the label."""
    raw, rng = make_raw(n_train=20, n_test=7, image_shape=(4, 3, 3)), np.random.default_rng(0)
    condition = Numbers(("a", "b", "c")) if n_y else Classes(tuple("0123456789"))
    if n_y:
        raw |= {f"y_{split}": rng.normal(size=(n, n_y)) for split, n in (("train", 20), ("test", 7))}
    data = check_dataset(raw, "a test", condition=condition)
    found = write_dataset(data, tmp_path / "shards", 3)
    assert (found.image_shape, found.condition) == (data.image_shape, condition)
    for split, pixels, y in (("train", data.pixels_train, data.y_train), ("test", data.pixels_test, data.y_test)):
        records = [record for shard in getattr(found, split) for record in read_file(found.path(shard))]
        assert b"".join(record[:36] for record in records) == pixels.tobytes()
        labels = np.frombuffer(b"".join(record[36:] for record in records), "<f4" if n_y else "<i4")
        np.testing.assert_array_equal(labels.reshape(y.shape), y)


def test_the_same_images_give_the_same_bytes(few, sharded, tmp_path):
    """From parts that a generator makes one by one, too."""

    def make(pixels, y, n):
        yield from zip(np.array_split(pixels.reshape(-1, 6, 5), n), np.array_split(y, n), strict=True)

    train_parts, test_parts = make(few.pixels_train, few.y_train, 7), make(few.pixels_test, few.y_test, 3)
    again = write_shards(tmp_path / "new", train_parts, test_parts, (6, 5), few.condition)
    assert again.digest == sharded.digest
    for shard in (*again.train, *again.test):
        assert digest_file(again.path(shard)) == digest_file(sharded.path(shard)) == shard.sha256


def test_an_interrupted_writing_leaves_nothing(few, tmp_path):
    def stop():
        yield few.pixels_train, few.y_train
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shards(tmp_path / "shards", stop(), [], (6, 5), few.condition)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("empty", ["train", "test"])
def test_no_images_are_refused(few, tmp_path, empty):
    parts = {"train": [(few.pixels_train, few.y_train)], "test": [(few.pixels_test, few.y_test)]} | {empty: []}
    with pytest.raises(DataError, match=f"{empty}: found no images"):
        write_shards(tmp_path / "shards", **parts, image_shape=(6, 5), condition=few.condition)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "change, where, found",
    [
        (lambda x, y: (x / 255, y), "train, part 1", "dtype float64"),
        (lambda x, y: (x[:, :5], y), "train, part 1", "shape"),
        (lambda x, y: (x[:0], y[:0]), "train, part 1", "no images"),
        (lambda x, y: (x, y[1:]), "train, part 1", "59 labels for 60 images"),
        (lambda x, y: (x, y + 1), "train, part 1", "labels from 1 to 10"),
    ],
)
def test_a_part_that_does_not_fit_is_named(few, tmp_path, change, where, found):
    good = (few.pixels_train, few.y_train)
    with pytest.raises(DataError) as caught:
        write_shards(tmp_path / "shards", [good, change(*good)], [good], (6, 5), few.condition)
    assert caught.value.where == where and found in caught.value.found
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_something_in_it_is_refused(few, tmp_path):
    (tmp_path / "thesis.txt").write_text("the only copy", encoding="utf-8")
    with pytest.raises(DataError, match="expected a new or an empty folder"):
        write_dataset(few, tmp_path, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    (tmp_path / "empty").mkdir()
    assert write_dataset(few, tmp_path / "empty", 60).n_train == 60
    assert write_dataset(few, tmp_path / "new" / "folder", 3).n_train == 60


def test_more_shards_than_images_are_refused(few, tmp_path):
    with pytest.raises(DataError, match="shards: found 61; expected 1 to 60"):
        write_dataset(few, tmp_path / "shards", 61)


# Reading


def read_epochs(data, part, batch_size=8, epochs=2, seed=1, first_epoch=0):
    """Read the batches of records of some epochs of some shards: a list an epoch."""
    steps = -(-sum(shard.images for shard in part) // batch_size)
    blocks = shuffled_record_blocks(data, part, batch_size, 1, steps, seed, first_epoch).as_numpy_iterator()
    return [[next(blocks)[0] for _ in range(steps)] for _ in range(epochs)]


def list_records(data, part):
    return [record for shard in part for record in read_file(data.path(shard))]


@pytest.mark.parametrize("window", [1, 16 * 34, 2**20])
@pytest.mark.parametrize("processes", [1, 2, 3, 7])
def test_each_image_comes_once_an_epoch(sharded, monkeypatch, window, processes):
    """Over all processes, in another order each time, however few images a window holds."""
    monkeypatch.setattr(records, "WINDOW_BYTES", window)
    monkeypatch.setattr(records, "SHARDS_AT_ONCE", 2)
    orders = [[], []]
    for share in divide(sharded, 16, processes):
        for order, batches in zip(orders, read_epochs(sharded, share.shards, share.width), strict=True):
            order += [record.tobytes() for batch in batches for record in batch]
    expected = sorted(list_records(sharded, sharded.train))
    assert len(set(expected)) == 60
    assert sorted(orders[0]) == sorted(orders[1]) == expected and orders[0] != orders[1]


def test_the_order_depends_on_the_seed_and_the_epoch_alone(sharded):
    def read(**settings):
        return [[batch.tobytes() for batch in epoch] for epoch in read_epochs(sharded, sharded.train, **settings)]

    first, second = read()
    assert read() == [first, second] and read(epochs=1, first_epoch=1) == [second]
    assert read(seed=2, epochs=1) != [first]


def test_windows_mix_what_was_in_order(few, tmp_path):
    """Images that come sorted are shuffled as well as if they fell into the batches by chance."""
    order = np.argsort(few.y_train)
    data = write_dataset(
        replace(few, pixels_train=few.pixels_train[order], y_train=few.y_train[order]), tmp_path / "s", 6
    )
    places = np.array([batch[:, 30] for batch in read_epochs(data, data.train, 10, 1)[0]])
    classes = [len(set(batch)) for batch in places]
    assert np.mean(classes) == pytest.approx(6.7, abs=1.5)  # of 10 drawn at random from 60


def test_processes_do_not_pair_the_same_images(few, tmp_path):
    """Two of them with shards of the same size would otherwise shuffle alike, epoch after epoch."""
    data, pairs = write_dataset(few, tmp_path / "shards", 2), []
    for epoch in range(2):
        one, other = (read_epochs(data, share.shards, 5, 1, 1, epoch)[0] for share in divide(data, 10, 2))
        pairs.append({(a.tobytes(), b.tobytes()) for a, b in zip(np.concatenate(one), np.concatenate(other))})
    assert len(pairs[0] & pairs[1]) <= 5


def test_a_block_holds_several_batches(sharded):
    blocks = shuffled_record_blocks(sharded, sharded.train, 5, 4, 3, seed=1).as_numpy_iterator()
    found = [next(blocks) for _ in range(3)]
    assert [block.shape for block in found] == [(4, 5, 34)] * 3
    assert sorted(record.tobytes() for record in np.concatenate(found).reshape(60, 34)) == sorted(
        list_records(sharded, sharded.train)
    )


@pytest.mark.parametrize("n_y", [0, 3])
def test_a_batch_is_that_of_memory(make_raw, tmp_path, n_y):
    raw, rng = make_raw(), np.random.default_rng(0)
    if n_y:
        raw |= {f"y_{split}": rng.normal(size=(n, n_y)) for split, n in (("train", 60), ("test", 20))}
    data = check_dataset(raw, "a test", condition=Numbers(("a", "b", "c")) if n_y else None)
    found = read_validation(write_dataset(data, tmp_path / "shards", 3), 8)
    for one, other in zip(found, read_validation(data, 8), strict=True):
        ((x, label), target), ((x_memory, label_memory), _) = one, other
        np.testing.assert_array_equal(x, x_memory, strict=True)
        np.testing.assert_array_equal(target, x_memory)
        np.testing.assert_array_equal(label, label_memory, strict=True)


# Sharing


@pytest.mark.parametrize("processes", range(1, 8))
@pytest.mark.parametrize("batch_size", [7, 16, 60])
def test_processes_share_shards_and_batches(sharded, batch_size, processes):
    shares = divide(sharded, batch_size, processes)
    assert sorted(shard.file for share in shares for shard in share.shards) == [shard.file for shard in sharded.train]
    places = [place for share in shares for place in range(share.first, share.first + share.width)]
    assert places == list(range(batch_size))
    steps = max(share.steps for share in shares)
    seen = [int(sum(share.count(step) for share in shares)) for step in range(steps + 1)]
    assert seen[0] == 0 and seen[-1] == 60 and max(np.diff(seen)) <= batch_size


def test_equal_shares_make_the_steps_of_one_process(make_raw, tmp_path):
    data = write_dataset(check_dataset(make_raw(n_train=64), "a test"), tmp_path / "shards", 8)
    for processes in (1, 2, 4, 8):
        assert [share.steps for share in divide(data, 16, processes)] == [4] * processes


def test_a_window_holds_two_blocks(sharded, monkeypatch):
    """60 images in batches of 5 make 12 steps, of which a block has as many as divide them and the room, or 40."""
    for n_bytes, steps in ((1, 1), (2 * 5 * 3, 3), (2 * 5 * 4, 4), (2 * 5 * 36, 12), (2 * 5 * 999, 4)):
        monkeypatch.setattr(records, "WINDOW_BYTES", n_bytes * sharded.record_bytes)
        assert records.steps_of_a_block(sharded, 5) == steps
    assert records.steps_of_a_block(sharded, 5, at_most=3) == 3


def test_each_replica_takes_its_places_of_a_batch():
    """Three records in five places: the last places are empty, whoever takes them."""
    share = Share((), 13, first=4, width=5)
    records = np.arange(6, dtype="uint8").reshape(3, 2)
    assert share.steps == 3 and [int(share.count(steps)) for steps in (1, 2, 3, 4)] == [5, 10, 13, 13]
    found, places, weights = map(np.asarray, share.take(records))
    assert found.tolist() == [[0, 1], [2, 3], [4, 5], [0, 0], [0, 0]]
    assert places.tolist() == [4, 5, 6, 7, 8] and weights.tolist() == [1, 1, 1, 0, 0]
    halves = [list(map(np.asarray, share.take(records, replica, 2))) for replica in (0, 1)]
    assert [half[0].tolist() for half in halves] == [[[0, 1], [2, 3], [4, 5]], [[0, 0]] * 3]
    assert [half[1].tolist() for half in halves] == [[4, 5, 6], [7, 8, 8]]
    assert [half[2].tolist() for half in halves] == [[1, 1, 1], [0, 0, 0]]


def test_fewer_shards_than_processes_are_refused(sharded):
    with pytest.raises(TrainingError, match="found 7 training shards for 8 processes; expected at least one for each"):
        divide(sharded, 16, 8)


def test_a_batch_without_a_place_for_each_process_is_refused(sharded):
    with pytest.raises(TrainingError, match="batch_size: found 2 for 7 processes"):
        divide(sharded, 2, 7)


# Training


@pytest.fixture(scope="module")
def unbroken(sharded, tiny, tmp_path_factory):
    out = tmp_path_factory.mktemp("unbroken") / "models"
    train(tiny, sharded, out, "tiny", verbose=0, jit_compile=False)
    return out


def test_training_from_shards_learns_as_from_memory(finished, unbroken):
    """Another order of the images, and otherwise the same."""
    memory, found = (load_history("tiny", folder) for folder in (finished, unbroken))
    for loss in ("loss", "val_loss"):
        np.testing.assert_allclose(found[loss], memory[loss], rtol=0.03)
        assert found[loss] != memory[loss]


def test_the_manifest_of_the_model_names_the_shards(sharded, unbroken):
    entry = load_manifest(unbroken)["tiny"]
    assert entry["data"] == {"edition": "custom", "sha256": sharded.digest}
    assert entry["protocol"]["training"] == "60 images" and "20 test images" in entry["protocol"]["validation"]


def test_an_interrupted_run_ends_with_the_bits_of_an_unbroken_one(sharded, tiny, unbroken, rows_of, tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tiny, sharded, tmp_path, "tiny", verbose=0, jit_compile=False, callbacks=[Stop()])
    train(tiny, sharded, tmp_path, "tiny", verbose=0, jit_compile=False)
    assert digest_file(tmp_path / "tiny.weights.h5") == digest_file(unbroken / "tiny.weights.h5")
    assert rows_of(tmp_path / "tiny.history.csv") == rows_of(unbroken / "tiny.history.csv")


@pytest.mark.parametrize("settings", [{"held_out": 5}, {"labelled": False}, {"pixels": "binary"}])
def test_a_recipe_that_changes_the_images_is_refused(sharded, tiny, tmp_path, settings):
    ((name, value),) = settings.items()
    with pytest.raises(TrainingError, match=f"{name}: found {value!r} for data in shards"):
        train(replace(tiny, **settings), sharded, tmp_path, verbose=0)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_shards_takes_no_model(sharded, tiny):
    before = sorted(path.name for path in sharded.path(sharded.train[0]).parent.iterdir())
    with pytest.raises(PretrainedError, match="found that of a folder of shards.* Choose another folder"):
        train(tiny, sharded, sharded.source, verbose=0)
    assert sorted(path.name for path in sharded.path(sharded.train[0]).parent.iterdir()) == before


def test_an_altered_shard_is_named_before_training(few, tiny, tmp_path):
    data = write_dataset(few, tmp_path / "shards", 2)
    path = tmp_path / "shards" / "train-00001.tfrecord"
    path.write_bytes(path.read_bytes()[::-1])
    with pytest.raises(DataError, match="train-00001.tfrecord: found SHA-256"):
        train(tiny, open_shards(data.source), tmp_path / "out", verbose=0)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "damage, found",
    [
        (lambda path: path.unlink(), "no such file"),
        (lambda path: path.write_bytes(path.read_bytes()[:-7]), "493 bytes"),
        (lambda path: path.write_bytes(path.read_bytes()[::-1]), "SHA-256"),
    ],
)
def test_a_shard_that_is_damaged_while_it_is_trained_on_is_named(few, tiny, tmp_path, damage, found):
    data = write_dataset(few, tmp_path / "shards", 6)
    path = data.path(data.train[2])
    callback = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: epoch == 0 and damage(path))
    with pytest.raises(DataError, match=f"train-00002.tfrecord: found {found}"):
        train(replace(tiny, epochs=9), data, tmp_path, verbose=0, jit_compile=False, callbacks=[callback])


def test_other_shards_are_another_run(few, sharded, tiny, tmp_path):
    """An unfinished run on 7 shards does not go on with 6 of the same images."""

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tiny, sharded, tmp_path / "out", verbose=0, jit_compile=False, callbacks=[Stop()])
    with pytest.raises(TrainingError, match="found an unfinished run with other settings"):
        train(tiny, write_dataset(few, tmp_path / "six", 6), tmp_path / "out", verbose=0, jit_compile=False)


# Sizes


@pytest.mark.slow
@pytest.mark.weekly
def test_the_sample_is_learnt_as_well_as_from_memory(tmp_path):
    """The validation losses of three seeds each overlap."""
    sample, recipe = load_sample(), Recipe(epochs=8)
    data = write_dataset(sample, tmp_path / "shards", 16)
    losses = [
        [train(recipe, each, tmp_path / name, f"seed-{seed}", seed, verbose=0)["val_loss"][-1] for seed in (1, 2, 3)]
        for name, each in (("from memory", sample), ("from shards", data))
    ]
    memory, found = (np.array(values) for values in losses)
    assert abs(memory.mean() - found.mean()) < 3 * max(memory.std(ddof=1), found.std(ddof=1)), losses


@pytest.mark.slow
@pytest.mark.weekly
def test_memory_does_not_grow_with_the_images(tmp_path):
    """400,000 more images of 28 x 28, 314 MB, add less than a third of their size: a few windows, at most."""
    peaks, rng = [], np.random.default_rng(0)
    part = rng.integers(0, 256, (25_000, 28, 28), "uint8"), np.arange(25_000) % 10
    recipe = Recipe(n_hidden=8, batch_size=1000)
    for n_shards in (4, 4, 20):  # the first time TensorFlow takes memory that it keeps
        data = write_shards(
            tmp_path / str(len(peaks)), [part] * n_shards, [part], (28, 28), Classes(tuple("0123456789"))
        )
        model, (blocks, steps) = make_model(recipe, data, 1, jit_compile=False), read_blocks(data, 1000, 1, 0)
        peak = 0

        def watch(batch, logs=None):
            nonlocal peak
            peak = max(peak, psutil.Process().memory_info().rss)

        callback = keras.callbacks.LambdaCallback(on_train_batch_end=watch)
        model.fit(blocks, steps_per_epoch=steps, epochs=1, shuffle=False, verbose=0, callbacks=[callback])
        peaks.append(peak)
    assert peaks[2] - peaks[1] < 314e6 / 3, peaks
