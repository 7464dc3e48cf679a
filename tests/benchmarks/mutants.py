"""Change modules of the library at random, one place at a time, and count how many changes their tests catch.

    python tests/benchmarks/mutants.py [--number 25] [modules, such as cvae_lib/likelihood.py]

A change (a mutant) is another comparison, operator, number or truth value, a condition or a sign turned round, two
arguments exchanged, a result that is None, or a keyword argument or a statement that is left out. Type hints, strings
and what is raised stay as they are. The tests of the module run until one of them fails or they take too long: the
mutant is killed. The program prints each one that survives, and a line for each module. The same number always draws
the same mutants of a module.

The changes are made in a copy of the repository. The tests run in forks of a process that has loaded TensorFlow and
used it for nothing, which saves 5 seconds a mutant.
"""

import argparse
import ast
import copy
import difflib
import importlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from itertools import accumulate
from pathlib import Path

ROOT = Path(__file__).parents[2]
MORE_TESTS = {  # beside the file that is named like the module
    "data/images": ["data/test_readers"],
    "data/mnist": ["data/test_download"],
    "data/readers": ["data/test_hostile_input"],
    "likelihood": ["test_objectives"],
    "tools/digit_classifier": ["tools/test_cli"],
    "training/loop": ["training/test_records"],
}
# Several processes, in which a test fails for other reasons too; and what only a shell or a page uses.
LEFT_OUT = ("__init__", "__main__", "_tensorflow", "distributed", "executors", "export_toys", "launch", "scaling")
LOADED = ("cvae_lib._tensorflow", "matplotlib.pyplot", "scipy.stats", "nbval.plugin", "hypothesis", "pytest")
OPTIONS = ["-x", "-q", "-n", "0", "-m", "not slow and not weekly", "-p", "no:cacheprovider", "--no-header"]
COMPARISONS = "Eq NotEq, NotEq Eq, Lt LtE, LtE Lt, Gt GtE, GtE Gt, In NotIn, NotIn In, Is IsNot, IsNot Is"
OPERATORS = "Add Sub, Sub Add, Mult Div, Div Mult, Pow Mult, FloorDiv Div, Mod FloorDiv, BitAnd BitOr, BitOr BitAnd"
SWAPS = dict(pair.split() for pair in f"{COMPARISONS}, {OPERATORS}, And Or, Or And".split(", "))
SYMMETRIC = ("max", "min", "maximum", "minimum", "logaddexp", "hypot", "gcd")  # in their first two arguments


def change(node):
    """Yield all changes of one node of a syntax tree: a node, and the one to put in its place."""

    def changed(**fields):
        new = copy.copy(node)
        for name, value in fields.items():
            setattr(new, name, value)
        return node, new

    def swapped(operator):
        return getattr(ast, SWAPS[type(operator).__name__])()

    match node:
        case ast.Compare(ops=operators):
            for place, operator in enumerate(operators):
                yield changed(ops=[*operators[:place], swapped(operator), *operators[place + 1 :]])
        case ast.BinOp(op=operator) | ast.BoolOp(op=operator) if type(operator).__name__ in SWAPS:
            yield changed(op=swapped(operator))
        case ast.UnaryOp(operand=operand):
            yield node, operand
        case ast.Constant(value=bool(value)):
            yield changed(value=not value)
        case ast.Constant(value=int(value) | float(value)):
            yield changed(value=value + 1)
        case ast.If() | ast.While() | ast.IfExp():
            yield node.test, ast.UnaryOp(ast.Not(), node.test)
        case ast.Return(value=ast.expr()):
            yield changed(value=ast.Constant(None))
        case ast.Expr(value=ast.Call()) | ast.AugAssign() | ast.Raise():
            yield node, ast.Pass()
        case ast.Call(func=function, args=arguments, keywords=keywords):
            for keyword in keywords:
                yield changed(keywords=[other for other in keywords if other is not keyword])
            is_starred = any(isinstance(argument, ast.Starred) for argument in arguments[:2])
            if len(arguments) > 1 and not is_starred and not ast.unparse(function).endswith(SYMMETRIC):
                yield changed(args=[arguments[1], arguments[0], *arguments[2:]])


