"""What no reader was made for: bombs, lying headers, other formats, and random edits of good files.

Each input is refused in one line with four parts, within bounds of memory and time, and no file is changed.
"""

import gzip
import io
import json
import os
import struct
import tarfile
import time
import tracemalloc
import zipfile

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.extra import numpy as arrays

from cvae_lib import BookError
from cvae_lib.data import Classes, DataError, check_dataset, load_digits, load_images, readers
from cvae_lib.data.readers import IDX_NAMES, KEYS
from cvae_lib.data.shards import load_data
from cvae_lib.training.recipes import Recipe

ZEROS = bytes(3 * 10**7)
MOST_BYTES, MOST_SECONDS = 2e7, 10  # of memory, and of the processor

sometimes = settings(
    max_examples=50,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def idx(shape, content=b"", start=b"\x00\x00\x08"):
    return start + bytes([len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + content


def npy(header, content=b"", version=1):
    text = header.encode() if isinstance(header, str) else header
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(text)) + text + content


def describe(shape, dtype="|u1"):
    return f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}, }}\n"


def zip_of(member, compression=zipfile.ZIP_DEFLATED, name="x_train.npy"):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr(name, member)
    return file.getvalue()


def tar_of(content):
    file = io.BytesIO()
    with tarfile.TarFile(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("x"), io.BytesIO(content))
    return gzip.compress(file.getvalue())


def save(array, saver=np.save):
    file = io.BytesIO()
    saver(file, array)
    return file.getvalue()


