"""Activations: the ordinary nonlinearities, number by number."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import nn

from ..._signature import Signature
from ...errors import SlotMismatch
from ...registry import component
from ._shape import reason, shape_kept

refuse = reason(shape_kept)


class Sine(nn.Module):
    """sin(omega * x), any shape."""

    def __init__(self, omega: float = 1.0):
        super().__init__()
        self.omega = omega

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sin(self.omega * x)

    def extra_repr(self) -> str:
        return f"omega={self.omega}"


@component("relu", fills=refuse)
def relu(old: nn.Module, signature: Signature) -> nn.Module:
    """max(x, 0) of every number.

    Shapes: any, kept. Fills every slot that takes one tensor of floats and gives one of the same shape and dtype, at
    whatever shapes it is called; never in place. Cost: no parameters. Source: Nair and Hinton 2010.
    Raises SlotMismatch for other slots.
    """
    shape_kept(old, signature)
    return nn.ReLU()


@component("gelu", fills=refuse)
def gelu(old: nn.Module, signature: Signature, *, approximate: Literal["none", "tanh"] = "none") -> nn.Module:
    """x * Phi(x) of every number, Phi the cumulative normal distribution.

    Shapes and slots as `relu`. approximate: "none" (exact) or "tanh", the approximation of the original code.
    Cost: no parameters. Source: Hendrycks and Gimpel 2016, arXiv 1606.08415, eqs. 1 and 2.
    Raises SlotMismatch for other slots and approximations.
    """
    shape_kept(old, signature)
    if approximate not in ("none", "tanh"):
        raise SlotMismatch(f"approximate is {approximate!r}; expected 'none' or 'tanh'")
    return nn.GELU(approximate)


@component("sine", fills=refuse, examples=({}, {"omega": 30.0}))
def sine(old: nn.Module, signature: Signature, *, omega: float = 1.0) -> nn.Module:
    """sin(omega * x) of every number.

    Shapes and slots as `relu`. omega: the frequency, 1 unless said; SIREN uses 30. Cost: no parameters.
    Source: Sitzmann et al. 2020, arXiv 2006.09661, eq. 4 and section 3.2. Differs from the paper in: only the
    activation; the layers before it keep the host's weights, which SIREN draws from U(-sqrt(6/n), sqrt(6/n)) / omega.
    Raises SlotMismatch for other slots and an omega that is 0 or not finite.
    """
    shape_kept(old, signature)
    if not math.isfinite(omega) or omega == 0:
        raise SlotMismatch(f"omega is {omega!r}; expected a finite number other than 0")
    return Sine(omega)
