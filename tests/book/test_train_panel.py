"""The panel that trains, in a browser: what it loads, what its buttons and settings do, and what it hands over.

It needs Chromium and stands on a bare page that is opened from disk. The arithmetic behind it is tested in
test_trainer.py. `_build/reports/train_panel.json` holds the bytes, steps and times of the last run.

    pip install -r requirements.txt && apt-get install chromium
    pytest tests/book/test_train_panel.py           # CHROMIUM=/path/to/chromium for another browser
"""

import gzip
import json
import re
import shutil
import time
from functools import partial

import numpy as np
import pytest
from book_sources import CHAPTERS, EXPLORER, ROOT, add_to_report, code_cells, printed, read, write_site
from docutils.nodes import make_id

from cvae_lib.data import one_hot
from cvae_lib.evaluate import decode
from cvae_lib.plots import ON_DARK, PALETTE

REPORT = ROOT / "_build/reports/train_panel.json"
PLACE = '<div class="cvae-explorer"{}><p>A still.</p></div>'
PAGE = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>A page</title>
<meta name="viewport" content="width=device-width"></head><body><main><h1>A page</h1><h2>Panels</h2>{}
<script defer src="../explorer/loader.js"></script></main></body></html>"""
PAGES = {"full": ' data-panels="train"', "first": ' data-panels="train-first"', "06_generate_digits": ""}
# Note what the worker reports, without the pictures and the codes.
LISTEN = """() => {
  globalThis.reports = [];
  globalThis.Worker = class extends Worker {
    constructor(address) {
      super(address);
      this.addEventListener("message", ({ data }) => {
        if (!data.report) return;
        const { row, grid, codes, ...told } = data.report;
        const three = [...row.subarray(3 * 784, 4 * 784)];
        reports.push({ ...told, three, gridSum: grid.reduce((sum, value) => sum + value, 0) });
      });
    }
  };
}"""
# The grey values of a canvas, 0 to 255.
READ = """(canvas) => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return [...data].filter((_, i) => i % 4 === 0);
}"""
HIDE = """(hidden) => {
  Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
  document.dispatchEvent(new Event("visibilitychange"));
}"""
# Take WebAssembly away from the worker, whose program the page makes as a Blob.
WITHOUT_WASM = """() => {
  globalThis.Blob = class extends Blob {
    constructor(parts, options) {
      super(["delete globalThis.WebAssembly;", ...parts], options);
    }
  };
}"""
DATA = {"step_binary.js", "train_digits.js", "test_digits.js"}
ENGINE = {"plain_step.js", "wasm_step.js", "run.js", "trainer.js", "weights.js"}


report = partial(add_to_report, REPORT)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A site of bare pages: the panel in full, as the first page has it, and the explorer."""
    pages = {name: PAGE.format(PLACE.format(panels)) for name, panels in PAGES.items()}
    return write_site(tmp_path_factory.mktemp("site"), [*EXPLORER, "_extra/trainer"], pages)


@pytest.fixture
def open_page(browser, folder):
    """Open a page with its panels started: the tab, whose `asked` and `errors` are noted."""
    contexts = []

    def open_page(name="full", address=f"file://{folder}", **settings):
        contexts.append(browser.new_context(**{"viewport": {"width": 1000, "height": 1600}, **settings}))
        tab = contexts[-1].new_page()
        tab.asked, tab.errors = [], []
        tab.on("request", lambda request: tab.asked.append(request.url.split("/")[-1]))
        tab.on("pageerror", lambda error: tab.errors.append(str(error)))
        tab.goto(f"{address}/chapters/{name}.html")
        tab.wait_for_selector("[data-started]")
        tab.evaluate(LISTEN)
        return tab

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture
def tab(open_page):
    tab = open_page()
    yield tab
    assert tab.errors == []


def press(tab, name):
    tab.get_by_role("button", name=name, exact=True).click()


def part(tab, name):
    return tab.locator(f"[data-part={name}]")


def wait(tab, condition):
    """Wait for a condition on the latest report, `now`."""
    tab.wait_for_function(f"() => {{ const now = reports.at(-1); return now && ({condition}); }}", timeout=60_000)
    return latest(tab)


def latest(tab):
    return tab.evaluate("reports.at(-1)")


