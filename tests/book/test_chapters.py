"""The book as data: pairs, outputs, figures, numbers, tags, lines, and code that stands in two places."""

import ast
import base64
import io
import re
import runpy
from collections import defaultdict

import pytest
from book_sources import (
    BLOCK,
    CAPTION,
    CHAPTERS,
    FRONT_MATTER,
    GAP,
    LISTED,
    NOTEBOOKS,
    ROOT,
    SOURCES,
    TEXTS,
    alt_text,
    blank,
    code_cells,
    pictures,
    printed,
    read,
    without_front_matter,
)
from PIL import Image

from chapters.execute import text_side

HIDDEN = {"remove-cell", "remove-output"}
TAGS = {
    "defines",
    "fill-in",
    "full-data",
    "hide-cell",
    "hide-input",
    "mnist-data",
    "nbval-ignore-output",
    "raises-exception",
    "remove-cell",
    "remove-output",
}
# What would differ elsewhere: folders, addresses in memory, times of a step, colours of a terminal, the machine's name.
MACHINE = re.compile(
    r"(?<![\w.])/(?:home|root|tmp|usr|work|opt|var|Users)/|[A-Z]:\\|0x[0-9a-f]{6,}|s/step|\x1b\[|localhost"
)

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
every_text = pytest.mark.parametrize("path", [ROOT / f"{name}.md" for name in SOURCES], ids=lambda path: path.stem)


def test_every_text_has_a_notebook_and_every_notebook_a_text():
    assert [path.stem for path in TEXTS] == [path.stem for path in NOTEBOOKS]
    assert len(NOTEBOOKS) >= 6


@every_notebook
def test_pair_is_in_sync(path):
    """But for the front matter, which an editor may change: the name of a kernel, a version."""
    text = path.with_suffix(".md")
    expected, found = text_side(read(path)), text.read_text(encoding="utf-8")
    assert FRONT_MATTER.sub("", expected) == FRONT_MATTER.sub("", found), (
        f"{text.name} and {path.name} differ; from the text: python3 chapters/execute.py chapters/{text.name}; "
        f"from the notebook: jupytext --to md:myst chapters/{path.name}"
    )


@every_notebook
def test_cells_were_executed_in_order(path):
    """nbval never compares a cell without a count, so a chapter that was not executed would pass.

    The counts need not begin at 1: in Jupyter the same kernel may have run the chapter before.
    """
    counts = [cell.execution_count for cell in code_cells(path)]
    assert None not in counts and counts == sorted(set(counts)), (
        f"found the counts {counts}; expected one for each cell, each higher than the last. In Jupyter run all cells, "
        f"or: python3 chapters/execute.py chapters/{path.stem}.md"
    )


@every_notebook
def test_outputs_belong_to_no_machine(path):
    for cell in code_cells(path):
        for output in cell.outputs:
            assert output.get("name") != "stderr", f"stderr is stored: {output.text[:200]}"
            assert output.output_type != "error" or "raises-exception" in cell.metadata.tags
            assert not MACHINE.search(str({**output, "data": output.get("data", {}).get("text/plain")}))


@every_notebook
def test_every_picture_has_a_caption_below_it_and_an_alt_text(path):
    """And every caption a picture: with a wrong backend, or without its last line, a cell runs and shows nothing."""
    cells = read(path).cells
    for cell, after in zip(cells, [*cells[1:], None]):
        caption = CAPTION.match(after.source) if after else None
        shown = [] if cell.cell_type == "markdown" else pictures(cell)
        if HIDDEN & set(cell.metadata.get("tags", [])):
            shown = []
        assert len(shown) == (caption is not None), f"{len(shown)} pictures, and below them:\n{after and after.source}"
        if caption:
            assert caption[1].startswith("fig-") and len(caption[3]) > 20, caption[0]
            assert len(alt_text(cell)) > 40 and alt_text(cell) != caption[3], f"say what is seen in {caption[1]}"


