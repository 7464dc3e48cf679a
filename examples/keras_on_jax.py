"""Train the model of chapter 2 by plain `fit` on several devices, with Keras on JAX: chapter 18 has the results.

    pip install jax==0.10.2
    KERAS_BACKEND=jax python examples/keras_on_jax.py --devices 2

Without GPUs the devices are parts of the processor, which shows that it works and not that it is faster. The book does
not use JAX: `cvae_lib` refuses it, because its trainer reads batches with TensorFlow. The model itself is Keras alone.
"""

import argparse
import json
import os
import sys
import time
import types

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--devices", type=int, default=2, help="how many parts of the processor (default: 2)")
parser.add_argument("--images", type=int, default=6000, help="how many training digits (default: 6000)")
parser.add_argument("--epochs", type=int, default=2, help="how many epochs (default: 2)")
options = parser.parse_args()

os.environ["KERAS_BACKEND"] = "jax"
os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={options.devices}"
sys.modules["cvae_lib._tensorflow"] = types.ModuleType("no TensorFlow")  # what would refuse this backend

import jax  # noqa: E402
import keras  # noqa: E402

from cvae_lib.data import load_mnist  # noqa: E402
from cvae_lib.model import CVAE  # noqa: E402

keras.distribution.set_distribution(keras.distribution.DataParallel(devices=jax.devices()))
keras.utils.set_random_seed(1)
digits = load_mnist()
inputs = [digits.x_train[: options.images], digits.label_train[: options.images]]
model = CVAE(seed=1)
model.compile(keras.optimizers.Adam(1e-3))
started = time.perf_counter()
log = model.fit(inputs, inputs[0], batch_size=250, epochs=options.epochs, verbose=0).history
found = {
    "devices": len(jax.devices()),
    "loss": [round(loss, 4) for loss in log["loss"]],
    "first weight on": str(model.trainable_variables[0].value.sharding),
    "seconds": round(time.perf_counter() - started, 1),
    "versions": {"jax": jax.__version__, "keras": keras.__version__},
}
print(json.dumps(found))
