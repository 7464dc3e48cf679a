"""What a user meets first: the README's two lines, the versions that they install, and a user's own settings.

And what the workflows may do: they run code of others, and one of them publishes.
"""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from book_sources import CHAPTERS, NOTEBOOKS, ROOT, code_cells, pictures, printed
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# The locale C, in which Python does not read UTF-8 unless it is told to.
OLD_LOCALE = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}


def test_the_readme_starts_with_two_command_lines():
    readme = (ROOT / "README.md").read_text(encoding="utf-8").split("## Quick start")[1]
    build, test = re.findall(r"```bash\n(.*?)```", readme, re.DOTALL)[:2]
    assert build.count("\n") == test.count("\n") == 1
    assert "requirements.txt" in build and "jupyter-book build" in build
    assert "requirements.txt" in test and "pytest" in test


def test_requirements_are_exact_and_within_the_ranges_of_the_package():
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    lines = [line.split("#")[0].strip() for line in lines if line.split("#")[0].strip()]
    assert "-e ." in lines
    pins = {canonicalize_name(name): pin for name, pin in (line.split("==") for line in lines if line != "-e .")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for line in sum(project["optional-dependencies"].values(), project["dependencies"]):
        requirement = Requirement(line)
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), (
            f"{line}, but requirements.txt pins another"
        )


def opens_text_by_locale(call):
    """Whether this call of Python code opens a text, or reads from a process, in the encoding of the user's locale."""
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    keywords = {keyword.arg: keyword.value for keyword in call.keywords}
    if "encoding" in keywords or None in keywords:
        return False
    is_a_method = isinstance(call.func, ast.Attribute)  # of a Path; or of a module such as gzip or PIL.Image
    if name == "open":
        values = [one.value for one in [*call.args, *keywords.values()] if isinstance(one, ast.Constant)]
        modes = [one for one in values if re.fullmatch(r"[rwax+]+[bt]?\+?", str(one))]
        return not call.args or any("b" not in one for one in modes) or not (modes or is_a_method)
    reads_a_process = "text" in keywords and name in ("run", "Popen", "check_output")
    return reads_a_process or is_a_method and name in ("read_text", "write_text")


def test_text_is_never_read_or_written_in_the_encoding_of_the_locale():
    parts = [(path, path.read_text(encoding="utf-8")) for path in ROOT.rglob("*.py") if "/." not in path.as_posix()]
    parts += [(path, cell.source) for path in NOTEBOOKS for cell in code_cells(path)]
    found = [
        f"{path.relative_to(ROOT)}: {ast.unparse(node)}"
        for path, code in parts
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Call) and opens_text_by_locale(node)
    ]
    assert not found, "name the encoding: another locale would read or write something else:\n" + "\n".join(found)