@every_notebook
def test_transparent_figures_ask_for_a_light_ground(path):
    """Their text is dark: in the dark theme of JupyterLab, VS Code or nbconvert it could not be read without one."""
    for cell in code_cells(path):
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                with Image.open(io.BytesIO(base64.b64decode(output.data["image/png"]))) as picture:
                    clear = picture.convert("RGBA").getchannel("A").getextrema()[0] == 0
                found = output.metadata.get("needs_background")
                assert found == ("light" if clear else None), f"make the figure with plots.styled:\n{cell.source}"


@every_notebook
def test_tags_are_known(path):
    for cell in read(path).cells:
        assert set(cell.metadata.get("tags", [])) <= TAGS


def test_most_printing_cells_are_compared_and_the_others_say_why():
    printing = [cell for path in NOTEBOOKS for cell in code_cells(path) if printed(cell)]
    ignored = [cell for cell in printing if "nbval-ignore-output" in cell.metadata.get("tags", [])]
    assert len(printing) > 30 and len(ignored) <= 0.15 * len(printing)
    for path in NOTEBOOKS:
        for cell in code_cells(path):
            assert "NBVAL" not in cell.source, "use the tag, not nbval's comment"
            if "nbval-ignore-output" in cell.metadata.get("tags", []):
                assert "# Not compared: " in cell.source, f"say why in a comment: {cell.source[:80]}"


@every_notebook
def test_cells_are_narrow(path):
    for cell in code_cells(path):
        # A page of 1280 pixels shows 79 columns.
        shown = "" if "remove-output" in cell.metadata.get("tags", []) else printed(cell)
        wide = [line for line in [*cell.source.splitlines(), *shown.splitlines()] if len(line) > 79]
        assert not wide, f"wider than the page: {wide}"


@every_text
def test_lines_are_short_enough_to_review(path):
    """100 columns, but for rows of tables, links, and alt texts, whose lines MyST joins without a space."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if len(line) > 100 and not re.match(r"\||(- \[)?!\[", line):
            assert re.search(r"\S{60}", line), f"{path.name}, line {number}: {len(line)} columns"


# What begins a list, a heading or a quotation, and the lines after which one may begin: an empty one, one of a list.
MARK = re.compile(r" *(?:[-+*>]|#{1,6}|(\d+)[.)]) ")
BEFORE = re.compile(rf"[{GAP}]?$| ")


@every_text
def test_no_line_of_prose_is_read_as_markup(path):
    """MyST drops a line that starts with % and what follows +++, and takes a dash or `2017.` at a start for a list."""
    last, item = "", 0
    for number, line in enumerate(BLOCK.sub(blank, without_front_matter(path)).split("\n"), start=1):
        where = f"{path.name}, line {number}: {line}"
        assert not line.startswith("%") and re.fullmatch(r"(?!\+\+\+).*|\+\+\+( \{.*\})?", line), where
        if mark := MARK.match(line):
            assert BEFORE.match(last) or MARK.match(last), where
            if mark[1]:
                assert int(mark[1]) in (1, item + 1), f"a list would start here: {where}"
                item = int(mark[1])
        last = line


NUMBER = re.compile(r"(?<![\w.])[−-]?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?(?![\w.]*\d)")
NOT_PROSE = re.compile(
    r"```.*?```|\$\$.*?\$\$|\$[^$]+\$|`[^`\n]+`|https?://\S+"
    r"|\bFigure\s+[\d.]+\b|\[[Ee]quation\s+\([\d.]+\)\]",
    re.DOTALL,
)


# Counts and measures that are whole numbers: those with a comma in them, and those of nats and percents.
WHOLE = re.compile(
    r"(?<![\w.,])(?:\d{1,3}(?:,\d{3})+(?!\sMB)|\d+(?=\s(?:nats?\b|(?P<percent>%))(?!\sinterval)))(?![\w.]*\d)"
)
# What is not quoted from a run: round counts of a data set, and what such a word or a range says to be rough.
ROUND = re.compile(r"[\d,]+,000")
ROUGH = re.compile(
    r"\b(?:about|almost|nearly|near|roughly|some|around|than|least|most|above|below|over|under|to)\s[−-]?$"
)
QUESTION = re.compile(r"^\*\*\d+\.\*\* .*?(?=^<details>)", re.DOTALL | re.MULTILINE)  # may suppose a number
SOLUTION = re.compile(r"<details>(?:(?!</details>).)*?```python.*?</details>", re.DOTALL)


def numbers_in(text):
    found = NUMBER.findall(text)
    return [(one, abs(float(one.replace(",", "").replace("−", "-")))) for one in found]


def shown_numbers(path):
    """The numbers that a chapter's cells print, and those in their code."""
    return [value for cell in code_cells(path) for _, value in numbers_in(f"{printed(cell)}\n{cell.source}")]