def train(tab, steps):
    """Train for at least so many steps, and pause; return the last report."""
    press(tab, "Start")
    wait(tab, f"now.step >= {steps}")
    press(tab, "Pause")
    wait(tab, "!now.running")
    tab.wait_for_function("document.querySelector('[data-part=status]').textContent.startsWith('Paused')")
    return latest(tab)


def wait_for_frames(tab):
    """Wait until the latest report is drawn: its parts are drawn in a frame each."""
    tab.evaluate(
        """async () => {
          for (let i = 0; i < 8; i++) await new Promise(requestAnimationFrame);
        }"""
    )


def open_fold(tab, words):
    tab.locator("summary", has_text=words).click()


def choose(tab, setting, option):
    tab.locator(f"[data-setting={setting}]").select_option(index=option)


def sum_of(losses):
    return losses["reconstruction"] + losses["kl"]


# What is loaded, and when


def test_nothing_of_the_digits_is_loaded_before_a_button_is_pressed(open_page, folder):
    weight = 0
    for name in ("full", "first"):
        tab = open_page(name)
        tab.wait_for_load_state("networkidle")
        assert not {*DATA, *ENGINE, "more_digits.js", "decoder.js"} & set(tab.asked)
        before = [file for file in tab.asked if (folder / "trainer" / file).exists()]
        weight = sum(len(gzip.compress((folder / "trainer" / file).read_bytes())) for file in before)
        assert weight <= 20_000, "the scripts of the panel grow heavy"
        tab.asked.clear()
        press(tab, "One step")
        wait(tab, "now.step === 1")
        assert sorted(file for file in tab.asked if not file.startswith("blob:") and "-" not in file) == sorted(
            DATA | ENGINE
        )
    loaded = sum(len(gzip.compress((folder / "trainer" / file).read_bytes())) for file in DATA | ENGINE)
    report(bytes_of_the_panel=weight, bytes_after_start=loaded)
    assert loaded <= 300_000


def test_a_file_that_is_missing_is_named(open_page, folder, tmp_path):
    broken = shutil.copytree(folder, tmp_path / "broken")
    (broken / "trainer/test_digits.js").unlink()
    tab = open_page(address=f"file://{broken}")
    press(tab, "Start")
    tab.wait_for_function("document.querySelector('[data-part=status]').textContent.includes('test_digits.js')")


def test_without_webassembly_it_trains_and_says_that_it_is_slow(tab):
    tab.evaluate(WITHOUT_WASM)
    press(tab, "One step")
    assert wait(tab, "now.step === 1")["engine"] == "JavaScript"
    wait_for_frames(tab)
    assert "slowly, in JavaScript" in part(tab, "status").inner_text()


# Training


def test_it_trains_pauses_steps_and_starts_again(tab):
    press(tab, "Start")
    first = wait(tab, "now.step > 0")
    after = wait(tab, "now.step >= 60")
    assert sum_of(after["test"]) < sum_of(first["test"]) - 50
    press(tab, "Pause")
    paused = wait(tab, "!now.running")["step"]
    tab.wait_for_timeout(800)
    assert latest(tab)["step"] == paused
    press(tab, "One step")
    assert wait(tab, f"now.step > {paused}")["step"] == paused + 1
    assert tab.get_by_role("button", name="Start", exact=True).is_visible()
    press(tab, "Start again")
    assert wait(tab, "now.step === 0")["run"] > after["run"]


def test_pictures_curves_and_words_are_those_of_the_last_report(tab):
    now = train(tab, 40)
    wait_for_frames(tab)
    assert tab.locator(".cvae-tests canvas").nth(3).evaluate(READ) == now["three"]
    assert sum(part(tab, "grid").evaluate(READ)) == now["gridSum"]
    negative_elbo = tab.get_by_role("img", name=re.compile("Negative ELBO: "))
    said = float(
        re.search(r": ([\d.]+) nats on test digits at step (\d+)", negative_elbo.get_attribute("aria-label"))[1]
    )
    assert said == pytest.approx(sum_of(now["test"]), abs=0.051)
    assert f"{now['step']} steps" in part(tab, "status").inner_text()
    for kind in ("train", "test"):
        assert tab.locator(f".cvae-curve .cvae-{kind}").first.get_attribute("d").count("L") >= 2
    assert not tab.locator(".cvae-curve .cvae-other").first.get_attribute("d")


