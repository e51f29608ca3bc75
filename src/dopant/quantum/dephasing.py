"""A circuit whose coherences are lost between its layers: exact, up to 6 qubits.

Full dephasing in the computational basis sets the entries of a density matrix beside its diagonal to zero. Between two
dephasings nothing but a distribution p over basis states goes on, and a layer U takes p_j to sum_j |U_ij|^2 p_j: a
Markov chain of bits. Nielsen and Chuang, section 8.3.6 (phase damping, to its end).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import NotDefined
from . import statevector
from .circuit import Circuit
from .gate import Gate
from .observables import Measurement, of_state

MOST = 6  # qubits


def layers_of(circuit: Circuit) -> list[tuple[Gate, ...]]:
    """The gates in layers: those that read features and those that read weights only take turns, and a gate that reads
    neither belongs to the layer that it stands in (at the beginning, to the first)."""
    found: list[list[Gate]] = [[]]
    kind: bool | None = None
    for gate in circuit.gates:
        mine = True if gate.features else False if any(a.sources for a in gate.angles) else None
        if mine is not None and kind is not None and mine != kind:
            found.append([])
        kind = kind if mine is None else mine
        found[-1].append(gate)
    return [tuple(gates) for gates in found]


def dephased(
    layers: Sequence[Sequence[Gate]], qubits: int, measured: Measurement, x: Tensor, weights: Tensor
) -> Tensor:
    """(batch, features), (weights,) of one dtype -> (batch, outputs): the values measured after the last of `layers`,
    the state dephased after each of the others. Differentiable. Cost: O(batch * 4^qubits) a gate."""
    size = 1 << qubits
    p = torch.zeros(1, size, dtype=x.dtype, device=x.device)
    p = torch.cat([torch.ones_like(p[:, :1]), p[:, 1:]], 1)
    for gates in layers[:-1]:
        columns = _columns(gates, qubits, x, weights)
        p = (p[:, None, :] @ (columns.real.square() + columns.imag.square())).squeeze(1)
    columns = _columns(layers[-1], qubits, x, weights)
    values = of_state(measured, columns.reshape(-1, size), qubits).reshape(len(columns), size, -1)
    return (p[:, None, :] @ values).squeeze(1).expand(len(x), -1)


def _columns(gates: Sequence[Gate], n: int, x: Tensor, weights: Tensor) -> Tensor:
    """(batch or 1, 2^n, 2^n) complex: in row j, what the gates make of basis state j."""
    dtype = torch.complex128 if x.dtype == torch.float64 else torch.complex64
    batch = len(x) if any(gate.features for gate in gates) else 1
    rows = torch.eye(1 << n, dtype=dtype, device=x.device).reshape(1, -1).expand(batch, -1)
    for gate in gates:
        rows = statevector.apply(rows, gate.matrix(x, weights), tuple(q + n for q in gate.qubits), 2 * n)
    return rows.reshape(batch, 1 << n, 1 << n)


def check(circuit: Circuit, layers: Sequence[Sequence[Gate]]) -> None:
    """NotDefined for a single layer, and for more qubits than are computed."""
    if circuit.qubits > MOST:
        raise NotDefined(f"the circuit has {circuit.qubits} qubits, and dephasing is computed up to {MOST}")
    if len(layers) < 2:
        raise NotDefined("the circuit is a single layer, so there is nothing between layers to dephase")
