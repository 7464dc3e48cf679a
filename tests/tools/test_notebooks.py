"""The first cell of a chapter and the hook that Jupyter calls when it saves one, without Jupyter."""

import asyncio
import copy
import os
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest

from cvae_lib import BookError
from cvae_lib.data import DataError
from cvae_lib.tools import notebooks


@pytest.fixture
def saved():
    """A chapter as JupyterLab saves it, after a cell was added and another was run with a widget."""
    output = {"output_type": "stream", "name": "stdout", "text": "1\n"}
    code = {"cell_type": "code", "source": "print(1)", "execution_count": 3, "outputs": [output]}
    language = {**notebooks.METADATA["language_info"], "version": "3.12.1", "codemirror_mode": {"name": "ipython"}}
    return {
        "cells": [
            {"cell_type": "markdown", "id": "5085d3b3", "source": "# A chapter", "metadata": {"editable": True}},
            {**code, "id": "cell-1", "metadata": {"tags": ["full-data"], "trusted": True, "execution": {"t": "now"}}},
        ],
        "metadata": {
            **notebooks.METADATA,
            "kernelspec": {"display_name": "my own", "language": "python", "name": "python3"},
            "language_info": language,
            "widgets": {"application/vnd.jupyter.widget-state+json": {}},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def test_the_hook_leaves_what_is_the_chapters(saved):
    before = copy.deepcopy(saved)
    notebooks.strip_chapter(path="chapter.ipynb", model={"type": "notebook", "content": saved}, contents_manager=None)
    assert saved["metadata"] == notebooks.METADATA
    assert [cell["id"] for cell in saved["cells"]] == ["cell-1", "cell-2"]
    assert [cell["metadata"] for cell in saved["cells"]] == [{}, {"tags": ["full-data"], "trusted": True}]
    for found, expected in zip(saved["cells"], before["cells"]):
        assert {**found, "id": 0, "metadata": 0} == {**expected, "id": 0, "metadata": 0}
    nbformat.validate(nbformat.from_dict(saved))


def test_the_hook_leaves_other_files_alone(saved):
    del saved["metadata"]["book"]
    others = [{"type": "notebook", "content": saved}, {"type": "file", "content": "text"}, {"type": "directory"}]
    before = copy.deepcopy(others)
    for model in others:
        notebooks.strip_chapter(path="other", model=model, contents_manager=None)
    assert others == before


def test_the_extension_registers_the_hook_where_jupytext_has_put_its_contents_manager():
    hooks = []
    manager = SimpleNamespace(register_pre_save_hook=hooks.append)
    server = SimpleNamespace(contents_manager=None)
    assert [point["module"] for point in notebooks._jupyter_server_extension_points()] == [notebooks.__name__]
    notebooks._load_jupyter_server_extension(server)
    server.contents_manager = manager
    asyncio.run(notebooks._start_jupyter_server_extension(server))
    assert hooks == [notebooks.strip_chapter]


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """Another working directory, left again after the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CVAE_DATA", "sample")
    return tmp_path


def test_a_chapter_finds_its_files_from_any_folder_and_says_which_digits_it_uses(elsewhere, monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda data, raw: shown.append(raw and data))
    notebooks.open_chapter()
    assert Path("log_2017.csv").exists() and os.environ["CVAE_DATA"] == "sample"
    (note,) = shown
    told = note["text/markdown"]
    assert told == f"> {note['text/plain']}"
    assert "**This run uses the sample edition**" in told and "4,000 training and 1,000 test digits" in told
    assert "60,000 and 10,000" in told and "%env CVAE_DATA=full" in told


def test_a_chapter_says_nothing_of_the_full_edition(elsewhere, capsys, monkeypatch):
    full = SimpleNamespace(edition="full", source=str(elsewhere / "mnist.npz"))
    monkeypatch.setattr(notebooks, "load_mnist", lambda: full)
    notebooks.open_chapter()
    assert capsys.readouterr().out == "" and os.environ["CVAE_DATA"] == full.source


def test_relative_paths_of_data_hold_in_the_folder_of_the_chapters(elsewhere, make_file, monkeypatch):
    Path(make_file("digits.npz")).rename(elsewhere / "digits.npz")
    monkeypatch.setenv("CVAE_DATA", "digits.npz")
    notebooks.open_chapter()
    assert os.environ["CVAE_DATA"] == str(elsewhere / "digits.npz")
    notebooks.open_chapter()


def test_a_chapter_without_its_folder_says_what_to_do(elsewhere, monkeypatch):
    monkeypatch.setattr(notebooks, "CHAPTERS", elsewhere / "chapters")
    with pytest.raises(BookError, match="found no such folder; expected the chapters.*pip install -e"):
        notebooks.open_chapter()


def test_data_that_cannot_be_used_are_refused(elsewhere, monkeypatch):
    monkeypatch.setenv("CVAE_DATA", "nothing.npz")
    with pytest.raises(DataError, match="nothing.npz: found no such file"):
        notebooks.open_chapter()
