"""Reading arrays from files, and the check that every data set passes. It refuses what is malformed."""

import gzip
import hashlib
import math
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from cvae_lib import BookError
from cvae_lib.data.conditions import Classes, Condition
from cvae_lib.data.dataset import Dataset, Edition

KEYS = ("x_train", "y_train", "x_test", "y_test")
IDX_NAMES = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}
IDX_HEADERS = (b"\x00\x00\x08\x03", b"\x00\x00\x08\x01")
# Classes that nobody named are counted up to what a byte can hold, so that a column of numbers is not taken for labels.
UNNAMED_CLASSES = Classes(tuple(str(k) for k in range(256)))

NPZ_EXPECTED = f"an .npz file with the arrays {', '.join(KEYS)}"
CHOOSE = "set CVAE_DATA to full or sample."
FORMAT_REMEDY = f'See the page "Bring your own digits" for the format, or {CHOOSE}'


class DataError(BookError):
    """Data that cannot be used: the message says where, what was found, what was expected and what to do."""

    def __init__(self, where: str | Path, found: str, expected: str, remedy: str) -> None:
        super().__init__(where, found, expected, remedy)  # all of them, so that the error can be pickled
        self.where, self.found, self.expected, self.remedy = where, found, expected, remedy

    def __str__(self) -> str:
        return f"{self.where}: found {self.found}; expected {self.expected}. {self.remedy}"


