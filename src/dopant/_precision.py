"""Circuits keep the precision of their parameters where autocast would lower it.

Autocast casts the operands of some products and not of others (none written to a given tensor, none in another thread),
and ten repetitions of a gate would add up bfloat16's rounding: here it is off, forward and backward.
"""

from __future__ import annotations

import contextlib

import torch


def no_autocast(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """A context in which products are computed in the precision of their operands."""
    if not torch.amp.is_autocast_available(device.type):  # such as "meta", which torch.autocast would refuse
        return contextlib.nullcontext()
    return torch.autocast(device.type, enabled=False)


def as_parameters(x: torch.Tensor, parameters: torch.Tensor) -> torch.Tensor:
    """x in the real precision of `parameters` if autocast is on, where other layers give bfloat16 or half.

    Elsewhere a wrong precision is the caller's mistake, and x stays as it is.
    """
    device = x.device.type
    if not torch.amp.is_autocast_available(device) or not torch.is_autocast_enabled(device):
        return x
    return x.to(parameters.dtype.to_complex().to_real())
