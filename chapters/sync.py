"""Carry an edit of prose into the notebooks without executing them: `python3 chapters/sync.py`.

First the equations and figures of all texts are numbered anew, and the links that name them say the new numbers. Then
each notebook takes the prose, the tags and the alt texts of its text, and keeps its outputs. A chapter that is new or
whose code has changed has to be executed instead, and is named.
"""

import re
import sys
from pathlib import Path

import jupytext
import nbformat
from nbformat import NotebookNode

from chapters.execute import CHAPTERS, find_chapters, write_pair
from cvae_lib.files import write_text
from cvae_lib.tools.notebooks import strip_machine

# What is numbered: an equation by its tag, a figure at the start of its caption. Each follows its anchor.
NUMBERED = re.compile(
    r'(<a id="(?P<anchor>(?P<kind>eq|fig)-[\w-]+)"></a>(?:\n\n\$\$\n[^$]*?\\tag\{|\*\*Figure ))[\d.]+?(?=\}|\.\*\*)'
)
LINK = re.compile(
    r"\[(?P<words>[^][]*?)\d+\.\d+(?P<rest>[^][]*)\]\((?P<file>[^()\s#]*)#(?P<anchor>(?:eq|fig)-[\w-]+)\)"
)


def number(text: str, chapter: int) -> tuple[str, dict[str, str]]:
    """Number the equations and figures of a text in their order; also return the number of each anchor."""
    counts, numbers = {"eq": 0, "fig": 0}, {}

    def write(found: re.Match[str]) -> str:
        counts[found["kind"]] += 1
        numbers[found["anchor"]] = f"{chapter}.{counts[found['kind']]}"
        return found[1] + numbers[found["anchor"]]

    return NUMBERED.sub(write, text), numbers


def relink(text: str, page: str, numbers: dict[str, dict[str, str]]) -> str:
    """Let the links of a page to equations and figures say their numbers, given by page and anchor."""

    def write(found: re.Match[str]) -> str:
        target = Path(found["file"]).stem or page
        true = numbers.get(target, {}).get(found["anchor"])
        return f"[{found['words']}{true}{found['rest']}]({found['file']}#{found['anchor']})" if true else found[0]

    return LINK.sub(write, text)


def carry(text: str, stored: NotebookNode) -> NotebookNode | None:
    """Return the notebook of a text with the stored outputs, or None if its code is not that of the stored notebook."""
    notebook = jupytext.reads(text, fmt="md:myst")
    new, old = ([cell for cell in one.cells if cell.cell_type == "code"] for one in (notebook, stored))
    if [cell.source for cell in new] != [cell.source for cell in old]:
        return None
    for cell, source in zip(new, old):
        cell.outputs, cell.execution_count = source.outputs, source.execution_count
    strip_machine(notebook)
    return notebook


def main() -> int:
    chapters, numbers = find_chapters(), {}
    texts = {path: path.read_text(encoding="utf-8") for path in sorted(CHAPTERS.glob("*.md"))}
    for path in chapters:
        texts[path], numbers[path.stem] = number(texts[path], int(path.name[:2]))
    to_execute = []
    for path, text in texts.items():
        text = relink(text, path.stem, numbers)
        stored, notebook = path.with_suffix(".ipynb"), None
        if stored.exists():
            notebook = carry(text, nbformat.read(stored, as_version=4))
        if notebook is not None:
            write_pair(path, notebook)
            continue
        write_text(path, text)
        if path in chapters:
            to_execute.append(f"chapters/{path.name}")
    if to_execute:
        print(
            f"new, or of other code than its notebook; execute it: python3 chapters/execute.py {' '.join(to_execute)}"
        )
    return bool(to_execute)


if __name__ == "__main__":
    sys.exit(main())
