"""Pictures of one's own: what is read from a folder and a table, and every table and picture that is refused."""

import io
import struct
import time
import zlib
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from cvae_lib.data import Classes, Cyclic, DataError, Joint, Numbers, images, load_images

N, SHAPE = 12, (6, 5, 3)
HEADER = "file,label,hue,size,split"


def row(i):
    return f"{i}.png,{'cab'[i % 3]},{30 * i},{i / 4},{'test' if i % 4 == 3 else 'train'}"


@pytest.fixture
def own(tmp_path):
    """Twelve pictures in colour, a table of them, and a way to write and to read another table."""
    pixels = np.random.default_rng(0).integers(0, 256, (N, *SHAPE), "uint8")
    folder, table = tmp_path / "pictures", tmp_path / "table.csv"
    folder.mkdir()
    for i, picture in enumerate(pixels):
        Image.fromarray(picture).save(folder / f"{i}.png")

    def write(lines=None, changed=None, encoding="utf-8"):
        lines = lines or [HEADER, *map(row, range(N))]
        lines = [(changed or {}).get(number, line) for number, line in enumerate(lines, start=1)]
        table.write_bytes("\n".join(lines).encode(encoding))
        return table

    def load(**options):
        return load_images(folder, table, **{"test": "split", "mode": "RGB", **options})

    write()
    return SimpleNamespace(folder=folder, table=table, pixels=pixels, write=write, load=load)


IS_TEST = np.arange(N) % 4 == 3


def test_pictures_become_a_data_set(own):
    data = own.load()
    np.testing.assert_array_equal(data.pixels_train, own.pixels[~IS_TEST].reshape(9, -1), strict=True)
    np.testing.assert_array_equal(data.pixels_test, own.pixels[IS_TEST].reshape(3, -1), strict=True)
    assert data.condition == Classes(("a", "b", "c"), "label")
    np.testing.assert_array_equal(data.y_train, np.array([2, 0, 1] * 4)[~IS_TEST])
    assert (data.image_shape, data.edition) == (SHAPE, "custom")
    assert str(own.folder) in data.source and str(own.table) in data.source
    assert sorted(path.name for path in own.folder.parent.iterdir()) == ["pictures", "table.csv"]
    assert len(list(own.folder.iterdir())) == N


def test_grey_has_the_brightness_of_the_colours(own):
    data = own.load(mode="L")
    expected = own.pixels[IS_TEST] @ [0.299, 0.587, 0.114]  # ITU-R 601
    np.testing.assert_allclose(data.pixels_test, expected.reshape(3, -1), atol=1)
    assert data.image_shape == SHAPE[:2]


def test_several_columns_are_told_together(own):
    data = own.load(condition={"label": "class", "hue": "angle", "size": "number"})
    size, hue = np.arange(N) / 4, np.deg2rad(30 * np.arange(N))
    scaled = (size - size[~IS_TEST].mean()) / size[~IS_TEST].std()  # by the training pictures alone
    letters = np.eye(3)[[2, 0, 1] * 4]
    expected = np.column_stack([letters, np.cos(hue), np.sin(hue), scaled])
    np.testing.assert_allclose(data.label_train, expected[~IS_TEST], atol=1e-5)
    np.testing.assert_allclose(data.label_test, expected[IS_TEST], atol=1e-5)
    assert data.condition.columns == ("label", "hue", "size")
    np.testing.assert_allclose(data.y_test[:, 1], 30 * np.arange(N)[IS_TEST])  # in the unit of the table


def test_a_condition_of_ones_own_is_kept(own):
    parts = {"label": Classes(("c", "b", "a")), "hue": Cyclic(("hue",), 24), "size": Numbers(("size",))}
    data = own.load(condition=parts)
    assert data.condition == Joint((Classes(("c", "b", "a"), "label"), parts["hue"], parts["size"]))
    np.testing.assert_array_equal(data.label_train[:2, :3], [[1, 0, 0], [0, 0, 1]])
    alone = own.load(condition={"size": "number"})
    assert isinstance(alone.condition, Numbers) and alone.y_train.shape == (9, 1)


