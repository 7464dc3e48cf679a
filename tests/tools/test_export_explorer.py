"""The files that the explorer loads: the same bytes from the shipped model, and nothing but MNIST's digits."""

import base64
from pathlib import Path

import numpy as np
import pytest

from cvae_lib.tools.cli import main
from cvae_lib.tools.export_explorer import export, pack_model, pack_rows, read_weights, write_script

EXPLORER = Path(__file__).parent.parent.parent / "_extra/explorer"
MODEL = "mnist-2d"


def test_weights_are_those_of_the_shipped_model(tmp_path):
    """The export is reproducible from the shipped weights, and small."""
    write_script(tmp_path / "weights.js", MODEL, "cvaeWeights", pack_model(MODEL, read_weights(MODEL)))
    assert (tmp_path / "weights.js").read_bytes() == (EXPLORER / "weights.js").read_bytes(), (
        f"make the file again: python -m cvae_lib export {MODEL}"
    )
    assert (EXPLORER / "weights.js").stat().st_size < 1_800_000


def test_digits_are_those_of_mnist(tmp_path, digits):
    if digits.edition != "full":
        pytest.skip("the exported digits are MNIST's: this needs the full edition")
    export(MODEL, tmp_path, digits)
    assert (tmp_path / "digits.js").read_bytes() == (EXPLORER / "digits.js").read_bytes()


def test_export_refuses_other_digits(tmp_path, capsys):
    assert main(["export", MODEL, "--data", "sample", "--out", str(tmp_path)]) == 1
    assert "expected MNIST" in capsys.readouterr().err and not any(tmp_path.iterdir())


def test_rows_are_packed_in_two_characters_a_weight():
    kernel = np.array([[1.0, -0.5], [0.0, 0.0], [-3.0, 0.001]], "float32")
    packed = pack_rows(kernel)
    scale = np.frombuffer(base64.b64decode(packed["scale"]["data"]), "<f4")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    sixes = [alphabet.index(character) for character in packed["data"]]
    whole = np.array([64 * high + low - 2047 for high, low in zip(sixes[::2], sixes[1::2])]).reshape(3, 2)
    assert np.abs(whole).max() == 2047
    np.testing.assert_allclose(whole * scale[:, None], kernel, atol=3 / 2047 / 2)