def run_with(settings, *command):
    """Run a Python command from the root of the repository with these environment variables, as a user would."""
    ours = ("CVAE_DATA", "IPYTHONDIR", "KERAS_HOME", "MATPLOTLIBRC", "PYTHONUTF8")
    environment = {name: value for name, value in os.environ.items() if name not in ours} | settings
    done = subprocess.run([sys.executable, *command], cwd=ROOT, env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode() + done.stderr.decode()


CHAPTER = """\
---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---

# “Σ − naïve”

```{code-cell} ipython3
import os
import sys

import matplotlib.pyplot as plt

has_keras_json = "keras.json" in os.listdir(os.environ["KERAS_HOME"])
print("“Σ − naïve”", has_keras_json, sys.flags.optimize, plt.rcParams["lines.linewidth"])
```

```{code-cell} ipython3
plt.plot([0, 1]);
```
"""
EXECUTE = """
import pathlib, sys
from chapters.execute import execute, write_pair
path = pathlib.Path(sys.argv[1])
write_pair(path, execute(path.read_text(encoding="utf-8")))
"""


def test_the_users_settings_change_no_page(tmp_path):
    """Each of these would take away figures or checks, change numbers, or write what no browser can read."""
    text = tmp_path / "chapter.md"
    text.write_text(CHAPTER, encoding="utf-8")
    files = {
        "matplotlibrc": "backend: agg\nlines.linewidth: 9\n",
        "keras.json": '{"floatx": "float64", "backend": "tensorflow"}',
        "profile_default/ipython_config.py": "get_config().InlineBackend.figure_formats = {'svg', 'png'}",
        "startup.py": "print('the startup file of the user')",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content, encoding="utf-8")
    folders = dict.fromkeys(("IPYTHONDIR", "KERAS_HOME", "MATPLOTLIBRC"), str(tmp_path))
    others = {"MPLBACKEND": "agg", "PYTHONOPTIMIZE": "1", "PYTHONSTARTUP": str(tmp_path / "startup.py")}
    run_with({**OLD_LOCALE, **folders, **others}, "-c", EXECUTE, str(text))

    assert "# “Σ − naïve”" in text.read_text(encoding="utf-8")
    first, second = code_cells(text.with_suffix(".ipynb"))
    assert printed(first) == "“Σ − naïve” False 0 1.5\n"
    assert pictures(second) == ["image/png"]


def test_the_ledger_is_the_same_under_another_locale(tmp_path):
    shutil.copytree(CHAPTERS, tmp_path / "chapters", ignore=shutil.ignore_patterns("ledger.md"))
    shutil.copytree(ROOT / "tests/benchmarks", tmp_path / "tests/benchmarks")
    run_with(OLD_LOCALE, str(tmp_path / "chapters/make_ledger.py"))
    assert (tmp_path / "chapters/ledger.md").read_bytes() == (CHAPTERS / "ledger.md").read_bytes()


def test_pytest_starts_without_a_home_folder(tmp_path):
    """It then runs in the sample edition, and says so."""
    (tmp_path / "file").touch()
    test = f"{Path(__file__).relative_to(ROOT)}::test_the_readme_starts_with_two_command_lines"
    told = run_with({"HOME": str(tmp_path / "file/home")}, "-m", "pytest", "-n0", "-pno:cacheprovider", test)
    assert "1 passed" in told and "Using the sample of 5,000 digits" in told


WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
READ_ONLY = {"contents": "read"}
MAY_DO_MORE = {
    ("publish", "build"): {**READ_ONLY, "pages": "read"},
    ("publish", "deploy"): {"pages": "write", "id-token": "write"},
}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_may_do_no_more_than_it_needs(path):
    text = path.read_text(encoding="utf-8")
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == READ_ONLY
    for name, job in workflow["jobs"].items():
        assert job.get("permissions", READ_ONLY) == MAY_DO_MORE.get((path.stem, name), READ_ONLY), name
        for step in job["steps"]:
            if "/checkout@" in step.get("uses", ""):
                assert step["with"]["persist-credentials"] is False
            assert "${{" not in step.get("run", ""), "what a stranger writes would become a part of the command"
    # With pull_request_target a stranger's commit would run with the rights of the repository.
    assert "pull_request_target" not in text and "secrets" not in text


def test_actions_are_named_by_the_hash_of_their_commit():
    """The tag of a version can be moved to another commit. One action has one hash in all workflows."""
    used = [use for one in WORKFLOWS for use in re.findall(r"uses: *(.*)", one.read_text(encoding="utf-8"))]
    for use in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", use), use
    assert len({use.split("@")[0] for use in used}) == len(set(used))


def test_known_weaknesses_of_packages_are_looked_for_every_week():
    weekly = yaml.safe_load((ROOT / ".github/workflows/weekly.yml").read_text(encoding="utf-8"))
    assert weekly[True]["schedule"]  # YAML reads the key `on` as True
    steps = [step.get("run", "") for step in weekly["jobs"]["audit"]["steps"]]
    assert any(step.startswith("pip-audit") for step in steps) and "npm audit" in steps
