"""The tables: what a row holds, that an interrupted sweep goes on, and that the stored tables are whole."""

import json
import os
import signal
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import calls
import numpy as np
import pytest
from calls import at, is_running, kill, noted, start, wait_until

from cvae_lib.data import check_dataset, load_digits
from cvae_lib.data.mnist import MNIST_DIGEST
from cvae_lib.evaluate import encode, read_as_bernoulli
from cvae_lib.files import BusyError
from cvae_lib.likelihood import elbo, log_likelihood, make_grid
from cvae_lib.model import CVAE
from cvae_lib.pretrained import describe_versions, load_pretrained
from cvae_lib.tools import sweeps
from cvae_lib.tools.cli import main
from cvae_lib.tools.executors import ExecutorError
from cvae_lib.training.loop import train
from cvae_lib.training.recipes import RECIPES, Recipe

RESULTS = Path(__file__).parent.parent.parent / "chapters" / "results"

pytestmark = pytest.mark.filterwarnings("ignore:Even though the `tf.config")


@pytest.fixture(scope="module")
def data(make_file):
    return make_file("digits.npz")


@pytest.fixture
def small():
    """40 test images of 6 x 5 pixels."""
    rng = np.random.default_rng(0)
    raw = {f"x_{split}": rng.integers(0, 255, (40, 6, 5)).astype("uint8") for split in ("train", "test")}
    return check_dataset({**raw, "y_train": np.arange(40) % 10, "y_test": np.arange(40) % 10}, "noise")


def note(model, recipe, digits):
    """Measure in no time."""
    return {"digits": len(digits.x_test), "first": float(model.get_weights()[0][0, 0])}


@pytest.fixture
def tiny_sweep(tiny, monkeypatch):
    """One recipe with two seeds, and a measure that other processes can import."""
    measure = partial(sweeps.measure_exact_likelihood, draws=1, n=10)
    monkeypatch.setitem(sweeps.SWEEPS, "tiny", (measure, {"a × b": (tiny, (1, 2))}))


def test_a_row_is_a_trained_model_measured(data, tiny, eager):
    digits, recipe = load_digits(data), replace(tiny, held_out=10)
    rows = [sweeps.make_row(digits, note, 0, "a × b", seed, recipe) for seed in (1, 2)]
    for row, seed in zip(rows, (1, 2), strict=True):
        assert (row["name"], row["seed"], row["epochs"], row["digits"]) == ("a × b", seed, 1, 10)
        assert row["parameters"] == CVAE(n_hidden=8).count_params() and row["cpu_seconds"] > 0
    assert rows[0]["first"] != rows[1]["first"]


def test_a_row_is_measured_along_the_training(data, tiny, eager):
    """After every second epoch; the last time, the model is the one that the row itself measures."""
    measure = partial(sweeps.measure_exact_likelihood, draws=2, n=20)
    recipe = replace(tiny, epochs=4, dropout=0.2, held_out=10)
    row = sweeps.make_row(load_digits(data), measure, 2, "a × b", 1, recipe)
    check_course(row, [2, 4])
    assert abs(row["course"][0]["exact"] - row["course"][1]["exact"]) > 0.01


def check_course(row, epochs):
    """The course of a row has these epochs, and ends with the figures of the row."""
    assert [measured["epoch"] for measured in row["course"]] == epochs
    last = {key: value for key, value in row["course"][-1].items() if key != "epoch"}
    assert set(last) == {"elbo", "exact", "gap"} and last == {key: row[key] for key in last}


def test_a_model_that_ships_is_not_trained_again(data, tiny, tmp_path, monkeypatch, eager):
    """Where it was trained on these data with this seed: a row of another model would say what is not true."""
    digits, folder = load_digits(data), tmp_path / "folder"
    train(replace(tiny, learning_rate=0.02), digits, folder, "a × b", seed=2, verbose=0)
    monkeypatch.setattr(sweeps, "PRETRAINED", tmp_path)
    row = sweeps.make_row(digits, note, 0, "a × b", 2, tiny)
    first = float(load_pretrained("a × b", folder).get_weights()[0][0, 0])
    assert "cpu_seconds" not in row and row["first"] == pytest.approx(first, abs=1e-4)
    assert sweeps.find_shipped("a × b", 1, digits.digest) is None
    assert sweeps.find_shipped("a × b", 2, "the digest of other data") is None


@pytest.fixture
def whole_table(data, tmp_path):
    """A table that has both rows of the tiny sweep."""
    rows = [{"name": "a × b", "seed": seed, "mark": seed * 11} for seed in (1, 2)]
    table = {"rows": rows, "data": {"edition": "custom", "sha256": load_digits(data).digest}}
    (tmp_path / "tiny.json").write_text(json.dumps(table), encoding="utf-8")
    return tmp_path


