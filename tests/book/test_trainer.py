"""The trainer in the published page: its arithmetic against Keras and against differences, its runs, and its worker.

The arithmetic is that of the files that ship, with both engines: the binary of WebAssembly and plain JavaScript. It
runs in node, or in Chromium where node is missing; the worker needs Chromium. `_build/reports/trainer.json` holds the
differences from Keras that the last run found.
"""

import base64
import io
import json
import re
import shutil
import subprocess

import cvae_lib._tensorflow  # noqa: F401

# isort: split
import keras
import numpy as np
import pytest
import tensorflow as tf
from book_sources import ROOT, add_to_report
from keras import ops
from scipy.special import ndtri

from cvae_lib.data import one_hot
from cvae_lib.evaluate import decode, encode
from cvae_lib.metrics import gaussian_kl
from cvae_lib.model import kl_loss, reconstruction_loss
from cvae_lib.pretrained import load_pretrained

TRAINER = ROOT / "_extra/trainer"
CODE = ("plain_step.js", "wasm_step.js", "run.js", "trainer.js", "weights.js")
DATA = ("step_binary.js", "train_digits.js", "test_digits.js")
REPORT = ROOT / "_build/reports/trainer.json"
LAYERS = ("encoder_hidden", "z_mean", "z_log_var", "decoder_hidden", "x_logits")

# The settings of the page, and one altered after the other, on a network that trains in less time.
ALTERED = {
    "default": {},
    **{
        name: {"hidden": 64, **altered}
        for name, altered in {
            "mean over the pixels": {"pixels": "mean"},
            "beta 0": {"beta": 0},
            "beta 4": {"beta": 4},
            "label not told": {"told": False},
            "one epsilon": {"oneEpsilon": True},
            "log sigma": {"logSigma": True},
            "one latent": {"latents": 1},
            "three latents": {"latents": 3},
            "128 hidden units": {"hidden": 128},
            "learning rate 0.001": {"learningRate": 0.001},
            "batches of 37": {"batchSize": 37},
            "500 digits": {"digits": 500},
            "seed 2": {"seed": 2},
        }.items()
    },
}

# What the functions below share: bytes as text, and a run with an engine that notes what it was given.
PRELUDE = """
  const encode64 = (bytes) => {
    let text = "";
    for (let i = 0; i < bytes.length; i += 9000) text += String.fromCharCode(...bytes.subarray(i, i + 9000));
    return btoa(text);
  };
  const toText = (array) => encode64(new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
  const save = (model) => encode64(cvaeWeights.writeNpz(model));
  const binary = Uint8Array.from(atob(cvaeStepBinary), (character) => character.charCodeAt(0));
  const engines = {
    WebAssembly: (...sizes) => cvaeWasmStep.create(binary, ...sizes),
    JavaScript: cvaePlainStep.create,
  };
  const data = { train: cvaeRun.unpackDigits(cvaeTrainDigits), test: cvaeRun.unpackDigits(cvaeTestDigits) };
  const start = (engine, settings) => cvaeRun.create({ ...cvaeRun.DEFAULTS, ...settings }, engines[engine], data);
"""
# Train, and note each batch as the engine has it.
TRAIN = """({ engine, settings, steps }) => {
  const run = start(engine, settings);
  const { latents, batchSize: n } = run.getSettings();
  const first = save(run.engine.getModel());
  const batches = [];
  for (let i = 0; i < steps; i++) {
    const { reconstruction, kl } = run.step();
    const { x, label, epsilon } = run.engine;
    batches.push({
      x: toText(Uint8Array.from(x.subarray(0, n * 784), (value) => Math.round(15 * value))),
      label: [...label.subarray(0, n)],
      epsilon: toText(epsilon.subarray(0, n * latents)),
      losses: [reconstruction, kl],
    });
  }
  const evaluation = run.evaluate();
  return {
    first,
    batches,
    last: save(run.engine.getModel()),
    gradient: save(run.engine.getGradient()),
    test: evaluation.test,
    truth: evaluation.truth,
    codes: toText(evaluation.codes),
    row: toText(run.draw(3).row),
    grid: toText(run.draw(3).grid),
  };
}"""


def to_array(text, dtype):
    return np.frombuffer(base64.b64decode(text), dtype)


def read_npz(text):
    """Read the weights that the page saved: a dict from a name such as z_mean/kernel to an array."""
    return dict(np.load(io.BytesIO(base64.b64decode(text))))


