"""MNIST and Fashion-MNIST: 60,000 + 10,000 grey images of 28x28, ten classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigError
from ..registry import register_dataset
from ._files import cached, download, file_sum, find, reading
from ._images import check_images, read_idx, read_npz, scaled
from .source import Source, pools_of

_FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
_MNIST_URL = "https://ossci-datasets.s3.amazonaws.com/mnist/"
_MNIST_MD5 = (
    "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "d53e105ee54ea40749a09fcbcd1e9432",
    "9fb629c4189551a2d022fa330f9573f3",
    "ec29112dd5afa0611ce80d1b7f02629c",
)
_FASHION_URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
_FASHION_MD5 = (
    "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "25c81989df183df01b3e8a0aad5dffbe",
    "bef4ecab320f06d8554ea6380940ec79",
    "bb300cfdad3c16e7a12a480ee83cd310",
)


@register_dataset("mnist")
def mnist(*, size: int = 32) -> Source:
    """MNIST, official test set kept: (1, size, size) in [-1, 1]; size 32 pads by 2 first, 28 does not.

    Looks for mnist.npz or the four idx files in DOPANT_DATA, downloads them otherwise.
    Source: LeCun, Cortes, Burges. Raises ConfigError for other sizes, DataMissing, DopantError for damaged files.
    """
    return _load("mnist", "mnist.npz", ("", "mnist/", "MNIST/raw/"), _MNIST_URL, _MNIST_MD5, size)


@register_dataset("fashion-mnist")
def fashion_mnist(*, size: int = 32) -> Source:
    """Fashion-MNIST (ten kinds of clothes), official test set kept: (1, size, size) in [-1, 1]; size 32 or 28.

    Looks for fashion_mnist.npz or the four idx files in DOPANT_DATA/fashion-mnist, downloads them otherwise.
    Source: Xiao, Rasul, Vollgraf 2017. Raises ConfigError for other sizes, DataMissing, DopantError for damaged files.
    """
    places = ("fashion-mnist/", "fashion_mnist/", "FashionMNIST/raw/")
    return _load("fashion-mnist", "fashion_mnist.npz", places, _FASHION_URL, _FASHION_MD5, size)


def _load(name: str, npz: str, places: tuple[str, ...], url: str, sums: tuple[str, ...], size: Any) -> Source:
    if size not in (28, 32) or isinstance(size, bool):
        raise ConfigError(f"data set {name!r}: size is {size!r}; expected 32 (padded by 2) or 28")
    files = _files(name, npz, places, url, sums)

    def decode() -> dict[str, np.ndarray]:
        with reading(files[0]):
            if len(files) == 1:
                found = read_npz(files[0])
                parts = {part: found[part] for part in ("train", "test")}
            else:
                arrays = [read_idx(f) for f in files]
                parts = {"train": (arrays[0], arrays[1]), "test": (arrays[2], arrays[3])}
            result = {}
            for (part, (images, labels)), count in zip(parts.items(), (60_000, 10_000), strict=True):
                check_images(files[0], images, labels, count, (28, 28), 10)
                result[f"{part}_inputs"] = scaled(images, pad=(size - 28) // 2)
                result[f"{part}_targets"] = labels.astype(np.int64)
        return result

    arrays = cached(name, f"{file_sum(*files)} size={size}", decode)
    return Source(**pools_of(arrays), classes=10, name=name)


def _files(name: str, npz: str, places: tuple[str, ...], url: str, sums: tuple[str, ...]) -> list[Path]:
    """The .npz file, or the four idx files, from DOPANT_DATA or the net."""
    found = find(npz)
    if found is not None:
        return [found]
    for place in places:
        idx = [find(place + f, place + f.removesuffix(".gz")) for f in _FILES]
        if all(idx):
            return [f for f in idx if f is not None]
    wanted = f"{npz} or the four idx files {', '.join(_FILES)}"
    return download(name, wanted, [(url + f, f"md5:{s}") for f, s in zip(_FILES, sums, strict=True)])
