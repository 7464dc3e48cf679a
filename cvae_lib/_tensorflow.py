"""Import TensorFlow without its start-up log lines. Import this module before `keras`.

TensorFlow's C++ code writes about processors and missing GPUs to file descriptor 2 while it loads, before any setting
can stop it. On a page those lines are noise, and they differ from machine to machine. Python's own errors and warnings
are not touched.
"""

import os
import sys

from cvae_lib import BookError

BACKEND = "tensorflow"

os.environ["KERAS_BACKEND"] = os.environ.get("KERAS_BACKEND") or BACKEND  # Keras, too, treats an empty value as unset
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def _import_tensorflow() -> None:
    sys.stderr.flush()
    stderr_copy = os.dup(2)
    devnull = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(devnull, 2)
        import tensorflow  # noqa: F401
    finally:
        os.dup2(stderr_copy, 2)
        os.close(stderr_copy)
        os.close(devnull)


def _check_backend() -> None:
    """Refuse a Keras that computes with something else: the trainer reads its batches with tf.data."""
    if "keras" in sys.modules:
        found, where = sys.modules["keras"].config.backend(), "Keras is already imported"
    else:
        found, where = os.environ["KERAS_BACKEND"], "the environment variable KERAS_BACKEND"
    if found != BACKEND:
        raise BookError(
            f"{where}: found the backend {found!r}; expected {BACKEND!r}. Unset KERAS_BACKEND, or import cvae_lib "
            "before keras."
        )


def _check_settings() -> None:
    """Refuse settings of Keras in other numbers, in which all results would be others, or that end training early."""
    import keras

    for found, expected, where in (
        (keras.config.floatx(), "float32", "floatx in keras.json, in the folder KERAS_HOME or ~/.keras"),
        (os.environ.get("KERAS_MAX_EPOCHS"), None, "the environment variable KERAS_MAX_EPOCHS"),
        (os.environ.get("KERAS_MAX_STEPS_PER_EPOCH"), None, "the environment variable KERAS_MAX_STEPS_PER_EPOCH"),
    ):
        if found != expected:
            raise BookError(f"{where}: found {found!r}; expected {expected or 'none'}. Correct or remove it.")


_check_backend()
try:
    if "tensorflow" not in sys.modules:
        _import_tensorflow()
    _check_settings()
except (AssertionError, AttributeError, OSError, ValueError) as error:
    # Keras, and matplotlib, which it loads, read their settings while they are imported.
    raise BookError(
        f"settings of Keras or matplotlib: found what cannot be loaded ({error!r}); expected right values in "
        "keras.json, in the folder KERAS_HOME or ~/.keras, and in MPLBACKEND. Correct them, or delete the file."
    ) from error
