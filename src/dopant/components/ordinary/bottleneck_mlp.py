"""Control: the nonlinearity alone, at the same trainable count."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import nn

from ..._signature import Signature
from ...registry import component
from ._anywhere import refuse_anywhere
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
from ._parameter_choice import beside, choose, families
from .parameter_matched import ParameterMatched


class BottleneckMLP(Sized):
    """gather(act(spread(x))), spread and gather affine. Shapes as the old layer's. width: unless said, the nearest."""

    def __init__(self, old: nn.Module, wanted: int, act: str, width: int | None = None):
        super().__init__()
        self.wanted = wanted
        self.width = width or nearest_width(counter(old), wanted)
        self.spread = spread(old, self.width)
        self.act = ACTIVATIONS[act]()
        self.gather = gather(old, self.width, old.bias is not None)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.gather(self.act(self.spread(x)))


def counter(old: nn.Module) -> Any:
    """width -> trainable count, in the slot of a Linear or plain Conv2d."""
    inputs, outputs, bias = fan_in(old), fan_out(old), old.bias is not None
    return lambda w: w * (inputs + 1 + outputs) + outputs * bias


def _built(
    name: str, old: nn.Module, signature: Signature, act: str, target: nn.Module | None, other: bool
) -> nn.Module:
    wanted, needed, place = asked(name, old, signature, target, bad_activation(name, act))
    if place is None:
        return BottleneckMLP(old, wanted, act, other_width(counter(old), wanted, needed) if other else None)
    per_feature = place.kind == "positions" and place.inputs == place.outputs
    known = families(place.fan_in, place.outputs, per_feature=per_feature)
    choice = beside(known, wanted, needed) if other else choose(known, wanted, "nearest")
    return ParameterMatched(old, place, choice, known, wanted, act)


@component("bottleneck-mlp", fills=refuse_anywhere, control="same capacity")
def bottleneck_mlp(
    old: nn.Module, signature: Any, *, act: Literal["tanh", "relu"] = "tanh", target: nn.Module | None = None
) -> nn.Module:
    """Linear, activation, Linear with a hidden width that matches the trainable count of the component it controls.

    Fills Linear and Conv2d (there the first layer keeps the window and the second is 1x1), with the nearest width, at
    least 1; and every other slot of one tensor of floats in and one out, with the network of `parameter-matched`, which
    takes other shapes where the narrowest bottleneck is too large.
    act: "tanh" or "relu". `describe()` says which width and how near. Without a component to control, the count is the
    old module's. Cost: as an ordinary MLP.
    Raises SlotMismatch for other slots and unknown activations, NotDefined for nothing to match.
    """
    return _built("bottleneck-mlp", old, signature, act, target, False)


@component("bottleneck-mlp-other-side", fills=refuse_anywhere, control="same capacity")
def bottleneck_mlp_other_side(
    old: nn.Module,
    signature: Any,
    *,
    act: Literal["tanh", "relu"] = "tanh",
    target: nn.Module | None = None,
) -> nn.Module:
    """`bottleneck-mlp` with the neighbouring width, on the other side of the count that is to be matched.

    Where no width comes within a tenth of the component's trainable count, the two stand on either side of it, and the
    component must beat both. Without a component to control it is there in any case.
    Fills, act and cost as `bottleneck-mlp`. Raises NotDefined where it is not needed, or there is none.
    """
    return _built("bottleneck-mlp-other-side", old, signature, act, target, True)
