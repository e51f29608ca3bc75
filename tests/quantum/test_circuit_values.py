"""Circuits and angles as values: arithmetic, numbering of weights, composition, equality, and what is refused."""

from __future__ import annotations

import copy
import pickle
import random
import time

import numpy as np
import pytest
import torch

import random_circuits
from dopant.errors import ConfigError, DoesNotFit, UnknownName
from dopant.quantum import Circuit, QuantumKernel, feature, weight
from dopant.quantum.angles import Source

X, W = torch.tensor([0.3, -1.7, 2.2], dtype=torch.float64), torch.tensor([0.9, -0.4, 1.3], dtype=torch.float64)
x0, x1, w0, w1 = feature(0), feature(1), weight(0), weight(1)
a, b, c, d = X[0], X[1], W[0], W[1]


@pytest.mark.parametrize(("angle", "expected"), [
    (x0 + 0.5, a + 0.5), (0.5 - x0, 0.5 - a), (-(x0 - w0) / 4, -(a - c) / 4), (+x0 * 2 * w1, 2 * a * d),
    ((np.pi - x0) * (np.pi - x1), (np.pi - a) * (np.pi - b)), ((x0 + w0) * (x0 - w0), a * a - c * c),
    (x0 * x0 * w1 - 3 * w1 * x0 * x0, -2 * a * a * d), (np.float32(2) * x0 + torch.tensor(1.0), 2 * a + 1),
])  # fmt: skip
def test_arithmetic_of_angles_is_that_of_numbers(angle, expected):
    assert float(angle.value(X, W)) == pytest.approx(float(expected), abs=1e-14)


@pytest.mark.parametrize("seed", range(5))
def test_derivatives_of_angles_are_autograds(seed):
    draw = random.Random(seed)
    angle = random_circuits.angle(draw) * random_circuits.angle(draw) + w0 * w0 * x1 + x0 / 3
    x, w = X.clone().requires_grad_(), W.clone().requires_grad_()
    found = torch.autograd.grad(angle.value(x, w), (x, w))
    for kind, gradient in zip(("feature", "weight"), found, strict=True):
        ours = [float(angle.derivative(Source(kind, i)).value(X, W)) for i in range(3)]
        assert np.allclose(ours, gradient, rtol=1e-12, atol=1e-12)


def test_angles_that_are_the_same_polynomial_are_equal():
    assert (x0 + w0) * x1 == x1 * w0 + x1 * x0 and hash(x0 * w0) == hash(w0 * x0)
    assert x0 - x0 == feature(2) * 0 and x0 != x1 and x0 != w0 and weight() != weight()
    assert (x0 + 1).is_affine and not (x0 * x1).is_affine and (x0 - x0 + 2).is_number
    assert str(2 * x0 * w1 - w0 + 0.5) == "0.5 - w[0] + 2*x[0]*w[1]" and str(x0 - x0) == "0"
    with pytest.raises(AttributeError, match="arithmetic"):
        x0.terms = {}


def test_new_weights_are_numbered_as_their_gates_are_added():
    circuit = Circuit(2).rot(0, weight(), 2 * weight(), weight() + x0).ry(1, weight())
    assert [str(t) for gate in circuit for t in gate.angles] == ["w[0]", "2*w[1]", "x[0] + w[2]", "w[3]"]
    assert (circuit.weights, circuit.features, len(circuit)) == (4, 1, 2)


def test_one_weight_object_is_one_weight_also_after_a_copy():
    shared = weight()
    circuit = Circuit(2).ry(0, shared).ry(1, weight())
    for same in (circuit, copy.deepcopy(circuit), copy.copy(circuit)):
        assert same.rx(0, -shared).weights == 2 and same.rx(0, copy.deepcopy(shared)).weights == 2
    state = circuit.rx(0, shared * 2).state(weights=W[:2])
    assert torch.allclose(state, Circuit(2).ry(0, w0).ry(1, w1).rx(0, 2 * w0).state(weights=W[:2]))


def test_features_and_weights_may_be_lists_and_arrays():
    circuit = Circuit(2).ry(0, x0).ry(1, w0)
    expected = circuit.state(torch.tensor([[0.3], [0.5]]), torch.tensor([0.2]))
    assert torch.equal(circuit.state([[0.3], [0.5]], [0.2]), expected)
    assert circuit.state(np.array([0.3]), np.array([0.2])).dtype == torch.complex128


def test_numbered_weights_may_leave_gaps():
    assert Circuit(1).ry(0, weight(3)).weights == 4


