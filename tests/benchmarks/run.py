"""Measure what the book costs on this machine: python tests/benchmarks/run.py

Each measurement runs in a process of its own; the styles of `epoch` take turns, round by round, so that a machine
that slows down slows all of them. The results go to `results.json` beside this file, and as tables to the end of the
page "What it costs". Close what else is running: two busy cores double every figure.

With names (epoch, pieces, steps, ending, cold_start, use, start_up, growth, whole) only these are measured again, the
rest is kept.
PyTorch and JAX are measured where they are installed: pip install torch==2.13.0 jax==0.10.2.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PAGE = ROOT / "chapters" / "what_it_costs.md"
MARK = "<!-- The tables below are written by tests/benchmarks/run.py. -->\n\n"
ROUNDS = 3
STYLES = {"ours": None, "plain": None, "torch": "torch", "jax": "jax"}
STEPS = {
    "`fit` on arrays, no options": ("plain", {}),
    "XLA (`jit_compile`), which gathers each batch by index": ("ours", {"at_once": 1, "two_heads": True}),
    "and compiles a loop of 40 steps": ("ours", {"two_heads": True}),
    "and one product for both heads: this book's trainer": ("ours", {}),
    "tried: a loop of 240 steps, a whole epoch": ("ours", {"at_once": 240}),
}
GROWTH = {
    "size": [6_000, 60_000, 600_000],
    "batch_size": [50, 250, 1000],
    "n_hidden": [128, 512, 2048],
    "n_z": [2, 20, 200],
}


def work(name, **arguments):
    """Run one measurement of `worker.py` in a fresh process and return its dict."""
    command = [sys.executable, str(HERE / "worker.py"), name, json.dumps(arguments)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", cwd=ROOT)
    if done.returncode:
        raise SystemExit(f"error: {shlex.join(command)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def summarise(seconds):
    """Median and quartiles of a list of seconds, its length, and its 95th percentile."""
    low, _, high = statistics.quantiles(seconds, n=4, method="inclusive") if len(seconds) > 1 else seconds * 3
    rank = sorted(seconds)[min(len(seconds) - 1, int(0.95 * len(seconds)))]
    return {"median": statistics.median(seconds), "low": low, "high": high, "p95": rank, "n": len(seconds)}


def has(package):
    try:
        return package is None or bool(importlib.metadata.version(package))
    except importlib.metadata.PackageNotFoundError:
        return False


def measure_epoch():
    """Epochs of all styles and the limit of the matrix products, in turns; the first epoch of a process is not
    counted."""
    styles = [style for style, package in STYLES.items() if has(package)]
    found = {style: {"seconds": [], "peak_mb": 0} for style in [*styles, "limit"]}
    for seed in range(1, ROUNDS + 1):
        for style, row in found.items():
            result = work("limit") if style == "limit" else work("epochs", style=style, seed=seed)
            row["seconds"] += result["seconds"] if style == "limit" else result["seconds"][1:]
            row["peak_mb"] = max(row["peak_mb"], result["peak_mb"])
            if style != "limit":
                row.setdefault("losses", []).append(result["losses"][-1])
    return {style: {**summarise(row.pop("seconds")), **row} for style, row in found.items()}


def measure_cold_start():
    return {name: work("cold_start", recipe=name) for name in ("plain", "mnist-2d-quick", "mnist-2d-deep-quick")}


def measure_pieces():
    return {name: summarise(seconds) for name, seconds in work("pieces").items() if name != "peak_mb"}


def measure_steps():
    """Epochs of the trainer with one change after the other."""
    found = {name: work("epochs", style=style, **settings) for name, (style, settings) in STEPS.items()}
    return {name: {**summarise(row["seconds"][1:]), "losses": row["losses"]} for name, row in found.items()}


def measure_ending():
    """How long `fit` takes to return after its last epoch, with tf.data's autotuner and without: many short runs."""
    found = {name: work("ending", autotune=name == "autotuner") for name in ("autotuner", "none")}
    return {name: {key: row[key] for key in ("seconds", "ending")} for name, row in found.items()}


def measure_use():
    result = work("inference")
    peak = result.pop("peak_mb")
    return {**{name: summarise(seconds) for name, seconds in result.items()}, "peak_mb": peak}


def measure_start_up():
    found = {}
    for name in ("import", "first_decode"):
        results = [work(name) for _ in range(ROUNDS)]
        found[name] = {
            **summarise([s for result in results for s in result["seconds"]]),
            "peak_mb": max(result["peak_mb"] for result in results),
            "tensorflow": results[0].get("tensorflow", True),
        }
    return found


