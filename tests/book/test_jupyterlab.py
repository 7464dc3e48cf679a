"""The panels in a real JupyterLab: a browser moves them by keyboard and mouse, and takes their kernel away.

A notebook of a few cells runs there, with a shipped model, in well under a minute: pytest -m slow. Where there is no
Playwright or no Chromium the tests are skipped, and say so. `_build/reports/panels.json` holds the times from a move to
its picture.
"""

import json
import re

import nbformat
import pytest
from book_sources import ROOT
from processes import run_jupyterlab, wait_for

REPORT = ROOT / "_build/reports/panels.json"
SECONDS = 90

CELLS = {
    "imports": """
import time
from functools import partial

import numpy as np
from matplotlib import pyplot as plt

from cvae_lib.data import load_mnist
from cvae_lib.evaluate import decode
from cvae_lib.pretrained import load_pretrained
from cvae_lib.widgets import explore_digits, panel, restyle_digits, slider

digits, model = load_mnist(), load_pretrained("mnist-2d")

def encode(x, label):
    z_mean, z_log_var, _ = model.encoder([x, label])
    return z_mean, z_log_var

def draw(beta):
    time.sleep(5 * (beta == 4))
    figure, axis = plt.subplots(figsize=(3, 2))
    axis.bar([0], [1 / beta])
    return figure

codes = encode(digits.x_train[:1000], digits.label_train[:1000])[0], digits.y_train[:1000]
""",
    "explore": "one = explore_digits(partial(decode, model), codes=codes)\none",
    "again": "one",
    "restyle": "restyle_digits(encode, partial(decode, model), digits.x_test[:10], digits.y_test[:10], codes=codes)",
    "figure": 'panel([slider("beta", 0, 4, 1)], draw, "A bar")',
}

pytestmark = pytest.mark.slow


class Notebook:
    """A notebook that is open in JupyterLab: its cells by name, and what they show."""

    def __init__(self, tab):
        self.tab = tab

    def cell(self, name):
        return self.tab.locator(".jp-CodeCell").nth(list(CELLS).index(name))

    def run(self, *names):
        """Run cells and wait until the kernel has nothing left to do."""
        for name in names:
            self.cell(name).locator(".jp-InputPrompt").click()
            self.tab.keyboard.press("Control+Enter")
        self.tab.wait_for_function("() => !document.querySelector('.jp-Notebook').textContent.includes('[*]')")
        assert self.tab.locator("[data-mime-type='application/vnd.jupyter.stderr']").count() == 0

    def panel(self, name):
        found = self.cell(name).locator(".cvae-panel")
        found.wait_for()
        found.scroll_into_view_if_needed()
        return found


@pytest.fixture(scope="module")
def notebook(browser, tmp_path_factory):
    """The notebook in a JupyterLab of its own, with all cells run."""
    folder = tmp_path_factory.mktemp("panels")
    cells = [nbformat.v4.new_code_cell(source.strip()) for source in CELLS.values()]
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    (folder / "root").mkdir()
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), folder / "root/a.ipynb")
    with run_jupyterlab(folder / "root", folder) as address:
        tab = browser.new_page(viewport={"width": 1400, "height": 1200})
        tab.asked, tab.errors = [], []
        tab.on("request", lambda request: tab.asked.append(request.url))
        tab.on("pageerror", lambda error: tab.errors.append(str(error)))
        tab.goto(f"{address}/lab/tree/a.ipynb")
        tab.wait_for_selector(".jp-KernelName:has-text('Python 3')", timeout=60_000)
        tab.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=idle]", timeout=60_000)
        tab.set_default_timeout(1000 * SECONDS)
        one = Notebook(tab)
        one.run("imports", "explore", "again", "restyle", "figure")
        yield one
        tab.close()


def alt(panel):
    return panel.locator(".cvae-picture img").get_attribute("alt")


def wait_for_alt(panel, words):
    """Wait until the picture is that of these values, and return it as text."""
    panel.locator(f".cvae-picture img[alt*='{words}']").wait_for(timeout=20_000)
    return panel.locator(".cvae-picture img").evaluate("""async (image) => {
      await image.decode();
      const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
      const pen = canvas.getContext("2d");
      pen.drawImage(image, 0, 0);
      return pen.getImageData(0, 0, canvas.width, canvas.height).data.join();
    }""")


def test_a_panel_is_there_and_nothing_came_from_elsewhere(notebook):
    panel = notebook.panel("explore")
    assert alt(panel) == "The decoded image: digit 3, z1 0.00, z2 0.00"
    assert panel.get_by_role("group", name="digit").get_by_role("radio").count() == 10
    assert len(panel.locator(".cvae-dots").get_attribute("d")) > 500
    hosts = {re.sub(r"^(blob:)?https?://([^:/]+).*", r"\2", url) for url in notebook.tab.asked if url[:5] != "data:"}
    assert hosts == {"127.0.0.1"} and notebook.tab.errors == []


