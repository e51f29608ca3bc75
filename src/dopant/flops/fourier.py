"""FLOPs of fast Fourier transforms."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from .formulas import Args, of


def _transformed(tensor: Tensor, axes: Any) -> float:
    """5 N log2 N of N complex numbers, over all transforms; as FORMULAS count real numbers, a quarter of it."""
    length = math.prod(tensor.shape[a] for a in axes)
    return 5 * tensor.numel() * math.log2(max(length, 2))


@of("_fft_c2c")
def _complex_fft(out: Any, args: Args, kwargs: dict) -> float:
    return _transformed(args[0], args[1]) / 4


@of("_fft_r2c")
def _real_fft(out: Any, args: Args, kwargs: dict) -> float:
    """Half of the complex one of this length; its input is real."""
    return _transformed(args[0], args[1]) / 2


@of("_fft_c2r")
def _inverse_real_fft(out: Any, args: Args, kwargs: dict) -> float:
    return _transformed(out, args[1]) / 2 / 4
