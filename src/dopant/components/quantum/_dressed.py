"""A circuit between linear maps, drawn from one generator."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn


class Start:
    """Starting values, all from one generator: angles uniform in [0, 2 pi), linear maps as torch's Linear starts."""

    def __init__(self, generator: torch.Generator | None):
        self.generator = generator

    def angles(self, shape: Any) -> nn.Parameter:
        sizes = (shape,) if isinstance(shape, int) else tuple(shape)
        sizes = () if sizes == (1,) else sizes
        return nn.Parameter(torch.rand(sizes, generator=self.generator) * (2 * math.pi))

    def linear(self, width: int, to: int, bias: bool) -> nn.Linear:
        layer: Any = nn.utils.skip_init(nn.Linear, width, to, bias=bias)
        bound = width**-0.5  # torch's own start of weight and bias
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.uniform_(-bound, bound, generator=self.generator)
        return layer

    def map(self, width: int, to: int, bias: bool = True) -> nn.Module:
        """A linear map, or nothing where the widths are equal."""
        return self.linear(width, to, bias) if width != to else nn.Identity()
