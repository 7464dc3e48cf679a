"""How pytest runs the book: the edition of the data, and what nbval compares.

A cell tagged `full-data` prints what holds for MNIST itself: with another edition it runs and is not compared. A
cell tagged `nbval-ignore-output` is never compared. The summary counts all three kinds.

Cells, and tests with the fixture `digits`, are marked `edition`: with another edition only they need to run again.
"""

import os
from collections import Counter
from pathlib import Path

import nbval.kernel
import nbval.plugin
import pytest

from cvae_lib.data import DataError, load_mnist

EDITION = pytest.StashKey()


def pytest_configure(config):
    if hasattr(config, "workerinput") and hasattr(os, "sched_setaffinity"):
        stay_on_own_cores(config.workerinput)
    # Settle the edition once: notebooks run in other folders and must not each try to download.
    choice = os.environ.get("CVAE_DATA")
    if choice and choice not in ("full", "sample"):
        os.environ["CVAE_DATA"] = str(Path(choice).expanduser().resolve())
    try:
        digits = load_mnist()
    except DataError as error:
        raise pytest.UsageError(str(error)) from None
    if not choice:
        os.environ["CVAE_DATA"] = digits.edition
    config.stash[EDITION] = digits.edition


def stay_on_own_cores(worker):
    """Give each process of pytest-xdist, and the kernels it starts, its share of the cores.

    TensorFlow starts as many threads as it sees cores: the threads of two processes would fight over the same ones.
    """
    cores, number = sorted(os.sched_getaffinity(0)), int(worker["workerid"].removeprefix("gw"))
    os.sched_setaffinity(0, cores[number % len(cores) :: worker["workercount"]])


@pytest.fixture(scope="session")
def digits():
    """The digits of the edition that this test run uses."""
    return load_mnist()


def execute_cell_input(self, cell_input, allow_stdin=None):
    """Execute as Jupyter does, with history: nbval leaves it off, and `_`, `Out` and a trailing `;` misbehave."""
    return self.kc.execute(cell_input, allow_stdin=allow_stdin, store_history=True)


nbval.kernel.RunningKernel.execute_cell_input = execute_cell_input


@pytest.hookimpl(tryfirst=True)  # before pytest selects by mark
def pytest_collection_modifyitems(config, items):
    for item in items:
        is_cell = isinstance(item, nbval.plugin.IPyNbCell)
        if is_cell or "digits" in item.fixturenames:
            item.add_marker("edition")
        if not is_cell:
            continue
        # Log lines reach stderr under Jupyter and not under nbval, so stderr proves nothing.
        item.parent.skip_compare += ("stderr",)
        tags = item.cell.metadata.get("tags", [])
        if "full-data" in tags and config.stash[EDITION] != "full":
            item.options["check"] = False
            kind = "run only"
        else:
            kind = "compared" if item.options["check"] else "ignored"
        item.user_properties.append(("cell", kind))


def pytest_runtest_logreport(report):
    if report.when == "call" and report.passed:
        counts.update(value for key, value in report.user_properties if key == "cell")


counts = Counter()


def pytest_terminal_summary(terminalreporter, config):
    if counts:
        listed = ", ".join(f"{counts[kind]} {kind}" for kind in ("compared", "run only", "ignored"))
        terminalreporter.write_line(f"chapters in the {config.stash[EDITION]} edition, cells passed: {listed}")
