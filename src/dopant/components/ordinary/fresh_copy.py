"""Control: the old module once more, drawn anew."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from ...errors import SlotMismatch
from ...registry import component


def _reason(old: nn.Module, signature: Any = None) -> str | None:
    """Why a module cannot be drawn anew; None if it can."""
    if not any(True for _ in old.parameters()):
        return "the old module has no parameters, so a fresh copy of it is the old module"
    for name, module in old.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):  # the laws hold a component to what it declares
            return f"{name or type(module).__name__!r} couples the samples of a batch, which a copy would not declare"
    return None


@component("fresh-copy", fills=_reason, control="ablation")
def fresh_copy(old: nn.Module, signature: Any) -> nn.Module:
    """A copy of the old module that begins from other numbers: the values of each of its parameters in another order.

    The same function of the same size with another start: what it changes, chance and starting anew change. Mixed with
    the old module it is the control of a mixing curve; alone in the slot it makes an A/A study, in which every
    difference found is a false one. An order drawn at random keeps mean, spread and zeros of each parameter, whatever
    initialisation the host has, a trained one too; what lay in the arrangement (orthogonal rows, a padding row of an
    embedding) is lost. Shapes and cost: the old module's.
    Raises SlotMismatch for a module without parameters, or with batch normalisation inside.
    """
    wrong = _reason(old)
    if wrong:
        raise SlotMismatch(f"'fresh-copy' cannot fill this slot: {wrong}")
    new = copy.deepcopy(old)
    with torch.no_grad():
        for parameter in new.parameters():
            order = torch.randperm(parameter.numel())
            parameter.copy_(parameter.flatten()[order.to(parameter.device)].view_as(parameter))
    return new