def test_the_keyboard_moves_sliders_plane_and_digits(notebook):
    panel, keyboard = notebook.panel("explore"), notebook.tab.keyboard
    panel.get_by_role("button", name="Go to 0").press("Enter")
    pictures = [wait_for_alt(panel, "digit 3, z1 0.00, z2 0.00")]
    panel.get_by_role("slider", name="z1").press("ArrowRight")
    pictures.append(wait_for_alt(panel, "z1 0.05, z2 0.00"))
    panel.get_by_role("application").press("ArrowLeft")
    pictures.append(wait_for_alt(panel, "z1 0.05, z2 −0.10"))
    keyboard.press("Shift+ArrowDown")
    pictures.append(wait_for_alt(panel, "z1 0.55, z2 −0.10"))
    panel.get_by_role("radio", name="3", exact=True).press("ArrowRight")
    pictures.append(wait_for_alt(panel, "digit 4, z1 0.55"))
    assert len(set(pictures)) == len(pictures)
    keyboard.press("ArrowLeft")
    panel.get_by_role("application").press("Home")
    assert wait_for_alt(panel, "digit 3, z1 0.00, z2 0.00") == pictures[0]


def test_dragging_in_the_plane_moves_the_point(notebook):
    """z1 runs downwards and z2 to the right; the last point is shown, however fast the hand was."""
    panel, mouse = notebook.panel("explore"), notebook.tab.mouse
    ground = panel.locator(".cvae-ground").bounding_box()

    def at(z1, z2):
        return ground["x"] + ground["width"] * (z2 + 4) / 8, ground["y"] + ground["height"] * (z1 + 4) / 8

    before = wait_for_alt(panel, "digit")
    mouse.move(*at(0, 0))
    mouse.down()
    mouse.move(*at(1, -2), steps=40)
    mouse.up()
    z = [float(panel.get_by_role("slider", name=name).input_value()) for name in ("z1", "z2")]
    assert z == pytest.approx([1, -2], abs=0.08)
    assert wait_for_alt(panel, f"z1 {z[0]:.2f}, z2 {z[1]:.2f}".replace("-", "−")) != before
    assert panel.locator(".cvae-note").inner_text().startswith("Radius 2.2")


def test_a_digit_brings_its_codes(notebook):
    panel = notebook.panel("explore")
    codes = panel.locator(".cvae-dots").get_attribute("d")
    panel.get_by_role("radio", name="7", exact=True).check()
    wait_for_alt(panel, "digit 7")
    assert panel.locator(".cvae-dots").get_attribute("d") != codes


def test_buttons_draw_and_play(notebook):
    panel = notebook.panel("explore")
    seen = {alt(panel)}
    for _ in range(3):
        panel.get_by_role("button", name="Draw z from the prior").click()
        wait_for(lambda: alt(panel) not in seen, 20, "another draw")
        seen.add(alt(panel))
    panel.get_by_role("button", name="Play along a circle").click()
    for _ in range(3):
        wait_for(lambda: alt(panel) not in seen, 20, "the next step")
        seen.add(alt(panel))
    panel.get_by_role("button", name="Stop").click()
    panel.get_by_role("button", name="Play along a circle").wait_for()


def test_a_panel_shown_twice_moves_as_one(notebook):
    first, second = notebook.panel("explore"), notebook.panel("again")
    second.get_by_role("radio", name="5", exact=True).check()
    assert wait_for_alt(first, "digit 5") == wait_for_alt(second, "digit 5")
    for panel in (first, second):
        assert panel.get_by_role("radio", name="5", exact=True).is_checked()
    ids = notebook.tab.evaluate("Array.from(document.querySelectorAll('.cvae-panel [id]'), (node) => node.id)")
    assert len(set(ids)) == len(ids) > 1


def test_a_drawing_is_encoded_while_the_pen_moves(notebook):
    panel, mouse = notebook.panel("restyle"), notebook.tab.mouse
    own = wait_for_alt(panel, "number 1")
    box = panel.locator(".cvae-pad").bounding_box()
    mouse.move(box["x"] + 100, box["y"] + 40)
    mouse.down()
    mouse.move(box["x"] + 100, box["y"] + 240, steps=8)
    drawn = wait_for_alt(panel, "drawing")
    mouse.up()
    assert drawn != own and panel.locator(".cvae-tests input:checked").count() == 0
    panel.get_by_role("radio", name="number 2").check()
    assert wait_for_alt(panel, "number 2") != drawn and "drawing" not in alt(panel)
    note, ellipse = panel.locator(".cvae-note").inner_text(), panel.locator(".cvae-mark").get_attribute("transform")
    assert re.match(r"Reconstruction loss \d+\.\d nats, KL loss \d+\.\d nats, sum \d+\.\d nats; code as a ", note)
    labels = panel.get_by_role("group", name="label")
    other = labels.get_by_role("radio", checked=False).first
    other.check()
    wait_for(lambda: panel.locator(".cvae-note").inner_text() != note, 20, "other losses")
    assert panel.locator(".cvae-mark").get_attribute("transform") != ellipse
    panel.get_by_role("button", name="Clear the pad").click()
    panel.get_by_text("There is nothing to encode yet.").wait_for()


