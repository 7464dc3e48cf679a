"""The benchmark: what it stored and what it shows are one, and its twins train the same network."""

import ast
import json
import random
import sys
from pathlib import Path

import numpy as np
import pytest

from cvae_lib.data import load_sample

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER))

import mutants  # noqa: E402
import run  # noqa: E402
import trainer  # noqa: E402
import twins  # noqa: E402


@pytest.fixture(scope="module")
def sample():
    return load_sample()


def test_the_page_shows_what_was_stored():
    stored = json.loads((FOLDER / "results.json").read_text(encoding="utf-8"))
    assert run.make_page(stored) == run.PAGE.read_text(encoding="utf-8"), "python3 tests/benchmarks/run.py writes both"
    # This test runs while "whole" is measured, for the first time perhaps.
    assert {"machine", *run.MEASURES} - set(stored) <= {"whole"}, "a measurement is missing"


def test_the_page_of_the_trainer_shows_what_was_stored():
    stored = json.loads(trainer.STORED.read_text(encoding="utf-8"))
    page = trainer.PAGE.read_text(encoding="utf-8")
    assert trainer.make_page(stored) == page, "python3 tests/benchmarks/trainer.py writes both"


@pytest.mark.parametrize("style", run.STYLES)
def test_twins_reach_the_same_loss(sample, style):
    """After 10 epochs of 4,000 digits, on which three seeds of each ended between 163 and 171."""
    if not run.has(run.STYLES[style]):
        pytest.skip(f"{run.STYLES[style]} is not installed")
    seconds, losses = getattr(twins, f"train_{style}")(sample, 10)
    assert len(seconds) == len(losses) == 10 and min(seconds) > 0
    assert losses[-1] == pytest.approx(167, abs=6)


def test_a_measurement_runs_in_a_process_of_its_own():
    found = run.work("import")
    assert found["seconds"][0] < 5 and found["peak_mb"] > 1 and found["tensorflow"] is False


def test_a_failed_measurement_is_reported():
    with pytest.raises(SystemExit, match="nonesuch"):
        run.work("epochs", style="nonesuch")


def test_summary_of_seconds():
    found = run.summarise([float(value) for value in range(1, 101)])
    assert (found["median"], found["n"], found["p95"]) == (50.5, 100, 96.0)
    np.testing.assert_allclose([found["low"], found["high"]], [25.75, 75.25])


SOURCE = '''def f(x: int = 1) -> bool:
    """A text with 1 number."""
    if 0 < x <= 3 and not x == 4:
        raise ValueError(f"ä: {x + 1}")
    print("ö", x + 1, end="")
    return g(x, y, key=True)
'''
CHANGED = """def f(x: int = (2)) -> bool:
    if (not (0 < x <= 3 and (not x == 4))):
    if (0 < x < 3) and not x == 4:
    if (0 <= x <= 3) and not x == 4:
    if (0 < x <= 3 or not x == 4):
    if (1) < x <= 3 and not x == 4:
    if 0 < x <= (4) and not x == 4:
    if 0 < x <= 3 and (x == 4):
    if 0 < x <= 3 and not (x != 4):
    if 0 < x <= 3 and not x == (5):
        pass
    (print('ö', x + 1))
    (print(x + 1, 'ö', end=''))
    pass
    print("ö", (x - 1), end="")
    print("ö", x + (2), end="")
    return None
    return (g(x, y))
    return (g(y, x, key=True))
    return g(x, y, key=(False))"""


def test_a_mutant_differs_in_one_line_and_not_in_its_words():
    found = mutants.make_mutants(SOURCE, 100, random.Random(0))
    changed = [set(mutant.splitlines()) - set(SOURCE.splitlines()) for mutant in found]
    assert sorted(line for (line,) in changed) == sorted(CHANGED.splitlines())
    assert all(map(ast.parse, found)) and len(mutants.make_mutants(SOURCE, 5, random.Random(0))) == 5