def measure_growth():
    return {
        axis: [{"value": value, **describe_epochs(**{axis: value})} for value in values]
        for axis, values in GROWTH.items()
    }


def describe_epochs(**settings):
    result = work("epochs", style="ours", epochs=6, **settings)
    # These take no turns with others: the fastest epoch is the one that the rest of the machine disturbed least.
    return {"seconds": min(result["seconds"][1:]), "peak_mb": result["peak_mb"]}


def measure_whole():
    """The test line and the build, sample edition, installation left out: seconds and the largest process."""
    book = str(Path(sys.executable).with_name("jupyter-book"))
    with tempfile.TemporaryDirectory() as out:
        commands = {
            "tests": [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
            "build": [book, "build", ".", "-W", "-n", "--path-output", out],
        }
        return {name: time_process(command) for name, command in commands.items()}


def time_process(command):
    """Seconds of a whole process, and the memory of the largest one among it and its children."""
    probe = "import json, resource, subprocess, sys; code = subprocess.call(sys.argv[1:], stdout=2); "
    probe += "print(json.dumps([code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024]))"
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", probe, *command],
        capture_output=True,
        encoding="utf-8",
        cwd=ROOT,
        env={**os.environ, "CVAE_DATA": "sample"},
    )
    code, peak = json.loads(done.stdout)
    if code:
        raise SystemExit(f"error: {shlex.join(command)} ended with {code}:\n{done.stderr[-2000:]}")
    return {"seconds": time.perf_counter() - start, "peak_mb": peak}


def describe_machine():
    """The processor, its cores, the system and the versions that the figures belong to."""
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), cpu)
    packages = [name for name in ("tensorflow", "keras", "numpy", "torch", "jax") if has(name)]
    return {
        "processor": cpu,
        "cores": os.cpu_count(),
        "threads": "each package's default",
        "system": platform.system(),
        "versions": {"python": platform.python_version(), **{p: importlib.metadata.version(p) for p in packages}},
    }


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows), ""])


