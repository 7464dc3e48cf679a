"""The small panels of chapter 2 in a browser: they start, answer to keys, and show the library's numbers.

They need Chromium and stand on a bare page, as the explorer does in test_explorer.py. The digits and their posteriors
come from `_extra/toys/posteriors.js`; all that the panels compute is computed here once more by the library.
"""

import base64
import json
import re
import shutil

import numpy as np
import pytest
from book_sources import CHAPTERS, EXPLORER, ROOT, write_site

from cvae_lib.data import one_hot
from cvae_lib.likelihood import decode_logits, score
from cvae_lib.metrics import gaussian_kl
from cvae_lib.pretrained import load_pretrained
from cvae_lib.tools.export_toys import NAME, export_toys

TOYS = ROOT / "_extra/toys"
PANELS = ("step", "average", "tug")
PLACE = '<div class="cvae-explorer" data-panels="{}"><p>A still.</p></div>'
PAGE = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>A page</title>
<meta name="viewport" content="width=device-width"></head><body><main><h1>A page</h1><h2>Panels</h2>{}
<script defer src="../explorer/loader.js"></script></main></body></html>"""
# Keep the decoder's script, once the page asks for it, off the page until `release` is called.
HOLD = """() => {
  const append = document.head.append.bind(document.head);
  document.head.append = (element) => {
    if (element.src?.endsWith("/decoder.js")) globalThis.release = () => append(element);
    else append(element);
  };
}"""
ROUNDED = 0.25  # nats: the page's weights are rounded, as test_explorer.py measures


@pytest.fixture(scope="module")
def first():
    """The digit that the panels start with: its class, pixels, posterior, and the fixed epsilon."""
    data = json.loads((TOYS / "posteriors.js").read_text(encoding="utf-8").split(" = ")[1].rstrip(";\n"))
    pixels = np.frombuffer(base64.b64decode(data["pixels"]["data"]), "uint8").reshape(data["pixels"]["shape"])
    keys = ("mean", "sigma", "epsilon")
    return {
        "x": pixels[:1] / 255,
        "label": one_hot([data["labels"][0]])[0],
        "exact": data["exact"][0],
        **{key: np.array(data[key] if key == "epsilon" else data[key][0]) for key in keys},
    }


@pytest.fixture(scope="module")
def loss_at(first):
    """-log p(x | z, y) of the first digit by the library: from z (n, 2) to nats, (n,)."""
    model = load_pretrained(NAME)
    return lambda z: -score(first["x"], decode_logits(model, z, first["label"]))[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A site of one page with the three panels."""
    pages = {"page": PAGE.format("".join(map(PLACE.format, PANELS)))}
    return write_site(tmp_path_factory.mktemp("site"), [*EXPLORER, "_extra/toys"], pages)


def open_page(browser, address):
    """Open the page with all three started and nothing touched; `asked` has the names of the files that it loaded."""
    tab = browser.new_page(viewport={"width": 1000, "height": 3000})
    tab.asked = []
    tab.on("request", lambda request: tab.asked.append(request.url.split("/")[-1]))
    tab.goto(f"{address}/chapters/page.html")
    for name in PANELS:
        tab.wait_for_selector(f"[data-panels={name}][data-started]")
    return tab


@pytest.fixture
def tab(browser, folder):
    tab = open_page(browser, f"file://{folder}")
    yield tab
    tab.close()


def find(tab, panel, part):
    return tab.locator(f"[data-panels={panel}] [data-part={part}]")


def read_nats(tab, panel, part):
    """The number of nats that a panel shows, once it shows one."""
    element = find(tab, panel, part)
    tab.wait_for_function("(node) => node.textContent.includes('nats')", arg=element.element_handle())
    return float(element.inner_text().split()[0].replace("−", "-"))


def read_pairs(text):
    """The pairs (a, b) in a sentence."""
    number = r"([−\d.]+)"
    found = re.findall(rf"\({number}, {number}\)", text)
    return [np.array([float(one.replace("−", "-")) for one in pair]) for pair in found]


