"""Qiskit reads what is written here, and what Qiskit writes is read."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch

import random_circuits
from absence import absent
from dopant.quantum import Circuit
from dopant.quantum.qasm import from_qasm, to_qasm

try:
    from qiskit import QuantumCircuit, qasm2, qasm3, transpile
    from qiskit.circuit import Parameter, ParameterVector
    from qiskit.circuit.random import random_circuit
    from qiskit.quantum_info import Operator
except ImportError:
    QuantumCircuit = None

X = torch.tensor([0.3, -1.2, 2.1], dtype=torch.float64)
W = torch.tensor([0.7, -0.4, 1.9], dtype=torch.float64)
# of Qiskit's own importer, which has not followed yet
pytestmark = pytest.mark.filterwarnings("ignore:.*argument ``annotated`` is deprecated:DeprecationWarning")
NOTHING = torch.zeros(0, dtype=torch.float64)


@pytest.fixture(autouse=True)
def _qiskit() -> None:
    if QuantumCircuit is None:
        absent("Qiskit with qiskit-qasm3-import")


def theirs(circuit: Any) -> np.ndarray:
    """Their matrix with our qubit 0 as the most significant."""
    return Operator(circuit).reverse_qargs().data


def equal_but_for_a_phase(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(abs(abs(np.vdot(a, b)) / len(a) - 1) < 1e-10)


@pytest.mark.parametrize("seed", range(8))
def test_qiskit_reads_the_same_unitary_with_its_phase(seed: int):
    circuit = random_circuits.circuit(random.Random(seed), 1 + seed % 4, 10)
    read = qasm3.loads(to_qasm(circuit))
    values = {f"x_{k}": v for k, v in enumerate(X.tolist())} | {f"w_{k}": v for k, v in enumerate(W.tolist())}
    read = read.assign_parameters({p: values[p.name] for p in read.parameters})
    assert abs(theirs(read) - random_circuits.matrix(circuit, X, W)).max() < 1e-10


@pytest.mark.parametrize("seed", range(6))
def test_texts_of_qiskit_are_read(seed: int):
    # Qiskit leaves global phases out of its texts, so theirs are compared up to one
    given = random_circuit(3, 4, max_operands=3, seed=seed)
    for circuit in (given, transpile(given, basis_gates=["rz", "sx", "cx"], optimization_level=1)):
        text = qasm3.dumps(circuit)
        found = from_qasm(text)
        if "$" in text:
            assert found.qubits == 3
        assert equal_but_for_a_phase(random_circuits.matrix(found, NOTHING, NOTHING), theirs(circuit))


def test_parameters_of_qiskit_become_features_and_weights():
    x, theta = ParameterVector("x", 2), Parameter("theta")
    given = QuantumCircuit(2, 2)
    given.rx(x[1] * 2 + theta, 0)
    given.rzz(theta * x[0] / 3, 0, 1)
    given.u(x[0], 0.2, theta, 1)
    given.measure([0, 1], [0, 1])
    found = from_qasm(qasm3.dumps(given), weights="theta")
    assert (found.features, found.weights) == (2, 1)
    given = given.remove_final_measurements(inplace=False).assign_parameters({x: [0.3, -1.2], theta: 0.7})
    assert abs(random_circuits.matrix(found, X, W) - theirs(given)).max() < 1e-12


def test_texts_of_version_two_are_read():
    given = QuantumCircuit(3)
    given.u(1, 2, 3, 0)
    given.cu(0.1, 0.2, 0.3, 0.4, 0, 2)
    given.csx(0, 1)
    given.rxx(0.4, 1, 2)
    given.append(given.to_gate(label="twice"), [2, 1, 0])
    found = from_qasm(qasm2.dumps(given))
    assert abs(random_circuits.matrix(found, NOTHING, NOTHING) - theirs(given)).max() < 1e-10


def test_a_circuit_goes_there_and_back():
    circuit = random_circuits.circuit(random.Random(5), 3, 10, numbers=True)
    found: Circuit = from_qasm(qasm3.dumps(qasm3.loads(to_qasm(circuit))))
    ours = random_circuits.matrix(circuit, NOTHING, NOTHING)
    assert equal_but_for_a_phase(random_circuits.matrix(found, NOTHING, NOTHING), ours)
