"""The shape of every chapter: a picture first, short cells, folded answers, and an end to remember and to try.

The style guide says what the shape is for. That a fill-in exercise can tell right from wrong is tried where the cell
is run: see try_fill_in in the conftest.py at the root.
"""

import ast
import re
import statistics

import pytest
from book_sources import BLOCK, CAPTION, NOTEBOOKS, blank, code_cells, pictures, printed, read

END = ["In short", "Test yourself", "Exercises", "What next"]
MEDIAN, LONGEST, PREDICTIONS = 10, 30, 4
FOLDED = {"hide-cell", "hide-input", "remove-cell"}
STUB = "return ...  # your code"
TO_BE_FILLED_IN = "to be filled in"
DETAILS = r"<details>\n<summary>{}</summary>\n\n.+?\n\n</details>"
ANSWER, SOLUTION = (re.compile(DETAILS.format(name), re.DOTALL) for name in ("Answer", "(?:Solution|Answer)"))
PREDICT = re.compile(r"^> \*\*Predict\.\*\*(?:.*\n)(?:>.*\n)*", re.MULTILINE)
MARKED = re.compile(r"\*(Easy|Medium|Hard)(, fill in)?\.\*")
PICTURE = re.compile(r"!\[[^]]+\]\(|<img |<object |<svg |\*\*Figure ")

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def tags_of(cell):
    return set(cell.metadata.get("tags", []))


def is_shown(cell):
    return "remove-cell" not in tags_of(cell)


def text_of(path):
    """The prose of a chapter without its code."""
    return "\n\n".join(BLOCK.sub(blank, cell.source) for cell in read(path).cells if cell.cell_type == "markdown")


def sections(path):
    """The sections of a chapter by their headings, in order: each the list of its Markdown texts and code cells."""
    found = {"": []}
    for cell in read(path).cells:
        if cell.cell_type == "code":
            found[list(found)[-1]].append(cell)
            continue
        for part in re.split(r"^(?=## )", cell.source, flags=re.MULTILINE):
            heading = re.match(r"## (.*)\n*", part)
            if heading:
                found[heading[1].strip()] = []
            found[list(found)[-1]].append(part[heading.end() if heading else 0 :])
    return found


def section(path, name):
    """The Markdown of a section, in which a line of three stars stands for each code cell."""
    found = sections(path)
    assert name in found, f"{path.stem}: there is no section '## {name}'; found {list(found)[1:]}"
    return "\n\n".join(part if isinstance(part, str) else "***" for part in found[name]).strip()


def items(text):
    """The numbered items of a section, "**1.** …", each with all that belongs to it."""
    return re.split(r"^(?=\*\*\d+\.\*\* )", text, flags=re.MULTILINE)[1:]


@every_notebook
def test_a_picture_comes_first(path):
    """Above it stands the title and a sentence or two, but no list, no code and no section."""
    texts = [cell.source if cell.cell_type == "markdown" else "***" for cell in read(path).cells if is_shown(cell)]
    above = PICTURE.split("\n\n".join(texts), maxsplit=1)[0].partition("\n")[2]
    above = re.sub(r"\*\*\*\Z", "", re.sub(r"<[^>]+>", "", above).strip())  # the anchor, and the cell that draws it
    assert not re.search(r"^(?:## |[-*] |\*\*\*)", above, re.MULTILINE), (
        f"{path.stem}: no picture stands straight after the title; found first:\n{above.strip()[:200]}"
    )
    words = len(above.split())
    assert words <= 60, f"{path.stem}: {words} words stand above the first picture; expected a sentence or two"


@every_notebook
def test_cells_hold_one_idea(path):
    lengths = [len(cell.source.strip().splitlines()) for cell in code_cells(path)]
    median = statistics.median(lengths)
    assert median <= MEDIAN, f"{path.stem}: the median of its cells is {median} lines; expected at most {MEDIAN}"
    for cell, length in zip(code_cells(path), lengths):
        assert length <= LONGEST, f"{path.stem}: {length} lines in a cell, expected at most {LONGEST}:\n{cell.source}"


@every_notebook
def test_what_is_folded_on_the_page_is_folded_in_jupyterlab(path):
    for cell in code_cells(path):
        folded = bool(cell.metadata.get("jupyter", {}).get("source_hidden"))
        assert folded == bool(tags_of(cell) & FOLDED), (
            f"{path.stem}: tags {sorted(tags_of(cell))} and `jupyter: source_hidden: {str(folded).lower()}` do not go "
            f"together; both fold a cell:\n{cell.source[:200]}"
        )


@every_notebook
def test_check_cells_say_what_they_guarantee_and_are_folded(path):
    for cell in code_cells(path):
        first = cell.source.splitlines()[0]
        is_check = first.startswith("# Check")
        assert is_check == ("hide-cell" in tags_of(cell)), f"{path.stem}: expected '# Check: …' and hide-cell:\n{first}"
        if is_check:
            assert re.match(r"# Check: \S.{14,}", first), f"{path.stem}: say in a sentence what holds: {first}"
            assert "assert" in cell.source, f"{path.stem}: nothing is checked in\n{cell.source}"
            assert len(printed(cell).splitlines()) <= 1, f"{path.stem}: prints more than a line:\n{cell.source}"


