"""One measurement in a process of its own: `python worker.py NAME '{"argument": value}'` prints one line of JSON.

`run.py` starts it, so that no measurement inherits the memory, the caches or the threads of another.
"""

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

STARTED = time.perf_counter()
EPOCHS = 4


def measure_epochs(style, size=60_000, epochs=EPOCHS, **settings):
    """Seconds of each epoch of the seed's training in one of the styles, the training losses, and the size."""
    import twins

    digits = load_digits(size)
    seconds, losses = getattr(twins, f"train_{style}")(digits, epochs, **settings)
    return {"seconds": seconds, "losses": losses}


def load_digits(size):
    """MNIST with a training set of this size: a part of it, or all of it several times over."""
    import dataclasses

    import numpy as np

    from cvae_lib.data import load_mnist

    digits = load_mnist()
    if size == len(digits.y_train):
        return digits
    order = np.arange(size) % len(digits.y_train)
    return dataclasses.replace(digits, pixels_train=digits.pixels_train[order], y_train=digits.y_train[order])


def measure_limit(repeats=7):
    """Seconds that the matrix products of one epoch take alone: 240 steps, 245 GFLOP, float32."""
    return {"seconds": repeat(repeat_step(multiply_all()), repeats)}


def repeat_step(step, jit_compile=False):
    """A function that runs `step`, which returns a number, 240 times; no two at once and none left out.

    With jit_compile XLA compiles each step, as it does in the trainer.
    """
    import tensorflow as tf

    step = tf.function(step, jit_compile=jit_compile)

    @tf.function
    def epoch():
        total = tf.constant(0.0)
        for _ in tf.range(240):
            # Each step waits for the one before, and hangs on a draw that TensorFlow cannot take out of the loop.
            with tf.control_dependencies([total, tf.random.uniform(())]):
                total += step()
        return total

    return epoch


def multiply_all():
    """A function that makes the eleven matrix products of one step of 250 digits."""
    import cvae_lib._tensorflow  # noqa: F401

    # isort: split
    import tensorflow as tf

    def variable(*shape):
        # A product of constants would be computed once, while the function is compiled.
        return tf.Variable(tf.random.normal(shape))

    b = 250
    x, h, g, z, heads = (variable(b, n) for n in (794, 512, 784, 12, 4))
    w1, w2, w3, w4 = variable(794, 512), variable(512, 4), variable(12, 512), variable(512, 784)

    def step():
        products = [tf.matmul(x, w1), tf.matmul(h, w2), tf.matmul(z, w3), tf.matmul(h, w4)]
        products += [tf.matmul(a, w, transpose_b=True) for a, w in ((g, w4), (h, w3), (heads, w2))]
        products += [tf.matmul(a, c, transpose_a=True) for a, c in ((x, h), (h, heads), (z, h), (h, g))]
        return tf.add_n([product[0, 0] for product in products])

    return step