def test_a_whole_sweep_trains_nothing(data, tiny_sweep, whole_table):
    """All rows are there: no process starts, and the rows stay as they are."""
    before = (whole_table / "tiny.json").read_bytes()
    path = sweeps.run_sweep("tiny", whole_table, data, report=lambda line: pytest.fail("it made a row"))
    assert path.read_bytes() == before


def test_rows_of_other_data_are_refused(make_file, tiny_sweep, whole_table):
    """Or one table would hold rows of both."""
    before = (whole_table / "tiny.json").read_bytes()
    with pytest.raises(sweeps.SweepError, match="tiny.json: found rows measured on other data.*expected.*--out"):
        sweeps.run_sweep("tiny", whole_table, make_file("others.npz", seed=1))
    assert (whole_table / "tiny.json").read_bytes() == before


FIRST = {"name": "a × b", "seed": 1}


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda table: table.update(rows=[FIRST], versions={"keras": "1.0"}), "rows measured on other versions, {'ker"),
        (lambda table: table.update(rows=[FIRST], threads=99), "rows measured on other threads, 99"),
        (
            lambda table: table.update(rows=[{"name": "base", "seed": 1}]),
            "the row ('base', 1), twice or of another tab",
        ),
        (lambda table: table.update(rows=[FIRST, FIRST]), "the row ('a × b', 1), twice or of another table"),
        (lambda table: table.update(rows=[{"name": "a × b"}]), "no table (KeyError('seed'))"),
        (lambda table: table.update(rows=7), "no table (TypeError"),
        (lambda table: table.pop("rows"), "no table (KeyError('rows'))"),
        (lambda table: table.pop("data"), "rows measured on other data, None"),
    ],
)
def test_other_rows_are_refused(data, tiny_sweep, whole_table, change, words):
    """Or one table would hold rows of several kinds under one heading."""
    path = whole_table / "tiny.json"
    table = json.loads(path.read_text(encoding="utf-8"))
    table.update(versions=describe_versions(), threads=os.cpu_count())
    change(table)
    path.write_text(json.dumps(table), encoding="utf-8")
    before = path.read_bytes()
    with pytest.raises(sweeps.SweepError) as caught:
        sweeps.run_sweep("tiny", whole_table, data, report=lambda line: pytest.fail("it made a row"))
    assert f"{path}: found {words}" in str(caught.value) and "expected" in str(caught.value)
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
def test_a_damaged_table_is_named(data, tiny_sweep, tmp_path, content):
    (tmp_path / "tiny.json").write_bytes(content)
    with pytest.raises(sweeps.SweepError, match="tiny.json: found no table .*--out, or delete the file"):
        sweeps.run_sweep("tiny", tmp_path, data)
    assert (tmp_path / "tiny.json").read_bytes() == content


def test_a_recipe_that_the_data_are_too_few_for_is_refused_before_any_row(tmp_path, capsys):
    assert main(["sweep", "one_run", "--data", "sample", "--out", str(tmp_path)]) == 1
    printed, error = capsys.readouterr()
    assert printed == "" and error.startswith("error: held_out: found 5000; expected fewer than the 4000 training")
    assert error.count("\n") == 1 and list(tmp_path.iterdir()) == []


def test_an_unknown_sweep_lists_the_known_ones(tmp_path):
    known = "annealed, five_epochs, latent_count, one_run, thirty_epochs, two_latents_by_seed"
    with pytest.raises(sweeps.SweepError, match=f"sweep: found 'nonesuch'; expected one of {known}"):
        sweeps.run_sweep("nonesuch", tmp_path)


@pytest.mark.parametrize("continuous", [False, True])
def test_exact_likelihood_is_measured_as_it_says(small, continuous):
    """-ELBO against the same sum over a grid, for an encoder that a grid can follow; exact is below it by the gap."""
    model = CVAE(n_hidden=8, n_x=30, seed=0)
    found = sweeps.measure_exact_likelihood(model, Recipe(continuous=continuous), small, draws=50, n=60)
    scored = read_as_bernoulli(model) if continuous else model
    x, label = small.x_test, small.label_test
    bound = -elbo(scored, x, label, *encode(model, x, label), make_grid(6, 60)).mean()
    assert found["elbo"] == pytest.approx(bound, abs=0.05)
    assert found["gap"] == pytest.approx(found["elbo"] - found["exact"], abs=1e-3) and found["gap"] > 0


def test_latent_tradeoff_is_measured_as_it_says(data):
    """The share of pictures that are read as their label is the stored one; the bound is above the ELBO."""
    (stored,) = (row for row in read_rows("latent_count") if (row["name"], row["seed"]) == ("mnist-2d", 1))
    model, digits = load_pretrained("mnist-2d"), load_digits(data)
    found = sweeps.measure_latent_tradeoff(model, RECIPES["mnist-2d"], digits, images=5, pictures=2000)
    assert found["fidelity"] == pytest.approx(stored["fidelity"], abs=0.03)
    assert found["bound"] < found["elbo_same"] and found["active"] == 2 and found["kl_loss"] > 0


