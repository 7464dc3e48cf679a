"""A folder of shards: what its manifest says, and what is refused before an image is read."""

import hashlib
import json
import re
import shutil
from dataclasses import asdict

import pytest

from cvae_lib.data import Classes, DataError, Numbers, check_dataset
from cvae_lib.data.shards import check_digests, load_data, open_shards
from cvae_lib.training.records import write_dataset


@pytest.fixture(scope="module")
def written(make_raw, tmp_path_factory):
    data = check_dataset(make_raw(image_shape=(5, 4)), "a test", condition=Classes(tuple("abcdefghij")))
    out = tmp_path_factory.mktemp("written") / "shards"
    write_dataset(data, out, 3)
    return out


@pytest.fixture
def folder(written, tmp_path):
    """23 training images of 5 x 4 pixels in 3 shards, and 11 test images in 2."""
    return shutil.copytree(written, tmp_path / "shards")


@pytest.fixture
def change(folder):
    """Change the manifest by a function of it."""

    def apply(edit):
        path = folder / "manifest.json"
        manifest = json.loads(path.read_text(encoding="utf-8"))
        edit(manifest)
        path.write_text(json.dumps(manifest), encoding="utf-8")

    return apply


def refused(folder, where):
    """Open a folder, which is refused at this place of it, in one line; return the error."""
    with pytest.raises(DataError) as caught:
        open_shards(folder)
    assert str(caught.value.where) == str(folder / where)
    assert "\n" not in str(caught.value) and caught.value.found and caught.value.expected
    return caught.value


def test_the_manifest_says_what_is_there(folder):
    data = open_shards(folder)
    assert (data.n_train, data.n_test, data.n_x, data.n_y) == (23, 11, 20, 10)
    assert (data.image_shape, data.condition.names) == ((5, 4), tuple("abcdefghij"))
    assert [shard.images for shard in data.train] == [8, 8, 7] and [shard.images for shard in data.test] == [6, 5]
    assert data.digest == hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
    check_digests(data, data.train + data.test)


def test_the_size_of_a_record_follows_from_the_condition(folder):
    """20 pixels and one number of 4 bytes, in a frame of 16."""
    assert (folder / "train-00000.tfrecord").stat().st_size == 8 * (20 + 4 + 16)


def test_a_folder_of_shards_is_data(folder, write_npz, make_raw, tmp_path, monkeypatch):
    """By its path or by CVAE_DATA; what is no such folder is loaded as ever."""
    monkeypatch.setenv("CVAE_DATA", str(folder))
    assert load_data().digest == load_data(folder).digest == open_shards(folder).digest
    assert load_data(write_npz(tmp_path / "digits.npz", make_raw())).y_train.shape == (23,)


# Files


def test_a_missing_shard_is_named(folder):
    (folder / "train-00001.tfrecord").unlink()
    assert refused(folder, "train-00001.tfrecord").found == "no such file"


@pytest.mark.parametrize("cut", [1, 100, 320])
def test_a_truncated_shard_is_named(folder, cut):
    path = folder / "test-00000.tfrecord"
    path.write_bytes(path.read_bytes()[:-cut] if cut < 320 else b"")
    assert refused(folder, path.name).expected.startswith("240 bytes, 6 images")


def test_a_shard_that_is_too_long_is_named(folder):
    with (folder / "train-00002.tfrecord").open("ab") as file:
        file.write(b"\0")
    assert refused(folder, "train-00002.tfrecord").found == "281 bytes"


def test_a_shard_that_is_not_listed_is_named(folder):
    """As of another data set that lies in the same folder."""
    (folder / "train-00000.tfrecord").rename(folder / "train-00009.tfrecord")
    (folder / "train-00000.tfrecord").write_bytes((folder / "train-00009.tfrecord").read_bytes())
    assert "does not list" in refused(folder, "train-00009.tfrecord").found


