"""The trained models that ship with the book: their weights, their training histories, and where both came from.

A folder of trained models holds `<name>.weights.h5`, `<name>.history.csv` and one `manifest.json` with an entry a
name. `python -m cvae_lib train <name>` writes such a folder; nothing in it is edited by hand. A model that a reader
trained in a page of the book is one `.npz` file, without an entry.
"""

import csv
import hashlib
import io
import json
import math
import platform
import warnings
import zipfile
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cvae_lib import BookError
from cvae_lib.data.conditions import Condition, read_condition
from cvae_lib.data.mnist import DIGITS
from cvae_lib.files import hold, write_beside

if TYPE_CHECKING:
    from cvae_lib.model import CVAE

PRETRAINED = Path(__file__).parent / "pretrained"
MANIFEST = "manifest.json"
MANIFEST_BYTES = 2**24  # at most
PAGE_BYTES = 2**26  # of a model from a page, at most


class PretrainedError(BookError):
    """A trained model that cannot be used: the message names the file, what was found, what was expected."""


def load_manifest(folder: str | Path = PRETRAINED) -> dict[str, Any]:
    """Read the manifest of a folder of trained models: a dict from name to entry, empty if there is none yet.

    Raises PretrainedError for a file that is not JSON, and for an entry that is not as `publish` writes it.
    """
    path = Path(folder) / MANIFEST
    if not path.exists():
        return {}
    remedy = "Restore it (git checkout), or delete it and train the models of its folder again."
    try:
        with path.open("rb") as file:
            text = file.read(MANIFEST_BYTES + 1)
        if len(text) > MANIFEST_BYTES:
            raise ValueError(f"more than {MANIFEST_BYTES:,} bytes")
        manifest = json.loads(text)
        if not isinstance(manifest, dict):
            raise ValueError(f"a {type(manifest).__name__}")
    except (OSError, ValueError, RecursionError) as error:
        raise PretrainedError(f"{path}: found no JSON ({error}); expected an entry for each model. {remedy}") from error
    if {"format", "image_shape", "train"} <= manifest.keys():
        raise PretrainedError(
            f"{path}: found that of a folder of shards, which holds data; expected that of a folder of trained models, "
            "or none. Choose another folder."
        )
    for name, entry in manifest.items():
        for field, (expected, fits) in FIELDS.items():
            value = entry
            for key in field.split("."):
                value = value.get(key) if isinstance(value, dict) else None
            if not fits(value):
                found = json.dumps(value)[:200]
                raise PretrainedError(f"{path}, {name}, {field}: found {found}; expected {expected}. {remedy}")
    return manifest


def is_digest(value: Any) -> bool:
    """Tell whether a value of a manifest is a SHA-256, as hexadecimal digits."""
    return isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")


def is_configuration(value: Any) -> bool:
    """Tell whether a value of a manifest has the sizes of a model. Earlier releases left out those of digits."""
    if not isinstance(value, dict):
        return False
    *sizes, shape = *(value[key] for key in value if key != "image_shape"), value.get("image_shape", [1, 1])
    picture = "image_shape" if "image_shape" in value else "n_x"
    return (
        {"n_z", "n_hidden", "n_layers"} <= value.keys() <= {"n_z", "n_hidden", "n_layers", "n_y", picture}
        and isinstance(shape, list)
        and (len(shape) == 2 or shape[2:] == [3])
        and all(type(size) is int and size >= 1 for size in (*sizes, *shape))
    )


def is_condition(value: Any) -> bool:
    """Tell whether a value of a manifest is what a condition was written as."""
    try:
        return isinstance(read_condition(value), Condition)
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
        return False


# What this library reads of an entry: what is expected, and a function that tests a value, None where there is none.
FIELDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "command": ("a text", lambda value: isinstance(value, str)),
    "seed": ("an integer from 0 to 2**32 - 1", lambda value: type(value) is int and 0 <= value < 2**32),
    "data.edition": ("a text", lambda value: isinstance(value, str)),
    "data.sha256": ("64 hexadecimal digits", is_digest),
    "measured": (
        "an object of finite numbers",
        lambda value: (
            isinstance(value, dict)
            and all(type(each) in (int, float) and math.isfinite(each) for each in value.values())
        ),
    ),
    "sha256": (
        "the SHA-256 of each file, by its name",
        lambda value: isinstance(value, dict) and all(map(is_digest, value.values())),
    ),
    "configuration": (
        "n_z, n_hidden and n_layers, with n_y and n_x or image_shape, integers of at least 1",
        lambda value: value is None or is_configuration(value),
    ),
    "condition": ("what the labels mean", lambda value: value is None or is_condition(value)),
}


