"""How pytest runs the book: the edition of the data, what nbval compares, and how two processes share the work.

A cell tagged `full-data` prints what holds for MNIST itself, and one tagged `mnist-data` what holds for the sample of
MNIST too: with other data the cell runs and is not compared. A cell tagged `nbval-ignore-output` is never compared.
The summary counts all three kinds.

A cell tagged `fill-in` is an exercise: a function without a body, and a line that judges it. After the cell the same
kernel runs it twice more, with its solution, which must be right, and with a result that is too large by 1.

Cells, and tests with the fixture `digits`, are marked `edition`: with another edition only they need to run again.
"""

import ast
import os
import re
import shutil
import tempfile
from collections import Counter

import nbval.kernel
import pytest
from nbval.plugin import IPyNbCell

from chapters.execute import isolate
from cvae_lib.data import DataError
from cvae_lib.tools.notebooks import settle_data

EDITION = pytest.StashKey()
EDITIONS = {"full-data": {"full"}, "mnist-data": {"full", "sample"}}  # where an output with this tag holds


def pytest_configure(config):
    if hasattr(config, "workerinput") and hasattr(os, "sched_setaffinity"):
        stay_on_own_cores(config.workerinput)
    try:
        config.stash[EDITION] = settle_data().edition
    except DataError as error:
        raise pytest.UsageError(str(error)) from None
    folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    config.add_cleanup(folder.cleanup)
    environment = isolate(folder.name)
    os.environ.clear()
    os.environ.update(environment)
    # What a test copies it may change, even where the repository is read-only.
    shutil.copystat = shutil.copymode = lambda *arguments, **options: None


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads its options
def pytest_cmdline_main(config):
    """Share the work between two processes, where pytest-xdist is installed and no `-n` says otherwise."""
    if config.pluginmanager.hasplugin("xdist"):
        is_one_of_them = hasattr(config, "workerinput")
        if config.option.numprocesses is None and not is_one_of_them:
            config.option.numprocesses, config.option.dist, config.option.loadscopereorder = 2, "loadscope", False
    else:
        config.pluginmanager.register(WithoutXdist())


class WithoutXdist:
    @pytest.fixture(scope="session")
    def worker_id(self):
        """The name that pytest-xdist gives to a process that does all the work."""
        return "master"


