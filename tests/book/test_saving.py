"""Saving in a real JupyterLab: what is not changed stays as it is, byte for byte, and a run changes outputs alone.

A browser opens chapters, from a copy of the folder, and saves them: pytest -m slow.
"""

import json
import urllib.request

import pytest
from book_sources import CHAPTERS
from processes import wait_for

SAVE_SECONDS = 60
RUN_MILLISECONDS = 300_000

pytestmark = pytest.mark.slow


def read_file(lab, name):
    """A file in the folder of this JupyterLab: a dictionary with its text, `content`, and `last_modified`."""
    with urllib.request.urlopen(f"{lab}/api/contents/{name}?type=file&format=text") as answer:
        return json.load(answer)


def original(name):
    return (CHAPTERS / name).read_bytes().decode("utf-8")


def open_notebook(tab, lab, name):
    """Open a file as a notebook, as a reader does, and wait for its kernel, whose version JupyterLab then notes."""
    tab.goto(f"{lab}/lab/workspaces/{name.replace('.', '-')}")  # a workspace of its own: no other tab is open
    tab.locator(".jp-DirListing-item", has_text=name).click(button="right")
    tab.get_by_text("Open With", exact=True).hover()
    tab.get_by_role("menuitem", name="Notebook", exact=True).click()
    tab.wait_for_selector(".jp-KernelName:has-text('Python 3')", timeout=60_000)
    tab.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=idle]", timeout=60_000)


def save(tab, lab, name):
    before = read_file(lab, name)["last_modified"]
    tab.keyboard.press("Control+s")
    wait_for(lambda: read_file(lab, name)["last_modified"] != before, SAVE_SECONDS, f"{name} is saved")


def without_outputs(content):
    notebook = json.loads(content)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            del cell["outputs"], cell["execution_count"]
    return notebook


@pytest.mark.parametrize("name", ["02_build_the_model.ipynb", "07_morph_and_restyle.md"])
def test_open_and_save_changes_no_file(tab, lab, name):
    pair = [f"{name.rpartition('.')[0]}.{side}" for side in ("ipynb", "md")]
    open_notebook(tab, lab, name)
    save(tab, lab, name)
    for side in pair:
        assert read_file(lab, side)["content"] == original(side), f"saving {name} changed {side}"


def test_a_run_that_is_saved_changes_outputs_alone(tab, lab):
    """Even in the sample edition, whose outputs are others."""
    name, text = "01_meet_the_digits.ipynb", "01_meet_the_digits.md"
    open_notebook(tab, lab, name)
    tab.get_by_role("menuitem", name="Run", exact=True).click()
    tab.get_by_text("Run All Cells", exact=True).click()
    for status in ("busy", "idle"):
        tab.wait_for_selector(f".jp-Notebook-ExecutionIndicator[data-status={status}]", timeout=RUN_MILLISECONDS)
    save(tab, lab, name)
    found, expected = read_file(lab, name)["content"], original(name)
    assert found != expected, "the run was not saved"
    assert without_outputs(found) == without_outputs(expected)
    assert read_file(lab, text)["content"] == original(text)
