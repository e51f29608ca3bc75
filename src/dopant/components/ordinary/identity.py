"""Nothing: the slot's input as its output."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from ..._signature import Signature, Spec, show
from ...errors import SlotMismatch
from ...registry import component
from ._shape import calls_of, reason


class Identity(nn.Module):
    """A copy of the first argument, whatever the others are."""

    def forward(self, x: torch.Tensor, *others: Any, **named: Any) -> torch.Tensor:
        return x.clone()


def plan(old: nn.Module, signature: Signature) -> None:
    """SlotMismatch unless every call gives one tensor like its first argument, and no other argument is of numbers."""
    for call in calls_of(signature):
        first = call.args[0] if call.args else None
        if not isinstance(first, Spec):
            raise SlotMismatch("its first argument by position is no tensor")
        if call.outputs != first:
            gives, takes = show(call.outputs, full=True), show(first, full=True)
            raise SlotMismatch(f"it gives {gives} from {takes}; the identity gives what it takes")
        others = [s for s in pytree.tree_leaves((call.args[1:], call.kwargs)) if isinstance(s, Spec)]
        if any(s.dtype.is_floating_point or s.dtype.is_complex for s in others):
            raise SlotMismatch(f"it takes {len(others) + 1} tensors, and the identity would drop all but the first")


@component("identity", fills=reason(plan), linear=True, unitary=True)
def identity(old: nn.Module, signature: Signature) -> nn.Module:
    """The slot's input, unchanged: what the network does without the module there.

    Shapes: any. Fills every slot that gives one tensor of the shape and dtype of its first argument; masks and flags
    beside it are passed over, other tensors of numbers are not. The output is a copy, so that an operation in place
    after the slot (an in-place ReLU, say) cannot reach what the host kept of the input. Cost: that copy; no parameters.
    Raises SlotMismatch for other slots.
    """
    plan(old, signature)
    return Identity()