def test_the_two_ways_of_numbering_do_not_mix():
    for make in (
        lambda: Circuit(1).ry(0, weight()).ry(0, weight(0)),
        lambda: Circuit(1).ry(0, weight(0)).ry(0, weight()),
    ):
        with pytest.raises(ConfigError, match=r"gate 1 \('ry'\): weight\(\) and weight\(k\) in one circuit"):
            make()
    with pytest.raises(ConfigError, match=r"gate 0 \('ry'\)"):
        Circuit(1).ry(0, weight() + weight(0))
    with pytest.raises(ConfigError, match="compose"):
        Circuit(1).ry(0, weight()) + Circuit(1).ry(0, weight(0))


def test_sums_share_weights_numbered_by_hand_and_no_others():
    by_hand = Circuit(1).ry(0, weight(0)) + Circuit(1).rx(0, weight(0) + x0)
    assert (by_hand.weights, by_hand.features) == (1, 1)
    assert (Circuit(1).ry(0, weight()) + Circuit(1).rx(0, weight())).weights == 2


def test_compose_places_the_second_circuit_after_the_first():
    block = Circuit(2).ry(0, x0).cry(0, 1, weight()).hermitian_exp(1, 1, 2)
    found = Circuit(3).rz(2, weight()).compose(block, [2, 0], first_feature=4)
    expected = Circuit(3).rz(2, w0).ry(2, feature(4)).cry(2, 0, w1).hermitian_exp(0, 5, 2)
    assert found == expected and (found.features, found.weights) == (7, 2)


@pytest.mark.parametrize("qubits", [1, 2, 4])
def test_the_inverse_undoes_any_circuit(qubits):
    circuit = random_circuits.circuit(random.Random(qubits), qubits, 30)
    if qubits > 1:
        circuit = circuit.iswap(0, 1).gate("sx", 0, controls=1).hermitian_exp([1, 0], 0, 3, scale=0.7)
    x, w = random_circuits.inputs_for(circuit, 2)
    undone = circuit.compose(circuit.inverse()).state(x, torch.cat([w, w])).detach()
    assert torch.allclose(undone, torch.eye(2**qubits, dtype=undone.dtype)[:1].expand(2, -1), atol=1e-12)


def test_circuits_are_values():
    circuit = random_circuits.circuit(random.Random(0), 3, 20)
    again = random_circuits.circuit(random.Random(0), 3, 20)
    back = pickle.loads(pickle.dumps(circuit))
    assert circuit == again == back and len({circuit, again, back}) == 1
    assert circuit != circuit.h(0) and circuit != Circuit(3) and Circuit(1) != Circuit(2)
    assert pickle.loads(pickle.dumps(Circuit(1).ry(0, weight()))).ry(0, weight()).weights == 2
    with pytest.raises(AttributeError, match="new ones"):
        circuit.qubits = 4
    assert repr(Circuit(2).ry(0, x0)) == "Circuit(qubits=2, gates=1, features=1, weights=0)"


