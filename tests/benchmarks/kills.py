"""Kill the commands that write files, at each of their writes and renames and at random moments, and start them again.

    python tests/benchmarks/kills.py [--every 1] [--random 6] [names of commands]

A command runs over the files of an earlier run. It is killed by SIGKILL, SIGTERM or Ctrl-C, in turns: when it is about
to rename, remove or make a file; when it is about to wait for the disk, once with the whole file and once with half of
it, as if it had been killed while it wrote; and at random moments. Then every file under its final name has to be the
old or the new one, whole, and the same command has to come to the files of a run that nothing interrupted. Ctrl-C has
to end it within 5 seconds, with one line and exit code 130. The program prints a table of what was found.

The processes are forks of one that has loaded TensorFlow and used it for nothing, which saves 5 seconds a kill. Rows of
the table come from processes that train nothing.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

import cvae_lib._tensorflow  # noqa: F401

# isort: split
import numpy as np
import tensorflow as tf

from cvae_lib.pretrained import PretrainedError, check_file, load_manifest
from cvae_lib.tools import cli, digit_classifier, snapshots, sweeps
from cvae_lib.training import records
from cvae_lib.training.recipes import RECIPES, Recipe

TOOLS = Path(__file__).parent.parent / "tools"
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
EVENTS = ("os.rename", "os.remove", "os.rmdir", "os.mkdir")  # as Python's audit hooks call them, before they happen
COMMANDS = {
    "train": ["train", "mnist-2d", "--epochs", "2"],
    "classifier": ["classifier", "--epochs", "1"],
    "sweep": ["sweep", "five_epochs"],
    "shard": ["shard", "--shards", "2"],
    "snapshots": ["snapshots"],
    "export": ["export", "letters-2d"],
}
MODULES = (digit_classifier, snapshots, records)  # imported here, and not by each process


def prepare(folder):
    """Write digits of noise; make runs short and rows cheap; return what the processes need in their environment."""
    rng, sizes = np.random.default_rng(0), {"train": 40, "test": 20}
    arrays = {f"x_{split}": rng.integers(0, 255, (n, 28, 28), "uint8") for split, n in sizes.items()}
    np.savez(folder / "digits.npz", **arrays, **{f"y_{split}": np.arange(n) % 10 for split, n in sizes.items()})
    RECIPES["mnist-2d"] = Recipe(n_hidden=8, batch_size=20, learning_rate=0.01, epochs=2, held_out=4)
    (folder / "rows").mkdir()
    (folder / "rows" / "go").touch()
    sys.path.insert(0, str(TOOLS))
    import calls

    sweeps.SWEEPS["five_epochs"] = (folder / "rows", {"a": (RECIPES["mnist-2d"], (1, 2, 3))})
    sweeps.make_row_elsewhere = calls.make_row
    os.environ.update(CVAE_DATA=str(folder / "digits.npz"), PYTHONPATH=calls.PYTHONPATH)
    tf.config.run_functions_eagerly(True)
    warnings.filterwarnings("ignore", "Even though the `tf.config")  # tf.data says that it goes its own way


def start(arguments, out, errors, at=lambda moment: None):
    """Fork a process that runs a command into the folder `out`; it calls `at` with each moment; return its number."""
    if number := os.fork():
        return number
    for stream, path in ((1, os.devnull), (2, errors)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    fsync = os.fsync

    def watch(event, details):
        if event in EVENTS and str(details[0]).startswith(str(out)):
            at((event, details[0]))

    def watch_fsync(descriptor):
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        at(("fsync", path))
        if os.path.isfile(path):
            at(("half a file", path))
        fsync(descriptor)

    os.fsync = watch_fsync
    sys.addaudithook(watch)
    code = 1
    try:
        code = cli.main([*arguments, "--out", str(out)], ends_at_once=True)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def end(number):
    """Wait for a process; return its exit code, minus the signal if one ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])


def run(arguments, out, at=lambda moment: None):
    """Run a command to its end; stop with its message where that is an error."""
    errors = out.with_suffix(".errors")
    if code := end(start(arguments, out, errors, at)):
        sys.exit(f"{arguments}: exit code {code}: {errors.read_text(encoding='utf-8')}")


def read(path):
    """Read a file as what two runs have in common: all but the seconds, and the digests of what holds seconds."""

    def clean(value):
        if isinstance(value, dict):
            times = ("seconds", "mnist-2d.history.csv")
            return {key: clean(part) for key, part in value.items() if key not in times}
        return [clean(part) for part in value] if isinstance(value, list) else value

    if path.suffix == ".json":
        return clean(json.loads(path.read_text(encoding="utf-8")))
    if path.suffix == ".csv":
        return [line.rpartition(",")[0] for line in path.read_text(encoding="utf-8").splitlines()]
    return path.read_bytes()


def read_all(out):
    """Read all files under their final names: not the folder of an unfinished run, a lock, or what is being written."""
    paths = [path for path in sorted(out.rglob("*")) if path.is_file()]
    names = {path: path.relative_to(out) for path in paths}
    is_open = {path: ".partial" in str(name) or str(name).startswith("new.") for path, name in names.items()}
    return {str(names[path]): read(path) for path in paths if not is_open[path] and path.suffix != ".lock"}


