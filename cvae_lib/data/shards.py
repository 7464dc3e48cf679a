"""Images in shards, for data larger than memory: the manifest of a folder of them, and the check of its files.

A folder of shards holds TFRecord files of some thousand images each, and `manifest.json`, which lists them. A record is
one image: its pixels as bytes, then the number of its class as int32, or the vector `label` of another condition as
float32, little-endian. `training.records` writes such a folder and reads its images; this module loads no TensorFlow.
"""

import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cvae_lib.data.conditions import Classes, Condition, read_condition
from cvae_lib.data.dataset import Dataset, ImageData
from cvae_lib.data.mnist import expand_home, load_mnist
from cvae_lib.data.readers import DataError, check_shape, explain_os_errors, open_file

MANIFEST = "manifest.json"
LONGEST_MANIFEST = 2**24  # bytes; a shard takes about 150
FORMAT = 1  # of the manifest and of the records
SUFFIX = ".tfrecord"
FRAME = 16  # bytes that TFRecord adds to a record: its length, and checksums of both
LABEL_BYTES = 4  # of each number of a label
SHARD_FIELDS: dict[str, type] = {"file": str, "images": int, "sha256": str}
NOUNS = {int: "an integer", str: "a text", list: "a list", dict: "an object"}
REMEDY = "Copy the folder again, or make it anew: python -m cvae_lib shard --help."


@dataclass(frozen=True)
class Shard:
    """One file of a folder of shards, as the manifest lists it."""

    file: str
    images: int
    sha256: str


@dataclass(frozen=True, eq=False)
class ShardedData(ImageData):
    """A training and a test set of images with labels, in the shards of a folder, `source`.

    The digest is that of the manifest, which holds the digests of all shards. So the same images in another number of
    shards are other data: they are trained on in another order.
    """

    train: tuple[Shard, ...]
    test: tuple[Shard, ...]

    @property
    def n_train(self) -> int:
        """The number of training images."""
        return sum(shard.images for shard in self.train)

    @property
    def n_test(self) -> int:
        """The number of test images."""
        return sum(shard.images for shard in self.test)

    @property
    def record_bytes(self) -> int:
        """The length of a record."""
        return self.n_x + LABEL_BYTES * (1 if isinstance(self.condition, Classes) else self.n_y)

    def path(self, shard: Shard) -> Path:
        """Return where a shard lies."""
        return Path(self.source) / shard.file


def choose_label_dtype(condition: Condition) -> str:
    """Return the type of the numbers that stand behind the pixels in a record, as NumPy writes it."""
    return "<i4" if isinstance(condition, Classes) else "<f4"


def pack(x: np.ndarray, y: np.ndarray, condition: Condition) -> np.ndarray:
    """Put images, uint8, (n, …), and their labels, which fit the condition, into records: uint8, (n, record_bytes)."""
    told = y if isinstance(condition, Classes) else condition.encode(y)
    labels = np.ascontiguousarray(told, choose_label_dtype(condition)).reshape(len(y), -1)
    return np.concatenate([x.reshape(len(x), -1), labels.view("uint8")], axis=1)


def check_count(n_shards: int, data: Dataset) -> None:
    """Raise DataError unless each of so many shards gets a training image of the data."""
    if not 1 <= n_shards <= data.n_train:
        raise DataError("shards", str(n_shards), f"1 to {data.n_train}, one training image each", "Choose fewer.")


def load_data(choice: str | Path | None = None) -> Dataset | ShardedData:
    """Load the data that `choice` or CVAE_DATA names, as `load_mnist` does, or open them if it is a folder of shards.

    Raises DataError when the named data cannot be used.
    """
    choice = choice or os.environ.get("CVAE_DATA", "").strip()
    if choice and choice not in ("full", "sample") and os.path.exists(expand_home(choice) / MANIFEST):
        return open_shards(choice)
    return load_mnist(choice)


