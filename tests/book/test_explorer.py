"""The explorer in the published page: its arithmetic against Keras, what it loads and when, and what the reader moves.

The arithmetic runs in node, or in Chromium where node is missing. The rest needs Chromium, on a bare page with the
explorer's place below the fold, and looks at what a reader sees: the canvases, the controls and their names.
`_build/reports/explorer.json` holds the differences from Keras and the times of the last run.

    pip install -r requirements.txt && apt-get install chromium
    pytest tests/book/test_explorer.py              # CHROMIUM=/path/to/chromium for another browser
"""

import re
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import yaml
from book_sources import EXPLORER, ROOT, add_to_report, write_site

from cvae_lib.data import Classes, load_sample, one_hot

HALVES = ("_extra", "cvae_lib/web")  # of the folder `explorer`: what only the page has, and what Jupyter shares
REPORT = ROOT / "_build/reports/explorer.json"
MODEL = "mnist-2d"
DATA = ("decoder.js", "encoder.js", "digits.js")
# By what a reader switches to: the model, the variable that its script defines, and the files that are loaded.
SUBJECTS = {
    "fashion": ("fashion-2d", "cvaeFashion2D", ["fashion-2d.js"]),
    "letters": ("letters-2d", "cvaeLetters2D", ["convolutional.js", "letters-2d.js"]),
}

PAGE = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>A page</title>
<meta name="viewport" content="width=device-width"></head><body><main><h1>A page</h1><div style="height: 3000px"></div>
<h2>Move the sliders</h2><div class="cvae-explorer"><p>A still figure.</p></div>
<script defer src="../explorer/loader.js"></script></main></body></html>"""

# What the explorer does for one case: encode if there is an image, decode, and compute both losses.
COMPUTE = """(cases) => {
  const { parseWeights, makeLabel, encode, decode, sigmoid, reconstructionLoss, klLoss } = cvaeModel;
  const model = { ...parseWeights(cvaeDecoder), ...parseWeights(cvaeEncoder) };
  return cases.map(({ grey, z, label }) => {
    const x = grey?.map((value) => value / 255);
    const y = makeLabel(label);
    const { zMean, zLogVar } = x
      ? encode(model, x, y)
      : { zMean: Float64Array.from(z), zLogVar: new Float64Array(2) };
    const logits = decode(model, zMean, y);
    return {
      z_mean: [...zMean],
      z_log_var: [...zLogVar],
      pixels: [...sigmoid(logits)],
      reconstruction_loss: x ? reconstructionLoss(x, logits) : 0,
      kl_loss: klLoss(zMean, zLogVar),
    };
  });
}"""

# What the explorer does for another decoder: read its weights, make the vectors of labels, decode.
COMPUTE_SUBJECT = """({ variable, cases }) => {
  const { unpack, parseWeights, encodeAttributes, decode, sigmoid } = cvaeModel;
  const { arrays, image_shape: shape, condition } = globalThis[variable];
  const model = parseWeights({ arrays });
  const labels = cases.map(({ label }) => encodeAttributes(condition, label));
  const draw = ({ z }, i) =>
    model.smallPicture ? cvaeConvolutional.decode(model, z, labels[i], shape) : decode(model, z, labels[i]);
  return {
    arrays: Object.fromEntries(Object.entries(arrays).map(([key, packed]) => [key, [...unpack(packed)]])),
    labels,
    pixels: cases.map((one, i) => [...sigmoid(draw(one, i))]),
  };
}"""


report = partial(add_to_report, REPORT)


@pytest.fixture(scope="module")
def javascript(run_javascript):
    """Run a function, given as text, after some of the explorer's scripts, and return what it returns."""

    def run(scripts, function, argument):
        paths = [ROOT / half / "explorer" / name for name in scripts for half in HALVES]
        return run_javascript([path for path in paths if path.exists()], function, argument)

    return run


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with a page that has the explorer's place far below its top."""
    return write_site(tmp_path_factory.mktemp("site"), EXPLORER, {"page": PAGE})


