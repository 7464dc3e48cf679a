"""The built pages against their sources: no text, code, output or picture is lost on the way, and no link leads astray.

No browser is needed. How the pages look and behave is in test_site.py.
"""

import re
from functools import cache
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import pytest
from book_sources import EXECUTED, PAGES, ROOT, SOURCES, code_cells, pictures, printed, prose, squeeze
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
    assert len(shown) == len(cells)
    for cell, on_page in zip(cells, shown):
        assert letters_of(on_page.select_one(".cell_input")) == squeeze(cell.source)
        outputs = on_page.select(".cell_output")
        if "remove-output" in cell.metadata.get("tags", []):
            assert not outputs
            continue
        text = "".join(letters_of(output, without="figure") for output in outputs)
        assert text == squeeze(printed(cell)), f"the page shows another output of\n{cell.source}"
        images = [image for output in outputs for image in output.select("img")]
        assert len(images) == len(pictures(cell)), f"the page shows {len(images)} pictures of\n{cell.source}"
        for image in images:
            assert (site / "chapters" / image["src"]).is_file()


@every_chapter
def test_every_figure_that_a_cell_names_is_on_the_page(parse, name):
    for cell in code_cells(ROOT / f"{name}.ipynb"):
        settings = cell.metadata.get("mystnb", {})
        if "figure" in settings:
            found = parse(name).select(f"figure#{settings['figure']['name']}")
            assert len(found) == 1, f"the page lacks {settings['figure']['name']}"
            assert squeeze(settings["figure"]["caption"]) in letters_of(found[0])
            assert [image["alt"] for image in found[0].select("img")] == [settings["image"]["alt"]]


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
