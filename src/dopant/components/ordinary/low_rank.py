"""A linear map through few dimensions."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ..._signature import Signature
from ...errors import SlotMismatch
from ...registry import component
from ._capacity import controlled, nearest_width, trainable
from ._shape import dimension, pointwise, spread_like, window


class LowRank(nn.Module):
    """gather(spread(x)): spread (in -> rank, no bias, a convolution's window), gather (rank -> out). Shapes as old's.

    The weight of the product starts with the variance 1 / (3 in) of torch's layers.
    """

    def __init__(self, old: nn.Module, rank: int, full: int, wanted: int | None):
        super().__init__()
        inputs, outputs, fan_in = sides(old)
        self.rank, self.full, self.wanted = rank, full, wanted
        first = window(old, inputs, rank, bias=False) if dimension(old) else nn.Linear(inputs, rank, bias=False)
        self.spread, self.gather = first, pointwise(old, rank, outputs, bias=getattr(old, "bias", None) is not None)
        spread_like(self.spread, 1 / (3 * fan_in), fan_in)
        spread_like(self.gather, 1 / rank, fan_in)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.gather(self.spread(x))

    def describe(self) -> str:
        """One line: the rank, the trainable count and, where one was to be matched, how near it came."""
        have = trainable(self)
        line = f"rank {self.rank} of {self.full}: {have} trainable numbers"
        if self.wanted:
            line += f", {self.wanted} wanted ({100 * (have - self.wanted) / self.wanted:+.1f} %)"
        return line

    def extra_repr(self) -> str:
        return self.describe()


def refuse(old: nn.Module, signature: Any = None) -> str | None:
    if isinstance(old, nn.Linear) or dimension(old):
        return None
    return f"fills Linear, Conv1d, Conv2d and Conv3d, not {type(old).__name__}"


def sides(old: Any) -> tuple[int, int, int]:
    """(features in, features out, numbers that reach one output) of a dense layer or of one with its window."""
    if not dimension(old):
        return old.in_features, old.out_features, old.in_features
    return old.in_channels, old.out_channels, old.in_channels * old.weight[0, 0].numel()


@component("low-rank", fills=refuse, control="same capacity", linear=True, examples=({}, {"rank": 1}))
def low_rank(
    old: nn.Module, signature: Signature, *, rank: int | None = None, target: nn.Module | None = None
) -> nn.Module:
    """An affine map whose matrix is a product of two thin ones.

    Shapes as the old layer's. Fills Linear, and Conv1d, Conv2d and Conv3d by a convolution of the same window to `rank`
    channels and a 1x1 one from there (of one group, whatever the old one had). rank: unless said, the one whose
    trainable count is nearest to that of the component it controls, at most the smaller side of the matrix; where
    there is none, a quarter of the smaller side, at least 1. `describe()` says which. With a bias where the old layer
    has one.
    Cost: rank * (in + out) + out parameters, in times the window of a convolution.
    Source: Denton et al. 2014, arXiv 1404.0736 (there fitted to a trained layer; here drawn, and trained from the
    start).
    Raises SlotMismatch for other slots and for a rank that is below 1 or above the smaller side of the matrix.
    """
    wrong = refuse(old)
    if wrong:
        raise SlotMismatch(wrong)
    _, outputs, fan_in = sides(old)
    full, wanted = min(fan_in, outputs), None
    if rank is None:
        of = controlled(old, target)
        if of is None:
            rank = max(1, full // 4)
        else:
            wanted, free = trainable(of), outputs * (getattr(old, "bias", None) is not None)
            rank = min(full, nearest_width(lambda r: r * (fan_in + outputs) + free, wanted))
    if not 1 <= rank <= full:
        raise SlotMismatch(f"rank is {rank}; expected 1 to {full}, the smaller side of a {outputs} x {fan_in} matrix")
    return LowRank(old, rank, full, wanted)
