"""Control: the old module once more, drawn anew."""

from __future__ import annotations

import copy
from typing import Any

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
        own = next(module.named_parameters(recurse=False), None)
        if own is not None and not callable(getattr(module, "reset_parameters", None)):
            where = f"{name}.{own[0]}" if name else own[0]
            return f"{where!r} of {type(module).__name__} cannot be drawn anew: it has no reset_parameters()"
    return None


@component("fresh-copy", fills=_reason, control="ablation")
def fresh_copy(old: nn.Module, signature: Any) -> nn.Module:
    """A copy of the old module with its parameters drawn anew, each layer as its own reset_parameters() does.

    The same function of the same size with another start: what it changes, chance and starting anew change. Mixed with
    the old module it is the control of a mixing curve; alone in the slot it makes an A/A study, in which every
    difference found is a false one. A layer with an initialisation of its own in the host loses it.
    Shapes and cost: the old module's.
    Raises SlotMismatch for a module without parameters, with some that no reset_parameters() draws, or with
    batch normalisation inside.
    """
    wrong = _reason(old)
    if wrong:
        raise SlotMismatch(f"'fresh-copy' cannot fill this slot: {wrong}")
    new = copy.deepcopy(old)
    for module in new.modules():
        reset: Any = getattr(module, "reset_parameters", None)
        if callable(reset):
            reset()
    return new
