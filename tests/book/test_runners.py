"""Chapters in other hands than ours: other programs, plugins and folders, a copy that is read-only, no package at all.

What runs whole chapters, in the sample edition, or installs a package from the index takes minutes: pytest -m slow.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv

import nbformat
import pytest
from book_sources import CHAPTERS, NOTEBOOKS, ROOT, code_cells, pictures

CHAPTER = "04_encode_a_digit.ipynb"  # quick, and it reads a file of the chapters' folder
NOT_COPIED = shutil.ignore_patterns(".git", ".venv", ".*_cache", "__pycache__", "_build", "node_modules", "trained")
PACKAGES = sysconfig.get_path("purelib")
# Not even the administrator may then write into what is read-only.
POWERLESS = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search"]


def run(*command, cwd=ROOT, **environment):
    """Run a command as a reader does, in the sample edition, and return what it wrote."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, "CVAE_DATA": "sample", **environment},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def run_pytest(*arguments, python=sys.executable, **options):
    return run(python, "-m", "pytest", "-p", "no:cacheprovider", *arguments, **options)


def check(path):
    """Assert that every cell of a chapter has run, and that the first one tells the edition."""
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in cells) and any(pictures(cell) for cell in cells)
    assert "sample edition" in cells[0].outputs[0].data["text/markdown"]


@pytest.fixture
def environment(tmp_path):
    """The Python of a throw-away environment that sees all packages of this one, where others can be installed."""
    venv.create(tmp_path / "environment", with_pip=False)
    (packages,) = tmp_path.glob("environment/lib/python*/site-packages")
    (packages / "all.pth").write_text(f"import site; site.addsitedir({PACKAGES!r})", encoding="utf-8")
    return tmp_path / "environment/bin/python"


@pytest.fixture
def book(tmp_path):
    """A copy of the repository."""
    return shutil.copytree(ROOT, tmp_path / "copy", ignore=NOT_COPIED)