def walk(node):
    """Yield the nodes of a syntax tree, without type hints, formatted strings and what is raised."""
    yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "exc", "cause") or isinstance(node, ast.JoinedStr):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from walk(child)


def make_mutants(source, number, draw):
    """Return so many sources, each of which differs from the given one in one place, in the order of the places."""
    code, tree, found = source.encode(), ast.parse(source), []
    lines = [0, *accumulate(map(len, code.splitlines(keepends=True)))]  # where each begins, in bytes
    changes = [pair for node in walk(tree) for pair in change(node)]
    for node, new in draw.sample(changes, min(number, len(changes))):
        start, end = lines[node.lineno - 1] + node.col_offset, lines[node.end_lineno - 1] + node.end_col_offset
        text = ast.unparse(ast.fix_missing_locations(new))
        text = f"({text})" if isinstance(new, ast.expr) else text
        found.append((start, (code[:start] + text.encode() + code[end:]).decode()))
    return [mutant for _, mutant in sorted(found)]


def run_tests(files, seconds, scratch):
    """Run tests in a fork, in the current folder: whether all pass, and the seconds that they take."""
    started = time.time()
    if not (number := os.fork()):
        os.setsid()  # so that the processes which a test starts can be ended too
        os.dup2(os.open(scratch / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
        os.dup2(1, 2)
        code = 1
        try:
            code = importlib.import_module("pytest").main([*OPTIONS, f"--basetemp={scratch / 'base'}", *files])
        finally:
            os._exit(int(code))
    while not (ended := os.waitpid(number, os.WNOHANG))[0]:
        if time.time() - started > seconds:
            os.killpg(number, signal.SIGKILL)
        time.sleep(0.02)
    return ended[1] == 0, time.time() - started


def try_module(path, number, scratch):
    """Run a module's tests over its mutants; print those that survive, and how many are killed."""
    place = Path(path).relative_to("cvae_lib").with_suffix("")
    files = [place.parent / f"test_{place.name}", *MORE_TESTS.get(str(place), [])]
    files = [f"tests/{file}.py" for file in files]
    passed, usual = run_tests(files, 600, scratch)
    if not passed:
        sys.exit(f"{path}: its tests fail without a change:\n{(scratch / 'log').read_text(encoding='utf-8')}")
    source, killed = Path(path).read_text(encoding="utf-8"), 0
    mutants = make_mutants(source, number, random.Random(path))
    for mutant in mutants:
        Path(path).write_text(mutant, encoding="utf-8")
        passed, _ = run_tests(files, 3 * usual + 20, scratch)
        killed += not passed
        if passed:
            print("".join(difflib.unified_diff(*(text.splitlines(True) for text in (source, mutant)), path, path, n=0)))
    Path(path).write_text(source, encoding="utf-8")
    print(f"{path}: {killed} of {len(mutants)} killed ({killed / len(mutants):.0%}); the tests take {usual:.0f} s\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("modules", nargs="*")
    parser.add_argument("--number", type=int, default=25, help="mutants of each module")
    options = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch).resolve() / "repository"
        shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(".*", "_build", "node_modules", "__pycache__"))
        os.chdir(folder)
        sys.path.insert(0, str(folder))
        sys.dont_write_bytecode = True  # or a mutant might be taken from the cache of another
        os.environ.update(PYTHONPATH=str(folder), PYTHONDONTWRITEBYTECODE="1")
        for name in LOADED:
            importlib.import_module(name)
        modules = [path for path in sorted(Path("cvae_lib").rglob("*.py")) if path.stem not in LEFT_OUT]
        for path in options.modules or map(str, modules):
            try_module(path, options.number, folder.parent)


if __name__ == "__main__":
    main()
