"""The pictures of a model while it learns are those that its decoder draws at these epochs, of the same codes."""

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from cvae_lib import files
from cvae_lib.data import load_digits
from cvae_lib.evaluate import decode
from cvae_lib.pretrained import load_history, load_pretrained
from cvae_lib.tools import snapshots
from cvae_lib.tools.cli import main
from cvae_lib.tools.snapshots import EPOCHS, SEED
from cvae_lib.training.loop import make_model, train
from cvae_lib.training.recipes import RECIPES

CHAPTERS = Path(__file__).parent.parent.parent / "chapters"
pytestmark = [
    pytest.mark.usefixtures("eager"),
    pytest.mark.filterwarnings("ignore:Even though the `tf.config"),
]


def test_rows_are_what_the_decoder_draws(make_file, tiny, tmp_path, monkeypatch, capsys):
    """The first row is drawn by the untrained model, the last by the model that the same training ends in."""
    recipe, path = replace(tiny, epochs=3), make_file("digits.npz")
    monkeypatch.setitem(RECIPES, "mnist-2d", recipe)
    assert main(["snapshots", "--data", path, "--out", str(tmp_path / "new" / "results")]) == 0
    record = json.loads((tmp_path / "new" / "results" / "snapshots.json").read_text(encoding="utf-8"))
    sheet = np.asarray(Image.open(tmp_path / "new" / "results" / "snapshots.png"))

    assert record["z"] == np.random.default_rng(0).standard_normal((10, 2)).round(3).tolist()
    assert record["epochs"] == [0, 1, 2] and record["command"] == f"python -m cvae_lib snapshots --data {path}"
    rows = sheet.reshape(3, 28, 10, 28).swapaxes(1, 2).reshape(3, 10, 784)
    data = load_digits(path)
    after_two = replace(recipe, epochs=2)
    train(after_two, data, tmp_path, "twin", verbose=0, jit_compile=False)
    for row, model in ((0, make_model(recipe, data, seed=1).cvae), (2, load_pretrained("twin", tmp_path))):
        pictures = decode(model, np.array(record["z"], "float32"), np.eye(10, dtype="float32"))
        np.testing.assert_allclose(rows[row], 255 * pictures, atol=0.51)
    assert record["history"]["val_loss"][:2] == load_history("twin", tmp_path)["val_loss"]
    assert f"{record['history']['val_loss'][-1]:.2f}" in capsys.readouterr().out.splitlines()[-1]


def test_the_stored_ones_are_of_the_epochs_and_codes_that_the_command_takes():
    stored = json.loads((CHAPTERS / "results" / "snapshots.json").read_text(encoding="utf-8"))
    assert tuple(stored["epochs"]) == EPOCHS and stored["seed"] == SEED
    assert stored["z"] == np.random.default_rng(0).standard_normal((10, 2)).round(3).tolist()


def test_ctrl_c_leaves_no_folder_behind(tiny, tmp_path, monkeypatch):
    """What `files.end_at_once` removes while it trains."""
    seen = []
    monkeypatch.setattr(snapshots, "train", lambda *arguments, **options: seen.extend(files._temporary) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        snapshots.record_snapshots(tiny, SimpleNamespace(n_y=10), tmp_path)
    assert any(path.parent == Path(tempfile.gettempdir()) for path in seen) and not files._temporary
