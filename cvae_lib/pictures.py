"""From vectors of pixels to pictures: arrays of rows and columns, sheets of many pictures, and PNG files.

A picture is an array of the shape that `image_shape` names: (height, width) for grey, (height, width, 3) for colour.
"""

import io
import math

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from cvae_lib.data.mnist import IMAGE_SHAPE


def as_pictures(images: ArrayLike, image_shape: tuple[int, ...] = IMAGE_SHAPE) -> np.ndarray:
    """Reshape images (..., n_x) to pictures (..., *image_shape). Images that have this shape already stay as they are.

    Raises ValueError for images of another size.
    """
    images = np.asarray(images)
    n_x = math.prod(image_shape)
    if images.shape[-1:] == (n_x,):
        return images.reshape(*images.shape[:-1], *image_shape)
    if images.shape[-len(image_shape) :] == tuple(image_shape):
        return images
    raise ValueError(
        f"images: found the shape {images.shape}; expected {n_x} pixels on the last axis, or pictures of the shape "
        f"{tuple(image_shape)} on the last {len(image_shape)}. Set image_shape to that of the data."
    )


def tile(images: ArrayLike, image_shape: tuple[int, ...] = IMAGE_SHAPE) -> np.ndarray:
    """Lay images (rows, columns, n_x) side by side, the first at the top left.

    Returns one picture of rows * height by columns * width pixels.
    """
    pictures = as_pictures(images, image_shape)
    rows, columns, height, width = pictures.shape[:4]
    return pictures.swapaxes(1, 2).reshape(rows * height, columns * width, *image_shape[2:])


def fit_zoom(image_shape: tuple[int, ...], side: int) -> int:
    """Compute how many times a picture can be enlarged until its longer side has `side` pixels; at least once."""
    return max(1, side // max(image_shape[:2]))


def enlarge(picture: np.ndarray, zoom: int) -> np.ndarray:
    """Turn each pixel of a picture into a square of `zoom` by `zoom` pixels."""
    return picture.repeat(zoom, axis=0).repeat(zoom, axis=1)


def write_png(picture: np.ndarray, zoom: int = 1, optimize: bool = False) -> bytes:
    """Write a picture with values in [0, 1], grey or colour, as the bytes of a PNG, enlarged by `zoom`.

    With `optimize`, a smaller file is searched for, which takes longer.
    """
    file = io.BytesIO()
    values = np.rint(255 * np.clip(picture, 0, 1)).astype("uint8")
    Image.fromarray(enlarge(values, zoom)).save(file, "PNG", optimize=optimize)
    return file.getvalue()
