"""Measure training from shards against training from memory: python tests/benchmarks/shards.py

For each size, MNIST's digits are repeated, each time shifted by up to two pixels, and written into shards, with one
part of them in memory at a time. One process trains on them while it reads them and one holds them in memory, which
shows the memory that each takes. In a third process both ways take turns, SEGMENT images each: so a machine that slows
down slows both alike. The time of the processors hardly depends on what else they do.

The results go to chapters/results/shards.json. It takes some twenty minutes, 2 GB of disk and 6 GB of memory.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from run import ROOT, describe_machine, work

RESULTS = ROOT / "chapters" / "results" / "shards.json"
SIZES = (100_000, 500_000, 2_000_000)
PER_SHARD = 25_000
SEGMENT = 20_000
ROUNDS = 15
PATHS = ("from_shards", "from_memory")


def make_parts(digits, n, per_part=PER_SHARD):
    """Yield n digits in parts (x, y): those of MNIST again and again, each shifted anew."""
    for start in range(0, n, per_part):
        rng = np.random.default_rng(start)
        chosen = rng.integers(0, digits.n_train, min(per_part, n - start))
        yield shift(digits.pixels_train[chosen].reshape(-1, *digits.image_shape), rng), digits.y_train[chosen]


def shift(images, rng, most=2):
    """Shift each image down and right by its own number of pixels, from -most to most."""
    n, height, width = images.shape
    padded = np.pad(images, ((0, 0), (most, most), (most, most)))
    down, right = rng.integers(0, 2 * most + 1, (2, n))
    rows, columns = np.arange(height) + down[:, None], np.arange(width) + right[:, None]
    return padded[np.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]


def measure_size(digits, n, folder):
    """Write n digits into shards, and train on them by turns from there and from memory: one row of the results."""
    from cvae_lib.data.shards import check_digests
    from cvae_lib.training.records import write_shards

    start = time.perf_counter()
    test = [(digits.pixels_test, digits.y_test)]
    data = write_shards(folder, make_parts(digits, n), test, digits.image_shape, digits.condition)
    written = time.perf_counter()
    check_digests(data, data.train)
    row = {
        "images": n,
        "shards": len(data.train),
        "megabytes": round(sum(data.path(shard).stat().st_size for shard in data.train) / 1e6),
        "seconds_to_write": round(written - start, 1),
        "seconds_to_check": round(time.perf_counter() - written, 1),
    }
    for path in PATHS:
        alone = work("shards", folder=str(folder), paths=[path], segment=SEGMENT, segments=4)
        row[path] = {"peak_mb": round(alone["peak_mb"])}
    found = work("shards", folder=str(folder), paths=PATHS, segment=SEGMENT, segments=ROUNDS)
    for path in PATHS:
        row[path]["images_per_second"] = [round(SEGMENT / seconds) for seconds in found[path]["seconds"]]
        row[path]["cpu_seconds"] = [round(seconds, 3) for seconds in found[path]["cpu_seconds"]]
    for name, key in (("throughput_ratio", "images_per_second"), ("cpu_ratio", "cpu_seconds")):
        row[name] = [round(one / other, 3) for one, other in zip(*(row[path][key] for path in PATHS), strict=True)]
    return row


def main():
    from cvae_lib.data import load_mnist

    digits = load_mnist()
    results = {"machine": describe_machine(), "recipe": "mnist-2d", "segment": SEGMENT, "edition": digits.edition}
    results["rows"] = []
    for n in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            results["rows"].append(measure_size(digits, n, Path(folder) / "shards"))
        print(json.dumps(results["rows"][-1]), file=sys.stderr)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8", newline="\n")
    print(f"written to {RESULTS}")


if __name__ == "__main__":
    main()