def test_the_share_that_is_drawn_is_the_same_each_time(own):
    one, again = own.load(test=0.25), own.load(test=0.25)
    assert len(one.y_test) == 3 and one.digest == again.digest
    known = {picture.tobytes() for picture in own.pixels}
    assert {part.tobytes() for part in (*one.pixels_train, *one.pixels_test)} == known


def test_classes_that_are_numbers_are_sorted_as_numbers(own):
    own.write([HEADER] + [f"{i}.png,{(2, 10, 1)[i % 3]},0,0,train" for i in range(11)] + ["11.png,1,0,0,test"])
    assert own.load().condition.names == ("1", "2", "10")


@pytest.mark.parametrize(
    "change",
    {
        "semicolons": lambda text: text.replace(",", ";").encode(),
        "tabs": lambda text: text.replace(",", "\t").encode(),
        "a byte order mark": lambda text: text.encode("utf-8-sig"),
        "Windows' lines": lambda text: text.replace("\n", "\r\n").encode(),
        "old Mac's lines": lambda text: text.replace("\n", "\r").encode(),
        "spaces": lambda text: text.replace(",c,", ", c ,").encode(),
        "empty lines": lambda text: text.replace("\n3.png", "\n\n3.png").encode() + b"\n\n",
        "quotes": lambda text: text.replace("4.png", '"4.png"').encode(),
        "a column of quoted lines": lambda text: "\n".join(
            f'"two\nlines, {i}",{line}' if i else f'"a\nnote",{line}' for i, line in enumerate(text.split("\n"))
        ).encode(),
        "10,000 columns": lambda text: "\n".join(
            line + ("," + ",".join(f"x{j}" for j in range(10_000))) for line in text.split("\n")
        ).encode(),
    }.items(),
    ids=lambda item: item[0],
)
def test_tables_of_many_programs_are_read(own, change):
    expected = own.load()
    own.table.write_bytes(change[1](own.table.read_text(encoding="utf-8")))
    assert own.load().digest == expected.digest


def test_a_folder_for_each_class_needs_no_table(own):
    for i in range(N):
        inside = own.folder / "cab"[i % 3]
        inside.mkdir(exist_ok=True)
        (own.folder / f"{i}.png").rename(inside / f"{i}.png")
    (own.folder / "a" / "Thumbs.db").write_bytes(b"no picture")
    (own.folder / ".cache").mkdir()
    data = load_images(own.folder, mode="RGB")
    assert data.condition == Classes(("a", "b", "c"), "label") and len(data.y_train) == 11
    for picture, y in zip((*data.pixels_train, *data.pixels_test), (*data.y_train, *data.y_test)):
        (place,) = np.flatnonzero((own.pixels.reshape(N, -1) == picture).all(axis=1))
        assert "abc"[y] == "cab"[place % 3]


def test_tables_of_other_computers_name_files_in_folders(own):
    (own.folder / "deep").mkdir()
    (own.folder / "0.png").rename(own.folder / "deep" / "0.png")
    for name in ("deep/0.png", "deep\\0.png", "./deep/0.png"):
        own.write(changed={2: name + row(0)[5:]})
        np.testing.assert_array_equal(own.load().pixels_train[0], own.pixels[0].ravel())


# Pictures.


@pytest.fixture
def read_one(own):
    """Read a picture of Pillow's, saved under a name, as the first of the table: an array of its shape."""

    def read(image, name="0.png", saved=None, **options):
        image.save(own.folder / name, **(saved or {}))
        own.write(changed={2: row(0).replace("0.png", name)})
        data = own.load(**{"size": (8, 8), **options})
        return data.pixels_train[0].reshape(data.image_shape).astype(int)

    return read


def test_smaller_pictures_are_averages(read_one):
    """A fine chequerboard becomes grey; without antialiasing it would be black or white."""
    board = np.indices((64, 64)).sum(axis=0) % 2 * 255
    found = read_one(Image.fromarray(board.astype("uint8")), mode="L")
    np.testing.assert_allclose(found, 127, atol=2)