@pytest.mark.parametrize("n_z", [2, 3])
def test_annealing_is_measured_as_it_says(small, n_z, eager):
    """Close to the sum over the grid, which only two latents have, and each mean in the middle of its interval."""
    model, rng = CVAE(n_z=n_z, n_hidden=8, n_x=30), np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(scale=0.2, size=variable.shape))
    found = sweeps.measure_by_annealing(model, Recipe(n_z=n_z), small, images=40, drawn=20, temperatures=3)
    names = ["annealed", "annealed_error", "exact", "short", "low", "high", "between", "low_between", "high_between"]
    intervals = [("short", "low", "high"), ("between", "low_between", "high_between")]
    if n_z == 2:
        loss = -log_likelihood(model, small.x_test, small.label_test, make_grid(6, 60))
        assert found["exact"] == pytest.approx(loss.mean(), abs=1e-3)
        assert found["short"] == pytest.approx(found["annealed"] - found["exact"], abs=1e-3)
        assert found["annealed_error"] == pytest.approx(loss.std(ddof=1) / np.sqrt(40), rel=0.3)
    else:
        del names[2:6], intervals[0]
    assert list(found) == names
    for mean, low, high in ([found[name] for name in interval] for interval in intervals):
        assert -0.25 < low < mean < high < 0.25 and mean == pytest.approx((low + high) / 2)


def read_rows(sweep):
    return json.loads((RESULTS / f"{sweep}.json").read_text(encoding="utf-8"))["rows"]


@pytest.mark.parametrize("sweep", sweeps.SWEEPS)
def test_stored_table_is_whole(sweep):
    """Every recipe with every seed, on MNIST, and no row twice. Each loss of a row bounds those after it."""
    table = json.loads((RESULTS / f"{sweep}.json").read_text(encoding="utf-8"))
    rows = sweeps.SWEEPS[sweep][1]
    wanted = [(name, seed) for name, (_, seeds) in rows.items() for seed in seeds]
    assert [(row["name"], row["seed"]) for row in table["rows"]] == wanted
    assert table["data"]["sha256"] == MNIST_DIGEST and f"sweep {sweep}" in table["command"]
    for row in table["rows"]:
        assert row["epochs"] == rows[row["name"]][0].epochs
        losses = [row[name] for name in ("elbo", "bound", "annealed", "exact") if name in row]
        assert losses and losses == sorted(losses, reverse=True)


@pytest.mark.parametrize("sweep", sweeps.MEASURE_EVERY)
def test_stored_course_is_whole(sweep):
    every = sweeps.MEASURE_EVERY[sweep]
    for row in read_rows(sweep):
        check_course(row, list(range(every, row["epochs"] + 1, every)))


def test_stored_annealing_is_tighter_than_the_bound_on_the_same_images():
    bounds = {(row["name"], row["seed"]): row["bound"] for row in read_rows("latent_count")}
    for row in read_rows("annealed"):
        assert row["annealed"] < bounds[row["name"], row["seed"]]
        assert row["low_between"] < row["between"] < row["high_between"]
        assert ("exact" in row) == row["name"].startswith("mnist-2d")


@pytest.mark.slow
@pytest.mark.weekly
def test_a_row_comes_out_again(digits):
    """A cheap row of the table of five epochs, trained again: the same figures, but for another rounding."""
    if digits.edition != "full":
        pytest.skip(f"it takes MNIST itself, and this is the {digits.edition} edition")
    (expected,) = (old for old in read_rows("five_epochs") if (old["name"], old["seed"]) == ("1 hidden layer", 1))
    measure, rows = sweeps.SWEEPS["five_epochs"]
    row = sweeps.make_row(digits, measure, 0, "1 hidden layer", 1, rows["1 hidden layer"][0])
    for name in ("elbo", "exact"):
        assert row[name] == pytest.approx(expected[name], abs=0.7)


# Where and when the rows are made


def read_table(path):
    """The rows of a table without the seconds that they took."""
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    return [{key: value for key, value in row.items() if key != "cpu_seconds"} for row in rows]


def test_rows_of_a_cluster_are_those_made_here(data, tiny_sweep, dask, tmp_path):
    """To the last digit that is stored, where both have one thread; the row made here is the second of the two."""
    there = sweeps.run_sweep("tiny", tmp_path / "there", data, cluster=dask)
    table = json.loads(there.read_text(encoding="utf-8"))
    assert table["threads"] == 1 and table["command"].endswith(f"--data {data} --cluster {dask}")
    assert [row["seed"] for row in table["rows"]] == [1, 2]
    here = tmp_path / "here" / "tiny.json"
    here.parent.mkdir()
    here.write_text(json.dumps({**table, "rows": table["rows"][:1]}), encoding="utf-8")
    sweeps.run_sweep("tiny", here.parent, data, workers=os.cpu_count())
    assert read_table(here) == read_table(there)


