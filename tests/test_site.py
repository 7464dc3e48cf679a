"""The published book in a browser: self-contained, light, sound, and open to everybody.

The site is built once, strictly, from a copy of the repository, and served under /book/ as Pages would serve it. A
headless Chromium then visits each page once, wide and in both themes and as narrow as a phone, and writes down what
it sees; each test reads these notes. It reaches no other host, and notes what a page asks of one.

    pip install -r requirements.txt && apt-get install chromium
    pytest tests/test_site.py                       # CHROMIUM=/path/to/chromium for another browser
    pytest tests/test_site.py -k weight -rP         # and the requests and the weight of every page

Where there is no Chromium the tests are skipped, and say so.
"""

import gzip
import re
import shutil
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import dataclass, field
from functools import cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import pytest
import yaml

ROOT = Path(__file__).parent.parent
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text())
CHAPTERS = [TOC["root"], *(entry["file"] for part in TOC["parts"] for entry in part["chapters"])]
PAGES = [f"{name.removesuffix('.ipynb')}.html" for name in CHAPTERS] + ["search.html", "genindex.html", "404.html"]
WEIGHT = 1_200_000  # bytes of a first visit, compressed as servers do

every_page = pytest.mark.parametrize("page", PAGES)

# What a page says about itself, read after its scripts have run.
FACTS = r"""() => {
  const all = (selector) => [...document.querySelectorAll(selector)];
  const article = document.querySelector("article, main").cloneNode(true);
  article.querySelectorAll("pre, code, script, style").forEach((node) => node.remove());
  const icons = all("[class*='fa-']").filter((node) => /(^| )fa[srb]?( |-solid)/.test(node.getAttribute("class")));
  return {
    title: document.title,
    lang: document.documentElement.lang,
    description: document.querySelector("meta[name=description]")?.content ?? "",
    preview: all("meta[property^='og:']").map((node) => node.getAttribute("property")),
    headings: all("h1").filter((node) => node.checkVisibility()).length,
    links: all("a[href]").map((node) => node.href),
    assets: all("link[href], script[src], img[src]").map((node) => node.href || node.src),
    anchors: all("[id]").map((node) => node.id),
    images: all("img").map((node) => [node.getAttribute("src"), node.getAttribute("alt"), node.naturalWidth]),
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

# Two things are slow to look at: the tokens of code, most of the elements of a page, and the contrast of a text. One of
# each kind is enough: one token of a class, one text of a colour and a size on the same backgrounds.
AXE = """async (options) => {
  const tokens = new Set();
  document.querySelectorAll("pre span[class]").forEach((node) => {
    const kind = [node.className, node.closest("[class*=cell_]")?.className].join();
    tokens.has(kind) ? node.replaceWith(...node.childNodes) : tokens.add(kind);
  });
  const texts = new Set(), looks = new Map();
  const look = (node) => {
    if (!looks.has(node)) {
      const { color, fontSize, fontWeight, background, opacity } = getComputedStyle(node);
      const around = node.parentElement ? look(node.parentElement).around : "";
      const behind = [around, node.className, background, opacity].join();
      looks.set(node, { around: behind, kind: [behind, color, fontSize, fontWeight].join() });
    }
    return looks.get(node);
  };
  document.querySelectorAll("body *").forEach((node) => {
    const words = [...node.childNodes].some((child) => child.nodeType === Node.TEXT_NODE && child.data.trim());
    const text = words && node.checkVisibility();
    node.toggleAttribute("data-contrast", text && !texts.has(look(node).kind));
    if (text) texts.add(look(node).kind);
  });
  axe.configure({ rules: [{ id: "color-contrast", selector: "[data-contrast]" }] });
  return (await axe.run(options)).violations;
}"""
COLOUR_RULES = ["color-contrast", "link-in-text-block"]


@dataclass
class Visit:
    """What the browser saw on one page."""

    address: str
    requests: list = field(default_factory=list)
    foreign: list = field(default_factory=list)
    errors: list = field(default_factory=list)
    facts: dict = field(default_factory=dict)
    overflow: list = field(default_factory=list)
    barriers: dict = field(default_factory=dict)


class Pages(SimpleHTTPRequestHandler):
    """Serve the site under /book/, and its 404 page for what does not exist."""

    def translate_path(self, path):
        return super().translate_path(path.removeprefix("/book"))

    def send_error(self, code, message=None, explain=None):
        body = Path(self.directory, "404.html").read_bytes()
        self.send_response(code)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def site(browser, tmp_path_factory):
    """The folder of the built site."""
    pytest.importorskip("axe_playwright_python", reason="axe is not installed: pip install -r requirements.txt")
    pytest.importorskip("jupyter_book", reason="jupyter-book is not installed: pip install -r requirements.txt")
    book = tmp_path_factory.mktemp("site") / "book"
    shutil.copytree(ROOT, book, ignore=shutil.ignore_patterns(".git", ".venv", ".*_cache", "_build", "trained"))
    build = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", "."]
    done = subprocess.run([*build, "-W", "-n", "--keep-going"], cwd=book, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return book / "_build/html"


@pytest.fixture(scope="module")
def address(site):
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Pages, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/book/"
    server.shutdown()


@pytest.fixture
def tab(browser, address):
    """A fresh, empty-cached tab, and the notes of its visit."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    tab, visit = context.new_page(), Visit("")
    watch(tab, visit, address)
    yield tab, visit
    context.close()