def test_proportions_are_kept_and_the_rest_is_the_ground(read_one):
    red = Image.new("RGB", (40, 20), "red")
    for ground, colour in (("blue", [0, 0, 255]), ("#0a141e", [10, 20, 30])):
        found = read_one(red, ground=ground)
        np.testing.assert_array_equal(found[2:6], np.broadcast_to([255, 0, 0], (4, 8, 3)))
        np.testing.assert_array_equal(found[[0, 1, 6, 7]], np.broadcast_to(colour, (4, 8, 3)))
    assert (read_one(red, mode="L", ground="white")[:2] == 255).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_pictures_lie_on_the_ground(read_one, mode):
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    clear.paste((0, 0, 0, 255), (0, 0, 4, 8))
    for ground, value in (("white", 255), ("black", 0)):
        found = read_one(clear.convert(mode), mode="L", ground=ground)
        assert (found[:, :4] == 0).all() and (found[:, 4:] == value).all()


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
@pytest.mark.parametrize("name", ["0.png", "0.bmp", "0.gif", "0.tif", "0.webp", "0.ppm", "0.jpg"])
def test_common_formats_are_read(read_one, mode, name):
    half = Image.new("L", (8, 8))
    half.paste(255, (0, 0, 8, 4))
    image = half.convert(mode)
    image = image.convert("L") if mode in "1P" and name in ("0.webp", "0.ppm", "0.jpg") else image
    np.testing.assert_allclose(read_one(image, name, mode="L"), np.asarray(half), atol=3)


def test_photos_stand_upright(read_one):
    """A camera that is held upright saves the picture on its side, and says so."""
    side = Image.new("L", (8, 8))
    side.paste(255, (0, 0, 2, 8))  # light on the left, which is the top once the picture is turned
    exif = Image.Exif()
    exif[0x0112] = 6
    found = read_one(side, mode="L", saved={"exif": exif})
    assert found[:2].min() == 255 and found[2:].max() == 0


def test_a_photo_with_a_smaller_copy_is_read(read_one):
    photo = Image.new("RGB", (8, 8), "white")
    saved = {"save_all": True, "append_images": [photo.resize((4, 4))], "format": "MPO"}
    assert read_one(photo, "0.jpg", saved=saved).min() == 255


# What is refused.


BAD_TABLES = {
    "a missing picture": (
        {2: row(0).replace("0.png", "none.png")},
        "line 2, none.png",
        "no such file",
        "whole picture",
    ),
    "a folder for a picture": ({3: row(1).replace("1.png", ".")}, "line 3, .", "a folder", "whole picture"),
    "no name": ({3: row(1)[5:]}, "line 3, ", "a folder", "whole picture"),
    "too few cells": ({4: "2.png,b"}, "line 4", "another number of cells", "5 cells"),
    "too many cells": ({4: row(2) + ",more"}, "line 4", "another number of cells", "5 cells"),
    "a name twice": ({5: row(0)}, "line 5", "'0.png' again", "each file once"),
    "no class": ({6: row(4).replace(",a,", ",,")}, "line 6", "'' as label", "a class: a, b, c"),
    "no number": ({7: row(5).replace("1.25", "")}, "line 7", "'' as size", "a finite number"),
    "a word for a number": ({7: row(5).replace("1.25", "big")}, "line 7", "'big' as size", "a finite number"),
    "a decimal comma": ({7: row(5).replace("1.25", '"1,25"')}, "line 7", "'1,25' as size", "such as 1.5"),
    "nan": ({7: row(5).replace("1.25", "nan")}, "line 7", "'nan' as size", "a finite number"),
    "infinity": ({7: row(5).replace("1.25", "-inf")}, "line 7", "'-inf' as size", "a finite number"),
    "too large a number": ({7: row(5).replace("1.25", "1e39")}, "line 7", "'1e39' as size", "a finite number"),
    "another split": ({8: row(6).replace("train", "val")}, "line 8", "'val' as split", "train or test"),
    "no file column": ({1: HEADER.replace("file", "name")}, "", "no columns 'file' among name, label", "file, label"),
    "a column twice": ({1: HEADER.replace("hue", "size")}, "", "2 columns 'size'", "with the columns file"),
    "an open quote": ({9: '"7.png,b,1,1,train'}, "", "cannot be read", "a CSV table in UTF-8"),
    "a path to the root": (
        {2: "/etc/passwd" + row(0)[5:]},
        "line 2, /etc/passwd",
        "leaves the folder",
        "a file inside",
    ),
    "a path upwards": ({2: "../table.csv" + row(0)[5:]}, "line 2, ../table.csv", "leaves the folder", "a file inside"),
    "upwards and back": ({2: "x/../../a" + row(0)[5:]}, "line 2, x/../../a", "leaves the folder", "a file inside"),
    "a Windows path": ({2: "C:\\0.png" + row(0)[5:]}, "line 2, C:\\0.png", "leaves the folder", "a file inside"),
    "a Windows path upwards": ({2: "..\\0.png" + row(0)[5:]}, "line 2, ..\\0.png", "leaves the folder", "inside"),
    "a Windows server": ({2: "\\\\a\\b\\0.png" + row(0)[5:]}, "line 2, \\\\a\\b\\0.png", "leaves the", "a file inside"),
    "a null character": ({2: "a\0.png" + row(0)[5:]}, "line 2, a\0.png", "leaves the folder", "a file inside"),
    "a long name": ({2: "a" * 300 + row(0)[5:]}, "line 2, " + "a" * 300, "name too long", "whole picture"),
}


