"""What tests share: the data of this run, and a headless Chromium, without which tests are skipped and say so."""

import os
import signal
from pathlib import Path

import pytest

from cvae_lib.data import load_mnist

CHROMIUM = os.environ.get("CHROMIUM") or "/usr/bin/chromium"


@pytest.fixture(scope="session")
def digits():
    """The digits of the edition that this test run uses."""
    return load_mnist()


@pytest.fixture
def ctrl_c():
    """Ctrl-C raises KeyboardInterrupt, also where the tests run in the background of a shell, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


# One for each test file and not for the session: while Playwright is open it occupies the thread's event loop, which
# nbval needs for the chapters.
@pytest.fixture(scope="module")
def browser():
    """A headless Chromium that reaches no host but this one."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not Path(CHROMIUM).exists():
        pytest.skip(f"no browser at {CHROMIUM}: apt-get install chromium, or set CHROMIUM")
    with playwright.sync_playwright() as play:
        arguments = ["--no-sandbox", "--disable-background-networking", "--renderer-process-limit=1"]
        arguments += ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
        browser = play.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()
