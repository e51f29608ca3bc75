"""One component."""

from __future__ import annotations

from torch import nn

import dopant as dp


@dp.component("example-leaky-linear", fills=nn.Linear, controls=["bottleneck-mlp"])
def leaky_linear(old: nn.Linear, signature: dp.Signature, *, slope: float = 0.01) -> nn.Module:
    """A linear map followed by a leaky ReLU. Shapes: (batch, in) -> (batch, out). Cost: in * out + out parameters."""
    return nn.Sequential(nn.Linear(old.in_features, old.out_features), nn.LeakyReLU(slope))
