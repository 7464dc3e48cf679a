"""A headless Chromium for the tests that need a browser; without one they are skipped, and say so."""

import os
from pathlib import Path

import pytest

CHROMIUM = os.environ.get("CHROMIUM") or "/usr/bin/chromium"


# One for each test file and not for the session: while Playwright is open it occupies the thread's event loop, which
# nbval needs for the chapters.
@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not Path(CHROMIUM).exists():
        pytest.skip(f"no browser at {CHROMIUM}: apt-get install chromium, or set CHROMIUM")
    with playwright.sync_playwright() as play:
        # No host but this one, and one process for all pages.
        arguments = ["--no-sandbox", "--disable-background-networking", "--renderer-process-limit=1"]
        arguments += ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
        browser = play.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()