def test_the_digits_and_their_posteriors_are_the_models(tmp_path, digits):
    if digits.edition != "full":
        pytest.skip("the exported digits are MNIST's: this needs the full edition")
    export_toys(tmp_path, digits)
    assert (tmp_path / "posteriors.js").read_bytes() == (TOYS / "posteriors.js").read_bytes(), (
        "make the file again: python -m cvae_lib.tools.export_toys"
    )
    assert (TOYS / "posteriors.js").stat().st_size < 8_000


def test_the_chapter_has_a_place_for_each():
    text = (CHAPTERS / "02_build_the_model.md").read_text(encoding="utf-8")
    assert re.findall(r'class="cvae-explorer" data-panels="(\w+)"', text) == [*PANELS, "train"]


def test_the_weights_come_at_the_first_touch(tab):
    assert "decoder.js" not in tab.asked
    find(tab, "average", "draw").hover()
    tab.wait_for_function("() => globalThis.cvaeDecoder")
    assert tab.asked.count("decoder.js") == 1 and "encoder.js" not in tab.asked


def test_presses_while_the_decoder_loads_count_once(tab):
    """The step that waits for the decoder is done once, however often it is asked for; other presses are not lost."""
    tab.evaluate(HOLD)
    find(tab, "step", "next").focus()
    for _ in range(5):
        tab.keyboard.press("Enter")
    assert find(tab, "step", "text").inner_text() == "The decoder is being loaded."
    find(tab, "average", "draw").click()
    tab.evaluate("globalThis.release()")
    loss, kl, average = (read_nats(tab, "step", part) for part in ("loss", "kl", "average"))
    assert average == pytest.approx(loss + kl, abs=0.11)
    assert find(tab, "step", "count").inner_text() == "Negative ELBO, by 1 draw"
    read_nats(tab, "average", "average")
    assert "100 draws" in find(tab, "average", "count").inner_text()


def test_a_panel_says_that_the_decoder_did_not_load(browser, folder, tmp_path):
    broken = shutil.copytree(folder, tmp_path / "broken")
    (broken / "explorer/decoder.js").unlink()
    tab = open_page(browser, f"file://{broken}")
    find(tab, "tug", "pull").click()
    said = tab.locator("[data-panels=tug] [role=alert]").inner_text()
    assert said.startswith("The decoder did not load") and "decoder.js" in said
    tab.close()


def test_each_step_says_what_the_library_computes(tab, first, loss_at):
    """Image, posterior, noise, picture: by the Enter key alone."""
    button, said = find(tab, "step", "next"), find(tab, "step", "text")
    button.focus()
    tab.keyboard.press("Enter")
    assert "The encoder answers" in said.inner_text()
    for found, key in zip(read_pairs(said.inner_text()), ("mean", "sigma")):
        np.testing.assert_allclose(found, first[key], atol=0.0051)
    kl = gaussian_kl(first["mean"], np.diag(first["sigma"] ** 2))
    assert read_nats(tab, "step", "kl") == pytest.approx(kl, abs=0.051)

    tab.keyboard.press("Enter")
    epsilon, z = read_pairs(said.inner_text())
    np.testing.assert_allclose(z, first["mean"] + first["sigma"] * epsilon, atol=0.01)
    tab.keyboard.press("Enter")
    loss = read_nats(tab, "step", "loss")
    assert loss == pytest.approx(loss_at(z[None])[0], abs=ROUNDED + 0.5), "z is written with two digits"
    assert read_nats(tab, "step", "average") == pytest.approx(loss + kl, abs=0.11)

    for _ in range(2):  # another draw, and what it is decoded to
        tab.keyboard.press("Enter")
    tab.wait_for_function("() => document.body.textContent.includes('by 2 draws')")


def test_the_plane_says_the_loss_at_z_and_the_average(tab, first, loss_at):
    find(tab, "average", "plane").focus()
    for key in ["ArrowDown"] * 5 + ["Shift+ArrowLeft"] * 2:
        tab.keyboard.press(key)
    tab.wait_for_function(
        "(node) => node.getAttribute('aria-label').includes('(0.50, −1.00)')",
        arg=find(tab, "average", "output").element_handle(),
    )
    assert read_nats(tab, "average", "here") == pytest.approx(loss_at(np.array([[0.5, -1.0]]))[0], abs=ROUNDED)
    assert read_nats(tab, "average", "exact") == pytest.approx(first["exact"], abs=0.051)
    assert find(tab, "average", "average").inner_text() == "–"
    for _ in range(20):
        find(tab, "average", "draw").click()
    assert "2000 draws" in find(tab, "average", "count").inner_text()
    assert read_nats(tab, "average", "average") == pytest.approx(first["exact"], abs=1), "2,000 draws come close"


