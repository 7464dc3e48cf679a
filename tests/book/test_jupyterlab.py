"""The sliders in a real JupyterLab: a browser runs a chapter and moves them by keyboard.

The whole chapter runs in the sample edition, in a copy of the folder, so this takes a minute or two: pytest -m slow.
Where there is no Playwright or no Chromium the test is skipped, and says so.
"""

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
from book_sources import CHAPTERS

START_SECONDS = 90
RUN_SECONDS = 300

pytestmark = pytest.mark.slow


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def wait_for(ask, seconds, what):
    """Ask until the answer is true, twice a second; fail, naming what was waited for, after so many seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if answer := ask():
            return answer
        time.sleep(0.5)
    pytest.fail(f"{what}: not within {seconds} seconds")


@pytest.fixture
def tab(browser):
    tab = browser.new_page(viewport={"width": 1400, "height": 1000})
    yield tab
    tab.close()


@pytest.fixture(scope="module")
def lab(browser, tmp_path_factory):  # after the browser: without one there is nothing to start
    """The address of a JupyterLab on a copy of the chapters, with settings of its own; its processes end with it."""
    tmp_path = tmp_path_factory.mktemp("lab")
    chapters = shutil.copytree(CHAPTERS, tmp_path / "chapters", ignore=shutil.ignore_patterns(".*", "__*"))
    port = free_port()
    places = {f"JUPYTER_{name}_DIR": str(tmp_path / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    places |= {f"JUPYTERLAB_{name}_DIR": str(tmp_path / name.lower()) for name in ("SETTINGS", "WORKSPACES")}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}"]
    command += ["--ServerApp.port_retries=0", "--IdentityProvider.token=", "--ServerApp.password="]
    command += ["--LabApp.news_url=", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    with open(tmp_path / "lab.log", "w", encoding="utf-8") as log:
        server = subprocess.Popen(
            [*command, f"--ServerApp.root_dir={chapters}"],
            env={**os.environ, **places, "CVAE_DATA": "sample"},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    address = f"http://127.0.0.1:{port}"

    def answers():
        assert server.poll() is None, (tmp_path / "lab.log").read_text(encoding="utf-8")[-2000:]
        try:
            return urllib.request.urlopen(f"{address}/api/status", timeout=5).status == 200
        except OSError:
            return False

    try:
        wait_for(answers, START_SECONDS, "JupyterLab answers")
        yield address
    finally:
        stop(server)


def stop(server):
    """End the server, which ends its kernels on SIGTERM; a kernel whose server was killed ends by itself."""
    server.terminate()
    try:
        server.wait(30)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def picture(slider):
    """The bytes of the picture beside a slider, as a digest."""
    numbers = slider.evaluate("""async (slider) => {
      const image = await fetch(slider.closest(".jp-OutputArea").querySelector("img.widget-image").src);
      return [...new Uint8Array(await image.arrayBuffer())];
    }""")
    assert bytes(numbers[:4]) == b"\x89PNG"
    return hashlib.sha256(bytes(numbers)).hexdigest()


@pytest.mark.parametrize(
    "chapter, name, step", [("06_generate_digits", "z1", 0.1), ("07_morph_and_restyle", "blend", 0.05)]
)
def test_a_slider_moved_by_keyboard_changes_the_picture(tab, lab, chapter, name, step):
    tab.goto(f"{lab}/lab/workspaces/{chapter}/tree/{chapter}.ipynb")  # a workspace of its own: no other tab is open
    tab.wait_for_selector(".jp-Notebook", timeout=60_000)
    # Before its kernel is there, "Run All Cells" would ask for one.
    tab.wait_for_selector(".jp-KernelName:has-text('Python 3')", timeout=60_000)
    tab.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=idle]", timeout=60_000)
    tab.get_by_role("menuitem", name="Run", exact=True).click()
    tab.get_by_text("Run All Cells", exact=True).click()

    slider = tab.locator(".widget-slider").filter(has_text=name).first
    wait_for(slider.count, RUN_SECONDS, f"the slider {name}")
    # The picture changes while the check below the sliders tries their ends; wait for the last cell.
    idle = tab.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]")
    wait_for(idle.count, RUN_SECONDS, "every cell has run")
    assert tab.locator("[data-mime-type='application/vnd.jupyter.stderr']").count() == 0

    slider.scroll_into_view_if_needed()
    reading = slider.locator(".widget-readout")
    # JupyterLab may draw the row again when it rolls into sight: its number comes a moment after the row.
    wait_for(lambda: reading.text_content(), 20, "the slider's number")
    before, start = picture(slider), float(reading.text_content())
    slider.locator(".noUi-handle").focus()
    tab.keyboard.press("ArrowRight")
    wait_for(lambda: picture(slider) != before, 20, "another picture")
    assert float(reading.text_content()) == pytest.approx(start + step)
    tab.keyboard.press("ArrowLeft")
    wait_for(lambda: picture(slider) == before, 20, "the first picture again")
