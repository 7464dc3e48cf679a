"""A small convolutional network that reads digits, to check what the models draw. Chapter 12 trains it and tests it.

Its weights ship in `pretrained/digit_classifier`; `python -m cvae_lib classifier` makes them again.
"""

from pathlib import Path
from typing import Any, Literal

import cvae_lib._tensorflow  # noqa: F401

# isort: split
import keras
import numpy as np

from cvae_lib.data import Dataset
from cvae_lib.data.mnist import IMAGE_SHAPE, N_CLASSES
from cvae_lib.files import hold
from cvae_lib.pretrained import (
    PRETRAINED,
    check_file,
    describe_versions,
    find_entry,
    load_manifest,
    load_weights,
    publish,
)
from cvae_lib.training.checkpoints import TrainingError, describe_data

NAME = "digit_classifier"
FOLDER = PRETRAINED / NAME
EPOCHS = 6
BATCH_SIZE = 100


def build_classifier(image_shape: tuple[int, ...] = IMAGE_SHAPE, n_classes: int = N_CLASSES) -> keras.Sequential:
    """Build the network: images in [0, 1], (n, n_x), row by row, to the logits of the classes, (n, n_classes)."""
    layers = keras.layers
    height, width, channels = (*image_shape, 1)[:3]
    # keras.json may ask for channels first, which TensorFlow cannot compute on a CPU.
    convolve = {"strides": 2, "padding": "same", "activation": "relu", "data_format": "channels_last"}
    return keras.Sequential(
        [
            keras.Input((height * width * channels,)),
            layers.Reshape((height, width, channels)),
            layers.Conv2D(16, 5, **convolve),
            layers.Conv2D(32, 5, **convolve),
            layers.Flatten(data_format="channels_last"),
            layers.Dropout(0.3),
            layers.Dense(n_classes),
        ],
        name=NAME,
    )


def train_classifier(
    data: Dataset, out: str | Path = FOLDER, epochs: int = EPOCHS, seed: int = 1, verbose: Literal[0, 1, 2] = 1
) -> float:
    """Train a classifier on the training images; write its weights and manifest entry to the folder `out`.

    Returns its accuracy on the test images, from 0 to 1. A training that is interrupted begins again: it takes a minute
    or two. Raises BusyError where another process writes the same files.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    load_manifest(out)  # a damaged one is refused now, and not when the training has ended
    with hold(out / NAME):
        keras.utils.set_random_seed(seed)
        classifier = build_classifier(data.image_shape, data.n_y)
        rate = keras.optimizers.schedules.CosineDecay(2e-3, epochs * -(-len(data.x_train) // BATCH_SIZE))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        classifier.compile(keras.optimizers.Adam(rate), loss)
        classifier.fit(data.x_train, data.y_train, batch_size=BATCH_SIZE, epochs=epochs, verbose=verbose)
        if not all(np.isfinite(weight).all() for weight in classifier.get_weights()):
            raise TrainingError(
                "digit classifier: found weights that are not finite; expected numbers. Check the data."
            )
        accuracy = float(np.mean(read_digits(classifier, data.x_test) == data.y_test))
        entry = {
            "protocol": {"training": f"{len(data.x_train)} digits", "epochs": epochs, "selection": "the last epoch"},
            "seed": seed,
            "data": {"edition": data.edition, "sha256": data.digest},
            "versions": describe_versions(),
            "measured": {"test_accuracy": accuracy},
            "command": f"python -m cvae_lib classifier --epochs {epochs} --seed {seed} --data {describe_data(data)}",
        }
        publish(out, NAME, {f"{NAME}.weights.h5": classifier.save_weights}, entry)
    return accuracy


def load_classifier(folder: str | Path = FOLDER) -> keras.Sequential:
    """Build the classifier of MNIST's digits and load its weights, after checking their SHA-256.

    Raises PretrainedError as `load_pretrained` does.
    """
    path = check_file(folder, f"{NAME}.weights.h5", find_entry(NAME, folder))
    classifier = build_classifier()
    load_weights(classifier, path)
    return classifier


def read_digits(classifier: keras.Model, x: Any) -> np.ndarray:
    """Read the class of each image of x (n, n_x): integers from 0, (n,)."""
    return np.argmax(classifier.predict(x, batch_size=1000, verbose=0), axis=1)