@pytest.fixture
def open_page(browser, site):
    """Open the page, from disk unless an address is given: the tab, whose `asked` and `errors` are noted."""
    contexts = []

    def open_page(address=f"file://{site}", **settings):
        contexts.append(browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **settings}))
        tab = contexts[-1].new_page()
        tab.asked, tab.errors = [], []
        tab.on("request", lambda request: tab.asked.append(request.url.split("/")[-1]))
        tab.on("pageerror", lambda error: tab.errors.append(str(error)))
        tab.on("console", lambda message: tab.errors.append(message.text) if message.type == "error" else None)
        tab.goto(f"{address}/chapters/page.html", wait_until="load")
        return tab

    yield open_page
    for context in contexts:
        context.close()


def reveal(tab):
    """Scroll to the explorer and wait until it has started."""
    tab.locator(".cvae-explorer").scroll_into_view_if_needed()
    tab.wait_for_selector(".cvae-explorer[data-started]")
    assert tab.errors == []
    return tab


@pytest.fixture
def tab(open_page):
    """The page with the explorer started."""
    return reveal(open_page())


def wait_for_frame(tab):
    """Wait until what was asked for is drawn."""
    tab.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def read_pixels(tab, part):
    """The pixels on a canvas, 0 to 255, once a frame has been drawn: a list of 784."""
    wait_for_frame(tab)
    return tab.locator(f"[data-part={part}]").evaluate(
        """(canvas) => {
          const { data } = canvas.getContext("2d").getImageData(0, 0, 28, 28);
          return [...data].filter((_, i) => i % 4 === 0);
        }"""
    )


def read_point(tab):
    """The point as the sliders show it, once a frame has been drawn: [z1, z2]."""
    wait_for_frame(tab)
    return [float(tab.get_by_role("slider", name=name).input_value()) for name in ("z1", "z2")]


def read_sum(tab):
    """The sum of the two losses as the second panel shows it, once a frame has been drawn: nats."""
    wait_for_frame(tab)
    return float(tab.locator("[data-part=sum]").inner_text().removesuffix(" nats"))


# The arithmetic


@pytest.fixture(scope="module")
def cases():
    """350 fixed cases: 100 digits with their label, 50 with another label, 20 draws from the prior under each label."""
    digits = load_sample()
    chosen = np.concatenate([np.flatnonzero(digits.y_test == digit)[:15] for digit in range(10)]).reshape(10, 15)
    own, other = chosen[:, :10].ravel(), chosen[:, 10:].ravel()
    x = digits.x_test[np.concatenate([own, other])]
    shift = 1 + np.arange(50) % 9
    label = np.concatenate([digits.y_test[own], (digits.y_test[other] + shift) % 10, np.arange(200) % 10])
    return x, np.random.default_rng(0).standard_normal((200, 2)), label


@pytest.fixture(scope="module")
def by_keras(cases):
    from keras import ops

    from cvae_lib.evaluate import decode
    from cvae_lib.model import kl_loss, reconstruction_loss
    from cvae_lib.pretrained import load_pretrained

    x, z, label = cases
    model, y = load_pretrained(MODEL), one_hot(label)
    z_mean, z_log_var, _ = map(ops.convert_to_numpy, model.encoder([x, y[:150]]))
    z_all = np.concatenate([z_mean, z.astype("float32")])
    return {
        "z_mean": z_mean,
        "z_log_var": z_log_var,
        "pixels": decode(model, z_all, y),
        "reconstruction_loss": ops.convert_to_numpy(reconstruction_loss(x, model.decoder([z_mean, y[:150]]))),
        "kl_loss": ops.convert_to_numpy(kl_loss(z_mean, z_log_var)),
    }


@pytest.fixture(scope="module")
def by_javascript(cases, javascript):
    x, z, label = cases
    inputs = [{"grey": row} for row in np.rint(x * 255).astype(int).tolist()] + [{"z": row} for row in z.tolist()]
    inputs = [{**one, "label": int(y)} for one, y in zip(inputs, label, strict=True)]
    found = javascript(["model.js", "decoder.js", "encoder.js"], COMPUTE, inputs)
    return {key: np.array([one[key] for one in found]) for key in found[0]}


def test_arithmetic_agrees_with_keras(by_keras, by_javascript):
    error = {key: np.abs(by_javascript[key][: len(by_keras[key])] - by_keras[key]) for key in by_keras}
    found = {key: {"mean": float(error[key].mean()), "max": float(error[key].max())} for key in error}
    report(parity={"cases": len(error["pixels"]), **found})
    assert error["pixels"].shape == (350, 784)
    assert found["pixels"]["mean"] <= 0.004 and found["pixels"]["max"] <= 0.02
    assert found["z_mean"]["max"] <= 0.01 and found["z_log_var"]["max"] <= 0.01
    assert found["reconstruction_loss"]["max"] <= 0.2 and found["kl_loss"]["max"] <= 0.2


