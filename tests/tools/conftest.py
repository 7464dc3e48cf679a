"""Digits of noise in a file, a recipe that takes a second, TensorFlow step by step, and a cluster."""

import cvae_lib._tensorflow  # noqa: F401

# isort: split
import numpy as np
import pytest
import tensorflow as tf
from calls import PYTHONPATH, open_dask

from cvae_lib.training.recipes import Recipe


@pytest.fixture(scope="session")
def tiny():
    return Recipe(n_hidden=8, batch_size=40, learning_rate=0.01, epochs=1)


@pytest.fixture(scope="session")
def make_file(tmp_path_factory):
    """Write an .npz file of 40 and 20 digits of noise."""

    def make(name, seed=0):
        path, rng = tmp_path_factory.mktemp("data") / name, np.random.default_rng(seed)
        sizes = {"train": 40, "test": 20}
        x = {f"x_{split}": rng.integers(0, 255, (n, 28, 28), "uint8") for split, n in sizes.items()}
        np.savez(path, **x, **{f"y_{split}": np.arange(n) % 10 for split, n in sizes.items()})
        return str(path)

    return make


@pytest.fixture(scope="module")
def eager():
    """Let TensorFlow run step by step: runs of a few steps take half the time, and XLA none."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """Let other processes import the calls that tests hand them."""
    monkeypatch.setenv("PYTHONPATH", PYTHONPATH)


@pytest.fixture(scope="session")
def dask(tmp_path_factory):
    """The address of a cluster with two workers, which is whole again after each test."""
    with open_dask(tmp_path_factory.mktemp("dask")) as (address, _, add_workers):
        add_workers(2)
        yield address