def describe(out, old, new):
    """Say what a kill has left: AssertionError where a file is neither the old nor the new one."""
    found = read_all(out) if out.exists() else {}
    for name, content in found.items():
        rows = content["rows"] if name == "five_epochs.json" else None
        is_part = rows is not None and rows == new[name]["rows"][: len(rows)]  # a table grows row by row
        assert content in (old.get(name), new.get(name)) or is_part, name
    is_trained = any(name.endswith(".h5") for name in found)
    for entry in load_manifest(out).values() if is_trained else ():
        try:
            for file in entry["sha256"]:
                check_file(out, file, entry)
        except PretrainedError:
            return "between two renames: refused"
    return "the new files" if found == new else "the old files" if found == old else "in part new"


def kill_at(arguments, out, count, number):
    """Run a command that gets a signal at its moment of this count; return what `try_command` needs to know of it."""
    errors, seen, note = out.with_suffix(".errors"), [], out.with_suffix(".moment")

    def at(moment):
        seen.append(moment)
        if len(seen) == count:
            is_half = moment[0] == "half a file"
            if is_half:
                os.truncate(moment[1], os.path.getsize(moment[1]) // 2)
            note.write_text(f"{moment[0]} {time.time()}", encoding="utf-8")
            os.kill(os.getpid(), signal.SIGKILL if is_half else number)  # others may let it write the other half

    code = end(start(arguments, out, errors, at))
    kind, _, started = note.read_text(encoding="utf-8").rpartition(" ")
    return kind, code, time.time() - float(started), errors.read_text(encoding="utf-8")


def kill_after(arguments, out, seconds, number):
    """Run a command that gets a signal after so many seconds; return what `kill_at` returns."""
    errors = out.with_suffix(".errors")
    process = start(arguments, out, errors)
    time.sleep(seconds)
    os.kill(process, number)
    started = time.time()
    return "at random", end(process), time.time() - started, errors.read_text(encoding="utf-8")


def try_command(name, folder, every, n_random):
    """Kill a command at every so many of its moments, and at so many random ones; yield what was found."""
    draw = random.Random(name)
    arguments, before, whole = COMMANDS[name], folder / f"{name}-before", folder / f"{name}-whole"
    before.mkdir()
    if name in ("train", "classifier"):
        run([*arguments, "--seed", "2"], before)
    shutil.copytree(before, whole)
    counted = folder / "counted"
    counted.write_text("", encoding="utf-8")

    def count(moment):
        with counted.open("a", encoding="utf-8") as file:
            file.write(f"{moment[0]}\n")

    started = time.time()
    run(arguments, whole, count)
    seconds, n = time.time() - started, len(counted.read_text(encoding="utf-8").splitlines())
    old, new = read_all(before), read_all(whole)
    kills = [(kill_at, moment) for moment in range(1, n + 1, every)]
    kills += [(kill_after, draw.uniform(0.05, seconds)) for _ in range(n_random)]
    for place, (kill, moment) in enumerate(kills):
        out, number = folder / f"{name}-{place}", SIGNALS[place % len(SIGNALS)]
        shutil.copytree(before, out)
        kind, code, took, errors = kill(arguments, out, moment, number)
        number = signal.SIGKILL if kind == "half a file" else number
        where = (name, kind, moment, number.name)
        assert code in (-number, 130, 0), (where, code, errors)
        if number == signal.SIGINT:
            assert took < 5 and code != -number, (where, code, took)
            assert code == 0 or (errors.count("\n") == 2 and errors.startswith("\nInterrupted. ")), (where, errors)
        state = describe(out, old, new)
        if name != "shard" or state != "the new files":  # shards are never written over others
            run(arguments, out)
            assert read_all(out) == new, where
            names = [sorted(path.relative_to(folder) for path in folder.rglob("*")) for folder in (out, whole)]
            assert names[0] == names[1], where
        shutil.rmtree(out)
        print(f"{name}: {kind}, {number.name}, {state}, {took:.1f} s", file=sys.stderr, flush=True)
        yield kind, number.name, state, took


def main():
    """Kill commands, and print what was found: how many kills, and the longest time that Ctrl-C took."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="name", help=f"the commands: {', '.join(COMMANDS)} (default: all)")
    parser.add_argument("--every", type=int, default=1, help="only every so many of a command's moments")
    parser.add_argument("--random", type=int, default=6, help="so many random moments of each command")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch).resolve()
        prepare(folder)
        total = 0
        for name in options.names or COMMANDS:
            found = list(try_command(name, folder, options.every, options.random))
            total += len(found)
            longest = max((took for _, number, _, took in found if number == "SIGINT"), default=0)
            print(f"{name}: {len(found)} kills; Ctrl-C took at most {longest:.1f} s", flush=True)
            for (kind, state), n in sorted(Counter((kind, state) for kind, _, state, _ in found).items()):
                print(f"  {kind:<12} {state:<30} {n:>3}", flush=True)
        print(f"{total} kills; after each the same command came to the files of an unbroken run")


if __name__ == "__main__":
    main()
