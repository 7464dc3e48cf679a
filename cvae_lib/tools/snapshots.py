"""Pictures of a model while it learns: what its decoder draws of the same codes after some epochs, for chapter 3."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cvae_lib._tensorflow  # noqa: F401

# isort: split
import keras
import numpy as np
from numpy.typing import ArrayLike

from cvae_lib.data import Dataset
from cvae_lib.evaluate import decode
from cvae_lib.files import hold, removed_at_the_end, write_beside
from cvae_lib.pictures import tile, write_png
from cvae_lib.pretrained import describe_versions
from cvae_lib.training.checkpoints import describe_data
from cvae_lib.training.loop import train
from cvae_lib.training.recipes import Recipe

NAME = "snapshots"
EPOCHS = (0, 1, 2, 5, 10, 50)
SEED = 1  # of the run


class Snapshots(keras.callbacks.Callback):
    """Keep the pictures of codes z (n, n_z) under label (n, n_y) in `pictures`, {epoch: (n, n_x)}; 0 is the start."""

    def __init__(self, z: ArrayLike, label: ArrayLike, epochs: Sequence[int]):
        super().__init__()
        self.z, self.label, self.epochs = z, label, epochs
        self.pictures: dict[int, np.ndarray] = {}

    def on_train_begin(self, logs: Any = None) -> None:
        self.keep(0)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.keep(epoch + 1)

    def keep(self, epoch: int) -> None:
        """Keep the pictures of this epoch, if it is one of those wanted."""
        if epoch in self.epochs:
            self.pictures[epoch] = decode(self.model.cvae, self.z, self.label)


def record_snapshots(recipe: Recipe, data: Dataset, out: str | Path) -> dict[str, list[float]]:
    """Train a recipe, and write what its decoder draws on the way to the folder `out`; return the run's history.

    `snapshots.png` has a row for each of EPOCHS that the run reaches and a column for each class: the picture of one
    code of the prior, the same in every row. `snapshots.json` has the epochs, the codes and the losses of all epochs,
    in nats an image. XLA does not compile the run, so that it stays close to the model that ships.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    z = np.random.default_rng(0).standard_normal((data.n_y, recipe.n_z)).round(3)
    snapshots = Snapshots(z.astype("float32"), np.eye(data.n_y, dtype="float32"), EPOCHS)
    # A folder of its own: a run that goes on from a checkpoint would lack the pictures of its first epochs.
    with hold(out / NAME), tempfile.TemporaryDirectory() as folder, removed_at_the_end(Path(folder)):
        history = train(recipe, data, folder, NAME, SEED, jit_compile=False, callbacks=[snapshots])
        sheet = tile(np.stack(list(snapshots.pictures.values())), data.image_shape)
        record = {
            "epochs": list(snapshots.pictures),
            "z": z.tolist(),
            "history": history,
            "seed": SEED,
            "data": {"edition": data.edition, "sha256": data.digest},
            "command": f"python -m cvae_lib {NAME} --data {describe_data(data)}",
            "versions": describe_versions(),
        }
        with write_beside(out / f"{NAME}.png", out / f"{NAME}.json") as (picture, text):
            picture.write_bytes(write_png(sheet, optimize=True))
            text.write_text(json.dumps(record) + "\n", encoding="utf-8", newline="\n")
    return history