def quoting_texts(path):
    """The Markdown cells and the alt texts of a chapter."""
    texts = [cell.source for cell in read(path).cells if cell.cell_type == "markdown"]
    return texts + [alt_text(cell) for cell in code_cells(path)]


@every_notebook
def test_decimals_in_the_prose_stand_in_an_output_or_in_the_code(path):
    """A figure that is quoted must be printed, or set, on the same page: retraining cannot leave it stale."""
    shown = shown_numbers(path)
    prose = [NOT_PROSE.sub(" ", text) for text in quoting_texts(path)]
    for text, value in numbers_in("\n".join(prose)):
        if "." in text:
            half = 0.5000001 * 10 ** -len(text.split(".")[1])
            assert any(abs(value - other) <= half for other in shown), (
                f"{text} is quoted and never shown. After a run with other data: git restore chapters/*.ipynb"
            )


@every_notebook
def test_whole_numbers_in_the_prose_stand_in_an_output_or_in_the_code(path):
    """Counts such as 9,731, nats and percents, rounded as the prose has them. What a solution prints is not stored."""
    shown = shown_numbers(path)
    texts = [QUESTION.sub(" ", SOLUTION.sub(" ", text)) for text in quoting_texts(path)]
    text = NOT_PROSE.sub(" ", "\n\n".join(texts))
    for found in WHOLE.finditer(text):
        if ROUND.fullmatch(found[0]) or ROUGH.search(text[: found.start()][-12:]):
            continue
        value = float(found[0].replace(",", ""))
        scales = (1, 100) if found["percent"] else (1,)
        near = any(abs(scale * other - value) <= 0.5 for other in shown for scale in scales)
        words = " ".join(text[max(0, found.start() - 40) : found.end() + 20].split())
        assert near, f"{path.stem}: {found[0]} in {words!r} is never shown: let a cell print it, or say 'about'"


def definitions(source):
    """The functions, classes and constants at the top level of Python code, without docstrings and decorators."""
    found = {}
    for node in ast.parse(source).body:
        for inner in ast.walk(node):
            if isinstance(inner, (ast.FunctionDef, ast.ClassDef)):
                inner.decorator_list = []
                if ast.get_docstring(inner) is not None:
                    inner.body = inner.body[1:]
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found[node.name] = ast.dump(node)
        elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "").isupper():
            found[node.targets[0].id] = ast.dump(node)
    return found


def page_definitions(path):
    found = {}
    for cell in code_cells(path):
        found.update(definitions(cell.source))
    return found


def test_chapter_2_shows_every_line_of_the_model():
    on_page = page_definitions(CHAPTERS / "02_build_the_model.ipynb")
    in_library = definitions((ROOT / "cvae_lib/model.py").read_text(encoding="utf-8"))
    assert "CVAE" in in_library
    for name, code in in_library.items():
        assert on_page.get(name) == code, f"{name} differs between chapter 2 and cvae_lib/model.py"


# A page that teaches a function of the library shows it in full; a cell of it checks that both compute the same.
TAUGHT = {("02_build_the_model", "decode"), ("15_choose_the_likelihood", "mean_pixel")}


