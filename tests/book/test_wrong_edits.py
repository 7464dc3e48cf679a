"""Wrong edits of the chapters are seen: one each in a chapter of its own, all in one copy of the repository.

The tests of the texts run once on the copy; the test that should see an edit has to fail for the edit's chapter. What
only running a cell can show, nbval sees: it runs one chapter with two such edits.

A sentence that is taken out of both sides of a pair is an edit like any other, and only a reader can judge it.
"""

import os
import re
import shutil
import subprocess
import sys

import jupytext
import pytest
from book_sources import NOT_COPIED, NOTEBOOKS, ROOT

from chapters.execute import write_pair

pytestmark = pytest.mark.slow
TEXTS = [f"tests/book/test_{name}.py" for name in ("chapters", "texts", "shape", "conclusions")]


def first(notebook, kind, condition):
    return next(cell for cell in notebook.cells if cell.cell_type == kind and condition(cell))


def change_a_stored_number(notebook):
    """Of an output that the text quotes."""
    prose = " ".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", []) if "text" in out]
    everything = " ".join(
        [*(out.text for out in outputs), *(c.source for c in notebook.cells if c.cell_type == "code")]
    )
    for number in re.findall(r"(?<![\d.,])\d+\.\d\d(?![\d.])", prose):
        if everything.count(number) == 1:
            for out in outputs:
                out.text = out.text.replace(number, f"{float(number) + 37:.2f}")
            return
    raise AssertionError("found no number that one output alone prints and the text quotes")


def take_away_a_count(notebook):
    first(notebook, "code", lambda cell: cell.source).execution_count = None


def take_away_an_alt_text(notebook):
    del first(notebook, "code", lambda cell: "image" in cell.metadata.get("mystnb", {})).metadata["mystnb"]["image"]


def take_away_a_figure(notebook):
    shown = first(notebook, "code", lambda cell: any("image/png" in o.get("data", {}) for o in cell.outputs))
    shown.outputs = [out for out in shown.outputs if "image/png" not in out.get("data", {})]


def change_the_year_of_a_citation(notebook):
    year = re.compile(r"\[([^]\[]+, )(\d{4})(\]\(https?:)")
    cell = first(notebook, "markdown", lambda cell: year.search(cell.source))
    cell.source = year.sub(lambda found: f"[{found[1]}{int(found[2]) - 1}{found[3]}", cell.source, count=1)


def misspell_a_link_to_the_glossary(notebook):
    cell = first(notebook, "markdown", lambda cell: "glossary.md#term-" in cell.source)
    cell.source = cell.source.replace("glossary.md#term-", "glossary.md#term-x", 1)


def take_away_the_last_section(notebook):
    cell = first(notebook, "markdown", lambda cell: "## In short" in cell.source)
    cell.source = cell.source.replace("## In short", "## At last")


def take_a_sentence_from_one_side(notebook):
    cell = first(notebook, "markdown", lambda cell: cell.source.count(". ") > 2)
    cell.source = cell.source.replace(re.search(r"\. ([A-Z][^.]+\. )", cell.source)[1], "", 1)


def change_code_on_one_side(notebook):
    cell = first(notebook, "code", lambda cell: re.search(r"= \d", cell.source))
    cell.source = re.sub(r"= (\d)", r"= 1\1", cell.source, count=1)


# The edit, the file and the test that has to see it, and whether both sides of the pair are edited.
EDITS = [
    (change_a_stored_number, "chapters", "test_decimals_in_the_prose_stand_in_an_output_or_in_the_code", True),
    (take_away_a_count, "chapters", "test_cells_were_executed_in_order", True),
    (take_away_an_alt_text, "chapters", "test_every_picture_has_a_caption_below_it_and_an_alt_text", True),
    (take_away_a_figure, "chapters", "test_every_picture_has_a_caption_below_it_and_an_alt_text", True),
    (change_the_year_of_a_citation, "texts", "test_links_to_sources_name_author_and_year", True),
    (misspell_a_link_to_the_glossary, "texts", "test_links_lead_somewhere_and_say_the_right_number", True),
    (take_away_the_last_section, "shape", "test_a_chapter_ends_with_what_to_remember_and_to_try", True),
    (take_a_sentence_from_one_side, "chapters", "test_pair_is_in_sync", False),
    (change_code_on_one_side, "chapters", "test_pair_is_in_sync", False),
]
PLACES = dict(zip((edit[0].__name__ for edit in EDITS), NOTEBOOKS[2:]))


def run_pytest(folder, *arguments):
    """The ids of the tests that fail in a copy of the repository."""
    command = [sys.executable, "-m", "pytest", "-n0", "-q", "-rf", "-pno:cacheprovider", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 1, done.stdout[-3000:] + done.stderr[-3000:]
    return set(re.findall(r"^FAILED (.+?)(?: - .*)?$", done.stdout, re.MULTILINE))


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    folder = shutil.copytree(ROOT, tmp_path_factory.mktemp("edited") / "book", ignore=NOT_COPIED)
    for edit, _, _, both in EDITS:
        path = folder / "chapters" / PLACES[edit.__name__].name
        notebook = jupytext.read(path)
        edit(notebook)
        text = path.with_suffix(".md").read_text(encoding="utf-8")
        write_pair(path.with_suffix(".md"), notebook)
        if not both:
            path.with_suffix(".md").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def failed(copy):
    return run_pytest(copy, *TEXTS)


@pytest.mark.parametrize("edit, file, test, both", EDITS, ids=[edit[0].__name__ for edit in EDITS])
def test_a_wrong_edit_is_seen(failed, edit, file, test, both):
    assert f"tests/book/test_{file}.py::{test}[{PLACES[edit.__name__].stem}]" in failed


def test_a_wrong_constant_and_a_wrong_stored_number_are_seen_by_running_the_cell(copy):
    """In both sides of the pair, in cells whose output is the same with all data."""
    path = copy / "chapters" / NOTEBOOKS[0].name
    notebook = jupytext.read(path)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    compared = [
        number
        for number, cell in enumerate(cells)
        if not cell.metadata.get("tags") and any(re.search(r"\d", out.get("text", "")) for out in cell.outputs)
    ]
    stored = cells[compared[-1]].outputs[-1]
    stored.text = re.sub(r"\d(?!.*\d)", lambda found: str((int(found[0]) + 1) % 10), stored.text, flags=re.DOTALL)
    constant = next(number for number in compared if re.search(r"\d", cells[number].source))
    cells[constant].source = re.sub(r"(\d)(?!.*\d)", r"1\1", cells[constant].source, flags=re.DOTALL)
    write_pair(path.with_suffix(".md"), notebook)
    assert run_pytest(copy, f"chapters/{path.name}") >= {
        f"chapters/{path.name}::Cell {number}" for number in (constant, compared[-1])
    }