def stay_on_own_cores(worker):
    """Give each process of pytest-xdist, and the kernels it starts, its share of the cores.

    TensorFlow starts as many threads as it sees cores: the threads of two processes would fight over the same ones.
    """
    cores, number = sorted(os.sched_getaffinity(0)), int(worker["workerid"].removeprefix("gw"))
    os.sched_setaffinity(0, cores[number % len(cores) :: worker["workercount"]])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Give each process of pytest-xdist whole files, and of the tests that visit pages all those of one page."""
    from xdist.scheduler import LoadScopeScheduling

    class FilesAndPages(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            page = re.search(r"\[([^]]+\.html)", nodeid)
            return page[1] if page else super()._split_scope(nodeid)

    return FilesAndPages(config, log)


def longest_first(item):
    """Sort what takes long to the start: slow tests, the book's build, the last chapters, which compute most, training.

    The visits of pages come last: a process that has nothing left to do then waits for a page and not for a chapter.
    """
    path = item.path
    if item.get_closest_marker("slow"):
        return -1, 0
    if path.suffix == ".ipynb":
        return 1, -int(re.match(r"\d*", path.name)[0] or 0)
    trains = path.parent.name == "training"
    return {"test_pages.py": 0, "test_site.py": 4}.get(path.name, 2 if trains else 3), 0


def execute_cell_input(self, cell_input, allow_stdin=None):
    """Execute as Jupyter does, with history: nbval leaves it off, and `_`, `Out` and a trailing `;` misbehave."""
    return self.kc.execute(cell_input, allow_stdin=allow_stdin, store_history=True)


nbval.kernel.RunningKernel.execute_cell_input = execute_cell_input


@pytest.hookimpl(wrapper=True, tryfirst=True)  # around all others: before pytest selects by mark, after all sorting
def pytest_collection_modifyitems(config, items):
    for item in items:
        is_cell = isinstance(item, IPyNbCell)
        if is_cell or "digits" in item.fixturenames:
            item.add_marker("edition")
        if not is_cell:
            continue
        # Log lines reach stderr under Jupyter and not under nbval, so stderr proves nothing.
        item.parent.skip_compare += ("stderr",)
        # nbval sees the first state of what a training run shows, and the notebook holds the last one.
        item.parent.sanitize_patterns[r'(?s)<div class="training">.*</div>'] = "training"
        tags = EDITIONS.keys() & item.cell.metadata.get("tags", [])
        if any(config.stash[EDITION] not in EDITIONS[tag] for tag in tags):
            item.options["check"] = False
            kind = "run only"
        else:
            kind = "compared" if item.options["check"] else "ignored"
        item.user_properties.append(("cell", kind))
    result = yield
    keep_notebooks_together(items)
    if hasattr(config, "workerinput"):
        items.sort(key=longest_first)
    return result


def keep_notebooks_together(items):
    """Put the cells of a notebook, which share a kernel, one after the other, though a plugin may shuffle the tests."""
    places = {}
    for place, item in enumerate(items):
        places[item] = places.setdefault(item.parent, place) if isinstance(item, IPyNbCell) else place
    items.sort(key=lambda item: (places[item], getattr(item, "cell_num", 0)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Compare how many pictures a cell shows, at which nbval does not look at all, and try what is filled in."""
    yield
    if isinstance(item, IPyNbCell) and item.test_outputs is not None:
        stored, shown = count_pictures(item.cell.outputs), count_pictures(item.test_outputs)
        if stored != shown:
            item.raise_cell_error(f"found {shown} pictures in the outputs; expected {stored}, as in the notebook")
        if "fill-in" in item.cell.metadata.get("tags", []):
            try_fill_in(item)


def try_fill_in(item):
    """Run an exercise with a wrong result, which must fail, and with its solution, which must print "right"."""
    place = next(i for i, cell in enumerate(item.parent.nb.cells) if cell is item.cell)
    solution = re.search(r"```python\n(.*?)```", item.parent.nb.cells[place + 1].source, re.DOTALL)
    stub = next(node for node in ast.parse(item.cell.source).body if isinstance(node, ast.FunctionDef))
    if not solution:
        item.raise_cell_error("found no block ```python in the text below the exercise; expected its solution")
    lines = item.cell.source.splitlines()
    above, below = "\n".join(lines[: stub.lineno - 1]), "\n".join(lines[stub.end_lineno :])
    wrong = f"import numpy\nsolved = {stub.name}\ndef {stub.name}(*given, **named):\n"
    wrong += "    return numpy.asarray(solved(*given, **named), float) + 1\n"
    for change, expected in ((wrong, "AssertionError"), ("", "right")):  # the kernel keeps the right one
        source = "\n".join([above, solution[1], change, below])
        outcome = run_in_kernel(item.parent.kernel.kc, source)
        if outcome != expected:
            item.raise_cell_error(f"found {outcome!r} from the exercise; expected {expected!r}", source)


def run_in_kernel(client, source):
    """Run code in a kernel beside the cells of a notebook: what it prints, or the name of the error that it raises."""
    printed = []

    def note(message):
        if message["msg_type"] == "stream":
            printed.append(message["content"]["text"])

    reply = client.execute_interactive(source, store_history=False, output_hook=note, timeout=60)["content"]
    return reply["ename"] if reply["status"] == "error" else "".join(printed).strip()


def count_pictures(outputs):
    return sum(kind.startswith("image/") for output in outputs for kind in output.get("data", {}))


def pytest_runtest_logreport(report):
    if report.when == "call" and report.passed:
        counts.update(value for key, value in report.user_properties if key == "cell")


counts = Counter()


def pytest_terminal_summary(terminalreporter, config):
    if counts:
        listed = ", ".join(f"{counts[kind]} {kind}" for kind in ("compared", "run only", "ignored"))
        terminalreporter.write_line(f"chapters in the {config.stash[EDITION]} edition, cells passed: {listed}")
