"""The circuits inside a component, each exchanged for something else: what controls of circuits are made by."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ...errors import NotDefined
from ...quantum.layer import CircuitLayer
from ..ordinary._capacity import controlled
from .circuit import DressedCircuit, built
from .reupload_linear import refuse_linear

Make = Callable[[CircuitLayer], nn.Module]


def component_of(old: nn.Module, target: nn.Module | None) -> nn.Module:
    """The component that is controlled; where there is none, and the slot is a Linear, a `circuit` of 2 qubits and one
    layer, so that the control can be looked at by itself. NotDefined for another slot without a component."""
    of = controlled(old, target)
    if of is not None:
        return of
    reason = refuse_linear(old)
    if reason:
        raise NotDefined(f"there is no component to control, and the `circuit` that would stand for one {reason}")
    layer: Any = old
    return DressedCircuit(
        layer.in_features, layer.out_features, built(None, 2, 1, "angle", "strongly-entangling", True),
        bias=layer.bias is not None, device=layer.weight.device, dtype=layer.weight.dtype,
    )  # fmt: skip


def with_circuits(component: nn.Module, make: Make, otherwise: str = "") -> nn.Module:
    """A copy of `component` with `make(layer)` in the place of every CircuitLayer in it; all else stays, as it starts.

    NotDefined where there is none: such a component has no circuit whose gates could be read. otherwise: why not, of
    components that are known.
    """
    if not any(isinstance(m, CircuitLayer) for m in component.modules()):
        raise NotDefined(otherwise or "the component holds no dopant.quantum circuit whose gates could be read")
    if isinstance(component, CircuitLayer):
        return make(component)
    new = copy.deepcopy(component)
    made: dict[nn.Module, nn.Module] = {}
    for parent in list(new.modules()):
        for name, child in list(parent._modules.items()):
            if isinstance(child, CircuitLayer):
                made[child] = made[child] if child in made else make(child)
                setattr(parent, name, made[child])
    return new


class InPlaceOfCircuit(nn.Module):
    """What stands where a CircuitLayer stood: (…, features) -> (…, outputs), more columns than it reads accepted.

    weights: an empty tensor on the device and in the dtype of the layer, for code that asks where it computes.
    """

    weights: torch.Tensor

    def __init__(self, layer: CircuitLayer):
        super().__init__()
        self.outputs = layer.measured.outputs
        self.register_buffer("weights", layer.weights.detach()[:0].clone(), persistent=False)