def watch(tab, visit, address):
    """Note what the tab asks for and complains of."""

    def ask(request):
        known = request.url.startswith((address, "data:", "blob:"))
        (visit.requests if known else visit.foreign).append(request.url)

    def log(message):
        if message.type == "error":
            visit.errors.append(f"{message.text} ({message.location.get('url')})")

    tab.on("request", ask)
    tab.on("pageerror", lambda error: visit.errors.append(str(error)))
    tab.on("console", log)


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


@pytest.fixture(scope="module")
def visits(browser, address):
    """Every page, visited once."""
    axe = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text()
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
    visits = {}
    for page in PAGES:
        tab, visit = context.new_page(), Visit(address + page)
        watch(tab, visit, address)
        tab.goto(visit.address)
        rest(tab)
        visit.facts = tab.evaluate(FACTS)
        tab.evaluate(axe)
        tab.add_style_tag(content="* { transition: none !important; }")
        visit.barriers["light, wide"] = find_barriers(tab)
        # By now what scripts ask for later has been asked for too; what follows is no first visit.
        requests = visit.requests.copy()
        tab.emulate_media(color_scheme="dark")
        tab.evaluate("document.documentElement.dataset.theme = 'dark'")
        visit.barriers["dark, wide"] = find_barriers(tab, runOnly=COLOUR_RULES)
        tab.set_viewport_size({"width": 375, "height": 700})
        visit.overflow = tab.evaluate(OVERFLOW)
        # The theme looks for scrolling blocks, to let the keyboard in, a while after a change.
        tab.wait_for_timeout(400)
        visit.barriers["dark, phone"] = find_barriers(tab, rules={rule: {"enabled": False} for rule in COLOUR_RULES})
        visit.requests = requests
        visits[page] = visit
        tab.close()
    return visits


@every_page
def test_nothing_is_asked_from_elsewhere(visits, page):
    visit = visits[page]
    assert not visit.foreign
    assert not [url for url in visit.facts["assets"] if urlsplit(url).netloc != urlsplit(visit.address).netloc]


@every_page
def test_no_error_is_reported(visits, page):
    assert not visits[page].errors


@every_page
def test_all_mathematics_is_rendered(visits, page):
    facts = visits[page].facts
    assert facts["rendered"] >= facts["formulas"]
    assert not facts["formula_errors"]
    assert not re.findall(r"\\[(\[].{0,60}|\$\S.{0,60}", facts["prose"])


def test_there_is_mathematics(visits):
    assert sum(visit.facts["rendered"] for visit in visits.values()) > 100


