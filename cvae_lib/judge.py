"""A small convolutional network that reads digits, to judge what the models draw. Chapter 12 trains it and tests it.

Its weights ship in `pretrained/judge`; `python -m cvae_lib judge` makes them again.
"""

from pathlib import Path

import cvae_lib.quiet  # noqa: F401

# isort: split
import keras
import numpy as np

from cvae_lib.pretrained import PRETRAINED, check_file, describe_versions, digest_file, find_entry, write_manifest

JUDGE = PRETRAINED / "judge"
EPOCHS = 6


def build_judge():
    """Build the network: images (n, 784) in [0, 1] to the logits of the ten digits, (n, 10)."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((784,)),
            layers.Reshape((28, 28, 1)),
            layers.Conv2D(16, 5, strides=2, padding="same", activation="relu"),
            layers.Conv2D(32, 5, strides=2, padding="same", activation="relu"),
            layers.Flatten(),
            layers.Dropout(0.3),
            layers.Dense(10),
        ],
        name="judge",
    )


def train_judge(digits, out=JUDGE, epochs=EPOCHS, seed=1, verbose=1):
    """Train a judge on the training digits, score it on the test digits and write weights and manifest to `out`.

    Returns its accuracy on the test digits, in 0..1.
    """
    keras.utils.set_random_seed(seed)
    judge = build_judge()
    rate = keras.optimizers.schedules.CosineDecay(2e-3, epochs * -(-len(digits.x_train) // 100))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    judge.compile(keras.optimizers.Adam(rate), loss)
    judge.fit(digits.x_train, digits.y_train, batch_size=100, epochs=epochs, verbose=verbose)
    accuracy = float(np.mean(read_digits(judge, digits.x_test) == digits.y_test))
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    judge.save_weights(out / "judge.weights.h5")
    entry = {
        "protocol": {"training": f"{len(digits.x_train)} digits", "epochs": epochs, "selection": "the last epoch"},
        "seed": seed,
        "data": {"edition": digits.edition, "sha256": digits.digest},
        "versions": describe_versions(),
        "measured": {"test_accuracy": accuracy},
        "sha256": {"judge.weights.h5": digest_file(out / "judge.weights.h5")},
        "command": f"python -m cvae_lib judge --epochs {epochs} --seed {seed}",
    }
    write_manifest(out, "judge", entry)
    return accuracy


def load_judge(folder=JUDGE):
    """Build the judge and load its weights, hash-checked; raises PretrainedError as `load_pretrained` does."""
    path = check_file(folder, "judge.weights.h5", find_entry("judge", folder))
    judge = build_judge()
    judge.load_weights(path)
    return judge


def read_digits(judge, x):
    """The digit that the judge reads in each image of x (n, 784): integers in 0..9, (n,)."""
    return np.argmax(judge.predict(x, batch_size=1000, verbose=0), axis=1)
