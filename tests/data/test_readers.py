"""Reading arrays from files, what is accepted as a data set and what is refused."""

import errno
import io
import pickle
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from cvae_lib.data import Classes, DataError, Numbers, check_dataset
from cvae_lib.data.readers import IDX_NAMES, KEYS, find_idx, read_idx, read_npz

TEN = Classes(tuple("0123456789"))
ARRAYS = "an .npz file with the arrays x_train, y_train, x_test, y_test"


def test_error_crosses_a_process_border():
    error = DataError(Path("mine.npz"), "nothing", "something", "Look again.")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is DataError and str(again) == str(error)
    assert str(again) == "mine.npz: found nothing; expected something. Look again."
    assert (again.where, again.found, again.expected, again.remedy) == (Path("mine.npz"), *error.args[1:])


def test_of_a_long_finding_an_error_quotes_500_characters():
    for n, quoted in ((500, "x" * 500), (501, "x" * 500 + "…")):
        assert DataError("mine.npz", "x" * n, "something", "Look again.").found == quoted


# Data sets


@pytest.mark.parametrize("image_shape", [(28, 28), (8, 8), (12, 20, 3), (1, 1), (5, 3)])
def test_any_image_shape_is_taken(make_raw, check_holds, image_shape):
    raw = make_raw(image_shape=image_shape)
    dataset = check_dataset(raw, "a test")
    check_holds(dataset, raw)
    assert (dataset.image_shape, dataset.n_x) == (image_shape, np.prod(image_shape))
    assert (dataset.edition, dataset.source) == ("custom", "a test")


def test_flat_images_are_taken_with_their_shape(make_raw, check_holds, digest_of):
    raw = make_raw(image_shape=(4, 5, 3))
    flat = raw | {key: raw[key].reshape(-1, 60) for key in ("x_train", "x_test")}
    dataset = check_dataset(flat, "a test", image_shape=(4, 5, 3))
    check_holds(dataset, raw)
    assert dataset.image_shape == (4, 5, 3) and dataset.digest == digest_of(raw)


def test_unnamed_classes_are_named_by_their_numbers(make_raw):
    raw = make_raw(n_classes=26)
    raw["y_train"][raw["y_train"] == 25] = 24  # the highest label is in the test set only
    raw["y_test"][0] = 25
    dataset = check_dataset(raw, "a test")
    assert dataset.condition == Classes(tuple(str(k) for k in range(26)))
    assert dataset.label_train.shape == (23, 26)


def test_class_may_be_missing(raw):
    raw["y_train"][raw["y_train"] == 9] = 3
    raw["y_test"][:] = 2
    assert check_dataset(raw, "a test").n_y == 9
    assert check_dataset(raw, "a test", condition=TEN).label_test.shape == (11, 10)


def test_numbers_are_taken(raw):
    condition = Numbers(("slant", "thickness", "height"))
    numbers = {
        "y_train": np.asfortranarray(np.random.default_rng(1).normal(size=(23, 3))),
        "y_test": np.eye(11, 3, dtype=int),
    }
    dataset = check_dataset(raw | numbers, "a test", condition=condition)
    for split in ("train", "test"):
        expected = numbers[f"y_{split}"].astype("float32")
        np.testing.assert_array_equal(getattr(dataset, f"y_{split}"), expected, strict=True)
        np.testing.assert_array_equal(getattr(dataset, f"label_{split}"), expected, strict=True)


def test_digest_tells_labels_apart(raw):
    """Also those that a byte would not, and numbers that an integer would not."""
    many = Classes(tuple(str(k) for k in range(300)))
    a = {"y_train": raw["y_train"].astype(int)}
    b = {"y_train": raw["y_train"] + 256 * (np.arange(23) == 0)}
    digests = {check_dataset(raw | labels, "a test", condition=many).digest for labels in (a, b)}
    numbers = Numbers(("slant",))
    for y in (0.25, 0.75):
        labels = {"y_train": np.full((23, 1), y), "y_test": np.zeros((11, 1))}
        digests.add(check_dataset(raw | labels, "a test", condition=numbers).digest)
    assert len(digests) == 4