def report(results):
    """The results as Markdown: what was measured, in tables."""
    machine = results["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    parts = [f"Measured on {machine['processor']}, {machine['cores']} cores, {machine['system']};\n{versions}.\n"]
    writers = {
        "epoch": report_epoch,
        "pieces": report_pieces,
        "steps": report_steps,
        "ending": report_ending,
        "cold_start": report_cold_start,
        "use": report_use,
        "start_up": report_start_up,
        "growth": report_growth,
        "whole": report_whole,
    }
    return "\n".join(parts + [write(results[name]) for name, write in writers.items() if name in results])


def report_epoch(rows):
    names = {
        "ours": "this book's trainer",
        "plain": "Keras `fit` on arrays, as in 2017",
        "torch": "PyTorch, eager",
        "jax": "JAX, one `scan` an epoch",
        "limit": "the matrix products alone",
    }
    ours = rows["ours"]["median"]
    lines = []
    for style, row in sorted(rows.items(), key=lambda item: item[1]["median"]):
        loss = f"{min(row['losses']):.1f} to {max(row['losses']):.1f}" if "losses" in row else "–"
        spread = f"{row['low']:.2f} to {row['high']:.2f}"
        ratio = f"{ours / row['median']:.2f}"
        lines.append([names[style], f"{row['median']:.2f}", spread, ratio, loss, f"{row['peak_mb']:,.0f}"])
    head = ["one epoch of training", "seconds", "quartiles", "ours divided by it", "loss, epoch 4", "peak MiB"]
    return table(head, lines)


def report_pieces(rows):
    names = {
        "products": "the matrix products",
        "adam": "Adam",
        "loss": "reconstruction loss and its gradient",
        "heads": "two heads of two outputs, and their gradients",
        "heads_together": "the same by one product",
        "draws": "drawing epsilon, 2 latents",
        "draws_200": "drawing epsilon, 200 latents",
        "gather": "gathering the batches",
    }
    lines = []
    for name, text in names.items():
        xla = f"{rows[f'{name}_xla']['median']:.2f}" if f"{name}_xla" in rows else "–"
        lines.append([text, f"{rows[name]['median']:.2f}", xla])
    return table(["a piece of 240 steps, alone", "seconds", "with XLA"], lines)


def report_steps(rows):
    first = next(iter(rows.values()))["median"]
    lines = [
        [name, f"{row['median']:.2f}", f"{row['median'] / first:.2f}", f"{row['losses'][-1]:.1f}"]
        for name, row in rows.items()
    ]
    return table(["one epoch", "seconds", "of the first line", "loss, epoch 4"], lines)


def report_ending(rows):
    names = {"autotuner": "with tf.data's autotuner", "none": "without it: this book's trainer"}
    lines = []
    for name, text in names.items():
        ending = rows[name]["ending"]
        waits = [seconds for seconds in ending if seconds > 0.1]
        work = [seconds - end for seconds, end in zip(rows[name]["seconds"], ending)]
        lines.append([text, f"{statistics.median(work):.2f}", f"{len(waits)} of {len(ending)}", f"{max(ending):.2f}"])
    head = ["six epochs of 6,000 digits", "seconds without the wait", "runs that end late", "longest wait, seconds"]
    return table(head, lines)


def report_cold_start(rows):
    names = {
        "plain": "2017: Keras `fit` on arrays",
        "mnist-2d-quick": "`mnist-2d-quick`, the same network",
        "mnist-2d-deep-quick": "`mnist-2d-deep-quick`, two hidden layers",
    }
    plain = rows["plain"]["end"]
    lines = []
    for name, row in rows.items():
        reached = f"{row['reached']:.0f}, epoch {row['epoch']}" if "reached" in row else "never"
        cells = [names[name], f"{row['epochs']}", f"{row['end']:.0f}", f"{row['end'] / plain:.2f}"]
        lines.append([*cells, reached, f"{row['last']:.2f}"])
    head = ["from a cold start, validation included", "epochs", "seconds to the end", "of the first line"]
    return table([*head, "seconds to 130.77", "last validation loss"], lines)


def report_use(rows):
    names = {
        "grid": "an 8 × 8 grid, one batch",
        "loop": "the same, 64 calls of `predict`",
        "encode": "encoding 60,000 digits",
        "likelihood": "exact log p(x given y) of 10,000 digits",
        "slider": "one move of a slider, model and picture",
    }
    lines = [
        [names[name], f"{1e3 * row['median']:,.1f}", f"{1e3 * row['p95']:,.1f}"]
        for name, row in rows.items()
        if name != "peak_mb"
    ]
    ratio = rows["loop"]["median"] / rows["grid"]["median"]
    return (
        table(["use", "milliseconds, median", "95th percentile"], lines) + f"\nThe batch is {ratio:.0f} times faster.\n"
    )


def report_start_up(rows):
    names = {"import": "`import cvae_lib`", "first_decode": "a first decoded digit in a fresh process"}
    lines = [[names[name], f"{row['median']:.3f}", f"{row['peak_mb']:,.0f}"] for name, row in rows.items()]
    loaded = "loads" if rows["import"]["tensorflow"] else "does not load"
    return table(["start", "seconds", "peak MiB"], lines) + f"\nThe import {loaded} TensorFlow.\n"


def report_growth(rows):
    names = {"size": "training digits", "batch_size": "batch", "n_hidden": "hidden units", "n_z": "latents"}
    lines = []
    for axis, values in rows.items():
        for before, row in zip([None, *values], values):
            growth = "–"
            if before:
                factors = (row[key] / before[key] for key in ("value", "seconds"))
                growth = "× {:.0f} costs × {:.2f}".format(*factors)
            cells = [names[axis], f"{row['value']:,}", f"{row['seconds']:.2f}", growth, f"{row['peak_mb']:,.0f}"]
            lines.append(cells)
    return table(["what grows", "to", "seconds, fastest epoch", "against the line above", "peak MiB"], lines)


def report_whole(rows):
    names = {"tests": "all tests and chapters, sample edition", "build": "the build from stored outputs"}
    lines = [[names[name], f"{row['seconds']:.0f}", f"{row['peak_mb']:,.0f}"] for name, row in rows.items()]
    return table(["whole process, packages installed", "seconds", "MiB, largest process"], lines)


def make_page(results):
    """The text of the page "What it costs", with the tables of these results below the mark."""
    return PAGE.read_text(encoding="utf-8").partition(MARK)[0] + MARK + report(results)


MEASURES = {
    "epoch": measure_epoch,
    "pieces": measure_pieces,
    "steps": measure_steps,
    "ending": measure_ending,
    "cold_start": measure_cold_start,
    "use": measure_use,
    "start_up": measure_start_up,
    "growth": measure_growth,
    "whole": measure_whole,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[[], *MEASURES], help="which measurements (default: all)")
    options = parser.parse_args()
    stored = HERE / "results.json"
    results = json.loads(stored.read_text(encoding="utf-8")) if stored.exists() and options.names else {}
    results["machine"] = describe_machine()
    for name in options.names or MEASURES:
        print(f"{name} ...", flush=True)
        results[name] = MEASURES[name]()
        stored.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
        PAGE.write_text(make_page(results), encoding="utf-8")
    print(report(results))


if __name__ == "__main__":
    main()
