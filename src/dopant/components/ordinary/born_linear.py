"""Control: outputs bounded as probabilities are, from an ordinary linear map."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ...errors import SlotMismatch
from ...registry import component
from ..quantum._draw import normal
from ..quantum.reupload_linear import refuse_linear
from ._capacity import Sized, budget, controlled, nearest_width
from ._shape import spread_like
from .symmetrised_linear import qubits_of

FLOOR = 1e-12  # of |Wx|^2 in all: what an input of zeros is divided by


class BornLinear(Sized):
    """Output j = |(Wx)_j|^2 / |Wx|^2 (times exp(log_scale), plus bias_j), for the first out_features of 2^q outcomes.

    (..., in_features) -> (..., out_features). W is complex, 2^q x in_features, kept as real numbers: its real parts
    stand above its imaginary parts in a real matrix of 2^(q+1) rows, which is `gather` (2^(q+1), width) times `spread`
    (width, in_features), or `gather` alone where no factors are needed (`width` is then its full rank).
    1e-12 is added to |Wx|^2, spread evenly over the outcomes: an input of zeros gives 1/2^q everywhere with zero
    gradient, and gradients are finite everywhere. Outcomes add up to one in any case.
    """

    log_scale: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(self, old: nn.Linear, qubits: int, width: int, wanted: int):
        super().__init__()
        inputs, rows = old.in_features, 2 ** (qubits + 1)
        self.out_features, self.qubits, self.wanted = old.out_features, qubits, wanted
        self.full = min(inputs, rows)
        self.width = width
        factored = width < self.full
        self.spread: nn.Module = nn.Linear(inputs, width, bias=False) if factored else nn.Identity()
        self.gather = nn.Linear(width if factored else inputs, rows, bias=False)
        if factored:  # the product has the variance of torch's layers, as `low-rank`
            spread_like(self.spread, 1 / (3 * inputs), inputs)
            spread_like(self.gather, 1 / width, inputs)
        self.register_parameter("log_scale", None)
        self.bias = nn.Parameter(normal((old.out_features,))) if old.bias is not None else None

    def probabilities(self, x: torch.Tensor) -> torch.Tensor:
        """(..., in_features) -> (..., 2^q), not negative, of sum one."""
        weights = self.gather(self.spread(x)).unflatten(-1, (2, -1)).square().sum(-2)
        weights = weights + FLOOR / 2**self.qubits
        return weights / weights.sum(-1, keepdim=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        outputs = self.probabilities(x)[..., : self.out_features]
        if self.log_scale is not None:
            outputs = outputs * self.log_scale.exp()
        return outputs if self.bias is None else outputs + self.bias

    @torch.no_grad()
    def start_from(self, target: nn.Module) -> None:
        """Scale and bias as `target` has them at this moment, where it has them; no scale where it has none."""
        log_scale, bias = getattr(target, "log_scale", None), getattr(target, "bias", None)
        if isinstance(log_scale, torch.Tensor):
            self.log_scale = nn.Parameter(log_scale.detach().clone().to(self.gather.weight))
        if self.bias is not None and isinstance(bias, torch.Tensor) and bias.shape == self.bias.shape:
            self.bias.copy_(bias.real if bias.is_complex() else bias)

    def describe(self) -> str:
        """One line: rank of W, trainable count, count asked for."""
        return f"rank {self.width} of {self.full}, " + super().describe()


@component("born-linear", fills=refuse_linear, paper="quantum-creep", control="ablation")
def born_linear(
    old: nn.Module, signature: Any, *, rank: int | None = None, target: nn.Module | None = None
) -> nn.Module:
    """The bounded output of `reupload-linear` and nothing else of it: |Wx|^2 / |Wx|^2 summed, W any complex matrix.

    Outputs are the first `out` of as many outcomes as the circuit has, they are not negative and all outcomes add up
    to one; W is no product of unitaries, and x enters it linearly, without an exponential. Then the circuit's own scale
    (learned, from the same start, or none) and its very bias at the start.
    W is complex as the circuit's amplitudes are, so that an output is a sum of two squares; and it has few dimensions:
    whole, at q = 7 on 12544 inputs, it would have 3.2 million numbers (1.6 million even if it were real) against the
    circuit's 163,840, and the comparison would be one of sizes. rank: unless said, the one whose trainable count is
    nearest to that of the component it controls (there 13, of 166,410 numbers), at most full rank; `describe()` says
    which.
    An input of zeros gives the uniform outcome 1/2^q. Fills Linear; (..., in) -> (..., out). q: that of the component,
    else the fewest that `reupload-linear` would take; without a component there is no scale, the bias starts at N(0,1)
    and the count is the old layer's. A slot without bias stays without.
    Cost: rank (in + 2^(q+1)) + out parameters. Source: the Born rule; derived from Wang et al. 2024, arXiv 2409.17583.
    Raises SlotMismatch for other slots and for a rank that is below 1 or above the full one.
    """
    reason = refuse_linear(old, signature)
    if reason:
        raise SlotMismatch(f"'born-linear' cannot fill this slot: {reason}")
    assert isinstance(old, nn.Linear)
    of, qubits, wanted = controlled(old, target), qubits_of(old, target), budget(old, target)
    rows = 2 ** (qubits + 1)
    full, free = min(old.in_features, rows), old.out_features * (old.bias is not None)
    free += isinstance(getattr(of, "log_scale", None), torch.Tensor)
    if rank is None:
        rank = min(full, nearest_width(lambda r: r * (old.in_features + rows) + free, wanted))
    if not 1 <= rank <= full:
        raise SlotMismatch(f"'born-linear': rank is {rank}; expected 1 to {full}, the full rank of W here")
    layer = BornLinear(old, qubits, rank, wanted)
    if of is not None:
        layer.start_from(of)
    return layer
