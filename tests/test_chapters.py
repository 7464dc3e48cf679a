"""The book as data: pairs, outputs, figures, numbers, tags, and code that stands in two places."""

import ast
import re
import runpy
from pathlib import Path

import jupytext
import nbformat
import pytest
import yaml

ROOT = Path(__file__).parent.parent
CHAPTERS = ROOT / "chapters"
NOTEBOOKS = sorted(CHAPTERS.glob("*.ipynb"))
TEXTS = sorted(path for path in CHAPTERS.glob("*.md") if path.read_text().startswith("---\njupytext:"))
TAGS = {"full-data", "hide-input", "nbval-ignore-output", "raises-exception", "remove-cell", "remove-output"}
# What would differ elsewhere: folders, addresses in memory, times of a step, colours of a terminal, the machine's name.
MACHINE = re.compile(
    r"(?<![\w.])/(?:home|root|tmp|usr|work|opt|var|Users)/|[A-Z]:\\|0x[0-9a-f]{6,}|s/step|\x1b\[|localhost"
)

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path):
    return nbformat.read(path, as_version=4)


def code_cells(path):
    return [cell for cell in read(path).cells if cell.cell_type == "code" and cell.source.strip()]


def figure_cells(path):
    return [cell for cell in code_cells(path) if any("image/png" in out.get("data", {}) for out in cell.outputs)]


def printed(cell):
    """What a cell shows as text, apart from the name of a figure or a widget."""
    texts = [out.get("text", "") or out.get("data", {}).get("text/plain", "") for out in cell.outputs]
    shows_text = [text for text, out in zip(texts, cell.outputs) if set(out.get("data", {})) <= {"text/plain"}]
    return "\n".join(shows_text)


def test_every_text_has_a_notebook_and_every_notebook_a_text():
    assert [path.stem for path in TEXTS] == [path.stem for path in NOTEBOOKS]
    assert len(NOTEBOOKS) >= 6


@every_notebook
def test_pair_is_in_sync(path):
    text = path.with_suffix(".md")
    assert jupytext.writes(read(path), fmt="md:myst") == text.read_text(), (
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
def test_figures_have_caption_name_and_alt_text(path):
    for cell in figure_cells(path):
        if "remove-output" in cell.metadata.get("tags", []) or "remove-cell" in cell.metadata.get("tags", []):
            continue
        settings = cell.metadata.get("mystnb", {})
        figure, alt = settings.get("figure", {}), settings.get("image", {}).get("alt", "")
        assert len(figure.get("caption", "")) > 20 and figure.get("name", "").startswith("fig-"), cell.source
        assert len(alt) > 40 and alt != figure["caption"], f"say what is seen in {figure['name']}"


def test_names_of_figures_are_unique():
    names = [cell.metadata["mystnb"]["figure"]["name"] for path in NOTEBOOKS for cell in figure_cells(path)]
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
        settings = cell.metadata.get("mystnb", {})
        prose += [settings.get("figure", {}).get("caption", ""), settings.get("image", {}).get("alt", "")]
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
    in_library = definitions((ROOT / "cvae_lib/model.py").read_text())
    assert len(in_library) >= 9
    for name, code in in_library.items():
        assert on_page.get(name) == code, f"{name} differs between chapter 2 and cvae_lib/model.py"


def test_no_helper_is_defined_in_two_chapters():
    owners = {}
    for path in NOTEBOOKS:
        for name in page_definitions(path):
            owners.setdefault(name, []).append(path.stem)
    shared = {name: stems for name, stems in owners.items() if len(stems) > 1}
    assert not shared, f"a helper of two chapters belongs in cvae_lib: {shared}"


def test_the_toc_lists_every_page_once():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    listed = [entry["file"] for part in toc["parts"] for entry in part["chapters"]] + [toc["root"]]
    pages = [f"chapters/{path.name}" for path in NOTEBOOKS]
    pages += [f"chapters/{path.stem}" for path in CHAPTERS.glob("*.md") if path not in TEXTS]
    assert sorted(listed) == sorted(pages)


def test_the_ledger_is_what_its_sources_say():
    program = runpy.run_path(str(CHAPTERS / "make_ledger.py"))
    assert (CHAPTERS / "ledger.md").read_text() == program["make_page"](), "write it again: chapters/make_ledger.py"


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