def measure_pieces(repeats=7):
    """Seconds of 240 steps of each piece of training alone: as TensorFlow runs it, and compiled by XLA."""
    pieces = {"products": multiply_all()}
    import keras
    import tensorflow as tf

    from cvae_lib import model
    from cvae_lib.training.compiled import apply_together

    x = tf.Variable(tf.random.uniform((250, 784)))
    x_logits = tf.Variable(tf.random.normal((250, 784)))

    def differentiate(loss):
        def step():
            with tf.GradientTape() as tape:
                value = tf.reduce_mean(loss(x, x_logits))
            return value + tape.gradient(value, x_logits)[0, 0]

        return step

    def update(optimizer):
        weights = model.CVAE().trainable_variables
        gradients = [tf.Variable(tf.random.normal(weight.shape)) for weight in weights]
        optimizer.build(weights)

        def step():
            optimizer.apply([tf.convert_to_tensor(gradient) for gradient in gradients], weights)
            return tf.constant(0.0)

        return step

    def draw(n_z):
        seed = keras.random.SeedGenerator(1)
        return lambda: keras.random.normal((250, n_z), seed=seed)[0, 0]

    hidden = tf.Variable(tf.random.normal((250, 512)))
    heads = [keras.layers.Dense(2) for _ in range(2)]
    for head in heads:
        head.build((None, 512))

    def differentiate_heads(apply):
        sources = [hidden, *(weight.value for head in heads for weight in head.weights)]

        def step():
            with tf.GradientTape() as tape:
                value = tf.add_n([tf.reduce_sum(output**2) for output in apply(heads, hidden)])
            return value + tf.add_n([tf.reduce_max(part) for part in tape.gradient(value, sources)])

        return step

    images = tf.Variable(tf.random.uniform((60_000, 784)))
    index = tf.random.shuffle(tf.range(60_000))

    def gather():
        start = tf.random.uniform((), 0, 59_750, tf.int32)
        return tf.gather(images, index[start : start + 250])[0, 0]

    pieces["adam"] = update(keras.optimizers.Adam(1e-3))
    pieces["loss"] = differentiate(model.reconstruction_loss)
    pieces["heads"] = differentiate_heads(lambda layers, h: [layer(h) for layer in layers])
    pieces["heads_together"] = differentiate_heads(apply_together)
    pieces["draws"] = draw(2)
    pieces["draws_200"] = draw(200)
    found = {}
    for name, step in pieces.items():
        found[name] = repeat(repeat_step(step), repeats)
        found[f"{name}_xla"] = repeat(repeat_step(step, jit_compile=True), repeats)
    found["gather"] = repeat(repeat_step(gather), repeats)
    return found


def repeat(work, repeats):
    """Seconds of each of several calls, after one that is not counted."""
    work()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return seconds


def measure_ending(autotune, runs=20, epochs=6):
    """Of each of several short runs of the trainer, with tf.data's autotuner or without: seconds, and those at its end.

    The end is what `fit` takes to return after its last epoch.
    """
    import keras
    import tensorflow as tf

    from cvae_lib.training.batches import shuffled_index_blocks
    from cvae_lib.training.loop import make_model
    from cvae_lib.training.recipes import Recipe

    digits, recipe = load_digits(6_000), Recipe(epochs=epochs)
    model = make_model(recipe, digits, seed=1)
    options = tf.data.Options()
    options.autotune.enabled = autotune
    ends, found = [], {"seconds": [], "ending": []}
    last = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: ends.append(time.perf_counter()))
    for _ in range(runs + 1):
        start = time.perf_counter()
        blocks = shuffled_index_blocks(6_000, recipe.batch_size, 24, 1).with_options(options)
        model.fit(blocks, steps_per_epoch=1, epochs=epochs, shuffle=False, verbose=0, callbacks=[last])
        found["seconds"].append(time.perf_counter() - start)
        found["ending"].append(time.perf_counter() - ends[-1])
    return {name: seconds[1:] for name, seconds in found.items()}  # the first run compiles


