"""The initial gain: a factor on the initial weights of some slots, whatever stands in them."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

NORMALISATIONS = tuple(
    kind
    for kind in (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.LocalResponseNorm, getattr(nn, "RMSNorm", None))
    if kind is not None
)


def apply_gain(model: nn.Module, slots: list[str], gain: float) -> list[str]:
    """Multiply the initial weights in `slots` by `gain`, in place; returns the names of what was multiplied.

    Weights: parameters with at least one axis, of a floating or complex dtype, that are trained. Not biases (the last
    part of the name is `bias`), not those of normalisations, whose start is 1 or 0 by design, and no single numbers,
    which are scales themselves. Angles of a circuit are weights. A weight that two slots share is multiplied once.
    """
    done: dict[int, str] = {}
    for slot in slots:
        for prefix, module in model.get_submodule(slot).named_modules(prefix=slot):
            if isinstance(module, NORMALISATIONS):
                continue
            for name, parameter in module.named_parameters(prefix, recurse=False):
                moves = parameter.requires_grad and (parameter.is_floating_point() or parameter.is_complex())
                if moves and parameter.ndim and name.rpartition(".")[2] != "bias" and id(parameter) not in done:
                    parameter.data.mul_(gain)
                    done[id(parameter)] = name
    return list(done.values())
