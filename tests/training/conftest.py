"""Small images with something to learn, a run on them that nothing interrupted, and what such a run leaves."""

import csv

import cvae_lib._tensorflow  # noqa: F401

# isort: split
import numpy as np
import pytest
import tensorflow as tf

from cvae_lib.data import check_dataset
from cvae_lib.pretrained import load_pretrained
from cvae_lib.training.loop import train
from cvae_lib.training.recipes import Recipe

TINY = Recipe(n_hidden=8, batch_size=16, learning_rate=0.01, epochs=4)


@pytest.fixture(scope="session")
def tiny():
    """A recipe that takes a second."""
    return TINY


@pytest.fixture(scope="session")
def make_raw():
    """Make pictures of n_classes patterns in noise, no two alike."""

    def make(n_train=60, n_test=20, seed=0, image_shape=(6, 5), n_classes=10):
        rng = np.random.default_rng(seed)
        patterns = rng.uniform(size=(n_classes, *image_shape)) < 0.3
        raw = {}
        for split, n in (("train", n_train), ("test", n_test)):
            y = np.arange(n) % n_classes
            brightness = rng.uniform(100, 225, (n, *[1] * len(image_shape)))
            raw[f"x_{split}"] = (patterns[y] * brightness + rng.integers(0, 30, (n, *image_shape))).astype("uint8")
            raw[f"y_{split}"] = y
        return raw

    return make


@pytest.fixture(scope="session")
def few(make_raw):
    """60 images to train and 20 to test: with TINY, 4 batches of at most 16 and 2."""
    return check_dataset(make_raw(), "a test")


@pytest.fixture(scope="session")
def finished(few, tmp_path_factory):
    """The folder of a run of the recipe TINY, named "tiny", that nothing interrupted."""
    out = tmp_path_factory.mktemp("finished") / "models"
    train(TINY, few, out, "tiny", verbose=0, jit_compile=False)
    return out


@pytest.fixture
def eager(request):
    """Let TensorFlow run step by step: runs of a few steps take half the time without being traced."""
    # tf.data says that it goes its own way.
    request.node.add_marker(pytest.mark.filterwarnings("ignore:Even though the `tf.config"))
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="session")
def weights_of():
    """Read the weights of a finished run, bit for bit."""

    def read(folder, name="tiny"):
        return [weight.tobytes() for weight in load_pretrained(name, folder).get_weights()]

    return read


@pytest.fixture(scope="session")
def rows_of():
    """Read the rows of a history file, as text, without the seconds."""

    def read(path):
        with open(path, newline="", encoding="utf-8") as file:
            return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]

    return read