@pytest.fixture(scope="module")
def run_trainer(run_javascript):
    """Run a function, given as text, after the trainer's scripts and the prelude."""
    paths = [ROOT / "cvae_lib/web/explorer/model.js", *(TRAINER / name for name in (*CODE, *DATA))]

    def run(function, argument=None):
        return run_javascript(paths, f"(argument) => {{ {PRELUDE} return ({function})(argument); }}", argument)

    return run


@pytest.fixture(scope="module")
def train(run_trainer):
    """Train in node: a dict of start and end weights, batches, losses and pictures; each combination once."""
    done = {}

    def train(name="default", engine="WebAssembly", steps=100, **settings):
        argument = {"engine": engine, "settings": {**ALTERED[name], **settings}, "steps": steps}
        key = json.dumps(argument)
        if key not in done:
            done[key] = run_trainer(TRAIN, argument)
        return done[key]

    return train


def load_model(text, tmp_path):
    """Load a model that the page saved, from a file, as a reader would."""
    path = tmp_path / "saved.npz"
    path.write_bytes(base64.b64decode(text))
    return load_pretrained(str(path))


def make_keras_step(model, settings):
    """Make a step of training by Keras with the meaning of the page's settings: a function of x, label and epsilon."""
    weight = 1 / 784 if settings.get("pixels") == "mean" else 1
    power = 1.0 if settings.get("logSigma") else 0.5
    adam = keras.optimizers.Adam(settings.get("learningRate", 0.003))
    weights = model.trainable_variables

    @tf.function
    def step(x, label, epsilon):
        with tf.GradientTape() as tape:
            z_mean, z_log_var, _ = model.encoder([x, label])
            z = z_mean + ops.exp(power * z_log_var) * epsilon
            reconstruction = ops.mean(reconstruction_loss(x, model.decoder([z, label])))
            kl = ops.mean(kl_loss(z_mean, z_log_var))
            loss = weight * reconstruction + settings.get("beta", 1) * kl
        adam.apply(tape.gradient(loss, weights), weights)
        return reconstruction, kl

    return step


def read_batch(batch):
    """Read a batch that a run noted: x (n, 784), label (n, 10) and epsilon (n, n_z)."""
    x = to_array(batch["x"], "uint8").reshape(-1, 784).astype("float32") / 15
    return x, one_hot(batch["label"]), to_array(batch["epsilon"], "float32").reshape(len(x), -1)


# The step


@pytest.mark.parametrize("name", ALTERED)
def test_a_hundred_steps_agree_with_keras(name, train, tmp_path):
    """The same start, batches and draws: every weight within 1e-4 in the end, every step's losses within 0.1 nats."""
    compare_with_keras(name, "WebAssembly", 100, train, tmp_path)


@pytest.mark.parametrize("name", ["default", "log sigma", "three latents"])
def test_plain_javascript_agrees_with_keras(name, train, tmp_path):
    compare_with_keras(name, "JavaScript", 10, train, tmp_path)


def compare_with_keras(name, engine, steps, train, tmp_path):
    found = train(name, engine, steps)
    model = load_model(found["first"], tmp_path)
    step = make_keras_step(model, ALTERED[name])
    losses = np.array([[float(loss) for loss in step(*read_batch(batch))] for batch in found["batches"]])
    nats = np.abs(losses - [batch["losses"] for batch in found["batches"]]).max()
    last = read_npz(found["last"])
    off = max(np.abs(last[weight.path] - weight.numpy()).max() for weight in model.trainable_variables)
    add_to_report(REPORT, **{f"{engine}, {name}": {"steps": steps, "weights": float(off), "nats": float(nats)}})
    assert off < 1e-4 and nats < 0.1
    assert np.abs(last["x_logits/kernel"] - read_npz(found["first"])["x_logits/kernel"]).max() > 0.009, "it moved"


