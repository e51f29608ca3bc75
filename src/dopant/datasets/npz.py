"""Arrays of one's own in a .npz file."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ..errors import DopantError
from ..registry import register_dataset
from ._files import cached, file_sum, given_path, reading
from ._images import read_npz, scaled
from .source import Source, count_classes, pools_of


@register_dataset("npz")
def npz(*, path: Any) -> Source:
    """A .npz file with x and y (each replicate splits them anew), or x_train, y_train, x_test, y_test, or train_images,
    train_labels, test_images, test_labels; val_images, val_labels where there are official validation items.

    uint8 arrays of 3 or 4 axes, (items, height, width[, channels]), are images, scaled to [-1, 1] by (x/255 - 0.5)/0.5;
    other numbers are taken as they are, in float32. Whole-number targets are class numbers, others are values.
    path: as it is, or inside DOPANT_DATA. Raises ConfigError, DataMissing, or DopantError for a file that is no such
    thing (pickled objects are never loaded).
    """
    file = given_path("npz", path)

    def decode() -> dict[str, np.ndarray]:
        result = {}
        with reading(file):
            for part, (x, y) in read_npz(file).items():
                result[f"{part}_inputs"] = _inputs(x)
                result[f"{part}_targets"] = _targets(file, part, y)
        return result

    pools = pools_of(cached("npz", file_sum(file), decode))
    return Source(**pools, classes=count_classes(*pools.values()), name="npz")


def _inputs(x: np.ndarray) -> np.ndarray:
    if x.dtype == np.uint8 and x.ndim in (3, 4):
        return scaled(x)
    return np.ascontiguousarray(x.astype(np.float32))


def _targets(file: Any, part: str, y: np.ndarray) -> np.ndarray:
    if y.ndim == 2 and y.shape[1] == 1 and y.dtype.kind in "iub":
        y = y[:, 0]
    if y.dtype.kind in "iub":
        return np.ascontiguousarray(y.astype(np.int64))
    if y.dtype.kind != "f":
        raise DopantError(f"{str(file)!r}: {part} targets are {y.dtype}; expected numbers")
    return np.ascontiguousarray(y.astype(torch.zeros(()).numpy().dtype))