@pytest.mark.parametrize("subject", SUBJECTS)
def test_another_decoder_agrees_with_keras(subject, javascript):
    """With the weights of the script to 1e-5, and with those that ship as closely as the digits' decoder."""
    from cvae_lib.evaluate import decode
    from cvae_lib.pretrained import load_condition, load_pretrained

    name, variable, files = SUBJECTS[subject]
    model, condition, rng = load_pretrained(name), load_condition(name), np.random.default_rng(0)
    z, classes = rng.standard_normal((100, 2)), np.arange(100) % len(find_names(condition))
    hue = rng.uniform(0, 360, 100).round()
    told = condition.encode(classes if isinstance(condition, Classes) else np.column_stack([classes, hue]))
    cases = [
        {"z": point, "label": {"blend": {"first": k, "second": 0, "share": 0}, "angles": {"hue": angle}}}
        for point, k, angle in zip(z.tolist(), classes.tolist(), hue.tolist(), strict=True)
    ]
    found = javascript(["model.js", *files], COMPUTE_SUBJECT, {"variable": variable, "cases": cases})
    np.testing.assert_allclose(found["labels"], told, atol=1e-6)
    by_shipped, weights = decode(model, z, told), model.decoder.trainable_variables
    assert {weight.path for weight in weights} == set(found["arrays"])
    for weight in weights:
        weight.assign(np.reshape(found["arrays"][weight.path], weight.shape))
    pixels = np.array(found["pixels"])
    np.testing.assert_allclose(pixels, decode(model, z, told), rtol=0, atol=1e-5)
    error = np.abs(pixels - by_shipped)
    report(**{f"parity_{subject}": {"mean": float(error.mean()), "max": float(error.max())}})
    assert error.mean() <= 0.004 and error.max() <= 0.02


def find_names(condition):
    """The names of the classes of a condition that has other attributes, too, or none."""
    parts = [condition] if isinstance(condition, Classes) else condition.parts
    return next(part.names for part in parts if isinstance(part, Classes))


def test_the_picture_on_the_page_is_the_decoders(tab):
    """The first panel at a known point shows what Keras decodes there: rows and columns in place, z1 before z2."""
    from cvae_lib.evaluate import decode
    from cvae_lib.pretrained import load_pretrained

    tab.get_by_role("slider", name="z1").fill("-1.5")
    tab.get_by_role("slider", name="z2").fill("1")
    tab.get_by_role("radio", name="7", exact=True).first.check()
    expected = decode(load_pretrained(MODEL), np.array([[-1.5, 1.0]]), one_hot([7]))[0]
    np.testing.assert_allclose(np.array(read_pixels(tab, "picture")) / 255, expected, atol=0.02)


def test_draws_from_the_prior_are_normal(javascript):
    """Zero mean, unit covariance, and beyond a radius the share that the first panel states."""
    function = """(radii) => ({
      draws: Array.from({ length: 20000 }, () => cvaeModel.drawPrior()),
      shares: radii.map(cvaeModel.priorBeyond),
    })"""
    radii = [0.5, 1, 2, 3]
    found = javascript(["model.js"], function, radii)
    z = np.array(found["draws"])
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=0.05)
    np.testing.assert_allclose(np.cov(z.T), np.eye(2), atol=0.08)
    beyond = [(np.hypot(*z.T) > radius).mean() for radius in radii]
    np.testing.assert_allclose(found["shares"], beyond, atol=0.02)


def test_strokes_become_a_picture_like_those_of_mnist(javascript):
    """A drawing anywhere, of any size: the longer side fills 20 pixels, the centre of mass is at pixel 14."""
    strokes = [[[3, 2], [9, 2], [5, 11]], [[4, 6], [8, 6]]]
    larger = [[[1.7 * x + 4, 1.7 * y + 4] for x, y in stroke] for stroke in strokes]
    function = "(drawings) => drawings.map((strokes) => [...cvaeStrokes.rasterise(strokes)])"
    *pictures, dot, nothing = javascript(["model.js", "strokes.js"], function, [strokes, larger, [[[2, 3]]], []])
    np.testing.assert_allclose(*pictures, atol=1e-5)
    grey, at = np.reshape(pictures[0], (28, 28)), np.arange(28)
    assert grey.min() == 0 and grey.max() == 1 and len(np.unique(grey)) > 20
    assert 19 <= height(grey) <= 20
    assert (grey.sum(1) * at).sum() / grey.sum() == pytest.approx(14, abs=0.1)
    assert (grey.sum(0) * at).sum() / grey.sum() == pytest.approx(14, abs=0.1)
    assert 0 < height(np.reshape(dot, (28, 28))) < 5, "a dot stays a dot"
    assert not any(nothing)


