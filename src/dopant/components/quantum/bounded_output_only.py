"""Control: a linear map whose outputs are bounded as those of a circuit are."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ...errors import NotDefined
from ...quantum.layer import CircuitLayer
from ...quantum.observables import Measurement
from ...registry import component
from ..ordinary.born_linear import born_linear
from ._inside import InPlaceOfCircuit, component_of, with_circuits
from .flipped_quanv import FlippedQuanv
from .reupload_linear import ReuploadLinear


class BoundedOutput(InPlaceOfCircuit):
    """bound(linear(x)), (…, features) -> (…, outputs).

    bound: softmax where probabilities of all outcomes are measured; of some basis states, softmax with one outcome more
    for the rest; else (low + high)/2 + (high - low)/2 tanh, low and high (outputs,) the least and the largest value
    that each observable can take (of a sum of Pauli strings, -+ the sum of its coefficients' sizes).
    """

    low: Tensor
    high: Tensor

    def __init__(self, layer: CircuitLayer):
        super().__init__(layer)
        measured, self.features = layer.measured, layer.circuit.features
        self.sum_to_one = measured.kind == "probabilities"
        rest = int(measured.states is not None)
        place: dict[str, Any] = {"device": layer.weights.device, "dtype": layer.weights.dtype}
        self.linear = nn.Linear(self.features, self.outputs + rest, **place)
        low, high = range_of(measured)
        self.register_buffer("low", low.to(layer.weights), persistent=False)
        self.register_buffer("high", high.to(layer.weights), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(x[..., : self.features])
        if self.sum_to_one:
            return y.softmax(-1)[..., : self.outputs]
        return (self.low + self.high) / 2 + (self.high - self.low) / 2 * y.tanh()


def range_of(measured: Measurement) -> tuple[Tensor, Tensor]:
    """The least and the largest value of each output, (outputs,), double precision."""
    if measured.kind == "paulis":
        high = torch.tensor([sum(map(abs, s.coefficients)) for s in measured.sums], dtype=torch.float64)
        return -high, high
    if measured.kind == "matrices":
        values = torch.linalg.eigvalsh(torch.tensor(measured.matrices, dtype=torch.complex128))
        return values[:, 0], values[:, -1]
    return torch.zeros(measured.outputs, dtype=torch.float64), torch.ones(measured.outputs, dtype=torch.float64)


@component("bounded-output-only", control="ablation")
def bounded_output_only(old: nn.Module, signature: Any, *, target: nn.Module | None = None) -> nn.Module:
    """The component that it controls with a bounded linear map in the place of each circuit.

    A linear map from the circuit's features, freshly drawn, then the circuit's bound: tanh for expectations of Pauli
    strings (scaled to the range of a sum), softmax for probabilities. What stands before and behind the circuit stays,
    and starts as in the component. What the control does as well needed a bounded output and no circuit.
    Of `reupload-linear`: `born-linear`, as many trained numbers and outputs that are probabilities.
    Fills any slot whose component holds a `CircuitLayer`; without a component, a Linear, for a circuit of 2 qubits.
    Cost: (features + 1) * measured values parameters in the place of the angles.
    Raises NotDefined where the component holds no circuit, or one that reads no feature; and for `flipped-quanv`.
    """
    of = component_of(old, target)
    if isinstance(of, ReuploadLinear):
        return born_linear(old, signature, target=of)
    otherwise = ""
    if isinstance(of, FlippedQuanv):
        otherwise = (
            "its outputs grow with its input; what is bounded is the trace of its kernels, which 'psd-conv' keeps and "
            "'psd-conv-free' does not"
        )
    return with_circuits(of, _bounded, otherwise)


def _bounded(layer: CircuitLayer) -> BoundedOutput:
    if not layer.circuit.features:
        raise NotDefined("the circuit reads no feature")
    return BoundedOutput(layer)
