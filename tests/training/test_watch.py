"""The callback that shows a training run: what stands there, how often it is drawn, and what stays in the end."""

import base64
import io
import re
import sys
from functools import partial
from types import SimpleNamespace

import cvae_lib._tensorflow  # noqa: F401

# isort: split
import jupytext
import numpy as np
import pytest
from matplotlib.image import imread
from nbclient import NotebookClient

from cvae_lib.data import one_hot
from cvae_lib.evaluate import decode
from cvae_lib.model import CVAE
from cvae_lib.training import watch
from cvae_lib.training.watch import Watch

SHAPE = (6, 5)

pytestmark = pytest.mark.filterwarnings("ignore:Even though the `tf.config")


@pytest.fixture
def pages(monkeypatch):
    """Let a callback believe that it runs in Jupyter, and collect what it shows there."""
    pages = []
    monkeypatch.setattr(watch, "is_in_notebook", lambda: True)
    monkeypatch.setattr(Watch, "display", lambda self, page: pages.append(page))
    return pages


@pytest.fixture
def fit(few, eager):
    """Train a tiny model for three epochs with a callback made for it, and return the callback and Keras' history."""

    def fit(**options):
        model = CVAE(n_hidden=8, seed=1, n_x=30)
        model.compile(optimizer="adam")
        callback = Watch(partial(decode, model), one_hot(np.arange(10)), (0, 0), SHAPE)
        inputs = [few.x_train, few.label_train]
        test = [few.x_test, few.label_test], few.x_test
        options = {"epochs": 3, "validation_data": test, **options}
        return callback, model.fit(inputs, few.x_train, 20, verbose=0, callbacks=[callback], **options).history

    return fit


def sheet_of(page):
    """The sheet of images on a page, (height, width), with values in [0, 1]."""
    encoded = re.search(r'alt="The decoder.*?base64,([^"]+)', page)[1]
    return imread(io.BytesIO(base64.b64decode(encoded)))


def test_the_last_page_shows_all_losses_and_the_trained_decoder(fit, pages):
    callback, history = fit()
    first, *_, last = pages
    assert "epoch 1 of 3, 0 %" in first and "before training" in first and "<table" not in first
    assert "<progress" in first and "<progress" not in last and "in epoch 3" in last
    rows = re.findall(r"<tr><td>(\d)</td><td>([\d.]+)</td><td>([\d.]+)</td>", last)
    losses = [(f"{loss:#.4g}", f"{val:#.4g}") for loss, val in zip(history["loss"], history["val_loss"])]
    assert rows == [(str(epoch), *row) for epoch, row in enumerate(losses, start=1)]
    assert f"loss from {losses[0][0]} to {losses[2][0]}" in last
    expected = watch.tile(callback.decode(callback.z, callback.label)[None], SHAPE)
    zoom = watch.fit_zoom(SHAPE, watch.PICTURE_SIDE)
    assert sheet_of(last)[::zoom, ::zoom] == pytest.approx(expected, abs=0.01)
    assert np.any(sheet_of(first) != sheet_of(last))


def test_every_image_is_described(fit, pages):
    fit()
    assert all(page.count("<img alt=") == page.count("<img") > 0 for page in pages)


def test_a_run_without_validation_shows_one_curve(fit, pages):
    fit(validation_data=None)
    assert "solid: loss<" in pages[-1] and "val" not in pages[-1]


def test_a_run_of_steps_that_nobody_counted_shows_them(fit, pages, few):
    callback, _ = fit(epochs=1)
    callback.params["steps"] = None
    callback.on_train_begin()
    assert "epoch 1 of 1, step 0" in pages[-1]