@pytest.mark.parametrize("foreign", [False, True])
def test_an_altered_or_a_foreign_shard_is_named(folder, foreign):
    """By its SHA-256: its size is the right one."""
    path, other = folder / "train-00000.tfrecord", folder / "train-00001.tfrecord"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(other.read_bytes() if foreign else content)
    data = open_shards(folder)
    with pytest.raises(DataError, match=re.escape(f"{path}: found SHA-256 ")):
        check_digests(data, data.train)


# The manifest


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]", b"7", b"null"])
def test_a_manifest_that_is_none_is_refused(folder, content):
    (folder / "manifest.json").write_bytes(content)
    assert refused(folder, "manifest.json").expected


def test_a_folder_without_a_manifest_is_refused(folder):
    (folder / "manifest.json").unlink()
    assert refused(folder, "manifest.json").found == "no such file or folder"


FIELDS = ["format", "image_shape", "condition", "train", "test"]
FIELDS += ["train[1], file", "test[0], images", "train[2], sha256"]


def find_parent(manifest, field):
    """Return the object that has this field, and the field's own name."""
    for step in field.split(", ")[:-1]:
        name, _, place = step.partition("[")
        manifest = manifest[name][int(place[:-1])] if place else manifest[name]
    return manifest, field.split(", ")[-1]


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("value", ["absent", None, True, 1.5])
def test_a_missing_field_or_one_of_a_wrong_type_is_named(folder, change, field, value):
    def edit(manifest):
        parent, name = find_parent(manifest, field)
        if value == "absent":
            del parent[name]
        else:
            parent[name] = value

    change(edit)
    assert refused(folder, f"manifest.json, {field}").found == ("no such field" if value == "absent" else repr(value))


@pytest.mark.parametrize(
    "field, value",
    [
        ("format", 2),
        ("image_shape", [20]),
        ("image_shape", [5, 4, 4]),
        ("image_shape", [0, 4]),
        ("image_shape", [5, "4"]),
        ("condition", {}),
        ("condition", {"names": []}),
        ("condition", {"names": ["a", "a"]}),
        ("condition", {"names": [["a"], "b"]}),
        ("condition", {"names": ["a", "b"], "title": 1.5}),
        ("condition", {"names": ["a", "b"], "kind": "Classes"}),
        ("condition", {"names": ["a"], "centre": [0], "spread": ["1"]}),
        ("condition", {"names": ["a"], "period": None}),
        ("condition", {"parts": [{"names": ["a"]}, 7]}),
        ("condition", {"parts": 7}),
        ("train", []),
        ("test", []),
        ("train[1], file", "../train-00001.tfrecord"),
        ("train[1], file", "/train-00001.tfrecord"),
        ("train[1], file", "more/train-00001.tfrecord"),
        ("train[1], file", "..\\train-00001.tfrecord"),
        ("train[1], file", "train-00001.tfrecord\n"),
        ("train[1], file", "train-00001.txt"),
        ("train[1], file", "train-00000.tfrecord"),
        ("train[1], file", "test-00000.tfrecord"),
        ("test[1], images", 0),
        ("test[1], images", -5),
        ("train[0], sha256", "0" * 63),
        ("train[0], sha256", "G" * 64),
    ],
)
def test_a_field_with_a_wrong_value_is_named(folder, change, field, value):
    def edit(manifest):
        parent, name = find_parent(manifest, field)
        parent[name] = value

    change(edit)
    refused(folder, f"manifest.json, {field}")


def test_a_shard_that_is_no_object_is_named(folder, change):
    change(lambda manifest: manifest["train"].insert(1, "train-00001.tfrecord"))
    assert "an object" in refused(folder, "manifest.json, train[1]").expected


def test_another_condition_does_not_fit_the_files(folder, change):
    """Three numbers take more bytes than one class."""
    condition = asdict(Numbers(("slant", "width", "ink")))
    change(lambda manifest: manifest.update(condition=condition))
    assert refused(folder, "train-00000.tfrecord").expected.startswith(f"{8 * (20 + 12 + 16)} bytes")
