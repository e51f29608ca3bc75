"""A fresh affine map in the place of a layer, or from features to features at each position."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import nn
from torch.nn import functional

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


class ScaledLinear(nn.Linear):
    """exp(log_scale) W x + bias: (…, in) -> (…, out), log_scale () from log(scale_init). W as torch's Linear."""

    def __init__(self, inputs: int, outputs: int, bias: bool, scale_init: float):
        super().__init__(inputs, outputs, bias)
        self.log_scale = nn.Parameter(torch.full_like(self.weight[0, 0].detach(), math.log(scale_init)))

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        outputs = functional.linear(input, self.weight) * self.log_scale.exp()
        return outputs if self.bias is None else outputs + self.bias


@component(
    "linear",
    fills=reason(plan),
    linear=True,
    examples=({}, {"bias_init": "normal", "scale": "learned", "scale_init": 3.0}),
)
def linear(
    old: nn.Module,
    signature: Signature,
    *,
    bias_init: Literal["default", "normal", "zero"] = "default",
    scale: Literal["none", "learned"] = "none",
    scale_init: float = 1.0,
) -> nn.Module:
    """An affine map, freshly drawn: the old layer's own kind without anything nonlinear or special about it.

    Shapes: (…, in) -> (…, out) at each position. Fills Linear; Conv1d, Conv2d and Conv3d with a dense convolution of
    the same window (one group, whatever the old one had); and any other slot that takes one tensor of floats and
    changes no axis but the features (an activation, a norm, an MLP): axis 1 of images and volumes and where the old
    module puts channels there, else the last (see `batch-norm`). With a bias, except where a layer without one stood.
    In the slot of a Linear it can start as other layers do, one property at a time (as `reupload-linear`'s options of
    the same names); every variant draws the same weights.
    bias_init: "default" (torch's), "normal" (N(0,1)) or "zero". scale: "none", or "learned": the outputs are multiplied
    by exp(log_scale) before the bias, which starts at `scale_init`.
    Cost: in * out + out parameters, times the window of a convolution. Source: torch's layers and their starting
    values.
    Raises SlotMismatch for other slots, for options elsewhere than in the slot of a Linear, and for unknown values.
    """
    problems = _problems(old, bias_init, scale, scale_init)
    if problems:
        raise SlotMismatch(problems)
    axis, inputs, outputs, rank = plan(old, signature)
    bias = getattr(old, "bias", True) is not None
    if dimension(old):
        return window(old, inputs, outputs, bias=bias)
    scaled = scale == "learned"
    layer = ScaledLinear(inputs, outputs, bias, scale_init) if scaled else nn.Linear(inputs, outputs, bias)
    if bias and bias_init != "default":
        (nn.init.normal_ if bias_init == "normal" else nn.init.zeros_)(layer.bias)
    return on_axis(layer, axis, rank)


def _problems(old: nn.Module, bias_init: str, scale: str, scale_init: float) -> list[str]:
    problems = []
    for label, value, known in (
        ("bias_init", bias_init, ("default", "normal", "zero")),
        ("scale", scale, ("none", "learned")),
    ):
        if value not in known:
            problems.append(f"'linear': {label} is {value!r}; expected {' or '.join(map(repr, known))}")
    if not 0 < scale_init < math.inf:
        problems.append(f"'linear': scale_init is {scale_init}; expected a number above 0")
    if (bias_init, scale) != ("default", "none") and not isinstance(old, nn.Linear):
        problems.append(
            f"'linear': bias_init and scale are for the slot of a Linear, and this is {type(old).__name__}; leave "
            "them out"
        )
    return problems
