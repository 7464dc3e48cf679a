"""The command line: what it does and prints, its exit codes, and what it refuses before it loads TensorFlow."""

import errno
import json
import os
import pickle
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np
import pytest

from cvae_lib import BookError, _tensorflow
from cvae_lib.data import DataError, load_digits
from cvae_lib.pretrained import digest_file, load_history, load_manifest
from cvae_lib.tools import cli, sweeps
from cvae_lib.tools.cli import main
from cvae_lib.tools.digit_classifier import EPOCHS, load_classifier
from cvae_lib.training.checkpoints import LOSSES
from cvae_lib.training.recipes import RECIPES

pytestmark = [
    pytest.mark.usefixtures("eager"),
    pytest.mark.filterwarnings("ignore:Even though the `tf.config"),
]


@pytest.fixture(scope="module")
def data_file(make_file):
    """A path that a shell would take for two."""
    return make_file("my digits.npz")


@pytest.fixture(scope="module", autouse=True)
def tiny_recipe(tiny):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RECIPES, "tiny", tiny)
        yield


@pytest.fixture(scope="module")
def trained(data_file, tmp_path_factory):
    """The folder of a run that nothing interrupted."""
    out = tmp_path_factory.mktemp("trained")
    assert main(["train", "tiny", "--data", data_file, "--epochs", "2", "--seed", "3", "--out", str(out)]) == 0
    return out


def test_options_reach_the_run(trained, data_file):
    entry = load_manifest(trained)["tiny"]
    assert (entry["protocol"]["epochs"], entry["seed"]) == (2, 3)
    assert entry["data"] == {"edition": "custom", "sha256": load_digits(data_file).digest}


def test_shards_are_written_and_trained_on(data_file, tmp_path, capsys):
    """The command in the manifest names their folder."""
    out = tmp_path / "my shards"
    assert main(["shard", "--data", data_file, "--out", str(out), "--shards", "4"]) == 0
    shown = capsys.readouterr().out
    assert shown == f"shards: 40 training images in 4 files and 20 test images in 2; written to {out}\n"
    assert main(["train", "tiny", "--data", str(out), "--out", str(tmp_path / "trained")]) == 0
    entry = load_manifest(tmp_path / "trained")["tiny"]
    assert entry["data"]["sha256"] == digest_file(out / "manifest.json")
    *_, path = shlex.split(entry["command"])
    assert path == str(out)
    capsys.readouterr()
    assert main(["shard", "--data", data_file, "--out", str(out)]) == 1
    assert capsys.readouterr().err.startswith(f"error: {out}: found something there; expected a new or an empty folder")
    (out / "train-00002.tfrecord").unlink()
    assert main(["train", "tiny", "--data", str(out), "--out", str(tmp_path / "other")]) == 1
    assert "train-00002.tfrecord: found no such file" in capsys.readouterr().err