@pytest.mark.parametrize("engine", ["WebAssembly", "JavaScript"])
@pytest.mark.parametrize("name", ["default", "mean over the pixels", "beta 4", "log sigma", "one latent"])
def test_the_gradient_is_that_of_the_loss(name, engine, train):
    """Against differences of the loss, written here once more in float64, for the largest weights' gradients."""
    found = train(name, engine, steps=1, hidden=32, batchSize=20)
    settings, batch = ALTERED[name], found["batches"][0]
    x = to_array(batch["x"], "uint8").reshape(20, 784) / 15
    y, epsilon = np.eye(10)[batch["label"]], to_array(batch["epsilon"], "float32").reshape(20, -1).astype("float64")
    start = {key: array.astype("float64") for key, array in read_npz(found["first"]).items()}

    def loss(weights):
        def dense(layer, *inputs):
            return np.concatenate(inputs, axis=1) @ weights[f"{layer}/kernel"] + weights[f"{layer}/bias"]

        h = np.maximum(dense("encoder_hidden", x, y), 0)
        mean, log_var = dense("z_mean", h), dense("z_log_var", h)
        z = mean + np.exp(log_var if "logSigma" in settings else log_var / 2) * epsilon
        logits = dense("x_logits", np.maximum(dense("decoder_hidden", z, y), 0))
        reconstruction = np.sum(np.logaddexp(0, logits) - x * logits, axis=1)
        kl = 0.5 * np.sum(np.exp(log_var) + mean**2 - 1 - log_var, axis=1)
        weight = 1 / 784 if "pixels" in settings else 1
        return np.mean(weight * reconstruction + settings.get("beta", 1) * kl)

    gradient = read_npz(found["gradient"])
    assert set(gradient) == set(start) == {f"{layer}/{part}" for layer in LAYERS for part in ("kernel", "bias")}
    for key, array in gradient.items():
        largest = np.argsort(np.abs(array), axis=None)[-5:]
        by_differences = []
        for at in largest:
            sides = []
            for step in (1e-5, -1e-5):
                moved = start[key].copy()
                moved.flat[at] += step
                sides.append(loss({**start, key: moved}))
            by_differences.append((sides[0] - sides[1]) / 2e-5)
        np.testing.assert_allclose(array.flat[largest], by_differences, rtol=1e-3, err_msg=key)
    # Where a pixel is black in the whole batch its weights have no gradient.
    assert not gradient["encoder_hidden/kernel"][:784][~x.any(axis=0)].any()


def test_both_engines_compute_the_same(train):
    fast, plain = (train("default", engine, 10) for engine in ("WebAssembly", "JavaScript"))
    assert fast["batches"][0]["x"] == plain["batches"][0]["x"], "the batches are the run's, not the engine's"
    for key, array in read_npz(fast["last"]).items():
        np.testing.assert_allclose(array, read_npz(plain["last"])[key], atol=2e-5, err_msg=key)
    for key in ("row", "grid"):
        pair = [to_array(found[key], "uint8").astype(int) for found in (fast, plain)]
        np.testing.assert_allclose(*pair, atol=1)
    assert fast["test"]["reconstruction"] == pytest.approx(plain["test"]["reconstruction"], abs=0.01)


def test_the_page_shows_the_step():
    """Each function of the page is that of plain_step.js."""
    page = (ROOT / "chapters/how_the_page_trains.md").read_text(encoding="utf-8")
    source = (TRAINER / "plain_step.js").read_text(encoding="utf-8").replace("\n    ", "\n")
    shown = re.findall(r"```js\n(.*?)\n```", page, re.DOTALL)
    assert [re.match(r"function (\w+)", listing)[1] for listing in shown] == ["learn", "goBack", "update"]
    assert all(listing in source for listing in shown), "copy the functions of plain_step.js into the page"
    assert sum(len(listing.splitlines()) for listing in shown) < 70


def test_the_binary_is_what_the_source_gives(tmp_path):
    node = shutil.which("node")
    if not node or not (ROOT / "node_modules/assemblyscript").exists():
        pytest.skip("the compiler of step.ts is not installed: install node, then run npm ci")
    subprocess.run([node, TRAINER / "build.mjs", tmp_path / "step_binary.js"], check=True)
    again = "make the file again: npm run build-trainer"
    assert (tmp_path / "step_binary.js").read_bytes() == (TRAINER / "step_binary.js").read_bytes(), again


# The run


def test_the_same_seed_gives_the_same_run(run_trainer):
    """Bit for bit, whatever is looked at on the way; another seed gives another run."""
    function = """() => [[1, true], [1, false], [2, false]].map(([seed, looks]) => {
      const run = start("WebAssembly", { seed });
      for (let i = 0; i < 45; i++) {
        run.step();
        if (looks && i % 10 === 0) [run.evaluate(), run.draw(i % 7)];
      }
      return save(run.engine.getModel());
    })"""
    looked, same, other = run_trainer(function)
    assert looked == same != other


def test_start_weights_are_drawn_as_keras_draws_them(train):
    """Even between bounds that Keras computes from the layer's sizes, and biases of 0."""
    for key, array in read_npz(train()["first"]).items():
        if key.endswith("bias"):
            assert not array.any()
            continue
        limit = np.sqrt(6 / sum(array.shape))
        assert 0.98 * limit < np.abs(array).max() <= limit
        assert array.std() == pytest.approx(limit / np.sqrt(3), rel=0.1)
        assert array.mean() == pytest.approx(0, abs=0.12 * limit)


