"""Control: a circuit without its entangling gates."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ...quantum.layer import CircuitLayer
from ...quantum.product import without_entanglement
from ...registry import component
from ._inside import component_of, with_circuits
from ._quanv_ablations import UnentangledQuanv
from .flipped_quanv import FlippedQuanv
from .reupload_linear import ReuploadLinear


@torch.no_grad()
def _product(layer: CircuitLayer) -> CircuitLayer:
    circuit, left = without_entanglement(layer.circuit)
    place: dict[str, Any] = {"device": layer.weights.device, "dtype": layer.weights.dtype}
    new = CircuitLayer(circuit, layer.measured, shots=layer.shots, noise=layer.noise, path=layer.runner.path, **place)
    new.weights.copy_(layer.weights[left])
    return new


@component("unentangled", control="ablation")
def unentangled(old: nn.Module, signature: Any, *, target: nn.Module | None = None) -> nn.Module:
    """The component that it controls, without the gates of its circuits that entangle.

    Gates on several qubits and controlled ones are left out; a swap stays, and of exp(i sum angle P) over Pauli strings
    those on one qubit. All else starts as in the component: the same angles in the gates that are left (those of gates
    that are gone are gone too), linear maps, observables, shots, noise. What the control does as well needed no
    entanglement. A feature that only entangling gates read is lost with them.
    Of `flipped-quanv`: states of its two qubits that are products, six angles a kernel instead of fifteen.
    Fills any slot whose component holds a `CircuitLayer`; without a component, a Linear, for a circuit of 2 qubits.
    Cost: at most the component's. Raises NotDefined where the component holds no circuit, where nothing in it
    entangles, and for `reupload-linear`, whose data gate acts on all qubits at once.
    """
    of = component_of(old, target)
    if isinstance(of, FlippedQuanv):
        return UnentangledQuanv.of(of)
    otherwise = ""
    if isinstance(of, ReuploadLinear):
        otherwise = "its data gate exp(iH(x)) acts on all qubits at once; without it the input would be gone"
    return with_circuits(of, _product, otherwise)