def test_command_in_the_manifest_makes_the_model_again(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    python, dash_m, package, *arguments = shlex.split(load_manifest(trained)["tiny"]["command"])
    assert [python, dash_m, package] == ["python", "-m", "cvae_lib"]
    assert main(arguments) == 0
    assert digest_file("trained/tiny.weights.h5") == digest_file(trained / "tiny.weights.h5")
    last_line, history = capsys.readouterr().out.splitlines()[-1], load_history("tiny", "trained")
    assert "2 epochs" in last_line and last_line.endswith("trained")
    for name in LOSSES:
        assert f"{history[f'val_{name}'][-1]:.2f}" in last_line


def test_interrupted_training_goes_on(trained, data_file, tmp_path, monkeypatch, capsys):
    """Ctrl-C when the first epoch is about to be stored, or the second."""

    def interrupt(source, target):
        if str(target).endswith("run.json") and (stored := next(moments)) != "first":
            raise KeyboardInterrupt(stored)
        rename(source, target)

    moments, rename = iter(["before", "first", "second", "first"]), os.replace
    monkeypatch.setattr(os, "replace", interrupt)
    command = ["train", "tiny", "--data", data_file, "--epochs", "2", "--seed", "3", "--out", str(tmp_path)]
    for _ in range(2):
        assert main(command) == 130
        assert capsys.readouterr().err == "\nInterrupted. The same command goes on from its last finished epoch.\n"
        assert not (tmp_path / "manifest.json").exists()
    assert main(command) == 0
    assert digest_file(tmp_path / "tiny.weights.h5") == digest_file(trained / "tiny.weights.h5")


def test_classifier_comes_out_again(data_file, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for out in ("one", "other"):
        command = ["classifier", "--data", data_file, "--epochs", "1", "--seed", "2"]
        if out == "other":
            command = shlex.split(load_manifest("one")["digit_classifier"]["command"])[3:]
        assert main([*command, "--out", out]) == 0
        assert capsys.readouterr().out.splitlines()[-1].endswith(f"of the test digits; written to {out}")
    entry = load_manifest("other")["digit_classifier"]
    assert entry["seed"] == 2 and entry["protocol"]["epochs"] == 1
    for one, other in zip(*(load_classifier(out).get_weights() for out in ("one", "other")), strict=True):
        np.testing.assert_array_equal(one, other)


def test_whole_table_is_reported(data_file, tmp_path, capsys):
    digits, (_, rows) = load_digits(data_file), sweeps.SWEEPS["thirty_epochs"]
    table = {
        "data": {"edition": "custom", "sha256": digits.digest},
        "rows": [{"name": name, "seed": seed} for name, (_, seeds) in rows.items() for seed in seeds],
    }
    (tmp_path / "thirty_epochs.json").write_text(json.dumps(table), encoding="utf-8")
    assert main(["sweep", "thirty_epochs", "--data", data_file, "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"written to {tmp_path / 'thirty_epochs.json'}\n"


def test_tables_of_the_command_line_are_those_there_are():
    """They stand in both places, because the module of the tables loads TensorFlow."""
    assert set(cli.SWEEPS) == set(sweeps.SWEEPS)


@pytest.mark.parametrize(
    "command, expected",
    [
        ("train mnist-2d", {"epochs": None, "seed": 1, "data": None}),
        ("train mnist-2d --epochs 4000 --seed 4294967295", {"epochs": 4000, "seed": 2**32 - 1}),
        ("train mnist-2d --epochs 1 --seed 0", {"epochs": 1, "seed": 0}),
        ("launch -- train mnist-2d", {"workers": 2}),
        ("launch --workers 64 -- train mnist-2d", {"workers": 64}),
        ("shard", {"shards": 16, "data": None}),
        ("shard --shards 100000", {"shards": 100_000}),
        ("classifier", {"epochs": EPOCHS, "seed": 1}),
        ("sweep one_run", {"workers": 1, "cluster": None}),
        ("sweep one_run --cluster tcp://host:65535", {"cluster": "tcp://host:65535"}),
        ("sweep one_run --cluster [::1]:1", {"cluster": "[::1]:1"}),
        ("scaling", {"rounds": 6}),
    ],
)
def test_options_that_are_left_out_and_the_ends_of_their_ranges(command, expected):
    found = vars(cli.make_parser().parse_args(command.split()))
    assert expected.items() <= found.items()


# Each with words of its message, the last line on standard error.
IMPOSSIBLE = [
    ([], ["required: command"]),
    (["test"], ["command", "'test'", "train", "classifier", "sweep", "snapshots", "export"]),
    (["train"], ["required: name"]),
    (["train", "nonesuch"], ["name", "'nonesuch'", *RECIPES]),
    (["train", "mnist-2d", "--epochs", "0"], ["--epochs", "found '0'", "at least 1"]),
    (["launch"], ["required: command"]),
    (["launch", "--workers", "0", "--", "train", "mnist-2d"], ["--workers", "found '0'", "at least 1"]),
    (["launch", "--", "sweep", "one_run"], ["launch", "'sweep'", "expected train"]),
    (["launch", "--", "train", "mnist-2d", "--epochs", "0"], ["--epochs", "found '0'", "at least 1"]),
    (["train", "mnist-2d", "--epochs", "-3"], ["--epochs", "found '-3'", "at least 1"]),
    (["train", "mnist-2d", "--epochs", "2.5"], ["--epochs", "found '2.5'", "at least 1"]),
    (["train", "mnist-2d", "--epochs=few"], ["--epochs", "found 'few'", "at least 1"]),
    (["train", "mnist-2d", "--seed", "-1"], ["--seed", "found '-1'", "at least 0"]),
    (["train", "mnist-2d", "--seed", str(2**32)], ["--seed", f"found '{2**32}'", f"at most {2**32 - 1}"]),
    (["train", "mnist-2d", "--beta", "4"], ["unrecognized", "--beta"]),
    (["shard", "--shards", "0"], ["--shards", "found '0'", "at least 1"]),
    (["classifier", "--epochs", "0"], ["--epochs", "found '0'", "at least 1"]),
    (["classifier", "--seed", "x"], ["--seed", "found 'x'", "at least 0"]),
    (["train", "mnist-2d", "--epochs", "4001"], ["--epochs", "found '4001'", "at most 4000"]),
    (["train", "mnist-2d", "--epochs", "9" * 5000], ["--epochs", f"found '{'9' * 50}…'", "at most 4000"]),
    (["train", "mnist-2d", "--epochs", "nan"], ["--epochs", "found 'nan'", "at most 4000"]),
    (["train", "mnist-2d", "--epochs", "1e3"], ["--epochs", "found '1e3'", "at most 4000"]),
    (["train", "mnist-2d", "--epochs", "٣"], ["--epochs", "found '٣'", "at most 4000"]),
    (["train", "mnist-2d", "--epochs="], ["--epochs", "found ''", "at least 1"]),
    (["train", "mnist-2d", "--out="], ["--out", "found ''", "expected a path"]),
    (["train", "mnist-2d", "--data="], ["--data", "found ''", "expected a path"]),
    (["train", "mnist-2d", "--seed"], ["--seed", "expected one argument"]),
    (["train", "mnist-2d", "mnist-20d"], ["unrecognized", "mnist-20d"]),
    (["train", "mnist-2d", "--out=\n"], ["--out", r"found '\n'", "expected a path"]),
    (["export", "mnist-2d", "--data="], ["--data", "found ''", "expected a path"]),
    (["launch", "--workers", "100000", "--", "train", "mnist-2d"], ["--workers", "found '100000'", "at most"]),
    (["launch", "--", "train", "mnist-2d", "--out="], ["--out", "found ''", "expected a path"]),
    (["sweep", "one_run", "--workers", "100000"], ["--workers", "found '100000'", "at most"]),
    (["shard", "--shards", "-2"], ["--shards", "found '-2'", "at least 1"]),
    (["shard", "--shards", str(10**9)], ["--shards", f"found '{10**9}'", "at most 100000"]),
    (["scaling", "--rounds", "0"], ["--rounds", "found '0'", "at least 1"]),
    (["sweep", "one_run", "--cluster", "host"], ["--cluster", "found 'host'", "tcp://host:8786"]),
    (["sweep", "one_run", "--cluster", "tcp://host:0"], ["--cluster", "found 'tcp://host:0'", "tcp://host:8786"]),
    (["sweep", "one_run", "--cluster", "tcp://host:99999"], ["--cluster", "found", "tcp://host:8786"]),
    (["sweep", "one_run", "--cluster="], ["--cluster", "found ''", "tcp://host:8786"]),
    (["sweep", "nonesuch"], ["name", "'nonesuch'", *cli.SWEEPS]),
    (["sweep", "five_epochs", "--workers", "2", "--cluster", "tcp://host:8786"], ["--cluster", "not allowed with"]),
    (["sweep", "five_epochs", "--workers", "0"], ["--workers", "found '0'", "at least 1"]),
    (["export", "nonesuch"], ["name", "'nonesuch'", "mnist-2d"]),
]


@pytest.mark.parametrize("arguments, words", IMPOSSIBLE)
def test_impossible_options_are_refused_by_name(arguments, words, capsys, monkeypatch):
    """Before the data are read, which may have to be downloaded first."""
    for name in ("load_mnist", "load_data"):
        monkeypatch.setattr(cli, name, lambda choice: pytest.fail("it reads the data"))
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    printed, error = capsys.readouterr()
    assert caught.value.code == 2 and printed == "" and error.startswith("usage: python -m cvae_lib")
    for word in words:
        assert word in error.splitlines()[-1]


def test_errors_come_before_tensorflow_is_loaded(tmp_path):
    """In a process of its own, as the command runs."""
    (tmp_path / "file").touch()
    names = ["classifier", "train mnist-2d", "snapshots", "export mnist-2d", "shard", "sweep one_run"]
    named = [name.split() for name in [*names, "launch -- train mnist-2d"]]
    commands = [arguments for arguments, _ in IMPOSSIBLE]
    commands += [[*name, "--data", "none.npz"] for name in named]
    commands += [[*name, "--out", out] for name in named for out in ("file", "file/below")]
    commands += [["scaling", "--out", "file"], ["shard", "--data", "sample", "--shards", "4001"]]
    code = (
        "import json, sys; from cvae_lib.tools.cli import main\n"
        "for command in json.loads(sys.argv[1]):\n"
        "    try:\n"
        "        assert main(command) == 1\n"
        "    except SystemExit as error:\n"
        "        assert error.code == 2\n"
        "print([name for name in ('tensorflow', 'keras') if name in sys.modules])"
    )
    started = sum(os.times()[2:4])
    command = [sys.executable, "-c", code, json.dumps(commands)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", cwd=tmp_path)
    assert done.stdout == "[]\n", done.stderr
    assert done.stderr.count("none.npz: found no such file") == 7
    assert done.stderr.count("error: --out file") == 15
    assert "error: shards: found 4001; expected 1 to 4000, one training image each" in done.stderr
    assert sum(os.times()[2:4]) - started < 8  # seconds of the processor for all of them
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such folders on Windows")
def test_a_place_that_takes_no_file_is_refused_before_anything_is_computed(tmp_path, monkeypatch, capsys):
    """A folder of the system, a link to nothing, a folder inside a file, a full disk. Nothing is left behind."""
    (tmp_path / "link").symlink_to("nowhere")
    monkeypatch.setattr(cli, "load_data", lambda choice: pytest.fail("it reads the data"))
    outs = ["/proc", "/proc/nothing", "/dev/null", "/dev/full/below", str(tmp_path / "link"), str(tmp_path / "full")]
    (tmp_path / "full").mkdir()
    real = tempfile.TemporaryFile

    def fill(dir):
        if dir == str(tmp_path / "full"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(dir=dir)

    monkeypatch.setattr(tempfile, "TemporaryFile", fill)
    for out in outs:
        assert main(["train", "mnist-2d", "--out", out]) == 1
        printed, error = capsys.readouterr()
        assert printed == "" and error.count("\n") == 1
        assert error.startswith(f"error: --out {out}: found no way to write there (")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["full", "link"]


def run_bare(arguments, folder, **variables):
    """Run the command as a user does, with other variables; return its exit code and its lines on standard error."""
    settings = {name: value for name, value in os.environ.items() if name != "CVAE_DATA"} | variables
    command = [sys.executable, "-m", "cvae_lib", *arguments]
    done = subprocess.run(command, cwd=folder, env=settings, capture_output=True)
    return done.returncode, done.stderr.decode().splitlines()


@pytest.mark.parametrize(
    "data, found", [(" none.npz ", "none.npz: found no such file"), ("\udcff", r"\udcff: found no")]
)
def test_the_environment_changes_no_message(tmp_path, data, found):
    """A locale in which Python cannot print all letters, no home, and settings that matplotlib would refuse."""
    (tmp_path / "matplotlibrc").write_bytes(b"backend: none\n\xff")
    hostile = dict.fromkeys(("HOME", "KERAS_HOME"), "/dev/null") | {"MATPLOTLIBRC": str(tmp_path), "MPLBACKEND": "none"}
    hostile |= {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    code, (line,) = run_bare(["train", "mnist-2d"], tmp_path, **hostile, CVAE_DATA=data)
    assert code == 1 and line.startswith(f"error: {found}")


KERAS = {
    "raise ValueError('Invalid `floatx`')": "Invalid `floatx`",
    "raise AssertionError": "AssertionError()",
    "class config:\n    floatx = staticmethod(lambda: 'float64')": "found 'float64'; expected float32",
}


@pytest.mark.parametrize("code", KERAS)
def test_settings_of_keras_that_are_wrong_are_one_line(data_file, tmp_path, code):
    """Keras and TensorFlow are as short as they can be: loading the real ones would take seconds."""
    for name, content in {"tensorflow": "", "keras": code}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(content, encoding="utf-8")
    path = os.pathsep.join([str(tmp_path), *sys.path])
    found, (line,) = run_bare(["train", "mnist-2d", "--data", data_file], tmp_path, PYTHONPATH=path)
    assert found == 1 and line.startswith("error: ") and KERAS[code] in line and "keras.json" in line


def test_training_is_not_cut_short_by_a_variable(monkeypatch):
    _tensorflow._check_settings()
    monkeypatch.setenv("KERAS_MAX_EPOCHS", "1")
    with pytest.raises(BookError, match="KERAS_MAX_EPOCHS: found '1'; expected none"):
        _tensorflow._check_settings()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_last_line_that_cannot_be_printed_is_an_error(tmp_path):
    code = (
        "import runpy, sys; from cvae_lib.tools import cli\n"
        "cli.run_shard = lambda options: 'done'\n"
        "sys.argv = ['cvae_lib', 'shard', '--out', sys.argv[1]]\n"
        "runpy.run_module('cvae_lib', run_name='__main__')"
    )
    with open("/dev/full", "wb") as full:
        done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1 and done.stderr == b"error: [Errno 28] No space left on device\n"


def test_ctrl_c_while_the_commands_are_imported_is_one_line():
    code = (
        "import os, runpy, signal, sys\n"
        "class Press:\n"
        "    def find_spec(name, path, target=None):\n"
        "        if name == 'cvae_lib.tools.cli': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Press)\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # pytest in the background passes on to ignore it
        "runpy.run_module('cvae_lib', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", env=os.environ)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "\nInterrupted. Nothing was begun.\n")


def test_ctrl_c_ends_a_run_that_would_lose_it(tmp_path):
    """As one does that is inside TensorFlow or HDF5. Nothing half written is left."""
    code = (
        "import os, signal, time; from cvae_lib.tools import cli\n"
        "from pathlib import Path; from cvae_lib.files import hold, write_beside\n"
        "def run(options):\n"
        "    with hold(Path('model')), write_beside(Path('model')) as (new,):\n"
        "        new.touch(); print('a line'); os.write(1, b'begun\\n')\n"
        "        while True:\n"
        "            try: time.sleep(60)\n"
        "            except BaseException: pass\n"
        "cli.run_shard = run\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "cli.main(['shard'], ends_at_once=True)"
    )
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "encoding": "utf-8"}
    with subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, **pipes) as process:
        assert process.stdout.readline() == "begun\n"
        assert sorted(path.name for path in tmp_path.iterdir()) == ["model.lock", "new.model"]
        kill = threading.Timer(5, process.kill)  # it would never end otherwise
        kill.start()
        process.send_signal(signal.SIGINT)
        printed, error = process.communicate()
        kill.cancel()
    assert (process.returncode, printed) == (130, "a line\n")
    assert error == "\nInterrupted. Nothing was written; the same command begins again.\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there are no groups of processes on Windows")
@pytest.mark.parametrize("seconds", [2, 7])  # while TensorFlow is imported, and later
@pytest.mark.parametrize("command", ["train mnist-2d", "classifier", "scaling", "launch -- train mnist-2d"])
def test_ctrl_c_in_a_terminal_ends_all_processes_with_one_line(tmp_path, ctrl_c, command, seconds):
    """A terminal sends it to all processes of its command, and each could say so, or end in an error."""
    line = [sys.executable, "-m", "cvae_lib", *command.split(), "--out", "out"]
    line += [] if command == "scaling" else ["--data", "sample", "--epochs", "4000"]
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "encoding": "utf-8"}
    with subprocess.Popen(line, cwd=tmp_path, start_new_session=True, **pipes) as process:
        time.sleep(seconds)
        started = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        _, error = process.communicate()
    assert process.returncode == 130 and time.monotonic() - started < 5
    assert error.startswith("\nInterrupted. ") and error.count("\n") == 2
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def test_errors_can_be_pickled():
    """They come from other processes."""
    kinds = [BookError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    assert {cli.OutError, DataError, sweeps.SweepError} < set(kinds)
    for kind in kinds:
        error = kind(*("where", "found", "expected", "remedy")[: 4 if kind is DataError else 1])
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is kind and str(again) == str(error) and again.args == error.args


def test_package_is_the_command():
    command = [sys.executable, "-m", "cvae_lib", "sweep", "nonesuch"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8")
    assert done.returncode == 2 and "python -m cvae_lib sweep: error: argument name" in done.stderr


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["train", "tiny", "--data", "none.npz"], ["none.npz", "no such file"]),
        (["sweep", "five_epochs", "--data", "none.npz"], ["none.npz", "no such file"]),
        (["export", "mnist-2d"], ["custom", "trained on"]),
        (["export", "mnist-20d"], ["mnist-20d", "20 latents", "mnist-2d"]),
        (["export", "mnist-2d-deep"], ["mnist-2d-deep", "3 hidden layers", "mnist-2d"]),
    ],
)
def test_errors_are_explained_in_one_line(data_file, tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CVAE_DATA", data_file)
    assert main([*arguments, "--out", "out"]) == 1
    printed, error = capsys.readouterr()
    assert printed == "" and error.startswith("error: ") and len(error.splitlines()) == 1
    for word in words:
        assert word in error
    assert not list(tmp_path.rglob("*.*"))


@pytest.mark.parametrize("command", ["train tiny", "classifier", "sweep five_epochs", "snapshots"])
def test_a_folder_that_cannot_be_made_is_named(data_file, tmp_path, capsys, command):
    """Before anything is trained."""
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    assert main([*command.split(), "--data", data_file, "--out", str(tmp_path / "file")]) == 1
    printed, error = capsys.readouterr()
    assert printed == "" and error.startswith("error: ") and str(tmp_path / "file") in error
