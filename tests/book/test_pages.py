"""The built pages against their sources: no text, code, output or picture is lost on the way, and no link leads astray.

No browser is needed. How the pages look and behave is in test_site.py.
"""

import re
import runpy
from functools import cache
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import numpy as np
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
from matplotlib import colormaps
from PIL import Image

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
        images = [image for output in outputs for image in output.select("img:not(.text_html img, .only-dark)")]
        assert len(images) == len(pictures(cell)), f"the page shows {len(images)} pictures of\n{cell.source}"


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
        assert [image["alt"] for image in figure.select("img:not(.only-dark)")] == [alt]


@every_source
def test_every_image_is_there_in_its_size_and_transparent_ones_in_both_themes(parse, site, name):
    """So nothing moves when an image arrives, and no plot is a light card on a dark page."""
    folder, images = (site / name).parent, parse(name).article.select('img[src*="_images/"][src$=".png"]')
    for image in images:
        with Image.open(folder / image["src"]) as picture:
            assert [int(image[side]) for side in ("width", "height")] == list(picture.size) and image[
                "loading"
            ] == "lazy"
            clear = picture.convert("RGBA").getchannel("A").getextrema()[0] == 0
        assert clear == bool({"only-light", "only-dark"} & set(image.get("class", []))), image["src"]
    light, dark = ([one for one in images if kind in one.get("class", [])] for kind in ("only-light", "only-dark"))
    assert [one["alt"] for one in light] == [one["alt"] for one in dark]
    for one, other in zip(light, dark):
        assert one.find_next("img") is other
        sizes = [(folder / image["src"]).stat().st_size for image in (one, other)]
        assert sizes[1] < 1.5 * sizes[0] + 1000, f"{other['src']} is much heavier than the version for light pages"


def hex_to_rgba(colour, alpha=255):
    return [int(colour[i : i + 2], 16) for i in (1, 3, 5)] + [alpha]


def test_the_version_for_dark_pages_changes_the_ink_and_keeps_digits_and_heat_maps():
    extension = runpy.run_path(str(ROOT / "_ext/themed_figures.py"))
    on_dark, recolour = extension["ON_DARK"], extension["recolour"]
    drawn = np.array([[hex_to_rgba(colour, alpha) for colour in on_dark] for alpha in (255, 90)], "uint8")
    expected = np.array([[hex_to_rgba(colour, alpha) for colour in on_dark.values()] for alpha in (255, 90)])
    grey = np.repeat(np.arange(256, dtype="uint8")[None, :, None], 4, axis=2) | np.array([0, 0, 0, 255], "uint8")
    heat = colormaps["viridis"](np.arange(256), bytes=True)[None]
    np.testing.assert_array_equal(recolour(drawn), expected)
    np.testing.assert_array_equal(recolour(grey), grey)
    np.testing.assert_array_equal(recolour(heat), heat)
    on_a_map = recolour(np.concatenate([drawn[:1], heat[:, :10]], axis=1))
    np.testing.assert_array_equal(on_a_map[0], [*expected[0], *heat[0, :10]])
    overlap = np.array([[[150, 60, 110, 255]]], "uint8")  # of dots in two colours
    assert recolour(overlap)[0, 0, :3].sum() > overlap[0, 0, :3].sum(), "a mixed colour stays dark"


def test_a_palette_of_256_colours_changes_no_figure_that_can_be_seen(tmp_path):
    reduce_colours = runpy.run_path(str(ROOT / "_ext/light_images.py"))["reduce_colours"]
    rng = np.random.default_rng(0)
    ramp = np.arange(256, dtype="uint8")
    few = np.stack([ramp] * 3 + [ramp[::-1]], axis=1)[rng.integers(0, 256, (90, 90))]
    many = np.dstack([few[..., :3], rng.choice(np.array([0, 255], "uint8"), (90, 90))])
    noise = rng.integers(0, 256, (90, 90, 4)).astype("uint8")
    for pixels, largest in ((few, 0), (many, 1), (noise, 0)):
        path = tmp_path / "figure.png"
        Image.fromarray(pixels).save(path)
        before = path.stat().st_size
        reduce_colours(path)
        with Image.open(path) as image:
            assert (image.mode == "P") == (pixels is not noise), "noise has no 256 colours"
            found = np.asarray(image.convert("RGBA"), float)
        assert path.stat().st_size <= before
        for ground in (0, 255):
            on_ground = [
                one[..., :3] * (one[..., 3:] / 255) + ground * (1 - one[..., 3:] / 255) for one in (found, pixels)
            ]
            assert np.abs(on_ground[0] - on_ground[1]).mean() <= largest


@pytest.mark.parametrize("name", PAGES)
def test_only_pages_with_formulas_load_mathjax(parse, name):
    formulas = parse(name).select(".math")
    assert bool(parse(name).select('script[src*="mathjax"]')) == bool(formulas)


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
    descriptions = {parse(name).select_one("meta[name=description]")["content"] for name in SOURCES}
    assert len(descriptions) == len(SOURCES)
    code = [text for text in descriptions if re.search(r"Show code|\bimport \w+ ", text)]
    assert not code, f"begin with a sentence, not with code: {code}"


def test_every_page_has_the_books_own_icon(site):
    for page in PAGES:
        text = (site / f"{page}.html").read_text(encoding="utf-8")
        assert re.search(r'<link rel="icon" href="[^"]*_static/favicon.svg"', text), page