def open_shards(folder: str | Path) -> ShardedData:
    """Open a folder of shards: read its manifest, and check that exactly its shards are there, in their whole length.

    The images are not read. Raises DataError, naming the field or the shard, for whatever is not as it should be.
    """
    folder = expand_home(folder)
    path = folder / MANIFEST
    with open_file(path, "the manifest of a folder of shards") as file:
        content = file.read(LONGEST_MANIFEST)
    try:
        manifest = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(path, f"no JSON ({error})", "the manifest of a folder of shards", REMEDY) from error
    if (version := read_field(manifest, "format", int, path)) != FORMAT:
        raise DataError(f"{path}, format", str(version), f"{FORMAT}, which this version of cvae_lib reads", REMEDY)
    data = ShardedData(
        image_shape=read_image_shape(manifest, path),
        condition=read_meaning(manifest, path),
        edition="custom",
        source=str(folder),
        digest=hashlib.sha256(content).hexdigest(),
        train=read_list(manifest, "train", path),
        test=read_list(manifest, "test", path),
    )
    check_files(data)
    return data


def read_field(entry: Any, field: str, kind: type, where: str | Path) -> Any:
    """Return a field of an object of the manifest. Raises DataError, naming it, unless it is there and of this type."""
    if not isinstance(entry, dict):
        raise DataError(where, repr(entry), f"an object with the field {field!r}", REMEDY)
    if type(value := entry.get(field)) is not kind:
        found = repr(value) if field in entry else "no such field"
        raise DataError(f"{where}, {field}", found, NOUNS[kind], REMEDY)
    return value


def read_image_shape(manifest: dict[str, Any], path: Path) -> tuple[int, ...]:
    """Read the height and width of the images, and the number of their channels if they are colour images."""
    shape, where = tuple(read_field(manifest, "image_shape", list, path)), f"{path}, image_shape"
    if not all(type(size) is int for size in shape):
        raise DataError(where, repr(list(shape)), "a list of integers", REMEDY)
    check_shape(shape, where, REMEDY)
    return shape


def read_meaning(manifest: dict[str, Any], path: Path) -> Condition:
    """Read what the labels mean."""
    entry = read_field(manifest, "condition", dict, path)
    try:
        return read_condition(entry)
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise DataError(
            f"{path}, condition", f"{entry!r} ({error})", "what a condition was written as", REMEDY
        ) from error


def read_list(manifest: dict[str, Any], split: str, path: Path) -> tuple[Shard, ...]:
    """Read the list of the training or of the test shards, which are files of the folder itself, none of them twice."""
    shards: dict[str, Shard] = {}
    for place, entry in enumerate(read_field(manifest, split, list, path)):
        where = f"{path}, {split}[{place}]"
        file, images, sha256 = (read_field(entry, *field, where) for field in SHARD_FIELDS.items())
        if not re.fullmatch(rf"{split}-[0-9]+{re.escape(SUFFIX)}", file) or file in shards:
            raise DataError(f"{where}, file", repr(file), f"another {split}-NUMBER{SUFFIX}, without a folder", REMEDY)
        if images < 1:
            raise DataError(f"{where}, images", str(images), "at least 1", REMEDY)
        if not re.fullmatch("[0-9a-f]{64}", sha256):
            raise DataError(f"{where}, sha256", repr(sha256), "64 hexadecimal digits", REMEDY)
        shards[file] = Shard(file, images, sha256)
    if not shards:
        raise DataError(f"{path}, {split}", "no shards", "at least one", REMEDY)
    return tuple(shards.values())


def check_files(data: ShardedData) -> None:
    """Raise DataError, naming the file, for a shard that is missing, of another length, or not in the manifest."""
    for shard in (*data.train, *data.test):
        path, size = data.path(shard), shard.images * (data.record_bytes + FRAME)
        found = f"{path.stat().st_size:,} bytes" if path.is_file() else "no such file"
        expected = f"{size:,} bytes, {shard.images:,} images"
        if found != f"{size:,} bytes":
            raise DataError(path, found, expected, REMEDY)
    listed = {shard.file for shard in (*data.train, *data.test)}
    for path in sorted(Path(data.source).glob(f"*{SUFFIX}")):
        if path.name not in listed:
            raise DataError(path, "a shard that the manifest does not list", "only those that it lists", REMEDY)


def check_digests(data: ShardedData, shards: Sequence[Shard]) -> None:
    """Read these shards from end to end; raise DataError, naming the file, where its SHA-256 is not the listed one."""
    for shard in shards:
        with explain_os_errors(data.path(shard), "a shard"), data.path(shard).open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != shard.sha256:
            expected = f"{shard.sha256[:12]}…, which the manifest lists"
            raise DataError(data.path(shard), f"SHA-256 {found[:12]}…", expected, REMEDY)