@contextmanager
def explain_os_errors(path: str | Path, expected: str, otherwise: str = f", or {CHOOSE}") -> Iterator[None]:
    """Turn an error of the operating system about `path` into a DataError. `otherwise` ends what it says to do."""
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(path, "no such file or folder", expected, f"Correct the path{otherwise}") from error
    except PermissionError as error:
        remedy = f"Change the permissions of the path and its folders{otherwise}"
        raise DataError(path, "no permission to read it", expected, remedy) from error
    except OSError as error:
        found = f"the error {error.strerror or error}"
        raise DataError(path, found, expected, f"Correct the path{otherwise}") from error


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Read those of the four arrays in KEYS that an .npz file holds. Objects stored with pickle are refused unread.

    Raises DataError for a file that cannot be read. `check_dataset` then checks the arrays.
    """
    remedy = "Is the file whole? Point CVAE_DATA at such a file, or set it to full or sample."
    with explain_os_errors(path, NPZ_EXPECTED), path.open("rb") as file:
        if not zipfile.is_zipfile(file):
            raise DataError(path, "a file that cannot be read (no whole zip archive)", NPZ_EXPECTED, remedy)
        file.seek(0)
        try:
            with np.load(file, allow_pickle=False) as archive:
                return {key: archive[key] for key in KEYS if key in archive.files}
        # Damaged archives raise ten kinds of errors, from zlib's own to NotImplementedError and MemoryError.
        except Exception as error:
            pickled = "allow_pickle" in str(error)
            found = "arrays stored with pickle" if pickled else f"a file that cannot be read ({error})"
            raise DataError(path, found, NPZ_EXPECTED, remedy) from error


def find_idx(folder: Path, name: str) -> Path:
    """Find the file of this IDX name in the folder, compressed or not. Raises DataError if there is none."""
    expected = f"the four IDX files {', '.join(IDX_NAMES.values())}"
    dotted = name.replace("-idx", ".idx")
    with explain_os_errors(folder, expected):
        for candidate in (name, f"{name}.gz", dotted, f"{dotted}.gz"):
            if (folder / candidate).exists():
                return folder / candidate
    raise DataError(folder, f"no {name} or {name}.gz", expected, f"Copy the missing file there, or {CHOOSE}")


def read_idx(path: Path) -> np.ndarray:
    """Read an IDX file of bytes, compressed if its name ends in .gz. Returns uint8, (n, height, width) or (n,).

    The format: two zero bytes, type 8 (bytes), the number of axes, their sizes as big-endian uint32, then the data.
    Raises DataError for anything else.
    """
    expected, remedy = "a whole IDX file", "Download the file again."
    with explain_os_errors(path, expected):
        content = path.read_bytes()
    if path.suffix == ".gz":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(path, f"a file that cannot be read ({error})", expected, remedy) from error
    if content[:4] not in IDX_HEADERS or len(content) < 4 + 4 * content[3]:
        found = f"the first bytes {content[:4].hex(' ') or '(none)'}"
        raise DataError(path, found, "00 00 08 03 (images) or 00 00 08 01 (labels), then the sizes", remedy)
    header = 4 + 4 * content[3]
    shape = struct.unpack(f">{content[3]}I", content[4:header])
    size = math.prod(shape)
    if len(content) - header != size:
        raise DataError(path, f"{len(content) - header} bytes after the header", f"{size} for shape {shape}", remedy)
    return np.frombuffer(content, "uint8", offset=header).reshape(shape)


def check_dataset(
    raw: Mapping[str, np.ndarray],
    source: str,
    image_shape: tuple[int, ...] | None = None,
    condition: Condition | None = None,
    edition: Edition = "custom",
) -> Dataset:
    """Check the four arrays of KEYS and make a Dataset of them.

    x_train and x_test are images, uint8, grey values (n, height, width) or colours (n, height, width, 3); where
    image_shape is given, they may be flat, (n, n_x). y_train and y_test are labels, one an image, that fit the
    condition. Without a condition, the labels are integers from 0 to at most 255, and the classes are named "0", "1"
    and so on to the highest label.

    Raises DataError, naming `source` and the array, for whatever does not fit.
    """
    if missing := [key for key in KEYS if key not in raw]:
        raise DataError(source, f"no array {', '.join(missing)}", NPZ_EXPECTED, FORMAT_REMEDY)
    for key in KEYS:
        if not isinstance(raw[key], np.ndarray):
            raise DataError(f"{source}, {key}", f"the type {type(raw[key]).__name__}", "a NumPy array", FORMAT_REMEDY)
    image_shape = raw["x_train"].shape[1:] if image_shape is None else tuple(image_shape)
    labels_fit: Condition | None = condition
    label_remedy = FORMAT_REMEDY
    if labels_fit is None:
        labels_fit = UNNAMED_CLASSES
        label_remedy = "Number the classes from 0, or pass the condition that these labels belong to."

    arrays: dict[str, np.ndarray] = {}
    digest = hashlib.sha256()
    for split in ("train", "test"):
        x, y = raw[f"x_{split}"], raw[f"y_{split}"]
        check_images(x, f"{source}, x_{split}", image_shape)
        where = f"{source}, y_{split}"
        if fault := labels_fit.find_fault(y):
            raise DataError(where, *fault, label_remedy)
        if len(y) != len(x):
            raise DataError(where, f"{len(y)} labels for {len(x)} images", "one label an image", FORMAT_REMEDY)
        is_class = isinstance(labels_fit, Classes)
        x = np.ascontiguousarray(x).reshape(len(x), -1)
        y = y.astype("int64" if is_class else "float32", order="C")
        arrays |= {f"pixels_{split}": x, f"y_{split}": y}
        # Labels that fit into bytes are hashed as bytes: MNIST has one digest, whatever integers its labels came as.
        digest.update(x.data)
        digest.update(y.astype("uint8").data if is_class and labels_fit.n_y <= 256 else y.data)
    if condition is None:
        highest = max(arrays["y_train"].max(), arrays["y_test"].max())
        condition = Classes(UNNAMED_CLASSES.names[: highest + 1])
    return Dataset(
        **arrays,
        image_shape=image_shape,
        condition=condition,
        edition=edition,
        source=source,
        digest=digest.hexdigest(),
    )


def check_images(x: np.ndarray, where: str, image_shape: tuple[int, ...]) -> None:
    """Raise DataError, naming `where`, unless x holds images of this shape, flat or not, as bytes."""
    check_shape(image_shape, where, "Reshape the images, or pass the image_shape of flat ones.")
    n_x = math.prod(image_shape)
    if x.shape[1:] not in (image_shape, (n_x,)):
        expected = f"(n, {', '.join(map(str, image_shape))}) or (n, {n_x})"
        raise DataError(where, f"shape {x.shape}", expected, FORMAT_REMEDY)
    if x.dtype != np.uint8:
        raise DataError(where, f"dtype {x.dtype}", "uint8, grey values 0 to 255", FORMAT_REMEDY)
    if len(x) == 0:
        raise DataError(where, "no images", "at least one", FORMAT_REMEDY)


def check_shape(image_shape: tuple[int, ...], where: str | Path, remedy: str) -> None:
    """Raise DataError, naming `where`, unless this is the shape of a grey or of a colour image."""
    is_grey_or_rgb = len(image_shape) == 2 or (len(image_shape) == 3 and image_shape[2] == 3)
    if not is_grey_or_rgb or min(image_shape) < 1:
        raise DataError(where, f"images of shape {image_shape}", "(height, width) or (height, width, 3)", remedy)
