"""Control: the old layer's map plus a little nonlinearity, at the same trainable count."""

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


class LinearResidual(Sized):
    """linear(x) + gather(act(spread(x))), the last without a bias of its own. Shapes as the old layer's."""

    def __init__(self, old: nn.Module, wanted: int, act: str):
        super().__init__()
        inputs, outputs, bias = fan_in(old), fan_out(old), old.bias is not None
        self.wanted = wanted
        self.width = nearest_width(lambda w: outputs * (inputs + bias) + w * (inputs + 1 + outputs), wanted)
        self.linear = spread(old, outputs, bias)
        self.spread = spread(old, self.width)
        self.act = ACTIVATIONS[act]()
        self.gather = gather(old, self.width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x) + self.gather(self.act(self.spread(x)))


@component("linear-residual", fills=refuse_dense, control="same capacity")
def linear_residual(
    old: nn.Module, signature: Any, *, act: Literal["tanh", "relu"] = "tanh", target: nn.Module | None = None
) -> nn.Module:
    """A fresh linear layer plus a small MLP beside it, together of the trainable count of the component it controls.

    Fills Linear and Conv2d. act: "tanh" or "relu". The MLP has at least one hidden unit: where the component is smaller
    than the linear layer itself, this control is the larger one, and `describe()` says by how much.
    Without a component to control, the count is the old layer's. Cost: as the old layer plus the MLP.
    Raises SlotMismatch for other slots and unknown activations.
    """
    bad = [] if act in ACTIVATIONS else [f"'linear-residual': act is {act!r}; expected 'tanh' or 'relu'"]
    require_dense("linear-residual", old, bad)
    return LinearResidual(old, budget(old, target), act)
