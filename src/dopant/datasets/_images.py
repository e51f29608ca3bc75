"""Read the formats that image sets come in, and scale their pixels."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DopantError

# spellings of one part's (inputs, targets) in .npz files
_NAMES = {
    "train": (("train_images", "train_labels"), ("x_train", "y_train"), ("train_inputs", "train_targets"), ("x", "y")),
    "validation": (("val_images", "val_labels"), ("x_val", "y_val"), ("validation_inputs", "validation_targets")),
    "test": (("test_images", "test_labels"), ("x_test", "y_test"), ("test_inputs", "test_targets")),
}


def scaled(images: np.ndarray, pad: int = 0) -> np.ndarray:
    """uint8 (items, height, width[, 3]) -> float32 (items, channel, height, width) by (x/255 - 0.5)/0.5.

    pad: zeros put around the picture before it is scaled (so they become -1).
    """
    images = images[:, None] if images.ndim == 3 else np.moveaxis(images, -1, 1)
    if pad:
        images = np.pad(images, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    result = images.astype(np.float32)
    result *= 2 / 255
    result -= 1
    return np.ascontiguousarray(result)


def read_npz(path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """{"train": (inputs, targets), "validation": …, "test": …} as far as they are there.

    Raises DopantError where no training arrays have a known name or the counts differ.
    """
    # opened here, because numpy leaves a damaged file open
    with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
        parts = {}
        for part, spellings in _NAMES.items():
            for x, y in spellings:
                if x in file.files and y in file.files:
                    parts[part] = (file[x], file[y])
                    break
        names = ", ".join(file.files)
    if "train" not in parts:
        raise DopantError(
            f"{str(path)!r} has the arrays {names}; expected x and y, or train_images and train_labels (and "
            "test_images, test_labels)"
        )
    for part, (x, y) in parts.items():
        if len(x) != len(y) or not len(x):
            raise DopantError(
                f"{str(path)!r}: {part} has {len(x)} inputs and {len(y)} targets; expected as many of each"
            )
    return parts


def read_idx(path: Path) -> np.ndarray:
    """A uint8 array in the idx format of MNIST, plain or gzipped. Raises DopantError if it is none or is cut short."""
    data = path.read_bytes()
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    if len(data) < 4 or data[:3] != b"\x00\x00\x08":
        raise DopantError(f"{str(path)!r} is not an idx file of bytes")
    axes = data[3]
    shape = tuple(int(n) for n in np.frombuffer(data, ">u4", axes, 4))
    values = np.frombuffer(data, np.uint8, -1, 4 + 4 * axes)
    if values.size != np.prod(shape):
        raise DopantError(
            f"{str(path)!r} holds {values.size} bytes, its header says {shape}; it is damaged, fetch it again"
        )
    return values.reshape(shape)


def check_images(
    path: Path, images: np.ndarray, labels: np.ndarray, count: int, shape: tuple[int, ...], classes: int
) -> None:
    """DopantError unless there are `count` uint8 images of `shape` with labels below `classes`."""
    problems: list[Any] = []
    if images.shape != (count, *shape) or images.dtype != np.uint8:
        problems.append(f"images are {images.dtype} {images.shape}, expected uint8 {(count, *shape)}")
    if labels.shape != (count,):
        problems.append(f"labels are {labels.shape}, expected {(count,)}")
    elif len(labels) and (labels.min() < 0 or labels.max() >= classes):
        problems.append(f"labels go from {labels.min()} to {labels.max()}, expected 0 to {classes - 1}")
    if problems:
        raise DopantError(f"{str(path)!r} is damaged or another data set: " + "; ".join(problems))