def test_batches_are_shuffled_epochs_of_the_digits(train):
    """Each digit once an epoch, in another order each time, with its label; only as many as the settings say."""
    few = train("500 digits")["batches"]
    epochs = [np.concatenate([to_array(batch["x"], "uint8") for batch in few[i : i + 5]]) for i in (0, 5)]
    epochs = [epoch.reshape(500, 784) for epoch in epochs]
    labels = np.array([batch["label"] for batch in few[:5]]).ravel()
    assert (np.bincount(labels) == 50).all()
    assert (epochs[0] != epochs[1]).any()
    np.testing.assert_array_equal(*(epoch[np.lexsort(epoch.T)] for epoch in epochs))
    rows = {row.tobytes() for row in epochs[0]}
    assert len(rows) == 500
    assert any(row.tobytes() not in rows for row in to_array(train()["batches"][0]["x"], "uint8").reshape(-1, 784))


def test_noise_is_normal_and_each_mistake_alters_what_it_should(train):
    noise = np.concatenate([to_array(batch["epsilon"], "float32") for batch in train()["batches"]])
    assert noise.mean() == pytest.approx(0, abs=0.03) and noise.std() == pytest.approx(1, abs=0.03)
    assert np.mean(np.abs(noise) > 1.96) == pytest.approx(0.05, abs=0.01)
    shared = to_array(train("one epsilon")["batches"][7]["epsilon"], "float32").reshape(100, 2)
    assert (shared == shared[0]).all() and shared[0, 0] != shared[0, 1]
    assert not any(any(batch["label"]) for batch in train("label not told")["batches"]), "as drop_labels does"


@pytest.fixture(scope="module")
def test_set(run_trainer):
    """The test digits of the page, as it unpacks them: x (1000, 784) and their classes (1000,)."""
    levels = to_array(run_trainer("() => toText(data.test)"), "uint8")
    return levels.reshape(1000, 784).astype("float32") / 15, np.arange(1000) % 10


def test_digits_are_unpacked(run_trainer):
    """Character by character: a letter is one grey value, another character a run of black pixels."""
    for part, name in (("train", "train_digits.js"), ("test", "test_digits.js")):
        pack = json.loads((TRAINER / name).read_text(encoding="utf-8").split(" = ")[1].rstrip(";\n"))
        expected = bytearray()
        for character in pack["levels"]:
            expected += bytes([ord(character) - 96]) if character >= "a" else bytes(ord(character) - 34)
        assert base64.b64decode(run_trainer(f"() => toText(data.{part})")) == bytes(expected)


def measure_by_keras(model, x, label, at_mean):
    z_mean, z_log_var, z = map(ops.convert_to_numpy, model.encoder([x, label]))
    logits = model.decoder([z_mean if at_mean else z, label])
    reconstruction = float(ops.mean(reconstruction_loss(x, logits)))
    return reconstruction, float(ops.mean(kl_loss(z_mean, z_log_var))), z_mean, z_log_var


@pytest.mark.parametrize("name", ["default", "label not told", "three latents"])
def test_test_losses_are_those_of_keras(name, train, test_set, tmp_path):
    """Drawn once an image, or at the mean, where the settings ask for that mistake; then the truth stands beside."""
    x, y = test_set
    label = one_hot(0 * y if name == "label not told" else y)
    drawn, at_mean = train(name), train(name, atMean=True)
    model = load_model(drawn["last"], tmp_path)
    reconstruction, kl, z_mean, _ = measure_by_keras(model, x, label, at_mean=False)
    assert drawn["test"] == drawn["truth"] == at_mean["truth"]
    assert drawn["test"]["reconstruction"] == pytest.approx(reconstruction, abs=1), "other draws"
    assert drawn["test"]["kl"] == pytest.approx(kl, abs=0.001)
    np.testing.assert_allclose(to_array(drawn["codes"], "float32").reshape(1000, -1), z_mean, atol=1e-3)
    lower, same, *_ = measure_by_keras(model, x, label, at_mean=True)
    assert lower < reconstruction
    assert at_mean["test"] == pytest.approx({"reconstruction": lower, "kl": same}, abs=0.01)