def test_the_digit_of_the_grid_is_the_readers(tab):
    now = train(tab, 10)
    tab.get_by_role("radio", name="7", exact=True).check()
    assert wait(tab, "now.digit === 7")["step"] == now["step"]
    tab.get_by_role("img", name=f"64 pictures of the 7 after {now['step']} steps").wait_for()


SETTINGS = {
    "pixels": (1, "mean"), "beta": (5, 4), "told": (1, False), "oneEpsilon": (1, True), "logSigma": (1, True),
    "atMean": (1, True), "learningRate": (0, 0.0003), "batchSize": (1, 50), "digits": (0, 500),
}  # fmt: skip


def test_each_setting_reaches_the_training_while_it_runs(tab):
    open_fold(tab, "Settings")
    press(tab, "Start")
    run = wait(tab, "now.step > 0")["run"]
    for name, (option, value) in SETTINGS.items():
        choose(tab, name, option)
        now = wait(tab, f"now.settings.{name} === {json.dumps(value)}")
        assert now["run"] == run and now["running"], name
    assert "from step" in part(tab, "runs").inner_text()
    for name, option, value in (("latents", 2, 3), ("seed", 1, 2)):
        choose(tab, name, option)
        now = wait(tab, f"now.settings.{name} === {value} && now.run > {run}")
        assert now["settings"] | {name: value} == now["settings"] and now["running"]
        run = now["run"]
    assert {name: now["settings"][name] for name in SETTINGS} == {name: value for name, (_, value) in SETTINGS.items()}
    assert part(tab, "explore").is_disabled(), "the explorer shows two latents"


def test_the_settings_of_the_page_are_those_of_the_trainer(tab):
    settings = train(tab, 1)["settings"]
    assert settings == tab.evaluate("cvaeTrainer.DEFAULTS") == {**settings, **tab.evaluate("cvaeSettings.DEFAULTS")}


def test_the_curve_falls_on_the_spot_when_the_mean_is_decoded(tab):
    """The weights stay as they are, and the page says what the loss is in truth."""
    open_fold(tab, "Settings")
    sampled = train(tab, 40)
    choose(tab, "atMean", 1)
    now = wait(tab, "now.settings.atMean")
    assert now["step"] == sampled["step"] and now["truth"] == sampled["test"]
    assert sum_of(now["test"]) < sum_of(now["truth"]) - 0.3
    said = f"it has {sum_of(now['truth']):.1f} nats on the test digits, and not {sum_of(now['test']):.1f}"
    tab.wait_for_function("said => document.querySelector('[data-part=runs]').textContent.includes(said)", arg=said)
    wait_for_frames(tab)
    x = [one.split()[0] for one in tab.locator(".cvae-curve .cvae-test").first.get_attribute("d").split("L")]
    assert x[-1] == x[-2]


def test_five_thousand_digits_are_loaded_on_demand(tab):
    open_fold(tab, "Settings")
    train(tab, 1)
    assert "more_digits.js" not in tab.asked
    choose(tab, "digits", 3)
    wait(tab, "now.settings.digits === 5000")
    assert tab.asked.count("more_digits.js") == 1


def test_the_last_run_stays_to_compare(tab):
    open_fold(tab, "Settings")
    choose(tab, "beta", 5)
    first = train(tab, 30)
    assert part(tab, "other").is_hidden()  # the key names the dashed curve only where there is one
    choose(tab, "beta", 3)
    press(tab, "Start again")
    wait(tab, "now.step === 0")
    train(tab, 10)
    assert tab.locator(".cvae-curve .cvae-other").first.get_attribute("d") and part(tab, "other").is_visible()
    words = part(tab, "runs").inner_text()
    assert f"Dashed: weight of the KL loss: 4, {first['step']} steps" in words
    assert "Solid: the settings of the page, " in words


# The bugs


def test_a_bug_is_hidden_until_its_answer_is_opened(tab):
    healthy = train(tab, 20)
    open_fold(tab, "Break it")
    changes = tab.evaluate("cvaeBugs.BUGS.map(({ change }) => change)")
    assert len(changes) == 5
    defaults = healthy["settings"]
    for i, change in enumerate(changes):
        press(tab, f"Bug {'ABCDE'[i]}")
        wait(tab, f"now.running && now.step > 0 && now.run > {healthy['run']}")
        ((name, value),) = change.items()
        assert wait(tab, f"now.settings.{name} === {json.dumps(value)}")["settings"] == {**defaults, **change}
        assert not part(tab, "diagnosis").is_visible() and not part(tab, "settings").is_visible()
        part(tab, "runs").filter(has_text=f"Solid: bug {'ABCDE'[i]}").wait_for()  # it is written a few times a second
        words = part(tab, "runs").inner_text()
        assert words.startswith(f"Solid: bug {'ABCDE'[i]}") and "Dashed: the settings of the page" in words
    open_fold(tab, "Answer")
    assert "one ε" in part(tab, "diagnosis").inner_text()
    press(tab, "Repair it")
    wait(tab, "!now.settings.oneEpsilon && now.running")


