"""Fashion-MNIST: 60,000 + 10,000 grey images of clothes in ten classes, of MNIST's shape.

Source: Xiao et al. (2017), https://arxiv.org/abs/1708.07747.
"""

from pathlib import Path

from cvae_lib.data.conditions import Classes
from cvae_lib.data.dataset import Dataset
from cvae_lib.data.mnist import IMAGE_SHAPE, download, keras_cache
from cvae_lib.data.readers import IDX_NAMES, DataError, check_dataset, find_idx, read_idx

CLOTHES = Classes(
    ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"), "garment"
)
DEBIAN = Path("/usr/share/datasets/fashion-mnist")  # where the package dataset-fashion-mnist has it
FASHION_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
FASHION_FILES_SHA256 = {
    "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
}
# SHA-256 over the bytes of x_train, y_train, x_test, y_test: Fashion-MNIST, whatever files it came in.
FASHION_DIGEST = "ca3ab2a37f845e1b8ae23cab1b51749a3011ba3bf1d9016176d75cbaabac376f"


def load_fashion(folder: str | Path | None = None) -> Dataset:
    """Load Fashion-MNIST from the IDX files in a folder.

    Without a folder, it is loaded from Keras' cache folder, otherwise from where Debian has it, otherwise it is
    downloaded to the cache. Raises DataError when that fails, and when the files hold something else.
    """
    cache = keras_cache() / "fashion-mnist"
    folder = Path(folder) if folder else next((path for path in (cache, DEBIAN) if path.is_dir()), cache)
    if folder == cache:
        for name, sha256 in FASHION_FILES_SHA256.items():
            if not (cache / name).exists():
                download(cache / name, FASHION_URL + name, sha256, "install Debian's package dataset-fashion-mnist.")
    raw = {key: read_idx(find_idx(folder, name)) for key, name in IDX_NAMES.items()}
    clothes = check_dataset(raw, str(folder), IMAGE_SHAPE, CLOTHES)
    if clothes.digest != FASHION_DIGEST:
        found, expected = f"other images (SHA-256 {clothes.digest[:12]}…)", f"Fashion-MNIST ({FASHION_DIGEST[:12]}…)"
        raise DataError(folder, found, expected, "Pass the folder that has it, or move this one away.")
    return clothes
