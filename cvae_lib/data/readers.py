"""Reading arrays from files, and the check that every data set passes. It refuses what is malformed."""

import gzip
import hashlib
import math
import os
import stat
import struct
import sys
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO

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

# What a file is by its first bytes, and what to do where another kind was expected.
KINDS = {
    b"\x1f\x8b": ("a gzip file, ", "Unpack it, or name the folder that holds the four IDX files."),
    b"\x93NUMPY": ("one array, ", "Store the four arrays together, by np.savez."),
    b"\x00\x00\x08": ("an IDX file, ", "Name the folder that holds all four IDX files, and only whole ones."),
    b"PK": ("a zip archive, ", "Is it whole, and does it have to be unpacked?"),
}
BLOCK = 2**20  # bytes that are read at a time
MOST_EXPANSION = 200  # images never compress as well: a file that promises more would only fill the memory
ALWAYS_ALLOWED = 2**24  # bytes that any file may hold: equal labels compress to almost nothing
LONGEST_FOUND = 500  # characters of a message that quote what was found


class DataError(BookError):
    """Data that cannot be used: the message says where, what was found, what was expected and what to do."""

    def __init__(self, where: str | Path, found: str, expected: str, remedy: str) -> None:
        found = found if len(found) <= LONGEST_FOUND else f"{found[:LONGEST_FOUND]}…"
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
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        found = f"the error {getattr(error, 'strerror', None) or error}"
        raise DataError(path, found, expected, f"Correct the path{otherwise}") from error


@contextmanager
def open_file(path: Path, expected: str, otherwise: str = f", or {CHOOSE}") -> Iterator[BinaryIO]:
    """Open a file to read its bytes. Raises DataError where that fails, and for what is no file, such as a folder.

    Opening a pipe, which is no file either, would wait for ever.
    """
    with explain_os_errors(path, expected, otherwise):
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            found = "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
            raise DataError(path, found, expected, f"Name a file{otherwise}")
        with path.open("rb") as file:
            yield file


def describe_start(file: IO[bytes]) -> tuple[str, str]:
    """Say what a file is by its first bytes, and what to do about it: the name of a file proves nothing."""
    file.seek(0)
    start = file.read(6)
    kind, remedy = next((known for bytes_, known in KINDS.items() if start.startswith(bytes_)), ("", FORMAT_REMEDY))
    return f"{kind}the first bytes {start[:4].hex(' ') or '(none)'}", remedy


