"""The built pages against their sources: no text, code, output or picture is lost on the way, and no link leads astray.

No browser is needed. How the pages look and behave is in test_site.py.
"""

import re
from functools import cache
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import pytest
from book_sources import (
    CAPTION,
    EQUATION,
    EXECUTED,
    PAGES,
    ROOT,
    SOURCES,
    alt_text,
    code_cells,
    pictures,
    printed,
    prose,
    read,
    squeeze,
    without_front_matter,
)
from bs4 import BeautifulSoup, NavigableString, Tag

ADDRESS = "http://localhost/book/"

every_source = pytest.mark.parametrize("name", SOURCES)
every_chapter = pytest.mark.parametrize("name", EXECUTED)


@pytest.fixture(scope="module")
def parse(site):
    """Parse a page of the site, once: a function from its path without suffix."""
    return cache(lambda name: BeautifulSoup((site / f"{name}.html").read_text(encoding="utf-8"), "html.parser"))


def letters_of(node, without=""):
    """The letters and digits of a part of a page, apart from what a selector names."""
    left_out = {id(inner) for inner in node.select(without)} if without else set()

    def collect(node):
        for child in node.children:
            if type(child) is NavigableString:  # no script, style or comment
                yield child
            elif isinstance(child, Tag) and id(child) not in left_out:
                yield from collect(child)

    return squeeze("".join(collect(node)))


@every_source
def test_all_prose_is_on_the_page(parse, name):
    shown, at = letters_of(parse(name).article, without="div.cell, .math, script, style"), 0
    for number, piece in prose(ROOT / f"{name}.md"):
        start = shown.find(squeeze(piece), at)
        assert start >= 0, f"{name}.md, line {number}: not on the page, or at another place: {piece}"
        at = start + len(squeeze(piece))


@every_chapter
def test_all_code_and_outputs_are_on_the_page(parse, site, name):
    cells, shown = code_cells(ROOT / f"{name}.ipynb"), parse(name).select("div.cell")
    cells = [cell for cell in cells if "remove-cell" not in cell.metadata.get("tags", [])]
    assert len(shown) == len(cells)
    for cell, on_page in zip(cells, shown):
        assert letters_of(on_page.select_one(".cell_input")) == squeeze(cell.source)
        outputs = on_page.select(".cell_output")
        if "remove-output" in cell.metadata.get("tags", []):
            assert not outputs
            continue
        text = "".join(letters_of(output, without="figure, .text_html") for output in outputs)
        assert text == squeeze(printed(cell)), f"the page shows another output of\n{cell.source}"
        tables = [out.data["text/html"] for out in cell.outputs if "text/html" in out.get("data", {})]
        on_page_too = [table for output in outputs for table in output.select(".text_html")]
        assert list(map(letters_of, on_page_too)) == [letters_of(BeautifulSoup(one, "html.parser")) for one in tables]
        images = [image for output in outputs for image in output.select("img:not(.text_html img)")]
        assert len(images) == len(pictures(cell)), f"the page shows {len(images)} pictures of\n{cell.source}"
        for image in images:
            assert (site / "chapters" / image["src"]).is_file()


@every_chapter
def test_every_caption_stands_with_its_picture_and_its_number(parse, name):
    cells = read(ROOT / f"{name}.ipynb").cells
    captions = [(CAPTION.match(after.source), alt_text(cell)) for cell, after in zip(cells, cells[1:])]
    captions = [(found, alt) for found, alt in captions if found]
    figures = parse(name).select("figure:has(.cell_output), figure:has(img)")
    assert [figure["id"] for figure in figures] == [found[1] for found, _ in captions]
    for figure, (found, alt) in zip(figures, captions):
        assert figure.select_one(".caption-number").text.strip() == f"Figure {found[2]}"
        words = re.sub(r"\$[^$]+\$|(?<=\])\([^)]*\)", "", found[3])
        assert squeeze(words) in letters_of(figure, without=".math")
        assert [image["alt"] for image in figure.select("img")] == [alt]


@every_chapter
def test_every_equation_has_the_number_that_the_text_writes(parse, name):
    tags = {found[1]: found[3] for found in EQUATION.finditer(without_front_matter(ROOT / f"{name}.md"))}
    for anchor, number in tags.items():
        assert parse(name).select_one(f"#equation-{anchor} .eqno").text.startswith(f"({number})")
    assert len(parse(name).select(".eqno")) == len(tags)
    assert "\\tag" not in parse(name).text, "MathJax would show a second number"


def test_links_to_sources_lead_to_the_bibliography(parse):
    links = parse("chapters/02_build_the_model").article.select('a[href^="bibliography.html#"]')
    assert "Auto-Encoding Variational Bayes" in {link.get("title") for link in links}
    assert parse("chapters/bibliography").select_one('li a[href="https://arxiv.org/abs/1312.6114"]')


def test_there_is_mathematics(parse):
    assert sum(len(parse(page).select(".math")) for page in PAGES) > 100


def test_every_link_inside_the_book_leads_somewhere(parse, site):
    anchors = cache(lambda page: {node["id"] for node in parse(page).select("[id]")})
    for page in PAGES:
        for href in {node["href"] for node in parse(page).select("a[href]")}:
            target, anchor = urldefrag(urljoin(f"{ADDRESS}{page}.html", href))
            if not target.startswith(ADDRESS):
                assert urlsplit(target).scheme in ("http", "https", "mailto"), f"{page}: {href}"
                assert urlsplit(target).netloc != urlsplit(ADDRESS).netloc, f"{page}: {href} leaves the book's folder"
                continue
            path = unquote(target.removeprefix(ADDRESS))
            file = site / path
            assert (file / "index.html" if file.is_dir() else file).is_file(), f"{page}: {href} leads nowhere"
            if anchor and path.endswith(".html"):
                assert unquote(anchor) in anchors(path.removesuffix(".html")), f"{page}: {href} names no anchor"


def test_titles_and_descriptions_differ(parse):
    assert len({parse(name).title.string for name in SOURCES}) == len(SOURCES)
    assert len({parse(name).select_one("meta[name=description]")["content"] for name in SOURCES}) == len(SOURCES)


def test_every_page_has_the_books_own_icon(site):
    for page in PAGES:
        text = (site / f"{page}.html").read_text(encoding="utf-8")
        assert re.search(r'<link rel="icon" href="[^"]*_static/favicon.svg"', text), page
