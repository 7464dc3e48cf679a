"""Execute chapters and store their outputs: `python3 chapters/execute.py [chapter.md ...]`, without names all.

For each chapter the text side (`.md`) is read, executed from the top in a fresh kernel, and written as its other
half (`.ipynb`). On one machine the same text gives the same bytes: no timings, no random ids, no kernel version.
The stored outputs are those of the full edition, so that edition must be at hand.
"""

import argparse
import os
import sys
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

from cvae_lib.data import load_mnist

CHAPTERS = Path(__file__).parent
CELL_SECONDS = 900


def find_chapters():
    """The text sides of all chapters: the Markdown files with a Jupytext header, in order."""
    return sorted(path for path in CHAPTERS.glob("*.md") if "\njupytext:" in path.read_text()[:40])


def execute(text):
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
    client.execute()
    return strip_machine(notebook)


def strip_machine(notebook):
    """Replace what differs from run to run or from machine to machine: cell ids, widget ids, the Python version."""
    language = notebook.metadata.get("language_info", {})
    notebook.metadata["language_info"] = {key: language[key] for key in ("name", "pygments_lexer") if key in language}
    widgets = {}
    for number, cell in enumerate(notebook.cells, start=1):
        cell["id"] = f"cell-{number}"
        for output in cell.get("outputs", []):
            view = output.get("data", {}).get("application/vnd.jupyter.widget-view+json")
            if view:
                view["model_id"] = widgets.setdefault(view["model_id"], f"widget-{len(widgets) + 1}")
    return notebook


def write_pair(path, notebook):
    """Write both sides: the executed notebook as nbformat writes it, the text as jupytext does (it wraps captions)."""
    nbformat.write(notebook, path.with_suffix(".ipynb"))
    path.write_text(jupytext.writes(notebook, fmt="md:myst"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chapters", nargs="*", type=Path, help="chapters/NN_name.md (default: all)")
    paths = parser.parse_args().chapters or find_chapters()
    digits = load_mnist()
    if digits.edition != "full":
        print(f"error: found the {digits.edition} edition; the stored outputs are those of full. Set CVAE_DATA.")
        return 1
    # Kernels run in the folder of the chapters: a relative path would point elsewhere there.
    if Path(os.environ.get("CVAE_DATA", "")).exists():
        os.environ["CVAE_DATA"] = str(Path(os.environ["CVAE_DATA"]).resolve())
    for path in paths:
        print(f"{path.name} ...", flush=True)
        write_pair(path, execute(path.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
