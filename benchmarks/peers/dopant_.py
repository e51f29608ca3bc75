"""dopant: the same list of gates through Circuit's methods, its layer's step; kernels through QuantumKernel."""

from __future__ import annotations

from typing import Any

import torch
from serve import Program, arrays, serve
from torch_step import gradient_step

import dopant
from dopant.quantum import Circuit, QuantumKernel, feature, weight


def circuit(work: dict[str, Any]) -> Circuit:
    found = Circuit(work["qubits"])
    for name, qubits, angles in work["gates"]:
        values = [a if not isinstance(a, list) else {"feature": feature, "weight": weight}[a[0]](a[1]) for a in angles]
        found = getattr(found, name)(*qubits, *values)
    return found


def make(work: dict[str, Any], variant: str) -> Program:
    if work["kind"] == "kernel":
        torch.set_num_threads(1)
        kernel = QuantumKernel(circuit(work))
        inputs = torch.from_numpy(arrays(work)[0])
        return Program(lambda: (kernel(inputs),), dopant.__version__)
    layer = circuit(work).layer(measure="z")
    return Program(gradient_step(work, lambda inputs, weights: layer(inputs), layer.weights), dopant.__version__)


serve(make)
