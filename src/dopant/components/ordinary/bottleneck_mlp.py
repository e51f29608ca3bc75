"""Control: the nonlinearity alone, at the same trainable count."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import nn

from ...registry import component
from ._capacity import (
    ACTIVATIONS,
    Sized,
    budget,
    fan_in,
    fan_out,
    gather,
    nearest_width,
    refuse_dense,
    require_dense,
    spread,
)


class BottleneckMLP(Sized):
    """gather(act(spread(x))), spread and gather affine. Shapes as the old layer's."""

    def __init__(self, old: nn.Module, wanted: int, act: str):
        super().__init__()
        inputs, outputs, bias = fan_in(old), fan_out(old), old.bias is not None
        self.wanted = wanted
        self.width = nearest_width(lambda w: w * (inputs + 1 + outputs) + outputs * bias, wanted)
        self.spread = spread(old, self.width)
        self.act = ACTIVATIONS[act]()
        self.gather = gather(old, self.width, bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.gather(self.act(self.spread(x)))


@component("bottleneck-mlp", fills=refuse_dense, control="same capacity")
def bottleneck_mlp(
    old: nn.Module, signature: Any, *, act: Literal["tanh", "relu"] = "tanh", target: nn.Module | None = None
) -> nn.Module:
    """Linear, activation, Linear with a hidden width that matches the trainable count of the component it controls.

    Fills Linear and Conv2d (there the first layer keeps the window and the second is 1x1).
    act: "tanh" or "relu". The width is the nearest integer, at least 1; `describe()` says which and how near.
    Without a component to control, the count is the old layer's. Cost: as an ordinary MLP.
    Raises SlotMismatch for other slots and unknown activations.
    """
    bad = [] if act in ACTIVATIONS else [f"'bottleneck-mlp': act is {act!r}; expected 'tanh' or 'relu'"]
    require_dense("bottleneck-mlp", old, bad)
    return BottleneckMLP(old, budget(old, target), act)
