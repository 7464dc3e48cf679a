"""The texts are plain Markdown that reads the same in Jupyter, on GitHub and in the book.

So the numbers of equations and figures, and the words of links, are written by hand. Here they are compared with what
they point to; test_pages.py compares them with the numbers on the built pages.
"""

import re
from functools import cache

import pytest
from book_sources import (
    ANCHOR,
    BLOCK,
    CAPTION,
    CHAPTERS,
    EQUATION,
    LINK,
    LISTED,
    NOTEBOOKS,
    ROOT,
    SOURCES,
    blank,
    read,
    without_front_matter,
)

# Authors, address and year of an entry of the bibliography.
ENTRY = re.compile(r"^- <a id=[^>]+></a>([^[]+)\.\s+\[[^]]+\]\((\S+)\)\..*?\s(\d{4})\.$", re.MULTILINE | re.DOTALL)
WRITTEN_NUMBER = re.compile(r"(?:[Ee]quation \((\d+\.\d+)\)|Figure (\d+\.\d+))$")
# What MyST, or its plug-in for JupyterLab, understands and a plain viewer shows as it stands.
ONLY_MYST = re.compile(r"\{[\w:-]+\}`|^ *:{3,}|^\([\w-]+\)=|^ *`{3,}\{(?!code-cell)|\[\^|\{[#.][\w-]+\}", re.MULTILINE)

every_text = pytest.mark.parametrize("path", [ROOT / f"{name}.md" for name in SOURCES], ids=lambda path: path.stem)
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@cache
def text_of(path):
    """A text without its header and its code."""
    return re.sub(r"`[^`]*`", blank, BLOCK.sub(blank, without_front_matter(path)))


@cache
def numbers(path):
    """From the anchor of each equation and figure of a text to the number that is written there."""
    notebook = path.with_suffix(".ipynb")
    cells = [cell.source for cell in read(notebook).cells] if notebook.exists() else []
    captions = [found for found in map(CAPTION.match, cells) if found]
    return {found[1]: found[3] for found in EQUATION.finditer(text_of(path))} | {one[1]: one[2] for one in captions}


@cache
def sources():
    """From the address of each source of the bibliography to its authors and its year."""
    entries = ENTRY.findall((CHAPTERS / "bibliography.md").read_text(encoding="utf-8"))
    return {url: (" ".join(authors.split()), year) for authors, url, year in entries}


@every_text
def test_nothing_that_only_myst_understands(path):
    text = BLOCK.sub(lambda found: found[0] if found[2].startswith("{") else "", without_front_matter(path))
    text = re.sub(r"(?<!`)`[^`{}\n]*`", "", text)
    found = ONLY_MYST.search(text)
    assert not found, f"{path.name}: a plain viewer shows this as it stands: {text[found.start() :][:80]!r}"


@every_notebook
def test_what_a_cell_opens_it_closes(path):
    """Otherwise the rest of the text would be folded into a solution, or be code."""
    for cell in read(path).cells:
        if cell.cell_type == "markdown":
            text = BLOCK.sub("", cell.source)
            assert "```" not in text and text.count("$$") % 2 == 0, f"not closed:\n{text[:200]}"
            tags = re.findall(r"<(/?)(details|summary|div|span|a)\b", text)
            opened = []
            for closes, name in tags:
                assert not closes or (opened and opened.pop() == name), f"</{name}> closes nothing in\n{text[:200]}"
                opened += [] if closes else [name]
            assert not opened, f"<{opened[-1]}> is not closed in\n{text[:200]}"


@every_text
def test_the_body_of_a_solution_is_read_as_markdown(path):
    """That needs an empty line after the summary and before the end; without them it is shown as HTML."""
    text = without_front_matter(path)
    folded = re.findall(r"<details>\n<summary>[^\n]+</summary>\n\n.+?\n\n</details>(?=\n\n|\n*\Z)", text, re.DOTALL)
    assert len(folded) == text.count("<details")


@every_notebook
def test_equations_and_figures_are_counted_in_their_order(path):
    chapter = int(path.name[:2])
    tags = re.findall(r"\\tag\{([^}]+)\}", text_of(path.with_suffix(".md")))
    captions = [found for found in (CAPTION.match(cell.source) for cell in read(path).cells) if found]
    assert tags == [f"{chapter}.{i}" for i in range(1, len(tags) + 1)]
    assert [found[2] for found in captions] == [f"{chapter}.{i}" for i in range(1, len(captions) + 1)]
    assert len(numbers(path.with_suffix(".md"))) == len(tags) + len(captions), "each needs an anchor of its own"


def test_the_chapters_have_the_numbers_of_the_table_of_contents():
    """The numbers of chapters are written in the names of their files, in tags, in captions and in sentences."""
    order = [name.split("/")[1] for name in LISTED if name.endswith(".ipynb")]
    assert order == sorted(order) == [path.name for path in NOTEBOOKS]
    assert [int(name[:2]) for name in order] == list(range(1, len(order) + 1))


@every_text
def test_anchors_are_unique(path):
    anchors = ANCHOR.findall(text_of(path))
    assert len(anchors) == len(set(anchors))


@every_text
def test_links_lead_somewhere_and_say_the_right_number(path):
    for words, address in LINK.findall(text_of(path)):
        words = " ".join(words.split())
        if re.match(r"[a-z]+:", address):
            continue
        file, _, anchor = address.partition("#")
        target = path.parent / file if file else path
        assert target.is_file(), f"[{words}]({address}): there is no {file}"
        text = target.with_suffix(".md") if target.suffix == ".ipynb" else target
        if anchor:
            assert anchor in ANCHOR.findall(text_of(text)), f"[{words}]({address}): {text.name} has no such anchor"
        said = WRITTEN_NUMBER.match(words)
        assert bool(said) == anchor.startswith(("eq-", "fig-")), f"[{words}]({address}): say which equation or figure"
        if said:
            assert (said[1] or said[2]) == numbers(text)[anchor], f"[{words}]({address}): the number is another"
            assert bool(said[1]) == anchor.startswith("eq-"), f"[{words}]({address})"


@every_text
def test_links_to_sources_name_author_and_year(path):
    for words, address in LINK.findall(text_of(path)):
        words = " ".join(words.split())
        if address in sources() and path.stem != "bibliography":
            authors, year = sources()[address]
            people = [author.split()[-1] for author in re.split(r", | and ", authors)]
            several = {1: people[0], 2: " and ".join(people)}.get(len(people), f"{people[0]} et al.")
            assert words in (f"{several}, {year}", f"{several} ({year})"), f"{words}: {address} is by {authors}, {year}"


def test_the_bibliography_holds_what_is_cited_and_nothing_else():
    pages = "".join(text_of(ROOT / f"{name}.md") for name in SOURCES if not name.endswith("bibliography"))
    cited = {address for words, address in LINK.findall(pages) if re.search(r"\d{4}\)?$", words)}
    assert cited == set(sources())
    surnames = [re.split(r", | and ", authors)[0].split()[-1] for authors, _ in sources().values()]
    assert surnames == sorted(surnames)
    text = (CHAPTERS / "bibliography.md").read_text(encoding="utf-8")
    assert len(sources()) == text.count("\n- "), "an entry is not: - <a id=…></a>Authors. [Title](address). …, year."