def load_pretrained(name: str, folder: str | Path = PRETRAINED) -> "CVAE":
    """Build the CVAE of this name and load its weights, after checking their SHA-256 against the manifest.

    A name that ends in .npz is the path of a file that a page of the book saved: see `load_npz`. Raises PretrainedError
    for an unknown name, a missing file, a file that is not the one the manifest lists, or weights of another model.
    """
    from cvae_lib.convolutional import build_cvae

    if name.endswith(".npz"):
        return load_npz(name)
    entry = find_entry(name, folder)
    path = check_file(folder, f"{name}.weights.h5", entry)
    configuration, room = entry.get("configuration") or {}, path.stat().st_size // 4
    if not configuration or (count := count_least(**configuration)) > room:
        found = f"a model of at least {count:,} weights" if configuration else "none"
        raise PretrainedError(
            f"{Path(folder) / MANIFEST}, {name}, configuration: found {found}; expected one of at most {room:,}, for "
            f"which {path.name} has room. Restore both (git checkout)."
        )
    model = build_cvae({**configuration, "seed": entry["seed"]})
    load_weights(model, path)
    return model


def count_least(
    n_z: int, n_hidden: int, n_layers: int, n_x: int = 784, n_y: int = 10, image_shape: tuple[int, ...] = ()
) -> int:
    """Count the weights that a model of these sizes has at least: those of its dense layers, without the biases."""
    pixels = math.prod(image_shape[:2]) if image_shape else n_x
    return n_hidden * (2 * (pixels + n_y + (n_layers - 1) * n_hidden) + 3 * n_z)


def load_weights(model: Any, path: Path) -> None:
    """Load a file of weights into a Keras model. Raises PretrainedError where they are those of another model."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # such as that a layer keeps its random weights
            model.load_weights(path)
    except Exception as error:  # Keras and HDF5 raise many kinds
        raise PretrainedError(
            f"{path}: found other weights ({type(error).__name__}); expected those of a model of the sizes in the "
            "manifest. Restore both (git checkout)."
        ) from error


def load_npz(path: str | Path) -> "CVAE":
    """Build the CVAE that a page of the book trained and saved, with as many hidden units and latents as it has there.

    The file has one array for each trainable weight of the model, under its path in Keras, such as `z_mean/kernel`.
    Raises PretrainedError for a file that is missing, is no .npz, or lacks an array or has one of another shape, or of
    values that are not finite.
    """
    from cvae_lib.model import CVAE

    remedy = "Save the model in the page again."
    try:
        arrays = read_npz(path)
    except Exception as error:  # a damaged archive raises one of ten kinds
        expected = "an .npz file that a page of the book saved"
        raise PretrainedError(f"{path}: found {error}; expected {expected}. {remedy}") from error

    def read(key: str, *shape: int | None) -> np.ndarray:
        found = arrays[key].shape if key in arrays else None
        if not found or len(found) != len(shape) or any(n < 1 or m not in (n, None) for m, n in zip(shape, found)):
            expected = " x ".join("any" if n is None else str(n) for n in shape)
            raise PretrainedError(f"{path}: found {key} of shape {found}; expected {expected}. {remedy}")
        if not np.isfinite(arrays[key]).all():
            raise PretrainedError(f"{path}: found values of {key} that are not finite; expected numbers. {remedy}")
        return arrays[key]

    n_hidden, n_z = read("z_mean/kernel", None, None).shape
    n_y = len(read("decoder_hidden/kernel", None, n_hidden)) - n_z
    n_x = len(read("x_logits/bias", None))
    shapes = {
        "decoder_hidden": (n_z + max(n_y, 1), n_hidden),
        "x_logits": (n_hidden, n_x),
        "encoder_hidden": (n_x + n_y, n_hidden),
        "z_mean": (n_hidden, n_z),
        "z_log_var": (n_hidden, n_z),
    }
    # All are read before the model is built, so that its size is that of the file.
    weights = {f"{layer}/kernel": read(f"{layer}/kernel", *shape) for layer, shape in shapes.items()}
    weights |= {f"{layer}/bias": read(f"{layer}/bias", shape[1]) for layer, shape in shapes.items()}
    model = CVAE(n_z=n_z, n_hidden=n_hidden, n_x=n_x, n_y=n_y)
    for variable in model.trainable_variables:
        variable.assign(weights[variable.path])
    return model


def read_npz(path: str | Path) -> dict[str, np.ndarray]:
    """Read the arrays of an .npz file, float32, at most PAGE_BYTES of them, and unpickle nothing.

    Raises ValueError, or an error of `zipfile`, for another file. NumPy would make room for whatever a header claims.
    """
    arrays = {}
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if (size := sum(member.file_size for member in members)) > PAGE_BYTES:
            raise ValueError(f"{size:,} bytes")
        for member in members:
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError(f"{member.filename} in another compression than deflate")
            with archive.open(member) as file:
                content = io.BytesIO(file.read(member.file_size))  # without a length, as much as is packed in it
            if np.lib.format.read_magic(content) != (1, 0):
                raise ValueError(f"{member.filename} in another version of NumPy's format than 1.0")
            shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(content)
            if dtype.kind != "f":
                raise ValueError(f"{member.filename} of the type {dtype}")
            array = np.frombuffer(content.read(), dtype).reshape(shape, order="F" if is_fortran else "C")
            with np.errstate(over="ignore"):
                arrays[member.filename.removesuffix(".npy")] = array.astype("float32")
    return arrays


def load_condition(name: str, folder: str | Path = PRETRAINED) -> Condition:
    """Load what the labels of this model mean. Entries of earlier releases do not say: their models know ten digits."""
    entry = find_entry(name, folder)
    return read_condition(entry["condition"]) if "condition" in entry else DIGITS


def load_history(name: str, folder: str | Path = PRETRAINED) -> dict[str, list[float]]:
    """Read the training history of this name: a dict from column to a list of floats, one an epoch.

    The columns are `epoch`, `loss`, `kl_loss` and `reconstruction_loss` in nats an image (training: the mean over
    the epoch while the weights change), the same with `val_` (after the epoch), and `seconds`.
    """
    path = check_file(folder, f"{name}.history.csv", find_entry(name, folder))
    return read_history(path)


def read_history(path: str | Path) -> dict[str, list[float]]:
    """Read any history or log in CSV form: a dict from column to a list of floats.

    Raises PretrainedError for a file that is not a table of finite numbers.
    """
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        history = {column: [float(row[column]) for row in rows] for column in (rows[0] if rows else [])}
        if not all(map(math.isfinite, (value for values in history.values() for value in values))):
            raise ValueError("a number that is not finite")
    except (ValueError, TypeError, csv.Error) as error:
        expected = "a line of names and then lines of finite numbers"
        raise PretrainedError(f"{path}: found {error}; expected {expected}. Restore or write it again.") from error
    return history


def find_entry(name: str, folder: str | Path) -> dict[str, Any]:
    """Return the manifest's entry of this name. Raises PretrainedError, which lists the known names, for another."""
    manifest = load_manifest(folder)
    if name not in manifest:
        known = ", ".join(sorted(manifest)) or "none"
        raise PretrainedError(
            f"{Path(folder) / MANIFEST}: no model {name!r}; it has {known}. Train it with: "
            f"python -m cvae_lib train {name} --out {folder}"
        )
    return manifest[name]


