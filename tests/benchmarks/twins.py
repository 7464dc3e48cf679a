"""The same training in four styles: ours, Keras as the 2017 notebook used it, PyTorch, JAX.

Each `train_…(digits, epochs, …)` returns two lists, an epoch each: seconds and training loss in nats an image. All
have the same network, the same initial distribution of weights, batches of 250 shuffled anew, one epsilon a latent
and image, and Adam at 0.001 with epsilon 1e-7. None counts the validation.
"""

import math
import time

import numpy as np

BATCH, RATE = 250, 1e-3


def train_ours(digits, epochs, seed=1, n_hidden=512, n_z=2, batch_size=BATCH, at_once=None, two_heads=False):
    """The trainer of the library, without its files.

    at_once takes the place of its own number of steps in a call; with two_heads each head has its own product.
    """
    from cvae_lib.training.batches import count_steps, shuffled_index_blocks, steps_per_call
    from cvae_lib.training.compiled import CompiledCVAE
    from cvae_lib.training.loop import make_model
    from cvae_lib.training.recipes import Recipe

    recipe = Recipe(n_z=n_z, n_hidden=n_hidden, batch_size=batch_size, learning_rate=RATE, epochs=epochs)
    if two_heads:  # for the rest of the process: worker.py gives each measurement its own
        CompiledCVAE.call = lambda self, inputs, training=None: self.cvae(inputs, training=training)
    model, n = make_model(recipe, digits, seed), len(digits.y_train)
    at_once = at_once or steps_per_call(n, batch_size)
    blocks = shuffled_index_blocks(n, batch_size, at_once, seed)
    steps = count_steps(n, batch_size) // at_once
    return time_fit(model, epochs, x=blocks, steps_per_epoch=steps, shuffle=False)


def train_plain(digits, epochs, seed=1, validate=False, n_hidden=512, batch_size=BATCH):
    """`fit` on NumPy arrays with no options, as the 2017 notebook has it.

    With `validate` the test digits are scored after each epoch, which counts, and their losses are returned.
    """
    import cvae_lib._tensorflow  # noqa: F401

    # isort: split
    import keras

    from cvae_lib.model import CVAE

    keras.utils.set_random_seed(seed)
    model = CVAE(n_hidden=n_hidden, seed=seed)
    model.compile(keras.optimizers.Adam(RATE))
    settings = {"x": [digits.x_train, digits.label_train], "y": digits.x_train, "batch_size": batch_size}
    if validate:
        settings["validation_data"] = ([digits.x_test, digits.label_test], digits.x_test)
    return time_fit(model, epochs, "val_loss" if validate else "loss", **settings)


def time_fit(model, epochs, loss="loss", **settings):
    """Run `fit` and time each epoch; return the seconds and the losses of this name."""
    import keras

    seconds = []

    def begin(epoch, logs):
        seconds.append(time.perf_counter())

    def end(epoch, logs):
        seconds[-1] = time.perf_counter() - seconds[-1]

    callback = keras.callbacks.LambdaCallback(on_epoch_begin=begin, on_epoch_end=end)
    log = model.fit(epochs=epochs, verbose=0, callbacks=[callback], **settings).history
    return seconds, log[loss]


def train_torch(digits, epochs, seed=1):
    """PyTorch, eager, as its own example writes a training loop."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    torch.manual_seed(seed)
    x, label = torch.from_numpy(digits.x_train), torch.from_numpy(digits.label_train)
    sizes = {"hidden": (794, 512), "mean": (512, 2), "log_var": (512, 2), "dec": (12, 512), "logits": (512, 784)}
    net = nn.ModuleDict({name: nn.Linear(*size) for name, size in sizes.items()})
    for layer in net.values():
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)
    optimizer = torch.optim.Adam(net.parameters(), lr=RATE, eps=1e-7)
    seconds, losses = [], []
    for _ in range(epochs):
        start, total = time.perf_counter(), 0.0
        for index in torch.randperm(len(x)).split(BATCH):
            xb, yb = x[index], label[index]
            h = F.relu(net["hidden"](torch.cat([xb, yb], 1)))
            z_mean, z_log_var = net["mean"](h), net["log_var"](h)
            z = z_mean + torch.exp(0.5 * z_log_var) * torch.randn_like(z_mean)
            x_logits = net["logits"](F.relu(net["dec"](torch.cat([z, yb], 1))))
            reconstruction = F.binary_cross_entropy_with_logits(x_logits, xb, reduction="none").sum(1)
            kl = 0.5 * (z_log_var.exp() + z_mean**2 - 1 - z_log_var).sum(1)
            loss = (reconstruction + kl).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += float(loss.detach()) * len(xb)
        seconds.append(time.perf_counter() - start)
        losses.append(total / len(x))
    return seconds, losses


def train_jax(digits, epochs, seed=1):
    """JAX: an epoch is one compiled `scan`; Adam by hand, since optax is one package more."""
    import jax
    from jax import numpy as jnp

    x, label = jnp.asarray(digits.x_train), jnp.asarray(digits.label_train)
    rng = np.random.default_rng(seed)

    def linear(n_in, n_out):
        limit = math.sqrt(6 / (n_in + n_out))
        return rng.uniform(-limit, limit, (n_in, n_out)).astype("float32"), np.zeros(n_out, "float32")

    weights = [linear(*size) for size in ((794, 512), (512, 2), (512, 2), (12, 512), (512, 784))]

    def compute_loss(weights, xb, yb, key):
        (w1, b1), (wm, bm), (wv, bv), (w2, b2), (w3, b3) = weights
        h = jax.nn.relu(jnp.concatenate([xb, yb], 1) @ w1 + b1)
        z_mean, z_log_var = h @ wm + bm, h @ wv + bv
        z = z_mean + jnp.exp(0.5 * z_log_var) * jax.random.normal(key, z_mean.shape)
        x_logits = jax.nn.relu(jnp.concatenate([z, yb], 1) @ w2 + b2) @ w3 + b3
        reconstruction = (jax.nn.softplus(x_logits) - xb * x_logits).sum(1)
        return (reconstruction + 0.5 * (jnp.exp(z_log_var) + z_mean**2 - 1 - z_log_var).sum(1)).mean()

    def step(state, inputs):
        weights, m, v, t = state
        index, key = inputs
        loss, gradient = jax.value_and_grad(compute_loss)(weights, x[index], label[index], key)
        t = t + 1
        m = jax.tree.map(lambda a, g: 0.9 * a + 0.1 * g, m, gradient)
        v = jax.tree.map(lambda a, g: 0.999 * a + 0.001 * g * g, v, gradient)
        rate = RATE * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        weights = jax.tree.map(lambda w, a, b: w - rate * a / (jnp.sqrt(b) + 1e-7), weights, m, v)
        return (weights, m, v, t), loss

    @jax.jit
    def epoch(state, key):
        order, keys = jax.random.split(key)
        index = jax.random.permutation(order, len(x)).reshape(-1, BATCH)
        return jax.lax.scan(step, state, (index, jax.random.split(keys, len(index))))

    zeros = jax.tree.map(jnp.zeros_like, weights)
    state, seconds, losses = (weights, zeros, zeros, 0.0), [], []
    for number in range(epochs):
        start = time.perf_counter()
        state, loss = epoch(state, jax.random.key(1000 * seed + number))
        losses.append(float(loss.mean()))
        seconds.append(time.perf_counter() - start)
    return seconds, losses