def test_answers_quote_what_their_chapters_measured(tab):
    for bug in tab.evaluate("cvaeBugs.BUGS"):
        path = CHAPTERS / f"{bug['page'].partition('.')[0]}.ipynb"
        text = "".join(cell.source for cell in read(path).cells) + "".join(map(printed, code_cells(path)))
        known = set(re.findall(r"\d[\d,]*(?:\.\d+)?", text))
        quoted = re.findall(r"\d[\d,]*(?:\.\d+)?", re.sub(r"one \d\b", "", bug["measured"]))
        assert quoted and set(quoted) <= known, f"{path.name} has no {set(quoted) - known}"


def test_links_lead_to_the_sections_that_they_name(tab):
    told = tab.evaluate("[...Object.values(cvaeSettings.SETTINGS), ...cvaeBugs.BUGS]")
    for one in told:
        page, anchor = one["page"].split(".html#")
        text = (CHAPTERS / f"{page}.md").read_text(encoding="utf-8")
        sections = [make_id(heading) for heading in re.findall(r"^#{2,3} (.*)$", text, re.MULTILINE)]
        assert anchor in sections, one["page"]
        number, _, title = one["chapter"].partition(", ")
        assert int(number) == int(page[:2]) and f"# {title}\n" in text


# What the reader takes along


def test_the_saved_weights_draw_in_the_library_what_the_page_drew(tab, tmp_path):
    from cvae_lib.pretrained import load_pretrained

    now = train(tab, 40)
    with tab.expect_download() as download:
        press(tab, "Save the weights")
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    drawn = decode(load_pretrained(str(path)), np.zeros((1, 2), "float32"), one_hot([3]))[0]
    np.testing.assert_allclose(drawn, np.array(now["three"]) / 255, atol=0.006)


def test_the_explorer_opens_the_trained_model(tab):
    """Between two pages from disk, which share no storage; the first picture of the explorer is that of the row."""
    now = train(tab, 40)
    with tab.context.expect_page() as opened:
        press(tab, "Open in the explorer")
    explorer = opened.value
    explorer.wait_for_selector("[data-part=radius]")
    assert f"that you trained: the settings of the page, {now['step']} steps" in explorer.locator("main").inner_text()
    seen = explorer.locator("[data-part=picture]").evaluate(READ)
    np.testing.assert_allclose(seen, now["three"], atol=1.01)
    assert "test image of a 3" in explorer.locator("[data-part=caption]").inner_text()
    assert explorer.locator(".cvae-dots").first.get_attribute("d").count("M") > 90
    explorer.get_by_role("link", name="Take the book's").click()
    explorer.wait_for_selector("[data-part=radius]")
    assert "that you trained" not in explorer.locator("main").inner_text()


def test_the_explorer_says_that_nobody_answers(open_page, folder):
    tab = open_page()
    tab.goto(f"file://{folder}/chapters/06_generate_digits.html?trained")
    tab.wait_for_selector("[data-part=radius]")
    assert "so this is the book's model" in tab.locator("main").inner_text()


# For everybody


def test_the_keyboard_alone_trains_and_changes(open_page):
    tab = open_page("first")
    tab.get_by_role("button", name="Start", exact=True).focus()
    tab.keyboard.press("Enter")
    wait(tab, "now.step > 0")
    tab.keyboard.press("Space")
    wait(tab, "!now.running")
    for _ in range(3):  # past the two other buttons, to the fold
        tab.keyboard.press("Tab")
    tab.keyboard.press("Enter")
    tab.keyboard.press("Tab")
    tab.keyboard.press("ArrowDown")
    wait(tab, "now.settings.pixels === 'mean'")


