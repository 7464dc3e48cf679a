"""Measure how fast the page trains on this machine: python tests/benchmarks/trainer.py

Steps a second by the number of hidden units, in node and by Keras, and the loss after so many seconds. All of it runs
on one core, in turns, and takes about ten minutes. The results go to `trainer.json` beside this file, and as tables to
the end of the page "How the page trains". Close what else is running. It needs node, and MNIST.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import run  # noqa: E402

PAGE = run.ROOT / "chapters/how_the_page_trains.md"
STORED = HERE / "trainer.json"
MARK = "<!-- The tables below are written by tests/benchmarks/trainer.py. -->\n\n"
HIDDEN = [128, 256, 512]
ROUNDS = 3
SECONDS = 5  # of each measurement in node
MARKS = [5, 10, 30]  # seconds of training
DIGITS = [2000, 5000]
BATCH = 100
SCRIPTS = ["cvae_lib/web/explorer/model.js"]
SCRIPTS += [f"_extra/trainer/{name}.js" for name in ("plain_step", "wasm_step", "run", "step_binary")]
SCRIPTS += [f"_extra/trainer/{name}_digits.js" for name in ("train", "more", "test")]

START = """
  const binary = Uint8Array.from(atob(cvaeStepBinary), (character) => character.charCodeAt(0));
  const engines = {
    WebAssembly: (...sizes) => cvaeWasmStep.create(binary, ...sizes),
    JavaScript: cvaePlainStep.create,
  };
  const [few, more, test] = [cvaeTrainDigits, cvaeMoreDigits, cvaeTestDigits].map(cvaeRun.unpackDigits);
  const data = { train: Uint8Array.from([...few, ...more]), test };
  const start = (engine, settings) => cvaeRun.create({ ...cvaeRun.DEFAULTS, ...settings }, engines[engine], data);
"""
COUNT = """({ engine, hidden, seconds }) => {
  const run = start(engine, { hidden });
  for (let i = 0; i < 5; i++) run.step();
  const begin = performance.now();
  let steps = 0;
  for (; performance.now() - begin < 1000 * seconds; steps++) run.step();
  return (1000 * steps) / (performance.now() - begin);
}"""
# Seconds are those of training alone, as the panel shows them.
LEARN = """({ digits, marks }) => {
  const run = start("WebAssembly", { digits });
  let seconds = 0;
  return marks.map((mark) => {
    while (seconds < mark) {
      const begin = performance.now();
      run.step();
      seconds += (performance.now() - begin) / 1000;
    }
    const { reconstruction, kl } = run.evaluate().test;
    return { seconds: mark, steps: run.state.step, loss: reconstruction + kl };
  });
}"""


def run_node(function, **argument):
    """Run a function, given as text, in node after the trainer's scripts, and return what it returns."""
    sources = [(run.ROOT / name).read_text(encoding="utf-8") for name in SCRIPTS]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "run.js")
        call = f"{START}\nconsole.log(JSON.stringify(({function})({json.dumps(argument)})));"
        path.write_text("\n".join([*sources, call]), encoding="utf-8")
        return json.loads(subprocess.run(["node", path], capture_output=True, encoding="utf-8", check=True).stdout)


def count_keras_steps(style, hidden):
    """Steps a second of a style of `worker.py`, from its fastest epoch but the first."""
    size = 20_000
    result = run.work("epochs", style=style, size=size, batch_size=BATCH, n_hidden=hidden)
    return size / BATCH / min(result["seconds"][1:])


def measure():
    columns = {
        "WebAssembly": lambda hidden: run_node(COUNT, engine="WebAssembly", hidden=hidden, seconds=SECONDS),
        "JavaScript": lambda hidden: run_node(COUNT, engine="JavaScript", hidden=hidden, seconds=SECONDS),
        "plain": lambda hidden: count_keras_steps("plain", hidden),
        "ours": lambda hidden: count_keras_steps("ours", hidden),
    }
    rounds = [{name: [count(n) for n in HIDDEN] for name, count in columns.items()} for _ in range(ROUNDS)]
    # The fastest of the rounds is the one that the rest of the machine disturbed least.
    steps = {name: [max(values) for values in zip(*(one[name] for one in rounds))] for name in columns}
    node = subprocess.run(["node", "--version"], capture_output=True, encoding="utf-8", check=True).stdout
    return {
        "machine": {**run.describe_machine(), "node": node.strip()},
        "steps": steps,
        "loss": {str(digits): run_node(LEARN, digits=digits, marks=MARKS) for digits in DIGITS},
    }


def report(results):
    """The results as Markdown: two tables."""
    machine, steps = results["machine"], results["steps"]
    versions = machine["versions"]
    measured = f"Measured on one core of an {machine['processor']}, {machine['system']};\nnode {machine['node']}, "
    measured += f"tensorflow {versions['tensorflow']}, keras {versions['keras']}.\n"
    rows = [[str(hidden), *(f"{steps[name][i]:.1f}" for name in steps)] for i, hidden in enumerate(HIDDEN)]
    styles = ["WebAssembly", "plain JavaScript", "Keras `fit` on arrays", "this book's trainer"]
    speed = run.table(["hidden units: steps a second", *styles], rows)
    rows = [
        [f"{int(digits):,}", *(f"{mark['loss']:.1f} ({mark['steps']:,})" for mark in marks)]
        for digits, marks in results["loss"].items()
    ]
    head = ["training digits: test loss (steps)", *(f"after {mark} s" for mark in MARKS)]
    return "\n".join([measured, speed, run.table(head, rows)])


def make_page(results):
    """The text of the page "How the page trains", with the tables of these results below the mark."""
    return PAGE.read_text(encoding="utf-8").partition(MARK)[0] + MARK + report(results)


def main():
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # for the processes that this one starts, too
    results = measure()
    STORED.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    PAGE.write_text(make_page(results), encoding="utf-8")
    print(report(results))


if __name__ == "__main__":
    main()
