"""Images of your own: a folder of pictures with a table, or a folder of pictures for each class, as a Dataset.

Pictures are read one at a time, and nothing is written beside them.
"""

import csv
import io
import math
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path, PureWindowsPath
from typing import Any, Literal, get_args

import numpy as np
from PIL import Image, ImageColor, ImageOps, UnidentifiedImageError
from tqdm import tqdm

from cvae_lib.data.conditions import Classes, Condition, Cyclic, Joint, Numbers
from cvae_lib.data.dataset import SPLIT_SEED, Dataset
from cvae_lib.data.readers import DataError, check_dataset, explain_os_errors, open_file, shorten

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
EIGHT_BITS = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")  # Pillow's modes of grey, colour and palettes
PICTURE = f"a whole picture of one frame and 8 bits a colour: {', '.join(FORMATS)}"
CORRECT = "Correct the cell, or leave out the row."
LONGEST_LINE = 1_000_000  # characters of the first line of a table
MOST_CLASSES = 256  # so that a column of numbers or of names is not taken for classes
LONGEST_SIDE = 10_000  # pixels of a picture that is resized
BAR_SECONDS = 10  # reading that takes longer shows a progress bar

Kind = Literal["class", "number", "angle"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Row = tuple[str, dict[str, str]]  # where it stands, and its cells by column


def load_images(
    folder: str | Path,
    table: str | Path | None = None,
    condition: Mapping[str, Kind | Condition] | None = None,
    size: tuple[int, int] | None = None,
    mode: Literal["L", "RGB"] = "L",
    ground: str = "white",
    test: float | str = 0.1,
) -> Dataset:
    """Read the pictures that a CSV table names in its column `file`, whose paths start at `folder`.

    Without a table, each folder inside `folder` holds the pictures of the class that it is named after.

    condition: the columns that a model is told, by name, and how each is read: "class"; "number", which is scaled to
    mean 0 and standard deviation 1 over the training images; "angle", in degrees; or a condition of your own for this
    column, such as `Classes` in your order. Several columns make a `Joint`. By default it is {"label": "class"}.

    size: (height, width). A picture of another size is resized, with antialiasing. It keeps its proportions, and the
    rest is filled with `ground`, a colour such as "black" or "#ffcc00", on which transparent pictures are laid, too.
    Without a size, all pictures must have the same one. mode: "L" for grey, "RGB" for colour. test: the share of the
    pictures in the test set, which is drawn with a fixed seed, or the name of a column that says "train" or "test".

    Raises DataError, which names the file and the line, for a table or a picture that cannot be used.
    """
    folder, condition = Path(folder), condition or {"label": "class"}
    for name, value, fits, expected in (
        ("size", size, size is None or is_size(size), f"(height, width), two integers from 1 to {LONGEST_SIDE:,}"),
        ("mode", mode, mode in ("L", "RGB"), "'L' or 'RGB'"),
        ("ground", ground, is_colour(ground), "a colour, such as 'black' or '#ffcc00'"),
        ("condition", condition, are_kinds(condition), f"{KINDS} or a condition for each column"),
        ("test", test, is_share(test) or isinstance(test, str), "a share between 0 and 1, or the name of a column"),
    ):
        if not fits:
            raise DataError(name, repr(value), expected, "Correct the option.")
    columns = [*condition, *([test] if isinstance(test, str) else [])]
    rows = read_table(Path(table), columns) if table else list_folders(folder, columns)
    source = f"the pictures in {folder}" + (f", {table}" if table else "")
    is_test = choose_test(rows, test, source)
    parts, labels = zip(*(read_column(rows, column, kind, ~is_test) for column, kind in condition.items()))
    together, y = (parts[0], labels[0]) if len(parts) == 1 else (Joint(parts), np.column_stack(labels))
    x = read_pictures(folder, rows, size, mode, ground)
    raw = {"x_train": x[~is_test], "y_train": y[~is_test], "x_test": x[is_test], "y_test": y[is_test]}
    return check_dataset(raw, source, condition=together)


# Tables.


def read_table(path: Path, columns: Sequence[str]) -> list[Row]:
    """Read the column `file` and these columns of a CSV table in UTF-8, whose first line names them.

    Cells are separated by commas, semicolons or tabs, whichever the first line has most of. Raises DataError for a
    table that cannot be read, a missing column, a row of another length, and a file that stands there twice.
    """
    columns = ["file", *columns]
    expected = f"a CSV table in UTF-8 with the columns {', '.join(columns)}"
    rows: dict[str, Row] = {}
    with open_file(path, expected, ".") as content, io.TextIOWrapper(content, "utf-8-sig", newline="") as file:
        try:
            first = file.readline(LONGEST_LINE)
            file.seek(0)
            reader = csv.DictReader(file, delimiter=max(",;\t", key=first.count), strict=True)
            header = reader.fieldnames or []
            if unclear := [name for name in columns if header.count(name) != 1]:
                found = f"{header.count(unclear[0]) or 'no'} columns {unclear[0]!r} among {shorten(header)}"
                raise DataError(path, found, expected, "Correct the first line, or name columns that are there.")
            for cells in reader:
                where = f"{path}, line {reader.line_num}"
                if None in cells or None in cells.values():
                    expected = f"{len(header)} cells, as in the first line"
                    raise DataError(where, "another number of cells", expected, "Correct the row.")
                if (name := cells["file"]) in rows:
                    raise DataError(where, f"{name!r} again", "each file once", f"See {rows[name][0]}.")
                rows[name] = where, {column: cells[column].strip() for column in columns}
        except (UnicodeDecodeError, csv.Error) as error:
            found = f"a table that cannot be read ({error})"
            raise DataError(path, found, expected, "Save it again as CSV in UTF-8.") from error
    return list(rows.values())


def list_folders(folder: Path, columns: Sequence[str]) -> list[Row]:
    """List the pictures in the folders inside a folder as rows. Raises DataError for a folder without pictures."""
    endings = {ending for ending, kind in Image.registered_extensions().items() if kind in FORMATS}
    expected, rows = "a folder for each class, with pictures in it", []
    if [*columns] != ["label"]:
        found = f"no table for the columns {', '.join(columns)}"
        raise DataError(folder, found, "a table for any column but label", "Pass a table.")
    with explain_os_errors(folder, expected, "."):
        for inside in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
            names = sorted(path.name for path in inside.iterdir() if path.suffix.lower() in endings)
            if not names:
                raise DataError(inside, "no pictures", expected, "Put pictures in, or remove the folder.")
            rows += [(str(folder), {"file": f"{inside.name}/{name}", "label": inside.name}) for name in names]
    return rows


def are_kinds(condition: Any) -> bool:
    """Tell whether these are columns by name, each with what it can be read as."""
    return isinstance(condition, Mapping) and all(
        isinstance(column, str) and (len(kind.columns) == 1 if isinstance(kind, Condition) else kind in KINDS)
        for column, kind in condition.items()
    )


def is_size(size: Any) -> bool:
    """Tell whether this is a height and a width of pictures."""
    fits = isinstance(size, Sequence) and len(size) == 2
    return fits and all(isinstance(side, int) and 0 < side <= LONGEST_SIDE for side in size)


def is_share(test: Any) -> bool:
    """Tell whether this is a part of all pictures."""
    return isinstance(test, float) and 0 < test < 1


def is_colour(ground: Any) -> bool:
    """Tell whether Pillow knows this colour."""
    try:
        return bool(ImageColor.getrgb(ground))
    except (ValueError, AttributeError, TypeError):
        return False


def choose_test(rows: Sequence[Row], test: float | str, source: str) -> np.ndarray:
    """Return which rows are the test set: bool, (n,). Raises DataError unless there is a row in each set."""
    is_test = np.zeros(len(rows), bool)
    if isinstance(test, str):
        for i, (where, cells) in enumerate(rows):
            if cells[test] not in ("train", "test"):
                raise DataError(where, f"{cells[test]!r} as {test}", "train or test", CORRECT)
            is_test[i] = cells[test] == "test"
    else:
        order = np.random.default_rng(SPLIT_SEED).permutation(len(rows))
        is_test[order[: max(1, round(test * len(rows)))]] = True
    if is_test.all() or not is_test.any():
        found = f"{len(rows)} pictures, {is_test.sum()} of them to test"
        remedy = "Add rows to the table, or without a table a folder for each class."
        raise DataError(source, found, "at least one to train and one to test", remedy)
    return is_test


def read_column(
    rows: Sequence[Row], column: str, kind: Kind | Condition, is_train: np.ndarray
) -> tuple[Condition, np.ndarray]:
    """Read a column of labels: its condition, and the labels of all rows. Raises DataError for a cell that misfits."""
    if kind == "class" or isinstance(kind, Classes):
        own = {cells[column] for _, cells in rows} - {""}
        names = kind.names if isinstance(kind, Classes) else tuple(sorted(own, key=order_name))
        if kind == "class" and len(names) > MOST_CLASSES:
            remedy = f"Read the column as a number, or pass the Classes of {column}."
            raise DataError(f"column {column}", f"{len(names)} labels", f"at most {MOST_CLASSES} classes", remedy)
        for where, cells in rows:
            if cells[column] not in names:
                raise DataError(where, f"{cells[column]!r} as {column}", f"a class: {shorten(names)}", CORRECT)
        y = np.array([names.index(cells[column]) for _, cells in rows])
        if missing := [name for k, name in enumerate(names) if not (y[is_train] == k).any()]:
            remedy = "Add pictures, or leave out the class."
            raise DataError(f"column {column}", f"no training picture of {missing[0]}", "one of each class", remedy)
        return Classes(names, column), y
    y = np.empty((len(rows), 1))
    for i, (where, cells) in enumerate(rows):
        try:
            y[i] = float(cells[column])
        except ValueError:
            y[i] = math.nan
        if not abs(y[i, 0]) <= np.finfo("float32").max:
            raise DataError(where, f"{cells[column]!r} as {column}", "a finite number, such as 1.5", CORRECT)
    if kind == "number" and np.ptp(y[is_train]) == 0:
        raise DataError(f"column {column}", f"{y[0, 0]} in all rows", "numbers that differ", "Leave the column out.")
    if kind == "number":
        return Numbers.scaled((column,), y[is_train]), y
    return Cyclic((column,)) if kind == "angle" else kind, y


def order_name(name: str) -> tuple[float, str]:
    """Sort names of classes as a reader would: numbers by their size, then words by the alphabet."""
    return (float(name) if name.isdecimal() else math.inf, name)


# Pictures.


def read_pictures(
    folder: Path, rows: Sequence[Row], size: tuple[int, int] | None, mode: str, ground: str
) -> np.ndarray:
    """Read the pictures of all rows: uint8, (n, height, width) or (n, height, width, 3). Raises DataError."""
    pixels = np.empty(0, "uint8")
    bar = tqdm(rows, "reading pictures", delay=BAR_SECONDS, mininterval=1, leave=False)
    for i, (where, cells) in enumerate(bar):
        where = f"{where}, {cells['file']}"
        picture = read_picture(find_picture(folder, cells["file"], where), where, size, mode, ground)
        if i == 0:
            try:
                pixels = np.empty((len(rows), *picture.shape), "uint8")
            except (MemoryError, ValueError) as error:
                found = f"{len(rows):,} pictures of the shape {picture.shape}"
                remedy = "Choose a smaller size, or write the pictures into shards, part by part."
                raise DataError(folder, found, "as many as fit into the memory", remedy) from error
        if picture.shape != pixels.shape[1:]:
            found, expected = ("{} x {} pixels".format(*shape[:2]) for shape in (picture.shape, pixels.shape[1:]))
            remedy = "Pass size=(height, width), to which all pictures are then resized."
            raise DataError(where, found, f"{expected}, as the first picture has", remedy)
        pixels[i] = picture
    return pixels


def find_picture(folder: Path, name: str, where: str) -> Path:
    """Return the path of a file inside the folder. Raises DataError for one that is outside, also by a link."""
    written, root = PureWindowsPath(name), os.path.realpath(folder)  # a table may come from Windows
    path = Path(os.path.realpath(Path(root, *written.parts))) if "\0" not in name else Path()
    if written.anchor or ".." in written.parts or not path.is_relative_to(root):
        remedy = "Copy the file into the folder, or name a folder that holds all pictures."
        raise DataError(where, "a path that leaves the folder", f"a file inside {root}", remedy)
    return path


def read_picture(path: Path, where: str, size: tuple[int, int] | None, mode: str, ground: str) -> np.ndarray:
    """Read one picture: uint8, (height, width) or (height, width, 3). Raises DataError for what is none."""
    remedy = "Save the picture again as PNG or JPEG, grey or RGB, or leave out the row."
    with explain_os_errors(where, PICTURE, "."):
        if not path.is_file():  # opening a pipe would wait for ever
            found = "a folder" if path.is_dir() else "no such file"
            raise DataError(where, found, PICTURE, CORRECT)
        file = path.open("rb")
    try:
        with file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(file, formats=FORMATS)
            if image.format == "PNG":  # whose checksums Pillow does not compare otherwise
                image.verify()
                image = Image.open(file, formats=FORMATS)
            # Pillow counts the frames of a photo that holds a smaller copy, too.
            if image.mode not in EIGHT_BITS or (getattr(image, "is_animated", False) and image.format != "MPO"):
                found = f"a picture of the mode {image.mode} with {getattr(image, 'n_frames', 1)} frames"
                raise DataError(where, found, PICTURE, remedy)
            picture = ImageOps.exif_transpose(image)
            if picture.has_transparency_data:
                above = picture.convert("RGBA")
                picture = Image.alpha_composite(Image.new("RGBA", above.size, ground), above)
            picture = picture.convert(mode)
            if size and picture.size != size[::-1]:
                picture = ImageOps.pad(picture, size[::-1], color=ground)
            return np.asarray(picture)
    except DataError:
        raise
    except Exception as error:  # damaged pictures raise ten kinds of errors, from SyntaxError to MemoryError
        # Pillow's own words for the damage change from version to version; they stay in the traceback.
        found = "a damaged or incomplete picture"
        if isinstance(error, UnidentifiedImageError):
            found = "no picture"
        elif isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError)):
            found = "a picture with more pixels than may be read"
        raise DataError(where, found, PICTURE, remedy) from error
