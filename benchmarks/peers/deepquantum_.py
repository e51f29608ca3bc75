"""DeepQuantum: one QubitCircuit; features are encoded (its own vmap over the batch), weights are gates' parameters."""

from __future__ import annotations

import importlib.metadata
from typing import Any

import deepquantum as dq
import torch
from serve import Program, arrays, serve
from torch_step import kernel_step

LISTED = {"swap", "rxx", "ryy", "rzz"}  # take their qubits as a list


def build(work: dict[str, Any]) -> tuple[dq.QubitCircuit, list[int], list[tuple[torch.Tensor, list[int]]]]:
    """The circuit, the column of each encoded angle, and each gate's parameters with the weights they stand for."""
    circuit = dq.QubitCircuit(work["qubits"])
    columns: list[int] = []
    parameters: list[tuple[torch.Tensor, list[int]]] = []
    weights = torch.from_numpy(arrays(work)[1])
    for name, qubits, angles in work["gates"]:
        arguments = [qubits] if name in LISTED else qubits
        if not angles:
            getattr(circuit, name)(*arguments)
        elif name == "rot":
            # U3(theta, phi, lambda) is RZ(phi) RY(theta) RZ(lambda) up to a global phase
            circuit.u3(*arguments)
            (first, middle, last) = (a[1] for a in angles)
            gate = circuit.operators[-1]
            parameters += [(gate.theta, [middle]), (gate.phi, [last]), (gate.lambd, [first])]
        elif angles[0][0] == "feature":
            getattr(circuit, name)(*arguments, encode=True)
            columns.append(angles[0][1])
        else:
            getattr(circuit, name)(*arguments)
            parameters.append((circuit.operators[-1].theta, [angles[0][1]]))
    with torch.no_grad():
        for parameter, numbers in parameters:
            parameter.copy_(weights[numbers].reshape(parameter.shape))
    return circuit, columns, parameters


def make(work: dict[str, Any], variant: str) -> Program:
    torch.set_num_threads(1)
    circuit, columns, parameters = build(work)
    version = importlib.metadata.version("deepquantum")
    if work["kind"] == "kernel":
        return Program(kernel_step(work, lambda inputs: circuit(data=inputs[:, columns]).squeeze(-1)), version)
    for q in range(work["qubits"]):
        circuit.observable(q)
    inputs, weights, cotangent = (torch.from_numpy(a) for a in arrays(work))
    inputs.requires_grad_()

    def step() -> tuple[Any, ...]:
        inputs.grad = None
        for parameter, _ in parameters:
            parameter.grad = None
        circuit(data=inputs[:, columns])
        outputs = circuit.expectation()
        (outputs * cotangent).sum().backward()
        d_weights = torch.zeros_like(weights)
        for parameter, numbers in parameters:
            d_weights[numbers] = parameter.grad.reshape(-1)
        return outputs, inputs.grad, d_weights

    return Program(step, version)


serve(make)