@pytest.mark.parametrize("name", BAD_TABLES)
def test_bad_tables_are_refused(own, refuse, name):
    changed, where, found, expected = BAD_TABLES[name]
    own.write(changed=changed)
    where = ", ".join([str(own.table), *([where] if where else [])])
    call = lambda: own.load(condition={"label": "class", "size": "number"})  # noqa: E731
    with pytest.raises(DataError) as caught:
        call()
    refuse(call, where, found if "too long" not in found else caught.value.found, expected, own.folder)
    assert found.lower() in caught.value.found.lower()


@pytest.mark.parametrize(
    "content, found",
    [
        (b"", "no columns 'file' among "),
        (b"\xef\xbb\xbf", "no columns 'file' among "),
        (HEADER.encode(), "0 pictures, 0 of them to test"),
        (f"{HEADER}\n{row(0)}".encode(), "1 pictures, 0 of them to test"),
        (f"{HEADER}\n{row(3)}".encode(), "1 pictures, 1 of them to test"),
        (f"{HEADER}\n{row(0)}\n3.png,é,0,0,test".encode("latin-1"), "cannot be read ('utf-8'"),
        (f"{HEADER}\n{row(0)}\n{row(3)}".encode("utf-16"), "cannot be read ('utf-8'"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "cannot be read"),
        ((HEADER + "," + "x" * 200_000).encode(), "cannot be read (field larger"),
    ],
)
def test_files_that_are_no_table_are_refused(own, content, found):
    own.table.write_bytes(content)
    with pytest.raises(DataError) as caught:
        own.load()
    assert found in caught.value.found and str(own.table) in str(caught.value.where)


def test_one_picture_is_too_few(own):
    own.write([HEADER, row(0)])
    with pytest.raises(DataError, match="1 pictures, 1 of them to test; expected at least one to train"):
        own.load(test=0.1)


@pytest.mark.parametrize(
    "options, where, found",
    [
        ({"condition": {"label": Classes(("a", "b"))}}, "line 2", "'c' as label"),
        ({"condition": {"label": Classes(tuple("abcd"))}}, "column label", "no training picture of d"),
        ({"condition": {"colour": "class"}}, "table.csv", "no columns 'colour'"),
        ({"test": "part"}, "table.csv", "no columns 'part'"),
        ({"condition": {"label": "number"}}, "line 2", "'c' as label"),
        ({"condition": {"label": "clas"}}, "condition", "{'label': 'clas'}"),
        ({"condition": {"label": Numbers(("a", "b"))}}, "condition", "Numbers"),
        ({"condition": {"label": None}}, "condition", "None"),
        ({"size": (0, 5)}, "size", "(0, 5)"),
        ({"size": (5,)}, "size", "(5,)"),
        ({"mode": "CMYK"}, "mode", "'CMYK'"),
        ({"test": 1.5}, "test", "1.5"),
        ({"test": float("nan")}, "test", "nan"),
    ],
)
def test_options_that_do_not_fit_are_refused(own, options, where, found):
    with pytest.raises(DataError) as caught:
        own.load(**options)
    assert where in str(caught.value.where) and found in caught.value.found