def test_a_worker_with_other_data_is_refused(data, tiny, dask, tmp_path, monkeypatch):
    """It reads the data that its own CVAE_DATA names."""
    monkeypatch.setitem(sweeps.SWEEPS, "tiny", (note, {"a × b": (tiny, (1,))}))
    monkeypatch.setenv("CVAE_DATA", data)
    digest = load_digits(data).digest[:12]
    refusal = f"^worker tcp://[0-9.:]+: found {{'data': '[0-9a-f]+'}}; expected {{'data': '{digest}'}}, as at the start"
    with pytest.raises(ExecutorError, match=refusal):
        sweeps.run_sweep("tiny", tmp_path, cluster=dask)
    assert not (tmp_path / "tiny.json").exists()


@pytest.mark.parametrize("other", ["cvae_lib", "keras", "data"])
def test_a_row_is_only_made_where_all_is_the_same(other, data, tiny):
    place = sweeps.describe_place(load_digits(data))
    with pytest.raises(sweeps.SweepError, match=f"found {{'{other}': '{place[other]}'}}; expected {{'{other}': 'x'}},"):
        sweeps.make_row_elsewhere(data, 1, {**place, other: "x"}, note, 0, "a × b", 1, tiny)


def test_another_version_of_a_module_is_another_place(data, tmp_path, monkeypatch):
    digits = load_digits(data)
    for name, code in [("one", "x = 1"), ("two", "x = 2"), ("three", "x = 1")]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(code, encoding="utf-8")
    places = []
    for name in ("one", "two", "three"):
        monkeypatch.setattr(sweeps.cvae_lib, "__file__", str(tmp_path / name / "__init__.py"))
        places.append(sweeps.describe_place(digits))
    assert places[0] == places[2] != places[1]


@pytest.fixture
def slow_sweep(tiny, tmp_path, monkeypatch):
    """Three rows, of which the first is there at once and the others take a minute: the folder where they are noted."""
    (tmp_path / "rows").mkdir()
    monkeypatch.setitem(sweeps.SWEEPS, "five_epochs", (tmp_path / "rows", {"a": (tiny, (1, 2, 3))}))
    monkeypatch.setattr(sweeps, "make_row_elsewhere", calls.make_row)
    return tmp_path / "rows"


def test_an_interrupted_sweep_goes_on(data, slow_sweep, tmp_path, capsys):
    """Ctrl-C ends it with a line, its finished row stays, and the same command makes the others."""
    command, path = ["sweep", "five_epochs", "--data", data, "--out", str(tmp_path)], tmp_path / "five_epochs.json"
    with at(lambda: path.exists() and len(noted(slow_sweep)) == 2, lambda: os.kill(os.getpid(), signal.SIGINT)):
        assert main(command) == 130
    assert capsys.readouterr().err == "\nInterrupted. The same command goes on from its last finished row.\n"
    assert read_table(path) == [{"name": "a", "seed": 1}]
    assert not any(map(is_running, noted(slow_sweep)))
    (slow_sweep / "go").touch()
    assert main(command) == 0
    assert read_table(path) == [{"name": "a", "seed": seed} for seed in (1, 2, 3)]
    assert len(noted(slow_sweep)) == 4 and not path.with_name("five_epochs.json.lock").exists()


def test_two_sweeps_at_once_do_not_share_a_table(data, slow_sweep, tmp_path):
    """The second is refused while the first makes its rows, and allowed once the first has been killed."""
    (slow_sweep / "go").touch()
    refusal = pytest.raises(BusyError, match="five_epochs.json: found another process that writes it; expected none")
    refused = []

    def run_another(line):
        with refusal:
            sweeps.run_sweep("five_epochs", tmp_path, data)
        refused.append(line)

    path = sweeps.run_sweep("five_epochs", tmp_path, data, report=run_another)
    assert len(refused) == len(read_table(path)) == 3

    path.unlink()
    code = "import calls, fcntl, sys; file = open(sys.argv[1], 'w'); fcntl.flock(file, fcntl.LOCK_EX); "
    first = start(sys.executable, "-c", f"{code} calls.note(sys.argv[2], 60)", f"{path}.lock", tmp_path)
    wait_until(lambda: noted(tmp_path))
    with refusal:
        sweeps.run_sweep("five_epochs", tmp_path, data)
    kill(first)
    assert len(read_table(sweeps.run_sweep("five_epochs", tmp_path, data))) == 3
