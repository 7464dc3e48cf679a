"""Commands that are killed leave whole files, and come to those of an unbroken run when they are started again."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "kills.py"


@pytest.mark.slow
@pytest.mark.parametrize(
    "options, least", [(["--every", "12", "--random", "2"], 18), pytest.param([], 120, marks=pytest.mark.weekly)]
)
def test_files_are_whole_after_each_kill_and_right_after_the_same_command(options, least):
    """In a process that has not used TensorFlow, because it forks."""
    done = subprocess.run([sys.executable, PROGRAM, *options], capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    *_, last = done.stdout.splitlines()
    kills, words = last.split(" ", 1)
    assert int(kills) >= least and words == "kills; after each the same command came to the files of an unbroken run"