def test_a_screen_reader_hears_a_summary_every_few_seconds(tab):
    tab.evaluate(
        """() => {
          globalThis.said = [];
          const region = document.querySelector("[role=status]");
          new MutationObserver(() => said.push(region.textContent)).observe(region, { childList: true });
        }"""
    )
    press(tab, "Start")
    wait(tab, "now.step > 0")
    tab.wait_for_timeout(7000)
    while_training = tab.evaluate("said")
    press(tab, "Pause")
    tab.wait_for_function("said.at(-1).startsWith('Paused')")
    summaries = [one for one in while_training if "negative ELBO" in one]
    assert 1 <= len(summaries) <= 3 and re.search(r"Step \d+: .* nats", summaries[-1])


def test_less_motion_means_few_drawings(open_page):
    def count(tab):
        tab.evaluate(
            """() => {
              globalThis.drawn = 0;
              const put = CanvasRenderingContext2D.prototype.putImageData;
              CanvasRenderingContext2D.prototype.putImageData = function (...all) { drawn++; put.apply(this, all); };
            }"""
        )
        press(tab, "Start")
        wait(tab, "now.step > 0")
        tab.evaluate("{ drawn = 0; reports.length = 0; }")
        tab.wait_for_timeout(4000)
        return tab.evaluate("[drawn / 11, reports.length]")  # ten pictures and the grid

    drawn, _ = count(open_page(reduced_motion="reduce"))
    assert drawn <= 3.1
    drawn, reports = count(open_page())
    assert drawn > reports - 2


def test_a_page_that_nobody_sees_does_not_train(tab):
    press(tab, "Start")
    wait(tab, "now.step > 0")
    tab.evaluate(HIDE, True)
    wait(tab, "!now.running")
    tab.evaluate(HIDE, False)
    wait(tab, "now.running")


def test_classes_have_the_colours_of_the_figures(tab):
    read = (
        "(panel) => Array.from({ length: 10 }, (_, i) => getComputedStyle(panel).getPropertyValue(`--cvae-class-${i}`))"
    )
    panel = tab.locator(".cvae-trainer")
    assert [colour.upper() for colour in panel.evaluate(read)] == [colour.upper() for colour in PALETTE]
    tab.evaluate("document.documentElement.dataset.theme = 'dark'")
    assert [colour.upper() for colour in panel.evaluate(read)] == [ON_DARK[one].upper() for one in PALETTE]


@pytest.mark.parametrize("name", ["full", "first"])
def test_there_is_no_barrier_and_a_phone_does_not_scroll_sideways(open_page, axe, name):
    tab = open_page(name)
    train(tab, 5)
    for fold in tab.locator("details:not([hidden]) > summary").all():
        fold.click()
    tab.evaluate(axe)
    found = tab.evaluate("() => axe.run('.cvae-explorer')")["violations"]
    assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []
    tab.set_viewport_size({"width": 375, "height": 3000})
    assert tab.evaluate("document.documentElement.scrollWidth") <= 375


def test_a_still_stands_in_its_place(open_page, browser, folder):
    page = browser.new_page(java_script_enabled=False)
    page.goto(f"file://{folder}/chapters/full.html")
    assert page.get_by_text("A still.").is_visible() and page.locator(".cvae-live").count() == 0
    page.close()
    tab = open_page()
    tab.emulate_media(media="print")
    assert tab.get_by_text("A still.").is_visible() and not tab.locator(".cvae-live").is_visible()


def test_frames_are_reported(tab):
    """The target is 25 ms at the 95th percentile while it trains. Only what a busy machine meets is asserted."""
    press(tab, "Start")
    wait(tab, "now.step > 0")
    start = time.perf_counter()
    before = latest(tab)
    frames = tab.evaluate(
        """() => new Promise((done) => {
          const times = [];
          let before = performance.now();
          const frame = (now) => {
            times.push(now - before);
            before = now;
            if (times.length < 240) requestAnimationFrame(frame);
            else done(times.slice(1).sort((a, b) => a - b));
          };
          requestAnimationFrame(frame);
        })"""
    )
    after, seconds = latest(tab), time.perf_counter() - start
    p95 = frames[int(0.95 * len(frames))]
    report(
        frame_median_ms=round(frames[len(frames) // 2], 1),
        frame_p95_ms=round(p95, 1),
        frame_max_ms=round(frames[-1], 1),
        steps_per_second=round((after["step"] - before["step"]) / seconds, 1),
        engine=after["engine"],
    )
    assert p95 < 200
