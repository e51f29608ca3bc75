"""Templates against those of the same name in PennyLane and Qiskit, state by state, at random parameters."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import torch

from absence import absent
from dopant.quantum import templates
from dopant.quantum.circuit import Circuit
from dopant.quantum.statevector import state

PATTERNS = ("full", "linear", "reverse_linear", "circular", "sca", "pairwise")
SIZES = (1, 2, 3, 4, 5)


def library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        absent(name)


def ours(circuit: Circuit, x: torch.Tensor | None = None, w: torch.Tensor | None = None) -> torch.Tensor:
    none = torch.zeros(0, dtype=torch.float64)
    return state(circuit, (none if x is None else x)[None], none if w is None else w)[0]


def pennylane(n: int, template: Any, *arguments: Any, **more: Any) -> torch.Tensor:
    qml = library("pennylane")
    with qml.queuing.AnnotatedQueue() as queue:
        template(*arguments, wires=range(n), **more)
    tape = qml.tape.QuantumScript.from_queue(queue)
    order = list(range(n))
    psi = torch.zeros(2**n, dtype=torch.complex128)
    psi[0] = 1
    return torch.as_tensor(qml.matrix(tape, wire_order=order)).to(torch.complex128) @ psi


def qiskit(circuit: Any, values: torch.Tensor) -> torch.Tensor:
    """Its state with its last qubit as our first."""
    info = library("qiskit.quantum_info")
    names = sorted(circuit.parameters, key=lambda p: p.index)
    bound = circuit.assign_parameters(dict(zip(names, values.tolist(), strict=True)))
    return torch.as_tensor(info.Statevector(bound.reverse_bits()).data)


def drawn(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, dtype=torch.float64) * 6 - 3


def equal(a: torch.Tensor, b: torch.Tensor) -> None:
    torch.testing.assert_close(a, b, atol=1e-10, rtol=0)


def equal_up_to_phase(a: torch.Tensor, b: torch.Tensor) -> None:
    overlap = torch.vdot(a, b)
    assert abs(abs(overlap) - 1) < 1e-10
    equal(a * overlap, b)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("axis", ["X", "Y", "Z"])
def test_angle_encoding_is_pennylanes_exactly(n: int, axis: str) -> None:
    x, qml = drawn(n), library("pennylane")
    equal(ours(templates.angle_encoding(n, axis.lower()), x), pennylane(n, qml.AngleEmbedding, x, rotation=axis))


@pytest.mark.parametrize("n", SIZES)
def test_layers_are_pennylanes_exactly(n: int) -> None:
    qml = library("pennylane")
    w = drawn(3, n)
    for axis, gate in (("x", qml.RX), ("y", qml.RY), ("z", qml.RZ)):
        got = ours(templates.basic_entangling_layers(n, 3, axis), w=w.flatten())
        equal(got, pennylane(n, qml.BasicEntanglerLayers, w, rotation=gate))
    w = drawn(5, n, 3)
    got = ours(templates.strongly_entangling_layers(n, 5), w=w.flatten())
    equal(got, pennylane(n, qml.StronglyEntanglingLayers, w))
    if n > 2:
        got = ours(templates.strongly_entangling_layers(n, 2, [2, 1]), w=w[:2].flatten())
        equal(got, pennylane(n, qml.StronglyEntanglingLayers, w[:2], ranges=[2, 1]))


@pytest.mark.parametrize("n", SIZES)
def test_the_iqp_map_is_pennylanes_exactly(n: int) -> None:
    x, qml = drawn(n), library("pennylane")
    equal(ours(templates.iqp_feature_map(n, 3), x), pennylane(n, qml.IQPEmbedding, x, n_repeats=3))


@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_general_gate_is_pennylanes_special_unitary_exactly(n: int) -> None:
    w, qml = drawn(4**n - 1) * 0.5, library("pennylane")
    equal(ours(templates.su2n(n), w=w), pennylane(n, qml.SpecialUnitary, w))


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_feature_maps_are_qiskits_exactly(n: int, pattern: str) -> None:
    x, theirs = drawn(n), library("qiskit.circuit.library")
    equal(ours(templates.z_feature_map(n, 3), x), qiskit(theirs.z_feature_map(n, reps=3), x))
    if n > 1:
        got = ours(templates.zz_feature_map(n, 3, pattern), x)
        equal(got, qiskit(theirs.zz_feature_map(n, reps=3, entanglement=pattern), x))
    else:
        equal(ours(templates.zz_feature_map(n, 3, pattern), x), ours(templates.z_feature_map(n, 3), x))


@pytest.mark.parametrize("n", [3, 4, 5])
@pytest.mark.parametrize("pattern", ["full", "linear", "circular", "sca"])
@pytest.mark.parametrize("words", [("Y", "XZ", "ZYX"), ("Z", "YY", "ZXZ"), ("X", "ZZ")])
def test_the_pauli_map_is_qiskits_up_to_a_phase_with_strings_read_from_the_left(
    n: int, pattern: str, words: tuple[str, ...]
) -> None:
    x, theirs = drawn(n), library("qiskit.circuit.library")
    mirrored = [w[::-1] for w in words]
    got = ours(templates.pauli_feature_map(n, 2, words, pattern, alpha=1.3), x)
    want = theirs.pauli_feature_map(n, reps=2, paulis=mirrored, entanglement=pattern, alpha=1.3)
    equal_up_to_phase(got, qiskit(want, x))


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_ansatzes_are_qiskits_exactly_with_the_same_order_of_weights(n: int, pattern: str) -> None:
    theirs = library("qiskit.circuit.library")
    w = drawn(8 * n)
    got = ours(templates.efficient_su2(n, entanglement=pattern), w=w)
    equal(got, qiskit(theirs.efficient_su2(n, entanglement=pattern), w))
    w = w[: 5 * n]
    got = ours(templates.real_amplitudes(n, 4, pattern), w=w)
    equal(got, qiskit(theirs.real_amplitudes(n, reps=4, entanglement=pattern), w))
    assert not got.imag.abs().max()


def test_gates_of_ones_own_are_entangled_as_qiskit_does() -> None:
    theirs = library("qiskit.circuit.library")
    pairs, w = [(0, 2), (3, 1)], drawn(4 * 3 * 4)
    got = ours(templates.efficient_su2(4, 3, pairs, ("x", "y", "z")), w=w)
    equal(got, qiskit(theirs.efficient_su2(4, ["rx", "ry", "rz"], reps=3, entanglement=pairs), w))


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("kind", ["real", "complex"])
def test_amplitudes_come_out_as_they_went_in_with_as_many_cx_as_pennylane_has(n: int, kind: str) -> None:
    qml = library("pennylane")
    v = torch.randn(2**n, dtype=torch.float64 if kind == "real" else torch.complex128)
    c = templates.amplitude_encoding(v)
    equal(ours(c), (v / v.norm()).to(torch.complex128))
    ops = qml.MottonenStatePreparation.compute_decomposition(torch.complex(v.abs(), 0 * v.abs()), wires=range(n))
    theirs = sum(op.name == "CNOT" for op in ops)
    assert sum(g.name == "cx" for g in c) == (theirs if kind == "real" else 2 * theirs)


def test_qaoa_is_pennylanes_up_to_a_phase_with_half_its_gamma() -> None:
    qml = library("pennylane")
    edges, n = [(0, 1), (1, 2), (2, 3), (3, 0), (0, 2)], 4
    cost, mixer = qml.qaoa.maxcut(library("networkx").Graph(edges))
    w = drawn(6)

    def template(values: torch.Tensor, wires: Any) -> None:
        for q in wires:
            qml.Hadamard(q)
        for gamma, beta in values.reshape(-1, 2).tolist():
            qml.qaoa.cost_layer(2 * gamma, cost)
            qml.qaoa.mixer_layer(beta, mixer)

    equal_up_to_phase(ours(templates.qaoa(n, edges, 3), w=w), pennylane(n, template, w))
