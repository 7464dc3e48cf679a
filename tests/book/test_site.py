"""The published book in a browser: self-contained, light, sound, and open to everybody.

The site is served under /book/ as Pages would serve it. A headless Chromium visits each page once, wide and in both
themes and as narrow as a phone, and writes down what it sees; the tests of a page read these notes. It reaches no other
host, and notes what a page asks of one. With pytest-xdist the pages are shared between the processes.

    pip install -r requirements.txt && apt-get install chromium
    pytest tests/book/test_site.py                  # CHROMIUM=/path/to/chromium for another browser
    pytest tests/book/test_site.py -k weight -rP    # and the requests and the weight of every page

Where there is no Chromium the tests are skipped, and say so.
"""

import gzip
import json
import re
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from book_sources import EXECUTED, PAGES, ROOT, SOURCES

WEIGHT = 1_200_000  # bytes of a first visit, compressed as servers do
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 700}
each_look = pytest.mark.parametrize("look", ["light, wide", "dark, wide", "dark, phone"])

# What a page says about itself, read after its scripts have run.
FACTS = r"""() => {
  const all = (selector) => [...document.querySelectorAll(selector)];
  // A copy in another document, which loads no image: one in this document would ask for those of the other theme, too.
  const article = new DOMParser().parseFromString(document.querySelector("article, main").outerHTML, "text/html").body;
  article.querySelectorAll("pre, code, script, style").forEach((node) => node.remove());
  const icons = all("[class*='fa-']").filter((node) => /(^| )fa[srb]?( |-solid)/.test(node.getAttribute("class")));
  return {
    title: document.title,
    lang: document.documentElement.lang,
    description: document.querySelector("meta[name=description]")?.content ?? "",
    preview: all("meta[property^='og:']").map((node) => node.getAttribute("property")),
    headings: all("h1").filter((node) => node.checkVisibility()).length,
    assets: all("link[href], script[src], img[src]").map((node) => node.href || node.src),
    images: all("img").filter((node) => node.checkVisibility())
      .map((node) => [node.getAttribute("src"), node.getAttribute("alt"), node.naturalWidth]),
    formulas: all("span.math, div.math").length,
    rendered: all("mjx-container").length,
    formula_errors: all("mjx-merror, [data-mjx-error]").map((node) => node.textContent),
    prose: article.textContent,
    iconless: icons.filter((node) => !getComputedStyle(node).getPropertyValue("--icon")).map((node) => node.className),
  };
}"""
# Wider than the screen, and not inside something that scrolls by itself.
OVERFLOW = """() => {
  const width = document.documentElement.clientWidth;
  return document.documentElement.scrollWidth <= width ? [] : [...document.querySelectorAll("main *")]
    .filter((node) => node.getBoundingClientRect().right > width + 1).slice(0, 5)
    .map((node) => node.outerHTML.slice(0, 120));
}"""

# Displayed formulas that are cut off: those that are wider than their place, and do not scroll in it, and those that
# lie on their numbers. On a wide screen none may have to scroll.
CUT_OFF = """(mayScroll) => [...document.querySelectorAll("div.math")].filter((block) => {
  const formula = block.querySelector("mjx-container");
  const number = block.querySelector(".eqno")?.getBoundingClientRect();
  const place = formula.getBoundingClientRect();
  const scrolls = formula.scrollWidth > formula.clientWidth + 1;
  const covers = number && number.right > place.left && number.left < place.right - 1
    && number.bottom > place.top + 1 && number.top < place.bottom - 1;
  const canScroll = getComputedStyle(formula).overflowX === "auto";
  return covers || place.right > block.getBoundingClientRect().right + 1 || (scrolls && !(mayScroll && canScroll));
}).map((block) => block.id || block.textContent.slice(0, 40))"""
# Load the images that this theme shows, as a reader who reads the page to its end does.
READ_ON = """async () => {
  const images = [...document.images].filter((image) => image.checkVisibility());
  images.forEach((image) => { image.loading = "eager"; });
  await Promise.allSettled(images.map((image) => image.decode()));
}"""

