"""A fresh affine map in the place of a layer, or from features to features at each position."""

from __future__ import annotations

from torch import nn

from ..._signature import Signature, show
from ...errors import SlotMismatch
from ...registry import component
from ._shape import dimension, feature_axis, on_axis, one_call, reason, size_at, window, without


def plan(old: nn.Module, signature: Signature) -> tuple[int, int, int, int]:
    """(feature axis, features in, features out, rank) of a slot that keeps every other axis; else SlotMismatch."""
    given, got = one_call(signature)
    axis = 1 if dimension(old) else feature_axis(old, given)
    same = len(given.shape) == len(got.shape) and given.dtype == got.dtype and got.axis == given.axis
    if not same or (without(given, axis) != without(got, axis) and not dimension(old)):
        raise SlotMismatch(
            f"it gives {show(got, full=True)} from {show(given, full=True)}, and 'linear' maps the features of each "
            f"position (axis {axis} here) or, in a convolution's slot, its windows"
        )
    return axis, size_at(given, axis), size_at(got, axis), len(given.shape)


@component("linear", fills=reason(plan), linear=True)
def linear(old: nn.Module, signature: Signature) -> nn.Module:
    """An affine map, freshly drawn: the old layer's own kind without anything nonlinear or special about it.

    Shapes: (…, in) -> (…, out) at each position. Fills Linear; Conv1d, Conv2d and Conv3d with a dense convolution of
    the same window (one group, whatever the old one had); and any other slot that takes one tensor of floats and
    changes no axis but the features (an activation, a norm, an MLP): axis 1 of images and volumes and where the old
    module puts channels there, else the last (see `batch-norm`). With a bias, except where a layer without one stood.
    Cost: in * out + out parameters, times the window of a convolution. Source: torch's layers and their starting
    values.
    Raises SlotMismatch for other slots.
    """
    axis, inputs, outputs, rank = plan(old, signature)
    bias = getattr(old, "bias", True) is not None
    if dimension(old):
        return window(old, inputs, outputs, bias=bias)
    return on_axis(nn.Linear(inputs, outputs, bias), axis, rank)