EYE, NAN = np.eye(2), float("nan")
two = Circuit(2).h(0)
BAD = {
    "unknown gate": (lambda: two.gate("cxx", 0, 1), ["'cxx'", "gate 1", "cx"]),
    "qubit out of range": (lambda: two.cx(0, 2), ["gate 1 ('cx')", "qubit 2", "0 to 1", "Circuit(3)"]),
    "negative qubit": (lambda: two.h(-1), ["gate 1 ('h')", "-1"]),
    "qubit that is no number": (lambda: two.h(0.5), ["gate 1 ('h')", "0.5", "whole number"]),
    "qubit twice": (lambda: two.cx(1, 1), ["gate 1 ('cx')", "twice"]),
    "control is a target": (lambda: two.gate("x", 1, controls=1), ["gate 1 ('x')", "twice"]),
    "missing angle": (lambda: two.gate("rot", 0, 0.1), ["gate 1 ('rot')", "theta, omega missing"]),
    "too many": (lambda: two.gate("h", 0, 0.1), ["gate 1 ('h')", "not 2 arguments"]),
    "NaN angle": (lambda: two.ry(0, NAN), ["gate 1 ('ry')", "nan", "finite"]),
    "infinite coefficient": (lambda: two.ry(0, x0 * 1e308 * 1e308), ["gate 1 ('ry')", "inf"]),
    "complex angle": (lambda: two.ry(0, 1j), ["gate 1 ('ry')", "complex", "real"]),
    "angle is text": (lambda: two.ry(0, "pi"), ["gate 1 ('ry')", "'pi' (str)"]),
    "angle is a bool": (lambda: two.ry(0, True), ["gate 1 ('ry')", "True (bool)"]),
    "angle is an array": (lambda: two.ry(0, np.ones(3)), ["gate 1 ('ry')", "(3,)", "feature(i)"]),
    "angle wants a gradient": (lambda: two.ry(0, torch.ones((), requires_grad=True)), ["gate 1 ('ry')", "weight()"]),
    "not unitary": (lambda: two.unitary(0, [[1, 1], [0, 1]]), ["gate 1 ('unitary')", "not unitary", "polar"]),
    "wrong shape": (lambda: two.unitary([0, 1], EYE), ["gate 1 ('unitary')", "(4, 4)", "(2, 2)"]),
    "NaN in a matrix": (lambda: two.unitary(0, EYE * NAN), ["gate 1 ('unitary')", "NaN"]),
    "ragged matrix": (lambda: two.unitary(0, [[1, 0], [1]]), ["gate 1 ('unitary')", "list"]),
    "Pauli letter": (lambda: two.pauli_exp("XQ", 1), ["gate 1 ('pauli_exp')", "'Q'", "I, X, Y and Z"]),
    "letters and qubits": (lambda: two.pauli_exp("XX", 1, [0]), ["gate 1 ('pauli_exp')", "one letter a qubit"]),
    "angles and strings": (lambda: two.special_unitary(0, [1.0]), ["gate 1 ('special_unitary')", "3 Pauli strings"]),
    "too many features": (lambda: two.hermitian_exp(0, 0, 5), ["gate 1 ('hermitian_exp')", "between 1 and 4"]),
    "half a feature": (lambda: two.hermitian_exp(0, 1.5), ["gate 1 ('hermitian_exp')", "1.5"]),
    "scale by a feature": (lambda: two.hermitian_exp(0, scale=x0), ["gate 1 ('hermitian_exp')", "x[0] is no number"]),
    "no qubits": (lambda: Circuit(0), ["from 1 on", "0"]),
    "compose too large": (lambda: two.compose(Circuit(3)), ["compose", "qubit 2"]),
    "compose too few": (lambda: Circuit(3).compose(two, [0]), ["compose", "one qubit for each"]),
    "feature(-1)": (lambda: feature(-1), ["feature(-1)", "from 0 on"]),
    "weight(1.5)": (lambda: weight(1.5), ["weight(1.5)", "whole number"]),
    "division by a feature": (lambda: x0 / x1, ["x[1]", "before they enter"]),
    "division by zero": (lambda: x0 / 0, ["zero"]),
    "missing weight": (lambda: two.ry(0, weight(2)).state(None, W[:2]), ["(2,)", "3 weights", "w[2] is missing"]),
    "complex weights": (lambda: two.ry(0, w0).state(None, W[:1] * 1j), ["complex", "real"]),
    "too few columns": (lambda: two.ry(0, feature(5)).layer()(torch.zeros(2, 3)),
                        ["gate 1 ('ry')", "x[5]", "(2, 3)", "(…, 6)"]),
    "no features": (lambda: two.ry(0, x1).state(), ["gate 1 ('ry')", "x[1]", "none"]),
    "complex features": (lambda: two.ry(0, x0).layer()(torch.ones(1, 1) * 1j), ["complex64", ".real"]),
    "not Hermitian": (lambda: two.layer(np.triu(np.ones((4, 4)))), ["observable 0", "not Hermitian", "(M + M^+)/2"]),
    "complex coefficient": (lambda: two.layer([{"ZZ": 1}, {"ZZ": 1j}]), ["observable 1", "1j", "real"]),
    "coefficient is text": (lambda: two.layer({"ZZ": "a"}), ["observable 0", "'ZZ'", "'a'"]),
    "NaN coefficient": (lambda: two.layer({"ZZ": NAN}), ["observable 0", "nan"]),
    "string too short": (lambda: two.layer(["ZZ", "Z"]), ["observable 1", "'Z'", "2 qubits"]),
    "unknown measure": (lambda: two.layer(3), ["measure=3", "'probabilities'"]),
    "no such state": (lambda: two.layer(("states", [4])), ["4", "0 to 3"]),
    "no such qubit measured": (lambda: two.layer(("probabilities", [2])), ["qubit 2"]),
    "unknown path": (lambda: two.layer(path="gpu"), ["'gpu'", "'kernel'"]),
    "complex dtype": (lambda: two.layer(dtype=torch.complex64), ["complex64", "torch.float64"]),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_refused_with_gate_position_and_remedy(name):
    make, words = BAD[name]
    with pytest.raises(UnknownName if name == "unknown gate" else ConfigError) as found:
        make()
    assert [w for w in words if w not in str(found.value)] == []


@pytest.mark.parametrize("make", [lambda c: c.layer(), lambda c: c.state(), lambda c: QuantumKernel(c),
                                  lambda c: c.layer(shots=10), lambda c: c.layer("x", path="torch")])  # fmt: skip
@pytest.mark.parametrize("qubits", [40, 2000])
def test_too_many_qubits_are_refused_at_once_with_the_largest_number_that_fits(qubits, make):
    began = time.process_time()
    with pytest.raises(DoesNotFit, match=rf"{qubits} qubits.*the largest that fits is \d\d qubits"):
        make(Circuit(qubits).h(0))
    assert time.process_time() - began < 1