def height(grey):
    """The height in rows of what is not black in a picture (28, 28)."""
    return np.ptp(np.flatnonzero(grey.any(axis=1))) + 1


# What is loaded, and when


def test_the_book_has_the_explorer():
    """One chapter has the explorer's place; the build copies the files beside the chapters' folder."""
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    assert set(HALVES) <= set(config["sphinx"]["config"]["html_extra_path"]), "_config.yml must copy both halves"
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "chapters").glob("*.md")]
    assert sum(text.count('<div class="cvae-explorer">') for text in texts) == 1
    assert "explorer/loader.js" in (ROOT / "_templates/layout.html").read_text(encoding="utf-8")
    # Jupyter Book adds every script below _static to every page.
    assert not [path for name in DATA for path in (ROOT / "_static").rglob(name)]


def test_the_weights_are_loaded_on_sight_and_not_before(open_page, site):
    """At the top of the page only the loader is there; in view, the rest comes, each file once; from disk and http."""
    of_others = ["loader.js", "draw_panel.js", *(name for *_, files in SUBJECTS.values() for name in files)]
    on_sight = sorted(path.name for path in (site / "explorer").iterdir() if path.name not in of_others)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SilentHandler, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        for address in (f"file://{site}", f"http://127.0.0.1:{server.server_port}"):
            tab = open_page(address)
            tab.wait_for_load_state("networkidle")
            assert [name for name in tab.asked if name != "favicon.ico"] == ["page.html", "loader.js"]
            tab.asked.clear()
            tab.errors.clear()
            reveal(tab)
            assert sorted(tab.asked) == on_sight
            assert tab.get_by_role("img", name="The decoded digit").is_visible()
    finally:
        server.shutdown()