def test_showing_takes_a_small_part_of_the_time(monkeypatch, pages):
    """By a clock of the test's own, on which every page takes a second to show, and every step of training too."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(watch.time, "monotonic", lambda: clock.now)
    monkeypatch.setattr(watch, "draw_sheet", lambda *arguments: setattr(clock, "now", clock.now + 1) or b"")
    callback = Watch(lambda z, label: np.zeros((1, 30)), [[1]], [0], SHAPE)
    callback.set_params({"epochs": 1, "steps": 1_000})
    callback.on_train_begin()
    callback.on_epoch_begin(0)
    for step in range(1_000):
        clock.now += 1
        callback.on_train_batch_end(step, {"loss": 1.0})
    assert "1.000</td>" in pages[1], "the loss of the epoch that has begun"
    assert 1_000 / watch.SHARE - 1 <= len(pages) <= 1_000 / watch.SHARE + 3


@pytest.mark.parametrize("shape, n", [((8, 8), 3), ((4, 6, 3), 10), ((28, 28), 47)])
def test_images_of_any_shape_and_number_lie_ten_in_a_row(shape, n):
    images = np.linspace(0, 1, n * np.prod(shape)).reshape(n, -1)
    sheet = imread(io.BytesIO(watch.draw_sheet(images, shape)))
    zoom = watch.fit_zoom(shape, watch.PICTURE_SIDE)
    columns = min(n, 10)
    assert sheet.shape[:2] == (-(-n // columns) * shape[0] * zoom, columns * shape[1] * zoom)
    row, column = divmod(n - 1, columns)
    last = sheet[::zoom, ::zoom][row * shape[0] :, column * shape[1] :][: shape[0], : shape[1]]
    assert last == pytest.approx(images[-1].reshape(shape), abs=0.01)


def test_a_loss_that_is_not_finite_is_printed_and_not_drawn():
    page = watch.write_html("", [(1, {"loss": 3.0}), (2, {"loss": float("nan")})], b"", 1)
    assert "<td>nan</td>" in page and "svg" not in page


def test_a_curve_falls_from_the_left_to_the_right_as_its_losses_do():
    losses = [(1, {"loss": 5.0}), (2, {"loss": 2.0}), (5, {"loss": 1.0})]
    svg = base64.b64decode(re.search(r"svg\+xml;base64,([^\"]+)", watch.write_curves(losses))[1]).decode()
    points = np.array([place.split(",") for place in re.search('points="([^"]+)"', svg)[1].split()], float)
    (left, top), (right, bottom) = points[0], points[-1]
    assert (left, top) == (2, 2) and (right, bottom) == (watch.CURVE_WIDTH - 2, watch.CURVE_HEIGHT - 2)
    assert points[1] == pytest.approx([left + (right - left) / 4, bottom - (bottom - top) / 4], abs=0.06)


def test_the_first_state_is_shown_as_html_too(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda data, **options: shown.append((data, options)))
    callback = Watch(lambda z, label: np.zeros((1, 30)), [[1]], [0], SHAPE)
    callback.output = None
    callback.display("<p>page</p>")
    ((data, options),) = shown
    assert data["text/html"] == "<p>page</p>" and options == {"raw": True, "display_id": True}


def test_one_line_in_a_terminal(fit, capsys):
    _, history = fit()
    lines = capsys.readouterr().out.split("\r")
    assert all(len(line.rstrip("\n")) <= 79 for line in lines)
    assert lines[1].startswith("epoch 1 of 3, 0 %") and lines[-1].count("\n") == 1
    assert lines[-1].startswith(f"epoch 3 of 3, 100 %  loss {history['loss'][-1]:#.4g}")


def test_a_terminal_shows_each_state_at_once(monkeypatch):
    """What stands in one line is not shown before its end, unless it is flushed."""
    shown = []

    class Terminal(io.StringIO):
        def flush(self):
            shown.append(self.getvalue().rpartition("\r")[2].strip())

    monkeypatch.setattr(sys, "stdout", Terminal())
    callback = Watch(lambda z, label: np.zeros((1, 30)), [[1]], [0], SHAPE)
    callback.set_params({"epochs": 2, "steps": 4})
    callback.on_train_begin()
    callback.on_train_batch_end(1, {"loss": 2.5})
    callback.on_train_end()
    assert shown[:2] == ["epoch 1 of 2, 0 %", "epoch 1 of 2, 50 %  loss 2.500"]


NOTEBOOK = """
```{code-cell} ipython3
import cvae_lib._tensorflow
import keras, numpy as np
from cvae_lib.training.watch import Watch

model = keras.Sequential([keras.layers.Dense(4)])
model.compile(optimizer="sgd", loss="mse")
watch = Watch(lambda z, label: np.zeros((len(z), 4)), np.eye(2), [0], (2, 2))
model.fit(np.ones((8, 2)), np.ones((8, 4)), epochs=2, verbose=0, callbacks=[watch]);
```
"""


def test_in_a_notebook_one_output_holds_the_last_state():
    """Of a model that is no CVAE, too. Where there is no kernel, this output is what the page shows."""
    notebook = jupytext.reads(NOTEBOOK, fmt="md:myst")
    NotebookClient(notebook, kernel_name="python3", timeout=120).execute()
    (output,) = notebook.cells[0].outputs
    assert "in epoch 2" in output.data["text/html"] and "<progress" not in output.data["text/html"]
    assert "training" in output.data["text/plain"]
