"""Qiskit Machine Learning: EstimatorQNN with input gradients; FidelityStatevectorKernel on Qiskit's own ZZ feature map.

EstimatorQNN shifts every angle of every sample's circuit, so it gets a few samples only; the driver multiplies its time
and says so. Double precision throughout.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import qiskit
import qiskit_machine_learning
from qiskit.circuit import ParameterVector, QuantumCircuit
from qiskit.circuit.library import zz_feature_map
from qiskit.primitives import StatevectorEstimator
from qiskit.quantum_info import SparsePauliOp
from qiskit_machine_learning.kernels import FidelityStatevectorKernel
from qiskit_machine_learning.neural_networks import EstimatorQNN
from serve import Program, arrays, serve

VERSION = f"{qiskit_machine_learning.__version__} (qiskit {qiskit.__version__})"


def samples(qubits: int) -> int:
    return 10 if qubits <= 4 else 1


def circuit(work: dict[str, Any]) -> tuple[QuantumCircuit, ParameterVector, ParameterVector]:
    inputs = ParameterVector("x", len(work["inputs"][0]))
    weights = ParameterVector("w", len(work["weights"]))
    found = QuantumCircuit(work["qubits"])
    for name, qubits, angles in work["gates"]:
        values = [
            a if not isinstance(a, list) else inputs[a[1]] if a[0] == "feature" else weights[a[1]] for a in angles
        ]
        if name == "rot":
            found.u(values[1], values[2], values[0], *qubits)
        else:
            getattr(found, name)(*values, *qubits)
    return found, inputs, weights


def make(work: dict[str, Any], variant: str) -> Program:
    n = work["qubits"]
    if work["kind"] == "kernel":
        points = np.array(work["points"])
        # qubit order does not matter to overlaps; a new kernel each time, since it keeps the states it has computed
        feature_map = zz_feature_map(n, reps=2, entanglement="full")
        return Program(lambda: (FidelityStatevectorKernel(feature_map=feature_map).evaluate(points),), VERSION)
    count = samples(n)
    inputs, weights, cotangent = arrays(work, np.float64)
    inputs, cotangent = inputs[:count], cotangent[:count]
    built, x, w = circuit(work)
    network = EstimatorQNN(
        circuit=built,
        estimator=StatevectorEstimator(),
        observables=[SparsePauliOp.from_sparse_list([("Z", [q], 1.0)], n) for q in range(n)],
        input_params=list(x),
        weight_params=list(w),
        input_gradients=True,
        default_precision=0.0,
    )

    def step() -> tuple[Any, ...]:
        outputs = network.forward(inputs, weights)
        d_inputs, d_weights = network.backward(inputs, weights)
        return (
            outputs,
            np.einsum("bo,boi->bi", cotangent, d_inputs),
            np.einsum("bo,bow->w", cotangent, d_weights),
        )

    return Program(step, VERSION, count)


serve(make)
