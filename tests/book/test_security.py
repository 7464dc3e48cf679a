"""What the pages may run: the book's own scripts, and of those inside a page only the ones that the build put there.

The policy of each page is compared with hashes that are computed here. Then a browser uses every panel, from disk and
from a server, and must never meet the policy; and it must refuse every way by which a script may come into a page.
"""

import base64
import hashlib

import pytest
from book_sources import PAGES
from bs4 import BeautifulSoup

HANDLERS = {"window.print()", "toggleFullScreen()"}  # scripts in attributes: two buttons of the theme
# Note what the policy forbids, from the beginning of a page on.
LISTEN = """globalThis.forbidden = [];
addEventListener("securitypolicyviolation", (event) => {
  forbidden.push([event.effectiveDirective, event.blockedURI, event.sample].join(" "));
});"""


def read_policy(page):
    """The policy of a page, {directive: its values}; it has to stand before all scripts."""
    metas = page.select('meta[http-equiv="Content-Security-Policy"]')
    assert len(metas) == 1 and metas[0].find_previous(["script", "link", "style"]) is None
    parts = (part.split() for part in metas[0]["content"].split(";"))
    return {name: set(values) for name, *values in parts}


def hash_of(script):
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


@pytest.mark.parametrize("name", PAGES)
def test_a_page_allows_its_own_scripts_and_no_others(site, name):
    page = BeautifulSoup((site / f"{name}.html").read_text(encoding="utf-8"), "html.parser")
    policy = read_policy(page)
    assert policy["default-src"] == {"'none'"}
    assert not [values for values in policy.values() if any("http" in one or "*" in one for one in values)]

    inline = {script.string for script in page.select("script:not([src])") if script.string}
    handlers = {value for tag in page.find_all() for key, value in tag.attrs.items() if key.startswith("on")}
    assert handlers <= HANDLERS
    hashes = {one for one in policy["script-src"] if one.startswith("'sha256-")}
    assert hashes == {hash_of(script) for script in inline | HANDLERS}
    assert policy["script-src"] - hashes == {"'self'", "'wasm-unsafe-eval'", "'unsafe-hashes'"}
    assert not page.select('a[href^="javascript:"]')


def see(tab, selector):
    tab.locator(selector).first.wait_for(state="visible")


def use_first_page(tab):
    tab.locator("[data-panels=draw] .cvae-plane").hover()
    tab.wait_for_selector("[data-panels=draw] [data-alive]")
    train(tab, "train-first")


def use_chapter_2(tab):
    """The three panels, the panel that trains, and the formulas."""
    for panel, part in (("step", "next"), ("average", "draw"), ("tug", "pull")):
        tab.locator(f"[data-panels={panel}]").scroll_into_view_if_needed()
        tab.locator(f"[data-panels={panel}] [data-part={part}]").click()
    tab.wait_for_function("() => globalThis.cvaeDecoder")
    train(tab, "train")
    see(tab, "mjx-container")
    with tab.expect_download():
        tab.get_by_role("button", name="Save the weights").click()


def train(tab, panel):
    """Train in a worker by WebAssembly until a step is reported."""
    place = tab.locator(f"[data-panels={panel}]")
    place.scroll_into_view_if_needed()
    place.get_by_role("button", name="Start", exact=True).click()
    status = place.locator("[data-part=status]")
    tab.wait_for_function(r"(node) => /\d/.test(node.textContent)", arg=status.element_handle(), timeout=60_000)
    assert "slow" not in place.inner_text(), "it trains without WebAssembly"


def use_explorer(tab):
    tab.locator(".cvae-explorer").scroll_into_view_if_needed()
    tab.wait_for_selector(".cvae-explorer[data-started]")
    see(tab, "[data-part=picture]")
    box = tab.locator("[data-part=pad]")
    box.scroll_into_view_if_needed()
    box.click(position={"x": 60, "y": 60})


def use_film(tab):
    tab.evaluate("document.querySelectorAll('img').forEach((one) => { one.loading = 'eager'; })")
    tab.locator(".film-button").click()


def use_theme(tab):
    """The buttons of the theme, two of which carry their script themselves; folds, copies, and a full-sized figure."""
    tab.evaluate("window.print = () => { globalThis.printed = true; }")
    tab.get_by_role("button", name="Download this page").click()
    tab.locator("button[onclick='window.print()']").click()
    assert tab.evaluate("globalThis.printed")
    tab.locator("button[onclick='toggleFullScreen()']").click()
    tab.locator(".theme-switch-button:visible").first.click()
    tab.locator("details summary").first.click()
    tab.locator("button.copybtn").first.dispatch_event("click")
    tab.locator("figure img:visible").first.scroll_into_view_if_needed()
    tab.locator("figure img:visible").first.click()


def use_search(tab):
    tab.wait_for_selector("#search-results li")


USES = {
    "chapters/intro.html": use_first_page,
    "chapters/02_build_the_model.html": use_chapter_2,
    "chapters/06_generate_digits.html": use_explorer,
    "chapters/07_morph_and_restyle.html": use_film,
    "chapters/05_map_the_latent_space.html": use_theme,
    "search.html?q=posterior": use_search,
}


# From disk a browser lets no page read another, so the search finds nothing there, whatever the policy says.
@pytest.mark.parametrize("scheme", ["file", "http"])
@pytest.mark.parametrize("page", USES)
def test_the_policy_forbids_nothing_that_a_page_does(browser, serve, site, page, scheme):
    if page.startswith("search") and scheme == "file":
        pytest.skip("from disk no page reads another")
    context = browser.new_context(viewport={"width": 1300, "height": 900})
    tab, errors = context.new_page(), []
    tab.add_init_script(LISTEN)
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.goto((serve(site) if scheme == "http" else f"{site.as_uri()}/") + page)
    USES[page](tab)
    tab.wait_for_timeout(100)
    assert tab.evaluate("forbidden") == [] and errors == []
    context.close()


INJECTED = {
    "script element": """const script = document.createElement("script");
      script.textContent = "globalThis.broken = true";
      document.body.append(script);""",
    "handler": """document.body.insertAdjacentHTML(
      "beforeend", "<img src='data:,' onerror='globalThis.broken = true'>");""",
    "link": """const link = document.createElement("a");
      link.href = "javascript:void (globalThis.broken = true)";
      document.body.append(link);
      link.click();""",
    "address of data": """const script = document.createElement("script");
      script.src = "data:text/javascript,globalThis.broken = true";
      document.body.append(script);""",
    "script of another host": """const script = document.createElement("script");
      script.src = "http://127.0.0.1:1/script.js";
      document.body.append(script);""",
    "frame": """document.body.insertAdjacentHTML("beforeend", "<iframe src='data:text/html,<p>'></iframe>");""",
}


@pytest.mark.parametrize("way", INJECTED)
def test_a_script_that_comes_into_a_page_does_not_run(browser, serve, site, way):
    tab = browser.new_page()
    tab.add_init_script(LISTEN)
    tab.goto(serve(site) + "chapters/glossary.html")
    tab.evaluate(f"() => {{ {INJECTED[way]} }}")
    tab.wait_for_function("() => forbidden.length > 0")
    assert all(one.startswith(("script-src", "frame-src")) for one in tab.evaluate("forbidden"))
    assert tab.evaluate("globalThis.broken") is None
    tab.close()