@every_notebook
def test_predictions_are_few_and_their_answers_folded(path):
    text = text_of(path)
    boxes = list(PREDICT.finditer(text + "\n"))
    assert len(boxes) <= PREDICTIONS, f"{path.stem}: {len(boxes)} Predict boxes; expected at most {PREDICTIONS}"
    for box in boxes:
        after = text[box.end() :].lstrip("\n")
        assert ANSWER.match(after), f"{path.stem}: no folded answer stands straight below:\n{box[0]}"
    loose = re.search(r".{0,60}\b(?:Predict|Guess first)\b.{0,60}", PREDICT.sub("", text + "\n"))
    assert not loose, f"{path.stem}: only a Predict box asks to predict: {loose and loose[0]!r}"


@every_notebook
def test_a_chapter_ends_with_what_to_remember_and_to_try(path):
    names = list(sections(path))
    missing = [name for name in END if name not in names]
    assert not missing, f"{path.stem}: without the sections {missing}; found {names[1:]}"
    assert [name for name in names if name in END] == END, f"{path.stem}: expected the order {END}"


@every_notebook
def test_in_short_has_three_to_five_points_with_numbers(path):
    text = section(path, "In short")
    points = re.findall(r"^- .*(?:\n(?!- |\n).*)*", text, re.MULTILINE)
    assert 3 <= len(points) <= 5, f"{path.stem}: {len(points)} points under 'In short'; expected three to five"
    assert any(re.search(r"\d", point) for point in points), f"{path.stem}: 'In short' has no number to remember"


@every_notebook
def test_three_questions_have_folded_answers(path):
    questions = items(section(path, "Test yourself"))
    assert [one[:6] for one in questions] == ["**1.**", "**2.**", "**3.**"], (
        f"{path.stem}: found {len(questions)} questions under 'Test yourself'; expected **1.**, **2.** and **3.**"
    )
    for question in questions:
        assert len(ANSWER.findall(question)) == 1, f"{path.stem}: expected one folded answer below\n{question}"


@every_notebook
def test_exercises_say_how_hard_they_are_and_have_folded_solutions(path):
    exercises = items(section(path, "Exercises"))
    assert len(exercises) >= 2, f"{path.stem}: {len(exercises)} exercises; expected one to fill in and others"
    for number, exercise in enumerate(exercises, start=1):
        start = f"**{number}.** "
        marked = MARKED.match(exercise, len(start))
        assert exercise.startswith(start) and marked, (
            f"{path.stem}: exercise {number} does not start '{start}*Easy.*', *Medium.* or *Hard.*: {exercise[:60]!r}"
        )
        assert bool(marked[2]) == (number == 1), f"{path.stem}: the first exercise, and no other, is '*Easy, fill in.*'"
        assert SOLUTION.search(exercise), f"{path.stem}: exercise {number} has no folded solution"


@every_notebook
def test_one_exercise_is_filled_in(path):
    """A function without a body, and a line that says whether it is right; its solution defines it again."""
    cells = [cell for cell in code_cells(path) if "fill-in" in tags_of(cell)]
    assert len(cells) == 1, f"{path.stem}: {len(cells)} cells with the tag fill-in; expected one, in the first exercise"
    (cell,) = cells
    first = items(section(path, "Exercises"))[0]
    assert first.count("***") == 1 and first.index("***") < first.index("<details>"), (
        f"{path.stem}: the cell to fill in stands in the first exercise, above its solution"
    )
    assert STUB in cell.source and "assert" in cell.source, f"{path.stem}: expected '{STUB}' and an assert"
    functions = [node for node in ast.parse(cell.source).body if isinstance(node, ast.FunctionDef)]
    assert len(functions) == 1 and ast.get_docstring(functions[0]), f"{path.stem}: expected a function that says what"
    solution = re.search(r"```python\n(.*?)```", first, re.DOTALL)
    assert solution and f"def {functions[0].name}(" in solution[1], (
        f"{path.stem}: the solution does not define {functions[0].name} again, in a block ```python"
    )
    assert printed(cell).strip() == TO_BE_FILLED_IN, (
        f"{path.stem}: the cell prints {printed(cell)!r} before it is filled"
    )


@every_notebook
def test_what_next_leads_on(path):
    text = section(path, "What next")
    assert re.search(r"\]\([^)]+\.(?:ipynb|md)", text), f"{path.stem}: 'What next' links to no chapter"
    assert len(text.split()) <= 80, f"{path.stem}: 'What next' has {len(text.split())} words; expected a line or two"


@every_notebook
def test_captions_of_folded_code_are_in_view(path):
    """A folded cell that draws is followed by its caption."""
    cells = read(path).cells
    for cell, after in zip(cells, [*cells[1:], None]):
        if "hide-input" in tags_of(cell):
            assert cell.outputs, (
                f"{path.stem}: a cell tagged hide-input shows nothing; tag it hide-cell or show it:\n{cell.source}"
            )
            assert not pictures(cell) or (after and CAPTION.match(after.source)), (
                f"{path.stem}: no caption\n{cell.source}"
            )
