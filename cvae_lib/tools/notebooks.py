"""A chapter as a notebook: the function that its first cell calls, and a hook for Jupyter that keeps it as it is.

JupyterLab writes more into a notebook than the reader's work: the version of Python, the names of kernels, random ids.
This package brings a server extension (`jupyter_server_config.json`, which pip installs) that leaves such lines out of
the book's own notebooks, so that opening and saving a chapter changes no file.
"""

import copy
import os
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from cvae_lib import BookError
from cvae_lib.data import Dataset, load_mnist

CHAPTERS = Path(__file__).resolve().parents[2] / "chapters"

# The hook knows a chapter, or a copy of one, by "book"; "formats" makes Jupytext save both sides of the pair.
METADATA = {
    "book": "cvae-book",
    "jupytext": {"default_lexer": "ipython3", "formats": "ipynb,md:myst"},
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python", "pygments_lexer": "ipython3"},
}
# `jupyter` folds the first cell. The server needs `trusted` after the hook, and writes it into no file.
KEPT_OF_A_CELL = {"jupyter", "mystnb", "tags", "trusted"}


def open_chapter() -> None:
    """Prepare the kernel for a chapter, whatever started it: settle the data, enter the folder of the chapters.

    If the data are not the full edition, a note says which they are. Raises DataError for data that cannot be used, and
    BookError where the package was installed without the book's folder.
    """
    if not CHAPTERS.is_dir():
        raise BookError(
            f"{CHAPTERS}: found no such folder; expected the chapters, whose files this notebook reads. "
            "Install the package from a clone of the book: pip install -e FOLDER-OF-THE-CLONE"
        )
    digits = settle_data()
    os.chdir(CHAPTERS)
    if digits.edition != "full":
        from IPython.display import display

        note = describe_edition(digits)
        display({"text/markdown": f"> {note}", "text/plain": note}, raw=True)


def settle_data() -> Dataset:
    """Load the data that CVAE_DATA chooses, and set it so that other folders and processes load the same data at once.

    Raises DataError as `load_mnist` does.
    """
    digits = load_mnist()
    os.environ["CVAE_DATA"] = "sample" if digits.edition == "sample" else str(Path(digits.source).resolve())
    return digits


def describe_edition(digits: Dataset) -> str:
    """Write, in Markdown, which digits a chapter uses, and how to get those that its sentences describe."""
    return (
        f"**This run uses the {digits.edition} edition**: {len(digits.y_train):,} training and {len(digits.y_test):,} "
        f"test digits, from {digits.source}. The sentences and the stored figures describe the full edition, 60,000 "
        "and 10,000 digits, so your figures differ from theirs. For the full edition, run `%env CVAE_DATA=full` in a "
        "cell above this one, with a connection to the network, and run all cells again."
    )


def strip_machine(notebook: MutableMapping[str, Any]) -> None:
    """Replace, in place, the metadata that depend on the machine or the editor: versions, times, widgets, cell ids.

    Outputs and counts stay as they are. `notebook` is a NotebookNode or what JSON makes of a notebook.
    """
    notebook["metadata"] = copy.deepcopy(METADATA)
    for number, cell in enumerate(notebook["cells"], start=1):
        cell["id"] = f"cell-{number}"
        cell["metadata"] = {key: value for key, value in cell["metadata"].items() if key in KEPT_OF_A_CELL}


def strip_chapter(model: dict[str, Any], **kwargs: Any) -> None:
    """Strip a chapter that Jupyter is about to save. Other files, and notebooks that are not the book's, stay."""
    if model["type"] == "notebook" and model["content"]["metadata"].get("book") == METADATA["book"]:
        strip_machine(model["content"])


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": __name__}]


def _load_jupyter_server_extension(server: Any) -> None:
    """Do nothing yet: Jupytext, which loads later, puts a contents manager of its own in the place of this one."""


async def _start_jupyter_server_extension(server: Any) -> None:
    server.contents_manager.register_pre_save_hook(strip_chapter)