# The content of the file, and what the message says of it.
NPZ = {
    "a bomb behind a small array": (lambda: zip_of(npy(describe((5, 28, 28)), ZEROS)), "more than 3920 bytes"),
    "a bomb that its header announces": (
        lambda: zip_of(npy(describe((3 * 10**7,)), ZEROS)),
        "30,000,000 bytes, promised by a file of",
    ),
    "a header that lies": (lambda: zip_of(npy(describe((10**12, 28, 28)), b"")), "promised by a file of"),
    "a header that lies a little": (lambda: zip_of(npy(describe((20, 28, 28)), bytes(700))), "700 bytes after"),
    "a negative size": (lambda: zip_of(npy(describe((-1, 28, 28)), bytes(784))), "shape (-1, 28, 28)"),
    "two negative sizes": (lambda: zip_of(npy(describe((-1, -784)), bytes(784))), "shape (-1, -784)"),
    "a hundred axes": (lambda: zip_of(npy(describe((1,) * 100), bytes(1))), "cannot be read"),
    "sizes that are no integers": (lambda: zip_of(npy(describe((1.5, 2)), bytes(3))), "cannot be read"),
    "elements of no bytes": (lambda: zip_of(npy(describe((10**9,), "|V0"))), "cannot be read"),
    "a type that is none": (lambda: zip_of(npy(describe((3,), "|x9"), bytes(3))), "cannot be read"),
    "objects": (lambda: zip_of(save(np.array([{}], object))), "pickle"),
    "a header of another kind": (lambda: zip_of(npy("[1, 2, 3]\n")), "cannot be read"),
    "a header that calls a function": (lambda: zip_of(npy("__import__('os').abort()\n")), "cannot be read"),
    "a header of many brackets": (lambda: zip_of(npy("(" * 5000 + "\n")), "cannot be read"),
    "a header without an end": (lambda: zip_of(npy(" " * 60_000)), "cannot be read"),
    "a header longer than the file": (lambda: zip_of(npy(b"", version=2)[:-4] + b"\xff" * 4), "cannot be read"),
    "a header of bytes": (lambda: zip_of(npy(b"\xff" * 60, version=2)), "cannot be read"),
    "a version of the future": (lambda: zip_of(b"\x93NUMPY\x09\x00" + bytes(90)), "cannot be read"),
    "an empty member": (lambda: zip_of(b""), "cannot be read"),
    "bzip2": (lambda: zip_of(npy(describe((9,)), bytes(9)), zipfile.ZIP_BZIP2), "compressed by method 12"),
    "LZMA": (lambda: zip_of(npy(describe((9,)), bytes(9)), zipfile.ZIP_LZMA), "compressed by method 14"),
    "no member": (lambda: zip_of(b"", name="../x_train.npy"), "no array x_train"),
    "members of other names": (lambda: zip_of(save(np.zeros(3)), name="images.npy"), "no array x_train"),
    "IDX files": (lambda: zip_of(idx((1, 28, 28), bytes(784)), name=IDX_NAMES["x_train"]), "no array x_train"),
    "one array": (lambda: save(np.zeros(3)), "one array, the first bytes 93 4e 55 4d"),
    "one IDX file": (lambda: idx((1, 28, 28), bytes(784)), "an IDX file, the first bytes 00 00 08 03"),
    "one compressed IDX file": (lambda: gzip.compress(idx((1, 28, 28), bytes(784))), "a gzip file"),
    "a tar archive": (lambda: tar_of(b"x"), "a gzip file"),
    "the first half": (lambda: zip_of(save(np.arange(999)), 0)[:4000], "a zip archive"),
    "nothing": (lambda: b"", "the first bytes (none)"),
    "a page": (lambda: b"<!doctype html>Log in", "no whole zip archive"),
    "a table": (lambda: b"label,pixel1,pixel2\n5,0,0\n", "no whole zip archive"),
    "random bytes": (lambda: bytes(np.random.default_rng(0).integers(0, 256, 9999, "uint8")), "no whole zip archive"),
    "zeros": (lambda: ZEROS[:9999], "the first bytes 00 00 00 00"),
}
IDX = {
    "a bomb behind five images": (lambda: gzip.compress(idx((5, 28, 28), ZEROS)), "more than 3920 bytes"),
    "a bomb that its header announces": (
        lambda: gzip.compress(idx((3 * 10**7 // 784, 28, 28), ZEROS[: 3 * 10**7 // 784 * 784])),
        "bytes, promised by a file of",
    ),
    "a header that lies": (lambda: idx((2**32 - 1,) * 3, bytes(784)), "promised by a file of"),
    "a compressed header that lies": (lambda: gzip.compress(idx((2**32 - 1,) * 3, bytes(784))), "promised by a file"),
    "a header that lies a little": (lambda: gzip.compress(idx((6, 28, 28), bytes(784))), "784 bytes after the header"),
    "two axes": (lambda: idx((4, 784), bytes(4 * 784)), "00 00 08 02"),
    "no axis": (lambda: idx((), b"\x05"), "00 00 08 00"),
    "integers of 32 bits": (lambda: idx((4, 28, 28), bytes(16 * 784), b"\x00\x00\x0c"), "00 00 0c 03"),
    "sizes from the other end": (lambda: idx((5 << 24, 28 << 24, 28 << 24), bytes(3920)), "promised by a file of"),
    "compressed twice": (lambda: gzip.compress(gzip.compress(idx((5, 28, 28), bytes(3920)))), "a gzip file"),
    "the first half": (lambda: gzip.compress(idx((5, 28, 28), bytes(3920)))[:20], "cannot be read"),
    "more behind the end": (lambda: gzip.compress(idx((5, 28, 28), bytes(3920))) + b"PK", "cannot be read"),
    "a zip archive": (lambda: zip_of(idx((5, 28, 28), bytes(3920))), "a zip archive"),
    "one array": (lambda: save(np.zeros((5, 28, 28), "uint8")), "one array"),
    "nothing": (lambda: b"", "the first bytes (none)"),
    "a page": (lambda: b"<!doctype html>Log in", "the first bytes 3c 21 64 6f"),
    "labels": (lambda: idx((5,), bytes(5)), "shape (5,)"),
    "no images": (lambda: idx((0, 28, 28)), "no images"),
    "images of another size": (lambda: idx((5, 27, 28), bytes(5 * 756)), "shape (5, 27, 28)"),
    "more images than labels": (lambda: idx((24, 28, 28), b"\x07" * 24 * 784), "23 labels for 24 images"),
    "black images": (lambda: idx((23, 28, 28), bytes(23 * 784)), "all black"),
}


@pytest.fixture
def refused(refuse):
    """Check that data are refused in one line, that files stay as they are, and the bounds; return the error."""

    def check(call, folder):
        caught, started = [], time.process_time()

        def keep():
            try:
                call()
            except DataError as error:
                caught.append(error)
                raise

        tracemalloc.start()
        with pytest.raises(DataError):
            keep()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < MOST_BYTES and time.process_time() - started < MOST_SECONDS
        error = caught[0]
        refuse(call, error.where, "", error.expected, folder)
        assert "\n" not in str(error) and len(str(error)) < 2000
        return error

    return check


@pytest.mark.parametrize("name", NPZ)
def test_files_that_are_no_npz_are_refused(tmp_path, refused, name):
    make, found = NPZ[name]
    path = tmp_path / "mine.npz"
    path.write_bytes(make())
    error = refused(lambda: load_digits(path), tmp_path)
    assert found in error.found and str(path) in str(error.where)


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("name", IDX)
def test_files_that_are_no_idx_are_refused(tmp_path, raw, write_idx, refused, name, ending):
    """Whatever they are called."""
    make, found = IDX[name]
    write_idx(tmp_path, raw)
    (tmp_path / IDX_NAMES["x_train"]).unlink()
    (tmp_path / f"{IDX_NAMES['x_train']}{ending}").write_bytes(make())
    error = refused(lambda: load_digits(tmp_path), tmp_path)
    assert found in error.found and str(tmp_path) in str(error.where)


def test_a_file_is_told_by_its_bytes(tmp_path, raw, write_idx, write_npz, check_holds):
    """Compressed IDX files without the ending, plain ones with it, and an .npz file of another name."""
    write_idx(tmp_path, raw)
    for key in ("x_train", "y_test"):
        path = tmp_path / IDX_NAMES[key]
        path.write_bytes(gzip.compress(path.read_bytes()))
    (tmp_path / IDX_NAMES["x_test"]).rename(tmp_path / f"{IDX_NAMES['x_test']}.gz")
    (tmp_path / IDX_NAMES["y_train"]).rename(tmp_path / "train-labels.idx1-ubyte")
    (tmp_path / IDX_NAMES["y_train"]).mkdir()  # as an archive for Windows leaves it
    check_holds(load_digits(tmp_path), raw)
    write_npz(tmp_path / "digits.npz", raw).rename(tmp_path / "digits.gz")
    check_holds(load_digits(tmp_path / "digits.gz"), raw)


@pytest.mark.parametrize(
    "there, found",
    [
        ((), "among nothing"),
        (("mnist.npz", "notes.txt"), "among mnist.npz, notes.txt"),
        (("raw/train-images-idx3-ubyte",), "among raw"),
        (("t10k-images-idx3-ubyte",), "among t10k-images-idx3-ubyte"),
        (tuple(f"{i:02}.png" for i in range(12)), "09.png and 2 more"),
        (("train-images-idx3-ubyte/train-images.idx3-ubyte",), "among train-images-idx3-ubyte"),
    ],
)
def test_a_folder_without_the_files_is_said_to_hold_others(tmp_path, refused, there, found):
    for name in there:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert found in refused(lambda: load_digits(tmp_path), tmp_path).found


def make_pipe(path):
    os.mkfifo(path)


@pytest.mark.skipif(os.name == "nt", reason="there are no such files on Windows")
@pytest.mark.parametrize(
    "make, name, found",
    [
        (make_pipe, "mine.npz", "a pipe or a device"),
        (lambda path: path.symlink_to("/dev/zero"), "mine.npz", "a pipe or a device"),
        (lambda path: path.symlink_to(path.name), "mine.npz", "Too many levels of symbolic links"),
        (lambda path: path.symlink_to("none.npz"), "mine.npz", "no such file"),
        (lambda path: path.touch(), "mine.npz/more.npz", "Not a directory"),
        (lambda path: None, "a" * 300, "File name too long"),
        (lambda path: None, "a\0b", "null"),
        (lambda path: None, "\udcff", "no such file"),
        (lambda path: None, "two\nlines", "no such file"),
    ],
    ids="pipe,device,circle,dangling,below a file,long,null,no text,two lines".split(","),
)
def test_paths_that_lead_to_no_file_are_refused(tmp_path, make, name, found):
    make(tmp_path / "mine.npz")
    for load in (load_digits, load_data):
        with pytest.raises(DataError) as caught:
            load(tmp_path / name)
        assert found in caught.value.found


@pytest.mark.skipif(os.name == "nt", reason="there are no pipes on Windows")
def test_pipes_inside_a_folder_are_not_waited_for(tmp_path, refused):
    make_pipe(tmp_path / "manifest.json")
    assert "a pipe" in refused(lambda: load_data(tmp_path), tmp_path).found
    make_pipe(tmp_path / "table.csv")
    assert "a pipe" in refused(lambda: load_images(tmp_path, tmp_path / "table.csv"), tmp_path).found
    make_pipe(tmp_path / IDX_NAMES["x_train"])
    assert f"no {IDX_NAMES['x_train']}" in refused(lambda: load_digits(tmp_path), tmp_path).found


@pytest.mark.parametrize(
    "options, where",
    [
        ({"size": 5}, "size"),
        ({"size": (8.0, 8)}, "size"),
        ({"size": ("8", "8")}, "size"),
        ({"size": (10**6, 10**6)}, "size"),
        ({"size": (-1, 3)}, "size"),
        ({"mode": None}, "mode"),
        ({"mode": ["L"]}, "mode"),
        ({"ground": 5}, "ground"),
        ({"ground": "#12"}, "ground"),
        ({"ground": None}, "ground"),
        ({"condition": ["label"]}, "condition"),
        ({"condition": {5: "class"}}, "condition"),
        ({"condition": {"label": ["class"]}}, "condition"),
        ({"test": None}, "test"),
        ({"test": True}, "test"),
        ({"test": 3}, "test"),
        ({"test": -0.5}, "test"),
    ],
)
def test_options_of_ones_own_images_are_refused_by_name(tmp_path, refused, options, where):
    assert refused(lambda: load_images(tmp_path, **options), tmp_path).where == where


MANIFESTS = [b"[" * 10**5, b'{"a":' * 10**5, b"9" * 10**4, b"NaN", b'"\\ud800"', b"\x00" * 99, b"{} {}", b"\xfe\xff"]
MANIFESTS += [json.dumps({"format": 1, "image_shape": [5, 4], "condition": one}).encode() for one in ([], 7, "a", None)]
NESTED = '{"parts": [' * 300 + "]}" * 300
MANIFESTS += [b'{"format": 1, "image_shape": [5, 4], "condition": ' + NESTED.encode() + b"}"]


@pytest.mark.parametrize("place", range(len(MANIFESTS)))
def test_manifests_that_are_none_are_refused(tmp_path, refused, place):
    (tmp_path / "manifest.json").write_bytes(MANIFESTS[place])
    assert "manifest.json" in str(refused(lambda: load_data(tmp_path), tmp_path).where)


# Data that load and should say so.


@pytest.mark.parametrize("split", ["train", "test"])
def test_strange_digits_are_said_to_be_strange(tmp_path, raw, write_npz, capsys, split):
    digits = {key: x // 4 if key[0] == "x" else x for key, x in raw.items()}
    changes = {
        "black on white": (lambda x: 255 - x, f"x_{split}: found pixels with a mean of 88% of white. MNIST's digits"),
        "0 and 1": (lambda x: x > 32, f"x_{split}: found no pixel above 1 of 255, which is all but black. If 1 is"),
    }
    for change, told in changes.values():
        key = f"x_{split}"
        path = write_npz(tmp_path / "mine.npz", digits | {key: change(digits[key]).astype("uint8")})
        load_digits(path)
        out, err = capsys.readouterr()
        assert out == "" and err.startswith(f"{path}, {told}") and err.count("\n") == 1
    load_digits(write_npz(tmp_path / "mine.npz", digits))
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("key", ["x_train", "x_test"])
def test_black_images_are_refused(raw, refuse, key):
    raw[key] *= 0
    refuse(lambda: check_dataset(raw, "mine"), f"mine, {key}", "all black", "a pixel above 0")


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("key", KEYS)
def test_the_checksum_of_each_array_is_compared(tmp_path, raw, refused, key, compression):
    """Also where the bytes are whole and only the checksum is another."""
    path = tmp_path / "mine.npz"
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, array in raw.items():
            archive.writestr(f"{name}.npy", save(array))
        entry = archive.getinfo(f"{key}.npy")
    content = path.read_bytes()
    path.write_bytes(content.replace(struct.pack("<I", entry.CRC), struct.pack("<I", entry.CRC ^ 1)))
    assert f"Bad CRC-32 for file '{key}.npy'" in refused(lambda: load_digits(path), tmp_path).found


# Random edits.


def edit(content, rng):
    """Set, insert, remove or repeat some bytes, or cut the end off."""
    place, value = int(rng.integers(len(content))), bytes([rng.integers(256)])
    far = min(len(content), place + int(rng.integers(1, 9)))
    return (
        content[:place]
        + {
            0: value + content[place + 1 :],
            1: value + content[place:],
            2: content[far:],
            3: content[place:far] + content[place:],
            4: b"",
        }[min(4, int(rng.integers(20)) // 4 if rng.random() < 0.3 else 0)]
    )


def write_npz_stored(folder, raw):
    np.savez(folder / "mine.npz", **raw)
    return [folder / "mine.npz"], folder / "mine.npz"


def write_npz_compressed(folder, raw):
    np.savez_compressed(folder / "mine.npz", **raw)
    return [folder / "mine.npz"], folder / "mine.npz"


@pytest.fixture
def formats(make_raw, write_idx):
    """By name: how to write some digits, and whether a checksum protects them."""

    def write_plain(folder, raw):
        return [write_idx(folder, raw) / name for name in IDX_NAMES.values()], folder

    def write_gzip(folder, raw):
        return [write_idx(folder, raw, zipped=True) / f"{name}.gz" for name in IDX_NAMES.values()], folder

    return {
        "npz": (write_npz_stored, True),
        "compressed npz": (write_npz_compressed, True),
        "IDX": (write_plain, False),
        "gzipped IDX": (write_gzip, True),
    }


def edit_at_random(folder, make_raw, formats, name, times):
    """Edit a data set so many times. Count what was refused; what is loaded is right, or has no checksum."""
    write, has_checksum = formats[name]
    raw = make_raw(3, 2)
    paths, source = write(folder, raw)
    contents, rng, outcomes = [path.read_bytes() for path in paths], np.random.default_rng(0), {}
    for _ in range(times):
        which = int(rng.integers(len(paths)))
        new = edit(contents[which], rng)
        paths[which].write_bytes(new)
        try:
            digits = load_digits(source)
        except DataError as error:
            outcome = "refused"
            assert "\n" not in str(error) and str(folder) in str(error.where)
        else:
            same = all(
                np.array_equal(found.reshape(raw[key].shape), raw[key]) if found.size == raw[key].size else False
                for key, found in zip(
                    KEYS, (digits.pixels_train, digits.y_train, digits.pixels_test, digits.y_test), strict=True
                )
            )
            outcome = "as it was" if same else "other images"
            assert same or not has_checksum and len(new) == len(contents[which])
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
        paths[which].write_bytes(contents[which])
    return outcomes


@pytest.mark.parametrize("name", ["npz", "compressed npz", "IDX", "gzipped IDX"])
def test_edited_files_are_refused_or_right(tmp_path, make_raw, formats, name):
    outcomes = edit_at_random(tmp_path, make_raw, formats, name, 150)
    assert outcomes["refused"] > 10


@pytest.mark.slow
@pytest.mark.weekly
@pytest.mark.parametrize("name", ["npz", "compressed npz", "IDX", "gzipped IDX"])
def test_files_edited_ten_thousand_times_are_refused_or_right(tmp_path, make_raw, formats, name):
    print(name, edit_at_random(tmp_path, make_raw, formats, name, 10_000))


# Whatever hypothesis finds.


def check_line(call):
    """Call; an error is one of ours, in one line."""
    try:
        return call()
    except BookError as error:
        assert len(str(error).splitlines()) == 1 and "expected" in str(error)


@sometimes
@given(
    st.sampled_from(KEYS),
    arrays.arrays(arrays.scalar_dtypes(), arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)),
)
def test_any_array_is_taken_or_refused(make_raw, key, array):
    raw = make_raw(3, 2, image_shape=(4, 5))
    check_line(lambda: check_dataset(raw | {key: array}, "mine"))
    check_line(lambda: check_dataset(raw | {key: array}, "mine", (4, 5), Classes(("a", "b"))))


@sometimes
@given(st.binary(max_size=200), st.sampled_from([b"", b"\x00\x00\x08\x03", b"\x00\x00\x08\x01", b"\x1f\x8b\x08"]))
def test_any_bytes_are_taken_for_an_idx_file_or_refused(tmp_path, content, start):
    (tmp_path / "a").write_bytes(start + content)
    check_line(lambda: readers.read_idx(tmp_path / "a"))


@sometimes
@given(st.binary(max_size=200))
def test_any_member_is_an_array_or_refused(tmp_path, content):
    (tmp_path / "a").write_bytes(zip_of(npy(content)))
    check_line(lambda: readers.read_npz(tmp_path / "a"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=5), inside, max_size=3),
    max_leaves=3,
)


@sometimes
@given(
    st.dictionaries(
        st.sampled_from(["names", "title", "centre", "spread", "period", "parts"]), JSON | st.just(["a", "b"])
    )
)
def test_any_condition_is_refused_or_the_files_are(tmp_path, condition):
    manifest = {"format": 1, "image_shape": [5, 4], "condition": condition, "train": [], "test": []}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(DataError) as caught:
        load_data(tmp_path)
    assert len(str(caught.value).splitlines()) == 1


@sometimes
@given(st.binary(max_size=80) | st.text('file,lab\n\r";\t01é', max_size=80).map(str.encode))
def test_any_table_is_refused(tmp_path, content):
    (tmp_path / "table.csv").write_bytes(b"file,label\n" + content)
    with pytest.raises(DataError):
        load_images(tmp_path, tmp_path / "table.csv")


@sometimes
@given(
    st.sampled_from(sorted(Recipe.__dataclass_fields__)),
    st.none() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.integers(), max_size=2),
)
def test_any_setting_of_a_recipe_is_taken_or_refused(name, value):
    check_line(lambda: Recipe(**{name: value}))
