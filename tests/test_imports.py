"""What an import costs and prints, and which way the modules import one another."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import cvae_lib

PACKAGE = Path(cvae_lib.__file__).parent


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)


def imports_of(path, everywhere=True):
    """The modules a file names in its imports; `everywhere` counts those inside functions too."""
    tree = ast.parse(path.read_text())
    found = set()
    for node in ast.walk(tree) if everywhere else tree.body:
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively; the others import by full name"
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def siblings_of(path, everywhere=True):
    names = {f"cvae_lib.{other.stem}" for other in PACKAGE.glob("*.py")}
    return {name.removeprefix("cvae_lib.") for name in imports_of(path, everywhere) & names}


def test_reading_the_data_loads_no_tensorflow():
    code = (
        "import sys, cvae_lib, cvae_lib.data, cvae_lib.metrics, cvae_lib.plots, cvae_lib.pretrained, cvae_lib.widgets;"
        "print([name for name in ('tensorflow', 'keras', 'jax', 'torch') if name in sys.modules])"
    )
    result = run(code)
    assert (result.stdout, result.stderr) == ("[]\n", "")


def test_the_model_prints_nothing():
    """TensorFlow's lines about processors and missing GPUs would differ from machine to machine on every page.

    What is written to stderr afterwards, by Python or past it, still gets there.
    """
    code = (
        "import cvae_lib.model as m, os, sys; m.decode(m.CVAE(n_hidden=8), [[0, 0]], [[1] + [0] * 9]);"
        "print('by Python', file=sys.stderr, flush=True); os.write(2, b'past it')"
    )
    result = run(code)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "by Python\npast it")


def test_modules_import_one_way():
    graph = {path.stem: siblings_of(path) for path in PACKAGE.glob("*.py")}
    order = list(TopologicalSorter(graph).static_order())  # raises CycleError for a circle
    for lower, upper in (
        ("quiet", "model"),
        ("data", "training"),
        ("model", "variants"),
        ("variants", "training"),
        ("training", "__main__"),
    ):
        assert order.index(lower) < order.index(upper)
    assert graph["metrics"] == graph["plots"] == graph["data"] == graph["__init__"] == set()
    assert "model" not in graph["widgets"]


def test_only_what_runs_networks_imports_tensorflow_or_keras():
    direct = {
        path.stem
        for path in PACKAGE.glob("*.py")
        if {name.split(".")[0] for name in imports_of(path)} & {"tensorflow", "keras"}
    }
    assert direct == {"quiet", "model", "variants", "fast", "training", "judge", "sweeps"}


def test_quiet_comes_before_keras():
    """Imported the other way round, TensorFlow has written its lines by then."""
    for name in ("model", "variants", "fast", "training", "judge"):
        lines = [line.split("#")[0].split() for line in (PACKAGE / f"{name}.py").read_text().splitlines()]
        assert lines.index(["import", "cvae_lib.quiet"]) < lines.index(["import", "keras"])
