"""Small data sets as files hold them, and how to write them."""

import gzip
import hashlib
import struct

import numpy as np
import pytest

from cvae_lib.data import DataError, mnist
from cvae_lib.data.readers import IDX_NAMES, KEYS


@pytest.fixture(scope="session")
def make_raw():
    """Make random pictures with labels: every grey value, every class."""

    def make(n_train=23, n_test=11, image_shape=(28, 28), n_classes=10):
        rng = np.random.default_rng(0)
        raw = {}
        for split, n in (("train", n_train), ("test", n_test)):
            raw[f"x_{split}"] = rng.integers(0, 256, (n, *image_shape), "uint8")
            raw[f"y_{split}"] = (np.arange(n) * 7 % n_classes).astype("uint8")
        return raw

    return make


@pytest.fixture
def raw(make_raw):
    return make_raw()


@pytest.fixture
def write_npz():
    def write(path, raw):
        np.savez(path, **raw)
        return path

    return write


@pytest.fixture
def write_idx():
    def write(folder, raw, zipped=False, dotted=False):
        for key, name in IDX_NAMES.items():
            sizes = raw[key].shape
            content = (
                b"\x00\x00\x08" + bytes([len(sizes)]) + struct.pack(f">{len(sizes)}I", *sizes) + raw[key].tobytes()
            )
            name = name.replace("-idx", ".idx") if dotted else name
            (folder / (name + ".gz" * zipped)).write_bytes(gzip.compress(content) if zipped else content)
        return folder

    return write


@pytest.fixture
def digest_of():
    def digest(raw):
        return hashlib.sha256(b"".join(raw[key].astype("uint8").tobytes() for key in KEYS)).hexdigest()

    return digest


@pytest.fixture
def check_holds():
    """Check that a data set holds these images in [0, 1], and these labels."""

    def check(dataset, raw):
        for split in ("train", "test"):
            x, y = raw[f"x_{split}"], raw[f"y_{split}"]
            expected = (x.reshape(len(x), -1).astype("float64") / 255).astype("float32")
            np.testing.assert_array_equal(getattr(dataset, f"x_{split}"), expected, strict=True)
            np.testing.assert_array_equal(getattr(dataset, f"y_{split}"), y.astype("int64"), strict=True)

    return check


@pytest.fixture
def refuse():
    """Check that a call is refused in four parts, and that it leaves every file of the folder as it was."""

    def snapshot(folder):
        return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}

    def check(call, where, found, expected, folder=None):
        before = snapshot(folder) if folder else None
        with pytest.raises(DataError) as caught:
            call()
        error = caught.value
        assert str(error.where) == str(where)
        assert found in error.found and expected in error.expected and error.remedy
        assert str(error) == f"{where}: found {error.found}; expected {error.expected}. {error.remedy}"
        assert before == (snapshot(folder) if folder else None)

    return check


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The path of MNIST in an empty Keras cache, with CVAE_DATA unset and no way to the network."""
    monkeypatch.delenv("CVAE_DATA", raising=False)
    monkeypatch.delenv("KERAS_HOME", raising=False)
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.setattr(mnist, "MNIST_URL", "http://127.0.0.1:9/mnist.npz")
    monkeypatch.setattr(mnist, "START_SECONDS", 0.5)
    return tmp_path / "home" / ".keras" / "datasets" / "mnist.npz"


@pytest.fixture
def pretended(tmp_path, raw, write_npz, digest_of, monkeypatch):
    """The bytes of a file that counts as MNIST until the end of the test."""
    content = write_npz(tmp_path / "pretended.npz", raw).read_bytes()
    monkeypatch.setattr(mnist, "MNIST_FILE_BYTES", len(content))
    monkeypatch.setattr(mnist, "MNIST_FILE_SHA256", hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(mnist, "MNIST_DIGEST", digest_of(raw))
    return content