def test_the_truth_of_a_wrong_sigma(train, test_set, tmp_path):
    """The log has the KL of a head that is a log variance; the truth has that of the distribution z was drawn from."""
    x, y = test_set
    found = train("log sigma")
    model = load_model(found["last"], tmp_path)
    _, logged, mean, head = measure_by_keras(model, x, one_hot(y), at_mean=True)
    true = np.mean([gaussian_kl(m, np.diag(np.exp(2 * h))) for m, h in zip(mean.astype("float64"), head)])
    assert found["test"]["kl"] == pytest.approx(logged, abs=0.001)
    assert found["truth"]["kl"] == pytest.approx(true, abs=0.01)
    assert true != pytest.approx(logged, abs=0.1)


@pytest.mark.parametrize("name", ["default", "label not told", "one latent", "three latents"])
def test_pictures_are_those_of_the_saved_model(name, train, tmp_path):
    """The file loads in the library, and its decoder draws the row at z = 0 and the grid that the page draws."""
    found = train(name)
    model = load_model(found["last"], tmp_path)
    n_z = model.settings["n_z"]
    n = 64 if n_z == 1 else 8
    middles = ndtri((np.arange(n) + 0.5) / n)
    if n_z == 1:
        z = middles[:, None]
    else:
        z = np.zeros((64, n_z))
        z[:, :2] = np.stack(np.meshgrid(middles, middles, indexing="ij"), axis=-1).reshape(64, 2)
    told = name != "label not told"
    for key, codes, labels in (("row", np.zeros((10, n_z)), np.arange(10)), ("grid", z, np.full(64, 3))):
        expected = decode(model, codes.astype("float32"), one_hot(labels * told))
        np.testing.assert_allclose(to_array(found[key], "uint8").reshape(-1, 784) / 255, expected, atol=0.004)


def test_the_explorer_computes_with_a_model_that_was_trained_here(run_trainer, train, test_set, tmp_path):
    """Its encoder and its decoder take the weights as they are."""
    x, y = test_set
    function = """({ settings, x, label }) => {
      const run = start("WebAssembly", settings);
      for (let i = 0; i < 100; i++) run.step();
      const model = run.engine.getModel();
      const y = cvaeModel.makeLabel(label);
      const { zMean } = cvaeModel.encode(model, x, y);
      return { zMean: [...zMean], pixels: [...cvaeModel.sigmoid(cvaeModel.decode(model, zMean, y))] };
    }"""
    found = run_trainer(function, {"settings": {}, "x": x[4].tolist(), "label": 4})
    model = load_model(train()["last"], tmp_path)
    z_mean, _ = encode(model, x[4:5], one_hot(y[4:5]))
    np.testing.assert_allclose(found["zMean"], z_mean[0], atol=1e-4)
    np.testing.assert_allclose(found["pixels"], decode(model, z_mean, one_hot(y[4:5]))[0], atol=1e-4)


def test_settings_change_while_it_runs(run_trainer):
    """What needs no new run takes effect from the next step on, and the run goes on."""
    function = """() => {
      const run = start("WebAssembly", {});
      for (let i = 0; i < 60; i++) run.step();
      const before = run.evaluate().test;
      run.set({ beta: 8, batchSize: 50, digits: 500, learningRate: 0.01 });
      for (let i = 0; i < 60; i++) run.step();
      return { before, after: run.evaluate().test, state: run.state };
    }"""
    found = run_trainer(function)
    assert found["after"]["kl"] < found["before"]["kl"] - 1
    assert found["state"]["step"] == 120
    assert found["state"]["epoch"] == pytest.approx(60 * 100 / 2000 + 60 * 50 / 500)


# The worker

