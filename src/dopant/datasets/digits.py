"""The handwritten digits that come with scikit-learn: real data without a download."""

from __future__ import annotations

from typing import Any

import torch

from ..registry import register_dataset
from .source import Pool, Source


@register_dataset("digits")
def digits() -> Source:
    """1,797 images (1, 8, 8), ten classes, pixels 0 … 16 scaled to [-1, 1] by (x/16 - 0.5)/0.5. No official test set:
    each replicate draws its own stratified split. Source: UCI Optical Recognition of Handwritten Digits (test part)."""
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    inputs = torch.from_numpy(bunch.images).to(torch.float32).unsqueeze(1) / 8 - 1
    return Source(Pool(inputs, torch.from_numpy(bunch.target).to(torch.int64)), classes=10, name="digits")
