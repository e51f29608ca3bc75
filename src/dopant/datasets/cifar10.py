"""CIFAR-10: 50,000 + 10,000 colour images of 32x32, ten classes."""

from __future__ import annotations

import hashlib
import tarfile
from pathlib import Path

import numpy as np

from ..errors import DopantError
from ..registry import register_dataset
from ._files import cached, download, file_sum, find, reading
from ._images import check_images, scaled
from .source import Source, pools_of

# the binary version: the other ones are pickles
_TAR = "cifar-10-binary.tar.gz"
_URL = f"https://www.cs.toronto.edu/~kriz/{_TAR}"
_MD5 = "c32a1d4ab5d03f1284b67883e8d87530"
_COUNTS = {"train": 50_000, "test": 10_000}


@register_dataset("cifar10")
def cifar10() -> Source:
    """CIFAR-10, official test set kept: (3, 32, 32) in [-1, 1], in a fixed order that no class and no file decides.

    Looks in DOPANT_DATA for the folder cifar10 (one lossless WebP mosaic a class) or cifar-10-binary.tar.gz, downloads
    the latter otherwise; both give the same items in the same order. The decoded cache takes 740 MB.
    Source: Krizhevsky 2009. Raises DataMissing, DopantError for damaged files.
    """
    folder, tar = find("cifar10"), find(_TAR)
    if folder is not None and any(folder.glob("train_*.webp")):
        files = sorted(folder.glob("t*_*.webp"))
    else:
        wanted = f"the folder cifar10 or the file {_TAR}"
        files = [tar] if tar is not None else download("cifar10", wanted, [(_URL, f"md5:{_MD5}")])

    def decode() -> dict[str, np.ndarray]:
        result = {}
        for part, count in _COUNTS.items():
            with reading(files[0].parent if len(files) > 1 else files[0]):
                images, labels = _from_mosaics(files, part) if len(files) > 1 else _from_tar(files[0], part)
                check_images(files[0], images, labels, count, (32, 32, 3), 10)
            order = _by_content(images)
            result[f"{part}_inputs"] = scaled(images[order])
            result[f"{part}_targets"] = labels[order].astype(np.int64)
        return result

    return Source(**pools_of(cached("cifar10", file_sum(*files), decode)), classes=10, name="cifar10")


def _by_content(images: np.ndarray) -> np.ndarray:
    """A shuffle that depends on the images alone: sorted by a hash of their pixels (the files are sorted by class)."""
    hashes = [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in images]
    return np.argsort(np.array(hashes), kind="stable")


def _from_mosaics(files: list[Path], part: str) -> tuple[np.ndarray, np.ndarray]:
    """(items, 32, 32, 3) uint8 and labels from PART_LABEL_NAME.webp, tiles in row-major order."""
    from PIL import Image

    images, labels = [], []
    for file in files:
        if file.name.startswith(part + "_"):
            with Image.open(file) as picture:
                mosaic = np.asarray(picture.convert("RGB"))
            height, width, _ = mosaic.shape
            tiles = mosaic.reshape(height // 32, 32, width // 32, 32, 3).swapaxes(1, 2).reshape(-1, 32, 32, 3)
            images.append(tiles)
            labels.append(np.full(len(tiles), int(file.name.split("_")[1]), np.uint8))
    if not images:
        raise DopantError(f"{str(files[0].parent)!r} has no file {part}_LABEL_NAME.webp")
    return np.concatenate(images), np.concatenate(labels)


def _from_tar(path: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """The same from the binary version: records of one label byte and 3 x 32 x 32 pixels."""
    records = []
    with tarfile.open(path) as archive:
        for member in sorted(archive.getnames()):
            stem = member.rsplit("/", 1)[-1]
            if stem.endswith(".bin") and stem.startswith("data_batch" if part == "train" else "test_batch"):
                file = archive.extractfile(member)
                assert file is not None
                records.append(np.frombuffer(file.read(), np.uint8).reshape(-1, 3073))
    if not records:
        raise DopantError(f"{str(path)!r} has no binary {part} batch")
    data = np.concatenate(records)
    return data[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), data[:, 0]