@pytest.mark.parametrize(
    "key, change, found, expected",
    [
        ("x_train", lambda x: x[:, :5], "(23, 5, 5)", "(n, 6, 5) or (n, 30)"),
        ("x_train", lambda x: x[..., None], "(23, 6, 5, 1)", "(n, 6, 5)"),
        ("x_test", lambda x: x.reshape(-1), f"({11 * 30},)", "(n, 30)"),
        ("x_test", lambda x: x[0, 0, 0], "()", "(n, 30)"),
        ("x_train", lambda x: x / 255, "float64", "uint8"),
        ("x_test", lambda x: x.astype("int32"), "int32", "uint8"),
        ("x_test", lambda x: x[:0], "no images", "at least one"),
        ("y_train", lambda y: y + 3, "12", "0 to 9"),
        ("y_test", lambda y: y.astype("int8") - 1, "-1", "0 to 9"),
        ("y_train", lambda y: y.astype("float32"), "float32", "integers"),
        ("y_train", lambda y: y.astype("U1"), "<U1", "integers"),
        ("y_test", lambda y: y > 4, "bool", "integers"),
        ("y_test", lambda y: np.eye(10, dtype="uint8")[y], "(11, 10)", "one axis"),
        ("y_test", lambda y: y[0], "()", "one axis"),
        ("y_train", lambda y: y[:-1], "22 labels for 23 images", "one label an image"),
        ("y_train", lambda y: y[:0], "0 labels for 23 images", "one label an image"),
        ("y_test", lambda y: np.append(y, y), "22 labels for 11 images", "one label an image"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(make_raw, refuse, key, change, found, expected):
    raw = make_raw(image_shape=(6, 5))
    raw[key] = np.asarray(change(raw[key]))
    refuse(lambda: check_dataset(raw, "mine", (6, 5), TEN), f"mine, {key}", found, expected)


@pytest.mark.parametrize(
    "key, change, found, expected",
    [
        ("x_train", lambda x: x.reshape(23, -1), "(784,)", "(height, width)"),
        ("x_train", lambda x: x[..., None], "(28, 28, 1)", "(height, width, 3)"),
        ("x_train", lambda x: np.stack([x] * 4, axis=-1), "(28, 28, 4)", "(height, width, 3)"),
        ("x_train", lambda x: x[:, :0], "(0, 28)", "(height, width)"),
        ("x_train", lambda x: np.array(0, "uint8"), "()", "(height, width)"),
        ("x_test", lambda x: x[:, 1:], "(11, 27, 28)", "(n, 28, 28)"),
        ("x_test", list, "the type list", "NumPy array"),
        ("y_train", lambda y: b"not an array", "the type bytes", "NumPy array"),
        ("y_test", lambda y: y.astype("int32") + 1000, "1000", "0 to 255"),
        ("y_test", lambda y: y / 2, "float64", "integers"),
    ],
)
def test_arrays_that_tell_no_shape_and_no_classes_are_refused(raw, refuse, key, change, found, expected):
    raw[key] = change(raw[key])
    refuse(lambda: check_dataset(raw, "mine"), f"mine, {key}", found, expected)


@pytest.mark.parametrize(
    "y, found, expected",
    [
        (np.ones((23, 2)), "(23, 2)", "(n, 3): slant, thickness, height"),
        (np.ones(23), "(23,)", "(n, 3)"),
        (np.full((23, 3), np.inf), "inf as slant in row 0", "finite"),
        (np.ones((22, 3)), "22 labels for 23 images", "one label an image"),
        (np.full((23, 3), "1.0"), "<U3", "real numbers"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(raw, refuse, y, found, expected):
    raw |= {"y_train": y, "y_test": np.ones((11, 3))}
    condition = Numbers(("slant", "thickness", "height"))
    refuse(lambda: check_dataset(raw, "mine", condition=condition), "mine, y_train", found, expected)


@pytest.mark.parametrize("image_shape", [(784,), (28, 28, 1), (28, -28), ()])
def test_image_shape_that_is_none_is_refused(raw, refuse, image_shape):
    found, expected = f"images of shape {image_shape}", "(height, width) or (height, width, 3)"
    refuse(lambda: check_dataset(raw, "mine", image_shape), "mine, x_train", found, expected)


@pytest.mark.parametrize("key", KEYS)
def test_missing_array_is_refused(raw, refuse, key):
    del raw[key]
    refuse(lambda: check_dataset(raw, "mine"), "mine", f"no array {key}", ARRAYS)


# .npz files


class Trap:
    """Unpickling it touches a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_pickled_arrays_are_refused_unread(tmp_path, raw, write_npz, refuse):
    path = write_npz(tmp_path / "mine.npz", raw | {"y_test": np.array([Trap(tmp_path / "sprung")], dtype=object)})
    refuse(lambda: read_npz(path), path, "pickle", ARRAYS, tmp_path)
    assert not (tmp_path / "sprung").exists()


def set_byte(content, position, value):
    return content[:position] + bytes([value]) + content[position + 1 :]


def set_entry(content, position, value):
    """Set a byte in the archive's list of members, where that of the first begins."""
    return set_byte(content, content.index(b"PK\x01\x02") + position, value)


DAMAGE = {
    "truncated": lambda b: b[: len(b) // 2],
    "a byte short": lambda b: b[:-1],
    "a byte flipped": lambda b: set_byte(b, 5000, b[5000] ^ 255),
    "encrypted": lambda b: set_entry(b, 8, 1),
    "unknown compression": lambda b: set_entry(b, 10, 99),
    "empty": lambda b: b"",
    "text": lambda b: b"<html>404 Not Found</html>\n",
}


@pytest.mark.parametrize("how", DAMAGE)
def test_damaged_npz_is_refused(tmp_path, raw, write_npz, refuse, how):
    path = write_npz(tmp_path / "mine.npz", raw)
    path.write_bytes(DAMAGE[how](path.read_bytes()))
    refuse(lambda: read_npz(path), path, "cannot be read", ARRAYS, tmp_path)


def test_npz_that_promises_more_than_there_is_is_refused(tmp_path, raw, write_npz, refuse):
    """An array of a petabyte, by its header: the memory for it is not there."""
    path, member = write_npz(tmp_path / "mine.npz", raw), io.BytesIO()
    np.lib.format.write_array_header_1_0(member, {"descr": "|u1", "fortran_order": False, "shape": (10**15,)})
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("x_train.npy", member.getvalue())
    found = "shape (1000000000000000,), 1,000,000,000,000,000 bytes, promised by a file of"
    refuse(lambda: read_npz(path), f"{path}, x_train", found, "200 times", tmp_path)


def test_missing_file_is_refused(tmp_path, refuse):
    refuse(lambda: read_npz(tmp_path / "none.npz"), tmp_path / "none.npz", "no such file", ARRAYS)


def test_npz_hands_over_the_arrays_that_it_has(tmp_path, raw, write_npz):
    """Others are left unread, and what is missing or no array is for the check of the data set to refuse."""
    del raw["y_test"]
    path = write_npz(tmp_path / "mine.npz", raw | {"notes": np.array([Trap(tmp_path / "sprung")], dtype=object)})
    assert set(read_npz(path)) == {"x_train", "y_train", "x_test"}
    assert not (tmp_path / "sprung").exists()


# IDX files


@pytest.mark.parametrize("key", KEYS)
def test_missing_idx_file_is_refused(tmp_path, raw, write_idx, refuse, key):
    write_idx(tmp_path, raw)
    (tmp_path / IDX_NAMES[key]).unlink()
    found, expected = f"no {IDX_NAMES[key]}", IDX_NAMES["x_train"]
    refuse(lambda: find_idx(tmp_path, IDX_NAMES[key]), tmp_path, found, expected, tmp_path)


@pytest.mark.parametrize("name", ["train-labels-idx1-ubyte", "train-labels.idx1-ubyte"])
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_idx_file_is_found_by_each_of_its_names(tmp_path, name, ending):
    (tmp_path / (name + ending)).touch()
    assert find_idx(tmp_path, "train-labels-idx1-ubyte") == tmp_path / (name + ending)


@pytest.mark.parametrize(
    "spoil, found, expected",
    [
        (lambda b: b[:-1], f"{23 * 784 - 1} bytes", f"{23 * 784} for shape (23, 28, 28)"),
        (lambda b: b + b"\x00", f"more than {23 * 784} bytes", f"{23 * 784} for shape (23, 28, 28)"),
        (lambda b: b[:4] + b"\xff" * 12 + b[16:], f"{(2**32 - 1) ** 3:,} bytes, promised by", "200 times"),
        (lambda b: b"\x00\x00\x0d" + b[3:], "00 00 0d 03", "00 00 08"),
        (lambda b: b"PK\x03\x04" + b[4:], "50 4b 03 04", "00 00 08"),
        (lambda b: b[:9], "00 00 08 03", "00 00 08"),
        (lambda b: b[:3], "00 00 08", "00 00 08"),
        (lambda b: b"", "(none)", "00 00 08"),
        (lambda b: b"\x00\x00\x08\x64" + b"\x00\x00\x00\x01" * 100 + b"\x00", "00 00 08 64", "00 00 08"),
    ],
    ids="short,long,huge,floats,zip,half a header,three bytes,empty,100 axes".split(","),
)
def test_damaged_idx_is_refused(tmp_path, raw, write_idx, refuse, spoil, found, expected):
    path = write_idx(tmp_path, raw) / IDX_NAMES["x_train"]
    path.write_bytes(spoil(path.read_bytes()))
    refuse(lambda: read_idx(path), path, found, expected, tmp_path)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda b: b[:-20],
        lambda b: b[:100],
        lambda b: set_byte(b, 500, b[500] ^ 255),
        lambda b: b[:-8] + bytes(8),
    ],
    ids=["end cut off", "start only", "a byte flipped", "wrong checksum"],
)
def test_damaged_gz_is_refused(tmp_path, raw, write_idx, refuse, spoil):
    path = write_idx(tmp_path, raw, zipped=True) / f"{IDX_NAMES['x_train']}.gz"
    path.write_bytes(spoil(path.read_bytes()))
    refuse(lambda: read_idx(path), path, "cannot be read", "a whole IDX file", tmp_path)


# What the operating system refuses


@pytest.mark.parametrize("read, expected", [(read_npz, ARRAYS), (read_idx, "a whole IDX file")])
def test_folder_in_the_place_of_a_file_is_refused(tmp_path, refuse, read, expected):
    refuse(lambda: read(tmp_path), tmp_path, "a folder", expected)


@pytest.mark.parametrize(
    "error, found", [(errno.EACCES, "no permission to read it"), (errno.EIO, "Input/output error")]
)
def test_refusal_of_the_system_is_not_called_damage(tmp_path, monkeypatch, refuse, error, found):
    def refuse_to_open(*args, **kwargs):
        raise OSError(error, "Input/output error")

    path = tmp_path / "mine.npz"
    path.touch()
    monkeypatch.setattr(io, "open", refuse_to_open)
    refuse(lambda: read_npz(path), path, found, ARRAYS)
    refuse(lambda: read_idx(path), path, found, "a whole IDX file")