# axe-core looks at every element in several ways, and most elements of a page are alike: the tokens of its code and the
# parts of its formulas. One of each kind is enough: one token of a class, of more than a character, or axe cannot judge
# its contrast; one formula in a line and one on its own. The others keep their text, or their size.
THIN_OUT = """() => {
  const known = new Set();
  const isFirst = (kind) => known.size < known.add(kind).size;
  document.querySelectorAll("pre span[class]").forEach((node) => {
    const kind = [node.className, node.closest("[class*=cell_]")?.className].join();
    if (node.textContent.length < 2 || !isFirst(kind)) node.replaceWith(...node.childNodes);
  });
  document.querySelectorAll("mjx-container").forEach((node) => {
    if (isFirst(["formula", node.getAttribute("display")].join())) return;
    const { width, height } = node.firstElementChild.getBoundingClientRect();
    const place = document.createElement("span");
    place.textContent = "x";
    place.style.cssText = `display: inline-block; width: ${width}px; height: ${height}px`;
    node.replaceChildren(place);
  });
}"""
# The contrast of a text follows from its colour, size and weight, and from what is painted behind it.
AXE = """async (options) => {
  const looks = new Map(), known = new Set();
  const look = (node) => {
    if (!looks.has(node)) {
      const { color, fontSize, fontWeight, background, backgroundColor, backgroundImage, opacity } =
        getComputedStyle(node);
      const clear = backgroundColor === "rgba(0, 0, 0, 0)" && backgroundImage === "none" && opacity === "1";
      const around = node.parentElement ? look(node.parentElement).behind : "";
      const behind = clear ? around : [around, background, opacity].join();
      looks.set(node, { behind, kind: [behind, color, fontSize, fontWeight].join() });
    }
    return looks.get(node);
  };
  document.querySelectorAll("body *").forEach((node) => {
    const texts = [...node.childNodes].filter((child) => child.nodeType === Node.TEXT_NODE);
    const words = texts.some((child) => child.data.trim().length > 1);
    const text = words && node.checkVisibility();
    node.toggleAttribute("data-contrast", text && !known.has(look(node).kind));
    if (text) known.add(look(node).kind);
  });
  axe.configure({ rules: [{ id: "color-contrast", selector: "[data-contrast]" }] });
  return (await axe.run(options)).violations;
}"""
COLOUR_RULES = ["color-contrast", "link-in-text-block"]


@dataclass
class Visit:
    """What the browser saw on one page."""

    page: str
    requests: list = field(default_factory=list)
    foreign: list = field(default_factory=list)
    errors: list = field(default_factory=list)
    facts: dict = field(default_factory=dict)
    overflow: list = field(default_factory=list)
    cut_off: dict = field(default_factory=dict)
    barriers: dict = field(default_factory=dict)


@pytest.fixture(scope="module")
def address(serve, site):
    return serve(site)


@pytest.fixture
def new_tab(browser):
    """A tab of a reader who has not been here before."""
    context = browser.new_context(viewport=WIDE)
    yield context.new_page()
    context.close()


@contextmanager
def watch(tab, address, page=""):
    """Note what the tab asks for and complains of: a Visit."""
    visit = Visit(page)

    def ask(request):
        known = request.url.startswith((address, "data:", "blob:"))
        (visit.requests if known else visit.foreign).append(request.url)

    def complain(error):
        visit.errors.append(str(error))

    def log(message):
        if message.type == "error":
            visit.errors.append(f"{message.text} ({message.location.get('url')})")

    noted = {"request": ask, "pageerror": complain, "console": log}
    for event, note in noted.items():
        tab.on(event, note)
    yield visit
    for event, note in noted.items():
        tab.remove_listener(event, note)


def rest(tab):
    """Wait until every formula is set and every font there; images and scripts are, once a page has loaded."""
    tab.evaluate("async () => { await window.MathJax?.startup?.promise; await document.fonts.ready; }")


def find_barriers(tab, **options):
    """The serious and critical findings of axe-core, as lines."""
    found = tab.evaluate(AXE, {"preload": False, "resultTypes": ["violations"], **options})
    return [
        f"{one['impact']} {one['id']}: {node['html'][:200]} {node['failureSummary'][:300]}"
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"][:3]
    ]


# One tab for all pages of a process: Chromium starts a new process for each new tab.
@pytest.fixture(scope="module")
def tab(browser):
    context = browser.new_context()
    yield context.new_page()
    context.close()


