"""The package as a whole: which way its modules import one another, what an import loads and prints, what a Keras with
other settings gets as an answer, and what is written about each part."""

import ast
import os
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import cvae_lib

PACKAGE = Path(cvae_lib.__file__).parent
LAYERS = ("the package itself", "data", "the core", "training", "tools")  # each uses those before it
MNIST_SIZES = (784, 28)  # the pixels of an image, and those along its side


def name_module(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


TREES = {name_module(path): ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}


def list_imports(statements):
    """The names that are imported among these statements, in their order."""
    for node in statements:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import; all others give the full name"
            yield from (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))


def list_loaded(module):
    """All modules that importing this one loads, those of other packages by the names in the imports."""
    loaded, waiting = set(), [module]
    while waiting:
        name = waiting.pop()
        if name not in loaded:
            loaded.add(name)
            waiting += list_imports(TREES[name].body) if name in TREES else []
            waiting += [name.rpartition(".")[0]] if name.startswith("cvae_lib.") else []
    return loaded


def find_layer(module):
    _, first, *_ = (*module.split("."), None)
    return first if first in LAYERS else {None: LAYERS[0], "__main__": "tools"}.get(first, "the core")


def run(code, **environment):
    environment = {**os.environ, **environment}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, encoding="utf-8", timeout=120
    )


# Imports


def test_modules_import_one_way():
    graph = {module: set(list_imports(ast.walk(tree))) & TREES.keys() - {module} for module, tree in TREES.items()}
    list(TopologicalSorter(graph).static_order())  # raises CycleError for a circle
    for module, imported in graph.items():
        for other in imported:
            order = [LAYERS.index(find_layer(name)) for name in (other, module)]
            assert order[0] <= order[1], f"{module} imports {other}"


def test_only_what_runs_networks_loads_tensorflow():
    """Found in the text of the modules, and tried: a page that draws or reads data does not wait for TensorFlow."""
    light = [module for module in TREES if "cvae_lib._tensorflow" not in list_loaded(module)]
    promised = re.search(r"Importing this package, (.*) loads no TensorFlow", cvae_lib.__doc__, re.DOTALL)
    assert light and {f"cvae_lib.{name}" for name in re.findall(r"`([\w.]+)`", promised[1])} <= set(light)
    loaded = "[name for name in ('tensorflow', 'keras', 'jax', 'torch') if name in sys.modules]"
    result = run(f"import sys, {', '.join(light)}; print({loaded})")
    assert (result.stdout, result.stderr) == ("[]\n", "")


def test_tensorflow_is_quiet_before_keras():
    """Imported the other way round, TensorFlow has written its lines by then."""
    for module, tree in TREES.items():
        on_top, anywhere = list(list_imports(tree.body)), list(list_imports(ast.walk(tree)))
        heavy = [name for name in (*on_top, *anywhere) if name.split(".")[0] in ("keras", "tensorflow")]
        if heavy and heavy[0] in on_top:
            assert "cvae_lib._tensorflow" in on_top[: on_top.index(heavy[0])], module
        elif heavy:
            assert "cvae_lib._tensorflow" in list_loaded(module), module


def test_the_model_prints_nothing():
    """TensorFlow's lines about processors and missing GPUs would differ from machine to machine on every page.

    What is written to stderr afterwards, by Python or past it, still gets there.
    """
    code = (
        "from cvae_lib import evaluate, model; import os, sys;"
        "evaluate.decode(model.CVAE(n_hidden=8), [[0, 0]], [[1] + [0] * 9]);"
        "print('by Python', file=sys.stderr, flush=True); os.write(2, b'past it')"
    )
    result = run(code)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "by Python\npast it")


# A Keras with other settings

OTHER_KERAS = """
import sys, types
sys.modules["keras"] = types.SimpleNamespace(config=types.SimpleNamespace(backend=lambda: "jax"))
"""


@pytest.mark.parametrize(
    "before, environment, where",
    [
        ("", {"KERAS_BACKEND": "jax"}, "the environment variable KERAS_BACKEND"),
        ("", {"KERAS_BACKEND": "torch"}, "the environment variable KERAS_BACKEND"),
        (OTHER_KERAS, {}, "Keras is already imported"),
    ],
)
def test_another_backend_is_refused_in_one_line(before, environment, where):
    result = run(f"{before}\nimport cvae_lib.evaluate", **environment)
    *_, last = result.stderr.splitlines()
    found = environment.get("KERAS_BACKEND", "jax")
    assert last.startswith(f"cvae_lib.BookError: {where}: found the backend '{found}'; expected 'tensorflow'.")
    assert "Unset KERAS_BACKEND" in last and "import cvae_lib before keras" in last


def test_an_empty_choice_of_backend_is_none():
    """As it is for Keras, which then reads its settings file."""
    other = OTHER_KERAS.replace('"jax"', '"tensorflow", floatx=lambda: "float32"')
    code = (
        f"{other}sys.modules['tensorflow'] = sys; import cvae_lib._tensorflow, os; print(os.environ['KERAS_BACKEND'])"
    )
    assert run(code, KERAS_BACKEND="").stdout == "tensorflow\n"


# What is written


@pytest.mark.parametrize("package", ["cvae_lib", "cvae_lib.data", "cvae_lib.training", "cvae_lib.tools"])
def test_docstring_of_a_package_is_its_map(package):
    """It names every module, and nothing that is not there."""
    text = ast.get_docstring(TREES[package])
    inside = {module.removeprefix(f"{package}.") for module in TREES if module.startswith(f"{package}.")}
    inside = {module for module in inside if "." not in module and not module.startswith("_")}
    lines = set(re.findall(r"^(\w+)  +\S", text, re.MULTILINE))
    assert lines in (inside, set())
    assert inside <= lines | set(re.findall(r"`(\w+)`", text))


def list_functions(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


def test_every_public_function_and_class_has_a_docstring():
    bare = []
    for module, tree in TREES.items():
        parts = [node for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
        public = [tree, *(node for node in parts if not node.name.startswith("_"))]
        bare += [f"{module}, {getattr(node, 'name', '')}" for node in public if not ast.get_docstring(node)]
    assert bare == []


def test_every_function_has_type_hints():
    """But those of the model, whose text is chapter 2's."""
    bare = []
    for module in TREES.keys() - {"cvae_lib.model"}:
        for function in list_functions(TREES[module]):
            arguments = [part for part in ast.walk(function.args) if isinstance(part, ast.arg)]
            typed = all(part.annotation or part.arg in ("self", "cls") for part in arguments)
            if not typed or not (function.returns or function.name == "__init__"):
                bare.append(f"{module}.{function.name}")
    assert bare == []


def test_no_size_of_mnist_is_in_the_code():
    """But in MNIST's own file and in defaults: sizes come from the data or the model."""
    found = []
    for module in TREES.keys() - {"cvae_lib.data.mnist"}:
        tree = TREES[module]
        defaults = [node for function in list_functions(tree) for node in ast.walk(function.args)]
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and node.value in MNIST_SIZES and node not in defaults:
                found.append(f"{module}, line {node.lineno}: {node.value}")
    assert found == []