def test_the_map_is_bright_where_the_loss_is_low(tab, loss_at):
    """The pixel of the map below the best point is yellow, and that of the opposite corner is dark."""
    find(tab, "average", "draw").hover()
    tab.wait_for_function("() => document.querySelector('[data-panels=average] image')?.getAttribute('href')")
    colours = tab.evaluate(
        """async (shares) => {
          const image = new Image();
          image.src = document.querySelector("[data-panels=average] image").getAttribute("href");
          await image.decode();
          const canvas = new OffscreenCanvas(image.width, image.height);
          const pen = canvas.getContext("2d");
          pen.drawImage(image, 0, 0);
          return shares.map(([down, right]) =>
            [...pen.getImageData(Math.floor(right * image.width), Math.floor(down * image.height), 1, 1).data]);
        }""",
        [[(0.5 + 4) / 8, (-1.1 + 4) / 8], [0.02, 0.98]],
    )
    assert loss_at(np.array([[0.5, -1.1]]))[0] < loss_at(np.array([[-3.9, 3.9]]))[0] - 150
    assert colours[0][0] > 150 and colours[1][:3] == [68, 1, 84]


def test_the_ellipse_says_both_losses(tab, first, loss_at):
    """At the encoder's answer and where the arrow keys and the sliders take it."""

    def expect(mean, sigma, weight):
        reconstruction = loss_at(mean + sigma * first["epsilon"]).mean()
        kl = gaussian_kl(mean, np.diag(sigma**2))
        shown = [read_nats(tab, "tug", part) for part in ("kl", "reconstruction", "sum", "elbo")]
        assert shown[0] == pytest.approx(kl, abs=0.0051)
        assert shown[1:] == pytest.approx(
            [reconstruction, reconstruction + weight * kl, reconstruction + kl], abs=ROUNDED
        )

    find(tab, "tug", "plane").focus()
    expect(first["mean"], first["sigma"], 1)
    tab.keyboard.press("Shift+ArrowRight")
    tab.keyboard.press("ArrowUp")
    find(tab, "tug", "sigma1").fill("0.5")
    find(tab, "tug", "weight").fill("3")
    tab.wait_for_function("(node) => node.textContent === '3.0'", arg=find(tab, "tug", "weight-value").element_handle())
    expect(first["mean"] + [-0.1, 0.5], np.array([0.5, first["sigma"][1]]), 3)


def test_both_losses_pull_the_ellipse_to_rest(tab):
    """From the prior they bring it to a lower sum, and a heavier KL to a wider ellipse."""
    find(tab, "tug", "prior").click()
    start = read_nats(tab, "tug", "sum")
    assert read_nats(tab, "tug", "kl") == 0
    widths = []
    for weight in ("1", "10"):
        find(tab, "tug", "weight").fill(weight)
        find(tab, "tug", "pull").click()
        tab.wait_for_selector("[data-panels=tug] [data-part=pull]:not([aria-busy=true])", timeout=120_000)
        widths.append(float(find(tab, "tug", "sigma1-value").inner_text()))
        assert read_nats(tab, "tug", "sum") < start
    assert 0.05 < widths[0] < 0.15 < widths[1] < 0.45


def test_a_still_stands_in_their_place(browser, folder):
    page = browser.new_page(java_script_enabled=False)
    page.goto(f"file://{folder}/chapters/page.html")
    assert page.get_by_text("A still.").count() == 3 and page.locator(".cvae-live").count() == 0
    page.close()


def test_there_is_no_barrier_and_a_phone_does_not_scroll_sideways(tab, axe):
    find(tab, "average", "draw").hover()
    tab.wait_for_function("() => globalThis.cvaeDecoder")
    tab.evaluate(axe)
    found = tab.evaluate("() => axe.run('.cvae-explorer')")["violations"]
    assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []
    tab.set_viewport_size({"width": 375, "height": 3000})
    assert tab.evaluate("document.documentElement.scrollWidth") <= 375
