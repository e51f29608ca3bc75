"""PennyLane: `default` = default.qubit, backpropagation, one broadcast batch; `lightning` = lightning.qubit, adjoint.

Both through the torch interface. lightning.qubit has no batches of its own: PennyLane hands it one circuit a sample.
A kernel matrix is one product of the states; PennyLane's own kernel functions run one circuit for each pair.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pennylane as qml
import torch
from serve import Program, serve
from torch_step import gradient_step, kernel_step

GATES: dict[str, Any] = {
    "h": qml.Hadamard,
    "x": qml.X,
    "s": qml.S,
    "sdg": lambda wires: qml.adjoint(qml.S(wires)),
    "t": qml.T,
    "tdg": lambda wires: qml.adjoint(qml.T(wires)),
    "rx": qml.RX,
    "ry": qml.RY,
    "rz": qml.RZ,
    "p": qml.PhaseShift,
    "rot": qml.Rot,
    "cx": qml.CNOT,
    "cz": qml.CZ,
    "swap": qml.SWAP,
    "crx": qml.CRX,
    "cry": qml.CRY,
    "crz": qml.CRZ,
    "rxx": qml.IsingXX,
    "ryy": qml.IsingYY,
    "rzz": qml.IsingZZ,
}


def make(work: dict[str, Any], variant: str) -> Program:
    n = work["qubits"]
    if variant == "lightning":
        device, method = qml.device("lightning.qubit", wires=n, c_dtype=np.complex64), "adjoint"
    else:
        device, method = qml.device("default.qubit", wires=n), "backprop"

    def gates(inputs: torch.Tensor, weights: torch.Tensor | None) -> None:
        for name, qubits, angles in work["gates"]:
            values = [
                a if not isinstance(a, list) else inputs[:, a[1]] if a[0] == "feature" else weights[a[1]]
                for a in angles
            ]
            GATES[name](*values, wires=qubits)

    if work["kind"] == "kernel":

        @qml.qnode(device, interface="torch", diff_method=None)
        def state(inputs: torch.Tensor) -> Any:
            gates(inputs, None)
            return qml.state()

        return Program(kernel_step(work, state), qml.__version__)

    @qml.qnode(device, interface="torch", diff_method=method)
    def node(inputs: torch.Tensor, weights: torch.Tensor) -> Any:
        gates(inputs, weights)
        return [qml.expval(qml.Z(q)) for q in range(n)]

    return Program(gradient_step(work, lambda x, w: torch.stack(node(x, w), -1)), qml.__version__)


serve(make)
