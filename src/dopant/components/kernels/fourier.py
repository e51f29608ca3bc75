"""A kernel of a stated, finite dimension: random Fourier features."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import ConfigError
from ...registry import component
from .classical import RadialKernel, Widths, gaussian_scale
from .kernel import Kernel, numbers

WIDTH, MOST = 256, 4096


class FourierKernel(RadialKernel):
    """f(x).f(y), f(x) = sqrt(2/width) cos(sqrt(2 gamma) W x + b) with W ~ N(0, 1) and b ~ U(0, 2 pi) fixed.

    Its mean over draws is the Gaussian kernel of this gamma (Rahimi and Recht 2007).
    """

    unit_diagonal = False
    weight: Tensor  # (width, features)
    phase: Tensor  # (width,)

    def __init__(self, features: int, width: int, gamma: Widths = "tuned"):
        super().__init__(features, gamma)
        self.register_buffer("weight", torch.randn(width, features))
        self.register_buffer("phase", 2 * math.pi * torch.rand(width))

    def map(self, x: Tensor) -> Tensor:
        """(n, features) -> (n, width)."""
        angles = (2 * self.gamma).sqrt() * (x @ self.weight.mT) + self.phase
        return math.sqrt(2 / len(self.weight)) * angles.cos()

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return (self.map(x) * self.map(y)).sum(-1)

    def gram(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        with torch.no_grad():
            left = self.map(x)
            return left @ (left if y is None else self.map(y)).mT

    def scale(self, x: Tensor) -> float:
        return gaussian_scale(x)

    def extra_repr(self) -> str:
        return f"features={self.features}, width={len(self.weight)}, gamma={self.told!r}"


@component("fourier-kernel", fills=Kernel, control="same capacity")
def fourier_kernel(
    old: nn.Module,
    signature: Any,
    *,
    width: int | None = None,
    gamma: Widths = "tuned",
    target: nn.Module | None = None,
) -> nn.Module:
    """The kernel of `width` random Fourier features, drawn once for each replicate.

    width: without one, as many as the feature space of the kernel that it controls has dimensions (4^qubits, at most
    4,096), else 256. gamma: as for `rbf-kernel`, which it tends to as the width grows.
    Source: Rahimi and Recht 2007. Raises ConfigError for a width below 1 and a gamma that is not positive.
    """
    problems = numbers("fourier-kernel", "gamma", gamma, ("tuned", "scale"))
    if width is not None and (isinstance(width, bool) or width < 1):
        problems.append(f"'fourier-kernel': width is {width!r}; expected a whole number from 1 on")
    if problems:
        raise ConfigError(problems)
    assert isinstance(old, Kernel)
    return FourierKernel(old.features, width or min(MOST, getattr(target, "dimension", None) or WIDTH), gamma)
