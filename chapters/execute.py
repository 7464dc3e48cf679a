"""Execute chapters and store their outputs: `python3 chapters/execute.py [chapter.md ...]`, without names all.

For each chapter the text side (`.md`) is read, executed from the top in a fresh kernel, and written as its other
half (`.ipynb`). On one machine the same text gives the same bytes: no timings, no random ids, no version of Python, and
nothing of the user's own settings. The stored outputs are those of the full edition, so that edition must be at hand.
"""

import argparse
import copy
import os
import sys
import tempfile
from pathlib import Path

import jupytext
from jupytext.config import load_jupytext_configuration_file
from nbclient import NotebookClient
from nbformat import NotebookNode

from cvae_lib.data import DataError
from cvae_lib.files import write_text
from cvae_lib.tools.notebooks import settle_data, strip_machine

CHAPTERS = Path(__file__).parent
PAIRING = load_jupytext_configuration_file(str(CHAPTERS / "jupytext.toml"))
CELL_SECONDS = 900
WHERE_PACKAGES_ARE = ("PYTHONHOME", "PYTHONPATH", "PYTHONUSERBASE")


def find_chapters() -> list[Path]:
    """Return the text sides of all chapters in order: the Markdown files with a Jupytext header."""
    return sorted(path for path in CHAPTERS.glob("*.md") if "\njupytext:" in path.read_text(encoding="utf-8")[:40])


def isolate(folder: str | Path) -> dict[str, str]:
    """Return the environment of this process without the user's settings of Python, IPython, matplotlib and Keras.

    A page must not depend on them: MPLBACKEND can remove its figures, PYTHONOPTIMIZE its checks, and a `keras.json`
    changes its numbers. The empty `folder` takes the place of the folders where these programs look for settings. Data
    sets are no longer found in Keras' own folder, so CVAE_DATA must name a file.
    """
    Path(folder, "matplotlibrc").touch()
    settings = ("IPYTHON", "KERAS_", "MPLBACKEND", "PYTHON")
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(settings) or name in WHERE_PACKAGES_ARE
    }
    return kept | {"PYTHONUTF8": "1", **dict.fromkeys(("IPYTHONDIR", "KERAS_HOME", "MATPLOTLIBRC"), str(folder))}


def execute(text: str) -> NotebookNode:
    """Execute the chapter of this Jupytext Markdown and return the notebook, outputs included."""
    notebook = jupytext.reads(text, fmt="md:myst")
    client = NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        kernel_name="python3",
        record_timing=False,
        store_widget_state=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(CHAPTERS)}},
    )
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        client.execute(env=isolate(folder))
    strip_machine(notebook)
    number_widgets(notebook)
    return notebook


def number_widgets(notebook: NotebookNode) -> None:
    """Replace the random ids of the widgets, in place, by their numbers."""
    numbers: dict[str, str] = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            view = output.get("data", {}).get("application/vnd.jupyter.widget-view+json")
            if view:
                view["model_id"] = numbers.setdefault(view["model_id"], f"widget-{len(numbers) + 1}")


def text_side(notebook: NotebookNode) -> str:
    """Return the text side of a notebook as jupytext, and so JupyterLab, writes it (it wraps captions)."""
    return jupytext.writes(copy.deepcopy(notebook), fmt="md:myst", config=PAIRING)  # a copy: it notes its settings


def write_pair(path: Path, notebook: NotebookNode) -> None:
    """Write both sides of the chapter whose text side is `path`, each whole or not at all."""
    write_text(path.with_suffix(".ipynb"), jupytext.writes(notebook, fmt="ipynb") + "\n")
    write_text(path, text_side(notebook))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chapters", nargs="*", type=Path, help="chapters/NN_name.md (default: all)")
    paths = parser.parse_args().chapters or find_chapters()
    for path in paths:
        if path.resolve() not in find_chapters():
            parser.error(f"{path} is not the text side of a chapter; expected chapters/NN_name.md")
        if not os.access(path, os.W_OK):
            parser.error(f"{path} is read-only; expected a chapter that can be written. Work in a copy of the book.")
    try:
        digits = settle_data()
    except DataError as error:
        parser.error(str(error))
    if digits.edition != "full":
        parser.error(f"found the {digits.edition} edition; the stored outputs are those of full. Set CVAE_DATA.")
    for path in paths:
        print(f"{path.name} ...", flush=True)
        write_pair(path, execute(path.read_text(encoding="utf-8")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
