"""Control: the old layer's map plus a little nonlinearity, at the same trainable count."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import nn

from ..._signature import Signature
from ...registry import component
from ._anywhere import ResidualAnywhere, refuse_anywhere
from ._asked import asked, bad_activation
from ._capacity import (
    ACTIVATIONS,
    Sized,
    fan_in,
    fan_out,
    gather,
    nearest_width,
    other_width,
    spread,
)


class LinearResidual(Sized):
    """linear(x) + gather(act(spread(x))), the last without a bias of its own. Shapes as the old layer's. width: unless
    said, the nearest."""

    def __init__(self, old: nn.Module, wanted: int, act: str, width: int | None = None):
        super().__init__()
        outputs, bias = fan_out(old), old.bias is not None
        self.wanted = wanted
        self.width = width or nearest_width(counter(old), wanted)
        self.linear = spread(old, outputs, bias)
        self.spread = spread(old, self.width)
        self.act = ACTIVATIONS[act]()
        self.gather = gather(old, self.width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x) + self.gather(self.act(self.spread(x)))


def counter(old: nn.Module) -> Any:
    """width -> trainable count, in the slot of a Linear or plain Conv2d."""
    inputs, outputs, bias = fan_in(old), fan_out(old), old.bias is not None
    return lambda w: outputs * (inputs + bias) + w * (inputs + 1 + outputs)


def _built(
    name: str, old: nn.Module, signature: Signature, act: str, target: nn.Module | None, other: bool
) -> nn.Module:
    wanted, needed, place = asked(name, old, signature, target, bad_activation(name, act))
    if place is None:
        return LinearResidual(old, wanted, act, other_width(counter(old), wanted, needed) if other else None)
    count = ResidualAnywhere.counter(place)
    return ResidualAnywhere(old, place, wanted, act, other_width(count, wanted, needed) if other else None)


@component("linear-residual", fills=refuse_anywhere, control="same capacity")
def linear_residual(
    old: nn.Module, signature: Any, *, act: Literal["tanh", "relu"] = "tanh", target: nn.Module | None = None
) -> nn.Module:
    """A fresh linear layer plus a small MLP beside it, together of the trainable count of the component it controls.

    Fills Linear, Conv2d, and every other slot of one tensor of floats in and one out, where it stands as
    `parameter-matched` does. act: "tanh" or "relu". The MLP has at least one hidden unit: where the component is
    smaller than the linear layer itself, this control is the larger one, and `describe()` says by how much; a study
    that makes its controls itself leaves it out then, and says so.
    Without a component to control, the count is the old module's. Cost: as a linear layer plus the MLP.
    Raises SlotMismatch for other slots and unknown activations, NotDefined for nothing to match.
    """
    return _built("linear-residual", old, signature, act, target, False)


@component("linear-residual-other-side", fills=refuse_anywhere, control="same capacity")
def linear_residual_other_side(
    old: nn.Module,
    signature: Any,
    *,
    act: Literal["tanh", "relu"] = "tanh",
    target: nn.Module | None = None,
) -> nn.Module:
    """`linear-residual` with the neighbouring width, on the other side of the count that is to be matched.

    Where no width comes within a tenth of the component's trainable count, the two stand on either side of it, and the
    component must beat both. Without a component to control it is there in any case.
    Fills, act and cost as `linear-residual`. Raises NotDefined where it is not needed, or there is none.
    """
    return _built("linear-residual-other-side", old, signature, act, target, True)
