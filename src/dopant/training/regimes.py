"""What of a network moves in training: everything, or only the slots that a design fills."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _NormBase


def freeze_rest(model: nn.Module, slots: list[str]) -> None:
    """Make every parameter outside `slots` one that is not trained, in place. One that a slot shares with the rest
    (tied weights) is the slot's and stays trainable."""
    inside = {id(p) for slot in slots for p in model.get_submodule(slot).parameters()}
    for parameter in model.parameters():
        if id(parameter) not in inside:
            parameter.requires_grad_(False)


def held_statistics(model: nn.Module, slots: list[str]) -> list[nn.Module]:
    """Normalisations outside `slots` that keep running statistics; a frozen network must not move them either."""
    return [
        module
        for name, module in model.named_modules()
        if isinstance(module, _NormBase)
        and module.track_running_stats
        and not any(name == slot or name.startswith(slot + ".") for slot in slots)
    ]
