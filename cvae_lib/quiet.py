"""Import TensorFlow without its start-up log lines; import this module before `keras`.

TensorFlow's C++ code writes about processors and missing GPUs to file descriptor 2 while it loads, before any
setting can stop it. On a page those lines are noise, and they differ from machine to machine. Python's own
errors and warnings are not touched.
"""

import os
import sys

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def _import_tensorflow():
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


if "tensorflow" not in sys.modules:
    _import_tensorflow()
