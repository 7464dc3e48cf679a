"""The built book, a server for it, the scripts of its pages, a real JupyterLab: what several test files share."""

import json
import shutil
import subprocess
import sys
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path

import pytest
from book_sources import CHAPTERS, NOT_COPIED, ROOT
from processes import run_jupyterlab

BUILD = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", ".", "-W", "-n"]
BUILD_SECONDS = 300


@pytest.fixture(scope="session")
def site(tmp_path_factory, worker_id):
    """The folder of the site, built strictly from a copy of the repository.

    Of several processes of pytest-xdist the first that asks builds it, and the others wait.
    """
    pytest.importorskip("jupyter_book", reason="jupyter-book is not installed: pip install -r requirements.txt")
    base = tmp_path_factory.getbasetemp()
    book = (base if worker_id == "master" else base.parent) / "book"
    complaints = book / "_build/complaints.txt"
    try:
        book.mkdir()
    except FileExistsError:
        end = time.monotonic() + BUILD_SECONDS
        while not complaints.exists():
            assert time.monotonic() < end, f"another process did not build the book in {BUILD_SECONDS} s"
            time.sleep(0.2)
    else:
        build(book, complaints)
    assert complaints.read_text(encoding="utf-8") == ""
    return book / "_build/html"


def build(book, complaints):
    """Build a copy of the repository in the folder `book`, and leave a file of what was wrong, empty for nothing."""
    shutil.copytree(ROOT, book, ignore=NOT_COPIED, dirs_exist_ok=True)
    done = subprocess.run([*BUILD, "--keep-going"], cwd=book, capture_output=True, text=True, encoding="utf-8")
    text = (done.stdout[-3000:] + done.stderr[-3000:] or "the build failed") if done.returncode else ""
    complaints.parent.mkdir(exist_ok=True)
    complaints.with_suffix(".part").write_text(text, encoding="utf-8")
    complaints.with_suffix(".part").replace(complaints)


class Pages(SimpleHTTPRequestHandler):
    """Serve a site under /book/, as Pages would, and its 404 page for what does not exist."""

    def translate_path(self, path):
        return super().translate_path(path.removeprefix("/book"))

    def send_error(self, code, message=None, explain=None):
        lost = Path(self.directory, "404.html")
        self.send_response(code)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(lost.read_bytes() if lost.exists() else b"")

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def serve():
    """Serve a folder on this machine until the tests of the file have run: a function from folder to address."""
    servers = []

    def serve(folder):
        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), partial(Pages, directory=folder)))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}/book/"

    yield serve
    for server in servers:
        server.shutdown()


@pytest.fixture(scope="module")
def run_javascript(request, tmp_path_factory):
    """Run a function, given as text, after the scripts of these paths, and return what it returns.

    The function and its argument pass as JSON. It runs in node, or in Chromium where node is missing.
    """

    def run(paths, function, argument):
        sources = [path.read_text(encoding="utf-8") for path in paths]
        if node := shutil.which("node"):
            call = f"console.log(JSON.stringify(({function})(JSON.parse(require('fs').readFileSync(0)))))"
            path = tmp_path_factory.mktemp("node") / "run.js"
            path.write_text("\n".join([*sources, call]), encoding="utf-8")
            done = subprocess.run(
                [node, path], input=json.dumps(argument), capture_output=True, text=True, encoding="utf-8"
            )
            assert done.returncode == 0, done.stderr
            return json.loads(done.stdout)
        tab = request.getfixturevalue("browser").new_page()
        for source in sources:
            tab.add_script_tag(content=source)
        found = tab.evaluate(function, argument)
        tab.close()
        return found

    return run


@pytest.fixture(scope="session")
def axe():
    """The script of axe-core, which looks for barriers to accessibility."""
    pytest.importorskip("axe_playwright_python", reason="axe is not installed: pip install -r requirements.txt")
    return resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")


@pytest.fixture
def tab(browser):
    tab = browser.new_page(viewport={"width": 1400, "height": 1000})
    yield tab
    tab.close()


@pytest.fixture(scope="module")
def lab(browser, tmp_path_factory):  # after the browser: without one there is nothing to start
    """The address of a JupyterLab on a copy of the chapters, with settings of its own; its processes end with it."""
    folder = tmp_path_factory.mktemp("lab")
    chapters = shutil.copytree(CHAPTERS, folder / "chapters", ignore=shutil.ignore_patterns(".*", "__*"))
    with run_jupyterlab(chapters, folder) as address:
        yield address