def test_a_ground_that_is_no_colour_is_refused(own):
    with pytest.raises(DataError, match="ground: found 'colourless'; expected a colour, such as"):
        own.load(ground="colourless")


def test_a_column_of_numbers_is_not_taken_for_classes(own):
    own.write([HEADER] + [f"{i}.png,{i / 7},0,1,train" for i in range(300)])
    with pytest.raises(DataError, match="300 labels; expected at most 256 classes. Read the column as a number"):
        own.load(test=0.1)
    with pytest.raises(DataError, match="found 1.0 in all rows; expected numbers that differ"):
        own.load(test=0.1, condition={"size": "number"})


def test_places_that_do_not_exist_are_refused(own, tmp_path):
    for folder, table, found in (
        (own.folder, tmp_path / "none.csv", "no such file"),
        (own.folder, own.folder, "a folder"),
        (tmp_path / "none", own.table, "no such file"),
        (own.table, own.table, "no such file"),
        (tmp_path / "none", None, "no such file"),
        (own.table, None, "Not a directory"),
        (own.folder, None, "0 pictures"),
    ):
        with pytest.raises(DataError) as caught:
            load_images(folder, table)
        assert found in caught.value.found and "CVAE_DATA" not in str(caught.value)


def test_folders_without_pictures_are_refused(own, refuse):
    for name in ("a", "b"):
        (own.folder / name).mkdir()
    (own.folder / "0.png").rename(own.folder / "a" / "0.png")
    refuse(lambda: load_images(own.folder), own.folder / "b", "no pictures", "a folder for each class", own.folder)
    with pytest.raises(DataError, match="no table for the columns hue"):
        load_images(own.folder, condition={"hue": "angle"})


def test_links_that_leave_the_folder_are_refused(own, tmp_path):
    """A link inside it is followed; one in a circle is no file."""
    (own.folder / "0.png").rename(own.folder / "real.png")
    (own.folder / "0.png").symlink_to("real.png")
    np.testing.assert_array_equal(own.load().pixels_train[0], own.pixels[0].ravel())
    (own.folder / "real.png").rename(tmp_path / "real.png")
    for target, found in ((tmp_path / "real.png", "leaves the folder"), ("0.png", "no such file")):
        (own.folder / "0.png").unlink()
        (own.folder / "0.png").symlink_to(target)
        with pytest.raises(DataError, match=found):
            own.load()
    (own.folder / "1.png").unlink()
    (own.folder / "0.png").unlink()
    (own.folder / "out").symlink_to(tmp_path)
    own.write(changed={2: "out/real.png" + row(0)[5:]})
    with pytest.raises(DataError, match="leaves the folder"):
        own.load()


def test_files_without_permission_are_named(own, monkeypatch):
    """Tests may run as root, who may read everything."""
    real_open = Path.open
    for forbidden in (own.table, own.folder / "4.png"):

        def refuse_one(path, *arguments, forbidden=forbidden, **options):
            if path == forbidden:
                raise PermissionError(13, "Permission denied")
            return real_open(path, *arguments, **options)

        monkeypatch.setattr(Path, "open", refuse_one)
        with pytest.raises(DataError, match="found no permission to read it; .* Change the permissions") as caught:
            own.load()
        assert str(caught.value.where).endswith("line 6, 4.png" if forbidden != own.table else "table.csv")


