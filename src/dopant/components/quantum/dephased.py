"""Control: a circuit whose coherences are lost between its layers."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from ...errors import NotDefined, SlotMismatch
from ...quantum import dephasing
from ...quantum.layer import CircuitLayer
from ...quantum.run import inputs
from ...registry import component
from ._inside import component_of, with_circuits
from ._quanv_ablations import DephasedQuanv
from .flipped_quanv import FlippedQuanv
from .reupload_linear import ReuploadLinear

_SAME = 1e-12  # outputs that differ by less over inputs are one


class DephasedCircuit(nn.Module):
    """(…, features) -> (…, outputs): the circuit of a CircuitLayer, dephased after each layer but the last.

    after: "layer" (see `dephasing.layers_of`) or "gate". Parameters: weights (circuit.weights,), radians, as they are
    in the layer.
    """

    def __init__(self, layer: CircuitLayer, after: str):
        super().__init__()
        self.circuit, self.measured = layer.circuit, layer.measured
        gates = [(gate,) for gate in self.circuit.gates]
        self.layers = gates if after == "gate" else dephasing.layers_of(self.circuit)
        dephasing.check(self.circuit, self.layers)
        self.weights = nn.Parameter(layer.weights.detach().clone())
        if not self._moves():
            raise NotDefined(
                "dephased, the circuit gives the same for every input: all that it reads is written into phases"
            )

    @torch.no_grad()
    def _moves(self) -> bool:
        """Whether outputs depend on inputs, at inputs and angles that nothing makes special."""
        generator = torch.Generator().manual_seed(0)
        x, w = (
            3 * torch.randn(*shape, generator=generator, dtype=torch.float64)
            for shape in ((5, self.circuit.features), (self.circuit.weights,))
        )
        found = dephasing.dephased(self.layers, self.circuit.qubits, self.measured, x, w)
        return bool((found - found[:1]).abs().max() > _SAME)

    def forward(self, x: Tensor) -> Tensor:
        x, shape = inputs(self.circuit, x, self.weights.dtype, "DephasedCircuit")
        weights = self.weights.to(x.dtype)
        out = dephasing.dephased(self.layers, self.circuit.qubits, self.measured, x, weights)
        return out.reshape(*shape, out.shape[-1])

    def describe(self) -> str:
        """One line: how often the state is dephased."""
        return f"{self.circuit.qubits} qubits, dephased {len(self.layers) - 1} times, {self.circuit.weights} angles"

    def extra_repr(self) -> str:
        return self.describe()


def _made(layer: CircuitLayer, after: str) -> DephasedCircuit:
    if layer.noise is not None:
        raise NotDefined("the circuit is noisy, and dephasing is computed without noise")
    return DephasedCircuit(layer, after)


@component("dephased", control="ablation", examples=({}, {"after": "gate"}))
def dephased(
    old: nn.Module,
    signature: Any,
    *,
    after: Literal["layer", "gate"] = "layer",
    target: nn.Module | None = None,
) -> nn.Module:
    """The component that it controls, the states of its circuits losing their coherence between layers.

    After each layer but the last the state is dephased fully in the computational basis, exactly: what goes on is a
    distribution over bit strings, as in a classical stochastic network with the circuit's transition probabilities.
    Layers are those of gates that read features and of gates that read weights, in turn. after="gate" dephases after
    each single gate. All else starts as in the component. What the control does as well needed no coherence beyond a
    layer. Expectations are exact: shots are left out.
    Of `flipped-quanv`, one layer and then a measurement: dephased before it, its kernels are diagonal.
    Fills any slot whose component holds a `CircuitLayer`; without a component, a Linear, for a circuit of 2 qubits.
    Cost: O(batch * 4^qubits) a gate, up to 6 qubits.
    Raises NotDefined where the component holds no circuit, one layer only, noise or more qubits; where the outputs
    would be the same for every input, as for encodings into phases; and for `reupload-linear`, for that reason.
    """
    if after not in ("layer", "gate"):
        raise SlotMismatch(f"'dephased': after is {after!r}; expected 'layer' or 'gate'")
    of = component_of(old, target)
    if isinstance(of, FlippedQuanv):
        return DephasedQuanv.of(of)
    otherwise = ""
    if isinstance(of, ReuploadLinear) and of.parametrisation == "complex":
        otherwise = "with complex parameters it is no circuit, and has no state to dephase"
    elif isinstance(of, ReuploadLinear):
        otherwise = (
            "it begins with all basis states alike, which dephased no unitary changes: every input would give "
            f"1/{2**of.qubits} everywhere"
        )
    return with_circuits(of, lambda layer: _made(layer, after), otherwise)
