"""The data that chapters make for their own models, and the script that trains on them and keeps the rows."""

import csv
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
from book_sources import CHAPTERS
from PIL import Image, ImageFont

from chapters import train_own
from cvae_lib.data import DataError
from cvae_lib.metrics import measure_shape
from cvae_lib.pretrained import load_history, load_manifest, load_pretrained
from cvae_lib.training.recipes import Recipe

PAGE = train_own.read_definitions("16_your_own_images")
TABLES = {
    chapter: json.loads((CHAPTERS / "results" / f"{table}.json").read_text(encoding="utf-8"))
    for chapter, table in train_own.RESULTS.items()
    if chapter in {own.chapter for own in train_own.OWN.values()}
}


def rows_of(name):
    return [row for row in TABLES[train_own.OWN[name].chapter]["rows"] if row["name"] == name]


# The letters


@pytest.fixture(scope="module")
def fonts():
    path = PAGE["get_data_path"]() + "/fonts/ttf/{}.ttf"
    return {name: ImageFont.truetype(path.format(name), 42) for name in PAGE["FONTS"]}


def grey(picture):
    """The ink of a letter, 0 to 1: its colour has one value at the top and one at 0."""
    return np.asarray(picture, float).max(axis=2) / 255


def test_a_letter_has_its_hue(fonts):
    for hue, rgb in ((0, (255, 0, 0)), (60, (255, 255, 0)), (180, (0, 255, 255)), (240, (0, 0, 255))):
        picture = np.asarray(PAGE["draw_letter"]("I", hue, 0, 3, fonts["DejaVuSans"]))
        assert picture.shape == (32, 32, 3)
        assert tuple(picture[16, 15:17].max(axis=0)) == rgb
        assert not picture[0].any() and not picture[:, 0].any(), "the letter touches the edge"


def test_a_letter_has_its_slant_and_weight(fonts):
    """By the moments of its ink, which the drawing does not use."""
    draw = partial(PAGE["draw_letter"], "I", 100, font=fonts["DejaVuSans"])
    slants = [-0.4, -0.1, 0.0, 0.2, 0.4]
    upright = np.stack([grey(draw(slant=slant, weight=1)).ravel() for slant in slants])
    np.testing.assert_allclose(measure_shape(upright, (32, 32)).slant, slants, atol=0.03)
    ink = [grey(draw(slant=0, weight=weight)).sum() for weight in (0, 1, 2, 3)]
    height = [(grey(draw(slant=0, weight=weight)).max(axis=1) > 0.5).sum() for weight in (0, 1, 2, 3)]
    width = np.array(ink) / height
    np.testing.assert_allclose(width - width[0], [0, 1, 2, 3], atol=0.3)