@pytest.fixture(scope="module", params=[f"{name}.html" for name in PAGES])
def visit(request, tab, address, axe):
    """The notes of the one visit to a page."""
    tab.set_viewport_size(WIDE)
    tab.emulate_media(color_scheme="light")
    with watch(tab, address, request.param) as visit:
        tab.goto(address + visit.page)
        rest(tab)
        tab.evaluate(READ_ON)
        visit.facts = tab.evaluate(FACTS)
        visit.cut_off["wide"] = tab.evaluate(CUT_OFF, False)
        tab.set_viewport_size(PHONE)
        visit.cut_off["phone"] = tab.evaluate(CUT_OFF, True)
        tab.set_viewport_size(WIDE)
        errors = visit.errors.copy()  # axe-core evaluates strings, which the page's policy forbids and axe survives
        tab.evaluate(axe)
        tab.add_style_tag(content="* { transition: none !important; }")
        tab.evaluate(THIN_OUT)
        visit.barriers["light, wide"] = find_barriers(tab)
        # By now what scripts ask for later has been asked for too; what follows is no first visit.
        requests = visit.requests.copy()
        tab.emulate_media(color_scheme="dark")
        tab.evaluate("document.documentElement.dataset.theme = 'dark'")
        visit.barriers["dark, wide"] = find_barriers(tab, runOnly=COLOUR_RULES)
        # The theme looks for scrolling blocks, to let the keyboard in, a while after a change of size: do not wait.
        tab.evaluate(
            "{ const wait = setTimeout; window.setTimeout = (call, time, ...rest) => wait(call, 0, ...rest); }"
        )
        tab.set_viewport_size(PHONE)
        visit.overflow = tab.evaluate(OVERFLOW)
        tab.wait_for_timeout(50)
        visit.barriers["dark, phone"] = find_barriers(tab, rules={rule: {"enabled": False} for rule in COLOUR_RULES})
        visit.requests, visit.errors = requests, errors
    return visit


def test_nothing_is_asked_from_elsewhere(visit, address):
    assert not visit.foreign
    assert not [url for url in visit.facts["assets"] if not url.startswith((address, "data:"))]


def test_no_error_is_reported(visit):
    assert not visit.errors


def test_all_mathematics_is_rendered(visit):
    assert visit.facts["rendered"] >= visit.facts["formulas"]
    assert not visit.facts["formula_errors"]
    assert not re.findall(r"\\[(\[].{0,60}|\$\S.{0,60}", visit.facts["prose"])


@pytest.mark.parametrize("screen", ["wide", "phone"])
def test_no_formula_is_cut_off_or_lies_on_its_number(visit, screen):
    """On a wide screen it fits; on a phone one that is too wide scrolls in its own box, above its number."""
    assert not visit.cut_off[screen], f"{visit.page}: break these formulas into lines: {visit.cut_off[screen]}"


def test_a_phone_never_scrolls_sideways(visit):
    assert not visit.overflow


def test_first_visit_is_light_by_weight(visit, site):
    @cache
    def weigh(path):
        return len(gzip.compress((site / path).read_bytes(), 6))

    paths = [unquote(urlsplit(url).path).removeprefix("/book/") for url in visit.requests if url.startswith("http")]
    total = sum(map(weigh, paths))
    heaviest = ", ".join(f"{Path(path).name} {weigh(path) // 1000}" for path in sorted(paths, key=weigh)[:-5:-1])
    print(f"{visit.page}: {len(paths)} requests, {total / 1e6:.2f} MB compressed; kB: {heaviest}")
    twice = [path for path, count in Counter(paths).items() if count > 1]
    assert not twice and not [path for path in paths if "fontawesome" in path], "the icons are in _static/icons.css"
    assert total <= WEIGHT


@each_look
def test_there_is_no_barrier(visit, look):
    assert not visit.barriers[look], "\n".join(visit.barriers[look])


def test_every_image_is_there_and_says_what_is_seen(visit):
    for source, alt, width in visit.facts["images"]:
        assert alt is not None and not re.search(r"\.(png|svg|jpe?g|gif)$|/", alt.strip()), f"{source}: {alt!r}"
        assert width > 0, f"{source} does not load"


def test_every_button_has_its_icon(visit):
    assert not visit.facts["iconless"], "draw it in _static/icons.css"


def test_head_names_and_describes_the_page(visit):
    facts = visit.facts
    assert facts["lang"] == "en" and facts["headings"] == 1
    assert "Conditional Variational Autoencoders" in facts["title"]
    assert 50 <= len(facts["description"]) <= 210, facts["description"]
    if visit.page != "404.html":
        assert {"og:title", "og:description", "og:type", "og:site_name"} <= set(facts["preview"])


@pytest.mark.parametrize("lost", ["nowhere.html", "chapters/nowhere.html", "chapters/deep/er/nowhere"])
def test_a_lost_reader_finds_the_way_back(new_tab, address, lost):
    with watch(new_tab, address) as visit:
        assert new_tab.goto(address + lost).status == 404
        rest(new_tab)
    assert set(visit.requests) <= {address + lost, address + "_static/favicon.svg"} and not visit.foreign
    assert not [error for error in visit.errors if address + lost not in error]
    new_tab.get_by_role("link", name="the beginning of the book").click()
    assert new_tab.url == f"{address}{SOURCES[0]}.html"