@every_page
def test_every_link_inside_the_book_leads_somewhere(visits, site, address, page):
    anchors = {address + page: set(visit.facts["anchors"]) for page, visit in visits.items()}
    for link in set(visits[page].facts["links"]):
        target, anchor = urldefrag(urljoin(visits[page].address, link))
        if not target.startswith(address):
            assert urlsplit(target).scheme in ("http", "https", "mailto", "blob", "data"), link
            assert urlsplit(target).netloc != urlsplit(address).netloc, f"{link} leaves the book's folder"
            continue
        file = site / unquote(urlsplit(target).path.removeprefix("/book/"))
        assert (file / "index.html" if file.is_dir() else file).is_file(), f"{link} leads nowhere"
        if anchor and target in anchors:
            assert unquote(anchor) in anchors[target], f"{link} names no anchor"


@every_page
def test_a_phone_never_scrolls_sideways(visits, page):
    assert not visits[page].overflow


@every_page
def test_first_visit_is_light_by_weight(visits, site, page):
    @cache
    def weigh(path):
        return len(gzip.compress((site / path).read_bytes(), 6))

    paths = [unquote(urlsplit(url).path).removeprefix("/book/") for url in visits[page].requests]
    paths = [path for path in paths if not path.startswith("data:")]
    total = sum(map(weigh, paths))
    heaviest = ", ".join(f"{Path(path).name} {weigh(path) // 1000}" for path in sorted(paths, key=weigh)[:-5:-1])
    print(f"{page}: {len(paths)} requests, {total / 1e6:.2f} MB compressed; kB: {heaviest}")
    twice = [path for path, count in Counter(paths).items() if count > 1]
    assert not twice and not [path for path in paths if "fontawesome" in path], "the icons are in _static/icons.css"
    assert total <= WEIGHT


@pytest.mark.parametrize("look", ["light, wide", "dark, wide", "dark, phone"])
@every_page
def test_there_is_no_barrier(visits, page, look):
    assert not visits[page].barriers[look], "\n".join(visits[page].barriers[look])


@every_page
def test_every_image_is_there_and_says_what_is_seen(visits, page):
    for source, alt, width in visits[page].facts["images"]:
        assert alt is not None and not re.search(r"\.(png|svg|jpe?g|gif)$|/", alt.strip()), f"{source}: {alt!r}"
        assert width > 0, f"{source} does not load"


@every_page
def test_every_button_has_its_icon(visits, page):
    assert not visits[page].facts["iconless"], "draw it in _static/icons.css"


@every_page
def test_head_names_and_describes_the_page(visits, page):
    facts = visits[page].facts
    assert facts["lang"] == "en" and facts["headings"] == 1
    assert "Conditional Variational Autoencoders" in facts["title"]
    assert 50 <= len(facts["description"]) <= 210, facts["description"]
    if page != "404.html":
        assert {"og:title", "og:description", "og:type", "og:site_name"} <= set(facts["preview"])


def test_titles_and_descriptions_differ(visits):
    chapters = [visit.facts for page, visit in visits.items() if page.startswith("chapters/")]
    for key in ("title", "description"):
        assert len({facts[key] for facts in chapters}) == len(chapters)


def test_every_page_has_the_books_own_icon(site):
    for page in PAGES:
        assert re.search(r'<link rel="icon" href="[^"]*_static/favicon.svg"', (site / page).read_text()), page


@pytest.mark.parametrize("lost", ["nowhere.html", "chapters/nowhere.html", "chapters/deep/er/nowhere"])
def test_a_lost_reader_finds_the_way_back(tab, address, lost):
    tab, visit = tab
    assert tab.goto(address + lost).status == 404
    rest(tab)
    assert set(visit.requests) <= {address + lost, address + "_static/favicon.svg"} and not visit.foreign
    assert not [error for error in visit.errors if address + lost not in error]
    tab.get_by_role("link", name="the beginning of the book").click()
    assert tab.url == f"{address}{TOC['root']}.html"


def test_search_finds_a_word(tab, address):
    tab, visit = tab
    tab.goto(f"{address}search.html?q=posterior")
    tab.wait_for_selector("#search-results li a")
    assert not visit.errors and not visit.foreign