def test_the_table_says_what_each_file_is(fonts, tmp_path):
    PAGE["write_letters"](tmp_path, 30, seed=3)
    rows = list(csv.DictReader((tmp_path / "letters.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["letter"] for row in rows] == list("ABCDEFGHIJKLMNOPQRSTUVWXYZABCD")
    assert {row["file"] for row in rows} | {"letters.csv"} == {path.name for path in tmp_path.iterdir()}
    for row in rows[::7]:
        known = [float(row[name]) for name in ("hue", "slant", "weight")]
        again = PAGE["draw_letter"](row["letter"], *known, fonts[row["font"]])
        with Image.open(tmp_path / row["file"]) as picture:
            np.testing.assert_array_equal(np.asarray(picture), np.asarray(again))


def test_letters_depend_on_the_seed_alone():
    one, same, other = (PAGE["make_letters"](260, seed) for seed in (0, 0, 1))
    assert one.digest == same.digest != other.digest
    assert one.condition.columns == ("letter", "hue") and one.image_shape == (32, 32, 3)
    assert (one.n_train, one.n_test) == (234, 26)


# Fashion-MNIST


def test_other_images_in_its_form_are_refused(tmp_path, monkeypatch):
    digits = PAGE["make_digits"]()
    path = tmp_path / "own.npz"
    x = np.full((20, 28, 28), 9, "uint8")
    np.savez(path, x_train=x, y_train=np.arange(20) % 10, x_test=x, y_test=np.arange(20) % 10)
    with pytest.raises(DataError, match="images of the digest .*expected Fashion-MNIST"):
        PAGE["load_fashion"](path)
    monkeypatch.setitem(PAGE, "PLACES", ("", str(tmp_path), str(tmp_path / "nothing")))
    assert PAGE["find_fashion"]() is None
    assert digits.digest != PAGE["FASHION"]


# The script


@pytest.mark.parametrize("name", train_own.OWN)
def test_every_model_has_its_rows(name):
    own, rows = train_own.OWN[name], rows_of(name)
    assert callable(train_own.read_definitions(own.chapter)[own.make_data])
    assert [row["seed"] for row in rows] == sorted(own.seeds)
    for row in rows:
        assert len(row["val_loss"]) <= own.recipe.epochs and row["val_loss"][-1] < row["val_loss"][0]
        assert row["cpu_seconds"] > 0
    assert len({row["data"] for row in rows}) == 1


@pytest.mark.parametrize("name", [name for name, own in train_own.OWN.items() if own.chapter.startswith("16")])
def test_a_negative_elbo_is_above_the_exact_figure(name):
    for row in rows_of(name):
        assert row["exact"] < row["elbo"] and row["gap"] == pytest.approx(row["elbo"] - row["exact"], abs=2e-4)
        assert 0 <= row["fidelity"] <= 1 and 0.5 < row["accuracy"] <= 1


@pytest.mark.parametrize("name", [name for name, own in train_own.OWN.items() if own.ships])
def test_a_row_of_a_model_that_ships_is_that_of_its_files(name):
    (row, *_), entry = rows_of(name), load_manifest()[name]
    assert row["parameters"] == entry["parameters"] and row["data"] == entry["data"]["sha256"]
    np.testing.assert_allclose(row["val_loss"], load_history(name)["val_loss"], atol=0.0051)


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """A model of scikit-learn's digits that trains in a second, and a folder for its rows."""
    (tmp_path / "results").mkdir()
    measure = partial(train_own.measure_images, images=20, cells=20, pictures=100)
    recipe = Recipe(n_hidden=8, batch_size=250, epochs=2)
    own = train_own.Own("16_your_own_images", "make_digits", recipe, measure, (1, 2), ships=True)
    monkeypatch.setattr(train_own, "OWN", {"tiny": own, "nothing": own._replace(make_data="make_nothing")})
    monkeypatch.setattr(train_own, "CHAPTERS", tmp_path)
    monkeypatch.setitem(PAGE, "make_nothing", lambda: None)
    return tmp_path


def test_rows_and_weights_are_written_and_older_rows_stay(tiny, capfd):
    table = tiny / "results" / "own_images.json"
    table.write_text(
        json.dumps({"rows": [{"name": "tiny", "seed": seed, "old": True} for seed in (1, 3)]}), encoding="utf-8"
    )
    assert train_own.main(["tiny", "--out", str(tiny)]) == 0
    rows = json.loads(table.read_text(encoding="utf-8"))["rows"]
    assert [(row["seed"], "old" in row) for row in rows] == [(1, False), (2, False), (3, True)]
    assert rows[0]["val_loss"] != rows[1]["val_loss"]
    entry = load_manifest(tiny)["tiny"]
    assert entry["command"] == "python3 chapters/train_own.py tiny --seed 1"
    assert load_pretrained("tiny", tiny).count_params() == rows[0]["parameters"]
    assert '"seed": 2' not in (tiny / "manifest.json").read_text(encoding="utf-8"), "another seed took its place"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not lock files in this way")
def test_rows_that_are_added_at_the_same_time_all_stay(tiny):
    rows = [{"name": "tiny", "seed": seed} for seed in range(24)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(partial(train_own.add_row, "16_your_own_images"), rows))
    table = json.loads((tiny / "results" / "own_images.json").read_text(encoding="utf-8"))
    assert table["rows"] == rows


def test_missing_data_and_unknown_names_end_with_one_line(tiny, capfd):
    assert train_own.main(["nothing"]) == 1
    assert "error: make_nothing: found no such data" in capfd.readouterr().err
    with pytest.raises(SystemExit) as stopped:
        train_own.main(["nonesuch"])
    assert stopped.value.code == 2 and "nonesuch" in capfd.readouterr().err
