"""The book as data: pairs, outputs, figures, numbers, tags, lines, and code that stands in two places."""

import ast
import re
import runpy
from collections import defaultdict

import jupytext
import pytest
from book_sources import (
    BLOCK,
    CHAPTERS,
    GAP,
    LISTED,
    NOTEBOOKS,
    ROOT,
    SOURCES,
    TEXTS,
    blank,
    code_cells,
    pictures,
    printed,
    read,
    without_front_matter,
)

TAGS = {
    "full-data",
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


def settings(cell):
    """What a cell's metadata say of its figure: a dictionary with `figure` (caption, name) and `image` (alt)."""
    return cell.metadata.get("mystnb", {})


def test_every_text_has_a_notebook_and_every_notebook_a_text():
    assert [path.stem for path in TEXTS] == [path.stem for path in NOTEBOOKS]
    assert len(NOTEBOOKS) >= 6


@every_notebook
def test_pair_is_in_sync(path):
    text = path.with_suffix(".md")
    assert jupytext.writes(read(path), fmt="md:myst") == text.read_text(encoding="utf-8"), (
        f"{text.name} and {path.name} differ; from the text: python3 chapters/execute.py chapters/{text.name}; "
        f"from the notebook: jupytext --to md:myst chapters/{path.name}"
    )


@every_notebook
def test_cells_were_executed_in_order(path):
    """nbval never compares a cell without a count, so a chapter that was not executed would pass."""
    counts = [cell.execution_count for cell in code_cells(path)]
    assert counts == list(range(1, len(counts) + 1)), f"execute it: python3 chapters/execute.py chapters/{path.stem}.md"


@every_notebook
def test_outputs_belong_to_no_machine(path):
    notebook = read(path)
    assert set(notebook.metadata.language_info) <= {"name", "pygments_lexer"}
    assert "widgets" not in notebook.metadata
    for cell in code_cells(path):
        assert "execution" not in cell.metadata, "a timing is stored"
        for output in cell.outputs:
            assert output.get("name") != "stderr", f"stderr is stored: {output.text[:200]}"
            assert output.output_type != "error" or "raises-exception" in cell.metadata.tags
            assert not MACHINE.search(str({**output, "data": output.get("data", {}).get("text/plain")}))


@every_notebook
def test_a_cell_with_a_figure_shows_it(path):
    """With a wrong backend, or after the last line was lost, a cell runs and shows nothing."""
    for cell in code_cells(path):
        if "figure" in settings(cell):
            name = settings(cell)["figure"]["name"]
            assert len(pictures(cell)) == 1, f"{name}: found {pictures(cell)}, expected one picture"


@every_notebook
def test_figures_have_caption_name_and_alt_text(path):
    for cell in code_cells(path):
        if not pictures(cell) or {"remove-output", "remove-cell"} & set(cell.metadata.get("tags", [])):
            continue
        figure, alt = settings(cell).get("figure", {}), settings(cell).get("image", {}).get("alt", "")
        assert len(figure.get("caption", "")) > 20 and figure.get("name", "").startswith("fig-"), cell.source
        assert len(alt) > 40 and alt != figure["caption"], f"say what is seen in {figure['name']}"


def test_names_of_figures_are_unique():
    cells = [cell for path in NOTEBOOKS for cell in code_cells(path) if "figure" in settings(cell)]
    names = [settings(cell)["figure"]["name"] for cell in cells]
    assert len(names) == len(set(names)) > 10


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
def test_cells_are_short_and_narrow(path):
    for cell in code_cells(path):
        assert len(cell.source.splitlines()) <= 40, f"more than one idea?\n{cell.source}"
        # A page of 1280 pixels shows 79 columns.
        shown = "" if "remove-output" in cell.metadata.get("tags", []) else printed(cell)
        wide = [line for line in [*cell.source.splitlines(), *shown.splitlines()] if len(line) > 79]
        assert not wide, f"wider than the page: {wide}"


@every_text
def test_lines_are_short_enough_to_review(path):
    """100 columns, but for rows of tables and for links, which cannot be broken."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if len(line) > 100 and not line.startswith("|"):
            assert re.search(r"\S{60}", line), f"{path.name}, line {number}: {len(line)} columns"


# What begins a list, a heading or a quotation, and the lines after which one may begin: an empty one, one of a list, a
# fence, a label.
MARK = re.compile(r" *(?:[-+*>]|#{1,6}|(\d+)[.)]) ")
BEFORE = re.compile(rf"[{GAP}]?$| |:::|\([\w-]+\)=$")


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


@every_text
def test_every_fence_is_closed_where_it_was_opened(path):
    """MyST closes an open fence at the end of a cell: the rest of the text would be folded into a solution."""
    for cell in re.split(r"^(?:```\{code-cell\}.*?^```|\+\+\+.*?)$", without_front_matter(path), flags=re.M | re.S):
        text = BLOCK.sub("", cell)
        assert "```" not in text, f"{path.name}: a block of code is not closed:\n{text[text.index('```') :][:200]}"
        opened = []
        for colons, name in re.findall(r"^ *(:{3,}) *(.*)$", text, flags=re.M):
            if name:
                opened.append((colons, name))
            else:
                assert opened and opened.pop()[0] == colons, f"{path.name}: {colons} closes nothing in\n{cell[:200]}"
        assert not opened, f"{path.name}: {opened} is not closed"


NUMBER = re.compile(r"(?<![\w.])[−-]?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?(?![\w.]*\d)")
NOT_PROSE = re.compile(r"```\{math\}.*?```|```.*?```|\$[^$]+\$|`[^`\n]+`|https?://\S+", re.DOTALL)


def numbers_in(text):
    found = NUMBER.findall(text)
    return [(one, abs(float(one.replace(",", "").replace("−", "-")))) for one in found]


@every_notebook
def test_decimals_in_the_prose_stand_in_an_output_or_in_the_code(path):
    """A figure that is quoted must be printed, or set, on the same page: retraining cannot leave it stale."""
    notebook = read(path)
    shown = [value for cell in code_cells(path) for _, value in numbers_in(printed(cell) + "\n" + cell.source)]
    prose = [NOT_PROSE.sub(" ", cell.source) for cell in notebook.cells if cell.cell_type == "markdown"]
    for cell in code_cells(path):
        prose += [settings(cell).get("figure", {}).get("caption", ""), settings(cell).get("image", {}).get("alt", "")]
    for text, value in numbers_in("\n".join(prose)):
        if "." in text:
            half = 0.5000001 * 10 ** -len(text.split(".")[1])
            assert any(abs(value - other) <= half for other in shown), f"{text} is quoted and never shown"


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
        for function in [one for cell in code_cells(path) for one in functions(cell.source)]:
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


def test_the_ledger_says_what_is_not_met_and_takes_no_rounding_for_it():
    program = runpy.run_path(str(CHAPTERS / "make_ledger.py"))
    compare = program["compare"]
    verdict = {digits: compare("a loss", 1.3, "", [1.34, 1.36], "", digits=digits)[4] for digits in (1, 2)}
    assert verdict == {1: program["MET"], 2: program["NOT_MET"]}
    assert compare("a share", 99.3, "", [99.2, 99.3], "", digits=1, more=True)[4] == program["MET"]
    assert compare("a share", 99.4, "", [99.2, 99.3], "", digits=1, more=True)[3:5] == [
        "99.2 to 99.3 (2 seeds)",
        program["NOT_MET"],
    ]
