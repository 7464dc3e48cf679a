"""The files that the explorer loads: the same bytes from the shipped model, small, and nothing but MNIST's digits."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from cvae_lib.tools.cli import main
from cvae_lib.tools.export_explorer import export, read_weights, round_kernel, write_networks, write_steps

EXPLORER = Path(__file__).parent.parent.parent / "_extra/explorer"
MODEL = "mnist-2d"
LARGEST = {"decoder.js": 450_000, "encoder.js": 500_000}  # bytes, compressed as servers do


def test_weights_are_those_of_the_shipped_model(tmp_path):
    """The export is reproducible from the shipped weights, and small."""
    assert set(write_networks(MODEL, read_weights(MODEL), tmp_path)) == set(LARGEST)
    for name, largest in LARGEST.items():
        found = (EXPLORER / name).read_bytes()
        again = f"make the file again: python -m cvae_lib export {MODEL}"
        assert (tmp_path / name).read_bytes() == found, again
        assert len(gzip.compress(found)) < largest


def test_digits_are_those_of_mnist(tmp_path, digits):
    if digits.edition != "full":
        pytest.skip("the exported digits are MNIST's: this needs the full edition")
    export(MODEL, tmp_path, digits)
    assert (tmp_path / "digits.js").read_bytes() == (EXPLORER / "digits.js").read_bytes()


def test_export_refuses_other_digits(tmp_path, capsys):
    assert main(["export", MODEL, "--data", "sample", "--out", str(tmp_path)]) == 1
    assert "expected MNIST" in capsys.readouterr().err and not any(tmp_path.iterdir())


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
