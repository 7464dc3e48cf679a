"""From vectors to pictures, sheets and PNG files, for grey and colour images of any shape."""

import io

import numpy as np
import pytest
from matplotlib import rc_context
from PIL import Image

from cvae_lib.pictures import as_pictures, enlarge, fit_zoom, tile, write_png

SHAPES = [(8, 8), (12, 20), (12, 20, 3), (28, 28)]
rng = np.random.default_rng(0)


@pytest.mark.parametrize("shape", SHAPES)
def test_vectors_become_pictures_row_by_row(shape):
    pictures = rng.uniform(size=(2, 5, *shape))
    for leading in ((2, 5), (10,)):
        given = pictures.reshape(*leading, *shape)
        np.testing.assert_array_equal(as_pictures(given.reshape(*leading, -1), shape), given)
        np.testing.assert_array_equal(as_pictures(given, shape), given)
    np.testing.assert_array_equal(as_pictures(pictures[0, 0].ravel(), shape), pictures[0, 0])
    np.testing.assert_array_equal(as_pictures(list(pictures[0]), shape), pictures[0])


# 49 images of 8 by 8 hold as many numbers as 4 of 28 by 28: a mere reshape would show four pictures of noise.
@pytest.mark.parametrize(
    "images, shape", [((49, 64), (28, 28)), ((2, 240), (12, 20, 3)), ((2, 20, 12), (12, 20)), ((), (8, 8))]
)
def test_images_of_another_size_are_refused(images, shape):
    with pytest.raises(ValueError) as error:
        as_pictures(np.zeros(images), shape)
    assert str(images) in str(error.value) and str(shape) in str(error.value)


@pytest.mark.parametrize("shape", SHAPES)
def test_tile_keeps_rows_and_columns(shape):
    """A picture is in its row and column, and its own pixels are not transposed."""
    pictures = rng.uniform(size=(2, 3, *shape))
    sheet = tile(pictures.reshape(2, 3, -1), shape)
    height, width = shape[:2]
    assert sheet.shape == (2 * height, 3 * width, *shape[2:])
    for row in range(2):
        for column in range(3):
            place = sheet[row * height : (row + 1) * height, column * width : (column + 1) * width]
            np.testing.assert_array_equal(place, pictures[row, column])


@pytest.mark.parametrize("shape", SHAPES)
def test_png_holds_the_picture_enlarged_and_the_right_way_up(shape):
    picture = rng.uniform(size=shape)
    content = write_png(picture, zoom=3)
    shown = np.asarray(Image.open(io.BytesIO(content)).convert("RGB")) / 255
    expected = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
    assert shown.shape == (3 * shape[0], 3 * shape[1], 3)
    for row in range(3):
        for column in range(3):
            np.testing.assert_allclose(shown[row::3, column::3], expected, atol=2 / 255)
    with rc_context({"image.origin": "lower", "image.cmap": "hot", "savefig.dpi": 30}):
        assert write_png(picture, zoom=3) == content
    assert len(write_png(picture, zoom=3, optimize=True)) <= len(content)


def test_a_smaller_file_is_searched_for():
    picture = np.outer(np.linspace(0, 1, 200), np.sin(np.arange(200)) ** 2)
    assert len(write_png(picture, optimize=True)) < len(write_png(picture))


def test_grey_is_not_stretched_to_black_and_white():
    shown = np.asarray(Image.open(io.BytesIO(write_png(np.array([[0.4, 0.6]])))).convert("L"))
    np.testing.assert_allclose(shown / 255, [[0.4, 0.6]], atol=1 / 255)


def test_pixels_beyond_black_and_white_are_black_and_white():
    assert write_png(np.array([[-0.5, 1.5]])) == write_png(np.array([[0, 1]]))


def test_enlarged_pictures_fit():
    assert [fit_zoom(shape, 224) for shape in ((28, 28), (8, 8), (12, 20, 3), (224, 10), (600, 800))] == [
        8,
        28,
        11,
        1,
        1,
    ]
    assert enlarge(np.array([[1, 2]]), 2).tolist() == [[1, 1, 2, 2], [1, 1, 2, 2]]
