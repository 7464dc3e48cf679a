"""The data: images with labels, from a file to what the networks take.

`conditions` turns labels into vectors, `dataset` holds images and labels, `readers` reads files and refuses what is
malformed, `images` reads pictures of your own, `mnist` knows the book's own digits and where to get them, and `shards`
is for data larger than memory.
Importing this package loads no TensorFlow.
"""

from cvae_lib.data.conditions import Classes, Condition, Cyclic, Joint, Numbers, one_hot
from cvae_lib.data.dataset import Dataset, binarise, drop_labels, hold_out, scale
from cvae_lib.data.images import load_images
from cvae_lib.data.mnist import check_digits, load_digits, load_full, load_mnist, load_sample
from cvae_lib.data.readers import DataError, check_dataset

__all__ = [
    "Classes",
    "Condition",
    "Cyclic",
    "DataError",
    "Dataset",
    "Joint",
    "Numbers",
    "binarise",
    "check_dataset",
    "check_digits",
    "drop_labels",
    "hold_out",
    "load_digits",
    "load_full",
    "load_images",
    "load_mnist",
    "load_sample",
    "one_hot",
    "scale",
]
