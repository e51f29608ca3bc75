"""Control: what a component does to its input before a circuit computes, and then a linear map."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ...quantum.layer import CircuitLayer
from ...quantum.spectrum import monomials_of
from ...registry import component
from ..ordinary.symmetrised_linear import symmetrised_linear
from ._inside import InPlaceOfCircuit, component_of, with_circuits
from ._quanv_ablations import SymmetricConv
from .flipped_quanv import FlippedQuanv
from .reupload_linear import ReuploadLinear


class TreatedInput(InPlaceOfCircuit):
    """linear(m(x)), m(x) the features and products of features that the circuit's angles hold: (…, features) ->
    (…, outputs)."""

    def __init__(self, layer: CircuitLayer):
        super().__init__(layer)
        self.monomials = monomials_of(layer.circuit)
        self.linear = nn.Linear(
            len(self.monomials), self.outputs, device=layer.weights.device, dtype=layer.weights.dtype
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(torch.stack([x[..., list(m)].prod(-1) for m in self.monomials], -1))


@component("input-treatment-only", control="ablation")
def input_treatment_only(old: nn.Module, signature: Any, *, target: nn.Module | None = None) -> nn.Module:
    """The component that it controls with an ordinary linear map in the place of each circuit.

    What comes before the circuit stays, and starts as in the component: linear maps, normalisations, and the products
    of features that the angles of its gates hold; so does what comes behind it. The linear map is freshly drawn.
    `reupload-linear` symmetrises its input: `symmetrised-linear`. `flipped-quanv` symmetrises each patch: a convolution
    with symmetric kernels.
    Fills any slot whose component holds a `CircuitLayer`; without a component, a Linear, for a circuit of 2 qubits.
    Cost: (monomials + 1) * measured values parameters in the place of the angles.
    Raises NotDefined where the component holds no circuit, or one that reads no feature or features in a matrix.
    """
    of = component_of(old, target)
    if isinstance(of, FlippedQuanv):
        return SymmetricConv(of)
    if isinstance(of, ReuploadLinear):
        return symmetrised_linear(old, signature, target=of)
    return with_circuits(of, TreatedInput)