def test_a_figure_follows_and_an_error_is_said(notebook):
    panel = notebook.panel("figure")
    slider = panel.get_by_role("slider", name="beta")
    before = wait_for_alt(panel, "beta 1.00")
    slider.fill("2")
    assert wait_for_alt(panel, "beta 2.00") != before
    slider.fill("0")
    panel.get_by_text("ZeroDivisionError").wait_for()
    assert float(slider.input_value()) == 2, "picture and slider agree"


def test_a_screen_reader_hears_of_the_picture_once_it_rests(notebook):
    panel = notebook.panel("explore")
    panel.get_by_role("radio", name="1", exact=True).check()
    wait_for(lambda: "digit 1" in panel.get_by_role("status").inner_text(), 20, "the words")


def test_every_control_has_a_name_and_shows_its_focus(notebook, axe):
    tab = notebook.tab
    outline = """(node) => getComputedStyle(node.type === "radio" ? node.nextElementSibling : node).outlineWidth"""
    for name in ("explore", "restyle", "figure"):
        for control in notebook.panel(name).locator(":is(input, button, [tabindex])").all()[::4]:
            control.focus()
            tab.keyboard.press("Shift")
            assert control.evaluate(outline) == "3px", control.evaluate("(node) => node.outerHTML")
    tab.evaluate(axe)
    found = tab.evaluate("() => axe.run('.jp-OutputArea')")["violations"]
    inside = [(one["id"], node["html"]) for one in found for node in one["nodes"] if "cvae" in node["html"]]
    within = tab.evaluate("() => axe.run('.cvae-panel')")["violations"]
    assert inside == [] and [(one["id"], one["nodes"][0]["html"]) for one in within] == []


@pytest.mark.parametrize("name, control", [("explore", "z1"), ("restyle", "label")])
def test_the_picture_follows_the_hand(notebook, name, control):
    """Targets on a quiet machine, from a move to its picture: 30 ms in the median, 60 ms at the 95th percentile.

    Only limits that a slow machine meets are asserted.
    """
    panel = notebook.panel(name)
    if name == "restyle":
        panel.locator(".cvae-tests input").first.check()
        wait_for_alt(panel, "number 1, label")
    times = panel.evaluate("""async (panel) => {
      const image = panel.querySelector(".cvae-picture img");
      const slider = panel.querySelector("input[type=range]");
      const labels = panel.querySelectorAll(".cvae-names input");
      function move(i) {
        if (!slider) return labels[i % 10].click();
        slider.value = 2 * Math.cos(i / 6);
        slider.dispatchEvent(new Event("input"));
      }
      const times = [];
      for (let i = 0; i < 80; i++) {
        const isShown = new Promise((done) => {
          const observer = new MutationObserver(() => (observer.disconnect(), done()));
          observer.observe(image, { attributes: true, attributeFilter: ["src"] });
        });
        const start = performance.now();
        move(i + 1);
        await isShown;
        await image.decode();
        times.push(performance.now() - start);
      }
      return times.slice(5).sort((a, b) => a - b);
    }""")
    found = {"p50_ms": round(times[len(times) // 2], 1), "p95_ms": round(times[int(0.95 * len(times))], 1)}
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    known = json.loads(REPORT.read_text(encoding="utf-8")) if REPORT.exists() else {}
    REPORT.write_text(json.dumps({**known, name: found}, indent=2) + "\n", encoding="utf-8")
    print(f"{name}, from a move of {control} to its picture: {found}")
    assert found["p50_ms"] < 500 and found["p95_ms"] < 1000


def test_a_late_answer_is_told_of_until_it_comes(notebook):
    panel = notebook.panel("figure")
    panel.get_by_role("slider", name="beta").fill("4")
    panel.get_by_text("No answer from the kernel").wait_for(timeout=5_000)
    wait_for_alt(panel, "beta 4.00")
    assert panel.locator(".cvae-warning").inner_text() == ""


def test_a_panel_without_a_kernel_says_so_and_its_cell_brings_it_back(notebook):
    tab, panel = notebook.tab, notebook.panel("explore")
    tab.get_by_role("menuitem", name="Kernel", exact=True).click()
    tab.get_by_text("Restart Kernel…", exact=True).click()
    tab.get_by_role("button", name="Confirm Kernel Restart").click()
    tab.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=idle]")
    for digit in ("2", "6"):
        panel.get_by_role("radio", name=digit, exact=True).check()
    panel.get_by_text("No answer from the kernel").wait_for(timeout=5_000)
    assert "digit 6" not in alt(panel)
    notebook.run("imports", "explore")
    panel = notebook.panel("explore")
    assert panel.locator(".cvae-warning").inner_text() == ""
    panel.get_by_role("radio", name="6", exact=True).check()
    wait_for_alt(panel, "digit 6")