def measure_shards(folder, paths, segment, segments):
    """Seconds, and the processors' seconds of all threads, that so many images of a folder of shards take in training.

    paths are "from_shards", which reads them meanwhile, and "from_memory", which holds them. Two take turns, segment
    by segment. The first segment, which compiles, is not counted.
    """
    from cvae_lib.data.shards import open_shards
    from cvae_lib.training.loop import make_model, read_blocks
    from cvae_lib.training.recipes import RECIPES

    recipe, trainers = RECIPES["mnist-2d"], {}
    for path in paths:
        data = open_shards(folder)
        data = read_all(data) if path == "from_memory" else data
        blocks, per_epoch = read_blocks(data, recipe.batch_size, seed=1, first_epoch=0)
        model = make_model(recipe, data, seed=1)
        model.make_train_function()
        trainers[path] = (model.train_function, iter(blocks), per_epoch * segment // data.n_train)
    found = {path: {"seconds": [], "cpu_seconds": []} for path in paths}
    for _ in range(segments + 1):
        for path, (train_on, blocks, calls) in trainers.items():
            start, cpu_start = time.perf_counter(), time.process_time()
            for _ in range(calls):
                train_on(blocks)
            found[path]["cpu_seconds"].append(time.process_time() - cpu_start)
            found[path]["seconds"].append(time.perf_counter() - start)
    return {path: {name: values[1:] for name, values in row.items()} for path, row in found.items()}


def read_all(data):
    """The images of a folder of shards as a data set in memory."""
    import numpy as np

    from cvae_lib.data import check_dataset

    arrays = {}
    for split in ("train", "test"):
        shards, end = getattr(data, split), 0
        x = np.empty((sum(shard.images for shard in shards), data.n_x), "uint8")
        y = np.empty(len(x), "int64")
        for shard in shards:
            start, end = end, end + shard.images
            # TFRecord puts 12 bytes before a record and 4 behind it.
            records = np.fromfile(data.path(shard), "uint8").reshape(shard.images, -1)[:, 12:-4]
            x[start:end] = records[:, : data.n_x]
            y[start:end] = np.ascontiguousarray(records[:, data.n_x :]).view("<i4")[:, 0]
        arrays |= {f"x_{split}": x, f"y_{split}": y}
    return check_dataset(arrays, data.source, data.image_shape, data.condition)


def measure_cold_start(recipe, target=130.77):
    """Seconds from the start of the process to the first validation loss at or below the target, and to the end.

    The recipe of this name, with all that the command `train` does but its last file; "plain" is the style of 2017.
    """
    import twins

    digits = load_digits(60_000)
    if recipe == "plain":
        loading = time.perf_counter() - STARTED
        seconds, val_loss = twins.train_plain(digits, 50, validate=True)
    else:
        from cvae_lib.training.loop import train
        from cvae_lib.training.recipes import RECIPES

        loading = time.perf_counter() - STARTED
        with tempfile.TemporaryDirectory() as out:
            history = train(RECIPES[recipe], digits, out, recipe, verbose=0)
        seconds, val_loss = history["seconds"], history["val_loss"]
    reached = [epoch for epoch, loss in enumerate(val_loss, start=1) if loss <= target]
    found = {"epochs": len(seconds), "end": loading + sum(seconds), "best": min(val_loss), "last": val_loss[-1]}
    if reached:
        found.update(epoch=reached[0], reached=loading + sum(seconds[: reached[0]]))
    return found


def measure_inference():
    """Seconds of a grid in one batch and in 64 calls, of encoding 60,000 digits, of 200 moves of a slider."""
    import numpy as np

    from cvae_lib.data import load_mnist, one_hot
    from cvae_lib.evaluate import decode, encode
    from cvae_lib.likelihood import log_likelihood, make_grid
    from cvae_lib.pretrained import load_pretrained
    from cvae_lib.widgets import render_digit

    model, digits = load_pretrained("mnist-2d"), load_mnist()
    z = np.stack(np.meshgrid(*[np.linspace(-2, 2, 8)] * 2, indexing="ij"), -1).reshape(-1, 2).astype("float32")
    label = one_hot(np.full(64, 3))

    def loop():
        for i in range(64):
            model.decoder.predict([z[i : i + 1], label[i : i + 1]], verbose=0)

    moves = iter(np.linspace(-2, 2, 300))
    grid = make_grid()
    return {
        "grid": repeat(lambda: decode(model, z, label), 20),
        "loop": repeat(loop, 5),
        "encode": repeat(lambda: encode(model, digits.x_train, digits.label_train), 5),
        "likelihood": repeat(lambda: log_likelihood(model, digits.x_test, digits.label_test, grid), 3),
        "slider": repeat(lambda: render_digit(lambda *codes: decode(model, *codes), 3, next(moves), 0.5), 200),
    }


def measure_first_decode():
    """Seconds from the start of the process to the first decoded digit, with the shipped weights."""
    from cvae_lib.evaluate import decode
    from cvae_lib.pretrained import load_pretrained

    decode(load_pretrained("mnist-2d"), [[0.0, 0.0]], [[1.0] + [0.0] * 9])
    return {"seconds": [time.perf_counter() - STARTED]}


def measure_import():
    """Seconds of `import cvae_lib`, and whether it loaded TensorFlow."""
    import cvae_lib  # noqa: F401

    return {"seconds": [time.perf_counter() - STARTED], "tensorflow": "tensorflow" in sys.modules}


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    result = globals()[f"measure_{sys.argv[1]}"](**json.loads(sys.argv[2]))
    result["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(result))
