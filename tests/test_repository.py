"""What a user meets first: the README's two lines, and the versions that they install."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent


def test_the_readme_starts_with_two_command_lines():
    readme = (ROOT / "README.md").read_text().split("## Quick start")[1]
    build, test = re.findall(r"```bash\n(.*?)```", readme, re.DOTALL)[:2]
    assert build.count("\n") == test.count("\n") == 1
    assert "requirements.txt" in build and "jupyter-book build" in build
    assert "requirements.txt" in test and "pytest" in test


def test_requirements_are_exact_and_within_the_ranges_of_the_package():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    lines = [line.split("#")[0].strip() for line in lines if line.split("#")[0].strip()]
    assert "-e ." in lines
    pins = {canonicalize_name(name): pin for name, pin in (line.split("==") for line in lines if line != "-e .")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for line in project["dependencies"] + project["optional-dependencies"]["book"]:
        requirement = Requirement(line)
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), (
            f"{line}, but requirements.txt pins another"
        )
