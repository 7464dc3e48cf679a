"""Fashion-MNIST: where it is looked for, that it is the real one, and what is downloaded."""

import pytest

from cvae_lib.data import DataError, fashion, load_fashion


@pytest.fixture
def pretended(tmp_path, raw, write_idx, digest_of, monkeypatch):
    """A folder of files that count as Fashion-MNIST, while there is none elsewhere."""
    folder = tmp_path / "files"
    folder.mkdir()
    monkeypatch.setattr(fashion, "FASHION_DIGEST", digest_of(raw))
    monkeypatch.setattr(fashion, "DEBIAN", tmp_path / "debian")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    return write_idx(folder, raw, zipped=True)


def test_it_is_loaded_from_a_folder(pretended, raw, check_holds):
    clothes = load_fashion(pretended)
    check_holds(clothes, raw)
    assert clothes.condition.names[9] == "ankle boot" and clothes.condition.columns == ("garment",)
    assert (clothes.image_shape, clothes.edition) == ((28, 28), "custom")


def test_it_is_found_where_keras_and_debian_have_it(pretended, raw, tmp_path, check_holds):
    for place in (tmp_path / "debian", tmp_path / "keras" / "datasets" / "fashion-mnist"):
        place.parent.mkdir(parents=True, exist_ok=True)
        pretended.rename(place)
        clothes = load_fashion()
        check_holds(clothes, raw)
        assert clothes.source == str(place)
        pretended = place


def test_what_is_missing_is_downloaded_by_its_hash(pretended, raw, tmp_path, check_holds, monkeypatch):
    asked = []

    def copy(path, url, sha256, otherwise):
        asked.append((url, sha256))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((pretended / path.name).read_bytes())

    monkeypatch.setattr(fashion, "download", copy)
    check_holds(load_fashion(), raw)
    load_fashion()
    names = fashion.FASHION_FILES_SHA256
    assert asked == [
        (f"https://storage.googleapis.com/tensorflow/tf-keras-datasets/{name}", names[name]) for name in names
    ]


def test_without_a_network_the_message_says_what_to_do(pretended, tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(fashion, "FASHION_URL", "http://127.0.0.1:9/")
    with pytest.raises(DataError, match="Connect to the network, or install Debian's package dataset-fashion-mnist"):
        load_fashion()
    assert [path for path in (tmp_path / "keras").rglob("*") if path.is_file()] == []


def test_other_images_are_refused(pretended, make_raw, write_idx):
    write_idx(pretended, make_raw(20), zipped=True)
    with pytest.raises(DataError, match="found other images .* expected Fashion-MNIST"):
        load_fashion(pretended)