def check_file(folder: str | Path, file_name: str, entry: dict[str, Any]) -> Path:
    """Return the path of a file that the entry lists. Raises PretrainedError unless its SHA-256 is the listed one."""
    path = Path(folder) / file_name
    remedy = f"Restore it (git checkout) or make it again: {entry['command']} --out {folder}"
    if Path(file_name).name != file_name or file_name not in entry["sha256"]:
        raise PretrainedError(f"{path}: found it in no manifest; expected a file that the manifest lists. {remedy}")
    if not path.is_file():
        raise PretrainedError(f"{path}: no such file; expected the one the manifest lists. {remedy}")
    found, expected = digest_file(path), entry["sha256"][file_name]
    if found != expected:
        raise PretrainedError(f"{path}: found SHA-256 {found[:12]}…; expected {expected[:12]}…. {remedy}")
    return path


def digest_file(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes, as hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe_versions() -> dict[str, str]:
    """List the versions that a trained model belongs to: a dict for its manifest entry."""
    return {"python": platform.python_version(), **{name: version(name) for name in ("keras", "numpy", "tensorflow")}}


def publish(
    folder: str | Path, name: str, files: Mapping[str, Callable[[Path], Any]], entry: Mapping[str, Any]
) -> None:
    """Write the files of a trained model, and its entry in the manifest of the folder; the other entries stay.

    files has a function for each file name, which writes that file to a path. All is written beside an earlier model of
    this name, which stays until all of the new one is there; then the files take its place, the manifest last. A kill
    between two of them leaves files that `check_file` refuses, and the same command makes them whole.
    """
    folder = Path(folder)
    with hold(folder / MANIFEST, wait=True), write_beside(*(folder / each for each in (*files, MANIFEST))) as new:
        *paths, path = new
        for write, target in zip(files.values(), paths, strict=True):
            write(target)
        digests = {each: digest_file(target) for each, target in zip(files, paths, strict=True)}
        manifest = {**load_manifest(folder), name: {**entry, "sha256": digests}}
        text = json.dumps(manifest, indent=2, sort_keys=True) + "\n"
        path.write_text(text, encoding="utf-8", newline="\n")