def read_promised(stream: IO[bytes], shape: tuple[int, ...], item: int, path: str | Path, on_disk: int) -> bytearray:
    """Read what a header promises, an array of this shape with `item` bytes an element, and nothing more.

    on_disk is the size of the file, in bytes. Memory is taken for bytes that have arrived, whatever the header says.
    Raises DataError unless exactly these bytes are there, and for a compressed file that expands beyond belief.
    """
    size, remedy = item * math.prod(shape), "The file is damaged: copy or download it again."
    if min(shape, default=0) < 0 or size > max(ALWAYS_ALLOWED, MOST_EXPANSION * on_disk):
        found = f"shape {shape}, {size:,} bytes, promised by a file of {on_disk:,} bytes"
        raise DataError(path, found, f"at most {MOST_EXPANSION} times the size of the file", remedy)
    content = bytearray()
    while part := stream.read(min(BLOCK, size + 1 - len(content))):
        content += part
    if len(content) != size:
        found = f"{'more than ' * (len(content) > size)}{min(len(content), size)} bytes after the header"
        raise DataError(path, found, f"{size} for shape {shape}", remedy)
    return content


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Read those of the four arrays in KEYS that an .npz file holds. Objects stored with pickle are refused unread.

    Raises DataError for a file that cannot be read. `check_dataset` then checks the arrays.
    """
    remedy = "Is the file whole? Point CVAE_DATA at such a file, or set it to full or sample."
    with open_file(path, NPZ_EXPECTED) as file:
        if not zipfile.is_zipfile(file):
            found, remedy = describe_start(file)
            raise DataError(path, f"a file that cannot be read (no whole zip archive, {found})", NPZ_EXPECTED, remedy)
        try:
            with zipfile.ZipFile(file) as archive:
                return {key: read_member(archive, key, path) for key in KEYS if f"{key}.npy" in archive.namelist()}
        except DataError:
            raise
        # Damaged archives raise ten kinds of errors, from zlib's own to NotImplementedError and MemoryError.
        except Exception as error:
            raise DataError(path, f"a file that cannot be read ({error!r})", NPZ_EXPECTED, remedy) from error


def read_member(archive: zipfile.ZipFile, key: str, path: Path) -> np.ndarray:
    """Read one array of an archive. Unlike `np.load`, reach its end, where the checksum is compared."""
    info = archive.getinfo(f"{key}.npy")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{info.filename} is compressed by method {info.compress_type}, which np.savez never uses")
    with archive.open(info) as member, warnings.catch_warnings(action="ignore"):
        version = np.lib.format.read_magic(member)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, is_fortran, dtype = read(member)
        if dtype.hasobject:
            raise DataError(path, "arrays stored with pickle", NPZ_EXPECTED, "Store them as numbers, by np.savez.")
        content = read_promised(member, shape, dtype.itemsize, f"{path}, {key}", path.stat().st_size)
    array = np.frombuffer(content, dtype)
    return array.reshape(shape[::-1]).T if is_fortran else array.reshape(shape)


def find_idx(folder: Path, name: str) -> Path:
    """Find the file of this IDX name in the folder, compressed or not. Raises DataError if there is none."""
    expected = f"the four IDX files {', '.join(IDX_NAMES.values())}"
    dotted = name.replace("-idx", ".idx")
    with explain_os_errors(folder, expected):
        for candidate in (name, dotted, f"{name}.gz", f"{dotted}.gz"):
            if (folder / candidate).is_file():  # some programs unpack each file into a folder of its name
                return folder / candidate
        there = shorten(sorted(path.name for path in folder.iterdir())) or "nothing"
    remedy = f"Copy the missing file there, name another folder or an .npz file, or {CHOOSE}"
    raise DataError(folder, f"no {name} or {name}.gz among {there}", expected, remedy)


def shorten(names: Sequence[str]) -> str:
    """Write names one after the other, the first ten if there are more."""
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def read_idx(path: Path) -> np.ndarray:
    """Read an IDX file of bytes, compressed by gzip or not. Returns uint8, (n, height, width) or (n,).

    The format: two zero bytes, type 8 (bytes), the number of axes, their sizes as big-endian uint32, then the data.
    Raises DataError for anything else.
    """
    expected = "a whole IDX file"
    with open_file(path, expected) as file:
        is_gzip = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        stream: IO[bytes] = gzip.GzipFile(fileobj=file) if is_gzip else file  # type: ignore[assignment]
        try:
            start = stream.read(4)
            sizes = stream.read(4 * start[3]) if start in IDX_HEADERS else b""
            if not sizes or len(sizes) < 4 * start[3]:
                found, remedy = describe_start(stream)
                raise DataError(path, found, "00 00 08 03 (images) or 00 00 08 01 (labels), then the sizes", remedy)
            shape = struct.unpack(f">{start[3]}I", sizes)
            content = read_promised(stream, shape, 1, path, os.fstat(file.fileno()).st_size)
        except (gzip.BadGzipFile, EOFError, zlib.error, MemoryError) as error:
            remedy = "Download the file again."
            raise DataError(path, f"a file that cannot be read ({error!r})", expected, remedy) from error
    return np.frombuffer(content, "uint8").reshape(shape)


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
    """Raise DataError, naming `where`, unless x holds images of this shape, flat or not, as bytes, and not only zeros.

    A line on standard error says so where no pixel is above 1.
    """
    check_shape(image_shape, where, "Reshape the images, or pass the image_shape of flat ones.")
    n_x = math.prod(image_shape)
    if x.shape[1:] not in (image_shape, (n_x,)):
        expected = f"(n, {', '.join(map(str, image_shape))}) or (n, {n_x})"
        raise DataError(where, f"shape {x.shape}", expected, FORMAT_REMEDY)
    if x.dtype != np.uint8:
        raise DataError(where, f"dtype {x.dtype}", "uint8, grey values 0 to 255", FORMAT_REMEDY)
    if len(x) == 0:
        raise DataError(where, "no images", "at least one", FORMAT_REMEDY)
    brightest = x.max()
    if brightest == 0:
        raise DataError(where, "images that are all black", "a pixel above 0", "Do the images come from another place?")
    if brightest == 1:
        warn(where, "no pixel above 1 of 255, which is all but black", "If 1 is white, multiply the images by 255.")


def warn(where: str | Path, found: str, remedy: str) -> None:
    """Say on standard error what is strange about data that are taken as they are."""
    print(f"{where}: found {found}. {remedy}", file=sys.stderr)


def check_shape(image_shape: tuple[int, ...], where: str | Path, remedy: str) -> None:
    """Raise DataError, naming `where`, unless this is the shape of a grey or of a colour image."""
    is_grey_or_rgb = len(image_shape) == 2 or (len(image_shape) == 3 and image_shape[2] == 3)
    if not is_grey_or_rgb or min(image_shape) < 1:
        raise DataError(where, f"images of shape {image_shape}", "(height, width) or (height, width, 3)", remedy)
