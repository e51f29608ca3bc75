"""Values and gradients against Qiskit and PennyLane, over the whole gate set, up to six qubits."""

from __future__ import annotations

import importlib.util
import random

import numpy as np
import pytest
import torch

from absence import absent
from dopant.quantum import Circuit
from random_circuits import circuit as random_circuit
from random_circuits import inputs_for


def needs(name: str) -> None:
    if importlib.util.find_spec(name) is None:
        absent(name)


def numbers(circuit: Circuit, x, w):
    """(gate, its angles as numbers) for one sample."""
    for gate in circuit.gates:
        yield gate, [float(torch.as_tensor(a.value(x, w), dtype=torch.float64).detach()) for a in gate.angles]


def qiskit_state(circuit: Circuit, x, w) -> np.ndarray:
    from qiskit import QuantumCircuit
    from qiskit.circuit import library as lib
    from qiskit.quantum_info import Pauli, Statevector

    names = {"rot": None, "u": lib.UGate, "p": lib.PhaseGate, "id": lib.IGate, "cx": lib.CXGate, "ccx": lib.CCXGate,
             "iswap": lib.iSwapGate, "cp": lib.CPhaseGate, "cswap": lib.CSwapGate, "ccz": lib.CCZGate,
             "swap": lib.SwapGate}  # fmt: skip
    n = circuit.qubits
    theirs = QuantumCircuit(n)
    for gate, angles in numbers(circuit, x, w):
        if gate.name == "pauli_exp":
            pauli = Pauli(gate.letters[::-1]).to_matrix()  # the rightmost letter is the first qubit there
            made = np.cos(angles[0] / 2) * np.eye(len(pauli)) - 1j * np.sin(angles[0] / 2) * pauli
            made = lib.UnitaryGate(made)
        elif gate.name == "rot":
            made = lib.UGate(angles[1], angles[2], angles[0])
            theirs.global_phase -= 0 if gate.controls else (angles[0] + angles[2]) / 2
            assert not gate.controls
        else:
            kind = names.get(gate.name) or getattr(lib, gate.name.upper().replace("DG", "dg") + "Gate")
            made = kind(*angles)
        theirs.append(made.control(gate.controls, annotated=False) if gate.controls else made, gate.qubits)
    state = Statevector(theirs).data.reshape([2] * n)
    return state.transpose(*reversed(range(n))).reshape(-1)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6])
def test_states_are_qiskits_with_their_global_phase(n):
    needs("qiskit")
    rng = random.Random(n)
    plain = random_circuit(rng, n, 30, dense=False, controls=False)
    for circuit in (plain, random_circuit(rng, n, 12, dense=False, without=["rot"])):
        x, w = inputs_for(circuit, 1, n)
        ours = circuit.state(x, w)[0].detach().numpy()
        assert np.allclose(ours, qiskit_state(circuit, x[0], w), rtol=0, atol=1e-10)


def pennylane_gate(qml, gate, angles, wires):
    named = {
        "id": qml.Identity, "x": qml.PauliX, "y": qml.PauliY, "z": qml.PauliZ, "h": qml.Hadamard, "s": qml.S,
        "t": qml.T, "sdg": lambda wires: qml.adjoint(qml.S(wires)), "sx": qml.SX,
        "tdg": lambda wires: qml.adjoint(qml.T(wires)),
        "sxdg": lambda wires: qml.adjoint(qml.SX(wires)), "rx": qml.RX, "ry": qml.RY, "rz": qml.RZ, "p": qml.PhaseShift,
        "u": qml.U3, "rot": qml.Rot, "cx": qml.CNOT, "cy": qml.CY, "cz": qml.CZ, "ch": qml.CH, "crx": qml.CRX,
        "cp": qml.ControlledPhaseShift, "cry": qml.CRY, "crz": qml.CRZ, "swap": qml.SWAP, "iswap": qml.ISWAP,
        "rxx": qml.IsingXX, "ryy": qml.IsingYY, "rzz": qml.IsingZZ, "ccx": qml.Toffoli, "ccz": qml.CCZ,
        "cswap": qml.CSWAP,
    }  # fmt: skip
    if gate.name == "pauli_exp":
        return qml.PauliRot(angles[0], gate.letters, wires=wires)
    return named[gate.name](*angles, wires=wires)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6])
def test_expectations_and_their_gradients_are_pennylanes(n):
    needs("pennylane")
    import pennylane as qml

    rng = random.Random(10 + n)
    circuit = random_circuit(rng, n, 20, dense=False, controls=False, weights=None)
    x, w = inputs_for(circuit, 1, n)
    words = ["Z" * n, "XYZXYZ"[:n]]

    @qml.qnode(qml.device("default.qubit", wires=n), interface="torch", diff_method="backprop")
    def theirs(row, weights):
        for gate in circuit.gates:
            angles = [torch.as_tensor(a.value(row, weights), dtype=torch.float64) for a in gate.angles]
            pennylane_gate(qml, gate, angles, list(gate.qubits))
        return [qml.expval(qml.pauli.string_to_pauli_word(s, {q: q for q in range(n)})) for s in words]

    row = x[0].detach().clone().requires_grad_()
    expected = torch.stack([torch.as_tensor(v, dtype=torch.float64) for v in theirs(row, w)])
    layer = circuit.layer(words, dtype=torch.float64)
    ours = layer.runner(x, w)[0]
    assert torch.allclose(ours, expected, rtol=0, atol=1e-10)
    a = torch.autograd.grad(ours.sum(), (x, w))
    b = torch.autograd.grad(expected.sum(), (row, w), allow_unused=True, materialize_grads=True)
    assert torch.allclose(a[0][0], b[0], rtol=0, atol=1e-9) and torch.allclose(a[1], b[1], rtol=0, atol=1e-9)