PAGE = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>A page</title></head>
<body>{}</body></html>"""
# Collect reports; `until` waits for one.
LISTEN = """() => {
  globalThis.reports = [];
  globalThis.errors = [];
  const onReport = (report) => reports.push({ ...report, at: performance.now() });
  globalThis.trainer = cvaeTrainer.open({ hidden: 128 }, { onReport, onError: (message) => errors.push(message) });
  globalThis.until = async (condition) => {
    for (;;) {
      const last = reports[reports.length - 1];
      if (last && condition(last)) return { ...last, row: [...last.row], grid: [...last.grid], codes: [...last.codes] };
      await new Promise((done) => setTimeout(done, 20));
    }
  };
}"""


@pytest.fixture
def open_trainer(browser, tmp_path):
    """Open a page from disk with the trainer in it: the tab, in which `trainer` and `until` are known."""
    tabs = []

    def open_trainer(before=""):
        paths = [
            ROOT / "cvae_lib/web/explorer/model.js",
            *(TRAINER / name for name in (*CODE, *DATA, "more_digits.js")),
        ]
        scripts = [f'<script src="{path.as_uri()}"></script>' for path in paths]
        page = tmp_path / "page.html"
        page.write_text(PAGE.format("".join([*scripts, f"<script>{before}</script>"])), encoding="utf-8")
        tab = browser.new_page()
        tabs.append(tab)
        tab.goto(page.as_uri())
        tab.evaluate(LISTEN)
        return tab

    yield open_trainer
    for tab in tabs:
        assert tab.evaluate("errors") == []
        tab.close()


def test_the_worker_trains_beside_the_page(open_trainer):
    """From disk: it waits for a start, trains, pauses, makes single steps, and begins again."""
    tab = open_trainer()
    first = tab.evaluate("until(() => true)")
    assert (first["engine"], first["running"], first["run"], first["step"]) == ("WebAssembly", False, 1, 0)
    assert first["train"] is None and sum(first["test"].values()) == pytest.approx(544, abs=5)
    assert [len(first[key]) for key in ("row", "grid", "codes")] == [10 * 784, 64 * 784, 1000 * 2]
    tab.evaluate("trainer.start()")
    later = tab.evaluate("until(({ step }) => step >= 60)")
    assert later["running"] and later["seconds"] > 0 and later["epoch"] == pytest.approx(later["step"] / 20)
    assert later["train"]["reconstruction"] < 400 and later["test"]["reconstruction"] < 250
    tab.evaluate("trainer.pause()")
    paused = tab.evaluate("until(({ running }) => !running)")
    tab.evaluate("trainer.step()")
    stepped = tab.evaluate(f"until(({{ step }}) => step > {paused['step']})")
    assert stepped["step"] == paused["step"] + 1 and not stepped["running"]
    tab.evaluate("trainer.reset()")
    again = tab.evaluate("until(({ run }) => run === 2)")
    assert again["step"] == 0 and again["test"] == first["test"], "the same seed, the same start"


def test_reports_come_a_few_times_a_second(open_trainer):
    tab = open_trainer()
    tab.evaluate("trainer.start()")
    tab.evaluate("until(() => reports.length > 8)")
    times = tab.evaluate("reports.map(({ at }) => at)")
    # The first answers the start; a moment of training, and the way to the page, may bring two closer together.
    assert np.diff(times[2:]).min() > 150 and np.diff(times[2:]).mean() >= 240


def test_settings_reach_the_worker(open_trainer):
    """At once; latents begin a new run; 5,000 digits need those of the second file; the grid shows the chosen digit."""
    tab = open_trainer()
    three = tab.evaluate("until(() => true)")["grid"]
    tab.evaluate("trainer.show(7)")
    assert tab.evaluate("until(({ digit }) => digit === 7)")["grid"] != three
    tab.evaluate("trainer.set({ beta: 4 })")
    assert tab.evaluate("until(({ settings }) => settings.beta === 4)")["run"] == 1
    tab.evaluate("trainer.set({ latents: 3 })")
    found = tab.evaluate("until(({ run }) => run === 2)")
    assert found["settings"]["beta"] == 4 and len(found["codes"]) == 3000
    tab.evaluate("() => { trainer.addDigits(); trainer.set({ digits: 5000 }); trainer.step(); }")
    assert tab.evaluate("until(({ step }) => step === 1)")["epoch"] == pytest.approx(100 / 5000)


def test_the_page_gets_the_model(open_trainer, tmp_path):
    tab = open_trainer()
    tab.evaluate("trainer.step()")
    row = tab.evaluate("until(({ step }) => step === 1)")["row"]
    text = tab.evaluate(
        """async () => {
          const bytes = cvaeWeights.writeNpz(await trainer.getModel());
          return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
        }"""
    )
    model = load_model(text, tmp_path)
    assert model.settings["n_hidden"] == 128
    pictures = decode(model, np.zeros((10, 2), "float32"), np.eye(10, dtype="float32"))
    np.testing.assert_allclose(np.reshape(row, (10, 784)) / 255, pictures, atol=0.004)


def test_without_simd_it_falls_back_to_javascript(open_trainer):
    tab = open_trainer("cvaeStepBinary = btoa('no binary')")
    assert tab.evaluate("until(() => true)")["engine"] == "JavaScript"
    tab.evaluate("trainer.step()")
    assert tab.evaluate("until(({ step }) => step === 1)")["test"]["reconstruction"] < 540