class SilentHandler(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


def test_the_page_gets_no_property_but_the_data(open_page):
    """No handle leads from the page to the explorer's state: a test sees what a reader sees."""
    tab = open_page()
    before = tab.evaluate("Object.getOwnPropertyNames(window)")
    after = reveal(tab).evaluate("Object.getOwnPropertyNames(window)")
    assert set(after) - set(before) == {"cvaeDecoder", "cvaeEncoder", "cvaeDigits"}


def test_a_still_stands_in_its_place(open_page, site, tmp_path):
    """Without JavaScript, in print, and where a file is missing, the reader has what the chapter put there."""
    tab = open_page(java_script_enabled=False)
    assert tab.get_by_text("A still figure.").is_visible()

    tab = reveal(open_page())
    assert not tab.get_by_text("A still figure.").is_visible()
    tab.emulate_media(media="print")
    assert tab.get_by_text("A still figure.").is_visible() and not tab.locator(".cvae-live").is_visible()

    broken = shutil.copytree(site, tmp_path / "broken")
    (broken / "explorer/encoder.js").unlink()
    tab = open_page(f"file://{broken}")
    with tab.expect_console_message(lambda message: "cannot load" in message.text):
        tab.locator(".cvae-explorer").scroll_into_view_if_needed()
    assert tab.get_by_text("A still figure.").is_visible() and tab.locator(".cvae-live").count() == 0


# What the reader switches to


def switch(tab, subject):
    """Choose what the first panel draws, and wait until its controls are there."""
    tab.get_by_role("combobox", name="Draw", exact=True).select_option(subject)
    tab.get_by_role("group", name=TITLES[subject], exact=True).wait_for()
    wait_for_frame(tab)


TITLES = {"digits": "Digit", "fashion": "Garment", "letters": "Letter"}


def read_colours(tab):
    """The picture of the first panel, 0 to 1: (height, width, 3)."""
    shape, data = tab.locator("[data-part=picture]").evaluate(
        """(canvas) => {
          const { width, height } = canvas;
          return [[height, width, 4], [...canvas.getContext("2d").getImageData(0, 0, width, height).data]];
        }"""
    )
    return np.reshape(data, shape)[..., :3] / 255


def test_letters_are_loaded_when_they_are_chosen_and_have_a_hue(tab):
    """Keys turn the hue; the picture has the colours that Keras decodes; the digits come back as they were."""
    from cvae_lib.evaluate import decode
    from cvae_lib.pretrained import load_condition, load_pretrained

    start = read_colours(tab)
    tab.get_by_role("slider", name="z1").fill("-1")
    tab.asked.clear()
    switch(tab, "letters")
    assert sorted(tab.asked) == SUBJECTS["letters"][2]
    letters = tab.get_by_role("group", name="Letter", exact=True)
    assert letters.inner_text().split() == ["Letter", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ"]
    letters.get_by_role("radio", name="K", exact=True).check()
    hue = tab.get_by_role("slider", name="Hue")
    hue.focus()
    for _ in range(24):
        tab.keyboard.press("ArrowRight")
    wait_for_frame(tab)
    assert hue.get_attribute("aria-valuetext") == "120°"
    assert tab.get_by_role("img", name="The decoded letter: label K, hue 120°, z1 −1.00, z2 0.00").is_visible()
    expected = decode(load_pretrained("letters-2d"), [[-1, 0]], load_condition("letters-2d").encode([[10, 120]]))
    seen = read_colours(tab)
    np.testing.assert_allclose(seen, expected.reshape(32, 32, 3), atol=0.025)
    assert seen[..., 1].max() > 2 * seen[..., [0, 2]].max(), "at 120 degrees the hue is green"
    tab.get_by_role("slider", name="Share of the B").fill("100")
    wait_for_frame(tab)
    assert tab.get_by_role("img", name="label 100 % B in K, hue 120°").is_visible()
    assert np.abs(read_colours(tab) - seen).max() > 0.1

    tab.asked.clear()
    switch(tab, "digits")
    tab.get_by_role("button", name="Go to 0").click()
    wait_for_frame(tab)
    np.testing.assert_array_equal(read_colours(tab), start)
    assert tab.get_by_role("slider", name="Hue").count() == 0
    switch(tab, "letters")
    assert tab.asked == [], "what was loaded is kept"


def test_fashion_has_a_button_for_each_garment(tab):
    """The plane shows no codes of digits then, and a screen reader hears the garment."""
    from cvae_lib.evaluate import decode
    from cvae_lib.pretrained import load_condition, load_pretrained

    switch(tab, "fashion")
    names = load_condition("fashion-2d").names
    garments = tab.get_by_role("group", name="Garment", exact=True)
    assert [radio.inner_text() for radio in garments.locator("label").all()] == list(names)
    garments.get_by_role("radio", name=names[8], exact=True).check()
    wait_for_frame(tab)
    expected = decode(load_pretrained("fashion-2d"), [[0, 0]], one_hot([8]))[0]
    np.testing.assert_allclose(np.array(read_pixels(tab, "picture")) / 255, expected, atol=0.02)
    assert not tab.locator(".cvae-dots").first.get_attribute("d")
    assert "Each dot" not in tab.locator("[data-part=caption]").inner_text()
    heard = f"Decoded {names[8]} at z1 0.00, z2 0.00."
    tab.wait_for_function("(text) => document.querySelector('[role=status]').textContent === text", arg=heard)


def test_a_decoder_that_does_not_load_changes_nothing_and_may_be_asked_for_again(open_page, site, tmp_path):
    broken = shutil.copytree(site, tmp_path / "broken")
    away = (broken / "explorer/letters-2d.js").rename(tmp_path / "letters-2d.js")
    tab = reveal(open_page(f"file://{broken}"))
    before, select = read_colours(tab), tab.get_by_role("combobox", name="Draw", exact=True)
    select.select_option("letters")
    note = tab.get_by_text("The decoder of letters did not load, so this panel still draws digits.")
    note.wait_for()
    assert select.input_value() == "digits" and tab.get_by_role("slider", name="Hue").count() == 0
    np.testing.assert_array_equal(read_colours(tab), before)
    away.rename(broken / "explorer/letters-2d.js")
    switch(tab, "letters")
    assert note.count() == 0 and read_colours(tab).shape == (32, 32, 3)


def test_the_last_choice_holds_while_decoders_are_loaded(tab):
    """A reader who goes through the list with the arrow keys gets what is chosen in the end."""
    tab.evaluate(
        """() => {
          const select = document.querySelector("[data-part=subject]");
          for (const name of ["fashion", "letters", "fashion", "digits"]) {
            select.value = name;
            select.dispatchEvent(new Event("change"));
          }
        }"""
    )
    tab.wait_for_load_state("networkidle")
    tab.wait_for_timeout(300)
    assert tab.get_by_role("group", name="Digit", exact=True).is_visible()
    assert tab.locator("[data-part=loading]").inner_text() == ""
    assert read_colours(tab).shape == (28, 28, 3)


def find_barriers(tab, axe):
    """What axe finds wrong with the explorer: the rule and the first element."""
    tab.evaluate(axe)
    found = tab.evaluate("() => axe.run('.cvae-explorer')")["violations"]
    return [(one["id"], one["nodes"][0]["html"]) for one in found]


@pytest.mark.parametrize("subject", SUBJECTS)
def test_other_controls_have_names_and_fit_on_a_phone(open_page, axe, subject):
    tab = reveal(open_page(viewport={"width": 390, "height": 844}, has_touch=True))
    switch(tab, subject)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390, "a phone scrolls sideways"
    assert find_barriers(tab, axe) == []


# What the reader moves


def test_dragging_moves_the_point_and_the_picture(tab):
    """z1 runs downwards and z2 to the right: the lower right corner of the plane is (+, +)."""
    plane = tab.get_by_role("application")
    plane.scroll_into_view_if_needed()
    ground = plane.locator(".cvae-ground").bounding_box()

    def at(z1, z2):
        return ground["x"] + ground["width"] * (z2 + 4) / 8, ground["y"] + ground["height"] * (z1 + 4) / 8

    before = read_pixels(tab, "picture")
    tab.mouse.move(*at(0, 0))
    tab.mouse.down()
    tab.mouse.move(*at(1, -2), steps=5)
    seen = read_pixels(tab, "picture")
    tab.mouse.up()
    assert read_point(tab) == pytest.approx([1, -2], abs=0.08)
    assert seen != before
    tab.mouse.move(*at(3, 3))
    assert read_pixels(tab, "picture") == seen, "a pointer that is not down moves nothing"


def test_a_finger_moves_the_point_and_does_not_scroll(open_page):
    tab = reveal(open_page(viewport={"width": 375, "height": 800}, has_touch=True))
    plane = tab.get_by_role("application")
    plane.scroll_into_view_if_needed()
    assert plane.evaluate("(node) => getComputedStyle(node).touchAction") == "none"
    box = plane.bounding_box()
    tab.touchscreen.tap(box["x"] + 0.75 * box["width"], box["y"] + 0.25 * box["height"])
    z1, z2 = read_point(tab)
    assert z1 < -1 and z2 > 1
    assert tab.evaluate("document.documentElement.scrollWidth") <= 375, "a phone scrolls sideways"


def test_arrow_keys_move_the_point(tab):
    tab.get_by_role("application").focus()
    pictures = [read_pixels(tab, "picture")]
    z = np.zeros(2)
    for key, move in {
        "ArrowDown": (0.1, 0), "ArrowRight": (0, 0.1), "Shift+ArrowUp": (-0.5, 0), "Shift+ArrowLeft": (0, -0.5),
    }.items():  # fmt: skip
        tab.keyboard.press(key)
        z += move
        assert read_point(tab) == pytest.approx(z)
        pictures.append(read_pixels(tab, "picture"))
        assert pictures[-1] != pictures[-2]
    tab.keyboard.press("Home")
    assert read_pixels(tab, "picture") == pictures[0]


@pytest.mark.parametrize("name, key", [("z1", "ArrowRight"), ("z2", "ArrowLeft"), ("Share of the 8", "ArrowRight")])
def test_sliders_change_the_picture_from_the_keyboard(tab, name, key):
    slider = tab.get_by_role("slider", name=name)
    before, start = read_pixels(tab, "picture"), float(slider.input_value())
    slider.focus()
    for _ in range(3):
        tab.keyboard.press(key)
    assert float(slider.input_value()) != start
    assert read_pixels(tab, "picture") != before


def test_the_buttons_draw_from_the_prior_and_go_back(tab):
    points = set()
    for _ in range(4):
        tab.get_by_role("button", name="Draw z from the prior").click()
        points.add(tuple(read_point(tab)))
    assert len(points) > 2, "in the steps of the sliders two draws may agree, but hardly more"
    tab.get_by_role("button", name="Go to 0").click()
    assert read_point(tab) == [0, 0]


def test_the_page_says_how_far_out_the_point_is(tab):
    note = tab.locator("[data-part=radius]")
    tab.get_by_role("slider", name="z1").fill("1")
    wait_for_frame(tab)
    assert note.inner_text() == "Radius 1.00: 61 % of the prior lies farther out."
    assert tab.get_by_role("img", name="The decoded digit: label 3, z1 1.00, z2 0.00").is_visible()
    tab.get_by_role("slider", name="z1").fill("-3.5")
    wait_for_frame(tab)
    assert "0.22 %" in note.inner_text() and "extrapolates" in note.inner_text()
    assert tab.get_by_role("img", name="The decoded digit: label 3, z1 −3.50, z2 0.00").is_visible()


def test_a_full_share_is_the_other_digit(tab):
    """The blend ends on the second label itself, and the plane shows its codes."""
    tab.get_by_role("slider", name="Share of the 8").fill("100")
    blended = read_pixels(tab, "picture")
    assert tab.locator(".cvae-plusses").first.get_attribute("d")
    tab.get_by_role("slider", name="Share of the 8").fill("0")
    tab.get_by_role("group", name="Digit", exact=True).get_by_role("radio", name="8", exact=True).check()
    assert read_pixels(tab, "picture") == blended


def test_drawing_is_encoded_while_the_pen_moves(tab):
    pad = tab.locator("[data-part=pad]")
    pad.scroll_into_view_if_needed()
    box = pad.bounding_box()
    before = read_pixels(tab, "input"), tab.locator("[data-part=kl]").inner_text()
    tab.mouse.move(box["x"] + 100, box["y"] + 40)
    tab.mouse.down()
    tab.mouse.move(box["x"] + 100, box["y"] + 240, steps=8)
    during = read_pixels(tab, "input"), tab.locator("[data-part=kl]").inner_text()
    tab.mouse.up()
    assert during[0] != before[0] and during[1] != before[1]
    assert 19 <= height(np.reshape(during[0], (28, 28))) <= 20
    assert tab.locator("[name=cvae-test]:checked").count() == 0
    tab.get_by_role("button", name="Clear the pad").click()
    assert not any(read_pixels(tab, "input")) and tab.locator("[data-part=kl]").inner_text() == "–"


def draw_stroke(tab, *points):
    """Draw on the pad from point to point, in its 280 by 280 pixels, and wait for what it causes."""
    pad = tab.locator("[data-part=pad]")
    pad.scroll_into_view_if_needed()
    box = pad.bounding_box()
    zoom = box["width"] / 280
    for i, (x, y) in enumerate(points):
        tab.mouse.move(box["x"] + zoom * x, box["y"] + zoom * y, steps=6)
        if i == 0:
            tab.mouse.down()
    tab.mouse.up()
    wait_for_frame(tab)


SEVEN = (80, 70), (190, 70), (120, 220)
BAR = (110, 150), (180, 150)


def test_a_drawing_gets_the_label_with_the_lowest_loss_until_the_reader_chooses(tab):
    labels = tab.get_by_role("group", name="Label given to the model")
    note = tab.locator("[data-part=note]")
    draw_stroke(tab, *SEVEN)
    assert labels.get_by_role("radio", name="7", exact=True).is_checked()
    assert note.inner_text().startswith("Label 7 is chosen for you, because its sum is the lowest")
    lowest = read_sum(tab)
    sums = []
    for digit in range(10):
        labels.get_by_role("radio", name=str(digit), exact=True).check()
        sums.append(read_sum(tab))
    assert np.argmin(sums) == 7 and sums[7] == lowest
    above = re.match(r"You chose label 9: its sum is ([\d.]+) nats higher than that of label 7", note.inner_text())
    assert above and float(above[1]) == pytest.approx(sums[9] - lowest, abs=0.11), "each number is rounded to 0.1"
    before = read_pixels(tab, "input")
    draw_stroke(tab, *BAR)
    assert read_pixels(tab, "input") != before
    assert labels.get_by_role("radio", name="9", exact=True).is_checked(), "a choice holds for the whole drawing"
    tab.get_by_role("button", name="Clear the pad").click()
    draw_stroke(tab, (140, 60), (140, 220))
    assert labels.get_by_role("radio", name="1", exact=True).is_checked()


@pytest.mark.parametrize("width, height", [(1280, 800), (390, 844)])
def test_what_a_drawing_causes_stands_in_one_view_with_the_pad(open_page, width, height):
    tab = reveal(open_page(viewport={"width": width, "height": height}))
    tab.locator("#cvae-picture-title").evaluate("(title) => title.scrollIntoView()")
    pad = tab.locator("[data-part=pad]").bounding_box()
    for part in ("input", "output", "reconstruction", "kl", "sum", "note"):
        box = tab.locator(f"[data-part={part}]").bounding_box()
        assert 0 <= box["x"] and box["x"] + box["width"] <= width, part
        assert pad["y"] <= box["y"] and box["y"] + box["height"] <= height, part
    assert tab.locator("[data-part=input]").bounding_box()["x"] >= pad["x"] + pad["width"], "it stands beside the pad"


def test_a_test_digit_brings_its_label_and_another_label_has_a_higher_loss(tab):
    tab.get_by_role("radio", name="0, number 1").check()
    labels = tab.get_by_role("group", name="Label given to the model")
    assert labels.get_by_role("radio", name="0", exact=True).is_checked()
    own = read_sum(tab)
    assert read_pixels(tab, "ten-0") == read_pixels(tab, "output")
    labels.get_by_role("radio", name="1", exact=True).check()
    assert read_pixels(tab, "ten-1") == read_pixels(tab, "output")
    assert read_sum(tab) > own + 20


def test_a_screen_reader_hears_of_the_losses_once_they_rest(tab):
    region = tab.get_by_role("status")
    radios = tab.locator("[name=cvae-test]")
    for i in range(4):
        radios.nth(i).check()
        assert region.inner_text() == ""
    tab.wait_for_function("document.querySelector('[role=status]').textContent !== ''")
    text = region.inner_text()
    assert text.startswith("Reconstruction loss ") and "KL loss" in text


def test_every_control_has_a_name_and_shows_its_focus(tab, axe):
    outline = """(node) => getComputedStyle(node.type === "radio" ? node.nextElementSibling : node).outlineWidth"""
    for control in tab.locator(".cvae-live :is(input, select, button, [tabindex])").all()[::7]:
        control.focus()
        tab.keyboard.press("Shift")
        assert control.evaluate(outline) == "3px", control.evaluate("(node) => node.outerHTML")
    assert find_barriers(tab, axe) == []


def test_times_are_reported(tab):
    """Targets: a decode with its drawing 8 ms at the 95th percentile, the encoder and ten decodes 25 ms.

    Only limits that a slow machine meets are asserted.
    """
    times = tab.evaluate(
        """async () => {
          const find = (part) => document.querySelector(`[data-part="${part}"]`);

          // From the start of the frame in which the page draws a change until the pixels can be read. Callbacks of a
          // frame run in the order in which they were asked for, so the page's own comes between these two.
          const timeFrame = (change, parts) =>
            new Promise((done) => {
              let start;
              requestAnimationFrame(() => (start = performance.now()));
              change();
              requestAnimationFrame(() => {
                parts.forEach((part) => find(part).getContext("2d").getImageData(0, 0, 1, 1));
                done(performance.now() - start);
              });
            });

          async function measure(change, parts) {
            const times = [];
            for (let i = 0; i < 60; i++) times.push(await timeFrame(() => change(i), parts));
            return times.sort((a, b) => a - b);
          }

          function turn(i) {
            find("z1").value = 2 * Math.cos(i / 6);
            find("z1").dispatchEvent(new Event("input"));
          }
          const labels = document.querySelectorAll("[name=cvae-label]");
          const ten = Array.from(labels, (label) => `ten-${label.value}`);
          return {
            decode: await measure(turn, ["picture"]),
            encode_and_ten: await measure((i) => labels[i % 10].click(), ["input", "output", ...ten]),
          };
        }"""
    )
    found = {
        name: {"median_ms": round(one[30], 2), "p95_ms": round(one[57], 2), "max_ms": round(one[-1], 2)}
        for name, one in times.items()
    }
    report(times=found, browser=tab.context.browser.version)
    assert 0 < found["decode"]["median_ms"] < 80 and 0 < found["encode_and_ten"]["median_ms"] < 250
