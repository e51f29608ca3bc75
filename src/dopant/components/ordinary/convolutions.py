"""Convolutions with fewer connections: depthwise-separable and grouped."""

from __future__ import annotations

import math
from typing import Any

from torch import nn

from ..._signature import Signature
from ...errors import SlotMismatch
from ...registry import component
from ._shape import dimension, pointwise, reason, spread_like, window


def refuse(old: nn.Module, signature: Any = None) -> str | None:
    return None if dimension(old) else f"fills Conv1d, Conv2d and Conv3d, not {type(old).__name__}"


def group_count(old: Any, signature: Any = None, groups: int | None = None) -> int:
    """The number of groups, the smallest that divides both sides where none is given; SlotMismatch if none does."""
    wrong = refuse(old)
    if wrong:
        raise SlotMismatch(wrong)
    common = math.gcd(old.in_channels, old.out_channels)
    fitting = [g for g in range(2, common + 1) if common % g == 0]
    if groups is None:
        if not fitting:
            raise SlotMismatch(
                f"no number of groups divides both {old.in_channels} and {old.out_channels} channels; 'depthwise-conv' "
                "and 'low-rank' have fewer connections too"
            )
        return fitting[0]
    if groups < 1 or common % groups:
        raise SlotMismatch(
            f"groups is {groups}, which does not divide both {old.in_channels} and {old.out_channels} channels; use "
            f"one of {[1, *fitting]}"
        )
    return groups


@component("depthwise-conv", fills=refuse, linear=True)
def depthwise_conv(old: nn.Module, signature: Signature) -> nn.Module:
    """A depthwise-separable convolution: each channel by a window of its own, then a 1x1 convolution that mixes
    channels.

    Shapes as the old convolution's, whose window, stride, padding and dilation it keeps. Fills Conv1d, Conv2d and
    Conv3d. The second step is always there, so that the number of channels may change; the first has no bias, the
    second one where the old layer has. The product starts with the variance 1 / (3 fan_in) of torch's convolutions.
    Cost: in * window + in * out + out parameters. Source: Chollet 2017, arXiv 1610.02357 (nothing between the two
    steps, found best there). Differs from MobileNet's (Howard et al. 2017, arXiv 1704.04861), which has a norm and a
    ReLU there.
    Raises SlotMismatch for other slots.
    """
    wrong = refuse(old)
    if wrong:
        raise SlotMismatch(wrong)
    conv: Any = old
    inputs, outputs, size = conv.in_channels, conv.out_channels, conv.weight[0, 0].numel()
    depthwise = window(conv, inputs, inputs, bias=False, groups=inputs)
    mixing = pointwise(conv, inputs, outputs, bias=conv.bias is not None)
    spread_like(mixing, 1 / inputs, inputs * size)  # the depthwise weights have 1 / (3 size)
    return nn.Sequential(depthwise, mixing)


@component("grouped-conv", fills=reason(group_count), linear=True)
def grouped_conv(old: nn.Module, signature: Signature, *, groups: int | None = None) -> nn.Module:
    """A convolution in which each group of output channels sees only its own group of input channels.

    Shapes as the old convolution's, whose window, stride, padding and dilation it keeps. Fills Conv1d, Conv2d and
    Conv3d. groups: unless said, the smallest number above 1 that divides both numbers of channels (2 where both are
    even).
    Cost: 1 / groups of the dense convolution's weights and operations. Source: Krizhevsky et al. 2012 (2 groups); Xie
    et al. 2017, arXiv 1611.05431, figure 3c (32). Channels are not shuffled between groups.
    Raises SlotMismatch for other slots and for groups that do not divide the channels of both sides.
    """
    groups = group_count(old, signature, groups)
    conv: Any = old
    return window(conv, conv.in_channels, conv.out_channels, bias=conv.bias is not None, groups=groups)