def shape(function):
    """The body of a function, in which its arguments and local variables are numbers instead of names.

    Two functions of one shape compute the same, whatever they and their variables are called.
    """
    own = [function.name]
    for node in ast.walk(function):
        if isinstance(node, ast.arg):
            own.append(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            own.append(node.id)
    number = {name: str(i) for i, name in enumerate(dict.fromkeys(own))}
    body = function.body[ast.get_docstring(function) is not None :]
    for node in (inner for line in body for inner in ast.walk(line)):
        if isinstance(node, ast.arg):
            node.arg, node.annotation = number[node.arg], None
        elif isinstance(node, ast.Name):
            node.id = number.get(node.id, node.id)
    return "\n".join(map(ast.dump, body))


def functions(source):
    return [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]


def test_no_helper_stands_in_two_places():
    """A helper of two chapters belongs in the library, and a page calls what the library has, under its name there."""
    places = defaultdict(list)
    for path in (ROOT / "cvae_lib").rglob("*.py"):
        if path.name != "model.py":  # the text of chapter 2, which stands for it here
            for function in functions(path.read_text(encoding="utf-8")):
                places[shape(function)].append((path.name, function.name))
    for path in NOTEBOOKS:
        cells = [cell for cell in code_cells(path) if "fill-in" not in cell.metadata.get("tags", [])]
        for function in [one for cell in cells for one in functions(cell.source)]:
            places[shape(function)].append((path.stem, function.name))
    twice = [found for found in places.values() if len(found) > 1]
    assert TAUGHT <= {place for found in twice for place in found}, "one of these is not in the library any more"
    pages = {path.stem for path in NOTEBOOKS}
    pasted = [found for found in twice if pages & {place for place, _ in found} and not TAUGHT & set(found)]
    assert not pasted, f"the same function in several places: {pasted}"


def test_the_toc_lists_every_page_once():
    pages = [f"chapters/{path.name}" for path in NOTEBOOKS]
    pages += [f"chapters/{path.stem}" for path in CHAPTERS.glob("*.md") if path not in TEXTS]
    assert sorted(LISTED) == sorted(pages)


def test_the_ledger_is_what_its_sources_say():
    program = runpy.run_path(str(CHAPTERS / "make_ledger.py"))
    ledger = (CHAPTERS / "ledger.md").read_text(encoding="utf-8")
    assert ledger == program["make_page"](), "write it again: python3 chapters/make_ledger.py"


def test_the_ledger_judges_by_the_mean_and_its_interval():
    """Not by the best of the seeds: with two or three of them, one often reaches a published run by luck."""
    program = runpy.run_path(str(CHAPTERS / "make_ledger.py"))
    judge, met, level, not_met = (program[name] for name in ("judge", "MET", "LEVEL", "NOT_MET"))
    losses = [130.9, 130.7, 130.8]  # 130.8, and the half of the interval is 0.25
    assert [judge(losses, published) for published in (131.1, 130.77, 130.6, 130.5)] == [met, level, level, not_met]
    assert [judge(losses, published, more=True) for published in (131.1, 130.5)] == [not_met, met]
    assert judge([2.0, 2.0], 2.0) == met, "at the figure is enough"
    assert judge([1.0], 2.0) == judge([3.0], 2.0) == program["ONE_RUN"]
    cells = program["row"]("a loss", 130.5, "", losses, "")
    assert cells[1:5] == ["130.50", "", "130.80 ± 0.25 (3 seeds)", not_met]
    assert program["row"]("a loss", 130.5, "", losses, "", "with another judge")[4] == program["OTHER"]
    facts = [program["row_of_fact"]("entropy", 45.53, "", ours, "")[4] for ours in (45.5349, 45.536)]
    assert facts == [program["AGREES"], program["DIFFERS"]]


def test_the_ledger_reads_the_figures_that_it_names():
    """A line that a chapter prints otherwise is an error, not another figure."""
    print_of = runpy.run_path(str(CHAPTERS / "make_ledger.py"))["print_of"]
    assert print_of("01_meet_the_digits", "one mean image #") == [52.73]
    assert print_of("01_meet_the_digits", "training # #", after="digit 0 1") == [5923, 6742]
    for start in ("one mean image # #", "one mean #", "mean image #"):
        with pytest.raises(SystemExit, match="prints no line like"):
            print_of("01_meet_the_digits", start)
