"""The state of a circuit gate by gate in plain torch operations: any device, any dtype, any derivative.

The reference for the compiled kernel: it multiplies the textbook matrices and knows nothing of plans. Neighbouring
gates whose matrices are the same for all samples are multiplied together first, as long as they act on few qubits.
Cost: O(batch * 2^(n+k)) a gate on k qubits; under autograd every gate keeps its input, batch * 2^n numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from . import amplitudes
from .circuit import Circuit
from .gate import Gate


@dataclass
class _Block:
    """Neighbouring gates on `qubits` (ascending); `shared`: no feature is read."""

    qubits: tuple[int, ...]
    gates: list[Gate]
    shared: bool


def blocks(circuit: Circuit, most: int = 3) -> list[_Block]:
    """Gates gathered into blocks of at most `most` qubits, feature-free ones with feature-free ones."""
    found: list[_Block] = []
    for gate in circuit.gates:
        shared, on = not gate.features, set(gate.qubits)
        place = None
        for i in range(len(found) - 1, -1, -1):
            block = found[i]
            union = on | set(block.qubits)
            if shared and block.shared and len(union) <= max(most, len(on)) and (on & set(block.qubits)):
                place = i
                break
            if on & set(block.qubits):
                break
        if place is None:
            found.append(_Block(tuple(sorted(on)), [gate], shared))
        else:
            found[place].qubits = tuple(sorted(on | set(found[place].qubits)))
            found[place].gates.append(gate)
    return found


def state(
    circuit: Circuit, features: torch.Tensor, weights: torch.Tensor, start: torch.Tensor | None = None
) -> torch.Tensor:
    """features (batch, f), weights (w,) of one dtype -> (batch, 2^n) complex.

    start: real (batch, 2^n), what the gates act on; default that of the circuit's encodings, else |0…0>.
    """
    dtype = torch.complex128 if features.dtype == torch.float64 else torch.complex64
    batch, n = features.shape[0], circuit.qubits
    start = amplitudes.start(circuit, features, weights) if start is None else start
    if start is not None:
        psi = torch.complex(start, torch.zeros_like(start))
        circuit = amplitudes.without(circuit)
    else:
        psi = torch.zeros(1, 1 << n, dtype=dtype, device=features.device)
        psi = torch.cat([torch.ones_like(psi[:, :1]), psi[:, 1:]], 1).expand(batch, -1)
    uploads: dict[tuple[object, ...], torch.Tensor] = {}  # the same data uploaded again is the same matrix
    for block in blocks(circuit):
        if len(block.gates) == 1:
            gate = block.gates[0]
            key = (gate.data, gate.controls, len(gate.qubits)) if gate.data is not None else None
            matrix = uploads[key] if key in uploads else gate.matrix(features, weights)
            if key is not None:
                uploads[key] = matrix
            psi = apply(psi, matrix, gate.qubits, n)
        else:
            psi = apply(psi, _product(block, features, weights), block.qubits, n)
    return psi


def _product(block: _Block, features: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    k = len(block.qubits)
    where = {q: i for i, q in enumerate(block.qubits)}
    dtype = torch.complex128 if features.dtype == torch.float64 else torch.complex64
    columns = torch.eye(1 << k, dtype=dtype, device=features.device)  # row j: what |j> becomes
    for gate in block.gates:
        columns = apply(columns, gate.matrix(features, weights), tuple(where[q] for q in gate.qubits), k)
    return columns.mT


def apply(psi: torch.Tensor, matrix: torch.Tensor, qubits: tuple[int, ...], n: int) -> torch.Tensor:
    """(batch, 2^n) with `matrix` (d, d) or (batch, d, d) on `qubits`, the first the most significant of the matrix."""
    k, batch = len(qubits), psi.shape[0]
    if list(qubits) == list(range(qubits[0], qubits[0] + k)):  # neighbours in order: no transposition
        before, after = 1 << qubits[0], 1 << (n - qubits[0] - k)
        view = psi.reshape(batch, before, 1 << k, after)
        if matrix.dim() == 3:
            matrix = matrix[:, None]
        return (matrix @ view).reshape(batch, 1 << n)
    order = list(qubits) + [q for q in range(n) if q not in qubits]
    view = psi.reshape(batch, *[2] * n).permute(0, *[q + 1 for q in order])
    moved = (matrix @ view.reshape(batch, 1 << k, 1 << (n - k))).reshape(batch, *[2] * n)
    back = [order.index(q) + 1 for q in range(n)]
    return moved.permute(0, *back).reshape(batch, 1 << n)
