"""The trained models that ship with the book: their weights, their training histories, and where both came from.

A folder of trained models holds `<name>.weights.h5`, `<name>.history.csv` and one `manifest.json` with an entry a
name. `python -m cvae_lib train <name>` writes such a folder; nothing in it is edited by hand. A model that a reader
trained in a page of the book is one `.npz` file, without an entry.
"""

import csv
import hashlib
import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cvae_lib import BookError
from cvae_lib.data.conditions import Condition, read_condition
from cvae_lib.data.mnist import DIGITS

if TYPE_CHECKING:
    from cvae_lib.model import CVAE

PRETRAINED = Path(__file__).parent / "pretrained"
MANIFEST = "manifest.json"


class PretrainedError(BookError):
    """A trained model that cannot be used: the message names the file, what was found, what was expected."""


def load_manifest(folder: str | Path = PRETRAINED) -> dict[str, Any]:
    """Read the manifest of a folder of trained models: a dict from name to entry, empty if there is none yet.

    Raises PretrainedError for a file that is not JSON.
    """
    path = Path(folder) / MANIFEST
    if not path.exists():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        remedy = "Restore it (git checkout), or delete it and train the models of its folder again."
        raise PretrainedError(f"{path}: found no JSON ({error}); expected an entry for each model. {remedy}") from error


def load_pretrained(name: str, folder: str | Path = PRETRAINED) -> "CVAE":
    """Build the CVAE of this name and load its weights, after checking their SHA-256 against the manifest.

    A name that ends in .npz is the path of a file that a page of the book saved: see `load_npz`. Raises PretrainedError
    for an unknown name, a missing file, or a file that is not the one the manifest lists.
    """
    from cvae_lib.convolutional import build_cvae

    if name.endswith(".npz"):
        return load_npz(name)
    entry = find_entry(name, folder)
    path = check_file(folder, f"{name}.weights.h5", entry)
    model = build_cvae({**entry["configuration"], "seed": entry["seed"]})
    model.load_weights(path)
    return model


def load_npz(path: str | Path) -> "CVAE":
    """Build the CVAE that a page of the book trained and saved, with as many hidden units and latents as it has there.

    The file has one array for each trainable weight of the model, under its path in Keras, such as `z_mean/kernel`.
    Raises PretrainedError for a file that is missing, is no .npz, or lacks an array or has one of another shape.
    """
    from cvae_lib.model import CVAE

    remedy = "Save the model in the page again."
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
    except Exception as error:  # a damaged archive raises one of ten kinds
        expected = "an .npz file that a page of the book saved"
        raise PretrainedError(f"{path}: found {error}; expected {expected}. {remedy}") from error

    def read(key: str, shape: tuple[int | None, ...]) -> np.ndarray:
        found = arrays[key].shape if key in arrays else None
        if found is None or len(found) != len(shape) or any(n not in (m, None) for n, m in zip(shape, found)):
            expected = " x ".join("any" if n is None else str(n) for n in shape)
            raise PretrainedError(f"{path}: found {key} of shape {found}; expected {expected}. {remedy}")
        return arrays[key]

    n_hidden, n_z = read("z_mean/kernel", (None, None)).shape
    n_y = len(read("decoder_hidden/kernel", (None, n_hidden))) - n_z
    n_x = len(read("x_logits/bias", (None,)))
    model = CVAE(n_z=n_z, n_hidden=n_hidden, n_x=n_x, n_y=n_y)
    for variable in model.trainable_variables:
        variable.assign(read(variable.path, tuple(variable.shape)))
    return model


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
    """Read any history or log in CSV form: a dict from column to a list of floats."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {column: [float(row[column]) for row in rows] for column in (rows[0] if rows else [])}


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
    if not path.exists():
        raise PretrainedError(f"{path}: no such file; expected the one the manifest lists. {remedy}")
    found, expected = digest_file(path), entry["sha256"][file_name]
    if found != expected:
        raise PretrainedError(f"{path}: found SHA-256 {found[:12]}…; expected {expected[:12]}…. {remedy}")
    return path


def digest_file(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes, as hexadecimal digits."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def describe_versions() -> dict[str, str]:
    """List the versions that a trained model belongs to: a dict for its manifest entry."""
    return {"python": platform.python_version(), **{name: version(name) for name in ("keras", "numpy", "tensorflow")}}


def write_manifest(folder: str | Path, name: str, entry: dict[str, Any]) -> None:
    """Write the entry of this name into the manifest of a folder; the other entries stay."""
    manifest = {**load_manifest(folder), name: entry}
    write_text(Path(folder) / MANIFEST, json.dumps(manifest, indent=2, sort_keys=True) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all, because a run may be stopped at any moment."""
    new = path.with_name(path.name + ".new")
    new.write_text(text, encoding="utf-8", newline="\n")
    os.replace(new, path)