def test_search_finds_a_word_in_the_text(new_tab, address):
    """What it shows around the word is text, not the table of contents; its magnifier stands beside the words."""
    with watch(new_tab, address) as visit:
        new_tab.goto(f"{address}search.html?q=posterior")
        new_tab.wait_for_selector("#search-results li p.context")
        rest(new_tab)
        for context in new_tab.locator("#search-results li p.context").all_inner_texts():
            assert not re.search(r"\d+\.\d+\. .*\d+\.\d+\. ", context), f"a list of contents: {context}"
        icon, box = (
            new_tab.locator(f".bd-search-container .bd-search {one}").first.bounding_box() for one in ("i", "input")
        )
    assert icon["x"] + icon["width"] <= box["x"] + 1
    assert not visit.errors and not visit.foreign


FIGURE = "chapters/05_map_the_latent_space.html"  # its first figure is wider than a phone


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_each_theme_loads_its_own_version_of_a_figure(new_tab, address, scheme):
    new_tab.emulate_media(color_scheme=scheme)
    with watch(new_tab, address) as visit:
        new_tab.goto(address + FIGURE)
        new_tab.evaluate(READ_ON)
    other = "light" if scheme == "dark" else "dark"
    assert new_tab.locator(f"figure img.only-{scheme}").first.is_visible()
    assert not new_tab.locator(f"figure img.only-{other}").first.is_visible()
    asked = [url for url in visit.requests if "_images/" in url]
    dark = [url for url in asked if url.endswith(".dark.png")]
    assert asked and (dark if scheme == "dark" else not dark), "the versions for the other theme are loaded, too"


def test_a_figure_opens_at_its_full_size_on_a_phone(new_tab, address):
    """By a tap on it or by its button from the keyboard; a tap, Escape and the dialog's button close it."""
    new_tab.set_viewport_size(PHONE)
    new_tab.goto(address + FIGURE)
    new_tab.evaluate(READ_ON)
    figure = new_tab.locator(".enlarge", has=new_tab.locator("button:visible")).first
    image, dialog = figure.locator("img:visible"), new_tab.locator("dialog.full-size")
    width = int(image.get_attribute("width"))
    assert image.bounding_box()["width"] < width

    image.click()
    shown = dialog.locator("img:visible")
    assert shown.bounding_box()["width"] == width and shown.get_attribute("alt") == image.get_attribute("alt")
    assert dialog.evaluate("one => one.scrollWidth > one.clientWidth"), "what is wider than the screen scrolls"
    assert dialog.get_attribute("aria-label")
    dialog.evaluate("one => one.scrollTo(100, 0)")
    shown.click()
    assert not dialog.is_visible() and not dialog.locator("img").count()

    button = figure.get_by_role("button", name="Open the figure at full size")
    button.press("Enter")
    new_tab.keyboard.press("Escape")
    assert not dialog.is_visible() and button.evaluate("one => one === document.activeElement")
    button.press("Enter")
    dialog.get_by_role("button", name="Close").click()
    assert not dialog.is_visible()


def test_a_figure_that_nearly_fits_has_no_button(new_tab, address):
    new_tab.set_viewport_size({"width": 2600, "height": 900})
    new_tab.goto(address + FIGURE)
    widths = new_tab.locator(".enlarge").evaluate_all(
        "all => all.map((one) => [one.clientWidth, +one.querySelector('img').getAttribute('width'), "
        "one.querySelector('button').checkVisibility()])"
    )
    assert widths and all(shown == (place <= 0.85 * width) for place, width, shown in widths)


@pytest.mark.parametrize("scheme", ["file", "http"])
def test_the_download_button_saves_the_chapter(new_tab, address, site, scheme):
    """From disk too, where a link to a file only shows it; what is saved is the notebook, byte for byte."""
    start = address if scheme == "http" else f"{site.as_uri()}/"
    with watch(new_tab, start) as visit:
        new_tab.goto(f"{start}{EXECUTED[0]}.html")
        new_tab.get_by_role("button", name="Download this page").click()
        with new_tab.expect_download() as download:
            new_tab.get_by_role("link", name=".ipynb").click()
    assert download.value.suggested_filename == f"{Path(EXECUTED[0]).name}.ipynb"
    saved = Path(download.value.path()).read_bytes()
    assert saved == (ROOT / f"{EXECUTED[0]}.ipynb").read_bytes() and json.loads(saved)["cells"]
    assert len(new_tab.context.pages) == 1 and not visit.errors