def png_of(width, height):
    """The first bytes of a PNG that claims this size: a reader that believed it would make room for all its pixels."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(width + 1)))


def saved(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


DAMAGED = "a damaged or incomplete picture"
FRAMES = {"save_all": True, "append_images": [Image.new("L", (5, 6), 200)]}
BAD_PICTURES = {
    "empty": (lambda: b"", "no picture"),
    "text": (lambda: b"file,label\n", "no picture"),
    "cut off": (lambda: saved(Image.effect_noise((50, 60), 50), "PNG")[:1500], DAMAGED),
    "a cut-off JPEG": (lambda: saved(Image.effect_noise((50, 60), 50), "JPEG")[:900], DAMAGED),
    "another size": (lambda: saved(Image.new("RGB", (6, 5)), "PNG"), "5 x 6 pixels"),
    "an animation": (lambda: saved(Image.new("L", (5, 6)), "GIF", **FRAMES), "2 frames"),
    "an animated PNG": (lambda: saved(Image.new("L", (5, 6)), "PNG", **FRAMES), "2 frames"),
    "an animated WebP": (lambda: saved(Image.new("L", (5, 6)), "WEBP", **FRAMES), "2 frames"),
    "pages": (lambda: saved(Image.new("L", (5, 6)), "TIFF", **FRAMES), "2 frames"),
    "CMYK": (lambda: saved(Image.new("CMYK", (5, 6)), "JPEG"), "mode CMYK"),
    "16 bits": (lambda: saved(Image.new("I;16", (5, 6)), "PNG"), "mode I;16"),
    "floats": (lambda: saved(Image.new("F", (5, 6)), "TIFF"), "mode F"),
    "a document": (lambda: saved(Image.new("RGB", (5, 6)), "PDF"), "no picture"),
    "PostScript, which would run": (lambda: saved(Image.new("RGB", (5, 6)), "EPS"), "no picture"),
    "a bomb": (lambda: png_of(10_000, 10_000), "more pixels than may be read"),
    "a larger bomb": (lambda: png_of(20_000, 20_000), "more pixels than may be read"),
}


@pytest.mark.parametrize("name", BAD_PICTURES)
def test_bad_pictures_are_refused(own, refuse, name):
    make, found = BAD_PICTURES[name]
    (own.folder / "4.png").write_bytes(make())
    expected = "6 x 5 pixels" if name == "another size" else "a whole picture of one frame and 8 bits a colour: BMP"
    started = time.process_time()
    refuse(own.load, f"{own.table}, line 6, 4.png", found, expected, own.folder)
    assert time.process_time() - started < 5


KINDS = ["PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "PPM"]


def edit_at_random(own, kind, times):
    """Edit a picture so many times: bytes, cuts. Count what is read and what is refused; each of these must occur.

    A PNG has checksums: what is read of it is what it was. The other kinds have none, so there its shape has to do.
    """
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (14, 15, 3), "uint8"))
    exif = Image.Exif()
    exif[0x0112] = 8  # lies on its side
    options = {"exif": exif} if kind in ("PNG", "JPEG", "WEBP", "TIFF") else {}
    original = saved(noise.convert("P") if kind == "GIF" else noise, kind, **options)
    path, outcomes = own.folder / "0.png", {"as it was": 0, "other pixels": 0, "refused": 0}
    path.write_bytes(original)
    read = partial(images.read_picture, path, "here", (15, 14) if options else (14, 15), "RGB", "white")
    expected = read()
    for _ in range(times):
        content = bytearray(original)
        for _ in range(rng.integers(1, 6)):
            place = int(rng.integers(len(content) if rng.random() < 0.5 else min(60, len(content))))
            content[place] = rng.integers(256)
        if rng.random() < 0.2:
            content = content[: rng.integers(len(content))]
        path.write_bytes(content)
        try:
            picture = read()
        except DataError as error:
            assert str(error).startswith("here: found ") and "\n" not in str(error)
            outcomes["refused"] += 1
            continue
        assert picture.shape == expected.shape and picture.dtype == np.uint8
        outcomes["as it was" if np.array_equal(picture, expected) else "other pixels"] += 1
    assert outcomes["refused"] and (outcomes["other pixels"] == 0) == (kind == "PNG")
    return outcomes


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_pictures_raise_nothing_else(own, kind):
    edit_at_random(own, kind, 120)


@pytest.mark.slow
@pytest.mark.weekly
@pytest.mark.parametrize("kind", KINDS)
def test_pictures_edited_ten_thousand_times_raise_nothing_else(own, kind):
    print(kind, edit_at_random(own, kind, 10_000))


def test_the_bar_is_for_those_who_wait(own, monkeypatch, capsys):
    own.load()
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(images, "BAR_SECONDS", 0)
    own.load()
    out, err = capsys.readouterr()
    assert out == "" and "reading pictures" in err
