"""The files that the explorer loads: the same bytes from the shipped models, and small. Others are refused first."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from cvae_lib.data import Classes, Cyclic, Joint, Numbers
from cvae_lib.data.mnist import DIGITS
from cvae_lib.pretrained import PretrainedError
from cvae_lib.tools import export_explorer
from cvae_lib.tools.cli import main
from cvae_lib.tools.export_explorer import (
    check_model,
    export,
    pack_networks,
    read_weights,
    round_kernel,
    spread_labels,
    write_scripts,
    write_steps,
)

EXPLORER = Path(__file__).parent.parent.parent / "_extra/explorer"
MODEL = "mnist-2d"
LARGEST = {  # bytes, compressed as servers do
    "decoder.js": 450_000, "encoder.js": 500_000, "fashion-2d.js": 450_000, "letters-2d.js": 300_000,
}  # fmt: skip
OTHERS = ("fashion-2d", "letters-2d")


def check_script(name, folder, model):
    """A script is the one that the page has, and small."""
    found = (EXPLORER / name).read_bytes()
    assert (folder / name).read_bytes() == found, f"make the file again: python -m cvae_lib export {model}"
    assert len(gzip.compress(found)) < LARGEST[name]


def test_weights_are_those_of_the_shipped_model(tmp_path):
    """The export is reproducible from the shipped weights, and small."""
    out = tmp_path / "new" / "folder"
    for name in write_scripts(out, f"cvae_lib export {MODEL}", pack_networks(MODEL, read_weights(MODEL))):
        check_script(name, out, MODEL)


@pytest.mark.parametrize("name", OTHERS)
def test_decoders_to_switch_to_are_those_of_the_shipped_models(name, tmp_path, monkeypatch):
    """They need no data."""
    monkeypatch.delattr(export_explorer, "load_mnist")
    size = (EXPLORER / f"{name}.js").stat().st_size
    assert export(name, tmp_path) == {f"{name}.js": size}
    check_script(f"{name}.js", tmp_path, name)


def test_digits_are_those_of_mnist(tmp_path, digits):
    if digits.edition != "full":
        pytest.skip("the exported digits are MNIST's: this needs the full edition")
    assert set(export(MODEL, tmp_path)) == {"decoder.js", "encoder.js", "digits.js"}
    assert (tmp_path / "digits.js").read_bytes() == (EXPLORER / "digits.js").read_bytes()


def test_export_refuses_other_digits(tmp_path, capsys):
    assert main(["export", MODEL, "--data", "sample", "--out", str(tmp_path)]) == 1
    assert "expected the digits that mnist-2d was trained on" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


SIZES = {"n_z": 2, "n_hidden": 64, "n_layers": 1, "n_y": 10}
LETTERS = Classes(("A", "B", "C"), "letter")
HUE, WEIGHT = Cyclic(("hue",)), Numbers(("weight",))


@pytest.mark.parametrize(
    "sizes, condition, found",
    [
        ({"n_z": 20}, DIGITS, "20 latents; expected 2"),
        ({"n_layers": 3}, DIGITS, "3 hidden layers; expected 1"),
        ({"n_x": 3072}, LETTERS, "a dense model of 3072 pixels; expected 28 x 28"),
        ({"image_shape": [28, 28]}, DIGITS, "convolutions; expected an encoder without them"),
        ({}, Joint((DIGITS, WEIGHT)), "a condition of Classes, Numbers; expected Classes"),
        ({}, HUE, "a condition of Cyclic; expected Classes"),
        ({}, Joint((LETTERS, Classes(("thin", "thick"), "pen"))), "a condition of Classes, Classes; expected Classes"),
    ],
)
def test_a_model_that_the_page_cannot_run_is_refused(sizes, condition, found):
    with pytest.raises(PretrainedError, match=f"own: found {found}.*Choose another model"):
        check_model("own", {**SIZES, **sizes}, condition)


def test_the_page_runs_dense_and_convolutional_models_of_classes_and_angles():
    for condition in (LETTERS, Joint((HUE, LETTERS))):
        check_model("own", SIZES, condition)
        check_model("own", {**SIZES, "image_shape": [64, 48, 3]}, condition)


def test_the_command_says_what_it_has_written(tmp_path, capsys):
    assert main(["export", "letters-2d", "--out", str(tmp_path)]) == 0
    size = (tmp_path / "letters-2d.js").stat().st_size
    assert capsys.readouterr() == (f"letters-2d.js: {size:,} bytes; written to {tmp_path}\n", "")


@pytest.mark.parametrize("name, found", [("mnist-20d", "20 latents"), ("mnist-2d-deep", "3 hidden layers")])
def test_a_refused_model_leaves_the_files_as_they_are(name, found, tmp_path, capsys):
    (tmp_path / "decoder.js").write_text("as it is", encoding="utf-8")
    assert main(["export", name, "--out", str(tmp_path)]) == 1
    assert found in capsys.readouterr().err
    assert [path.read_text(encoding="utf-8") for path in tmp_path.iterdir()] == ["as it is"]


def test_nothing_is_written_until_all_is_computed(tmp_path, monkeypatch, digits):
    """If the last step of the arithmetic fails, the page keeps the files of one model."""
    if digits.edition != "full":
        pytest.skip("this needs the digits of the full edition")

    def fail(*arguments):
        raise ArithmeticError

    monkeypatch.setattr(export_explorer, "pack_digits", fail)
    with pytest.raises(ArithmeticError):
        export(MODEL, tmp_path)
    assert not any(tmp_path.iterdir())


def test_labels_are_spread_over_classes_and_angles():
    """Each class at twelve angles, as the condition encodes them; classes alone are one-hot."""
    labels = spread_labels(Joint((LETTERS, HUE)))
    assert labels.shape == (36, 5)
    assert {tuple(row) for row in labels[:, :3]} == {(1, 0, 0), (0, 1, 0), (0, 0, 1)}
    angles = np.degrees(np.arctan2(labels[:12, 4], labels[:12, 3])) % 360
    np.testing.assert_allclose(angles, np.arange(0, 360, 30), atol=1e-4)
    np.testing.assert_array_equal(spread_labels(LETTERS), np.eye(3))


def test_multiples_are_written_one_character_each():
    """The character of 0 is O; a sign before a character stands for 44 more or less."""
    assert write_steps(np.array([[0, 1, -1], [44, -44, 45], [-45, 88, 89]])) == "OPN{#~P}N~{~~P"


def test_rounding_keeps_the_outputs_closer_than_the_nearest_multiples():
    """For inputs that go together, as hidden units do, later rows make up for the errors of earlier ones."""
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((500, 5)) @ rng.standard_normal((5, 40))
    kernel, step = rng.standard_normal((40, 30)), 0.1
    multiples = round_kernel(kernel.astype("float32"), inputs, step)
    assert multiples.dtype.kind == "i"

    def error(rounded):
        return np.sqrt(np.mean((inputs @ (step * rounded - kernel)) ** 2))

    assert error(multiples) < 0.4 * error(np.rint(kernel / step))
    assert np.abs(step * multiples - kernel).max() < 20 * step, "the weights stay near"