@pytest.fixture
def read_only(book):
    """A copy of the repository that nobody may write into, and what to put before a command to keep to that."""
    folders = [book, *(path for path in book.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    yield book, POWERLESS if os.geteuid() == 0 else []
    for folder in folders:
        folder.chmod(0o755)


# The first cell


def test_every_chapter_begins_with_the_same_cell():
    """It fetches the book where it is missing, and tells the edition if that is not the full one."""
    for path in NOTEBOOKS:
        cell, *_ = code_cells(path)
        assert cell.source == code_cells(NOTEBOOKS[0])[0].source, path.name
        assert cell.source.endswith("open_chapter()") and not cell.outputs, path.name
        assert cell.metadata.tags == ["full-data", "remove-cell"], path.name


def test_the_address_of_the_repository_is_the_same_everywhere():
    (address,) = re.findall(r"git clone (\S+)", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    assert f'"git+{address}#egg=cvae-book"' in code_cells(NOTEBOOKS[0])[0].source
    assert f"repository_url: {address}\n" in (ROOT / "_config.yml").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_first_cell_fetches_the_book_where_it_is_missing(book, environment, tmp_path):
    """As on Colab: the packages that the book needs are there, and the book is not."""
    (packages,) = tmp_path.glob("environment/lib/python*/site-packages")
    (packages / "all.pth").write_text(PACKAGES, encoding="utf-8")  # without what is installed from a folder
    for command in ("init -q", "add .", "-c user.name=x -c user.email=x@localhost commit -q -m x"):
        run("git", *command.split(), cwd=book)
    cell = re.sub(r"git\+[^#]+", f"git+file://{book}", code_cells(NOTEBOOKS[0])[0].source)
    told = run(environment, "-c", f"{cell}\nimport os, cvae_lib\nprint(os.getcwd(), cvae_lib.__file__)", cwd=tmp_path)
    assert f"{tmp_path}/cvae-book/chapters {tmp_path}/cvae-book/cvae_lib/__init__.py" in told
    assert "sample edition" in told


# Other programs


@pytest.mark.slow
@pytest.mark.weekly
def test_nbconvert_runs_a_chapter_from_another_folder(tmp_path):
    command = ["-m", "nbconvert", "--to=notebook", "--execute", f"--output-dir={tmp_path}"]
    run(sys.executable, *command, CHAPTERS / CHAPTER, cwd=tmp_path)
    check(tmp_path / CHAPTER)


@pytest.mark.slow
@pytest.mark.weekly
def test_jupyter_execute_runs_a_chapter(tmp_path):
    run(sys.executable, "-m", "jupyter", "execute", CHAPTERS / CHAPTER, f"--output={tmp_path / 'done'}")
    check(tmp_path / "done.ipynb")


@pytest.mark.slow
@pytest.mark.weekly
def test_papermill_runs_a_chapter_from_the_root(tmp_path, environment):
    """Its kernel works in the folder from which it is called, and not in that of the chapter."""
    run(environment, "-m", "pip", "install", "--quiet", "papermill")
    run(environment, "-m", "papermill", f"chapters/{CHAPTER}", tmp_path / "done.ipynb")
    check(tmp_path / "done.ipynb")


@pytest.mark.slow
@pytest.mark.weekly
def test_sphinx_builds_the_book(book):
    """By the command that CONTRIBUTING.md gives."""
    (line,) = re.findall(r"`(jupyter-book config sphinx .*)`", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    run("bash", "-euc", line, cwd=book, PATH=f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}")
    assert (book / "_build/sphinx/chapters/intro.html").exists()


# Other circumstances


SHUFFLE = """
import pytest

@pytest.hookimpl(tryfirst=True, wrapper=True)
def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.name[::-1])
    yield
    items.sort(key=lambda item: item.name[::-1])
"""


def test_cells_stay_in_order_where_a_plugin_shuffles_the_tests(tmp_path):
    (tmp_path / "shuffle.py").write_text(SHUFFLE, encoding="utf-8")
    names = [f"chapters/{path.name}" for path in NOTEBOOKS[:2]]
    told = run_pytest("-n0", "-p", "shuffle", "--collect-only", "-q", *names, PYTHONPATH=tmp_path)
    for name in names:
        cells = [int(number) for number in re.findall(rf"{name}::Cell (\d+)", told)]
        assert cells == list(range(len(cells))) and len(cells) > 10


@pytest.mark.slow
def test_cells_stay_in_order_under_pytest_randomly(environment):
    run(environment, "-m", "pip", "install", "--quiet", "pytest-randomly")
    told = run_pytest("-n0", f"chapters/{CHAPTER}", python=environment)
    assert "Using --randomly-seed" in told


@pytest.mark.slow
def test_one_chapter_alone_without_xdist():
    assert "chapters in the sample edition" in run_pytest("-p", "no:xdist", "--nbval", CHAPTER, cwd=CHAPTERS)


def test_without_xdist_the_tests_of_the_site_find_what_xdist_gives():
    told = run_pytest("-p", "no:xdist", "--fixtures", "tests/book/test_site.py")
    assert "worker_id" in told


@pytest.mark.slow
def test_with_xdist_two_processes_share_the_work():
    assert "2 workers" in run_pytest("tests/data/test_conditions.py")


@pytest.mark.slow
def test_the_tests_of_a_read_only_copy_pass(read_only):
    """Those that copy files of the repository, and change the copies, too."""
    folder, powerless = read_only
    tests = [
        "tests/tools/test_notebooks.py",
        "tests/test_pretrained.py::test_missing_file_is_named",
    ]  # which copy files
    command = [*powerless, sys.executable, "-m", "pytest", "-n0", "-p", "no:cacheprovider", *tests]
    assert " passed" in run(*command, cwd=folder)


@pytest.mark.slow
def test_a_chapter_of_a_read_only_copy_runs(read_only, tmp_path):
    folder, powerless = read_only
    command = [*powerless, sys.executable, "-m", "nbconvert", "--to=notebook", "--execute", f"--output-dir={tmp_path}"]
    run(*command, f"chapters/{CHAPTER}", cwd=folder)
    check(tmp_path / CHAPTER)


def test_execute_refuses_a_read_only_chapter_before_it_works(read_only):
    folder, powerless = read_only
    text = folder / "chapters" / CHAPTER.replace(".ipynb", ".md")
    text.chmod(0o444)
    command = [*powerless, sys.executable, "chapters/execute.py", text]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 2 and f"{text} is read-only" in done.stderr
