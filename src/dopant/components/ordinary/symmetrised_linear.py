"""Control: what a circuit does to its input before it computes, followed by an ordinary linear layer."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ...errors import SlotMismatch
from ...registry import component
from ..quantum.reupload_linear import qubit_problems, qubits_needed, refuse_linear


class SymmetrisedLinear(nn.Module):
    """readout(distinct entries of (X + X^T)/2), X the input zero-padded to 4^q and read row-major, of side 2^q.

    (..., in_features) -> (..., out_features). `entries` (distinct,): where in the flattened matrix one of each pair
    stands, in row-major order, without those that are zero for every input.
    """

    entries: torch.Tensor

    def __init__(self, in_features: int, out_features: int, qubits: int, bias: bool):
        super().__init__()
        self.in_features, self.qubits = in_features, qubits
        side = 2**qubits
        number = torch.arange(side * side).view(side, side)
        upper = number[torch.triu(torch.ones(side, side, dtype=torch.bool))]  # (row, column) with row <= column
        # row <= column, so the entry itself comes before its mirror image: it is padding only if both are
        entries = upper[upper < in_features]
        self.register_buffer("entries", entries, persistent=False)
        self.merged = in_features - len(entries)
        self.readout = nn.Linear(len(entries), out_features, bias)

    def distinct(self, x: torch.Tensor) -> torch.Tensor:
        """(..., in_features) -> (..., distinct): the numbers that reach the circuit."""
        side = 2**self.qubits
        matrices = functional.pad(x, (0, side * side - self.in_features)).unflatten(-1, (side, side))
        return ((matrices + matrices.mT) / 2).flatten(-2).index_select(-1, self.entries)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.readout(self.distinct(x))

    def describe(self) -> str:
        """One line: how many numbers come in, how many pairs merge, how many numbers are left."""
        return f"{self.in_features} inputs, {self.merged} pairs merge: {len(self.entries)} distinct numbers"

    def extra_repr(self) -> str:
        return self.describe()


@component("symmetrised-linear", fills=refuse_linear, paper="quantum-creep", control="ablation", linear=True)
def symmetrised_linear(
    old: nn.Module, signature: Any, *, qubits: int | None = None, target: nn.Module | None = None
) -> nn.Module:
    """The input treatment of `reupload-linear` and nothing else of it: pad, symmetrise, then an ordinary linear layer.

    The input is zero-padded to 4^q and read as a matrix X; the distinct entries of H = (X + X^T)/2 go into a freshly
    drawn Linear. Where two inputs stand in mirrored places only their mean is left, as for the circuit: of 12544 inputs
    at q = 7, 4,753 pairs merge and 7,791 numbers remain. A linear layer that does worse with them has lost what the
    circuit loses too; one that does better was regularised by it.
    Fills Linear; (..., in) -> (..., out). qubits: q, unless said that of the component that it controls, else the
    fewest that `reupload-linear` would take. A slot without bias stays without.
    Cost: (distinct entries + 1) * out parameters. Source: derived from Wang et al. 2024, arXiv 2409.17583.
    Raises SlotMismatch for other slots and for too few qubits.
    """
    reason = refuse_linear(old, signature)
    if reason:
        raise SlotMismatch(f"'symmetrised-linear' cannot fill this slot: {reason}")
    assert isinstance(old, nn.Linear)
    problems = [
        f"the slot {lead} but 'symmetrised-linear' {tail}"
        for lead, tail in qubit_problems(old.in_features, old.out_features, qubits)
    ]
    if problems:
        raise SlotMismatch(problems)
    return SymmetrisedLinear(old.in_features, old.out_features, qubits or qubits_of(old, target), old.bias is not None)


def qubits_of(old: nn.Linear, target: nn.Module | None) -> int:
    """The qubits of a circuit in the slot of `old`: those of `target` if it has any that hold the inputs, else the
    fewest that hold inputs and outputs."""
    qubits = getattr(target, "qubits", None)
    enough = isinstance(qubits, int) and not qubit_problems(old.in_features, old.out_features, qubits)
    return qubits if enough and qubits else qubits_needed(old.in_features, old.out_features)
