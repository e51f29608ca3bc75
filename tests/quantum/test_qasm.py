"""Circuits written as OpenQASM 3 and read again are the same circuits, to the phase."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import random_circuits
from dopant.errors import ConfigError
from dopant.quantum import Circuit, feature, weight
from dopant.quantum._cosine_sine import euler
from dopant.quantum.gates import GATES
from dopant.quantum.qasm import from_qasm, to_qasm

X = torch.tensor([0.3, -1.2, 2.1], dtype=torch.float64)
W = torch.tensor([0.7, -0.4, 1.9], dtype=torch.float64)


def same(a: Circuit, b: Circuit, tolerance: float = 1e-12) -> None:
    """Equal matrices, global phase included, at X and W."""
    gap = abs(random_circuits.matrix(a, X, W) - random_circuits.matrix(b, X, W)).max()
    assert a.qubits == b.qubits and gap < tolerance, gap


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(1, 5), st.integers(0, 2**32))
def test_a_text_read_again_has_the_same_matrix_and_phase(qubits: int, seed: int):
    circuit = random_circuits.circuit(random.Random(seed), qubits, 12)
    same(from_qasm(to_qasm(circuit)), circuit)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(1, 4), st.integers(0, 2**32))
def test_with_values_nothing_is_left_open(qubits: int, seed: int):
    circuit = random_circuits.circuit(random.Random(seed), qubits, 12)
    w = W[: circuit.weights]
    text = to_qasm(circuit, X, w)
    assert "input" not in text
    read = from_qasm(text)
    assert (read.features, read.weights) == (0, 0)
    same(read, circuit)


@pytest.mark.parametrize("name", GATES)
@pytest.mark.parametrize("controls", [0, 1, 2])
def test_every_gate_comes_back_as_itself(name: str, controls: int):
    kind = GATES[name]
    on = list(range(controls, controls + kind.qubits))
    angles = [feature(0) * weight(1), 0.25, weight(0)][: len(kind.angles)]
    circuit = Circuit(controls + kind.qubits).gate(name, *on, *angles, controls=range(controls))
    assert from_qasm(to_qasm(circuit)) == circuit


@pytest.mark.parametrize("letters", ["X", "Y", "Z", "XX", "YZ", "IZIX", "XYZYX"])
def test_a_pauli_exponential_comes_back_as_one_gate(letters: str):
    circuit = Circuit(len(letters)).pauli_exp(letters, weight(0))
    read = from_qasm(to_qasm(circuit))
    assert len(read) == 1
    same(read, circuit)


def test_some_values_may_be_known_and_others_not():
    circuit = Circuit(1).rx(0, feature(1) * weight() + weight())
    text = to_qasm(circuit, weights=[2.0, 0.5])
    assert "rx(0.5 + 2.0*x_1) q[0];" in text and "w_" not in text
    assert "rx(3.0*w_0 + w_1) q[0];" in to_qasm(circuit, features=[9.0, 3.0, 8.0])


def test_numbers_come_back_to_the_bit():
    numbers = [0.1, 1 / 3, np.pi / 3, -3 * np.pi / 4, 1e-300, 2**60 + 0.0, np.nextafter(np.pi, 4)]
    circuit = Circuit(1)
    for number in numbers:
        circuit = circuit.rx(0, number).ry(0, number * feature(0))
    text = to_qasm(circuit)
    assert from_qasm(text) == circuit
    assert "rx(pi/3)" in text and "rx(-3*pi/4)" in text


def test_values_in_lists_keep_double_precision():
    circuit = Circuit(1).rx(0, weight())
    assert from_qasm(to_qasm(circuit, weights=[0.1])).gates[0].angles[0].constant == 0.1


@pytest.mark.parametrize("qubits", [1, 2, 3, 4])
@pytest.mark.parametrize("controls", [0, 1])
def test_a_dense_unitary_is_written_exactly(qubits: int, controls: int):
    matrix = random_circuits.unitary(random.Random(qubits), qubits)
    on = [*range(controls, controls + qubits)][::-1]
    circuit = Circuit(qubits + controls).unitary(on, matrix, controls=range(controls))
    same(from_qasm(to_qasm(circuit)), circuit)


def test_unitaries_with_zeros_and_repeated_values_are_written_exactly():
    d = np.diag(np.exp(1j * np.array([0.1, -0.4, np.pi, 2.0])))
    swap = np.eye(4)[[0, 2, 1, 3]]
    for matrix in (np.eye(4), -np.eye(4), d, swap, np.eye(4)[::-1], d @ swap, np.kron([[0, -1j], [1j, 0]], np.eye(2))):
        circuit = Circuit(2).unitary([0, 1], matrix)
        same(from_qasm(to_qasm(circuit)), circuit)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 2**32), st.sampled_from([None, (0, 0), (0, 1)]))
def test_euler_angles_give_the_matrix_back(seed: int, zero: tuple[int, int] | None):
    matrix = random_circuits.unitary(random.Random(seed), 1)
    if zero is not None:
        phases = np.angle(matrix[0])
        matrix = np.diag(np.exp(1j * phases)) if zero == (0, 1) else np.diag(np.exp(1j * phases))[::-1]
    theta, phi, lam, phase = euler(matrix)
    u = GATES["u"].matrix(*torch.tensor([theta, phi, lam], dtype=torch.float64)).numpy()
    assert abs(np.exp(1j * phase) * u - matrix).max() < 1e-14


def test_the_inverse_of_any_circuit_is_written_too():
    matrix = random_circuits.unitary(random.Random(0), 2).tolist()
    circuit = random_circuits.circuit(random.Random(3), 3, 20).iswap(0, 2).unitary([2, 1], matrix)
    same(circuit + circuit.inverse(), Circuit(3))
    circuit = circuit.inverse()
    same(from_qasm(to_qasm(circuit)), circuit)


def test_exponentials_of_data_and_of_pauli_sums_are_written_once_their_inputs_have_values():
    circuit = Circuit(2).hermitian_exp([1, 0], first=0, count=3, scale=0.7).special_unitary([0, 1], [weight(0)] * 15)
    text = to_qasm(circuit, X, [0.7])
    same(from_qasm(text), circuit, 1e-11)
    for lacking in ({}, {"features": X}, {"weights": [0.7]}):
        with pytest.raises(ConfigError, match=r"gate [01] \('(hermitian_exp|special_unitary).*have no values; pass"):
            to_qasm(circuit, **lacking)


def test_a_dense_gate_on_many_qubits_is_refused_by_name_and_place():
    circuit = Circuit(7).h(0).unitary(range(7), np.eye(128))
    with pytest.raises(ConfigError, match=r"gate 1 \('unitary'\) on 7 qubits is written for up to 6 qubits; build it"):
        to_qasm(circuit)


@pytest.mark.parametrize(
    ("features", "weights", "message"),
    [
        ([1.0], None, "features are 1 numbers but the circuit reads 2"),
        (None, [1.0], "weights are 1 numbers but the circuit has 2 weights"),
        (None, [1.0, 2.0, 3.0], "weights are 3 numbers but the circuit has 2 weights"),
        (torch.zeros(2, 2), None, r"one row of real numbers, not Tensor of shape \(2, 2\); one text is one sample"),
        (None, [1.0, float("nan")], "NaN or infinite"),
        (None, torch.tensor([1j, 1j]), "one row of real numbers"),
        ("ab", None, "one row of real numbers, not str"),
    ],
)
def test_values_that_do_not_fit_are_refused(features: object, weights: object, message: str):
    circuit = Circuit(1).rx(0, feature(1)).ry(0, weight()).rz(0, weight())
    with pytest.raises(ConfigError, match=message):
        to_qasm(circuit, features, weights)
